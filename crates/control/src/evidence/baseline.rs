//! What is known about every variant without any rollout: hourly summaries, kept for 14 days.
//!
//! Quantiles come from a histogram whose buckets are the leading bits of the number: relative error at most
//! 1/128, no logarithm per value. Absent on purpose: anything a decision rests on. Baselines set thresholds
//! before a rollout has data of its own, and only have to be known beforehand, not to be exact.

use std::collections::{BTreeMap, BTreeSet};

use ensign_stats::Moments;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::requests::Report;
use crate::ids::{FlagId, Timestamp};
use crate::metric::{Builtin, MetricRef, Status};

const HOUR: i64 = 3_600_000_000;
const KEEP: i64 = 14 * 24;
/// Mantissa bits that tell buckets apart.
const BITS: u32 = 6;

/// What is known about one variant's metric without any rollout: the last 14 days.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// Values (for rates: requests).
    pub n: u64,
    /// Their mean (for rates: the share).
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
    /// p50, p95 and p99; none for rates.
    pub quantiles: Option<[f64; 3]>,
    /// Values per second over the hours that have any.
    pub per_second: f64,
}

/// A distribution of non-negative values.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dist {
    moments: Moments,
    zeros: u64,
    /// The bucket of the first counter.
    from: u32,
    counts: Vec<u32>,
}

impl Dist {
    pub(crate) fn add(&mut self, y: f64) {
        self.moments.push(y);
        if y > 0.0 {
            self.count((y.to_bits() >> (52 - BITS)) as u32, 1);
        } else {
            self.zeros += 1;
        }
    }

    fn count(&mut self, bucket: u32, n: u32) {
        if self.counts.is_empty() {
            self.from = bucket;
        }
        if bucket < self.from {
            // What would make the span too long shares the lowest bucket.
            let gap = (self.from - bucket).min(MAX_SPAN.saturating_sub(self.counts.len() as u32));
            self.counts.splice(0..0, std::iter::repeat_n(0, gap as usize));
            self.from -= gap;
        }
        if let Some(beyond) = bucket.checked_sub(self.from + MAX_SPAN - 1).filter(|beyond| *beyond > 0) {
            let cut = (beyond as usize).min(self.counts.len());
            let low: u32 = self.counts.drain(..cut).fold(0, u32::saturating_add);
            self.from += beyond;
            match self.counts.first_mut() {
                Some(first) => *first = first.saturating_add(low),
                None => self.counts.push(low),
            }
        }
        let at = bucket.saturating_sub(self.from) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] = self.counts[at].saturating_add(n);
    }

    fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.zeros += other.zeros;
        for (bucket, n) in (other.from..).zip(&other.counts) {
            if *n > 0 {
                self.count(bucket, *n);
            }
        }
    }

    pub(crate) fn n(&self) -> u64 {
        self.moments.n()
    }

    pub(crate) fn quantile(&self, p: f64) -> Option<f64> {
        let total: u64 = self.zeros + self.counts.iter().map(|n| u64::from(*n)).sum::<u64>();
        let rank = p * total.checked_sub(1)? as f64;
        let mut below = self.zeros;
        if below as f64 > rank {
            return Some(0.0);
        }
        for (bucket, n) in (u64::from(self.from)..).zip(&self.counts) {
            below += u64::from(*n);
            if below as f64 > rank {
                let low = f64::from_bits(bucket << (52 - BITS));
                let high = f64::from_bits((bucket + 1) << (52 - BITS));
                return Some(0.5 * (low + high));
            }
        }
        None
    }
}

/// Twenty octaves: 1 ms to 17 minutes.
const MAX_SPAN: u32 = 20 << BITS;

/// One hour of one variant.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Hour {
    requests: u64,
    by_status: [u64; 10],
    early: u64,
    latency: Dist,
    first_token: Dist,
    tokens_in: Dist,
    tokens_out: Dist,
    cost: Dist,
    custom: BTreeMap<MetricRef, Dist>,
}

/// One variant of one flag.
#[derive(Clone, PartialEq, Debug)]
struct Series {
    flag: FlagId,
    variant: u16,
    hours: BTreeMap<i64, Hour>,
    dirty: BTreeSet<i64>,
}

/// One hour of one variant, as it is stored; `None` when it is out of the 14 days.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredHour(Option<Hour>);

/// All variants.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Baselines {
    index: FxHashMap<(FlagId, u16), u32>,
    series: Vec<Series>,
}

impl Baselines {
    /// The number of a variant's series; made when it is first asked for.
    pub(crate) fn series(&mut self, flag: FlagId, variant: u16) -> u32 {
        let next = self.series.len() as u32;
        let at = *self.index.entry((flag, variant)).or_insert(next);
        if at == next {
            self.series.push(Series { flag, variant, hours: BTreeMap::new(), dirty: BTreeSet::new() });
        }
        at
    }

    fn hour(&mut self, series: u32, at: Timestamp) -> Option<&mut Hour> {
        let series = self.series.get_mut(series as usize)?;
        let hour = at.0.div_euclid(HOUR);
        if series.dirty.last() != Some(&hour) {
            series.dirty.insert(hour);
        }
        if series.hours.last_key_value().is_some_and(|(last, _)| *last < hour) {
            let keep = series.hours.split_off(&(hour - KEEP));
            let gone = std::mem::replace(&mut series.hours, keep);
            series.dirty.extend(gone.keys());
        }
        Some(series.hours.entry(hour).or_default())
    }

    /// Takes in a reported request, or part of what is known of one.
    pub(crate) fn request(&mut self, series: u32, at: Timestamp, report: &Report) {
        let Some(hour) = self.hour(series, at) else { return };
        let lasted = report.lasted();
        if let Some(status) = report.status {
            hour.requests += 1;
            hour.by_status[status as usize] += 1;
            if status.counts_against() && lasted.is_some_and(|lasted| lasted <= super::plan::EARLY) {
                hour.early += 1;
            }
        }
        if report.first_token.0 >= 0 {
            hour.first_token.add(report.first_token.0 as f64 / 1e3);
        }
        if report.status.is_some_and(|status| status != Status::Ok) {
            return;
        }
        if let Some(lasted) = lasted {
            hour.latency.add(lasted.0 as f64 / 1e3);
        }
        if report.tokens_in >= 0 {
            hour.tokens_in.add(report.tokens_in as f64);
        }
        if report.tokens_out >= 0 {
            hour.tokens_out.add(report.tokens_out as f64);
        }
        if report.cost >= 0.0 {
            hour.cost.add(report.cost);
        }
    }

    /// Takes in an outcome of a metric the project defines.
    pub(crate) fn outcome(&mut self, series: u32, at: Timestamp, metric: &MetricRef, y: f64) {
        let Some(hour) = self.hour(series, at) else { return };
        match hour.custom.get_mut(metric) {
            Some(dist) => dist.add(y),
            None => hour.custom.entry(metric.clone()).or_default().add(y),
        }
    }

    fn find(&self, flag: FlagId, variant: u16) -> Option<&Series> {
        self.series.get(*self.index.get(&(flag, variant))? as usize)
    }

    /// The distribution of a metric over all hours kept; `None` for rates and unknown variants.
    pub(crate) fn dist(&self, flag: FlagId, variant: u16, metric: &MetricRef) -> Option<Dist> {
        let mut all = Dist::default();
        for hour in self.find(flag, variant)?.hours.values() {
            if let Some(dist) = hour.dist(metric) {
                all.merge(dist);
            }
        }
        (all.n() > 0).then_some(all)
    }

    /// What is known about a variant's metric.
    pub(crate) fn get(&self, flag: FlagId, variant: u16, metric: &MetricRef) -> Option<Baseline> {
        let series = self.find(flag, variant)?;
        let hours = |n: u64, of: usize| n as f64 / (of.max(1) as f64 * 3_600.0);
        if let Some(dist) = self.dist(flag, variant, metric) {
            let with = series.hours.values().filter(|h| h.dist(metric).is_some_and(|d| d.n() > 0)).count();
            let quantile = |p| dist.quantile(p).unwrap_or(0.0);
            return Some(Baseline {
                n: dist.n(),
                mean: dist.moments.mean(),
                sd: dist.moments.variance().unwrap_or(0.0).sqrt(),
                quantiles: Some([quantile(0.5), quantile(0.95), quantile(0.99)]),
                per_second: hours(dist.n(), with),
            });
        }
        let n: u64 = series.hours.values().map(|h| h.requests).sum();
        let events: u64 =
            series.hours.values().map(|h| h.events(metric)).collect::<Option<Vec<_>>>()?.iter().sum();
        if n == 0 {
            return None;
        }
        let mean = events as f64 / n as f64;
        let per_second = hours(n, series.hours.len());
        Some(Baseline { n, mean, sd: (mean * (1.0 - mean)).sqrt(), quantiles: None, per_second })
    }

    /// What changed since the last call, as (key, hour).
    pub(crate) fn take_dirty(&mut self) -> Vec<(String, Option<StoredHour>)> {
        let mut parts = Vec::new();
        for series in &mut self.series {
            for hour in std::mem::take(&mut series.dirty) {
                let key = format!("baseline/{:016x}/{}/{hour}", series.flag.0, series.variant);
                let stored = series.hours.get(&hour).map(|h| StoredHour(Some(h.clone())));
                parts.push((key, stored));
            }
        }
        parts
    }

    /// Puts a stored hour back. `None`: the key does not read.
    pub(crate) fn load(&mut self, key: &str, stored: StoredHour) -> Option<()> {
        let mut words = key.split('/').skip(1);
        let flag = FlagId(u64::from_str_radix(words.next()?, 16).ok()?);
        let variant: u16 = words.next()?.parse().ok()?;
        let hour: i64 = words.next()?.parse().ok()?;
        let series = self.series(flag, variant);
        if let (Some(series), Some(stored)) = (self.series.get_mut(series as usize), stored.0) {
            series.hours.insert(hour, stored);
        }
        Some(())
    }

    /// The series in the order of their numbers: links of pending requests refer to them.
    pub(crate) fn numbering(&self) -> Vec<(FlagId, u16)> {
        self.series.iter().map(|s| (s.flag, s.variant)).collect()
    }
}

impl Hour {
    fn dist(&self, metric: &MetricRef) -> Option<&Dist> {
        match metric {
            MetricRef::Builtin(Builtin::Latency) => Some(&self.latency),
            MetricRef::Builtin(Builtin::TimeToFirstToken) => Some(&self.first_token),
            MetricRef::Builtin(Builtin::TokensIn) => Some(&self.tokens_in),
            MetricRef::Builtin(Builtin::TokensOut) => Some(&self.tokens_out),
            MetricRef::Builtin(Builtin::Cost) => Some(&self.cost),
            MetricRef::Builtin(
                Builtin::ErrorRate | Builtin::EarlyFailure | Builtin::StatusRate(_) | Builtin::Unreported,
            ) => None,
            MetricRef::Custom(_) => self.custom.get(metric),
        }
    }

    /// How many requests a rate counts; `None` if it is not kept here.
    fn events(&self, metric: &MetricRef) -> Option<u64> {
        match metric {
            MetricRef::Builtin(Builtin::ErrorRate) => Some(
                Status::ALL.iter().filter(|s| s.counts_against()).map(|s| self.by_status[*s as usize]).sum(),
            ),
            MetricRef::Builtin(Builtin::EarlyFailure) => Some(self.early),
            MetricRef::Builtin(Builtin::StatusRate(status)) => Some(self.by_status[*status as usize]),
            MetricRef::Builtin(
                Builtin::Unreported
                | Builtin::Latency
                | Builtin::TimeToFirstToken
                | Builtin::TokensIn
                | Builtin::TokensOut
                | Builtin::Cost,
            )
            | MetricRef::Custom(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_hundredth() {
        let mut dist = Dist::default();
        for i in 1..=10_000_u32 {
            dist.add(f64::from(i * 7919 % 10_007));
        }
        dist.add(0.0);
        for p in [0.01, 0.5, 0.95, 0.99] {
            let got = dist.quantile(p).unwrap();
            assert!((got / (p * 10_007.0) - 1.0).abs() < 0.01, "{p}: {got}");
        }
    }
}
