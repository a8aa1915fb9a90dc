//! What is wrong with a definition, and what is served in spite of it.

use std::fmt;

/// One bad place in one flag or segment. The rest of the ruleset is unaffected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which flag or segment.
    pub item: Item,
    /// JSON pointer into the definition, e.g. `/rules/2/conditions/0`.
    pub at: String,
    /// What is wrong there.
    pub what: What,
}

/// A flag or a segment, by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A flag.
    Flag(String),
    /// A segment.
    Segment(String),
}

/// What can be wrong with a definition that compiles all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A variant index that the flag does not have.
    NoSuchVariant(u16),
    /// An attribute reference that means nothing.
    BadAttribute(String),
    /// A regular expression that does not compile, or is too large.
    BadRegex(String),
    /// An operator that is not known here.
    UnknownOperator(String),
    /// A value that the operator cannot take.
    BadOperand(String),
    /// A segment that does not exist.
    NoSuchSegment(String),
    /// A prerequisite flag that does not exist.
    NoSuchFlag(String),
    /// A prerequisite variant that the other flag does not have.
    NoSuchPrerequisiteVariant(u16),
    /// Its prerequisites (or nested segments) lead into a circle.
    Cycle,
    /// Its prerequisites (or nested segments) are nested too deeply.
    TooDeep,
    /// An allocation without intervals.
    EmptyAllocation,
    /// Control is not the first interval, so clients that compute locally would give missing units another.
    ControlNotFirst,
    /// A gate as the fallthrough: units outside it get no variant.
    GateAsFallthrough,
    /// Another definition of the same key; the later one is used.
    DuplicateKey,
}

impl What {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            What::NoSuchVariant(_) => "no-such-variant",
            What::BadAttribute(_) => "bad-attribute",
            What::BadRegex(_) => "bad-regex",
            What::UnknownOperator(_) => "unknown-operator",
            What::BadOperand(_) => "bad-operand",
            What::NoSuchSegment(_) => "no-such-segment",
            What::NoSuchFlag(_) => "no-such-flag",
            What::NoSuchPrerequisiteVariant(_) => "no-such-prerequisite-variant",
            What::Cycle => "cycle",
            What::TooDeep => "too-deep",
            What::EmptyAllocation => "empty-allocation",
            What::ControlNotFirst => "control-not-first",
            What::GateAsFallthrough => "gate-as-fallthrough",
            What::DuplicateKey => "duplicate-key",
        }
    }

    /// What is served instead, as a clause for a person.
    #[must_use]
    pub fn served(&self) -> &'static str {
        match self {
            What::NoSuchVariant(_)
            | What::BadAttribute(_)
            | What::Cycle
            | What::TooDeep
            | What::EmptyAllocation => {
                "an evaluation that gets there is malformed and serves the caller's default"
            }
            What::BadRegex(_) | What::UnknownOperator(_) | What::BadOperand(_) => "the value matches nothing",
            What::NoSuchSegment(_) => "the segment has no members",
            What::NoSuchFlag(_) | What::NoSuchPrerequisiteVariant(_) => {
                "the prerequisite fails and the flag serves its off variant"
            }
            What::ControlNotFirst => "units that are missing get the declared control",
            What::GateAsFallthrough => "units outside the gate get the caller's default",
            What::DuplicateKey => "the later definition is used",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = match &self.item {
            Item::Flag(key) => format!("flag {key}"),
            Item::Segment(key) => format!("segment {key}"),
        };
        let what = match &self.what {
            What::NoSuchVariant(index) => format!("there is no variant {index}"),
            What::BadAttribute(why) | What::BadRegex(why) | What::BadOperand(why) => why.clone(),
            What::UnknownOperator(op) => format!("the operator {op:?} is not known"),
            What::NoSuchSegment(key) => format!("there is no segment {key:?}"),
            What::NoSuchFlag(key) => format!("there is no flag {key:?}"),
            What::NoSuchPrerequisiteVariant(index) => format!("the prerequisite has no variant {index}"),
            What::Cycle => "it depends on itself, directly or through others".to_owned(),
            What::TooDeep => "what it depends on is nested too deeply".to_owned(),
            What::EmptyAllocation => "the allocation has no intervals".to_owned(),
            What::ControlNotFirst => "control is not the first interval of the allocation".to_owned(),
            What::GateAsFallthrough => "a gate cannot be the last resort".to_owned(),
            What::DuplicateKey => "the key is defined twice".to_owned(),
        };
        write!(f, "{item}{}: {what}; {}", self.at, self.what.served())
    }
}
