//! The server: HTTP surfaces, ingestion, the guard's loop.
//!
//! [`Server::start`] composes everything and is all that a test or the command line needs. Inside, every change goes
//! through [`App::act`], every evaluation through [`App::place`], and every task through [`Tasks::spawn`].

mod act;
pub mod agent;
mod app;
mod appconfig;
mod care;
mod charge;
mod config;
mod deps;
mod error;
mod evaluation;
pub mod fanout;
pub mod first;
mod flagd;
mod forecast;
pub mod guard;
mod http;
mod image;
pub mod ingest;
mod keys;
pub mod launchdarkly;
pub mod limits;
mod net;
mod rate;
mod readings;
mod schedule;
mod serving;
mod start;
mod tasks;
mod telemetry;
mod webhooks;

pub use act::{Done, Options};
pub use app::App;
pub use config::Config;
pub use deps::{Clock, Deps};
pub use error::ApiError;
pub use http::description;
pub use image::Image;
pub use keys::Grant;
pub use serving::{PlaceState, Serving, Version};
pub use start::{Running, Server, StartError};
pub use tasks::Tasks;
