//! Reading members of objects: every problem is collected with its pointer, and reading goes on.

use serde_json::{Map, Value as Json};

use super::problem::Problem;
use super::text::join;
use crate::ids::{Key, Span};

/// An object being read.
#[derive(Clone)]
pub(crate) struct Object<'a> {
    pub(super) map: &'a Map<String, Json>,
    pub(super) at: String,
}

/// What a value is, for messages.
pub(super) fn word(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(n) if n.is_f64() => "a float",
        Json::Number(_) => "an integer",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// A problem of type: what is wanted, and what is there.
pub(super) fn wrong_type(at: &str, wanted: &str, found: &Json) -> Problem {
    Problem::new("wrong_type", at, format!("This must be {wanted}; it is {}.", word(found)))
}

impl<'a> Object<'a> {
    pub(crate) fn of(value: &'a Json, at: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match value {
            Json::Object(map) => Some(Self { map, at: at.to_owned() }),
            other => {
                problems.push(wrong_type(at, "an object", other));
                None
            }
        }
    }

    pub(super) fn pointer(&self, name: &str) -> String {
        join(&self.at, name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Json> {
        self.map.get(name)
    }

    /// Refuses members that are not in `known`, with the nearest that is.
    pub(super) fn only(&self, known: &[&str], problems: &mut Vec<Problem>) {
        for name in self.map.keys().filter(|name| !known.contains(&name.as_str())) {
            let problem = Problem::new(
                "unknown_member",
                self.pointer(name),
                format!("There is no member \"{name}\" here."),
            );
            problems.push(match nearest(name, known) {
                Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                None => problem.hint(format!("known here: {}", known.join(", "))),
            });
        }
    }

    fn typed<T>(
        &self,
        name: &str,
        wanted: &str,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let found = read(value);
        if found.is_none() {
            problems.push(wrong_type(&self.pointer(name), wanted, value));
        }
        found
    }

    pub(super) fn text(&self, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        self.typed(name, "a string", problems, |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&self, name: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        self.typed(name, "true or false", problems, Json::as_bool)
    }

    pub(super) fn number(&self, name: &str, problems: &mut Vec<Problem>) -> Option<f64> {
        self.typed(name, "a number", problems, Json::as_f64)
    }

    pub(super) fn list(&self, name: &str, problems: &mut Vec<Problem>) -> Option<&'a Vec<Json>> {
        self.typed(name, "a list", problems, Json::as_array)
    }

    pub(super) fn object(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Object<'a>> {
        let at = self.pointer(name);
        self.get(name).and_then(|value| Object::of(value, &at, problems))
    }

    pub(super) fn key(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Key> {
        let text = self.text(name, problems)?;
        key(&text, &self.pointer(name), problems)
    }

    /// A list of texts, or one text for a list of one.
    pub(super) fn texts(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
        texts(self.get(name)?, &self.pointer(name), problems)
    }

    pub(super) fn span(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Span> {
        let value = self.get(name)?;
        let found = value.as_str().and_then(span);
        if found.is_none() {
            let problem = wrong_type(&self.pointer(name), "a duration", value);
            problems.push(problem.hint("write it as \"30s\", \"1500ms\", \"5m\", \"24h\" or \"14d\""));
        }
        found
    }
}

pub(super) fn key(text: &str, at: &str, problems: &mut Vec<Problem>) -> Option<Key> {
    text.parse()
        .map_err(|bad| problems.push(Problem::new("bad_key", at, format!("\"{text}\" is not a key: {bad}."))))
        .ok()
}

pub(super) fn texts(value: &Json, at: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    match value {
        Json::String(one) => Some(vec![one.clone()]),
        Json::Array(items) => {
            let mut all = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                match item.as_str() {
                    Some(text) => all.push(text.to_owned()),
                    None => problems.push(wrong_type(&join(at, &index.to_string()), "a string", item)),
                }
            }
            Some(all)
        }
        other => {
            problems.push(wrong_type(at, "a list of strings", other));
            None
        }
    }
}

/// `30s`, `1500ms`, `5m`, `24h`, `14d`.
pub(crate) fn span(text: &str) -> Option<Span> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (digits, unit) = text.split_at(split);
    let n: i64 = digits.trim().parse().ok().filter(|n| *n >= 0)?;
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    n.checked_mul(micros).map(Span)
}

/// The known word nearest to one that is not known, if it is near.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be added, left out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a.get(i - 1) != b.get(j - 1));
            let cell = |row: usize, column: usize| {
                rows.get(row).and_then(|r| r.get(column)).copied().unwrap_or(usize::MAX / 2)
            };
            let left = row.last().copied().unwrap_or(0);
            let mut best = (cell(i - 1, j) + 1).min(left + 1).min(cell(i - 1, j - 1) + cost);
            if i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1) {
                best = best.min(cell(i - 2, j - 2) + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}
