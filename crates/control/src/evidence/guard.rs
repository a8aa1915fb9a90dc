//! The processes of one guardrail: evidence of harm, of safety, and the comparison that is shown.

use ensign_stats::{
    Arm, ClusterFrame, ClusterMixture, ClusterParams, DesignBet, Direction, FirstEvent, LabelHealth, MeanBet,
    MeanBlock, MeanParams, MhSummary, Null, RateBet, RateBlock, RateParams, Side, UnitLabelHealth, asymp_cs,
    user_level,
};
use serde::{Deserialize, Serialize};

use super::entry::{FirstSeen, LabelSeen, Sample, UnitTick};
use super::plan::{GuardPlan, Method, inside};
use super::report::Estimate;
use super::watch::{Guard, Margin};

/// Level of the confidence sequences that are shown.
const LEVEL: f64 = 0.95;
/// Values each arm needs before an interval is shown.
const INTERVAL_FROM: u64 = 100;

/// One process.
#[expect(clippy::large_enum_variant, reason = "a handful per rollout; a pointer would cost every tick")]
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Proc {
    Rate(RateBet),
    Mean(MeanBet),
    Unit { exact: Exact, cluster: ClusterMixture },
}

/// The exact half of a process by unit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Exact {
    None,
    Event(FirstEvent),
    Observation(DesignBet),
}

impl Proc {
    fn log_e(&self) -> f64 {
        match self {
            Self::Rate(bet) => bet.log_e(),
            Self::Mean(bet) => bet.log_e(),
            Self::Unit { exact: Exact::None, cluster } => cluster.log_e(),
            Self::Unit { exact: Exact::Event(exact), cluster } => user_level(exact.log_e(), cluster.log_e()),
            Self::Unit { exact: Exact::Observation(exact), cluster } => {
                user_level(exact.log_e(), cluster.log_e())
            }
        }
    }
}

/// Label health, by how the rollout is randomised.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Labels {
    Requests(LabelHealth),
    Units(UnitLabelHealth),
}

/// Everything a guardrail has learned.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct GuardProc {
    harm: Option<Proc>,
    safe: Vec<Option<Proc>>,
    safe_max: Vec<f64>,
    max_log_e: f64,
    summary: MhSummary,
    display: Option<ClusterMixture>,
    labels: Option<Labels>,
    cap: Option<f64>,
    /// What the shown interval is tightest for; set once.
    tau: Option<f64>,
    /// Samples: control, new.
    n: [u64; 2],
    stratum: StratumView,
}

/// The open stratum's plain figures: control, new.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct StratumView {
    n: [u64; 2],
    y: [f64; 2],
    size: [f64; 2],
}

impl GuardProc {
    pub(crate) fn new(plan: &GuardPlan, matures: bool) -> Self {
        let labels = match (matures, plan.by_unit) {
            (false, _) => None,
            (true, false) => LabelHealth::new().ok().map(Labels::Requests),
            (true, true) => UnitLabelHealth::new().ok().map(Labels::Units),
        };
        let mut guard = Self {
            harm: None,
            safe: vec![None; plan.safe.len()],
            safe_max: vec![0.0; plan.safe.len()],
            max_log_e: 0.0,
            summary: MhSummary::default(),
            display: None,
            labels,
            cap: None,
            tau: None,
            n: [0; 2],
            stratum: StratumView::default(),
        };
        guard.start(plan);
        guard
    }

    /// Builds the processes that can be built now; amounts wait for their cap.
    fn start(&mut self, plan: &GuardPlan) {
        if self.harm.is_none() {
            self.harm = plan.null.and_then(|null| process(plan, null, Side::Harm, self.cap));
        }
        for (slot, null) in self.safe.iter_mut().zip(&plan.safe) {
            if slot.is_none() {
                *slot = null.and_then(|null| process(plan, null, Side::Safe, self.cap));
            }
        }
        if plan.by_unit && self.display.is_none() {
            self.display = ClusterParams::for_display(0.0).and_then(ClusterMixture::new).ok();
        }
    }

    /// A new stratum begins.
    pub(crate) fn begin_stratum(&mut self, plan: &GuardPlan, proof_per_stage: bool) {
        self.summary.end_stratum();
        self.stratum = StratumView::default();
        if proof_per_stage {
            self.safe.iter_mut().for_each(|slot| *slot = None);
            self.safe_max.iter_mut().for_each(|max| *max = 0.0);
            self.start(plan);
        }
    }

    /// Sets the winsorising cap: builds the processes, or brings what they learned to the new scale.
    pub(crate) fn set_cap(&mut self, plan: &GuardPlan, cap: f64) {
        self.cap = Some(cap);
        for process in self.harm.iter_mut().chain(self.safe.iter_mut().flatten()) {
            if let Proc::Mean(bet) = process {
                // A cap that is not positive was refused where it was computed.
                let _kept = bet.set_winsor(cap);
            }
        }
        self.start(plan);
    }

    /// A block closed. `current`: it belongs to the open stratum. `proof`: it counts for proofs of safety.
    pub(crate) fn close(&mut self, plan: &GuardPlan, sample: &Sample, current: bool, proof: bool) {
        match sample {
            Sample::Nothing => {}
            Sample::Counts(block) => self.close_counts(plan, *block, current, proof),
            Sample::Beyond(blocks) => {
                let mut blocks = blocks.iter();
                if let Some(block) = blocks.next() {
                    self.count(block.n_c, block.n_t, current);
                    step_rate(&mut self.harm, *block);
                }
                for (slot, block) in self.safe.iter_mut().zip(blocks) {
                    if proof {
                        step_rate(slot, *block);
                    }
                }
            }
            Sample::Values(block) => self.close_values(plan, block, current, proof),
        }
        self.remember();
    }

    fn close_counts(&mut self, plan: &GuardPlan, block: RateBlock, current: bool, proof: bool) {
        if plan.method == Method::Events {
            if let Ok(values) = MeanBlock::events(block) {
                self.close_values(plan, &values, current, proof);
            }
            return;
        }
        self.count(block.n_c, block.n_t, current);
        step_rate(&mut self.harm, block);
        if proof {
            self.safe.iter_mut().for_each(|slot| step_rate(slot, block));
        }
        // An empty arm was not let into an entry; a refusal leaves the summary as it was.
        let _kept = self.summary.close_rate(block);
    }

    fn close_values(&mut self, _plan: &GuardPlan, block: &MeanBlock, current: bool, proof: bool) {
        self.count(block.n(Arm::Control), block.n(Arm::New), current);
        step_mean(&mut self.harm, block);
        if proof {
            self.safe.iter_mut().for_each(|slot| step_mean(slot, block));
        }
        let _kept = self.summary.close_mean(block);
    }

    fn count(&mut self, control: u64, new: u64, current: bool) {
        self.n[0] += control;
        self.n[1] += new;
        if current {
            self.stratum.n[0] += control;
            self.stratum.n[1] += new;
        }
    }

    /// A tick of observations by unit. `shares` are the design shares of the strata so far.
    pub(crate) fn units(
        &mut self,
        plan: &GuardPlan,
        tick: &UnitTick,
        shares: &[f64],
        from: u16,
        proof_from: u16,
    ) {
        let mut deltas = tick.deltas.iter();
        for (at, slot) in std::iter::once(&mut self.harm).chain(self.safe.iter_mut()).enumerate() {
            let delta = deltas.next();
            let Some(Proc::Unit { exact, cluster }) = slot else { continue };
            for first in &tick.first {
                if at > 0 && first.stratum < proof_from {
                    continue;
                }
                observe(exact, plan, first, at, shares);
            }
            if let Some(delta) = delta {
                cluster.end_tick(delta);
            }
        }
        if let (Some(display), Some(delta)) = (&mut self.display, deltas.next()) {
            display.end_tick(delta);
        }
        for sums in &tick.sums {
            for arm in 0..2 {
                self.n[arm] += sums.n[arm];
                if sums.stratum == from {
                    self.stratum.n[arm] += sums.n[arm];
                    self.stratum.y[arm] += sums.y[arm];
                    self.stratum.size[arm] += sums.size[arm];
                }
            }
        }
        self.remember();
    }

    /// What the units use during the coming tick: harm, each safe margin, display; `None` where a process
    /// does not run yet.
    pub(crate) fn frames(&self) -> Vec<Option<ClusterFrame>> {
        let frame = |slot: &Option<Proc>| match slot {
            Some(Proc::Unit { cluster, .. }) => Some(cluster.frame()),
            Some(Proc::Rate(_) | Proc::Mean(_)) | None => None,
        };
        std::iter::once(&self.harm)
            .chain(&self.safe)
            .map(frame)
            .chain(std::iter::once(self.display.as_ref().map(ClusterMixture::frame)))
            .collect()
    }

    /// Matured requests and their labels.
    pub(crate) fn label_block(&mut self, block: RateBlock) {
        if let Some(Labels::Requests(health)) = &mut self.labels {
            let _kept = health.close(block);
        }
    }

    /// Matured units and their labels.
    pub(crate) fn unit_labels(&mut self, seen: &[LabelSeen], shares: &[f64]) {
        if let Some(Labels::Units(health)) = &mut self.labels {
            for unit in seen {
                let share = shares.get(usize::from(unit.stratum)).copied().unwrap_or(0.0);
                let _kept = health.observe(arm(unit.new), share, unit.labelled);
            }
        }
    }

    fn remember(&mut self) {
        self.max_log_e = self.max_log_e.max(self.log_e());
        for (max, slot) in self.safe_max.iter_mut().zip(&self.safe) {
            if let Some(process) = slot {
                *max = max.max(process.log_e());
            }
        }
        if self.tau.is_none() && self.n.iter().all(|n| *n >= INTERVAL_FROM) {
            self.tau = Some(0.0);
        }
    }

    /// Fixes what the shown interval is tightest for, once both arms have enough values.
    pub(crate) fn tune(&mut self, guard: &Guard, plan: &GuardPlan) {
        if self.tau != Some(0.0) {
            return;
        }
        let control = match &self.display {
            Some(_) => ratio_of(self.stratum.y[0], self.stratum.size[0]),
            None => self.summary.mean(Arm::Control),
        };
        let control = control.unwrap_or(0.0).abs();
        let tau = match guard.margin {
            Margin::Relative(r) if r > 0.0 => r * control,
            Margin::Absolute(_) if plan.null.is_some_and(|null| null.delta() > 0.0) => {
                plan.null.map_or(0.0, Null::delta)
            }
            Margin::Relative(_) | Margin::Absolute(_) => 0.1 * control,
        };
        if tau > 0.0 && tau.is_finite() {
            self.tau = Some(tau);
        }
    }

    pub(crate) fn log_e(&self) -> f64 {
        self.harm.as_ref().map_or(0.0, Proc::log_e)
    }

    pub(crate) fn max_log_e(&self) -> f64 {
        self.max_log_e
    }

    pub(crate) fn max_log_e_safe(&self) -> &[f64] {
        &self.safe_max
    }

    pub(crate) fn runs(&self) -> bool {
        self.harm.is_some()
    }

    pub(crate) fn cap(&self) -> Option<f64> {
        self.cap
    }

    pub(crate) fn n(&self) -> [u64; 2] {
        self.n
    }

    pub(crate) fn stratum_n(&self) -> [u64; 2] {
        self.stratum.n
    }

    pub(crate) fn label_log_e(&self) -> f64 {
        match &self.labels {
            Some(Labels::Requests(health)) => health.max_log_e(),
            Some(Labels::Units(health)) => health.max_log_e(),
            None => 0.0,
        }
    }

    /// The comparison to show; for quantiles the two quantiles of the open stratum are handed in.
    pub(crate) fn estimate(&self, plan: &GuardPlan, quantiles: Option<[f64; 2]>) -> Option<Estimate> {
        if matches!(plan.method, Method::Exceedance { .. }) {
            let [new, control] = quantiles?;
            let ratio = (control > 0.0).then(|| new / control);
            let difference = new - control;
            return Some(Estimate { new, control, difference, ratio, half_width: None, level: LEVEL });
        }
        let (new, control, difference, se, ratio) = match &self.display {
            Some(display) => {
                let new = ratio_of(self.stratum.y[1], self.stratum.size[1])?;
                let control = ratio_of(self.stratum.y[0], self.stratum.size[0])?;
                let estimate = display.estimate()?;
                let ratio = (control != 0.0).then(|| new / control);
                (new, control, estimate.difference, estimate.se, ratio)
            }
            None => {
                let estimate = self.summary.estimate()?;
                let mean = |arm| {
                    let stratum = self.summary.stratum(arm);
                    if stratum.n() > 0 { Some(stratum.mean()) } else { self.summary.mean(arm) }
                };
                (mean(Arm::New)?, mean(Arm::Control)?, estimate.difference, estimate.se, estimate.ratio)
            }
        };
        let half_width = self
            .tau
            .filter(|tau| *tau > 0.0)
            .and_then(|tau| asymp_cs(difference, se, tau, 1.0 - LEVEL))
            .map(|cs| plan.shown_difference(cs.half_width))
            .filter(|w| w.is_finite());
        let (new, control) = (plan.shown(new), plan.shown(control));
        // A ratio of values that do not begin at zero says nothing.
        let ratio = ratio
            .filter(|r| r.is_finite() && !matches!(plan.method, Method::Score { min, .. } if min != 0.0));
        let difference = plan.shown_difference(difference);
        Some(Estimate { new, control, difference, ratio, half_width, level: LEVEL })
    }

    /// The method's name, for the record.
    pub(crate) fn method(plan: &GuardPlan) -> &'static str {
        match (plan.method, plan.by_unit) {
            (Method::Rate, false) => "block bet on a rate",
            (Method::Events | Method::Score { .. }, false) => "block bet on a bounded mean",
            (Method::Amount, false) => "block bet on a winsorised mean",
            (Method::Exceedance { .. }, false) => "block bet on exceedances of control's quantile",
            (Method::Rate, true) => "first event per unit and cluster mixture",
            (Method::Ratio, _) => "cluster mixture",
            (Method::Events | Method::Score { .. } | Method::Amount, true) => {
                "first observation per unit and cluster mixture"
            }
            (Method::Exceedance { .. }, true) => "first exceedance indicator per unit and cluster mixture",
        }
    }
}

fn ratio_of(y: f64, size: f64) -> Option<f64> {
    (size > 0.0).then(|| y / size)
}

pub(crate) fn arm(new: bool) -> Arm {
    if new { Arm::New } else { Arm::Control }
}

/// The null of an exceedance indicator: the margin is in the counting.
pub(crate) fn indicator_null() -> Option<Null> {
    Null::new(Direction::Up, 1.0, 0.0).ok()
}

fn process(plan: &GuardPlan, null: Null, side: Side, cap: Option<f64>) -> Option<Proc> {
    if plan.by_unit { unit_process(plan, null, side, cap) } else { request_process(plan, null, side, cap) }
}

fn request_process(plan: &GuardPlan, null: Null, side: Side, cap: Option<f64>) -> Option<Proc> {
    match plan.method {
        Method::Rate => RateParams::rate(null, side).and_then(RateBet::new).map(Proc::Rate).ok(),
        Method::Exceedance { p } => {
            RateBet::new(RateParams::exceedance(inside(null, p), side)).map(Proc::Rate).ok()
        }
        Method::Events | Method::Score { .. } => {
            MeanBet::new(MeanParams::score(null, side)).map(Proc::Mean).ok()
        }
        Method::Amount => MeanBet::new(MeanParams::amount(null, side, cap?)).map(Proc::Mean).ok(),
        Method::Ratio => None,
    }
}

fn unit_process(plan: &GuardPlan, null: Null, side: Side, cap: Option<f64>) -> Option<Proc> {
    let (exact, null) = match plan.method {
        Method::Rate => match side {
            Side::Harm => (Exact::Event(FirstEvent::new(null).ok()?), null),
            // Units of the worse arm run out of first events: evidence of safety would be biased.
            Side::Safe => (Exact::None, null),
        },
        Method::Events | Method::Score { .. } => {
            (Exact::Observation(DesignBet::new(MeanParams::score(null, side)).ok()?), null)
        }
        Method::Amount => {
            let cap = cap?;
            let bet = DesignBet::new(MeanParams::amount(null, side, cap)).ok()?;
            // The cluster process sees values already divided, cut and scaled.
            let null = Null::new(null.direction(), 1.0, null.delta() / cap).ok()?;
            (Exact::Observation(bet), null)
        }
        Method::Exceedance { .. } => {
            let null = indicator_null()?;
            (Exact::Observation(DesignBet::new(MeanParams::score(null, side)).ok()?), null)
        }
        Method::Ratio => (Exact::None, null),
    };
    let params = ClusterParams { side, null, start_centre: 0.0, known_variance: None };
    Some(Proc::Unit { exact, cluster: ClusterMixture::new(params).ok()? })
}

fn observe(exact: &mut Exact, plan: &GuardPlan, first: &FirstSeen, process: usize, shares: &[f64]) {
    let share = shares.get(usize::from(first.stratum)).copied().unwrap_or(0.0);
    // A share of nothing or everything has no comparison; a refusal leaves the process as it was.
    let _kept = match exact {
        Exact::None => Ok(()),
        Exact::Event(event) => event.observe(arm(first.new), share),
        Exact::Observation(bet) => {
            let y = match plan.method {
                Method::Exceedance { .. } => f64::from(u8::from(first.bits >> process & 1 == 1)),
                Method::Rate | Method::Events | Method::Score { .. } | Method::Amount | Method::Ratio => {
                    first.y
                }
            };
            bet.observe(arm(first.new), share, y)
        }
    };
}

fn step_rate(slot: &mut Option<Proc>, block: RateBlock) {
    if let Some(Proc::Rate(bet)) = slot {
        let _kept = bet.close(block);
    }
}

fn step_mean(slot: &mut Option<Proc>, block: &MeanBlock) {
    if let Some(Proc::Mean(bet)) = slot {
        let _kept = bet.close(block);
    }
}

/// `e^x` for display, finite.
pub(crate) fn finite(log: f64) -> f64 {
    if log.is_nan() { 0.0 } else { log.clamp(-1e15, 1e15) }
}
