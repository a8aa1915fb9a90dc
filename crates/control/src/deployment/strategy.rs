//! Strategies: by how much a share grows, and when. A strategy becomes the stages of a rollout's plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DeployedStrategy, Tags};
use crate::ids::Span;
use crate::rollout::WHOLE;

/// How a share grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// By the same amount at each step.
    Linear,
    /// It doubles at each step.
    Exponential,
}

/// A strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// Short and permanent.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How the share grows.
    pub growth: Growth,
    /// By how much, in percent: 1 to 100.
    pub factor: f64,
    /// How long until everyone has it, in minutes.
    pub minutes: u32,
    /// How long alarms are watched after that, in minutes.
    #[serde(default)]
    pub bake_minutes: u32,
    /// Kept and echoed: whether it was asked to be copied elsewhere. Nothing is.
    #[serde(default)]
    pub replicate: bool,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    /// Set when it was deleted.
    #[serde(default)]
    pub deleted: bool,
}

/// The strategies that are always there: id, growth, factor, minutes, bake minutes, description.
pub const PREDEFINED: [(&str, Growth, f64, u32, u32, &str); 4] = [
    ("AppConfig.AllAtOnce", Growth::Linear, 100.0, 0, 10, "Quick"),
    ("AppConfig.Linear50PercentEvery30Seconds", Growth::Linear, 50.0, 1, 1, "Test/Demo"),
    ("AppConfig.Canary10Percent20Minutes", Growth::Exponential, 10.0, 20, 10, "AWS Recommended"),
    ("AppConfig.Linear20PercentEvery6Minutes", Growth::Linear, 20.0, 30, 30, "AWS Recommended"),
];

/// A strategy that is always there, by its id.
#[must_use]
pub fn predefined(id: &str) -> Option<Strategy> {
    let found = PREDEFINED.iter().find(|(known, ..)| *known == id)?;
    let (id, growth, factor, minutes, bake_minutes, description) = *found;
    Some(Strategy {
        id: id.to_owned(),
        name: id.to_owned(),
        description: Some(description.to_owned()),
        growth,
        factor,
        minutes,
        bake_minutes,
        replicate: false,
        tags: Tags::new(),
        deleted: false,
    })
}

impl Strategy {
    /// What a deployment keeps of it.
    #[must_use]
    pub fn deployed(&self) -> DeployedStrategy {
        DeployedStrategy {
            id: self.id.clone(),
            growth: self.growth,
            factor: self.factor,
            minutes: self.minutes,
            bake_minutes: self.bake_minutes,
        }
    }

    /// The shares in order, 1/100000; the last one is everyone.
    #[must_use]
    pub fn shares(&self) -> Vec<u32> {
        let step = (self.factor.clamp(0.001, 100.0) * 1_000.0).round() as u32;
        let mut shares = Vec::new();
        let mut share = step;
        while share < WHOLE {
            shares.push(share);
            share = match self.growth {
                Growth::Linear => share + step,
                Growth::Exponential => share * 2,
            };
        }
        shares.push(WHOLE);
        shares
    }

    /// Each share with how long it holds: nobody until the first step; step `i` of `n` at `i/n` of the time; everyone
    /// for the bake time.
    #[must_use]
    pub fn stages(&self) -> Vec<(u32, Span)> {
        let minute = 60_000_000_i64;
        let bake = Span(i64::from(self.bake_minutes) * minute);
        let whole = i64::from(self.minutes) * minute;
        if whole == 0 {
            return vec![(WHOLE, bake)];
        }
        let shares = self.shares();
        let n = shares.len() as i64;
        let at = |step: i64| whole * step / n;
        let mut stages = vec![(0, Span(at(1)))];
        for (index, share) in (1_i64..).zip(shares) {
            let length = if share == WHOLE { bake } else { Span(at(index + 1) - at(index)) };
            stages.push((share, length));
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(growth: Growth, factor: f64, minutes: u32) -> Strategy {
        Strategy { growth, factor, minutes, bake_minutes: 1, ..predefined("AppConfig.AllAtOnce").unwrap() }
    }

    /// `percent@seconds` of each step, and when the bake time ends.
    #[track_caller]
    fn check(strategy: &Strategy, expected: &str) {
        let mut at = 0;
        let mut text = Vec::new();
        for (share, length) in strategy.stages() {
            text.push(format!("{}@{}", f64::from(share) / 1000.0, at as f64 / 1e6));
            at += length.0;
        }
        text.push(format!("end@{}", at as f64 / 1e6));
        assert_eq!(text.join(" "), expected);
    }

    #[test]
    fn step_i_of_n_comes_at_i_nths_of_the_time() {
        for (id, expected) in [
            ("AppConfig.AllAtOnce", "100@0 end@600"),
            ("AppConfig.Linear50PercentEvery30Seconds", "0@0 50@30 100@60 end@120"),
            ("AppConfig.Canary10Percent20Minutes", "0@0 10@240 20@480 40@720 80@960 100@1200 end@1800"),
            ("AppConfig.Linear20PercentEvery6Minutes", "0@0 20@360 40@720 60@1080 80@1440 100@1800 end@3600"),
        ] {
            check(&predefined(id).unwrap(), expected);
        }
        check(&strategy(Growth::Linear, 30.0, 10), "0@0 30@150 60@300 90@450 100@600 end@660");
        check(
            &strategy(Growth::Exponential, 2.0, 70),
            "0@0 2@600 4@1200 8@1800 16@2400 32@3000 64@3600 100@4200 end@4260",
        );
        check(&strategy(Growth::Linear, 100.0, 1), "0@0 100@60 end@120");
        assert_eq!(strategy(Growth::Linear, 1.0, 1).shares().len(), 100);
        assert_eq!(strategy(Growth::Linear, 33.3, 1).shares(), [33_300, 66_600, 99_900, 100_000]);
    }
}
