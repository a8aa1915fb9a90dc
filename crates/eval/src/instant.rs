//! Instants written as RFC 3339 text or as epoch milliseconds, as nanoseconds since the epoch.

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Whole numbers beyond this are not exact in a double.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// Epoch milliseconds; a fraction is cut off. Beyond ±2^53 nothing.
pub(crate) fn from_millis(millis: f64) -> Option<i128> {
    (millis.abs() <= EXACT).then(|| i128::from(millis as i64) * 1_000_000)
}

/// `2026-01-02T03:04:05Z`, with a fraction or an offset if wanted. A date alone, or a blank for the `T`, is
/// not an instant.
pub(crate) fn from_text(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let (date_time, rest) = bytes.split_at_checked(19)?;
    let shape = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if shape.iter().any(|(at, mark)| date_time.get(*at) != Some(mark))
        || !matches!(date_time.get(10), Some(b'T' | b't'))
    {
        return None;
    }
    let field = |from: usize, to: usize| digits(date_time.get(from..to)?);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in(year, month)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let offset = offset_seconds(zone)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0_i64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

/// The fraction in nanoseconds (further digits are cut off), and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let count = after.iter().take_while(|b| b.is_ascii_digit()).count();
    let (written, zone) = after.split_at_checked(count)?;
    let kept = written.get(..9.min(count))?;
    if kept.is_empty() {
        return None;
    }
    let mut nanos = digits(kept)?;
    for _ in kept.len()..9 {
        nanos *= 10;
    }
    Some((nanos, zone))
}

fn offset_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        [] | [_, ..] => return None,
    };
    match rest {
        [_, _, b':', _, _] => {
            let (hours, minutes) = (digits(rest.get(..2)?)?, digits(rest.get(3..)?)?);
            (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
        }
        [] | [_, ..] => None,
    }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the leap day
/// comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{from_millis, from_text};

    #[track_caller]
    fn check(text: &str, millis: Option<i64>) {
        assert_eq!(from_text(text), millis.and_then(|m| from_millis(m as f64)), "{text}");
    }

    #[test]
    fn instants_are_read_with_fraction_and_offset() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-01-02T03:04:05Z", Some(1_767_323_045_000));
        check("2026-01-02T03:04:05.25Z", Some(1_767_323_045_250));
        check("2026-01-02T05:04:05+02:00", Some(1_767_323_045_000));
        check("2026-01-01T23:04:05-04:00", Some(1_767_323_045_000));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000));
        check("1969-12-31T23:59:59Z", Some(-1_000));
    }

    #[test]
    fn what_is_not_an_instant_is_nothing() {
        for bad in [
            "",
            "2026-01-02",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+0200",
            "2026-01-02T03:04Z",
            "x",
        ] {
            check(bad, None);
        }
    }
}
