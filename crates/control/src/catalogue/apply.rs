//! Applying documents: three-way against what was last applied, all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::change::{ItemKey, Line, PlanItem, Refusal, Rejected, Scope, Verb};
use super::command::{Mode, Source};
use super::draft::Draft;
use super::state::{Applied, Body, FALLTHROUGH, FlagRecord, FlagState, Section};
use super::variants::Variants;
use super::view::View;
use super::{canonical, check, merge, rfc3339};
use crate::document::{
    self, Document, FlagDocument, KINDS, Parsed, Problem, SegmentDocument, SegmentSection,
};
use crate::ids::{Key, Place};

/// Where and how documents are applied.
pub(super) struct Target<'a> {
    pub(super) project: &'a Key,
    pub(super) environment: Option<&'a Key>,
    pub(super) mode: Mode,
}

/// Applies texts.
pub(super) fn apply(
    draft: &mut Draft<'_>,
    project: &Key,
    environment: Option<&Key>,
    sources: &[Source],
    mode: Mode,
) -> Result<(), Rejected> {
    draft.need_project(project)?;
    if let Some(environment) = environment {
        draft.need_place(&Place { project: project.clone(), environment: environment.clone() })?;
    }
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for source in sources {
        let (found, wrong) = document::parse(&source.name, &source.text);
        documents.extend(found);
        problems.extend(wrong);
    }
    problems.extend(repeated(&documents));
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let target = Target { project, environment, mode };
    let rank = |parsed: &Parsed| match &parsed.document {
        Document::Metric(_) => 0,
        Document::UseCase(_) => 1,
        Document::Segment(_) => 2,
        Document::Flag(_) => 3,
        Document::Rollout(_) => 4,
    };
    documents.sort_by_key(rank);
    for parsed in &documents {
        if let Err(rejected) = one(draft, &target, parsed) {
            match rejected {
                Rejected::Invalid(found) => problems.extend(parsed.locate(found)),
                Rejected::Refused(refusal) => return Err(refusal.into()),
            }
        }
    }
    let merged = if problems.is_empty() { documents.as_slice() } else { &[] };
    for parsed in merged {
        problems.extend(parsed.locate(check::document(draft, &target, &parsed.document)));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
}

fn repeated(documents: &[Parsed]) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let again = documents.iter().filter(|parsed| !seen.insert(parsed.subject()));
    again
        .flat_map(|parsed| {
            let sentence = format!("{} is described twice.", parsed.subject());
            parsed.locate(vec![Problem::new("duplicate_document", "", sentence)])
        })
        .collect()
}

fn one(draft: &mut Draft<'_>, target: &Target<'_>, parsed: &Parsed) -> Result<(), Rejected> {
    match &parsed.document {
        Document::Flag(flag) => self::flag(draft, target, parsed, flag),
        Document::Segment(segment) => self::segment(draft, target, parsed, segment),
        Document::Metric(metric) => {
            let key = ItemKey::metric(target.project, &metric.metric.key);
            plain(draft, target, parsed, key, "metric");
            Ok(())
        }
        Document::UseCase(use_case) => {
            let key = ItemKey::use_case(target.project, &use_case.key);
            plain(draft, target, parsed, key, "use_case");
            Ok(())
        }
        Document::Rollout(spec) => {
            let next = format!("ensign rollout start -f {}", parsed.source);
            let sentence = format!("A rollout is started, not applied: {} stays as it is.", spec.flag);
            Err(Refusal::new("rollout_is_started", sentence).next(next).into())
        }
    }
}

/// The document last applied for a subject, as far as it concerns an environment.
fn base(draft: &Draft<'_>, target: &Target<'_>, subject: &str, environment: Option<&Key>) -> Option<Applied> {
    if matches!(target.mode, Mode::Edit) {
        return None;
    }
    let whole = draft.applied(target.project, subject);
    let own = environment.and_then(|name| draft.applied(target.project, &format!("{subject}@{name}")));
    match (whole, own) {
        (Some(whole), Some(own)) => Some(if own.at > whole.at { own } else { whole }),
        (whole, own) => own.or(whole),
    }
}

fn remember(draft: &mut Draft<'_>, target: &Target<'_>, parsed: &Parsed) {
    if matches!(target.mode, Mode::Edit) {
        return;
    }
    let subject = match target.environment {
        Some(environment) => format!("{}@{environment}", parsed.subject()),
        None => parsed.subject(),
    };
    let key = ItemKey::applied(target.project, &subject);
    let known = draft.applied(target.project, &subject);
    if known.is_none_or(|known| known.document != parsed.raw) {
        let applied = Applied {
            document: parsed.raw.clone(),
            source: parsed.source.clone(),
            at: draft.now,
            by: draft.actor.name.clone(),
            environment: target.environment.cloned(),
        };
        draft.put(key, Body::Applied(applied));
    }
}

/// Metrics and use cases: their members, merged.
fn plain(draft: &mut Draft<'_>, target: &Target<'_>, parsed: &Parsed, key: ItemKey, kind: &str) {
    let subject = parsed.subject();
    let empty = Map::new();
    let file = parsed.raw.as_object().unwrap_or(&empty);
    let live = draft.body(&key).map(|body| body.json());
    let live_members = live.as_ref().and_then(Json::as_object).unwrap_or(&empty);
    let base = base(draft, target, &subject, None).map(|applied| applied.document);
    let base_members = base.as_ref().and_then(Json::as_object).unwrap_or(&empty);
    let merged = match target.mode {
        Mode::Merge => merge::three_way(base_members, file, live_members),
        Mode::Edit => merge::edit(file, live_members),
    };
    let lines = merge::lines(live_members, &merged);
    let drift = if matches!(target.mode, Mode::Merge) { merge::lines(file, &merged) } else { Vec::new() };
    let name = subject.split_once('/').map_or(subject.as_str(), |(_, name)| name);
    let word = kind.replace('_', " ");
    let item = item(&subject, None, live.is_some(), lines, drift, &format!("{word} {name}"));
    let body = Json::Object(merged);
    draft.put(key, if kind == "metric" { Body::Metric(body) } else { Body::UseCase(body) });
    let action = format!("{kind}.{}", if live.is_some() { "update" } else { "create" });
    draft.note(item, Scope::project(target.project), &action);
    remember(draft, target, parsed);
}

fn item(
    subject: &str,
    environment: Option<&Key>,
    existed: bool,
    lines: Vec<Line>,
    drift: Vec<Line>,
    what: &str,
) -> PlanItem {
    let place = environment.map_or_else(String::new, |environment| format!(" in {environment}"));
    let (verb, sentence) = match (existed, lines.is_empty()) {
        (false, _) => (Verb::Create, format!("Create {what}{place}.")),
        (true, false) => (Verb::Update, format!("Change {what}{place}.")),
        (true, true) => (Verb::Keep, format!("No change of {what}{place}.")),
    };
    let environment = environment.map(|environment| environment.as_str().to_owned());
    PlanItem { subject: subject.to_owned(), environment, verb, sentence, lines, drift }
}

fn places(draft: &Draft<'_>, target: &Target<'_>, named: &[Key]) -> Result<Vec<Place>, Rejected> {
    let all = draft.environments(target.project);
    let unknown = named.iter().find(|name| all.iter().all(|place| place.environment != **name));
    if let Some(name) = unknown {
        let known: Vec<&str> = all.iter().map(|place| place.environment.as_str()).collect();
        let sentence = format!("There is no environment \"{name}\".");
        let problem = Problem::new("unknown_environment", format!("/environments/{name}"), sentence);
        return Err(vec![
            problem.hint(format!("known: {}; ensign environment create {name}", known.join(", "))),
        ]
        .into());
    }
    Ok(all
        .into_iter()
        .filter(|place| target.environment.is_none_or(|only| place.environment == *only))
        .collect())
}

fn segment(
    draft: &mut Draft<'_>,
    target: &Target<'_>,
    parsed: &Parsed,
    document: &SegmentDocument,
) -> Result<(), Rejected> {
    fn of<'d>(document: &'d SegmentDocument, environment: &Key) -> Option<&'d SegmentSection> {
        let own = document.environments.iter().find(|(name, _)| name == environment);
        own.map(|(_, section)| section).or(document.common.as_ref())
    }
    let members = |section: &SegmentSection| match canonical::plain(&canonical::segment(section)) {
        Json::Object(members) => members,
        _ => Map::new(),
    };
    let named: Vec<Key> = document.environments.iter().map(|(name, _)| name.clone()).collect();
    for place in places(draft, target, &named)? {
        let Some(section) = of(document, &place.environment) else { continue };
        let base = base(draft, target, &parsed.subject(), Some(&place.environment));
        let base = base.and_then(|applied| document::parse_value("", &applied.document).ok());
        let base = base.map(|parsed| parsed.document);
        let base = match &base {
            Some(Document::Segment(base)) => of(base, &place.environment).map(members).unwrap_or_default(),
            _ => Map::new(),
        };
        let live = draft.segment(&place, document.key.as_str());
        let live_members = match live.as_ref().map(canonical::plain) {
            Some(Json::Object(members)) => members,
            _ => Map::new(),
        };
        let file = members(section);
        let merged = match target.mode {
            Mode::Merge => merge::three_way(&base, &file, &live_members),
            Mode::Edit => file.clone(),
        };
        let lines = merge::lines(&live_members, &merged);
        let drift =
            if matches!(target.mode, Mode::Merge) { merge::lines(&file, &merged) } else { Vec::new() };
        let what = format!("segment {}", document.key);
        let item = item(&parsed.subject(), Some(&place.environment), live.is_some(), lines, drift, &what);
        let state = serde_json::from_value(Json::Object(merged)).unwrap_or_default();
        draft.put(ItemKey::segment(&place, document.key.as_str()), Body::Segment(state));
        let action = if live.is_some() { "segment.update" } else { "segment.create" };
        draft.note(item, Scope::place(&place), action);
    }
    remember(draft, target, parsed);
    Ok(())
}

fn section_of<'d>(document: &'d FlagDocument, environment: &Key) -> Option<&'d document::SectionDocument> {
    let own = document.environments.iter().find(|(name, _)| name == environment);
    own.map(|(_, section)| section).or(document.common.as_ref())
}

fn members_of(section: Option<&Section>) -> Map<String, Json> {
    match section.map(canonical::plain) {
        Some(Json::Object(members)) => members,
        _ => Map::new(),
    }
}

/// The variants that active rollouts compare.
pub(super) fn locked(view: &dyn View, project: &Key, flag: &Key) -> BTreeSet<String> {
    let states = view.environments(project).into_iter().filter_map(|place| view.state(&place, flag));
    states.filter_map(|state| state.owned).flat_map(|owned| [owned.control, owned.new]).collect()
}

fn flag(
    draft: &mut Draft<'_>,
    target: &Target<'_>,
    parsed: &Parsed,
    document: &FlagDocument,
) -> Result<(), Rejected> {
    let (project, key) = (target.project, &document.key);
    let record = draft.flag(project, key);
    if let Some(refusal) = record.as_ref().and_then(tombstone) {
        return Err(refusal.into());
    }
    let named: Vec<Key> = document.environments.iter().map(|(name, _)| name.clone()).collect();
    let places = places(draft, target, &named)?;
    let mut problems = Vec::new();
    let locked = locked(draft, project, key);
    let Some(mut variants) = Variants::of(document, record.as_ref(), locked, &mut problems) else {
        return Err(problems.into());
    };
    let mut states: Vec<(Place, FlagState, PlanItem)> = Vec::new();
    for place in places {
        let Some(section) = section_of(document, &place.environment) else { continue };
        if let Some((state, item)) =
            one_place(draft, target, parsed, &place, section, &mut variants, &mut problems)?
        {
            states.push((place, state, item));
        }
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    shared(draft, target, parsed, document, record.as_ref(), &variants)?;
    for (place, state, item) in states {
        let scope = Scope::place(&place);
        let action = if matches!(item.verb, Verb::Create) { "flag.create" } else { "flag.update" };
        draft.put_state(&place, key, state);
        draft.note(item, scope, action);
    }
    remember(draft, target, parsed);
    Ok(())
}

/// What becomes of a flag in one environment; none where a problem was found.
fn one_place(
    draft: &Draft<'_>,
    target: &Target<'_>,
    parsed: &Parsed,
    place: &Place,
    section: &document::SectionDocument,
    variants: &mut Variants,
    problems: &mut Vec<Problem>,
) -> Result<Option<(FlagState, PlanItem)>, Rejected> {
    let Document::Flag(document) = &parsed.document else { return Ok(None) };
    let key = &document.key;
    let live = draft.state(place, key);
    let live_section = live.as_ref().map(|live| &live.section);
    let file = canonical::section(section, live_section, variants, problems);
    let base = base(draft, target, &parsed.subject(), Some(&place.environment));
    let base = base.map(|applied| base_section(&applied, place, live_section, variants)).unwrap_or_default();
    let live_members = members_of(live_section);
    let merged = match target.mode {
        Mode::Merge => merge::three_way(&base, &file, &live_members),
        Mode::Edit => merge::edit(&file, &live_members),
    };
    if !merged.contains_key("default") {
        let at = format!("{}/default", section.at);
        if problems.is_empty() {
            let problem = Problem::new("missing_member", at, "The flag's \"default\" is missing.");
            problems.push(problem.hint("it is what everyone gets whom no rule decides"));
        }
        return Ok(None);
    }
    let next: Section = match serde_json::from_value(Json::Object(merged.clone())) {
        Ok(section) => section,
        Err(error) => {
            problems.push(Problem::new(
                "wrong_type",
                section.at.clone(),
                format!("This cannot be read: {error}."),
            ));
            return Ok(None);
        }
    };
    if let Some(live) = &live {
        owned_stays(key, live, &next)?;
    }
    let lines = merge::lines(&live_members, &merged);
    let drift = match (target.mode, &live) {
        (Mode::Merge, Some(_)) => merge::lines(&file, &merged).into_iter().filter(real).collect(),
        (Mode::Merge | Mode::Edit, _) => Vec::new(),
    };
    let item = item(
        &parsed.subject(),
        Some(&place.environment),
        live.is_some(),
        lines,
        drift,
        &format!("flag {key}"),
    );
    let state = match live {
        Some(live) => FlagState { section: next, ..live },
        None => FlagState { section: next, kill: None, epochs: BTreeMap::new(), owned: None, rollouts: 0 },
    };
    Ok(Some((state, item)))
}

/// The file leaves out what is the case anyway; that is no drift.
fn real(line: &Line) -> bool {
    !(line.path == "on" && line.before.as_deref() == Some("true"))
}

fn base_section(
    applied: &Applied,
    place: &Place,
    live: Option<&Section>,
    variants: &Variants,
) -> Map<String, Json> {
    let Ok(parsed) = document::parse_value("", &applied.document) else { return Map::new() };
    let Document::Flag(base) = &parsed.document else { return Map::new() };
    let mut scratch = Variants {
        kind: variants.kind,
        list: variants.list.clone(),
        locked: BTreeSet::new(),
        notes: Vec::new(),
    };
    // Only what it says counts; what would be wrong with it today does not.
    let section = section_of(base, &place.environment);
    section
        .map(|section| canonical::section(section, live, &mut scratch, &mut Vec::new()))
        .unwrap_or_default()
}

/// Why a retired key cannot be used.
pub(super) fn tombstone(record: &FlagRecord) -> Option<Refusal> {
    let retired = record.retired.as_ref()?;
    let why = retired.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
    let day: String = rfc3339(retired.at).chars().take(10).collect();
    let sentence = format!(
        "The key {} was retired on {day} by {}{why}. A retired key is never used for another flag.",
        record.key, retired.by
    );
    Some(Refusal::new("flag_retired", sentence).next(format!("ensign flag unretire {}", record.key)))
}

/// Refuses edits of the split that a rollout moves. Everything else may be edited.
pub(super) fn owned_stays(flag: &Key, live: &FlagState, next: &Section) -> Result<(), Refusal> {
    let Some(owned) = &live.owned else { return Ok(()) };
    let rule = |section: &Section| section.rules.iter().find(|rule| rule.id == owned.rule).cloned();
    let touched = match owned.rule.as_str() {
        FALLTHROUGH => live.section.split != next.split || live.section.default != next.default,
        _ => rule(&live.section) != rule(next),
    };
    if !touched {
        return Ok(());
    }
    let what =
        if owned.rule == FALLTHROUGH { "default split".to_owned() } else { format!("rule {}", owned.rule) };
    let sentence = format!(
        "The {what} of {flag} belongs to rollout {flag}.{}, which moves it from {} to {}.",
        owned.rollout, owned.control, owned.new
    );
    Err(Refusal::new("split_owned_by_rollout", sentence).next(format!("ensign rollout abort {flag}")))
}

/// The flag as a whole: its type, variants, and what people know about it.
fn shared(
    draft: &mut Draft<'_>,
    target: &Target<'_>,
    parsed: &Parsed,
    document: &FlagDocument,
    record: Option<&FlagRecord>,
    variants: &Variants,
) -> Result<(), Rejected> {
    let empty = Map::new();
    let live = record.map_or(&empty, |record| &record.shared);
    let base = base(draft, target, &parsed.subject(), target.environment);
    let base = base.and_then(|applied| document::parse_value("", &applied.document).ok());
    let base = match base.map(|parsed| parsed.document) {
        Some(Document::Flag(base)) => base.shared,
        _ => Map::new(),
    };
    let mut merged = match target.mode {
        Mode::Merge => merge::three_way(&base, &document.shared, live),
        Mode::Edit => merge::edit(&document.shared, live),
    };
    let dated = date(draft, &document.key, &mut merged);
    let problems = misfits(merged.get("schema"), variants);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let mut lines = merge::lines(live, &merged);
    let before = record.map(|record| record.variants.as_slice()).unwrap_or_default();
    for (at, variant) in variants.list.iter().enumerate() {
        let was = before.get(at).map(|was| was.value.to_string());
        let is = variant.value.to_string();
        if was.as_ref() != Some(&is) {
            lines.push(Line { path: format!("variants/{}", variant.name), before: was, after: Some(is) });
        }
    }
    let existed = record.is_some();
    let drift = if existed && matches!(target.mode, Mode::Merge) {
        let quiet = ["cleanup", "kind"];
        let said =
            |line: &Line| document.shared.contains_key(&line.path) || !quiet.contains(&line.path.as_str());
        merge::lines(&document.shared, &merged)
            .into_iter()
            .filter(said)
            .filter(|line| !is_default(line))
            .collect()
    } else {
        Vec::new()
    };
    let item = item(&parsed.subject(), None, existed, lines, drift, &format!("flag {}", document.key));
    for note in &variants.notes {
        draft.say(note.clone());
    }
    if let Some(sentence) = dated {
        draft.say(sentence);
    }
    let next = FlagRecord {
        key: document.key.clone(),
        value_type: variants.kind.word().to_owned(),
        variants: variants.list.clone(),
        shared: merged,
        created: record.map_or(draft.now, |record| record.created),
        created_by: record.map_or_else(|| draft.actor.name.clone(), |record| record.created_by.clone()),
        retired: None,
    };
    draft.put_flag(target.project, next);
    let action = if existed { "flag.update" } else { "flag.create" };
    draft.note(item, Scope::project(target.project), action);
    Ok(())
}

fn is_default(line: &Line) -> bool {
    line.after.is_none() && matches!(line.before.as_deref(), Some("false" | "[]"))
}

/// Gives a flag its cleanup date, if it has none and is not permanent. The sentence says so.
fn date(draft: &Draft<'_>, key: &Key, shared: &mut Map<String, Json>) -> Option<String> {
    if shared.get("permanent") == Some(&Json::Bool(true)) {
        shared.shift_remove("cleanup");
        return None;
    }
    if shared.contains_key("cleanup") {
        return None;
    }
    let kind = shared.get("kind").and_then(Json::as_str).unwrap_or("release");
    let days = KINDS.iter().find(|(word, _)| *word == kind).map_or(90, |(_, days)| *days);
    let at = draft.now + crate::ids::Span::seconds(days * 86_400);
    let day: String = rfc3339(at).chars().take(10).collect();
    let sentence = format!(
        "Flag {key} is to be gone from the code by {day}: a {kind} flag lives {days} days. \"cleanup\" sets another day, \"permanent\" with a reason none."
    );
    shared.insert("cleanup".to_owned(), day.into());
    Some(sentence)
}

/// Variants that the flag's schema does not allow.
fn misfits(schema: Option<&Json>, variants: &Variants) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(schema) = schema else { return problems };
    for variant in &variants.list {
        for (at, sentence) in document::schema::violations(schema, &variant.value) {
            let at = if at.is_empty() { at } else { format!(" at {at}") };
            let sentence = format!("Variant {} does not fit the flag's schema{at}: {sentence}", variant.name);
            problems.push(Problem::new("schema_violation", "/schema", sentence));
        }
    }
    problems
}
