//! What operators count: `/metrics`.

use std::fmt::Write as _;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvaluationLabels {
    surface: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// One number of now, with its labels, read when somebody asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) value: f64,
}

/// Counters that only rise. Flags, units and values are never labels: there may be too many, and some are personal.
#[derive(Debug)]
pub(crate) struct Telemetry {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    evaluations: Family<EvaluationLabels, Counter>,
    webhooks: Family<OutcomeLabel, Counter>,
    connections: Gauge,
    commits: Family<OutcomeLabel, Counter>,
    launchdarkly: Family<OutcomeLabel, Counter>,
    dropped: Counter,
}

impl Default for Telemetry {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ensign");
        let requests = Family::default();
        registry.register("http_requests", "Requests by route and status", requests.clone());
        let evaluations = Family::default();
        registry.register("evaluations", "Flag evaluations by surface and reason", evaluations.clone());
        let webhooks = Family::default();
        registry.register("webhook_attempts", "Attempts to deliver a notice, by outcome", webhooks.clone());
        let connections = Gauge::default();
        registry.register("connections", "Open connections", connections.clone());
        let commits = Family::default();
        registry.register("changes", "Changes by outcome", commits.clone());
        let launchdarkly = Family::default();
        let help =
            "Events of LaunchDarkly SDKs: received, and among them those that were only counted or dropped";
        registry.register("launchdarkly_events", help, launchdarkly.clone());
        let dropped = Counter::default();
        registry.register("client_dropped_events", "Events that clients say they dropped", dropped.clone());
        Self { dropped, registry, requests, evaluations, webhooks, connections, commits, launchdarkly }
    }
}

impl Telemetry {
    pub(crate) fn request(&self, route: &str, method: &str, status: u16) {
        let labels = RequestLabels { route: route.to_owned(), method: method.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn evaluation(&self, surface: &'static str, reason: &'static str) {
        self.evaluations.get_or_create(&EvaluationLabels { surface, reason }).inc();
    }

    pub(crate) fn webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Events that a client could not keep.
    pub(crate) fn client_dropped(&self, events: u64) {
        self.dropped.inc_by(events);
    }

    pub(crate) fn change(&self, outcome: &'static str) {
        self.commits.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn launchdarkly(&self, outcome: &'static str, count: u64) {
        self.launchdarkly.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
    }

    /// Counts a connection as long as the guard lives.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Everything in the OpenMetrics text format, the readings of now among it.
    pub(crate) fn page(&self, mut readings: Vec<Reading>) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a string does not fail");
        let end = page.trim_end().strip_suffix("# EOF").map_or(page.len(), str::len);
        page.truncate(end);
        // Lines of one name have to stand together, and a name is described once.
        readings.sort_by_key(|reading| reading.name);
        let mut last = "";
        for reading in readings {
            let name = reading.name;
            if name != last {
                let _ = write!(page, "# HELP ensign_{name} {}.\n# TYPE ensign_{name} gauge\n", reading.help);
                last = name;
            }
            let labels: Vec<String> =
                reading.labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(page, "ensign_{name}{labels} {}", reading.value);
        }
        page.push_str("# EOF\n");
        page
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A connection that is counted.
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
