//! How long to wait before the next try.

use ensign_control::ids::Span;

/// A random length below a bound that doubles with each failure in a row. The whole range is used, so that clients
/// which lost the server at the same moment do not come back at the same moment.
pub(crate) fn pause(first: Span, longest: Span, failures: u32, dice: u64) -> Span {
    let bound = first.0.saturating_mul(1_i64 << failures.min(20)).min(longest.0).max(1);
    Span(i64::try_from(dice % bound.unsigned_abs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_a_bound_and_uses_the_whole_range() {
        let bound = |failures| pause(Span::seconds(1), Span::seconds(30), failures, u64::MAX).0;
        for failures in 0..70 {
            assert!(bound(failures) < Span::seconds(1 << failures.min(5)).0.min(Span::seconds(30).0));
        }
        assert_eq!(pause(Span::seconds(1), Span::seconds(30), 3, 0), Span(0));
        assert_eq!(pause(Span::seconds(1), Span::seconds(30), 3, 7_999_999), Span(7_999_999));
    }
}
