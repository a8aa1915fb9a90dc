//! The same flags and contexts through this evaluator and through the published LaunchDarkly evaluation crate.
//!
//! Pairs are drawn from a fixed seed, which is printed. `ENSIGN_DIFFERENTIAL_PAIRS` raises their number. Every
//! difference must be one of `tests/data/known_differences.json`, recognised by what the trace shows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it is")]

mod draw;
mod encode;
mod known;

use std::collections::BTreeMap;

use ensign_eval::model::{Flag, Segment};
use ensign_eval::{ContextBuf, ErrorKind, Evaluation, Reason, Recorder, compile, evaluate};
use launchdarkly_server_sdk_evaluation as ld;
use serde_json::Value as Json;

const SEED: u64 = 0x5EED_0000_0000_0001;
const PAIRS: u64 = 250_000;

/// Everything one ruleset consists of, and the same in the other crate's types.
pub(crate) struct World {
    pub(crate) flags: Vec<Flag>,
    pub(crate) segments: Vec<Segment>,
}

struct TheirStore {
    flags: BTreeMap<String, ld::Flag>,
    segments: BTreeMap<String, ld::Segment>,
}

impl ld::Store for TheirStore {
    fn flag(&self, key: &str) -> Option<ld::Flag> {
        self.flags.get(key).cloned()
    }

    fn segment(&self, key: &str) -> Option<ld::Segment> {
        self.segments.get(key).cloned()
    }
}

/// An answer in terms both sides have.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) value: Option<Json>,
    pub(crate) variant: Option<i64>,
    pub(crate) reason: Json,
}

fn ours(evaluation: &Evaluation<'_>) -> Answer {
    let mut reason = serde_json::Map::new();
    let mut say = |name: &str, value: Json| reason.insert(name.to_owned(), value);
    match evaluation.reason {
        Reason::Off => say("kind", "OFF".into()),
        Reason::TargetMatch => say("kind", "TARGET_MATCH".into()),
        Reason::PrerequisiteFailed { key } => {
            say("prerequisiteKey", key.into());
            say("kind", "PREREQUISITE_FAILED".into())
        }
        Reason::RuleMatch { index, id, in_experiment, gate: _ } => {
            say("ruleIndex", index.into());
            say("ruleId", id.into());
            if in_experiment {
                say("inExperiment", true.into());
            }
            say("kind", "RULE_MATCH".into())
        }
        Reason::Fallthrough { in_experiment } => {
            if in_experiment {
                say("inExperiment", true.into());
            }
            say("kind", "FALLTHROUGH".into())
        }
        Reason::Error(kind) => {
            let name = match kind {
                ErrorKind::MalformedFlag => "MALFORMED_FLAG",
                ErrorKind::FlagNotFound => "FLAG_NOT_FOUND",
            };
            say("errorKind", name.into());
            say("kind", "ERROR".into())
        }
        Reason::Kill | Reason::Pin { .. } => panic!("not drawn here"),
    };
    Answer {
        value: evaluation.value.map(|v| v.to_json()),
        variant: evaluation.variant.map(i64::from),
        reason: Json::Object(reason),
    }
}

fn theirs(store: &TheirStore, key: &str, context: &ld::Context) -> Answer {
    let detail = ld::evaluate(store, &store.flags[key], context, None);
    Answer {
        value: detail.value.map(|v| serde_json::to_value(v).unwrap()),
        variant: detail.variation_index.map(|i| i as i64),
        reason: serde_json::to_value(&detail.reason).unwrap(),
    }
}

fn their_store(world: &World) -> TheirStore {
    let flags = world.flags.iter().map(|f| (f.key.clone(), serde_json::from_value(encode::flag(f)).unwrap()));
    let segments = world.segments.iter().map(encode::segment);
    let gates = world.flags.iter().flat_map(encode::gates);
    let segments = segments.chain(gates).map(|json| {
        let key = json["key"].as_str().unwrap().to_owned();
        (key, serde_json::from_value(json).unwrap())
    });
    TheirStore { flags: flags.collect(), segments: segments.collect() }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many pairs to draw is a setting of this test")]
fn agrees_with_the_published_crate() {
    let pairs = std::env::var("ENSIGN_DIFFERENTIAL_PAIRS").ok().and_then(|n| n.parse().ok()).unwrap_or(PAIRS);
    println!("seed {SEED:#x}, {pairs} pairs");
    let reasons = known::table();
    let mut counts: BTreeMap<&str, u64> = reasons.keys().map(|id| (id.as_str(), 0)).collect();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut draw = draw::Draw::new(SEED);
    let mut done = 0;
    while done < pairs {
        let world = draw.world();
        let (ruleset, _) = compile(&world.flags, &world.segments);
        let store = their_store(&world);
        for _ in 0..12 {
            let json = draw.context();
            let their_context: ld::Context = serde_json::from_value(json.clone()).unwrap();
            let context = ContextBuf::from_launchdarkly(&json).unwrap();
            for flag in &world.flags {
                done += 1;
                let mut trace = Recorder::default();
                let evaluation = evaluate(&ruleset, &flag.key, &context, &mut trace);
                let (found, expected) = (ours(&evaluation), theirs(&store, &flag.key, &their_context));
                *seen.entry(expected.reason["kind"].as_str().unwrap().to_owned()).or_default() += 1;
                if found == expected {
                    continue;
                }
                match known::explain(&found, &expected, &trace, &json) {
                    Some(id) => *counts.get_mut(id).expect("every difference is in the table") += 1,
                    None => panic!(
                        "{} is\n{}\nin {}\ncontext {json}\nhere  {found:?}\nthere {expected:?}\n{}",
                        flag.key,
                        encode::flag(flag),
                        encode::world(&world),
                        trace.sentences(&flag.variants).join("\n")
                    ),
                }
            }
        }
    }
    println!("compared {done}: {seen:?}");
    for (id, count) in counts {
        println!("{count:>8}  {id}: {}", reasons[id]);
    }
    for kind in ["OFF", "TARGET_MATCH", "RULE_MATCH", "FALLTHROUGH", "PREREQUISITE_FAILED", "ERROR"] {
        assert!(seen.get(kind).is_some_and(|n| *n > done / 1000), "{kind} is hardly ever drawn");
    }
}
