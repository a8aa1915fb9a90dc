//! Deployments through the catalogue's commands: time is an argument, so a timetable of an hour takes no time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test fail by panicking")]

use std::collections::BTreeMap;

use ensign_control::catalogue::{
    Actor, Catalogue, Change, Command, ExportFormat, Item, Mode, Rejected, RolloutAction, Scope, Source, Verb,
};
use ensign_control::deployment::Growth;
use ensign_control::deployment::{
    Ask, Deployment, Monitor, NOTHING, NewApplication, NewEnvironment, NewProfile, NewStart, NewStrategy,
    NewVersion, ProfileKind, Tags, UNIT,
};
use ensign_control::ids::{Key, Place, RolloutId, Span, Timestamp};
use ensign_eval::{ContextBuf, Ruleset, Silent, compile};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
const SESSIONS: usize = 2_000;
const METHOD: &str = "1";

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// An application with a profile in three versions and a strategy, and the store's counters around it.
struct World {
    catalogue: Catalogue,
    revisions: BTreeMap<Scope, u64>,
    now: Timestamp,
    place: Place,
    profile: String,
    strategy: String,
    puts: BTreeMap<String, Item>,
}

impl World {
    fn new(monitors: &[&str], [minutes, factor, bake]: [u32; 3]) -> Self {
        let place = Place { project: key("gateway"), environment: key("prod") };
        let mut world = Self {
            catalogue: Catalogue::default(),
            revisions: BTreeMap::new(),
            now: NOW,
            place,
            profile: String::new(),
            strategy: String::new(),
            puts: BTreeMap::new(),
        };
        world.commit(&Catalogue::initial(NOW));
        let name = String::from;
        let account = key("default");
        world.ask(Ask::CreateApplication(NewApplication {
            account: account.clone(),
            name: name("gateway"),
            description: None,
            tags: Tags::new(),
        }));
        let monitors = monitors.iter().map(|alarm| Monitor { alarm: name(alarm), role: None }).collect();
        world.ask(Ask::CreateEnvironment(NewEnvironment {
            project: key("gateway"),
            name: name("prod"),
            description: None,
            monitors,
            tags: Tags::new(),
        }));
        world.profile = world.ask(Ask::CreateProfile(NewProfile {
            project: key("gateway"),
            name: name("model selection"),
            description: None,
            kind: ProfileKind::Freeform,
            validators: Vec::new(),
            role: None,
            kms: None,
            tags: Tags::new(),
        }));
        for label in ["one", "two", "three"] {
            world.ask(Ask::CreateVersion(NewVersion {
                project: key("gateway"),
                profile: world.profile.clone(),
                content: format!("{{\"model\": \"{label}\"}}").into_bytes(),
                content_type: name("application/json"),
                description: None,
                label: Some(name(label)),
                latest: None,
            }));
        }
        world.strategy = world.ask(Ask::CreateStrategy(NewStrategy {
            account,
            name: name("own"),
            description: None,
            growth: Growth::Linear,
            factor: f64::from(factor),
            minutes,
            bake_minutes: bake,
            replicate: false,
            tags: Tags::new(),
        }));
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
        for (id, body) in &change.puts {
            let version = risen.get(&id.scope).copied().unwrap_or(0);
            self.puts.insert(format!("{id:?}"), Item { id: id.clone(), version, body: body.clone() });
        }
    }

    /// What a process that starts anew would know.
    fn restart(&mut self) {
        let (catalogue, problems) = Catalogue::load(self.puts.values().cloned());
        assert!(problems.is_empty(), "{problems:?}");
        self.catalogue = catalogue;
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
    fn ask(&mut self, ask: Ask) -> String {
        self.act(&Command::Deploy { ask: Box::new(ask), reason: None }).answer.made.unwrap_or_default()
    }

    fn refused(&self, ask: Ask) -> String {
        match self.decide(&Command::Deploy { ask: Box::new(ask), reason: None }) {
            Err(Rejected::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        }
    }

    fn starting(&self, version: &str) -> Ask {
        Ask::Start(NewStart {
            place: self.place.clone(),
            profile: self.profile.clone(),
            version: version.to_owned(),
            strategy: self.strategy.clone(),
            description: None,
            kms: None,
            tags: Tags::new(),
            latest: None,
        })
    }

    fn stopping(&self, number: u32, revert: bool) -> Ask {
        Ask::Stop { place: self.place.clone(), number, revert }
    }

    fn alarm(&mut self, name: &str, firing: bool) {
        let (place, name) = (self.place.clone(), name.to_owned());
        let reason = Some("5 % of answers fail".to_owned());
        self.ask(Ask::Alarm { place, name, firing, reason, source: "test".to_owned() });
    }

    fn deployment(&self, number: u32) -> Deployment {
        self.catalogue.deployment(&self.place, number).unwrap()
    }

    /// A look each second until so many seconds have passed.
    fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now = self.now + Span::seconds(1);
            self.look();
        }
    }

    fn look(&mut self) {
        for rollout in self.catalogue.active_rollouts() {
            let tick = Command::RolloutTick {
                rollout: rollout.id,
                evidence: None,
                log: None,
                method: METHOD.into(),
            };
            self.act(&tick);
        }
    }

    fn flag(&self) -> Key {
        self.catalogue.profiles(&self.place.project)[0].flag.clone()
    }

    /// What each session gets.
    fn served(&self) -> Vec<String> {
        let definitions = self.catalogue.compile(&self.place);
        let flags: Vec<_> = definitions.flags.iter().map(|flag| flag.as_ref().clone()).collect();
        let (ruleset, problems): (Ruleset, _) = compile(&flags, &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let handle = ruleset.flag(self.flag().as_str()).unwrap();
        let one = |n: usize| {
            let context = ContextBuf::of_kind(UNIT, &format!("session-{n}"));
            let variant = ruleset.evaluate(handle, &context, &mut Silent).variant.unwrap();
            ruleset.variants(handle)[usize::from(variant)].name.clone()
        };
        (0..SESSIONS).map(one).collect()
    }

    fn share(&self, variant: &str) -> f64 {
        self.served().iter().filter(|name| *name == variant).count() as f64 / SESSIONS as f64
    }

    fn everyone(&self, variant: &str) -> bool {
        self.served().iter().all(|name| name == variant)
    }
}

/// The log as `KIND@seconds`, oldest first.
fn log(deployment: &Deployment) -> String {
    let at = |at: Timestamp| (at - deployment.started).0 / 1_000_000;
    let events = deployment.events.iter().map(|event| format!("{:?}@{}", event.kind, at(event.at)));
    events.collect::<Vec<_>>().join(" ")
}

#[test]
fn sessions_follow_the_timetable_and_nobody_goes_back() {
    let mut world = World::new(&[], [10, 20, 5]);
    assert!(world.everyone(NOTHING));
    assert_eq!(world.ask(world.starting("one")), "1");
    assert!(world.everyone("one"), "there is nothing before the first");
    assert_eq!(world.deployment(1).share, 0, "its schedule is reported all the same");
    world.wait(901);
    assert_eq!(
        log(&world.deployment(1)),
        "Started@0 Percentage@120 Percentage@240 Percentage@360 Percentage@480 Percentage@600 Bake@600 Completed@900"
    );
    assert_eq!(world.ask(world.starting("2")), "2");
    assert_eq!(world.refused(world.starting("three")), "deployment_running");
    let mut before = vec![false; SESSIONS];
    for step in 0..=5 {
        let share = f64::from(step) * 0.2;
        let sigma = (share * (1.0 - share) / SESSIONS as f64).sqrt();
        assert!((world.share("two") - share).abs() <= 4.0 * sigma, "step {step}");
        let now: Vec<bool> = world.served().iter().map(|name| name == "two").collect();
        assert!(
            before.iter().zip(&now).all(|(before, now)| now >= before),
            "step {step}: somebody went back"
        );
        before = now;
        world.wait(120);
    }
    assert!(world.everyone("two"));
}

#[test]
fn a_late_look_catches_up_and_dates_each_step_with_when_it_was_due() {
    let mut world = World::new(&[], [10, 50, 0]);
    world.ask(world.starting("1"));
    world.wait(601);
    world.ask(world.starting("2"));
    world.restart();
    world.now = world.now + Span::seconds(3_000);
    world.restart();
    for _ in 0..4 {
        world.look();
    }
    assert_eq!(log(&world.deployment(2)), "Started@0 Percentage@300 Percentage@600 Bake@600 Completed@600");
    assert!(world.everyone("two"));
}

#[test]
fn each_deployment_deals_a_fresh_group() {
    let group = |world: &World, variant: &str| -> Vec<usize> {
        world.served().iter().enumerate().filter(|(_, name)| *name == variant).map(|(at, _)| at).collect()
    };
    let mut world = World::new(&[], [10, 50, 0]);
    world.ask(world.starting("1"));
    world.wait(601);
    world.ask(world.starting("2"));
    world.wait(301);
    let first = group(&world, "two");
    world.ask(world.stopping(2, false));
    assert!(world.everyone("one"));
    world.ask(world.starting("2"));
    world.wait(301);
    let second = group(&world, "two");
    let both = first.iter().filter(|at| second.contains(at)).count() as f64 / first.len() as f64;
    assert!((0.4..0.6).contains(&both), "{both}");
}

#[test]
fn a_stop_rolls_back_and_only_the_newest_complete_one_can_be_reverted_in_time() {
    let mut world = World::new(&[], [1, 50, 0]);
    world.ask(world.starting("one"));
    world.wait(61);
    world.ask(world.starting("two"));
    world.wait(31);
    world.ask(world.stopping(2, false));
    assert_eq!(log(&world.deployment(2)), "Started@0 Percentage@30 RollbackStarted@31 RollbackCompleted@31");
    assert!(world.everyone("one"));
    assert_eq!(world.refused(world.stopping(2, true)), "deployment_over");
    world.ask(world.starting("two"));
    world.wait(61);
    assert_eq!(world.refused(world.stopping(1, true)), "deployment_over", "not the newest");
    assert_eq!(world.refused(world.stopping(3, false)), "deployment_over", "a revert has to be allowed");
    let mut late = World {
        catalogue: world.catalogue.clone(),
        revisions: world.revisions.clone(),
        puts: BTreeMap::new(),
        place: world.place.clone(),
        profile: world.profile.clone(),
        strategy: world.strategy.clone(),
        now: world.now,
    };
    late.now = late.now + Span::seconds(73 * 3_600);
    assert_eq!(late.refused(late.stopping(3, true)), "deployment_over", "too late");
    world.ask(world.stopping(3, true));
    assert!(world.everyone("one"));
    assert!(log(&world.deployment(3)).ends_with("Reverted@61"));
}

#[test]
fn an_alarm_of_a_monitor_takes_it_back_and_stands_in_the_way_of_the_next() {
    let mut world = World::new(&["arn:aws:cloudwatch:x:0:alarm:ModelErrors"], [1, 100, 30]);
    world.ask(world.starting("one"));
    world.wait(61);
    world.alarm("Another", true);
    world.wait(1);
    assert!(world.deployment(1).state.is_running(), "an alarm that no monitor names changes nothing");
    world.wait(1_801);
    world.ask(world.starting("two"));
    world.wait(90);
    assert!(world.everyone("two"));
    world.alarm("ModelErrors", true);
    assert!(world.everyone("one"), "in the transaction of the alarm");
    let back = world.deployment(2);
    assert_eq!(log(&back), "Started@0 Percentage@60 Bake@60 RollbackStarted@90 RollbackCompleted@90");
    let said = &back.events[3].description;
    assert!(said.contains("alarm:ModelErrors fires (5 % of answers fail)"), "{said}");
    assert_eq!(world.refused(world.starting("two")), "alarm_firing");
    world.alarm("ModelErrors", false);
    world.ask(world.starting("two"));
}

#[test]
fn people_and_kills_steer_it_from_the_other_side_too() {
    let mut world = World::new(&[], [2, 50, 0]);
    world.ask(world.starting("one"));
    world.wait(121);
    world.ask(world.starting("two"));
    world.wait(61);
    let steer = |world: &World, action| Command::Rollout {
        place: world.place.clone(),
        flag: world.flag(),
        action,
        reason: Some("lunch".into()),
    };
    world.act(&steer(&world, RolloutAction::Hold));
    world.wait(600);
    assert_eq!(world.deployment(2).share, 50_000);
    world.act(&steer(&world, RolloutAction::Resume));
    world.wait(58);
    assert_eq!(world.deployment(2).share, 50_000, "as much of the stage is left as there was");
    world.wait(3);
    assert!(world.everyone("two"));
    world.ask(world.starting("three"));
    world.wait(61);
    let kill = Command::Kill { place: world.place.clone(), flag: world.flag(), to: None, reason: None };
    world.act(&kill);
    assert!(world.everyone("two"), "a kill stands above the deployment");
    world.act(&Command::Restore { place: world.place.clone(), flag: world.flag(), reason: None });
    world.act(&steer(&world, RolloutAction::Abort));
    let back = world.deployment(3);
    assert!(log(&back).contains("RollbackStarted"), "{}", log(&back));
    assert!(back.events.iter().any(|event| event.description.contains("ana: lunch")));
}

#[test]
fn the_same_version_may_be_deployed_again_and_numbers_are_never_reused() {
    let mut world = World::new(&[], [1, 50, 0]);
    world.ask(world.starting("one"));
    world.wait(61);
    world.ask(world.starting("one"));
    assert!(world.everyone("one"));
    world.wait(61);
    assert!(log(&world.deployment(2)).ends_with("Completed@60"));
    assert!(world.everyone("one"));
    let delete =
        |number| Ask::DeleteVersion { project: key("gateway"), profile: world.profile.clone(), number };
    assert_eq!(world.refused(delete(1)), "version_deployed");
    let (two, three) = (delete(2), delete(3));
    world.ask(three);
    world.ask(two);
    let made = world.ask(Ask::CreateVersion(NewVersion {
        project: key("gateway"),
        profile: world.profile.clone(),
        content: b"anything \xff".to_vec(),
        content_type: "application/octet-stream".into(),
        description: None,
        label: Some("two".into()),
        latest: Some(1),
    }));
    assert_eq!(made, "4");
    world.restart();
    let profile = world.catalogue.profiles(&key("gateway")).remove(0);
    let version = world.catalogue.document_version(&key("gateway"), &profile, "two").unwrap();
    assert_eq!((version.number, version.content.as_slice()), (4, &b"anything \xff"[..]));
}

#[test]
fn every_automatic_step_has_a_receipt_that_can_be_recomputed() {
    let mut world = World::new(&["ModelErrors"], [1, 50, 10]);
    world.ask(world.starting("one"));
    world.wait(1_000);
    world.ask(world.starting("two"));
    world.wait(40);
    world.alarm("ModelErrors", true);
    let rollout = world.catalogue.rollouts(&world.place).pop().unwrap();
    assert_eq!(rollout.id, RolloutId { place: world.place.clone(), flag: world.flag(), number: 2 });
    let receipts = world.catalogue.receipts(&world.place);
    let own = receipts.iter().filter(|(key, _)| key.starts_with(&format!("{}.", rollout.id)));
    let mut verified = 0;
    for (name, body) in own {
        ensign_control::receipt::verify(&body.to_string())
            .unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
        verified += 1;
    }
    assert_eq!(verified, 2, "one step and the rollback");
}

#[test]
fn the_flags_of_a_document_follow_its_deployment_session_by_session() {
    let mut world = World::new(&[], [10, 50, 0]);
    world.profile = world.ask(Ask::CreateProfile(NewProfile {
        project: key("gateway"),
        name: "features".into(),
        description: None,
        kind: ProfileKind::Flags,
        validators: Vec::new(),
        role: None,
        kms: None,
        tags: Tags::new(),
    }));
    let document = |second: bool| {
        format!(
            r#"{{"version": "1", "flags": {{"a": {{}}, "b": {{}}}}, "values": {{"a": {{"enabled": {second}}}, "b": {{"enabled": true}}}}}}"#
        )
    };
    for second in [false, true] {
        world.ask(Ask::CreateVersion(NewVersion {
            project: key("gateway"),
            profile: world.profile.clone(),
            content: document(second).into_bytes(),
            content_type: "application/json".into(),
            description: None,
            label: None,
            latest: None,
        }));
    }
    world.ask(world.starting("1"));
    world.wait(601);
    world.ask(world.starting("2"));
    world.wait(301);
    let served = |world: &World, flag: &str| -> Vec<String> {
        let definitions = world.catalogue.compile(&world.place);
        let flags: Vec<_> = definitions.flags.iter().map(|flag| flag.as_ref().clone()).collect();
        let (ruleset, _): (Ruleset, _) = compile(&flags, &[]);
        let handle = ruleset.flag(flag).unwrap();
        let one = |n: usize| {
            let context = ContextBuf::of_kind(UNIT, &format!("session-{n}"));
            let variant = ruleset.evaluate(handle, &context, &mut Silent).variant.unwrap();
            ruleset.variants(handle)[usize::from(variant)].name.clone()
        };
        (0..500).map(one).collect()
    };
    let (home, a) = (served(&world, "features"), served(&world, "features.a"));
    assert_eq!(home, a, "flags of one version for every session");
    assert!(home.iter().any(|name| name == "1") && home.iter().any(|name| name == "2"));
    assert!(served(&world, "features.b").iter().all(|name| name == "1"), "it has not changed");
    let text = world.catalogue.export(&world.place.project).text(ExportFormat::Yaml);
    let again = Command::Apply {
        project: world.place.project.clone(),
        environment: None,
        sources: vec![Source { name: "export".into(), text: text.into_bytes() }],
        mode: Mode::Merge,
        reason: None,
    };
    let plan = world.decide(&again).unwrap().answer.plan;
    assert!(plan.iter().all(|item| item.verb == Verb::Keep), "an export applied changes nothing: {plan:#?}");
    world.ask(world.stopping(2, false));
    assert!(served(&world, "features.a").iter().all(|name| name == "1"));
    world.ask(world.starting("2"));
    world.wait(601);
    assert!(served(&world, "features.a").iter().all(|name| name == "2"));
}
