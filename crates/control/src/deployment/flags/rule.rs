//! The rules of multi-variant flags: parsed when a version is made, evaluated where flags are asked for, and written
//! as Ion text for clients that evaluate themselves.
//!
//! What the public description leaves open is settled so: context values are text and are read as the literal's type;
//! a missing one makes every operator false except `exists` and `ne`; `matches` is not anchored; a split uses
//! [`split_hash`], which is not the hash of any other implementation.

use std::fmt::Write as _;

use regex::Regex;
use sha2::{Digest, Sha256};

use super::parse;

/// The facts that rules ask: text by name.
pub trait Facts {
    /// The value of a name, if it is known.
    fn fact(&self, name: &str) -> Option<&str>;
}

impl Facts for [(String, String)] {
    fn fact(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A value or a name whose value is looked up.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// `$name`.
    Context(String),
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A moment, in microseconds, with its text.
    Time(i64, String),
    /// A truth value.
    Bool(bool),
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    Begins,
    Ends,
    Contains,
}

impl Op {
    pub(super) const ALL: [(Self, &'static str); 9] = [
        (Self::Eq, "eq"),
        (Self::Ne, "ne"),
        (Self::Gt, "gt"),
        (Self::Gte, "gte"),
        (Self::Lt, "lt"),
        (Self::Lte, "lte"),
        (Self::Begins, "begins_with"),
        (Self::Ends, "ends_with"),
        (Self::Contains, "contains"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, word)| word)
    }
}

/// A rule, parsed.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    Bool(bool),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Op, Operand, Operand),
    In(Operand, Vec<Operand>),
    Matches(Operand, Regex),
    Exists(String),
    Split { pct: f64, by: Operand, seed: Option<String> },
}

/// A rule that parses.
#[derive(Debug, Clone)]
pub struct Rule(Expr);

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// A sentence that says where and why it is not one.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::rule(text).map(Self)
    }

    /// Whether it holds. `home` names the flag, for splits without a seed.
    #[must_use]
    pub fn holds(&self, facts: &(impl Facts + ?Sized), home: &str) -> bool {
        holds(&self.0, facts, home)
    }

    /// Whether it asks anything of the context.
    #[must_use]
    pub fn ion(&self) -> String {
        let mut text = String::new();
        write_expr(&mut text, &self.0);
        text
    }
}

/// Where a value falls in a split, below 100,000: the first eight bytes of SHA-256 over seed, a zero byte and the
/// value, modulo 100,000. A split of `pct` percent takes the values below `pct * 1000`, so splits with one seed nest.
#[must_use]
pub fn split_hash(seed: &str, value: &str) -> u32 {
    let digest = Sha256::new().chain_update(seed).chain_update([0]).chain_update(value).finalize();
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    (u64::from_be_bytes(first) % 100_000) as u32
}

fn text_of<'a>(operand: &'a Operand, facts: &'a (impl Facts + ?Sized)) -> Option<std::borrow::Cow<'a, str>> {
    Some(match operand {
        Operand::Context(name) => facts.fact(name)?.into(),
        Operand::Text(text) | Operand::Time(_, text) => text.as_str().into(),
        Operand::Int(n) => n.to_string().into(),
        Operand::Float(n) => n.to_string().into(),
        Operand::Bool(b) => b.to_string().into(),
    })
}

fn number_of(operand: &Operand, facts: &(impl Facts + ?Sized)) -> Option<f64> {
    match operand {
        Operand::Int(n) => Some(*n as f64),
        Operand::Float(n) => Some(*n),
        Operand::Context(name) => facts.fact(name)?.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        Operand::Text(text) => text.parse().ok(),
        Operand::Time(..) | Operand::Bool(_) => None,
    }
}

fn time_of(operand: &Operand, facts: &(impl Facts + ?Sized)) -> Option<i64> {
    match operand {
        Operand::Time(at, _) => Some(*at),
        Operand::Context(name) => parse::time(facts.fact(name)?.trim()),
        Operand::Text(text) => parse::time(text),
        Operand::Int(_) | Operand::Float(_) | Operand::Bool(_) => None,
    }
}

/// How two operands stand to each other, read as the literal's type; none where they cannot be compared.
fn order(left: &Operand, right: &Operand, facts: &(impl Facts + ?Sized)) -> Option<std::cmp::Ordering> {
    let either = |is: fn(&Operand) -> bool| is(left) || is(right);
    if either(|operand| matches!(operand, Operand::Int(_) | Operand::Float(_))) {
        return number_of(left, facts)?.partial_cmp(&number_of(right, facts)?);
    }
    if either(|operand| matches!(operand, Operand::Time(..))) {
        return Some(time_of(left, facts)?.cmp(&time_of(right, facts)?));
    }
    Some(text_of(left, facts)?.cmp(&text_of(right, facts)?))
}

fn known(operand: &Operand, facts: &(impl Facts + ?Sized)) -> bool {
    match operand {
        Operand::Context(name) => facts.fact(name).is_some(),
        Operand::Text(_) | Operand::Int(_) | Operand::Float(_) | Operand::Time(..) | Operand::Bool(_) => true,
    }
}

fn holds(expr: &Expr, facts: &(impl Facts + ?Sized), home: &str) -> bool {
    match expr {
        Expr::Bool(value) => *value,
        Expr::And(all) => all.iter().all(|one| holds(one, facts, home)),
        Expr::Or(any) => any.iter().any(|one| holds(one, facts, home)),
        Expr::Not(one) => !holds(one, facts, home),
        Expr::Compare(Op::Ne, left, right) => {
            if !known(left, facts) || !known(right, facts) {
                return true;
            }
            order(left, right, facts).is_some_and(std::cmp::Ordering::is_ne)
        }
        Expr::Compare(op, left, right) => compare(*op, left, right, facts),
        Expr::In(needle, list) => {
            list.iter().any(|one| order(needle, one, facts).is_some_and(std::cmp::Ordering::is_eq))
        }
        Expr::Matches(operand, pattern) => {
            text_of(operand, facts).is_some_and(|text| pattern.is_match(&text))
        }
        Expr::Exists(name) => facts.fact(name).is_some(),
        Expr::Split { pct, by, seed } => {
            let Some(value) = text_of(by, facts) else { return false };
            f64::from(split_hash(seed.as_deref().unwrap_or(home), &value)) < pct * 1_000.0
        }
    }
}

fn compare(op: Op, left: &Operand, right: &Operand, facts: &(impl Facts + ?Sized)) -> bool {
    let texts = || Some((text_of(left, facts)?, text_of(right, facts)?));
    let ordered = |test: fn(std::cmp::Ordering) -> bool| order(left, right, facts).is_some_and(test);
    match op {
        Op::Eq => ordered(std::cmp::Ordering::is_eq),
        Op::Ne => ordered(std::cmp::Ordering::is_ne),
        Op::Gt => ordered(std::cmp::Ordering::is_gt),
        Op::Gte => ordered(std::cmp::Ordering::is_ge),
        Op::Lt => ordered(std::cmp::Ordering::is_lt),
        Op::Lte => ordered(std::cmp::Ordering::is_le),
        Op::Begins => texts().is_some_and(|(a, b)| a.starts_with(&*b)),
        Op::Ends => texts().is_some_and(|(a, b)| a.ends_with(&*b)),
        Op::Contains => texts().is_some_and(|(a, b)| a.contains(&*b)),
    }
}

fn write_expr(text: &mut String, expr: &Expr) {
    let many = |text: &mut String, word: &str, all: &[Expr]| {
        text.push('(');
        text.push_str(word);
        for one in all {
            text.push(' ');
            write_expr(text, one);
        }
        text.push(')');
    };
    match expr {
        Expr::Bool(value) => drop(write!(text, "{value}")),
        Expr::And(all) => many(text, "and", all),
        Expr::Or(any) => many(text, "or", any),
        Expr::Not(one) => many(text, "not", std::slice::from_ref(one)),
        Expr::Compare(op, left, right) => {
            let _ = write!(text, "({} {} {})", op.word(), written(left), written(right));
        }
        Expr::In(needle, list) => {
            let list: Vec<String> = list.iter().map(written).collect();
            let _ = write!(text, "(in {} [{}])", written(needle), list.join(", "));
        }
        Expr::Matches(operand, pattern) => {
            let _ = write!(text, "(matches in::{} pattern::{})", written(operand), quoted(pattern.as_str()));
        }
        Expr::Exists(name) => drop(write!(text, "(exists key::{})", quoted(name))),
        Expr::Split { pct, by, seed } => {
            let _ = write!(text, "(split by::{} pct::{pct}", written(by));
            if let Some(seed) = seed {
                let _ = write!(text, " seed::{}", quoted(seed));
            }
            text.push(')');
        }
    }
}

fn written(operand: &Operand) -> String {
    match operand {
        Operand::Context(name) => {
            let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'))
                && !name.bytes().all(|b| b.is_ascii_digit());
            if bare {
                format!("${name}")
            } else {
                format!("'${}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
            }
        }
        Operand::Text(value) => quoted(value),
        Operand::Int(n) => n.to_string(),
        Operand::Float(n) => format!("{n:?}"),
        Operand::Time(_, value) => {
            // A year with a month only is a timestamp in Ion with a T behind it.
            if value.len() <= 7 && !value.ends_with('T') { format!("{value}T") } else { value.clone() }
        }
        Operand::Bool(b) => b.to_string(),
    }
}

/// A text as JSON writes it; Ion reads the same escapes.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
