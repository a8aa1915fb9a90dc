//! The only place where a rollout changes state.

use serde::{Deserialize, Serialize};

use crate::evidence::report::Evidence;
use crate::evidence::watch::OnHarm;
use crate::ids::{Span, Timestamp};

use super::judge::{self, Blocker};
use super::{
    Approval, At, Command, Facts, HoldCause, Notice, NoticeKind, OnMaxDuration, Phase, Refusal,
    RollbackCause, Rollout, StageAt, Who, Window, number, sentence,
};

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// The first stage is served.
    Started,
    /// A start was asked for; it waits for a window.
    Queued,
    /// The next stage is served.
    Advanced {
        /// From this share, 1/100000.
        from: u32,
        /// To this share, 1/100000.
        to: u32,
    },
    /// A person is asked.
    ApprovalAsked,
    /// A person approved.
    Approved,
    /// It stops advancing.
    Held {
        /// The cause's code.
        cause: String,
    },
    /// It goes on.
    Resumed,
    /// Someone is told; nothing else changes.
    Alerted,
    /// Everyone gets the new variant.
    Completed,
    /// Everyone gets control, by the rollout's rule.
    RolledBack,
    /// Everyone gets control, because a person said so.
    Aborted,
}

/// A new share for the rollout's allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SplitChange {
    /// The share of the new variant, 1/100000; the rest is control.
    pub new_share: u32,
}

/// What a receipt of this decision says, before the evidence's log is added.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// The number of the automatic decision in its rollout, from 1.
    pub number: u32,
    /// What was decided.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
    /// The rollout before the decision.
    pub before: Rollout,
    /// What was known besides the evidence.
    pub facts: Facts,
    /// The evidence it was decided on; none where only time decided.
    pub evidence: Option<Evidence>,
    /// The sentence of the decision.
    pub sentence: String,
}

/// One decision, to be committed as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// The rollout after it.
    pub next: Rollout,
    /// What was decided.
    pub decision: Decision,
    /// The new share, where it changes.
    pub split: Option<SplitChange>,
    /// For automatic decisions; a person's are in the audit log.
    pub receipt: Option<Draft>,
    /// Who is told what.
    pub notices: Vec<Notice>,
    /// What happened, why, and what happens next.
    pub sentence: String,
}

/// A hold that ended by itself is not begun and ended in every look.
const RESUME_AFTER: Span = Span::seconds(10);

impl Rollout {
    /// What follows from `command` at `now`: `None` when there is nothing to do.
    ///
    /// A function of its arguments only. Evidence older than [`super::FRESH`] decides nothing. Harm takes a rollout
    /// back from every phase that serves the new variant, also from a hold and outside the windows.
    pub fn decide(
        &self,
        command: &Command,
        now: Timestamp,
        evidence: Option<&Evidence>,
        facts: &Facts,
    ) -> Result<Option<Step>, Refusal> {
        if self.phase.is_over() {
            return match command {
                Command::Tick | Command::Killed(_) => Ok(None),
                Command::Start(_)
                | Command::Approve(_)
                | Command::Hold(_)
                | Command::Resume(_)
                | Command::Abort(_) => Err(Refusal::Over { phase: self.phase.word() }),
            };
        }
        match command {
            Command::Tick => {
                Ok(Look { rollout: self, now, evidence: judge::fresh(evidence, now), facts }.tick())
            }
            Command::Start(who) => self.start(who, now, facts).map(Some),
            Command::Approve(who) => self.approve(who, now).map(Some),
            Command::Hold(who) => self.hold_by(who, now).map(Some),
            Command::Resume(who) => self.resume_by(who, now, facts).map(Some),
            Command::Abort(who) => Ok(Some(self.abort(who, now))),
            Command::Killed(who) => Ok(self.killed(&who.at(now))),
        }
    }

    fn with(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    fn start(&self, who: &Who, now: Timestamp, facts: &Facts) -> Result<Step, Refusal> {
        if !matches!(self.phase, Phase::Waiting { start: None }) {
            return Err(Refusal::AlreadyStarted);
        }
        if facts.killed.is_some() {
            return Err(Refusal::Killed);
        }
        match facts.window {
            Window::Open => Ok(self.begin(&who.by, now)),
            Window::Closed { .. } => {
                let next = self.with(Phase::Waiting { start: Some(who.at(now)) });
                let words = sentence::next(&next, None, facts, now);
                Ok(Step::quiet(next, Decision::Queued, format!("Nothing advances now. {words}")))
            }
        }
    }

    fn begin(&self, by: &str, now: Timestamp) -> Step {
        let next = self.with(self.enter(0, now));
        let plan = &self.plan;
        let words = format!(
            "Started by {by}: {} gets {} since {}, the rest stays on {}. {}",
            plan.new.name,
            number::share(next.scheduled()),
            number::clock(now, now),
            plan.control.name,
            sentence::entered(&next, now)
        );
        let split = Some(SplitChange { new_share: next.share() });
        Step { split, ..Step::quiet(next, Decision::Started, words) }
    }

    /// The phase of the stage at `stage`; beyond the last one it is completed.
    fn enter(&self, stage: usize, now: Timestamp) -> Phase {
        if stage < self.plan.stages.len() {
            Phase::at(&At::Stage(StageAt::begin(stage, now)), &self.plan)
        } else {
            Phase::Completed { at: now }
        }
    }

    fn approve(&self, who: &Who, now: Timestamp) -> Result<Step, Refusal> {
        let approval = who.at(now);
        let (mut at, without_proof) = match &self.phase {
            Phase::AwaitingApproval { at, .. } | Phase::Ramping { at } | Phase::Soaking { at } => {
                (at.clone(), false)
            }
            Phase::Held { from: At::Stage(at), why: HoldCause::MaxDuration, .. } => (at.clone(), true),
            Phase::Waiting { .. } => return Err(Refusal::NotStarted),
            Phase::Held { .. }
            | Phase::Completed { .. }
            | Phase::RolledBack { .. }
            | Phase::Aborted { .. } => {
                return Err(Refusal::NothingToApprove);
            }
        };
        let asks = self.plan.stages.get(at.stage).is_some_and(|stage| stage.approval);
        if without_proof {
            at.without_proof = Some(approval.clone());
            at.clock = now;
        } else if !asks || at.approved.is_some() {
            return Err(Refusal::NothingToApprove);
        }
        at.approved = Some(approval);
        let words = if without_proof {
            format!(
                "{} decided to go on without proof of safety. It moves when nothing else is missing.",
                who.by
            )
        } else {
            format!(
                "{} approved leaving {}. It moves when nothing else is missing.",
                who.by,
                number::share(self.share())
            )
        };
        Ok(Step::quiet(self.with(Phase::at(&At::Stage(at), &self.plan)), Decision::Approved, words))
    }

    fn hold_by(&self, who: &Who, now: Timestamp) -> Result<Step, Refusal> {
        let held =
            matches!(&self.phase, Phase::Held { why: HoldCause::Person(_) | HoldCause::Killed(_), .. });
        let Some(from) = self.phase.place().filter(|_| !held) else { return Err(Refusal::AlreadyHeld) };
        let why = HoldCause::Person(who.at(now));
        let decision = Decision::Held { cause: why.code().into() };
        let words = sentence::held(self, &why, None);
        let next = self.with(Phase::Held { from, since: now, why });
        let words = format!("Stays at {}: {words}", number::share(next.share()));
        let notice = next.notice(NoticeKind::Hold, now, &words);
        Ok(Step { notices: vec![notice], ..Step::quiet(next, decision, words) })
    }

    fn resume_by(&self, who: &Who, now: Timestamp, facts: &Facts) -> Result<Step, Refusal> {
        let Phase::Held { from, why, .. } = &self.phase else { return Err(Refusal::NotHeld) };
        if facts.killed.is_some() {
            return Err(Refusal::Killed);
        }
        if why.ends_by_itself() {
            return Err(Refusal::EndsByItself { cause: why.code() });
        }
        let mut from = from.clone();
        if let (At::Stage(at), Phase::Held { since, .. }) = (&mut from, &self.phase) {
            *at = self.resumed(at.clone(), *since, now);
        }
        let mut next = self.with(Phase::at(&from, &self.plan));
        let aside = why.keys().into_iter().map(|key| (key, who.at(now)));
        next.set_aside.extend(aside);
        let words = format!(
            "Goes on at {}, as {} decided. {}",
            number::share(next.share()),
            who.by,
            sentence::next(&next, None, facts, now)
        );
        Ok(Step::quiet(next, Decision::Resumed, words))
    }

    fn abort(&self, who: &Who, now: Timestamp) -> Step {
        let from = self.share();
        let next = self.with(Phase::Aborted { from, by: who.at(now) });
        let plan = &self.plan;
        let reason = who.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        let words = format!(
            "Aborted at {} by {}{reason}. {} is on {} since {}.",
            number::share(from),
            who.by,
            sentence::everyone(plan),
            plan.control.name,
            number::clock(now, now)
        );
        let split = (from > 0).then_some(SplitChange { new_share: 0 });
        Step { split, ..Step::quiet(next, Decision::Aborted, words) }
    }

    fn killed(&self, who: &Approval) -> Option<Step> {
        if matches!(&self.phase, Phase::Held { why: HoldCause::Killed(_), .. }) {
            return None;
        }
        let from = self.phase.place()?;
        let why = HoldCause::Killed(who.clone());
        let decision = Decision::Held { cause: why.code().into() };
        let words = format!("Held at {}: {}", number::share(self.share()), sentence::held(self, &why, None));
        let next = self.with(Phase::Held { from, since: who.at, why });
        let notice = next.notice(NoticeKind::Kill, who.at, &words);
        Some(Step { notices: vec![notice], ..Step::quiet(next, decision, words) })
    }

    fn notice(&self, kind: NoticeKind, at: Timestamp, words: &str) -> Notice {
        Notice {
            kind,
            rollout: self.id.clone(),
            at,
            share: self.share(),
            phase: self.phase.word().into(),
            sentence: words.into(),
            next: kind.command(&self.plan.flag),
        }
    }
}

impl Who {
    fn at(&self, at: Timestamp) -> Approval {
        Approval { by: self.by.clone(), at, reason: self.reason.clone() }
    }
}

impl Step {
    /// A step of a person: no receipt, nobody told.
    fn quiet(next: Rollout, decision: Decision, sentence: String) -> Self {
        Self { next, decision, split: None, receipt: None, notices: Vec::new(), sentence }
    }
}

/// One look of the guard: the state, the clock and the evidence, which is recent or absent.
struct Look<'a> {
    rollout: &'a Rollout,
    now: Timestamp,
    evidence: Option<&'a Evidence>,
    facts: &'a Facts,
}

impl Look<'_> {
    fn tick(&self) -> Option<Step> {
        if let Phase::Waiting { start } = &self.rollout.phase {
            let start = start.as_ref()?;
            let may = self.facts.window == Window::Open && self.facts.killed.is_none();
            return may.then(|| {
                let step = self.rollout.begin(&start.by, self.now);
                self.automatic(step.next, step.decision, step.sentence, None)
            });
        }
        let cause = self.evidence.and_then(|evidence| judge::rollback(self.rollout, evidence, self.now));
        if let Some(cause) = cause {
            return Some(self.roll_back(cause));
        }
        if let Some(firing) = self.facts.alarm.as_ref().filter(|_| self.rollout.plan.timetable.is_some()) {
            let (alarm, reason) = (firing.alarm.clone(), firing.reason.clone());
            return Some(self.roll_back(RollbackCause::Alarm { alarm, reason }));
        }
        if let Some(killed) = &self.facts.killed {
            let who = Approval { by: killed.by.clone(), at: self.now, reason: killed.reason.clone() };
            return self.rollout.killed(&who);
        }
        if let Some(step) = self.evidence.and_then(|evidence| self.alert(evidence)) {
            return Some(step);
        }
        match &self.rollout.phase {
            Phase::Held { from, since, why } => self.held(from, *since, why),
            Phase::Ramping { at } | Phase::Soaking { at } => self.running(at, false),
            Phase::AwaitingApproval { at, .. } => self.running(at, true),
            Phase::Waiting { .. }
            | Phase::Completed { .. }
            | Phase::RolledBack { .. }
            | Phase::Aborted { .. } => None,
        }
    }

    /// Numbers the decision and writes its receipt; the split follows the phase.
    fn automatic(
        &self,
        mut next: Rollout,
        decision: Decision,
        words: String,
        tell: Option<NoticeKind>,
    ) -> Step {
        next.decisions = self.rollout.decisions + 1;
        let split = (next.share() != self.rollout.share()).then(|| SplitChange { new_share: next.share() });
        let receipt = Some(Draft {
            number: next.decisions,
            decision: decision.clone(),
            at: self.now,
            before: self.rollout.clone(),
            facts: self.facts.clone(),
            evidence: self.evidence.cloned(),
            sentence: words.clone(),
        });
        let notices = tell.map(|kind| next.notice(kind, self.now, &words)).into_iter().collect();
        Step { next, decision, split, receipt, notices, sentence: words }
    }

    fn roll_back(&self, cause: RollbackCause) -> Step {
        let words = sentence::rolled_back(self.rollout, &cause, self.evidence, self.now);
        let from = self.rollout.share();
        let phase = Phase::RolledBack { at: self.now, from, cause, sentence: words.clone() };
        self.automatic(self.rollout.with(phase), Decision::RolledBack, words, Some(NoticeKind::Rollback))
    }

    fn hold(&self, from: At, why: HoldCause) -> Step {
        let kind = match &why {
            HoldCause::MissingData { .. } => NoticeKind::MissingData,
            HoldCause::MaxDuration => NoticeKind::Stuck,
            HoldCause::Person(_)
            | HoldCause::Killed(_)
            | HoldCause::Doubt
            | HoldCause::Harm { .. }
            | HoldCause::RatioMismatch
            | HoldCause::Untrusted { .. }
            | HoldCause::DataErrors
            | HoldCause::UnitsFull => NoticeKind::Hold,
        };
        let words = sentence::held(self.rollout, &why, self.evidence);
        let words = format!("Held at {}: {words}", number::share(self.rollout.share()));
        let decision = Decision::Held { cause: why.code().into() };
        let next = self.rollout.with(Phase::Held { from, since: self.now, why });
        self.automatic(next, decision, words, Some(kind))
    }

    fn held(&self, from: &At, since: Timestamp, why: &HoldCause) -> Option<Step> {
        let evidence = self.evidence.filter(|_| why.ends_by_itself())?;
        match judge::hold(self.rollout, evidence, self.now) {
            Some(cause) if cause.code() == why.code() => None,
            Some(cause) => Some(self.hold(from.clone(), cause)),
            None if self.now - since < RESUME_AFTER => None,
            None => {
                let next = self.rollout.with(Phase::at(from, &self.rollout.plan));
                let after = sentence::next(&next, Some(evidence), self.facts, self.now);
                let cause = why.code().replace('_', " ");
                let words = format!(
                    "Goes on at {}: the hold ({cause}) has ended. {after}",
                    number::share(next.share())
                );
                Some(self.automatic(next, Decision::Resumed, words, None))
            }
        }
    }

    fn running(&self, at: &StageAt, asked: bool) -> Option<Step> {
        let by_clock = self.rollout.plan.timetable.is_some();
        let evidence = self.evidence.filter(|_| !by_clock);
        if let Some(cause) = evidence.and_then(|evidence| judge::hold(self.rollout, evidence, self.now)) {
            return Some(self.hold(At::Stage(at.clone()), cause));
        }
        let blockers = judge::blockers(self.rollout, at, self.evidence, self.facts, self.now);
        let person = |blocker: &Blocker| matches!(blocker, Blocker::Approval | Blocker::Window { .. });
        if blockers.is_empty() {
            return Some(self.leave(at));
        }
        if blockers == [Blocker::Approval] {
            return (!asked).then(|| self.ask(at));
        }
        if blockers.iter().all(person) {
            return None;
        }
        let stage = self.rollout.plan.stages.get(at.stage)?;
        (self.now - at.clock >= stage.max_duration)
            .then(|| self.too_long(at, stage.on_max_duration, &blockers))
            .flatten()
    }

    fn too_long(&self, at: &StageAt, then: OnMaxDuration, blockers: &[Blocker]) -> Option<Step> {
        let only_proof = blockers.iter().all(|blocker| matches!(blocker, Blocker::Proof { .. }));
        match then {
            OnMaxDuration::Advance if only_proof => Some(self.leave(at)),
            // Nothing but the proof is missing that a window or a person does not stand before.
            OnMaxDuration::Advance if blockers.iter().all(Blocker::is_proof_or_person) => {
                let asks = blockers.contains(&Blocker::Approval);
                let asked = matches!(self.rollout.phase, Phase::AwaitingApproval { .. });
                (asks && !asked).then(|| self.ask(at))
            }
            OnMaxDuration::RollBack if self.evidence.is_some() => {
                Some(self.roll_back(RollbackCause::MaxDuration))
            }
            OnMaxDuration::Hold | OnMaxDuration::Advance | OnMaxDuration::RollBack => {
                Some(self.hold(At::Stage(at.clone()), HoldCause::MaxDuration))
            }
        }
    }

    fn ask(&self, at: &StageAt) -> Step {
        let why =
            self.evidence.map_or_else(String::new, |evidence| sentence::so_far(self.rollout, at, evidence));
        let words = format!(
            "Waits for an approval at {}: {why}. {} with `ensign rollout approve {}`.",
            number::share(self.rollout.share()),
            sentence::next_step(&self.rollout.plan, at.stage),
            self.rollout.plan.flag
        );
        let next = self.rollout.with(Phase::AwaitingApproval { at: at.clone(), asked: self.now });
        self.automatic(next, Decision::ApprovalAsked, words, Some(NoticeKind::ApprovalNeeded))
    }

    fn leave(&self, at: &StageAt) -> Step {
        let (rollout, plan) = (self.rollout, &self.rollout.plan);
        let begins = rollout.next_begins(at, self.now);
        let next = rollout.with(rollout.enter(at.stage + 1, begins));
        let (from, to) = (rollout.share(), next.share());
        if plan.timetable.is_some() {
            let words = rollout.by_the_clock(&next, begins, self.now);
            let (from, to) = (rollout.scheduled(), next.scheduled());
            let (decision, tell) = match next.is_over() {
                true => (Decision::Completed, Some(NoticeKind::Completed)),
                false => (Decision::Advanced { from, to }, None),
            };
            return self.automatic(next, decision, words, tell);
        }
        let why =
            self.evidence.map_or_else(String::new, |evidence| sentence::why_left(rollout, at, evidence));
        if next.is_over() {
            let words = format!(
                "Completed: {} is on {} since {}. At {} {why}. Make it permanent in the file: `ensign export` writes the edit.",
                sentence::everyone(plan),
                plan.new.name,
                number::clock(self.now, self.now),
                number::share(from)
            );
            return self.automatic(next, Decision::Completed, words, Some(NoticeKind::Completed));
        }
        let words = format!(
            "Advanced from {} to {}: {why}. {}",
            number::share(from),
            number::share(to),
            sentence::entered(&next, self.now)
        );
        self.automatic(next, Decision::Advanced { from, to }, words, None)
    }

    /// Tells about harm of a metric that is only watched, once.
    fn alert(&self, evidence: &Evidence) -> Option<Step> {
        let mut new = judge::harmed(&self.rollout.plan, evidence, OnHarm::Alert);
        new.retain(|guard| !self.rollout.alerted.contains(guard));
        let first = *new.first()?;
        let mut next = self.rollout.clone();
        next.alerted.push(first);
        let words = format!(
            "{} is worse, n = {}; it is watched only, so nothing changes.",
            sentence::comparison(&self.rollout.plan, evidence, first),
            number::count(evidence.guards.get(first).map_or(0, |guard| guard.n_new))
        );
        Some(self.automatic(next, Decision::Alerted, words, Some(NoticeKind::Hold)))
    }
}
