//! From members to meaning: what an event must have, whatever the configuration.

use ensign_control::ids::{Span, Timestamp};
use ensign_control::metric::Status;

use super::wire::{Decision, Text, Time, UnitName, Wire};
use super::{DECISIONS_MAX, ID_MAX, Refused, UNIT_MAX};

/// Older events are refused: repeats of them could not be recognised.
const OLDEST: Span = Span::seconds(24 * 3_600);
/// Events further in the future than this come from a wrong clock.
const FUTURE: Span = Span::seconds(300);
/// A sender's clock that is off by less than this is left alone: it may be the network.
const TOLERATED: Span = Span::seconds(2);
/// A longest request, in milliseconds: a day.
const LONGEST_MS: f64 = 86_400_000.0;

/// The clocks that an event's times are read by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clocks {
    received: Timestamp,
    /// What the sender's clock is behind by.
    skew: Span,
}

impl Clocks {
    /// Clocks of a batch: `sent_at` is the sender's when it sent, if it said so.
    #[must_use]
    pub fn new(received: Timestamp, sent_at: Option<Time>) -> Self {
        let skew = sent_at.map_or(Span(0), |sent| received - sent.0);
        let off = skew.0.unsigned_abs() > TOLERATED.0.unsigned_abs();
        Self { received, skew: if off { skew } else { Span(0) } }
    }

    fn correct(&self, time: Time) -> Timestamp {
        time.0 + self.skew
    }

    fn check(&self, at: Timestamp, member: &str) -> Result<Timestamp, Refused> {
        if at > self.received + FUTURE {
            let ahead = (at - self.received).as_seconds();
            return Err(Refused::new(
                "clock_skew",
                member,
                format!(
                    "The time is {ahead:.0} s ahead of the server's clock; send `sent_at` with the batch."
                ),
            ));
        }
        if at < self.received - OLDEST {
            return Err(Refused::new("too_old", member, "The event is older than 24 hours."));
        }
        Ok(at)
    }
}

/// How an event is recognised when it is sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventId<'a> {
    /// A free id.
    Free(&'a str),
    /// The sender's number.
    Sequence(&'a str, u64),
}

/// What an event is attributed by: whatever of it is there.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// A token.
    pub token: Option<&'a str>,
    /// Decision records.
    pub decisions: &'a [Decision<'a>],
    /// The unit.
    pub unit: Option<&'a UnitName<'a>>,
    /// The request.
    pub request: Option<&'a str>,
}

/// A request that ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Request<'a> {
    /// When it started.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Span,
    /// Time to the first token.
    pub first_token: Option<Span>,
    /// How it ended.
    pub status: Status,
    /// Tokens sent.
    pub tokens_in: Option<u32>,
    /// Tokens received.
    pub tokens_out: Option<u32>,
    /// Cost, if the sender knows it.
    pub cost: Option<f64>,
    /// The use case.
    pub use_case: Option<&'a str>,
    /// The model.
    pub model: Option<&'a str>,
}

/// An outcome's amount.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Amount {
    /// One number.
    Value(f64),
    /// A ratio's two sums.
    Ratio {
        /// What was counted.
        numerator: f64,
        /// Of how much; above 0.
        denominator: f64,
    },
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum What<'a> {
    /// Variants were received.
    Exposure,
    /// A request ended.
    Request(Request<'a>),
    /// A fact was reported.
    Outcome {
        /// The metric's key.
        metric: &'a str,
        /// How much.
        amount: Amount,
    },
}

/// An event whose form is right.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// How it is recognised.
    pub id: EventId<'a>,
    /// When it happened, by the server's clock.
    pub time: Timestamp,
    /// What it is attributed by.
    pub who: Who<'a>,
    /// What happened.
    pub what: What<'a>,
}

impl<'a> Wire<'a> {
    /// What the event says.
    ///
    /// # Errors
    /// [`Refused`] names the first member that is missing or makes no sense.
    pub fn read(&'a self, clocks: Clocks) -> Result<Read<'a>, Refused> {
        if self.v.is_some_and(|v| v != 1) {
            return Err(Refused::new(
                "unknown_version",
                "/v",
                "This server reads version 1 of the envelope.",
            ));
        }
        let id = self.identity()?;
        let time = self.time.map_or(clocks.received, |time| clocks.correct(time));
        let time = clocks.check(time, "/time")?;
        let who = self.who()?;
        let what = match self.kind.as_ref().map(Text::as_str) {
            Some("exposure") => {
                if who.token.is_none() && who.decisions.is_empty() {
                    return Err(missing("attribution", "", "An exposure has a `token` or `decisions`."));
                }
                What::Exposure
            }
            Some("request") => What::Request(self.request(clocks, time, &who)?),
            Some("outcome") => self.outcome(&who)?,
            Some(_) => {
                return Err(Refused::new("unknown_type", "/type", "A type is exposure, request or outcome."));
            }
            None => {
                return Err(missing("type", "/type", "An event has a `type`: exposure, request or outcome."));
            }
        };
        Ok(Read { id, time, who, what })
    }

    fn identity(&self) -> Result<EventId<'_>, Refused> {
        match (&self.id, &self.source, self.seq) {
            (None, Some(source), Some(seq)) => Ok(EventId::Sequence(short(source, "/source")?, seq)),
            (Some(id), None, None) => Ok(EventId::Free(short(id, "/id")?)),
            (Some(_), _, _) => {
                Err(Refused::new("two_ids", "/id", "An event has `id`, or `source` and `seq`, not both."))
            }
            (None, None, None) => Err(missing(
                "id",
                "/id",
                "An event has an `id`, or a `source` with a rising `seq`: repeats are recognised by it.",
            )),
            (None, None, Some(_)) => {
                Err(missing("source", "/source", "`seq` needs the `source` that counts."))
            }
            (None, Some(_), None) => Err(missing("seq", "/seq", "`source` needs a `seq` that rises by one.")),
        }
    }

    fn who(&self) -> Result<Who<'_>, Refused> {
        let decisions = self.decisions.as_deref().unwrap_or_default();
        if decisions.len() > DECISIONS_MAX {
            return Err(Refused::new(
                "too_many_decisions",
                "/decisions",
                format!("An event has at most {DECISIONS_MAX} decision records."),
            ));
        }
        let long = |unit: &UnitName<'_>| unit.key.is_empty() || unit.key.len() > UNIT_MAX;
        if self.unit.as_ref().is_some_and(long) {
            return Err(bad_unit("/unit".to_owned()));
        }
        if let Some(at) = decisions.iter().position(|one| one.unit.as_ref().is_some_and(long)) {
            return Err(bad_unit(format!("/decisions/{at}/unit")));
        }
        let request = self.request.as_ref().map(|id| short(id, "/request")).transpose()?;
        Ok(Who { token: self.token.as_ref().map(Text::as_str), decisions, unit: self.unit.as_ref(), request })
    }

    fn request(&self, clocks: Clocks, end: Timestamp, who: &Who<'_>) -> Result<Request<'_>, Refused> {
        if who.token.is_none() && who.decisions.is_empty() && who.request.is_none() {
            return Err(missing(
                "attribution",
                "",
                "A request has a `token`, `decisions`, or the `request` id of an exposure.",
            ));
        }
        let status = self.status.ok_or_else(|| missing("status", "/status", "A request has a `status`."))?.0;
        let duration = millis(self.duration_ms, "/duration_ms")?;
        let start = self.start.map(|start| clocks.check(clocks.correct(start), "/start")).transpose()?;
        let (start, duration) = match (start, duration) {
            (Some(start), Some(duration)) => (start, duration),
            (None, Some(duration)) => (end - duration, duration),
            (Some(start), None) if self.time.is_some() && end >= start => (start, end - start),
            (Some(_), None) if self.time.is_some() => {
                return Err(Refused::new("out_of_range", "/start", "The request ended before it started."));
            }
            (Some(_) | None, None) => {
                return Err(missing(
                    "duration",
                    "/duration_ms",
                    "A request has `duration_ms`, or `start` and `time` (its end).",
                ));
            }
        };
        let cost = positive(self.cost, "/cost")?;
        Ok(Request {
            start,
            duration,
            first_token: millis(self.ttft_ms, "/ttft_ms")?,
            status,
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            cost,
            use_case: self.use_case.as_ref().map(Text::as_str),
            model: self.model.as_ref().map(Text::as_str),
        })
    }

    fn outcome(&self, who: &Who<'_>) -> Result<What<'_>, Refused> {
        if who.token.is_none() && who.decisions.is_empty() && who.request.is_none() && who.unit.is_none() {
            return Err(missing(
                "attribution",
                "",
                "An outcome has a `token`, `decisions`, a `request` or a `unit`.",
            ));
        }
        let metric = self.metric.as_ref().map(Text::as_str);
        let metric = metric.ok_or_else(|| missing("metric", "/metric", "An outcome has a `metric`."))?;
        let amount = match (self.value, self.numerator, self.denominator) {
            (Some(value), None, None) => Amount::Value(value.0),
            (None, Some(numerator), Some(denominator)) => Amount::Ratio { numerator, denominator },
            _ => {
                return Err(missing(
                    "value",
                    "/value",
                    "An outcome has a `value`, or `numerator` and `denominator`.",
                ));
            }
        };
        Ok(What::Outcome { metric, amount })
    }
}

fn missing(what: &'static str, at: &str, detail: &str) -> Refused {
    let code = match what {
        "id" => "missing_id",
        "type" => "missing_type",
        "attribution" => "missing_attribution",
        "status" => "missing_status",
        "duration" => "missing_duration",
        "metric" => "missing_metric",
        "value" => "missing_value",
        "source" => "missing_source",
        _ => "missing_seq",
    };
    Refused::new(code, at, detail)
}

fn bad_unit(at: String) -> Refused {
    Refused::new("bad_unit", at, format!("A unit's key has 1 to {UNIT_MAX} bytes."))
}

fn short<'a>(text: &'a Text<'_>, at: &'static str) -> Result<&'a str, Refused> {
    let text = text.as_str();
    if text.is_empty() || text.len() > ID_MAX {
        return Err(Refused::new("bad_id", at, format!("It has 1 to {ID_MAX} bytes.")));
    }
    Ok(text)
}

fn positive(value: Option<f64>, at: &'static str) -> Result<Option<f64>, Refused> {
    match value {
        Some(x) if !x.is_finite() => Err(Refused::new("not_finite", at, "It must be a finite number.")),
        Some(x) if x < 0.0 => Err(Refused::new("negative", at, "It cannot be negative.")),
        other => Ok(other),
    }
}

fn millis(value: Option<f64>, at: &'static str) -> Result<Option<Span>, Refused> {
    match positive(value, at)? {
        Some(x) if x > LONGEST_MS => {
            Err(Refused::new("out_of_range", at, "It is longer than a day; the unit is milliseconds."))
        }
        other => Ok(other.map(|x| Span((x * 1_000.0).round() as i64))),
    }
}
