//! Which events were seen before: by number for senders that number, by id for 24 hours of event time else.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::ids::{Span, Timestamp};

/// How long ids are remembered, and how old an event with an id may be.
pub(crate) const WINDOW: Span = Span::seconds(24 * 3_600);
const HOUR: i64 = 3_600_000_000;
/// Holes a sender may have open. Beyond, the oldest is given up: its events are refused as too old.
const HOLES: usize = 128;

/// What is known about an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// Not seen.
    Fresh,
    /// Seen.
    Before,
    /// Too far back to tell.
    Unknown,
}

/// A 128-bit hash as a map key: it is its own hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Id128([u8; 16]);

impl Id128 {
    pub(crate) fn new(id: u128) -> Self {
        Self(id.to_le_bytes())
    }
    pub(crate) fn get(self) -> u128 {
        u128::from_le_bytes(self.0)
    }
    /// Which of the 256 shards holds it.
    pub(crate) fn shard(self) -> usize {
        usize::from(self.0[15])
    }
}

impl std::hash::Hash for Id128 {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.get() as u64);
    }
}

/// One sender that numbers its events: every number below `next` was seen, but for the holes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Source {
    next: u64,
    /// Below this, holes were given up: what is not known to be seen is refused.
    lost: u64,
    /// Numbers not yet seen, as ranges [from, to), rising.
    holes: Vec<(u64, u64)>,
    heard: i64,
}

impl Source {
    fn seen(&self, seq: u64) -> Seen {
        if seq >= self.next || self.holes.iter().any(|(from, to)| (*from..*to).contains(&seq)) {
            Seen::Fresh
        } else if seq < self.lost {
            Seen::Unknown
        } else {
            Seen::Before
        }
    }

    fn mark(&mut self, seq: u64) {
        if seq >= self.next {
            if seq > self.next {
                self.holes.push((self.next, seq));
            }
            self.next = seq.saturating_add(1);
        } else if let Some(at) = self.holes.iter().position(|(from, to)| (*from..*to).contains(&seq)) {
            let (from, to) = self.holes.remove(at);
            if seq + 1 < to {
                self.holes.insert(at, (seq + 1, to));
            }
            if from < seq {
                self.holes.insert(at, (from, seq));
            }
        }
        while self.holes.len() > HOLES {
            let (_, to) = self.holes.remove(0);
            self.lost = self.lost.max(to);
        }
    }
}

/// The sources and ids of one shard.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct SeenTable {
    sources: FxHashMap<Id128, Source>,
    /// The hour of the event's time, counted from `base`.
    ids: FxHashMap<Id128, [u8; 3]>,
}

/// A shard's table as it is stored: in order, so that equal tables give equal bytes.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredSeen {
    sources: Vec<(Id128, Source)>,
    ids: Vec<(Id128, [u8; 3])>,
}

impl SeenTable {
    pub(crate) fn source(&self, source: Id128, seq: u64, time: Timestamp, newest: Timestamp) -> Seen {
        match self.sources.get(&source) {
            Some(source) => source.seen(seq),
            // A sender that was forgotten sent nothing for a day; what it sends again is older than that.
            None if time < newest - WINDOW => Seen::Unknown,
            None => Seen::Fresh,
        }
    }

    pub(crate) fn knows(&self, source: Id128) -> bool {
        self.sources.contains_key(&source)
    }

    /// Remembers a number. `true`: the sender is new here.
    pub(crate) fn mark_source(&mut self, source: Id128, seq: u64, received: Timestamp) -> bool {
        let before = self.sources.len();
        let known =
            self.sources.entry(source).or_insert(Source { next: 0, lost: 0, holes: Vec::new(), heard: 0 });
        known.mark(seq);
        known.heard = known.heard.max(received.0);
        self.sources.len() > before
    }

    pub(crate) fn id(&self, id: Id128, time: Timestamp, newest: Timestamp) -> Seen {
        if time < newest - WINDOW {
            Seen::Unknown
        } else if self.ids.contains_key(&id) {
            Seen::Before
        } else {
            Seen::Fresh
        }
    }

    pub(crate) fn mark_id(&mut self, id: Id128, time: Timestamp, received: Timestamp) {
        let hour = time.0.min(received.0).div_euclid(HOUR);
        let hour = u32::try_from(hour.max(0)).unwrap_or(u32::MAX).to_le_bytes();
        self.ids.insert(id, [hour[0], hour[1], hour[2]]);
    }

    /// Forgets what is out of the window. Answers how many ids and sources went.
    pub(crate) fn forget(&mut self, newest: Timestamp) -> (u64, u64) {
        let oldest = (newest - WINDOW).0;
        let hour = oldest.div_euclid(HOUR);
        let (ids, sources) = (self.ids.len(), self.sources.len());
        self.ids.retain(|_, h| i64::from(u32::from_le_bytes([h[0], h[1], h[2], 0])) >= hour);
        self.sources.retain(|_, source| source.heard >= oldest);
        ((ids - self.ids.len()) as u64, (sources - self.sources.len()) as u64)
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.ids.len() as u64, self.sources.len() as u64)
    }

    pub(crate) fn store(&self) -> StoredSeen {
        let mut sources: Vec<_> = self.sources.iter().map(|(id, source)| (*id, source.clone())).collect();
        sources.sort_unstable_by_key(|(id, _)| *id);
        let mut ids: Vec<_> = self.ids.iter().map(|(id, hour)| (*id, *hour)).collect();
        ids.sort_unstable();
        StoredSeen { sources, ids }
    }

    pub(crate) fn load(stored: StoredSeen) -> Self {
        Self { sources: stored.sources.into_iter().collect(), ids: stored.ids.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(2_000_000_000_000_000);

    /// Sends numbers; answers what each was taken for: `.` fresh, `d` duplicate, `?` too old.
    #[track_caller]
    fn check(numbers: &[u64], expected: &str) {
        let (mut table, source) = (SeenTable::default(), Id128::new(7));
        let answer: String = numbers
            .iter()
            .map(|seq| match table.source(source, *seq, NOW, NOW) {
                Seen::Fresh => {
                    table.mark_source(source, *seq, NOW);
                    '.'
                }
                Seen::Before => 'd',
                Seen::Unknown => '?',
            })
            .collect();
        assert_eq!(answer, expected);
    }

    #[test]
    fn numbers_count_once_in_any_order() {
        check(&[0, 1, 2, 1, 0], "...dd");
        check(&[5, 3, 4, 3, 9, 7, 8, 6, 5, 0], "...d....d.");
    }

    #[test]
    fn too_many_holes_are_given_up_not_guessed() {
        let mut numbers: Vec<u64> = (0..=HOLES as u64 + 1).map(|i| i * 2 + 1).collect();
        let mut expected = ".".repeat(numbers.len());
        numbers.extend([0, 1, 4]);
        expected.push_str("??.");
        check(&numbers, &expected);
    }

    #[test]
    fn ids_are_exact_for_a_day_of_event_time() {
        let mut table = SeenTable::default();
        let id = Id128::new(9);
        assert_eq!(table.id(id, NOW, NOW), Seen::Fresh);
        table.mark_id(id, NOW, NOW);
        assert_eq!(table.id(id, NOW, NOW + WINDOW), Seen::Before);
        table.forget(NOW + WINDOW);
        assert_eq!(table.id(id, NOW, NOW + WINDOW), Seen::Before);
        assert_eq!(table.id(id, NOW, NOW + WINDOW + Span(1)), Seen::Unknown);
        table.forget(NOW + WINDOW + Span::seconds(3_600));
        assert_eq!(table.counts(), (0, 0));
    }
}
