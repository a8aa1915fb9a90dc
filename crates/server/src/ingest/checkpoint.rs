//! Saving the evidence now and then, so that a start need not read the whole log.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_control::evidence::Part;
use ensign_store::{Fault, Store};

/// Parts that the engine has handed out and the store has not taken yet.
///
/// The engine tells each change once. A save that fails must not lose it, so it waits here for the next one.
#[derive(Default)]
pub(super) struct Unsaved {
    parts: BTreeMap<String, Vec<u8>>,
}

impl Unsaved {
    /// Adds what changed and saves everything that waits. On a fault all of it waits on.
    pub(super) async fn save(
        &mut self,
        store: &Arc<dyn Store>,
        position: u64,
        changed: Vec<Part>,
    ) -> Result<(), Fault> {
        self.parts.extend(changed.into_iter().map(|part| (part.key, part.bytes)));
        let parts = self.parts.iter().map(|(key, bytes)| (key.clone(), bytes.clone())).collect();
        store.save_checkpoint(position, parts).await?;
        self.parts.clear();
        Ok(())
    }
}
