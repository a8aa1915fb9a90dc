//! flagd's definition document: which flags its evaluators can compute exactly, and what it says of them.
//!
//! flagd's evaluators divide units by another hash and know one context kind. A flag that they cannot compute exactly
//! is left out and named, with the reason: in process its callers get their own default and an error they can see,
//! never another arm than everybody else. Remote evaluation gives Ensign's answer for every flag.
//!
//! Exact means: for flat contexts in which an attribute has the type that the rules compare it with.

mod logic;

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_eval::model::{Flag, Outcome, PinnedTo, Segment, USER, Value, ValueKind, WHOLE};
use serde_json::{Map, Value as Json, json};

use logic::Rules;

/// Why a flag is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotExact {
    /// A percentage decides, and flagd's hash is another one.
    Percentage,
    /// It needs other flags.
    Prerequisites,
    /// It asks for another context kind than the user.
    ContextKind,
    /// It asks for a unit that flagd does not have.
    Unit,
    /// It uses an operator that flagd does not have, or has with another meaning.
    Operator,
    /// It reads an attribute that flagd cannot name.
    Attribute,
    /// Its values are of a type, or its variants of names, that flagd does not have.
    Values,
    /// Its definition is broken.
    Broken,
}

impl NotExact {
    /// A sentence for a person.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Percentage => "a percentage decides, and flagd's evaluators divide units by another hash",
            Self::Prerequisites => "it needs other flags, which flagd does not know",
            Self::ContextKind => "it asks for a context kind other than the user",
            Self::Unit => "it goes by a unit that flagd does not have",
            Self::Operator => "it uses an operator that flagd does not have with this meaning",
            Self::Attribute => "it reads an attribute that flagd cannot name",
            Self::Values => "its values or the names of its variants are not what flagd accepts",
            Self::Broken => "its definition is broken",
        }
    }
}

/// What flagd's in-process providers get.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The document.
    pub document: String,
    /// The flags that are left out, with the reason.
    pub left_out: Vec<(String, NotExact)>,
}

/// Writes the document of one environment. `place` names the flag set.
#[must_use]
pub fn export(
    place: &str,
    revision: u64,
    flags: &BTreeMap<String, Arc<Flag>>,
    segments: &BTreeMap<String, Segment>,
) -> Export {
    let (mut exported, mut left_out) = (Map::new(), Vec::new());
    for (key, flag) in flags {
        match one(flag, segments) {
            Ok(json) => drop(exported.insert(key.clone(), json)),
            Err(why) => left_out.push((key.clone(), why)),
        }
    }
    let mut metadata = json!({ "flagSetId": place, "version": revision });
    if !left_out.is_empty() {
        // Primitives only, and short: providers copy it into each evaluation.
        let mut names = left_out.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(",");
        names.truncate(1_000);
        metadata["notExact"] = json!(names);
        metadata["notExactCount"] = json!(left_out.len());
    }
    Export { document: json!({ "flags": exported, "metadata": metadata }).to_string(), left_out }
}

fn one(flag: &Flag, segments: &BTreeMap<String, Segment>) -> Result<Json, NotExact> {
    let variants = variants(flag)?;
    let name = |index: u16| {
        flag.variants.get(usize::from(index)).map(|variant| variant.name.clone()).ok_or(NotExact::Broken)
    };
    let (state, default, targeting) = if let Some(kill) = flag.kill {
        ("ENABLED", name(kill.variant)?, None)
    } else if !flag.on {
        match flag.off_variant {
            Some(off) => ("ENABLED", name(off)?, None),
            None => ("DISABLED", String::new(), None),
        }
    } else {
        let rules = Rules { segments };
        let (default, targeting) = targeting(flag, &rules)?;
        ("ENABLED", name(default)?, targeting)
    };
    let mut json = json!({ "state": state, "variants": variants, "defaultVariant": default });
    if let Some(targeting) = targeting {
        json["targeting"] = targeting;
    }
    json["metadata"] = json!({ "flagVersion": flag.version });
    Ok(json)
}

/// Variants by name; all of one of flagd's types.
fn variants(flag: &Flag) -> Result<Map<String, Json>, NotExact> {
    let mut all = Map::new();
    for variant in &flag.variants {
        let fits = match (&variant.value, flag.kind) {
            (Value::Json(json), ValueKind::Json) => json.is_object(),
            (Value::Json(_), _) | (_, ValueKind::Json) => false,
            (value, kind) => value.kind() == kind,
        };
        let new = all.insert(variant.name.clone(), variant.value.to_json()).is_none();
        if !fits || !new || variant.name.is_empty() {
            return Err(NotExact::Values);
        }
    }
    if all.is_empty() { Err(NotExact::Values) } else { Ok(all) }
}

/// The default variant, and the rule that may give another.
fn targeting(flag: &Flag, rules: &Rules<'_>) -> Result<(u16, Option<Json>), NotExact> {
    if !flag.prerequisites.is_empty() {
        return Err(NotExact::Prerequisites);
    }
    let name = |index: u16| {
        let variant = flag.variants.get(usize::from(index)).ok_or(NotExact::Broken)?;
        Ok(json!(variant.name))
    };
    let mut steps: Vec<Json> = Vec::new();
    for pin in &flag.pins {
        let held = match &pin.who {
            PinnedTo::Keys { unit, keys } if unit == USER => logic::user_in(keys),
            PinnedTo::Keys { .. } => return Err(NotExact::Unit),
            PinnedTo::Conditions(all) => rules.all(all)?,
        };
        steps.extend([held, name(pin.variant)?]);
    }
    for target in &flag.targets {
        if target.kind != USER {
            return Err(NotExact::ContextKind);
        }
        steps.extend([logic::user_in(&target.keys), name(target.variant)?]);
    }
    for rule in &flag.rules {
        let conditions = rules.all(&rule.conditions)?;
        let (conditions, variant) = match &rule.outcome {
            Outcome::Fixed(variant) => (conditions, *variant),
            Outcome::Split(_) => (conditions, whole(&rule.outcome)?),
            // Nobody, or everybody who has the unit.
            Outcome::Gate { gate, .. } if gate.weight == 0 => continue,
            Outcome::Gate { gate, variant } if gate.weight >= WHOLE => {
                if gate.unit != ensign_eval::model::Unit::user() {
                    return Err(NotExact::Unit);
                }
                (json!({ "and": [conditions, logic::user_present()] }), *variant)
            }
            Outcome::Gate { .. } => return Err(NotExact::Percentage),
        };
        steps.extend([conditions, name(variant)?]);
    }
    let default = whole(&flag.fallthrough)?;
    Ok((default, (!steps.is_empty()).then(|| json!({ "if": steps }))))
}

/// The variant that everybody gets, units that are missing among them.
fn whole(outcome: &Outcome) -> Result<u16, NotExact> {
    match outcome {
        Outcome::Fixed(variant) => Ok(*variant),
        Outcome::Split(split) => {
            let others = split.intervals.iter().any(|i| i.variant != split.control && i.weight > 0);
            // What is left over goes to the last.
            let last = split.intervals.last().is_none_or(|last| last.variant == split.control);
            let full = last || split.share(split.control) >= WHOLE;
            if others || !full { Err(NotExact::Percentage) } else { Ok(split.control) }
        }
        Outcome::Gate { .. } => Err(NotExact::Percentage),
    }
}

/// Whether a selector names this flag set: `flagSetId=project/environment`, or `source=` the same, or the bare name.
/// It may only name what the caller may read anyway.
///
/// # Errors
/// A sentence, when it is no selector or names another set.
pub fn selects(selector: &str, place: &str) -> Result<(), String> {
    let selector = selector.trim();
    if selector.is_empty() {
        return Ok(());
    }
    let name = match selector.split_once('=') {
        Some(("flagSetId" | "source", name)) => name,
        Some((other, _)) => return Err(format!("a selector says `flagSetId` or `source`, not `{other}`")),
        None => selector,
    };
    if name == place {
        Ok(())
    } else {
        Err(format!("the key belongs to the flag set {place}, not to `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::selects;

    #[test]
    fn a_selector_may_only_name_what_the_key_allows() {
        for good in ["", "flagSetId=p/e", "source=p/e", "p/e", " p/e "] {
            assert_eq!(selects(good, "p/e"), Ok(()), "{good}");
        }
        for bad in ["flagSetId=", "flagSetId=p/other", "other", "name=p/e", "flagSetId=p/e,source=x"] {
            assert!(selects(bad, "p/e").is_err(), "{bad}");
        }
    }
}
