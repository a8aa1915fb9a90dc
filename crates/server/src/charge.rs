//! What the guard needs of the application.

use async_trait::async_trait;
use ensign_control::ids::{RolloutId, Timestamp};
use ensign_store::FenceCheck;

use crate::App;
use crate::guard::{Charge, Look, Outcome};

#[async_trait]
impl Charge for App {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn active(&self) -> Vec<RolloutId> {
        Vec::new()
    }

    async fn look(&self, _look: &Look, _fence: &FenceCheck) -> Outcome {
        Outcome::Nothing
    }

    async fn due(&self) {
        Self::due(self).await;
    }
}
