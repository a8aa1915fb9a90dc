//! How often a key may ask, where an operator sets a limit.
//!
//! A client that is told to wait serves its callers' defaults meanwhile, which is a switch-off of every flag: so there
//! is no limit unless one is asked for.

use std::sync::{Mutex, PoisonError};

use ensign_control::ids::{Span, Timestamp};
use rustc_hash::FxHashMap;

/// Keys that are remembered; beyond, those that have been quiet are forgotten.
const KEYS: usize = 10_000;

/// A limit on requests per second and key, evened out: a burst of one second's worth is let through.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    per_second: Option<u32>,
    /// When the key's requests so far would have been made at the limit's pace.
    paced: Mutex<FxHashMap<String, i64>>,
}

impl Rate {
    pub(crate) fn new(per_second: Option<u32>) -> Self {
        Self { per_second, paced: Mutex::default() }
    }

    /// Counts a request. `Err`: it is one too many, and after so many whole seconds another one will not be.
    pub(crate) fn take(&self, key: &str, now: Timestamp) -> Result<(), u32> {
        let Some(per_second) = self.per_second else { return Ok(()) };
        let step = 1_000_000 / i64::from(per_second.max(1));
        let mut paced = self.paced.lock().unwrap_or_else(PoisonError::into_inner);
        if paced.len() >= KEYS {
            paced.retain(|_, at| *at > now.0);
        }
        let at = paced.entry(key.to_owned()).or_insert(now.0);
        let next = (*at).max(now.0) + step;
        let ahead = next - now.0;
        let burst = Span::seconds(1).0.max(step);
        if ahead > burst {
            let wait = (ahead - burst).unsigned_abs().div_ceil(1_000_000).max(1);
            return Err(u32::try_from(wait).unwrap_or(u32::MAX));
        }
        *at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_may_be_used_at_once_and_then_it_is_paced() {
        let rate = Rate::new(Some(10));
        let at = |millis: i64| Timestamp(millis * 1_000);
        let through = |from: i64| (0..30).filter(|_| rate.take("k", at(from)).is_ok()).count();
        assert_eq!(through(0), 10);
        assert_eq!(rate.take("k", at(0)), Err(1));
        assert_eq!(rate.take("other", at(0)), Ok(()));
        assert_eq!(through(500), 5);
        assert_eq!(through(60_000), 10);
        assert_eq!(Rate::new(None).take("k", at(0)), Ok(()));
    }
}
