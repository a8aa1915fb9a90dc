//! What SDKs get of an environment: translated once for each version, and shared by every protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use ensign_control::ids::Place;
use ensign_protocol::launchdarkly::{Availability, Change, Payload, Sources};

use crate::fanout::{Encoded, Encoding, Step};
use crate::image::place_scope;
use crate::serving::{PlaceState, Serving, Version};
use crate::{App, keys};

/// One version of an environment, translated.
#[derive(Default)]
pub struct Data {
    /// Which.
    pub version: Version,
    /// The flags and segments.
    pub payload: Payload,
    text: OnceLock<Bytes>,
}

impl Data {
    /// `{"flags": {…}, "segments": {…}}`.
    #[must_use]
    pub fn text(&self) -> Bytes {
        self.text.get_or_init(|| self.payload.data().into()).clone()
    }

    /// Names the content.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{:016x}", self.payload.tag())
    }

    /// A number that rises with every version.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.version.revision.0 + self.version.overlay
    }
}

/// One environment.
pub struct Environment {
    /// Its client-side ID, which SDKs know as the environment's.
    pub id: String,
    now: Mutex<Arc<Data>>,
}

impl Environment {
    /// The translation of what is served, or of something newer.
    #[must_use]
    pub fn data(&self, serving: &Serving) -> Arc<Data> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if serving.version > now.version {
            let sources = Sources {
                flags: serving
                    .flags
                    .values()
                    .map(|flag| (flag, Availability::of(serving.client_side.get(&flag.key))))
                    .collect(),
                segments: serving.segments().collect(),
                revision: serving.version.revision.0,
                opt_ins: serving.opt_ins,
            };
            let payload = now.payload.next(&sources);
            for note in payload.notes.iter().filter(|note| note.is_loss()) {
                if !now.payload.notes.contains(note) {
                    tracing::warn!(kind = note.kind, key = note.key, "{note}");
                }
            }
            *now = Arc::new(Data { version: serving.version, payload, text: OnceLock::new() });
        }
        Arc::clone(&now)
    }
}

/// How one of the protocols says what changed, and everything.
pub(super) struct Wire {
    pub(super) step: fn(&[Change], &Data) -> Bytes,
    pub(super) whole: fn(&Data) -> Bytes,
}

/// The stream of one environment in one of the protocols.
pub(super) struct Followed {
    environment: Arc<Environment>,
    wire: &'static Wire,
    last: Arc<Data>,
}

impl Followed {
    pub(super) fn new(environment: Arc<Environment>, wire: &'static Wire) -> Self {
        Self { environment, wire, last: Arc::default() }
    }
}

impl Encoding for Followed {
    fn encode(&mut self, serving: &Serving) -> Encoded {
        let data = self.environment.data(serving);
        let changes = data.payload.changes(&self.last.payload);
        let step =
            if changes.is_empty() { Step::Nothing } else { Step::Bytes((self.wire.step)(&changes, &data)) };
        let (tag, whole) = (data.tag(), self.wire.whole);
        self.last = Arc::clone(&data);
        Encoded { tag, whole: Box::new(move || whole(&data)), step }
    }
}

/// The environments that SDKs have asked for.
#[derive(Default)]
pub struct Environments {
    all: Mutex<BTreeMap<Place, Arc<Environment>>>,
}

impl Environments {
    /// The environment of a place.
    #[must_use]
    pub fn of(&self, app: &App, state: &PlaceState) -> Arc<Environment> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&state.place) {
            return Arc::clone(known);
        }
        let id = keys::open(&app.secret, &app.image(), &place_scope(&state.place), "client_id");
        let id = id.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let environment = Arc::new(Environment { id, now: Mutex::default() });
        all.insert(state.place.clone(), Arc::clone(&environment));
        environment
    }
}
