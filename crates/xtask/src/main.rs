//! Repository chores: `cargo xtask test` runs every check, the other words run one of them.
#![expect(clippy::disallowed_methods, reason = "a chore at the process's edge reads its environment")]

mod callgrind;
mod clients;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask test        every check below, in order: what CI runs
cargo xtask tidy        layering, file sizes, module sentences, documentation against code
cargo xtask lint        rustfmt and clippy, warnings denied
cargo xtask unit        the Rust tests of the workspace
cargo xtask simulate    the simulation table, quick form
cargo xtask callgrind   instructions per evaluation against the recorded figures
cargo xtask clients     unmodified clients from their registries against a real server
cargo xtask deny        licences, bans and sources of the dependencies (needs cargo-deny)
";

fn main() -> ExitCode {
    let word = std::env::args().nth(1).unwrap_or_default();
    let root = root();
    let done = match word.as_str() {
        "test" => test(&root),
        "tidy" => tidy::run(&root),
        "lint" => lint(&root),
        "unit" => unit(&root),
        "simulate" => simulate(&root),
        "callgrind" => callgrind::run(&root),
        "clients" => clients::run(&root),
        "deny" => cargo(&root, &["deny", "--offline", "check", "licenses", "bans", "sources"]),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cargo xtask {word}: {why}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), String>;
/// A check by its name.
type Step = (&'static str, fn(&Path) -> Done);

fn test(root: &Path) -> Done {
    let steps: [Step; 6] = [
        ("lint", lint),
        ("tidy", tidy::run),
        ("unit", unit),
        ("simulate", simulate),
        ("callgrind", callgrind::run),
        ("clients", clients::run),
    ];
    for (at, (name, step)) in steps.iter().enumerate() {
        eprintln!("[{}/{}] {name}", at + 1, steps.len());
        step(root).map_err(|why| format!("{name}: {why}"))?;
    }
    eprintln!("all {} checks passed", steps.len());
    Ok(())
}

/// Workspaces of their own.
const OTHERS: [&str; 4] =
    ["bindings/python", "bench/eval", "tests/clients/rust", "tests/clients/openfeature-rust"];

fn lint(root: &Path) -> Done {
    cargo(root, &["fmt", "--all", "--check"])?;
    for folder in OTHERS {
        cargo(&root.join(folder), &["fmt", "--check"])?;
    }
    // A new dependency of our crates belongs in the lock of what is built from them too.
    let metadata = ["metadata", "--locked", "--format-version", "1"];
    output(Command::new(env!("CARGO")).args(metadata).current_dir(root.join("bindings/python")))?;
    cargo(root, &["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

/// Every test runs, however it is marked.
fn unit(root: &Path) -> Done {
    cargo(root, &["test", "--workspace", "--locked", "--", "--include-ignored"])
}

fn simulate(root: &Path) -> Done {
    cargo(root, &["run", "--quiet", "--locked", "--release", "--package", "ensign-sim", "--", "--quick"])
}

/// Runs cargo in `root`, its output passed through.
fn cargo(root: &Path, args: &[&str]) -> Done {
    run(Command::new(env!("CARGO")).args(args).current_dir(root))
}

/// Runs a command to its end; anything but success is an error that shows the command.
fn run(command: &mut Command) -> Done {
    let status = command.status().map_err(|why| format!("{command:?} could not start: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}

/// Runs a command and returns what it printed.
fn output(command: &mut Command) -> Result<String, String> {
    let out = command.output().map_err(|why| format!("{command:?} could not start: {why}"))?;
    if !out.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    String::from_utf8(out.stdout).map_err(|_| format!("{command:?} printed bytes that are not UTF-8"))
}

/// The checkout's top folder: two above this crate.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Whether this is a run that may not leave anything out.
fn strict() -> bool {
    std::env::var_os("CI").is_some()
}
