//! A whole rollout over a fleet: the rollout machine decides, and its decisions change the traffic.

use ensign_control::evidence::Record;
use ensign_control::evidence::watch::Watch;
use ensign_control::ids::{Revision, Span};
use ensign_control::rollout::{Command, Facts, Phase, Plan, RollbackCause, Rollout, Step, Who, Window};

use crate::fleet::{Fleet, Law, Traffic, rollout};
use crate::guards::TIMEOUT;

/// Looks without new evidence are taken this often.
const IDLE: Span = Span::seconds(1);

/// A rollout being followed.
pub struct Pilot<'a> {
    /// The fleet it is about.
    pub fleet: Fleet<'a>,
    /// Where it stands.
    pub rollout: Rollout,
    revision: Revision,
    looked: i64,
}

/// How a rollout ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Taken back because a guardrail proved harm.
    Harm,
    /// Everyone has the new variant.
    Completed,
    /// Neither within the time given.
    Standing,
}

impl<'a> Pilot<'a> {
    /// Starts a rollout after the baseline traffic.
    pub fn start(seed: u64, traffic: Traffic, law: Law<'a>, plan: Plan, keep: bool) -> Self {
        let fleet = Fleet::new(seed, traffic, TIMEOUT, law, keep);
        let rollout = Rollout::new(rollout(), plan, "simulation", fleet.now());
        let mut pilot = Self { fleet, rollout, revision: Revision(1), looked: 0 };
        let who = Who { by: "simulation".into(), reason: None };
        pilot.decide(&Command::Start(who));
        pilot
    }

    fn facts(&self) -> Facts {
        Facts { epoch: Some(self.fleet.epoch()), window: Window::Open, killed: None, alarm: None }
    }

    fn decide(&mut self, command: &Command) {
        let now = self.fleet.now();
        let evidence = self.fleet.evidence();
        // A refusal cannot come: nobody but the clock commands a rollout that has started.
        if let Ok(Some(step)) = self.rollout.decide(command, now, evidence.as_ref(), &self.facts()) {
            self.commit(step);
        }
    }

    fn commit(&mut self, step: Step) {
        self.revision = Revision(self.revision.0 + 1);
        let started = !matches!(self.rollout.phase, Phase::Waiting { .. });
        self.rollout = step.next;
        let id = self.rollout.id.clone();
        if let Some(split) = step.split {
            if started && !self.rollout.is_over() {
                self.fleet.reweigh(split.new_share);
            } else if !started {
                let watch: Watch = self.rollout.plan.watch(id.clone());
                self.fleet.begin(watch, split.new_share);
            }
        }
        let (at, revision) = (self.fleet.now(), self.revision.0);
        self.fleet.apply(Record::Decided { rollout: id, at, revision, what: format!("{:?}", step.decision) });
        if self.rollout.is_over() {
            self.fleet.end();
        }
    }

    /// Lets one tick pass and lets the rollout look. `true`: something was decided.
    pub fn tick(&mut self) -> bool {
        let changed = self.fleet.tick();
        let now = self.fleet.now().0;
        if !changed && now - self.looked < IDLE.0 {
            return false;
        }
        self.looked = now;
        let before = self.revision;
        self.decide(&Command::Tick);
        self.revision != before
    }

    /// Follows it to its end, or for this long.
    pub fn follow(&mut self, at_most: Span) -> End {
        let until = self.fleet.now() + at_most;
        while self.fleet.now() < until && !self.rollout.is_over() {
            self.tick();
        }
        self.end()
    }

    /// How it stands.
    pub fn end(&self) -> End {
        match &self.rollout.phase {
            Phase::RolledBack { cause: RollbackCause::Harm { .. }, .. } => End::Harm,
            Phase::Completed { .. } => End::Completed,
            Phase::RolledBack { .. }
            | Phase::Aborted { .. }
            | Phase::Waiting { .. }
            | Phase::Ramping { .. }
            | Phase::AwaitingApproval { .. }
            | Phase::Held { .. }
            | Phase::Soaking { .. } => End::Standing,
        }
    }
}
