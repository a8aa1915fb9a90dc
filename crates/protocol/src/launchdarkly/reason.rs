//! Why an evaluation gave what it gave, in the words of SDKs.

use ensign_eval::{ErrorKind, Reason};
use serde_json::{Value as Json, json};

/// A reason. A kill is what SDKs see of it, a fallthrough; a pin is a rule in front of the others.
#[must_use]
pub fn reason(reason: &Reason<'_>) -> Json {
    let experiment = |mut json: Json, inside: bool| {
        if inside {
            json["inExperiment"] = true.into();
        }
        json
    };
    match reason {
        Reason::Kill => json!({ "kind": "FALLTHROUGH" }),
        Reason::Off => json!({ "kind": "OFF" }),
        Reason::PrerequisiteFailed { key } => {
            json!({ "kind": "PREREQUISITE_FAILED", "prerequisiteKey": key })
        }
        Reason::Pin { id } => json!({ "kind": "RULE_MATCH", "ruleIndex": 0, "ruleId": format!("pin:{id}") }),
        Reason::TargetMatch => json!({ "kind": "TARGET_MATCH" }),
        Reason::RuleMatch { index, id, in_experiment, gate: _ } => {
            experiment(json!({ "kind": "RULE_MATCH", "ruleIndex": index, "ruleId": id }), *in_experiment)
        }
        Reason::Fallthrough { in_experiment } => experiment(json!({ "kind": "FALLTHROUGH" }), *in_experiment),
        Reason::Error(ErrorKind::FlagNotFound) => json!({ "kind": "ERROR", "errorKind": "FLAG_NOT_FOUND" }),
        Reason::Error(ErrorKind::MalformedFlag) => json!({ "kind": "ERROR", "errorKind": "MALFORMED_FLAG" }),
    }
}
