//! One evaluation for a client: the answer, its decision record, its attribution token, its exposure.
//!
//! Absent on purpose: any rule about who gets what. Surfaces differ only in how they write this down.

use ensign_control::event::{Event, Identity, Served, What};
use ensign_control::ids::{AllocationId, Epoch, Fingerprint, Timestamp};
use ensign_control::subject::{unit_key, unit_of, unit_word};
use ensign_control::token::{self, Token};
use ensign_eval::model::{self, Flag};
use ensign_eval::{ContextBuf, Decision, Evaluation, Reason, Trace};
use serde_json::{Map, Value as Json, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::App;
use crate::serving::{PlaceState, Serving};

/// What one evaluation gave.
pub(crate) struct Answer<'s> {
    /// From the core.
    pub(crate) evaluation: Evaluation<'s>,
    /// The flag's definition.
    pub(crate) flag: &'s Flag,
    /// What events would say of it; none where the context has no unit or nothing was served.
    pub(crate) served: Option<Served>,
}

impl<'s> Answer<'s> {
    /// Evaluates. `None`: there is no such flag.
    pub(crate) fn of(
        serving: &'s Serving,
        key: &str,
        context: &ContextBuf,
        trace: &mut impl Trace,
    ) -> Option<Self> {
        let flag = serving.flags.get(key)?.as_ref();
        let handle = serving.ruleset.flag(key)?;
        let evaluation = serving.ruleset.evaluate(handle, context, trace);
        let served = served(serving, flag, &evaluation, context);
        Some(Self { evaluation, flag, served })
    }

    /// The name of the served variant.
    pub(crate) fn variant(&self) -> Option<&'s str> {
        let index = usize::from(self.evaluation.variant?);
        self.flag.variants.get(index).map(|variant| variant.name.as_str())
    }

    /// Signed, opaque, and without the unit's key.
    pub(crate) fn token(&self, state: &PlaceState, now: Timestamp) -> Option<String> {
        let token = Token { served: vec![self.served?], use_case: None, time: now, request: None };
        Some(token::encode(&token, state.keys.tokens.first()?))
    }

    /// Notes that the unit received the variant. Only units that are compared have an exposure; the same unit in the
    /// same stratum has one, however often it asks: its id says so.
    pub(crate) fn expose(&self, app: &App, state: &PlaceState, now: Timestamp) {
        let Some(served) = self.served else { return };
        if served.split.is_none() {
            return;
        }
        let id = exposure_id(&served);
        if !state.is_new_exposure(id, now) {
            return;
        }
        let what = What::Exposure { served: vec![served], request: None };
        app.pipeline.expose(&state.place, Event { identity: Identity::Id(id), time: now, what });
    }

    /// The decision record.
    pub(crate) fn record(&self, revision: u64) -> Json {
        let Decision { allocation, epoch, share, compared, unit_missing, hash: _ } = self.evaluation.decision;
        json!({
            "flag": self.flag.key,
            "variant": self.evaluation.variant,
            "revision": revision,
            // Numbers of 64 bits do not survive every JSON reader.
            "allocation": allocation.map(|id| format!("{:016x}", id.0)),
            "epoch": allocation.map(|_| epoch),
            "share": allocation.map(|_| f64::from(share) / 1000.0),
            "compared": compared,
            "unit_missing": unit_missing,
            "reason": reason_word(&self.evaluation.reason),
        })
    }
}

/// The identity of an exposure: the same for every report of the same unit in the same stratum and arm.
pub(crate) fn exposure_id(served: &Served) -> Fingerprint {
    let mut text = Vec::with_capacity(48);
    text.extend(served.unit.0.to_le_bytes());
    text.extend(served.flag.0.to_le_bytes());
    if let Some((AllocationId(allocation), Epoch(epoch))) = served.split {
        text.extend(allocation.to_le_bytes());
        text.extend(epoch.to_le_bytes());
    }
    text.extend(served.variant.to_le_bytes());
    Fingerprint(xxh3_128(&text))
}

/// Why, in one word.
pub(crate) fn reason_word(reason: &Reason<'_>) -> &'static str {
    match reason {
        Reason::Kill => "kill",
        Reason::Off => "off",
        Reason::PrerequisiteFailed { .. } => "prerequisite_failed",
        Reason::Pin { .. } => "pin",
        Reason::TargetMatch => "target_match",
        Reason::RuleMatch { .. } => "rule_match",
        Reason::Fallthrough { .. } => "fallthrough",
        Reason::Error(_) => "error",
    }
}

/// Why, with what decided.
pub(crate) fn reason_json(reason: &Reason<'_>) -> Json {
    let mut all = Map::new();
    all.insert("kind".to_owned(), json!(reason_word(reason)));
    let mut put = |name: &str, value: Json| all.insert(name.to_owned(), value);
    match reason {
        Reason::PrerequisiteFailed { key } => put("prerequisite", json!(key)),
        Reason::Pin { id } => put("pin", json!(id)),
        Reason::RuleMatch { index, id, in_experiment, gate } => {
            put("rule", json!(id));
            put("in_experiment", json!(in_experiment));
            put("gate", json!(gate));
            put("index", json!(index))
        }
        Reason::Fallthrough { in_experiment } => put("in_experiment", json!(in_experiment)),
        Reason::Error(kind) => put("error", json!(format!("{kind:?}"))),
        Reason::Kill | Reason::Off | Reason::TargetMatch => None,
    };
    Json::Object(all)
}

fn served(
    serving: &Serving,
    flag: &Flag,
    evaluation: &Evaluation<'_>,
    context: &ContextBuf,
) -> Option<Served> {
    let variant = evaluation.variant?;
    let decision = evaluation.decision;
    let user = model::Unit::user();
    let unit = unit_of(flag, decision.allocation).unwrap_or(&user);
    let unit = serving.book.unit(&unit_word(unit), &unit_key(context, unit)?);
    let split = decision.allocation.filter(|_| decision.compared);
    let split = split.map(|id| (AllocationId(id.0), Epoch(decision.epoch)));
    Some(Served { flag: *serving.ids.get(&flag.key)?, variant, split, unit })
}

/// Why, for people.
pub(crate) fn sentence(reason: &Reason<'_>) -> String {
    match reason {
        Reason::Kill => "the flag is killed: everyone gets this".to_owned(),
        Reason::Off => "the flag is off".to_owned(),
        Reason::PrerequisiteFailed { key } => {
            format!("prerequisite {key} does not serve what this flag needs")
        }
        Reason::Pin { id } => format!("pin {id} holds the unit"),
        Reason::TargetMatch => "the unit is targeted individually".to_owned(),
        Reason::RuleMatch { id, gate: Some(_), .. } => {
            format!("rule {id} matched and its percentage lets the unit in")
        }
        Reason::RuleMatch { id, gate: None, .. } => format!("rule {id} matched"),
        Reason::Fallthrough { .. } => "no rule matched".to_owned(),
        Reason::Error(_) => "the flag's definition is broken where this evaluation went".to_owned(),
    }
}
