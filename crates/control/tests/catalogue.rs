//! The catalogue through its commands: documents in, changes out, definitions compiled.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail by panicking")]

use std::collections::BTreeMap;

use ensign_control::catalogue::{
    Actor, Catalogue, Change, Command, ExportFormat, Mode, Rejected, Scope, Source, Verb,
};
use ensign_control::ids::{Key, Place, Timestamp};
use ensign_eval::model::{Outcome, Value};
use serde_json::{Value as Json, json};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

const DESIGN: &str = r#"{ "flag": "inference_model", "default": "claude-3-haiku",
  "rules": [ { "condition": {"user_segment": "internal"}, "value": "claude-opus-4-6" },
             { "condition": {"rollout_percentage": 10},  "value": "claude-sonnet-4-6" } ] }
"#;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn production() -> Place {
    Place { project: key("default"), environment: key("production") }
}

/// A catalogue with the store's counters around it.
struct World {
    catalogue: Catalogue,
    revisions: BTreeMap<Scope, u64>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let mut world = Self { catalogue: Catalogue::default(), revisions: BTreeMap::new(), now: NOW };
        let change = Catalogue::initial(NOW);
        world.commit(&change);
        world
    }

    fn commit(&mut self, change: &Change) {
        let mut risen = BTreeMap::new();
        for scope in &change.bumps {
            let counter = self.revisions.entry(scope.clone()).or_insert(0);
            *counter += 1;
            risen.insert(scope.clone(), *counter);
        }
        for (id, version) in &change.expect {
            assert_eq!(self.catalogue.version(id), *version, "{id:?}");
        }
        self.catalogue.apply(change, &risen);
    }

    fn decide(&self, command: &Command) -> Result<Change, Rejected> {
        self.catalogue.decide(command, &Actor::new("ana"), self.now)
    }

    #[track_caller]
    fn act(&mut self, command: &Command) -> Change {
        let change = self.decide(command).unwrap_or_else(|rejected| panic!("{rejected:#?}"));
        self.commit(&change);
        change
    }

    #[track_caller]
    fn apply(&mut self, text: &str) -> Change {
        self.act(&applying(text))
    }

    fn problems(&self, text: &str) -> Vec<String> {
        match self.decide(&applying(text)) {
            Err(Rejected::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self, command: &Command) -> String {
        match self.decide(command) {
            Err(Rejected::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        }
    }
}

fn applying(text: &str) -> Command {
    applying_as(text, Mode::Merge)
}

fn applying_as(text: &str, mode: Mode) -> Command {
    Command::Apply {
        project: key("default"),
        environment: None,
        sources: vec![Source { name: "flags".to_owned(), text: text.as_bytes().to_vec() }],
        mode,
        reason: None,
    }
}

fn changed(change: &Change) -> Vec<String> {
    let items = change.answer.plan.iter().filter(|item| !matches!(item.verb, Verb::Keep));
    items.map(|item| item.sentence.clone()).collect()
}

#[test]
fn the_design_document_is_accepted_as_it_stands() {
    let mut world = World::new();
    let change = world.apply(DESIGN);
    assert!(change.answer.sentences[0].contains("90 days"), "{:?}", change.answer.sentences);
    let flags = world.catalogue.compile(&production()).flags;
    let flag = &flags[0];
    assert_eq!(
        flag.variants.iter().map(|v| v.value.to_string()).collect::<Vec<_>>(),
        ["claude-3-haiku", "claude-opus-4-6", "claude-sonnet-4-6"]
    );
    assert_eq!(flag.rules[0].id, "user_segment-internal");
    assert_eq!(flag.rules[0].outcome, Outcome::Fixed(1));
    match &flag.rules[1].outcome {
        Outcome::Gate { gate, variant: 2 } => {
            assert_eq!((gate.weight, gate.id.as_str()), (10_000, "inference_model.rollout_percentage"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(flag.fallthrough, Outcome::Fixed(0));
    assert_eq!(
        flags.len(),
        world.catalogue.compile(&Place { environment: key("staging"), ..production() }).flags.len()
    );
}

#[test]
fn what_is_exported_changes_nothing_when_it_is_applied() {
    let mut world = World::new();
    world.apply(DESIGN);
    world.apply("segment: staff\nincludes: [ana, bo]\nexcludes: {org: [acme]}\n");
    world.apply(
        "flag: threshold\ndefault: 1.0\nowner: ml\nvariants: {low: 0.5, high: 2.0}\nrules:\n- condition: {segment: staff}\n  split: {low: 30, high: 70}\n- condition: {plan: [pro, team], age: {gte: 18}}\n  variant: high\npins:\n- {who: [u1], variant: low, owner: ana, reason: contract, until: 2027-12-31}\nenvironments:\n  staging: {default: 0.5}\n",
    );
    world.apply("metric: thumbs\nkind: rate\nbetter: higher\n---\nuse_case: chat\nflags: [threshold]\nrequest_timeout: 30s\n");
    for format in [ExportFormat::Json, ExportFormat::Yaml] {
        let text = world.catalogue.export(&key("default")).text(format);
        for mode in [Mode::Merge, Mode::Edit] {
            let change = world.decide(&applying_as(&text, mode)).unwrap_or_else(|r| panic!("{text}\n{r:#?}"));
            assert_eq!(changed(&change), Vec::<String>::new(), "{text}");
        }
        let mut other = World::new();
        other.apply(&text);
        assert_eq!(other.catalogue.export(&key("default")).text(format), text);
        assert!(text.contains("1.0"), "{text}");
    }
}

#[test]
fn applying_twice_changes_nothing() {
    let mut world = World::new();
    world.apply(DESIGN);
    let change = world.apply(DESIGN);
    assert!(change.is_empty(), "{change:#?}");
}

#[test]
fn what_the_file_did_not_change_is_left_alone_and_shown() {
    let mut world = World::new();
    world.apply(DESIGN);
    world.act(&applying_as(
        r#"{"flag": "inference_model", "default": "claude-opus-4-6", "owner": "bo"}"#,
        Mode::Edit,
    ));
    let change = world.apply(&DESIGN.replace("10}", "20}"));
    let flag = world.catalogue.flag_state(&production(), &key("inference_model")).unwrap();
    assert_eq!(flag.section.default, "claude-opus-4-6");
    assert_eq!(flag.section.rules[1].condition, json!({"rollout_percentage": 20}));
    let drift: Vec<&str> =
        change.answer.plan.iter().flat_map(|item| &item.drift).map(|line| line.path.as_str()).collect();
    assert!(drift.contains(&"default") && drift.contains(&"owner"), "{drift:?}");
}

#[test]
fn rules_keep_their_salt_when_their_share_changes() {
    let salt = |text: &str| {
        let mut world = World::new();
        world.apply(text);
        let flags = world.catalogue.compile(&production()).flags;
        match &flags[0].rules[1].outcome {
            Outcome::Gate { gate, .. } => gate.salt.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(salt(DESIGN), salt(&DESIGN.replace("10}", "20}")));
    let mut world = World::new();
    world.apply(
        "flag: two\ndefault: a\nrules:\n- {condition: {rollout_percentage: 10}, value: b}\n- {condition: {rollout_percentage: 10}, value: c}\n",
    );
    let flags = world.catalogue.compile(&production()).flags;
    let salts: Vec<&str> = flags[0]
        .rules
        .iter()
        .map(|rule| match &rule.outcome {
            Outcome::Gate { gate, .. } => gate.salt.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_ne!(salts[0], salts[1]);
}

#[test]
fn a_float_stays_a_float() {
    let mut world = World::new();
    world.apply("flag: t\ndefault: 1.0\n");
    world.apply("flag: n\ndefault: 1\n");
    let flags = world.catalogue.compile(&production()).flags;
    let value = |key: &str| flags.iter().find(|flag| flag.key == key).unwrap().variants[0].value.clone();
    assert_eq!((value("t"), value("n")), (Value::Float(1.0), Value::Int(1)));
    let stored: Json =
        serde_json::from_str(&world.catalogue.export(&key("default")).text(ExportFormat::Json)).unwrap();
    assert_eq!(stored[1]["default"].to_string(), "1.0");
}

#[test]
fn kill_is_above_everything_and_restore_lifts_it() {
    let mut world = World::new();
    world.apply(DESIGN);
    world.act(&Command::AddPin {
        place: production(),
        flag: key("inference_model"),
        pin: json!({"who": "acme", "value": "claude-opus-4-6", "owner": "ana", "reason": "contract", "until": "2027-12-31"}),
    });
    let kill = Command::KillValue {
        place: production(),
        value: "claude-opus-4-6".into(),
        reason: Some("bad".to_owned()),
    };
    let change = world.act(&kill);
    assert!(change.answer.sentences[0].contains("Pins that do not hold"), "{:?}", change.answer.sentences);
    assert_eq!(change.notices[0].event, "flag.killed");
    let flags = world.catalogue.compile(&production()).flags;
    assert_eq!(
        (flags[0].kill.map(|kill| kill.variant), flags[0].rules.len(), flags[0].pins.len()),
        (Some(0), 2, 1)
    );
    assert_eq!(world.refusal(&kill), "nothing_to_kill");
    world.act(&Command::Restore { place: production(), flag: key("inference_model"), reason: None });
    assert!(world.catalogue.compile(&production()).flags[0].kill.is_none());
}

#[test]
fn a_pin_ends_by_itself() {
    let mut world = World::new();
    world.apply(DESIGN);
    let pin = json!({"who": ["acme"], "unit": "org", "value": "claude-opus-4-6", "owner": "ana", "reason": "x", "until": "2027-03-01T00:00:00Z"});
    world.act(&Command::AddPin { place: production(), flag: key("inference_model"), pin });
    let at = world.catalogue.wake_at().unwrap();
    assert!(world.catalogue.due(NOW).is_empty());
    world.now = at;
    for command in world.catalogue.due(at) {
        world.act(&command);
    }
    assert!(world.catalogue.compile(&production()).flags[0].pins.is_empty());
    assert_eq!(world.catalogue.wake_at(), None);
}

#[test]
fn a_retired_key_is_a_tombstone() {
    let mut world = World::new();
    world.apply(DESIGN);
    let (project, flag) = (key("default"), key("inference_model"));
    let reason = Some("one model is left".to_owned());
    world.act(&Command::Retire { project: project.clone(), flag: flag.clone(), reason });
    assert!(world.catalogue.compile(&production()).flags.is_empty());
    match world.decide(&applying(DESIGN)) {
        Err(Rejected::Refused(refusal)) => {
            assert_eq!(refusal.code, "flag_retired");
            assert!(
                refusal.sentence.contains("2027-01-15 by ana: one model is left"),
                "{}",
                refusal.sentence
            );
        }
        other => panic!("{other:?}"),
    }
    world.act(&Command::Unretire { project, flag, reason: None });
    assert_eq!(world.catalogue.compile(&production()).flags.len(), 1);
}

#[test]
fn an_unchanged_flag_is_not_built_again_and_load_gives_the_same() {
    let mut world = World::new();
    world.apply(DESIGN);
    let before = world.catalogue.compile(&production()).flags[0].clone();
    world.apply("flag: other\ndefault: true\n");
    let after = world.catalogue.compile(&production()).flags;
    assert!(std::sync::Arc::ptr_eq(&before, &after[0]));
    assert!(after[1].version > after[0].version);
}

#[test]
fn prerequisites_must_be_there_and_not_go_round() {
    let mut world = World::new();
    assert!(
        world.problems("flag: a\ndefault: true\nprerequisites: {b: true}\n")[0].contains("no flag \"b\"")
    );
    world.apply("flag: a\ndefault: true\nprerequisites: {b: true}\n---\nflag: b\ndefault: true\n");
    let flags = world.catalogue.compile(&production()).flags;
    assert_eq!(flags[0].prerequisites[0].variant, 0);
    assert!(
        world.problems("flag: b\ndefault: true\nprerequisites: {a: true}\n")[0].contains("depends on itself")
    );
}

#[test]
fn edits_are_checked_by_the_schema_and_settled_types() {
    let mut world = World::new();
    let schema = "flag: k\ndefault: 5\nschema: {type: integer, maximum: 10}\n";
    world.apply(schema);
    assert!(world.problems(&schema.replace('5', "50"))[0].contains("does not fit"));
    assert!(world.problems("flag: k\ndefault: five\n")[0].contains("type integer"));
    assert!(
        world.problems("flag: m\ndefault: 5\nrules: [{condition: {a: b}, value: x}]\n")[0]
            .contains("different types")
    );
    assert!(
        world.problems("flag: m\ndefault: 5\nrules: [{condition: {segment: nobody}, value: 6}]\n")[0]
            .contains("no segment")
    );
}

#[test]
fn an_earlier_revision_comes_back_as_a_new_change() {
    use ensign_control::catalogue::{HistoryRecord, ItemKey, history};
    let mut world = World::new();
    let mut records = Vec::new();
    let mut keep = |change: &Change| {
        for entry in change.audit.iter().filter(|entry| entry.scope == Scope::place(&production())) {
            records.push(HistoryRecord {
                at: entry.at,
                actor: entry.actor.clone(),
                action: entry.action.clone(),
                reason: entry.reason.clone(),
                diff: entry.diff.clone(),
            });
        }
    };
    keep(&world.apply(DESIGN));
    keep(&world.apply(&DESIGN.replace("10}", "20}")));
    let version = world.catalogue.version(&ItemKey::state(&production(), &key("inference_model"))).unwrap();
    let entries = history(&records, version);
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[1].revision, entries[1].lines.len()), (version, 1));
    let change = world.act(&Command::RestoreRevision {
        place: production(),
        flag: key("inference_model"),
        revision: entries[0].revision,
        snapshot: entries[0].snapshot.clone(),
        reason: None,
    });
    assert!(!change.is_empty());
    let state = world.catalogue.flag_state(&production(), &key("inference_model")).unwrap();
    assert_eq!(state.section.rules[1].condition, json!({"rollout_percentage": 10}));
}

#[test]
fn a_split_moves_the_fewest_units() {
    let mut world = World::new();
    world.apply("flag: s\ndefault: a\nsplit: {b: 10, a: 90}\n");
    let split = |world: &World| match &world.catalogue.compile(&production()).flags[0].fallthrough {
        Outcome::Split(allocation) => allocation.clone(),
        other => panic!("{other:?}"),
    };
    let before = split(&world);
    assert_eq!((before.epoch, before.intervals[0].variant, before.share(1)), (1, 0, 10_000));
    world.act(&Command::SetSplit {
        place: production(),
        flag: key("s"),
        rule: None,
        weights: vec![("a".to_owned(), 75.0), ("b".to_owned(), 25.0)],
        reason: None,
    });
    let after = split(&world);
    assert_eq!((after.epoch, after.share(1), after.id), (2, 25_000, before.id));
}

fn start(document: Json) -> Command {
    Command::RolloutStart { place: production(), document, reason: None }
}

fn act(action: ensign_control::catalogue::RolloutAction) -> Command {
    Command::Rollout { place: production(), flag: key("inference_model"), action, reason: None }
}

fn fallthrough(world: &World) -> Vec<(u16, u32)> {
    match &world.catalogue.compile(&production()).flags[0].fallthrough {
        Outcome::Split(split) => {
            split.intervals.iter().map(|interval| (interval.variant, interval.weight)).collect()
        }
        Outcome::Fixed(variant) => vec![(*variant, 100_000)],
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rollout_owns_its_split_and_folds_the_gate_in() {
    use ensign_control::catalogue::{EvidenceNote, RolloutAction};
    let mut world = World::new();
    world.apply(DESIGN);
    let begin =
        start(json!({"rollout": "inference_model", "to": "claude-sonnet-4-6", "stages": [5, 25, 100]}));
    let change = world.act(&begin);
    assert_eq!(fallthrough(&world), [(0, 95_000), (2, 5_000)]);
    assert!(
        change.answer.sentences.iter().any(|s| s.contains("part of the rollout now")),
        "{:#?}",
        change.answer
    );
    match change.evidence.as_slice() {
        [EvidenceNote::Watch(watch), EvidenceNote::Stratum { stratum, .. }] => {
            assert_eq!((watch.control, watch.new, stratum.share, stratum.epoch.0), (0, 2, 5_000, 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.refusal(&begin), "rollout_running");
    // The file that has not changed leaves the rollout alone, and so does an edit of an earlier rule.
    assert!(world.apply(DESIGN).is_empty());
    let change = world.apply(&DESIGN.replace("internal", "staff"));
    assert!(
        matches!(change.evidence.as_slice(), [EvidenceNote::Stratum { stratum, .. }] if stratum.epoch.0 == 2)
    );
    assert_eq!(fallthrough(&world), [(0, 95_000), (2, 5_000)]);
    // Its own split is refused.
    let split = Command::SetSplit {
        place: production(),
        flag: key("inference_model"),
        rule: None,
        weights: vec![("claude-3-haiku".to_owned(), 100.0)],
        reason: None,
    };
    assert_eq!(world.refusal(&split), "split_owned_by_rollout");
    assert_eq!(world.refusal(&applying(&DESIGN.replace("claude-3-haiku", "gpt"))), "split_owned_by_rollout");
    // A kill holds it; restoring leaves it held; aborting gives everyone control.
    let flag = key("inference_model");
    world.act(&Command::Kill { place: production(), flag: flag.clone(), to: None, reason: None });
    assert_eq!(world.catalogue.active_rollout(&production(), &flag).unwrap().phase.word(), "held");
    world.act(&Command::Restore { place: production(), flag: flag.clone(), reason: None });
    world.act(&act(RolloutAction::Resume));
    let change = world.act(&act(RolloutAction::Abort));
    assert_eq!(fallthrough(&world), [(0, 100_000)]);
    assert!(matches!(change.evidence.as_slice(), [EvidenceNote::Finished(_)]));
    assert!(world.catalogue.active_rollout(&production(), &flag).is_none());
    // The next one is another rollout with a later epoch and the same salt.
    world.act(&begin);
    assert_eq!(world.catalogue.active_rollout(&production(), &flag).unwrap().id.number, 2);
    let change = world.act(&Command::HoldAll { place: production(), reason: None });
    assert!(change.answer.sentences.last().unwrap().contains("One rollout"), "{:?}", change.answer.sentences);
}

#[test]
fn a_rollout_waits_for_its_window() {
    use ensign_control::catalogue::{Record, RecordKind, Window};
    let mut world = World::new();
    world.apply(DESIGN);
    let window =
        Window { from: NOW, until: Timestamp(NOW.0 + 3_600_000_000), every_days: Some(7), reason: None };
    let body = serde_json::to_value(&window).unwrap();
    let record = Record {
        project: Some(key("default")),
        environment: None,
        kind: RecordKind::Window,
        key: "night".to_owned(),
        body,
    };
    world.act(&Command::PutRecord { record, reason: None });
    world.act(&start(json!({"rollout": "inference_model", "to": "claude-sonnet-4-6"})));
    assert_eq!(fallthrough(&world), [(0, 100_000)]);
    let rollout = world.catalogue.active_rollout(&production(), &key("inference_model")).unwrap();
    let tick =
        Command::RolloutTick { rollout: rollout.id, evidence: None, log: None, method: "test".to_owned() };
    assert!(world.act(&tick).is_empty());
    world.now = window.until;
    world.act(&tick);
    assert_eq!(fallthrough(&world), [(0, 99_000), (2, 1_000)]);
    let (catalogue, problems) = Catalogue::load(Vec::new());
    assert!(catalogue.active_rollouts().is_empty() && problems.is_empty());
}

mod any {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    fn value(kind: u8) -> BoxedStrategy<Json> {
        match kind {
            0 => any::<bool>().prop_map(Json::from).boxed(),
            1 => (-3_i64..4).prop_map(Json::from).boxed(),
            2 => (-4_i32..5).prop_map(|n| Json::from(f64::from(n) / 2.0)).boxed(),
            3 => "[a-c~/ é\"]{1,3}".prop_map(Json::from).boxed(),
            _ => (0_i64..3).prop_map(|n| json!({ "k": [n, null, 1.0] })).boxed(),
        }
    }

    fn condition() -> impl Strategy<Value = Json> {
        prop_oneof![
            (0_u32..=100).prop_map(|share| json!({ "rollout_percentage": share })),
            "[a-c]".prop_map(|plan| json!({ "plan": plan })),
            (0_i64..9).prop_map(|age| json!({ "age": { "gte": age }, "not": { "org:plan": ["x", "y"] } })),
            Just(json!({})),
        ]
    }

    fn section(kind: u8) -> impl Strategy<Value = serde_json::Map<String, Json>> {
        let rule = (condition(), value(kind))
            .prop_map(|(condition, value)| json!({ "condition": condition, "value": value }));
        let pin = (value(kind), "[a-d]")
            .prop_map(|(value, who)| json!({ "who": who, "value": value, "owner": "o", "reason": "r" }));
        let split = (value(kind), value(kind), 0_u32..=100);
        let lists = (prop::collection::vec(rule, 0..4), prop::collection::vec(pin, 0..2));
        (value(kind), lists, prop::option::of(split), any::<bool>()).prop_map(|(default, (rules, pins), split, on)| {
            let mut section = serde_json::Map::new();
            section.insert("default".into(), default);
            section.insert("rules".into(), rules.into());
            section.insert("pins".into(), pins.into());
            section.insert("on".into(), on.into());
            if let Some((a, b, share)) = split {
                let parts = json!([{ "value": a, "percentage": share }, { "value": b, "percentage": 100 - share }]);
                section.insert("split".into(), parts);
            }
            section
        })
    }

    pub(crate) fn document() -> impl Strategy<Value = Json> {
        (0_u8..5).prop_flat_map(|kind| {
            let staging = prop::option::of(section(kind));
            (section(kind), staging, "[a-z]{1,4}").prop_map(move |(mut common, staging, key)| {
                let mut document = serde_json::Map::new();
                document.insert("flag".into(), key.into());
                let words = ["boolean", "integer", "float", "string", "json"];
                document.insert("type".into(), words[usize::from(kind)].into());
                document.append(&mut common);
                if let Some(staging) = staging {
                    document.insert("environments".into(), json!({ "staging": staging }));
                }
                Json::Object(document)
            })
        })
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_export_applied_is_an_empty_plan(documents in proptest::collection::vec(any::document(), 1..3)) {
        let mut world = World::new();
        for document in &documents {
            let command = applying(&document.to_string());
            // Two documents of one key and different types: the second is refused, which is not the matter here.
            if let Ok(change) = world.decide(&command) {
                world.commit(&change);
            }
        }
        for format in [ExportFormat::Json, ExportFormat::Yaml] {
            let text = world.catalogue.export(&key("default")).text(format);
            let change = world.decide(&applying(&text)).unwrap_or_else(|r| panic!("{text}\n{r:#?}"));
            assert_eq!(changed(&change), Vec::<String>::new(), "{text}");
            let mut other = World::new();
            other.apply(&text);
            assert_eq!(other.catalogue.export(&key("default")).text(format), text);
            let flags = |world: &World| -> Vec<_> {
                world.catalogue.compile(&production()).flags.iter().map(|flag| ensign_eval::model::Flag { version: 0, ..(**flag).clone() }).map(|mut flag| {
                    // How often a split was edited is not in the files.
                    if let Outcome::Split(split) = &mut flag.fallthrough { split.epoch = 0; }
                    flag
                }).collect()
            };
            assert_eq!(flags(&other), flags(&world), "{text}");
        }
    }
}
