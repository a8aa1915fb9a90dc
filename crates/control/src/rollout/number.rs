//! Numbers and times as people read them: never a percentage with six digits, never a count without separators.

use jiff::tz::TimeZone;

use crate::evidence::watch::Margin;
use crate::ids::{Span, Timestamp};
use crate::metric::Better;

use super::NumberUnit;

/// A value in its metric's unit.
pub(super) fn value(unit: NumberUnit, value: f64) -> String {
    match unit {
        NumberUnit::Percent => percent(value),
        NumberUnit::Millis if value.abs() >= 10_000.0 => format!("{} s", short(value / 1000.0)),
        NumberUnit::Millis => format!("{} ms", short(value)),
        NumberUnit::Money | NumberUnit::Plain => short(value),
    }
}

/// A share as a percentage: `4.1 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent.abs() < 1.0 { format!("{percent:.2} %") } else { format!("{percent:.1} %") }
}

/// A share of 1/100000 as a percentage without needless digits: `5 %`, `0.5 %`.
pub(super) fn share(share: u32) -> String {
    format!("{} %", trim(format!("{:.3}", f64::from(share) / 1000.0)))
}

/// A factor: `1.5×`.
pub(super) fn factor(factor: f64) -> String {
    format!("{}×", trim(format!("{factor:.2}")))
}

/// At most three significant digits, and no fewer than the whole part.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    let digits = if size >= 100.0 || size == 0.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else if size >= 0.1 {
        3
    } else {
        4
    };
    if digits == 0 && size < 1e15 {
        let whole = count(size.round() as u64);
        return if value < 0.0 { format!("-{whole}") } else { whole };
    }
    trim(format!("{value:.digits$}"))
}

fn trim(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count with separators: `12,900`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Evidence, which can be astronomically large.
pub(super) fn evidence(weight: f64) -> String {
    if weight >= 1e6 {
        "over 1,000,000".into()
    } else if weight < 0.1 {
        "< 0.1".into()
    } else {
        short(weight)
    }
}

/// A length of time in its one or two largest units.
pub(super) fn span(span: Span) -> String {
    let seconds = (span.0.max(0) + 500_000) / 1_000_000;
    let parts = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut out = Vec::new();
    for (size, name) in parts {
        let n = rest / size;
        rest %= size;
        if n > 0 {
            out.push(format!("{n} {name}"));
        }
    }
    out.truncate(2);
    if out.is_empty() { "0 s".into() } else { out.join(" ") }
}

/// A time of day, with the date where it is not `now`'s; UTC.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let civil =
        |t: Timestamp| jiff::Timestamp::from_microsecond(t.0).map(|t| t.to_zoned(TimeZone::UTC).datetime());
    match (civil(at), civil(now)) {
        (Ok(at), Ok(now)) if at.date() == now.date() => at.strftime("%H:%M:%S").to_string(),
        (Ok(at), _) => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        (Err(_), _) => "an unknown time".into(),
    }
}

/// What a margin allows, as a limit: `1.5×`, `5 ms more`, `0.05 less`.
pub(super) fn margin(unit: NumberUnit, better: Better, margin: Margin) -> String {
    match (margin, better) {
        (Margin::Relative(0.0), _) | (Margin::Absolute(0.0), _) => "no change".into(),
        (Margin::Relative(r), Better::Lower) => factor(1.0 + r),
        (Margin::Relative(r), Better::Higher) => factor(1.0 - r),
        (Margin::Absolute(by), Better::Lower) => format!("{} more", distance(unit, by)),
        (Margin::Absolute(by), Better::Higher) => format!("{} less", distance(unit, by)),
    }
}

/// A difference: percentage points for shares.
pub(super) fn distance(unit: NumberUnit, by: f64) -> String {
    match unit {
        NumberUnit::Percent => format!("{} points", short(by * 100.0)),
        NumberUnit::Millis | NumberUnit::Money | NumberUnit::Plain => value(unit, by),
    }
}
