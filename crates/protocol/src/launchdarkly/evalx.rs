//! Evaluated flags, as client-side SDKs get them.

use serde_json::{Map, Value as Json, json};

/// What one flag gave for one context.
#[derive(Debug, Clone, PartialEq)]
pub struct Result {
    /// The flag.
    pub flag: String,
    /// The flag's own version; events name it.
    pub flag_version: u64,
    /// What the code receives; none: its own default.
    pub value: Option<Json>,
    /// The index of the variation.
    pub variation: Option<u16>,
    /// Every evaluation is reported.
    pub track_events: bool,
    /// And with its reason.
    pub track_reason: bool,
    /// Why.
    pub reason: Json,
    /// The prerequisites that were asked, in order, those that the client may not see left out.
    pub prerequisites: Vec<String>,
}

impl Result {
    /// Without `version`: two results with equal content are the same to a client.
    #[must_use]
    pub fn content(&self, with_reason: bool) -> Map<String, Json> {
        let mut all = Map::new();
        let mut put = |name: &str, value: Json| drop(all.insert(name.to_owned(), value));
        put("flagVersion", self.flag_version.into());
        put("value", self.value.clone().unwrap_or_default());
        if let Some(variation) = self.variation {
            put("variation", variation.into());
        }
        put("trackEvents", self.track_events.into());
        if self.track_reason {
            put("trackReason", true.into());
        }
        if with_reason || self.track_reason {
            put("reason", self.reason.clone());
        }
        if !self.prerequisites.is_empty() {
            put("prerequisites", json!(self.prerequisites));
        }
        all
    }
}

/// A content with the version that orders it among others of its flag.
#[must_use]
pub fn versioned(mut content: Map<String, Json>, version: u64) -> Json {
    content.insert("version".to_owned(), version.into());
    Json::Object(content)
}

/// One change in a stream: a result with its key.
#[must_use]
pub fn patch(flag: &str, content: Map<String, Json>, version: u64) -> String {
    let mut all = Map::new();
    all.insert("key".to_owned(), flag.into());
    all.extend(content);
    format!("event: patch\ndata: {}\n\n", versioned(all, version))
}

/// A flag that the client no longer sees.
#[must_use]
pub fn delete(flag: &str, version: u64) -> String {
    format!("event: delete\ndata: {}\n\n", json!({ "key": flag, "version": version }))
}

/// Every result, as a stream begins.
#[must_use]
pub fn put(all: &Json) -> String {
    format!("event: put\ndata: {all}\n\n")
}

/// Tells a client to ask again.
pub const PING: &str = "event: ping\ndata: \n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_says_what_the_client_needs_and_no_more() {
        let result = Result {
            flag: "model".into(),
            flag_version: 42,
            value: Some(json!("sonnet")),
            variation: Some(1),
            track_events: false,
            track_reason: false,
            reason: json!({"kind": "FALLTHROUGH"}),
            prerequisites: Vec::new(),
        };
        let plain =
            json!({"flagVersion": 42, "value": "sonnet", "variation": 1, "trackEvents": false, "version": 7});
        assert_eq!(versioned(result.content(false), 7), plain);
        let tracked = Result { track_reason: true, prerequisites: vec!["gate".into()], ..result.clone() };
        assert_eq!(tracked.content(false)["reason"], json!({"kind": "FALLTHROUGH"}));
        assert_eq!(tracked.content(false)["prerequisites"], json!(["gate"]));
        let none = Result { value: None, variation: None, ..result };
        assert_eq!(none.content(true)["value"], Json::Null);
        assert!(!none.content(true).contains_key("variation"));
        let text = patch("model", none.content(false), 9);
        assert!(
            text.starts_with("event: patch\ndata: {\"key\":\"model\",") && text.ends_with("}\n\n"),
            "{text}"
        );
    }
}
