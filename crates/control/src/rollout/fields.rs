//! Reading the fields of a rollout document: one problem each, at its place, and on to the next.

use serde_json::{Map, Value};

use crate::document::Problem;
use crate::evidence::watch::{Margin, Settle};
use crate::ids::{Key, Span};

use super::guardrail::{nearest, on_harm, parse_guardrail, parse_span};
use super::spec::{ADVANCE, GUARD_KEYS, SOAK_KEYS, STAGE_KEYS};
use super::spec::{AdvanceSpec, GuardSpec, MarginSpec, StageSpec, share};

/// The fields of one object.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    at: String,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// The fields of `object` at `at`; keys that are not in `known` are problems.
    pub(super) fn new(
        object: &'a Map<String, Value>,
        at: &str,
        known: &[&'static str],
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let near = nearest(key, known.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            let what = format!("'{key}' is not a field here{near}");
            problems.push(Problem::new("unknown_field", format!("{at}/{}", escape(key)), what));
        }
        Self { object, at: at.to_owned(), problems }
    }

    fn wrong<T>(&mut self, key: &str, what: impl Into<String>) -> Option<T> {
        let at = if key.is_empty() { self.at.clone() } else { format!("{}/{key}", self.at) };
        self.problems.push(Problem::new("bad_value", at, what));
        None
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn scalar(&mut self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.wrong(key, format!("{key} is a text or a scalar"))
            }
        }
    }

    pub(super) fn required(&mut self, key: &str, meaning: &str) -> Option<String> {
        if self.get(key).is_none() {
            return self.wrong(key, format!("{key} is missing: {meaning}"));
        }
        self.scalar(key)
    }

    pub(super) fn key(&mut self, key: &str, text: &str) -> Option<Key> {
        text.parse::<Key>().map_or_else(|bad| self.wrong(key, format!("'{text}' is not a key: {bad}")), Some)
    }

    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        value.as_bool().or_else(|| self.wrong(key, format!("{key} is true or false")))
    }

    pub(super) fn whole(&mut self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        value.as_u64().or_else(|| self.wrong(key, format!("{key} is a whole number, 0 or more")))
    }

    pub(super) fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        value.as_f64().or_else(|| self.wrong(key, format!("{key} is a number")))
    }

    pub(super) fn between(&mut self, key: &str, low: f64, high: f64) -> Option<f64> {
        let value = self.number(key)?;
        if (low..=high).contains(&value) {
            Some(value)
        } else {
            self.wrong(key, format!("{key} is from {low} to {high}"))
        }
    }

    pub(super) fn span(&mut self, key: &str) -> Option<Span> {
        let text = self.scalar(key)?;
        parse_span(&text).or_else(|| {
            self.wrong(key, format!("'{text}' is not a length of time, such as 90s, 15m, 1h30m or 7d"))
        })
    }

    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.scalar(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.or_else(|| {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(key, format!("'{text}' is not known here: {key} is {}", list.join(", ")))
        })
    }

    fn percentage(&mut self, key: &str) -> Option<u32> {
        let value = self.number(key)?;
        share(value).map_or_else(|what| self.wrong(key, what), Some)
    }

    pub(super) fn soak(&mut self) -> (Option<u32>, Option<Span>) {
        let Some(value) = self.get("soak") else { return (None, None) };
        let Some(object) = value.as_object() else {
            return match self.span("soak") {
                Some(span) => (None, Some(span)),
                None => (None, None),
            };
        };
        let at = format!("{}/soak", self.at);
        let mut fields = Fields::new(object, &at, SOAK_KEYS, self.problems);
        let holdback = fields.percentage("holdback");
        if holdback.is_some_and(|share| share > 50_000) {
            fields.wrong::<()>("holdback", "a holdback is at most 50 %");
        }
        (holdback, fields.span("duration"))
    }

    pub(super) fn stages(&mut self) -> Option<Vec<StageSpec>> {
        let value = self.get("stages")?;
        let list: Vec<Value> = match value {
            Value::Array(list) => list.clone(),
            Value::String(text) => {
                let part = |part: &str| {
                    part.trim().trim_end_matches('%').parse::<f64>().map_or(Value::Null, Value::from)
                };
                text.split(',').map(part).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return self.wrong("stages", "stages are a list such as [1, 5, 25, 50, 100]");
            }
        };
        let mut stages = Vec::new();
        for (index, stage) in list.iter().enumerate() {
            stages.extend(self.stage(index, stage));
        }
        Some(stages)
    }

    fn stage(&mut self, index: usize, value: &Value) -> Option<StageSpec> {
        let at = format!("stages/{index}");
        if let Some(percentage) = value.as_f64() {
            return match share(percentage) {
                Ok(share) => Some(StageSpec { share, ..StageSpec::default() }),
                Err(what) => self.wrong(&at, what),
            };
        }
        let Some(object) = value.as_object() else {
            return self.wrong(&at, "a stage is a percentage, or an object with one");
        };
        let at = format!("{}/{at}", self.at);
        let mut fields = Fields::new(object, &at, STAGE_KEYS, self.problems);
        if fields.get("percentage").is_none() {
            return fields.wrong("percentage", "a stage has a percentage");
        }
        let share = fields.percentage("percentage");
        let advance = fields.word("advance", &ADVANCE);
        let factor = fields.scalar("safe_margin").and_then(|text| fields.factor("safe_margin", &text));
        let stage = StageSpec {
            share: share.unwrap_or_default(),
            min_duration: fields.span("min_duration"),
            max_duration: fields.span("max_duration"),
            min_samples: fields.whole("min_samples"),
            approval: fields.boolean("approval").unwrap_or(false),
            advance: advance.map(|advance| AdvanceSpec { advance, factor }),
        };
        share.map(|_| stage)
    }

    fn factor(&mut self, key: &str, text: &str) -> Option<f64> {
        let number = text.trim_end_matches(['x', '×']).parse::<f64>().ok().filter(|factor| *factor > 1.0);
        number.or_else(|| self.wrong(key, "a safe margin is a factor above 1, such as 2x"))
    }

    pub(super) fn guards(&mut self, key: &str) -> Vec<GuardSpec> {
        let list = match self.get(key) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.wrong::<()>(key, format!("{key} is a list"));
                return Vec::new();
            }
        };
        let mut guards = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let at = format!("{}/{key}/{index}", self.at);
            match value {
                Value::String(text) => match parse_guardrail(text, &at) {
                    Ok(guard) => guards.push(guard),
                    Err(problem) => self.problems.push(*problem),
                },
                Value::Object(object) => {
                    guards.extend(Fields::new(object, &at, GUARD_KEYS, self.problems).guard());
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                    self.wrong::<()>(
                        &format!("{key}/{index}"),
                        "a guardrail is a text such as error_rate<=1.5x, or an object",
                    );
                }
            }
        }
        guards
    }

    fn guard(&mut self) -> Option<GuardSpec> {
        let metric = self.required("metric", "the metric's name");
        let mut guard = GuardSpec::new(metric.clone().unwrap_or_default());
        guard.margin = self.margin();
        guard.weight = self.between("weight", f64::MIN_POSITIVE, 1.0);
        guard.on_harm = self.scalar("on_harm").and_then(|word| {
            on_harm(&word).or_else(|| self.wrong("on_harm", "on_harm is roll_back, hold or alert"))
        });
        guard.settle = self.scalar("settle").and_then(|text| self.settle(&text));
        guard.maturity = self.span("maturity");
        guard.cap = self.between("cap", f64::MIN_POSITIVE, f64::MAX);
        metric.map(|_| guard)
    }

    fn settle(&mut self, text: &str) -> Option<Settle> {
        match text {
            "default" => Some(Settle::Default),
            "on_completion" => Some(Settle::OnCompletion),
            other => match parse_span(other) {
                Some(age) => Some(Settle::After(age)),
                None => self.wrong("settle", "settle is default, on_completion or an age such as 30s"),
            },
        }
    }

    /// `margin: "<=1.5x"`, or `{relative: 0.5}`, or `{absolute: 5}`.
    fn margin(&mut self) -> Option<MarginSpec> {
        match self.get("margin")? {
            Value::String(text) => {
                let limit = if text.trim_start().starts_with(['<', '>', '≤', '≥']) {
                    text.clone()
                } else {
                    format!("<={text}")
                };
                match parse_guardrail(&format!("margin{limit}"), &format!("{}/margin", self.at)) {
                    Ok(guard) => guard.margin,
                    Err(problem) => {
                        self.problems.push(*problem);
                        None
                    }
                }
            }
            Value::Object(object) => {
                let at = format!("{}/margin", self.at);
                let mut fields = Fields::new(object, &at, &["relative", "absolute"], self.problems);
                let relative = fields.between("relative", 0.0, 999.0).map(Margin::Relative);
                let margin =
                    relative.or_else(|| fields.between("absolute", 0.0, f64::MAX).map(Margin::Absolute))?;
                Some(MarginSpec { margin, at_least: None })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => self.wrong(
                "margin",
                "a margin is a text such as 1.5x or +5ms, or {relative: 0.5}, or {absolute: 5}",
            ),
        }
    }
}

/// A key as a part of a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
