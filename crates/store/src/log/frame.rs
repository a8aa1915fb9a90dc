//! The bytes of a segment: header, frames and marks. Pure: nothing here touches a file.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::Micros;

/// Length of a segment header in bytes.
pub(super) const HEADER: usize = 40;
/// Length of a frame without its payload.
pub(super) const FRAME: usize = 12;
/// Length of a mark.
pub(super) const MARK: usize = 28;

const MAGIC: &[u8; 8] = b"ENSIGNEV";
const VERSION: u32 = 1;
/// Stands where a frame has its length. No record can be this long.
const MARK_WORD: u32 = u32::MAX;

/// Records that are written together: all of them are acknowledged, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Group {
    /// A group without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Its records, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Group {
    fn from_iter<I: IntoIterator<Item = T>>(records: I) -> Self {
        let mut group = Self::new();
        records.into_iter().for_each(|record| group.push(record.as_ref()));
        group
    }
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The position of the segment's first record.
    pub(super) first: u64,
    /// When it was begun.
    pub(super) created: Micros,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        out[24..32].copy_from_slice(&self.created.0.to_le_bytes());
        let sum = xxh3_64(&out[..32]);
        out[32..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// `None`: the bytes are no whole header of this version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEADER)?;
        let good =
            &head[..8] == MAGIC && word(head, 8)? == VERSION && long(head, 32)? == xxh3_64(&head[..32]);
        if !good {
            return None;
        }
        Some(Self { first: long(head, 16)?, created: Micros(long(head, 24)?.cast_signed()) })
    }
}

/// Appends a frame.
pub(super) fn put_record(out: &mut Vec<u8>, position: u64, record: &[u8]) {
    out.extend_from_slice(&(record.len() as u32).to_le_bytes());
    out.extend_from_slice(&xxh3_64_with_seed(record, position).to_le_bytes());
    out.extend_from_slice(record);
}

/// Appends a mark that will stand at `offset` of the segment: all records before `position` are durable.
pub(super) fn put_mark(out: &mut Vec<u8>, header: Header, position: u64, offset: u64) {
    out.extend_from_slice(&MARK_WORD.to_le_bytes());
    let mut body = [0; 16];
    body[..8].copy_from_slice(&position.to_le_bytes());
    body[8..].copy_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&mark_sum(&body, header).to_le_bytes());
    out.extend_from_slice(&body);
}

/// The header's time is in the checksum, and the offset in the body, so that a record whose payload is a copy of a
/// mark is not taken for one.
fn mark_sum(body: &[u8], header: Header) -> u64 {
    xxh3_64_with_seed(body, header.created.0.cast_unsigned() ^ header.first.rotate_left(32))
}

/// What stands at an offset of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A record; its payload begins [`FRAME`] bytes further.
    Record { length: usize },
    /// A mark.
    Mark,
    /// More bytes are needed to tell.
    Short { need: usize },
    /// Nothing that was written whole.
    Bad,
}

/// Reads what stands at the start of `bytes`, which begin at `offset`.
pub(super) fn look(bytes: &[u8], header: Header, position: u64, offset: u64, longest: u32) -> Found {
    let Some(length) = word(bytes, 0) else { return Found::Short { need: FRAME } };
    if length == MARK_WORD {
        return if bytes.len() < MARK {
            Found::Short { need: MARK }
        } else if is_mark(bytes, header, offset) && long(bytes, 12) == Some(position) {
            Found::Mark
        } else {
            Found::Bad
        };
    }
    if length > longest {
        return Found::Bad;
    }
    let length = length as usize;
    let Some(payload) = bytes.get(FRAME..FRAME + length) else {
        return Found::Short { need: FRAME + length };
    };
    if long(bytes, 4) == Some(xxh3_64_with_seed(payload, position)) {
        Found::Record { length }
    } else {
        Found::Bad
    }
}

/// Whether `bytes`, which begin at `offset`, begin with a mark of this segment.
pub(super) fn is_mark(bytes: &[u8], header: Header, offset: u64) -> bool {
    let Some(body) = bytes.get(FRAME..MARK) else { return false };
    word(bytes, 0) == Some(MARK_WORD)
        && long(bytes, 20) == Some(offset)
        && long(bytes, 4) == Some(mark_sum(body, header))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
