//! The server: HTTP surfaces, ingestion, the guard's loop.
//!
//! [`Server::start`] composes everything and is all that a test or the command line needs. Inside, every change goes
//! through [`App::act`], every evaluation through [`App::place`], and every task through [`Tasks::spawn`].

mod act;
mod app;
mod config;
mod deps;
mod error;
pub mod guard;
mod http;
pub mod ingest;
pub mod limits;
mod serving;
mod start;
mod tasks;

pub use act::{Done, Options};
pub use app::App;
pub use config::Config;
pub use deps::{Clock, Deps};
pub use error::ApiError;
pub use serving::{PlaceKeys, PlaceState, Serving, Version};
pub use start::{Running, Server, StartError};
pub use tasks::Tasks;
