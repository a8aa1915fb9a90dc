//! What goes on while the store or the log cannot be written: kills hold in memory, markers wait.

use std::collections::VecDeque;

use ensign_control::catalogue::{Actor, Change, Command};
use ensign_control::evidence::Record;
use ensign_control::ids::Place;
use ensign_store::CommitError;

use super::{Done, Options};
use crate::App;
use crate::serving::{Serving, Version};

/// What only the writer touches.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The image may be older than the store: read it before deciding.
    pub(crate) stale: bool,
    /// Kills that hold in memory only, in order.
    pub(super) pending: Vec<(Command, Actor)>,
    /// Markers that the event log has not taken yet, in order.
    pub(crate) records: VecDeque<Record>,
    /// Counts changes of what is served that have no revision.
    overlay: u64,
}

/// Commands that must work whatever the disk does.
pub(super) fn is_kill(command: &Command) -> bool {
    matches!(command, Command::Kill { .. } | Command::KillValue { .. })
}

impl App {
    /// Serves a kill that cannot be stored, and says so.
    pub(super) fn hold_in_memory(
        &self,
        writer: &mut Writer,
        command: &Command,
        actor: &Actor,
        change: Change,
        error: &CommitError,
    ) -> Done {
        tracing::error!(%error, "a kill cannot be stored and holds in memory");
        writer.pending.push((command.clone(), actor.clone()));
        let places = self.image().places();
        self.refresh(writer, &places);
        let mut answer = change.answer;
        answer.sentences.push(
            "The store cannot be written now: this holds in memory from now on and is stored as soon as possible. \
             A restart before that would lose it."
                .to_owned(),
        );
        Done { answer, stored: false, ..Done::default() }
    }

    /// Tries again to store the kills that hold in memory, and to log the markers that wait. Called each second.
    pub(crate) async fn catch_up(&self) {
        let mut writer = self.writer.lock().await;
        if writer.stale
            && let Err(error) = self.reload(&mut writer).await
        {
            tracing::warn!(%error, "the store cannot be read and is tried again");
        }
        if !writer.records.is_empty() {
            self.tell_evidence(&mut writer).await;
        }
        for (command, actor) in std::mem::take(&mut writer.pending) {
            // One that fails again puts itself back.
            if let Err(error) = self.act_locked(&mut writer, &command, &actor, &Options::default()).await {
                tracing::warn!(%error, "a kill that held in memory is not needed any more");
            }
        }
    }

    /// Hands the waiting markers to the event log. They go before the new configuration is served, so that no exposure
    /// of a stratum comes before the stratum.
    pub(crate) async fn tell_evidence(&self, writer: &mut Writer) {
        while let Some(record) = writer.records.front() {
            if let Err(error) = self.pipeline.command(record.clone()).await {
                tracing::error!(%error, "a marker cannot be logged and waits");
                return;
            }
            writer.records.pop_front();
        }
    }

    /// Builds anew what some environments serve, and announces it.
    pub(crate) fn refresh(&self, writer: &mut Writer, places: &[Place]) {
        if !writer.pending.is_empty() {
            writer.overlay += 1;
        }
        let image = self.image();
        let overlaid =
            (!writer.pending.is_empty()).then(|| self.with_pending(&image.catalogue, &writer.pending));
        let catalogue = overlaid.as_ref().unwrap_or(&image.catalogue);
        for place in places {
            let state = match self.place(place) {
                Some(state) => state,
                None => match self.open_place(&image, place) {
                    Some(state) => state,
                    None => continue,
                },
            };
            let before = state.serving();
            let overlay = writer.overlay + image.member_changes();
            let revision = ensign_control::ids::Revision(image.revision(&crate::image::place_scope(place)));
            let version = Version { revision, overlay };
            state.swap(Serving::build(place, &state.keys, version, catalogue, &image, &before));
        }
    }

    fn with_pending(
        &self,
        catalogue: &ensign_control::catalogue::Catalogue,
        pending: &[(Command, Actor)],
    ) -> ensign_control::catalogue::Catalogue {
        let mut overlaid = catalogue.clone();
        for (command, actor) in pending {
            if let Ok(change) = overlaid.decide(command, actor, self.now()) {
                overlaid.apply(&change, &std::collections::BTreeMap::new());
            }
        }
        overlaid
    }
}
