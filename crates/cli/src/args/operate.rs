//! The words of the operator's commands: proof, keys, webhooks, windows, backups, erasure.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Named;

#[derive(Subcommand, Debug)]
pub(crate) enum Receipts {
    /// The receipts of a flag
    List(Named),
    /// One receipt, as JSON
    Show {
        /// The flag
        flag: String,
        /// The receipt's number [default: the last]
        number: Option<u64>,
    },
    /// Recompute decisions bit for bit, from the server or from files
    Verify {
        /// A flag, receipt files, or `-`
        what: Vec<String>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// The latest entries
    List {
        /// Only entries about this flag
        #[arg(long)]
        flag: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Check the hash chain from its beginning
    Verify,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Keys {
    /// All keys; never their secrets
    List,
    /// Make a key; its secret is shown once
    Create {
        /// What it is for
        name: String,
        /// read, ingest, plan, write, approve, kill, admin
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// When it ends: a date or an RFC 3339 time
        #[arg(long, value_name = "DATE")]
        expires: Option<String>,
    },
    /// Replace a key; the old one works for a while longer
    Rotate {
        /// The key's id
        id: String,
        /// How long the old one still works: 1h, 7d
        #[arg(long, default_value = "1d", value_name = "TIME")]
        overlap: String,
    },
    /// End a key now
    Revoke {
        /// The key's id
        id: String,
    },
    /// Make a new AWS key pair for AppConfig's clients; shown once, and the pair before ends
    Aws {
        /// For the control plane of the whole project, instead of reading this environment
        #[arg(long)]
        control: bool,
    },
    /// Make a secret for a system that sends signed alarms; shown once
    AlarmSource {
        /// Its name, in the address that it sends to
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct SecureMode {
    /// Turn it on or off [default: say how it stands]
    pub(crate) to: Option<Switch>,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Webhook {
    /// All webhooks
    List,
    /// Add a webhook; its signing secret is shown once
    Add {
        /// Where to send: https, or http on loopback
        to: String,
        /// Which notices [default: all]
        #[arg(long, value_delimiter = ',')]
        kinds: Vec<String>,
    },
    /// Remove a webhook
    Remove {
        /// Its id
        id: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Window {
    /// All windows
    List,
    /// Nothing advances from one time to another
    Add {
        /// RFC 3339
        from: String,
        /// RFC 3339
        until: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Remove a window
    Remove {
        /// Its id
        id: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Backup {
    /// Copy the data while the server runs, into its backups folder
    Create {
        /// The copy's name [default: the time]
        #[arg(long)]
        name: Option<String>,
    },
    /// Make a new data folder from a copy; revisions continue far above the copy's
    Restore {
        /// The copy
        from: PathBuf,
        /// The new data folder; must be empty
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Erase {
    /// The unit's key
    pub(crate) unit: String,
    /// Its kind
    #[arg(long, default_value = "user")]
    pub(crate) kind: String,
}
