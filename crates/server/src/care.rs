//! Care of the data: opt-ins, backup, erasure.

use std::path::PathBuf;

use ensign_control::catalogue::Actor;
use ensign_control::evidence::Record;
use ensign_control::ids::Place;
use ensign_control::token::unit_hash;
use ensign_store::secrets::token_hash;
use ensign_store::{AuditDraft, Commit, Fault, MembersOf, Membership, Micros, backup};
use serde_json::json;

use crate::image::{place_scope, store_scope};
use crate::keys::hex;
use crate::{ApiError, App};

/// One line of the raw export.
#[derive(serde::Serialize)]
struct RawLine<P> {
    position: P,
    record: Record,
}

impl App {
    /// Opts a unit in or out of a segment. Durable when this returns, and served by the next evaluation.
    pub(crate) async fn opt(&self, membership: &Membership, member: bool) -> Result<(), ApiError> {
        let mut writer = self.writer.lock().await;
        self.deps.store.set_member(membership, member).await?;
        self.image_mut().set_member(membership, member);
        let scope = &membership.scope;
        let places: Vec<Place> = self
            .places()
            .keys()
            .filter(|place| store_scope(&place_scope(place)) == *scope)
            .cloned()
            .collect();
        self.refresh(&mut writer, &places);
        Ok(())
    }

    /// Copies everything into `backups/NAME` of the data folder, while running.
    pub(crate) async fn backup(&self, name: &str) -> Result<PathBuf, ApiError> {
        let home = self.data.join("backups");
        let to = home.join(name);
        std::fs::create_dir_all(&home)
            .map_err(|error| Fault::machine(format!("cannot create {}: {error}", home.display())))?;
        if to.exists() {
            let detail = format!("There is a backup \"{name}\" already.");
            return Err(ApiError::new("refused", detail).pointer("/name"));
        }
        backup::take(self.deps.store.as_ref(), self.deps.log.clone(), &self.data, &to).await?;
        Ok(to)
    }

    /// Raw records of the event log, and where to go on. Blocks on the disk.
    pub(crate) fn raw_events(
        &self,
        from: Option<u64>,
        limit: usize,
    ) -> Result<(String, Option<u64>), ApiError> {
        let unreadable = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "the event log cannot be read");
            ApiError::new(
                "store_failed",
                "The event log cannot be read from there; the server's log says why.",
            )
        };
        let first = self.deps.log.segments().first().map_or(0, |segment| segment.first);
        let from = from.unwrap_or(first);
        if from < first {
            let detail = format!("Records before {first} have been dropped: the retention has passed.");
            return Err(ApiError::not_found(detail));
        }
        let (mut text, mut read) = (String::new(), 0);
        for entry in self.pipeline.read_log(from).map_err(|error| unreadable(&error))? {
            let (position, bytes) = entry.map_err(|error| unreadable(&error))?;
            if read == limit {
                return Ok((text, Some(position)));
            }
            let record = Record::from_bytes(&bytes).map_err(|error| unreadable(&error))?;
            // Written straight as text: ids of 128 bits do not fit the numbers of a JSON value.
            let line = serde_json::to_string(&RawLine { position, record });
            text.push_str(&line.expect("a record has string keys and finite numbers"));
            text.push('\n');
            read += 1;
        }
        Ok((text, None))
    }

    /// Forgets a unit of an environment. Returns how many opt-ins went. The audit log keeps that it happened, and a
    /// hash instead of the key.
    pub(crate) async fn erase(
        &self,
        place: &Place,
        kind: &str,
        unit: &str,
        actor: &Actor,
    ) -> Result<usize, ApiError> {
        let state = self.place(place).ok_or_else(|| ApiError::not_found("The environment is not served."))?;
        let scope = store_scope(&place_scope(place));
        let members = self.deps.store.members(MembersOf::Unit(unit.to_owned())).await?.members;
        let mut gone = 0;
        for membership in members.into_iter().filter(|membership| membership.scope == scope) {
            self.opt(&membership, false).await?;
            gone += 1;
        }
        let hash = unit_hash(state.keys.unit, place, kind, unit);
        let record = Record::Erase { place: place.clone(), unit: hash };
        if let Err(error) = self.pipeline.command(record).await {
            tracing::error!(%error, "an erasure cannot be logged");
            return Err(ApiError::new("store_full", "The event log cannot be written now; send it again.")
                .retry_after(30));
        }
        let draft = AuditDraft {
            scope,
            actor: actor.name.clone(),
            action: "unit.erase".to_owned(),
            subject: format!("unit/{kind}/{}", &hex(&token_hash(unit))[..16]),
            reason: None,
            at: Micros(self.now().0),
            diff: json!({ "opt_ins": gone }).to_string().into_bytes(),
        };
        self.deps.store.commit(Commit { audit: vec![draft], ..Commit::default() }).await?;
        Ok(gone)
    }
}
