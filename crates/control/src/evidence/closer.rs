//! The closer: turns closed blocks into evidence. The engine and a receipt's replay feed the same one.

use ensign_stats::{METHOD_VERSION, Set, Srm, StratumShare, Weighed, combine};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, GuardLook, Look};
use super::guard::{GuardProc, finite};
use super::plan::Plan;
use super::report::{Evidence, GuardEvidence, GuardState, RatioEvidence};
use super::watch::{OnHarm, Stratum, Watch};
use crate::ids::{Epoch, Span};

/// Unequal label arrival is called at this error level.
const ALPHA_LABELS: f64 = 0.001;
/// Samples each arm needs before "no harm seen" may be said.
const COLLECT: u64 = 20;

/// A rollout's processes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Closer {
    pub(crate) watch: Watch,
    pub(crate) plan: Plan,
    pub(crate) strata: Vec<Stratum>,
    /// Per stratum, the resolved age of each request block.
    pub(crate) ages: Vec<Vec<Span>>,
    pub(crate) guards: Vec<GuardProc>,
    srm: Option<Srm>,
    /// Units (or decisions) per stratum: control, new.
    exposed: Vec<[u64; 2]>,
    /// The rule crossed at some look; stays.
    harm: bool,
    /// Guardrails whose own evidence crossed at some look.
    proven: Vec<bool>,
    entries: u64,
}

/// How the rule stands.
struct Stand {
    log_e_total: f64,
    doubt: bool,
    crossed: bool,
    own: Vec<bool>,
    contribution: Vec<f64>,
    contributors: Vec<usize>,
}

impl Closer {
    pub(crate) fn new(watch: Watch) -> Self {
        let plan = Plan::of(&watch);
        let guards = plan
            .guards
            .iter()
            .zip(&watch.guards)
            .map(|(plan, guard)| GuardProc::new(plan, guard.maturity.is_some() && plan.class.is_none()))
            .collect();
        Self {
            proven: vec![false; watch.guards.len()],
            guards,
            watch,
            plan,
            strata: Vec::new(),
            ages: Vec::new(),
            srm: None,
            exposed: Vec::new(),
            harm: false,
            entries: 1,
        }
    }

    /// The design shares of the new arm, per stratum.
    fn shares(&self) -> Vec<f64> {
        self.strata.iter().map(|s| share(*s)).collect()
    }

    /// The strata as unit scores need them: an allocation that shrank says nothing about units before.
    pub(crate) fn stratum_shares(&self) -> Vec<StratumShare> {
        let mut before = 0;
        self.strata
            .iter()
            .map(|s| {
                let reset = s.share < before;
                before = s.share;
                StratumShare { share: share(*s), reset }
            })
            .collect()
    }

    fn open(&self) -> u16 {
        self.strata.len().saturating_sub(1) as u16
    }

    /// Takes in one entry. `false`: it cannot stand here.
    pub(crate) fn take(&mut self, entry: &Entry) -> bool {
        self.entries += 1;
        let fits = self.take_fitting(entry).is_some();
        if fits {
            self.look();
        }
        fits
    }

    fn take_fitting(&mut self, entry: &Entry) -> Option<()> {
        let open = self.open();
        let proof = |stratum: u16| !self.watch.proof_per_stage || stratum == open;
        match entry {
            Entry::Start { .. } | Entry::Look(_) => return None,
            Entry::Stratum { stratum, ages } => self.begin_stratum(*stratum, ages.clone()),
            Entry::Cap { guard, cap } => {
                let at = usize::from(*guard);
                self.guards.get_mut(at)?.set_cap(self.plan.guards.get(at)?, *cap);
            }
            Entry::Threshold { guard, .. } => {
                self.guards.get(usize::from(*guard))?;
            }
            Entry::Block { stratum, class, samples } => {
                let proof = proof(*stratum);
                for (at, sample) in self.plan.of_class(*class).zip(samples) {
                    self.guards[at].close(&self.plan.guards[at], sample, *stratum == open, proof);
                }
            }
            Entry::Late { stratum, guard, sample } => {
                let (at, proof) = (usize::from(*guard), proof(*stratum));
                self.guards.get_mut(at)?.close(self.plan.guards.get(at)?, sample, *stratum == open, proof);
            }
            Entry::Labels { guard, block, .. } => {
                self.guards.get_mut(usize::from(*guard))?.label_block(*block);
            }
            Entry::Units { guard, tick } => {
                let (at, shares) = (usize::from(*guard), self.shares());
                let from = if self.watch.proof_per_stage { open } else { 0 };
                self.guards.get_mut(at)?.units(self.plan.guards.get(at)?, tick, &shares, open, from);
            }
            Entry::UnitLabels { guard, seen } => {
                let shares = self.shares();
                self.guards.get_mut(usize::from(*guard))?.unit_labels(seen, &shares);
            }
            Entry::Exposed { stratum, control, new } => {
                let counts = self.exposed.get_mut(usize::from(*stratum))?;
                counts[0] += control;
                counts[1] += new;
                if *stratum == open
                    && let Some(srm) = &mut self.srm
                {
                    srm.observe(0, *control);
                    srm.observe(1, *new);
                    srm.end_tick();
                }
            }
        }
        Some(())
    }

    fn begin_stratum(&mut self, stratum: Stratum, ages: Vec<Span>) {
        let weights = [1.0 - share(stratum), share(stratum)];
        match &mut self.srm {
            None => self.srm = Srm::new(&weights).ok(),
            Some(srm) => {
                // Shares lie in [0, 1] by construction; a refusal would leave the test as it was.
                let _kept = srm.begin_stratum(&weights);
            }
        }
        for (guard, plan) in self.guards.iter_mut().zip(&self.plan.guards) {
            guard.begin_stratum(plan, self.watch.proof_per_stage);
        }
        self.strata.push(stratum);
        self.ages.push(ages);
        self.exposed.push([0; 2]);
    }

    fn untrusted(&self, at: usize) -> bool {
        self.guards[at].label_log_e() >= -libm::log(ALPHA_LABELS)
    }

    /// What the rule says after this entry; crossings stay.
    fn look(&mut self) {
        for (at, guard) in self.watch.guards.iter().enumerate() {
            self.guards[at].tune(guard, &self.plan.guards[at]);
        }
        let stand = self.stand();
        self.harm |= stand.crossed;
        for (proven, own) in self.proven.iter_mut().zip(stand.own) {
            *proven |= own;
        }
    }

    fn weighed(&self, at: usize, counts: bool) -> Weighed {
        let guard = &self.watch.guards[at];
        Weighed {
            weight: if counts { guard.weight } else { 0.0 },
            log_e: self.guards[at].log_e(),
            set: if self.plan.guards[at].shared { Set::Shared(0) } else { Set::Alone },
        }
    }

    fn stand(&self) -> Stand {
        let every = 0..self.guards.len();
        let on = |at: usize| self.watch.guards[at].on_harm;
        let acting: Vec<Weighed> = every
            .clone()
            .map(|at| self.weighed(at, on(at) == OnHarm::RollBack && !self.untrusted(at)))
            .collect();
        let all: Vec<Weighed> = every.clone().map(|at| self.weighed(at, on(at) != OnHarm::Alert)).collect();
        let watching: Vec<Weighed> = every.clone().map(|at| self.weighed(at, true)).collect();
        let acting = combine(&acting, self.watch.alpha).ok();
        let all_combined = combine(&all, self.watch.alpha).ok();
        let own = combine(&watching, self.watch.alpha).map(|c| c.proven).unwrap_or_default();
        let Some(total) = all_combined else {
            // Weights or error budget make no sense: nothing can be decided, and nothing may advance.
            let n = self.guards.len();
            return Stand {
                log_e_total: 0.0,
                doubt: true,
                crossed: false,
                own: vec![false; n],
                contribution: vec![0.0; n],
                contributors: Vec::new(),
            };
        };
        Stand {
            log_e_total: total.log_e,
            doubt: total.hold,
            crossed: acting.is_some_and(|c| c.crossed),
            own,
            contribution: total.log_weighted.iter().map(|x| libm::exp(*x).min(1e300)).collect(),
            contributors: total.main_contributors(&all),
        }
    }

    /// The evidence at a look.
    pub(crate) fn evidence(&self, look: &Look) -> Evidence {
        let stand = self.stand();
        let guards = (0..self.guards.len())
            .map(|at| self.guard_evidence(at, &stand, look.guards.get(at).cloned().unwrap_or_default()))
            .collect();
        let epoch = self.strata.last().map_or(Epoch(0), |s| s.epoch);
        let (log_e, max) = self.srm.as_ref().map_or((0.0, 0.0), |srm| (srm.log_e(), srm.max_log_e()));
        Evidence {
            at: look.at,
            position: look.position,
            epoch,
            guards,
            log_e_total: finite(stand.log_e_total),
            harm: self.harm,
            doubt: stand.doubt,
            ratio: RatioEvidence {
                units: self.exposed.last().copied().unwrap_or_default(),
                log_e: finite(log_e),
                mismatch: max >= -libm::log(self.watch.alpha_srm),
            },
            health: look.health.clone(),
        }
    }

    fn guard_evidence(&self, at: usize, stand: &Stand, look: GuardLook) -> GuardEvidence {
        let (guard, plan) = (&self.guards[at], &self.plan.guards[at]);
        let [n_control, n_new] = guard.n();
        let [stratum_n_control, stratum_n_new] = guard.stratum_n();
        let collecting = !guard.runs() || n_new < COLLECT || n_control < COLLECT;
        let state = if self.untrusted(at) {
            GuardState::Untrusted
        } else if self.proven[at] {
            GuardState::Harmed
        } else if self.harm && stand.contributors.contains(&at) {
            GuardState::MainContributor
        } else if collecting {
            GuardState::Collecting
        } else {
            GuardState::Healthy
        };
        let ages = self.ages.last().map(Vec::as_slice).unwrap_or_default();
        let age = plan.class.and_then(|class| ages.get(usize::from(class))).copied();
        GuardEvidence {
            state,
            n_new,
            n_control,
            stratum_n_new,
            stratum_n_control,
            estimate: guard.estimate(plan, look.quantiles),
            log_e: finite(guard.log_e()),
            max_log_e: finite(guard.max_log_e()),
            contribution: stand.contribution[at],
            max_log_e_safe: guard.max_log_e_safe().iter().map(|x| finite(*x)).collect(),
            pending: look.pending,
            settle: age.or(self.watch.guards[at].maturity).unwrap_or_default(),
            waits_for: look.waits_for,
            method: format!("{} v{METHOD_VERSION}", GuardProc::method(plan)),
        }
    }

    /// Entries taken in so far, the start included.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// The guardrail's winsorising cap, once it has one.
    pub(crate) fn cap(&self, at: usize) -> Option<f64> {
        self.guards[at].cap()
    }

    /// Whether the last stratum has passed all its proofs is the rollout's business; this is how many strata
    /// there were.
    pub(crate) fn strata_count(&self) -> usize {
        self.strata.len()
    }
}

/// The design share of the new arm among both.
pub(crate) fn share(stratum: Stratum) -> f64 {
    f64::from(stratum.share.min(100_000)) / 100_000.0
}
