//! The rules of the repository that a compiler does not know: who may depend on whom, how long a file may
//! be, that every module opens with a sentence, that documentation agrees with the code.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::{Done, output};

/// Soft and hard limit of a source file, in lines.
const FILE_LINES: (usize, usize) = (400, 600);

/// Our own crates that each crate may name in `[dependencies]`. The order is the order of the layers.
const LAYERS: &[(&str, &[&str])] = &[
    ("ensign-eval", &[]),
    ("ensign-stats", &[]),
    ("ensign-schema", &[]),
    ("ensign-control", &["ensign-eval", "ensign-stats", "ensign-schema"]),
    ("ensign-protocol", &["ensign-eval", "ensign-control"]),
    ("ensign-store", &[]),
    ("ensign-server", &["ensign-eval", "ensign-stats", "ensign-control", "ensign-protocol", "ensign-store"]),
    ("ensign-sdk", &["ensign-eval", "ensign-control", "ensign-protocol"]),
    ("ensign-openfeature", &["ensign-eval", "ensign-protocol", "ensign-sdk"]),
    ("ensign-sim", &["ensign-eval", "ensign-stats", "ensign-control"]),
    ("ensign-cli", &["ensign-eval", "ensign-control", "ensign-protocol", "ensign-store", "ensign-server"]),
    ("ensign-xtask", &[]),
];

/// Crates that compute and never touch the world.
const PURE: &[&str] = &["ensign-eval", "ensign-stats", "ensign-schema", "ensign-control", "ensign-protocol"];

/// What a pure crate may not reach, however far down: a clock, a socket, a disk or a source of randomness.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "hyper",
    "reqwest",
    "ureq",
    "axum",
    "tonic",
    "rusqlite",
    "tokio-postgres",
    "rand",
    "fastrand",
    "tempfile",
    "rustix",
    "nix",
    "tracing-subscriber",
    "uuid",
    "notify",
];

/// Runs every check and reports all that is wrong at once.
pub(crate) fn run(root: &Path) -> Done {
    let mut wrong = Vec::new();
    let mut near = Vec::new();
    layers(root, &mut wrong)?;
    let files = tracked(root)?;
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        if file.extension().is_some_and(|it| it == "rs") {
            source(file, &text, &mut wrong, &mut near);
        }
        if file.extension().is_some_and(|it| it == "md") {
            links(root, file, &text, &mut wrong);
        }
    }
    for line in &near {
        eprintln!("note: {line}");
    }
    if wrong.is_empty() {
        eprintln!("tidy: {} files, nothing wrong", files.len());
        return Ok(());
    }
    let mut all = format!("{} things to mend", wrong.len());
    for line in wrong {
        let _ = write!(all, "\n  {line}");
    }
    Err(all)
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>, String> {
    let listed = output(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root),
    )?;
    Ok(listed.lines().map(PathBuf::from).filter(|file| root.join(file).is_file()).collect())
}

/// Checks the arrows between our crates, and that nothing impure lies beneath a pure one.
fn layers(root: &Path, wrong: &mut Vec<String>) -> Done {
    for (name, allowed) in LAYERS {
        let tree = |extra: &[&str]| {
            output(
                Command::new(env!("CARGO"))
                    .args([
                        "tree",
                        "--locked",
                        "--edges",
                        "normal",
                        "--prefix",
                        "none",
                        "--format",
                        "{p}",
                        "--package",
                        name,
                    ])
                    .args(extra)
                    .current_dir(root),
            )
        };
        let direct = tree(&["--depth", "1"])?;
        for crate_name in direct.lines().skip(1).filter_map(|line| line.split(' ').next()) {
            if crate_name.starts_with("ensign-") && !allowed.contains(&crate_name) {
                wrong.push(format!(
                    "crates/{}/Cargo.toml: {name} may not depend on {crate_name}; the layers are in crates/xtask/src/tidy.rs",
                    name.trim_start_matches("ensign-")
                ));
            }
        }
        if PURE.contains(name) {
            for crate_name in tree(&[])?.lines().filter_map(|line| line.split(' ').next()) {
                if IMPURE.contains(&crate_name) {
                    wrong.push(format!(
                        "{name} computes and never touches the world, but reaches {crate_name}; see `cargo tree -p {name} -i {crate_name}`"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A path that a file writes relative to itself stays inside the project: the project stands alone.
fn stays(file: &Path, target: &str) -> bool {
    let mut depth = file.components().count() as i64 - 1;
    for part in Path::new(target).components() {
        depth += match part {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            Component::CurDir => 0,
            Component::RootDir | Component::Prefix(_) => return false,
        };
        if depth < 0 {
            return false;
        }
    }
    true
}

fn source(file: &Path, text: &str, wrong: &mut Vec<String>, near: &mut Vec<String>) {
    let lines = text.lines().count();
    let (soft, hard) = FILE_LINES;
    if lines > hard {
        wrong.push(format!(
            "{}: {lines} lines (limit {hard}). Split it by what changes together.",
            file.display()
        ));
    } else if lines > soft {
        near.push(format!("{}: {lines} lines (soft limit {soft})", file.display()));
    }
    let in_src = file.components().any(|part| part.as_os_str() == "src");
    if in_src && !text.trim_start_matches("#![").trim_start().starts_with("//!") && !text.contains("\n//! ") {
        wrong.push(format!("{}: open the module with a `//!` sentence that says what it is", file.display()));
    }
    for (at, line) in text.lines().enumerate() {
        for target in line.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !stays(file, target) {
                wrong.push(format!(
                    "{}:{}: {target} is outside the project: bring it in",
                    file.display(),
                    at + 1
                ));
            }
        }
    }
    let pure = PURE
        .iter()
        .any(|name| file.starts_with(format!("crates/{}/src", name.trim_start_matches("ensign-"))));
    if pure && text.contains("clippy::disallowed_methods") {
        wrong.push(format!(
            "{}: a pure crate takes time, ids and settings as arguments, without exception",
            file.display()
        ));
    }
}

/// Every relative link of a page leads to a file.
fn links(root: &Path, file: &Path, text: &str, wrong: &mut Vec<String>) {
    let folder = file.parent().unwrap_or(Path::new(""));
    for (at, line) in text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let Some(target) = part.split(')').next() else { continue };
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !stays(file, target) {
                wrong.push(format!("{}:{}: {target} is outside the project", file.display(), at + 1));
            } else if !root.join(folder).join(target).exists() {
                wrong.push(format!("{}:{}: the link to {target} leads nowhere", file.display(), at + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_climb_to_the_root_and_no_further() {
        for (file, target, inside) in [
            ("README.md", "docs/adr", true),
            ("docs/guides/a.md", "../../README.md", true),
            ("docs/guides/a.md", "../../../other/README.md", false),
            ("README.md", "docs/../../other", false),
            ("README.md", "/etc/hosts", false),
        ] {
            assert_eq!(stays(Path::new(file), target), inside, "{file} {target}");
        }
    }
}
