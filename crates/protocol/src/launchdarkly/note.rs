//! What a translation has to say.

use std::fmt;

/// Something about an item that a person who saves it should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// `flag` or `segment`.
    pub kind: &'static str,
    /// Its key.
    pub key: String,
    /// A stable code: `launchdarkly_left_out` when the SDKs do not get the item at all, `launchdarkly_differs` when
    /// some of them can come to another answer for some contexts, `launchdarkly_ai_config` when the AI SDK would
    /// misread a value.
    pub code: &'static str,
    /// What, and for whom.
    pub sentence: String,
}

impl Note {
    /// The SDKs do not get the item.
    pub(super) fn left_out(kind: &'static str, key: &str, why: &str) -> Self {
        let sentence = format!("LaunchDarkly SDKs do not get {kind} {key}: {why}.");
        Self { kind, key: key.to_owned(), code: "launchdarkly_left_out", sentence }
    }

    /// Some SDKs can come to another answer.
    pub(super) fn differs(kind: &'static str, key: &str, what: &str) -> Self {
        let sentence = format!("In {kind} {key}, {what}.");
        Self { kind, key: key.to_owned(), code: "launchdarkly_differs", sentence }
    }

    /// The AI SDK would not read a variant as it is meant.
    pub(super) fn ai_config(key: &str, variant: &str, what: &str) -> Self {
        let sentence = format!("Variant \"{variant}\" of flag {key}, for LaunchDarkly's AI SDK: {what}.");
        Self { kind: "flag", key: key.to_owned(), code: "launchdarkly_ai_config", sentence }
    }

    /// Whether the item is missing in what SDKs get.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.code == "launchdarkly_left_out"
    }

    /// Whether only some contexts of some SDKs are concerned.
    #[must_use]
    pub fn is_subtle(&self) -> bool {
        self.code == "launchdarkly_differs"
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
