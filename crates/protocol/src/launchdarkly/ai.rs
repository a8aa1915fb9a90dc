//! What LaunchDarkly's AI SDK reports: pieces of model calls, scores and ratings, and what is only counted.
//!
//! A call is reported as separate events, one per metric. Pieces of one run are put together again, because a call has
//! one start, one end and one cost. Which configuration a piece belongs to is in the event, and it matters: a judge
//! that runs reports its own call under its own key.

use std::collections::BTreeMap;

use ensign_control::ids::{Span, Timestamp};
use serde_json::Value as Json;

const PREFIX: &str = "$ld:ai:";
/// A longest call, in milliseconds: a day.
const LONGEST_MS: f64 = 86_400_000.0;

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Telling {
    /// One number of a model call.
    Piece(Piece, Config),
    /// A rating, a judge's score or another number about a call.
    Score {
        /// The metric's key here.
        metric: String,
        /// The number.
        value: f64,
        /// Which configuration it is about.
        config: Config,
    },
    /// Which AI SDK it is.
    Sdk {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// Usage: only counted.
    Usage,
}

/// One number of a model call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Piece {
    /// How long it took.
    Duration(Span),
    /// Time to the first token.
    FirstToken(Span),
    /// Tokens sent.
    TokensIn(u32),
    /// Tokens received.
    TokensOut(u32),
    /// It gave an answer.
    Success,
    /// It failed.
    Error,
}

/// Which configuration a model call used.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Config {
    /// The flag.
    pub flag: String,
    /// The variation, by the key in its `_ldMeta`.
    pub variation: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// The run; older SDKs send none.
    pub run: Option<String>,
}

/// What an event of the AI SDK says; `None`: it is an event of the application.
#[must_use]
pub fn telling(key: &str, value: Option<f64>, data: Option<&Json>) -> Option<Telling> {
    let config = config(data);
    let Some(name) = key.strip_prefix(PREFIX) else {
        // A judge whose score has a name of its own.
        let judged = data.and_then(|data| data.get("judgeConfigKey")).is_some();
        let (true, Some(config), Some(value)) = (judged, config, value) else { return None };
        return Some(Telling::Score { metric: key.to_owned(), value, config });
    };
    if name == "sdk:info" {
        let text = |member: &str| Some(data?.get(member)?.as_str()?.to_owned());
        let (name, version) = (text("aiSdkName")?, text("aiSdkVersion").unwrap_or_default());
        return Some(Telling::Sdk { name, version });
    }
    let Some(config) = config else { return Some(Telling::Usage) };
    let score = |metric: &str, value: f64| Telling::Score {
        metric: metric.to_owned(),
        value,
        config: config.clone(),
    };
    if let Some(judge) = name.strip_prefix("judge:") {
        return Some(
            value.map_or(Telling::Usage, |value| score(&format!("judge_{}", judge.replace(':', "_")), value)),
        );
    }
    let piece = match name {
        "duration:total" | "graph:duration:total" => value.and_then(span).map(Piece::Duration),
        "tokens:ttf" => value.and_then(span).map(Piece::FirstToken),
        "tokens:input" => value.and_then(count).map(Piece::TokensIn),
        "tokens:output" => value.and_then(count).map(Piece::TokensOut),
        "generation:success" | "graph:invocation_success" => Some(Piece::Success),
        "generation:error" | "graph:invocation_failure" => Some(Piece::Error),
        "feedback:user:positive" => return Some(score("feedback", 1.0)),
        "feedback:user:negative" => return Some(score("feedback", 0.0)),
        "tool_call" => return Some(score("tool_calls", 1.0)),
        _ => None,
    };
    Some(piece.map_or(Telling::Usage, |piece| Telling::Piece(piece, config)))
}

fn config(data: Option<&Json>) -> Option<Config> {
    let data = data?.as_object()?;
    let text = |member: &str| {
        let text = data.get(member)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    // An event about a whole graph of agents has no configuration of its own.
    let flag = text("configKey").or_else(|| text("graphKey"))?;
    Some(Config { flag, variation: text("variationKey"), model: text("modelName"), run: text("runId") })
}

fn span(millis: f64) -> Option<Span> {
    (0.0..=LONGEST_MS).contains(&millis).then(|| Span((millis * 1_000.0).round() as i64))
}

fn count(n: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX)).contains(&n).then(|| n.round() as u32)
}

/// A model call, put together from its pieces in one payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Call<'a> {
    /// The number in the payload of its first piece.
    pub index: u32,
    /// About whom.
    pub context: &'a Json,
    /// What it used.
    pub config: &'a Config,
    /// When it started, as well as the pieces tell.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Option<Span>,
    /// Time to the first token.
    pub first_token: Option<Span>,
    /// Tokens sent.
    pub tokens_in: Option<u32>,
    /// Tokens received.
    pub tokens_out: Option<u32>,
    /// Whether it gave an answer.
    pub success: Option<bool>,
}

impl<'a> Call<'a> {
    fn new(index: u32, context: &'a Json, config: &'a Config, start: Timestamp) -> Self {
        Self {
            index,
            context,
            config,
            start,
            duration: None,
            first_token: None,
            tokens_in: None,
            tokens_out: None,
            success: None,
        }
    }

    fn has(&self, piece: Piece) -> bool {
        match piece {
            Piece::Duration(_) => self.duration.is_some(),
            Piece::FirstToken(_) => self.first_token.is_some(),
            Piece::TokensIn(_) => self.tokens_in.is_some(),
            Piece::TokensOut(_) => self.tokens_out.is_some(),
            Piece::Success | Piece::Error => self.success.is_some(),
        }
    }

    fn add(&mut self, piece: Piece, at: Timestamp) {
        let began = match piece {
            Piece::Duration(span) | Piece::FirstToken(span) => at - span,
            Piece::TokensIn(_) | Piece::TokensOut(_) | Piece::Success | Piece::Error => at,
        };
        self.start = self.start.min(began);
        match piece {
            Piece::Duration(span) => self.duration = Some(span),
            Piece::FirstToken(span) => self.first_token = Some(span),
            Piece::TokensIn(n) => self.tokens_in = Some(n),
            Piece::TokensOut(n) => self.tokens_out = Some(n),
            Piece::Success => self.success = Some(true),
            Piece::Error => self.success = Some(false),
        }
    }
}

/// Puts pieces together: those of one run, and where no run is named, those of one context and configuration until one
/// of them repeats. Each piece comes with its number in the payload and its time.
#[must_use]
pub fn calls<'a>(
    pieces: impl IntoIterator<Item = (u32, Timestamp, &'a Json, Piece, &'a Config)>,
) -> Vec<Call<'a>> {
    let mut calls: Vec<Call<'a>> = Vec::new();
    let mut open: BTreeMap<(&'a Config, String), usize> = BTreeMap::new();
    for (index, at, context, piece, config) in pieces {
        let who = config.run.as_ref().map_or_else(|| context.to_string(), |_| String::new());
        let known = open.get(&(config, who.clone())).copied();
        let known = known.filter(|call| config.run.is_some() || !calls[*call].has(piece));
        let call = known.unwrap_or_else(|| {
            calls.push(Call::new(index, context, config, at));
            open.insert((config, who), calls.len() - 1);
            calls.len() - 1
        });
        if !calls[call].has(piece) {
            calls[call].add(piece, at);
        }
    }
    calls
}
