//! AWS key pairs: opened once, looked up by id, each with the signing key of the day it was last used on.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ensign_control::catalogue::RecordKind;
use ensign_protocol::appconfig::sigv4;
use ensign_store::secrets::SecretKey;
use rustc_hash::FxHashMap;

use super::Caller;
use crate::image::Image;
use crate::keys::{open, owner};

/// One pair. Nothing here can be printed.
pub(crate) struct AwsKey {
    pub(super) caller: Caller,
    secret: String,
    last: ArcSwapOption<Derived>,
}

struct Derived {
    date: String,
    region: String,
    key: [u8; 32],
}

impl AwsKey {
    /// The key that signs requests of a day in a region; it is the same all day.
    pub(super) fn signing_key(&self, date: &str, region: &str) -> [u8; 32] {
        if let Some(last) = self.last.load().as_deref()
            && last.date == date
            && last.region == region
        {
            return last.key;
        }
        let key = sigv4::signing_key(&self.secret, date, region);
        let derived = Derived { date: date.to_owned(), region: region.to_owned(), key };
        self.last.store(Some(Arc::new(derived)));
        key
    }
}

/// Every pair by its id.
#[derive(Default)]
pub(crate) struct AwsKeys(FxHashMap<String, AwsKey>);

impl AwsKeys {
    /// The pairs of an image. One that cannot be opened is named in the log and left out.
    pub(crate) fn of(secret: &SecretKey, image: &Image) -> Self {
        let mut keys = FxHashMap::default();
        for (id, _) in image.records(RecordKind::Secret) {
            if id.key != "aws" && !id.key.starts_with("aws.") {
                continue;
            }
            let plain =
                open(secret, image, &id.scope, &id.key).and_then(|bytes| String::from_utf8(bytes).ok());
            let Some((key_id, plain)) = plain.as_deref().and_then(|plain| plain.split_once('\n')) else {
                tracing::error!(scope = ?id.scope, "an AWS key pair cannot be opened and is not valid");
                continue;
            };
            let caller = match owner(&id.scope) {
                (Some(project), None) => Caller::Account(project),
                (Some(project), Some(environment)) => {
                    Caller::Place(ensign_control::ids::Place { project, environment })
                }
                (None, _) => continue,
            };
            let key = AwsKey { caller, secret: plain.to_owned(), last: ArcSwapOption::empty() };
            keys.insert(key_id.to_owned(), key);
        }
        Self(keys)
    }

    pub(super) fn find(&self, id: &str) -> Option<&AwsKey> {
        self.0.get(id)
    }
}
