//! One event at a time: deduplication, attribution, and what is remembered until it counts.

use std::collections::hash_map::Entry;

use super::dedup::{Id128, Seen};
use super::engine::{Due, Engine, unit_key};
use super::plan::Age;
use super::requests::{Link, NOBODY, Pending, Report};
use super::roll::{Entering, Reason, Roll, UnitTable};
use super::shards::Shards;
use super::units::{Exposed, UnitState};
use super::watch::{Randomised, Watch};
use crate::event::{Event, Fate, Identity, Request, Served, What};
use crate::ids::{Fingerprint, Span, Timestamp, Unit};
use crate::metric::MetricRef;

/// How long a request without a rollout waits for its report.
const IDLE: Span = Span::seconds(60);
/// How long a late label without a maturity finds its request by the request's id or unit.
const LABELS: Span = Span::seconds(3_600);
/// A clock may be off by this much before it counts as an error.
const SKEW: Span = Span::seconds(5);
/// Keeps the keys of requests and of decisions known by their unit apart.
const BY_UNIT: u128 = 0x5bd1_e995_7b93_4a1f_9e6c_63d0_876a_12bb;

/// The units of one rollout in the shards.
pub(crate) struct Units<'a> {
    pub(crate) shards: &'a mut Shards,
    pub(crate) slot: u32,
}

impl UnitTable for Units<'_> {
    fn unit(&mut self, unit: Unit) -> Option<&mut UnitState> {
        let key = unit_key(unit, self.slot);
        let shard = &mut self.shards[key.shard()];
        shard.dirty = true;
        shard.units.get_mut(&key)
    }
}

/// The flags of one event, and where each is compared.
pub(crate) struct Links {
    pub(crate) links: Vec<Link>,
    /// Some flag's stratum is not known here.
    unknown: bool,
}

impl Engine {
    /// Takes in one event.
    pub(crate) fn event(&mut self, place: u16, salt: u128, event: &Event) -> Fate {
        let Some(mark) = self.seen(salt, event) else { return Fate::Duplicate };
        let fate = match mark {
            Err(fate) => return fate,
            Ok(()) => match &event.what {
                What::Exposure { served, request } => {
                    self.exposure(place, salt, served, *request, event.time)
                }
                What::Request(request) => self.request(place, salt, request, event),
                What::Outcome { metric, value, weight, to } => {
                    self.outcome(place, salt, metric, [*value, *weight], to, event.time)
                }
                What::Call(call) => self.call(place, salt, call),
                What::Score { about, metric, value, weight } => {
                    self.score(place, salt, metric, [*value, *weight], about, event.time)
                }
            },
        };
        match fate {
            // Not counted: the sender may correct it, or send it again later.
            Fate::Full | Fate::BadValue => {}
            Fate::Accepted | Fate::Duplicate | Fate::Unattributed | Fate::TooOld => self.mark(salt, event),
        }
        fate
    }

    /// `None`: seen before. `Err`: cannot be taken.
    fn seen(&self, salt: u128, event: &Event) -> Option<Result<(), Fate>> {
        let (seen, full) = match event.identity {
            Identity::Sequence { seq: u64::MAX, .. } => return Some(Err(Fate::BadValue)),
            Identity::Sequence { source, seq } => {
                let key = Id128::new(source.0 ^ salt);
                let table = &self.shards[key.shard()].seen;
                let full = self.sources >= self.limits.sources && !table.knows(key);
                (table.source(key, seq, event.time, self.newest), full)
            }
            Identity::Id(id) => {
                let key = Id128::new(id.0 ^ salt);
                let seen = self.shards[key.shard()].seen.id(key, event.time, self.newest);
                (seen, self.ids >= self.limits.ids)
            }
        };
        match seen {
            Seen::Before => None,
            Seen::Unknown => Some(Err(Fate::TooOld)),
            Seen::Fresh if full => Some(Err(Fate::Full)),
            Seen::Fresh => Some(Ok(())),
        }
    }

    fn mark(&mut self, salt: u128, event: &Event) {
        match event.identity {
            Identity::Sequence { source, seq } => {
                let key = Id128::new(source.0 ^ salt);
                let shard = &mut self.shards[key.shard()];
                shard.dirty = true;
                self.sources += u64::from(shard.seen.mark_source(key, seq, self.newest));
            }
            Identity::Id(id) => {
                let key = Id128::new(id.0 ^ salt);
                let shard = &mut self.shards[key.shard()];
                shard.dirty = true;
                shard.seen.mark_id(key, event.time, self.newest);
                self.ids += 1;
            }
        }
    }

    /// Where each served flag is compared. The stratum comes from the decision record, never from the clock.
    pub(crate) fn links(&mut self, served: &[Served], start: Timestamp) -> Links {
        let mut links = Vec::with_capacity(served.len());
        let mut unknown = false;
        for served in served {
            let series = self.baselines.series(served.flag, served.variant);
            let unit = served.unit;
            let mut link = Link {
                series,
                roll: NOBODY,
                stratum: 0,
                new: false,
                entered: 0,
                labelled: 0,
                matured: 0,
                unit,
            };
            let found = served.split.and_then(|split| self.strata.get(&split).copied());
            match (found, served.split) {
                (Some((slot, stratum)), _) => {
                    if let Some(Some(roll)) = self.rolls.get_mut(slot as usize) {
                        let (control, new) = (roll.watch().control, roll.watch().new);
                        if served.variant == control || served.variant == new {
                            if roll.warming(stratum, start) {
                                roll.refuse(Reason::Warmup);
                            } else {
                                link.roll = slot;
                                link.stratum = stratum;
                                link.new = served.variant == new;
                            }
                        }
                    }
                }
                (None, Some((allocation, _))) => {
                    if let Some(slot) = self.running.get(&allocation)
                        && let Some(Some(roll)) = self.rolls.get_mut(*slot as usize)
                    {
                        roll.refuse(Reason::UnknownStratum);
                        unknown = true;
                    }
                }
                (None, None) => {}
            }
            links.push(link);
        }
        Links { links, unknown }
    }

    /// Whether everything these links need can be stored; nothing is changed if not.
    pub(crate) fn room(&mut self, place: u16, links: &[Link], new_request: bool) -> bool {
        let held = self.places[usize::from(place)].held;
        let compared = |link: &&Link| link.roll != NOBODY;
        let mut units = 0;
        for link in links.iter().filter(compared) {
            if self.randomised(link.roll) == Some(Randomised::Unit) {
                let key = unit_key(link.unit, link.roll);
                units += u64::from(!self.shards[key.shard()].units.contains_key(&key));
            }
        }
        let full = (units > 0 && held.units + units > self.limits.units)
            || (new_request && held.pending >= self.limits.pending && links.iter().any(|l| compared(&l)));
        if full {
            for link in links.iter().filter(compared) {
                self.refuse(link.roll, Reason::Full);
            }
        }
        !full
    }

    pub(crate) fn randomised(&self, slot: u32) -> Option<Randomised> {
        Some(self.rolls.get(slot as usize)?.as_ref()?.watch().randomised)
    }

    pub(crate) fn refuse(&mut self, slot: u32, reason: Reason) {
        if let Some(Some(roll)) = self.rolls.get_mut(slot as usize) {
            roll.refuse(reason);
        }
    }

    /// The key under which a decision is remembered: its request, or its unit where each request is one.
    pub(crate) fn key(&self, salt: u128, request: Option<Fingerprint>, links: &[Link]) -> Option<Id128> {
        match request {
            Some(request) => Some(Id128::new(request.0 ^ salt)),
            None => links
                .iter()
                .find(|link| self.randomised(link.roll) == Some(Randomised::Request))
                .map(|link| decision_key(salt, link.unit)),
        }
    }

    fn exposure(
        &mut self,
        place: u16,
        salt: u128,
        served: &[Served],
        request: Option<Fingerprint>,
        time: Timestamp,
    ) -> Fate {
        let Links { links, unknown } = self.links(served, time);
        let key = self.key(salt, request, &links);
        let known = key.is_some_and(|key| self.shards[key.shard()].pending.contains_key(&key));
        if !self.room(place, &links, key.is_some() && !known) {
            return Fate::Full;
        }
        if let Some(key) = key {
            self.remember(place, key, links.as_slice(), time, request.is_some());
        } else {
            for link in &links {
                self.expose(place, link, time, true);
            }
        }
        fate_of(&links, unknown)
    }

    /// Records a decision that was announced or reported, and exposes what it is the first sign of.
    pub(super) fn remember(
        &mut self,
        place: u16,
        key: Id128,
        links: &[Link],
        start: Timestamp,
        announced: bool,
    ) {
        let full = self.places[usize::from(place)].held.pending >= self.limits.pending;
        let shard = &mut self.shards[key.shard()];
        shard.dirty = true;
        if let Entry::Vacant(free) = shard.pending.entry(key) {
            if full {
                return;
            }
            self.places[usize::from(place)].held.pending += 1;
            free.insert(Box::new(Pending::new(place, start)));
        }
        for link in links {
            let Some(pending) = self.shards[key.shard()].pending.get_mut(&key) else { return };
            let known = pending
                .links()
                .find(|k| k.roll == link.roll && (k.roll != NOBODY || k.series == link.series));
            match known {
                Some(known) if known.new != link.new => self.refuse(link.roll, Reason::ArmMismatch),
                Some(_) => {}
                None => {
                    let was_countable = pending.countable();
                    pending.add(*link);
                    let start = pending.start;
                    self.expose(place, link, start, true);
                    self.watch_maturity(key, link, start);
                    if was_countable {
                        self.schedule(key, Some(link.roll));
                    }
                }
            }
        }
        let Some(pending) = self.shards[key.shard()].pending.get_mut(&key) else { return };
        if announced && !pending.announced {
            let counted = pending.countable();
            pending.announced = true;
            // A report that came first entered nothing yet; now its start is known earlier than its end.
            self.schedule(key, if counted { Some(NOBODY) } else { None });
        }
        self.keep(key);
    }

    /// Counts an exposure: the unit's state, the ratio check and health.
    pub(crate) fn expose(&mut self, place: u16, link: &Link, time: Timestamp, decision: bool) {
        let Some(Some(roll)) = self.rolls.get_mut(link.roll as usize) else { return };
        let first = match roll.watch().randomised {
            Randomised::Request => decision,
            Randomised::Unit => {
                let key = unit_key(link.unit, link.roll);
                let shard = &mut self.shards[key.shard()];
                shard.dirty = true;
                let now =
                    Exposed { at: time, stratum: link.stratum, new: link.new, crossed: false, matured: 0 };
                match shard.units.get_mut(&key) {
                    None => {
                        shard.units.insert(key, UnitState::new(link.roll, now));
                        self.places[usize::from(place)].held.units += 1;
                        self.mature_unit(link, time, true);
                        true
                    }
                    Some(state) => {
                        match state.in_stratum(link.stratum) {
                            Some(known) if known.new != link.new && !known.crossed => {
                                known.crossed = true;
                                roll.refuse(Reason::CrossedUnit);
                            }
                            Some(known) if time < known.at => {
                                // It was exposed earlier than was known, so it matures earlier.
                                known.at = time;
                                self.mature_unit(link, time, false);
                            }
                            Some(_) => {}
                            None => {
                                enter_stratum(state, now);
                                self.mature_unit(link, time, true);
                            }
                        }
                        false
                    }
                }
            }
        };
        if let Some(Some(roll)) = self.rolls.get_mut(link.roll as usize) {
            roll.exposed(link.stratum, link.new, time, first);
        }
    }

    fn request(&mut self, place: u16, salt: u128, request: &Request, event: &Event) -> Fate {
        let Links { links, unknown } = self.links(&request.served, request.start);
        let Some(report) = Report::of(request) else {
            for link in &links {
                self.refuse(link.roll, Reason::BadValue);
            }
            return Fate::BadValue;
        };
        let key = self.key(salt, request.id, &links).unwrap_or_else(|| own_key(salt, &event.identity));
        let known = self.shards[key.shard()].pending.get(&key);
        match known {
            Some(pending) if pending.report.is_some() => return Fate::Duplicate,
            Some(pending) if links.is_empty() && pending.first.is_none() => return Fate::Unattributed,
            None if links.is_empty() => return Fate::Unattributed,
            Some(_) | None => {}
        }
        let fresh = known.is_none();
        if !self.room(place, &links, fresh) {
            return Fate::Full;
        }
        if fresh && links.iter().all(|link| link.roll == NOBODY) {
            // Nothing compares it: only what is always kept.
            for link in &links {
                self.baselines.request(link.series, self.newest, &report);
            }
            return if unknown { Fate::Unattributed } else { Fate::Accepted };
        }
        self.remember(place, key, &links, request.start, false);
        self.report(key, report, request.start);
        Fate::Accepted
    }

    /// A report reaches its request.
    fn report(&mut self, key: Id128, report: Report, start: Timestamp) {
        let Some(pending) = self.shards[key.shard()].pending.get_mut(&key) else { return };
        let counted = pending.countable();
        pending.report = Some(report);
        let skewed = pending.announced && start + report.duration < pending.start - SKEW;
        for link in pending.links() {
            self.baselines.request(link.series, self.newest, &report);
            if let Some(Some(roll)) = self.rolls.get_mut(link.roll as usize) {
                roll.reported(link.stratum, link.new, start + report.duration);
                if skewed {
                    roll.refuse(Reason::ClockSkew);
                }
            }
        }
        if !counted {
            self.schedule(key, None);
        }
        self.complete(key);
    }

    /// Blocks that take a request on completion take it now.
    pub(super) fn complete(&mut self, key: Id128) {
        let Some(pending) = self.shards[key.shard()].pending.get_mut(&key) else { return };
        let (announced, report, start) = (pending.announced, pending.report, pending.start);
        for link in pending.links_mut() {
            let Some(Some(roll)) = self.rolls.get_mut(link.roll as usize) else { continue };
            let timeout = roll.watch().timeout;
            for class in 0..roll.core.closer.plan.classes.len() {
                if roll.core.closer.plan.classes[class] == Age::OnCompletion && link.entered >> class & 1 == 0
                {
                    enter(roll, link, class, timeout, announced, report.as_ref(), start);
                }
            }
        }
    }

    /// Puts the ages a request will reach on the list. `only`: for one rollout; with [`NOBODY`] for all, and
    /// nothing is counted as in flight a second time.
    pub(super) fn schedule(&mut self, key: Id128, only: Option<u32>) {
        let Some(pending) = self.shards[key.shard()].pending.get(&key) else { return };
        let mut last = None;
        for link in pending.links() {
            if only.is_some_and(|only| only != NOBODY && only != link.roll) {
                continue;
            }
            let Some(Some(roll)) = self.rolls.get_mut(link.roll as usize) else { continue };
            for class in 0..roll.core.closer.plan.classes.len() {
                if only != Some(NOBODY) {
                    roll.core.in_flight[class] += 1;
                }
                if let Some((_, at)) = roll.due(link.stratum, class, pending)
                    && last != Some(at)
                {
                    self.dues.add(at, Due::Request(key));
                    last = Some(at);
                }
            }
        }
    }

    /// Until when a request is remembered; grows as more is learned about it.
    fn keep(&mut self, key: Id128) {
        let Some(pending) = self.shards[key.shard()].pending.get_mut(&key) else { return };
        let kept = pending
            .links()
            .filter_map(|link| self.rolls.get(link.roll as usize)?.as_ref())
            .map(|roll| kept_for(roll.watch()))
            .max();
        let until = pending.start + kept.unwrap_or(IDLE);
        if until > pending.until {
            pending.until = until;
            self.dues.add(until, Due::Request(key));
        }
    }

    /// Something is due now.
    pub(crate) fn due(&mut self, due: Due) {
        match due {
            Due::Request(key) => self.due_request(key),
            Due::MatureRequest { id, roll, guard } => self.mature_request(id, roll, guard),
            Due::MatureUnit { unit, roll, guard, stratum } => self.due_unit(unit, roll, guard, stratum),
        }
    }

    fn due_request(&mut self, key: Id128) {
        let now = self.now;
        let shard = &mut self.shards[key.shard()];
        let Some(pending) = shard.pending.get_mut(&key) else { return };
        shard.dirty = true;
        let mut over = now > pending.until;
        if pending.countable() {
            let mut entered = pending.announced && pending.report.is_some();
            // The ages are read from the request as it is; the links change as it enters.
            let view = pending.head();
            for link in pending.links_mut() {
                let Some(Some(roll)) = self.rolls.get_mut(link.roll as usize) else { continue };
                for class in 0..roll.core.closer.plan.classes.len() {
                    if link.entered >> class & 1 == 1 {
                        continue;
                    }
                    match roll.due(link.stratum, class, &view) {
                        Some((age, at)) if at <= now => {
                            enter(roll, link, class, age, view.announced, view.report.as_ref(), view.start);
                        }
                        Some(_) | None if over => {
                            let flying = &mut roll.core.in_flight[class];
                            *flying = flying.saturating_sub(1);
                        }
                        Some(_) | None => entered = false,
                    }
                }
                entered &= !roll.labels_requests();
            }
            // It was announced, reported and counted everywhere: nothing else is expected of it.
            over |= entered;
        }
        if over {
            let place = usize::from(pending.place);
            shard.pending.remove(&key);
            self.places[place].held.pending = self.places[place].held.pending.saturating_sub(1);
        }
    }
}

fn enter(
    roll: &mut Roll,
    link: &mut Link,
    class: usize,
    age: Span,
    announced: bool,
    report: Option<&Report>,
    start: Timestamp,
) {
    link.entered |= 1 << class;
    let flying = &mut roll.core.in_flight[class];
    *flying = flying.saturating_sub(1);
    let (stratum, new, unit) = (link.stratum, link.new, link.unit);
    roll.enter(class, &Entering { stratum, new, announced, report, age, start, unit });
}

fn enter_stratum(state: &mut UnitState, now: Exposed) {
    if now.stratum > state.now.stratum {
        let before = std::mem::replace(&mut state.now, now);
        state.more().earlier.push(before);
    } else {
        // A late report of an exposure in a stratum before the newest one.
        let earlier = &mut state.more().earlier;
        let at = earlier.partition_point(|e| e.stratum < now.stratum);
        earlier.insert(at, now);
    }
}

fn fate_of(links: &[Link], unknown: bool) -> Fate {
    if unknown && links.iter().all(|link| link.roll == NOBODY) { Fate::Unattributed } else { Fate::Accepted }
}

/// The key of a decision known by its unit, where each request is a unit.
pub(crate) fn decision_key(salt: u128, unit: Unit) -> Id128 {
    Id128::new(unit.0 ^ salt ^ BY_UNIT)
}

/// The key of a request that nothing else names: the event's own identity.
fn own_key(salt: u128, identity: &Identity) -> Id128 {
    match identity {
        Identity::Id(id) => Id128::new(id.0.rotate_left(64) ^ salt),
        Identity::Sequence { source, seq } => Id128::new(
            (source.0 ^ u128::from(*seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
                .rotate_left(64)
                ^ salt,
        ),
    }
}

/// How long a request of a rollout is remembered after its start.
fn kept_for(watch: &Watch) -> Span {
    let mut kept = watch.timeout;
    if watch.randomised == Randomised::Request {
        for guard in &watch.guards {
            if let MetricRef::Custom(_) = guard.metric {
                kept = kept.max(guard.maturity.unwrap_or(LABELS));
            }
        }
    }
    Span(kept.0.saturating_add(watch.report_lag.0))
}
