//! The short form of a guardrail: `error_rate<=1.5x@0.5`, `score>=-0.05!hold`, `latency_p95<=+50ms`.
//!
//! ```text
//! guardrail = metric [limit] ["@" weight] ["!" ("rollback" | "hold" | "alert")]
//! limit     = "<=" factor "x" | ">=" factor "x" | "<=" "+" distance | ">=" "-" distance
//! ```
//!
//! A limit is always against control; a bare number would be a promise about the world, and is refused.

use crate::document::Problem;
use crate::evidence::watch::{Margin, OnHarm};
use crate::ids::Span;

use super::spec::{GuardSpec, MarginSpec};

/// A cursor over the short form that knows where it is.
struct Reader<'a> {
    text: &'a str,
    pos: usize,
    at: &'a str,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.pos += prefix.len();
            self.spaces();
        }
        found
    }

    fn spaces(&mut self) {
        self.pos += self.rest().len() - self.rest().trim_start().len();
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.pos += end;
        self.spaces();
        &rest[..end]
    }

    fn problem<T>(&self, pos: usize, what: &str) -> Result<T, Box<Problem>> {
        let column = self.text[..pos].chars().count() + 1;
        Err(Box::new(Problem::new(
            "bad_guardrail",
            self.at,
            format!("'{}', character {column}: {what}", self.text),
        )))
    }
}

/// Reads the short form; `at` is where it stands in its document.
pub fn parse_guardrail(text: &str, at: &str) -> Result<GuardSpec, Box<Problem>> {
    let mut reader = Reader { text, pos: 0, at };
    reader.spaces();
    let metric = reader.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')).to_owned();
    if metric.is_empty() {
        return reader.problem(reader.pos, "a guardrail begins with a metric, such as error_rate<=1.5x");
    }
    let margin = limit(&mut reader)?;
    let mut guard = GuardSpec::new(metric);
    guard.margin = margin;
    if reader.take("@") {
        let from = reader.pos;
        let weight = reader.take_while(|c| c.is_ascii_digit() || c == '.');
        guard.weight = match weight.parse::<f64>() {
            Ok(weight) if weight > 0.0 && weight <= 1.0 => Some(weight),
            Ok(_) | Err(_) => return reader.problem(from, "a weight is a number above 0 and at most 1"),
        };
    }
    if reader.take("!") {
        let from = reader.pos;
        let word = reader.take_while(|c| c.is_ascii_alphabetic() || c == '_');
        match on_harm(word) {
            Some(action) => guard.on_harm = Some(action),
            None => return reader.problem(from, "what harm does is !rollback, !hold or !alert"),
        }
    }
    if !reader.rest().is_empty() {
        return reader
            .problem(reader.pos, "nothing more is expected here; the form is metric<=1.5x@weight!hold");
    }
    Ok(guard)
}

/// The action that a word names.
pub(super) fn on_harm(word: &str) -> Option<OnHarm> {
    match word {
        "rollback" | "roll_back" => Some(OnHarm::RollBack),
        "hold" => Some(OnHarm::Hold),
        "alert" => Some(OnHarm::Alert),
        _ => None,
    }
}

fn limit(reader: &mut Reader<'_>) -> Result<Option<MarginSpec>, Box<Problem>> {
    reader.spaces();
    let from = reader.pos;
    let at_least = if reader.take("<=") || reader.take("≤") {
        false
    } else if reader.take(">=") || reader.take("≥") {
        true
    } else if reader.rest().starts_with(['<', '>', '=', ':']) {
        return reader.problem(from, "a limit is written <= (lower is better) or >= (higher is better)");
    } else {
        return Ok(None);
    };
    reader.spaces();
    amount(reader, at_least).map(Some)
}

/// The amount behind `<=` or `>=`.
fn amount(reader: &mut Reader<'_>, at_least: bool) -> Result<MarginSpec, Box<Problem>> {
    let from = reader.pos;
    let sign = if reader.take("+") {
        Some('+')
    } else if reader.take("-") || reader.take("−") {
        Some('-')
    } else {
        None
    };
    let digits = reader.take_while(|c| c.is_ascii_digit() || c == '.');
    let Some(number) = digits.parse::<f64>().ok().filter(|n| n.is_finite()) else {
        return reader.problem(from, "a limit is a factor such as 1.5x or a distance such as +5ms or +0.01");
    };
    let suffix = reader.take_while(|c| c.is_alphabetic() || matches!(c, '×' | '%'));
    let margin = match (sign, suffix) {
        (None, "x" | "×") if !at_least && (1.0..=1000.0).contains(&number) => {
            Margin::Relative(tidy(number - 1.0))
        }
        (None, "x" | "×") if at_least && number > 0.0 && number <= 1.0 => {
            Margin::Relative(tidy(1.0 - number))
        }
        (None, "x" | "×") if at_least => {
            return reader.problem(from, "with >= the factor is above 0 and at most 1, such as >=0.9x");
        }
        (None, "x" | "×") => {
            return reader.problem(from, "with <= the factor is at least 1, such as <=1.5x");
        }
        (_, "%") => {
            return reader.problem(
                from,
                "a percentage could mean two things: write 1.2x for 20 % more, or +0.2 for 20 percentage points",
            );
        }
        (None, _) => {
            return reader.problem(
                from,
                "a limit is against control, not a fixed value: write 1.5x for a factor, +0.05 or -0.05 for a distance",
            );
        }
        (Some('+'), _) if at_least => {
            return reader.problem(from, "with >= the distance is negative, such as >=-0.05");
        }
        (Some('-'), _) if !at_least => {
            return reader.problem(from, "with <= the distance is positive, such as <=+0.01");
        }
        (Some(_), "" | "ms") => Margin::Absolute(number),
        (Some(_), "s") => Margin::Absolute(tidy(number * 1000.0)),
        (Some(_), _) => return reader.problem(from, "a distance has no unit, ms or s"),
    };
    Ok(MarginSpec { margin, at_least: Some(at_least) })
}

/// Drops the digits that a subtraction of decimals makes up: 1.2 − 1 is 0.2.
pub(super) fn tidy(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// A length of time as people write it: `90s`, `15m`, `1h30m`, `7d`, `500ms`; a bare number is seconds.
pub fn parse_span(text: &str) -> Option<Span> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (0.0..1e10).contains(&seconds).then_some(Span((seconds * 1e6) as i64));
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end =
            rest[digits..].find(|c: char| !c.is_alphabetic()).map_or(rest.len(), |end| digits + end);
        let unit = match rest[digits..unit_end].trim() {
            "ms" => 1e3,
            "s" | "sec" => 1e6,
            "m" | "min" => 60e6,
            "h" => 3_600e6,
            "d" => 86_400e6,
            "w" => 604_800e6,
            _ => return None,
        };
        total += number * unit;
        rest = rest[unit_end..].trim_start();
    }
    (!text.is_empty() && total < 1e16).then_some(Span(total as i64))
}

/// The known word nearest to `word`, if one is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(far, candidate)| *far <= 2.max(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance, by bytes; words here are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
