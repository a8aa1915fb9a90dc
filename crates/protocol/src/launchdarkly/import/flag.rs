//! Flags.

use std::collections::BTreeSet;

use ensign_control::document::condition::percent;
use ensign_control::ids::Key;
use ensign_eval::model::AttributeRef;
use serde_json::{Map, Value as Json, json};

use super::clauses::{attribute, condition};
use super::{Cannot, Draft, list, text, texts};

const KNOWN: [&str; 20] = [
    "key",
    "version",
    "on",
    "prerequisites",
    "targets",
    "contextTargets",
    "rules",
    "fallthrough",
    "offVariation",
    "variations",
    "salt",
    "clientSide",
    "clientSideAvailability",
    "deleted",
    "trackEvents",
    "trackEventsFallthrough",
    "debugEventsUntilDate",
    "samplingRatio",
    "excludeFromSummaries",
    "migration",
];

/// The longest text that is a variant's own name.
const LONGEST_NAME: usize = 100;

/// The names of variants, by position.
struct Names(Vec<String>);

impl Names {
    fn at(&self, index: Option<&Json>) -> Result<&str, Cannot> {
        let found = index.and_then(Json::as_u64).and_then(|at| self.0.get(usize::try_from(at).ok()?));
        found.map(String::as_str).ok_or_else(|| {
            let index = index.map_or("none".to_owned(), Json::to_string);
            Cannot(format!("It leads to variation {index}, which is not there."))
        })
    }
}

pub(super) fn read(draft: &mut Draft<'_>, flag: &Map<String, Json>) -> Result<Json, Cannot> {
    draft.unknown(flag, &KNOWN);
    not_carried(draft, flag);
    let (kind, variants, names) = variants(list(flag, "variations"))?;
    let mut document = Map::new();
    let mut set = |name: &str, value: Json| drop(document.insert(name.to_owned(), value));
    set("flag", draft.key.into());
    set("type", kind.into());
    set("variants", variants);
    if let Some(client_side) = client_side(flag) {
        set("client_side", client_side);
    }
    let mut on = flag.get("on") == Some(&Json::Bool(true));
    match flag.get("offVariation").filter(|off| !off.is_null()) {
        Some(off) => set("off_variant", names.at(Some(off))?.into()),
        None => set("off_variant", Json::Null),
    }
    let prerequisites = prerequisites(draft, flag, &mut on)?;
    if !prerequisites.is_empty() {
        set("prerequisites", Json::Array(prerequisites));
    }
    if !on {
        set("on", false.into());
    }
    let targets = targets(flag, &names)?;
    if !targets.is_empty() {
        set("targets", Json::Array(targets));
    }
    let end = flag.get("fallthrough").and_then(Json::as_object);
    let end = Serve::of(draft, end.ok_or_else(|| Cannot("It has no fallthrough.".to_owned()))?, &names)?;
    let mut rules = rules(draft, list(flag, "rules"), &names, end.first())?;
    set("default_variant", end.first().into());
    match end {
        Serve::One(_) => {}
        Serve::Split { parts, by: None, seed, .. } => {
            set("split", Json::Array(parts));
            if let Some(seed) = seed {
                set("seed", seed.into());
            }
        }
        // The end of the rules divides by a key; what divides by something else is a rule for everyone.
        split @ Serve::Split { .. } => {
            let mut rule = Map::new();
            rule.insert("id".to_owned(), "everyone".into());
            rule.insert("condition".to_owned(), json!({}));
            let first = split.first().to_owned();
            split.into_rule(&mut rule, &first);
            rules.push(Json::Object(rule));
        }
    }
    if !rules.is_empty() {
        set("rules", Json::Array(rules));
    }
    set("salt", text(flag, "salt").unwrap_or_default().into());
    Ok(Json::Object(document))
}

fn not_carried(draft: &mut Draft<'_>, flag: &Map<String, Json>) {
    let yes = |name: &str| flag.get(name) == Some(&Json::Bool(true));
    if yes("trackEvents") || yes("trackEventsFallthrough") {
        draft.say(
            "Its event tracking is not kept: evaluations are reported while a rollout watches the flag.",
        );
    }
    if flag.get("debugEventsUntilDate").is_some_and(|date| !date.is_null()) {
        draft.say("Its debug events end here.");
    }
    if flag.get("samplingRatio").is_some_and(|ratio| !ratio.is_null() && *ratio != json!(1)) {
        draft.say("Its sampling ratio is not kept: events are not sampled.");
    }
    if yes("excludeFromSummaries") {
        draft.say("It is counted in summaries from now on.");
    }
    if flag.get("migration").is_some_and(|migration| !migration.is_null()) {
        draft.say("It is a migration flag; its consistency check ratio is not kept.");
    }
}

/// The type, the `variants` member, and the names by position.
fn variants(values: &[Json]) -> Result<(&'static str, Json, Names), Cannot> {
    if values.is_empty() {
        return Err(Cannot("It has no variations.".to_owned()));
    }
    let all = |is: fn(&Json) -> bool| values.iter().all(is);
    let kind = if all(Json::is_boolean) {
        "boolean"
    } else if all(Json::is_string) {
        "string"
    } else if all(Json::is_i64) {
        "integer"
    } else if all(Json::is_f64) {
        "float"
    } else {
        "json"
    };
    let own = |value: &Json| match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let names: Vec<String> = values.iter().map(own).collect();
    let usable = |name: &String| !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains('\n');
    let different = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if kind != "json" && different && names.iter().all(usable) {
        return Ok((kind, Json::from(values), Names(names)));
    }
    let names: Vec<String> = (1..=values.len()).map(|n| format!("v{n}")).collect();
    let named: Map<String, Json> = names.iter().cloned().zip(values.iter().cloned()).collect();
    Ok((kind, Json::Object(named), Names(names)))
}

fn client_side(flag: &Map<String, Json>) -> Option<Json> {
    let browser = flag.get("clientSide") == Some(&Json::Bool(true));
    let (mobile, browser) = match flag.get("clientSideAvailability").and_then(Json::as_object) {
        Some(own) => {
            let yes = |name: &str| own.get(name) == Some(&Json::Bool(true));
            (yes("usingMobileKey"), yes("usingEnvironmentId"))
        }
        None => (true, browser),
    };
    match (mobile, browser) {
        (true, true) => Some(true.into()),
        (true, false) => Some("mobile".into()),
        (false, true) => Some("browser".into()),
        (false, false) => None,
    }
}

fn prerequisites(
    draft: &mut Draft<'_>,
    flag: &Map<String, Json>,
    on: &mut bool,
) -> Result<Vec<Json>, Cannot> {
    let mut all = Vec::new();
    for needed in list(flag, "prerequisites").iter().filter_map(Json::as_object) {
        let key = text(needed, "key").unwrap_or_default();
        let other =
            draft.known.flags.get(key).filter(|other| other.get("deleted") != Some(&Json::Bool(true)));
        let names = other.and_then(|other| variants(other.get("variations")?.as_array()?).ok());
        let name = names.as_ref().and_then(|(_, _, names)| names.at(needed.get("variation")).ok());
        if let Some(name) = name {
            draft.flags.insert(key.to_owned());
            all.push(json!({ "flag": key, "variant": name }));
        } else {
            let what = format!(
                "Prerequisite \"{key}\" or its variation is not there, so this flag served its off variation; it is off \
                 now."
            );
            draft.say(what);
            *on = false;
        }
    }
    Ok(all)
}

/// Individual keys in the order in which SDKs look at them.
fn targets(flag: &Map<String, Json>, names: &Names) -> Result<Vec<Json>, Cannot> {
    let (users, contexts) = (list(flag, "targets"), list(flag, "contextTargets"));
    let mut all = Vec::new();
    let mut push = |kind: &str, keys: Vec<&str>, variation: Option<&Json>| -> Result<(), Cannot> {
        if !keys.is_empty() {
            all.push(json!({ "unit": kind, "keys": keys, "variant": names.at(variation)? }));
        }
        Ok(())
    };
    if contexts.is_empty() {
        for target in users.iter().filter_map(Json::as_object) {
            push("user", texts(list(target, "values")), target.get("variation"))?;
        }
        return Ok(all);
    }
    for target in contexts.iter().filter_map(Json::as_object) {
        let (kind, variation) = (text(target, "contextKind").unwrap_or("user"), target.get("variation"));
        let own = texts(list(target, "values"));
        if kind == "user" && own.is_empty() {
            let same =
                users.iter().filter_map(Json::as_object).find(|user| user.get("variation") == variation);
            push(kind, same.map(|user| texts(list(user, "values"))).unwrap_or_default(), variation)?;
        } else {
            push(kind, own, variation)?;
        }
    }
    Ok(all)
}

/// What a rule or the fallthrough leads to.
enum Serve {
    One(String),
    Split {
        parts: Vec<Json>,
        first: String,
        /// None: the user's key.
        by: Option<String>,
        seed: Option<i64>,
    },
}

impl Serve {
    fn of(draft: &mut Draft<'_>, from: &Map<String, Json>, names: &Names) -> Result<Self, Cannot> {
        let given = |name: &str| from.get(name).filter(|value| !value.is_null());
        if let Some(variation) = given("variation") {
            return Ok(Self::One(names.at(Some(variation))?.to_owned()));
        }
        let rollout = given("rollout").and_then(Json::as_object);
        let rollout = rollout.ok_or_else(|| Cannot("A rule or the fallthrough leads nowhere.".to_owned()))?;
        draft.unknown(rollout, &["kind", "contextKind", "bucketBy", "seed", "variations"]);
        let experiment = text(rollout, "kind") == Some("experiment");
        if experiment {
            draft.say("Its experiment is a plain split now: everyone keeps their variant, and nothing is compared until \
                       a rollout is started.");
        }
        let kind = text(rollout, "contextKind").unwrap_or("user");
        let by = text(rollout, "bucketBy").filter(|by| !by.is_empty() && !experiment).unwrap_or("key");
        let reference = AttributeRef::lenient(by);
        if let Some(bad) = reference.problem() {
            return Err(Cannot(format!("It hashes an attribute that cannot be read: {}.", bad.sentence())));
        }
        let seed = match rollout.get("seed").filter(|seed| !seed.is_null()) {
            None => None,
            Some(seed) => match seed.as_i64() {
                Some(seed) if seed != 0 => Some(seed),
                _ => return Err(Cannot(format!("Its seed {seed} is read differently by different SDKs."))),
            },
        };
        let (parts, first) = parts(rollout, names)?;
        let lowest = parts.first().and_then(|part| part.get("percentage")).and_then(Json::as_f64);
        if by != "key" && lowest == Some(0.0) {
            draft.say(format!(
                "Contexts without \"{by}\" get the first variation, not the first that has a weight."
            ));
        }
        let by = (kind != "user" || by != "key").then(|| attribute(kind, &reference));
        Ok(Self::Split { parts, first, by, seed })
    }

    /// What contexts get that cannot be divided.
    fn first(&self) -> &str {
        match self {
            Self::One(name) => name,
            Self::Split { first, .. } => first,
        }
    }

    fn into_rule(self, rule: &mut Map<String, Json>, default: &str) {
        let mut set = |name: &str, value: Json| drop(rule.insert(name.to_owned(), value));
        match self {
            Self::One(name) => set("variant", name.into()),
            Self::Split { parts, first, by, seed } => {
                set("split", Json::Array(parts));
                if let Some(by) = by {
                    set("by", by.into());
                }
                set("seed", seed.map_or_else(|| "flag".into(), Json::from));
                if first != default {
                    set("control", first.into());
                }
            }
        }
    }
}

/// The pieces of a division, and the variant of the first. What the weights leave over is the last one's.
fn parts(rollout: &Map<String, Json>, names: &Names) -> Result<(Vec<Json>, String), Cannot> {
    let mut weights: Vec<(&str, u32)> = Vec::new();
    let mut left = 100_000_u32;
    for entry in list(rollout, "variations").iter().filter_map(Json::as_object) {
        let weight = entry.get("weight").and_then(Json::as_u64).unwrap_or(0);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX).min(left);
        left -= weight;
        weights.push((names.at(entry.get("variation"))?, weight));
    }
    if let Some(last) = weights.last_mut() {
        last.1 += left;
    }
    let first = weights.first().ok_or_else(|| Cannot("It divides between no variations.".to_owned()))?.0;
    let part = |(name, weight): &(&str, u32)| json!({ "variant": name, "percentage": percent(*weight) });
    Ok((weights.iter().map(part).collect(), first.to_owned()))
}

fn rules(draft: &mut Draft<'_>, rules: &[Json], names: &Names, default: &str) -> Result<Vec<Json>, Cannot> {
    let mut all = Vec::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (at, rule) in rules.iter().enumerate() {
        let rule = rule.as_object().ok_or_else(|| Cannot("A rule is no object.".to_owned()))?;
        draft.unknown(rule, &["id", "clauses", "variation", "rollout", "trackEvents", "ref", "_id"]);
        if rule.get("trackEvents") == Some(&Json::Bool(true)) {
            draft.say("The event tracking of its rules is not kept.");
        }
        let serve = Serve::of(draft, rule, names)?;
        let Some(condition) = condition(draft, list(rule, "clauses"))? else {
            draft.say(format!("Rule {} matches nobody and is left out.", at + 1));
            continue;
        };
        let own = text(rule, "id").filter(|id| id.parse::<Key>().is_ok() && *id != "fallthrough");
        let id = own.map_or_else(|| format!("rule-{}", at + 1), str::to_owned);
        let id = if taken.contains(&id) { format!("{id}-{}", at + 1) } else { id };
        taken.insert(id.clone());
        let mut made = Map::new();
        made.insert("id".to_owned(), id.into());
        made.insert("condition".to_owned(), Json::Object(condition));
        serve.into_rule(&mut made, default);
        all.push(Json::Object(made));
    }
    Ok(all)
}
