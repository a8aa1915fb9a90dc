//! The state machine under simulated time, behind a network that loses, repeats, reorders and cuts.
//!
//! A model server serves a history of versions; connections are lists of frames that the network mistreats. After every
//! step: what is held is a version that was served, and its revision never goes back. At the end, when the network is
//! quiet, what is held is what is served.

use std::collections::BTreeMap;

use ensign_control::ids::{Span, Timestamp};
use ensign_protocol::stream::{Frame, Hello, Patch, Position, Put};
use ensign_sdk::sync::{Contact, Do, End, Input, Settings, Sync};
use serde_json::{Value, json};

/// Random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

type Flags = BTreeMap<String, Value>;

/// What a server serves: every version it ever had, and the steps it still keeps.
struct Server {
    versions: Vec<(Position, Flags)>,
    run: u64,
    overlay: u64,
}

impl Server {
    fn new() -> Self {
        let mut server = Self { versions: Vec::new(), run: 1, overlay: 0 };
        server.push(1, Flags::new());
        server
    }

    fn push(&mut self, revision: u64, flags: Flags) {
        // The cursor names the content, so the same content has the same cursor.
        let cursor = format!("{revision}-{}", serde_json::to_string(&flags).expect("strings"));
        self.versions.push((Position { cursor, revision, overlay: self.overlay }, flags));
    }

    fn now(&self) -> &(Position, Flags) {
        self.versions.last().expect("there is always one")
    }

    /// A change: of the configuration, or (without a revision) of an overlay.
    fn change(&mut self, dice: &mut Dice) {
        let (at, flags) = self.now();
        let (mut revision, mut flags) = (at.revision, flags.clone());
        let key = format!("f{}", dice.below(4));
        if dice.chance(20) {
            flags.remove(&key);
        } else {
            flags.insert(key, json!(dice.below(3)));
        }
        if dice.chance(70) {
            revision += 1;
        } else {
            self.overlay += 1;
        }
        self.push(revision, flags);
    }

    fn restart(&mut self) {
        self.run += 1;
        self.overlay = 0;
        let (at, flags) = self.now().clone();
        self.push(at.revision, flags);
    }

    fn put(&self) -> Frame {
        let (at, flags) = self.now().clone();
        Frame::Put(Put { v: 1, at, flags, segments: Flags::new() })
    }

    fn patch(&self, from: usize) -> Frame {
        let ((before, old), (at, new)) = (&self.versions[from], &self.versions[from + 1]);
        let mut flags: BTreeMap<String, Option<Value>> =
            old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), None)).collect();
        let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
        flags.extend(changed.map(|(key, value)| (key.clone(), Some(value.clone()))));
        Frame::Patch(Patch {
            v: 1,
            from: before.cursor.clone(),
            at: at.clone(),
            flags,
            segments: BTreeMap::new(),
        })
    }

    /// Where a reader with this cursor reads on; none: it needs the whole.
    fn index_of(&self, cursor: &str) -> Option<usize> {
        self.versions.iter().rposition(|(at, _)| at.cursor == cursor)
    }
}

/// The client's side of the model: it applies what the machine takes.
struct World {
    server: Server,
    sync: Sync,
    held: Option<(Position, Flags)>,
    now: Timestamp,
    connection: Option<u64>,
    /// Up to which version the connection was told.
    told: usize,
    /// Frames on their way.
    wire: Vec<(u64, Frame)>,
    dice: Dice,
    connects: Vec<Timestamp>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            server: Server::new(),
            sync: Sync::new(Settings::default(), None, Timestamp(0)),
            held: None,
            now: Timestamp(0),
            connection: None,
            told: 0,
            wire: Vec::new(),
            dice: Dice(seed),
            connects: Vec::new(),
        }
    }

    fn input(&mut self, input: Input<'_>, frame: Option<&Frame>) {
        let before = self.held.as_ref().map(|(at, _)| at.revision);
        let dice = self.dice.roll();
        for todo in self.sync.step(self.now, input, dice) {
            match todo {
                Do::Connect { connection, cursor } => {
                    self.connects.push(self.now);
                    self.connection = Some(connection);
                    let hello = Hello { v: 1, place: "p/e".into(), heartbeat_seconds: 24, attribution: None };
                    self.wire.push((connection, Frame::Hello(hello)));
                    let known = cursor.and_then(|cursor| self.server.index_of(&cursor));
                    self.told = known.unwrap_or(self.server.versions.len() - 1);
                    if known.is_none() {
                        self.wire.push((connection, self.server.put()));
                    }
                }
                Do::Close { .. } => self.connection = None,
                Do::Take => self.apply(frame.expect("only frames are taken")),
            }
        }
        let after = self.held.as_ref().map(|(at, _)| at.revision);
        assert!(after >= before, "the revision went back from {before:?} to {after:?}");
        assert_eq!(self.held.as_ref().map(|(at, _)| at), self.sync.held());
        if let Some((at, flags)) = &self.held {
            let served =
                self.server.versions.iter().any(|(known, old)| known.cursor == at.cursor && old == flags);
            assert!(served, "what is held was never served: {at:?} {flags:?}");
        }
    }

    fn apply(&mut self, frame: &Frame) {
        match frame {
            Frame::Put(put) => self.held = Some((put.at.clone(), put.flags.clone())),
            Frame::Patch(patch) => {
                let (at, flags) = self.held.as_mut().expect("a patch is of something");
                assert_eq!(at.cursor, patch.from, "a patch was taken that does not fit");
                *at = patch.at.clone();
                for (key, value) in &patch.flags {
                    match value {
                        Some(value) => drop(flags.insert(key.clone(), value.clone())),
                        None => drop(flags.remove(key)),
                    }
                }
            }
            Frame::Hello(_) | Frame::Other => {}
        }
    }

    /// The server tells its connection what is new.
    fn tell(&mut self) {
        while let Some(connection) = self.connection
            && self.told + 1 < self.server.versions.len()
        {
            let same =
                self.server.versions[self.told].0.cursor == self.server.versions[self.told + 1].0.cursor;
            if !same {
                self.wire.push((connection, self.server.patch(self.told)));
            }
            self.told += 1;
        }
    }

    /// Delivers a frame, perhaps not the oldest, perhaps not for the last time, perhaps never.
    fn deliver(&mut self, rough: bool) {
        if self.wire.is_empty() {
            return;
        }
        let at =
            if rough && self.dice.chance(15) { self.dice.below(self.wire.len() as u64) as usize } else { 0 };
        let (connection, frame) =
            if rough && self.dice.chance(10) { self.wire[at].clone() } else { self.wire.remove(at) };
        if rough && self.dice.chance(10) {
            return;
        }
        let readable = !(rough && self.dice.chance(3));
        self.input(Input::Heard { connection }, None);
        self.input(Input::Frame { connection, frame: readable.then_some(&frame) }, Some(&frame));
    }

    fn step(&mut self, rough: bool) {
        match self.dice.below(10) {
            0 if rough => self.server.change(&mut self.dice),
            1 if rough && self.dice.chance(5) => self.server.restart(),
            2 if rough && self.dice.chance(20) => {
                if let Some(connection) = self.connection.take() {
                    self.input(Input::Ended { connection, end: End::Lost }, None);
                }
            }
            3 => {
                self.now = self.now + Span::millis(self.dice.below(3_000) as i64);
                self.input(Input::Tick, None);
            }
            4 => {
                self.now = Timestamp(self.now.0.max(self.sync.wake().0));
                self.input(Input::Tick, None);
            }
            _ => {
                self.tell();
                self.deliver(rough);
            }
        }
    }
}

#[test]
fn whatever_the_network_does_the_client_reaches_what_is_served_and_never_goes_back() {
    for seed in 0..1_500 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step(true);
        }
        // Now the network behaves. Old frames may still be on their way.
        for _ in 0..400 {
            world.step(false);
        }
        while !world.wire.is_empty() {
            world.deliver(false);
        }
        let (at, flags) = world.server.now().clone();
        let held = world.held.unwrap_or_else(|| panic!("seed {seed}: nothing is held"));
        assert_eq!((&held.0.cursor, &held.1), (&at.cursor, &flags), "seed {seed}");
    }
}

#[test]
fn a_server_that_is_away_is_asked_ever_more_rarely_and_not_in_step() {
    let mut firsts = Vec::new();
    for seed in 0..200 {
        let mut world = World::new(seed);
        let hour = Timestamp(3_600_000_000);
        while world.now < hour {
            world.now = Timestamp(world.now.0.max(world.sync.wake().0));
            world.input(Input::Tick, None);
            if let Some(connection) = world.connection.take() {
                world.input(Input::Ended { connection, end: End::Lost }, None);
            }
        }
        let tries = world.connects.len();
        // A wait of up to 30 s, 15 s in the mean.
        assert!((150..400).contains(&tries), "seed {seed}: {tries} tries in an hour");
        firsts.push(world.connects[1].0 - world.connects[0].0);
        assert_eq!(world.sync.contact(hour), Contact::Never);
    }
    firsts.sort_unstable();
    assert!(firsts[20] < 200_000 && firsts[180] > 800_000, "the second tries are spread over a second");
}

#[test]
fn silence_is_noticed_and_what_is_held_becomes_lost_then_stale() {
    let mut world = World::new(7);
    world.input(Input::Tick, None);
    while !world.wire.is_empty() {
        world.deliver(false);
    }
    assert_eq!(world.sync.contact(world.now), Contact::Current);
    let heard = world.now;
    world.wire.clear();
    world.now = world.sync.wake();
    assert!(world.now - heard <= Span::seconds(60), "silence is noticed after {:?}", world.now - heard);
    world.input(Input::Tick, None);
    assert!(matches!(world.sync.contact(world.now), Contact::Lost { .. }));
    assert_eq!(world.connection, None);
    let later = world.now + Span::seconds(60);
    assert!(matches!(world.sync.contact(later), Contact::Stale { .. }));
}

#[test]
fn a_refused_key_is_asked_for_rarely_and_later_is_obeyed() {
    for (end, at_least) in [(End::Refused(401), 60), (End::Later(Span::seconds(120)), 120)] {
        let mut sync = Sync::new(Settings::default(), None, Timestamp(0));
        let todo = sync.step(Timestamp(0), Input::Tick, 0);
        let Some(Do::Connect { connection, .. }) = todo.first() else { panic!("it connects: {todo:?}") };
        sync.step(Timestamp(5), Input::Ended { connection: *connection, end }, 0);
        assert!(sync.wake() >= Timestamp(0) + Span::seconds(at_least));
        let refused = matches!(sync.contact(Timestamp(6)), Contact::Refused { status: 401 });
        assert_eq!(refused, end == End::Refused(401));
    }
}
