//! The picture of an environment that ingestion works with, built with the ruleset it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_control::catalogue::Catalogue;
use ensign_control::ids::{Key, Place};
use ensign_eval::model::Flag;

use crate::ingest::{BookKeys, FlagBook, PlaceBook, UseCaseBook};

pub(super) fn of(
    place: &Place,
    keys: &BookKeys,
    catalogue: &Catalogue,
    flags: &BTreeMap<String, Arc<Flag>>,
) -> PlaceBook {
    let flags = flags.iter().filter_map(|(key, flag)| {
        let key: Key = key.parse().ok()?;
        let book = FlagBook::of(place, &key, flag);
        Some((key, book))
    });
    let metrics = catalogue.metrics(&place.project).into_iter().map(|document| document.metric);
    let use_cases = catalogue.use_cases(&place.project).into_iter().map(|document| {
        let prices =
            document.prices.iter().map(|(model, price)| (model.clone(), (price.input, price.output)));
        let book = UseCaseBook { timeout: document.request_timeout, prices: prices.collect() };
        (document.key, book)
    });
    PlaceBook::new(place.clone(), keys.clone(), flags, metrics, use_cases)
}
