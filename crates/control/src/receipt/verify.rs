//! Recomputing a receipt: the digest, the evidence from its log, and the decision from the evidence.

use std::fmt;

use serde_json::Value;

use crate::evidence::report::Evidence;
use crate::evidence::watch::Watch;
use crate::evidence::{BlockLog, contents, replay};
use crate::ids::Timestamp;
use crate::rollout::{Command, Decision, Rollout};

use super::{FORMAT, Receipt, evidence_value};

/// What was recomputed and found to be as recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct Verified {
    /// The rollout's name.
    pub rollout: String,
    /// The number of the decision.
    pub number: u32,
    /// What was decided.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
    /// The sentence, the same when decided again.
    pub sentence: String,
    /// Bytes of block log that were replayed; 0 where only time decided.
    pub replayed: usize,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Decision {} of {} was recomputed and is the same to the last bit",
            self.number, self.rollout
        )?;
        if self.replayed > 0 {
            write!(f, ", from {} bytes of block log", self.replayed)?;
        }
        write!(f, ". {}", self.sentence)
    }
}

/// How a receipt differs from what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Each difference, as a sentence; the first is the one to look at.
    pub what: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what.join(" "))
    }
}

impl std::error::Error for Mismatch {}

/// Recomputes the receipt in `text`.
///
/// # Errors
/// [`Mismatch`] when anything differs: one byte of the text is enough.
pub fn verify(text: &str) -> Result<Verified, Mismatch> {
    verify_with(text, |log| {
        let watch = contents(log).map(|(watch, _)| watch);
        watch.and_then(|watch| Ok((watch, replay(log)?))).map_err(|bad| bad.to_string())
    })
}

/// The same with another way to replay a block log: what it was watched by, and the evidence.
///
/// # Errors
/// See [`verify`].
pub fn verify_with(
    text: &str,
    replay: impl Fn(&BlockLog) -> Result<(Watch, Evidence), String>,
) -> Result<Verified, Mismatch> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let receipt: Receipt = serde_json::from_str(line)
        .map_err(|error| Mismatch { what: vec![format!("This is not a receipt: {error}.")] })?;
    let mut what = Vec::new();
    if receipt.receipt != FORMAT {
        what.push(format!("The receipt has format {}; this program reads format {FORMAT}.", receipt.receipt));
    }
    if receipt.compute_digest() != receipt.digest {
        what.push(
            "The digest does not match the content: the receipt was changed after it was written.".into(),
        );
    }
    if receipt.to_json() != line {
        what.push(
            "The text is not the one form a receipt has: something was added or written differently.".into(),
        );
    }
    if receipt.rollout != receipt.before.id {
        what.push(format!(
            "It names {}, but the rollout it holds is {}.",
            receipt.rollout, receipt.before.id
        ));
    }
    let evidence = evidence(&receipt, replay, &mut what);
    if let Ok(evidence) = &evidence {
        what.extend(decision(&receipt, evidence.as_ref()));
    }
    if !what.is_empty() {
        return Err(Mismatch { what });
    }
    Ok(Verified {
        rollout: receipt.rollout.to_string(),
        number: receipt.number,
        decision: receipt.decision,
        at: receipt.at,
        sentence: receipt.sentence,
        replayed: receipt.log.map_or(0, |log| log.bytes.len() / 2),
    })
}

/// The evidence recomputed from the log; the differences from the recorded one go into `what`.
fn evidence(
    receipt: &Receipt,
    replay: impl Fn(&BlockLog) -> Result<(Watch, Evidence), String>,
    what: &mut Vec<String>,
) -> Result<Option<Evidence>, ()> {
    if receipt.log.is_none() && receipt.evidence.is_null() {
        return Ok(None);
    }
    let Some(log) = receipt.block_log() else {
        what.push(
            "The block log is missing or not hexadecimal, so the evidence cannot be recomputed.".into(),
        );
        return Err(());
    };
    let (watch, evidence) = replay(&log).map_err(|sentence| what.push(format!("{sentence}.")))?;
    if watch != receipt.before.plan.watch(receipt.before.id.clone()) {
        what.push("The block log was taken with other guardrails or limits than the rollout's plan.".into());
    }
    if let Some((at, recorded, again)) = difference("", &receipt.evidence, &evidence_value(&evidence)) {
        what.push(format!("The evidence differs at {at}: recorded {recorded}, recomputed {again}."));
    }
    if receipt.position != evidence.position {
        let (recorded, again) = (receipt.position, evidence.position);
        what.push(format!("The log position differs: recorded {recorded}, recomputed {again}."));
    }
    Ok(Some(evidence))
}

/// How the decision taken again differs from the recorded one.
fn decision(receipt: &Receipt, evidence: Option<&Evidence>) -> Option<String> {
    let before: &Rollout = &receipt.before;
    let step = match before.decide(&Command::Tick, receipt.at, evidence, &receipt.facts) {
        Ok(Some(step)) => step,
        Ok(None) => return Some("Decided again on the same evidence, nothing happens.".into()),
        Err(refusal) => return Some(format!("Decided again, it is refused: {refusal}")),
    };
    let Some(draft) = step.receipt else {
        return Some("Decided again, it is not an automatic decision.".into());
    };
    if draft.decision != receipt.decision {
        return Some(format!("Decided again, it is {:?} instead of {:?}.", draft.decision, receipt.decision));
    }
    if draft.number != receipt.number {
        return Some(format!("It is decision {} of its rollout, not {}.", draft.number, receipt.number));
    }
    (draft.sentence != receipt.sentence)
        .then(|| format!("Decided again, the sentence is: {}", draft.sentence))
}

/// The first place where two values differ, with both, compared as written: floats by their shortest exact form.
fn difference(at: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            x.iter().zip(y.values()).find_map(|((key, x), y)| difference(&format!("{at}/{key}"), x, y))
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().find_map(|(index, (x, y))| difference(&format!("{at}/{index}"), x, y))
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => {
            let (a, b) = (a.to_string(), b.to_string());
            let at = if at.is_empty() { "the top".to_owned() } else { at.to_owned() };
            (a != b).then_some((at, a, b))
        }
    }
}
