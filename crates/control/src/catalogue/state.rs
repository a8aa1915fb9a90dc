//! What the catalogue stores: the bodies of its items.
//!
//! Variants are named, never numbered, in what an environment serves: a name is as permanent as its index, and a
//! person can read it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::change::{ItemKey, Scope};
use super::record::RecordKind;
use crate::deployment;
use crate::document::Seed;
use crate::ids::{Key, Place, RolloutId, Timestamp};
use crate::rollout::Rollout;

/// A flag as the project knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlagRecord {
    /// Its key.
    pub key: Key,
    /// The type of its values, as documents call it.
    pub value_type: String,
    /// Append-only; the position is the permanent index.
    pub variants: Vec<VariantRecord>,
    /// Owner, kind, dates and so on, as documents write them.
    #[serde(default)]
    pub shared: Map<String, Json>,
    /// When it was created.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Set while it is a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retired>,
}

/// One possible value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantRecord {
    /// Unique within the flag, permanent.
    pub name: String,
    /// What the code receives.
    pub value: Json,
    /// Whether an author named it; an unnamed scalar is its own name.
    #[serde(default)]
    pub named: bool,
}

/// Since when a key is a tombstone, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retired {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// A flag in one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlagState {
    /// What is served.
    pub section: Section,
    /// While present, everyone gets this, whatever the section says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<KillState>,
    /// How often each split has changed, by rule id (`fallthrough` for the end of the rules).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub epochs: BTreeMap<String, u32>,
    /// The rollout that moves one of its splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<Owned>,
    /// How many rollouts it has had.
    #[serde(default)]
    pub rollouts: u32,
}

/// The split that a rollout owns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Owned {
    /// The rollout's number.
    pub rollout: u32,
    /// The rule, or `fallthrough`.
    pub rule: String,
    /// The variant it moves from.
    pub control: String,
    /// The variant it moves to.
    pub new: String,
}

/// A kill in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KillState {
    /// What everyone gets.
    pub to: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// The name of the end of the rules, where a split or an epoch belongs to it.
pub const FALLTHROUGH: &str = "fallthrough";

fn yes() -> bool {
    true
}

fn is_true(on: &bool) -> bool {
    *on
}

/// What an environment serves of a flag, in canonical form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// On or off.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub on: bool,
    /// Control: for everyone whom nothing else decides.
    pub default: String,
    /// How those are divided instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Vec<Part>>,
    /// Served while it is off; else the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<Off>,
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Flags that must serve a variant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<Prerequisite>,
    /// Individually targeted keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Units that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// The unit of splits and percentages that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Deals units anew when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// What the split at the end is hashed with instead of the flag's key and salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
}

/// What is served while a flag is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Off {
    /// A variant.
    Variant(String),
    /// The caller's own default.
    Caller(Nothing),
}

/// Says that the environment serves nothing of its own: `{"caller": true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {
    /// Always true.
    pub caller: bool,
}

/// A piece of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What these units get.
    pub variant: String,
    /// How many, 1/100000.
    pub weight: u32,
}

/// What a rule leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serve {
    /// One variant.
    Variant(String),
    /// Several.
    Split(Vec<Part>),
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Given, or derived from what it asks.
    pub id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As it was written.
    pub condition: Json,
    /// What it leads to.
    pub serve: Serve,
    /// The context kind whose key divides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The attribute that divides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// A salt of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// What its split is hashed with instead of a salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
    /// What units get that its split cannot hash, if not the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
}

/// A flag that must serve a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prerequisite {
    /// Its key.
    pub flag: Key,
    /// The variant's name.
    pub variant: String,
}

/// Individually targeted keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The context kind.
    pub unit: String,
    /// The keys.
    pub keys: Vec<String>,
    /// What they get.
    pub variant: String,
}

/// A pin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pin {
    /// Given, or derived from whom it holds.
    pub id: String,
    /// The context kind of the keys; none: the flag's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Which units.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub who: Vec<String>,
    /// Or which contexts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Json>,
    /// What they keep.
    pub variant: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Until when, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A segment in one environment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SegmentState {
    /// Keys that are in, by context kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub includes: BTreeMap<String, Vec<String>>,
    /// Keys that are out, by context kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub excludes: BTreeMap<String, Vec<String>>,
    /// Any that matches includes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<SegmentRule>,
    /// Deals percentages anew when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A rule of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentRule {
    /// Given, or derived from what it asks.
    pub id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// As it was written.
    pub condition: Json,
}

/// A file as it was last applied: the base of the next merge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// As it was written.
    pub document: Json,
    /// The file.
    pub source: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The environment it was applied to, if only to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Key>,
}

/// The body of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A project.
    Project,
    /// An environment.
    Environment,
    /// A flag of a project.
    Flag(FlagRecord),
    /// A flag in an environment.
    State(Box<FlagState>),
    /// A segment in an environment.
    Segment(SegmentState),
    /// A metric document.
    Metric(Json),
    /// A use case document.
    UseCase(Json),
    /// A file as it was last applied.
    Applied(Applied),
    /// A rollout.
    Rollout(Box<Rollout>),
    /// A receipt.
    Receipt(Json),
    /// Something kept as it stands.
    Record(RecordKind, Json),
    /// An application, a profile, a deployment and so on.
    Deployment(Box<deployment::Item>),
    /// Erased.
    Gone,
}

impl Body {
    /// Reads a stored body.
    pub(super) fn read(kind: &str, body: &Json) -> Result<Self, String> {
        fn typed<T: serde::de::DeserializeOwned>(body: &Json) -> Result<T, String> {
            T::deserialize(body).map_err(|error| error.to_string())
        }
        if body.get("gone") == Some(&Json::Bool(true)) {
            return Ok(Self::Gone);
        }
        match kind {
            "project" => Ok(Self::Project),
            "environment" => Ok(Self::Environment),
            "flag" => typed(body).map(Self::Flag),
            "flag_state" => typed(body).map(|state| Self::State(Box::new(state))),
            "segment" => typed(body).map(Self::Segment),
            "metric" => Ok(Self::Metric(body.clone())),
            "use_case" => Ok(Self::UseCase(body.clone())),
            "applied" => typed(body).map(Self::Applied),
            "rollout" => typed(body).map(|rollout| Self::Rollout(Box::new(rollout))),
            "receipt" => Ok(Self::Receipt(body.clone())),
            other => match RecordKind::ALL.into_iter().find(|kind| kind.word() == other) {
                Some(kind) => Ok(Self::Record(kind, body.clone())),
                None => match deployment::Item::read(other, body) {
                    Some(item) => item.map(|item| Self::Deployment(Box::new(item))),
                    None => Err(format!("there is no kind \"{other}\"")),
                },
            },
        }
    }

    /// The body as it is stored.
    pub fn json(&self) -> Json {
        fn plain<T: Serialize>(value: &T) -> Json {
            serde_json::to_value(value).expect("bodies have string keys and finite numbers")
        }
        match self {
            Self::Project | Self::Environment => Json::Object(Map::new()),
            Self::Flag(record) => plain(record),
            Self::State(state) => plain(state),
            Self::Segment(segment) => plain(segment),
            Self::Applied(applied) => plain(applied),
            Self::Rollout(rollout) => plain(rollout),
            Self::Metric(json) | Self::UseCase(json) | Self::Receipt(json) | Self::Record(_, json) => {
                json.clone()
            }
            Self::Deployment(item) => item.json(),
            Self::Gone => serde_json::json!({ "gone": true }),
        }
    }
}

impl Scope {
    /// What belongs to no project.
    pub fn installation() -> Self {
        Self::default()
    }

    /// What belongs to a whole project.
    pub fn project(project: &Key) -> Self {
        Self { project: project.as_str().to_owned(), environment: None }
    }

    /// What belongs to one environment.
    pub fn place(place: &Place) -> Self {
        Self {
            project: place.project.as_str().to_owned(),
            environment: Some(place.environment.as_str().to_owned()),
        }
    }
}

impl ItemKey {
    fn new(scope: Scope, kind: &str, key: impl Into<String>) -> Self {
        Self { scope, kind: kind.to_owned(), key: key.into() }
    }
    /// A project.
    pub fn project(project: &Key) -> Self {
        Self::new(Scope::installation(), "project", project.as_str())
    }
    /// An environment.
    pub fn environment(place: &Place) -> Self {
        Self::new(Scope::project(&place.project), "environment", place.environment.as_str())
    }
    /// A flag of a project.
    pub fn flag(project: &Key, flag: &Key) -> Self {
        Self::new(Scope::project(project), "flag", flag.as_str())
    }
    /// A flag in an environment.
    pub fn state(place: &Place, flag: &Key) -> Self {
        Self::new(Scope::place(place), "flag_state", flag.as_str())
    }
    /// A segment in an environment.
    pub fn segment(place: &Place, segment: &str) -> Self {
        Self::new(Scope::place(place), "segment", segment)
    }
    /// A metric.
    pub fn metric(project: &Key, metric: &Key) -> Self {
        Self::new(Scope::project(project), "metric", metric.as_str())
    }
    /// A use case.
    pub fn use_case(project: &Key, use_case: &Key) -> Self {
        Self::new(Scope::project(project), "use_case", use_case.as_str())
    }
    /// The file last applied for a subject, such as `flag/inference_model`.
    pub fn applied(project: &Key, subject: &str) -> Self {
        Self::new(Scope::project(project), "applied", subject)
    }
    /// A rollout.
    pub fn rollout(id: &RolloutId) -> Self {
        Self::new(Scope::place(&id.place), "rollout", id.to_string())
    }
    /// A receipt of a rollout's automatic decision.
    pub fn receipt(id: &RolloutId, number: u32) -> Self {
        Self::new(Scope::place(&id.place), "receipt", format!("{id}.{number}"))
    }
}

impl FlagRecord {
    /// A variant by name, with its permanent index.
    pub fn variant(&self, name: &str) -> Option<(u16, &VariantRecord)> {
        let at = self.variants.iter().position(|variant| variant.name == name)?;
        Some((u16::try_from(at).ok()?, self.variants.get(at)?))
    }

    /// Who answers for it.
    pub fn owner(&self) -> Option<&str> {
        self.shared.get("owner")?.as_str()
    }

    /// The day it should be gone from the code.
    pub fn cleanup(&self) -> Option<&str> {
        self.shared.get("cleanup")?.as_str()
    }
}

impl Serve {
    /// The variants it can lead to.
    pub fn variants(&self) -> Vec<&str> {
        match self {
            Self::Variant(name) => vec![name],
            Self::Split(parts) => {
                parts.iter().filter(|part| part.weight > 0).map(|part| part.variant.as_str()).collect()
            }
        }
    }
}

impl Section {
    /// A section that serves one variant to everyone.
    pub fn serving(default: impl Into<String>) -> Self {
        Self {
            on: true,
            default: default.into(),
            split: None,
            off: None,
            rules: Vec::new(),
            prerequisites: Vec::new(),
            targets: Vec::new(),
            pins: Vec::new(),
            unit: None,
            salt: None,
            seed: None,
        }
    }

    /// What everyone gets while it is off, in words.
    pub fn off_words(&self) -> &str {
        match &self.off {
            Some(Off::Variant(name)) => name,
            Some(Off::Caller(_)) => "the default in the code",
            None => &self.default,
        }
    }

    /// Every variant that somebody can get by it.
    pub fn servable(&self) -> BTreeSet<&str> {
        let mut all = BTreeSet::from([self.default.as_str()]);
        if let Some(Off::Variant(name)) = &self.off {
            all.insert(name);
        }
        let split = self.split.iter().flatten();
        all.extend(split.filter(|part| part.weight > 0).map(|part| part.variant.as_str()));
        all.extend(self.rules.iter().flat_map(|rule| rule.serve.variants()));
        all.extend(self.targets.iter().map(|target| target.variant.as_str()));
        all.extend(self.pins.iter().map(|pin| pin.variant.as_str()));
        all
    }

    /// The split at a rule, or at the end of the rules.
    pub fn split_at(&self, rule: &str) -> Option<&[Part]> {
        if rule == FALLTHROUGH {
            return self.split.as_deref();
        }
        match &self.rules.iter().find(|candidate| candidate.id == rule)?.serve {
            Serve::Split(parts) => Some(parts),
            Serve::Variant(_) => None,
        }
    }

    /// Every split, by rule.
    pub fn splits(&self) -> impl Iterator<Item = (&str, &[Part])> {
        let rules = self.rules.iter().filter_map(|rule| match &rule.serve {
            Serve::Split(parts) => Some((rule.id.as_str(), parts.as_slice())),
            Serve::Variant(_) => None,
        });
        rules.chain(self.split.as_deref().map(|parts| (FALLTHROUGH, parts)))
    }
}
