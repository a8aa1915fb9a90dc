//! The guardrails and plans of the simulated rollouts.

use ensign_control::evidence::watch::{Guard, Margin, OnHarm, Randomised, Settle, Watch};
use ensign_control::ids::{AllocationId, FlagId, Span};
use ensign_control::metric::{Better, Builtin, MetricRef, Shape, Statistic, Status};
use ensign_control::rollout::{
    Advance, Arm, GuardPlan, NumberUnit, OnMaxDuration, OnMismatch, OnMissing, Plan, Soak, Stage,
};

use crate::fleet::{key, rollout};

/// The request timeout of every fleet.
pub const TIMEOUT: Span = Span::seconds(60);

/// No margin: any degradation is harm.
pub const NONE: Margin = Margin::Relative(0.0);

fn guard(metric: MetricRef, shape: Shape, margin: Margin) -> Guard {
    Guard {
        metric,
        statistic: Statistic::Mean,
        shape,
        better: Better::Lower,
        margin,
        safe_margins: Vec::new(),
        weight: 1.0,
        on_harm: OnHarm::RollBack,
        settle: Settle::Default,
        maturity: None,
        cap: None,
    }
}

/// The default error rate.
pub fn errors(margin: Margin) -> Guard {
    guard(MetricRef::Builtin(Builtin::ErrorRate), Shape::Rate, margin)
}

/// The share of one status.
pub fn status(status: Status, margin: Margin) -> Guard {
    guard(MetricRef::Builtin(Builtin::StatusRate(status)), Shape::Rate, margin)
}

/// The 95th percentile of the latency.
pub fn latency_p95(margin: Margin) -> Guard {
    let latency = MetricRef::Builtin(Builtin::Latency);
    Guard { statistic: Statistic::Quantile(0.95), ..guard(latency, Shape::Value, margin) }
}

/// Mean tokens received.
pub fn tokens_out(margin: Margin) -> Guard {
    guard(MetricRef::Builtin(Builtin::TokensOut), Shape::Value, margin)
}

/// Mean tokens sent.
pub fn tokens_in(margin: Margin) -> Guard {
    guard(MetricRef::Builtin(Builtin::TokensIn), Shape::Value, margin)
}

/// The score of the inline evaluator, in [0, 1], higher is better.
pub fn score(margin: Margin) -> Guard {
    let shape = Shape::Score { min: 0.0, max: 1.0 };
    Guard { better: Better::Higher, ..guard(MetricRef::Custom(key("score")), shape, margin) }
}

/// The eight guardrails of a whole rollout, equal weights, any degradation is harm: four rates, score, tokens out and
/// in, p95.
pub fn eight() -> Vec<Guard> {
    let all = [
        errors(NONE),
        status(Status::RateLimited, NONE),
        status(Status::Malformed, NONE),
        status(Status::ContentFilter, NONE),
        latency_p95(NONE),
        tokens_out(NONE),
        tokens_in(NONE),
        score(NONE),
    ];
    all.map(|guard| Guard { weight: 0.125, ..guard }).to_vec()
}

/// A watch on these guardrails, requests randomised.
pub fn watch(guards: Vec<Guard>, alpha: f64) -> Watch {
    let rollout = rollout();
    Watch {
        flag: FlagId::of(&rollout.place, &rollout.flag),
        allocation: AllocationId::of(&rollout.place, &rollout.flag, "fallthrough"),
        rollout,
        control: 0,
        new: 1,
        randomised: Randomised::Request,
        timeout: TIMEOUT,
        report_lag: Span(0),
        warmup: Span(0),
        guards,
        alpha,
        beta: 0.05,
        alpha_srm: 0.001,
        proof_per_stage: false,
    }
}

/// A plan through these shares (percent), each for at least `stage`; with a soak the last one is the holdback's.
pub fn plan(watch: &Watch, shares: &[u32], stage: Span, soak: bool) -> Plan {
    let stages = |share: &u32| Stage {
        share: share * 1_000,
        min_duration: stage,
        max_duration: Span(stage.0 * 10),
        min_samples: 50,
        approval: false,
        advance: Advance::NoHarm,
        on_max_duration: OnMaxDuration::Hold,
    };
    let guards = watch.guards.iter().map(|guard| GuardPlan {
        text: String::new(),
        label: format!("{:?}", guard.metric),
        unit: NumberUnit::Plain,
        guard: guard.clone(),
        proof: vec![None; shares.len()],
        watch_only: false,
    });
    let arm = |variant, name: &str| Arm { variant, name: name.into() };
    Plan {
        flag: rollout().flag,
        rule: "fallthrough".into(),
        control: arm(0, "old"),
        new: arm(1, "new"),
        unit: key("request"),
        randomised: watch.randomised,
        soak: soak.then(|| Soak {
            holdback: 100_000 - shares.last().map_or(0, |share| share * 1_000),
            duration: stage,
        }),
        stages: shares.iter().map(stages).collect(),
        guards: guards.collect(),
        on_missing: OnMissing::Hold,
        silence: Span::seconds(60),
        on_ratio_mismatch: OnMismatch::Hold,
        alpha: watch.alpha,
        beta: watch.beta,
        alpha_srm: watch.alpha_srm,
        proof_per_stage: watch.proof_per_stage,
        timeout: watch.timeout,
        report_lag: watch.report_lag,
        warmup: watch.warmup,
        new_salt: false,
        assumed: Vec::new(),
        timetable: None,
    }
}
