//! Sets of literal strings, laid out for lookups: most literals fit a machine word or two, and are compared as
//! numbers.

use rustc_hash::FxHashSet;

/// Up to this many are compared one after the other; more are hashed.
const LINEAR: usize = 12;

/// Longest string that packs into a number.
const SHORT: usize = 15;

/// A set of strings.
#[derive(Debug, Clone, Default)]
pub(crate) struct StringSet {
    short: Shorts,
    long: Longs,
}

#[derive(Debug, Clone)]
enum Shorts {
    Linear(Box<[u128]>),
    /// Open addressing; `0` is a free slot, which no packed string is.
    Table {
        slots: Box<[u128]>,
        shift: u32,
    },
}

#[derive(Debug, Clone)]
enum Longs {
    Linear(Box<[Box<str>]>),
    Hashed(FxHashSet<Box<str>>),
}

impl Default for Shorts {
    fn default() -> Self {
        Shorts::Linear(Box::default())
    }
}

impl Default for Longs {
    fn default() -> Self {
        Longs::Linear(Box::default())
    }
}

impl StringSet {
    pub(crate) fn new<'a>(strings: impl IntoIterator<Item = &'a str>) -> Self {
        let mut short: Vec<u128> = Vec::new();
        let mut long: Vec<Box<str>> = Vec::new();
        for s in strings {
            if s.len() <= SHORT { short.push(pack(s.as_bytes())) } else { long.push(s.into()) }
        }
        short.sort_unstable();
        short.dedup();
        long.sort_unstable();
        long.dedup();
        let short = if short.len() <= LINEAR { Shorts::Linear(short.into()) } else { table(&short) };
        let long = if long.len() <= LINEAR {
            Longs::Linear(long.into())
        } else {
            Longs::Hashed(long.into_iter().collect())
        };
        Self { short, long }
    }

    #[inline(always)]
    pub(crate) fn contains(&self, s: &str) -> bool {
        if s.len() > SHORT {
            return self.contains_long(s);
        }
        match &self.short {
            Shorts::Linear(list) => list.contains(&pack(s.as_bytes())),
            Shorts::Table { slots, shift } => {
                let packed = pack(s.as_bytes());
                let mask = slots.len() - 1;
                let mut at = place(packed, *shift);
                loop {
                    match slots.get(at & mask) {
                        Some(slot) if *slot == packed => return true,
                        Some(0) | None => return false,
                        Some(_) => at += 1,
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn contains_long(&self, s: &str) -> bool {
        match &self.long {
            Longs::Linear(list) => list.iter().any(|l| **l == *s),
            Longs::Hashed(set) => set.contains(s),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match (&self.short, &self.long) {
            (Shorts::Linear(short), Longs::Linear(long)) => short.is_empty() && long.is_empty(),
            (Shorts::Table { .. }, _) | (_, Longs::Hashed(_)) => false,
        }
    }
}

fn table(short: &[u128]) -> Shorts {
    let size = (short.len() * 2).next_power_of_two();
    let shift = 64 - size.trailing_zeros();
    let mut slots = vec![0_u128; size];
    for packed in short {
        let mut at = place(*packed, shift);
        while slots[at & (size - 1)] != 0 {
            at += 1;
        }
        slots[at & (size - 1)] = *packed;
    }
    Shorts::Table { slots: slots.into(), shift }
}

/// Where a packed string belongs: the top bits of a multiplicative hash.
#[inline]
fn place(packed: u128, shift: u32) -> usize {
    let folded = (packed as u64) ^ ((packed >> 64) as u64).rotate_left(23);
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize
}

/// At most 15 bytes as one number: the bytes from the bottom up, and one more than the length on top, so that
/// no string is zero and no two strings are the same.
#[inline(always)]
pub(crate) fn pack(bytes: &[u8]) -> u128 {
    let len = bytes.len();
    let (low, high) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(head), Some(tail)) if len > 8 => {
            (u64::from_le_bytes(*head), u64::from_le_bytes(*tail) >> ((16 - len) * 8))
        }
        (Some(head), _) => (u64::from_le_bytes(*head), 0),
        (None, _) => (pack_under_eight(bytes), 0),
    };
    u128::from(low) | (u128::from(high) << 64) | ((len as u128 + 1) << 120)
}

#[inline(always)]
fn pack_under_eight(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (head, tail) = (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)));
        return head | (tail << ((len - 4) * 8));
    }
    match *bytes {
        [] | [_, _, _, _, ..] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(a) | u64::from(b) << 8,
        [a, b, c] => u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16,
    }
}

#[cfg(test)]
mod tests {
    use super::{StringSet, pack};

    #[test]
    fn packing_keeps_every_byte_and_the_length() {
        for len in 0..=15_usize {
            let bytes: Vec<u8> = (1..=len as u8).collect();
            let mut expected = [0_u8; 16];
            expected[..len].copy_from_slice(&bytes);
            expected[15] = len as u8 + 1;
            assert_eq!(pack(&bytes), u128::from_le_bytes(expected), "length {len}");
        }
    }

    #[test]
    fn sets_of_every_size_hold_what_was_put_in_and_nothing_else() {
        for size in [0, 1, 12, 13, 100, 1000] {
            for width in [1_usize, 12, 40] {
                let strings: Vec<String> = (0..size).map(|i| format!("{i:0>width$}")).collect();
                let set = StringSet::new(strings.iter().map(String::as_str));
                assert!(strings.iter().all(|s| set.contains(s)), "{size} of {width}");
                assert!(!set.contains("no"), "{size} of {width}");
                assert!(!set.contains("a string that is much longer than a word or two"), "{size}");
                assert_eq!(set.is_empty(), size == 0);
            }
        }
    }
}
