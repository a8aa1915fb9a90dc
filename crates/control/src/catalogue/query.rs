//! What can be asked without changing anything.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::change::ItemKey;
use super::state::{FlagRecord, FlagState, SegmentState, VariantRecord};
use super::variants::Variants;
use super::view::View;
use super::{Catalogue, Scope, Window};
use crate::document::{MetricDocument, UseCaseDocument};
use crate::ids::{Key, Place, RolloutId, Timestamp};
use crate::rollout::Rollout;

/// A flag in one environment, as lists and pages show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlagView {
    /// Its key.
    pub key: Key,
    /// The type of its values.
    pub value_type: String,
    /// Its variants; the position is the index.
    pub variants: Vec<VariantRecord>,
    /// Owner, kind, dates and so on.
    pub shared: Map<String, Json>,
    /// When it was created.
    pub created: Timestamp,
    /// The revision of its last change here.
    pub version: u64,
    /// What is served; none where it is not defined.
    pub state: Option<FlagState>,
    /// Since when it is a tombstone.
    pub retired: Option<super::state::Retired>,
    /// How it stands, as a sentence.
    pub sentence: String,
}

/// A use case with how its flags stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UseCaseView {
    /// Its key.
    pub key: Key,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its flags, those that say so themselves included.
    pub flags: Vec<FlagView>,
    /// Its document.
    pub members: Json,
}

impl Catalogue {
    /// The projects.
    pub fn projects(&self) -> Vec<Key> {
        self.keys(&Scope::installation(), "project").iter().filter_map(|key| key.parse().ok()).collect()
    }

    /// The environments of a project.
    pub fn places(&self, project: &Key) -> Vec<Place> {
        View::environments(self, project)
    }

    /// A flag of a project, retired or not.
    pub fn flag_record(&self, project: &Key, flag: &Key) -> Option<FlagRecord> {
        View::flag(self, project, flag)
    }

    /// A flag in an environment.
    pub fn flag_state(&self, place: &Place, flag: &Key) -> Option<FlagState> {
        View::state(self, place, flag)
    }

    /// A segment in an environment.
    pub fn segment_state(&self, place: &Place, segment: &str) -> Option<SegmentState> {
        View::segment(self, place, segment)
    }

    /// The keys of an environment's segments.
    pub fn segments(&self, place: &Place) -> Vec<String> {
        self.keys(&Scope::place(place), "segment")
    }

    /// A project's metrics.
    pub fn metrics(&self, project: &Key) -> Vec<MetricDocument> {
        let keys = self.keys(&Scope::project(project), "metric");
        keys.iter().filter_map(|key| View::metric(self, project, &key.parse().ok()?)).collect()
    }

    /// A project's use cases.
    pub fn use_cases(&self, project: &Key) -> Vec<UseCaseDocument> {
        let keys = self.keys(&Scope::project(project), "use_case");
        keys.iter().filter_map(|key| View::use_case(self, project, &key.parse().ok()?)).collect()
    }

    /// Windows of the installation, the project and the environment.
    pub fn windows_of(&self, place: &Place) -> Vec<Window> {
        View::windows(self, place)
    }

    /// A rollout.
    pub fn rollout_of(&self, id: &RolloutId) -> Option<Rollout> {
        View::rollout(self, id)
    }

    /// Every rollout of an environment, by flag and number.
    pub fn rollouts(&self, place: &Place) -> Vec<Rollout> {
        let keys = self.keys(&Scope::place(place), "rollout");
        let mut all: Vec<Rollout> = keys
            .into_iter()
            .filter_map(|key| {
                match self
                    .body(&ItemKey { scope: Scope::place(place), kind: "rollout".to_owned(), key })?
                    .as_ref()
                {
                    super::state::Body::Rollout(rollout) => Some(rollout.as_ref().clone()),
                    _ => None,
                }
            })
            .collect();
        all.sort_by(|a, b| (&a.id.flag, a.id.number).cmp(&(&b.id.flag, b.id.number)));
        all
    }

    /// Records of a kind in a scope, by key, as they stand.
    pub fn records(&self, scope: &Scope, kind: super::RecordKind) -> Vec<(String, Json)> {
        let keys = self.keys(scope, kind.word());
        keys.into_iter()
            .filter_map(|key| {
                let id = ItemKey { scope: scope.clone(), kind: kind.word().to_owned(), key: key.clone() };
                Some((key, self.body(&id)?.json()))
            })
            .collect()
    }

    /// A receipt, by its key.
    pub fn receipts(&self, place: &Place) -> Vec<(String, Json)> {
        let keys = self.keys(&Scope::place(place), "receipt");
        keys.into_iter()
            .filter_map(|key| {
                let id = ItemKey { scope: Scope::place(place), kind: "receipt".to_owned(), key: key.clone() };
                Some((key, self.body(&id)?.json()))
            })
            .collect()
    }

    /// A flag as a page shows it.
    pub fn flag_view(&self, place: &Place, flag: &Key) -> Option<FlagView> {
        let record = self.flag_record(&place.project, flag)?;
        let state = self.flag_state(place, flag);
        let sentence = sentence(place, &record, state.as_ref());
        Some(FlagView {
            key: record.key,
            value_type: record.value_type,
            variants: record.variants,
            shared: record.shared,
            created: record.created,
            version: self.version(&ItemKey::state(place, flag)).unwrap_or(0),
            state,
            retired: record.retired,
            sentence,
        })
    }

    /// Every flag, as a list shows it; retired ones last.
    pub fn flag_views(&self, place: &Place) -> Vec<FlagView> {
        let keys = self.flag_keys(&place.project);
        let mut all: Vec<FlagView> = keys.iter().filter_map(|key| self.flag_view(place, key)).collect();
        all.sort_by_key(|view| view.retired.is_some());
        all
    }

    /// The flags of an environment that somebody could be served a value by, with the variant's name.
    pub fn serving(&self, place: &Place, value: &Json) -> Vec<(Key, String)> {
        let mut all = Vec::new();
        for key in self.flag_keys(&place.project) {
            let Some(record) = self.flag_record(&place.project, &key).filter(|r| r.retired.is_none()) else {
                continue;
            };
            let Some(state) = self.flag_state(place, &key) else { continue };
            let Some(variant) = Variants::find(&record, value) else { continue };
            let serves = match &state.kill {
                Some(kill) => kill.to == variant.name,
                None => state.section.servable().contains(variant.name.as_str()),
            };
            if serves {
                all.push((key, variant.name.clone()));
            }
        }
        all
    }

    /// A use case with how its flags stand.
    pub fn use_case_view(&self, place: &Place, use_case: &Key) -> Option<UseCaseView> {
        let document = View::use_case(self, &place.project, use_case)?;
        let says_so =
            |view: &FlagView| view.shared.get("use_case").and_then(Json::as_str) == Some(use_case.as_str());
        let flags = self.flag_views(place);
        let flags = flags.into_iter().filter(|view| document.flags.contains(&view.key) || says_so(view));
        Some(UseCaseView {
            key: document.key.clone(),
            owner: document.owner.clone(),
            flags: flags.collect(),
            members: document.members.clone(),
        })
    }
}

/// How a flag stands, in one sentence.
fn sentence(place: &Place, record: &FlagRecord, state: Option<&FlagState>) -> String {
    let environment = &place.environment;
    if record.retired.is_some() {
        return format!("{} is retired.", record.key);
    }
    let Some(state) = state else { return format!("{} has nothing to serve in {environment}.", record.key) };
    if let Some(kill) = &state.kill {
        let why = kill.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
        return format!("Killed in {environment} by {}{why}: everyone is on {}.", kill.by, kill.to);
    }
    if !state.section.on {
        let served = state.section.off_words();
        return format!("Off in {environment}: everyone gets {served}.");
    }
    let mut text = match state.section.rules.len() {
        0 => format!("Serves {} in {environment}", state.section.default),
        1 => format!("One rule, then {} in {environment}", state.section.default),
        n => format!("{n} rules, then {} in {environment}", state.section.default),
    };
    if let Some(owned) = &state.owned {
        text.push_str(&format!(
            "; rollout {}.{} moves {} to {}",
            record.key, owned.rollout, owned.control, owned.new
        ));
    }
    if !state.section.pins.is_empty() {
        text.push_str(&format!("; {} pinned", state.section.pins.len()));
    }
    text.push('.');
    text
}
