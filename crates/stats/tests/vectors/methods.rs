//! The cases of the statistics vectors, and the code that runs each method built here.
//!
//! Shared by the test of that name and by the simulation, which shows the worst deviation.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a case that does not fit is a failed case")]

#[path = "experiment.rs"]
mod experiment;

use std::collections::BTreeMap;

use ensign_stats as stats;
use ensign_stats::cluster::{ClusterParams, Observation, StratumShare};
use ensign_stats::quantile::BetaBinomial;
use ensign_stats::{
    Arm, ClusterDelta, ClusterMixture, DdSketch, DesignBet, Direction, FirstEvent, Grid, MeanBet, MeanBlock,
    MeanParams, MhSummary, Moments, Null, Range, RateBet, RateBlock, RateParams, Set, Side, UnitScore,
    Weighed,
};
use serde_json::Value;

/// Named results of a case, lists flattened to `name[i]`.
type Results = Vec<(String, f64)>;
type Run = fn(&Case) -> Results;

const METHODS: &[(&str, Run)] = &[
    ("block_bet_rate", block_bet_rate),
    ("block_bet_mean", block_bet_mean),
    ("design_bet_mean", design_bet_mean),
    ("first_event", first_event),
    ("cluster_normal_mixture", cluster),
    ("cluster_normal_mixture_strata", cluster),
    ("normal_mixture", normal_mixture),
    ("asymp_cs", asymp_cs),
    ("asymp_cs_nstar", asymp_cs_nstar),
    ("log_normal_cdf", log_normal_cdf),
    ("srm", srm),
    ("combine_e", combine_e),
    ("p_adjust", p_adjust),
    ("quantile_beta_binomial", quantile_beta_binomial),
    ("mh_summary", mh_summary),
    ("merge_moments", merge_moments),
    ("ddsketch", ddsketch),
    ("welch", experiment::welch),
    ("ratio_delta", experiment::ratio_delta),
    ("cuped", experiment::cuped),
    ("proportions", experiment::proportions),
    ("quantile_se", experiment::quantile_se),
    ("bayes_normal", experiment::bayes_normal),
    ("bayes_beta", experiment::bayes_beta),
    ("sample_size", experiment::sample_size),
];

struct Case {
    id: String,
    method: String,
    rel_tol: f64,
    inputs: Value,
    expected: Value,
}

impl Case {
    fn get(&self, name: &str) -> &Value {
        self.inputs.get(name).unwrap_or_else(|| panic!("{}: no input {name}", self.id))
    }

    fn num(&self, name: &str) -> f64 {
        self.get(name).as_f64().unwrap_or_else(|| panic!("{}: {name} is not a number", self.id))
    }

    fn opt(&self, name: &str) -> Option<f64> {
        self.inputs.get(name).and_then(Value::as_f64)
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).as_bool().unwrap_or_else(|| panic!("{}: {name} is not true or false", self.id))
    }

    fn list(&self, name: &str) -> Vec<f64> {
        numbers(self.get(name))
    }

    fn rows(&self, name: &str) -> Vec<Vec<f64>> {
        self.get(name).as_array().expect("a list").iter().map(numbers).collect()
    }

    fn grid(&self, name: &str) -> Grid {
        let wanted = self.list(name);
        [Grid::RateHarm, Grid::RateSafe, Grid::ExceedanceHarm, Grid::Effect]
            .into_iter()
            .find(|grid| grid.points() == wanted)
            .unwrap_or_else(|| panic!("{}: no such grid: {wanted:?}", self.id))
    }

    fn check_restart_constants(&self) {
        assert!(self.opt("w0").is_none_or(|w0| w0 == 0.5), "{}: w0 is fixed at 0.5", self.id);
        assert!(self.opt("n0").is_none_or(|n0| n0 == 100.0), "{}: n0 is fixed at 100", self.id);
    }

    /// The vectors give the betting sign and a signed delta: a negative delta is a safe process.
    fn mean_params(&self) -> MeanParams {
        self.check_restart_constants();
        assert_eq!(self.grid("d_grid"), Grid::Effect);
        let (sign, delta) = (self.num("sign"), self.num("delta"));
        let side = if delta < 0.0 { Side::Safe } else { Side::Harm };
        let up = if delta < 0.0 { sign < 0.0 } else { sign > 0.0 };
        let direction = if up { Direction::Up } else { Direction::Down };
        MeanParams {
            side,
            null: Null::new(direction, self.num("theta0"), delta.abs()).unwrap(),
            winsor: self.opt("cap"),
            cap: self.num("lambda_cap"),
            restarts: self.flag("restarts"),
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn arm(code: f64) -> Arm {
    if code == 1.0 { Arm::New } else { Arm::Control }
}

fn rate_block(row: &[f64]) -> RateBlock {
    let [n_t, k_t, n_c, k_c] = row else { panic!("four counts") };
    RateBlock { n_t: *n_t as u64, k_t: *k_t as u64, n_c: *n_c as u64, k_c: *k_c as u64 }
}

fn named<const N: usize>(pairs: [(&str, f64); N]) -> Results {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn series(name: &str, values: impl IntoIterator<Item = f64>) -> Results {
    values.into_iter().enumerate().map(|(i, value)| (format!("{name}[{i}]"), value)).collect()
}

fn block_bet_rate(case: &Case) -> Results {
    case.check_restart_constants();
    let mut bet = RateBet::new(RateParams {
        side: if case.num("sign") > 0.0 { Side::Harm } else { Side::Safe },
        theta0: case.num("theta0"),
        grid: case.grid("grid"),
        cap: case.num("lambda_cap"),
        fixed_centre: case.opt("m_fixed"),
        restarts: case.flag("restarts"),
    })
    .unwrap();
    let blocks = case.rows("blocks_nT_kT_nC_kC");
    series(
        "log_e",
        blocks.iter().map(|row| {
            bet.close(rate_block(row)).unwrap();
            bet.log_e()
        }),
    )
}

fn block_bet_mean(case: &Case) -> Results {
    let params = case.mean_params();
    let mut bet = MeanBet::new(params).unwrap();
    let range = if params.winsor.is_some() { Range::Amount } else { Range::Unit };
    let blocks = case.get("blocks_T_C").as_array().expect("a list");
    series(
        "log_e",
        blocks.iter().map(|pair| {
            let mut block = MeanBlock::values(range);
            for (i, arm) in [Arm::New, Arm::Control].into_iter().enumerate() {
                for y in numbers(&pair[i]) {
                    block.push(arm, y).unwrap();
                }
            }
            bet.close(&block).unwrap();
            bet.log_e()
        }),
    )
}

fn design_bet_mean(case: &Case) -> Results {
    let mut bet = DesignBet::new(case.mean_params()).unwrap();
    let events = case.rows("events_arm_share_y");
    series(
        "log_e",
        events.iter().map(|row| {
            bet.observe(arm(row[0]), row[1], row[2]).unwrap();
            bet.log_e()
        }),
    )
}

fn first_event(case: &Case) -> Results {
    assert_eq!(case.grid("grid"), Grid::RateHarm);
    assert!(!case.flag("restarts"), "first events have no restarts");
    let events = case.rows("events_arm_share_theta0");
    let theta0 = events[0][2];
    assert!(events.iter().all(|row| row[2] == theta0), "one margin for the whole process");
    let mut bet = FirstEvent::new(Null::new(Direction::Up, theta0, 0.0).unwrap()).unwrap();
    series(
        "log_e",
        events.iter().map(|row| {
            bet.observe(arm(row[0]), row[1]).unwrap();
            bet.log_e()
        }),
    )
}

fn cluster(case: &Case) -> Results {
    let up = case.opt("sign").is_none_or(|sign| sign > 0.0);
    let direction = if up { Direction::Up } else { Direction::Down };
    let mut mixture = ClusterMixture::new(ClusterParams {
        side: Side::Harm,
        null: Null::new(direction, case.opt("theta0").unwrap_or(1.0), 0.0).unwrap(),
        start_centre: case.num("m"),
        known_variance: Some(case.num("var_frozen")),
    })
    .unwrap();
    assert_eq!(case.list("d_grid"), [0.05, 0.2, 0.8]);
    let cap = case.opt("cap_per_user").or(case.opt("cap_per_user_and_stratum"));
    assert_eq!(cap, Some(f64::from(stats::cluster::PER_UNIT)));
    let rows = if case.inputs.get("share").is_some() {
        let mut rows = case.rows("events_user_arm_y");
        rows.iter_mut().for_each(|row| row.extend([0.0, case.num("share")]));
        rows
    } else {
        case.rows("events_user_arm_y_stratum_share")
    };
    let mut strata: Vec<StratumShare> = Vec::new();
    for row in &rows {
        let index = row[3] as usize;
        strata.resize(strata.len().max(index + 1), StratumShare { share: 0.0, reset: false });
        strata[index].share = row[4];
    }
    let frame = mixture.frame();
    let mut units: BTreeMap<u64, UnitScore> = BTreeMap::new();
    let mut delta = ClusterDelta::default();
    for row in &rows {
        let seen = Observation { arm: arm(row[1]), stratum: row[3] as u16, y: row[2], size: 1.0 };
        units.entry(row[0] as u64).or_default().observe(&frame, &strata, seen, &mut delta).unwrap();
    }
    mixture.end_tick(&delta);
    named([
        ("U", mixture.score()),
        ("V_arm", mixture.v_arm()),
        ("V_design", mixture.v_design()),
        ("V", mixture.v()),
        ("log_e", mixture.log_e()),
    ])
}

fn normal_mixture(case: &Case) -> Results {
    use stats::mixture::{one_sided_log_e, tuned_rho, tuned_rho_one_sided, two_sided_bound, two_sided_log_e};
    let (s, v, v_opt, alpha) = (case.num("S"), case.num("V"), case.num("v_opt"), case.num("alpha_opt"));
    let (rho1, rho2) = (tuned_rho_one_sided(v_opt, alpha), tuned_rho(v_opt, alpha));
    named([
        ("rho_one_sided", rho1),
        ("log_e_one_sided", one_sided_log_e(s, v, rho1)),
        ("rho_two_sided", rho2),
        ("log_e_two_sided", two_sided_log_e(s, v, rho2)),
        ("bound_two_sided_alpha_05", two_sided_bound(v, rho2, 0.05)),
    ])
}

fn asymp_cs(case: &Case) -> Results {
    let cs =
        stats::asymp_cs(case.num("estimate"), case.num("se"), case.num("tau"), case.num("alpha")).unwrap();
    named([
        ("rho", cs.rho),
        ("half_width_two_sided", cs.half_width),
        ("half_width_one_sided", cs.half_width_one_sided),
        ("log_e_two_sided", cs.log_e),
        ("log_e_one_sided_greater", cs.log_e_greater),
        ("p_anytime_two_sided", cs.p_anytime()),
    ])
}

fn asymp_cs_nstar(case: &Case) -> Results {
    let (n, n_star) = (case.num("n_total") as u64, case.num("n_star") as u64);
    let cs = stats::asymp_cs_for_total(case.num("estimate"), case.num("se"), n, n_star, case.num("alpha"))
        .unwrap();
    named([
        ("equivalent_rho_information", cs.rho),
        ("half_width", cs.half_width),
        ("e_value", stats::e_value(cs.log_e)),
        ("p_anytime", cs.p_anytime()),
    ])
}

fn log_normal_cdf(case: &Case) -> Results {
    named([("log_cdf", stats::log_normal_cdf(case.num("x")))])
}

fn srm(case: &Case) -> Results {
    assert_eq!(case.num("concentration"), 1000.0);
    let counts: Vec<u64> = case.list("counts").into_iter().map(|x| x as u64).collect();
    let weights = case.list("weights");
    let mut test = stats::Srm::new(&weights).unwrap();
    for (i, units) in counts.iter().enumerate() {
        test.observe(i, *units);
    }
    test.end_tick();
    let (chi2, p_chi2) = stats::srm::chi_square(&counts, &weights).unwrap();
    named([("log_e", test.log_e()), ("p_anytime", test.p_anytime()), ("chi2", chi2), ("p_chi2", p_chi2)])
}

fn combine_e(case: &Case) -> Results {
    let (log_e, alpha) = (case.list("log_e"), case.num("alpha"));
    let guardrails: Vec<Weighed> = log_e
        .iter()
        .zip(case.list("weights"))
        .map(|(log_e, weight)| Weighed { weight, log_e: *log_e, set: Set::Shared(0) })
        .collect();
    let combined = stats::combine(&guardrails, alpha).unwrap();
    let mut results =
        named([("log_e_combined", combined.log_e), ("rollback", f64::from(u8::from(combined.crossed)))]);
    results.extend(series("individually_flagged", combined.proven.iter().map(|p| f64::from(u8::from(*p)))));
    results.extend(series("e_bh_rejected", stats::ebh(&log_e, alpha).into_iter().map(|i| i as f64)));
    results
}

fn p_adjust(case: &Case) -> Results {
    let p = case.list("p");
    let mut results = series("holm", stats::holm(&p));
    results.extend(series("benjamini_hochberg", stats::bh(&p)));
    results
}

/// The published vectors put the longer side of the step on top (g = 1 − p, h = p); the product's
/// `quantile_log_e` uses g = p, h = 1 − p, for which the expectation is exactly 1 (see the properties).
fn quantile_beta_binomial(case: &Case) -> Results {
    let (p, n, k) = (case.num("p"), case.num("n"), case.num("count_at_or_below"));
    let spread = p * (1.0 - p);
    let mixture = BetaBinomial::tuned(1.0 - p, case.num("t_opt") * spread, case.num("alpha_opt")).unwrap();
    named([("r", mixture.r), ("log_e", mixture.log_e(k - n * p, n * spread))])
}

fn mh_summary(case: &Case) -> Results {
    let mut summary = MhSummary::default();
    for row in case.rows("blocks_nT_kT_nC_kC") {
        summary.close_rate(rate_block(&row)).unwrap();
    }
    let shown = summary.estimate().unwrap();
    named([
        ("difference", shown.difference),
        ("se", shown.se),
        ("ratio", shown.ratio.unwrap()),
        ("weight", shown.weight),
    ])
}

fn merge_moments(case: &Case) -> Results {
    let of = |name: &str| {
        let mut moments = Moments::default();
        case.list(name).into_iter().for_each(|y| moments.push(y));
        moments
    };
    let (a, b) = (of("a"), of("b"));
    let mut both = a;
    both.merge(&b);
    let mut results = named([("n", both.n() as f64), ("mean", both.mean()), ("m2", both.m2())]);
    results.extend(series("a", [a.n() as f64, a.mean(), a.m2()]));
    results.extend(series("b", [b.n() as f64, b.mean(), b.m2()]));
    results
}

fn ddsketch(case: &Case) -> Results {
    let mut sketch = DdSketch::new(case.num("relative_accuracy")).unwrap();
    case.list("values").into_iter().for_each(|y| sketch.add(y).unwrap());
    let mut results = named([("n_buckets", sketch.buckets() as f64)]);
    for p in case.expected["quantiles"].as_object().expect("quantiles").keys() {
        results.push((format!("quantiles.{p}"), sketch.quantile(p.parse().unwrap()).unwrap()));
    }
    results
}

fn flatten(prefix: &str, value: &Value, into: &mut Results) {
    match value {
        Value::Number(n) => into.push((prefix.to_owned(), n.as_f64().expect("a float"))),
        Value::Bool(b) => into.push((prefix.to_owned(), f64::from(u8::from(*b)))),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{i}]"), item, into);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, item, into);
            }
        }
        Value::Null | Value::String(_) => panic!("{prefix}: not a number"),
    }
}

/// The largest deviation of a case, relative to max(1, |expected|), and where; an error when the names of
/// the results are not those expected.
fn deviation(actual: &Results, expected: &Value) -> Result<(f64, String), String> {
    let mut wanted = Results::new();
    flatten("", expected, &mut wanted);
    let actual: BTreeMap<&str, f64> = actual.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    if actual.len() != wanted.len() {
        return Err(format!("{} results instead of {}", actual.len(), wanted.len()));
    }
    let mut worst = (0.0, String::new());
    for (name, value) in &wanted {
        let got = *actual.get(name.as_str()).ok_or_else(|| format!("no result {name}"))?;
        let off = (got - value).abs() / value.abs().max(1.0);
        if off.is_nan() {
            return Err(format!("{name} is {got}"));
        }
        if off > worst.0 {
            worst = (off, name.clone());
        }
    }
    Ok(worst)
}

/// The vectors that belong to this version.
pub(crate) const OURS: &str = include_str!("../data/statistics-vectors.json");

/// What became of one case.
pub(crate) enum Judged {
    /// The farthest result, relative to max(1, |expected|), where it is, and whether that is within the
    /// case's tolerance.
    Off { off: f64, at: String, ok: bool },
    /// It could not be compared.
    Failed(String),
    /// Its method is not built yet.
    Waiting,
}

/// One case that was run or passed over.
pub(crate) struct Done {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) judged: Judged,
}

/// Runs every case of a file of vectors.
pub(crate) fn run(file: &str) -> Vec<Done> {
    let file: Value = serde_json::from_str(file).expect("the vectors are JSON");
    let text = |case: &Value, name: &str| case[name].as_str().expect("a string").to_owned();
    let cases = file["cases"].as_array().expect("a list of cases");
    let case = |case: &Value| Case {
        id: text(case, "id"),
        method: text(case, "method"),
        rel_tol: case["rel_tol"].as_f64().expect("a tolerance"),
        inputs: case["inputs"].clone(),
        expected: case["expected"].clone(),
    };
    cases.iter().map(case).map(judge).collect()
}

fn judge(case: Case) -> Done {
    let judged = match METHODS.iter().find(|(method, _)| *method == case.method) {
        None => Judged::Waiting,
        Some((_, run)) => std::panic::catch_unwind(|| run(&case))
            .map_err(|_| "it panicked".to_owned())
            .and_then(|results| deviation(&results, &case.expected))
            .map_or_else(Judged::Failed, |(off, at)| Judged::Off { off, at, ok: off <= case.rel_tol }),
    };
    Done { id: case.id, method: case.method, judged }
}
