//! Repository chores and checks.
fn main() {}
