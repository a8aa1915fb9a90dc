//! Commands that need no server: lint, bringing a backup back, the reference page.

use std::fmt::Write as _;

use std::path::Path;

use clap::CommandFactory as _;
use ensign_control::catalogue::Source;
use ensign_control::lint::{self, Finding, Severity};
use ensign_protocol::launchdarkly::notes;
use ensign_store::{Micros, backup};
use serde_json::json;

use crate::args::{Cli, Lint};
use crate::{End, fail, files, print};

/// Checks files and shows every finding.
pub(crate) fn lint(lint: &Lint, json: bool) -> End {
    let files = match files::read(&lint.paths) {
        Ok(files) => files,
        Err(why) => return fail(json, &why, End::Usage),
    };
    let count = files.len();
    let sources: Vec<Source> =
        files.into_iter().map(|file| Source { name: file.name, text: file.text.into_bytes() }).collect();
    let now = ensign_server::Clock::system().now();
    let mut findings = lint::lint(&sources, now);
    findings.extend(launchdarkly(&lint::compiled(&sources, now)));
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    if json {
        print(&format!("{}\n", json!({"files": count, "errors": errors, "findings": findings})));
    } else {
        print(&format!(
            "{}: {}, {}.\n",
            counted(count, "file"),
            counted(errors, "error"),
            counted(warnings, "warning")
        ));
        for finding in &findings {
            print(&line(finding));
        }
    }
    if errors > 0 || (lint.strict && warnings > 0) { End::Refused } else { End::Done }
}

/// What LaunchDarkly's SDKs would not get, or not as it is.
fn launchdarkly(compiled: &lint::Compiled) -> Vec<Finding> {
    let mut findings = Vec::new();
    for definitions in &compiled.definitions {
        for note in notes(definitions) {
            let finding = Finding {
                code: note.code.to_owned(),
                severity: if note.is_subtle() { Severity::Note } else { Severity::Warning },
                source: compiled.sources.get(&format!("{}/{}", note.kind, note.key)).cloned(),
                pointer: String::new(),
                mark: None,
                sentence: note.sentence,
                hint: None,
            };
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

/// `1 file`, `2 files`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `file:line:column: severity: sentence [code]`, as editors and CI systems read it, with the hint below.
fn line(finding: &Finding) -> String {
    let mut out = finding.source.clone().unwrap_or_default();
    if let Some(mark) = finding.mark {
        let _ = write!(out, ":{}:{}", mark.line, mark.column);
    } else if !finding.pointer.is_empty() {
        let _ = write!(out, ": {}", finding.pointer);
    }
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let _ = writeln!(out, ": {severity}: {} [{}]", finding.sentence, finding.code);
    if let Some(hint) = &finding.hint {
        let _ = writeln!(out, "  {hint}");
    }
    out
}

/// Makes a new data folder from a backup.
pub(crate) fn restore(from: &Path, data: &Path, json: bool) -> End {
    let now = ensign_server::Clock::system().now();
    match backup::restore(from, data, Micros(now.0), "cli") {
        Ok(()) if json => print(&format!("{}\n", json!({"restored": data}))),
        Ok(()) => print(&format!(
            "Restored into {0}. Revisions continue a million above the copy's.\nNext: ensign serve --data {0}\n",
            data.display()
        )),
        Err(fault) => return fail(json, &fault.inward, End::Refused),
    }
    End::Done
}

/// Every command with its arguments, as the Markdown of `docs/reference/cli.md`.
pub(crate) fn reference() -> String {
    let mut out = String::from(
        "# Command line\n\n\
         Made by `ensign reference`; a test compares this page with the program.\n\n\
         Every command has `--json`. Exit codes: 0 done, 1 refused or unsafe, 2 usage.\n",
    );
    let mut root = Cli::command();
    root.build();
    section(&root, "ensign", &mut out);
    out
}

fn section(command: &clap::Command, name: &str, out: &mut String) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(out, "\n## `{name}`\n\n{}.\n", about.trim_end_matches('.'));
    let arguments: Vec<&clap::Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
        .filter(|arg| name == "ensign" || !arg.is_global_set())
        .collect();
    if !arguments.is_empty() {
        out.push_str("\n| argument | |\n|---|---|\n");
    }
    for arg in arguments {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | {help} |", usage(arg).replace('|', "\\|"));
    }
    for below in command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
        section(below, &format!("{name} {}", below.get_name()), out);
    }
}

fn usage(arg: &clap::Arg) -> String {
    let values = arg.get_value_names().map(|names| names.join("> <")).filter(|_| takes_value(arg));
    match (arg.get_long(), values) {
        (Some(long), Some(values)) => format!("--{long} <{values}>"),
        (Some(long), None) => format!("--{long}"),
        (None, _) => format!("<{}>", arg.get_id().as_str().to_uppercase()),
    }
}

fn takes_value(arg: &clap::Arg) -> bool {
    arg.get_action().takes_values()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_page_is_what_the_program_says() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
        let written = std::fs::read_to_string(&page).unwrap_or_default();
        assert!(
            written == super::reference(),
            "docs/reference/cli.md is out of date; run `cargo run -q -- reference > docs/reference/cli.md`"
        );
    }
}
