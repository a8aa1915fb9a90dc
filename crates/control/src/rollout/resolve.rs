//! From what was written to a plan: every default is filled in and said.

use std::collections::BTreeMap;

use crate::document::Problem;
use crate::evidence::watch::{Margin, OnHarm, Randomised};
use crate::ids::{Key, Span};
use crate::metric::Metric;

use super::guards::Guards;
use super::spec::{Spec, StageSpec};
use super::{Advance, Arm, OnMaxDuration, OnMismatch, OnMissing, Plan, Soak, Stage, WHOLE, number};

/// What a plan must know about its flag.
#[derive(Clone, PartialEq, Debug)]
pub struct FlagFacts {
    /// The flag's key.
    pub flag: Key,
    /// Its variants, retired ones left out.
    pub variants: Vec<VariantFact>,
    /// For each rule that a rollout can attach to, and `fallthrough`: the variant most of its units get now.
    pub rules: BTreeMap<String, u16>,
    /// The unit of its splits where a rollout does not say: a context kind or an attribute.
    pub unit: Key,
    /// The request timeout of its use case.
    pub timeout: Span,
}

/// One variant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VariantFact {
    /// Its permanent index.
    pub index: u16,
    /// Its name.
    pub name: String,
    /// Its value as text: for a string the string itself, else its JSON.
    pub value: String,
}

/// Error budget of a rollout that does not say.
pub(super) const ALPHA: f64 = 0.01;
/// Error level of a proof of safety.
pub(super) const BETA: f64 = 0.05;
/// Error level of the sample-ratio check.
pub(super) const ALPHA_SRM: f64 = 0.001;
/// The holdback of a rollout that does not say: 5 %.
const HOLDBACK: u32 = 5_000;
const DAY: Span = Span::seconds(86_400);
/// How long a stage may take.
const MAX_DURATION: Span = Span::seconds(7 * 86_400);
/// How long an arm may stay silent beyond the timeout.
const SILENCE: Span = Span::seconds(600);
/// How late a report may come after its request ended: applications send reports in batches.
const REPORT_LAG: Span = Span::seconds(1);
/// The template's stages.
const STAGES: [u32; 5] = [1_000, 5_000, 25_000, 50_000, WHOLE];

/// The plan that `spec` means for this flag, or everything that is wrong.
pub fn resolve(spec: &Spec, flag: &FlagFacts, metrics: &BTreeMap<Key, Metric>) -> Result<Plan, Vec<Problem>> {
    let mut resolver = Resolver { spec, flag, problems: Vec::new(), assumed: Vec::new() };
    let rule = spec.rule.clone().unwrap_or_else(|| "fallthrough".to_owned());
    let new = resolver.variant("/to", &spec.to);
    let control = resolver.control(&rule);
    if let (Some(new), Some(control)) = (&new, &control)
        && new.variant == control.variant
    {
        let what = format!("{} is what these units get already; name another variant with to", new.name);
        resolver.problems.push(Problem::new("same_variant", "/to", what));
    }
    let unit = spec.unit.clone().unwrap_or_else(|| flag.unit.clone());
    let randomised = if unit.as_str() == "request" { Randomised::Request } else { Randomised::Unit };
    if spec.unit.is_none() {
        resolver.assumed.push(format!("What is randomised is the flag's unit, {unit}."));
    }
    let (stages, soak) = resolver.stages(randomised);
    let alpha =
        resolver.level("alpha", spec.alpha, ALPHA, "the chance of a false rollback over the whole rollout");
    let beta = resolver.level("beta", spec.beta, BETA, "the chance that a proof of safety is wrong");
    let ramp = stages.len() - usize::from(soak.is_some() && !stages.is_empty());
    let guards = Guards {
        spec,
        metrics,
        stages: &stages,
        ramp,
        problems: &mut resolver.problems,
        assumed: &mut resolver.assumed,
    };
    let guards = guards.resolve();
    if spec.on_missing.is_none() {
        resolver
            .assumed
            .push("When an arm is served and reports nothing, the rollout holds and tells someone.".into());
    }
    if !resolver.problems.is_empty() {
        return Err(resolver.problems);
    }
    let (Some(new), Some(control)) = (new, control) else { return Err(resolver.problems) };
    Ok(Plan {
        flag: spec.flag.clone(),
        rule,
        control,
        new,
        unit,
        randomised,
        stages,
        soak,
        guards,
        on_missing: spec.on_missing.unwrap_or(OnMissing::Hold),
        silence: spec.silence.unwrap_or(SILENCE),
        on_ratio_mismatch: spec.on_ratio_mismatch.unwrap_or(OnMismatch::Hold),
        alpha,
        beta,
        alpha_srm: ALPHA_SRM,
        proof_per_stage: spec.proof_per_stage,
        timeout: flag.timeout,
        report_lag: spec.report_lag.unwrap_or(REPORT_LAG),
        warmup: spec.warmup.unwrap_or_default(),
        new_salt: spec.new_salt,
        assumed: resolver.assumed,
        timetable: None,
    })
}

struct Resolver<'a> {
    spec: &'a Spec,
    flag: &'a FlagFacts,
    problems: Vec<Problem>,
    assumed: Vec<String>,
}

impl Resolver<'_> {
    fn level(&mut self, name: &str, given: Option<f64>, default: f64, meaning: &str) -> f64 {
        if given.is_none() {
            self.assumed.push(format!("{name} is {default}: {meaning}."));
        }
        given.unwrap_or(default)
    }

    fn variant(&mut self, at: &str, text: &str) -> Option<Arm> {
        let variants = &self.flag.variants;
        let found = variants.iter().find(|variant| variant.name == text);
        let found = found.or_else(|| variants.iter().find(|variant| variant.value == text));
        if found.is_none() {
            let names: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
            let near = super::guardrail::nearest(text, names.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
            let what = format!("{} has no variant '{text}'", self.flag.flag);
            let hint = format!("{near}it has {}", names.join(", "));
            self.problems.push(Problem::new("unknown_variant", at, what).hint(hint));
        }
        found.map(|variant| Arm { variant: variant.index, name: variant.name.clone() })
    }

    fn control(&mut self, rule: &str) -> Option<Arm> {
        let Some(&now) = self.flag.rules.get(rule) else {
            let rules: Vec<&str> = self.flag.rules.keys().map(String::as_str).collect();
            let what = format!("{} has no rule '{rule}' that a rollout can attach to", self.flag.flag);
            let problem =
                Problem::new("unknown_rule", "/rule", what).hint(format!("it has {}", rules.join(", ")));
            self.problems.push(problem);
            return None;
        };
        if let Some(from) = &self.spec.from {
            return self.variant("/from", from);
        }
        let found = self.flag.variants.iter().find(|variant| variant.index == now);
        let arm = found.map(|variant| Arm { variant: variant.index, name: variant.name.clone() });
        match &arm {
            Some(arm) => self.assumed.push(format!("Control is {}, what these units get now.", arm.name)),
            None => {
                let what = "what these units get now is not one variant; name it with from";
                self.problems.push(Problem::new("unknown_control", "/from", what));
            }
        }
        arm
    }

    fn stages(&mut self, randomised: Randomised) -> (Vec<Stage>, Option<Soak>) {
        let written = self.spec.stages.clone().unwrap_or_else(|| {
            self.assumed.push("Stages are 1, 5, 25, 50 and 100 %.".into());
            STAGES.iter().map(|share| StageSpec { share: *share, ..StageSpec::default() }).collect()
        });
        self.check_order(&written);
        let holdback = self.spec.holdback.unwrap_or(HOLDBACK);
        let last = written.last().cloned().unwrap_or_default();
        let duration = self.spec.soak.or(last.min_duration).unwrap_or(DAY);
        let soak = (holdback > 0 && duration.0 > 0).then_some(Soak { holdback, duration });
        if let Some(soak) = soak {
            self.assumed.push(format!(
                "100 % means {} with a {} holdback for {}, then everyone.",
                number::share(WHOLE - soak.holdback),
                number::share(soak.holdback),
                number::span(soak.duration)
            ));
        }
        let ramp = written.len().saturating_sub(1);
        let mut stages = Vec::new();
        for (index, stage) in written.iter().take(ramp).enumerate() {
            if soak.is_some_and(|soak| stage.share >= WHOLE - soak.holdback) {
                let what =
                    "this stage is not below what 100 means until the soak ends; lower it or the holdback";
                self.problems.push(Problem::new("stage_above_holdback", format!("/stages/{index}"), what));
            }
            stages.push(self.stage(stage, index + 1 == ramp, randomised));
        }
        if let Some(soak) = soak {
            let mut stage = self.stage(&last, false, randomised);
            stage.share = WHOLE - soak.holdback;
            stage.min_duration = soak.duration;
            stage.max_duration =
                last.max_duration.unwrap_or(Span(soak.duration.0.saturating_add(MAX_DURATION.0)));
            // The proof was given before the soak; during it, harm is what is looked for.
            stage.advance = last.advance.map_or(Advance::NoHarm, |advance| advance.advance);
            stages.push(stage);
        }
        for (index, stage) in stages.iter().enumerate() {
            if stage.max_duration < stage.min_duration {
                let what = "the maximum duration is shorter than the minimum duration";
                self.problems.push(Problem::new("duration_order", format!("/stages/{index}"), what));
            }
        }
        (stages, soak)
    }

    fn check_order(&mut self, stages: &[StageSpec]) {
        if stages.len() < 2 || stages.last().is_none_or(|stage| stage.share != WHOLE) {
            let what = "stages begin small and end with 100, such as 1, 5, 25, 50, 100";
            let hint = "a rollout that is to stay at a share for a person to look at gives that stage `approval: true`";
            self.problems.push(Problem::new("stages_end", "/stages", what).hint(hint));
        }
        for (index, pair) in stages.windows(2).enumerate() {
            if pair[1].share <= pair[0].share {
                let what = format!(
                    "each stage is larger than the one before; this is {} after {}",
                    number::share(pair[1].share),
                    number::share(pair[0].share)
                );
                self.problems.push(Problem::new("stages_order", format!("/stages/{}", index + 1), what));
            }
        }
        if stages.first().is_some_and(|stage| stage.share == 0) {
            self.problems.push(Problem::new("stages_order", "/stages/0", "a stage of 0 % compares nothing"));
        }
    }

    fn stage(&self, stage: &StageSpec, before_last: bool, randomised: Randomised) -> Stage {
        let spec = self.spec;
        let default = if before_last { Advance::ProvenSafe } else { Advance::NoHarm };
        let samples = match randomised {
            Randomised::Request => 100,
            Randomised::Unit => 30,
        };
        let minutes = match stage.share {
            0..=1_000 => 10,
            1_001..=5_000 => 30,
            5_001..=25_000 => 60,
            _ => 240,
        };
        let min_duration = stage.min_duration.or(spec.min_duration).unwrap_or(Span::seconds(minutes * 60));
        Stage {
            share: stage.share,
            min_duration,
            max_duration: stage
                .max_duration
                .or(spec.max_duration)
                .unwrap_or(Span(min_duration.0.saturating_mul(2).max(MAX_DURATION.0))),
            min_samples: stage.min_samples.or(spec.min_samples).unwrap_or(samples),
            approval: stage.approval,
            advance: stage.advance.map(|advance| advance.advance).or(spec.advance).unwrap_or(default),
            on_max_duration: spec.on_max_duration.unwrap_or(OnMaxDuration::Hold),
        }
    }
}

/// The factor to be proven at a share where nothing is said: wider while few are exposed.
pub(super) fn table(share: u32, last: bool) -> f64 {
    if last {
        return 1.25;
    }
    match share {
        0..=1_000 => 3.0,
        1_001..=10_000 => 2.0,
        _ => 1.5,
    }
}

/// Whether harm of a guardrail with this action spends some of the error budget.
pub(super) fn spends(action: OnHarm) -> bool {
    match action {
        OnHarm::RollBack | OnHarm::Hold => true,
        OnHarm::Alert => false,
    }
}

/// Whether a margin is "any degradation".
pub(super) fn is_zero(margin: Margin) -> bool {
    match margin {
        Margin::Relative(by) | Margin::Absolute(by) => by == 0.0,
    }
}
