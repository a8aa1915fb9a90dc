//! Commands that need no server: lint, bringing a backup back, the reference page.

use std::fmt::Write as _;

use std::path::Path;

use clap::CommandFactory as _;
use ensign_store::{Micros, backup};

use crate::args::Cli;
use crate::{End, fail, print};

/// Makes a new data folder from a backup.
pub(crate) fn restore(from: &Path, data: &Path, json: bool) -> End {
    let now = ensign_server::Clock::system().now();
    match backup::restore(from, data, Micros(now.0), "cli") {
        Ok(()) if json => print(&format!("{}\n", serde_json::json!({"restored": data}))),
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
    let _ = write!(out, "\n## `{name}`\n\n{about}.\n");
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
