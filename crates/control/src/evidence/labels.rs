//! Late labels: finding what an outcome belongs to, and counting it when its request or unit is old enough.

use super::dedup::Id128;
use super::engine::{Due, Engine, unit_key};
use super::entry::LabelSeen;
use super::requests::{LateValue, Link, NOBODY};
use super::roll::{LabelObs, Reason};
use super::units::Obs;
use super::watch::Randomised;
use crate::event::{Fate, Subject};
use crate::ids::{Span, Timestamp, Unit};
use crate::metric::{MetricRef, Shape};

/// What an outcome belongs to in one rollout.
pub(super) struct Target {
    pub(super) roll: u32,
    pub(super) stratum: u16,
    pub(super) new: bool,
    pub(super) unit: Unit,
    /// The request it was found by, if it is still remembered.
    pub(super) request: Option<Id128>,
}

impl Engine {
    /// An outcome: found by the decisions it carries, else by its request, else by its unit.
    pub(crate) fn outcome(
        &mut self,
        place: u16,
        salt: u128,
        metric: &MetricRef,
        [value, weight]: [f64; 2],
        to: &Subject,
        time: Timestamp,
    ) -> Fate {
        let Some(guards) = self.guards_of(place, metric, [value, weight]) else { return Fate::BadValue };
        let Some((targets, found)) = self.targets(place, salt, to, time, &guards) else { return Fate::Full };
        for series in &found {
            self.baselines.outcome(*series, self.newest, metric, value);
        }
        self.count(&targets, &guards, [value, weight], time, !found.is_empty())
    }

    /// Rollout and number of each guardrail that reads a metric; `None` if the metric cannot have this value.
    pub(super) fn guards_of(
        &mut self,
        place: u16,
        metric: &MetricRef,
        [value, weight]: [f64; 2],
    ) -> Option<Vec<(u32, u16)>> {
        let sound = value.is_finite() && weight.is_finite() && weight > 0.0;
        if !sound || matches!(metric, MetricRef::Builtin(_)) {
            return None;
        }
        let guards = self.late.get(&(place, metric.clone())).cloned().unwrap_or_default();
        if let Some(bad) = self.misfit(&guards, value) {
            self.refuse(bad, Reason::BadValue);
            return None;
        }
        Some(guards)
    }

    /// Counts a value at each target, for the guardrails of its rollout. `known`: the value is at least of a flag
    /// that is known, so that where nobody guards its metric it is volume.
    pub(super) fn count(
        &mut self,
        targets: &[Target],
        guards: &[(u32, u16)],
        value: [f64; 2],
        time: Timestamp,
        known: bool,
    ) -> Fate {
        let mut counted = Fate::Unattributed;
        for target in targets {
            for (_, guard) in guards.iter().filter(|(roll, _)| *roll == target.roll) {
                counted = counted.min(self.label(target, *guard, value, time));
            }
        }
        if counted != Fate::Unattributed {
            return counted;
        }
        if guards.is_empty() && known {
            return Fate::Accepted;
        }
        for (roll, _) in guards {
            self.refuse(*roll, Reason::NoExposure);
        }
        Fate::Unattributed
    }

    /// The first rollout whose guardrail cannot have this value.
    fn misfit(&self, guards: &[(u32, u16)], value: f64) -> Option<u32> {
        let fits = |roll: u32, guard: u16| {
            let of = self.rolls.get(roll as usize).and_then(Option::as_ref);
            of.and_then(|roll| roll.core.closer.plan.guards.get(usize::from(guard)))
                .is_none_or(|plan| plan.normal(value).is_some())
        };
        guards.iter().find(|(roll, guard)| !fits(*roll, *guard)).map(|(roll, _)| *roll)
    }

    /// What an outcome is about, and the baseline series it feeds. `None`: a table is full.
    fn targets(
        &mut self,
        place: u16,
        salt: u128,
        to: &Subject,
        time: Timestamp,
        guards: &[(u32, u16)],
    ) -> Option<(Vec<Target>, Vec<u32>)> {
        if !to.served.is_empty() {
            let links = self.links(&to.served, time).links;
            if !self.room(place, &links, false) {
                return None;
            }
            for link in &links {
                // A decision that nobody reported as an exposure, but whose outcome is here, was one.
                if self.randomised(link.roll) == Some(Randomised::Unit) && !self.was_exposed(link) {
                    self.expose(place, link, time, true);
                }
            }
            let request = to.request.map(|request| Id128::new(request.0 ^ salt));
            let request = request.or_else(|| self.key(salt, None, &links));
            let request = request.filter(|key| self.shards[key.shard()].pending.contains_key(key));
            return Some((targets_of(&links, request), links.iter().map(|link| link.series).collect()));
        }
        let by_request = to.request.map(|request| Id128::new(request.0 ^ salt));
        let by_unit = to.unit.map(|unit| super::fold::decision_key(salt, unit));
        for key in by_request.into_iter().chain(by_unit) {
            if let Some(pending) = self.shards[key.shard()].pending.get(&key) {
                let links: Vec<Link> = pending.links().copied().collect();
                return Some((targets_of(&links, Some(key)), links.iter().map(|link| link.series).collect()));
            }
        }
        let Some(unit) = to.unit else { return Some((Vec::new(), Vec::new())) };
        Some(self.targets_of_unit(unit, time, guards))
    }

    fn targets_of_unit(
        &mut self,
        unit: Unit,
        time: Timestamp,
        guards: &[(u32, u16)],
    ) -> (Vec<Target>, Vec<u32>) {
        let (mut targets, mut series) = (Vec::new(), Vec::new());
        let mut last = NOBODY;
        for (slot, _) in guards {
            if *slot == last {
                continue;
            }
            last = *slot;
            let key = unit_key(unit, *slot);
            let Some(state) = self.shards[key.shard()].units.get(&key) else { continue };
            let Some(exposed) = state.exposure_at(time) else { continue };
            targets.push(Target {
                roll: *slot,
                stratum: exposed.stratum,
                new: exposed.new,
                unit,
                request: None,
            });
            if let Some(Some(roll)) = self.rolls.get(*slot as usize) {
                let watch = roll.watch();
                let variant = if exposed.new { watch.new } else { watch.control };
                series.push(self.baselines.series(watch.flag, variant));
            }
        }
        (targets, series)
    }

    fn was_exposed(&self, link: &Link) -> bool {
        let key = unit_key(link.unit, link.roll);
        let state = self.shards[key.shard()].units.get(&key);
        state.is_some_and(|state| state.exposures().any(|exposed| exposed.stratum == link.stratum))
    }

    /// One value for one guardrail.
    pub(super) fn label(
        &mut self,
        target: &Target,
        guard: u16,
        [value, weight]: [f64; 2],
        time: Timestamp,
    ) -> Fate {
        let Some(Some(roll)) = self.rolls.get_mut(target.roll as usize) else { return Fate::Unattributed };
        let at = usize::from(guard);
        let plan = &roll.core.closer.plan.guards[at];
        let Some(y) = plan.normal(value) else { return Fate::BadValue };
        let size = if roll.watch().guards[at].shape == Shape::Ratio { weight } else { 1.0 };
        let matures = roll.watch().guards[at].maturity.is_some();
        let randomised = roll.watch().randomised;
        let late = LateValue { roll: target.roll, guard, stratum: target.stratum, y, size };
        match (matures, randomised) {
            (true, Randomised::Unit) => {
                let key = unit_key(target.unit, target.roll);
                let shard = &mut self.shards[key.shard()];
                let Some(state) = shard.units.get_mut(&key) else { return Fate::Unattributed };
                shard.dirty = true;
                state.more().late.push(late);
            }
            (true, Randomised::Request) => {
                let Some(key) = target.request else { return Fate::Unattributed };
                let shard = &mut self.shards[key.shard()];
                let Some(pending) = shard.pending.get_mut(&key) else { return Fate::Unattributed };
                shard.dirty = true;
                pending.late.push(late);
            }
            (false, Randomised::Unit | Randomised::Request) => {
                if randomised == Randomised::Request && self.labelled(target, guard) {
                    return Fate::Duplicate;
                }
                let obs =
                    Obs { time, unit: target.unit, guard, stratum: target.stratum, new: target.new, y, size };
                if let Some(Some(roll)) = self.rolls.get_mut(target.roll as usize) {
                    roll.late(obs);
                }
            }
        }
        if let Some(Some(roll)) = self.rolls.get_mut(target.roll as usize) {
            roll.reported(target.stratum, target.new, time);
        }
        Fate::Accepted
    }

    /// Whether a decision has a value for this guardrail already: several outcomes of one decision are not
    /// independent. Marks it.
    fn labelled(&mut self, target: &Target, guard: u16) -> bool {
        let Some(key) = target.request else { return false };
        let bit = bit(guard);
        let shard = &mut self.shards[key.shard()];
        let Some(pending) = shard.pending.get_mut(&key) else { return false };
        shard.dirty = true;
        let Some(link) = pending.links_mut().find(|link| link.roll == target.roll) else { return false };
        let before = link.labelled & bit != 0;
        link.labelled |= bit;
        before
    }

    /// Puts the maturity of a new decision's late metrics on the list.
    pub(crate) fn watch_maturity(&mut self, id: Id128, link: &Link, start: Timestamp) {
        if self.randomised(link.roll) != Some(Randomised::Request) {
            return;
        }
        self.each_maturity(link.roll, start, true, |roll, guard| Due::MatureRequest { id, roll, guard });
    }

    /// Puts the maturity of a unit's first exposure in a stratum on the list.
    /// `new`: it was not on the list before.
    pub(crate) fn mature_unit(&mut self, link: &Link, at: Timestamp, new: bool) {
        let (unit, stratum) = (link.unit, link.stratum);
        self.each_maturity(link.roll, at, new, |roll, guard| Due::MatureUnit { unit, roll, guard, stratum });
    }

    fn each_maturity(&mut self, slot: u32, start: Timestamp, new: bool, due: impl Fn(u32, u16) -> Due) {
        let Some(Some(roll)) = self.rolls.get_mut(slot as usize) else { return };
        for (guard, age) in roll.late_ages() {
            roll.core.maturing[usize::from(guard)] += u64::from(new);
            self.dues.add(start + age, due(slot, guard));
        }
    }

    pub(crate) fn mature_request(&mut self, id: Id128, slot: u32, guard: u16) {
        let Some(age) = self.late_age(slot, guard) else { return };
        let shard = &mut self.shards[id.shard()];
        let Some(pending) = shard.pending.get_mut(&id) else { return };
        let start = pending.start;
        let late: Vec<LateValue> =
            pending.late.iter().filter(|l| l.roll == slot && l.guard == guard).copied().collect();
        let Some(link) = pending.links_mut().find(|link| link.roll == slot) else { return };
        if link.matured & bit(guard) != 0 {
            return;
        }
        link.matured |= bit(guard);
        shard.dirty = true;
        let of = Matured { slot, guard, stratum: link.stratum, new: link.new, unit: link.unit };
        self.mature(&of, start + age, &late, true);
    }

    pub(crate) fn due_unit(&mut self, unit: Unit, slot: u32, guard: u16, stratum: u16) {
        let Some(age) = self.late_age(slot, guard) else { return };
        let key = unit_key(unit, slot);
        let shard = &mut self.shards[key.shard()];
        let Some(state) = shard.units.get_mut(&key) else { return };
        let first = state.exposures().map(|e| e.stratum).min() == Some(stratum);
        let Some(exposed) = state.in_stratum(stratum) else { return };
        if exposed.matured & bit(guard) != 0 {
            return;
        }
        exposed.matured |= bit(guard);
        let exposed = *exposed;
        shard.dirty = true;
        let of = |l: &LateValue| l.guard == guard && l.stratum == stratum;
        let mut late = Vec::new();
        if let Some(more) = &mut state.more {
            late.extend(more.late.iter().filter(|l| of(l)).copied());
            more.late.retain(|l| !of(l));
        }
        if !exposed.crossed {
            let of = Matured { slot, guard, stratum, new: exposed.new, unit };
            self.mature(&of, exposed.at + age, &late, first);
        }
    }

    fn late_age(&self, slot: u32, guard: u16) -> Option<Span> {
        let roll = self.rolls.get(slot as usize)?.as_ref()?;
        roll.late_ages().into_iter().find(|(at, _)| *at == guard).map(|(_, age)| age)
    }

    /// A request or unit is old enough: its value counts as it is now, and so does its absence.
    fn mature(&mut self, of: &Matured, time: Timestamp, late: &[LateValue], label_counts: bool) {
        let Matured { slot, guard, stratum, new, unit } = *of;
        let Some(Some(roll)) = self.rolls.get_mut(slot as usize) else { return };
        let at = usize::from(guard);
        let waiting = &mut roll.core.maturing[at];
        *waiting = waiting.saturating_sub(1);
        let shape = roll.watch().guards[at].shape;
        let labelled = !late.is_empty();
        if label_counts && shape != Shape::Count {
            let seen = LabelSeen { stratum, new, labelled };
            roll.matured(LabelObs { time, unit, guard, seen });
        }
        let sum = |read: fn(&LateValue) -> f64| late.iter().map(read).sum::<f64>();
        let value = match shape {
            // A unit without an event has had none.
            Shape::Count => Some((sum(|l| l.y), 1.0)),
            Shape::Ratio => labelled.then(|| (sum(|l| l.y), sum(|l| l.size))),
            Shape::Rate | Shape::Score { .. } | Shape::Rating | Shape::Value => {
                late.last().map(|l| (l.y, 1.0))
            }
        };
        if let Some((y, size)) = value {
            roll.late(Obs { time, unit, guard, stratum, new, y, size });
        }
    }
}

/// Who matured, for which guardrail.
struct Matured {
    slot: u32,
    guard: u16,
    stratum: u16,
    new: bool,
    unit: Unit,
}

/// The mark of a guardrail; the ones beyond 32 have none and are taken at every chance.
fn bit(guard: u16) -> u32 {
    1_u32.checked_shl(u32::from(guard)).unwrap_or(0)
}

pub(super) fn targets_of(links: &[Link], request: Option<Id128>) -> Vec<Target> {
    links
        .iter()
        .filter(|link| link.roll != NOBODY)
        .map(|link| Target {
            roll: link.roll,
            stratum: link.stratum,
            new: link.new,
            unit: link.unit,
            request,
        })
        .collect()
}
