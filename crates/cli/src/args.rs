//! The words of the command line: every command, its arguments and its help.

mod operate;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use operate::{Audit, Backup, Erase, Keys, Receipts, SecureMode, Switch, Webhook, Window};

const ROOT_HELP: &str = "\
Examples:
  ensign demo                                       a bad model is taken back, a good one rolls out
  ensign serve                                      the server, on 127.0.0.1:7070
  ensign apply flags/                               create or update flags from files
  ensign eval inference_model --context '{\"targetingKey\":\"user-1\"}' --explain
  ensign rollout start inference_model --to claude-sonnet-4-6
  ensign why inference_model                        what happened, in a sentence with its numbers

Exit codes: 0 done, 1 refused or unsafe, 2 usage.";

/// Feature flags for AI model deployment: guarded rollouts that take a bad model back by themselves.
#[derive(Parser, Debug)]
#[command(name = "ensign", version, about = "Feature flags for AI model deployment: guarded rollouts that take a bad model back", after_help = ROOT_HELP, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server, project and environment a command is about.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Target {
    /// The server's address [env: ENSIGN_URL] [default: from the credentials file]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// An access key [env: ENSIGN_TOKEN] [default: from the credentials file]
    #[arg(long, global = true, value_name = "KEY", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The project
    #[arg(long, global = true, default_value = "default", value_name = "KEY")]
    pub(crate) project: String,
    /// The environment
    #[arg(short, long, global = true, default_value = "production", value_name = "KEY")]
    pub(crate) environment: String,
    /// Print JSON for machines instead of sentences
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show the product: a bad model is rolled back, a good one reaches everyone
    Demo(Demo),
    /// Run the server
    Serve(Serve),
    /// Serve configurations to one machine's applications as the AppConfig agent does, also while the server is away
    Agent(Agent),
    /// Create or update flags, segments, metrics and use cases from files
    Apply(Files),
    /// Show what `apply` would change, and change nothing
    Plan(Files),
    /// Write everything back out as files that `apply` accepts
    Export(Export),
    /// Take over flags and segments of another system
    #[command(subcommand)]
    Import(Import),
    /// Check files without a server
    Lint(Lint),
    /// Evaluate a flag for a context
    Eval(Eval),
    /// List, show and change flags
    #[command(subcommand)]
    Flag(Flag),
    /// Plan, start, watch and steer rollouts
    #[command(subcommand)]
    Rollout(Rollout),
    /// Everyone to control, now
    Kill(Kill),
    /// Lift a kill
    Restore(Named),
    /// Stop every rollout of the environment from advancing
    Hold(HoldAll),
    /// What happened to a flag, in a sentence with its numbers
    Why(Named),
    /// Keep a customer or a use case on one variant
    #[command(subcommand)]
    Pin(Pin),
    /// Segments and their members
    #[command(subcommand)]
    Segment(Segment),
    /// Define what is measured
    #[command(subcommand)]
    Metric(Metric),
    /// Use cases: the flags that together decide one AI task
    #[command(subcommand)]
    UseCase(UseCase),
    /// Connected SDK instances: version, revision, last heard, and what is odd about them
    Clients,
    /// Whether browsers must prove that the application vouches for their context
    SecureMode(SecureMode),
    /// Look for what is wrong with the server and with the applications that use it
    Doctor,
    /// The records of automatic decisions
    #[command(subcommand)]
    Receipts(Receipts),
    /// The record of every change
    #[command(subcommand)]
    Audit(Audit),
    /// Access keys
    #[command(subcommand)]
    Keys(Keys),
    /// Who is told about rollbacks, holds and kills
    #[command(subcommand)]
    Webhook(Webhook),
    /// Times in which nothing advances
    #[command(subcommand)]
    Window(Window),
    /// Copy the data while the server runs; bring a copy back
    #[command(subcommand)]
    Backup(Backup),
    /// Forget one unit: its opt-ins, exposures and outcomes
    Erase(Erase),
    /// Print a completion script: `ensign completions bash > /etc/bash_completion.d/ensign`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the reference of all commands as Markdown
    #[command(hide = true)]
    Reference,
}

/// A flag's key.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// The flag
    pub(crate) flag: String,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Print plain lines instead of the live view
    #[arg(long)]
    pub(crate) plain: bool,
    /// Keep the server running afterwards, to look around
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// The data folder [env: ENSIGN_DATA] [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A proxy in front of the server ends TLS; needed to listen beyond loopback
    #[arg(long)]
    pub(crate) behind_proxy: bool,
    /// An origin whose addresses may be asked to confirm an SNS subscription, such as
    /// https://sns.eu-west-1.amazonaws.com; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) confirm_origin: Vec<String>,
    /// The most OFREP evaluations a second and key; a key that asks more often is told to wait [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) ofrep_rate: Option<u32>,
    /// Log as JSON lines
    #[arg(long)]
    pub(crate) log_json: bool,
    /// What to log: error, warn, info, debug, or `module=level` pairs
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

#[derive(Args, Debug)]
pub(crate) struct Agent {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:2772", value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// Where the last good answers are kept for when the server is away
    #[arg(long, value_name = "DIR")]
    pub(crate) backup: Option<PathBuf>,
    /// A bearer token that applications must send [env: ACCESS_TOKEN]
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub(crate) access_token: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Files {
    /// Files or folders (*.json, *.yaml, *.yml); `-` reads standard input
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Only this flag
    pub(crate) flag: Option<String>,
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    pub(crate) format: Format,
    /// As the payload of another system's SDKs, for this environment
    #[arg(long = "as", value_enum, value_name = "SYSTEM", conflicts_with_all = ["flag", "format"])]
    pub(crate) shape: Option<System>,
    /// Write one file per item into this folder instead of standard output
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum System {
    Launchdarkly,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Import {
    /// The SDK payload of a LaunchDarkly environment: `{"flags": …, "segments": …}`
    Launchdarkly(ImportFile),
}

#[derive(Args, Debug)]
pub(crate) struct ImportFile {
    /// The payload, as `GET /sdk/latest-all` answers it; `-` reads standard input
    pub(crate) file: PathBuf,
    /// Write documents into this folder, and change nothing
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Say what would come along, and change nothing
    #[arg(long, conflicts_with = "output")]
    pub(crate) dry_run: bool,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Format {
    Yaml,
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct Lint {
    /// Files or folders; `-` reads standard input
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Warnings fail too
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Eval {
    /// The flag
    pub(crate) flag: String,
    /// The context as JSON, as an OpenFeature client sends it
    #[arg(short, long, default_value = "{}", value_name = "JSON")]
    pub(crate) context: String,
    /// Say why: each rule tried, the bucket and the threshold
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Flag {
    /// All flags with what they serve
    List,
    /// One flag
    Show(Named),
    /// Every change with author, time, reason and diff
    History(Named),
    /// Switch rules on
    On(Named),
    /// Switch rules off: everyone gets the off value
    Off(Named),
    /// Give the key up for good; it becomes a tombstone
    Retire(Named),
    /// Revive a retired flag with its history
    Unretire(Named),
    /// Make an earlier revision current, as a new change
    RestoreRevision {
        /// The flag
        flag: String,
        /// The revision to go back to
        revision: u64,
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
    },
}

/// What a rollout is, in flags or in a file.
#[derive(Args, Debug)]
pub(crate) struct RolloutSpec {
    /// The flag (or use --file)
    #[arg(required_unless_present = "file")]
    pub(crate) flag: Option<String>,
    /// A rollout document
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["to", "stages", "guardrail"])]
    pub(crate) file: Option<PathBuf>,
    /// The new value
    #[arg(long, value_name = "VALUE", required_unless_present = "file")]
    pub(crate) to: Option<String>,
    /// The control value [default: what the flag serves now]
    #[arg(long, value_name = "VALUE")]
    pub(crate) from: Option<String>,
    /// Percentages, in order
    #[arg(long, value_delimiter = ',', value_name = "PERCENT,…")]
    pub(crate) stages: Vec<String>,
    /// The least time at each stage: 30s, 10m, 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) stage_duration: Option<String>,
    /// What may stop it: 'error_rate<=1.5x', 'latency_p95<=1.2x', 'answer_score>=-0.05'
    #[arg(short, long, value_name = "GUARDRAIL")]
    pub(crate) guardrail: Vec<String>,
    /// When to advance
    #[arg(long, value_name = "no_harm|proven_safe")]
    pub(crate) advance: Option<String>,
    /// What is randomised: user, request, conversation, …
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<String>,
    /// How long to compare at the last stage, with 5 % held back
    #[arg(long, value_name = "TIME")]
    pub(crate) soak: Option<String>,
    /// The rule whose split it owns [default: everyone no rule decided]
    #[arg(long, value_name = "ID")]
    pub(crate) rule: Option<String>,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Rollout {
    /// Stages, guardrails and the predicted time to decide; nothing moves
    Plan(RolloutSpec),
    /// Start a rollout
    Start(RolloutSpec),
    /// All rollouts with a sentence each
    List,
    /// One rollout: the sentence and the guardrail table
    Status(Named),
    /// The same view, live, until the rollout ends
    Watch(Named),
    /// Let the next stage begin
    Approve(Named),
    /// Stop advancing and keep the traffic
    Hold(Named),
    /// Go on after a hold
    Resume(Named),
    /// Everyone of this split back to control, and end
    Abort(Named),
}

#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// The flag
    #[arg(required_unless_present = "value")]
    pub(crate) flag: Option<String>,
    /// The variant everyone gets [default: control]
    #[arg(long, value_name = "VARIANT", conflicts_with = "value")]
    pub(crate) to: Option<String>,
    /// Every flag of the environment that can serve this value
    #[arg(long, value_name = "VALUE", conflicts_with = "flag")]
    pub(crate) value: Option<String>,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct HoldAll {
    /// Every active rollout (one rollout: `ensign rollout hold FLAG`)
    #[arg(long, required = true)]
    pub(crate) all: bool,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Pin {
    /// All pins with owner, reason and end
    List,
    /// Add a pin
    Add {
        /// The flag
        flag: String,
        /// Unit keys to pin
        #[arg(long, value_delimiter = ',', required_unless_present = "condition", value_name = "KEY,…")]
        unit: Vec<String>,
        /// Or a condition, as in a rule
        #[arg(long, value_name = "JSON")]
        condition: Option<String>,
        /// The variant they keep
        #[arg(long, value_name = "VARIANT")]
        variant: String,
        /// Who answers for it
        #[arg(long)]
        owner: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Until when: a date or an RFC 3339 time
        #[arg(long, value_name = "DATE")]
        until: String,
    },
    /// Remove a pin
    Remove {
        /// The pin's id
        id: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Segment {
    /// All segments
    List,
    /// Opt a unit in
    Add {
        /// The segment
        segment: String,
        /// The unit's key
        unit: String,
    },
    /// Opt a unit out
    Remove {
        /// The segment
        segment: String,
        /// The unit's key
        unit: String,
    },
    /// Whether a unit opted in
    Member {
        /// The segment
        segment: String,
        /// The unit's key
        unit: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Metric {
    /// All metrics, built-in ones first
    List,
    /// Define a metric
    Create {
        /// Its key
        metric: String,
        /// rate, score, rating, count, value, quantile or ratio
        #[arg(long)]
        kind: String,
        /// Which way is better
        #[arg(long, value_name = "lower|higher")]
        better: String,
        /// A score's smallest and largest value
        #[arg(long, num_args = 2, value_names = ["MIN", "MAX"])]
        range: Option<Vec<f64>>,
        /// The unit of analysis [default: the rollout's unit]
        #[arg(long)]
        unit: Option<String>,
        /// How late a label may come: 1h, 7d
        #[arg(long, value_name = "TIME")]
        maturity: Option<String>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum UseCase {
    /// All use cases
    List,
    /// Create or change a use case
    Set {
        /// Its key
        use_case: String,
        /// Who answers for it
        #[arg(long)]
        owner: String,
        /// Its flags
        #[arg(long, value_delimiter = ',')]
        flags: Vec<String>,
        /// A request not finished after this is a timeout
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
}
