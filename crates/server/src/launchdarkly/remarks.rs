//! What a person who saves something is told about LaunchDarkly's SDKs.

use std::collections::{BTreeMap, BTreeSet};

use ensign_control::catalogue::{Catalogue, PlanItem, Verb};
use ensign_control::ids::Place;
use ensign_protocol::launchdarkly::notes;

/// Remarks about the items of an answer, for the environments it speaks of. `catalogue` is that after the change.
pub(crate) fn remarks(catalogue: &Catalogue, place: &Place, items: &[PlanItem]) -> Vec<String> {
    let mut touched: BTreeMap<Place, BTreeSet<&str>> = BTreeMap::new();
    for item in items.iter().filter(|item| item.verb != Verb::Keep) {
        let environment = match &item.environment {
            Some(environment) => environment.parse().ok(),
            None => Some(place.environment.clone()),
        };
        if let Some(environment) = environment {
            let place = Place { project: place.project.clone(), environment };
            touched.entry(place).or_default().insert(&item.subject);
        }
    }
    let mut all = Vec::new();
    for (place, subjects) in touched {
        for note in notes(&catalogue.compile(&place)) {
            let about = format!("{}/{}", note.kind, note.key);
            if subjects.contains(about.as_str()) && !all.contains(&note.sentence) {
                all.push(note.sentence);
            }
        }
    }
    all
}
