//! Counts instructions per evaluation under callgrind: a figure that does not depend on the machine's load.

use std::path::Path;
use std::process::Command;

use crate::{Done, cargo, output, strict};

/// The record: how far a count may lie above its figure, then one `name = instructions` line per scenario.
const RECORD: &str = "crates/eval/callgrind.toml";

/// Runs every recorded scenario at two lengths; the difference is the cost of the evaluations alone.
pub(crate) fn run(root: &Path) -> Done {
    if output(Command::new("valgrind").arg("--version")).is_err() {
        let missing = "valgrind is not installed (Debian: apt-get install valgrind)";
        if strict() {
            return Err(missing.into());
        }
        eprintln!("callgrind: not run: {missing}");
        return Ok(());
    }
    cargo(
        root,
        &["build", "--quiet", "--locked", "--release", "--package", "ensign-eval", "--example", "callgrind"],
    )?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let program = target.join("release/examples/callgrind");
    let record = std::fs::read_to_string(root.join(RECORD)).map_err(|why| format!("{RECORD}: {why}"))?;
    let (mut over, mut slack) = (Vec::new(), 1.0);
    for line in record.lines().filter(|line| !line.trim_start().starts_with(['#', '['])) {
        let Some((name, expected)) = line.split_once('=') else { continue };
        let (name, expected) = (name.trim(), expected.trim());
        let expected: f64 =
            expected.parse().map_err(|_| format!("{RECORD}: `{expected}` is not a number"))?;
        if name == "tolerance_percent" {
            slack += expected / 100.0;
            continue;
        }
        let count =
            (instructions(&program, name, 20_000)? - instructions(&program, name, 10_000)?) / 10_000.0;
        println!("{name}: {count:.0} instructions per evaluation (recorded {expected:.0})");
        if count > expected * slack {
            over.push(format!("{name}: {count:.0} against {expected:.0}"));
        }
    }
    if over.is_empty() {
        return Ok(());
    }
    Err(format!("more instructions than recorded in {RECORD}: {}", over.join("; ")))
}

fn instructions(program: &Path, name: &str, times: u32) -> Result<f64, String> {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        .output()
        .map_err(|why| format!("valgrind: {why}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    said.lines()
        .find_map(|line| line.split_once("Collected : ").and_then(|(_, n)| n.trim().parse().ok()))
        .ok_or_else(|| format!("callgrind gave no count for {name}:\n{said}"))
}
