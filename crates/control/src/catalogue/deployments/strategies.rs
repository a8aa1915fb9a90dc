//! Strategies, and labels of everything that has them.

use super::super::change::{Refusal, Rejected, Scope};
use super::super::draft::Draft;
use super::{changed, deployment_key, lookup, missing, put, taken};
use crate::deployment::{Item, NewStrategy, Resource, Strategy, StrategyUpdate, Tags, predefined, short_id};
use crate::ids::Key;

/// Most labels of one thing.
const TAGS: usize = 50;

fn check(strategy: &Strategy) -> Result<(), Refusal> {
    let whole = |minutes: u32| minutes <= 1440;
    if !(1.0..=100.0).contains(&strategy.factor) {
        return Err(Refusal::new("bad_strategy", "A growth factor is from 1 to 100 percent."));
    }
    if !whole(strategy.minutes) || !whole(strategy.bake_minutes) {
        return Err(Refusal::new("bad_strategy", "Durations are from 0 to 1440 minutes."));
    }
    Ok(())
}

pub(super) fn create(draft: &mut Draft<'_>, new: &NewStrategy) -> Result<(), Rejected> {
    draft.need_project(&new.account)?;
    let own = lookup::own_strategies(draft, &new.account);
    if own.iter().any(|other| !other.deleted && other.name == new.name) || predefined(&new.name).is_some() {
        return Err(taken("a deployment strategy", &new.name).into());
    }
    let strategy = Strategy {
        id: short_id("strategy", &format!("{}/{}", new.account, own.len() + 1)),
        name: new.name.clone(),
        description: new.description.clone(),
        growth: new.growth,
        factor: new.factor,
        minutes: new.minutes,
        bake_minutes: new.bake_minutes,
        replicate: new.replicate,
        tags: new.tags.clone(),
        deleted: false,
    };
    check(&strategy)?;
    let (id, words) = (strategy.id.clone(), format!("Create deployment strategy {}.", new.name));
    put(draft, Item::Strategy(strategy), &Scope::project(&new.account), &id, "strategy.create", words);
    draft.answer_id(id);
    Ok(())
}

fn own(draft: &Draft<'_>, account: &Key, id: &str, verb: &str) -> Result<Strategy, Refusal> {
    if predefined(id).is_some() {
        let sentence = format!("Cannot {verb} predefined Deployment Strategy {id}.");
        return Err(Refusal::new("predefined_strategy", sentence));
    }
    lookup::strategy(draft, account, id)
}

pub(super) fn update(
    draft: &mut Draft<'_>,
    account: &Key,
    id: &str,
    to: &StrategyUpdate,
) -> Result<(), Rejected> {
    let mut strategy = own(draft, account, id, "update")?;
    strategy.description = changed(strategy.description, to.description.as_deref());
    strategy.growth = to.growth.unwrap_or(strategy.growth);
    strategy.factor = to.factor.unwrap_or(strategy.factor);
    strategy.minutes = to.minutes.unwrap_or(strategy.minutes);
    strategy.bake_minutes = to.bake_minutes.unwrap_or(strategy.bake_minutes);
    check(&strategy)?;
    let words = format!("Change deployment strategy {}; running deployments keep theirs.", strategy.name);
    put(draft, Item::Strategy(strategy), &Scope::project(account), id, "strategy.update", words);
    Ok(())
}

pub(super) fn delete(draft: &mut Draft<'_>, account: &Key, id: &str) -> Result<(), Rejected> {
    let mut strategy = own(draft, account, id, "delete")?;
    strategy.deleted = true;
    let words = format!("Delete deployment strategy {}.", strategy.name);
    put(draft, Item::Strategy(strategy), &Scope::project(account), id, "strategy.delete", words);
    Ok(())
}

/// Changes labels, and says whether they are within bounds.
fn labelled(tags: &mut Tags, set: &Tags, unset: &[String]) -> Result<(), Refusal> {
    tags.retain(|key, _| !unset.contains(key));
    tags.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
    let bad = |key: &str, value: &str| {
        key.is_empty() || key.chars().count() > 128 || key.starts_with("aws:") || value.chars().count() > 256
    };
    if tags.len() > TAGS || set.iter().any(|(key, value)| bad(key, value)) {
        let sentence = "At most 50 tags, each with a key of 1 to 128 characters that does not begin with aws: and a \
                        value of at most 256.";
        return Err(Refusal::new("bad_tags", sentence));
    }
    Ok(())
}

pub(super) fn tag(
    draft: &mut Draft<'_>,
    resource: &Resource,
    set: &Tags,
    unset: &[String],
) -> Result<(), Rejected> {
    let words = "Change the tags.".to_owned();
    match resource {
        Resource::Application(project) => {
            let mut found = lookup::need_application(draft, project)?;
            labelled(&mut found.tags, set, unset)?;
            let scope = Scope::project(project);
            put(draft, Item::Application(found), &scope, "application", "application.tag", words);
        }
        Resource::Environment(place) => {
            let mut found = lookup::need_environment(draft, place)?;
            labelled(&mut found.tags, set, unset)?;
            let scope = Scope::place(place);
            put(draft, Item::Environment(found), &scope, "environment", "deployment_environment.tag", words);
        }
        Resource::Profile(project, id) => {
            let mut found = lookup::profile(draft, project, id)?;
            labelled(&mut found.tags, set, unset)?;
            put(draft, Item::Profile(found), &Scope::project(project), id, "profile.tag", words);
        }
        Resource::Strategy(account, id) => {
            if predefined(id).is_some() {
                return Err(missing("deployment_strategy", id).into());
            }
            let mut found = lookup::strategy(draft, account, id)?;
            labelled(&mut found.tags, set, unset)?;
            put(draft, Item::Strategy(found), &Scope::project(account), id, "strategy.tag", words);
        }
        Resource::Deployment(place, number) => {
            let mut found = lookup::deployment(draft, place, *number)?;
            labelled(&mut found.tags, set, unset)?;
            let scope = Scope::place(place);
            put(draft, Item::Deployment(found), &scope, &deployment_key(*number), "deployment.tag", words);
        }
    }
    Ok(())
}
