//! The documents teams write: flags, segments, metrics, use cases and rollouts, as JSON or YAML.
//!
//! A document is told by its first key. Parsing gives typed documents *and* every problem with its place; nothing
//! here knows what a catalogue already holds.

pub mod condition;
pub mod flag;
mod json_marks;
pub mod measure;
pub mod problem;
pub(crate) mod reader;
pub mod schema;
pub mod segment;
mod shared;
pub mod text;
mod yaml;

use std::collections::BTreeMap;

use serde_json::Value as Json;

pub use flag::{
    FlagDocument, KINDS, Pick, PickBy, PinDocument, RuleDocument, SectionDocument, Seed, ServeDocument,
};
pub use measure::{MetricDocument, Price, UseCaseDocument};
pub use problem::{Mark, Problem};
pub use segment::{SegmentDocument, SegmentSection};

use crate::ids::{Key, Timestamp};
use crate::rollout::Spec;
use reader::Object;

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// A flag.
    Flag(Box<FlagDocument>),
    /// A segment.
    Segment(SegmentDocument),
    /// A metric.
    Metric(MetricDocument),
    /// A use case.
    UseCase(UseCaseDocument),
    /// A rollout.
    Rollout(Box<Spec>),
}

/// A document with where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub document: Document,
    /// As it was written.
    pub raw: Json,
    /// The file or other source.
    pub source: String,
    /// What stands before its pointers: its number, where the source holds several.
    prefix: String,
    marks: BTreeMap<String, Mark>,
}

/// The words that tell a document by its first key.
pub const FIRST_KEYS: [&str; 5] = ["flag", "segment", "metric", "use_case", "rollout"];

impl Parsed {
    /// Gives problems inside the document their place in its source.
    pub fn locate(&self, problems: Vec<Problem>) -> Vec<Problem> {
        locate(problems, &self.source, &self.prefix, &self.marks)
    }

    /// What it describes: `flag/inference_model`.
    pub fn subject(&self) -> String {
        match &self.document {
            Document::Flag(flag) => format!("flag/{}", flag.key),
            Document::Segment(segment) => format!("segment/{}", segment.key),
            Document::Metric(metric) => format!("metric/{}", metric.metric.key),
            Document::UseCase(use_case) => format!("use_case/{}", use_case.key),
            Document::Rollout(spec) => format!("rollout/{}", spec.flag),
        }
    }
}

fn locate(
    problems: Vec<Problem>,
    source: &str,
    prefix: &str,
    marks: &BTreeMap<String, Mark>,
) -> Vec<Problem> {
    let place = |mut problem: Problem| {
        if problem.mark.is_none() {
            // What is missing has the place of what it is missing from.
            let mut pointer = problem.pointer.as_str();
            problem.mark = loop {
                match (marks.get(pointer), pointer.rfind('/')) {
                    (Some(mark), _) => break Some(*mark),
                    (None, Some(cut)) => pointer = pointer.get(..cut).unwrap_or_default(),
                    (None, None) => break None,
                }
            };
        }
        problem.pointer = format!("{prefix}{}", problem.pointer);
        problem.source.get_or_insert_with(|| source.to_owned());
        problem
    };
    problems.into_iter().map(place).collect()
}

/// Reads a text: its documents, and everything that is wrong. A document with problems is left out.
pub fn parse(source: &str, bytes: &[u8]) -> (Vec<Parsed>, Vec<Problem>) {
    let trees = match text::read(source, bytes) {
        Ok(trees) => trees,
        Err(problems) => return (Vec::new(), locate(problems, source, "", &BTreeMap::new())),
    };
    let several = trees.len() > 1;
    let (mut parsed, mut all) = (Vec::new(), Vec::new());
    if trees.is_empty() {
        let problem = Problem::new("no_document", "", "There is no document in this text.");
        all.extend(locate(vec![problem], source, "", &BTreeMap::new()));
    }
    for (index, tree) in trees.into_iter().enumerate() {
        let prefix = if several { format!("/{index}") } else { String::new() };
        let mut problems = Vec::new();
        let document = document(&tree.value, &mut problems);
        let good = problems.is_empty();
        all.extend(locate(problems, source, &prefix, &tree.marks));
        if let (true, Some(document)) = (good, document) {
            let source = source.to_owned();
            parsed.push(Parsed { document, raw: tree.value, source, prefix, marks: tree.marks });
        }
    }
    (parsed, all)
}

/// Reads one document that is JSON already.
pub fn parse_value(source: &str, value: &Json) -> Result<Parsed, Vec<Problem>> {
    let mut problems = Vec::new();
    let document = document(value, &mut problems);
    match (problems.is_empty(), document) {
        (true, Some(document)) => Ok(Parsed {
            document,
            raw: value.clone(),
            source: source.to_owned(),
            prefix: String::new(),
            marks: BTreeMap::new(),
        }),
        _ => Err(problems),
    }
}

fn document(value: &Json, problems: &mut Vec<Problem>) -> Option<Document> {
    let object = Object::of(value, "", problems)?;
    match object.get("ensign") {
        None => {}
        Some(version) if version.as_u64() == Some(1) => {}
        Some(other) => {
            let sentence = format!("This is a document of version {other}; this Ensign reads version 1.");
            problems.push(Problem::new("unknown_version", "/ensign", sentence));
            return None;
        }
    }
    let first = object.map.keys().find(|name| name.as_str() != "ensign");
    match first.map(String::as_str) {
        Some("flag") => flag::read(&object, problems).map(|flag| Document::Flag(Box::new(flag))),
        Some("segment") => segment::read(&object, problems).map(Document::Segment),
        Some("metric") => measure::metric(&object, problems).map(Document::Metric),
        Some("use_case") => measure::use_case(&object, problems).map(Document::UseCase),
        Some("rollout") => rollout(value, problems).map(|spec| Document::Rollout(Box::new(spec))),
        Some(other) => {
            let sentence = format!("The first key tells what a document is; \"{other}\" does not.");
            let problem = Problem::new("unknown_document", text::join("", other), sentence);
            problems.push(match reader::nearest(other, &FIRST_KEYS) {
                Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                None => problem.hint(format!("one of {}", FIRST_KEYS.join(", "))),
            });
            None
        }
        None => {
            problems.push(Problem::new("unknown_document", "", "The document is empty."));
            None
        }
    }
}

fn rollout(value: &Json, problems: &mut Vec<Problem>) -> Option<Spec> {
    match Spec::from_document(value) {
        Ok(spec) => Some(spec),
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// When something dated ends: a moment, or the end (UTC) of a day.
pub fn until(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(moment.as_microsecond()));
    }
    let day = text.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(start.timestamp().as_microsecond()))
}

/// The key of what a document is about, whatever it is.
pub fn key_of(document: &Document) -> &Key {
    match document {
        Document::Flag(flag) => &flag.key,
        Document::Segment(segment) => &segment.key,
        Document::Metric(metric) => &metric.metric.key,
        Document::UseCase(use_case) => &use_case.key,
        Document::Rollout(spec) => &spec.flag,
    }
}
