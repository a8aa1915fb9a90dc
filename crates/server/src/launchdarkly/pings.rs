//! The stream that says only that something has changed.

use bytes::Bytes;
use ensign_protocol::launchdarkly::evalx::PING;

use crate::fanout::{Encoded, Encoding, Step};
use crate::serving::Serving;

/// One event at the beginning and one for each version.
pub(super) struct Pings;

impl Encoding for Pings {
    fn encode(&mut self, serving: &Serving) -> Encoded {
        let ping = || Bytes::from_static(PING.as_bytes());
        let tag = format!("{}.{}", serving.version.revision.0, serving.version.overlay);
        Encoded { tag, whole: Box::new(ping), step: Step::Bytes(ping()) }
    }
}
