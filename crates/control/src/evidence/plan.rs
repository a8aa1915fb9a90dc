//! From guardrails to methods: which process judges a guardrail, on which scale, in which block.

use ensign_stats::{Direction, Margin as StatsMargin, Null};
use serde::{Deserialize, Serialize};

use super::watch::{Guard, Margin, OnHarm, Randomised, Settle, Watch};
use crate::ids::Span;
use crate::metric::{Better, Builtin, MetricRef, Shape, Statistic};

/// A failure within this age is an early one.
pub(crate) const EARLY: Span = Span::seconds(2);
/// More request-block ages than this in one rollout share the last one's block.
const MAX_CLASSES: usize = 16;

/// How a guardrail's values are judged.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Method {
    /// 0/1 with a relative margin, an increase is bad.
    Rate,
    /// 0/1 with another margin or direction: a bounded score.
    Events,
    /// A score mapped to [0, 1].
    Score { min: f64, range: f64 },
    /// A non-negative amount, winsorised.
    Amount,
    /// A quantile, by the share of values beyond control's quantile.
    Exceedance { p: f64 },
    /// A ratio of sums: always by unit.
    Ratio,
}

/// When requests enter a request block. Guardrails with the same one share a block.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Age {
    /// Control's p99 latency times the largest latency margin, at most the timeout.
    Default,
    /// This age, at most the timeout.
    After(Span),
    /// The timeout.
    Timeout,
    /// As soon as the report comes.
    OnCompletion,
}

/// One guardrail, ready to be fed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct GuardPlan {
    pub(crate) method: Method,
    /// The harm null; `None` when the margin makes no sense (the guardrail then never decides).
    pub(crate) null: Option<Null>,
    pub(crate) safe: Vec<Option<Null>>,
    /// The request block that feeds it; `None` for late metrics.
    pub(crate) class: Option<u8>,
    /// Judged by unit.
    pub(crate) by_unit: bool,
    /// Averaged with the others of the main request block.
    pub(crate) shared: bool,
}

/// All guardrails of a rollout, and the ages of its request blocks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) guards: Vec<GuardPlan>,
    pub(crate) classes: Vec<Age>,
    /// The largest latency factor in use, for the default age.
    pub(crate) latency_factor: f64,
}

impl Plan {
    /// Resolves every guardrail of a watch. Never fails: a guardrail that cannot be judged says so.
    pub(crate) fn of(watch: &Watch) -> Self {
        let mut classes: Vec<Age> = Vec::new();
        let mut guards: Vec<GuardPlan> = Vec::with_capacity(watch.guards.len());
        for guard in &watch.guards {
            let class = age_of(guard).map(|age| match classes.iter().position(|known| *known == age) {
                Some(at) => at as u8,
                None if classes.len() < MAX_CLASSES => {
                    classes.push(age);
                    (classes.len() - 1) as u8
                }
                None => (MAX_CLASSES - 1) as u8,
            });
            guards.push(guard_plan(guard, watch.randomised, class));
        }
        mark_shared(watch, &mut guards, classes.len());
        Self { latency_factor: latency_factor(watch), guards, classes }
    }

    /// The guardrails fed by one request block, in order.
    pub(crate) fn of_class(&self, class: u8) -> impl Iterator<Item = usize> + '_ {
        self.guards.iter().enumerate().filter(move |(_, g)| g.class == Some(class)).map(|(i, _)| i)
    }
}

/// The guardrails that may be averaged are those of one block only: sharing its boundaries makes all of
/// them e-processes for the same information. The block with the most weight is taken.
fn mark_shared(watch: &Watch, guards: &mut [GuardPlan], classes: usize) {
    if watch.randomised == Randomised::Unit {
        return;
    }
    let mut best: Option<(usize, f64)> = None;
    for class in 0..classes {
        let weight: f64 = watch
            .guards
            .iter()
            .zip(guards.iter())
            .filter(|(g, plan)| plan.class == Some(class as u8) && g.on_harm == OnHarm::RollBack)
            .map(|(g, _)| g.weight)
            .sum();
        if best.is_none_or(|(_, most)| weight > most) {
            best = Some((class, weight));
        }
    }
    for (guard, plan) in watch.guards.iter().zip(guards) {
        plan.shared = plan.class.is_some()
            && plan.class.map(usize::from) == best.map(|(class, _)| class)
            && guard.on_harm == OnHarm::RollBack
            && !plan.by_unit;
    }
}

fn age_of(guard: &Guard) -> Option<Age> {
    let MetricRef::Builtin(builtin) = &guard.metric else { return None };
    Some(match (builtin, guard.settle) {
        (Builtin::Unreported, _) => Age::Timeout,
        (_, Settle::After(age)) => Age::After(age),
        (_, Settle::OnCompletion) => Age::OnCompletion,
        (Builtin::EarlyFailure, Settle::Default) => Age::After(EARLY),
        // These need the finished request; where the new arm is slower, an earlier age would see fewer of
        // its long answers.
        (Builtin::TokensIn | Builtin::TokensOut | Builtin::Cost, Settle::Default) => Age::Timeout,
        (
            Builtin::ErrorRate | Builtin::StatusRate(_) | Builtin::Latency | Builtin::TimeToFirstToken,
            Settle::Default,
        ) => Age::Default,
    })
}

fn guard_plan(guard: &Guard, randomised: Randomised, class: Option<u8>) -> GuardPlan {
    let method = method_of(guard);
    let direction = match guard.better {
        Better::Lower => Direction::Up,
        Better::Higher => Direction::Down,
    };
    let null = |margin: &Margin| null_of(*margin, direction, method);
    GuardPlan {
        method,
        null: null(&guard.margin),
        safe: guard.safe_margins.iter().map(null).collect(),
        class,
        by_unit: randomised == Randomised::Unit || method == Method::Ratio,
        shared: false,
    }
}

fn method_of(guard: &Guard) -> Method {
    if let Statistic::Quantile(p) = guard.statistic {
        return Method::Exceedance { p: p.clamp(0.01, 0.999) };
    }
    match guard.shape {
        Shape::Rate => match (guard.margin, guard.better) {
            (Margin::Relative(_), Better::Lower) => Method::Rate,
            (Margin::Relative(_) | Margin::Absolute(_), Better::Lower | Better::Higher) => Method::Events,
        },
        Shape::Score { min, max } => Method::Score { min, range: (max - min).max(f64::MIN_POSITIVE) },
        Shape::Rating => Method::Score { min: 1.0, range: 4.0 },
        Shape::Count | Shape::Value => Method::Amount,
        Shape::Ratio => Method::Ratio,
    }
}

fn null_of(margin: Margin, direction: Direction, method: Method) -> Option<Null> {
    let margin = match (margin, method) {
        (Margin::Relative(r), _) => StatsMargin::Relative(r),
        (Margin::Absolute(d), Method::Score { range, .. }) => StatsMargin::Absolute(d / range),
        (
            Margin::Absolute(d),
            Method::Rate | Method::Events | Method::Amount | Method::Exceedance { .. } | Method::Ratio,
        ) => StatsMargin::Absolute(d),
    };
    margin.null(direction).ok()
}

fn latency_factor(watch: &Watch) -> f64 {
    let of = |margin: &Margin| match margin {
        Margin::Relative(r) => 1.0 + r,
        Margin::Absolute(_) => 1.0,
    };
    watch
        .guards
        .iter()
        .filter(|g| g.metric == MetricRef::Builtin(Builtin::Latency))
        .flat_map(|g| std::iter::once(&g.margin).chain(&g.safe_margins))
        .map(of)
        .filter(|factor| factor.is_finite())
        .fold(1.0, f64::max)
}

impl GuardPlan {
    /// A value on the scale of the method, or `None` if it does not fit the metric.
    pub(crate) fn normal(&self, y: f64) -> Option<f64> {
        if !y.is_finite() {
            return None;
        }
        match self.method {
            Method::Rate | Method::Events => (y == 0.0 || y == 1.0).then_some(y),
            Method::Score { min, range } => {
                let u = (y - min) / range;
                (0.0..=1.0).contains(&u).then_some(u)
            }
            Method::Amount | Method::Exceedance { .. } => (y >= 0.0).then_some(y),
            Method::Ratio => Some(y),
        }
    }

    /// A mean on the scale of the method, back in the metric's unit.
    pub(crate) fn shown(&self, u: f64) -> f64 {
        match self.method {
            Method::Score { min, range } => min + range * u,
            Method::Rate | Method::Events | Method::Amount | Method::Exceedance { .. } | Method::Ratio => u,
        }
    }

    /// A difference on the scale of the method, back in the metric's unit.
    pub(crate) fn shown_difference(&self, d: f64) -> f64 {
        match self.method {
            Method::Score { range, .. } => range * d,
            Method::Rate | Method::Events | Method::Amount | Method::Exceedance { .. } | Method::Ratio => d,
        }
    }

    /// Every null in use: harm first, then the safe margins.
    pub(crate) fn nulls(&self) -> impl Iterator<Item = Option<Null>> + '_ {
        std::iter::once(self.null).chain(self.safe.iter().copied())
    }

    /// The largest factor by which new values are divided, at least 1: the range a histogram must cover.
    pub(crate) fn widest(&self) -> f64 {
        self.nulls().flatten().map(Null::theta0).fold(1.0, f64::max)
    }
}

/// Whether a value is beyond control's quantile `x`, with the margin of `null` taken off new values.
pub(crate) fn beyond(null: Null, new: bool, y: f64, x: f64) -> bool {
    let s = null.direction().sign();
    let y = if new { y / null.theta0() - s * null.delta() } else { y };
    if s > 0.0 { y > x } else { y < x }
}

/// The probability that enters the exceedance process: of staying on the good side of the quantile.
pub(crate) fn inside(null: Null, p: f64) -> f64 {
    match null.direction() {
        Direction::Up => p,
        Direction::Down => 1.0 - p,
    }
}
