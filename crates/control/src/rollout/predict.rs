//! How long it will take: for each stage and guardrail the samples until it can decide, and the time they need.
//!
//! Planning values, not promises: they come from the formulas of the statistics crate and from recent traffic.
//! What no baseline is known for is said, not guessed, except that a rate is assumed to be 1 %.

use serde::Serialize;

use crate::evidence::Baseline;
use crate::evidence::watch::{Margin, Settle};
use crate::ids::Span;
use crate::metric::{Better, Builtin, MetricRef, Shape, Statistic};
use ensign_stats::predict::{mean_samples, rate_harm_samples, rate_safe_samples};
use ensign_stats::special::normal_quantile;
use ensign_stats::{e_value, log_normal_cdf};

use super::render::wrap;
use super::resolve::spends;
use super::{GuardPlan, Plan, number};

/// What is known of recent traffic.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Traffic {
    /// Requests (or units) per second that the allocation decides, both arms together; none: no recent traffic.
    pub per_second: Option<f64>,
    /// Control's baseline per guardrail of the plan, in its order; missing ones are `None`.
    pub baselines: Vec<Option<Baseline>>,
}

/// What is to be expected of a plan.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Prediction {
    /// One entry per stage.
    pub stages: Vec<StagePrediction>,
    /// The shortest time until everyone has the new variant, where traffic is known and it is as good as control.
    pub earliest: Option<Span>,
    /// What was assumed and what is missing.
    pub notes: Vec<String>,
}

/// One stage.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StagePrediction {
    /// Its share, 1/100000.
    pub share: u32,
    /// Its minimum duration.
    pub min_duration: Span,
    /// The shortest time until it is left, where traffic is known and the new variant is as good as control.
    pub expected: Option<Span>,
    /// One entry per guardrail that can stop the rollout.
    pub guards: Vec<GuardPrediction>,
}

/// One guardrail at one stage.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GuardPrediction {
    /// What people call it.
    pub label: String,
    /// How soon harm of some sizes is found.
    pub harm: Vec<Expectation>,
    /// How soon the proof that the stage needs is there, if the new variant is as good as control.
    pub proof: Option<Expectation>,
}

/// How much is needed for one verdict.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Expectation {
    /// Of what: `2×`, or the margin to be proven.
    pub of: String,
    /// Samples in the new arm; none where it cannot be said.
    pub samples: Option<u64>,
    /// The time they take, with the age at which they count and the reports' lag.
    pub time: Option<Span>,
}

/// Base rate assumed where none is known.
const ASSUMED_RATE: f64 = 0.01;

/// What is to be expected of `plan` with this traffic.
pub fn predict(plan: &Plan, traffic: &Traffic) -> Prediction {
    let mut notes = Vec::new();
    if traffic.per_second.is_none() {
        notes.push("No recent traffic is known, so no times can be given.".to_owned());
    }
    for (index, guard) in plan.guards.iter().enumerate().filter(|(_, guard)| spends(guard.guard.on_harm)) {
        if baseline(traffic, index).is_none() {
            let word = if is_rate(guard) { "assumed to be 1 %" } else { "so nothing is predicted for it" };
            notes.push(format!("No baseline of {} is known yet, {word}.", guard.label));
        }
    }
    let stages: Vec<StagePrediction> =
        (0..plan.stages.len()).map(|stage| predict_stage(plan, traffic, stage)).collect();
    let earliest = stages
        .iter()
        .map(|stage| stage.expected)
        .try_fold(Span(0), |sum, expected| expected.map(|expected| Span(sum.0.saturating_add(expected.0))));
    Prediction { stages, earliest, notes }
}

fn baseline(traffic: &Traffic, guard: usize) -> Option<&Baseline> {
    traffic.baselines.get(guard)?.as_ref().filter(|baseline| baseline.n > 0)
}

fn is_rate(guard: &GuardPlan) -> bool {
    guard.guard.shape == Shape::Rate && guard.guard.better == Better::Lower
}

fn predict_stage(plan: &Plan, traffic: &Traffic, index: usize) -> StagePrediction {
    let stage = &plan.stages[index];
    let h = f64::from(stage.share) / 100_000.0;
    let per_second = traffic.per_second.filter(|rate| *rate > 0.0).map(|rate| rate * h);
    let mut expected = per_second.map(|_| stage.min_duration);
    let mut guards = Vec::new();
    for (at, guard) in plan.guards.iter().enumerate().filter(|(_, guard)| spends(guard.guard.on_harm)) {
        let lag = settle(plan, traffic, guard);
        let time = |samples: Option<u64>| {
            Some(Span(((samples? as f64 / per_second?) * 1e6).min(9e15) as i64 + lag.0))
        };
        let known = baseline(traffic, at);
        let harm = effects(guard).into_iter().map(|factor| {
            let samples = harm_samples(plan, guard, known, factor, h).and_then(whole);
            Expectation { of: number::factor(factor), samples, time: time(samples) }
        });
        let harm = harm.collect();
        let proof = plan.safe_margin(at, index).map(|margin| {
            let samples = proof_samples(plan, guard, known, margin, h).and_then(whole);
            let of = number::margin(guard.unit, guard.guard.better, margin);
            Expectation { of, samples, time: time(samples) }
        });
        let needs = [time(Some(stage.min_samples)), proof.as_ref().and_then(|proof| proof.time)];
        for need in needs.into_iter().flatten() {
            expected = expected.map(|so_far| so_far.max(need));
        }
        if proof.as_ref().is_some_and(|proof| proof.time.is_none()) {
            expected = None;
        }
        guards.push(GuardPrediction { label: guard.label.clone(), harm, proof });
    }
    StagePrediction { share: stage.share, min_duration: stage.min_duration, expected, guards }
}

fn whole(samples: f64) -> Option<u64> {
    (samples.is_finite() && samples < 1e15).then(|| samples.ceil().max(1.0) as u64)
}

/// The age at which a sample counts, and the reports' lag on top.
fn settle(plan: &Plan, traffic: &Traffic, guard: &GuardPlan) -> Span {
    let default = || {
        let latency = plan
            .guards
            .iter()
            .enumerate()
            .filter(|(_, guard)| guard.guard.metric == MetricRef::Builtin(Builtin::Latency));
        let factor = latency.clone().fold(1.0_f64, |most, (_, guard)| most.max(theta(guard)));
        let p99 = latency
            .filter_map(|(at, _)| baseline(traffic, at)?.quantiles)
            .map(|quantiles| quantiles[2])
            .next();
        p99.map_or(plan.timeout, |p99| Span((p99 * factor * 1e3) as i64).min(plan.timeout))
    };
    let age = match guard.guard.settle {
        Settle::Default => default(),
        Settle::After(age) => age,
        Settle::OnCompletion => Span(0),
    };
    Span(
        age.0.saturating_add(plan.report_lag.0).saturating_add(guard.guard.maturity.map_or(0, |late| late.0)),
    )
}

/// The factor at which harm begins.
fn theta(guard: &GuardPlan) -> f64 {
    match (guard.guard.margin, guard.guard.better) {
        (Margin::Relative(r), Better::Lower) => 1.0 + r,
        (Margin::Relative(r), Better::Higher) => 1.0 - r,
        (Margin::Absolute(_), _) => 1.0,
    }
}

/// Sizes of harm to say something about: twice and four times what is allowed, and a disaster.
fn effects(guard: &GuardPlan) -> Vec<f64> {
    match (guard.guard.margin, guard.guard.better) {
        (Margin::Relative(r), Better::Lower) if r > 0.0 => {
            vec![1.0 + 2.0 * r, 1.0 + 4.0 * r, (1.0 + 8.0 * r).max(5.0)]
        }
        (Margin::Relative(_) | Margin::Absolute(_), Better::Lower) => vec![1.5, 2.0, 5.0],
        (margin, Better::Higher) => {
            let allowed = if let Margin::Relative(r) = margin { r } else { 0.0 };
            [0.9, 0.75, 0.5].into_iter().filter(|factor| *factor < 1.0 - allowed).collect()
        }
    }
}

/// Samples until harm of this factor is found.
fn harm_samples(
    plan: &Plan,
    guard: &GuardPlan,
    known: Option<&Baseline>,
    factor: f64,
    h: f64,
) -> Option<f64> {
    let level = plan.alpha * guard.guard.weight.max(1e-6);
    let guardrails = (1.0 / guard.guard.weight.max(1e-6)).round().max(1.0) as usize;
    let theta = theta(guard);
    if let Statistic::Quantile(p) = guard.guard.statistic {
        let tail = exceedance(known?, p, theta / factor)?;
        return rate_harm_samples(tail, 1.0 - p, 1.0, h, guardrails, plan.alpha);
    }
    if is_rate(guard) {
        let base = known.map_or(ASSUMED_RATE, |known| known.mean);
        return rate_harm_samples((base * factor).min(0.999), base, theta, h, guardrails, plan.alpha);
    }
    let known = known?;
    let allowed = if let Margin::Absolute(by) = guard.guard.margin { by } else { 0.0 };
    let worse = (known.mean * factor / theta - known.mean).abs() - allowed;
    (worse > 0.0).then(|| mean_samples(known.sd, worse, h, level))?
}

/// Samples until it is proven, if the new variant is exactly as good as control.
fn proof_samples(
    plan: &Plan,
    guard: &GuardPlan,
    known: Option<&Baseline>,
    margin: Margin,
    h: f64,
) -> Option<f64> {
    let distance = match (margin, guard.guard.better, guard.guard.statistic) {
        (Margin::Relative(r), _, Statistic::Quantile(p)) => {
            let (base, tail) = (1.0 - p, exceedance(known?, p, 1.0 + r)?);
            return mean_samples((base * (1.0 - base)).sqrt(), base - tail, h, plan.beta);
        }
        (Margin::Relative(r), _, Statistic::Mean) if is_rate(guard) => {
            let base = known.map_or(ASSUMED_RATE, |known| known.mean);
            return rate_safe_samples(base, 1.0 + r, h, plan.beta);
        }
        (Margin::Relative(r), Better::Lower, _) => known?.mean * (1.0 - 1.0 / (1.0 + r)),
        (Margin::Relative(r), Better::Higher, _) => known?.mean * (1.0 / (1.0 - r) - 1.0),
        (Margin::Absolute(by), _, _) => by,
    };
    mean_samples(known?.sd, distance, h, plan.beta)
}

/// The share of values above `times` their own p-quantile, as if they were lognormal between their p50 and p95.
fn exceedance(known: &Baseline, p: f64, times: f64) -> Option<f64> {
    let [p50, p95, _] = known.quantiles?;
    let sigma = libm::log(p95 / p50) / normal_quantile(0.95);
    let usable = sigma.is_finite() && sigma > 0.0 && times > 0.0;
    usable.then(|| e_value(log_normal_cdf(-(normal_quantile(p) + libm::log(times) / sigma))))
}

/// The prediction as a text of 80 columns.
pub fn render_prediction(plan: &Plan, prediction: &Prediction) -> String {
    let mut out = String::new();
    wrap(
        &mut out,
        &format!("{}: from {} to {}, by {}.", plan.flag, plan.control.name, plan.new.name, plan.unit),
        "",
        "  ",
    );
    for (index, stage) in prediction.stages.iter().enumerate() {
        let soak = if plan.is_soak(index) { " (soak)" } else { "" };
        let expected =
            stage.expected.map_or_else(String::new, |time| format!(", about {}", number::span(time)));
        let least = number::span(stage.min_duration);
        out.push('\n');
        wrap(
            &mut out,
            &format!("{}{soak}: at least {least}{expected}", number::share(stage.share)),
            "",
            "  ",
        );
        for guard in &stage.guards {
            let harm = guard.harm.iter().map(expectation).collect::<Vec<_>>().join("; ");
            wrap(&mut out, &format!("{}: harm of {harm}", guard.label), "  ", "      ");
            if let Some(proof) = &guard.proof {
                wrap(&mut out, &format!("proof of {}", expectation(proof)), "      ", "      ");
            }
        }
    }
    out.push('\n');
    if let Some(earliest) = prediction.earliest {
        wrap(&mut out, &format!("Everyone has it after {} at the earliest.", number::span(earliest)), "", "");
    }
    for note in prediction.notes.iter().chain(&plan.assumed) {
        wrap(&mut out, note, "- ", "  ");
    }
    out
}

fn expectation(expected: &Expectation) -> String {
    let samples =
        expected.samples.map_or_else(|| "unknown".to_owned(), |n| format!("n ≈ {}", number::count(n)));
    let time = expected.time.map_or_else(String::new, |time| format!(" ({})", number::span(time)));
    format!("{} {samples}{time}", expected.of)
}
