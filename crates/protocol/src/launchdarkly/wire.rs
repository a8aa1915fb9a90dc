//! The shapes that SDKs read. Every member is written on every item: some SDKs drop a whole payload for one that lacks.

use serde::Serialize;
use serde_json::Value as Json;

/// A flag.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireFlag {
    /// Its key.
    pub key: String,
    /// Only grows, for ever.
    pub version: u64,
    /// When false, `off_variation` is served.
    pub on: bool,
    /// Flags that must be on and serve a variation.
    pub prerequisites: Vec<WirePrerequisite>,
    /// Individual users.
    pub targets: Vec<WireTarget>,
    /// Individual keys of every kind, in order; an entry of users is empty and stands for the one in `targets`.
    pub context_targets: Vec<WireTarget>,
    /// In order.
    pub rules: Vec<WireRule>,
    /// When nothing above decides.
    pub fallthrough: WireServe,
    /// Null: the caller's own default.
    pub off_variation: Option<u16>,
    /// The values.
    pub variations: Vec<Json>,
    /// Part of the hashed string.
    pub salt: String,
    /// Every evaluation is reported.
    pub track_events: bool,
    /// Every evaluation by the fallthrough is reported, with its reason.
    pub track_events_fallthrough: bool,
    /// Never used.
    pub debug_events_until_date: Option<i64>,
    /// The same as `using_environment_id`; older SDKs read this one.
    pub client_side: bool,
    /// Which clients may see it.
    pub client_side_availability: Availability,
    /// Always 1.
    pub sampling_ratio: u32,
    /// Always false.
    pub exclude_from_summaries: bool,
    /// Always false; what is gone is deleted by name.
    pub deleted: bool,
}

/// Which client-side SDKs may see a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// Those with a mobile key.
    pub using_mobile_key: bool,
    /// Those with a client-side ID: browsers.
    pub using_environment_id: bool,
}

/// A flag that must serve a variation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WirePrerequisite {
    /// Its key.
    pub key: String,
    /// The position of the variation.
    pub variation: u16,
}

/// Individual keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireTarget {
    /// The context kind.
    pub context_kind: String,
    /// What they get.
    pub variation: u16,
    /// The keys.
    pub values: Vec<String>,
}

/// A rule: all clauses must hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireRule {
    /// Stable; shown in reasons.
    pub id: String,
    /// What it leads to.
    #[serde(flatten)]
    pub serve: WireServe,
    /// All must hold.
    pub clauses: Vec<WireClause>,
    /// Every evaluation by this rule is reported, with its reason.
    pub track_events: bool,
}

/// What a rule or the fallthrough leads to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WireServe {
    /// One variation.
    Variation(u16),
    /// One of several, by hash.
    Rollout(WireRollout),
}

/// A division by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireRollout {
    /// `rollout` or `experiment`.
    pub kind: &'static str,
    /// Whose attribute is hashed.
    pub context_kind: String,
    /// Which attribute; experiments hash the key whatever stands here.
    pub bucket_by: String,
    /// Stands before the value in the hashed string instead of the flag's key and salt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// In order, in 1/100,000.
    pub variations: Vec<WireWeight>,
}

/// A piece of a division.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WireWeight {
    /// What these contexts get.
    pub variation: u16,
    /// How many, in 1/100,000.
    pub weight: u32,
    /// Not part of the experiment.
    pub untracked: bool,
}

/// A comparison of one attribute; any of the values is enough.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireClause {
    /// The context kind looked at.
    pub context_kind: String,
    /// An attribute reference; empty for segments.
    pub attribute: String,
    /// How it is compared.
    pub op: String,
    /// With what.
    pub values: Vec<Json>,
    /// Turns the answer round.
    pub negate: bool,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireSegment {
    /// Its key.
    pub key: String,
    /// Only grows, for ever.
    pub version: u64,
    /// User keys that are in.
    pub included: Vec<String>,
    /// User keys that are out.
    pub excluded: Vec<String>,
    /// Keys of other kinds that are in.
    pub included_contexts: Vec<WireKeys>,
    /// Keys of other kinds that are out.
    pub excluded_contexts: Vec<WireKeys>,
    /// Any that matches includes.
    pub rules: Vec<WireSegmentRule>,
    /// Part of the hashed string of weighted rules.
    pub salt: String,
    /// Always false: members stand here.
    pub unbounded: bool,
    /// Always false; what is gone is deleted by name.
    pub deleted: bool,
}

/// Keys of one context kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireKeys {
    /// The context kind.
    pub context_kind: String,
    /// The keys.
    pub values: Vec<String>,
}

/// A rule of a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireSegmentRule {
    /// Stable.
    pub id: String,
    /// All must hold.
    pub clauses: Vec<WireClause>,
    /// Only this share, in 1/100,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Which attribute is hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_by: Option<String>,
    /// Of which kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_context_kind: Option<String>,
}

impl Availability {
    /// What a flag's `client_side` member says: `true`, `false`, `"mobile"` or `"browser"`.
    #[must_use]
    pub fn of(client_side: Option<&Json>) -> Self {
        let word = client_side.and_then(Json::as_str);
        let all = client_side == Some(&Json::Bool(true));
        Self {
            using_mobile_key: all || word == Some("mobile"),
            using_environment_id: all || word == Some("browser"),
        }
    }
}
