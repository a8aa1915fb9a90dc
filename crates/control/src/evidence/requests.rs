//! Requests between their start and the age at which they count, and what each metric reads off them.
//!
//! A request counts with its state at a fixed age, not when it ends: failures are often faster than
//! answers, and an arm that is only slower would look as if it failed more.

use serde::{Deserialize, Serialize};

use super::plan::EARLY;
use crate::event::{Call, Request};
use crate::ids::{Span, Timestamp, Unit};
use crate::metric::{Builtin, Status};

/// No rollout compares this.
pub(crate) const NOBODY: u32 = u32::MAX;

/// One flag served for a request, and the comparison it is part of.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The baseline series of (flag, variant).
    pub(crate) series: u32,
    /// The rollout's slot, or [`NOBODY`].
    pub(crate) roll: u32,
    pub(crate) stratum: u16,
    pub(crate) new: bool,
    /// Request blocks it has entered, one bit per class.
    pub(crate) entered: u16,
    /// Late metrics it has a value for, one bit per guardrail (the first 32).
    pub(crate) labelled: u32,
    /// Late metrics for which it has matured, one bit per guardrail.
    pub(crate) matured: u32,
    pub(crate) unit: Unit,
}

/// What was reported about a request, as far as it was told.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Negative: none.
    pub(crate) duration: Span,
    /// Negative: none.
    pub(crate) first_token: Span,
    /// How it ended.
    pub(crate) status: Option<Status>,
    /// Negative: none.
    pub(crate) tokens_in: i64,
    /// Negative: none.
    pub(crate) tokens_out: i64,
    /// Not a number: none.
    pub(crate) cost: f64,
}

/// A value that came late, waiting for its request or unit to mature.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct LateValue {
    pub(crate) roll: u32,
    pub(crate) guard: u16,
    pub(crate) stratum: u16,
    pub(crate) y: f64,
    pub(crate) size: f64,
}

/// A request on its way into the blocks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The number of the environment.
    pub(crate) place: u16,
    pub(crate) start: Timestamp,
    /// When it is forgotten.
    pub(crate) until: Timestamp,
    /// An exposure with the request's id said that it started: its start was known before its end.
    pub(crate) announced: bool,
    pub(crate) first: Option<Link>,
    pub(crate) more: Vec<Link>,
    pub(crate) report: Option<Report>,
    pub(crate) late: Vec<LateValue>,
}

impl Pending {
    /// A request nothing is known of but its start.
    pub(crate) fn new(place: u16, start: Timestamp) -> Self {
        Self {
            place,
            start,
            until: start,
            announced: false,
            first: None,
            more: Vec::new(),
            report: None,
            late: Vec::new(),
        }
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.first.iter().chain(&self.more)
    }

    /// Whether it will enter the blocks: it said that it starts, or that it ended.
    pub(crate) fn countable(&self) -> bool {
        self.announced || self.report.is_some()
    }

    /// The request without what refers to it: enough to tell its ages.
    pub(crate) fn head(&self) -> Self {
        let new = Self::new(self.place, self.start);
        Self { until: self.until, announced: self.announced, report: self.report, ..new }
    }

    pub(crate) fn add(&mut self, link: Link) {
        match self.first {
            None => self.first = Some(link),
            Some(_) => self.more.push(link),
        }
    }

    pub(crate) fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.first.iter_mut().chain(&mut self.more)
    }
}

impl Report {
    /// What an event says, or `None` if its numbers are impossible.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let Request { duration, first_token, status, tokens_in, tokens_out, cost, .. } = *request;
        Self::new([Some(duration), first_token], Some(status), [tokens_in, tokens_out], cost)
    }

    /// What one part of a call says, or `None` if its numbers are impossible.
    pub(crate) fn part(call: &Call) -> Option<Self> {
        let Call { duration, first_token, status, tokens_in, tokens_out, cost, .. } = *call;
        Self::new([duration, first_token], status, [tokens_in, tokens_out], cost)
    }

    fn new(
        times: [Option<Span>; 2],
        status: Option<Status>,
        tokens: [Option<u32>; 2],
        cost: Option<f64>,
    ) -> Option<Self> {
        let sound = times.iter().flatten().all(|time| time.0 >= 0)
            && cost.is_none_or(|cost| cost.is_finite() && cost >= 0.0);
        let [duration, first_token] = times.map(|time| time.unwrap_or(Span(-1)));
        let [tokens_in, tokens_out] = tokens.map(|count| count.map_or(-1, i64::from));
        let cost = cost.unwrap_or(f64::NAN);
        sound.then_some(Self { duration, first_token, status, tokens_in, tokens_out, cost })
    }

    /// What is known with another part added. What was said first stays.
    pub(crate) fn with(self, part: Self) -> Self {
        let number = |first: i64, second: i64| if first >= 0 { first } else { second };
        Self {
            duration: Span(number(self.duration.0, part.duration.0)),
            first_token: Span(number(self.first_token.0, part.first_token.0)),
            status: self.status.or(part.status),
            tokens_in: number(self.tokens_in, part.tokens_in),
            tokens_out: number(self.tokens_out, part.tokens_out),
            cost: if self.cost.is_nan() { part.cost } else { self.cost },
        }
    }

    /// How long it took, where that is known.
    pub(crate) fn lasted(&self) -> Option<Span> {
        (self.duration.0 >= 0).then_some(self.duration)
    }

    /// How the request ended by the rules of the rollout: what takes longer than the timeout is a timeout,
    /// at that time. `None`: neither its end nor its length is known.
    fn ended(&self, timeout: Span) -> Option<Ended> {
        match self.lasted() {
            Some(after) if after < timeout => Some(Ended { status: self.status, after: Some(after) }),
            Some(_) => Some(Ended { status: Some(Status::Timeout), after: Some(timeout) }),
            None => self.status.map(|status| Ended { status: Some(status), after: None }),
        }
    }
}

/// How a request ended, as far as it was told.
#[derive(Clone, Copy)]
struct Ended {
    status: Option<Status>,
    after: Option<Span>,
}

/// What a metric reads off a request at an age. `None`: no value in this metric.
///
/// An announced request that was not reported counts as still running in every metric but `unreported`:
/// silence is a signal of its own, and counting it as an error would let a lost report roll a rollout back.
pub(crate) fn value(
    metric: Builtin,
    announced: bool,
    report: Option<&Report>,
    age: Span,
    timeout: Span,
) -> Option<f64> {
    if metric == Builtin::Unreported {
        return announced.then(|| flag(report.is_none()));
    }
    let ended = report.and_then(|report| report.ended(timeout));
    // What ends later than the age is still running at it.
    let running = report.is_none() || ended.is_some_and(|ended| ended.after.is_some_and(|after| after > age));
    let judged = |counts: &dyn Fn(Status, Option<Span>) -> bool| match ended {
        _ if running => Some(0.0),
        Some(Ended { status: Some(status), after }) => Some(flag(counts(status, after))),
        Some(Ended { status: None, .. }) | None => None,
    };
    match metric {
        Builtin::ErrorRate => judged(&|status, _| status.counts_against()),
        Builtin::EarlyFailure => {
            judged(&|status, after| status.counts_against() && after.is_some_and(|after| after <= EARLY))
        }
        Builtin::StatusRate(of) => judged(&|status, _| status == of),
        // Answered by the return above.
        Builtin::Unreported => None,
        Builtin::Latency => match ended {
            _ if running => Some(millis(age)),
            Some(Ended { status: Some(Status::Ok) | None, after }) => after.map(millis),
            // A timeout has the timeout as its latency: dropping it would make a model look fast that
            // finishes only the easy requests.
            Some(Ended { status: Some(Status::Timeout), .. }) => Some(millis(timeout.min(age))),
            Some(Ended { status: Some(_), .. }) | None => None,
        },
        Builtin::TimeToFirstToken => {
            let first = report.map_or(Span(-1), |r| r.first_token);
            match first {
                Span(0..) if first <= age => Some(millis(first)),
                _ if running => Some(millis(age)),
                _ => None,
            }
        }
        Builtin::TokensIn => amount(report, ended, running, |report| report.tokens_in as f64),
        Builtin::TokensOut => amount(report, ended, running, |report| report.tokens_out as f64),
        Builtin::Cost => amount(report, ended, running, |report| report.cost),
    }
}

fn amount(
    report: Option<&Report>,
    ended: Option<Ended>,
    running: bool,
    read: impl Fn(&Report) -> f64,
) -> Option<f64> {
    let y = read(report.filter(|_| !running)?);
    let status = ended.and_then(|ended| ended.status);
    (matches!(status, Some(Status::Ok) | None) && y >= 0.0).then_some(y)
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn millis(span: Span) -> f64 {
    span.0 as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Span = Span::seconds(60);

    fn report(status: Status, seconds: i64) -> Report {
        Report {
            duration: Span::seconds(seconds),
            first_token: Span::seconds(1),
            status: Some(status),
            tokens_in: 10,
            tokens_out: 20,
            cost: f64::NAN,
        }
    }

    #[track_caller]
    fn check(metric: Builtin, report: Option<Report>, age: i64, expected: Option<f64>) {
        assert_eq!(value(metric, true, report.as_ref(), Span::seconds(age), TIMEOUT), expected);
    }

    #[test]
    fn a_request_counts_with_its_state_at_the_age() {
        let slow = Some(report(Status::Ok, 10));
        let fails = Some(report(Status::Malformed, 5));
        check(Builtin::ErrorRate, slow, 4, Some(0.0));
        check(Builtin::ErrorRate, fails, 4, Some(0.0));
        check(Builtin::ErrorRate, fails, 5, Some(1.0));
        check(Builtin::ErrorRate, None, 60, Some(0.0));
        check(Builtin::Latency, slow, 4, Some(4_000.0));
        check(Builtin::Latency, slow, 20, Some(10_000.0));
        check(Builtin::Latency, fails, 20, None);
        check(Builtin::TokensOut, slow, 4, None);
        check(Builtin::TokensOut, slow, 10, Some(20.0));
        check(Builtin::Cost, slow, 10, None);
        check(Builtin::TimeToFirstToken, slow, 4, Some(1_000.0));
    }

    #[test]
    fn parts_of_a_call_count_for_what_they_say() {
        let call = |duration: Option<i64>, status: Option<Status>, tokens: Option<u32>| Call {
            id: crate::ids::Fingerprint(1),
            about: Vec::new(),
            start: Timestamp(0),
            duration: duration.map(Span::seconds),
            first_token: None,
            status,
            tokens_in: tokens,
            tokens_out: None,
            cost: None,
        };
        let part = |call: Call| Report::part(&call).unwrap();
        let all = |report: Report, expected: [Option<f64>; 3]| {
            let read = |metric| value(metric, false, Some(&report), TIMEOUT, TIMEOUT);
            let got = [Builtin::ErrorRate, Builtin::Latency, Builtin::TokensIn].map(read);
            assert_eq!(got, expected, "{report:?}");
        };
        let error = part(call(None, Some(Status::UpstreamError), None));
        let lasted = part(call(Some(3), None, None));
        let tokens = part(call(None, None, Some(7)));
        all(error, [Some(1.0), None, None]);
        all(lasted, [None, Some(3_000.0), None]);
        all(tokens, [None, None, Some(7.0)]);
        all(lasted.with(error).with(tokens), [Some(1.0), None, None]);
        let success = part(call(None, Some(Status::Ok), None));
        all(tokens.with(success).with(lasted), [Some(0.0), Some(3_000.0), Some(7.0)]);
        all(success.with(error), [Some(0.0), None, None]);
        all(part(call(Some(100), None, None)), [Some(1.0), Some(60_000.0), None]);
        let early = part(call(Some(1), Some(Status::UpstreamError), None));
        assert_eq!(value(Builtin::EarlyFailure, false, Some(&early), TIMEOUT, TIMEOUT), Some(1.0));
        assert_eq!(value(Builtin::EarlyFailure, false, Some(&error), TIMEOUT, TIMEOUT), Some(0.0));
        assert!(Report::part(&call(Some(-1), None, None)).is_none());
    }

    #[test]
    fn what_takes_longer_than_the_timeout_is_one() {
        let endless = Some(report(Status::Ok, 100));
        check(Builtin::ErrorRate, endless, 60, Some(1.0));
        check(Builtin::StatusRate(Status::Timeout), endless, 60, Some(1.0));
        check(Builtin::Latency, endless, 60, Some(60_000.0));
        check(Builtin::ErrorRate, endless, 59, Some(0.0));
    }

    #[test]
    fn silence_is_a_metric_of_its_own() {
        check(Builtin::Unreported, None, 60, Some(1.0));
        check(Builtin::Unreported, Some(report(Status::Ok, 1)), 60, Some(0.0));
        assert_eq!(value(Builtin::Unreported, false, None, TIMEOUT, TIMEOUT), None);
        check(Builtin::EarlyFailure, Some(report(Status::UpstreamError, 2)), 2, Some(1.0));
        check(Builtin::EarlyFailure, Some(report(Status::UpstreamError, 3)), 60, Some(0.0));
    }
}
