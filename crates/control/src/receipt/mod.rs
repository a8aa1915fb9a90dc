//! Receipts: records from which an automatic decision can be recomputed, offline and bit for bit.
//!
//! A receipt is one line of JSON in one fixed form. It holds the rollout before the decision, what was known, the
//! chained block log and the evidence; verifying replays the log, compares every number to the last bit, and decides
//! again. Absent on purpose: a person's decisions, which are in the audit log.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::evidence::BlockLog;
use crate::evidence::report::Evidence;
use crate::ids::{RolloutId, Timestamp};
use crate::rollout::{Decision, Draft, Facts, Rollout};

mod verify;

pub use verify::{Mismatch, Verified, verify, verify_with};

/// The version of this format.
pub const FORMAT: u32 = 1;

/// A record from which one automatic decision can be recomputed.
///
/// The parameters of the watch are those of `before.plan`, and the block log begins with them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The version of this format.
    pub receipt: u32,
    /// The version of the statistical methods; it changes with any change of arithmetic.
    pub method: String,
    /// The rollout.
    pub rollout: RolloutId,
    /// The number of the automatic decision in its rollout, from 1.
    pub number: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// The position of the event log that the evidence stands at; 0 where only time decided.
    pub position: u64,
    /// What was decided.
    pub decision: Decision,
    /// The sentence that was shown.
    pub sentence: String,
    /// What was known besides the evidence.
    pub facts: Facts,
    /// The rollout before the decision: its rule, its parameters and where it stood.
    pub before: Rollout,
    /// The evidence as it was seen; null where only time decided.
    pub evidence: Value,
    /// The chained log of closed blocks from the start of the rollout; null where only time decided.
    pub log: Option<Log>,
    /// SHA-256 of everything above, in hexadecimal.
    pub digest: String,
}

/// A block log as a receipt writes it: hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The entries.
    pub bytes: String,
    /// The last link of the chain.
    pub head: String,
}

impl Receipt {
    /// The receipt of a decision: the draft that came with the step, and the block log the evidence was read from.
    ///
    /// `method` names the version of the statistical methods.
    pub fn seal(draft: &Draft, log: Option<&BlockLog>, method: &str) -> Self {
        let mut receipt = Self {
            receipt: FORMAT,
            method: method.to_owned(),
            rollout: draft.before.id.clone(),
            number: draft.number,
            at: draft.at,
            position: draft.evidence.as_ref().map_or(0, |evidence| evidence.position),
            decision: draft.decision.clone(),
            sentence: draft.sentence.clone(),
            facts: draft.facts.clone(),
            before: draft.before.clone(),
            evidence: draft.evidence.as_ref().map_or(Value::Null, evidence_value),
            log: draft
                .evidence
                .as_ref()
                .and(log)
                .map(|log| Log { bytes: HEXLOWER.encode(&log.bytes), head: HEXLOWER.encode(&log.head) }),
            digest: String::new(),
        };
        receipt.digest = receipt.compute_digest();
        receipt
    }

    /// The one form a receipt has: a line of JSON without a line end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("every part has text keys, and writing into memory does not fail")
    }

    /// The digest over everything but itself.
    pub(crate) fn compute_digest(&self) -> String {
        let bare = Self { digest: String::new(), ..self.clone() };
        HEXLOWER.encode(&Sha256::digest(bare.to_json().as_bytes()))
    }

    /// The block log, if the hexadecimal is one.
    pub(crate) fn block_log(&self) -> Option<BlockLog> {
        let log = self.log.as_ref()?;
        let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).ok();
        Some(BlockLog { bytes: bytes(&log.bytes)?, head: bytes(&log.head)?.try_into().ok()? })
    }
}

/// Evidence as a receipt holds it. Every finite number is written so that it reads back to the same bits.
pub(crate) fn evidence_value(evidence: &Evidence) -> Value {
    serde_json::to_value(evidence).expect("evidence has text keys only")
}
