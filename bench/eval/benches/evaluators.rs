//! All evaluators in one run, and at the end how much faster Ensign is than the fastest of the others.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion};
use ensign_bench_eval::{CASES, Case, USER_KEY, ensign, keys, others};
use ensign_eval::{Indexed, Pairs, Silent, evaluate};
use eppo_core::eval::get_assignment;
use growthbook_rust::client::GrowthBookClientTrait;

const SIZES: [usize; 2] = [1, 500];
const OURS: [&str; 3] = ["ensign pairs", "ensign indexed", "ensign indexed, handle"];
const OTHERS: [&str; 4] = ["launchdarkly 2.2.1", "eppo_core 10.0.0", "yggdrasil 0.21.7", "growthbook 0.4.0"];

/// CPU time of this thread, so that what else the machine does counts as little as possible.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// The keys in turn, so that a large ruleset is not one warm flag.
struct Turn {
    keys: Vec<String>,
    at: usize,
}

impl Turn {
    fn new(count: usize) -> Self {
        Self { keys: keys(count), at: 0 }
    }

    fn next(&mut self) -> &str {
        self.at = if self.at + 1 == self.keys.len() { 0 } else { self.at + 1 };
        &self.keys[self.at]
    }
}

fn ours(group: &mut BenchmarkGroup<'_, CpuTime>, case: Case, count: usize, expected: &str) {
    let ruleset = ensign::ruleset(count);
    let facts = ensign::pairs(case);
    let pairs = Pairs::new(USER_KEY, &facts);
    let indexed = Indexed::new(ruleset.attribute_names(), USER_KEY, &facts);
    let mut turn = Turn::new(count);
    let check = evaluate(&ruleset, turn.next(), &pairs, &mut Silent);
    let served = check.value.unwrap().to_string();
    assert!(expected.split(' ').any(|e| e == served), "{served}");
    group.bench_function(OURS[0], |b| {
        b.iter(|| evaluate(&ruleset, black_box(turn.next()), black_box(&pairs), &mut Silent))
    });
    group.bench_function(OURS[1], |b| {
        b.iter(|| evaluate(&ruleset, black_box(turn.next()), black_box(&indexed), &mut Silent))
    });
    let handles: Vec<_> = keys(count).iter().map(|key| ruleset.flag(key).unwrap()).collect();
    let mut at = 0;
    group.bench_function(OURS[2], |b| {
        b.iter(|| {
            at = if at + 1 == handles.len() { 0 } else { at + 1 };
            ruleset.evaluate(black_box(handles[at]), black_box(&indexed), &mut Silent)
        })
    });
}

fn theirs(group: &mut BenchmarkGroup<'_, CpuTime>, case: Case, count: usize, expected: &str) {
    let is_expected = |served: &str| assert!(expected.split(' ').any(|e| e == served), "{served}");
    let mut turn = Turn::new(count);

    let store = others::launchdarkly(count);
    let context = others::launchdarkly_context(case);
    let detail =
        launchdarkly_server_sdk_evaluation::evaluate(&store, &store.flags[turn.next()], &context, None);
    is_expected(detail.value.unwrap().as_string().unwrap().as_str());
    group.bench_function(OTHERS[0], |b| {
        b.iter(|| {
            let flag = &store.flags[black_box(turn.next())];
            launchdarkly_server_sdk_evaluation::evaluate(&store, flag, black_box(&context), None)
        })
    });

    let configuration = others::eppo(count);
    let attributes = others::eppo_attributes(case);
    let user = USER_KEY.into();
    let now = chrono::Utc::now();
    let assign = |key: &str| {
        get_assignment(
            Some(black_box(&configuration)),
            black_box(key),
            &user,
            black_box(&attributes),
            None,
            now,
        )
    };
    let value = assign(turn.next()).unwrap().unwrap().value;
    is_expected(value.as_str().unwrap());
    group.bench_function(OTHERS[1], |b| b.iter(|| assign(turn.next())));

    let engine = others::unleash(count);
    let context = others::unleash_context(case);
    let name = engine.get_variant(turn.next(), &context, &None).name;
    is_expected(if name == "disabled" { "off" } else { &name });
    group.bench_function(OTHERS[2], |b| {
        b.iter(|| engine.get_variant(black_box(turn.next()), black_box(&context), &None))
    });

    let client = others::growthbook(count);
    let attributes = others::growthbook_attributes(case);
    is_expected(client.feature_result(turn.next(), Some(attributes.clone())).value.as_str().unwrap());
    group.bench_function(OTHERS[3], |b| {
        b.iter(|| client.feature_result(black_box(turn.next()), Some(black_box(&attributes).clone())))
    });
}

/// Best and median nanoseconds of one row, as criterion has just written them.
fn measured(folder: &Path, group: &str, row: &str) -> (f64, f64) {
    let path = folder.join(group).join(row).join("new/sample.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let numbers =
        |name: &str| json[name].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<_>>();
    let mut each: Vec<f64> =
        numbers("times").iter().zip(numbers("iters")).map(|(time, n)| time / n).collect();
    each.sort_by(f64::total_cmp);
    (each[0], each[each.len() / 2])
}

fn main() {
    let folder = PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
        .join("criterion");
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .output_directory(&folder)
        .without_plots()
        .warm_up_time(Duration::from_millis(400))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(60)
        .configure_from_args();
    for count in SIZES {
        for (case, name) in CASES {
            let mut group = criterion.benchmark_group(format!("{name}-{count}"));
            let expected = match case {
                Case::Early => "a",
                Case::Split => "a b c",
                Case::None => "off",
            };
            ours(&mut group, case, count, expected);
            theirs(&mut group, case, count, expected);
            group.finish();
        }
    }
    println!(
        "\nnanoseconds of CPU per evaluation, best (median); at the end: how many times faster than the fastest other\n"
    );
    println!("{:<28}{}", "", CASES.map(|(_, n)| format!("{n:>18}")).concat().repeat(SIZES.len()));
    println!("{:<28}{}", "flags", SIZES.map(|n| format!("{n:>18}").repeat(3)).concat());
    let groups: Vec<String> =
        SIZES.iter().flat_map(|count| CASES.iter().map(move |(_, name)| format!("{name}-{count}"))).collect();
    for row in OTHERS.iter().chain(&OURS) {
        let cell = |group: &String| {
            let (best, median) = measured(&folder, group, row);
            format!("{:>18}", format!("{best:.0} ({median:.0})"))
        };
        println!("{row:<28}{}", groups.iter().map(cell).collect::<String>());
    }
    for row in OURS {
        let cell = |group: &String| {
            let others = OTHERS.iter().map(|other| measured(&folder, group, other).0);
            let ratio = others.fold(f64::INFINITY, f64::min) / measured(&folder, group, row).0;
            format!("{:>18}", format!("{ratio:.1}x"))
        };
        println!("{:<28}{}", format!("{row}: faster by"), groups.iter().map(cell).collect::<String>());
    }
}
