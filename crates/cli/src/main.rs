//! The `ensign` command: the composition root of the server and the person's tool.

mod agent;
mod args;
mod call;
mod client;
mod demo;
mod doctor;
mod files;
mod import;
mod local;
mod receipts;
mod serve;
mod settings;
mod show;
mod watch;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use serde_json::{Value, json};

use crate::args::{Backup, Cli, Command, Receipts, Rollout};
use crate::client::{Client, Failed};
use crate::settings::Env;
use crate::show::Show;

/// How a command ended: 0 done, 1 refused or unsafe, 2 usage.
pub(crate) enum End {
    Done,
    Refused,
    Usage,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let env = Env::read();
    // One TLS implementation for every client of the process; that one is set already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("ensign: no runtime: {why}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run(&cli, &env)) {
        End::Done => ExitCode::SUCCESS,
        End::Refused => ExitCode::from(1),
        End::Usage => ExitCode::from(2),
    }
}

async fn run(cli: &Cli, env: &Env) -> End {
    match &cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "ensign", &mut std::io::stdout());
            End::Done
        }
        Command::Reference => {
            print(&local::reference());
            End::Done
        }
        Command::Lint(lint) => local::lint(lint, cli.target.json),
        Command::Import(args::Import::Launchdarkly(file)) => import::launchdarkly(cli, env, file).await,
        Command::Serve(serve) => serve::run(serve, env, cli.target.json).await,
        Command::Agent(agent) => agent::run(agent, &cli.target, env).await,
        Command::Demo(demo) => demo::run(demo, cli.target.json).await,
        Command::Receipts(Receipts::Verify { what }) => receipts::verify(cli, env, what).await,
        Command::Backup(Backup::Restore { from, data }) => local::restore(from, data, cli.target.json),
        Command::Doctor => doctor::run(cli, env).await,
        Command::Rollout(Rollout::Watch(named)) => watched(cli, env, &named.flag).await,
        command => match call::of(command, &cli.target) {
            Ok(Some(call)) => remote(cli, env, &call).await,
            Ok(None) => End::Usage,
            Err(why) => fail(cli.target.json, &why, End::Usage),
        },
    }
}

/// Follows a rollout until it is over.
async fn watched(cli: &Cli, env: &Env, flag: &str) -> End {
    let json = cli.target.json;
    let client = match settings::server(&cli.target, env).and_then(Client::new) {
        Ok(client) => client,
        Err(why) => return fail(json, &why, End::Refused),
    };
    let path = format!(
        "/api/v1/projects/{}/environments/{}/rollouts/{}",
        call::segment(&cli.target.project),
        call::segment(&cli.target.environment),
        call::segment(flag)
    );
    match watch::follow(&client, &path, watch::Style::of(json, false), "").await {
        Ok(_) => End::Done,
        Err(failed) => failure(json, failed),
    }
}

/// Says why there is no answer.
pub(crate) fn failure(json: bool, failed: Failed) -> End {
    match failed {
        Failed::Broken(why) => fail(json, &why, End::Refused),
        Failed::Refused(problem) if json => {
            print(&(problem.to_string() + "\n"));
            End::Refused
        }
        Failed::Refused(problem) => {
            eprint!("{}", show::problem(&problem));
            End::Refused
        }
    }
}

/// Sends a command's request and shows the answer.
async fn remote(cli: &Cli, env: &Env, call: &call::Call) -> End {
    let client = match settings::server(&cli.target, env).and_then(Client::new) {
        Ok(client) => client,
        Err(why) => return fail(cli.target.json, &why, End::Refused),
    };
    match client.send(call.method, &call.path, call.body.as_ref()).await {
        Ok(answer) => show_answer(cli.target.json, &call.show, &answer),
        Err(failed) => failure(cli.target.json, failed),
    }
}

fn show_answer(json: bool, show: &Show, answer: &Value) -> End {
    if let (Show::Files(Some(folder)), false) = (show, json) {
        return match write_files(folder, answer) {
            Ok(count) => {
                print(&format!("{count} files written to {}.\n", folder.display()));
                End::Done
            }
            Err(why) => fail(json, &why, End::Refused),
        };
    }
    print(&if json { answer.to_string() + "\n" } else { show::render(show, answer) });
    End::Done
}

fn write_files(folder: &Path, answer: &Value) -> Result<usize, String> {
    std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let mut count = 0;
    for file in answer["files"].as_array().into_iter().flatten() {
        let (Some(name), Some(text)) = (file["name"].as_str(), file["text"].as_str()) else { continue };
        // A server's answer never decides where on this disk a file goes.
        let Some(name) = Path::new(name).file_name() else { continue };
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))?;
        count += 1;
    }
    Ok(count)
}

/// Prints to standard output; a reader that went away is no error.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Says why a command did not work.
pub(crate) fn fail(json: bool, why: &str, end: End) -> End {
    if json {
        print(&format!("{}\n", json!({"code": "failed", "detail": why})));
    } else {
        eprintln!("ensign: {why}");
    }
    end
}
