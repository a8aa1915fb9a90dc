//! Documents of feature flags: definitions with values and constraints, read once; what is served of them, and what
//! one context gets.

mod check;
mod parse;
mod rule;

pub use rule::{Facts, Rule, split_hash};

use serde_json::{Map, Value as Json, json};

use super::Violation;

/// The media type of a document with rules in it, as Ion text.
pub const ION: &str = "application/ion; type=AWS.AppConfig.FeatureFlags";

/// A document that is in order.
#[derive(Debug, Clone)]
pub struct Document {
    /// By key, in the document's order: the value as it was written, and read.
    flags: Vec<(String, Json, Value)>,
}

/// What one flag has.
#[derive(Debug, Clone)]
pub(in crate::deployment::flags) enum Value {
    /// `{"enabled": …}` with its attributes.
    Basic(Json),
    /// In order; the last one has no rule.
    Variants(Vec<Variant>),
}

/// One variant of a flag with rules.
#[derive(Debug, Clone)]
pub(in crate::deployment::flags) struct Variant {
    rule: Option<Rule>,
    /// `{"_variant": …, "enabled": …}` with its attributes.
    object: Json,
}

impl Document {
    /// Reads a stored document.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(content: &[u8]) -> Result<Self, Vec<Violation>> {
        check::document(content)
    }

    /// Whether clients that evaluate themselves need the rules.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.flags.iter().any(|(_, _, value)| matches!(value, Value::Variants(_)))
    }

    /// The keys of its flags.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().map(|(key, ..)| key.as_str())
    }

    /// The value of a flag as it was written.
    #[must_use]
    pub fn raw(&self, flag: &str) -> Option<&Json> {
        self.flags.iter().find(|(key, ..)| key == flag).map(|(_, raw, _)| raw)
    }

    /// The same document with another value of one flag, or without it. A value that no document could have is an
    /// object's members, or a disabled flag.
    #[must_use]
    pub fn with(mut self, flag: &str, value: Option<&Json>) -> Self {
        let at = self.flags.iter().position(|(key, ..)| key == flag);
        match (at, value) {
            (Some(at), None) => drop(self.flags.remove(at)),
            (Some(at), Some(raw)) => {
                let value = lenient(raw).unwrap_or_else(|| Value::Basic(json!({ "enabled": false })));
                self.flags[at] = (flag.to_owned(), raw.clone(), value);
            }
            (None, _) => {}
        }
        self
    }

    /// What a session is served: the media type and the text. JSON where there are no rules, else Ion.
    #[must_use]
    pub fn served(&self) -> (&'static str, String) {
        if self.has_rules() {
            return (ION, self.ion());
        }
        let all: Map<String, Json> = self
            .flags
            .iter()
            .filter_map(|(key, _, value)| match value {
                Value::Basic(object) => Some((key.clone(), object.clone())),
                Value::Variants(_) => None,
            })
            .collect();
        ("application/json", Json::Object(all).to_string())
    }

    /// What a context gets of one flag. `profile` names the profile, for splits without a seed.
    #[must_use]
    pub fn evaluate(&self, profile: &str, flag: &str, facts: &(impl Facts + ?Sized)) -> Option<Json> {
        let (key, _, value) = self.flags.iter().find(|(key, ..)| key == flag)?;
        Some(match value {
            Value::Basic(object) => object.clone(),
            Value::Variants(variants) => {
                let home = format!("flag:{profile}/{key}");
                let chosen = variants
                    .iter()
                    .find(|variant| variant.rule.as_ref().is_none_or(|rule| rule.holds(facts, &home)));
                chosen.map_or_else(|| json!({ "enabled": false }), |variant| variant.object.clone())
            }
        })
    }

    fn ion(&self) -> String {
        let mut parts = Vec::new();
        for (key, _, value) in &self.flags {
            let body = match value {
                Value::Basic(object) => long(object),
                Value::Variants(variants) => {
                    let variants = variants.iter().map(|variant| match &variant.rule {
                        Some(rule) => format!("  [\n    {},\n    {}\n  ]", rule.ion(), long(&variant.object)),
                        None => format!("  {}", long(&variant.object)),
                    });
                    format!("[\n{}\n]", variants.collect::<Vec<_>>().join(",\n"))
                }
            };
            parts.push(format!("'{key}'::{body}"));
        }
        parts.join("\n\n") + "\n"
    }
}

/// A value without its definition.
fn lenient(raw: &Json) -> Option<Value> {
    let members = raw.as_object()?;
    let Some(variants) = members.get("_variants").and_then(Json::as_array) else {
        return Some(Value::Basic(basic(members)));
    };
    let variants = variants.iter().map(|one| {
        let text = one.get("rule").and_then(Json::as_str).unwrap_or_default();
        let rule = if text.trim().is_empty() { None } else { Some(Rule::parse(text).ok()?) };
        let (name, enabled) = (one.get("name")?.as_str()?, one.get("enabled")?.as_bool()?);
        let none = Map::new();
        let values = one.get("attributeValues").and_then(Json::as_object).unwrap_or(&none);
        Some(Variant { rule, object: variant(name, enabled, values) })
    });
    variants.collect::<Option<Vec<_>>>().map(Value::Variants)
}

/// What is served of a basic flag; the attributes of a disabled one are withheld.
fn basic(members: &Map<String, Json>) -> Json {
    let enabled = members.get("enabled") == Some(&Json::Bool(true));
    let mut object = Map::new();
    object.insert("enabled".into(), json!(enabled));
    let own = |key: &str| !matches!(key, "enabled" | "_createdAt" | "_updatedAt");
    let own = members.iter().filter(|(key, _)| enabled && own(key));
    object.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    Json::Object(object)
}

/// What is served of a variant.
fn variant(name: &str, enabled: bool, values: &Map<String, Json>) -> Json {
    let mut object = Map::new();
    object.insert("_variant".into(), json!(name));
    object.insert("enabled".into(), json!(enabled));
    if enabled {
        object.extend(values.clone());
    }
    Json::Object(object)
}

/// JSON in Ion's long quotes: backslashes doubled, and no quote that could end it.
fn long(value: &Json) -> String {
    format!("'''{}'''", value.to_string().replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests;
