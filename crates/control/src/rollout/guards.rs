//! The guardrails of a plan: metrics found, weights shared out, margins to be proven computed.

use std::collections::BTreeMap;

use crate::document::Problem;
use crate::evidence::watch::{Guard, Margin, OnHarm, Settle};
use crate::ids::{Key, Span};
use crate::metric::{Better, Builtin, Metric, MetricRef, Shape, Statistic, Status};

use super::guardrail::{nearest, parse_guardrail, tidy};
use super::plan::NumberUnit;
use super::resolve::{is_zero, spends, table};
use super::spec::{GuardSpec, Spec};
use super::{Advance, GuardPlan, Stage, number};

/// What the template guards when nothing is said.
const TEMPLATE: [&str; 2] = ["error_rate<=1.5x", "latency_p95<=1.2x"];
/// What it adds in any case: a model that breaks at once is noticed at once, and silence is never success.
const ADDED: [&str; 2] = ["early_failure<=1.5x", "unreported<=1.5x!hold"];
/// The error rate's share of the budget where it is the one critical metric.
const CRITICAL: f64 = 0.5;
/// `early_failure` looks at requests of this age.
const EARLY: Span = Span::seconds(2);

/// Fills in the guardrails.
pub(super) struct Guards<'a> {
    pub(super) spec: &'a Spec,
    pub(super) metrics: &'a BTreeMap<Key, Metric>,
    pub(super) stages: &'a [Stage],
    /// How many of them come before the soak.
    pub(super) ramp: usize,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) assumed: &'a mut Vec<String>,
}

/// What a guardrail's metric is.
struct Found {
    metric: MetricRef,
    statistic: Statistic,
    shape: Shape,
    better: Better,
    unit: NumberUnit,
    label: String,
    maturity: Option<Span>,
}

impl Guards<'_> {
    /// Guardrails, then watch metrics.
    pub(super) fn resolve(mut self) -> Vec<GuardPlan> {
        let mut written: Vec<(String, GuardSpec, bool)> = Vec::new();
        for (index, guard) in self.spec.guardrails.iter().enumerate() {
            written.push((format!("/guardrails/{index}"), guard.clone(), false));
        }
        if self.spec.template {
            self.template(&mut written);
        }
        for (index, guard) in self.spec.watch.iter().enumerate() {
            written.push((format!("/watch/{index}"), guard.clone(), true));
        }
        let mut guards: Vec<GuardPlan> = Vec::new();
        let mut weights: Vec<Option<f64>> = Vec::new();
        for (at, spec, watch_only) in &written {
            let Some(guard) = self.guard(at, spec, *watch_only) else { continue };
            let same = |other: &GuardPlan| other.label == guard.label && other.watch_only == guard.watch_only;
            if guards.iter().any(same) {
                let what =
                    format!("{} is guarded twice; one guardrail per metric and statistic", guard.label);
                self.problems.push(Problem::new("guardrail_twice", at.clone(), what));
            }
            weights.push(spec.weight);
            guards.push(guard);
        }
        if !guards.iter().any(|guard| spends(guard.guard.on_harm)) && self.problems.is_empty() {
            let what = "nothing could stop this rollout: it needs a guardrail, such as error_rate<=1.5x";
            self.problems.push(Problem::new("no_guardrail", "/guardrails", what));
        }
        self.weigh(&mut guards, &weights);
        guards
    }

    fn template(&mut self, written: &mut Vec<(String, GuardSpec, bool)>) {
        let none = written.is_empty();
        let added: Vec<&str> =
            if none { TEMPLATE.iter().chain(&ADDED).copied().collect() } else { ADDED.to_vec() };
        for text in added {
            let Ok(guard) = parse_guardrail(text, "/guardrails") else { continue };
            if !written.iter().any(|(_, other, _)| other.metric == guard.metric) {
                self.assumed.push(format!("The template adds the guardrail {text}."));
                written.push(("/guardrails".into(), guard, false));
            }
        }
    }

    fn guard(&mut self, at: &str, spec: &GuardSpec, watch_only: bool) -> Option<GuardPlan> {
        let found = self.find(at, &spec.metric)?;
        let at_least = spec.margin.and_then(|margin| margin.at_least);
        if at_least.is_some_and(|at_least| at_least != (found.better == Better::Higher)) {
            let (is, sign) = if found.better == Better::Higher { ("higher", ">=") } else { ("lower", "<=") };
            let what = format!("of {}, {is} is better: its limit is written with {sign}", found.label);
            self.problems.push(Problem::new("guardrail_direction", at, what));
        }
        let margin = spec.margin.map_or(Margin::Relative(0.0), |margin| margin.margin);
        let margin = if is_zero(margin) { Margin::Relative(0.0) } else { margin };
        let rate = found.shape == Shape::Rate && found.better == Better::Lower;
        if matches!(margin, Margin::Absolute(_))
            && (rate || matches!(found.statistic, Statistic::Quantile(_)))
        {
            let what = format!("{} is compared by a factor: write {}<=1.5x", found.label, spec.metric);
            self.problems.push(Problem::new("guardrail_needs_factor", at, what));
        }
        let on_harm = if watch_only { OnHarm::Alert } else { spec.on_harm.unwrap_or(OnHarm::RollBack) };
        let early = found.metric == MetricRef::Builtin(Builtin::EarlyFailure);
        let unreported = found.metric == MetricRef::Builtin(Builtin::Unreported);
        let proves = on_harm == OnHarm::RollBack && !early && !unreported;
        let (safe_margins, proof) = if proves {
            self.safe(at, margin, found.better)
        } else {
            (Vec::new(), vec![None; self.stages.len()])
        };
        let text = match (&margin, spec.margin) {
            (_, None) => spec.metric.clone(),
            (margin, Some(_)) => {
                let sign = if found.better == Better::Lower { "<=" } else { ">=" };
                format!("{}{sign}{}", spec.metric, written(found.better, *margin))
            }
        };
        Some(GuardPlan {
            text,
            label: found.label,
            unit: found.unit,
            guard: Guard {
                metric: found.metric,
                statistic: found.statistic,
                shape: found.shape,
                better: found.better,
                margin,
                safe_margins,
                weight: 0.0,
                on_harm,
                settle: spec.settle.unwrap_or(if early { Settle::After(EARLY) } else { Settle::Default }),
                maturity: spec.maturity.or(found.maturity),
                cap: spec.cap,
            },
            proof,
            watch_only: on_harm == OnHarm::Alert,
        })
    }

    /// The margins to be proven, and which of them each stage needs.
    fn safe(&mut self, at: &str, margin: Margin, better: Better) -> (Vec<Margin>, Vec<Option<usize>>) {
        let mut margins: Vec<Margin> = Vec::new();
        let mut proof = Vec::new();
        let ramp = self.ramp;
        for (index, stage) in self.stages.iter().enumerate() {
            if stage.advance == Advance::NoHarm {
                proof.push(None);
                continue;
            }
            let last = index + 1 >= ramp;
            let written = self.spec.stages.as_ref().and_then(|stages| stages.get(index)?.advance?.factor);
            let safe = safe_margin(margin, better, table(stage.share, last), written);
            if !is_wider(safe, margin) {
                let what = "a safe margin is wider than the rollback margin";
                self.problems.push(Problem::new("safe_margin_too_narrow", at, what));
            }
            let position = margins.iter().position(|known| *known == safe).unwrap_or_else(|| {
                margins.push(safe);
                margins.len() - 1
            });
            proof.push(Some(position));
        }
        (margins, proof)
    }

    /// Shares out the error budget: written weights stay, the error rate gets half where it is the one critical
    /// metric, the others share what is left.
    fn weigh(&mut self, guards: &mut [GuardPlan], written: &[Option<f64>]) {
        let spending: Vec<usize> =
            (0..guards.len()).filter(|guard| spends(guards[*guard].guard.on_harm)).collect();
        let none_written = spending.iter().all(|guard| written[*guard].is_none());
        let mut left = 1.0;
        let mut open = Vec::new();
        for &index in &spending {
            let error_rate = guards[index].guard.metric == MetricRef::Builtin(Builtin::ErrorRate);
            let critical = none_written && error_rate && spending.len() > 1;
            match written[index].or_else(|| critical.then_some(CRITICAL)) {
                Some(weight) => {
                    guards[index].guard.weight = weight;
                    left -= weight;
                }
                None => open.push(index),
            }
        }
        left = tidy(left);
        if left < 0.0 || (left == 0.0 && !open.is_empty()) {
            let what =
                "the weights of the guardrails add up to more than 1, or leave nothing for those without one";
            self.problems.push(Problem::new("weights", "/guardrails", what));
            return;
        }
        let share = left / (open.len().max(1)) as f64;
        for &index in &open {
            guards[index].guard.weight = share;
        }
        if !open.is_empty() {
            let words = spending.iter().map(|guard| {
                format!("{} {}", guards[*guard].label, number::short(guards[*guard].guard.weight))
            });
            self.assumed
                .push(format!("Shares of the error budget: {}.", words.collect::<Vec<_>>().join(", ")));
        }
    }

    fn find(&mut self, at: &str, name: &str) -> Option<Found> {
        if let Some((builtin, statistic)) = builtin(name) {
            return Some(found(builtin, statistic));
        }
        let (base, statistic) = match self.metrics.keys().any(|key| key.as_str() == name) {
            true => (name, Statistic::Mean),
            false => quantile(name).unwrap_or((name, Statistic::Mean)),
        };
        if let Some(metric) = self.metrics.values().find(|metric| metric.key.as_str() == base) {
            if matches!(statistic, Statistic::Quantile(_)) && metric.shape != Shape::Value {
                let what = format!("{base} has no quantiles: they are for metrics of kind value");
                self.problems.push(Problem::new("no_quantile", at, what));
            }
            return Some(Found {
                metric: MetricRef::Custom(metric.key.clone()),
                statistic,
                shape: metric.shape,
                better: metric.better,
                unit: if metric.shape == Shape::Rate { NumberUnit::Percent } else { NumberUnit::Plain },
                label: name.replace('_', " "),
                maturity: metric.maturity,
            });
        }
        let known = BUILTIN_NAMES.iter().copied().chain(self.metrics.keys().map(Key::as_str));
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("`ensign metric create {name}` defines it"),
        };
        self.problems
            .push(Problem::new("unknown_metric", at, format!("there is no metric '{name}'")).hint(hint));
        None
    }
}

/// The margin to be proven: what is written, or the larger of the table's factor and 1.25 times the rollback margin.
fn safe_margin(margin: Margin, better: Better, table: f64, written: Option<f64>) -> Margin {
    match (margin, better) {
        (Margin::Absolute(by), _) => Margin::Absolute(tidy(by * written.unwrap_or(1.25))),
        (Margin::Relative(r), Better::Lower) => {
            Margin::Relative(tidy(written.unwrap_or_else(|| table.max(1.25 * (1.0 + r))) - 1.0))
        }
        (Margin::Relative(r), Better::Higher) => {
            let factor = written.map_or_else(|| (1.0 / table).min((1.0 - r) / 1.25), |written| 1.0 / written);
            Margin::Relative(tidy(1.0 - factor))
        }
    }
}

fn is_wider(safe: Margin, margin: Margin) -> bool {
    match (safe, margin) {
        (Margin::Relative(safe), Margin::Relative(by)) | (Margin::Absolute(safe), Margin::Absolute(by)) => {
            safe > by
        }
        (Margin::Relative(_), Margin::Absolute(_)) | (Margin::Absolute(_), Margin::Relative(_)) => false,
    }
}

/// A margin in the grammar of the short form.
fn written(better: Better, margin: Margin) -> String {
    match (margin, better) {
        (Margin::Relative(by), Better::Lower) => format!("{}x", tidy(1.0 + by)),
        (Margin::Relative(by), Better::Higher) => format!("{}x", tidy(1.0 - by)),
        (Margin::Absolute(by), Better::Lower) => format!("+{by}"),
        (Margin::Absolute(by), Better::Higher) => format!("-{by}"),
    }
}

/// Whether a metric needs no set-up.
pub fn is_builtin(name: &str) -> bool {
    builtin(name).is_some()
}

/// Names of built-in metrics, for suggestions.
const BUILTIN_NAMES: [&str; 16] = [
    "error_rate",
    "early_failure",
    "unreported",
    "timeout_rate",
    "malformed_rate",
    "truncated_rate",
    "rate_limited_rate",
    "content_filter_rate",
    "latency",
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "time_to_first_token",
    "tokens_in",
    "tokens_out",
    "cost",
];

/// `latency_p95` as `latency` and 0.95.
fn quantile(name: &str) -> Option<(&str, Statistic)> {
    let (base, digits) = name.rsplit_once("_p")?;
    let probability = format!("0.{digits}").parse::<f64>().ok()?;
    let sane = digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) && probability >= 0.5;
    sane.then_some((base, Statistic::Quantile(probability)))
}

fn builtin(name: &str) -> Option<(Builtin, Statistic)> {
    let (base, statistic) = quantile(name).unwrap_or((name, Statistic::Mean));
    let is_quantile = matches!(statistic, Statistic::Quantile(_));
    let value = match base {
        "latency" => Some(Builtin::Latency),
        "time_to_first_token" | "ttft" => Some(Builtin::TimeToFirstToken),
        "tokens_in" => Some(Builtin::TokensIn),
        "tokens_out" => Some(Builtin::TokensOut),
        "cost" => Some(Builtin::Cost),
        _ => None,
    };
    if let Some(value) = value {
        return Some((value, statistic));
    }
    let rate = match base {
        "error_rate" => Builtin::ErrorRate,
        "early_failure" => Builtin::EarlyFailure,
        "unreported" => Builtin::Unreported,
        _ => {
            let status = base.strip_suffix("_rate")?;
            Builtin::StatusRate(*Status::ALL.iter().find(|known| status_word(**known) == status)?)
        }
    };
    (!is_quantile).then_some((rate, Statistic::Mean))
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Timeout => "timeout",
        Status::Malformed => "malformed",
        Status::Truncated => "truncated",
        Status::UpstreamError => "upstream_error",
        Status::Overloaded => "overloaded",
        Status::RateLimited => "rate_limited",
        Status::Rejected => "rejected",
        Status::ClientCancelled => "client_cancelled",
        Status::ContentFilter => "content_filter",
    }
}

fn found(builtin: Builtin, statistic: Statistic) -> Found {
    let (label, shape, unit) = match builtin {
        Builtin::ErrorRate => ("error rate".to_owned(), Shape::Rate, NumberUnit::Percent),
        Builtin::EarlyFailure => ("early failure".into(), Shape::Rate, NumberUnit::Percent),
        Builtin::StatusRate(status) => {
            (format!("{} rate", status_word(status).replace('_', " ")), Shape::Rate, NumberUnit::Percent)
        }
        Builtin::Unreported => ("unreported".into(), Shape::Rate, NumberUnit::Percent),
        Builtin::Latency => ("latency".into(), Shape::Value, NumberUnit::Millis),
        Builtin::TimeToFirstToken => ("time to first token".into(), Shape::Value, NumberUnit::Millis),
        Builtin::TokensIn => ("tokens in".into(), Shape::Value, NumberUnit::Plain),
        Builtin::TokensOut => ("tokens out".into(), Shape::Value, NumberUnit::Plain),
        Builtin::Cost => ("cost".into(), Shape::Value, NumberUnit::Money),
    };
    let label = match statistic {
        Statistic::Mean => label,
        Statistic::Quantile(p) => format!("{label} p{}", number::short(p * 100.0).replace('.', "")),
    };
    let better = match builtin {
        Builtin::StatusRate(Status::Ok) => Better::Higher,
        Builtin::StatusRate(_)
        | Builtin::ErrorRate
        | Builtin::EarlyFailure
        | Builtin::Unreported
        | Builtin::Latency
        | Builtin::TimeToFirstToken
        | Builtin::TokensIn
        | Builtin::TokensOut
        | Builtin::Cost => Better::Lower,
    };
    Found { metric: MetricRef::Builtin(builtin), statistic, shape, better, unit, label, maturity: None }
}
