//! What is counted once, refused, or found to be full.

use ensign_control::event::{Event, Fate, Identity, Subject, What};
use ensign_control::evidence::watch::Randomised;
use ensign_control::evidence::{Engine, Limits, Part, Record};
use ensign_control::ids::{Fingerprint, Span, Timestamp, Unit};
use ensign_control::metric::{Better, Builtin, MetricRef, Shape, Status};

use crate::kit::{ALLOCATION, Call, T0, builtin, custom, key, place, rollout, stratum, watch};

fn call(n: u128, new: bool) -> Call {
    Call {
        unit: Unit(n << 100 | n),
        request: Fingerprint(n << 90 | n),
        new,
        epoch: 1,
        start: T0,
        seconds: 1.0,
        status: Status::Ok,
        tokens: 1,
    }
}

fn exposure(identity: Identity, time: Timestamp, call: &Call) -> Event {
    Event { identity, time, what: What::Exposure { served: call.served(), request: None } }
}

fn numbered(seq: u64, call: &Call) -> Event {
    exposure(Identity::Sequence { source: Fingerprint(3), seq }, T0, call)
}

fn named(id: u128, time: Timestamp) -> Event {
    exposure(Identity::Id(Fingerprint(id)), time, &call(id, false))
}

struct Bench {
    engine: Engine,
    position: u64,
}

impl Bench {
    fn new(limits: Limits, randomised: Randomised) -> Self {
        let guards =
            vec![builtin(Builtin::ErrorRate, 0.5), custom("rating", Shape::Rating, Better::Higher, 0.5)];
        let mut bench = Self { engine: Engine::new(limits), position: 0 };
        let watch = Box::new(watch(randomised, 0.01, guards));
        bench.apply(&Record::Watch { watch, stratum: stratum(1, 50, T0) });
        bench
    }
    fn apply(&mut self, record: &Record) -> Vec<Fate> {
        self.position += 1;
        self.engine.apply(self.position, record).fates
    }
    #[track_caller]
    fn check(&mut self, received: Timestamp, events: Vec<Event>, expected: &[Fate]) {
        let fates = self.apply(&Record::Batch { place: place(), received, events });
        assert_eq!(fates, expected);
    }
    /// As after a crash: only the checkpoint is left.
    fn restart(&mut self) {
        let parts: Vec<Part> = self.engine.checkpoint().parts().collect();
        self.engine = Engine::restore(Limits::default(), parts).expect("own parts restore");
        assert_eq!(self.engine.position(), self.position);
    }
}

use Fate::{Accepted, BadValue, Duplicate, Full, TooOld, Unattributed};

#[test]
fn repeats_are_recognised_across_restarts() {
    let mut bench = Bench::new(Limits::default(), Randomised::Unit);
    let a = call(1, false);
    bench.check(
        T0,
        vec![numbered(5, &a), numbered(3, &a), numbered(5, &a)],
        &[Accepted, Accepted, Duplicate],
    );
    bench.check(T0, vec![named(1, T0), named(1, T0)], &[Accepted, Duplicate]);
    bench.restart();
    bench.check(T0, vec![numbered(3, &a), numbered(4, &a), named(1, T0)], &[Duplicate, Accepted, Duplicate]);
    let evidence = bench.engine.evidence(&rollout()).unwrap();
    assert_eq!(evidence.health.exposures, [4, 0]);
}

#[test]
fn what_is_too_old_to_tell_is_refused() {
    let mut bench = Bench::new(Limits::default(), Randomised::Unit);
    let day = Span::seconds(24 * 3_600);
    bench.check(T0 + day, vec![named(1, T0), named(2, T0 - Span(1))], &[Accepted, TooOld]);
    bench.check(T0 + day + Span(1), vec![named(1, T0)], &[TooOld]);
}

#[test]
fn decisions_of_unknown_strata_are_not_guessed() {
    let mut bench = Bench::new(Limits::default(), Randomised::Unit);
    let mut stray = call(1, true);
    stray.epoch = 9;
    let mut elsewhere = exposure(Identity::Id(Fingerprint(8)), T0, &call(2, true));
    if let What::Exposure { served, .. } = &mut elsewhere.what {
        served[0].split = None;
    }
    bench.check(T0, vec![numbered(1, &stray), elsewhere], &[Unattributed, Accepted]);
    let evidence = bench.engine.evidence(&rollout()).unwrap();
    assert_eq!(evidence.health.refused, vec![("unknown_stratum".to_owned(), 1)]);
    assert_eq!(evidence.health.exposures, [0, 0]);
    assert_eq!(ALLOCATION, call(1, true).served()[0].split.unwrap().0);
}

#[test]
fn a_unit_in_both_arms_of_a_stratum_is_out() {
    let mut bench = Bench::new(Limits::default(), Randomised::Unit);
    bench.check(T0, vec![numbered(1, &call(1, true)), numbered(2, &call(1, false))], &[Accepted, Accepted]);
    let evidence = bench.engine.evidence(&rollout()).unwrap();
    assert_eq!((evidence.health.crossed_units, evidence.ratio.units), (1, [0, 0]));
    // In another stratum the same unit may well be in the other arm.
    bench.apply(&Record::Stratum { rollout: rollout(), stratum: stratum(2, 60, T0) });
    let mut moved = call(2, false);
    bench.check(T0, vec![numbered(3, &moved)], &[Accepted]);
    (moved.epoch, moved.new) = (2, true);
    bench.check(T0, vec![numbered(4, &moved)], &[Accepted]);
    assert_eq!(bench.engine.evidence(&rollout()).unwrap().health.crossed_units, 1);
}

#[test]
fn full_tables_refuse_and_hold() {
    let limits = Limits { units: 2, ..Limits::default() };
    let mut bench = Bench::new(limits, Randomised::Unit);
    let units: Vec<Call> = (1..=3).map(|n| call(n, false)).collect();
    let events = (1..).zip(&units).map(|(seq, unit)| numbered(seq, unit)).collect();
    bench.check(T0, events, &[Accepted, Accepted, Full]);
    assert!(bench.engine.evidence(&rollout()).unwrap().health.units_full);
    // Room is made by erasing; the event that was refused may come again.
    bench.apply(&Record::Erase { place: place(), unit: units[0].unit });
    bench.check(T0, vec![numbered(3, &units[2])], &[Accepted]);
    assert_eq!(bench.engine.held(&place()).units, 2);
    bench.apply(&Record::Forget { rollout: rollout() });
    assert_eq!(bench.engine.held(&place()).units, 0);
    assert!(bench.engine.evidence(&rollout()).is_none());
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let mut bench = Bench::new(Limits::default(), Randomised::Unit);
    let a = call(1, true);
    let mut seq = 10;
    let mut rate = |metric: &str, value: f64, weight: f64, to: Subject| {
        seq += 1;
        let metric = MetricRef::Custom(key(metric));
        let what = What::Outcome { metric, value, weight, to };
        Event { identity: Identity::Sequence { source: Fingerprint(3), seq }, time: T0, what }
    };
    let unit = || Subject { unit: Some(a.unit), ..Subject::default() };
    let events = vec![
        numbered(1, &a),
        rate("rating", 4.0, 1.0, unit()),
        rate("rating", 9.0, 1.0, unit()),
        rate("rating", f64::NAN, 1.0, unit()),
        rate("rating", 4.0, 1.0, Subject { unit: Some(Unit(77)), ..Subject::default() }),
        rate("unwatched", 4.0, 1.0, Subject { served: a.served(), ..Subject::default() }),
    ];
    bench.check(T0, events, &[Accepted, Accepted, BadValue, BadValue, Unattributed, Accepted]);
    let evidence = bench.engine.evidence(&rollout()).unwrap();
    let refused = [("bad_value".to_owned(), 1), ("no_exposure".to_owned(), 1)];
    assert_eq!(evidence.health.refused, refused);
}

#[test]
fn a_request_is_counted_once_however_it_is_reported() {
    let mut bench = Bench::new(Limits::default(), Randomised::Request);
    let a = call(1, true);
    let mut world = crate::kit::World::default();
    world.report(&a, true);
    world.exposure(&a, true);
    world.report(&a, true);
    let events: Vec<Event> = world.arrivals.into_iter().map(|(_, event)| event).collect();
    bench.check(T0 + Span::seconds(2), events, &[Accepted, Accepted, Duplicate]);
    bench.apply(&Record::Tick { now: T0 + Span::seconds(100) });
    let evidence = bench.engine.evidence(&rollout()).unwrap();
    assert_eq!(evidence.ratio.units, [0, 1]);
    assert_eq!(evidence.health.reports, [0, 1]);
    let known = bench.engine.baseline(crate::kit::FLAG, 1, &MetricRef::Builtin(Builtin::Latency)).unwrap();
    assert_eq!((known.n, known.mean), (1, 1_000.0));
}
