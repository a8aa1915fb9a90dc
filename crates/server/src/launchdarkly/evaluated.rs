//! Flags evaluated here for client-side SDKs, which never see a rule.

use std::collections::BTreeMap;

use ensign_eval::model::Flag;
use ensign_eval::{ContextBuf, Reason, Silent};
use ensign_protocol::launchdarkly::evalx::{Result, versioned};
use ensign_protocol::launchdarkly::{Availability, reason};
use serde_json::{Map, Value as Json};

use super::environment::Data;
use crate::evaluation::Answer;
use crate::serving::Serving;

/// Who may see what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// A browser with a client-side ID: flags that are available to it.
    Browser,
    /// An application with a mobile key: flags that are available to it.
    Mobile,
    /// A server: every flag.
    Server,
}

impl Audience {
    fn sees(self, serving: &Serving, flag: &str) -> bool {
        let available = Availability::of(serving.client_side.get(flag));
        match self {
            Self::Browser => available.using_environment_id,
            Self::Mobile => available.using_mobile_key,
            Self::Server => true,
        }
    }
}

/// Every flag that the audience sees, evaluated for a context.
pub(super) fn all(
    serving: &Serving,
    data: &Data,
    context: &ContextBuf,
    audience: Audience,
) -> BTreeMap<String, Result> {
    let seen = serving.flags.values().filter(|flag| audience.sees(serving, &flag.key));
    let results = seen.filter_map(|flag| {
        let answer = Answer::of(serving, &flag.key, context, &mut Silent)?;
        let told = &answer.evaluation;
        let wire = data.payload.flags.get(&flag.key);
        // An SDK evaluates prerequisites again for their events, so it has to know which were asked.
        let prerequisites = asked(flag, &told.reason).filter(|key| audience.sees(serving, key));
        let tried = told.decision.compared;
        let result = Result {
            flag: flag.key.clone(),
            flag_version: wire.map_or(flag.version, |wire| wire.version),
            value: told.value.map(|value| value.to_json()),
            variation: told.variant,
            track_events: tried || wire.is_some_and(|wire| wire.track_events),
            track_reason: tried,
            reason: reason(&told.reason),
            prerequisites: prerequisites.map(str::to_owned).collect(),
        };
        Some((flag.key.clone(), result))
    });
    results.collect()
}

fn asked<'f>(flag: &'f Flag, reason: &Reason<'_>) -> impl Iterator<Item = &'f str> + use<'f> {
    let keys = flag.prerequisites.iter().map(|prerequisite| prerequisite.flag.as_str());
    let count = match reason {
        Reason::Kill | Reason::Off => 0,
        Reason::PrerequisiteFailed { key } => {
            keys.clone().position(|known| known == *key).map_or(0, |at| at + 1)
        }
        Reason::Pin { .. }
        | Reason::TargetMatch
        | Reason::RuleMatch { .. }
        | Reason::Fallthrough { .. }
        | Reason::Error(_) => flag.prerequisites.len(),
    };
    keys.take(count)
}

/// The results as one document.
pub(super) fn document(results: &BTreeMap<String, Result>, with_reasons: bool, version: u64) -> Json {
    let all =
        results.iter().map(|(key, result)| (key.clone(), versioned(result.content(with_reasons), version)));
    Json::Object(all.collect::<Map<String, Json>>())
}
