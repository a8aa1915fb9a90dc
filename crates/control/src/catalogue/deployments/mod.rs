//! Applications, profiles, versions and deployments in the catalogue: what they do to flags and rollouts, in one
//! transaction with their own records.

mod apps;
mod contained;
mod lookup;
mod profiles;
mod run;
mod strategies;

pub(super) use lookup::of_profile;
pub use lookup::{ApplicationView, EnvironmentView};
pub(super) use run::{firing, followed};

use super::change::{ItemKey, PlanItem, Refusal, Rejected, Scope, Verb};
use super::draft::Draft;
use super::state::Body;
use crate::deployment::{Ask, Item};
use crate::ids::{Key, Place};

/// Decides one ask.
pub(super) fn decide(draft: &mut Draft<'_>, ask: &Ask) -> Result<(), Rejected> {
    match ask {
        Ask::CreateApplication(new) => apps::create(draft, new),
        Ask::UpdateApplication { project, name, description } => {
            apps::update(draft, project, name.as_deref(), description.as_deref())
        }
        Ask::DeleteApplication { project } => apps::delete(draft, project),
        Ask::CreateEnvironment(new) => apps::create_environment(draft, new),
        Ask::UpdateEnvironment { place, name, description, monitors } => {
            let (name, description) = (name.as_deref(), description.as_deref());
            apps::update_environment(draft, place, name, description, monitors.as_deref())
        }
        Ask::DeleteEnvironment { place } => apps::delete_environment(draft, place),
        Ask::CreateProfile(new) => profiles::create(draft, new),
        Ask::UpdateProfile { project, profile, name, description, validators, role, kms } => {
            let mut found = lookup::profile(draft, project, profile)?;
            if let Some(name) = name {
                profiles::name_is_free(draft, project, name, profile)?;
                found.name.clone_from(name);
            }
            found.description = changed(found.description, description.as_deref());
            found.validators = validators.clone().unwrap_or(found.validators);
            profiles::check_validators(found.kind, &found.validators)?;
            found.role = role.clone().or(found.role);
            found.kms = kms.clone().or(found.kms);
            let words = format!("Change profile {}.", found.name);
            put(draft, Item::Profile(found), &Scope::project(project), profile, "profile.update", words);
            Ok(())
        }
        Ask::DeleteProfile { project, profile } => profiles::delete(draft, project, profile),
        Ask::CreateVersion(new) => profiles::add_version(draft, new),
        Ask::DeleteVersion { project, profile, number } => {
            profiles::delete_version(draft, project, profile, *number)
        }
        Ask::CreateStrategy(new) => strategies::create(draft, new),
        Ask::UpdateStrategy { account, strategy, to } => strategies::update(draft, account, strategy, to),
        Ask::DeleteStrategy { account, strategy } => strategies::delete(draft, account, strategy),
        Ask::Start(new) => run::start(draft, new),
        Ask::Stop { place, number, revert } => run::stop(draft, place, *number, *revert),
        Ask::Tag { resource, set, unset } => strategies::tag(draft, resource, set, unset),
        Ask::Settings { account, to } => {
            draft.need_project(account)?;
            let scope = Scope::project(account);
            let words = "Change the deployment settings.".to_owned();
            put(draft, Item::Settings(to.clone()), &scope, "settings", "deployment_settings.update", words);
            Ok(())
        }
        Ask::Alarm { place, name, firing, reason, source } => {
            run::alarm(draft, place, name, *firing, reason.as_deref(), source)
        }
    }
}

/// The kind under which an item is stored.
fn kind_of(item: &Item) -> &'static str {
    match item {
        Item::Application(_) => "application",
        Item::Environment(_) => "deployment_environment",
        Item::Profile(_) => "profile",
        Item::Version(_) => "document_version",
        Item::Strategy(_) => "strategy",
        Item::Deployment(_) => "deployment",
        Item::Settings(_) => "deployment_settings",
        Item::Alarm(_) => "alarm",
    }
}

fn key(scope: &Scope, kind: &str, key: &str) -> ItemKey {
    ItemKey { scope: scope.clone(), kind: kind.to_owned(), key: key.to_owned() }
}

/// Stores an item, tells the audit log and the asker.
fn put(draft: &mut Draft<'_>, item: Item, scope: &Scope, name: &str, action: &str, sentence: String) {
    let id = key(scope, kind_of(&item), name);
    let verb = if action.ends_with("create") { Verb::Create } else { Verb::Update };
    let plan = PlanItem {
        subject: format!("{}/{name}", id.kind),
        environment: scope.environment.clone(),
        verb,
        sentence: sentence.clone(),
        lines: Vec::new(),
        drift: Vec::new(),
    };
    draft.put(id, Body::Deployment(Box::new(item)));
    draft.note(plan, scope.clone(), action);
    draft.say(sentence);
}

/// A text that is given anew, cleared by an empty one, or left as it is.
fn changed(was: Option<String>, given: Option<&str>) -> Option<String> {
    match given {
        None => was,
        Some("") => None,
        Some(text) => Some(text.to_owned()),
    }
}

fn missing(what: &str, which: &str) -> Refusal {
    Refusal::new(&format!("unknown_{what}"), format!("There is no {} \"{which}\".", what.replace('_', " ")))
}

fn taken(what: &str, name: &str) -> Refusal {
    Refusal::new("name_taken", format!("There is {what} \"{name}\" already."))
}

/// The key under which a version is stored.
fn version_key(profile: &str, number: u32) -> String {
    format!("{profile}.{number:08}")
}

/// The key under which a deployment is stored.
fn deployment_key(number: u32) -> String {
    format!("{number:08}")
}

/// A project's id as an application.
fn application_id(project: &Key) -> String {
    crate::deployment::short_id("application", project.as_str())
}

/// An environment's id.
fn environment_id(place: &Place) -> String {
    crate::deployment::short_id("environment", &place.to_string())
}
