//! What happens by the clock: what could not be written earlier, each second; expired pins, each time the guard looks.
//!
//! Time acts only by producing revisions: evaluation never looks at a clock.

use std::sync::Arc;
use std::time::Duration;

use ensign_control::catalogue::Actor;

use crate::{App, Options};

/// Each second, until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    while app.tasks.wait(Duration::from_secs(1)).await {
        app.catch_up().await;
    }
}

impl App {
    /// Carries out what is due by the clock. Also at start, for what came due while nothing ran.
    pub async fn due(&self) {
        let due = self.image().catalogue.due(self.now());
        for command in due {
            let actor = Actor::new(Actor::SCHEDULER);
            if let Err(error) = self.act(&command, &actor, Options::default()).await {
                tracing::warn!(%error, ?command, "something due could not be done and is tried again");
            }
        }
    }
}
