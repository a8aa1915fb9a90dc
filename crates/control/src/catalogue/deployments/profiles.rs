//! Profiles and their versions: a profile is a JSON flag, a version one of its variants.

use serde_json::{Map, json};

use super::super::change::{ItemKey, Refusal, Rejected, Scope};
use super::super::draft::Draft;
use super::super::flags;
use super::super::state::{FlagRecord, VariantRecord};
use super::super::view::View;
use super::{apps, contained, lookup, missing, put, taken, version_key};
use crate::deployment::{
    DOCUMENT_MAX, Item, NOTHING, NewProfile, NewVersion, Profile, ProfileKind, Validator, Version, key_for,
    short_id, validate, value_of,
};
use crate::document::Problem;
use crate::ids::Key;

pub(super) fn name_is_free(
    draft: &Draft<'_>,
    project: &Key,
    name: &str,
    except: &str,
) -> Result<(), Refusal> {
    let same =
        lookup::profiles(draft, project).into_iter().any(|other| other.id != except && other.name == name);
    if same { Err(taken("a configuration profile", name)) } else { Ok(()) }
}

pub(super) fn check_validators(kind: ProfileKind, validators: &[Validator]) -> Result<(), Refusal> {
    if validators.len() > 2 {
        return Err(Refusal::new("bad_validator", "A profile has at most two validators."));
    }
    for validator in validators {
        match validator {
            Validator::Schema(_) if kind == ProfileKind::Flags => {
                let sentence = "A profile of feature flags has its own schema; JSON_SCHEMA validators are for freeform ones.";
                return Err(Refusal::new("bad_validator", sentence));
            }
            Validator::Schema(text) => {
                crate::deployment::check_schema(text).map_err(|why| Refusal::new("bad_validator", why))?;
            }
            Validator::Url(_) => {}
        }
    }
    Ok(())
}

pub(super) fn create(draft: &mut Draft<'_>, new: &NewProfile) -> Result<(), Rejected> {
    lookup::need_application(draft, &new.project)?;
    name_is_free(draft, &new.project, &new.name, "")?;
    check_validators(new.kind, &new.validators)?;
    let project = &new.project;
    let flag = key_for(&new.name, "profile", |key| draft.flag(project, key).is_some());
    let profile = Profile {
        id: short_id("profile", &format!("{project}/{flag}")),
        name: new.name.clone(),
        description: new.description.clone(),
        kind: new.kind,
        flag: flag.clone(),
        validators: new.validators.clone(),
        role: new.role.clone(),
        kms: new.kms.clone(),
        tags: new.tags.clone(),
        versions: 0,
        created: draft.now,
        deleted: false,
    };
    let mut shared = Map::new();
    let about = new.description.clone().unwrap_or_else(|| format!("Configuration profile {}.", new.name));
    shared.insert("description".into(), json!(about));
    // It lives as long as the profile, not as long as a release.
    shared.insert("permanent".into(), json!(true));
    shared.insert("reason".into(), json!("a configuration profile"));
    let nothing = VariantRecord { name: NOTHING.to_owned(), value: json!(null), named: true };
    let record = FlagRecord {
        key: flag.clone(),
        value_type: "json".to_owned(),
        variants: vec![nothing],
        shared,
        created: draft.now,
        created_by: draft.actor.name.clone(),
        retired: None,
    };
    draft.put_flag(project, record);
    for place in draft.environments(project) {
        draft.put_state(&place, &flag, apps::fresh(lookup::undeployed()));
    }
    let (id, words) =
        (profile.id.clone(), format!("Create configuration profile {} as flag {flag}.", new.name));
    put(draft, Item::Profile(profile), &Scope::project(project), &id, "profile.create", words);
    draft.answer_id(id);
    Ok(())
}

pub(super) fn delete(draft: &mut Draft<'_>, project: &Key, id: &str) -> Result<(), Rejected> {
    let mut profile = lookup::profile(draft, project, id)?;
    let versions = lookup::versions(draft, project, &profile).len();
    if versions > 0 {
        let sentence = format!(
            "Configuration profile {} has {versions} hosted versions; delete those first.",
            profile.name
        );
        return Err(Refusal::new("profile_not_empty", sentence).into());
    }
    contained::retire(draft, project, &profile)?;
    // A flag that somebody has retired already stays so.
    if draft.flag(project, &profile.flag).is_some_and(|record| record.retired.is_none()) {
        flags::retire(draft, project, &profile.flag)?;
    }
    profile.deleted = true;
    let words = format!("Delete configuration profile {}; flag {} is retired.", profile.name, profile.flag);
    put(draft, Item::Profile(profile), &Scope::project(project), id, "profile.delete", words);
    Ok(())
}

/// What a document must satisfy, or everything that is wrong with it.
pub(super) fn passes(profile: &Profile, content: &[u8]) -> Result<(), Rejected> {
    let wrong = validate(profile, content);
    if wrong.is_empty() {
        return Ok(());
    }
    let problems = wrong.into_iter().map(|violation| {
        Problem::new("invalid_configuration", violation.location, violation.reason).hint(violation.constraint)
    });
    Err(problems.collect::<Vec<_>>().into())
}

pub(super) fn add_version(draft: &mut Draft<'_>, new: &NewVersion) -> Result<(), Rejected> {
    let project = &new.project;
    let mut profile = lookup::profile(draft, project, &new.profile)?;
    draft.depends_on(ItemKey::flag(project, &profile.flag));
    let newest = lookup::versions(draft, project, &profile).last().map_or(0, |version| version.number);
    if new.latest.is_some_and(|latest| latest != newest) {
        let sentence = format!("The newest version is {newest}, not {}.", new.latest.unwrap_or_default());
        return Err(Refusal::new("version_conflict", sentence).into());
    }
    if new.content.len() > DOCUMENT_MAX {
        return Err(Refusal::new("document_too_large", "A document has at most 2048 kilobytes.").into());
    }
    if let Some(label) = &new.label {
        if label.chars().all(|c| c.is_ascii_digit()) || label.chars().count() > 64 {
            let sentence = "A version label has 1 to 64 characters, and at least one that is no digit.";
            return Err(Refusal::new("bad_label", sentence).into());
        }
        let known = lookup::versions(draft, project, &profile);
        if known.iter().any(|version| version.label.as_ref() == Some(label)) {
            return Err(taken("a version labelled", label).into());
        }
    }
    passes(&profile, &new.content)?;
    let Some(mut record) = draft.flag(project, &profile.flag).filter(|record| record.retired.is_none())
    else {
        let sentence = format!("Flag {} of this profile is retired.", profile.flag);
        return Err(Refusal::new("retired", sentence).into());
    };
    profile.versions += 1;
    let number = profile.versions;
    let free = |name: &String| record.variants.iter().all(|variant| variant.name != *name);
    let variant = new.label.clone().filter(free).unwrap_or_else(|| number.to_string());
    let version = Version {
        profile: profile.id.clone(),
        number,
        label: new.label.clone(),
        description: new.description.clone(),
        content_type: new.content_type.clone(),
        content: new.content.clone(),
        variant: variant.clone(),
        deleted: false,
    };
    record.variants.push(VariantRecord { name: variant, value: value_of(&version), named: true });
    draft.put_flag(project, record);
    contained::add(draft, project, &profile, &version);
    let scope = Scope::project(project);
    let words = format!("Add version {number} to configuration profile {}.", profile.name);
    put(
        draft,
        Item::Version(version),
        &scope,
        &version_key(&profile.id, number),
        "document_version.create",
        words,
    );
    let id = profile.id.clone();
    draft.put(super::key(&scope, "profile", &id), super::Body::Deployment(Box::new(Item::Profile(profile))));
    draft.answer_id(number.to_string());
    Ok(())
}

pub(super) fn delete_version(
    draft: &mut Draft<'_>,
    project: &Key,
    id: &str,
    number: u32,
) -> Result<(), Rejected> {
    let profile = lookup::profile(draft, project, id)?;
    let Some(mut version) = lookup::version(draft, project, id, number) else {
        return Err(missing("hosted_configuration_version", &number.to_string()).into());
    };
    for place in draft.environments(project) {
        let Some(state) = draft.state(&place, &profile.flag) else { continue };
        let kept = lookup::deployments(draft, &place).into_iter().any(|deployment| {
            deployment.profile == id && deployment.version == number && deployment.state.is_running()
        });
        let live = !lookup::environment(draft, &place).deleted;
        if live && (kept || state.section.servable().contains(version.variant.as_str())) {
            let sentence = format!("Version {number} is deployed in {}.", place.environment);
            return Err(Refusal::new("version_deployed", sentence).into());
        }
    }
    version.deleted = true;
    version.content = Vec::new();
    let words =
        format!("Delete version {number} of configuration profile {}; its number stays used.", profile.name);
    let scope = Scope::project(project);
    put(draft, Item::Version(version), &scope, &version_key(id, number), "document_version.delete", words);
    Ok(())
}
