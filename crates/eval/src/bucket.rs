//! Bucketing: SHA-1 of a prefix, a dot and the unit's value, as a number from 0 to 1.
//!
//! The first 15 hexadecimal digits of the digest, divided by the largest number of 15 digits, all in 64-bit
//! floats. Shares are compared as sums of weights in the same arithmetic, so that every client of the
//! LaunchDarkly evaluation model that computes in 64 bits finds the same arm.

use sha1::Digest;

/// The largest hash: fifteen hexadecimal digits.
pub const HASH_MAX: u64 = 0x0FFF_FFFF_FFFF_FFFF;

const INITIAL: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];

/// What fits one block of SHA-1 beside its padding.
const ONE_BLOCK: usize = 55;

/// What stands before the unit's value in the hashed string, its dot included, ready to be completed.
#[derive(Debug, Clone)]
pub struct Prefix {
    text: Box<[u8]>,
    block: [u8; 64],
}

/// Where a unit lies: the 60-bit hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(pub u64);

/// The hash below which a share begins to not include a unit any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Threshold(u64);

impl Prefix {
    /// For hashed strings that begin with `text` and a dot.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(b'.');
        let mut block = [0; 64];
        if let Some(head) = block.get_mut(..bytes.len()) {
            head.copy_from_slice(&bytes);
        }
        Self { text: bytes.into(), block }
    }

    /// Where this value lies.
    #[inline]
    #[must_use]
    pub fn bucket(&self, value: &str) -> Bucket {
        let end = self.text.len() + value.len();
        if end > ONE_BLOCK {
            return self.bucket_of_many_blocks(value);
        }
        let mut block = self.block;
        if let Some(space) = block.get_mut(self.text.len()..end) {
            space.copy_from_slice(value.as_bytes());
        }
        if let Some(mark) = block.get_mut(end) {
            *mark = 0x80;
        }
        // At most 55 bytes are 440 bits, which the last two bytes of the length field can say.
        let [.., high, low] = &mut block;
        [*high, *low] = ((end * 8) as u16).to_be_bytes();
        let mut state = INITIAL;
        sha1::block_api::compress(&mut state, &[block]);
        Bucket((u64::from(state[0]) << 28) | u64::from(state[1] >> 4))
    }

    #[cold]
    fn bucket_of_many_blocks(&self, value: &str) -> Bucket {
        let digest = sha1::Sha1::new().chain_update(&self.text).chain_update(value).finalize();
        let head = digest.first_chunk::<8>().copied().unwrap_or_default();
        Bucket(u64::from_be_bytes(head) >> 4)
    }

    /// As [`Prefix::bucket`], for a whole number, which is hashed as its decimal text.
    #[must_use]
    pub fn bucket_int(&self, value: i64) -> Bucket {
        with_decimal(value, |text| self.bucket(text))
    }
}

impl Bucket {
    /// As a fraction of the whole, from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0 as f64 / HASH_MAX as f64
    }

    /// As a position out of 100,000, rounded down: for display.
    #[must_use]
    pub fn position(self) -> u32 {
        (self.fraction() * 100_000.0) as u32
    }

    #[inline]
    pub(crate) fn is_below(self, threshold: Threshold) -> bool {
        self.0 < threshold.0
    }
}

/// Lends the decimal text of a whole number, without allocating.
pub(crate) fn with_decimal<T>(value: i64, use_it: impl FnOnce(&str) -> T) -> T {
    let mut text = [0_u8; 20];
    let mut at = text.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    use_it(str::from_utf8(&text[at..]).unwrap_or_default())
}

impl Threshold {
    /// The first hash whose fraction is not below `sum`, found by halving because dividing is monotone. It
    /// makes each evaluation an integer comparison with the very answer that the division would give.
    pub(crate) fn of(sum: f64) -> Self {
        let (mut low, mut high) = (0, HASH_MAX + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if Bucket(middle).fraction() < sum { low = middle + 1 } else { high = middle }
        }
        Self(low)
    }

    /// For one weight in 1/100,000.
    pub(crate) fn of_weight(weight: u32) -> Self {
        Self::of(f64::from(weight) / 100_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, HASH_MAX, Prefix, Threshold};

    #[test]
    fn one_block_and_many_blocks_agree_at_the_seam() {
        for len in 0..140 {
            let value = "x".repeat(len);
            let prefix = Prefix::new("flag.salt");
            assert_eq!(prefix.bucket(&value), prefix.bucket_of_many_blocks(&value), "length {len}");
        }
        let long = "p".repeat(200);
        assert_eq!(Prefix::new(&long).bucket("v"), Prefix::new(&long).bucket_of_many_blocks("v"));
    }

    #[test]
    fn whole_numbers_hash_as_their_decimal_text() {
        for n in [0, 1, -1, 33_333, i64::MAX, i64::MIN] {
            assert_eq!(Prefix::new("a.b").bucket_int(n), Prefix::new("a.b").bucket(&n.to_string()));
        }
    }

    #[test]
    fn thresholds_are_the_division_exactly() {
        for weight in [0_u32, 1, 10, 5_000, 33_333, 50_000, 99_999, 100_000] {
            let sum = f64::from(weight) / 100_000.0;
            let threshold = Threshold::of(sum);
            let near = (sum * HASH_MAX as f64) as u64;
            for hash in near.saturating_sub(300)..near.saturating_add(300).min(HASH_MAX) {
                assert_eq!(
                    Bucket(hash).is_below(threshold),
                    Bucket(hash).fraction() < sum,
                    "{weight} {hash}"
                );
            }
        }
    }
}
