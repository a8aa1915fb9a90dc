//! From definitions to the compiled form: names become numbers, literals become sets, everything that can be
//! parsed once is.

mod clause;
pub(crate) mod dependencies;

use crate::bucket::{Prefix, Threshold};
use crate::compiled::{
    Arm, CompiledAllocation, CompiledCondition, CompiledFlag, CompiledGate, CompiledOutcome, CompiledPin,
    CompiledPinnedTo, CompiledRule, CompiledSegment, CompiledSegmentRule, CompiledTarget, CompiledUnit, Kind,
    Needed, Path, SegmentShare, Slot, Top,
};
use crate::model::{
    Allocation, AttributeRef, Condition, Flag, Gate, HashKey, KeyList, Outcome, PinnedTo, Segment, USER,
    Unit, VariantIndex,
};
use crate::names::Names;
use crate::problem::{Item, Problem, What};
use crate::strings::StringSet;

/// Compiles items against the tables of names of the ruleset they will be part of.
pub(crate) struct Compiler<'n> {
    pub(crate) attributes: &'n mut Names,
    pub(crate) flags: &'n mut Names,
    pub(crate) segments: &'n mut Names,
}

/// The compilation of one flag or segment: where problems and named segments are collected.
struct Job<'c, 'n> {
    names: &'c mut Compiler<'n>,
    item: Item,
    problems: Vec<Problem>,
    segments: Vec<(Slot, String)>,
}

impl CompiledFlag {
    pub(crate) fn duplicate(&self) -> Problem {
        Problem { item: Item::Flag(self.key.to_string()), at: String::new(), what: What::DuplicateKey }
    }
}

impl CompiledSegment {
    pub(crate) fn duplicate(&self) -> Problem {
        Problem { item: Item::Segment(self.key.to_string()), at: String::new(), what: What::DuplicateKey }
    }
}

impl<'n> Compiler<'n> {
    fn job(&mut self, item: Item) -> Job<'_, 'n> {
        Job { names: self, item, problems: Vec::new(), segments: Vec::new() }
    }

    pub(crate) fn flag(&mut self, flag: &Flag) -> CompiledFlag {
        let slot = self.flags.intern(&flag.key);
        let prerequisites = flag
            .prerequisites
            .iter()
            .map(|p| Needed {
                slot: self.flags.intern(&p.flag),
                key: p.flag.as_str().into(),
                variant: p.variant,
            })
            .collect();
        let mut job = self.job(Item::Flag(flag.key.clone()));
        let pins = job.pins(flag);
        let targets = job.targets(flag);
        let rules = job.rules(flag);
        let fallthrough = job.outcome(flag, &flag.fallthrough, "/fallthrough");
        if matches!(flag.fallthrough, Outcome::Gate { .. }) {
            job.problem("/fallthrough", What::GateAsFallthrough);
        }
        if let Some(off) = flag.off_variant {
            job.check_variant(flag, off, "/off_variant");
        }
        if let Some(kill) = flag.kill {
            job.check_variant(flag, kill.variant, "/kill/variant");
        }
        let Job { problems, segments, .. } = job;
        CompiledFlag {
            slot,
            key: flag.key.as_str().into(),
            version: flag.version,
            on: flag.on,
            kill: flag.kill.map(|k| k.variant),
            off_variant: flag.off_variant,
            variants: flag.variants.clone(),
            prerequisites,
            pins,
            targets,
            rules,
            fallthrough,
            problems,
            segments,
        }
    }

    pub(crate) fn segment(&mut self, segment: &Segment) -> CompiledSegment {
        let slot = self.segments.intern(&segment.key);
        let mut job = self.job(Item::Segment(segment.key.clone()));
        let rules = (0..).zip(&segment.rules).map(|(at, rule)| {
            let at: usize = at;
            CompiledSegmentRule {
                id: rule.id.as_str().into(),
                conditions: job.conditions(&rule.conditions, &format!("/rules/{at}/conditions")),
                share: rule.weight.map(|weight| {
                    Box::new(SegmentShare {
                        kind: Kind::new(&rule.kind),
                        path: job.path(&rule.by, &format!("/rules/{at}/by")),
                        prefix: Prefix::new(&format!("{}.{}", segment.key, segment.salt)),
                        below: Threshold::of_weight(weight),
                        weight,
                    })
                }),
            }
        });
        let rules = rules.collect();
        let Job { problems, segments, .. } = job;
        CompiledSegment {
            slot,
            key: segment.key.as_str().into(),
            version: segment.version,
            included: segment.included.iter().map(key_list).collect(),
            excluded: segment.excluded.iter().map(key_list).collect(),
            rules,
            problems,
            segments,
        }
    }
}

fn key_list(list: &KeyList) -> (Kind, StringSet) {
    (Kind::new(&list.kind), StringSet::new(list.keys.iter().map(String::as_str)))
}

impl Job<'_, '_> {
    fn problem(&mut self, at: impl Into<String>, what: What) {
        self.problems.push(Problem { item: self.item.clone(), at: at.into(), what });
    }

    fn check_variant(&mut self, flag: &Flag, variant: VariantIndex, at: &str) {
        if usize::from(variant) >= flag.variants.len() {
            self.problem(at, What::NoSuchVariant(variant));
        }
    }

    fn pins(&mut self, flag: &Flag) -> Vec<CompiledPin> {
        let mut pins = Vec::with_capacity(flag.pins.len());
        for (i, pin) in flag.pins.iter().enumerate() {
            self.check_variant(flag, pin.variant, &format!("/pins/{i}/variant"));
            let who = match &pin.who {
                PinnedTo::Keys { unit, keys } => CompiledPinnedTo::Keys {
                    unit: Box::new(self.unit(&Unit::Named(unit.clone()), false, "")),
                    keys: StringSet::new(keys.iter().map(String::as_str)),
                },
                PinnedTo::Conditions(conditions) => CompiledPinnedTo::Conditions(
                    self.conditions(conditions, &format!("/pins/{i}/conditions")),
                ),
            };
            pins.push(CompiledPin { id: pin.id.as_str().into(), who, variant: pin.variant });
        }
        pins
    }

    fn targets(&mut self, flag: &Flag) -> Vec<CompiledTarget> {
        let mut targets = Vec::with_capacity(flag.targets.len());
        for (i, target) in flag.targets.iter().enumerate() {
            self.check_variant(flag, target.variant, &format!("/targets/{i}/variant"));
            let keys = StringSet::new(target.keys.iter().map(String::as_str));
            if !keys.is_empty() {
                targets.push(CompiledTarget { kind: Kind::new(&target.kind), keys, variant: target.variant });
            }
        }
        targets
    }

    fn rules(&mut self, flag: &Flag) -> Vec<CompiledRule> {
        let mut rules = Vec::with_capacity(flag.rules.len());
        for (i, rule) in flag.rules.iter().enumerate() {
            rules.push(CompiledRule {
                id: rule.id.as_str().into(),
                conditions: self.conditions(&rule.conditions, &format!("/rules/{i}/conditions")),
                outcome: self.outcome(flag, &rule.outcome, &format!("/rules/{i}/outcome")),
            });
        }
        rules
    }

    fn outcome(&mut self, flag: &Flag, outcome: &Outcome, at: &str) -> CompiledOutcome {
        match outcome {
            Outcome::Fixed(variant) => {
                self.check_variant(flag, *variant, at);
                CompiledOutcome::Fixed(*variant)
            }
            Outcome::Split(allocation) => {
                CompiledOutcome::Split(Box::new(self.allocation(flag, allocation, at)))
            }
            Outcome::Gate { gate, variant } => {
                self.check_variant(flag, *variant, &format!("{at}/variant"));
                CompiledOutcome::Gate { gate: Box::new(self.gate(gate, at)), variant: *variant }
            }
        }
    }

    fn gate(&mut self, gate: &Gate, at: &str) -> CompiledGate {
        CompiledGate {
            id: gate.id.as_str().into(),
            unit: self.unit(&gate.unit, false, &format!("{at}/gate/unit")),
            prefix: Prefix::new(&format!("{}.{}", gate.id, gate.salt)),
            below: Threshold::of_weight(gate.weight),
            weight: gate.weight,
        }
    }

    fn allocation(&mut self, flag: &Flag, allocation: &Allocation, at: &str) -> CompiledAllocation {
        let mut arms = Vec::with_capacity(allocation.intervals.len());
        let mut sum = 0.0;
        for (i, interval) in allocation.intervals.iter().enumerate() {
            self.check_variant(flag, interval.variant, &format!("{at}/intervals/{i}/variant"));
            sum += f64::from(interval.weight) / 100_000.0;
            arms.push(Arm {
                end: Threshold::of(sum),
                variant: interval.variant,
                untracked: interval.untracked,
                share: allocation.share(interval.variant),
            });
        }
        match allocation.intervals.first() {
            None => self.problem(format!("{at}/intervals"), What::EmptyAllocation),
            Some(first) if first.variant != allocation.control => {
                self.problem(format!("{at}/control"), What::ControlNotFirst);
            }
            Some(_) => {}
        }
        self.check_variant(flag, allocation.control, &format!("{at}/control"));
        let prefix = match allocation.hash {
            HashKey::Flag => format!("{}.{}", flag.key, flag.salt),
            HashKey::Seed(seed) => seed.to_string(),
        };
        CompiledAllocation {
            id: allocation.id,
            epoch: allocation.epoch,
            unit: self.unit(&allocation.unit, allocation.experiment, &format!("{at}/unit")),
            prefix: Prefix::new(&prefix),
            experiment: allocation.experiment,
            control: allocation.control,
            arms,
            intervals: allocation.intervals.clone(),
        }
    }

    /// `key_only`: experiments always hash the key.
    fn unit(&mut self, unit: &Unit, key_only: bool, at: &str) -> CompiledUnit {
        let key = || Path { top: Top::Key, rest: Vec::new() };
        let (kind, path, instead) = match unit {
            Unit::Named(name) if name == USER => (Kind::new(USER), key(), None),
            Unit::Named(name) => {
                let attribute = self.path(&AttributeRef::name(name), at);
                (Kind::new(name), key(), Some((Kind::new(USER), attribute)))
            }
            Unit::Attribute { kind, .. } if key_only => (Kind::new(kind), key(), None),
            Unit::Attribute { kind, by } => (Kind::new(kind), self.path(by, at), None),
        };
        CompiledUnit { kind, path, instead, source: unit.clone() }
    }

    fn path(&mut self, attribute: &AttributeRef, at: &str) -> Path {
        let Some(top) = attribute.top() else {
            let why = attribute.problem().map_or("", |p| p.sentence());
            self.problem(at, What::BadAttribute(why.to_owned()));
            return Path { top: Top::Malformed, rest: Vec::new() };
        };
        let rest: Vec<Box<str>> = attribute.rest().iter().map(|part| part.as_str().into()).collect();
        let top = match top {
            "key" => Top::Key,
            "kind" => Top::Kind,
            name => {
                let id = self.names.attributes.intern(name);
                let shared = self.names.attributes.shared(id).cloned().unwrap_or_else(|| name.into());
                if name == "anonymous" { Top::Anonymous(id, shared) } else { Top::Named(id, shared) }
            }
        };
        Path { top, rest }
    }

    fn conditions(&mut self, conditions: &[Condition], at: &str) -> Vec<CompiledCondition> {
        let each = conditions.iter().enumerate();
        each.map(|(i, condition)| self.condition(condition, &format!("{at}/{i}"))).collect()
    }

    fn condition(&mut self, condition: &Condition, at: &str) -> CompiledCondition {
        match condition {
            Condition::Clause(clause) => CompiledCondition::Clause(self.clause(clause, at)),
            Condition::Segment(source) => {
                let mut slots = Vec::with_capacity(source.segments.len());
                for key in &source.segments {
                    let slot = self.names.segments.intern(key);
                    self.segments.push((slot, at.to_owned()));
                    slots.push(slot);
                }
                CompiledCondition::Segment { slots, negate: source.negate, source: Box::new(source.clone()) }
            }
            Condition::Any(members) => CompiledCondition::Any(self.conditions(members, &format!("{at}/any"))),
            Condition::All(members) => CompiledCondition::All(self.conditions(members, &format!("{at}/all"))),
            Condition::Not(inner) => {
                CompiledCondition::Not(Box::new(self.condition(inner, &format!("{at}/not"))))
            }
        }
    }
}
