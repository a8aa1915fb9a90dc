//! Whether a document of feature flags is in order, and what is wrong if not.

use regex::Regex;
use serde_json::{Map, Value as Json, json};

use super::{Document, Rule, Value, Variant};
use crate::deployment::Violation;

/// Most attributes of a flag, and values of a variant.
const ATTRIBUTES: usize = 25;
/// Most variants of a flag.
const VARIANTS: usize = 32;

/// Everything wrong, with where.
struct Check {
    found: Vec<Violation>,
}

pub(super) fn document(content: &[u8]) -> Result<Document, Vec<Violation>> {
    let value: Json = match serde_json::from_slice(content) {
        Ok(value) => value,
        Err(error) => {
            let reason = format!("The document is not JSON: {error}.");
            return Err(vec![Violation::new("type", "", reason, &Json::Null)]);
        }
    };
    let mut check = Check { found: Vec::new() };
    let flags = check.top(&value);
    if check.found.is_empty() { Ok(Document { flags }) } else { Err(check.found) }
}

fn is_key(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

impl Check {
    fn wrong(&mut self, constraint: &str, at: &str, reason: impl Into<String>, value: &Json) {
        self.found.push(Violation::new(constraint, at, reason, value));
    }

    fn object<'v>(&mut self, at: &str, value: Option<&'v Json>) -> Option<&'v Map<String, Json>> {
        match value {
            None => None,
            Some(Json::Object(map)) => Some(map),
            Some(other) => {
                self.wrong("type", at, "This is an object.", other);
                None
            }
        }
    }

    fn top(&mut self, value: &Json) -> Vec<(String, Json, Value)> {
        let Some(all) = self.object("", Some(value)) else { return Vec::new() };
        if all.get("version") != Some(&json!("1")) {
            let given = all.get("version").cloned().unwrap_or_default();
            self.wrong("version", "/version", "The version is the text \"1\".", &given);
        }
        for key in all.keys().filter(|key| !matches!(key.as_str(), "version" | "flags" | "values")) {
            self.wrong(
                "additionalProperties",
                &format!("/{key}"),
                "There is version, flags and values.",
                &json!(key),
            );
        }
        let empty = Map::new();
        let flags = self.object("/flags", all.get("flags")).unwrap_or(&empty);
        for (key, definition) in flags {
            self.definition(key, definition);
        }
        let values = self.object("/values", all.get("values")).unwrap_or(&empty);
        let mut read = Vec::new();
        for (key, value) in values {
            let at = format!("/values/{key}");
            let Some(definition) = flags.get(key) else {
                self.wrong(
                    "required",
                    &at,
                    format!("There is no flag \"{key}\" among the definitions."),
                    &json!(key),
                );
                continue;
            };
            let none = Map::new();
            let attributes = definition.get("attributes").and_then(Json::as_object).unwrap_or(&none);
            if let Some(found) = self.value(&at, value, attributes) {
                read.push((key.clone(), value.clone(), found));
            }
        }
        read
    }

    fn definition(&mut self, key: &str, definition: &Json) {
        let at = format!("/flags/{key}");
        if !is_key(key) {
            self.wrong("pattern", &at, "A flag's key is ^[a-z][a-zA-Z\\d_-]{0,63}$.", &json!(key));
        }
        let Some(members) = self.object(&at, Some(definition)) else { return };
        if let Some(name) = members.get("name") {
            let good = name
                .as_str()
                .is_some_and(|name| (1..=64).contains(&name.chars().count()) && !name.contains('\n'));
            if !good {
                self.wrong("name", &format!("{at}/name"), "A name has 1 to 64 characters on one line.", name);
            }
        }
        let Some(attributes) = self.object(&format!("{at}/attributes"), members.get("attributes")) else {
            return;
        };
        if attributes.len() > ATTRIBUTES {
            self.wrong(
                "maxProperties",
                &format!("{at}/attributes"),
                "A flag has at most 25 attributes.",
                &Json::Null,
            );
        }
        for (name, attribute) in attributes {
            let at = format!("{at}/attributes/{name}");
            if !is_key(name) || name == "enabled" {
                self.wrong(
                    "pattern",
                    &at,
                    "An attribute's key is ^[a-z][a-zA-Z\\d_-]{0,63}$ and not \"enabled\".",
                    &json!(name),
                );
            }
            let constraints = attribute.get("constraints").unwrap_or(&Json::Null);
            let kind = constraints.get("type").and_then(Json::as_str).unwrap_or_default();
            if !matches!(kind, "string" | "number" | "boolean" | "array") {
                self.wrong(
                    "type",
                    &format!("{at}/constraints"),
                    "The type is string, number, boolean or array.",
                    constraints,
                );
            }
            if constraints.get("pattern").is_some() && constraints.get("enum").is_some() {
                self.wrong(
                    "pattern",
                    &format!("{at}/constraints"),
                    "A pattern or an enum, not both.",
                    constraints,
                );
            }
            if let Some(pattern) = constraints.get("pattern")
                && pattern.as_str().is_none_or(|text| text.len() > 1024 || Regex::new(text).is_err())
            {
                self.wrong(
                    "pattern",
                    &format!("{at}/constraints/pattern"),
                    "This is not a regular expression.",
                    pattern,
                );
            }
        }
    }

    fn value(&mut self, at: &str, value: &Json, attributes: &Map<String, Json>) -> Option<Value> {
        let members = self.object(at, Some(value))?;
        let Some(variants) = members.get("_variants") else {
            return self.basic(at, members, attributes).map(Value::Basic);
        };
        let at = format!("{at}/_variants");
        let Some(variants) = variants.as_array().filter(|all| (1..=VARIANTS).contains(&all.len())) else {
            self.wrong("_variants", &at, "A flag has 1 to 32 variants in a list.", variants);
            return None;
        };
        let mut read = Vec::new();
        for (index, variant) in variants.iter().enumerate() {
            let last = index + 1 == variants.len();
            read.extend(self.variant(&format!("{at}/{index}"), variant, last, attributes));
        }
        Some(Value::Variants(read))
    }

    fn variant(
        &mut self,
        at: &str,
        variant: &Json,
        last: bool,
        attributes: &Map<String, Json>,
    ) -> Option<Variant> {
        let members = self.object(at, Some(variant))?;
        let (name, enabled) =
            (members.get("name").and_then(Json::as_str), members.get("enabled").and_then(Json::as_bool));
        let (Some(name), Some(enabled)) = (name, enabled) else {
            self.wrong("required", at, "A variant has a name and says whether it is enabled.", variant);
            return None;
        };
        let text = members.get("rule").and_then(Json::as_str).unwrap_or_default();
        let rule = if text.trim().is_empty() {
            None
        } else {
            match Rule::parse(text) {
                Ok(rule) => Some(rule),
                Err(why) => {
                    self.wrong("rule", &format!("{at}/rule"), why, &json!(text));
                    return None;
                }
            }
        };
        if rule.is_none() != last {
            let reason = "The default, the one variant without a rule, is the last one.";
            self.wrong("rule", at, reason, variant);
        }
        let none = Map::new();
        let at_values = format!("{at}/attributeValues");
        let values = self.object(&at_values, members.get("attributeValues")).unwrap_or(&none);
        self.values(&at_values, values, attributes, enabled);
        Some(Variant { rule, object: super::variant(name, enabled, values) })
    }

    fn basic(
        &mut self,
        at: &str,
        members: &Map<String, Json>,
        attributes: &Map<String, Json>,
    ) -> Option<Json> {
        let Some(enabled) = members.get("enabled").and_then(Json::as_bool) else {
            self.wrong("required", at, "A value says whether it is enabled.", &Json::Object(members.clone()));
            return None;
        };
        let own = |key: &str| !matches!(key, "enabled" | "_createdAt" | "_updatedAt");
        let values: Map<String, Json> = members
            .iter()
            .filter(|(key, _)| own(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        self.values(at, &values, attributes, enabled);
        Some(super::basic(members))
    }

    fn values(
        &mut self,
        at: &str,
        values: &Map<String, Json>,
        attributes: &Map<String, Json>,
        enabled: bool,
    ) {
        for (name, value) in values {
            let at = format!("{at}/{name}");
            match attributes.get(name).and_then(|attribute| attribute.get("constraints")) {
                Some(constraints) => self.constrained(&at, value, constraints),
                None => self.wrong(
                    "additionalProperties",
                    &at,
                    format!("The flag has no attribute \"{name}\"."),
                    value,
                ),
            }
        }
        for (name, attribute) in attributes {
            let required = attribute.pointer("/constraints/required") == Some(&Json::Bool(true));
            if required && enabled && !values.contains_key(name) {
                self.wrong("required", at, format!("The attribute \"{name}\" is required."), &json!(name));
            }
        }
    }

    fn constrained(&mut self, at: &str, value: &Json, constraints: &Json) {
        let limit = |name: &str| constraints.get(name).and_then(Json::as_f64);
        match (constraints.get("type").and_then(Json::as_str), value) {
            (Some("boolean"), Json::Bool(_)) => {}
            (Some("number"), Json::Number(n)) => {
                let n = n.as_f64().unwrap_or_default();
                if limit("minimum").is_some_and(|least| n < least) {
                    self.wrong("minimum", at, "The number is below the minimum.", value);
                }
                if limit("maximum").is_some_and(|most| n > most) {
                    self.wrong("maximum", at, "The number is above the maximum.", value);
                }
            }
            (Some("string"), Json::String(text)) => {
                if text.chars().count() > 1024 {
                    self.wrong("maxLength", at, "A text has at most 1024 characters.", value);
                }
                let pattern = constraints.get("pattern").and_then(Json::as_str);
                if pattern
                    .and_then(|pattern| Regex::new(pattern).ok())
                    .is_some_and(|pattern| !pattern.is_match(text))
                {
                    self.wrong("pattern", at, "The text does not match the pattern.", value);
                }
                let allowed = constraints.get("enum").and_then(Json::as_array);
                if allowed.is_some_and(|allowed| !allowed.contains(value)) {
                    self.wrong("enum", at, "The text is not one of those allowed.", value);
                }
            }
            (Some("array"), Json::Array(all)) => {
                let elements = constraints.get("elements").unwrap_or(&Json::Null);
                for (index, element) in all.iter().enumerate() {
                    self.constrained(&format!("{at}/{index}"), element, elements);
                }
            }
            (kind, _) => {
                let reason =
                    format!("The value is of type {}.", kind.unwrap_or("string, number, boolean or array"));
                self.wrong("type", at, reason, value);
            }
        }
    }
}
