//! What LaunchDarkly's SDKs report: evaluations, tracked events, contexts, summaries, diagnostics.
//!
//! A payload is an array of events, or one event. Members may come in any order, unknown ones and unknown kinds are
//! passed over, and one bad event is one bad event: a number that is not JSON (Python writes `NaN`) costs the event
//! that has it and no other. Absent on purpose: flags, rollouts and metrics; what an event means for them is said by
//! the server.

mod wire;

#[cfg(test)]
mod tests;

use ensign_control::ids::Timestamp;
use serde_json::Value as Json;

use super::ai::{self, Telling};
use crate::events::pieces;
use wire::{Wire, WireContext};

/// A payload, read.
#[derive(Debug, Default)]
pub struct Payload {
    /// The events that could be read, in order.
    pub events: Vec<Event>,
    /// Events that could not be read.
    pub unreadable: u32,
    /// Events of kinds that this server does not know.
    pub unknown: u32,
    /// Diagnostic objects that came among the events, which one SDK does after a failed post.
    pub diagnostics: Vec<Diagnostic>,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    /// Its number in the payload, from 0.
    pub index: u32,
    /// When it happened, by the client's clock; none where it does not say.
    pub at: Option<Timestamp>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// A flag was evaluated, and the evaluation reported on its own.
    Evaluated(Evaluated),
    /// An application reported something.
    Tracked(Tracked),
    /// The AI SDK reported something about a model call.
    Told(Json, Telling),
    /// A context was seen.
    Context(Json),
    /// How often which flag gave what.
    Summary(Vec<Count>),
    /// Something that is only counted.
    Other(&'static str),
}

/// One evaluation.
#[derive(Debug)]
pub struct Evaluated {
    /// The flag.
    pub flag: String,
    /// The index of the variation; none: the caller's own default.
    pub variation: Option<u16>,
    /// The flag's version; none: the SDK knew no such flag.
    pub version: Option<u64>,
    /// Which rule decided; none where the event does not say.
    pub rule: Option<Rule>,
    /// Who it was evaluated for.
    pub context: Json,
}

/// Which rule of a flag decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The rule with this id.
    Id(String),
    /// The end of the rules.
    Fallthrough,
    /// Something else: off, a target, a prerequisite, an error.
    Other,
}

/// Something that an application reported.
#[derive(Debug)]
pub struct Tracked {
    /// The event's name.
    pub key: String,
    /// Its number.
    pub value: Option<f64>,
    /// About whom.
    pub context: Json,
}

/// How often a flag gave one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The flag.
    pub flag: String,
    /// The index of the variation; none: the caller's own default.
    pub variation: Option<u16>,
    /// The flag's version; none: the SDK knew no such flag.
    pub version: Option<u64>,
    /// How often.
    pub count: u64,
}

/// What an SDK says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostic {
    /// Tells the client object apart from others of the same process.
    pub id: Option<String>,
    /// The SDK's name; only the first diagnostic has it.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it runs on, such as `Linux`.
    pub platform: Option<String>,
    /// Events it had to drop since its last diagnostic.
    pub dropped: u64,
    /// Failed attempts to connect to the stream since its last diagnostic.
    pub failed_streams: u64,
}

/// Why a body is no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// Reads a payload.
///
/// # Errors
/// [`Unreadable`] only when the text cannot be divided into events at all.
pub fn payload(body: &[u8]) -> Result<Payload, Unreadable> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let texts = match text.as_bytes().first() {
        Some(b'[') => pieces::elements(text).ok_or(Unreadable)?,
        Some(b'{') => {
            pieces::members(text).ok_or(Unreadable)?;
            vec![text]
        }
        _ => return Err(Unreadable),
    };
    let mut payload = Payload::default();
    for (index, text) in (0_u32..).zip(texts) {
        match serde_json::from_str::<Wire>(text) {
            Ok(wire) => payload.take(index, wire, text),
            Err(_) => payload.unreadable += 1,
        }
    }
    Ok(payload)
}

/// Reads one diagnostic object; what it does not say stays empty.
///
/// # Errors
/// [`Unreadable`] when the body is not a JSON object.
pub fn diagnostic(body: &[u8]) -> Result<Diagnostic, Unreadable> {
    let wire: wire::WireDiagnostic = serde_json::from_slice(body).map_err(|_| Unreadable)?;
    Ok(wire.read())
}

impl Payload {
    fn take(&mut self, index: u32, wire: Wire, text: &str) {
        if wire.kind.starts_with("diagnostic") {
            match diagnostic(text.as_bytes()) {
                Ok(diagnostic) => self.diagnostics.push(diagnostic),
                Err(Unreadable) => self.unreadable += 1,
            }
            return;
        }
        let at = wire.creation_date.or(wire.end_date).and_then(millis);
        match what(wire) {
            Some(Ok(what)) => self.events.push(Event { index, at, what }),
            Some(Err(Unreadable)) => self.unreadable += 1,
            None => self.unknown += 1,
        }
    }

    /// The latest time of the payload by the client's clock.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        self.events.iter().filter_map(|event| event.at).max()
    }
}

/// `None`: a kind that is not known.
fn what(wire: Wire) -> Option<Result<What, Unreadable>> {
    let kind = wire.kind.clone();
    Some(match kind.as_str() {
        "feature" => evaluated(wire),
        "custom" => tracked(wire),
        "index" | "identify" => context(wire.context, wire.user).map(What::Context),
        "summary" => Ok(What::Summary(wire.counts())),
        "click" | "pageview" => goal(wire),
        "debug" => Ok(What::Other("debug")),
        "migration_op" => Ok(What::Other("migration_op")),
        _ => return None,
    })
}

fn evaluated(wire: Wire) -> Result<What, Unreadable> {
    let rule = wire.reason.map(|reason| match reason.kind.as_str() {
        "RULE_MATCH" => reason.rule_id.map_or(Rule::Other, Rule::Id),
        "FALLTHROUGH" => Rule::Fallthrough,
        _ => Rule::Other,
    });
    Ok(What::Evaluated(Evaluated {
        flag: wire.key.ok_or(Unreadable)?,
        variation: wire.variation,
        version: wire.version,
        rule,
        context: context(wire.context, wire.user)?,
    }))
}

fn tracked(wire: Wire) -> Result<What, Unreadable> {
    let key = wire.key.ok_or(Unreadable)?;
    // Some SDKs send only the keys of an old user's context.
    let context = match context(wire.context, wire.user) {
        Ok(context) => context,
        Err(Unreadable) => of_keys(wire.context_keys.as_ref()).ok_or(Unreadable)?,
    };
    let value = wire.metric_value;
    if let Some(telling) = ai::telling(&key, value, wire.data.as_ref()) {
        return Ok(What::Told(context, telling));
    }
    Ok(What::Tracked(Tracked { key, value, context }))
}

/// A goal that a browser saw reached: a tracked event of its key, without a number.
fn goal(wire: Wire) -> Result<What, Unreadable> {
    let key = wire.key.ok_or(Unreadable)?;
    let context = match of_keys(wire.context_keys.as_ref()) {
        Some(context) => context,
        None => context(wire.context, wire.user)?,
    };
    Ok(What::Tracked(Tracked { key, value: None, context }))
}

fn context(context: Option<WireContext>, user: Option<WireContext>) -> Result<Json, Unreadable> {
    match context.or(user) {
        Some(WireContext(json)) if json.is_object() => Ok(json),
        _ => Err(Unreadable),
    }
}

/// A context of which only the keys by kind are known.
fn of_keys(keys: Option<&Json>) -> Option<Json> {
    let keys = keys?.as_object()?;
    let mut parts = serde_json::Map::new();
    for (kind, key) in keys {
        parts.insert(kind.clone(), serde_json::json!({ "key": key.as_str()? }));
    }
    if parts.is_empty() {
        return None;
    }
    parts.insert("kind".to_owned(), "multi".into());
    Some(Json::Object(parts))
}

fn millis(millis: f64) -> Option<Timestamp> {
    (millis.is_finite() && millis.abs() < 1e15).then(|| Timestamp((millis * 1_000.0).round() as i64))
}
