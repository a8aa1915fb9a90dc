//! The catalogue: projects, environments, flags and what belongs to them, as a pure state machine.
//!
//! [`Catalogue::decide`] turns a command into a [`Change`] without touching anything; [`Catalogue::apply`] takes in a
//! change that has been committed. Absent on purpose: a clock, a store, and any rule about who may do what.

mod apply;
mod canonical;
mod change;
mod check;
mod command;
mod compile;
mod deployments;
mod draft;
mod export;
mod flags;
mod history;
mod merge;
mod pins;
mod query;
mod record;
mod rollouts;
mod setup;
pub mod state;
mod strata;
mod variants;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use change::{
    Answer, AuditEntry, Change, EvidenceNote, Item, ItemKey, Line, Notice, PlanItem, Refusal, Rejected,
    Scope, Verb,
};
pub use command::{Actor, Command, Mode, Source, rfc3339};
pub use deployments::{ApplicationView, EnvironmentView};
pub use export::{Export, ExportFormat};
pub use history::{HistoryEntry, HistoryRecord, history};
pub use query::{FlagView, UseCaseView};
pub use record::{ApiKey, KeyScope, Record, RecordKind, Window};
pub use rollouts::RolloutAction;

use crate::document::Problem;
use crate::ids::{Key, Place, Timestamp};
use draft::Draft;
use state::Body;
use view::View;

/// One item with its version.
#[derive(Debug, Clone)]
struct Stored {
    version: u64,
    body: Arc<Body>,
}

/// The definitions of one environment, by key.
#[derive(Debug, Clone, Default)]
struct Compiled {
    flags: BTreeMap<Key, Arc<ensign_eval::model::Flag>>,
    segments: BTreeMap<String, Arc<ensign_eval::model::Segment>>,
}

/// The state of one installation.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    items: BTreeMap<ItemKey, Stored>,
    compiled: BTreeMap<Place, Compiled>,
}

/// What an environment's ruleset is compiled from.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// Flags by key; retired ones are left out.
    pub flags: Vec<Arc<ensign_eval::model::Flag>>,
    /// Segments by key.
    pub segments: Vec<Arc<ensign_eval::model::Segment>>,
}

/// The key of the project that exists from the start.
pub const DEFAULT_PROJECT: &str = "default";

/// The environments that every project has from the start.
pub const ENVIRONMENTS: [&str; 2] = ["production", "staging"];

impl Catalogue {
    /// The state that the stored items describe. An item that cannot be read is left out and named.
    pub fn load(items: impl IntoIterator<Item = Item>) -> (Self, Vec<Problem>) {
        let (mut catalogue, mut problems) = (Self::default(), Vec::new());
        for item in items {
            match Body::read(&item.id.kind, &item.body) {
                Ok(body) => {
                    catalogue.items.insert(item.id, Stored { version: item.version, body: Arc::new(body) });
                }
                Err(why) => {
                    let sentence = format!(
                        "The stored {} {} cannot be read and is left out: {why}.",
                        item.id.kind, item.id.key
                    );
                    problems.push(Problem::new("unreadable_item", "", sentence));
                }
            }
        }
        let all: Vec<ItemKey> = catalogue.items.keys().cloned().collect();
        catalogue.recompile(&all);
        (catalogue, problems)
    }

    /// The change that an empty store needs: project `default` with `production` and `staging`.
    pub fn initial(now: Timestamp) -> Change {
        let (empty, actor) = (Self::default(), Actor::new("setup"));
        let mut draft = Draft::new(&empty, &actor, now, None);
        setup::create_project(&mut draft, &DEFAULT_PROJECT.parse().expect("the word is a key"));
        draft.finish()
    }

    /// What a command would do. Nothing happens yet: a plan is a decision that nobody commits.
    ///
    /// # Errors
    /// [`Rejected`] says why not: the domain refuses, or the input is wrong somewhere.
    pub fn decide(&self, command: &Command, actor: &Actor, now: Timestamp) -> Result<Change, Rejected> {
        let mut draft = Draft::new(self, actor, now, command.reason().map(str::to_owned));
        match command {
            Command::Apply { project, environment, sources, mode, .. } => {
                apply::apply(&mut draft, project, environment.as_ref(), sources, *mode)?;
            }
            Command::CreateProject { project } => setup::new_project(&mut draft, project)?,
            Command::CreateEnvironment { place } => setup::new_environment(&mut draft, place)?,
            Command::Switch { place, flag, on, .. } => flags::switch(&mut draft, place, flag, *on)?,
            Command::Kill { place, flag, to, .. } => flags::kill(&mut draft, place, flag, to.as_ref())?,
            Command::KillValue { place, value, .. } => flags::kill_value(&mut draft, place, value)?,
            Command::Restore { place, flag, .. } => flags::restore(&mut draft, place, flag)?,
            Command::AddPin { place, flag, pin } => pins::add(&mut draft, place, flag, pin)?,
            Command::RemovePin { place, flag, pin, .. } => pins::remove(&mut draft, place, flag, pin)?,
            Command::ExpirePin { place, flag, pin } => pins::expire(&mut draft, place, flag, pin)?,
            Command::Retire { project, flag, .. } => flags::retire(&mut draft, project, flag)?,
            Command::Unretire { project, flag, .. } => flags::unretire(&mut draft, project, flag)?,
            Command::RestoreRevision { place, flag, revision, snapshot, .. } => {
                flags::restore_revision(&mut draft, place, flag, *revision, snapshot)?;
            }
            Command::SetSplit { place, flag, rule, weights, .. } => {
                flags::set_split(&mut draft, place, flag, rule.as_deref(), weights)?;
            }
            Command::RolloutStart { place, document, .. } => rollouts::start(&mut draft, place, document)?,
            Command::Rollout { place, flag, action, .. } => rollouts::act(&mut draft, place, flag, *action)?,
            Command::HoldAll { place, .. } => rollouts::hold_all(&mut draft, place)?,
            Command::RolloutTick { rollout, evidence, log, method } => {
                rollouts::tick(&mut draft, rollout, evidence.as_deref(), log.as_deref(), method)?;
            }
            Command::Deploy { ask, .. } => deployments::decide(&mut draft, ask)?,
            Command::PutRecord { record, .. } => setup::put_record(&mut draft, record)?,
            Command::RemoveRecord { project, environment, kind, key, .. } => {
                setup::remove_record(&mut draft, project.as_ref(), environment.as_ref(), *kind, key)?;
            }
        }
        Ok(draft.finish())
    }

    /// Takes in a committed change. `revisions` are the new numbers of the scopes that rose.
    pub fn apply(&mut self, change: &Change, revisions: &BTreeMap<Scope, u64>) {
        let mut touched = Vec::new();
        for (id, json) in &change.puts {
            // The body was made from a typed one by `decide`, so reading it back cannot fail.
            let Ok(body) = Body::read(&id.kind, json) else { continue };
            let version = revisions.get(&id.scope).copied().unwrap_or(0);
            self.items.insert(id.clone(), Stored { version, body: Arc::new(body) });
            touched.push(id.clone());
        }
        for id in &change.forgets {
            self.items.remove(id);
            touched.push(id.clone());
        }
        self.recompile(&touched);
    }

    /// What the clock asks for: each command is to be decided and committed on its own.
    pub fn due(&self, now: Timestamp) -> Vec<Command> {
        let due = pins::dated(self).into_iter().filter(|(at, _)| *at <= now);
        due.map(|(_, command)| command).collect()
    }

    /// When [`Catalogue::due`] will next have something, if anything is dated.
    pub fn wake_at(&self) -> Option<Timestamp> {
        pins::dated(self).into_iter().map(|(at, _)| at).min()
    }

    /// The definitions of an environment. A flag or segment that has not changed is the same `Arc` as before.
    pub fn compile(&self, place: &Place) -> Definitions {
        let Some(compiled) = self.compiled.get(place) else { return Definitions::default() };
        Definitions {
            flags: compiled.flags.values().cloned().collect(),
            segments: compiled.segments.values().cloned().collect(),
        }
    }

    /// The version of an item, for whoever wants to expect it.
    pub fn version(&self, id: &ItemKey) -> Option<u64> {
        self.items.get(id).map(|stored| stored.version)
    }

    fn recompile(&mut self, touched: &[ItemKey]) {
        let touched: BTreeSet<&ItemKey> = touched.iter().collect();
        for id in touched {
            let Some(place) = place_of(id) else { continue };
            match id.kind.as_str() {
                "flag_state" => self.recompile_flag(&place, &id.key),
                "segment" => {
                    let found = self.segment(&place, &id.key);
                    let version = self.version(id).unwrap_or(0);
                    let compiled = self.compiled.entry(place.clone()).or_default();
                    match found {
                        Some(state) => {
                            let segment = compile::segment(&place, &id.key, &state, version);
                            compiled.segments.insert(id.key.clone(), Arc::new(segment));
                        }
                        None => drop(compiled.segments.remove(&id.key)),
                    }
                }
                _ => {}
            }
        }
    }

    fn recompile_flag(&mut self, place: &Place, key: &str) {
        let Ok(flag) = key.parse::<Key>() else { return };
        let record = self.flag(&place.project, &flag).filter(|record| record.retired.is_none());
        let state = self.state(place, &flag);
        let version = self.version(&ItemKey::state(place, &flag)).unwrap_or(0);
        let definition = record.zip(state).map(|(record, state)| {
            let mut definition = compile::flag(place, &record, &state, version);
            definition.prerequisites =
                compile::prerequisites(&state, |other| self.flag(&place.project, other));
            definition
        });
        let compiled = self.compiled.entry(place.clone()).or_default();
        match definition {
            Some(definition) => drop(compiled.flags.insert(flag, Arc::new(definition))),
            None => drop(compiled.flags.remove(&flag)),
        }
    }
}

fn place_of(id: &ItemKey) -> Option<Place> {
    let environment = id.scope.environment.as_ref()?.parse().ok()?;
    Some(Place { project: id.scope.project.parse().ok()?, environment })
}
