//! Deployments: documents in versions, brought to a growing share of sessions on a timetable.
//!
//! A profile is a JSON flag whose variants are the versions of a document; a deployment is a rollout of that flag
//! whose stages the clock moves ([`crate::rollout::Timetable`]). What is here is what a rollout does not know:
//! strategies, the log of events, the resources' own records. Absent on purpose: any wire format, and any rule of its
//! own about which session gets what.
//!
//! **Which session gets which version** is decided by the evaluator like every other split: the unit is
//! [`UNIT`], the hash is the flag's SHA-1 bucketing, and each deployment has a salt of its own
//! (`FLAG.NUMBER` of its rollout), so that each deals a fresh group. A growing share only adds sessions.

mod command;
pub mod flags;
mod item;
mod progress;
mod strategy;
mod validate;

pub use command::{
    Ask, NewApplication, NewEnvironment, NewProfile, NewStart, NewStrategy, NewVersion, Resource,
    StrategyUpdate,
};
pub use item::{
    Alarm, Application, DeployedStrategy, Deployment, Environment, Event, EventKind, Item, Monitor, Profile,
    ProfileKind, Settings, State, Tags, Trigger, Validator, Version,
};
pub use progress::{follow, revert, started};
pub use strategy::{Growth, PREDEFINED, Strategy, predefined};
pub use validate::{Violation, validate};

/// Whether a text is a JSON Schema that can be used, or why not.
///
/// # Errors
/// A sentence.
pub fn check_schema(text: &str) -> Result<(), String> {
    validate::compile(text).map(drop)
}

use xxhash_rust::xxh3::xxh3_64;

use crate::ids::Key;

/// What a deployment randomises: a client's session.
pub const UNIT: &str = "session";

/// The variant of a profile's flag while nothing is deployed; its index is 0, so that the index of a version's
/// variant is the version's number.
pub const NOTHING: &str = "nothing deployed";

/// How long after its end a deployment can be taken back, in hours.
pub const REVERT_HOURS: i64 = 72;

/// The largest document, in bytes.
pub const DOCUMENT_MAX: usize = 2_048 * 1_024;

/// Documents up to this size are the flag's values themselves; of larger ones the flag has number and size.
const INLINE_MAX: usize = 64 * 1_024;

/// A short id of something whose name never returns: seven of `a-z0-9`, the same on every server.
#[must_use]
pub fn short_id(kind: &str, name: &str) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rest = xxh3_64(format!("{kind}/{name}").as_bytes());
    let mut id = String::with_capacity(7);
    for _ in 0..7 {
        id.push(char::from(ALPHABET[(rest % 36) as usize]));
        rest /= 36;
    }
    id
}

/// The key nearest to a name, such as `UIRefresh` or `model-gateway`; `taken` says which are used up.
pub(crate) fn key_for(name: &str, fallback: &str, taken: impl Fn(&Key) -> bool) -> Key {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .take(56)
        .collect();
    let plain = plain.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let base = if plain.is_empty() { fallback } else { plain };
    let candidates = std::iter::once(base.to_owned()).chain((2_u32..).map(|n| format!("{base}-{n}")));
    let mut free = candidates.filter_map(|text| text.parse::<Key>().ok()).filter(|key| !taken(key));
    free.next().expect("the candidates are keys and never end")
}

/// The value of a version's variant.
pub(crate) fn value_of(version: &Version) -> serde_json::Value {
    use serde_json::json;
    if version.content.len() > INLINE_MAX {
        return json!({ "configuration_version": version.number, "bytes": version.content.len() });
    }
    if let Ok(value) = serde_json::from_slice(&version.content) {
        return value;
    }
    match std::str::from_utf8(&version.content) {
        Ok(text) => json!({ "content_type": version.content_type, "text": text }),
        Err(_) => json!({
            "configuration_version": version.number,
            "content_type": version.content_type,
            "bytes": version.content.len(),
        }),
    }
}
