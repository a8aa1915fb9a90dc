//! Applications and environments: names and descriptions over projects and environments, which stay when the names go.

use super::super::change::{ItemKey, Refusal, Rejected, Scope};
use super::super::draft::Draft;
use super::super::setup;
use super::super::state::{Body, FlagState, Section};
use super::super::view::View;
use super::{application_id, changed, environment_id, lookup, missing, put, taken};
use crate::deployment::{Application, Environment, Item, Monitor, NewApplication, NewEnvironment, key_for};
use crate::ids::{Key, Place};

fn known_projects(view: &dyn View) -> Vec<Key> {
    let keys = view.keys(&Scope::installation(), "project");
    keys.iter().filter_map(|key| key.parse().ok()).collect()
}

fn name_is_free(view: &dyn View, account: &Key, name: &str, except: Option<&Key>) -> Result<(), Refusal> {
    let mut others = known_projects(view).into_iter().filter(|project| Some(project) != except);
    let same = others.any(|project| {
        let other = lookup::application(view, &project);
        other.account == *account && !other.deleted && other.name == name
    });
    if same { Err(taken("an application", name)) } else { Ok(()) }
}

pub(super) fn create(draft: &mut Draft<'_>, new: &NewApplication) -> Result<(), Rejected> {
    draft.need_project(&new.account)?;
    name_is_free(draft, &new.account, &new.name, None)?;
    let project = key_for(&new.name, "application", |key| draft.body(&ItemKey::project(key)).is_some());
    draft.put(ItemKey::project(&project), Body::Project);
    let application = Application {
        id: application_id(&project),
        name: new.name.clone(),
        description: new.description.clone(),
        tags: new.tags.clone(),
        account: new.account.clone(),
        deleted: false,
    };
    let words = format!("Create application {} as project {project}.", new.name);
    let id = application.id.clone();
    put(
        draft,
        Item::Application(application),
        &Scope::project(&project),
        "application",
        "application.create",
        words,
    );
    draft.answer_id(id);
    Ok(())
}

pub(super) fn update(
    draft: &mut Draft<'_>,
    project: &Key,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<(), Rejected> {
    let mut found = lookup::need_application(draft, project)?;
    if let Some(name) = name {
        name_is_free(draft, &found.account, name, Some(project))?;
        name.clone_into(&mut found.name);
    }
    found.description = changed(found.description, description);
    let words = format!("Change application {}.", found.name);
    put(
        draft,
        Item::Application(found),
        &Scope::project(project),
        "application",
        "application.update",
        words,
    );
    Ok(())
}

pub(super) fn delete(draft: &mut Draft<'_>, project: &Key) -> Result<(), Rejected> {
    let mut found = lookup::need_application(draft, project)?;
    let places = draft.environments(project);
    let left = places.iter().filter(|place| !lookup::environment(draft, place).deleted).count();
    let profiles = lookup::profiles(draft, project).len();
    if left + profiles > 0 {
        let sentence = format!(
            "Application {} still has {left} environments and {profiles} configuration profiles; delete those first.",
            found.name
        );
        return Err(Refusal::new("application_not_empty", sentence).into());
    }
    found.deleted = true;
    let words = format!("Delete application {}; project {project} stays.", found.name);
    put(
        draft,
        Item::Application(found),
        &Scope::project(project),
        "application",
        "application.delete",
        words,
    );
    Ok(())
}

fn check_monitors(monitors: &[Monitor]) -> Result<(), Refusal> {
    let bad = monitors.iter().any(|monitor| monitor.alarm.is_empty() || monitor.alarm.chars().count() > 2048);
    if monitors.len() > 5 || bad {
        let sentence = "An environment has at most 5 monitors, each with an alarm of 1 to 2048 characters.";
        return Err(Refusal::new("bad_monitor", sentence));
    }
    Ok(())
}

fn environment_name_is_free(
    view: &dyn View,
    project: &Key,
    name: &str,
    except: Option<&Place>,
) -> Result<(), Refusal> {
    let mut others = view.environments(project).into_iter().filter(|place| Some(place) != except);
    let same = others.any(|place| {
        let other = lookup::environment(view, &place);
        !other.deleted && other.name == name
    });
    if same { Err(taken("an environment", name)) } else { Ok(()) }
}

pub(super) fn create_environment(draft: &mut Draft<'_>, new: &NewEnvironment) -> Result<(), Rejected> {
    lookup::need_application(draft, &new.project)?;
    check_monitors(&new.monitors)?;
    environment_name_is_free(draft, &new.project, &new.name, None)?;
    let place_of = |key: &Key| Place { project: new.project.clone(), environment: key.clone() };
    let key =
        key_for(&new.name, "environment", |key| draft.body(&ItemKey::environment(&place_of(key))).is_some());
    let place = place_of(&key);
    let others = draft.environments(&new.project);
    setup::create_environment(draft, &place);
    for flag in draft.flag_keys(&new.project) {
        let section = lookup::of_profile(draft, &new.project, &flag).or_else(|| {
            let state = others.iter().find_map(|other| draft.state(other, &flag))?;
            Some(Section::serving(state.section.default))
        });
        if let Some(section) = section {
            draft.put_state(&place, &flag, fresh(section));
        }
    }
    let environment = Environment {
        id: environment_id(&place),
        name: new.name.clone(),
        description: new.description.clone(),
        monitors: new.monitors.clone(),
        tags: new.tags.clone(),
        created: Some(draft.now),
        deployments: 0,
        deleted: false,
    };
    let words = format!("Create environment {} as {place}.", new.name);
    let id = environment.id.clone();
    let scope = Scope::place(&place);
    put(draft, Item::Environment(environment), &scope, "environment", "deployment_environment.create", words);
    draft.answer_id(id);
    Ok(())
}

/// A flag's state that serves a section and has had no rollout.
pub(super) fn fresh(section: Section) -> FlagState {
    FlagState { section, kill: None, epochs: std::collections::BTreeMap::new(), owned: None, rollouts: 0 }
}

pub(super) fn update_environment(
    draft: &mut Draft<'_>,
    place: &Place,
    name: Option<&str>,
    description: Option<&str>,
    monitors: Option<&[Monitor]>,
) -> Result<(), Rejected> {
    let mut found = lookup::need_environment(draft, place)?;
    if let Some(name) = name {
        environment_name_is_free(draft, &place.project, name, Some(place))?;
        name.clone_into(&mut found.name);
    }
    found.description = changed(found.description, description);
    if let Some(monitors) = monitors {
        check_monitors(monitors)?;
        found.monitors = monitors.to_vec();
    }
    let words = format!("Change environment {}.", found.name);
    let scope = Scope::place(place);
    put(draft, Item::Environment(found), &scope, "environment", "deployment_environment.update", words);
    Ok(())
}

pub(super) fn delete_environment(draft: &mut Draft<'_>, place: &Place) -> Result<(), Rejected> {
    let mut found = lookup::need_environment(draft, place)?;
    if let Some(running) =
        lookup::deployments(draft, place).into_iter().find(|deployment| deployment.state.is_running())
    {
        let sentence = format!("Deployment {} is running there.", running.number);
        return Err(Refusal::new("deployment_running", sentence).into());
    }
    if draft.body(&ItemKey::environment(place)).is_none() {
        return Err(missing("environment", place.environment.as_str()).into());
    }
    found.deleted = true;
    let words = format!("Delete environment {} for deployments; {place} stays.", found.name);
    let scope = Scope::place(place);
    put(draft, Item::Environment(found), &scope, "environment", "deployment_environment.delete", words);
    Ok(())
}
