//! A clause's operator and values, parsed once.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::Value as Json;

use super::Job;
use crate::compiled::{CompiledClause, Kind, Literals, Test};
use crate::instant;
use crate::model::{Clause, Op};
use crate::problem::What;
use crate::strings::StringSet;
use crate::version::Version;

/// A regular expression may take this much memory, compiled; a pattern that needs more is refused.
const REGEX_LIMIT: usize = 1 << 20;

impl Job<'_, '_> {
    pub(super) fn clause(&mut self, clause: &Clause, at: &str) -> CompiledClause {
        CompiledClause {
            kind: Kind::new(&clause.kind),
            path: self.path(&clause.attribute, &format!("{at}/attribute")),
            negate: clause.negate,
            test: self.test(clause, at),
            source: Box::new(clause.clone()),
        }
    }

    fn test(&mut self, clause: &Clause, at: &str) -> Test {
        match &clause.op {
            Op::In => literals(&clause.values),
            Op::StartsWith => Test::StartsWith(self.strings(clause, at)),
            Op::EndsWith => Test::EndsWith(self.strings(clause, at)),
            Op::Contains => Test::Contains(self.strings(clause, at)),
            Op::Matches => Test::Matches(self.expressions(clause, at)),
            Op::LessThan => Test::LessThan(self.numbers(clause, at).into_iter().reduce(f64::max)),
            Op::LessThanOrEqual => {
                Test::LessThanOrEqual(self.numbers(clause, at).into_iter().reduce(f64::max))
            }
            Op::GreaterThan => Test::GreaterThan(self.numbers(clause, at).into_iter().reduce(f64::min)),
            Op::GreaterThanOrEqual => {
                Test::GreaterThanOrEqual(self.numbers(clause, at).into_iter().reduce(f64::min))
            }
            Op::Before => Test::Before(self.instants(clause, at).into_iter().max()),
            Op::After => Test::After(self.instants(clause, at).into_iter().min()),
            Op::SemVerEqual => Test::SemVer(Ordering::Equal, self.versions(clause, at)),
            Op::SemVerLessThan => Test::SemVer(Ordering::Less, self.versions(clause, at)),
            Op::SemVerGreaterThan => Test::SemVer(Ordering::Greater, self.versions(clause, at)),
            Op::Unknown(name) => {
                self.problem(at, What::UnknownOperator(name.clone()));
                Test::Never
            }
        }
    }

    /// The values that `read` accepts; each other one is a problem.
    fn operands<T>(
        &mut self,
        clause: &Clause,
        at: &str,
        read: impl Fn(&Json) -> Option<T>,
        wanted: &str,
    ) -> Vec<T> {
        let mut good = Vec::with_capacity(clause.values.len());
        for (i, value) in clause.values.iter().enumerate() {
            match read(value) {
                Some(operand) => good.push(operand),
                None => {
                    let why = format!("`{}` takes {wanted}, not {value}", clause.op.name());
                    self.problem(format!("{at}/values/{i}"), What::BadOperand(why));
                }
            }
        }
        good
    }

    fn strings(&mut self, clause: &Clause, at: &str) -> Vec<Box<str>> {
        self.operands(clause, at, |v| v.as_str().map(Box::from), "a string")
    }

    fn numbers(&mut self, clause: &Clause, at: &str) -> Vec<f64> {
        self.operands(clause, at, Json::as_f64, "a number")
    }

    fn instants(&mut self, clause: &Clause, at: &str) -> Vec<i128> {
        let read = |v: &Json| match v {
            Json::Number(n) => n.as_f64().and_then(instant::from_millis),
            Json::String(s) => instant::from_text(s),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        };
        self.operands(clause, at, read, "an RFC 3339 date and time or epoch milliseconds")
    }

    fn versions(&mut self, clause: &Clause, at: &str) -> Vec<Box<str>> {
        let read = |v: &Json| v.as_str().filter(|s| Version::parse(s).is_some()).map(Box::from);
        self.operands(clause, at, read, "a semantic version")
    }

    fn expressions(&mut self, clause: &Clause, at: &str) -> Vec<Regex> {
        let mut good = Vec::with_capacity(clause.values.len());
        for (i, pattern) in clause.values.iter().enumerate() {
            let compiled = match pattern.as_str() {
                Some(text) => {
                    RegexBuilder::new(text).size_limit(REGEX_LIMIT).build().map_err(|e| e.to_string())
                }
                None => Err(format!("`matches` takes a string, not {pattern}")),
            };
            match compiled {
                Ok(regex) => good.push(regex),
                Err(why) => self.problem(format!("{at}/values/{i}"), What::BadRegex(why)),
            }
        }
        good
    }
}

fn literals(values: &[Json]) -> Test {
    let strings = StringSet::new(values.iter().filter_map(Json::as_str));
    if values.iter().all(Json::is_string) {
        return Test::InStrings(strings);
    }
    Test::In(Box::new(Literals {
        strings,
        numbers: values.iter().filter_map(Json::as_f64).collect(),
        yes: values.contains(&Json::Bool(true)),
        no: values.contains(&Json::Bool(false)),
        deep: values.iter().filter(|v| v.is_null() || v.is_array() || v.is_object()).cloned().collect(),
    }))
}
