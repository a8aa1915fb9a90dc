//! Percentages: gates, which let a share through, and allocations, which divide everyone.

use super::{AttributeRef, USER, VariantIndex};

/// The whole: weights are in 1/100,000.
pub const WHOLE: u32 = 100_000;

/// What is hashed: the thing that keeps its variant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Unit {
    /// The key of the context kind of this name; in a context without that kind, the attribute of this name of
    /// kind `user` (a string or a whole number). `user` itself is the user's key.
    Named(String),
    /// An attribute of one context kind.
    Attribute {
        /// The context kind.
        kind: String,
        /// The attribute: a string or a whole number.
        by: AttributeRef,
    },
}

impl Unit {
    /// The default unit: the key of kind `user`.
    #[must_use]
    pub fn user() -> Self {
        Unit::Named(USER.to_owned())
    }
}

/// A percentage that falls through.
///
/// The hashed string is `{id}.{salt}.{value of the unit}`, the same in every encoding. A unit that is missing
/// from the context is not let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Stable; unique within the environment.
    pub id: String,
    /// Differs between two gates of one flag, so that they are independent.
    pub salt: String,
    /// What is hashed.
    pub unit: Unit,
    /// Who is let through: buckets below this, in 1/100,000.
    pub weight: u32,
}

/// Identifies an allocation through all its epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

/// A stored division of all units between variants.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// Stable through changes of weights.
    pub id: AllocationId,
    /// Grows with every change of weights.
    pub epoch: u32,
    /// What is hashed. An experiment always hashes the key of the unit's kind.
    pub unit: Unit,
    /// What stands before the unit in the hashed string.
    pub hash: HashKey,
    /// Marks evaluations as part of an experiment, except in untracked intervals.
    pub experiment: bool,
    /// In order, from bucket 0 up. Weights that do not reach [`WHOLE`] leave the rest to the last. The first is
    /// control's, if need be with weight 0, because units that are missing get the first.
    pub intervals: Vec<Interval>,
    /// What a unit gets that cannot be hashed; also the arm others are compared with.
    pub control: VariantIndex,
}

/// What stands before the unit's value in the hashed string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// `{flag key}.{flag salt}.{value}`.
    Flag,
    /// `{seed}.{value}`. Never 0: some clients take that for absent.
    Seed(i64),
}

/// A run of neighbouring buckets with one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    /// What these units get.
    pub variant: VariantIndex,
    /// How many buckets, in 1/100,000.
    pub weight: u32,
    /// Not part of the comparison or experiment.
    pub untracked: bool,
}

impl Allocation {
    /// The share of a variant, in 1/100,000: the sum of its intervals.
    #[must_use]
    pub fn share(&self, variant: VariantIndex) -> u32 {
        self.intervals.iter().filter(|i| i.variant == variant).map(|i| i.weight).sum()
    }
}

impl Interval {
    /// An interval that counts in the comparison.
    #[must_use]
    pub fn tracked(variant: VariantIndex, weight: u32) -> Self {
        Self { variant, weight, untracked: false }
    }
}
