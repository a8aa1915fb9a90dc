//! Definitions: what a flag, a segment, a rule and an allocation *are*, as plain data.
//!
//! The shape is that of the LaunchDarkly evaluation model, generalised where Ensign needs more: pins, a kill
//! overlay, gates, condition trees, and allocations that are stored lists of intervals. Absent on purpose:
//! serialisation. Documents and protocols have shapes of their own and are parsed into these.

mod attribute;
mod condition;
mod split;
mod value;

pub use attribute::{AttributeRef, BadAttribute};
pub use condition::{Clause, Condition, Op, SegmentMatch};
pub use split::{Allocation, AllocationId, Gate, HashKey, Interval, Unit, WHOLE};
pub use value::{Value, ValueKind};

/// The position of a variant in [`Flag::variants`]; permanent, because the list only grows.
pub type VariantIndex = u16;

/// The context kind that is meant where none is written.
pub const USER: &str = "user";

/// A named decision, in one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// The key it is evaluated by.
    pub key: String,
    /// The revision of its last change.
    pub version: u64,
    /// The type that all its values have.
    pub kind: ValueKind,
    /// Whether it is on; when off, [`Flag::off_variant`] is served.
    pub on: bool,
    /// The possible values. Append-only: an index keeps its meaning for ever.
    pub variants: Vec<Variant>,
    /// Served when the flag is off or a prerequisite fails; `None` means the caller's own default.
    pub off_variant: Option<VariantIndex>,
    /// Flags that must serve a given variant, else this one is treated as off. Tried in order.
    pub prerequisites: Vec<Prerequisite>,
    /// Units that stay on one variant; before targets and rules. The first that matches decides.
    pub pins: Vec<Pin>,
    /// Individually targeted keys, in order; the first list that holds the key of its kind decides.
    pub targets: Vec<Target>,
    /// Tried in order; the first that matches decides.
    pub rules: Vec<Rule>,
    /// What is served when nothing above decided.
    pub fallthrough: Outcome,
    /// Part of the hashed string of allocations that use [`HashKey::Flag`].
    pub salt: String,
    /// While present, everyone gets this variant, whatever stands beneath.
    pub kill: Option<Kill>,
}

/// One possible value of a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Unique within the flag; an unnamed scalar is its own name.
    pub name: String,
    /// What the code receives.
    pub value: Value,
}

/// Another flag that must be on and serve a certain variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prerequisite {
    /// The other flag's key.
    pub flag: String,
    /// The variant it must serve.
    pub variant: VariantIndex,
}

/// A pin: certain units stay on one variant. Owner, reason and end date live in the catalogue, which removes
/// an expired pin by a new revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// Stable, shown in reasons.
    pub id: String,
    /// Which units.
    pub who: PinnedTo,
    /// What they get.
    pub variant: VariantIndex,
}

/// Which units a pin holds.
#[derive(Debug, Clone, PartialEq)]
pub enum PinnedTo {
    /// The units whose key is listed. A unit of a kind that the context lacks is read from the user attribute
    /// of that name, as for [`Unit::Named`].
    Keys {
        /// The unit, e.g. `user` or `org`.
        unit: String,
        /// The keys.
        keys: Vec<String>,
    },
    /// Every context for which all conditions hold.
    Conditions(Vec<Condition>),
}

/// Individually targeted keys of one context kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The context kind whose key is looked up.
    pub kind: String,
    /// The keys.
    pub keys: Vec<String>,
    /// What they get.
    pub variant: VariantIndex,
}

/// Conditions that must all hold, and what then happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Stable, shown in reasons.
    pub id: String,
    /// All must hold; an empty list holds for everyone.
    pub conditions: Vec<Condition>,
    /// What happens when they do.
    pub outcome: Outcome,
}

/// What a rule, or the end of the rules, leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// This variant.
    Fixed(VariantIndex),
    /// One of several, by the hash of the unit. Always terminal.
    Split(Allocation),
    /// This variant for a share of units; for all others the rule has not matched and the next one is tried.
    /// As a fallthrough there is no next one: units outside it get no variant.
    Gate {
        /// Who is let through.
        gate: Gate,
        /// What they get.
        variant: VariantIndex,
    },
}

/// Everyone gets this variant now; rules are untouched beneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// What everyone gets.
    pub variant: VariantIndex,
}

/// A reusable set of units.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The key by which conditions name it.
    pub key: String,
    /// The revision of its last change.
    pub version: u64,
    /// Keys that are in, whatever else is said.
    pub included: Vec<KeyList>,
    /// Keys that are out, unless also included.
    pub excluded: Vec<KeyList>,
    /// Any rule that matches includes.
    pub rules: Vec<SegmentRule>,
    /// Part of the hashed string of weighted rules.
    pub salt: String,
}

/// Keys of one context kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyList {
    /// The context kind.
    pub kind: String,
    /// The keys.
    pub keys: Vec<String>,
}

/// Conditions that include a context in a segment, or a share of the contexts for which they hold.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentRule {
    /// Stable, shown in explanations.
    pub id: String,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// `None`: everyone. Else the share, in 1/100,000, of `kind` hashed by `by`; hashed string
    /// `{segment key}.{segment salt}.{value}`. A context without that kind is not included.
    pub weight: Option<u32>,
    /// The context kind that is hashed; `user` by default.
    pub kind: String,
    /// The attribute that is hashed; `key` by default.
    pub by: AttributeRef,
}
