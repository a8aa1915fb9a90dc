//! The shapes of definitions on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

fn no(value: &bool) -> bool {
    !*value
}

#[derive(Serialize, Deserialize)]
pub(super) struct Flag {
    pub(super) version: u64,
    pub(super) kind: Kind,
    pub(super) on: bool,
    pub(super) salt: String,
    pub(super) variants: Vec<Variant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kill: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) off: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) prerequisites: Vec<Prerequisite>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pins: Vec<Pin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) targets: Vec<Target>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rules: Vec<Rule>,
    pub(super) fallthrough: Outcome,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Boolean,
    String,
    Integer,
    Float,
    Json,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) value: Json,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Prerequisite {
    pub(super) flag: String,
    pub(super) variant: u16,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Pin {
    pub(super) id: String,
    pub(super) variant: u16,
    #[serde(flatten)]
    pub(super) who: PinnedTo,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum PinnedTo {
    Keys { unit: String, keys: Vec<String> },
    Conditions { conditions: Vec<Condition> },
}

#[derive(Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) kind: String,
    pub(super) keys: Vec<String>,
    pub(super) variant: u16,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Rule {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) conditions: Vec<Condition>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// The order matters: a gate has a variant too.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Split { split: Split },
    Gate { gate: Gate, variant: u16 },
    Fixed { variant: u16 },
}

#[derive(Serialize, Deserialize)]
pub(super) struct Split {
    pub(super) id: String,
    pub(super) epoch: u32,
    pub(super) unit: Unit,
    /// Absent: the flag's key and salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<String>,
    #[serde(default, skip_serializing_if = "no")]
    pub(super) experiment: bool,
    pub(super) control: u16,
    pub(super) intervals: Vec<Interval>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Interval {
    pub(super) variant: u16,
    pub(super) weight: u32,
    #[serde(default, skip_serializing_if = "no")]
    pub(super) untracked: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Gate {
    pub(super) id: String,
    pub(super) salt: String,
    pub(super) unit: Unit,
    pub(super) weight: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Unit {
    Named(String),
    Attribute { kind: String, by: Attribute },
}

/// A reference as it is written, or a literal name that would else be taken for a path.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Attribute {
    Written(String),
    Literal { name: String },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Condition {
    Clause {
        kind: String,
        attribute: Attribute,
        op: String,
        values: Vec<Json>,
        #[serde(default, skip_serializing_if = "no")]
        negate: bool,
    },
    Segments {
        segments: Vec<String>,
        #[serde(default, skip_serializing_if = "no")]
        negate: bool,
    },
    Any {
        any: Vec<Condition>,
    },
    All {
        all: Vec<Condition>,
    },
    Not {
        not: Box<Condition>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) version: u64,
    pub(super) salt: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) included: Vec<Keys>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) excluded: Vec<Keys>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rules: Vec<SegmentRule>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) kind: String,
    pub(super) keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SegmentRule {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) conditions: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u32>,
    pub(super) kind: String,
    pub(super) by: Attribute,
}
