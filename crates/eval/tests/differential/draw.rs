//! Draws flags, segments and contexts, odd ones among them, from a seed.

use ensign_eval::model::{
    Allocation, AllocationId, AttributeRef, Clause, Condition, Flag, Gate, HashKey, Interval, KeyList, Op,
    Outcome, Prerequisite, Rule, Segment, SegmentMatch, SegmentRule, Target, USER, Unit, Value, ValueKind,
    Variant,
};
use serde_json::{Value as Json, json};

use crate::World;

const FLAGS: usize = 6;
const SEGMENTS: usize = 5;
const KINDS: [&str; 4] = ["user", "user", "org", "device"];
const KEYS: [&str; 6] = ["a", "b", "c", "key-with-more-than-fifteen-bytes", "ü", "33"];
const ATTRIBUTES: [&str; 14] = [
    "plan",
    "plan",
    "n",
    "when",
    "ver",
    "tags",
    "key",
    "kind",
    "name",
    "anonymous",
    "/obj/x",
    "/obj/y~1z",
    "/plan",
    "missing",
];
const ODD_ATTRIBUTES: [&str; 6] = ["", "/", "//a", "/obj/", "/a~2", "/tags/0"];

pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn some<T>(&mut self, up_to: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(up_to + 1)).map(|_| make(self)).collect()
    }

    pub(crate) fn world(&mut self) -> World {
        World {
            flags: (0..FLAGS).map(|i| self.flag(i)).collect(),
            segments: (0..SEGMENTS).map(|i| self.segment(i)).collect(),
        }
    }

    fn flag(&mut self, index: usize) -> Flag {
        let variants = 2 + self.below(3);
        let values = [json!("a"), json!(true), json!(3), json!(2.5), json!({"model": "m"})];
        let key = format!("flag{index}");
        Flag {
            version: 1 + self.below(9) as u64,
            kind: ValueKind::Json,
            on: !self.one_in(8),
            variants: (0..variants)
                .map(|i| Variant { name: format!("v{i}"), value: Value::from_json(values[i].clone()) })
                .collect(),
            off_variant: if self.one_in(4) { None } else { Some(self.variant()) },
            prerequisites: if self.one_in(3) { self.some(2, |d| d.prerequisite(index)) } else { vec![] },
            pins: vec![],
            targets: self.targets(),
            rules: (0..self.below(4)).map(|i| self.rule(&key, i)).collect(),
            fallthrough: self.outcome(&format!("{key}-f")),
            salt: if self.one_in(5) { String::new() } else { format!("salt{}", self.below(50)) },
            kill: None,
            key,
        }
    }

    /// Mostly one that exists.
    fn variant(&mut self) -> u16 {
        if self.one_in(60) { 7 } else { self.below(2) as u16 }
    }

    /// Mostly a flag further on, now and then any, so that there are circles, or none.
    fn prerequisite(&mut self, index: usize) -> Prerequisite {
        let other = match self.below(12) {
            0 => self.below(FLAGS),
            1 => FLAGS,
            _ => index + 1 + self.below(3),
        };
        Prerequisite { flag: format!("flag{other}"), variant: self.below(2) as u16 }
    }

    fn key(&mut self) -> String {
        if self.one_in(2) { (*self.pick(&KEYS)).to_owned() } else { format!("u{}", self.below(1000)) }
    }

    fn keys(&mut self) -> Vec<String> {
        let mut keys = self.some(4, Self::key);
        if self.one_in(6) {
            keys.extend((0..20).map(|i| format!("u{i}")));
        }
        keys
    }

    /// At most one list per variant for users, because that is how the other side refers to them.
    fn targets(&mut self) -> Vec<Target> {
        if !self.one_in(3) {
            return vec![];
        }
        let mut targets: Vec<Target> = Vec::new();
        for _ in 0..self.below(4) {
            let target =
                Target { kind: (*self.pick(&KINDS)).to_owned(), keys: self.keys(), variant: self.variant() };
            let taken = |t: &Target| t.kind == USER && t.variant == target.variant;
            if target.kind != USER || !targets.iter().any(taken) {
                targets.push(target);
            }
        }
        targets
    }

    fn rule(&mut self, flag: &str, index: usize) -> Rule {
        let id = format!("{flag}-r{index}");
        let outcome = if self.one_in(4) {
            let gate = Gate {
                id: format!("gate-{id}"),
                salt: format!("s{}", self.below(9)),
                unit: self.unit(),
                weight: self.weight(),
            };
            Outcome::Gate { gate, variant: self.variant() }
        } else {
            self.outcome(&id)
        };
        Rule { conditions: self.conditions(2), id, outcome }
    }

    fn weight(&mut self) -> u32 {
        match self.below(6) {
            0 => 0,
            1 => 100_000,
            _ => self.below(100_001) as u32,
        }
    }

    fn unit(&mut self) -> Unit {
        let kind = (*self.pick(&KINDS)).to_owned();
        let by = match self.below(40) {
            0 => self.pick(&ODD_ATTRIBUTES),
            1..=12 => self.pick(&ATTRIBUTES),
            _ => "key",
        };
        Unit::Attribute { kind, by: AttributeRef::lenient(by) }
    }

    fn outcome(&mut self, id: &str) -> Outcome {
        if self.one_in(2) {
            return Outcome::Fixed(self.variant());
        }
        let mut intervals = Vec::new();
        let count = if self.one_in(60) { 0 } else { 1 + self.below(4) };
        for _ in 0..count {
            let weight = if self.one_in(6) { 0 } else { self.below(60_000) as u32 };
            intervals.push(Interval { variant: self.variant(), weight, untracked: self.one_in(4) });
        }
        Outcome::Split(Allocation {
            id: AllocationId(id.len() as u64),
            epoch: 1,
            unit: self.unit(),
            hash: if self.one_in(3) { HashKey::Seed(self.below(200) as i64 - 100) } else { HashKey::Flag },
            experiment: self.one_in(3),
            control: intervals.first().map_or(0, |i| i.variant),
            intervals,
        })
    }

    fn conditions(&mut self, up_to: usize) -> Vec<Condition> {
        self.some(up_to, |d| {
            if d.one_in(4) { Condition::Segment(d.segment_match()) } else { Condition::Clause(d.clause()) }
        })
    }

    fn segment_match(&mut self) -> SegmentMatch {
        let segments = (0..=self.below(2)).map(|_| format!("segment{}", self.below(SEGMENTS + 1))).collect();
        SegmentMatch { segments, negate: self.one_in(3) }
    }

    fn clause(&mut self) -> Clause {
        let attribute = if self.one_in(60) { *self.pick(&ODD_ATTRIBUTES) } else { *self.pick(&ATTRIBUTES) };
        let op = match self.below(40) {
            0 => Op::Unknown("newer".to_owned()),
            1..=15 => Op::In,
            _ => self.pick(&Op::KNOWN).clone(),
        };
        let values = (0..self.below(4)).map(|_| self.operand(&op)).collect();
        Clause {
            kind: (*self.pick(&KINDS)).to_owned(),
            attribute: AttributeRef::lenient(attribute),
            op,
            values,
            negate: self.one_in(3),
        }
    }

    /// Mostly of the operator's type.
    fn operand(&mut self, op: &Op) -> Json {
        if self.one_in(6) {
            return self.any_value();
        }
        match op {
            Op::In | Op::Unknown(_) => self.any_value(),
            Op::StartsWith | Op::EndsWith | Op::Contains => {
                json!(*self.pick(&["p", "pro", "o", "", "ü", "2."]))
            }
            Op::Matches => json!(*self.pick(&["^p", "o$", "[a-c]+", "", "(", "u\\d+", "(?i)PRO", ".*"])),
            Op::LessThan | Op::LessThanOrEqual | Op::GreaterThan | Op::GreaterThanOrEqual => self.number(),
            Op::Before | Op::After => self.date(),
            Op::SemVerEqual | Op::SemVerLessThan | Op::SemVerGreaterThan => self.semver(),
        }
    }

    fn number(&mut self) -> Json {
        self.pick(&[json!(0), json!(1), json!(1.0), json!(2.5), json!(-3), json!(33), json!(33333.0)]).clone()
    }

    fn date(&mut self) -> Json {
        let dates = [
            json!("2026-01-02T03:04:05Z"),
            json!("2026-01-02T03:04:05.000001Z"),
            json!("2026-01-02T05:04:05+02:00"),
            json!("2026-01-02"),
            json!("2026-01-02 03:04:05Z"),
            json!("2024-02-29T23:59:60Z"),
            json!("1999-12-31T00:00:00-11:30"),
            json!(1_767_323_045_000_i64),
            json!(1_767_323_045_000.5),
            json!(0),
            json!(-1),
        ];
        self.pick(&dates).clone()
    }

    fn semver(&mut self) -> Json {
        let versions = [
            "2",
            "2.0",
            "2.0.0",
            "2.0.0-rc",
            "2-rc",
            "2.0.0-rc.1",
            "2.0.0-rc.10",
            "2.0.0+b",
            "v2",
            "02",
            "2.0.0.0",
            "1.10.0",
            "1.9",
            "2.0.0-01",
            "2.",
            "99999999999999999999.0.0",
        ];
        json!(*self.pick(&versions))
    }

    fn any_value(&mut self) -> Json {
        match self.below(12) {
            0..=3 => json!(*self.pick(&[
                "pro",
                "free",
                "a",
                "ü",
                "org",
                "user",
                "a-plan-of-more-than-fifteen-bytes"
            ])),
            4 | 5 => self.number(),
            6 => json!(self.one_in(2)),
            7 => self.date(),
            8 => self.semver(),
            9 => json!(["pro", 1]),
            10 => json!(self.key()),
            _ => self.pick(&[json!({"x": 1}), json!([]), json!(9_100_000_000_000_000_001_i64)]).clone(),
        }
    }

    fn segment(&mut self, index: usize) -> Segment {
        Segment {
            key: format!("segment{index}"),
            version: 1,
            included: self.key_lists(),
            excluded: self.key_lists(),
            rules: (0..self.below(3)).map(|i| self.segment_rule(index, i)).collect(),
            salt: format!("salt{}", self.below(9)),
        }
    }

    fn key_lists(&mut self) -> Vec<KeyList> {
        if self.one_in(2) {
            return vec![];
        }
        self.some(2, |d| KeyList { kind: (*d.pick(&KINDS)).to_owned(), keys: d.keys() })
    }

    fn segment_rule(&mut self, segment: usize, index: usize) -> SegmentRule {
        let mut conditions = self.some(2, |d| Condition::Clause(d.clause()));
        if self.one_in(3) {
            let nested = if self.one_in(12) { self.below(SEGMENTS) } else { segment + 1 + self.below(2) };
            let segments = vec![format!("segment{nested}")];
            conditions.push(Condition::Segment(SegmentMatch { segments, negate: self.one_in(3) }));
        }
        let (kind, by) = match self.unit() {
            Unit::Attribute { kind, by } => (kind, by),
            Unit::Named(kind) => (kind, AttributeRef::key()),
        };
        let weight = if self.one_in(2) { Some(self.weight()) } else { None };
        SegmentRule { id: format!("s{index}"), conditions, weight, kind, by }
    }

    pub(crate) fn context(&mut self) -> Json {
        match self.below(8) {
            0..=3 => self.part(Some("user")),
            4 => {
                let mut old = self.part(None);
                old["custom"] = json!({"plan": self.any_value(), "n": self.number()});
                old
            }
            5 => self.part(Some("org")),
            _ => {
                let mut multi = json!({"kind": "multi", "org": self.part(None)});
                if !self.one_in(4) {
                    multi["user"] = self.part(None);
                }
                if self.one_in(2) {
                    multi["device"] = self.part(None);
                }
                multi
            }
        }
    }

    fn part(&mut self, kind: Option<&str>) -> Json {
        let mut part = json!({"key": self.key()});
        if let Some(kind) = kind {
            part["kind"] = kind.into();
        }
        if self.one_in(3) {
            part["name"] = (*self.pick(&["Ann", "pro"])).into();
        }
        if self.one_in(3) {
            part["anonymous"] = self.one_in(2).into();
        }
        for _ in 0..self.below(6) {
            let (name, value) = match self.below(8) {
                0..=2 => ("plan", self.any_value()),
                3 => ("n", self.number()),
                4 => ("when", self.date()),
                5 => ("ver", self.semver()),
                6 => ("tags", json!([self.any_value(), self.any_value(), null])),
                _ => ("obj", json!({"x": self.any_value(), "y/z": self.any_value()})),
            };
            part[name] = if self.one_in(15) { Json::Null } else { value };
        }
        part
    }
}
