//! What the data plane looks up: applications, environments, profiles and documents, by id and by name, without a
//! lock. Made anew after a change of any of them; documents are carried over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use ensign_control::catalogue::Catalogue;
use ensign_control::deployment::flags::Document;
use ensign_control::deployment::{Profile, ProfileKind};
use ensign_control::ids::{Key, Place, Timestamp};
use ensign_protocol::appconfig::token::pad;
use rustc_hash::FxHashMap;

/// A version as sessions get it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(super) number: u32,
    pub(super) label: Option<String>,
    pub(super) content_type: String,
    pub(super) body: Bytes,
    /// As it was stored, for profiles of flags.
    pub(super) document: Option<Document>,
}

/// A profile with its documents.
#[derive(Debug)]
pub(crate) struct ProfileEntry {
    pub(super) profile: Profile,
    /// By the name of the variant.
    pub(super) versions: BTreeMap<String, Arc<Served>>,
}

/// An environment with the profiles of its application.
#[derive(Debug)]
pub(crate) struct EnvironmentEntry {
    pub(super) place: Place,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) by_credential: bool,
    pub(super) application: Arc<ApplicationEntry>,
}

/// An application.
#[derive(Debug)]
pub(crate) struct ApplicationEntry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) account: Key,
    pub(super) profiles: Vec<Arc<ProfileEntry>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    applications: Vec<Arc<ApplicationEntry>>,
    environments: FxHashMap<[u8; 8], Arc<EnvironmentEntry>>,
    documents: BTreeMap<(String, u32), Arc<Served>>,
}

/// The kinds of items a directory is made of.
const KINDS: [&str; 6] =
    ["project", "environment", "application", "deployment_environment", "profile", "document_version"];

/// Whether a change touches the directory.
pub(crate) fn touches(kind: &str) -> bool {
    KINDS.contains(&kind)
}

impl Directory {
    /// The directory of a catalogue; documents that `before` has are not read again.
    pub(crate) fn of(catalogue: &Catalogue, before: &Self) -> Self {
        let mut directory = Self::default();
        for found in catalogue.every_application() {
            let project = found.project;
            let profiles = catalogue.profiles(&project).into_iter().map(|profile| {
                let mut versions = BTreeMap::new();
                for number in 1..=profile.versions {
                    let Some(version) = catalogue.document_version_at(&project, &profile.id, number) else {
                        continue;
                    };
                    if version.deleted {
                        continue;
                    }
                    let key = (profile.id.clone(), number);
                    let known = before.documents.get(&key).cloned();
                    let served = known.unwrap_or_else(|| Arc::new(served(&profile, version)));
                    directory.documents.insert(key, Arc::clone(&served));
                    versions.insert(version.variant.clone(), served);
                }
                Arc::new(ProfileEntry { profile, versions })
            });
            let profiles = profiles.collect();
            let application = Arc::new(ApplicationEntry {
                id: found.application.id,
                name: found.application.name,
                account: found.application.account,
                profiles,
            });
            for found in catalogue.deployment_environments(&project) {
                let entry = EnvironmentEntry {
                    by_credential: found.environment.by_credential(),
                    place: found.place,
                    id: found.environment.id,
                    name: found.environment.name,
                    application: Arc::clone(&application),
                };
                directory.environments.insert(pad(&entry.id), Arc::new(entry));
            }
            directory.applications.push(application);
        }
        directory
    }

    /// An environment by its padded id.
    pub(super) fn environment(&self, id: &[u8; 8]) -> Option<&Arc<EnvironmentEntry>> {
        self.environments.get(id)
    }

    /// What three ids or names mean to somebody who sees only some applications; or which of the three means nothing.
    pub(super) fn find(
        &self,
        sees: impl Fn(&EnvironmentEntry) -> bool,
        [application, environment, profile]: [&str; 3],
    ) -> Result<(Arc<EnvironmentEntry>, Arc<ProfileEntry>), &'static str> {
        let named = |id: &str, name: &str, wanted: &str| id == wanted || name == wanted;
        let visible = || self.environments.values().filter(|entry| sees(entry));
        let mut ours =
            visible().filter(|entry| named(&entry.application.id, &entry.application.name, application));
        if ours.clone().next().is_none() {
            return Err("Application");
        }
        let Some(found) = ours.find(|entry| named(&entry.id, &entry.name, environment)) else {
            return Err("Environment");
        };
        let mut profiles = found.application.profiles.iter();
        let entry = profiles.find(|entry| named(&entry.profile.id, &entry.profile.name, profile));
        entry.map(|entry| (Arc::clone(found), Arc::clone(entry))).ok_or("ConfigurationProfile")
    }
}

impl EnvironmentEntry {
    pub(super) fn profile(&self, id: &str) -> Option<&Arc<ProfileEntry>> {
        self.application.profiles.iter().find(|entry| entry.profile.id == id)
    }
}

fn served(profile: &Profile, version: &ensign_control::deployment::Version) -> Served {
    let document = match profile.kind {
        ProfileKind::Flags => Document::read(&version.content).ok(),
        ProfileKind::Freeform => None,
    };
    let (content_type, body) = match &document {
        Some(document) => {
            let (kind, text) = document.served();
            (kind.to_owned(), Bytes::from(text))
        }
        None => (version.content_type.clone(), Bytes::copy_from_slice(&version.content)),
    };
    Served { number: version.number, label: version.label.clone(), content_type, body, document }
}

/// When configurations were last fetched, for deletion protection: by environment and profile. In memory only.
#[derive(Debug, Default)]
pub(crate) struct Seen(arc_swap::ArcSwap<FxHashMap<(String, String), Arc<AtomicI64>>>);

impl Seen {
    /// Notes that a profile was fetched in an environment.
    pub(super) fn note(&self, environment: &str, profile: &str, now: Timestamp) {
        let known = self.0.load();
        let key = (environment.to_owned(), profile.to_owned());
        if let Some(at) = known.get(&key) {
            at.store(now.0, Ordering::Relaxed);
            return;
        }
        self.0.rcu(|known| {
            let mut next = FxHashMap::clone(known);
            next.entry(key.clone()).or_default().store(now.0, Ordering::Relaxed);
            next
        });
    }

    /// When an environment, a profile, or one in the other was last fetched.
    pub(super) fn last(&self, environment: Option<&str>, profile: Option<&str>) -> Option<Timestamp> {
        let known = self.0.load();
        let fits = |key: &(String, String)| {
            environment.is_none_or(|own| key.0 == own) && profile.is_none_or(|own| key.1 == own)
        };
        known.iter().filter(|(key, _)| fits(key)).map(|(_, at)| Timestamp(at.load(Ordering::Relaxed))).max()
    }
}
