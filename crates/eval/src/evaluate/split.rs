//! Percentages: which unit, which bucket, which arm.

use crate::bucket::{Bucket, Prefix};
use crate::compiled::{Arm, CompiledAllocation, CompiledGate, CompiledUnit, Kind, Path, SegmentShare};
use crate::context::{Attr, Context};
use crate::explain::{Step, Trace};
use crate::model::VariantIndex;

use super::condition::Match;
use super::{Decision, Scope};

/// Whole numbers beyond this are not exact in a double.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// The definition is broken where the evaluation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What an allocation decides.
pub(super) enum Chosen {
    Arm { variant: VariantIndex, in_experiment: bool, decision: Decision },
    Malformed,
}

/// The value of a unit: what is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitValue<'a> {
    Text(&'a str),
    Whole(i64),
}

impl<'a> UnitValue<'a> {
    /// Text and whole numbers are units; a float is one if it is whole and exact.
    #[inline]
    fn of(attr: Attr<'a>) -> Option<Self> {
        match attr {
            Attr::Str(s) => Some(UnitValue::Text(s)),
            Attr::Int(i) => Some(UnitValue::Whole(i)),
            Attr::Float(f) if f.abs() <= EXACT && f.fract() == 0.0 => Some(UnitValue::Whole(f as i64)),
            Attr::Float(_) | Attr::Bool(_) | Attr::List(_) | Attr::Object(_) => None,
        }
    }

    #[inline]
    fn bucket(self, prefix: &Prefix) -> Bucket {
        match self {
            UnitValue::Text(s) => prefix.bucket(s),
            UnitValue::Whole(i) => prefix.bucket_int(i),
        }
    }

    fn text(self) -> String {
        match self {
            UnitValue::Text(s) => s.to_owned(),
            UnitValue::Whole(i) => i.to_string(),
        }
    }
}

impl<'r, C: Context> Scope<'r, '_, C> {
    /// The unit's value; `None` if the context lacks it or it cannot be hashed.
    #[inline]
    pub(super) fn unit_value<'a>(
        &'a self,
        unit: &'a CompiledUnit,
    ) -> Result<Option<UnitValue<'a>>, Malformed> {
        match &unit.instead {
            Some((kind, path)) if !self.context.has(unit.kind.as_ref()) => self.hashable(kind, path),
            Some(_) | None => self.hashable(&unit.kind, &unit.path),
        }
    }

    #[inline]
    fn hashable<'a>(&'a self, kind: &'a Kind, path: &Path) -> Result<Option<UnitValue<'a>>, Malformed> {
        Ok(self.lookup(kind, path)?.and_then(UnitValue::of))
    }

    #[inline]
    pub(super) fn choose(&self, allocation: &'r CompiledAllocation, trace: &mut impl Trace) -> Chosen {
        let value = match self.unit_value(&allocation.unit) {
            Ok(Some(value)) => value,
            Ok(None) => return missing(allocation, trace),
            Err(Malformed) => return Chosen::Malformed,
        };
        let bucket = value.bucket(&allocation.prefix);
        let found = allocation.arms.iter().find(|arm| bucket.is_below(arm.end)).or(allocation.arms.last());
        let Some(Arm { variant, untracked, share, .. }) = found.copied() else {
            return Chosen::Malformed;
        };
        trace.step(|| Step::Split {
            allocation: allocation.id,
            epoch: allocation.epoch,
            unit: allocation.unit.source.clone(),
            value: value.text(),
            position: bucket.position(),
            intervals: allocation.intervals.clone(),
            variant,
        });
        Chosen::Arm {
            variant,
            in_experiment: allocation.experiment && !untracked,
            decision: Decision {
                allocation: Some(allocation.id),
                epoch: allocation.epoch,
                share,
                compared: !untracked,
                unit_missing: false,
                hash: bucket.0,
            },
        }
    }

    pub(super) fn lets_through(&self, gate: &'r CompiledGate, trace: &mut impl Trace) -> Match {
        let value = match self.unit_value(&gate.unit) {
            Ok(value) => value,
            Err(Malformed) => return Match::Malformed,
        };
        let bucket = value.map(|value| value.bucket(&gate.prefix));
        let passed = bucket.is_some_and(|bucket| bucket.is_below(gate.below));
        trace.step(|| Step::Gate {
            gate: gate.id.to_string(),
            unit: gate.unit.source.clone(),
            value: value.map(UnitValue::text),
            position: bucket.map(Bucket::position),
            weight: gate.weight,
            passed: passed.into(),
        });
        passed.into()
    }

    /// Whether a context is in the share of a segment rule. Without the kind it is not; with the kind and
    /// without the attribute it counts as bucket 0, as the LaunchDarkly evaluation model has it.
    pub(super) fn in_share(&self, share: &'r SegmentShare, trace: &mut impl Trace) -> Match {
        let Ok(value) = self.hashable(&share.kind, &share.path) else {
            return Match::Malformed;
        };
        let bucket = match value {
            Some(value) => Some(value.bucket(&share.prefix)),
            None => self.context.has(share.kind.as_ref()).then_some(Bucket(0)),
        };
        let passed = bucket.is_some_and(|bucket| bucket.is_below(share.below));
        trace.step(|| Step::SegmentShare {
            value: value.map(UnitValue::text),
            position: bucket.map(Bucket::position),
            weight: share.weight,
            passed: passed.into(),
        });
        passed.into()
    }
}

/// A unit that is missing gets control, and is out of the comparison.
#[cold]
fn missing(allocation: &CompiledAllocation, trace: &mut impl Trace) -> Chosen {
    if allocation.arms.is_empty() {
        return Chosen::Malformed;
    }
    let variant = allocation.control;
    trace.step(|| Step::UnitMissing {
        allocation: allocation.id,
        unit: allocation.unit.source.clone(),
        intervals: allocation.intervals.clone(),
        variant,
    });
    let share = allocation.arms.iter().find(|arm| arm.variant == variant).map_or(0, |arm| arm.share);
    let decision = Decision {
        allocation: Some(allocation.id),
        epoch: allocation.epoch,
        share,
        compared: false,
        unit_missing: true,
        hash: 0,
    };
    Chosen::Arm { variant, in_experiment: false, decision }
}
