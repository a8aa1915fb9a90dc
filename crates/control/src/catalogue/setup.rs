//! Projects, environments, and records that are kept as they stand.

use std::collections::BTreeMap;

use super::change::{ItemKey, PlanItem, Refusal, Rejected, Scope, Verb};
use super::draft::Draft;
use super::record::{ApiKey, Record, RecordKind, Window};
use super::state::{Body, FlagState, Section};
use super::view::View;
use super::{ENVIRONMENTS, deployments};
use crate::document::Problem;
use crate::ids::{Key, Place};

impl Draft<'_> {
    /// Refuses a project that does not exist.
    pub(super) fn need_project(&self, project: &Key) -> Result<(), Refusal> {
        if self.body(&ItemKey::project(project)).is_some() {
            return Ok(());
        }
        let sentence = format!("There is no project \"{project}\".");
        Err(Refusal::new("unknown_project", sentence).next(format!("ensign project create {project}")))
    }

    /// Refuses an environment that does not exist.
    pub(super) fn need_place(&self, place: &Place) -> Result<(), Refusal> {
        self.need_project(&place.project)?;
        if self.body(&ItemKey::environment(place)).is_some() {
            return Ok(());
        }
        let sentence =
            format!("There is no environment \"{}\" in project {}.", place.environment, place.project);
        Err(Refusal::new("unknown_environment", sentence)
            .next(format!("ensign environment create {}", place.environment)))
    }
}

fn created(subject: String, sentence: String) -> PlanItem {
    PlanItem {
        subject,
        environment: None,
        verb: Verb::Create,
        sentence,
        lines: Vec::new(),
        drift: Vec::new(),
    }
}

/// Creates a project with its first environments.
pub(super) fn create_project(draft: &mut Draft<'_>, project: &Key) {
    draft.put(ItemKey::project(project), Body::Project);
    let item = created(format!("project/{project}"), format!("Create project {project}."));
    draft.note(item, Scope::project(project), "project.create");
    for environment in ENVIRONMENTS {
        let environment = environment.parse().expect("the word is a key");
        create_environment(draft, &Place { project: project.clone(), environment });
    }
}

pub(super) fn new_project(draft: &mut Draft<'_>, project: &Key) -> Result<(), Rejected> {
    if draft.body(&ItemKey::project(project)).is_some() {
        return Err(Refusal::new("project_exists", format!("Project {project} exists already.")).into());
    }
    create_project(draft, project);
    draft.say(format!("Project {project} has the environments {}.", ENVIRONMENTS.join(" and ")));
    Ok(())
}

pub(super) fn create_environment(draft: &mut Draft<'_>, place: &Place) {
    draft.put(ItemKey::environment(place), Body::Environment);
    let name = &place.environment;
    let item = created(format!("environment/{name}"), format!("Create environment {name}."));
    draft.change_bump(place);
    draft.note(item, Scope::place(place), "environment.create");
}

pub(super) fn new_environment(draft: &mut Draft<'_>, place: &Place) -> Result<(), Rejected> {
    draft.need_project(&place.project)?;
    if draft.body(&ItemKey::environment(place)).is_some() {
        let sentence = format!("Environment {} exists already.", place.environment);
        return Err(Refusal::new("environment_exists", sentence).into());
    }
    let others = draft.environments(&place.project);
    create_environment(draft, place);
    let mut served = 0;
    for flag in draft.flag_keys(&place.project) {
        let default =
            others.iter().find_map(|other| draft.state(other, &flag)).map(|state| state.section.default);
        let Some(default) = default else { continue };
        let section = match deployments::of_profile(draft, &place.project, &flag) {
            Some(section) => section,
            None => Section::serving(default),
        };
        let state = FlagState { section, kill: None, epochs: BTreeMap::new(), owned: None, rollouts: 0 };
        draft.put_state(place, &flag, state);
        served += 1;
    }
    draft.say(format!(
        "Environment {} is there. Its {served} flags serve their defaults; apply your files to bring the rules.",
        place.environment
    ));
    Ok(())
}

fn record_key(project: Option<&Key>, environment: Option<&Key>, kind: RecordKind, key: &str) -> ItemKey {
    let scope = Scope {
        project: project.map_or_else(String::new, |project| project.as_str().to_owned()),
        environment: environment.map(|environment| environment.as_str().to_owned()),
    };
    ItemKey { scope, kind: kind.word().to_owned(), key: key.to_owned() }
}

/// Checks and stores a record.
pub(super) fn put_record(draft: &mut Draft<'_>, record: &Record) -> Result<(), Rejected> {
    if let (Some(project), environment) = (&record.project, &record.environment) {
        draft.need_project(project)?;
        if let Some(environment) = environment {
            draft.need_place(&Place { project: project.clone(), environment: environment.clone() })?;
        }
    }
    let wrong = match record.kind {
        RecordKind::Window => serde_json::from_value::<Window>(record.body.clone())
            .map_err(|error| error.to_string())
            .and_then(|window| {
                if window.from < window.until { Ok(()) } else { Err("it ends before it begins".to_owned()) }
            }),
        RecordKind::ApiKey => {
            serde_json::from_value::<ApiKey>(record.body.clone()).map(drop).map_err(|error| error.to_string())
        }
        RecordKind::Webhook => match record.body.get("url").and_then(|url| url.as_str()) {
            Some(url) if url.starts_with("https://") || url.starts_with("http://") => Ok(()),
            Some(_) | None => Err("its \"url\" is missing or not http(s)".to_owned()),
        },
        RecordKind::Secret => Ok(()),
        RecordKind::Setting => match record.body.get("on") {
            Some(serde_json::Value::Bool(_)) => Ok(()),
            Some(_) | None => Err("its \"on\" is true or false".to_owned()),
        },
    };
    let word = record.kind.word().replace('_', " ");
    if let Err(why) = wrong {
        let sentence = format!("This is not a {word}: {why}.");
        return Err(vec![Problem::new("bad_record", "", sentence)].into());
    }
    let key = record_key(record.project.as_ref(), record.environment.as_ref(), record.kind, &record.key);
    let existed = draft.body(&key).is_some();
    let (verb, what) = if existed { (Verb::Update, "Change") } else { (Verb::Create, "Create") };
    let item = PlanItem {
        subject: format!("{}/{}", record.kind.word(), record.key),
        environment: key.scope.environment.clone(),
        verb,
        sentence: format!("{what} {word} {}.", record.key),
        lines: Vec::new(),
        drift: Vec::new(),
    };
    let scope = key.scope.clone();
    draft.put(key, Body::Record(record.kind, record.body.clone()));
    draft.note(item, scope, &format!("{}.{}", record.kind.word(), if existed { "update" } else { "create" }));
    Ok(())
}

/// Removes a record.
pub(super) fn remove_record(
    draft: &mut Draft<'_>,
    project: Option<&Key>,
    environment: Option<&Key>,
    kind: RecordKind,
    key: &str,
) -> Result<(), Rejected> {
    let id = record_key(project, environment, kind, key);
    let word = kind.word().replace('_', " ");
    if draft.body(&id).is_none() {
        return Err(Refusal::new("unknown_record", format!("There is no {word} \"{key}\".")).into());
    }
    let item = PlanItem {
        subject: format!("{}/{key}", kind.word()),
        environment: id.scope.environment.clone(),
        verb: Verb::Remove,
        sentence: format!("Remove {word} {key}."),
        lines: Vec::new(),
        drift: Vec::new(),
    };
    let scope = id.scope.clone();
    draft.put(id, Body::Gone);
    draft.note(item, scope, &format!("{}.remove", kind.word()));
    Ok(())
}
