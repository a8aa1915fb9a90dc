//! Flag definitions, the compiled ruleset, and evaluation with an explanation on request.
//!
//! Everything here is a function of its arguments: no clock, no files, no randomness. A definition
//! ([`model`]) is valid plain data; a [`Ruleset`] is its fast, immutable form; an [`Evaluation`] borrows from it.
//!
//! ```
//! use ensign_eval::model::{Flag, Outcome, Value, ValueKind, Variant};
//! use ensign_eval::{Pairs, Silent, compile, evaluate};
//!
//! let flag = Flag {
//!     key: "greeting".to_owned(),
//!     version: 1,
//!     kind: ValueKind::String,
//!     on: true,
//!     variants: vec![Variant { name: "hello".to_owned(), value: Value::String("hello".to_owned()) }],
//!     off_variant: None,
//!     prerequisites: vec![],
//!     pins: vec![],
//!     targets: vec![],
//!     rules: vec![],
//!     fallthrough: Outcome::Fixed(0),
//!     salt: "s".to_owned(),
//!     kill: None,
//! };
//! let (ruleset, problems) = compile(&[flag], &[]);
//! assert!(problems.is_empty());
//! let answer = evaluate(&ruleset, "greeting", &Pairs::new("u1", &[]), &mut Silent);
//! assert_eq!(answer.variant, Some(0));
//! ```

pub mod bucket;
mod compile;
mod compiled;
mod context;
mod evaluate;
mod explain;
mod instant;
pub mod model;
mod names;
mod problem;
mod ruleset;
pub mod split;
mod strings;
mod version;

pub use context::{
    Attr, BadContext, BadContextCode, Context, ContextBuf, Indexed, KindRef, NameRef, Pairs, Part,
};
pub use evaluate::{Decision, ErrorKind, Evaluation, Reason, evaluate};
pub use explain::{Membership, Passed, Recorder, Silent, Step, Trace};
pub use names::Names;
pub use problem::{Item, Problem, What};
pub use ruleset::{Changes, FlagHandle, Ruleset, compile};
