//! The one write path: decide, commit, tell the evidence, serve, announce.
//!
//! One writer at a time decides. A commit that meets another process's change reloads and decides again. Absent on
//! purpose: any rule about what a command may do (the catalogue's) or who may give it (the routes').

mod commit;
mod fallback;

use std::collections::BTreeMap;

use ensign_control::catalogue::{Actor, Answer, Change, Command, Scope};
use ensign_control::ids::Place;
use ensign_store::{CommitError, FenceCheck};
use serde::{Deserialize, Serialize};

pub(crate) use fallback::Writer;

use crate::image::{from_store_scope, place_scope};
use crate::keys::{self, EnvironmentCredentials};
use crate::{ApiError, App, limits};

/// How a change is to be made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Makes a retry of the same request return the first answer.
    pub idempotency_key: Option<String>,
    /// The lease under which it was decided.
    pub fence: Option<FenceCheck>,
    /// The position of the event log up to which the decision has seen events.
    pub log_position: Option<u64>,
}

/// What a change did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Done {
    /// The new numbers of the scopes that rose.
    #[serde(with = "commit::pairs")]
    pub revisions: BTreeMap<Scope, u64>,
    /// What the asker is told.
    pub answer: Answer,
    /// Credentials of environments that were made; shown once.
    pub credentials: BTreeMap<String, EnvironmentCredentials>,
    /// False for a kill that holds in memory only, until the store can be written again.
    pub stored: bool,
    /// Whether this is the answer of an earlier, identical request.
    pub replayed: bool,
}

impl Done {
    /// The new revision of a place, or of its project, if one rose.
    #[must_use]
    pub fn revision(&self, place: &Place) -> Option<u64> {
        self.revisions.get(&place_scope(place)).copied()
    }
}

impl App {
    /// What a command would do. Nothing happens.
    ///
    /// # Errors
    /// The domain's refusal or the input's problems.
    pub fn plan(&self, command: &Command, actor: &Actor) -> Result<Change, ApiError> {
        Ok(self.image().catalogue.decide(command, actor, self.now())?)
    }

    /// Does what a command says, durably, or says why not.
    ///
    /// # Errors
    /// The domain's refusal, the input's problems, or a store that failed.
    pub async fn act(&self, command: &Command, actor: &Actor, options: Options) -> Result<Done, ApiError> {
        let mut writer = self.writer.lock().await;
        self.act_locked(&mut writer, command, actor, &options).await
    }

    pub(crate) async fn act_locked(
        &self,
        writer: &mut Writer,
        command: &Command,
        actor: &Actor,
        options: &Options,
    ) -> Result<Done, ApiError> {
        if writer.stale {
            // Also before an answer is repeated: what it tells of must be served. A failure is met again below.
            let _ = self.reload(writer).await;
        }
        let idempotency = options.idempotency_key.as_ref().map(|key| format!("{}/{key}", actor.name));
        if let Some(key) = &idempotency
            && let Some(response) = self.deps.store.recall(key).await?
        {
            return commit::replay(&response, command);
        }
        for _ in 0..limits::ATTEMPTS {
            if writer.stale && self.reload(writer).await.is_err() && !fallback::is_kill(command) {
                return Err(
                    ApiError::new("store_failed", "The store cannot be read at the moment.").retry_after(5)
                );
            }
            let now = self.now();
            let mut change = self.plan(command, actor)?;
            if change.is_empty() && change.audit.is_empty() && change.notices.is_empty() {
                return Ok(Done { answer: change.answer, stored: true, ..Done::default() });
            }
            let credentials = self.new_credentials(&mut change)?;
            let done = Done { answer: change.answer.clone(), credentials, stored: true, ..Done::default() };
            let mut commit = self.commit_of(&change, options, now);
            if let Some(key) = &idempotency {
                commit.idempotency = Some(self.idempotency(key, command, &done, &change, now));
            }
            match self.deps.store.commit(commit).await {
                Ok(committed) => {
                    let revisions: BTreeMap<Scope, u64> = committed
                        .revisions
                        .iter()
                        .map(|(scope, rev)| (from_store_scope(scope), rev.0))
                        .collect();
                    self.telemetry.change("committed");
                    self.committed(writer, &change, &revisions).await;
                    return Ok(Done { revisions, ..done });
                }
                Err(CommitError::Conflict { .. }) => {
                    self.telemetry.change("decided_again");
                    writer.stale = true;
                }
                Err(CommitError::Replayed { response }) => return commit::replay(&response, command),
                Err(error @ (CommitError::Full | CommitError::Fault(_))) => {
                    // Whether it happened is not known after a fault: look before deciding anything else.
                    writer.stale |= matches!(error, CommitError::Fault(_));
                    self.telemetry.change("not_stored");
                    if fallback::is_kill(command) {
                        return Ok(self.hold_in_memory(writer, command, actor, change, &error));
                    }
                    return Err(error.into());
                }
                Err(CommitError::Fenced) => return Err(CommitError::Fenced.into()),
            }
        }
        Err(ApiError::new("conflict", "The same items kept changing meanwhile. Look and send it again."))
    }

    /// New environments get their keys in the same transaction.
    fn new_credentials(
        &self,
        change: &mut Change,
    ) -> Result<BTreeMap<String, EnvironmentCredentials>, ApiError> {
        let mut credentials = BTreeMap::new();
        let now = self.now();
        let made: Vec<(Scope, String)> = change
            .puts
            .iter()
            .filter(|(id, _)| id.kind == "environment")
            .map(|(id, _)| (id.scope.clone(), id.key.clone()))
            .collect();
        for (scope, key) in made {
            let (Ok(project), Ok(environment)) = (scope.project.parse(), key.parse()) else { continue };
            let place = Place { project, environment };
            if self.place(&place).is_none() {
                let made = keys::for_environment(&self.secret, &place, now, change)?;
                credentials.insert(place.to_string(), made);
            }
        }
        Ok(credentials)
    }

    /// After a commit: memory, then the evidence, then what is served, then the announcement.
    async fn committed(&self, writer: &mut Writer, change: &Change, revisions: &BTreeMap<Scope, u64>) {
        {
            let mut image = self.image_mut();
            image.apply(change, revisions);
            if commit::touches_keys(change) {
                self.access.store(keys::Access::of(&image).into());
            }
            self.follow_deployments(&image, change);
        }
        writer.records.extend(commit::records(change, &self.image(), self.now()));
        self.tell_evidence(writer).await;
        self.refresh(writer, &commit::places(change, revisions, &self.image()));
    }

    /// Reads everything anew: another process has written, or it is not known what the last commit did.
    pub(crate) async fn reload(&self, writer: &mut Writer) -> Result<(), ApiError> {
        let stored = self.deps.store.load().await?;
        let members = self.deps.store.members(ensign_store::MembersOf::All).await?;
        let image = crate::image::Image::load(stored, members);
        self.access.store(keys::Access::of(&image).into());
        self.aws.store(crate::appconfig::AwsKeys::of(&self.secret, &image).into());
        let directory = crate::appconfig::Directory::of(&image.catalogue, &self.directory.load());
        self.directory.store(directory.into());
        let places = image.places();
        *self.image_mut() = image;
        writer.stale = false;
        self.refresh(writer, &places);
        Ok(())
    }
}
