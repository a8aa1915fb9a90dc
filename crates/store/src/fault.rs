//! A failed dependency: whose fault it is, whether a retry can help, and what to write to the log.

use std::fmt;

/// Where the cause lies, so that the reader of a log knows whom to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A defect of this program, or data that this program must not have written.
    Ours,
    /// The machine: a disk that fails or is full, a file that cannot be opened.
    Machine,
    /// The person who started the process: a wrong folder, a second process, an older program on newer data.
    Operator,
}

/// Whether doing the same again can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Perhaps, later, without anybody's help.
    Later,
    /// Not before somebody has changed something.
    Never,
}

/// A dependency failed. Logged once, where it is handled; the text is for operators, not for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault it is.
    pub whose: Whose,
    /// Whether a retry can help.
    pub retry: Retry,
    /// What happened, for the log: names files, offsets and versions.
    pub inward: String,
}

impl Fault {
    /// A defect of ours; a retry does not help.
    pub fn ours(inward: impl Into<String>) -> Self {
        Self { whose: Whose::Ours, retry: Retry::Never, inward: inward.into() }
    }

    /// The machine failed; a retry may help.
    pub fn machine(inward: impl Into<String>) -> Self {
        Self { whose: Whose::Machine, retry: Retry::Later, inward: inward.into() }
    }

    /// The operator has to change something first.
    pub fn operator(inward: impl Into<String>) -> Self {
        Self { whose: Whose::Operator, retry: Retry::Never, inward: inward.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inward)
    }
}

impl std::error::Error for Fault {}
