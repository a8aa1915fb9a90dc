//! Receipts: records from which an automatic decision can be recomputed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::watch::{Stratum, Watch};
use crate::ids::{RolloutId, Timestamp};
use crate::rollout::{Decision, Facts, Rollout};

/// A record from which one automatic decision can be recomputed, offline and bit for bit.
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
    /// The position of the event log that the evidence stands at.
    pub position: u64,
    /// What was decided.
    pub decision: Decision,
    /// The sentence that was shown.
    pub sentence: String,
    /// What the evidence was told to watch: methods and parameters.
    pub watch: Watch,
    /// The strata from the start of the rollout.
    pub strata: Vec<Stratum>,
    /// The chained log of closed blocks from the start of the rollout.
    pub log: Value,
    /// The evidence as it was seen; null where only time decided.
    pub evidence: Value,
    /// What was known besides the evidence.
    pub facts: Facts,
    /// The rollout before the decision: its rule and where it stood.
    pub before: Rollout,
    /// SHA-256 of everything above, in hexadecimal.
    pub digest: String,
}
