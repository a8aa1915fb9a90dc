//! One watched rollout in the fold: its open blocks, what tunes them, its health and its block log.

use std::collections::BTreeMap;

use ensign_stats::{ClusterDelta, METHOD_VERSION, RateBlock};
use serde::{Deserialize, Serialize};

use super::baseline::{Baselines, Dist};
use super::block::{CAP_FROM, Gather, OpenBlock, Tuned, Tuning, below_age, may_close};
use super::closer::Closer;
use super::entry::{Entry, FirstSeen, GuardLook, LabelSeen, Look, Sample, StratumSums, UnitTick};
use super::log::LogWriter;
use super::plan::{Age, Method};
use super::report::{Evidence, Health};
use super::requests::{Pending, Report, value};
use super::units::{Obs, TickFrame, UnitState};
use super::watch::{Randomised, Stratum, Watch};
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
            open.labels[at].push(super::guard::arm(label.seen.new), label.seen.labelled);
        }
    }

    /// A look: closes what may close.
    pub(crate) fn tick(&mut self, now: Timestamp, units: &mut dyn UnitTable) {
        for stratum in 0..self.core.strata.len() {
            let [control, new] = std::mem::take(&mut self.core.strata[stratum].exposed);
            if control + new > 0 {
                self.emit(&Entry::Exposed { stratum: stratum as u16, control, new });
            }
        }
        self.tick_units(units);
        self.tick_unit_labels();
        for stratum in 0..self.core.strata.len() {
            if !self.core.strata[stratum].done {
                self.tick_stratum(stratum, now);
            }
        }
    }

    fn tick_stratum(&mut self, stratum: usize, now: Timestamp) {
        let both = |n: [u64; 2]| n[0] >= 1 && n[1] >= 1;
        let watch = self.watch();
        let requests = watch.timeout + watch.report_lag;
        let settled = self.core.strata[stratum].ended.is_some_and(|ended| now >= ended + requests);
        for class in 0..self.core.closer.plan.classes.len() {
            let n = self.core.strata[stratum].blocks[class].n;
            if may_close(n) || (settled && both(n)) {
                self.close_class(stratum, class);
            }
        }
        let drained = self.drained(stratum, now);
        let may = |n: [u64; 2]| may_close(n) || (drained && both(n));
        for at in 0..self.core.closer.plan.guards.len() {
            let open = &mut self.core.strata[stratum];
            let labels = open.labels[at];
            if may([labels.n_c, labels.n_t]) {
                open.labels[at] = RateBlock::default();
                self.emit(&Entry::Labels { stratum: stratum as u16, guard: at as u16, block: labels });
            }
            let open = &mut self.core.strata[stratum];
            if open.late[at].as_ref().is_some_and(|gather| may(gather.n()))
                && let Some(gather) = open.late[at].take()
            {
                let sample = gather.close(&self.core.closer.plan.guards[at], &mut self.core.tunings[at]);
                if sample != Sample::Nothing {
                    self.emit(&Entry::Late { stratum: stratum as u16, guard: at as u16, sample });
                }
                self.retune(at, stratum);
            }
        }
        if drained {
            let open = &mut self.core.strata[stratum];
            open.done = true;
            open.blocks.iter_mut().for_each(|block| *block = OpenBlock::default());
            open.late.iter_mut().for_each(|late| *late = None);
            open.shown = BTreeMap::new();
            self.dirty = true;
        }
    }

    fn close_class(&mut self, stratum: usize, class: usize) {
        let block = std::mem::take(&mut self.core.strata[stratum].blocks[class]);
        let guards: Vec<usize> = self.core.closer.plan.of_class(class as u8).collect();
        let mut samples = Vec::with_capacity(guards.len());
        for (at, gather) in guards.iter().zip(block.gathers) {
            let plan = &self.core.closer.plan.guards[*at];
            samples.push(if plan.by_unit {
                Sample::Nothing
            } else {
                gather.close(plan, &mut self.core.tunings[*at])
            });
        }
        if samples.iter().any(|sample| *sample != Sample::Nothing) {
            self.emit(&Entry::Block { stratum: stratum as u16, class: class as u8, samples });
        }
        for at in guards {
            self.retune(at, stratum);
        }
    }

    fn retune(&mut self, at: usize, stratum: usize) {
        let plan = &self.core.closer.plan.guards[at];
        let ages = self.core.closer.ages.get(stratum);
        let age = plan.class.and_then(|class| ages?.get(usize::from(class))).copied();
        let tuned = self.core.tunings[at].after_block(plan, age);
        self.tuned(at, &tuned);
    }

    /// The late guardrails with a maturity.
    pub(crate) fn late_ages(&self) -> Vec<(u16, Span)> {
        let guards = (0_u16..).zip(&self.watch().guards);
        guards
            .filter(|(_, guard)| matches!(guard.metric, MetricRef::Custom(_)))
            .filter_map(|(at, guard)| Some((at, guard.maturity?)))
            .collect()
    }

    /// Whether a stratum is over for so long that nothing of it can come any more.
    fn drained(&self, stratum: usize, now: Timestamp) -> bool {
        let Some(ended) = self.core.strata[stratum].ended else { return false };
        let watch = self.watch();
        let requests = watch.timeout + watch.report_lag;
        let late = self.core.ended.is_none()
            && watch
                .guards
                .iter()
                .any(|g| g.maturity.is_none() && !matches!(g.metric, MetricRef::Builtin(_)));
        let maturity = watch.guards.iter().filter_map(|g| g.maturity).max().unwrap_or_default();
        // A late label without a maturity may come as long as the rollout runs.
        !late && now >= ended + requests.max(maturity + watch.report_lag)
    }

    fn tick_unit_labels(&mut self) {
        let mut labels = std::mem::take(&mut self.core.label_obs);
        labels.sort_unstable_by_key(|l| (l.time, l.unit, l.guard));
        for at in 0..self.core.closer.plan.guards.len() {
            let seen: Vec<LabelSeen> =
                labels.iter().filter(|l| usize::from(l.guard) == at).map(|l| l.seen).collect();
            if !seen.is_empty() {
                self.emit(&Entry::UnitLabels { guard: at as u16, seen });
            }
        }
    }

    fn tick_units(&mut self, units: &mut dyn UnitTable) {
        if self.core.obs.is_empty() {
            return;
        }
        let mut obs = std::mem::take(&mut self.core.obs);
        obs.sort_unstable_by_key(Obs::order);
        for at in 0..self.core.closer.plan.guards.len() {
            if self.core.closer.plan.guards[at].by_unit {
                let of: Vec<&Obs> = obs.iter().filter(|o| usize::from(o.guard) == at).collect();
                self.tick_units_of(at, &of, units);
            }
        }
    }

    fn tick_units_of(&mut self, at: usize, obs: &[&Obs], units: &mut dyn UnitTable) {
        if obs.is_empty() {
            return;
        }
        let closer = &self.core.closer;
        let strata = closer.stratum_shares();
        let plan = &closer.plan.guards[at];
        let frame = TickFrame {
            plan,
            frames: closer.guards[at].frames(),
            strata: &strata,
            threshold: self.core.tunings[at].threshold,
            cap: closer.cap(at),
            proof_per_stage: closer.watch.proof_per_stage,
        };
        let mut tick =
            UnitTick { deltas: vec![ClusterDelta::default(); frame.frames.len()], ..UnitTick::default() };
        let alone = closer.watch.randomised == Randomised::Request;
        let bit = 1_u32.checked_shl(at as u32).unwrap_or(0);
        for o in obs {
            let mut single;
            let unit = if alone {
                single = Some(UnitState::new(
                    0,
                    super::units::Exposed {
                        at: o.time,
                        stratum: o.stratum,
                        new: o.new,
                        crossed: false,
                        matured: 0,
                    },
                ));
                single.as_mut()
            } else {
                units.unit(o.unit)
            };
            let Some(unit) = unit else { continue };
            if unit.in_stratum(o.stratum).is_some_and(|exposed| exposed.crossed) {
                continue;
            }
            let ready = frame.seen(o, 0).is_some();
            let event = plan.method != Method::Rate || o.y != 0.0;
            if ready && event && unit.firsts & bit == 0 && bit != 0 {
                unit.firsts |= bit;
                tick.first.push(first_seen(&frame, o));
            }
            if frame.observe(unit.more(), o, &mut tick.deltas) {
                add_sums(&mut tick.sums, o, frame.seen(o, frame.frames.len() - 1).unwrap_or(0.0));
            }
        }
        self.after_units(at, obs, &tick);
    }

    fn after_units(&mut self, at: usize, obs: &[&Obs], tick: &UnitTick) {
        if !tick.sums.is_empty() || !tick.first.is_empty() {
            self.emit(&Entry::Units { guard: at as u16, tick: tick.clone() });
        }
        let tuning = &mut self.core.tunings[at];
        if Tuning::needs(self.core.closer.plan.guards[at].method) > 0 {
            for o in obs.iter().filter(|o| !o.new) {
                let _kept = tuning.control.add(o.y);
            }
            self.retune(at, obs.last().map_or(0, |o| usize::from(o.stratum)));
        }
    }

    fn look(&self, now: Timestamp, position: u64) -> Look {
        let (core, plan) = (&self.core, &self.core.closer.plan);
        let guards = (0..plan.guards.len()).map(|at| self.guard_look(at)).collect();
        let open = core.strata.last();
        let counts = &core.counts;
        let refused = counts.refused.iter().map(|(reason, n)| (reason.code().to_owned(), *n)).collect();
        let crossed_share = counts.crossed as f64 / counts.units.max(1) as f64;
        let error_share = counts.errors as f64 / counts.events.max(1) as f64;
        let health = Health {
            exposures: open.map_or([0; 2], |open| open.exposures),
            reports: open.map_or([0; 2], |open| open.reports),
            last_exposure: counts.last_exposure,
            last_report: counts.last_report,
            crossed_units: counts.crossed,
            refused,
            too_many_errors: (counts.events >= 100 && error_share > 0.01)
                || (counts.units >= 100 && crossed_share > 0.01),
            units_full: core.units_full,
        };
        Look { at: now, position, health, guards }
    }

    fn guard_look(&self, at: usize) -> GuardLook {
        let core = &self.core;
        let plan = &core.closer.plan.guards[at];
        let shown = core.strata.last().and_then(|open| open.shown.get(&(at as u16)));
        let quantiles = match (plan.method, shown) {
            (Method::Exceedance { p }, Some([control, new])) => {
                new.quantile(p).zip(control.quantile(p)).map(|(new, control)| [new, control])
            }
            (
                Method::Exceedance { .. }
                | Method::Rate
                | Method::Events
                | Method::Score { .. }
                | Method::Amount
                | Method::Ratio,
                _,
            ) => None,
        };
        let waits_for = if plan.null.is_none() {
            Some("its margin makes no sense for this metric".to_owned())
        } else {
            core.tunings[at].waits_for(plan)
        };
        let pending = match plan.class {
            Some(class) => core.in_flight[usize::from(class)],
            None => core.maturing[at],
        };
        GuardLook { pending, waits_for, quantiles }
    }

    pub(crate) fn evidence(&self, now: Timestamp, position: u64) -> Evidence {
        self.core.closer.evidence(&self.look(now, position))
    }

    pub(crate) fn block_log(&self, now: Timestamp, position: u64) -> super::log::BlockLog {
        self.log.at(self.look(now, position))
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

fn first_seen(frame: &TickFrame<'_>, o: &Obs) -> FirstSeen {
    let mut bits = 0;
    if matches!(frame.plan.method, Method::Exceedance { .. }) {
        for process in 0..=frame.plan.safe.len().min(30) {
            bits |= u32::from(frame.seen(o, process).is_some_and(|y| y > 0.0)) << process;
        }
    }
    FirstSeen { stratum: o.stratum, new: o.new, y: o.y, bits }
}

fn add_sums(sums: &mut Vec<StratumSums>, o: &Obs, shown: f64) {
    let at = match sums.iter().position(|sums| sums.stratum == o.stratum) {
        Some(at) => at,
        None => {
            sums.push(StratumSums { stratum: o.stratum, ..StratumSums::default() });
            sums.len() - 1
        }
    };
    let arm = usize::from(o.new);
    sums[at].n[arm] += 1;
    sums[at].y[arm] += shown;
    sums[at].size[arm] += o.size;
}
