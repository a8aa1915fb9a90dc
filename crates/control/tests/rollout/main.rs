//! The rollout from outside: what is written, what is decided, what is said, what a receipt proves.

mod property;
mod receipt;
mod script;
mod spec;
mod support;
mod words;
