//! The tables of units and requests, split by hash, and shared with a checkpoint that is being written.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::dedup::{Id128, SeenTable};
use super::requests::Pending;
use super::units::UnitState;

/// Shards of the unit and request tables.
const SHARDS: usize = 256;

/// One of the parts the tables are split into.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Shard {
    pub(crate) seen: SeenTable,
    /// Boxed: the table grows by moving, and a request is ten times its key.
    pub(crate) pending: FxHashMap<Id128, Box<Pending>>,
    pub(crate) units: FxHashMap<Id128, UnitState>,
    pub(crate) dirty: bool,
}

/// All shards. A shard that a snapshot still holds is copied before it is changed, so that taking a snapshot costs
/// the fold one shard at a time and never a stop.
#[derive(Debug)]
pub(crate) struct Shards(Vec<Arc<Shard>>);

impl Shards {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Arc::default()).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.0.iter().map(Arc::as_ref)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.0.iter_mut().map(Arc::make_mut)
    }

    /// The shards that changed since the last call, each with its number.
    pub(crate) fn take_dirty(&mut self) -> Vec<(usize, Arc<Shard>)> {
        let dirty = self.0.iter_mut().enumerate().filter(|(_, shard)| shard.dirty);
        dirty
            .map(|(at, shard)| {
                Arc::make_mut(shard).dirty = false;
                (at, shard.clone())
            })
            .collect()
    }
}

impl Index<usize> for Shards {
    type Output = Shard;
    fn index(&self, at: usize) -> &Shard {
        &self.0[at]
    }
}

impl IndexMut<usize> for Shards {
    fn index_mut(&mut self, at: usize) -> &mut Shard {
        Arc::make_mut(&mut self.0[at])
    }
}
