//! The command: reads its arguments, runs the simulation, prints the table.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use ensign_sim::rows::{ALL, Ask};

const HELP: &str = "\
Simulates rollouts and prints what the guard does, against its floors and goals.

Usage: ensign-sim [--quick] [--only S4,S7] [--seed N] [--json] [--threads N]

  --quick      fewer repetitions, wider lines; at most two minutes on two cores
  --only IDS   only these rows
  --seed N     another seed (default 1); the same seed gives the same table
  --json       the table as JSON
  --threads N  worker threads (default 2); they do not change the figures

Exits with 1 if a floor is broken and with 2 if the arguments are wrong.";

struct Args {
    quick: bool,
    only: Vec<String>,
    seed: u64,
    json: bool,
    threads: usize,
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut args = Args { quick: false, only: Vec::new(), seed: 1, json: false, threads: 2 };
    while let Some(arg) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--quick" => args.quick = true,
            "--json" => args.json = true,
            "--only" => args.only.extend(value()?.split(',').map(|id| id.trim().to_owned())),
            "--seed" => args.seed = value()?.parse().map_err(|_| "a seed is a whole number".to_owned())?,
            "--threads" => {
                args.threads = value()?.parse().map_err(|_| "threads are a whole number".to_owned())?;
            }
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other} is not an argument")),
        }
    }
    let unknown = args.only.iter().find(|name| !ALL.iter().any(|(id, _)| id.eq_ignore_ascii_case(name)));
    match unknown {
        Some(name) => {
            let known: Vec<&str> = ALL.iter().map(|(id, _)| *id).collect();
            Err(format!("there is no row {name}; there are {}", known.join(", ")))
        }
        None => Ok(Some(args)),
    }
}

/// Seconds this thread has had a processor, where the system says so: other programs do not count.
fn on_processor() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the edge of the process: times are measured here")]
    let begin = Instant::now();
    let clock = || begin.elapsed().as_secs_f64();
    let worked = || on_processor().unwrap_or_else(clock);
    let ask = Ask {
        quick: args.quick,
        scale: 1.0,
        seed: args.seed,
        threads: args.threads,
        progress: std::io::stderr().is_terminal(),
        clock: Some(&worked),
    };
    let report = ensign_sim::run(&ask, &args.only);
    if args.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text());
        println!("\n{:.0} s on {} threads.", clock(), args.threads);
    }
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
