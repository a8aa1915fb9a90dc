//! The fold: records in, evidence out.

use std::collections::BTreeMap;
use std::fmt;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

pub use super::baseline::Baseline;
use super::baseline::Baselines;
use super::dedup::Id128;
use super::log::BlockLog;
use super::record::Record;
use super::report::Evidence;
use super::roll::Roll;
use super::shards::Shards;
use super::watch::{Stratum, Watch};
use crate::ids::{AllocationId, Epoch, FlagId, Place, RolloutId, Timestamp, Unit};
use crate::metric::MetricRef;

const HOUR: i64 = 3_600_000_000;

/// What the fold may hold in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Per environment: units with a recorded exposure in a rollout (about 100 bytes each, and 100 to 200 more for each
    /// user-level guardrail that has seen it).
    pub units: u64,
    /// Free event ids remembered for 24 hours (about 40 bytes each).
    pub ids: u64,
    /// Per environment: requests that have started and not yet entered every block (about 300 bytes each).
    pub pending: u64,
    /// Numbering senders (about 150 bytes each).
    pub sources: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { units: 5_000_000, ids: 20_000_000, pending: 2_000_000, sources: 100_000 }
    }
}

/// What applying one record did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Applied {
    /// What became of each event of a batch, in its order; empty for other records.
    pub fates: Vec<crate::event::Fate>,
    /// Rollouts whose evidence changed in a way a decision could depend on (a block closed, a check moved).
    pub changed: Vec<RolloutId>,
}

/// One piece of a checkpoint. Pieces are written under their key and replace what was there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The name to store it under.
    pub key: String,
    /// The bytes; empty means: delete what is stored under the key.
    pub bytes: Vec<u8>,
}

/// Why a checkpoint cannot be restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadCheckpoint {
    /// This part is damaged or of another version.
    Part(String),
    /// A part that the others refer to is missing.
    Missing(String),
}

impl fmt::Display for BadCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(key) => {
                write!(f, "part {key} of the evidence checkpoint is damaged or of another version")
            }
            Self::Missing(key) => write!(f, "part {key} of the evidence checkpoint is missing"),
        }
    }
}

impl std::error::Error for BadCheckpoint {}

/// How much the fold holds, for metrics and limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Held {
    /// Units with a recorded exposure.
    pub units: u64,
    /// Free event ids.
    pub ids: u64,
    /// Requests on their way into blocks.
    pub pending: u64,
    /// Numbering senders.
    pub sources: u64,
}

/// One environment, and what it holds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct PlaceState {
    pub(crate) place: Place,
    pub(crate) held: Held,
}

impl PlaceState {
    /// What keeps the ids of environments apart.
    pub(crate) fn salt(&self) -> u128 {
        xxh3_128(self.place.to_string().as_bytes())
    }
}

/// Something that is due at a time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Due {
    /// A request reaches an age of a block, or is forgotten.
    Request(Id128),
    /// A request reaches the maturity of a late metric.
    MatureRequest { id: Id128, roll: u32, guard: u16 },
    /// A unit's exposure in a stratum reaches the maturity of a late metric.
    MatureUnit { unit: Unit, roll: u32, guard: u16, stratum: u16 },
}

/// What is due when, in steps of 50 ms.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Dues(pub(crate) BTreeMap<i64, Vec<Due>>);

impl Dues {
    const STEP: i64 = 50_000;

    /// The step at whose end something is due.
    pub(crate) fn step(at: Timestamp) -> i64 {
        at.0.div_euclid(Self::STEP) + 1
    }

    /// The last step that is over.
    pub(crate) fn over(now: Timestamp) -> i64 {
        now.0.div_euclid(Self::STEP)
    }

    pub(crate) fn add(&mut self, at: Timestamp, due: Due) {
        self.0.entry(Self::step(at)).or_default().push(due);
    }
}

/// The fold of the event log.
#[derive(Debug)]
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) position: u64,
    pub(crate) now: Timestamp,
    /// The latest time at which a batch was received: what "24 hours ago" is counted from.
    pub(crate) newest: Timestamp,
    pub(crate) swept: i64,
    pub(crate) places: Vec<PlaceState>,
    /// Free ids remembered, and numbering senders.
    pub(crate) ids: u64,
    pub(crate) sources: u64,
    pub(crate) rolls: Vec<Option<Roll>>,
    pub(crate) by_id: BTreeMap<RolloutId, u32>,
    /// Which stratum of which rollout a decision record belongs to.
    pub(crate) strata: FxHashMap<(AllocationId, Epoch), (u32, u16)>,
    /// The running rollout of an allocation.
    pub(crate) running: FxHashMap<AllocationId, u32>,
    /// The guardrails of a late metric.
    pub(crate) late: BTreeMap<(u16, MetricRef), Vec<(u32, u16)>>,
    /// The rollouts of a flag that are watched.
    pub(crate) by_flag: FxHashMap<FlagId, Vec<u32>>,
    pub(crate) shards: Shards,
    pub(crate) dues: Dues,
    pub(crate) baselines: Baselines,
    /// Keys of parts that are to be deleted at the next checkpoint.
    pub(crate) gone: Vec<String>,
}

impl Engine {
    /// A fold before any record.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            position: 0,
            now: Timestamp(i64::MIN / 2),
            newest: Timestamp(i64::MIN / 2),
            swept: i64::MIN,
            places: Vec::new(),
            ids: 0,
            sources: 0,
            rolls: Vec::new(),
            by_id: BTreeMap::new(),
            strata: FxHashMap::default(),
            running: FxHashMap::default(),
            late: BTreeMap::new(),
            by_flag: FxHashMap::default(),
            shards: Shards::new(),
            dues: Dues::default(),
            baselines: Baselines::default(),
            gone: Vec::new(),
        }
    }

    /// Takes in the record at `position`. Positions rise; the caller starts after [`Engine::position`].
    pub fn apply(&mut self, position: u64, record: &Record) -> Applied {
        self.position = position;
        match record {
            Record::Batch { place, received, events } => {
                self.newest = self.newest.max(*received);
                let place = self.place(place);
                let salt = self.places[usize::from(place)].salt();
                let fates = events.iter().map(|event| self.event(place, salt, event)).collect();
                Applied { fates, changed: Vec::new() }
            }
            Record::Tick { now } => Applied { fates: Vec::new(), changed: self.tick(*now) },
            Record::Watch { watch, stratum } => self.watch(watch, *stratum),
            Record::Stratum { rollout, stratum } => self.stratum(rollout, *stratum),
            Record::Ended { rollout, at } => self.ended(rollout, *at),
            Record::Decided { .. } => Applied::default(),
            Record::Erase { place, unit } => self.erase(place, *unit),
            Record::Forget { rollout } => self.forget(rollout),
        }
    }

    /// The number of an environment; given when it is first seen.
    pub(crate) fn place(&mut self, place: &Place) -> u16 {
        if let Some(at) = self.places.iter().position(|known| known.place == *place) {
            return at as u16;
        }
        self.places.push(PlaceState { place: place.clone(), held: Held::default() });
        (self.places.len() - 1) as u16
    }

    fn watch(&mut self, watch: &Watch, stratum: Stratum) -> Applied {
        if self.by_id.contains_key(&watch.rollout) {
            return Applied::default();
        }
        let place = self.place(&watch.rollout.place);
        let slot = self.rolls.len() as u32;
        self.by_id.insert(watch.rollout.clone(), slot);
        self.rolls.push(Some(Roll::new(place, watch.clone())));
        self.running.insert(watch.allocation, slot);
        self.index_roll(slot);
        self.stratum(&watch.rollout, stratum)
    }

    pub(crate) fn index_roll(&mut self, slot: u32) {
        let Some(Some(roll)) = self.rolls.get(slot as usize) else { return };
        self.by_flag.entry(roll.watch().flag).or_default().push(slot);
        for (guard, of) in (0_u16..).zip(&roll.watch().guards) {
            if let MetricRef::Custom(_) = &of.metric {
                self.late.entry((roll.core.place, of.metric.clone())).or_default().push((slot, guard));
            }
        }
    }

    fn stratum(&mut self, rollout: &RolloutId, stratum: Stratum) -> Applied {
        let Some(slot) = self.by_id.get(rollout).copied() else { return Applied::default() };
        let Some(Some(roll)) = self.rolls.get_mut(slot as usize) else { return Applied::default() };
        roll.begin_stratum(stratum, &self.baselines);
        let at = roll.core.closer.strata_count().saturating_sub(1) as u16;
        self.strata.insert((roll.watch().allocation, stratum.epoch), (slot, at));
        Applied { fates: Vec::new(), changed: vec![rollout.clone()] }
    }

    fn ended(&mut self, rollout: &RolloutId, at: Timestamp) -> Applied {
        let Some(slot) = self.by_id.get(rollout).copied() else { return Applied::default() };
        let Some(Some(roll)) = self.rolls.get_mut(slot as usize) else { return Applied::default() };
        roll.end(at);
        let allocation = roll.watch().allocation;
        if self.running.get(&allocation) == Some(&slot) {
            self.running.remove(&allocation);
        }
        Applied { fates: Vec::new(), changed: vec![rollout.clone()] }
    }

    fn forget(&mut self, rollout: &RolloutId) -> Applied {
        let Some(slot) = self.by_id.remove(rollout) else { return Applied::default() };
        let Some(roll) = self.rolls.get_mut(slot as usize).and_then(Option::take) else {
            return Applied::default();
        };
        self.strata.retain(|_, (of, _)| *of != slot);
        self.running.retain(|_, of| *of != slot);
        self.by_flag.retain(|_, slots| {
            slots.retain(|of| *of != slot);
            !slots.is_empty()
        });
        self.late.retain(|_, guards| {
            guards.retain(|(of, _)| *of != slot);
            !guards.is_empty()
        });
        let mut units = 0;
        for shard in self.shards.iter_mut() {
            let before = shard.units.len();
            shard.units.retain(|_, unit| unit.roll != slot);
            units += before - shard.units.len();
            shard.dirty |= before != shard.units.len();
        }
        let held = &mut self.places[usize::from(roll.core.place)].held;
        held.units = held.units.saturating_sub(units as u64);
        self.gone.push(format!("rollout/{slot}/core"));
        self.gone.extend((0..roll.log.chunks.len()).map(|chunk| format!("rollout/{slot}/log/{chunk}")));
        Applied::default()
    }

    fn erase(&mut self, place: &Place, unit: Unit) -> Applied {
        let number = self.place(place);
        let mut erased = 0;
        for slot in 0..self.rolls.len() as u32 {
            let key = unit_key(unit, slot);
            let shard = &mut self.shards[key.shard()];
            if shard.units.remove(&key).is_some() {
                shard.dirty = true;
                erased += 1;
            }
        }
        let mut dropped = 0;
        for shard in self.shards.iter_mut() {
            let before = shard.pending.len();
            shard.pending.retain(|_, p| p.place != number || p.links().all(|link| link.unit != unit));
            shard.dirty |= before != shard.pending.len();
            dropped += before - shard.pending.len();
        }
        let held = &mut self.places[usize::from(number)].held;
        held.units = held.units.saturating_sub(erased);
        held.pending = held.pending.saturating_sub(dropped as u64);
        Applied::default()
    }

    fn tick(&mut self, now: Timestamp) -> Vec<RolloutId> {
        self.now = self.now.max(now);
        let over = Dues::over(self.now);
        while let Some(first) = self.dues.0.first_entry().filter(|first| *first.key() <= over) {
            for due in first.remove() {
                self.due(due);
            }
        }
        let mut changed = Vec::new();
        for slot in 0..self.rolls.len() {
            let Some(roll) = &mut self.rolls[slot] else { continue };
            let mut units = super::fold::Units { shards: &mut self.shards, slot: slot as u32 };
            roll.tick(self.now, &mut units);
            if std::mem::take(&mut roll.changed) {
                changed.push(roll.id().clone());
            }
        }
        self.sweep();
        changed
    }

    /// Once an hour: forgets ids and senders that are out of the window.
    fn sweep(&mut self) {
        let hour = self.newest.0.div_euclid(HOUR);
        if hour == self.swept {
            return;
        }
        self.swept = hour;
        for shard in self.shards.iter_mut() {
            let (ids, sources) = shard.seen.forget(self.newest);
            self.ids = self.ids.saturating_sub(ids);
            self.sources = self.sources.saturating_sub(sources);
            shard.dirty |= ids + sources > 0;
            shard.pending.shrink_to(2 * shard.pending.len());
            shard.units.shrink_to(2 * shard.units.len());
        }
    }

    /// The position of the last record taken in; 0 before any.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The time of the last tick.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The rollouts that are watched, in order; ended ones stay until they are forgotten.
    pub fn rollouts(&self) -> impl Iterator<Item = &RolloutId> {
        self.by_id.keys()
    }

    /// How much is held for an environment; ids and senders are counted over all of them.
    pub fn held(&self, place: &Place) -> Held {
        let held = self.places.iter().find(|known| known.place == *place).map(|known| known.held);
        Held { ids: self.ids, sources: self.sources, ..held.unwrap_or_default() }
    }

    fn roll(&self, rollout: &RolloutId) -> Option<&Roll> {
        self.rolls.get(*self.by_id.get(rollout)? as usize)?.as_ref()
    }

    /// What the data so far supports for one rollout; `None` if it is not watched (any more).
    pub fn evidence(&self, rollout: &RolloutId) -> Option<Evidence> {
        Some(self.roll(rollout)?.evidence(self.now, self.position))
    }

    /// The rollout's block log up to now, for a receipt: what [`super::replay`] recomputes
    /// [`Engine::evidence`] from.
    pub fn block_log(&self, rollout: &RolloutId) -> Option<BlockLog> {
        Some(self.roll(rollout)?.block_log(self.now, self.position))
    }

    /// What is known about a variant's metric from the last 14 days of requests, with or without a rollout.
    pub fn baseline(&self, flag: FlagId, variant: u16, metric: &MetricRef) -> Option<Baseline> {
        self.baselines.get(flag, variant, metric)
    }
}

/// A unit of one rollout as a key: different in every rollout, and spread over the shards.
pub(crate) fn unit_key(unit: Unit, slot: u32) -> Id128 {
    Id128::new(unit.0 ^ slot_mask(slot))
}

/// The unit of a key.
pub(crate) fn unit_of(key: Id128, slot: u32) -> Unit {
    Unit(key.get() ^ slot_mask(slot))
}

fn slot_mask(slot: u32) -> u128 {
    u128::from(slot + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}
