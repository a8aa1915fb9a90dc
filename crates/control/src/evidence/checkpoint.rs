//! Checkpoints: the fold as named pieces, of which only the changed ones are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::dedup::{Id128, SeenTable, StoredSeen};
use super::engine::{BadCheckpoint, Due, Dues, Engine, Limits, Part, PlaceState};
use super::log::LogWriter;
use super::requests::Pending;
use super::roll::{Core, Roll};
use super::shards::Shard;
use super::units::UnitState;
use super::watch::Randomised;
use crate::ids::{AllocationId, FlagId, Timestamp};

/// The version of the pieces; the first byte of each.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Meta {
    position: u64,
    now: Timestamp,
    newest: Timestamp,
    swept: i64,
    places: Vec<PlaceState>,
    slots: Vec<bool>,
    running: Vec<(AllocationId, u32)>,
    series: Vec<(FlagId, u16)>,
}

#[derive(Serialize, Deserialize)]
struct StoredShard {
    seen: StoredSeen,
    pending: Vec<(Id128, Box<Pending>)>,
    units: Vec<(Id128, UnitState)>,
}

#[derive(Serialize, Deserialize)]
struct StoredRoll {
    core: Core,
    chunks: u32,
    head: [u8; 32],
}

fn write<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION])
        .expect("writing into memory does not fail, and every part has a length")
}

fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, BadCheckpoint> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| BadCheckpoint::Part(key.to_owned())),
        Some(_) | None => Err(BadCheckpoint::Part(key.to_owned())),
    }
}

/// What changed since the last snapshot, as of one position. Writing the parts out can be done elsewhere while
/// records are taken in.
pub struct Snapshot {
    small: Vec<Part>,
    shards: Vec<(usize, Arc<Shard>)>,
}

impl Snapshot {
    /// The parts (all of them in the first snapshot of an engine). Written together, in one transaction, they stand
    /// for everything up to the position at which the snapshot was taken. Lazy: a shard is let go of as soon as it is
    /// written out.
    pub fn parts(self) -> impl Iterator<Item = Part> {
        let shard = |(at, shard): (usize, Arc<Shard>)| Part {
            key: format!("shard/{at}"),
            bytes: write(&store_shard(&shard)),
        };
        self.small.into_iter().chain(self.shards.into_iter().map(shard))
    }
}

impl Engine {
    /// What changed since the last call, as of [`Engine::position`].
    pub fn checkpoint(&mut self) -> Snapshot {
        let mut parts: Vec<Part> =
            std::mem::take(&mut self.gone).into_iter().map(|key| Part { key, bytes: Vec::new() }).collect();
        for (slot, roll) in self.rolls.iter_mut().enumerate() {
            if let Some(roll) = roll.as_mut().filter(|roll| roll.dirty) {
                store_roll(slot, roll, &mut parts);
            }
        }
        for (key, hour) in self.baselines.take_dirty() {
            parts.push(Part { key, bytes: hour.map_or_else(Vec::new, |hour| write(&hour)) });
        }
        let mut running: Vec<_> =
            self.running.iter().map(|(allocation, slot)| (*allocation, *slot)).collect();
        running.sort_unstable();
        let meta = Meta {
            position: self.position,
            now: self.now,
            newest: self.newest,
            swept: self.swept,
            places: self.places.clone(),
            slots: self.rolls.iter().map(Option::is_some).collect(),
            running,
            series: self.baselines.numbering(),
        };
        parts.push(Part { key: "meta".to_owned(), bytes: write(&meta) });
        Snapshot { small: parts, shards: self.shards.take_dirty() }
    }

    /// Rebuilds the fold from the stored parts, in any order.
    ///
    /// # Errors
    /// When a part is damaged, missing, or was written by another version.
    pub fn restore(limits: Limits, parts: impl IntoIterator<Item = Part>) -> Result<Self, BadCheckpoint> {
        let parts: BTreeMap<String, Vec<u8>> =
            parts.into_iter().filter(|part| !part.bytes.is_empty()).map(|p| (p.key, p.bytes)).collect();
        let mut engine = Self::new(limits);
        if parts.is_empty() {
            return Ok(engine);
        }
        let find = |key: &str| parts.get(key).ok_or_else(|| BadCheckpoint::Missing(key.to_owned()));
        let meta: Meta = read("meta", find("meta")?)?;
        (engine.position, engine.now, engine.newest, engine.swept) =
            (meta.position, meta.now, meta.newest, meta.swept);
        engine.places = meta.places;
        for (flag, variant) in meta.series {
            engine.baselines.series(flag, variant);
        }
        for (key, bytes) in parts.range("baseline/".to_owned().."baseline0".to_owned()) {
            let loaded = engine.baselines.load(key, read(key, bytes)?);
            loaded.ok_or_else(|| BadCheckpoint::Part(key.clone()))?;
        }
        for (at, shard) in engine.shards.iter_mut().enumerate() {
            let key = format!("shard/{at}");
            if let Some(bytes) = parts.get(&key) {
                *shard = load_shard(read(&key, bytes)?);
                let (ids, sources) = shard.seen.counts();
                engine.ids += ids;
                engine.sources += sources;
            }
        }
        for (slot, there) in meta.slots.into_iter().enumerate() {
            engine.rolls.push(if there { Some(load_roll(slot, &find)?) } else { None });
            engine.index(slot as u32);
        }
        engine.running = meta.running.into_iter().collect();
        engine.reschedule();
        Ok(engine)
    }

    /// Rebuilds what is found through a restored rollout.
    fn index(&mut self, slot: u32) {
        let Some(Some(roll)) = self.rolls.get(slot as usize) else { return };
        self.by_id.insert(roll.id().clone(), slot);
        let allocation = roll.watch().allocation;
        for (at, stratum) in (0_u16..).zip(&roll.core.closer.strata) {
            self.strata.insert((allocation, stratum.epoch), (slot, at));
        }
        self.index_roll(slot);
    }

    /// Rebuilds the list of what is due from what waits. It may hold more than the list that was lost:
    /// what is done is marked where it was done, and does nothing the second time.
    fn reschedule(&mut self) {
        let mut dues = Dues::default();
        let mut add = |at: Timestamp, due: Due| dues.add(at, due);
        for shard in self.shards.iter() {
            for (id, pending) in &shard.pending {
                add(pending.until, Due::Request(*id));
                self.reschedule_request(*id, pending, &mut add);
            }
        }
        self.reschedule_units(&mut add);
        self.dues = dues;
    }

    fn reschedule_request(&self, id: Id128, pending: &Pending, add: &mut impl FnMut(Timestamp, Due)) {
        for link in pending.links() {
            let Some(Some(roll)) = self.rolls.get(link.roll as usize) else { continue };
            if pending.countable() {
                for class in 0..roll.core.closer.plan.classes.len() {
                    if let Some((_, at)) = roll.due(link.stratum, class, pending) {
                        add(at, Due::Request(id));
                    }
                }
            }
            if roll.watch().randomised == Randomised::Request {
                for (guard, age) in roll.late_ages() {
                    add(pending.start + age, Due::MatureRequest { id, roll: link.roll, guard });
                }
            }
        }
    }

    fn reschedule_units(&self, add: &mut impl FnMut(Timestamp, Due)) {
        let ages: Vec<_> =
            self.rolls.iter().map(|roll| roll.as_ref().map(Roll::late_ages).unwrap_or_default()).collect();
        if ages.iter().all(Vec::is_empty) {
            return;
        }
        for shard in self.shards.iter() {
            for (key, state) in &shard.units {
                let Some(ages) = ages.get(state.roll as usize) else { continue };
                let unit = super::engine::unit_of(*key, state.roll);
                for (guard, age) in ages {
                    for exposed in state.exposures() {
                        let (roll, guard, stratum) = (state.roll, *guard, exposed.stratum);
                        add(exposed.at + *age, Due::MatureUnit { unit, roll, guard, stratum });
                    }
                }
            }
        }
    }
}

fn store_shard(shard: &Shard) -> StoredShard {
    let mut pending: Vec<_> = shard.pending.iter().map(|(id, pending)| (*id, pending.clone())).collect();
    pending.sort_unstable_by_key(|(id, _)| *id);
    let mut units: Vec<_> = shard.units.iter().map(|(id, unit)| (*id, unit.clone())).collect();
    units.sort_unstable_by_key(|(id, _)| *id);
    StoredShard { seen: shard.seen.store(), pending, units }
}

fn load_shard(stored: StoredShard) -> Shard {
    Shard {
        seen: SeenTable::load(stored.seen),
        pending: stored.pending.into_iter().collect(),
        units: stored.units.into_iter().collect(),
        dirty: false,
    }
}

fn store_roll(slot: usize, roll: &mut Roll, parts: &mut Vec<Part>) {
    roll.dirty = false;
    let chunks = roll.log.chunks.len();
    for chunk in roll.log.dirty_from..chunks {
        parts
            .push(Part { key: format!("rollout/{slot}/log/{chunk}"), bytes: write(&roll.log.chunks[chunk]) });
    }
    // The last chunk may still grow.
    roll.log.dirty_from = chunks.saturating_sub(1);
    let stored = StoredRoll { core: roll.core.clone(), chunks: chunks as u32, head: roll.log.head };
    parts.push(Part { key: format!("rollout/{slot}/core"), bytes: write(&stored) });
}

fn load_roll<'a>(
    slot: usize,
    find: &impl Fn(&str) -> Result<&'a Vec<u8>, BadCheckpoint>,
) -> Result<Roll, BadCheckpoint> {
    let key = format!("rollout/{slot}/core");
    let stored: StoredRoll = read(&key, find(&key)?)?;
    let mut chunks = Vec::with_capacity(stored.chunks as usize);
    for chunk in 0..stored.chunks {
        let key = format!("rollout/{slot}/log/{chunk}");
        chunks.push(read(&key, find(&key)?)?);
    }
    let dirty_from = chunks.len().saturating_sub(1);
    let log = LogWriter { chunks, head: stored.head, dirty_from };
    Ok(Roll { core: stored.core, log, dirty: false, changed: true })
}
