//! Saving the evidence now and then, so that a start need not read the whole log.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_control::evidence::Snapshot;
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
        changed: Snapshot,
    ) -> Result<(), Fault> {
        let mut parts = std::mem::take(&mut self.parts);
        // Writing millions of units out takes long enough to keep a whole thread busy.
        let write = move || {
            parts.extend(changed.parts().map(|part| (part.key, part.bytes)));
            let copy = parts.iter().map(|(key, bytes)| (key.clone(), bytes.clone())).collect();
            (parts, copy)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let (parts, copy) = written.map_err(|error| Fault::ours(format!("checkpoint: {error}")))?;
        self.parts = parts;
        store.save_checkpoint(position, copy).await?;
        self.parts.clear();
        Ok(())
    }
}
