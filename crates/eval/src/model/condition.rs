//! Conditions: leaves that compare an attribute, leaves that ask a segment, and the tree above them.

use super::AttributeRef;

/// One condition of a rule.
///
/// A condition is true, false or *unknown*; only true makes a rule match. A leaf whose attribute is missing
/// from the context is unknown, negated or not. `All` is false if a member is false, else unknown if one is
/// unknown; `Any` is true if a member is true, else unknown if one is unknown; `Not` swaps true and false
/// and keeps unknown. So a missing attribute never makes anything match, also not under `Not`.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Compares an attribute.
    Clause(Clause),
    /// Asks for membership of a segment. Membership is always known.
    Segment(SegmentMatch),
    /// At least one must hold; an empty list does not hold.
    Any(Vec<Condition>),
    /// All must hold; an empty list holds.
    All(Vec<Condition>),
    /// Must not hold, and that must be known.
    Not(Box<Condition>),
}

/// Compares one attribute of one context kind with values; any of them is enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// The context kind looked at; `user` by default.
    pub kind: String,
    /// The attribute. The name `kind` asks for the kinds of the context.
    pub attribute: AttributeRef,
    /// How it is compared.
    pub op: Op,
    /// With what. A value of a type that the operator does not take never matches.
    pub values: Vec<serde_json::Value>,
    /// Turn the answer round. A missing attribute still does not match.
    pub negate: bool,
}

/// Membership of at least one of several segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentMatch {
    /// Keys of segments; one that does not exist has no members.
    pub segments: Vec<String>,
    /// In none of them.
    pub negate: bool,
}

/// Operators, those of the LaunchDarkly evaluation model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Equal, and of the same JSON type.
    In,
    /// String that begins with the value.
    StartsWith,
    /// String that ends with the value.
    EndsWith,
    /// String that contains the value.
    Contains,
    /// String in which the regular expression is found.
    Matches,
    /// Number below the value.
    LessThan,
    /// Number at most the value.
    LessThanOrEqual,
    /// Number above the value.
    GreaterThan,
    /// Number at least the value.
    GreaterThanOrEqual,
    /// Instant before the value: epoch milliseconds or RFC 3339.
    Before,
    /// Instant after the value.
    After,
    /// Same semantic version precedence.
    SemVerEqual,
    /// Lower semantic version precedence.
    SemVerLessThan,
    /// Higher semantic version precedence.
    SemVerGreaterThan,
    /// An operator of another system that is not known here; it never matches.
    Unknown(String),
}

impl Op {
    /// The LaunchDarkly name, which explanations also use.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Op::In => "in",
            Op::StartsWith => "startsWith",
            Op::EndsWith => "endsWith",
            Op::Contains => "contains",
            Op::Matches => "matches",
            Op::LessThan => "lessThan",
            Op::LessThanOrEqual => "lessThanOrEqual",
            Op::GreaterThan => "greaterThan",
            Op::GreaterThanOrEqual => "greaterThanOrEqual",
            Op::Before => "before",
            Op::After => "after",
            Op::SemVerEqual => "semVerEqual",
            Op::SemVerLessThan => "semVerLessThan",
            Op::SemVerGreaterThan => "semVerGreaterThan",
            Op::Unknown(name) => name,
        }
    }

    /// The operator of that LaunchDarkly name. `segmentMatch` is not one: it is [`Condition::Segment`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self::KNOWN
            .iter()
            .find(|op| op.name() == name)
            .cloned()
            .unwrap_or_else(|| Op::Unknown(name.to_owned()))
    }

    /// Every operator known here.
    pub const KNOWN: [Op; 14] = [
        Op::In,
        Op::StartsWith,
        Op::EndsWith,
        Op::Contains,
        Op::Matches,
        Op::LessThan,
        Op::LessThanOrEqual,
        Op::GreaterThan,
        Op::GreaterThanOrEqual,
        Op::Before,
        Op::After,
        Op::SemVerEqual,
        Op::SemVerLessThan,
        Op::SemVerGreaterThan,
    ];
}
