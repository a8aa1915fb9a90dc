//! A small world for the tests: requests with a start, an end and an arm, turned into the records of a log.

use ensign_control::event::{Event, Identity, Request, Served, Subject, What};
use ensign_control::evidence::report::Evidence;
use ensign_control::evidence::watch::{Guard, Margin, OnHarm, Randomised, Settle, Stratum, Watch};
use ensign_control::evidence::{Engine, Limits, Record};
use ensign_control::ids::{
    AllocationId, Epoch, Fingerprint, FlagId, Key, Place, RolloutId, Span, Timestamp, Unit,
};
use ensign_control::metric::{Better, Builtin, MetricRef, Shape, Statistic, Status};

pub(crate) const T0: Timestamp = Timestamp(1_800_000_000_000_000);

/// A seeded generator (SplitMix64): the tests are the same on every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }
    pub(crate) fn id(&mut self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().expect("the tests use keys")
}

pub(crate) fn place() -> Place {
    Place { project: key("default"), environment: key("production") }
}

pub(crate) fn rollout() -> RolloutId {
    RolloutId { place: place(), flag: key("model"), number: 1 }
}

pub(crate) const FLAG: FlagId = FlagId(11);
pub(crate) const ALLOCATION: AllocationId = AllocationId(22);

pub(crate) fn guard(metric: MetricRef, shape: Shape, weight: f64) -> Guard {
    Guard {
        metric,
        statistic: Statistic::Mean,
        shape,
        better: Better::Lower,
        margin: Margin::Relative(0.0),
        safe_margins: vec![],
        weight,
        on_harm: OnHarm::RollBack,
        settle: Settle::Default,
        maturity: None,
        cap: None,
    }
}

pub(crate) fn builtin(metric: Builtin, weight: f64) -> Guard {
    let shape = match metric {
        Builtin::ErrorRate | Builtin::EarlyFailure | Builtin::StatusRate(_) | Builtin::Unreported => {
            Shape::Rate
        }
        Builtin::Latency
        | Builtin::TimeToFirstToken
        | Builtin::TokensIn
        | Builtin::TokensOut
        | Builtin::Cost => Shape::Value,
    };
    guard(MetricRef::Builtin(metric), shape, weight)
}

pub(crate) fn custom(name: &str, shape: Shape, better: Better, weight: f64) -> Guard {
    Guard { better, ..guard(MetricRef::Custom(key(name)), shape, weight) }
}

pub(crate) fn watch(randomised: Randomised, alpha: f64, guards: Vec<Guard>) -> Watch {
    Watch {
        rollout: rollout(),
        flag: FLAG,
        allocation: ALLOCATION,
        control: 0,
        new: 1,
        randomised,
        timeout: Span::seconds(60),
        report_lag: Span::seconds(2),
        warmup: Span(0),
        guards,
        alpha,
        beta: 0.05,
        alpha_srm: 0.001,
        proof_per_stage: false,
    }
}

pub(crate) fn stratum(epoch: u32, percent: u32, at: Timestamp) -> Stratum {
    Stratum { epoch: Epoch(epoch), share: percent * 1_000, at }
}

/// One request of the world.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) unit: Unit,
    pub(crate) request: Fingerprint,
    pub(crate) new: bool,
    pub(crate) epoch: u32,
    pub(crate) start: Timestamp,
    pub(crate) seconds: f64,
    pub(crate) status: Status,
    pub(crate) tokens: u32,
}

impl Call {
    pub(crate) fn served(&self) -> Vec<Served> {
        let split = Some((ALLOCATION, Epoch(self.epoch)));
        vec![Served { flag: FLAG, variant: u16::from(self.new), split, unit: self.unit }]
    }
    pub(crate) fn end(&self) -> Timestamp {
        self.start + Span((self.seconds * 1e6) as i64)
    }
}

/// Events with their arrival, and the log they become.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) arrivals: Vec<(Timestamp, Event)>,
    pub(crate) records: Vec<(Timestamp, Record)>,
    ids: u128,
}

impl World {
    pub(crate) fn event(&mut self, at: Timestamp, what: What) {
        self.ids += 1;
        let id = Fingerprint(self.ids.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        self.arrivals.push((at, Event { identity: Identity::Id(id), time: at, what }));
    }

    pub(crate) fn exposure(&mut self, call: &Call, announced: bool) {
        let request = announced.then_some(call.request);
        self.event(call.start, What::Exposure { served: call.served(), request });
    }

    pub(crate) fn report(&mut self, call: &Call, named: bool) {
        let request = Request {
            id: named.then_some(call.request),
            served: call.served(),
            start: call.start,
            duration: call.end() - call.start,
            first_token: None,
            status: call.status,
            tokens_in: None,
            tokens_out: Some(call.tokens),
            cost: None,
        };
        self.event(call.end(), What::Request(request));
    }

    pub(crate) fn outcome(&mut self, at: Timestamp, metric: &str, value: f64, to: Subject) {
        let metric = MetricRef::Custom(key(metric));
        self.event(at, What::Outcome { metric, value, weight: 1.0, to });
    }

    /// The log: a batch and a tick each second until the given second after the start.
    pub(crate) fn log(mut self, watch: Watch, first: Stratum, seconds: i64) -> Vec<Record> {
        let mut log = vec![Record::Watch { watch: Box::new(watch), stratum: first }];
        self.arrivals.sort_by_key(|(at, event)| (*at, event.time));
        self.records.sort_by_key(|(at, _)| *at);
        let mut arrivals = self.arrivals.into_iter().peekable();
        let mut records = self.records.into_iter().peekable();
        for second in 1..=seconds {
            let now = T0 + Span::seconds(second);
            while let Some((_, record)) = records.next_if(|(at, _)| *at <= now) {
                log.push(record);
            }
            let mut events = Vec::new();
            while let Some((_, event)) = arrivals.next_if(|(at, _)| *at <= now) {
                events.push(event);
            }
            if !events.is_empty() {
                log.push(Record::Batch { place: place(), received: now, events });
            }
            log.push(Record::Tick { now });
        }
        log
    }
}

pub(crate) fn fold(log: &[Record]) -> Engine {
    let mut engine = Engine::new(Limits::default());
    for (position, record) in (1..).zip(log) {
        engine.apply(position, record);
    }
    engine
}

pub(crate) fn seen(engine: &Engine) -> Evidence {
    engine.evidence(&rollout()).expect("the rollout is watched")
}
