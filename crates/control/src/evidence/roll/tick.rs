//! A look at one rollout: closes what may close, and feeds the processes by unit.

use std::collections::BTreeMap;
use std::ops::Range;

use ensign_stats::{ClusterDelta, RateBlock};

use super::{LabelSeen, Roll, UnitTable};
use crate::evidence::block::{OpenBlock, Tuning, may_close};
use crate::evidence::entry::{Entry, FirstSeen, Sample, StratumSums, UnitTick};
use crate::evidence::plan::Method;
use crate::evidence::units::{Exposed, Obs, TickFrame, UnitState};
use crate::evidence::watch::Randomised;
use crate::ids::{Span, Timestamp, Unit};
use crate::metric::MetricRef;

impl Roll {
    /// A look: closes what may close.
    pub(crate) fn tick(&mut self, now: Timestamp, units: &mut dyn UnitTable) {
        for stratum in 0..self.core.strata.len() {
            let [control, new] = std::mem::take(&mut self.core.strata[stratum].exposed);
            if control + new > 0 {
                self.emit(&Entry::Exposed { stratum: stratum as u16, control, new });
            }
        }
        self.tick_units(units);
        self.tick_unit_labels();
        for stratum in 0..self.core.strata.len() {
            if !self.core.strata[stratum].done {
                self.tick_stratum(stratum, now);
            }
        }
    }

    fn tick_stratum(&mut self, stratum: usize, now: Timestamp) {
        let both = |n: [u64; 2]| n[0] >= 1 && n[1] >= 1;
        let watch = self.watch();
        let requests = watch.timeout + watch.report_lag;
        let settled = self.core.strata[stratum].ended.is_some_and(|ended| now >= ended + requests);
        for class in 0..self.core.closer.plan.classes.len() {
            let n = self.core.strata[stratum].blocks[class].n;
            if may_close(n) || (settled && both(n)) {
                self.close_class(stratum, class);
            }
        }
        let drained = self.drained(stratum, now);
        let may = |n: [u64; 2]| may_close(n) || (drained && both(n));
        for at in 0..self.core.closer.plan.guards.len() {
            let open = &mut self.core.strata[stratum];
            let labels = open.labels[at];
            if may([labels.n_c, labels.n_t]) {
                open.labels[at] = RateBlock::default();
                self.emit(&Entry::Labels { stratum: stratum as u16, guard: at as u16, block: labels });
            }
            let open = &mut self.core.strata[stratum];
            if open.late[at].as_ref().is_some_and(|gather| may(gather.n()))
                && let Some(gather) = open.late[at].take()
            {
                let sample = gather.close(&self.core.closer.plan.guards[at], &mut self.core.tunings[at]);
                if sample != Sample::Nothing {
                    self.emit(&Entry::Late { stratum: stratum as u16, guard: at as u16, sample });
                }
                self.retune(at, stratum);
            }
        }
        if drained {
            let open = &mut self.core.strata[stratum];
            open.done = true;
            open.blocks.iter_mut().for_each(|block| *block = OpenBlock::default());
            open.late.iter_mut().for_each(|late| *late = None);
            open.shown = BTreeMap::new();
            self.dirty = true;
        }
    }

    fn close_class(&mut self, stratum: usize, class: usize) {
        let block = std::mem::take(&mut self.core.strata[stratum].blocks[class]);
        let guards: Vec<usize> = self.core.closer.plan.of_class(class as u8).collect();
        let mut samples = Vec::with_capacity(guards.len());
        for (at, gather) in guards.iter().zip(block.gathers) {
            let plan = &self.core.closer.plan.guards[*at];
            samples.push(if plan.by_unit {
                Sample::Nothing
            } else {
                gather.close(plan, &mut self.core.tunings[*at])
            });
        }
        if samples.iter().any(|sample| *sample != Sample::Nothing) {
            self.emit(&Entry::Block { stratum: stratum as u16, class: class as u8, samples });
        }
        for at in guards {
            self.retune(at, stratum);
        }
    }

    fn retune(&mut self, at: usize, stratum: usize) {
        let plan = &self.core.closer.plan.guards[at];
        let ages = self.core.closer.ages.get(stratum);
        let age = plan.class.and_then(|class| ages?.get(usize::from(class))).copied();
        let tuned = self.core.tunings[at].after_block(plan, age);
        self.tuned(at, &tuned);
    }

    /// The late guardrails with a maturity.
    pub(crate) fn late_ages(&self) -> Vec<(u16, Span)> {
        let guards = (0_u16..).zip(&self.watch().guards);
        guards
            .filter(|(_, guard)| matches!(guard.metric, MetricRef::Custom(_)))
            .filter_map(|(at, guard)| Some((at, guard.maturity?)))
            .collect()
    }

    /// Whether a stratum is over for so long that nothing of it can come any more.
    fn drained(&self, stratum: usize, now: Timestamp) -> bool {
        let Some(ended) = self.core.strata[stratum].ended else { return false };
        let watch = self.watch();
        let requests = watch.timeout + watch.report_lag;
        let late = self.core.ended.is_none()
            && watch
                .guards
                .iter()
                .any(|g| g.maturity.is_none() && !matches!(g.metric, MetricRef::Builtin(_)));
        let maturity = watch.guards.iter().filter_map(|g| g.maturity).max().unwrap_or_default();
        // A late label without a maturity may come as long as the rollout runs.
        !late && now >= ended + requests.max(maturity + watch.report_lag)
    }

    fn tick_unit_labels(&mut self) {
        let mut labels = std::mem::take(&mut self.core.label_obs);
        labels.sort_unstable_by_key(|l| (l.time, l.unit, l.guard));
        for at in 0..self.core.closer.plan.guards.len() {
            let seen: Vec<LabelSeen> =
                labels.iter().filter(|l| usize::from(l.guard) == at).map(|l| l.seen).collect();
            if !seen.is_empty() {
                self.emit(&Entry::UnitLabels { guard: at as u16, seen });
            }
        }
    }

    /// Feeds the processes by unit: one visit to each unit for all its guardrails, in the order of the units, so
    /// that neighbours in memory are visited together.
    fn tick_units(&mut self, units: &mut dyn UnitTable) {
        if self.core.obs.is_empty() {
            return;
        }
        let obs = std::mem::take(&mut self.core.obs);
        let mut guards = self.unit_guards();
        let alone = self.watch().randomised == Randomised::Request;
        for group in Group::of(&obs) {
            let group = &obs[group.range()];
            let mut single;
            let unit = if alone {
                let Obs { time: at, stratum, new, .. } = group[0];
                let exposed = Exposed { at, stratum, new, crossed: false, matured: 0 };
                single = UnitState::new(0, exposed);
                Some(&mut single)
            } else {
                units.unit(group[0].unit)
            };
            let Some(unit) = unit else { continue };
            for o in group {
                if unit.in_stratum(o.stratum).is_none_or(|exposed| !exposed.crossed)
                    && let Some(Some(guard)) = guards.get_mut(usize::from(o.guard))
                {
                    guard.observe(unit, o);
                }
            }
        }
        let ticks: Vec<_> = guards.into_iter().map(|guard| guard.map(UnitGuard::end)).collect();
        for (at, tick) in ticks.into_iter().enumerate() {
            if let Some(tick) = tick {
                self.after_units(at, &tick, &obs);
            }
        }
    }

    /// What each guardrail that is judged by unit needs during this tick.
    fn unit_guards(&self) -> Vec<Option<UnitGuard<'_>>> {
        let closer = &self.core.closer;
        let strata = closer.stratum_shares();
        let by_unit = closer.plan.guards.iter().filter(|plan| plan.by_unit);
        let slots = by_unit.map(|plan| plan.safe.len() + 2).sum();
        let mut first_score = 0;
        let guards = closer.plan.guards.iter().enumerate().map(|(at, plan)| {
            plan.by_unit.then(|| {
                let frames = closer.guards[at].frames();
                let scores = first_score..first_score + frames.len();
                first_score = scores.end;
                let tick =
                    UnitTick { deltas: vec![ClusterDelta::default(); frames.len()], ..UnitTick::default() };
                let frame = TickFrame {
                    plan,
                    nulls: plan.nulls().collect(),
                    frames,
                    scores,
                    slots,
                    strata: strata.clone(),
                    threshold: self.core.tunings[at].threshold,
                    cap: closer.cap(at),
                    proof_per_stage: closer.watch.proof_per_stage,
                };
                UnitGuard { frame, bit: 1_u32.checked_shl(at as u32).unwrap_or(0), first: Vec::new(), tick }
            })
        });
        guards.collect()
    }

    fn after_units(&mut self, at: usize, tick: &UnitTick, obs: &[Obs]) {
        if !tick.sums.is_empty() || !tick.first.is_empty() {
            self.emit(&Entry::Units { guard: at as u16, tick: tick.clone() });
        }
        if Tuning::needs(self.core.closer.plan.guards[at].method) == 0 {
            return;
        }
        let of = || obs.iter().filter(|o| usize::from(o.guard) == at);
        let tuning = &mut self.core.tunings[at];
        for o in of().filter(|o| !o.new) {
            let _kept = tuning.control.add(o.y);
        }
        if let Some(last) = of().max_by_key(|o| (o.time, o.unit, o.stratum)) {
            self.retune(at, usize::from(last.stratum));
        }
    }
}

/// Observations of one unit that came together: one request's, for each guardrail.
struct Group {
    unit: Unit,
    time: Timestamp,
    from: u32,
    to: u32,
}

impl Group {
    fn range(&self) -> Range<usize> {
        self.from as usize..self.to as usize
    }

    /// The groups in the order in which units see them: by event time within a unit, so that the order of arrival
    /// makes no difference. The content only settles ties, for the same bits on every run.
    fn of(obs: &[Obs]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::with_capacity(obs.len() / 4 + 1);
        for (at, o) in (0_u32..).zip(obs) {
            match groups.last_mut() {
                Some(group) if group.unit == o.unit && group.time == o.time => group.to = at + 1,
                Some(_) | None => groups.push(Self { unit: o.unit, time: o.time, from: at, to: at + 1 }),
            }
        }
        groups.sort_unstable_by(|a, b| {
            (a.unit, a.time).cmp(&(b.unit, b.time)).then_with(|| {
                let content = |group: &Self| obs[group.range()].iter().map(Obs::order);
                content(a).cmp(content(b))
            })
        });
        groups
    }
}

/// One guardrail that is judged by unit, during one tick.
struct UnitGuard<'a> {
    frame: TickFrame<'a>,
    /// Its bit in [`UnitState::firsts`]; 0 if it has none.
    bit: u32,
    first: Vec<(Timestamp, Unit, FirstSeen)>,
    tick: UnitTick,
}

impl UnitGuard<'_> {
    fn observe(&mut self, unit: &mut UnitState, o: &Obs) {
        let Self { frame, bit, first, tick } = self;
        let event = frame.plan.method != Method::Rate || o.y != 0.0;
        if event && unit.firsts & *bit == 0 && *bit != 0 && frame.seen(o, 0).is_some() {
            unit.firsts |= *bit;
            first.push((o.time, o.unit, first_seen(frame, o)));
        }
        if let Some(shown) = frame.observe(unit.more(), o, &mut tick.deltas) {
            add_sums(&mut tick.sums, o, shown);
        }
    }

    fn end(mut self) -> UnitTick {
        self.first.sort_unstable_by_key(|(time, unit, _)| (*time, *unit));
        self.tick.first = self.first.into_iter().map(|(_, _, first)| first).collect();
        self.tick.sums.sort_unstable_by_key(|sums| sums.stratum);
        self.tick
    }
}

fn first_seen(frame: &TickFrame<'_>, o: &Obs) -> FirstSeen {
    let mut bits = 0;
    if matches!(frame.plan.method, Method::Exceedance { .. }) {
        for process in 0..=frame.plan.safe.len().min(30) {
            bits |= u32::from(frame.seen(o, process).is_some_and(|y| y > 0.0)) << process;
        }
    }
    FirstSeen { stratum: o.stratum, new: o.new, y: o.y, bits }
}

fn add_sums(sums: &mut Vec<StratumSums>, o: &Obs, shown: f64) {
    let at = match sums.iter().position(|sums| sums.stratum == o.stratum) {
        Some(at) => at,
        None => {
            sums.push(StratumSums { stratum: o.stratum, ..StratumSums::default() });
            sums.len() - 1
        }
    };
    let arm = usize::from(o.new);
    sums[at].n[arm] += 1;
    sums[at].y[arm] += shown;
    sums[at].size[arm] += o.size;
}
