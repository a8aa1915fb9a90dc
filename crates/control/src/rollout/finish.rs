//! The edit of the flag's file that makes a finished rollout permanent.

use serde_json::Value;

use super::{Phase, Rollout};

/// The edit that makes a completed rollout permanent, as a person would make it; `None` where there is none to make.
///
/// `control` and `new` are the variants' values as the flag's file writes them.
pub fn file_edit(rollout: &Rollout, control: &Value, new: &Value) -> Option<String> {
    match rollout.phase {
        Phase::Completed { .. } => {}
        Phase::Waiting { .. }
        | Phase::Ramping { .. }
        | Phase::AwaitingApproval { .. }
        | Phase::Held { .. }
        | Phase::Soaking { .. }
        | Phase::RolledBack { .. }
        | Phase::Aborted { .. } => return None,
    }
    let plan = &rollout.plan;
    let (place, field) = match plan.rule.as_str() {
        "fallthrough" => (format!("the file of {}", plan.flag), "default"),
        rule => (format!("rule {rule} in the file of {}", plan.flag), "value"),
    };
    Some(format!(
        "{} is complete. In {place}, change\n-  \"{field}\": {control}\n+  \"{field}\": {new}\n",
        rollout.id
    ))
}
