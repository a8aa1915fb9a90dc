//! One watched rollout in the fold: its open blocks, what tunes them, its health and its block log.

mod look;
mod tick;

use std::collections::BTreeMap;

use ensign_stats::{METHOD_VERSION, RateBlock};
use serde::{Deserialize, Serialize};

use crate::evidence::baseline::{Baselines, Dist};
use crate::evidence::block::{CAP_FROM, Gather, OpenBlock, Tuned, Tuning, below_age};
use crate::evidence::closer::Closer;
use crate::evidence::entry::{Entry, LabelSeen};
use crate::evidence::log::LogWriter;
use crate::evidence::plan::{Age, Method};
use crate::evidence::requests::{Pending, Report, value};
use crate::evidence::units::{Obs, UnitState};
use crate::evidence::watch::{Randomised, Stratum, Watch};
use crate::ids::{RolloutId, Span, Timestamp, Unit};
use crate::metric::{Builtin, MetricRef};

/// Control values a baseline must have before anything is set from it.
const BASELINE_FROM: u64 = 1_000;

/// Why an event of a rollout was not counted, or not as it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) enum Reason {
    UnknownStratum,
    Warmup,
    ArmMismatch,
    ClockSkew,
    BadValue,
    CrossedUnit,
    NoExposure,
    LateReport,
    Full,
}

impl Reason {
    fn code(self) -> &'static str {
        match self {
            Self::UnknownStratum => "unknown_stratum",
            Self::Warmup => "warmup",
            Self::ArmMismatch => "arm_mismatch",
            Self::ClockSkew => "clock_skew",
            Self::BadValue => "bad_value",
            Self::CrossedUnit => "crossed_unit",
            Self::NoExposure => "no_exposure",
            Self::LateReport => "late_report",
            Self::Full => "full",
        }
    }

    /// Whether it is a data error, above one percent of which a rollout holds.
    fn is_error(self) -> bool {
        match self {
            Self::ArmMismatch | Self::ClockSkew | Self::BadValue | Self::CrossedUnit => true,
            Self::UnknownStratum | Self::Warmup | Self::NoExposure | Self::LateReport | Self::Full => false,
        }
    }
}

/// A matured unit on its way into label health.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct LabelObs {
    pub(crate) time: Timestamp,
    pub(crate) unit: Unit,
    pub(crate) guard: u16,
    pub(crate) seen: LabelSeen,
}

/// One stratum's open blocks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Open {
    ended: Option<Timestamp>,
    /// Nothing can come any more; its blocks are closed or dropped.
    done: bool,
    /// Per class.
    blocks: Vec<OpenBlock>,
    /// Per guardrail; used by late metrics only.
    late: Vec<Option<Gather>>,
    labels: Vec<RateBlock>,
    /// First exposures since the last tick: control, new.
    exposed: [u64; 2],
    exposures: [u64; 2],
    reports: [u64; 2],
    /// Per quantile guardrail: its values, for the view. Control, new.
    shown: BTreeMap<u16, [Dist; 2]>,
}

/// Health beside the strata.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Counts {
    last_exposure: [Option<Timestamp>; 2],
    last_report: [Option<Timestamp>; 2],
    events: u64,
    errors: u64,
    crossed: u64,
    units: u64,
    refused: BTreeMap<Reason, u64>,
}

/// A watched rollout.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Roll {
    pub(crate) core: Core,
    pub(crate) log: LogWriter,
    /// Something of it changed since the last checkpoint.
    pub(crate) dirty: bool,
    /// Something a decision could depend on changed since the last tick's answer.
    pub(crate) changed: bool,
}

/// What is checkpointed as one piece.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Core {
    pub(crate) place: u16,
    pub(crate) closer: Closer,
    strata: Vec<Open>,
    tunings: Vec<Tuning>,
    counts: Counts,
    ended: Option<Timestamp>,
    obs: Vec<Obs>,
    label_obs: Vec<LabelObs>,
    /// Per class: requests that count and have not entered.
    pub(crate) in_flight: Vec<u64>,
    /// Per guardrail: exposures that have not matured.
    pub(crate) maturing: Vec<u64>,
    units_full: bool,
}

impl Roll {
    pub(crate) fn new(place: u16, watch: Watch) -> Self {
        let mut log = LogWriter::default();
        log.push(&Entry::Start { method: METHOD_VERSION, watch: Box::new(watch.clone()) });
        let closer = Closer::new(watch);
        let guards = closer.plan.guards.len();
        let tunings = vec![Tuning::default(); guards];
        let core = Core {
            place,
            in_flight: vec![0; closer.plan.classes.len()],
            maturing: vec![0; guards],
            tunings,
            closer,
            strata: Vec::new(),
            counts: Counts::default(),
            ended: None,
            obs: Vec::new(),
            label_obs: Vec::new(),
            units_full: false,
        };
        Self { core, log, dirty: true, changed: true }
    }

    /// Whether late labels are joined with requests here.
    pub(crate) fn labels_requests(&self) -> bool {
        self.watch().randomised == Randomised::Request
            && self.watch().guards.iter().any(|guard| matches!(guard.metric, MetricRef::Custom(_)))
    }

    pub(crate) fn id(&self) -> &RolloutId {
        &self.core.closer.watch.rollout
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.core.closer.watch
    }

    fn emit(&mut self, entry: &Entry) {
        self.log.push(entry);
        // The entry was built here for this closer; one it does not take would only be a record.
        let _taken = self.core.closer.take(entry);
        self.dirty = true;
        self.changed = true;
    }

    /// A new stratum begins; the one before it ends.
    pub(crate) fn begin_stratum(&mut self, stratum: Stratum, baselines: &Baselines) {
        if let Some(open) = self.core.strata.last_mut() {
            open.ended.get_or_insert(stratum.at);
        }
        let ages = self.ages(baselines);
        let guards = self.core.closer.plan.guards.len();
        self.core.strata.push(Open {
            ended: None,
            done: false,
            blocks: vec![OpenBlock::default(); ages.len()],
            late: vec![None; guards],
            labels: vec![RateBlock::default(); guards],
            exposed: [0; 2],
            exposures: [0; 2],
            reports: [0; 2],
            shown: BTreeMap::new(),
        });
        self.emit(&Entry::Stratum { stratum, ages: ages.clone() });
        for at in 0..guards {
            self.tune_stratum(at, baselines, &ages);
        }
    }

    /// The age of each request block in a stratum that begins now.
    fn ages(&self, baselines: &Baselines) -> Vec<Span> {
        let (watch, plan) = (self.watch(), &self.core.closer.plan);
        let default = || {
            let latency = MetricRef::Builtin(Builtin::Latency);
            let dist = baselines.dist(watch.flag, watch.control, &latency)?;
            if dist.n() < BASELINE_FROM {
                return None;
            }
            let millis = dist.quantile(0.99)? * plan.latency_factor;
            Some(Span((millis * 1e3).ceil() as i64).clamp(Span::millis(1), watch.timeout))
        };
        let age = |age: &Age| match age {
            Age::Default => default().unwrap_or(watch.timeout),
            Age::After(span) => (*span).clamp(Span(0), watch.timeout),
            Age::Timeout | Age::OnCompletion => watch.timeout,
        };
        plan.classes.iter().map(age).collect()
    }

    /// Sets a guardrail's threshold or cap for a stratum that begins, from values seen before it.
    fn tune_stratum(&mut self, at: usize, baselines: &Baselines, ages: &[Span]) {
        let closer = &self.core.closer;
        let (watch, plan, guard) = (&closer.watch, &closer.plan.guards[at], &closer.watch.guards[at]);
        let age = plan.class.and_then(|class| ages.get(usize::from(class))).copied();
        let tuning = &mut self.core.tunings[at];
        let before = || baselines.dist(watch.flag, watch.control, &guard.metric);
        let tuned = match plan.method {
            Method::Exceedance { p } if tuning.threshold.is_none() => {
                match before().filter(|dist| dist.n() >= Tuning::needs(plan.method)) {
                    Some(dist) => match dist.quantile(p).map(|x| below_age(x, plan, age)) {
                        Some(x) => {
                            tuning.threshold = Some(x);
                            Tuned::Threshold(x)
                        }
                        None => Tuned::Nothing,
                    },
                    None => Tuned::Nothing,
                }
            }
            Method::Amount => match (guard.cap, tuning.cap) {
                (Some(_), Some(_)) => Tuned::Nothing,
                (Some(fixed), None) => tuning.set_cap(Some(fixed)),
                (None, None) => {
                    let dist = before().filter(|dist| dist.n() >= BASELINE_FROM);
                    tuning.set_cap(dist.and_then(|dist| dist.quantile(0.99)))
                }
                // Scores of units cannot be brought to another scale: their cap stays.
                (None, Some(_)) if plan.by_unit => Tuned::Nothing,
                (None, Some(_)) if tuning.control.count() >= CAP_FROM => {
                    let cap = tuning.control.quantile(0.99);
                    tuning.control = Default::default();
                    tuning.set_cap(cap)
                }
                (None, Some(_)) => Tuned::Nothing,
            },
            Method::Exceedance { .. }
            | Method::Rate
            | Method::Events
            | Method::Score { .. }
            | Method::Ratio => Tuned::Nothing,
        };
        self.tuned(at, &tuned);
    }

    fn tuned(&mut self, at: usize, tuned: &Tuned) {
        let guard = at as u16;
        match tuned {
            Tuned::Nothing => {}
            Tuned::Threshold(threshold) => self.emit(&Entry::Threshold { guard, threshold: *threshold }),
            Tuned::Cap(cap) => self.emit(&Entry::Cap { guard, cap: *cap }),
        }
    }

    /// The rollout ended: its strata drain.
    pub(crate) fn end(&mut self, at: Timestamp) {
        self.core.ended.get_or_insert(at);
        if let Some(open) = self.core.strata.last_mut() {
            open.ended.get_or_insert(at);
        }
        self.dirty = true;
    }

    /// Whether an event of this stratum and time is dropped as warm-up, in both arms alike.
    pub(crate) fn warming(&self, stratum: u16, start: Timestamp) -> bool {
        let warmup = self.watch().warmup;
        warmup.0 > 0
            && self.core.closer.strata.get(usize::from(stratum)).is_some_and(|s| start < s.at + warmup)
    }

    pub(crate) fn refuse(&mut self, reason: Reason) {
        self.dirty = true;
        *self.core.counts.refused.entry(reason).or_insert(0) += 1;
        if reason.is_error() {
            self.core.counts.errors += 1;
        }
        if reason == Reason::CrossedUnit {
            self.core.counts.crossed += 1;
        }
        if reason == Reason::Full {
            self.core.units_full = true;
        }
    }

    /// A unit (or decision) was exposed. `first`: ever in this rollout, so it counts for the ratio check.
    pub(crate) fn exposed(&mut self, stratum: u16, new: bool, at: Timestamp, first: bool) {
        self.dirty = true;
        let arm = usize::from(new);
        self.core.counts.events += 1;
        self.core.counts.last_exposure[arm] = self.core.counts.last_exposure[arm].max(Some(at));
        if let Some(open) = self.core.strata.get_mut(usize::from(stratum)) {
            open.exposures[arm] += 1;
            if first {
                open.exposed[arm] += 1;
                self.core.counts.units += 1;
            }
        }
    }

    /// A report or an outcome came.
    pub(crate) fn reported(&mut self, stratum: u16, new: bool, at: Timestamp) {
        self.dirty = true;
        let arm = usize::from(new);
        self.core.counts.events += 1;
        self.core.counts.last_report[arm] = self.core.counts.last_report[arm].max(Some(at));
        if let Some(open) = self.core.strata.get_mut(usize::from(stratum)) {
            open.reports[arm] += 1;
        }
    }

    /// The age at which a request enters a class's block, and the time it does. `None`: on completion.
    pub(crate) fn due(&self, stratum: u16, class: usize, pending: &Pending) -> Option<(Span, Timestamp)> {
        let (watch, plan) = (self.watch(), &self.core.closer.plan);
        let age = *self.core.closer.ages.get(usize::from(stratum))?.get(class)?;
        let (age, wait) = match (plan.classes.get(class)?, pending.announced) {
            (Age::OnCompletion, _) => return None,
            (_, true) => (age, age),
            // Its start was known only with its end: entering earlier would favour what ends early.
            (Age::Default | Age::Timeout, false) => (watch.timeout, watch.timeout),
            (Age::After(_), false) => (age, watch.timeout),
        };
        Some((age, pending.start + wait + watch.report_lag))
    }

    /// A request enters a block with its state at its age.
    pub(crate) fn enter(&mut self, class: usize, seen: &Entering<'_>) {
        let Core { closer, strata, tunings, obs, .. } = &mut self.core;
        let (watch, plan) = (&closer.watch, &closer.plan);
        let Some(open) = strata.get_mut(usize::from(seen.stratum)).filter(|open| !open.done) else { return };
        let Some(block) = open.blocks.get_mut(class) else { return };
        self.dirty = true;
        block.n[usize::from(seen.new)] += 1;
        let opening = block.gathers.is_empty();
        for (slot, at) in plan.of_class(class as u8).enumerate() {
            let guard_plan = &plan.guards[at];
            if opening {
                block.gathers.push(Gather::open(guard_plan, &tunings[at]));
            }
            let MetricRef::Builtin(metric) = watch.guards[at].metric else { continue };
            let Some(y) = value(metric, seen.announced, seen.report, seen.age, watch.timeout) else {
                continue;
            };
            if matches!(guard_plan.method, Method::Exceedance { .. }) {
                open.shown.entry(at as u16).or_default()[usize::from(seen.new)].add(y);
            }
            if guard_plan.by_unit {
                obs.push(Obs {
                    time: seen.start,
                    unit: seen.unit,
                    guard: at as u16,
                    stratum: seen.stratum,
                    new: seen.new,
                    y,
                    size: 1.0,
                });
            } else if let Some(y) = guard_plan.normal(y) {
                block.gathers[slot].push(guard_plan, seen.new, y);
            }
        }
    }

    /// A late value enters: its own block, or the observations by unit. The value is on the metric's scale
    /// and was checked.
    pub(crate) fn late(&mut self, obs: Obs) {
        let at = usize::from(obs.guard);
        let Core { closer, strata, tunings, obs: list, .. } = &mut self.core;
        let plan = &closer.plan.guards[at];
        let Some(open) = strata.get_mut(usize::from(obs.stratum)).filter(|open| !open.done) else { return };
        self.dirty = true;
        if matches!(plan.method, Method::Exceedance { .. }) {
            open.shown.entry(obs.guard).or_default()[usize::from(obs.new)].add(obs.y);
        }
        if plan.by_unit {
            list.push(obs);
        } else {
            open.late[at].get_or_insert_with(|| Gather::open(plan, &tunings[at])).push(plan, obs.new, obs.y);
        }
    }

    /// A request or unit matured for a late metric.
    pub(crate) fn matured(&mut self, label: LabelObs) {
        self.dirty = true;
        let at = usize::from(label.guard);
        if self.core.closer.watch.randomised == Randomised::Unit {
            self.core.label_obs.push(label);
        } else if let Some(open) = self.core.strata.get_mut(usize::from(label.seen.stratum)) {
            open.labels[at].push(crate::evidence::guard::arm(label.seen.new), label.seen.labelled);
        }
    }
}

/// A request on its way into a block.
pub(crate) struct Entering<'a> {
    pub(crate) stratum: u16,
    pub(crate) new: bool,
    pub(crate) announced: bool,
    pub(crate) report: Option<&'a Report>,
    pub(crate) age: Span,
    pub(crate) start: Timestamp,
    pub(crate) unit: Unit,
}

/// Where the units of a rollout are found.
pub(crate) trait UnitTable {
    /// The state of a unit that was exposed; marks it as changed.
    fn unit(&mut self, unit: Unit) -> Option<&mut UnitState>;
}
