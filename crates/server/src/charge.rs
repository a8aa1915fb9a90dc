//! What the guard needs of the application: a look becomes a command like any other.

use async_trait::async_trait;
use ensign_control::catalogue::{Actor, Command};
use ensign_control::ids::{Revision, RolloutId, Timestamp};
use ensign_store::FenceCheck;

use crate::guard::{Charge, Look, Outcome};
use crate::{App, Options};

/// The version of the statistical methods, as receipts carry it.
fn method() -> String {
    ensign_stats::METHOD_VERSION.to_string()
}

fn tick(look: &Look) -> Command {
    Command::RolloutTick {
        rollout: look.rollout.clone(),
        evidence: look.evidence.clone().map(Box::new),
        log: look.log.clone().map(Box::new),
        method: method(),
    }
}

#[async_trait]
impl Charge for App {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn active(&self) -> Vec<RolloutId> {
        self.image().catalogue.active_rollouts().into_iter().map(|rollout| rollout.id).collect()
    }

    fn follows(&self, look: &Look) -> Result<bool, String> {
        let change = self.plan(&tick(look), &Actor::new(Actor::GUARD)).map_err(|error| error.to_string())?;
        Ok(!change.is_empty() || !change.notices.is_empty())
    }

    async fn look(&self, look: &Look, fence: &FenceCheck) -> Outcome {
        let actor = Actor::new(Actor::GUARD);
        let tick = tick(look);
        let what = match self.plan(&tick, &actor) {
            Ok(change) if change.is_empty() && change.notices.is_empty() => return Outcome::Nothing,
            Ok(change) => change.audit.first().map(|entry| entry.action.clone()).unwrap_or_default(),
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let options =
            Options { fence: Some(fence.clone()), log_position: Some(look.position), ..Options::default() };
        match self.act(&tick, &actor, options).await {
            Ok(done) => {
                let revision = Revision(done.revision(&look.rollout.place).unwrap_or_default());
                Outcome::Decided { revision, what }
            }
            Err(error) if error.code() == "fenced" => Outcome::Fenced,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn due(&self) {
        Self::due(self).await;
    }
}
