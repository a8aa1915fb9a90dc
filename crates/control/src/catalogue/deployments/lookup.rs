//! Finding things, in the catalogue as it is and in a draft. A project that nobody has described is an application of
//! its own name, and so is an environment.

use super::super::Catalogue;
use super::super::change::{ItemKey, Refusal, Scope};
use super::super::state::{Body, Section};
use super::super::view::View;
use super::{application_id, deployment_key, environment_id, missing, version_key};
use crate::deployment::{
    Alarm, Application, Deployment, Environment, Item, NOTHING, Profile, ProfileKind, Settings, Strategy,
    Tags, UNIT, Version, predefined,
};
use crate::ids::{Key, Place};

/// A project as an application.
#[derive(Debug, Clone, PartialEq)]
pub struct ApplicationView {
    /// The project.
    pub project: Key,
    /// What it is called.
    pub application: Application,
}

/// An environment with what watches it.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentView {
    /// Which.
    pub place: Place,
    /// What it is called.
    pub environment: Environment,
}

fn item(view: &dyn View, scope: Scope, kind: &str, key: &str) -> Option<Item> {
    let id = ItemKey { scope, kind: kind.to_owned(), key: key.to_owned() };
    match view.body(&id)?.as_ref() {
        Body::Deployment(item) => Some(item.as_ref().clone()),
        _ => None,
    }
}

macro_rules! typed {
    ($($name:ident: $kind:literal => $variant:ident;)*) => {$(
        fn $name(view: &dyn View, scope: Scope, key: &str) -> Option<$variant> {
            match item(view, scope, $kind, key)? {
                Item::$variant(found) => Some(found),
                _ => None,
            }
        }
    )*};
}
typed! {
    application_item: "application" => Application;
    environment_item: "deployment_environment" => Environment;
    profile_item: "profile" => Profile;
    version_item: "document_version" => Version;
    strategy_item: "strategy" => Strategy;
    deployment_item: "deployment" => Deployment;
    settings_item: "deployment_settings" => Settings;
    alarm_item: "alarm" => Alarm;
}

/// A project as an application, deleted or not.
pub(super) fn application(view: &dyn View, project: &Key) -> Application {
    application_item(view, Scope::project(project), "application").unwrap_or_else(|| Application {
        id: application_id(project),
        name: project.to_string(),
        description: None,
        tags: Tags::new(),
        account: project.clone(),
        deleted: false,
    })
}

/// An environment's description, deleted or not.
pub(super) fn environment(view: &dyn View, place: &Place) -> Environment {
    environment_item(view, Scope::place(place), "environment").unwrap_or_else(|| Environment {
        id: environment_id(place),
        name: place.environment.to_string(),
        description: None,
        monitors: Vec::new(),
        tags: Tags::new(),
        created: None,
        deployments: 0,
        deleted: false,
    })
}

/// An environment that is there for deployments, or why not.
pub(super) fn need_environment(view: &dyn View, place: &Place) -> Result<Environment, Refusal> {
    let there = view.body(&ItemKey::environment(place)).is_some();
    let found = environment(view, place);
    if there && !found.deleted { Ok(found) } else { Err(missing("environment", place.environment.as_str())) }
}

/// An application that is there, or why not.
pub(super) fn need_application(view: &dyn View, project: &Key) -> Result<Application, Refusal> {
    let there = view.body(&ItemKey::project(project)).is_some();
    let found = application(view, project);
    if there && !found.deleted { Ok(found) } else { Err(missing("application", project.as_str())) }
}

/// A profile that is there, or why not.
pub(super) fn profile(view: &dyn View, project: &Key, id: &str) -> Result<Profile, Refusal> {
    profile_item(view, Scope::project(project), id)
        .filter(|profile| !profile.deleted)
        .ok_or_else(|| missing("configuration_profile", id))
}

/// A version that is there.
pub(super) fn version(view: &dyn View, project: &Key, profile: &str, number: u32) -> Option<Version> {
    version_item(view, Scope::project(project), &version_key(profile, number))
        .filter(|version| !version.deleted)
}

/// A version by its number or label, or why not.
pub(super) fn version_named(
    view: &dyn View,
    project: &Key,
    profile: &Profile,
    name: &str,
) -> Result<Version, Refusal> {
    let found = match name.parse::<u32>() {
        Ok(number) => version(view, project, &profile.id, number),
        Err(_) => versions(view, project, profile)
            .into_iter()
            .find(|version| version.label.as_deref() == Some(name)),
    };
    found.ok_or_else(|| missing("configuration_version", name))
}

/// The versions of a profile, oldest first.
pub(super) fn versions(view: &dyn View, project: &Key, profile: &Profile) -> Vec<Version> {
    (1..=profile.versions).filter_map(|number| version(view, project, &profile.id, number)).collect()
}

/// A strategy of an account, or one that is always there.
pub(super) fn strategy(view: &dyn View, account: &Key, id: &str) -> Result<Strategy, Refusal> {
    predefined(id)
        .or_else(|| strategy_item(view, Scope::project(account), id).filter(|strategy| !strategy.deleted))
        .ok_or_else(|| missing("deployment_strategy", id))
}

/// Every strategy that an account has made, deleted ones too.
pub(super) fn own_strategies(view: &dyn View, account: &Key) -> Vec<Strategy> {
    let scope = Scope::project(account);
    let keys = view.keys(&scope, "strategy");
    keys.iter().filter_map(|key| strategy_item(view, scope.clone(), key)).collect()
}

/// A deployment.
pub(super) fn deployment(view: &dyn View, place: &Place, number: u32) -> Result<Deployment, Refusal> {
    deployment_item(view, Scope::place(place), &deployment_key(number))
        .ok_or_else(|| missing("deployment", &number.to_string()))
}

/// The deployments of an environment, oldest first.
pub(super) fn deployments(view: &dyn View, place: &Place) -> Vec<Deployment> {
    let scope = Scope::place(place);
    let keys = view.keys(&scope, "deployment");
    keys.iter().filter_map(|key| deployment_item(view, scope.clone(), key)).collect()
}

/// What an alarm said last.
pub(super) fn alarm(view: &dyn View, place: &Place, name: &str) -> Option<Alarm> {
    alarm_item(view, Scope::place(place), name)
}

/// The profiles of a project, by name.
pub(super) fn profiles(view: &dyn View, project: &Key) -> Vec<Profile> {
    let scope = Scope::project(project);
    let keys = view.keys(&scope, "profile");
    let found = keys.iter().filter_map(|key| profile_item(view, scope.clone(), key));
    let mut found: Vec<Profile> = found.filter(|profile| !profile.deleted).collect();
    found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    found
}

/// What a profile's flag serves where nothing is deployed; none for a flag that is no profile's.
pub(in super::super) fn of_profile(view: &dyn View, project: &Key, flag: &Key) -> Option<Section> {
    let of = |profile: &Profile| {
        let own = flag.as_str().strip_prefix(profile.flag.as_str());
        own.is_some_and(|rest| {
            rest.is_empty() || (profile.kind == ProfileKind::Flags && rest.starts_with('.'))
        })
    };
    let found = profiles(view, project).iter().any(of);
    found.then(undeployed)
}

/// Nothing, to every session.
pub(super) fn undeployed() -> Section {
    Section { unit: Some(UNIT.to_owned()), ..Section::serving(NOTHING) }
}

impl Catalogue {
    /// The applications that a project's control key manages, oldest name first.
    pub fn applications(&self, account: &Key) -> Vec<ApplicationView> {
        let all = self.projects().into_iter().map(|project| {
            let application = application(self, &project);
            ApplicationView { project, application }
        });
        all.filter(|found| found.application.account == *account && !found.application.deleted).collect()
    }

    /// Every project as an application, deleted ones left out.
    pub fn every_application(&self) -> Vec<ApplicationView> {
        let all = self.projects().into_iter().map(|project| {
            let application = application(self, &project);
            ApplicationView { project, application }
        });
        all.filter(|found| !found.application.deleted).collect()
    }

    /// The environments of an application.
    pub fn deployment_environments(&self, project: &Key) -> Vec<EnvironmentView> {
        let all = self.places(project).into_iter().map(|place| {
            let environment = environment(self, &place);
            EnvironmentView { place, environment }
        });
        all.filter(|found| !found.environment.deleted).collect()
    }

    /// The profiles of an application, oldest first.
    pub fn profiles(&self, project: &Key) -> Vec<Profile> {
        profiles(self, project)
    }

    /// The versions of a profile, oldest first.
    pub fn document_versions(&self, project: &Key, profile: &Profile) -> Vec<Version> {
        versions(self, project, profile)
    }

    /// One version where it is stored, deleted or not.
    pub fn document_version_at(&self, project: &Key, profile: &str, number: u32) -> Option<&Version> {
        let scope = Scope::project(project);
        let id = ItemKey { scope, kind: "document_version".to_owned(), key: version_key(profile, number) };
        match self.items.get(&id)?.body.as_ref() {
            Body::Deployment(item) => match item.as_ref() {
                Item::Version(version) => Some(version),
                _ => None,
            },
            _ => None,
        }
    }

    /// One version, by number or label.
    pub fn document_version(&self, project: &Key, profile: &Profile, name: &str) -> Option<Version> {
        version_named(self, project, profile, name).ok()
    }

    /// The strategies of an account, its own first.
    pub fn strategies(&self, account: &Key) -> Vec<Strategy> {
        let mut all = own_strategies(self, account);
        all.retain(|strategy| !strategy.deleted);
        all.extend(crate::deployment::PREDEFINED.iter().filter_map(|(id, ..)| predefined(id)));
        all
    }

    /// The deployments of an environment, oldest first.
    pub fn deployments(&self, place: &Place) -> Vec<Deployment> {
        deployments(self, place)
    }

    /// One deployment.
    pub fn deployment(&self, place: &Place, number: u32) -> Option<Deployment> {
        deployment(self, place, number).ok()
    }

    /// An account's settings.
    pub fn deployment_settings(&self, account: &Key) -> Settings {
        settings_item(self, Scope::project(account), "settings").unwrap_or_default()
    }

    /// What an alarm said last.
    pub fn alarm(&self, place: &Place, name: &str) -> Option<Alarm> {
        alarm(self, place, name)
    }
}
