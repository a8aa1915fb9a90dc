//! What is wrong, doubtful or forgotten in documents, found without a server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::catalogue::{Actor, Catalogue, Command, Definitions, Mode, Rejected, Source};
use crate::document::{self, Document, Mark, Parsed, Problem, RuleDocument, SectionDocument, condition};
use crate::ids::{Place, Timestamp};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// `apply` would refuse it.
    Error,
    /// It does not do what it seems to, or something is overdue.
    Warning,
    /// Something that a team may want to know.
    Note,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable code, such as `unreachable_rule`.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub source: Option<String>,
    /// JSON pointer into the file.
    pub pointer: String,
    /// Where in the text, when known.
    pub mark: Option<Mark>,
    /// What was found.
    pub sentence: String,
    /// What would be right.
    pub hint: Option<String>,
}

fn finding(problem: Problem, severity: Severity) -> Finding {
    Finding {
        code: problem.code,
        severity,
        source: problem.source,
        pointer: problem.pointer,
        mark: problem.mark,
        sentence: problem.sentence,
        hint: problem.hint,
    }
}

/// Everything found in texts that belong together, by source and place. `now` decides what is overdue.
pub fn lint(sources: &[Source], now: Timestamp) -> Vec<Finding> {
    let (mut findings, mut documents) = (Vec::new(), Vec::new());
    for source in sources {
        let (parsed, problems) = document::parse(&source.name, &source.text);
        documents.extend(parsed);
        findings.extend(problems.into_iter().map(|problem| finding(problem, Severity::Error)));
    }
    if findings.is_empty() {
        findings.extend(applied(sources, &documents, now));
    }
    for parsed in &documents {
        let mut found = Vec::new();
        if let Document::Flag(flag) = &parsed.document {
            shared(&flag.shared, now, &mut found);
            let sections = flag.common.iter().chain(flag.environments.iter().map(|(_, section)| section));
            sections.for_each(|section| self::section(section, now, &mut found));
        }
        for (severity, problem) in found {
            findings
                .extend(parsed.locate(vec![problem]).into_iter().map(|problem| finding(problem, severity)));
        }
    }
    let order = |f: &Finding| (f.source.clone(), f.mark, f.severity, f.code.clone());
    findings.sort_by_key(order);
    findings.dedup();
    findings
}

/// What documents become on an empty server.
#[derive(Debug, Default)]
pub struct Compiled {
    /// By environment; environments without a section of their own are alike.
    pub definitions: Vec<Definitions>,
    /// The source of each document, by its subject: `flag/inference_model`.
    pub sources: BTreeMap<String, String>,
}

/// What texts that belong together become; nothing, if an empty server would refuse them.
pub fn compiled(sources: &[Source], now: Timestamp) -> Compiled {
    let parsed: Vec<Parsed> =
        sources.iter().flat_map(|source| document::parse(&source.name, &source.text).0).collect();
    let Ok(catalogue) = on_an_empty_server(sources, &parsed, now) else { return Compiled::default() };
    let places =
        catalogue.projects().iter().flat_map(|project| catalogue.places(project)).collect::<Vec<_>>();
    Compiled {
        definitions: places.iter().map(|place| catalogue.compile(place)).collect(),
        sources: parsed.iter().map(|parsed| (parsed.subject(), parsed.source.clone())).collect(),
    }
}

/// What an empty server would refuse: names that are not there, values that do not fit.
fn applied(sources: &[Source], documents: &[Parsed], now: Timestamp) -> Vec<Finding> {
    match on_an_empty_server(sources, documents, now) {
        Ok(_) => Vec::new(),
        Err(Rejected::Invalid(problems)) => {
            problems.into_iter().map(|problem| finding(problem, Severity::Error)).collect()
        }
        Err(Rejected::Refused(refusal)) => {
            vec![finding(Problem::new(&refusal.code, "", refusal.sentence), Severity::Error)]
        }
    }
}

fn on_an_empty_server(
    sources: &[Source],
    documents: &[Parsed],
    now: Timestamp,
) -> Result<Catalogue, Rejected> {
    let mut catalogue = Catalogue::default();
    let revisions = BTreeMap::new();
    catalogue.apply(&Catalogue::initial(now), &revisions);
    let project: crate::ids::Key = crate::catalogue::DEFAULT_PROJECT.parse().expect("the word is a key");
    let actor = Actor::new("lint");
    for parsed in documents {
        let named = match &parsed.document {
            Document::Flag(flag) => flag.environments.iter().map(|(name, _)| name.clone()).collect(),
            Document::Segment(segment) => segment.environments.iter().map(|(name, _)| name.clone()).collect(),
            Document::Metric(_) | Document::UseCase(_) | Document::Rollout(_) => Vec::new(),
        };
        for environment in named {
            let place = Place { project: project.clone(), environment };
            // One that is there already is refused, which is as good.
            if let Ok(change) = catalogue.decide(&Command::CreateEnvironment { place }, &actor, now) {
                catalogue.apply(&change, &revisions);
            }
        }
    }
    // Rollouts are started, not applied; a source that holds one is checked by parsing it.
    let has_rollout = |source: &&Source| {
        documents.iter().any(|p| p.source == source.name && matches!(p.document, Document::Rollout(_)))
    };
    let sources: Vec<Source> = sources.iter().filter(|source| !has_rollout(source)).cloned().collect();
    let command = Command::Apply { project, environment: None, sources, mode: Mode::Merge, reason: None };
    let change = catalogue.decide(&command, &actor, now)?;
    catalogue.apply(&change, &revisions);
    Ok(catalogue)
}

type Found = Vec<(Severity, Problem)>;

fn shared(shared: &serde_json::Map<String, Json>, now: Timestamp, found: &mut Found) {
    let text = |name: &str| shared.get(name).and_then(Json::as_str);
    if text("owner").is_none_or(str::is_empty) {
        let problem = Problem::new("missing_owner", "/flag", "Nobody is named who answers for this flag.");
        found.push((Severity::Warning, problem.hint("add \"owner\"")));
    }
    let permanent = shared.get("permanent") == Some(&Json::Bool(true));
    match text("cleanup") {
        None if permanent => {}
        None => {
            let problem =
                Problem::new("missing_cleanup", "/flag", "No day is named by which this flag is to be gone.");
            found.push((
                Severity::Note,
                problem.hint("apply sets one from the flag's kind; \"cleanup\" names another"),
            ));
        }
        Some(day) if document::until(day).is_some_and(|until| until <= now) => {
            let sentence = format!("This flag was to be gone from the code by {day}.");
            let problem = Problem::new("expired_flag", "/cleanup", sentence);
            found.push((
                Severity::Warning,
                problem.hint("remove it from the code and retire it, or name another day"),
            ));
        }
        Some(_) => {}
    }
}

fn section(section: &SectionDocument, now: Timestamp, found: &mut Found) {
    let rules = section.rules.as_deref().unwrap_or_default();
    for (at, rule) in rules.iter().enumerate() {
        if let Some(why) = never(&rule.condition) {
            let sentence = format!("This rule never matches: {why}.");
            found.push((Severity::Warning, Problem::new("rule_never_matches", rule.at.clone(), sentence)));
        }
        let earlier = rules.get(..at).unwrap_or_default();
        if let Some(index) = earlier.iter().position(|earlier| covers(earlier, rule)) {
            let sentence = format!("No unit reaches this rule: rule {} takes all of them.", index + 1);
            let problem = Problem::new("unreachable_rule", rule.at.clone(), sentence);
            found.push((Severity::Warning, problem.hint("move it up, or remove it")));
        }
    }
    for pin in section.pins.iter().flatten() {
        let until = pin.until.as_deref();
        if until.and_then(document::until).is_some_and(|until| until <= now) {
            let sentence = format!("This pin has ended on {}.", until.unwrap_or_default());
            let problem = Problem::new("expired_pin", pin.at.clone(), sentence);
            found.push((Severity::Warning, problem.hint("remove it")));
        }
    }
}

/// Whether every unit that a rule could match is taken by an earlier one: it asks no more than the later one does, and
/// lets everybody through.
fn covers(earlier: &RuleDocument, later: &RuleDocument) -> bool {
    let whole = condition::read(&earlier.condition, "", &mut Vec::new());
    if whole.percentage.is_some_and(|share| share.weight < 100_000) {
        return false;
    }
    let (Some(asked), Some(also)) = (earlier.condition.as_object(), later.condition.as_object()) else {
        return false;
    };
    let rest = |name: &&String| name.as_str() != "rollout_percentage";
    asked.keys().filter(rest).all(|name| match (asked.get(name), also.get(name)) {
        (Some(a), Some(b)) => {
            a == b || (simple(a) && simple(b) && values(b).iter().all(|v| values(a).contains(v)))
        }
        _ => false,
    })
}

fn simple(value: &Json) -> bool {
    !value.is_object()
}

fn values(value: &Json) -> Vec<&Json> {
    match value {
        Json::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

/// Why a condition can hold for nobody.
fn never(condition: &Json) -> Option<String> {
    let read = condition::read(condition, "", &mut Vec::new());
    if read.percentage.is_some_and(|share| share.weight == 0) {
        return Some("its percentage is 0".to_owned());
    }
    for (name, value) in condition.as_object()? {
        let Json::Object(operators) = value else { continue };
        let number = |op: &str| operators.get(op).and_then(Json::as_f64);
        let low = number("gt").map(|n| (n, true)).or(number("gte").map(|n| (n, false)));
        let high = number("lt").map(|n| (n, true)).or(number("lte").map(|n| (n, false)));
        if let (Some((low, open)), Some((high, open_too))) = (low, high)
            && (low > high || (low == high && (open || open_too)))
        {
            return Some(format!("no {name} is both above {low} and below {high}"));
        }
        if let (Some(inside), Some(outside)) = (operators.get("in"), operators.get("not_in"))
            && values(inside).iter().all(|value| values(outside).contains(value))
        {
            return Some(format!("every {name} that it allows is excluded too"));
        }
        let moment = |op: &str| operators.get(op).and_then(Json::as_str)?.parse::<jiff::Timestamp>().ok();
        if let (Some(after), Some(before)) = (moment("after"), moment("before"))
            && after >= before
        {
            return Some(format!("no {name} is both after {after} and before {before}"));
        }
    }
    None
}
