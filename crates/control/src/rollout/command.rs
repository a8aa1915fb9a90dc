//! What a rollout can be asked, what it is told about the world, and how it says no.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Timestamp};

/// Who asks, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Who {
    /// The person or key.
    pub by: String,
    /// Why, if said.
    pub reason: Option<String>,
}

/// What a rollout can be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Begin, as soon as the windows allow.
    Start(Who),
    /// Look at the evidence and the clock.
    Tick,
    /// Leave the stage: the approval it asks for, or, after its maximum duration, to go on without proof.
    Approve(Who),
    /// Stop advancing.
    Hold(Who),
    /// Go on after a hold.
    Resume(Who),
    /// Everyone to control, for good.
    Abort(Who),
    /// The flag was killed: told in the transaction of the kill.
    Killed(Who),
}

/// What a decision must know besides the evidence.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The epoch of the split that is served now; evidence of another one cannot advance. None: not known.
    pub epoch: Option<Epoch>,
    /// Whether rollouts may advance now.
    pub window: Window,
    /// The kill in force, if there is one.
    pub killed: Option<Killed>,
    /// An alarm that fires and that a rollout by the clock is watched by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Firing>,
}

/// An alarm that fires.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Firing {
    /// Its name, or the ARN by which a monitor names it.
    pub alarm: String,
    /// Why, as it was sent.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// Whether rollouts may advance. Holding and rolling back need no window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// They may.
    #[default]
    Open,
    /// They may not.
    Closed {
        /// When that ends, if it is known.
        until: Option<Timestamp>,
    },
}

/// A kill in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Killed {
    /// Who killed it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, if said.
    pub reason: Option<String>,
}

/// Why a rollout does not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has ended.
    Over {
        /// How, in one word.
        phase: &'static str,
    },
    /// It has been started before.
    AlreadyStarted,
    /// It has not been started.
    NotStarted,
    /// Nothing here waits for an approval.
    NothingToApprove,
    /// It is held already by a person.
    AlreadyHeld,
    /// It is not held.
    NotHeld,
    /// The hold ends by itself when its cause is gone; nobody can advance on missing or doubtful data.
    EndsByItself {
        /// The cause, as a code.
        cause: &'static str,
    },
    /// The flag is killed.
    Killed,
}

impl Refusal {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Over { .. } => "rollout_over",
            Self::AlreadyStarted => "rollout_already_started",
            Self::NotStarted => "rollout_not_started",
            Self::NothingToApprove => "nothing_to_approve",
            Self::AlreadyHeld => "rollout_already_held",
            Self::NotHeld => "rollout_not_held",
            Self::EndsByItself { .. } => "hold_ends_by_itself",
            Self::Killed => "flag_killed",
        }
    }

    /// The command that would be right, with `FLAG` for the flag's key.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Over { .. } => "ensign rollout start FLAG --to VARIANT",
            Self::AlreadyStarted | Self::NothingToApprove | Self::NotHeld => "ensign rollout status FLAG",
            Self::NotStarted => "ensign rollout start FLAG",
            Self::AlreadyHeld => "ensign rollout resume FLAG",
            Self::EndsByItself { .. } => "ensign why FLAG",
            Self::Killed => "ensign restore FLAG",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over { phase } => {
                write!(f, "The rollout has ended ({}) and never moves again.", phase.replace('_', " "))
            }
            Self::AlreadyStarted => f.write_str("The rollout has already been started."),
            Self::NotStarted => f.write_str("The rollout has not been started."),
            Self::NothingToApprove => f.write_str("Nothing in this rollout waits for an approval now."),
            Self::AlreadyHeld => f.write_str("The rollout is already held by a person."),
            Self::NotHeld => f.write_str("The rollout is not held."),
            Self::EndsByItself { cause } => write!(
                f,
                "This hold ({}) ends by itself when its cause is gone; nobody can go on without the data.",
                cause.replace('_', " ")
            ),
            Self::Killed => f.write_str("The flag is killed; lift the kill first."),
        }
    }
}

impl std::error::Error for Refusal {}
