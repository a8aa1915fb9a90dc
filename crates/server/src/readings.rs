//! How the server is, read when somebody asks.

use std::collections::BTreeMap;

use ensign_control::ids::Place;
use serde::Serialize;

use crate::App;
use crate::telemetry::Reading;

/// A guard that has not looked for so long is as good as dead, in microseconds.
const GUARD_STALE: i64 = 30 * 1_000_000;

/// Whether requests should be sent here.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    /// Whether everything is loaded and nothing is stopping.
    loaded: bool,
    /// Whether the store answers and its last write was not refused for want of space.
    store_writable: bool,
    /// Whether the event log's last write was not refused for want of space.
    events_writable: bool,
    /// Seconds since the guard last looked at everything; none before the first time.
    guard_age_seconds: Option<f64>,
    /// What is wrong, in words.
    problems: Vec<String>,
}

/// Serving and killing go on whatever the disk does, so only a server that has not loaded, or whose guard is dead, is
/// not ready; the rest is said.
pub(crate) async fn readiness(app: &App) -> Readiness {
    let loaded = app.is_ready();
    let store = app.deps.store.status().await;
    let store_writable = store.as_ref().is_ok_and(|status| !status.full);
    let events_writable = !app.pipeline.status().full;
    let age = guard_age(app);
    let guard_alive = age.is_none_or(|age| age < GUARD_STALE);
    let mut problems = Vec::new();
    let mut say = |good: bool, what: &str| {
        if !good {
            problems.push(what.to_owned());
        }
    };
    say(loaded, "The server is starting or stopping.");
    say(store_writable, "The store cannot be written: changes are refused, kills hold in memory.");
    say(events_writable, "The event log cannot be written: events are refused.");
    say(guard_alive, "The guard has not looked for 30 seconds: nothing would be taken back.");
    let guard_age_seconds = age.map(|age| age as f64 / 1e6);
    let ready = loaded && guard_alive;
    Readiness { ready, loaded, store_writable, events_writable, guard_age_seconds, problems }
}

fn guard_age(app: &App) -> Option<i64> {
    let last = app.guard()?.last_look()?;
    Some((app.now() - last).0.max(0))
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Reading {
    Reading { name, help, labels: Vec::new(), value }
}

/// Every number that is read rather than counted.
pub(crate) async fn all(app: &App) -> Vec<Reading> {
    let mut all = of_events(app);
    all.push(gauge("ready", "1 when requests should be sent here", f64::from(readiness(app).await.ready)));
    of_guard(app, &mut all);
    of_store(app, &mut all).await;
    for place in app.places().keys() {
        of_place(app, place, &mut all).await;
    }
    let mut phases: BTreeMap<&'static str, u32> = BTreeMap::new();
    for rollout in app.image().catalogue.active_rollouts() {
        *phases.entry(rollout.phase.word()).or_default() += 1;
    }
    for (phase, count) in phases {
        let (help, labels) = ("Rollouts that are not over, by phase", vec![("phase", phase.to_owned())]);
        all.push(Reading { name: "rollouts", help, labels, value: f64::from(count) });
    }
    all
}

fn of_events(app: &App) -> Vec<Reading> {
    let log = app.pipeline.status();
    let mut all: Vec<Reading> = [
        ("log_durable_position", "Position behind the last durable event record", log.durable),
        ("log_folded_position", "Position behind the last folded event record", log.folded),
        ("log_checkpoint_position", "Position of the last saved evidence", log.checkpoint),
        ("events_in_flight_bytes", "Bytes of events under way", log.in_flight),
        (
            "events_overloaded",
            "Batches refused since the start because too much was under way",
            log.overloaded,
        ),
        ("exposures_lost", "Exposures of our own evaluations lost since the start", log.exposures_lost),
        ("checkpoint_failures", "How often saving the evidence has failed in a row", log.checkpoint_failures),
    ]
    .into_iter()
    .map(|(name, help, value)| gauge(name, help, value as f64))
    .collect();
    let fates = ["accepted", "duplicate", "unattributed", "too_old", "bad_value", "full"];
    for (fate, count) in fates.into_iter().zip(log.fates) {
        let (help, labels) = ("Events since the start by fate", vec![("fate", fate.to_owned())]);
        all.push(Reading { name: "events", help, labels, value: count as f64 });
    }
    all
}

fn of_guard(app: &App, all: &mut Vec<Reading>) {
    if let Some(age) = guard_age(app) {
        let help = "Seconds since the guard last looked at everything";
        all.push(gauge("guard_age_seconds", help, age as f64 / 1e6));
    }
    if let Some(guard) = app.guard() {
        all.push(gauge("guard_decisions", "Decisions since the start", guard.decisions() as f64));
        all.push(gauge("guard_failures", "Looks in a row that failed", guard.failures() as f64));
    }
}

async fn of_store(app: &App, all: &mut Vec<Reading>) {
    let Ok(store) = app.deps.store.status().await else { return };
    let full = "1 when the last write was refused for want of space";
    all.push(gauge("store_full", full, f64::from(store.full)));
    all.push(gauge("audit_records", "Records of the audit log", store.audit.seq as f64));
    let waiting = "Notices that are not delivered yet";
    all.push(gauge("webhooks_waiting", waiting, store.outbox_waiting as f64));
    all.push(gauge("webhooks_abandoned", "Notices that were given up", store.outbox_abandoned as f64));
}

async fn of_place(app: &App, place: &Place, all: &mut Vec<Reading>) {
    let Some(state) = app.place(place) else { return };
    let serving = state.serving();
    let mut numbers = vec![
        ("revision", "Revision that is served", serving.version.revision.0),
        ("flags", "Flags that are served", serving.flags.len() as u64),
        ("definition_problems", "Things wrong with single items", serving.problems.len() as u64),
    ];
    if let Some(held) = app.pipeline.held(place).await {
        numbers.extend([
            ("units_held", "Units with a recorded exposure held in memory", held.units),
            ("event_ids_held", "Free event ids held in memory", held.ids),
            ("requests_held", "Requests on their way into blocks held in memory", held.pending),
            ("senders_held", "Numbering senders held in memory", held.sources),
        ]);
    }
    for (name, help, value) in numbers {
        let labels =
            vec![("project", place.project.to_string()), ("environment", place.environment.to_string())];
        all.push(Reading { name, help, labels, value: value as f64 });
    }
}
