//! The whole table with very few repetitions: it runs, it repeats itself, and it reads well.

use ensign_sim::report::{Report, Row, Unit, Verdict};
use ensign_sim::rows::Ask;
use ensign_sim::{guards, run};

fn ask(threads: usize) -> Ask<'static> {
    Ask { quick: true, scale: 0.02, seed: 3, threads, progress: false, clock: None }
}

fn only(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn verdict(report: &Report, what: &str) -> Verdict {
    report.rows.iter().find(|row| row.what.contains(what)).expect("the row is there").verdict()
}

#[test]
fn a_few_repetitions_repeat_themselves_on_any_number_of_threads() {
    let ids = only(&["s4", "S5", "S6"]);
    let (one, two) = (run(&ask(1), &ids), run(&ask(2), &ids));
    assert_eq!(one.rows.len(), 5);
    assert_eq!(one, two);
    assert!(one.rows.iter().all(|row| row.value.is_finite() && row.value > 20.0));
}

#[test]
fn the_same_log_gives_the_same_bits_and_the_vectors_agree() {
    let report = run(&ask(2), &only(&["S12", "S13", "S14"]));
    assert!(report.holds(), "{}", report.text());
    assert_eq!(verdict(&report, "differs by a bit"), Verdict::Goal);
}

#[test]
fn a_whole_rollout_of_an_equal_variant_is_not_taken_back() {
    let report = run(&Ask { scale: 0.004, ..ask(2) }, &only(&["S1", "S8"]));
    assert_eq!(report.rows.len(), 4);
    for row in &report.rows {
        assert!(row.beside.starts_with("0 of "), "{}: {}", row.what, row.beside);
    }
    assert!(report.rows[0].note.contains("2 completed"), "{}", report.rows[0].note);
}

#[test]
fn the_table_is_eighty_columns_wide_and_says_what_broke() {
    let row = |value: f64| {
        Row {
            note: "a note that is long enough to need more than one line of eighty columns, so that it is folded".into(),
            ..Row::of_median("S4", "a figure with a long name that is folded", 7, None, Unit::Requests)
        }
        .judged(ensign_sim::report::Lines { floor: 2.0, goal: value })
    };
    let report = Report { quick: true, seed: 1, rows: vec![row(1.0)] };
    let text = report.text();
    assert!(!report.holds());
    assert!(text.starts_with("1 of 1 rows break their floor"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(report.json()["rows"][0]["verdict"], "broken");
}

#[test]
fn the_error_budget_is_given_out_once() {
    let total: f64 = guards::eight().iter().map(|guard| guard.weight).sum();
    assert!((total - 1.0).abs() < 1e-12);
}
