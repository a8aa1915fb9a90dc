//! LaunchDarkly's payload as documents of ours: salts, seeds, targets, prerequisites, rules and segments, so that every
//! context gets what it got before. What cannot be said is named; an item that would decide otherwise is left out.

mod clauses;
mod flag;
mod segment;

pub(super) use segment::ABSENT;

use std::collections::{BTreeMap, BTreeSet};

use ensign_control::document::parse_value;
use serde_json::{Map, Value as Json};

/// Something that did not come along, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// What, as a sentence that does not name the item.
    pub what: String,
    /// Such as `flag checkout_model`.
    pub item: String,
    /// Whether the item is left out altogether.
    pub left_out: bool,
}

/// What a payload became.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Imported {
    /// Segments, then flags, each after what it depends on.
    pub documents: Vec<Json>,
    /// In order of items.
    pub remarks: Vec<Remark>,
}

/// Why an item cannot be said, as a sentence.
struct Cannot(String);

/// One item while it is read: what is to be said about it, and what it depends on.
struct Draft<'p> {
    kind: &'static str,
    key: &'p str,
    remarks: Vec<Remark>,
    segments: BTreeSet<String>,
    flags: BTreeSet<String>,
    known: &'p Known<'p>,
}

/// What the payload holds.
struct Known<'p> {
    flags: &'p Map<String, Json>,
    segments: &'p Map<String, Json>,
}

impl Draft<'_> {
    fn say(&mut self, what: impl Into<String>) {
        let item = format!("{} {}", self.kind, self.key);
        self.remarks.push(Remark { what: what.into(), item, left_out: false });
    }

    /// Names members that are not read here.
    fn unknown(&mut self, object: &Map<String, Json>, known: &[&str]) {
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            self.say(format!("The member \"{name}\" is not understood and is left out."));
        }
    }
}

/// Reads `{"flags": {…}, "segments": {…}}`, or a `put` that holds it under `data`.
///
/// # Errors
/// A sentence, when it is neither.
pub fn import(payload: &Json) -> Result<Imported, String> {
    let payload = payload.get("data").filter(|data| data.get("flags").is_some()).unwrap_or(payload);
    let flags = payload.get("flags").and_then(Json::as_object);
    let flags = flags.ok_or("There is no object \"flags\": this is not the payload of an SDK.")?;
    let nothing = Map::new();
    let segments = payload.get("segments").and_then(Json::as_object).unwrap_or(&nothing);
    let known = Known { flags, segments };
    let mut items = Items::default();
    for (key, json) in segments {
        items.read("segment", key, json, &known, segment::read);
    }
    for (key, json) in flags {
        items.read("flag", key, json, &known, flag::read);
    }
    Ok(items.settle())
}

/// An item that was read.
struct Made {
    document: Json,
    needs: BTreeSet<(&'static str, String)>,
}

#[derive(Default)]
struct Items {
    made: BTreeMap<(&'static str, String), Made>,
    remarks: Vec<Remark>,
}

impl Items {
    fn read<'p>(
        &mut self,
        kind: &'static str,
        key: &'p str,
        json: &'p Json,
        known: &'p Known<'p>,
        read: impl FnOnce(&mut Draft<'p>, &Map<String, Json>) -> Result<Json, Cannot>,
    ) {
        if json.get("deleted") == Some(&Json::Bool(true)) {
            return;
        }
        let mut draft = Draft {
            kind,
            key,
            remarks: Vec::new(),
            segments: BTreeSet::new(),
            flags: BTreeSet::new(),
            known,
        };
        let document = match json.as_object() {
            Some(object) => read(&mut draft, object).and_then(|document| checked(key, document)),
            None => Err(Cannot("It is no object.".to_owned())),
        };
        self.remarks.extend(draft.remarks);
        match document {
            Ok(document) => {
                let segments = draft.segments.into_iter().map(|key| ("segment", key));
                let needs = segments.chain(draft.flags.into_iter().map(|key| ("flag", key))).collect();
                self.made.insert((kind, key.to_owned()), Made { document, needs });
            }
            Err(Cannot(why)) => self.leave_out(kind, key, &why),
        }
    }

    fn leave_out(&mut self, kind: &str, key: &str, why: &str) {
        let (what, item) = (format!("Left out: {why}"), format!("{kind} {key}"));
        self.remarks.push(Remark { what, item, left_out: true });
    }

    /// Puts items after what they need. What needs something that is left out, or itself, is left out too.
    fn settle(mut self) -> Imported {
        let mut documents = Vec::new();
        let mut done: BTreeSet<(&'static str, String)> = BTreeSet::new();
        loop {
            let ready: Vec<(&'static str, String)> = self
                .made
                .iter()
                .filter(|(id, made)| !done.contains(*id) && made.needs.is_subset(&done))
                .map(|(id, _)| id.clone())
                .collect();
            if ready.is_empty() {
                break;
            }
            // Segments first, for whoever reads the result.
            let (segments, flags): (Vec<_>, Vec<_>) = ready.into_iter().partition(|id| id.0 == "segment");
            for id in if segments.is_empty() { flags } else { segments } {
                documents.extend(self.made.get(&id).map(|made| made.document.clone()));
                done.insert(id);
            }
        }
        let rest: Vec<((&'static str, String), String)> = self
            .made
            .iter()
            .filter(|(id, _)| !done.contains(*id))
            .map(|(id, made)| {
                let missing: Vec<String> =
                    made.needs.difference(&done).map(|(kind, key)| format!("{kind} {key}")).collect();
                (id.clone(), missing.join(", "))
            })
            .collect();
        for ((kind, key), missing) in rest {
            let why = format!("It needs {missing}, which is left out or needs this one in turn.");
            self.leave_out(kind, &key, &why);
        }
        self.remarks.sort_by(|a, b| a.item.cmp(&b.item));
        self.remarks.dedup();
        Imported { documents, remarks: self.remarks }
    }
}

/// The document, if it is one.
fn checked(key: &str, document: Json) -> Result<Json, Cannot> {
    match parse_value(key, &document) {
        Ok(_) => Ok(document),
        Err(problems) => {
            let sentences: Vec<String> = problems.into_iter().map(|problem| problem.sentence).collect();
            Err(Cannot(sentences.join(" ")))
        }
    }
}

fn text<'j>(object: &'j Map<String, Json>, name: &str) -> Option<&'j str> {
    object.get(name)?.as_str()
}

fn list<'j>(object: &'j Map<String, Json>, name: &str) -> &'j [Json] {
    object.get(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts(values: &[Json]) -> Vec<&str> {
    values.iter().filter_map(Json::as_str).collect()
}
