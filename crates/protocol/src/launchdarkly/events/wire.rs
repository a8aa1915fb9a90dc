//! The members of events, whichever kind they belong to.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::{Count, Diagnostic};

/// One event as sent. A value that was served is never read: it may be long, and it may be a prompt.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) creation_date: Option<f64>,
    #[serde(default)]
    pub(super) end_date: Option<f64>,
    #[serde(default)]
    pub(super) variation: Option<u16>,
    #[serde(default)]
    pub(super) version: Option<u64>,
    #[serde(default)]
    pub(super) reason: Option<WireReason>,
    #[serde(default)]
    pub(super) context: Option<WireContext>,
    #[serde(default)]
    pub(super) user: Option<WireContext>,
    #[serde(default)]
    pub(super) context_keys: Option<Json>,
    #[serde(default)]
    pub(super) metric_value: Option<f64>,
    #[serde(default)]
    pub(super) data: Option<Json>,
    #[serde(default)]
    features: BTreeMap<String, WireFeature>,
}

/// Why an evaluation gave what it gave.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireReason {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) rule_id: Option<String>,
}

/// A context, not looked into yet.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct WireContext(pub(super) Json);

#[derive(Deserialize)]
struct WireFeature {
    #[serde(default)]
    counters: Vec<WireCounter>,
}

#[derive(Deserialize)]
struct WireCounter {
    #[serde(default)]
    variation: Option<u16>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    count: u64,
}

impl Wire {
    pub(super) fn counts(self) -> Vec<Count> {
        let mut counts = Vec::new();
        for (flag, feature) in self.features {
            for WireCounter { variation, version, count } in feature.counters {
                counts.push(Count { flag: flag.clone(), variation, version, count });
            }
        }
        counts
    }
}

/// A diagnostic object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireDiagnostic {
    #[serde(default)]
    id: Option<WireId>,
    #[serde(default)]
    sdk: Option<WireSdk>,
    #[serde(default)]
    platform: Option<WirePlatform>,
    #[serde(default)]
    dropped_events: u64,
    #[serde(default)]
    stream_inits: Vec<WireStream>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireId {
    #[serde(default)]
    diagnostic_id: Option<String>,
}

#[derive(Deserialize)]
struct WireSdk {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePlatform {
    #[serde(default)]
    os_name: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct WireStream {
    #[serde(default)]
    failed: bool,
}

impl WireDiagnostic {
    pub(super) fn read(self) -> Diagnostic {
        let (name, version) = self.sdk.map_or((None, None), |sdk| (sdk.name, sdk.version));
        Diagnostic {
            id: self.id.and_then(|id| id.diagnostic_id),
            name,
            version,
            platform: self.platform.and_then(|platform| platform.os_name.or(platform.name)),
            dropped: self.dropped_events,
            failed_streams: self.stream_inits.iter().filter(|stream| stream.failed).count() as u64,
        }
    }
}
