//! From what was sent to what is counted: keys become ids, units become hashes, tokens become decisions.

use std::borrow::Cow;

use ensign_control::event::{Event, Identity, Request, Served, Subject, What};
use ensign_control::ids::{AllocationId, Epoch, Fingerprint, Key, Place, Timestamp, Unit};
use ensign_control::metric::{Metric, MetricRef, Shape};
use ensign_control::token::{self, Token};
use ensign_eval::model;
use ensign_protocol::events::{
    self, Amount, Batch, Clocks, Decision, EventId, Read, Refused, Time, UnitName, VariantName, Who,
};

use super::book::{FlagBook, PlaceBook};

/// The unit that is randomised when every request is dealt anew.
const REQUEST: &str = "request";

/// A batch, resolved: events to log, and for each one sent where it went.
pub(super) struct Resolved {
    /// What is logged, in the order sent.
    pub(super) events: Vec<Event>,
    /// One per event sent: none, if it is among `events`; else why it is not.
    pub(super) refused: Vec<Option<Refused>>,
    /// What stands before an event's number in pointers.
    pub(super) prefix: &'static str,
}

/// Resolves a batch against an environment's configuration.
pub(super) fn batch(
    book: &PlaceBook,
    batch: Batch<'_>,
    sent_at: Option<Time>,
    received: Timestamp,
) -> Resolved {
    let clocks = Clocks::new(received, batch.sent_at.or(sent_at));
    let mut events = Vec::with_capacity(batch.events.len());
    let mut refused = Vec::with_capacity(batch.events.len());
    for wire in batch.events {
        let event = wire.and_then(|wire| event(book, &wire.read(clocks)?));
        match event {
            Ok(event) => {
                events.push(event);
                refused.push(None);
            }
            Err(why) => refused.push(Some(why)),
        }
    }
    Resolved { events, refused, prefix: batch.prefix }
}

fn event(book: &PlaceBook, read: &Read<'_>) -> Result<Event, Refused> {
    let identity = match read.id {
        EventId::Free(id) => Identity::Id(book.fingerprint(id)),
        EventId::Sequence(source, seq) => Identity::Sequence { source: book.fingerprint(source), seq },
    };
    let token = read.who.token.map(|text| open(book, text)).transpose()?;
    let request = read.who.request.map(|id| book.request(id));
    let request = request.or(token.as_ref().and_then(|token| token.request));
    let served = match &token {
        Some(token) => token.served.clone(),
        None => decisions(book, &read.who)?,
    };
    let what = match read.what {
        events::What::Exposure => What::Exposure { served, request },
        events::What::Request(sent) => {
            What::Request(request_of(book, &sent, served, request, token.as_ref()))
        }
        events::What::Outcome { metric, amount } => {
            outcome(book, &read.who, served, request, metric, amount)?
        }
    };
    Ok(Event { identity, time: read.time, what })
}

fn open(book: &PlaceBook, text: &str) -> Result<Token, Refused> {
    token::decode(text, &book.keys.tokens)
        .map_err(|bad| Refused::new(bad.code(), "/token", format!("{bad}.")))
}

fn decisions(book: &PlaceBook, who: &Who<'_>) -> Result<Vec<Served>, Refused> {
    let mut served = Vec::with_capacity(who.decisions.len());
    for (at, decision) in who.decisions.iter().enumerate() {
        served.push(decided(book, who, decision, at)?);
    }
    Ok(served)
}

fn decided(book: &PlaceBook, who: &Who<'_>, decision: &Decision<'_>, at: usize) -> Result<Served, Refused> {
    let refuse =
        |code, member: &str, detail: String| Refused::new(code, format!("/decisions/{at}/{member}"), detail);
    let key = decision.flag.as_str();
    let Some(flag) = book.flags.get(key) else {
        return Err(refuse("unknown_flag", "flag", format!("There is no flag \"{key}\" in {}.", book.place)));
    };
    let variant = match &decision.variant {
        VariantName::Index(index) => Some(*index).filter(|index| usize::from(*index) < flag.variants.len()),
        VariantName::Name(name) => {
            let named =
                flag.variants.iter().position(|known| known == name).and_then(|at| u16::try_from(at).ok());
            // The number of a document's version is the index of its variant, and is reported as text.
            named.or_else(|| name.parse().ok().filter(|index| usize::from(*index) < flag.variants.len()))
        }
    };
    let Some(variant) = variant else {
        return Err(refuse("unknown_variant", "variant", format!("Flag \"{key}\" has no such variant.")));
    };
    let allocation = decision.allocation.as_ref().filter(|_| decision.compared != Some(false));
    let deployed = flag.deployed().filter(|_| decision.allocation.is_none());
    let split = match allocation {
        None => deployed,
        Some(text) => {
            let Some(id) = allocation_id(book, key, text.as_str()) else {
                let detail =
                    "An allocation is 16 hexadecimal digits or a rule's id, as the evaluation returned it.";
                return Err(refuse("unknown_allocation", "allocation", detail.into()));
            };
            let Some(epoch) = decision.epoch.map(Epoch) else {
                return Err(refuse("missing_epoch", "epoch", "An allocation comes with its epoch.".into()));
            };
            if flag.splits.get(&id).is_some_and(|(current, _)| epoch > *current) {
                let detail = format!("Epoch {} of this allocation has not been served.", epoch.0);
                return Err(refuse("unknown_epoch", "epoch", detail));
            }
            Some((id, epoch))
        }
    };
    let unit = unit_of(book, who, decision, flag, split.map(|(id, _)| id), deployed.map(|_| variant))
        .map_err(|detail| refuse("missing_unit", "unit", detail))?;
    Ok(Served { flag: flag.id, variant, split, unit })
}

/// An allocation as evaluations write it, or the id of the rule it stands at.
fn allocation_id(book: &PlaceBook, flag: &str, text: &str) -> Option<AllocationId> {
    if text.len() == 16
        && let Ok(id) = u64::from_str_radix(text, 16)
    {
        return Some(AllocationId(id));
    }
    let flag: Key = flag.parse().ok()?;
    Some(AllocationId::of(&book.place, &flag, text))
}

fn unit_of(
    book: &PlaceBook,
    who: &Who<'_>,
    decision: &Decision<'_>,
    flag: &FlagBook,
    split: Option<AllocationId>,
    by_version: Option<u16>,
) -> Result<Unit, String> {
    let kind = flag.unit_kind(split);
    let fits = |name: &&UnitName<'_>| name.kind.as_deref().is_none_or(|own| own == kind);
    // A flag that is dealt per request goes by the request's id, also beside the user's key.
    let request = who.request.filter(|_| kind == REQUEST).map(Cow::Borrowed);
    let own = decision.unit.as_ref().filter(fits).map(|name| name.key.clone());
    let shared = who.unit.filter(fits).map(|name| name.key.clone());
    let key = own.or(request).or(shared);
    // Who reports a version and not a decision has had the version before until it polled: each is a unit of its own.
    let key = key.map(|key| match by_version {
        Some(variant) => Cow::Owned(format!("{key}\u{0}{variant}")),
        None => key,
    });
    key.map(|key| book.unit(kind, &key)).ok_or_else(|| {
        format!("The flag goes by the unit \"{kind}\": send its key as `unit`, or as {{\"kind\": \"{kind}\", \"key\": …}}.")
    })
}

fn request_of(
    book: &PlaceBook,
    sent: &events::Request<'_>,
    served: Vec<Served>,
    id: Option<Fingerprint>,
    token: Option<&Token>,
) -> Request {
    let use_case = sent.use_case.or_else(|| {
        let hash = token.and_then(|token| token.use_case)?;
        book.use_case_by_hash.get(&hash).map(String::as_str)
    });
    let cost = sent.cost.or_else(|| price(book, use_case?, sent, &served));
    Request {
        id,
        served,
        start: sent.start,
        duration: sent.duration,
        first_token: sent.first_token,
        status: sent.status,
        tokens_in: sent.tokens_in,
        tokens_out: sent.tokens_out,
        cost,
    }
}

/// The cost by the use case's price table: of the model named, else of the variant that bears a model's name.
fn price(book: &PlaceBook, use_case: &str, sent: &events::Request<'_>, served: &[Served]) -> Option<f64> {
    let prices = &book.use_cases.get(use_case)?.prices;
    if prices.is_empty() || (sent.tokens_in.is_none() && sent.tokens_out.is_none()) {
        return None;
    }
    let of_variant = |served: &Served| {
        let flag = book.flags.get(book.by_id.get(&served.flag)?)?;
        prices.get(flag.variants.get(usize::from(served.variant))?)
    };
    let (per_in, per_out) = match sent.model {
        Some(model) => prices.get(model)?,
        None => served.iter().find_map(of_variant)?,
    };
    let tokens = |count: Option<u32>| f64::from(count.unwrap_or(0));
    Some((tokens(sent.tokens_in) * per_in + tokens(sent.tokens_out) * per_out) / 1e6)
}

fn outcome(
    book: &PlaceBook,
    who: &Who<'_>,
    served: Vec<Served>,
    request: Option<Fingerprint>,
    metric: &str,
    amount: Amount,
) -> Result<What, Refused> {
    let Some(metric) = book.metrics.get(metric) else {
        let detail =
            format!("There is no metric \"{metric}\"; create it with: ensign metric create {metric}");
        return Err(Refused::new("unknown_metric", "/metric", detail));
    };
    let (value, weight) = fitting(metric, amount)?;
    let unit = who.unit.map(|name| {
        let of_metric = metric.unit.as_ref().map(Key::as_str).filter(|kind| *kind != REQUEST);
        let kind = name.kind.as_deref().or(of_metric).unwrap_or(model::USER);
        book.unit(kind, &name.key)
    });
    let to = Subject { served, request, unit };
    Ok(What::Outcome { metric: MetricRef::Custom(metric.key.clone()), value, weight, to })
}

/// The value and the weight, if they fit the metric's shape.
pub(crate) fn fitting(metric: &Metric, amount: Amount) -> Result<(f64, f64), Refused> {
    let key = &metric.key;
    let bad =
        |at: &str, must: &str| Err(Refused::new("bad_value", at, format!("A value of \"{key}\" is {must}.")));
    let value = match (metric.shape, amount) {
        (Shape::Ratio, Amount::Ratio { numerator, denominator }) => {
            if !numerator.is_finite() {
                return bad("/numerator", "a finite number");
            }
            if !denominator.is_finite() || denominator <= 0.0 {
                return bad("/denominator", "over a denominator above 0");
            }
            return Ok((numerator, denominator));
        }
        (Shape::Ratio, Amount::Value(_)) => return bad("/value", "sent as `numerator` and `denominator`"),
        (_, Amount::Ratio { .. }) => return bad("/numerator", "sent as `value`"),
        (_, Amount::Value(value)) if !value.is_finite() => return bad("/value", "a finite number"),
        (_, Amount::Value(value)) => value,
    };
    let whole = value.fract() == 0.0;
    match metric.shape {
        Shape::Rate if value != 0.0 && value != 1.0 => bad("/value", "0, 1, true or false"),
        Shape::Score { min, max } if value < min || value > max => {
            bad("/value", &format!("between {min} and {max}"))
        }
        Shape::Rating if !whole || !(1.0..=5.0).contains(&value) => {
            bad("/value", "a whole number from 1 to 5")
        }
        Shape::Count if !whole || value < 0.0 => bad("/value", "a whole number from 0"),
        Shape::Value if value < 0.0 => bad("/value", "a number from 0"),
        Shape::Rate | Shape::Score { .. } | Shape::Rating | Shape::Count | Shape::Value | Shape::Ratio => {
            Ok((value, 1.0))
        }
    }
}

/// Where a key that is bound to no environment sends its events.
pub(super) fn place_of(query: &str) -> Option<Place> {
    let find = |name: &str| {
        let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        pair.and_then(|(_, value)| value.parse::<Key>().ok())
    };
    Some(Place { project: find("project")?, environment: find("environment")? })
}
