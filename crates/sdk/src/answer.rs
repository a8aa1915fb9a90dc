//! What an evaluation gave, borrowed from the ruleset, and what can be made of it.

use std::sync::Arc;

use ensign_control::event::Served;
use ensign_control::ids::{AllocationId, Epoch, Timestamp};
use ensign_control::subject::unit_key;
use ensign_control::token::{self, Token, unit_hash, use_case_hash};
use ensign_eval::model::{Value, ValueKind};
use ensign_eval::{Context, Decision, ErrorKind, Evaluation, FlagHandle, Reason};

use crate::held::Snapshot;

/// One evaluation. It borrows from the ruleset that gave it and costs nothing to copy.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'s> {
    pub(crate) evaluation: Evaluation<'s>,
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) handle: Option<FlagHandle>,
}

impl<'s> Answer<'s> {
    pub(crate) fn not_found(snapshot: &'s Snapshot) -> Self {
        let evaluation = Evaluation {
            value: None,
            variant: None,
            reason: Reason::Error(ErrorKind::FlagNotFound),
            decision: Decision::default(),
        };
        Self { evaluation, snapshot, handle: None }
    }

    /// What the code receives; none: the caller's own default.
    #[must_use]
    pub fn value(&self) -> Option<&'s Value> {
        self.evaluation.value
    }

    /// The value, if it is a string.
    #[must_use]
    pub fn str(&self) -> Option<&'s str> {
        match self.evaluation.value {
            Some(Value::String(text)) => Some(text),
            Some(Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Json(_)) | None => None,
        }
    }

    /// The value if it is a string, else `default`.
    #[must_use]
    pub fn str_or<'d>(&self, default: &'d str) -> &'d str
    where
        's: 'd,
    {
        self.str().unwrap_or(default)
    }

    /// The value if it is a boolean.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        match self.evaluation.value {
            Some(Value::Bool(value)) => Some(*value),
            Some(Value::String(_) | Value::Int(_) | Value::Float(_) | Value::Json(_)) | None => None,
        }
    }

    /// The value if it is a whole number.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self.evaluation.value {
            Some(Value::Int(value)) => Some(*value),
            Some(Value::String(_) | Value::Bool(_) | Value::Float(_) | Value::Json(_)) | None => None,
        }
    }

    /// The value if it is a number.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        match self.evaluation.value {
            Some(Value::Float(value)) => Some(*value),
            Some(Value::Int(value)) => Some(*value as f64),
            Some(Value::String(_) | Value::Bool(_) | Value::Json(_)) | None => None,
        }
    }

    /// The name of the variant.
    #[must_use]
    pub fn variant(&self) -> Option<&'s str> {
        let variants = self.snapshot.ruleset().variants(self.handle?);
        variants.get(usize::from(self.evaluation.variant?)).map(|variant| variant.name.as_str())
    }

    /// Its position in the flag's list.
    #[must_use]
    pub fn variant_index(&self) -> Option<u16> {
        self.evaluation.variant
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason<'s> {
        self.evaluation.reason
    }

    /// All of it, as the evaluator gave it.
    #[must_use]
    pub fn evaluation(&self) -> Evaluation<'s> {
        self.evaluation
    }

    /// Whether the flag's answer may differ from context to context.
    #[must_use]
    pub fn depends_on_context(&self) -> bool {
        self.handle.is_some_and(|handle| self.snapshot.ruleset().depends_on_context(handle))
    }

    /// What statistics must know about it.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.evaluation.decision
    }

    /// The ruleset it came from.
    #[must_use]
    pub fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }

    /// The revision of the flag's last change.
    #[must_use]
    pub fn flag_version(&self) -> Option<u64> {
        self.snapshot.ruleset().version(self.handle?)
    }

    /// The type of the flag's values.
    #[must_use]
    pub fn kind(&self) -> Option<ValueKind> {
        self.snapshot.info(self.handle?).map(|info| info.kind)
    }

    /// Whether a percentage decided: a split, or a rule's gate.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.evaluation.decision.allocation.is_some()
            || matches!(self.evaluation.reason, Reason::RuleMatch { gate: Some(_), .. })
    }

    /// The decision record, to report what happened later. `context` is the one it was evaluated for. None where
    /// nothing was served, or the context lacks the unit.
    #[must_use]
    pub fn record(&self, context: &impl Context) -> Option<Record> {
        let info = self.snapshot.info(self.handle?)?;
        let variant = self.evaluation.variant?;
        let decision = self.evaluation.decision;
        let (unit, kind) = info.unit(decision.allocation);
        let key = unit_key(context, &unit)?.into_owned();
        let split = decision.allocation.filter(|_| decision.compared);
        let name = self.variant()?.into();
        Some(Record {
            flag: Arc::clone(&info.key),
            variant,
            name,
            split: split.map(|id| (id.0, decision.epoch)),
            kind: kind.into(),
            key: key.into(),
        })
    }

    /// The attribution token: signed, opaque, without the unit's key. Feedback sent with it, by whomever, needs
    /// nothing else. None before the first connection of this process, and where there is no record.
    #[must_use]
    pub fn token(&self, context: &impl Context, use_case: Option<&str>, now: Timestamp) -> Option<String> {
        self.record(context)?.token(self.snapshot, use_case, now)
    }
}

/// A decision record that outlives the evaluation: what a later report is attributed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(crate) flag: Arc<str>,
    pub(crate) variant: u16,
    pub(crate) name: Box<str>,
    pub(crate) split: Option<(u64, u32)>,
    pub(crate) kind: Box<str>,
    pub(crate) key: Box<str>,
}

impl Record {
    /// The flag's key.
    #[must_use]
    pub fn flag(&self) -> &str {
        &self.flag
    }

    /// The variant's name.
    #[must_use]
    pub fn variant(&self) -> &str {
        &self.name
    }

    /// See [`Answer::token`].
    #[must_use]
    pub fn token(&self, snapshot: &Snapshot, use_case: Option<&str>, now: Timestamp) -> Option<String> {
        let signing = snapshot.signing.as_ref()?;
        let served = Served {
            flag: signing.flag(&self.flag)?,
            variant: self.variant,
            split: self.split.map(|(id, epoch)| (AllocationId(id), Epoch(epoch))),
            unit: unit_hash(signing.unit_key, &signing.place, &self.kind, &self.key),
        };
        let use_case = use_case.map(|key| use_case_hash(&signing.place, key));
        let token = Token { served: vec![served], use_case, time: now, request: None };
        Some(token::encode(&token, &signing.key))
    }
}
