//! What a deployment's log says when its rollout moves. The rollout decides; this writes it down.

use super::{Deployment, Event, EventKind, REVERT_HOURS, State, Trigger};
use crate::ids::{Span, Timestamp};
use crate::rollout::{Phase, RollbackCause, Rollout, WHOLE};

fn event(kind: EventKind, by: Trigger, at: Timestamp, description: impl Into<String>) -> Event {
    Event { kind, by, description: description.into(), at }
}

fn percent(share: u32) -> String {
    format!("Configuration available to {:.2}% of clients", f64::from(share) / 1_000.0)
}

/// The log of a deployment that begins.
#[must_use]
pub fn started(by: &str, at: Timestamp) -> Vec<Event> {
    let words =
        if by.is_empty() { "Deployment started".to_owned() } else { format!("Deployment started by {by}") };
    vec![event(EventKind::Started, Trigger::Person, at, words)]
}

/// The deployment after a decision of its rollout. A hold or a resumption has no line of its own in this log.
#[must_use]
pub fn follow(mut deployment: Deployment, rollout: &Rollout) -> Deployment {
    if !deployment.state.is_running() {
        return deployment;
    }
    match &rollout.phase {
        Phase::Waiting { .. } | Phase::Held { .. } | Phase::AwaitingApproval { .. } => {}
        Phase::Ramping { at } | Phase::Soaking { at } => {
            let share = rollout.plan.stages.get(at.stage).map_or(0, |stage| stage.share);
            grow(&mut deployment, share, at.since);
        }
        Phase::Completed { at } => {
            grow(&mut deployment, WHOLE, *at);
            deployment.state = State::Complete;
            deployment.ended = Some(*at);
            deployment.events.push(event(EventKind::Completed, Trigger::Clock, *at, "Deployment completed"));
        }
        Phase::RolledBack { at, cause, sentence, .. } => {
            let by = match cause {
                RollbackCause::Harm { .. } | RollbackCause::Alarm { .. } => Trigger::Alarm,
                RollbackCause::RatioMismatch | RollbackCause::MissingData | RollbackCause::MaxDuration => {
                    Trigger::Clock
                }
            };
            taken_back(&mut deployment, by, *at, sentence.clone());
        }
        Phase::Aborted { by, .. } => {
            let why = by.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            taken_back(&mut deployment, Trigger::Person, by.at, format!("Stopped by {}{why}", by.by));
        }
    }
    deployment
}

fn grow(deployment: &mut Deployment, share: u32, at: Timestamp) {
    if share <= deployment.share {
        return;
    }
    deployment.share = share;
    deployment.events.push(event(EventKind::Percentage, Trigger::Clock, at, percent(share)));
    if share == WHOLE {
        deployment.state = State::Baking;
        let words = "Deployment bake time started";
        deployment.events.push(event(EventKind::Bake, Trigger::Clock, at, words));
    }
}

fn taken_back(deployment: &mut Deployment, by: Trigger, at: Timestamp, why: String) {
    deployment.share = 0;
    deployment.state = State::RolledBack;
    deployment.ended = Some(at);
    deployment.events.push(event(EventKind::RollbackStarted, by, at, why));
    deployment.events.push(event(EventKind::RollbackCompleted, Trigger::Clock, at, "Rollback completed"));
}

/// The deployment after it has been taken back although it had ended; `None` when it is too late or was never whole.
#[must_use]
pub fn revert(mut deployment: Deployment, by: &str, now: Timestamp) -> Option<Deployment> {
    let ended = deployment.ended.filter(|_| deployment.state == State::Complete)?;
    if now - ended > Span::seconds(REVERT_HOURS * 3_600) {
        return None;
    }
    deployment.state = State::Reverted;
    deployment.share = 0;
    let words = format!("Deployment reverted by {by}");
    deployment.events.push(event(EventKind::Reverted, Trigger::Person, now, words));
    Some(deployment)
}
