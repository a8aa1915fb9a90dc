//! A small rollout and evidence made up in words, for the tests of the state machine.

use std::collections::BTreeMap;

use ensign_control::evidence::report::{
    Estimate, Evidence, GuardEvidence, GuardState, Health, RatioEvidence,
};
use ensign_control::ids::{Epoch, Place, RolloutId, Span, Timestamp};
use ensign_control::rollout::{FlagFacts, Plan, Rollout, Spec, VariantFact, resolve};
use serde_json::{Value, json};

pub(crate) const START: Timestamp = Timestamp(1_792_000_000_000_000);

pub(crate) fn flag() -> FlagFacts {
    let variant = |index, name: &str| VariantFact { index, name: name.into(), value: name.into() };
    FlagFacts {
        flag: "inference_model".parse().expect("the test is written so"),
        variants: vec![variant(0, "claude-3-haiku"), variant(1, "claude-sonnet-4-6")],
        rules: BTreeMap::from([("fallthrough".to_owned(), 0)]),
        unit: "request".parse().expect("the test is written so"),
        timeout: Span::seconds(30),
    }
}

pub(crate) fn document() -> Value {
    json!({ "rollout": "inference_model", "to": "claude-sonnet-4-6", "stages": [1, 5, 50, 100],
        "guardrails": ["error_rate<=1.5x@1"], "template": false, "min_duration": "10m", "max_duration": "5h",
        "soak": {"holdback": 5, "duration": "1h"} })
}

pub(crate) fn plan(document: &Value) -> Plan {
    resolve(&Spec::from_document(document).expect("the test is written so"), &flag(), &BTreeMap::new())
        .expect("the test is written so")
}

pub(crate) fn rollout(document: &Value) -> Rollout {
    let place = Place {
        project: "default".parse().expect("the test is written so"),
        environment: "production".parse().expect("the test is written so"),
    };
    let id = RolloutId { place, flag: "inference_model".parse().expect("the test is written so"), number: 3 };
    Rollout::new(id, plan(document), "anna", START)
}

/// Evidence at `at` in which every guardrail has `n` samples of the new arm and nothing is wrong.
pub(crate) fn healthy(plan: &Plan, at: Timestamp, n: u64) -> Evidence {
    let guard = |safe: usize| GuardEvidence {
        state: if n == 0 { GuardState::Collecting } else { GuardState::Healthy },
        n_new: n,
        n_control: n * 19,
        stratum_n_new: n,
        stratum_n_control: n * 19,
        estimate: (n > 0).then_some(Estimate {
            new: 0.011,
            control: 0.0104,
            difference: 0.0006,
            ratio: Some(1.06),
            half_width: Some(0.004),
            level: 0.95,
        }),
        log_e: -0.3,
        max_log_e: 0.1,
        contribution: 0.7,
        max_log_e_safe: vec![0.5; safe],
        pending: 0,
        settle: Span::seconds(4),
        waits_for: None,
        method: "rate v1".into(),
    };
    Evidence {
        at,
        position: 7_000 + n,
        epoch: Epoch(1),
        guards: plan.guards.iter().map(|g| guard(g.guard.safe_margins.len())).collect(),
        log_e_total: -0.3,
        harm: false,
        doubt: false,
        ratio: RatioEvidence { units: [n * 19, n], log_e: -1.0, mismatch: false },
        health: Health {
            exposures: [n * 19, n],
            reports: [n * 19, n],
            last_exposure: [Some(at), Some(at)],
            last_report: [(n > 0).then_some(at), (n > 0).then_some(at)],
            ..Health::default()
        },
    }
}

/// The same with one thing said about it.
pub(crate) fn with(mut evidence: Evidence, word: &str) -> Evidence {
    match word {
        "doubt" => {
            evidence.doubt = true;
            evidence.log_e_total = 3.0;
        }
        "harm" => {
            evidence.harm = true;
            evidence.log_e_total = 134.0_f64.ln();
            let guard = &mut evidence.guards[0];
            guard.state = GuardState::Harmed;
            guard.contribution = 134.0;
            guard.log_e = 134.0_f64.ln();
            guard.n_new = 402;
            guard.estimate = Some(Estimate {
                new: 0.041,
                control: 0.01,
                difference: 0.031,
                ratio: Some(4.1),
                half_width: Some(0.02),
                level: 0.95,
            });
        }
        "harmed-0" => evidence.guards[0].state = GuardState::Harmed,
        "proof" => {
            evidence.guards.iter_mut().for_each(|g| g.max_log_e_safe.iter_mut().for_each(|e| *e = 3.2));
        }
        "untrusted" => evidence.guards[0].state = GuardState::Untrusted,
        "mismatch" => evidence.ratio.mismatch = true,
        "errors" => evidence.health.too_many_errors = true,
        "crossed" => evidence.health.crossed_units = 1_000_000,
        "full" => evidence.health.units_full = true,
        "silent-new" => silence(&mut evidence, 1),
        "silent-control" => silence(&mut evidence, 0),
        "cannot" => evidence.guards[0].waits_for = Some("1,000 control values, 312 so far".into()),
        "old-epoch" => evidence.epoch = Epoch(0),
        "stale" => evidence.at = evidence.at - Span::seconds(61),
        "quiet" => evidence.health.last_report = [Some(START), Some(START)],
        other => unreachable!("{other} says nothing about evidence"),
    }
    evidence
}

fn silence(evidence: &mut Evidence, arm: usize) {
    evidence.health.reports[arm] = 0;
    evidence.health.last_report[arm] = None;
}
