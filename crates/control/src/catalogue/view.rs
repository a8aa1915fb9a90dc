//! Looking things up, in the catalogue as it is and in a draft of what it will be.

use std::sync::Arc;

use super::Catalogue;
use super::change::{ItemKey, Scope};
use super::record::{RecordKind, Window};
use super::state::{Applied, Body, FlagRecord, FlagState, SegmentState};
use crate::document::{self, Document, MetricDocument, UseCaseDocument};
use crate::ids::{Key, Place, RolloutId};
use crate::rollout::Rollout;

/// Something that holds items.
pub(super) trait View {
    /// One item; erased ones are not there.
    fn body(&self, key: &ItemKey) -> Option<Arc<Body>>;
    /// The keys of all items of a kind in a scope, in order.
    fn keys(&self, scope: &Scope, kind: &str) -> Vec<String>;

    fn flag(&self, project: &Key, flag: &Key) -> Option<FlagRecord> {
        match self.body(&ItemKey::flag(project, flag))?.as_ref() {
            Body::Flag(record) => Some(record.clone()),
            _ => None,
        }
    }

    fn state(&self, place: &Place, flag: &Key) -> Option<FlagState> {
        match self.body(&ItemKey::state(place, flag))?.as_ref() {
            Body::State(state) => Some(state.as_ref().clone()),
            _ => None,
        }
    }

    fn segment(&self, place: &Place, segment: &str) -> Option<SegmentState> {
        match self.body(&ItemKey::segment(place, segment))?.as_ref() {
            Body::Segment(segment) => Some(segment.clone()),
            _ => None,
        }
    }

    fn applied(&self, project: &Key, subject: &str) -> Option<Applied> {
        match self.body(&ItemKey::applied(project, subject))?.as_ref() {
            Body::Applied(applied) => Some(applied.clone()),
            _ => None,
        }
    }

    fn rollout(&self, id: &RolloutId) -> Option<Rollout> {
        match self.body(&ItemKey::rollout(id))?.as_ref() {
            Body::Rollout(rollout) => Some(rollout.as_ref().clone()),
            _ => None,
        }
    }

    fn metric(&self, project: &Key, metric: &Key) -> Option<MetricDocument> {
        match self.body(&ItemKey::metric(project, metric))?.as_ref() {
            Body::Metric(json) => match document::parse_value("", json).ok()?.document {
                Document::Metric(metric) => Some(metric),
                _ => None,
            },
            _ => None,
        }
    }

    fn use_case(&self, project: &Key, use_case: &Key) -> Option<UseCaseDocument> {
        match self.body(&ItemKey::use_case(project, use_case))?.as_ref() {
            Body::UseCase(json) => match document::parse_value("", json).ok()?.document {
                Document::UseCase(use_case) => Some(use_case),
                _ => None,
            },
            _ => None,
        }
    }

    fn environments(&self, project: &Key) -> Vec<Place> {
        let keys = self.keys(&Scope::project(project), "environment");
        keys.iter()
            .filter_map(|key| Some(Place { project: project.clone(), environment: key.parse().ok()? }))
            .collect()
    }

    fn flag_keys(&self, project: &Key) -> Vec<Key> {
        self.keys(&Scope::project(project), "flag").iter().filter_map(|key| key.parse().ok()).collect()
    }

    fn windows(&self, place: &Place) -> Vec<Window> {
        let scopes = [Scope::installation(), Scope::project(&place.project), Scope::place(place)];
        let mut all = Vec::new();
        for scope in scopes {
            for key in self.keys(&scope, RecordKind::Window.word()) {
                let item = ItemKey { scope: scope.clone(), kind: RecordKind::Window.word().to_owned(), key };
                if let Some(Body::Record(_, json)) = self.body(&item).as_deref() {
                    all.extend(serde_json::from_value::<Window>(json.clone()).ok());
                }
            }
        }
        all
    }
}

impl View for Catalogue {
    fn body(&self, key: &ItemKey) -> Option<Arc<Body>> {
        self.items.get(key).map(|stored| stored.body.clone()).filter(|body| **body != Body::Gone)
    }

    fn keys(&self, scope: &Scope, kind: &str) -> Vec<String> {
        let from = ItemKey { scope: scope.clone(), kind: kind.to_owned(), key: String::new() };
        self.items
            .range(from..)
            .take_while(|(id, _)| id.scope == *scope && id.kind == kind)
            .filter(|(_, stored)| *stored.body != Body::Gone)
            .map(|(id, _)| id.key.clone())
            .collect()
    }
}
