//! Metric and use case documents.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::problem::Problem;
use super::reader::{self, Object, wrong_type};
use super::text::join;
use crate::ids::{Key, Span};
use crate::metric::{Better, Metric, Shape};

/// A metric as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricDocument {
    /// What it means.
    pub metric: Metric,
    /// The quantile that its guardrails compare where they do not say, for metrics of kind `quantile`.
    pub quantile: Option<f64>,
    /// Its members, checked, as they were written.
    pub members: Json,
}

/// What a model costs, per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Tokens sent.
    pub input: f64,
    /// Tokens received.
    pub output: f64,
}

/// A use case as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct UseCaseDocument {
    /// Its key.
    pub key: Key,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The flags that together decide the task.
    pub flags: Vec<Key>,
    /// A request not finished after this is a timeout.
    pub request_timeout: Option<Span>,
    /// How late a report may arrive after the request ended.
    pub report_lag: Option<Span>,
    /// Prices by model.
    pub prices: BTreeMap<String, Price>,
    /// Its members, checked, as they were written.
    pub members: Json,
}

const METRIC_KINDS: [&str; 7] = ["rate", "score", "rating", "count", "value", "quantile", "ratio"];

pub(super) fn metric(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<MetricDocument> {
    let known = [
        "ensign",
        "metric",
        "kind",
        "range",
        "better",
        "unit",
        "maturity",
        "quantile",
        "description",
        "owner",
    ];
    object.only(&known, problems);
    let key = object.key("metric", problems);
    if let Some(key) = &key
        && BUILT_IN.contains(&key.as_str())
    {
        let sentence = format!("\"{key}\" is measured without set-up; its name cannot be taken.");
        problems.push(Problem::new("built_in_metric", object.pointer("metric"), sentence));
    }
    let kind = object.text("kind", problems);
    if object.get("kind").is_none() {
        let problem = Problem::new("missing_member", &object.at, "The metric's \"kind\" is missing.");
        problems.push(problem.hint(format!("one of {}", METRIC_KINDS.join(", "))));
    }
    let shape = kind.and_then(|kind| shape(&kind, object, problems));
    let better = match object.text("better", problems).as_deref() {
        Some("lower") => Some(Better::Lower),
        Some("higher") => Some(Better::Higher),
        Some(_) => None,
        // A rating or a score is better when higher; nothing else can be guessed.
        None => matches!(shape, Some(Shape::Score { .. } | Shape::Rating)).then_some(Better::Higher),
    };
    if better.is_none() {
        let sentence = "Say which way is better: \"lower\" or \"higher\".";
        problems.push(Problem::new("missing_member", object.pointer("better"), sentence));
    }
    let quantile = object.number("quantile", problems);
    if quantile.is_some_and(|q| !(0.0..1.0).contains(&q) || q == 0.0) {
        problems.push(Problem::new(
            "bad_range",
            object.pointer("quantile"),
            "A quantile is between 0 and 1, as 0.95.",
        ));
    }
    let (unit, maturity) = (object.key("unit", problems), object.span("maturity", problems));
    for name in ["description", "owner"] {
        object.text(name, problems);
    }
    let metric = Metric { key: key?, shape: shape?, better: better?, unit, maturity };
    Some(MetricDocument { metric, quantile, members: Json::Object(object.map.clone()) })
}

/// Metrics that need no set-up.
pub const BUILT_IN: [&str; 18] = [
    "error_rate",
    "early_failure",
    "unreported",
    "latency",
    "time_to_first_token",
    "tokens_in",
    "tokens_out",
    "cost",
    "ok_rate",
    "timeout_rate",
    "malformed_rate",
    "truncated_rate",
    "upstream_error_rate",
    "overloaded_rate",
    "rate_limited_rate",
    "rejected_rate",
    "client_cancelled_rate",
    "content_filter_rate",
];

fn shape(kind: &str, object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<Shape> {
    if kind != "score" && object.get("range").is_some() {
        problems.push(Problem::new("unknown_member", object.pointer("range"), "Only a score has a range."));
    }
    match kind {
        "rate" => Some(Shape::Rate),
        "rating" => Some(Shape::Rating),
        "count" => Some(Shape::Count),
        "value" | "quantile" => Some(Shape::Value),
        "ratio" => Some(Shape::Ratio),
        "score" => {
            let at = object.pointer("range");
            let numbers: Vec<f64> = match object.get("range") {
                None => vec![0.0, 1.0],
                Some(Json::Array(items)) => items.iter().filter_map(Json::as_f64).collect(),
                Some(_) => Vec::new(),
            };
            match numbers.as_slice() {
                [min, max] if min < max => Some(Shape::Score { min: *min, max: *max }),
                _ => {
                    let problem = Problem::new(
                        "bad_range",
                        at,
                        "The range of a score is two numbers, the smaller first.",
                    );
                    problems.push(problem.hint("such as [0, 1]"));
                    None
                }
            }
        }
        _ => {
            let problem = Problem::new(
                "unknown_kind",
                object.pointer("kind"),
                format!("There is no metric kind \"{kind}\"."),
            );
            problems.push(match reader::nearest(kind, &METRIC_KINDS) {
                Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                None => problem.hint(format!("known: {}", METRIC_KINDS.join(", "))),
            });
            None
        }
    }
}

pub(super) fn use_case(object: &Object<'_>, problems: &mut Vec<Problem>) -> Option<UseCaseDocument> {
    let known = [
        "ensign",
        "use_case",
        "owner",
        "description",
        "flags",
        "request_timeout",
        "report_lag",
        "prices",
        "currency",
    ];
    object.only(&known, problems);
    let key = object.key("use_case", problems);
    let at = object.pointer("flags");
    let flags = object.texts("flags", problems).unwrap_or_default();
    let flags = flags
        .iter()
        .enumerate()
        .filter_map(|(index, flag)| reader::key(flag, &join(&at, &index.to_string()), problems))
        .collect();
    let mut prices = BTreeMap::new();
    if let Some(table) = object.object("prices", problems) {
        for (model, value) in table.map {
            let Some(entry) = Object::of(value, &table.pointer(model), problems) else { continue };
            entry.only(&["input", "output"], problems);
            let mut side = |name: &str| {
                let price = entry.number(name, problems).unwrap_or(0.0);
                if price < 0.0 {
                    problems.push(wrong_type(
                        &entry.pointer(name),
                        "a price of at least 0 per million tokens",
                        value,
                    ));
                }
                price
            };
            let price = Price { input: side("input"), output: side("output") };
            prices.insert(model.clone(), price);
        }
    }
    let owner = object.text("owner", problems);
    for name in ["description", "currency"] {
        object.text(name, problems);
    }
    let (request_timeout, report_lag) =
        (object.span("request_timeout", problems), object.span("report_lag", problems));
    let members = Json::Object(object.map.clone());
    Some(UseCaseDocument { key: key?, owner, flags, request_timeout, report_lag, prices, members })
}
