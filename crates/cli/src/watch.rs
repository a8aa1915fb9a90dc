//! The live view of a rollout, until it ends: redrawn on a terminal, one line per news elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, Failed, Method};
use crate::print;

/// How often the server is asked.
const EVERY: Duration = Duration::from_millis(300);

/// How the view is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// Redraw in place.
    Live,
    /// One line when the sentence changes.
    Lines,
    /// One JSON document per change.
    Json,
}

impl Style {
    /// What suits standard output.
    pub(crate) fn of(json: bool, plain: bool) -> Self {
        if json {
            Self::Json
        } else if plain || !std::io::stdout().is_terminal() {
            Self::Lines
        } else {
            Self::Live
        }
    }
}

/// Follows the rollout behind `path` until it is over; returns its last view.
pub(crate) async fn follow(client: &Client, path: &str, style: Style, title: &str) -> Result<Value, Failed> {
    let mut screen = Screen { style, drawn: 0, last: String::new() };
    let mut beat = tokio::time::interval(EVERY);
    loop {
        beat.tick().await;
        let view = client.send(Method::Get, path, None).await?;
        screen.show(&view, title);
        if view["over"].as_bool() == Some(true) {
            return Ok(view);
        }
    }
}

struct Screen {
    style: Style,
    drawn: usize,
    last: String,
}

impl Screen {
    fn show(&mut self, view: &Value, title: &str) {
        let sentence = view["sentence"].as_str().unwrap_or_default();
        match self.style {
            Style::Live => {
                let text = view["text"].as_str().unwrap_or_default();
                let body = if title.is_empty() { text.to_owned() } else { format!("{title}\n\n{text}") };
                // Back to the first line of the last drawing, and clear from there down.
                let back = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
                let body = body.trim_end();
                print(&format!("{back}\r\x1b[J{body}\n"));
                self.drawn = body.lines().count();
            }
            Style::Lines => {
                // A running count is no news; the words around it are.
                let news: String = sentence.chars().filter(|it| !it.is_ascii_digit()).collect();
                if news != self.last {
                    print(&format!("{}  {sentence}\n", view["split"].as_str().unwrap_or_default()));
                    self.last = news;
                }
            }
            Style::Json => {
                let text = view.to_string();
                if text != self.last {
                    print(&format!("{text}\n"));
                    self.last = text;
                }
            }
        }
    }
}
