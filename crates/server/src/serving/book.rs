//! The picture of an environment that ingestion works with, built with the ruleset it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensign_control::ids::{Key, Place};
use ensign_eval::model::Flag;

use crate::image::Image;
use crate::ingest::{BookKeys, FlagBook, PlaceBook};

pub(super) fn of(
    place: &Place,
    keys: &BookKeys,
    _image: &Image,
    flags: &BTreeMap<String, Arc<Flag>>,
) -> PlaceBook {
    let flags = flags.iter().filter_map(|(key, flag)| {
        let key: Key = key.parse().ok()?;
        let book = FlagBook::of(place, &key, flag);
        Some((key, book))
    });
    PlaceBook::new(place.clone(), keys.clone(), flags, [], [])
}
