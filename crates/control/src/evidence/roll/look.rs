//! What a look shows of one rollout: the evidence, and the facts beside it.

use super::Roll;
use crate::evidence::entry::{GuardLook, Look};
use crate::evidence::log::BlockLog;
use crate::evidence::plan::Method;
use crate::evidence::report::{Evidence, Health};
use crate::ids::Timestamp;

impl Roll {
    fn look(&self, now: Timestamp, position: u64) -> Look {
        let (core, plan) = (&self.core, &self.core.closer.plan);
        let guards = (0..plan.guards.len()).map(|at| self.guard_look(at)).collect();
        let open = core.strata.last();
        let counts = &core.counts;
        let refused = counts.refused.iter().map(|(reason, n)| (reason.code().to_owned(), *n)).collect();
        let crossed_share = counts.crossed as f64 / counts.units.max(1) as f64;
        let error_share = counts.errors as f64 / counts.events.max(1) as f64;
        let health = Health {
            exposures: open.map_or([0; 2], |open| open.exposures),
            reports: open.map_or([0; 2], |open| open.reports),
            last_exposure: counts.last_exposure,
            last_report: counts.last_report,
            crossed_units: counts.crossed,
            refused,
            too_many_errors: (counts.events >= 100 && error_share > 0.01)
                || (counts.units >= 100 && crossed_share > 0.01),
            units_full: core.units_full,
        };
        Look { at: now, position, health, guards }
    }

    fn guard_look(&self, at: usize) -> GuardLook {
        let core = &self.core;
        let plan = &core.closer.plan.guards[at];
        let shown = core.strata.last().and_then(|open| open.shown.get(&(at as u16)));
        let quantiles = match (plan.method, shown) {
            (Method::Exceedance { p }, Some([control, new])) => {
                new.quantile(p).zip(control.quantile(p)).map(|(new, control)| [new, control])
            }
            (
                Method::Exceedance { .. }
                | Method::Rate
                | Method::Events
                | Method::Score { .. }
                | Method::Amount
                | Method::Ratio,
                _,
            ) => None,
        };
        let waits_for = if plan.null.is_none() {
            Some("its margin makes no sense for this metric".to_owned())
        } else {
            core.tunings[at].waits_for(plan)
        };
        let pending = match plan.class {
            Some(class) => core.in_flight[usize::from(class)],
            None => core.maturing[at],
        };
        GuardLook { pending, waits_for, quantiles }
    }

    pub(crate) fn evidence(&self, now: Timestamp, position: u64) -> Evidence {
        self.core.closer.evidence(&self.look(now, position))
    }

    pub(crate) fn block_log(&self, now: Timestamp, position: u64) -> BlockLog {
        self.log.at(self.look(now, position))
    }
}
