//! The flags inside a document of feature flags, as flags of their own: seen one by one, and killed one by one.
//!
//! Their variants are the values they have had in versions. While a version is being deployed, a flag that it changes
//! asks the profile's flag whether the session has it already, as a prerequisite: so flags and document agree.

use serde_json::{Map, json};

use super::super::draft::Draft;
use super::super::flags;
use super::super::state::{FlagRecord, Off, Prerequisite, VariantRecord};
use super::super::view::View;
use super::{apps, lookup};
use crate::deployment::flags::Document;
use crate::deployment::{NOTHING, Profile, ProfileKind, UNIT, Version};
use crate::ids::{Key, Place};

fn key_of(profile: &Profile, flag: &str) -> Option<Key> {
    format!("{}.{flag}", profile.flag).parse().ok()
}

/// The flags of a profile, by the names they have in its documents; tombstones are left alone.
fn of(draft: &Draft<'_>, project: &Key, profile: &Profile) -> Vec<(String, FlagRecord)> {
    let prefix = format!("{}.", profile.flag);
    let keys = draft.flag_keys(project).into_iter();
    let own = keys.filter_map(|key| Some((key.as_str().strip_prefix(&prefix)?.to_owned(), key)));
    let records = own.filter_map(|(name, key)| Some((name, draft.flag(project, &key)?)));
    records.filter(|(_, record)| record.retired.is_none()).collect()
}

/// Makes the flags of a new version, and gives them the values they have in it.
pub(super) fn add(draft: &mut Draft<'_>, project: &Key, profile: &Profile, version: &Version) {
    if profile.kind != ProfileKind::Flags {
        return;
    }
    let Ok(document) = Document::read(&version.content) else { return };
    for name in document.keys() {
        let (Some(key), Some(raw)) = (key_of(profile, name), document.raw(name)) else { continue };
        let known = draft.flag(project, &key);
        if known.as_ref().is_some_and(|record| record.retired.is_some()) {
            continue;
        }
        let fresh = known.is_none();
        let mut record = known.unwrap_or_else(|| new_record(draft, profile, &key, name));
        if record.variants.iter().all(|variant| variant.value != *raw) {
            let free = record.variants.iter().all(|variant| variant.name != version.variant);
            let name = if free { version.variant.clone() } else { version.number.to_string() };
            record.variants.push(VariantRecord { name, value: raw.clone(), named: true });
        }
        draft.put_flag(project, record);
        if fresh {
            for place in draft.environments(project) {
                draft.put_state(&place, &key, apps::fresh(lookup::undeployed()));
            }
        }
    }
}

fn new_record(draft: &Draft<'_>, profile: &Profile, key: &Key, name: &str) -> FlagRecord {
    let mut shared = Map::new();
    let about = format!("Flag {name} of configuration profile {}.", profile.name);
    shared.insert("description".into(), json!(about));
    FlagRecord {
        key: key.clone(),
        value_type: "json".to_owned(),
        variants: vec![VariantRecord { name: NOTHING.to_owned(), value: json!(null), named: true }],
        shared,
        created: draft.now,
        created_by: draft.actor.name.clone(),
        retired: None,
    }
}

/// Makes the flags of a profile follow what its own flag serves now.
pub(super) fn follow(draft: &mut Draft<'_>, place: &Place, profile: &Profile) {
    if profile.kind != ProfileKind::Flags {
        return;
    }
    let Some(home) = draft.state(place, &profile.flag) else { return };
    let versions = lookup::versions(draft, &place.project, profile);
    let document = |variant: &str| {
        let version = versions.iter().find(|version| version.variant == variant)?;
        Document::read(&version.content).ok()
    };
    let (before, after) = match &home.owned {
        Some(owned) => (document(&owned.control), document(&owned.new)),
        None => (None, document(&home.section.default)),
    };
    for (name, record) in of(draft, &place.project, profile) {
        let Some(mut state) = draft.state(place, &record.key).filter(|state| state.owned.is_none()) else {
            continue;
        };
        let variant = |document: &Option<Document>| {
            let raw = document.as_ref().and_then(|document| document.raw(&name));
            let found = raw.and_then(|raw| record.variants.iter().find(|variant| variant.value == *raw));
            found.map_or(NOTHING, |variant| variant.name.as_str()).to_owned()
        };
        let (old, new) = (variant(&before), variant(&after));
        let section = &mut state.section;
        section.unit = Some(UNIT.to_owned());
        section.split = None;
        match &home.owned {
            Some(owned) if old != new => {
                let asks = Prerequisite { flag: profile.flag.clone(), variant: owned.new.clone() };
                (section.prerequisites, section.off) = (vec![asks], Some(Off::Variant(old)));
            }
            Some(_) | None => (section.prerequisites, section.off) = (Vec::new(), None),
        }
        section.default = new;
        draft.put_state(place, &record.key, state);
    }
}

/// Retires the flags of a profile that goes.
pub(super) fn retire(draft: &mut Draft<'_>, project: &Key, profile: &Profile) -> Result<(), super::Rejected> {
    if profile.kind == ProfileKind::Flags {
        for (_, record) in of(draft, project, profile) {
            flags::retire(draft, project, &record.key)?;
        }
    }
    Ok(())
}
