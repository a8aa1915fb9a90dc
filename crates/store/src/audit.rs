//! The audit chain: how a record is hashed and how a chain is checked.
//!
//! Absent on purpose: a key. The chain shows that nothing in the middle was altered, left out or reordered; that the
//! end was not cut off is shown by keeping the head elsewhere.

use sha2::{Digest, Sha256};

use crate::port::{AuditDraft, AuditHead, AuditRecord, AuditVerdict};

/// The first byte string of every hash, so that no other use of SHA-256 can produce the same input.
const DOMAIN: &[u8] = b"ensign-audit-1";

/// The hash of a record: SHA-256 over the domain, the number, the hash before, and each field with its length in
/// front (u64, little endian), so that no two different records have the same input.
#[must_use]
pub fn hash(seq: u64, prev: &[u8; 32], draft: &AuditDraft) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(DOMAIN);
    field(&seq.to_le_bytes());
    field(prev);
    field(draft.scope.project.as_bytes());
    optional(&mut field, draft.scope.environment.as_deref());
    field(draft.actor.as_bytes());
    field(draft.action.as_bytes());
    field(draft.subject.as_bytes());
    optional(&mut field, draft.reason.as_deref());
    field(&draft.at.0.to_le_bytes());
    field(&draft.diff);
    hasher.finalize().into()
}

/// Absent and empty are different, so presence is a field of its own.
fn optional(field: &mut impl FnMut(&[u8]), text: Option<&str>) {
    field(&[u8::from(text.is_some())]);
    field(text.unwrap_or_default().as_bytes());
}

/// Makes the next record of a chain.
#[must_use]
pub fn link(head: AuditHead, draft: AuditDraft) -> AuditRecord {
    let seq = head.seq + 1;
    let hash = hash(seq, &head.hash, &draft);
    AuditRecord { seq, draft, prev_hash: head.hash, hash }
}

/// Checks a chain record by record.
#[derive(Debug, Default)]
pub struct Check {
    good: AuditHead,
    broken_at: Option<u64>,
}

impl Check {
    /// The number of the last good record.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.good.seq
    }

    /// The first broken number, once there is one.
    #[must_use]
    pub fn broken_at(&self) -> Option<u64> {
        self.broken_at
    }

    /// Checks the next record. After the first broken one nothing more is checked.
    pub fn add(&mut self, record: &AuditRecord) {
        if self.broken_at.is_some() {
            return;
        }
        let expected = self.good.seq + 1;
        let good = record.seq == expected
            && record.prev_hash == self.good.hash
            && record.hash == hash(record.seq, &record.prev_hash, &record.draft);
        if good {
            self.good = AuditHead { seq: record.seq, hash: record.hash };
        } else {
            self.broken_at = Some(expected);
        }
    }

    /// The verdict, given where the chain should end.
    #[must_use]
    pub fn finish(self, head: AuditHead) -> AuditVerdict {
        let cut = self.broken_at.is_none() && self.good != head;
        let broken_at = self.broken_at.or(cut.then_some(self.good.seq.min(head.seq) + 1));
        AuditVerdict { count: self.good.seq, broken_at }
    }
}
