//! The control plane's state in memory: the catalogue, the stored items as they stand, counters and opt-ins.
//!
//! Written by the writer only, after a commit. Handlers read it under a lock that is held for moments and never
//! across an await.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ensign_control::catalogue::{Catalogue, Change, Item, ItemKey, RecordKind, Scope};
use ensign_control::ids::{Key, Place};
use ensign_store::Membership;
use serde_json::Value as Json;

/// A stored item.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The revision of its scope at its last change.
    pub version: u64,
    /// Its body.
    pub body: Arc<Json>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Image {
    /// What decides.
    pub catalogue: Catalogue,
    items: BTreeMap<ItemKey, Stored>,
    revisions: BTreeMap<Scope, u64>,
    members: BTreeMap<(Scope, String), BTreeSet<String>>,
    member_changes: u64,
}

/// The scope of a place, a project or the installation in the store's terms.
pub(crate) fn store_scope(scope: &Scope) -> ensign_store::Scope {
    ensign_store::Scope { project: scope.project.clone(), environment: scope.environment.clone() }
}

pub(crate) fn from_store_scope(scope: &ensign_store::Scope) -> Scope {
    Scope { project: scope.project.clone(), environment: scope.environment.clone() }
}

/// The scope of one environment.
pub(crate) fn place_scope(place: &Place) -> Scope {
    Scope { project: place.project.to_string(), environment: Some(place.environment.to_string()) }
}

/// The scope of a whole project.
pub(crate) fn project_scope(project: &Key) -> Scope {
    Scope { project: project.to_string(), environment: None }
}

impl Image {
    /// The image of a store's content. Bodies that are not JSON are named in the log and left out: one bad item is
    /// one bad item.
    pub(crate) fn load(stored: ensign_store::Image, members: ensign_store::Members) -> Self {
        let mut items = BTreeMap::new();
        for item in stored.items {
            let id =
                ItemKey { scope: from_store_scope(&item.id.scope), kind: item.id.kind, key: item.id.key };
            match serde_json::from_slice::<Json>(&item.body) {
                Ok(body) => {
                    items.insert(id, Stored { version: item.version.0, body: Arc::new(body) });
                }
                Err(error) => {
                    tracing::error!(kind = id.kind, key = id.key, %error, "a stored item is not JSON");
                }
            }
        }
        let all = items.iter().map(|(id, stored)| Item {
            id: id.clone(),
            version: stored.version,
            body: stored.body.as_ref().clone(),
        });
        let (catalogue, problems) = Catalogue::load(all);
        for problem in problems {
            tracing::error!(%problem, "a stored item cannot be read and is left out");
        }
        let revisions =
            stored.revisions.iter().map(|(scope, rev)| (from_store_scope(scope), rev.0)).collect();
        let mut image = Self { catalogue, items, revisions, ..Self::default() };
        image.member_changes = members.changes;
        for member in members.members {
            image.set_member(&member, true);
        }
        image
    }

    /// Takes in a committed change.
    pub(crate) fn apply(&mut self, change: &Change, revisions: &BTreeMap<Scope, u64>) {
        self.catalogue.apply(change, revisions);
        for (scope, revision) in revisions {
            self.revisions.insert(scope.clone(), *revision);
        }
        for (id, body) in &change.puts {
            let version = self.revisions.get(&id.scope).copied().unwrap_or_default();
            self.items.insert(id.clone(), Stored { version, body: Arc::new(body.clone()) });
        }
        for id in &change.forgets {
            self.items.remove(id);
        }
    }

    pub(crate) fn set_member(&mut self, member: &Membership, is: bool) {
        let units =
            self.members.entry((from_store_scope(&member.scope), member.segment.clone())).or_default();
        let changed = if is { units.insert(member.unit.clone()) } else { units.remove(&member.unit) };
        self.member_changes += u64::from(changed);
    }

    /// The opted-in units of a segment, in order.
    #[must_use]
    pub fn members(&self, place: &Place, segment: &str) -> Option<&BTreeSet<String>> {
        self.members.get(&(place_scope(place), segment.to_owned())).filter(|units| !units.is_empty())
    }

    /// How often opt-ins have changed.
    #[must_use]
    pub fn member_changes(&self) -> u64 {
        self.member_changes
    }

    /// One item; erased ones are not there.
    #[must_use]
    pub fn item(&self, scope: &Scope, kind: &str, key: &str) -> Option<&Stored> {
        let id = ItemKey { scope: scope.clone(), kind: kind.to_owned(), key: key.to_owned() };
        self.items.get(&id).filter(|stored| !gone(stored))
    }

    /// The items of a kind in a scope, by key.
    pub fn items<'a>(
        &'a self,
        scope: &Scope,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Stored)> + use<'a> {
        let from = ItemKey { scope: scope.clone(), kind: kind.to_owned(), key: String::new() };
        let scope = scope.clone();
        self.items
            .range(from..)
            .take_while(move |(id, _)| id.scope == scope && id.kind == kind)
            .filter(|(_, stored)| !gone(stored))
            .map(|(id, stored)| (id.key.as_str(), stored))
    }

    /// The records of a kind in every scope.
    pub fn records(&self, kind: RecordKind) -> impl Iterator<Item = (&ItemKey, &Stored)> {
        self.items.iter().filter(move |(id, stored)| id.kind == kind.word() && !gone(stored))
    }

    /// The keys of all projects.
    #[must_use]
    pub fn projects(&self) -> Vec<Key> {
        let found = self.items(&Scope::default(), "project");
        found.filter_map(|(key, _)| key.parse().ok()).collect()
    }

    /// Every environment of a project.
    #[must_use]
    pub fn environments(&self, project: &Key) -> Vec<Place> {
        let scope = project_scope(project);
        let found = self.items(&scope, "environment").filter_map(|(key, _)| key.parse().ok());
        found.map(|environment| Place { project: project.clone(), environment }).collect()
    }

    /// Every environment.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        self.projects().iter().flat_map(|project| self.environments(project)).collect()
    }

    /// The number of a scope's last change.
    #[must_use]
    pub fn revision(&self, scope: &Scope) -> u64 {
        self.revisions.get(scope).copied().unwrap_or_default()
    }

    /// Whether nothing was ever stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

fn gone(stored: &Stored) -> bool {
    stored.body.get("gone") == Some(&Json::Bool(true))
}
