//! OpenFeature's words for what an evaluation gave; every surface that speaks OpenFeature uses these.

use ensign_eval::{ErrorKind, Evaluation, Reason};

/// Why, in the specification's words. Only those that every provider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Everyone gets it until the next revision; providers may cache it.
    Static,
    /// Rules ran and none decided, or the caller's default applies.
    Default,
    /// A rule, a pin or an individual target decided.
    TargetingMatch,
    /// A percentage decided.
    Split,
    /// The flag is off.
    Disabled,
}

impl Why {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Split => "SPLIT",
            Self::Disabled => "DISABLED",
        }
    }
}

/// Why an evaluation gave what it gave. `depends`: whether the flag's answer may differ from context to context; it is
/// asked only where it matters.
///
/// # Errors
/// [`ErrorKind`] when there is no value because something is wrong.
pub fn why(evaluation: &Evaluation<'_>, depends: impl FnOnce() -> bool) -> Result<Why, ErrorKind> {
    let split = evaluation.decision.allocation.is_some();
    Ok(match evaluation.reason {
        Reason::Kill => Why::Static,
        Reason::Off => Why::Disabled,
        Reason::PrerequisiteFailed { .. } => Why::Default,
        Reason::Pin { .. } | Reason::TargetMatch => Why::TargetingMatch,
        Reason::RuleMatch { gate, .. } if split || gate.is_some() => Why::Split,
        Reason::RuleMatch { .. } => Why::TargetingMatch,
        Reason::Fallthrough { .. } if split && !evaluation.decision.unit_missing => Why::Split,
        Reason::Fallthrough { .. } if depends() => Why::Default,
        Reason::Fallthrough { .. } => Why::Static,
        Reason::Error(kind) => return Err(kind),
    })
}
