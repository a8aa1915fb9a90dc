//! A synthetic fleet: requests arrive, are decided, run and are reported, and the evidence is folded from
//! the reports exactly as a server would fold them. Virtual time, no sockets.
//!
//! Requests arrive as a Poisson process. Each is announced when it starts (an exposure with its request id)
//! and reported when it ends, in the batch of the tick in which that happens; a batch is followed by a look.
//! A scored request also sends its score when it ends, with the decision record it was served under.

use ensign_control::event::{Event, Identity, Request, Served, Subject, What};
use ensign_control::evidence::report::Evidence;
use ensign_control::evidence::watch::{Stratum, Watch};
use ensign_control::evidence::{Engine, Limits, Record};
use ensign_control::ids::{
    AllocationId, Epoch, Fingerprint, FlagId, Key, Place, RolloutId, Span, Timestamp, Unit,
};
use ensign_control::metric::{MetricRef, Status};

use crate::random::Random;

/// All units of an allocation.
const WHOLE: u32 = 100_000;
/// When the virtual world begins: an arbitrary whole hour.
const BEGIN: i64 = 1_767_225_600_000_000;

/// What happened to one request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Time to the first token, seconds.
    pub first_token: Option<f64>,
    /// Tokens received.
    pub tokens_out: Option<u32>,
    /// Tokens sent.
    pub tokens_in: Option<u32>,
    /// The score of an inline evaluator, if this request was scored.
    pub score: Option<f64>,
}

impl Outcome {
    /// A complete answer after `seconds`.
    pub fn ok(seconds: f64) -> Self {
        Self {
            status: Status::Ok,
            seconds,
            first_token: None,
            tokens_out: None,
            tokens_in: None,
            score: None,
        }
    }

    /// A failure of the model's provider after `seconds`.
    pub fn failed(seconds: f64) -> Self {
        Self { status: Status::UpstreamError, ..Self::ok(seconds) }
    }
}

/// Which request it is that an outcome is drawn for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Asked {
    /// Served by the new variant.
    pub new: bool,
    /// Seconds since the rollout began; negative before it.
    pub seconds: f64,
    /// How many requests the new variant has served before this one.
    pub new_before: u64,
}

/// The law a world's outcomes follow.
pub type Law<'a> = &'a (dyn Fn(&Asked, &mut Random) -> Outcome + Sync);

/// How requests come and are looked at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Traffic {
    /// Requests per second, both arms together.
    pub per_second: f64,
    /// Time between two looks.
    pub tick: Span,
    /// Seconds of traffic on control before the rollout begins: the baseline.
    pub before: f64,
    /// Whether requests are announced when they start; else only their end is reported.
    pub announced: bool,
}

/// A fleet and the evidence about it.
pub struct Fleet<'a> {
    traffic: Traffic,
    law: Law<'a>,
    /// The fold.
    pub engine: Engine,
    random: Random,
    rollout: RolloutId,
    flag: FlagId,
    allocation: AllocationId,
    timeout: Span,
    epoch: Epoch,
    share: u32,
    began: Option<Timestamp>,
    ticks: i64,
    next_arrival: f64,
    sent: u64,
    due: Vec<Vec<Event>>,
    /// The new arm's requests in the order of their start: whether they failed.
    pub failures: Vec<bool>,
    /// Every record, if they are kept.
    pub log: Option<Vec<Record>>,
}

/// The rollout every fleet is about.
pub fn rollout() -> RolloutId {
    RolloutId { place: place(), flag: key("model"), number: 1 }
}

/// A key that is known to be one.
pub fn key(text: &str) -> Key {
    text.parse().expect("keys of the simulation are letters, digits and underscores")
}

fn place() -> Place {
    Place { project: key("sim"), environment: key("production") }
}

impl<'a> Fleet<'a> {
    /// A fleet whose baseline traffic has run and whose rollout has not begun. `keep`: with its log.
    pub fn new(seed: u64, traffic: Traffic, timeout: Span, law: Law<'a>, keep: bool) -> Self {
        let rollout = rollout();
        let flag = FlagId::of(&rollout.place, &rollout.flag);
        let allocation = AllocationId::of(&rollout.place, &rollout.flag, "fallthrough");
        let slots = timeout.0 / traffic.tick.0 + 2;
        let mut fleet = Self {
            engine: Engine::new(Limits::default()),
            random: Random::new(seed),
            flag,
            allocation,
            rollout,
            epoch: Epoch(0),
            share: 0,
            began: None,
            ticks: 0,
            next_arrival: 0.0,
            sent: 0,
            due: vec![Vec::new(); usize::try_from(slots).unwrap_or(2)],
            failures: Vec::new(),
            log: keep.then(Vec::new),
            traffic,
            timeout,
            law,
        };
        fleet.next_arrival = fleet.random.exponential(1.0 / traffic.per_second);
        while fleet.seconds() < traffic.before {
            fleet.tick();
        }
        fleet
    }

    /// Seconds since the world began.
    fn seconds(&self) -> f64 {
        self.ticks as f64 * self.traffic.tick.as_seconds()
    }

    /// The time of the last look.
    pub fn now(&self) -> Timestamp {
        Timestamp(BEGIN + self.ticks * self.traffic.tick.0)
    }

    /// The epoch that is served now.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Requests the new variant has served.
    pub fn new_served(&self) -> u64 {
        self.failures.len() as u64
    }

    /// Begins the comparison with this share of the new variant, 1/100000.
    pub fn begin(&mut self, watch: Watch, share: u32) {
        let at = self.now();
        self.began = Some(at);
        self.epoch = Epoch(1);
        self.share = share;
        let stratum = Stratum { epoch: self.epoch, share, at };
        self.apply(Record::Watch { watch: Box::new(watch), stratum });
    }

    /// A new stratum begins.
    pub fn reweigh(&mut self, share: u32) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.share = share;
        let stratum = Stratum { epoch: self.epoch, share, at: self.now() };
        self.apply(Record::Stratum { rollout: self.rollout.clone(), stratum });
    }

    /// The rollout is over; everyone is served by `share` of the new variant outside any comparison.
    pub fn end(&mut self) {
        self.apply(Record::Ended { rollout: self.rollout.clone(), at: self.now() });
        self.share = 0;
    }

    /// Hands one record to the fold. `true`: evidence changed.
    pub fn apply(&mut self, record: Record) -> bool {
        let changed = self.engine.apply(self.engine.position() + 1, &record).changed;
        if let Some(log) = &mut self.log {
            log.push(record);
        }
        !changed.is_empty()
    }

    /// What is known now.
    pub fn evidence(&self) -> Option<Evidence> {
        self.engine.evidence(&self.rollout)
    }

    /// Lets one tick pass: requests start and end, their events are taken in, the guard looks. `true`: the
    /// evidence changed.
    pub fn tick(&mut self) -> bool {
        let until = (self.ticks + 1) as f64 * self.traffic.tick.as_seconds();
        while self.next_arrival < until {
            let start = self.next_arrival;
            self.next_arrival += self.random.exponential(1.0 / self.traffic.per_second);
            self.arrive(start);
        }
        let slot = self.slot(self.ticks);
        self.ticks += 1;
        let mut events = std::mem::take(&mut self.due[slot]);
        for event in &mut events {
            event.identity = Identity::Sequence { source: Fingerprint(1), seq: self.sent };
            self.sent += 1;
        }
        let now = self.now();
        if !events.is_empty() {
            let place = self.rollout.place.clone();
            self.apply(Record::Batch { place, received: now, events });
        }
        self.apply(Record::Tick { now })
    }

    fn slot(&self, tick: i64) -> usize {
        usize::try_from(tick.rem_euclid(self.due.len() as i64)).unwrap_or_default()
    }

    fn arrive(&mut self, start: f64) {
        let new = self.share > 0 && self.random.chance(f64::from(self.share) / f64::from(WHOLE));
        let began = self.began.map_or(self.traffic.before, |at| (at.0 - BEGIN) as f64 / 1e6);
        let asked = Asked { new, seconds: start - began, new_before: self.new_served() };
        let outcome = (self.law)(&asked, &mut self.random);
        if new {
            self.failures.push(outcome.status.counts_against());
        }
        let served = Served {
            flag: self.flag,
            variant: u16::from(new),
            split: (self.share > 0).then_some((self.allocation, self.epoch)),
            unit: Unit(self.random.wide()),
        };
        self.report(start, served, &outcome);
    }

    fn report(&mut self, start: f64, served: Served, outcome: &Outcome) {
        let begin = at(start);
        let id = Fingerprint(self.random.wide());
        let announced = self.traffic.announced && self.share > 0;
        if announced {
            self.send(begin, What::Exposure { served: vec![served], request: Some(id) });
        }
        let taken = Span((outcome.seconds * 1e6) as i64);
        let (status, duration) =
            if taken < self.timeout { (outcome.status, taken) } else { (Status::Timeout, self.timeout) };
        let ok = status == Status::Ok;
        let request = Request {
            id: announced.then_some(id),
            served: if announced { Vec::new() } else { vec![served] },
            start: begin,
            duration,
            first_token: outcome.first_token.map(|s| Span((s * 1e6) as i64)).filter(|s| *s < duration),
            status,
            tokens_in: outcome.tokens_in,
            tokens_out: outcome.tokens_out.filter(|_| ok),
            cost: None,
        };
        self.send(begin + duration, What::Request(request));
        if let (Some(score), true, true) = (outcome.score, ok, self.share > 0) {
            let to = Subject { served: vec![served], request: None, unit: None };
            let metric = MetricRef::Custom(key("score"));
            self.send(begin + duration, What::Outcome { metric, value: score, weight: 1.0, to });
        }
    }

    fn send(&mut self, time: Timestamp, what: What) {
        let tick = (time.0 - BEGIN).div_euclid(self.traffic.tick.0);
        let slot = self.slot(tick);
        // Numbered when it is sent.
        let identity = Identity::Sequence { source: Fingerprint(1), seq: 0 };
        self.due[slot].push(Event { identity, time, what });
    }
}

fn at(seconds: f64) -> Timestamp {
    Timestamp(BEGIN + (seconds * 1e6) as i64)
}
