//! Model calls and scores whose sender knows no decision record and reports each number on its own.
//!
//! What a unit received is what it is recorded to have been exposed to before the call; the stratum is therefore still
//! that of a record, not of the clock. Parts of one call meet by its id, and the call counts like a request that was
//! reported on completion: at the age of the timeout, in blocks of each metric's own.

use super::dedup::Id128;
use super::engine::{Engine, unit_key};
use super::fold::decision_key;
use super::labels::{Target, targets_of};
use super::requests::{Link, NOBODY, Report};
use super::roll::Reason;
use super::watch::Randomised;
use crate::event::{About, Call, Fate};
use crate::ids::{Span, Timestamp, Unit};
use crate::metric::MetricRef;

/// Clocks of whole milliseconds may put the start of a call just before the evaluation that it followed.
const ROUNDING: Span = Span::millis(10);
/// Keeps the ids of calls and of requests apart.
const CALL: u128 = 0x1f83_d9ab_fb41_bd6b_5be0_cd19_137e_2179;

impl Engine {
    /// Takes in part of a call.
    pub(crate) fn call(&mut self, place: u16, salt: u128, call: &Call) -> Fate {
        let Some(part) = Report::part(call) else { return Fate::BadValue };
        let decision = call.about.iter().map(|about| decision_key(salt, about.unit));
        let decision = decision.into_iter().find(|key| self.shards[key.shard()].pending.contains_key(key));
        let key = decision.unwrap_or_else(|| Id128::new(call.id.0 ^ salt ^ CALL));
        let known = self.shards[key.shard()].pending.contains_key(&key);
        if decision.is_none() {
            let links = self.exposed_links(&call.about, call.start);
            if links.is_empty() && !known {
                self.volume(&call.about, &part);
                return self.unmatched(&call.about);
            }
            if !self.room(place, &links, !known) {
                return Fate::Full;
            }
            self.remember(place, key, &links, call.start, false);
        }
        self.volume(&call.about, &part);
        self.add_part(key, part, call.start);
        Fate::Accepted
    }

    /// What is kept of every call, compared or not.
    fn volume(&mut self, about: &[About], part: &Report) {
        for about in about {
            if let Some(variant) = about.variant {
                let series = self.baselines.series(about.flag, variant);
                self.baselines.request(series, self.newest, part);
            }
        }
    }

    /// Nobody is known to have been exposed: of a flag that a rollout watches, that is a lack; else it is volume.
    fn unmatched(&mut self, about: &[About]) -> Fate {
        let mut watched = false;
        for about in about {
            for slot in self.by_flag.get(&about.flag).cloned().unwrap_or_default() {
                let watch =
                    self.rolls.get(slot as usize).and_then(Option::as_ref).map(super::roll::Roll::watch);
                if watch.is_some_and(|watch| self.running.get(&watch.allocation) == Some(&slot)) {
                    self.refuse(slot, Reason::NoExposure);
                    watched = true;
                }
            }
        }
        if watched || about.is_empty() { Fate::Unattributed } else { Fate::Accepted }
    }

    /// Where each flag's unit is compared, by its recorded exposures before `time`.
    fn exposed_links(&mut self, about: &[About], time: Timestamp) -> Vec<Link> {
        let mut links = Vec::new();
        for about in about {
            for slot in self.by_flag.get(&about.flag).cloned().unwrap_or_default() {
                let Some((stratum, new)) = self.exposure_of(slot, about.unit, time) else { continue };
                let Some(Some(roll)) = self.rolls.get_mut(slot as usize) else { continue };
                if roll.warming(stratum, time) {
                    roll.refuse(Reason::Warmup);
                    continue;
                }
                let variant = if new { roll.watch().new } else { roll.watch().control };
                let series = self.baselines.series(about.flag, variant);
                let (roll, unit) = (slot, about.unit);
                links.push(Link { series, roll, stratum, new, entered: 0, labelled: 0, matured: 0, unit });
            }
        }
        links
    }

    /// Stratum and arm of a unit at a time, in a rollout that goes by units.
    fn exposure_of(&self, slot: u32, unit: Unit, time: Timestamp) -> Option<(u16, bool)> {
        if self.randomised(slot) != Some(Randomised::Unit) {
            return None;
        }
        let key = unit_key(unit, slot);
        let exposed = self.shards[key.shard()].units.get(&key)?.exposure_at(time + ROUNDING)?;
        Some((exposed.stratum, exposed.new))
    }

    /// Whether a running rollout goes by this unit and has not heard of its exposure. Clients send exposures and
    /// outcomes side by side, so that the exposure may be on its way.
    #[must_use]
    pub fn awaits_exposure(&self, about: &About, time: Timestamp) -> bool {
        let slots = self.by_flag.get(&about.flag).into_iter().flatten().copied();
        let mut running = slots.filter(|slot| {
            let roll = self.rolls.get(*slot as usize).and_then(Option::as_ref);
            roll.is_some_and(|roll| self.running.get(&roll.watch().allocation) == Some(slot))
        });
        running.any(|slot| {
            self.randomised(slot) == Some(Randomised::Unit)
                && self.exposure_of(slot, about.unit, time).is_none()
        })
    }

    fn add_part(&mut self, key: Id128, part: Report, start: Timestamp) {
        let shard = &mut self.shards[key.shard()];
        shard.dirty = true;
        let Some(pending) = shard.pending.get_mut(&key) else { return };
        let counted = pending.countable();
        let whole = match pending.report {
            None => part,
            Some(known) => known.with(part),
        };
        pending.report = Some(whole);
        if !pending.announced {
            pending.start = pending.start.min(start);
        }
        let end = start + whole.lasted().unwrap_or_default();
        for link in pending.links() {
            if let Some(Some(roll)) = self.rolls.get_mut(link.roll as usize) {
                roll.reported(link.stratum, link.new, end);
            }
        }
        if !counted {
            self.schedule(key, None);
        }
        if whole.status.is_some() {
            self.complete(key);
        }
    }

    /// A fact about units: counted for every rollout of their flags that guards the metric.
    pub(crate) fn score(
        &mut self,
        place: u16,
        salt: u128,
        metric: &MetricRef,
        [value, weight]: [f64; 2],
        about: &[About],
        time: Timestamp,
    ) -> Fate {
        let Some(guards) = self.guards_of(place, metric, [value, weight]) else { return Fate::BadValue };
        let mut targets: Vec<Target> = Vec::new();
        for about in about {
            if let Some(variant) = about.variant {
                let series = self.baselines.series(about.flag, variant);
                self.baselines.outcome(series, self.newest, metric, value);
            }
            self.targets_of_about(salt, about, time, &mut targets);
        }
        self.count(&targets, &guards, [value, weight], time, !about.is_empty())
    }

    fn targets_of_about(&self, salt: u128, about: &About, time: Timestamp, targets: &mut Vec<Target>) {
        let decision = decision_key(salt, about.unit);
        if let Some(pending) = self.shards[decision.shard()].pending.get(&decision) {
            let links: Vec<Link> = pending.links().filter(|link| link.roll != NOBODY).copied().collect();
            targets.extend(targets_of(&links, Some(decision)));
            return;
        }
        for slot in self.by_flag.get(&about.flag).into_iter().flatten().copied() {
            if let Some((stratum, new)) = self.exposure_of(slot, about.unit, time) {
                targets.push(Target { roll: slot, stratum, new, unit: about.unit, request: None });
            }
        }
    }
}
