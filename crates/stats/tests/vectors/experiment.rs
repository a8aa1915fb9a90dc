//! The experiment methods of the vectors.

use ensign_stats::experiment as ex;
use ensign_stats::{Moments, PairMoments, predict};

use super::{Case, Results, named, series};

fn moments(values: &[f64]) -> Moments {
    let mut moments = Moments::default();
    values.iter().for_each(|y| moments.push(*y));
    moments
}

fn pairs(x: &[f64], y: &[f64]) -> PairMoments {
    assert_eq!(x.len(), y.len());
    let mut moments = PairMoments::default();
    x.iter().zip(y).for_each(|(x, y)| moments.push(*x, *y));
    moments
}

fn both(name: &str, (low, high): (f64, f64)) -> Results {
    series(name, [low, high])
}

pub(super) fn welch(case: &Case) -> Results {
    let (new, control) = (moments(&case.list("treatment")), moments(&case.list("control")));
    let alpha = case.num("alpha");
    let (d, r) = (ex::welch(&new, &control).unwrap(), ex::relative_lift(&new, &control).unwrap());
    let mut results = named([
        ("mean_control", control.mean()),
        ("mean_treatment", new.mean()),
        ("difference", d.estimate),
        ("se", d.se),
        ("df", d.df),
        ("t", d.t()),
        ("p_two_sided", d.p()),
        ("relative", r.estimate),
        ("relative_se", r.se),
        ("relative_p", r.p()),
    ]);
    results.extend(both("ci95", d.interval(alpha)));
    results.extend(both("relative_ci95", r.interval(alpha)));
    results
}

pub(super) fn ratio_delta(case: &Case) -> Results {
    let control = pairs(&case.list("control_den"), &case.list("control_num"));
    let new = pairs(&case.list("treatment_den"), &case.list("treatment_num"));
    let d = ex::ratio_difference(&new, &control).unwrap();
    named([
        ("ratio_control", ex::ratio(&control).unwrap().0),
        ("ratio_treatment", ex::ratio(&new).unwrap().0),
        ("difference", d.estimate),
        ("se", d.se),
        ("df", d.df),
        ("p_two_sided", d.p()),
    ])
}

pub(super) fn cuped(case: &Case) -> Results {
    let control = pairs(&case.list("control_pre"), &case.list("control_post"));
    let new = pairs(&case.list("treatment_pre"), &case.list("treatment_post"));
    let (theta, d) = ex::cuped(&new, &control).unwrap();
    named([("theta", theta), ("difference", d.estimate), ("se", d.se), ("df", d.df), ("p_two_sided", d.p())])
}

pub(super) fn proportions(case: &Case) -> Results {
    let new = (case.num("x_treatment") as u64, case.num("n_treatment") as u64);
    let control = (case.num("x_control") as u64, case.num("n_control") as u64);
    let alpha = case.num("alpha");
    let (log_rr, se) = ex::log_risk_ratio(new, control).unwrap();
    let reach = ensign_stats::special::normal_quantile(1.0 - alpha / 2.0) * se;
    let difference = new.0 as f64 / new.1 as f64 - control.0 as f64 / control.1 as f64;
    let mut results =
        named([("difference", difference), ("log_risk_ratio_corrected", log_rr), ("log_risk_ratio_se", se)]);
    results.extend(both("wilson_treatment", ex::wilson(new.0, new.1, alpha).unwrap()));
    results.extend(both("wilson_control", ex::wilson(control.0, control.1, alpha).unwrap()));
    results.extend(both("newcombe", ex::newcombe(new, control, alpha).unwrap()));
    results.extend(both("risk_ratio_ci95", ((log_rr - reach).exp(), (log_rr + reach).exp())));
    results
}

pub(super) fn quantile_se(case: &Case) -> Results {
    let (n, p) = (case.num("n") as u64, case.num("p"));
    let (low, high) = ex::quantile_se_ranks(n, p).unwrap();
    let se = ex::quantile_se(n, case.num("lower"), case.num("upper"));
    let units = PairMoments::from_sums(
        case.num("n_clusters") as u64,
        [case.num("denominator_sum"), case.num("main_sum")],
        [
            case.num("denominator_sum_squares"),
            case.num("main_sum_squares"),
            case.num("main_denominator_sum_product"),
        ],
    );
    let factor = ex::quantile_cluster_factor(&units, n, p).unwrap();
    named([
        ("se_iid", se),
        ("se_clustered", se * factor),
        ("lower_rank", low as f64),
        ("upper_rank", high as f64),
    ])
}

pub(super) fn bayes_normal(case: &Case) -> Results {
    let view = ex::posterior(
        case.num("relative_estimate"),
        case.num("relative_se"),
        case.num("prior_mean"),
        case.num("prior_sd"),
    )
    .unwrap();
    let reach = ensign_stats::special::normal_quantile(0.975) * view.sd;
    let mut results = named([
        ("posterior_mean", view.mean),
        ("posterior_sd", view.sd),
        ("chance_to_beat", view.chance_to_beat),
        ("expected_loss_keep_control", view.loss_keep_control),
        ("expected_loss_ship_treatment", view.loss_ship_new),
    ]);
    results.extend(both("ci95", (view.mean - reach, view.mean + reach)));
    results
}

pub(super) fn bayes_beta(case: &Case) -> Results {
    let prior = case.list("prior");
    let law = |name: &str| {
        let counts = case.list(name);
        ex::Beta { a: (counts[0] + prior[0]) as u64, b: (counts[1] + prior[1]) as u64 }
    };
    let (new, control) = (law("treatment_success_fail"), law("control_success_fail"));
    named([
        ("chance_to_beat", ex::beta_chance(new, control).unwrap()),
        ("expected_loss_ship_treatment", ex::beta_loss_ship_new(new, control).unwrap()),
    ])
}

pub(super) fn sample_size(case: &Case) -> Results {
    let (mde, sd, alpha) = (case.num("mde"), case.num("sd"), case.num("alpha"));
    let (power, k) = (case.num("power"), case.num("control_to_treatment"));
    let (n_new, n_control) = predict::sample_size(mde, sd, alpha, power, k).unwrap();
    named([
        ("n_treatment", n_new),
        ("n_control", n_control),
        ("mde_at_n", predict::mde_at(n_new, sd, alpha, power, k).unwrap()),
        ("cluster_n_treatment_m10_icc02", n_new * predict::design_effect(10.0, 0.2)),
    ])
}
