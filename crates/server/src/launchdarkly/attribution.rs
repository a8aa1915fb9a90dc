//! What the reports of LaunchDarkly's SDKs mean here: exposures, calls and scores of flags, units and metrics.

use std::collections::{BTreeMap, BTreeSet};

use ensign_control::event::{About, Call, Event, Identity, Served, What};
use ensign_control::ids::{AllocationId, Epoch, Fingerprint, Key, Span, Timestamp};
use ensign_control::metric::{Metric, MetricRef, Shape, Status, ready_made};
use ensign_control::subject::{unit_key, unit_of, unit_word};
use ensign_eval::ContextBuf;
use ensign_eval::model::{self, Flag, Outcome, Value};
use ensign_protocol::events::Amount;
use ensign_protocol::launchdarkly::ai::{self, Config, Piece, Telling};
use ensign_protocol::launchdarkly::events::{self as wire, Count, Evaluated, Payload, Rule};

use super::epochs::FALLTHROUGH;
use crate::evaluation::exposure_id;
use crate::ingest::fitting;
use crate::serving::{PlaceState, Serving};

/// A client's clock that is ahead by less than this is left alone.
const TOLERATED: Span = Span::seconds(2);

/// A payload's meaning.
#[derive(Default)]
pub(super) struct Meaning {
    /// What is logged.
    pub(super) events: Vec<Event>,
    /// Exposures among them, by the id under which they are remembered.
    pub(super) exposures: Vec<Fingerprint>,
    /// How often which flag gave what.
    pub(super) counts: Vec<Count>,
    /// Events that carried a context: what a client whose contexts are wrong does not send.
    pub(super) contexts: u64,
    /// Reports that fit no metric or no flag: counted, and nothing else.
    pub(super) volume: u64,
    /// Numbers that their metric cannot have.
    pub(super) misfits: u64,
    /// Names of tracked events that no metric has.
    pub(super) unknown: BTreeMap<String, u64>,
    /// The AI SDK's name and version, if the payload says so.
    pub(super) ai_sdk: Option<String>,
}

/// What is known of the use cases of the flags that a payload's model calls name.
pub(super) type UseCases = BTreeMap<String, UseCase>;

/// The use case of a flag.
#[derive(Debug, Clone, Default)]
pub(super) struct UseCase {
    /// Its flags that a rollout moves now, the flag itself left out.
    pub(super) beside: Vec<String>,
    /// Price of a million tokens in and out, by model.
    pub(super) prices: BTreeMap<String, (f64, f64)>,
}

/// The flags that the payload's model calls name.
pub(super) fn configurations(payload: &Payload) -> impl Iterator<Item = &str> {
    payload.events.iter().filter_map(|event| match &event.what {
        wire::What::Told(_, Telling::Piece(_, config) | Telling::Score { config, .. }) => {
            Some(config.flag.as_str())
        }
        _ => None,
    })
}

/// The flag versions that the payload's evaluations name.
pub(super) fn versions(payload: &Payload) -> impl Iterator<Item = (&str, u64)> {
    payload.events.iter().filter_map(|event| match &event.what {
        wire::What::Evaluated(seen) => Some((seen.flag.as_str(), seen.version?)),
        _ => None,
    })
}

/// What a payload means, with the name that its events get.
pub(super) fn meaning(
    state: &PlaceState,
    serving: &Serving,
    payload: Payload,
    use_cases: &UseCases,
    name: &str,
    received: Timestamp,
) -> Meaning {
    // A clock that is ahead is set right by the payload's newest event; one that is behind may be a late retry.
    let ahead = payload.latest().map_or(Span(0), |latest| latest - received);
    let ahead = if ahead > TOLERATED { ahead } else { Span(0) };
    let mut reader = Reader { state, serving, use_cases, name, trials: None, meaning: Meaning::default() };
    let mut pieces: Vec<(u32, Timestamp, serde_json::Value, Piece, Config)> = Vec::new();
    for event in payload.events {
        let at = event.at.map_or(received, |at| at - ahead);
        match event.what {
            wire::What::Evaluated(seen) => {
                reader.meaning.contexts += 1;
                reader.evaluated(&seen, at);
            }
            wire::What::Tracked(tracked) => {
                reader.meaning.contexts += 1;
                reader.tracked(event.index, at, &tracked);
            }
            wire::What::Told(context, telling) => {
                reader.meaning.contexts += 1;
                match telling {
                    Telling::Piece(piece, config) => pieces.push((event.index, at, context, piece, config)),
                    Telling::Score { metric, value, config } => {
                        reader.score(event.index, at, &context, &metric, value, &config);
                    }
                    Telling::Sdk { name, version } => {
                        reader.meaning.ai_sdk = Some(format!("{name}/{version}"));
                    }
                    Telling::Usage => reader.meaning.volume += 1,
                }
            }
            wire::What::Context(_) => reader.meaning.contexts += 1,
            wire::What::Summary(counts) => reader.meaning.counts.extend(counts),
            wire::What::Other(_) => reader.meaning.volume += 1,
        }
    }
    let pieces =
        pieces.iter().map(|(index, at, context, piece, config)| (*index, *at, context, *piece, config));
    for call in ai::calls(pieces) {
        reader.call(&call);
    }
    // Whom an outcome is about has to be known before it.
    let mut meaning = reader.meaning;
    meaning.events.sort_by_key(|event| !matches!(event.what, What::Exposure { .. }));
    meaning
}

/// Whom outcomes are about, those left out whose exposure is among the events.
pub(super) fn outcomes(events: &[Event]) -> Vec<(About, Timestamp)> {
    let mut exposed = BTreeSet::new();
    let mut asked = Vec::new();
    for event in events {
        match &event.what {
            What::Exposure { served, .. } => {
                exposed.extend(served.iter().map(|served| (served.flag, served.unit)));
            }
            What::Call(Call { about, start, .. }) => asked.extend(about.iter().map(|about| (*about, *start))),
            What::Score { about, .. } => asked.extend(about.iter().map(|about| (*about, event.time))),
            What::Request(_) | What::Outcome { .. } => {}
        }
    }
    asked.retain(|(about, _)| !exposed.contains(&(about.flag, about.unit)));
    asked
}

struct Reader<'a> {
    state: &'a PlaceState,
    serving: &'a Serving,
    use_cases: &'a UseCases,
    name: &'a str,
    /// The flags that a rollout moves, once somebody has asked.
    trials: Option<Vec<&'a Flag>>,
    meaning: Meaning,
}

impl<'a> Reader<'a> {
    fn identity(&self, index: u32) -> Identity {
        Identity::Id(self.serving.book.fingerprint(&format!("launchdarkly/{}/{index}", self.name)))
    }

    fn push(&mut self, index: u32, time: Timestamp, what: What) {
        let identity = self.identity(index);
        self.meaning.events.push(Event { identity, time, what });
    }

    /// An evaluation by a split is an exposure. The first of a unit in a stratum is enough, and all have one identity.
    fn evaluated(&mut self, seen: &Evaluated, at: Timestamp) {
        let Some(served) = self.served(seen) else {
            self.meaning.volume += 1;
            return;
        };
        let id = exposure_id(&served);
        if self.state.knows_exposure(id, at) {
            return;
        }
        self.meaning.exposures.push(id);
        let what = What::Exposure { served: vec![served], request: None };
        self.meaning.events.push(Event { identity: Identity::Id(id), time: at, what });
    }

    /// What a unit received, if a split decided it and the unit is there.
    fn served(&self, seen: &Evaluated) -> Option<Served> {
        let flag = self.serving.flags.get(&seen.flag)?.as_ref();
        let variant = seen.variation.filter(|variant| usize::from(*variant) < flag.variants.len())?;
        let (rule, split) = split_of(flag, seen.rule.as_ref()?)?;
        let epoch = Epoch(self.state.epochs.get(&seen.flag, seen.version?, rule)?);
        let key: Key = flag.key.parse().ok()?;
        let allocation = AllocationId::of(self.serving.book.place(), &key, rule);
        let unit = split
            .map(|split| &split.unit)
            .or_else(|| unit_of(flag, None))
            .cloned()
            .unwrap_or_else(model::Unit::user);
        let context = ContextBuf::from_launchdarkly(&seen.context).ok()?;
        let unit = self.serving.book.unit(&unit_word(&unit), &unit_key(&context, &unit)?);
        let flag = *self.serving.ids.get(&seen.flag)?;
        Some(Served { flag, variant, split: Some((allocation, epoch)), unit })
    }

    /// A flag and its unit in a context.
    fn about(&self, flag: &Flag, variant: Option<u16>, context: &ContextBuf) -> Option<About> {
        let unit = trial(flag).map(|split| &split.unit).or_else(|| unit_of(flag, None));
        let unit = unit.cloned().unwrap_or_else(model::Unit::user);
        let unit = self.serving.book.unit(&unit_word(&unit), &unit_key(context, &unit)?);
        Some(About { flag: *self.serving.ids.get(&flag.key)?, variant, unit })
    }

    fn metric(&self, key: &str) -> Option<Metric> {
        self.serving.book.metric(key).cloned().or_else(|| ready_made(key))
    }

    fn value(&mut self, metric: &Metric, value: Option<f64>) -> Option<(f64, f64)> {
        let occurred = matches!(metric.shape, Shape::Rate | Shape::Count).then_some(1.0);
        let fits = value.or(occurred).and_then(|value| fitting(metric, Amount::Value(value)).ok());
        self.meaning.misfits += u64::from(fits.is_none());
        fits
    }

    /// An event of the application: of every flag that a rollout moves, for units that are in the context.
    fn tracked(&mut self, index: u32, at: Timestamp, tracked: &wire::Tracked) {
        let Some(metric) = self.metric(&tracked.key) else {
            self.meaning.volume += 1;
            *self.meaning.unknown.entry(tracked.key.clone()).or_default() += 1;
            return;
        };
        let Some((value, weight)) = self.value(&metric, tracked.value) else { return };
        let Ok(context) = ContextBuf::from_launchdarkly(&tracked.context) else {
            self.meaning.volume += 1;
            return;
        };
        let serving = self.serving;
        let trials = self
            .trials
            .get_or_insert_with(|| {
                serving.flags.values().map(AsRef::as_ref).filter(|flag| trial(flag).is_some()).collect()
            })
            .clone();
        let about = trials.into_iter().filter_map(|flag| self.about(flag, None, &context)).collect();
        let metric = MetricRef::Custom(metric.key);
        self.push(index, at, What::Score { about, metric, value, weight });
    }

    /// The flags that a model call used: its own, and those of its use case that a rollout moves.
    fn used(&self, context: &serde_json::Value, config: &Config) -> Vec<About> {
        let Ok(context) = ContextBuf::from_launchdarkly(context) else { return Vec::new() };
        let own = self.serving.flags.get(&config.flag);
        let own =
            own.and_then(|flag| self.about(flag, variant_of(flag, config.variation.as_deref()), &context));
        let beside = self.use_cases.get(&config.flag).into_iter().flat_map(|use_case| &use_case.beside);
        let beside = beside.filter_map(|flag| self.about(self.serving.flags.get(flag)?, None, &context));
        own.into_iter().chain(beside).collect()
    }

    fn score(
        &mut self,
        index: u32,
        at: Timestamp,
        context: &serde_json::Value,
        metric: &str,
        value: f64,
        config: &Config,
    ) {
        let Some(metric) = self.metric(metric) else {
            self.meaning.volume += 1;
            *self.meaning.unknown.entry(metric.to_owned()).or_default() += 1;
            return;
        };
        let Some((value, weight)) = self.value(&metric, Some(value)) else { return };
        let about = self.used(context, config);
        let metric = MetricRef::Custom(metric.key);
        self.push(index, at, What::Score { about, metric, value, weight });
    }

    fn call(&mut self, call: &ai::Call<'_>) {
        let about = self.used(call.context, call.config);
        if about.is_empty() {
            self.meaning.volume += 1;
            return;
        }
        let name = match &call.config.run {
            Some(run) => format!("launchdarkly/run/{run}/{}", call.config.flag),
            None => format!("launchdarkly/{}/{}", self.name, call.index),
        };
        let what = What::Call(Call {
            id: self.serving.book.request(&name),
            about,
            start: call.start,
            duration: call.duration,
            first_token: call.first_token,
            status: call.success.map(|success| if success { Status::Ok } else { Status::UpstreamError }),
            tokens_in: call.tokens_in,
            tokens_out: call.tokens_out,
            cost: self.cost(call),
        });
        let end = call.start + call.duration.unwrap_or_default();
        self.push(call.index, end, what);
    }

    fn cost(&self, call: &ai::Call<'_>) -> Option<f64> {
        if call.tokens_in.is_none() && call.tokens_out.is_none() {
            return None;
        }
        let prices = &self.use_cases.get(&call.config.flag)?.prices;
        let (per_in, per_out) = prices.get(call.config.model.as_deref()?)?;
        let tokens = |count: Option<u32>| f64::from(count.unwrap_or(0));
        Some((tokens(call.tokens_in) * per_in + tokens(call.tokens_out) * per_out) / 1e6)
    }
}

/// The split at the rule that an evaluation names, if the flag still has it. A rule that became several has numbers
/// behind its id.
fn split_of<'f>(flag: &'f Flag, rule: &'f Rule) -> Option<(&'f str, Option<&'f model::Allocation>)> {
    let id = match rule {
        Rule::Other => return None,
        Rule::Fallthrough => FALLTHROUGH,
        Rule::Id(id) => id,
    };
    let numbered = id.rsplit_once('~').filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let candidates = [Some(id), numbered.map(|(plain, _)| plain)];
    let of = |outcome: &'f Outcome| match outcome {
        Outcome::Split(split) => Some(split),
        Outcome::Fixed(_) | Outcome::Gate { .. } => None,
    };
    for candidate in candidates.into_iter().flatten() {
        if candidate == FALLTHROUGH {
            return Some((candidate, of(&flag.fallthrough)));
        }
        if let Some(rule) = flag.rules.iter().find(|rule| rule.id == candidate) {
            return Some((candidate, of(&rule.outcome)));
        }
    }
    None
}

/// The split of a flag that a rollout moves.
pub(super) fn trial(flag: &Flag) -> Option<&model::Allocation> {
    let outcomes = flag.rules.iter().map(|rule| &rule.outcome).chain([&flag.fallthrough]);
    outcomes.into_iter().find_map(|outcome| match outcome {
        Outcome::Split(split) if split.experiment => Some(split),
        Outcome::Split(_) | Outcome::Fixed(_) | Outcome::Gate { .. } => None,
    })
}

/// The variant that an AI configuration calls by this key, or that has it as its name.
fn variant_of(flag: &Flag, key: Option<&str>) -> Option<u16> {
    let key = key?;
    let called = |variant: &model::Variant| match &variant.value {
        Value::Json(json) => {
            json.pointer("/_ldMeta/variationKey").and_then(serde_json::Value::as_str) == Some(key)
        }
        Value::Bool(_) | Value::String(_) | Value::Int(_) | Value::Float(_) => false,
    };
    let at = flag.variants.iter().position(called);
    let at = at.or_else(|| flag.variants.iter().position(|variant| variant.name == key));
    at.and_then(|at| u16::try_from(at).ok())
}
