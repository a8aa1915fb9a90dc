//! The compiled form: what evaluation reads. Built by [`crate::compile`], immutable, shared by `Arc`.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value as Json;

use crate::bucket::{Prefix, Threshold};
use crate::context::{KindRef, NameRef};
use crate::model::{AllocationId, Clause, Interval, SegmentMatch, Unit, Variant, VariantIndex};
use crate::problem::Problem;
use crate::strings::StringSet;

/// A slot in the table of flags or of segments. It may be empty: something refers to what does not exist.
pub(crate) type Slot = u32;

#[derive(Debug)]
pub(crate) struct CompiledFlag {
    pub(crate) slot: Slot,
    pub(crate) key: Box<str>,
    pub(crate) version: u64,
    pub(crate) on: bool,
    pub(crate) kill: Option<VariantIndex>,
    pub(crate) off_variant: Option<VariantIndex>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) prerequisites: Vec<Needed>,
    pub(crate) pins: Vec<CompiledPin>,
    pub(crate) targets: Vec<CompiledTarget>,
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) fallthrough: CompiledOutcome,
    /// Problems of this flag by itself; those that concern other items are found when all are put together.
    pub(crate) problems: Vec<Problem>,
    /// Segments it names, with the places.
    pub(crate) segments: Vec<(Slot, String)>,
}

#[derive(Debug)]
pub(crate) struct Needed {
    pub(crate) slot: Slot,
    pub(crate) key: Box<str>,
    pub(crate) variant: VariantIndex,
}

#[derive(Debug)]
pub(crate) struct CompiledPin {
    pub(crate) id: Box<str>,
    pub(crate) who: CompiledPinnedTo,
    pub(crate) variant: VariantIndex,
}

#[derive(Debug)]
pub(crate) enum CompiledPinnedTo {
    Keys { unit: Box<CompiledUnit>, keys: StringSet },
    Conditions(Vec<CompiledCondition>),
}

#[derive(Debug)]
pub(crate) struct CompiledTarget {
    pub(crate) kind: Kind,
    pub(crate) keys: StringSet,
    pub(crate) variant: VariantIndex,
}

#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) id: Box<str>,
    pub(crate) conditions: Vec<CompiledCondition>,
    pub(crate) outcome: CompiledOutcome,
}

#[derive(Debug)]
pub(crate) enum CompiledOutcome {
    Fixed(VariantIndex),
    Split(Box<CompiledAllocation>),
    Gate { gate: Box<CompiledGate>, variant: VariantIndex },
}

#[derive(Debug)]
pub(crate) struct CompiledAllocation {
    pub(crate) id: AllocationId,
    pub(crate) epoch: u32,
    pub(crate) unit: CompiledUnit,
    pub(crate) prefix: Prefix,
    pub(crate) experiment: bool,
    pub(crate) control: VariantIndex,
    pub(crate) arms: Vec<Arm>,
    pub(crate) intervals: Vec<Interval>,
}

/// One interval, with where it ends and its variant's share of the whole allocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arm {
    pub(crate) end: Threshold,
    pub(crate) variant: VariantIndex,
    pub(crate) untracked: bool,
    pub(crate) share: u32,
}

#[derive(Debug)]
pub(crate) struct CompiledGate {
    pub(crate) id: Box<str>,
    pub(crate) unit: CompiledUnit,
    pub(crate) prefix: Prefix,
    pub(crate) below: Threshold,
    pub(crate) weight: u32,
}

/// The unit, and where to look for it.
#[derive(Debug)]
pub(crate) struct CompiledUnit {
    pub(crate) kind: Kind,
    pub(crate) path: Path,
    /// For a named unit other than `user`: the user attribute that stands in for a missing kind.
    pub(crate) instead: Option<(Kind, Path)>,
    pub(crate) source: Unit,
}

#[derive(Debug)]
pub(crate) enum CompiledCondition {
    Clause(CompiledClause),
    Segment { slots: Vec<Slot>, negate: bool, source: Box<SegmentMatch> },
    Any(Vec<CompiledCondition>),
    All(Vec<CompiledCondition>),
    Not(Box<CompiledCondition>),
}

#[derive(Debug)]
pub(crate) struct CompiledClause {
    pub(crate) kind: Kind,
    pub(crate) path: Path,
    pub(crate) negate: bool,
    pub(crate) test: Test,
    pub(crate) source: Box<Clause>,
}

/// A clause's operator with its values, parsed once. Where any of several bounds is enough, only the widest
/// is kept; `None` is a bound that nothing satisfies.
#[derive(Debug)]
pub(crate) enum Test {
    /// All values are strings: the common case.
    InStrings(StringSet),
    In(Box<Literals>),
    StartsWith(Vec<Box<str>>),
    EndsWith(Vec<Box<str>>),
    Contains(Vec<Box<str>>),
    Matches(Vec<Regex>),
    LessThan(Option<f64>),
    LessThanOrEqual(Option<f64>),
    GreaterThan(Option<f64>),
    GreaterThanOrEqual(Option<f64>),
    Before(Option<i128>),
    After(Option<i128>),
    SemVer(std::cmp::Ordering, Vec<Box<str>>),
    Never,
}

/// Values of several types to be equal to.
#[derive(Debug)]
pub(crate) struct Literals {
    pub(crate) strings: StringSet,
    pub(crate) numbers: Vec<f64>,
    pub(crate) yes: bool,
    pub(crate) no: bool,
    /// Null, arrays, objects: compared member by member.
    pub(crate) deep: Vec<Json>,
}

/// Where an attribute is.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) top: Top,
    pub(crate) rest: Vec<Box<str>>,
}

#[derive(Debug)]
pub(crate) enum Top {
    Key,
    Kind,
    Anonymous(u32, Arc<str>),
    Named(u32, Arc<str>),
    /// An invalid reference: reaching it makes the evaluation malformed.
    Malformed,
}

#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) is_user: bool,
    pub(crate) name: Box<str>,
}

#[derive(Debug)]
pub(crate) struct CompiledSegment {
    pub(crate) slot: Slot,
    pub(crate) key: Box<str>,
    pub(crate) version: u64,
    pub(crate) included: Vec<(Kind, StringSet)>,
    pub(crate) excluded: Vec<(Kind, StringSet)>,
    pub(crate) rules: Vec<CompiledSegmentRule>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) segments: Vec<(Slot, String)>,
}

#[derive(Debug)]
pub(crate) struct CompiledSegmentRule {
    pub(crate) id: Box<str>,
    pub(crate) conditions: Vec<CompiledCondition>,
    pub(crate) share: Option<Box<SegmentShare>>,
}

#[derive(Debug)]
pub(crate) struct SegmentShare {
    pub(crate) kind: Kind,
    pub(crate) path: Path,
    pub(crate) prefix: Prefix,
    pub(crate) below: Threshold,
    pub(crate) weight: u32,
}

impl Kind {
    pub(crate) fn new(name: &str) -> Self {
        Self { is_user: name == crate::model::USER, name: name.into() }
    }

    #[inline]
    pub(crate) fn as_ref(&self) -> KindRef<'_> {
        KindRef { is_user: self.is_user, name: &self.name }
    }
}

#[inline]
pub(crate) fn name_ref(id: u32, name: &str) -> NameRef<'_> {
    NameRef { id, name }
}
