//! Evaluation: a ruleset, a flag and a context give a value, a variant, a reason and a decision record.
//!
//! Nothing here allocates, locks or waits; the trace alone may, if it records.

mod condition;
mod split;

use std::cell::Cell;

use crate::bucket::with_decimal;
use crate::compiled::{CompiledFlag, CompiledOutcome, CompiledPinnedTo, CompiledRule, Needed, Slot};
use crate::context::Context;
use crate::explain::{Passed, Step, Trace};
use crate::model::{AllocationId, Value, VariantIndex};
use crate::ruleset::{FlagHandle, Ruleset};
use condition::Match;
use split::{Chosen, UnitValue};

/// Prerequisites or segments nested deeper than this are malformed.
pub(crate) const MAX_DEPTH: u32 = 64;

/// An evaluation that looks into prerequisites and segments more often than this is malformed.
pub(crate) const MAX_VISITS: u32 = 10_000;

/// What an evaluation gives. Borrows from the ruleset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation<'r> {
    /// What the code receives; `None`: the caller's own default.
    pub value: Option<&'r Value>,
    /// Which variant that is.
    pub variant: Option<VariantIndex>,
    /// Why.
    pub reason: Reason<'r>,
    /// What statistics must know about it.
    pub decision: Decision,
}

/// Why an evaluation gave what it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason<'r> {
    /// Everyone gets one variant at the moment.
    Kill,
    /// The flag is off.
    Off,
    /// A prerequisite is missing, off, or serves another variant.
    PrerequisiteFailed {
        /// The prerequisite's key.
        key: &'r str,
    },
    /// A pin holds the unit.
    Pin {
        /// The pin's id.
        id: &'r str,
    },
    /// The unit's key is targeted individually.
    TargetMatch,
    /// A rule matched.
    RuleMatch {
        /// Its position, from 0.
        index: usize,
        /// Its id.
        id: &'r str,
        /// Whether the unit counts in an experiment.
        in_experiment: bool,
        /// The gate that let the unit through, if the rule has one.
        gate: Option<&'r str>,
    },
    /// Nothing else decided.
    Fallthrough {
        /// Whether the unit counts in an experiment.
        in_experiment: bool,
    },
    /// There is no value.
    Error(ErrorKind),
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no flag of that key.
    FlagNotFound,
    /// The flag's definition is broken where this evaluation went.
    MalformedFlag,
}

/// What statistics must know about an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decision {
    /// The allocation that decided, if one did.
    pub allocation: Option<AllocationId>,
    /// Its epoch; 0 if none decided.
    pub epoch: u32,
    /// The share of the served variant in that allocation, in 1/100,000; 0 if none decided.
    pub share: u32,
    /// Whether the unit belongs in the comparison: an allocation decided, in a tracked interval, and the unit
    /// was there to be hashed.
    pub compared: bool,
    /// Whether a percentage was asked of a unit that the context lacks.
    pub unit_missing: bool,
    /// The 60-bit hash of the unit that the arm was found by; 0 if there was none.
    pub hash: u64,
}

/// Evaluates a flag by key.
#[inline]
pub fn evaluate<'r>(
    ruleset: &'r Ruleset,
    flag: &str,
    context: &impl Context,
    trace: &mut impl Trace,
) -> Evaluation<'r> {
    match ruleset.flag(flag) {
        Some(handle) => ruleset.evaluate(handle, context, trace),
        None => Evaluation::error(ErrorKind::FlagNotFound),
    }
}

impl Ruleset {
    /// Evaluates a flag by handle.
    #[inline]
    pub fn evaluate<'r>(
        &'r self,
        flag: FlagHandle,
        context: &impl Context,
        trace: &mut impl Trace,
    ) -> Evaluation<'r> {
        match self.compiled(flag) {
            Some(flag) => Scope { ruleset: self, context, visits: Cell::new(0) }.flag(flag, None, trace),
            None => Evaluation::error(ErrorKind::FlagNotFound),
        }
    }
}

/// One evaluation: what it reads, and how often it has looked into other items.
struct Scope<'r, 'c, C> {
    ruleset: &'r Ruleset,
    context: &'c C,
    visits: Cell<u32>,
}

/// The way that led to an item. It lives on the stack, so that leaving an item cannot be forgotten.
struct Chain<'a> {
    slot: Slot,
    depth: u32,
    up: Option<&'a Chain<'a>>,
}

impl<'a> Chain<'a> {
    fn below(slot: Slot, up: Option<&'a Chain<'a>>) -> Self {
        Self { slot, depth: up.map_or(0, |chain| chain.depth) + 1, up }
    }

    fn holds(&self, slot: Slot) -> bool {
        let mut at = Some(self);
        while let Some(chain) = at {
            if chain.slot == slot {
                return true;
            }
            at = chain.up;
        }
        false
    }
}

impl<'r, C: Context> Scope<'r, '_, C> {
    #[inline]
    fn flag(
        &self,
        flag: &'r CompiledFlag,
        chain: Option<&Chain<'_>>,
        trace: &mut impl Trace,
    ) -> Evaluation<'r> {
        if let Some(variant) = flag.kill {
            trace.step(|| Step::Killed { variant });
            return flag.serve(variant, Reason::Kill);
        }
        if !flag.on {
            trace.step(|| Step::Off);
            return flag.serve_off(Reason::Off);
        }
        if !flag.prerequisites.is_empty()
            && let Some(stopped) = self.prerequisites(flag, chain, trace)
        {
            return stopped;
        }
        if (!flag.pins.is_empty() || !flag.targets.is_empty())
            && let Some(decided) = self.individual(flag, trace)
        {
            return decided;
        }
        for (index, rule) in flag.rules.iter().enumerate() {
            match self.all(&rule.conditions, None, trace) {
                Match::Yes => {}
                Match::No | Match::Unknown => {
                    trace.step(|| Step::rule(index, &rule.id, Passed::No));
                    continue;
                }
                Match::Malformed => return Evaluation::error(ErrorKind::MalformedFlag),
            }
            if let Some(decided) = self.rule(flag, index, rule, trace) {
                return decided;
            }
        }
        trace.step(|| Step::Fallthrough);
        self.outcome(flag, &flag.fallthrough, trace, |in_experiment, _| Reason::Fallthrough { in_experiment })
            .unwrap_or_else(|| Evaluation::error(ErrorKind::MalformedFlag))
    }

    /// A rule whose conditions hold; `None` if its gate does not let the unit through.
    #[inline]
    fn rule(
        &self,
        flag: &'r CompiledFlag,
        index: usize,
        rule: &'r CompiledRule,
        trace: &mut impl Trace,
    ) -> Option<Evaluation<'r>> {
        let reason = |in_experiment, gate| Reason::RuleMatch { index, id: &rule.id, in_experiment, gate };
        let decided = self.outcome(flag, &rule.outcome, trace, reason);
        let passed = if decided.is_some() { Passed::Yes } else { Passed::No };
        trace.step(|| Step::rule(index, &rule.id, passed));
        decided
    }

    #[inline]
    fn outcome(
        &self,
        flag: &'r CompiledFlag,
        outcome: &'r CompiledOutcome,
        trace: &mut impl Trace,
        reason: impl FnOnce(bool, Option<&'r str>) -> Reason<'r>,
    ) -> Option<Evaluation<'r>> {
        match outcome {
            CompiledOutcome::Fixed(variant) => Some(flag.serve(*variant, reason(false, None))),
            CompiledOutcome::Split(allocation) => Some(match self.choose(allocation, trace) {
                Chosen::Arm { variant, in_experiment, decision } => {
                    let served = flag.serve(variant, reason(in_experiment, None));
                    // A malformed variant was not decided by anything.
                    if served.value.is_some() { Evaluation { decision, ..served } } else { served }
                }
                Chosen::Malformed => Evaluation::error(ErrorKind::MalformedFlag),
            }),
            CompiledOutcome::Gate { gate, variant } => match self.lets_through(gate, trace) {
                Match::Yes => Some(flag.serve(*variant, reason(false, Some(&gate.id)))),
                Match::No | Match::Unknown => None,
                Match::Malformed => Some(Evaluation::error(ErrorKind::MalformedFlag)),
            },
        }
    }

    /// Counts a look into another item; `false` once there were too many, or too deep.
    fn may_enter(&self, chain: &Chain<'_>) -> bool {
        let visits = self.visits.get() + 1;
        self.visits.set(visits);
        visits <= MAX_VISITS && chain.depth <= MAX_DEPTH
    }

    #[inline(never)]
    fn prerequisites(
        &self,
        flag: &'r CompiledFlag,
        up: Option<&Chain<'_>>,
        trace: &mut impl Trace,
    ) -> Option<Evaluation<'r>> {
        let chain = Chain::below(flag.slot, up);
        for needed in &flag.prerequisites {
            match self.prerequisite(needed, &chain, trace) {
                Match::Yes => {}
                Match::No | Match::Unknown => {
                    return Some(flag.serve_off(Reason::PrerequisiteFailed { key: &needed.key }));
                }
                Match::Malformed => return Some(Evaluation::error(ErrorKind::MalformedFlag)),
            }
        }
        None
    }

    fn prerequisite(&self, needed: &'r Needed, chain: &Chain<'_>, trace: &mut impl Trace) -> Match {
        if chain.holds(needed.slot) || !self.may_enter(chain) {
            return Match::Malformed;
        }
        let other = match self.ruleset.flags.get(needed.slot as usize) {
            Some(Some(other)) => other.as_ref(),
            Some(None) | None => {
                trace.step(|| Step::prerequisite(needed, None, false, false));
                return Match::No;
            }
        };
        trace.step(|| Step::EnterPrerequisite { flag: other.key.to_string() });
        let result = self.flag(other, Some(chain), trace);
        if matches!(result.reason, Reason::Error(_)) {
            return Match::Malformed;
        }
        let counts_as_on = other.on || other.kill.is_some();
        let passed = counts_as_on && result.variant == Some(needed.variant);
        trace.step(|| Step::prerequisite(needed, result.variant.filter(|_| counts_as_on), true, passed));
        if passed { Match::Yes } else { Match::No }
    }

    /// Pins, then individually targeted keys.
    #[inline(never)]
    fn individual(&self, flag: &'r CompiledFlag, trace: &mut impl Trace) -> Option<Evaluation<'r>> {
        for pin in &flag.pins {
            let held = match &pin.who {
                CompiledPinnedTo::Keys { unit, keys } => match self.unit_value(unit) {
                    Ok(Some(UnitValue::Text(key))) => keys.contains(key).into(),
                    Ok(Some(UnitValue::Whole(key))) => with_decimal(key, |key| keys.contains(key)).into(),
                    Ok(None) => Match::No,
                    Err(split::Malformed) => Match::Malformed,
                },
                CompiledPinnedTo::Conditions(conditions) => self.all(conditions, None, trace),
            };
            trace.step(|| Step::Pin { id: pin.id.to_string(), passed: (held == Match::Yes).into() });
            match held {
                Match::Yes => return Some(flag.serve(pin.variant, Reason::Pin { id: &pin.id })),
                Match::No | Match::Unknown => {}
                Match::Malformed => return Some(Evaluation::error(ErrorKind::MalformedFlag)),
            }
        }
        for target in &flag.targets {
            if let Some(key) = self.context.key(target.kind.as_ref())
                && target.keys.contains(key)
            {
                trace.step(|| Step::Target { kind: target.kind.name.to_string(), key: key.to_owned() });
                return Some(flag.serve(target.variant, Reason::TargetMatch));
            }
        }
        None
    }
}

impl CompiledFlag {
    #[inline]
    fn serve<'r>(&'r self, variant: VariantIndex, reason: Reason<'r>) -> Evaluation<'r> {
        match self.variants.get(usize::from(variant)) {
            Some(found) => Evaluation {
                value: Some(&found.value),
                variant: Some(variant),
                reason,
                decision: Decision::default(),
            },
            None => Evaluation::error(ErrorKind::MalformedFlag),
        }
    }

    fn serve_off<'r>(&'r self, reason: Reason<'r>) -> Evaluation<'r> {
        match self.off_variant {
            Some(variant) => self.serve(variant, reason),
            None => Evaluation { value: None, variant: None, reason, decision: Decision::default() },
        }
    }
}

impl Evaluation<'_> {
    fn error(kind: ErrorKind) -> Self {
        Evaluation { value: None, variant: None, reason: Reason::Error(kind), decision: Decision::default() }
    }
}
