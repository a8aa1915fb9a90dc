//! Numbers for names: attribute names, flag keys, segment keys. Numbers are never taken back, so that compiled
//! parts survive in the next ruleset.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// An append-only table of names.
#[derive(Debug, Clone, Default)]
pub struct Names {
    ids: FxHashMap<Arc<str>, u32>,
    list: Vec<Arc<str>>,
}

impl Names {
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let shared: Arc<str> = Arc::from(name);
        self.ids.insert(Arc::clone(&shared), id);
        self.list.push(shared);
        id
    }

    /// The number of a name, if it has one.
    #[must_use]
    #[inline]
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(crate) fn shared(&self, id: u32) -> Option<&Arc<str>> {
        self.list.get(id as usize)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
