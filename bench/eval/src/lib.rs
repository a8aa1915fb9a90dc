//! The scenario, once for each evaluator: a string flag with three rules.
//!
//! Country in 8 values serves `a`; org in 20 values serves `b`; plan in 2 values splits 50/30/20 between `a`, `b` and
//! `c` by user key; else `off`. The context has six attributes.

pub mod ensign;
pub mod others;

/// Which way an evaluation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// The first rule matches.
    Early,
    /// The third rule matches and splits.
    Split,
    /// No rule matches.
    None,
}

/// Every case with its name.
pub const CASES: [(Case, &str); 3] = [(Case::Early, "early"), (Case::Split, "split"), (Case::None, "none")];

/// The user.
pub const USER_KEY: &str = "user-4711-a8f3";

pub fn countries() -> Vec<String> {
    ["DK", "NO", "SE", "FI", "IS", "DE", "NL", "BE"].map(str::to_owned).to_vec()
}

pub fn orgs() -> Vec<String> {
    (0..20).map(|i| format!("org-{:04}", i * 37)).collect()
}

pub fn plans() -> Vec<String> {
    ["pro", "enterprise"].map(str::to_owned).to_vec()
}

/// The context's attributes, in the order an application may have them.
pub fn attributes(case: Case) -> [(&'static str, &'static str); 6] {
    let (country, plan) = match case {
        Case::Early => ("DE", "free"),
        Case::Split => ("FR", "enterprise"),
        Case::None => ("FR", "free"),
    };
    [
        ("email", "someone@example.com"),
        ("country", country),
        ("org", "org-9999"),
        ("plan", plan),
        ("app_version", "4.11.2"),
        ("device", "phone"),
    ]
}

/// Flag keys of a ruleset of that size.
pub fn keys(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("model-flag-{i:03}")).collect()
}
