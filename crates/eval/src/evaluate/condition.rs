//! Conditions and segments: true, false, unknown, or malformed.

use crate::compiled::{
    CompiledClause, CompiledCondition, CompiledSegment, Kind, Literals, Path, Slot, Test, Top, name_ref,
};
use crate::context::{Attr, Context};
use crate::explain::{Membership, Passed, Step, Trace};
use crate::instant;
use crate::version::Version;
use serde_json::Value as Json;

use super::split::Malformed;
use super::{Chain, Scope};

/// Whether something holds for a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// The attribute is not there; neither this nor its opposite holds.
    Unknown,
    /// The definition is broken here: there is no answer for the whole evaluation.
    Malformed,
}

impl From<bool> for Match {
    fn from(yes: bool) -> Self {
        if yes { Match::Yes } else { Match::No }
    }
}

impl Match {
    fn opposite(self) -> Self {
        match self {
            Match::Yes => Match::No,
            Match::No => Match::Yes,
            Match::Unknown | Match::Malformed => self,
        }
    }

    fn negated_if(self, negate: bool) -> Self {
        if negate { self.opposite() } else { self }
    }
}

impl From<Match> for Passed {
    fn from(m: Match) -> Self {
        match m {
            Match::Yes => Passed::Yes,
            Match::No | Match::Malformed => Passed::No,
            Match::Unknown => Passed::Unknown,
        }
    }
}

impl<'r, C: Context> Scope<'r, '_, C> {
    /// Whether all hold. As a rule needs only that, it ends at the first that does not.
    #[inline]
    pub(super) fn all(
        &self,
        conditions: &'r [CompiledCondition],
        chain: Option<&Chain<'_>>,
        trace: &mut impl Trace,
    ) -> Match {
        for condition in conditions {
            let found = match condition {
                CompiledCondition::Clause(clause) => self.clause(clause, trace),
                CompiledCondition::Segment { .. }
                | CompiledCondition::Any(_)
                | CompiledCondition::All(_)
                | CompiledCondition::Not(_) => self.tree(condition, chain, trace),
            };
            if found != Match::Yes {
                return found;
            }
        }
        Match::Yes
    }

    #[inline(never)]
    fn tree(
        &self,
        condition: &'r CompiledCondition,
        chain: Option<&Chain<'_>>,
        trace: &mut impl Trace,
    ) -> Match {
        match condition {
            CompiledCondition::Clause(clause) => self.clause(clause, trace),
            CompiledCondition::Segment { slots, negate, source } => {
                let found = self.in_segments(slots, chain, trace).negated_if(*negate);
                trace.step(|| Step::SegmentMatch { source: (**source).clone(), passed: found.into() });
                found
            }
            CompiledCondition::Not(inner) => self.tree(inner, chain, trace).opposite(),
            CompiledCondition::All(members) => self.fold(members, chain, trace, Match::No),
            CompiledCondition::Any(members) => self.fold(members, chain, trace, Match::Yes),
        }
    }

    /// Ends at the first member that is `decisive`; else unknown if any was, else the opposite.
    fn fold(
        &self,
        members: &'r [CompiledCondition],
        chain: Option<&Chain<'_>>,
        trace: &mut impl Trace,
        decisive: Match,
    ) -> Match {
        let mut result = decisive.opposite();
        for member in members {
            match self.tree(member, chain, trace) {
                Match::Malformed => return Match::Malformed,
                Match::Unknown => result = Match::Unknown,
                found @ (Match::Yes | Match::No) if found == decisive => return decisive,
                Match::Yes | Match::No => {}
            }
        }
        result
    }

    fn in_segments(&self, slots: &[Slot], chain: Option<&Chain<'_>>, trace: &mut impl Trace) -> Match {
        for slot in slots {
            if let Some(Some(segment)) = self.ruleset.segments.get(*slot as usize) {
                match self.member(segment, chain, trace) {
                    Match::No | Match::Unknown => {}
                    decided @ (Match::Yes | Match::Malformed) => return decided,
                }
            }
        }
        Match::No
    }

    fn member(&self, segment: &'r CompiledSegment, up: Option<&Chain<'_>>, trace: &mut impl Trace) -> Match {
        let chain = Chain::below(segment.slot, up);
        if up.is_some_and(|up| up.holds(segment.slot)) || !self.may_enter(&chain) {
            return Match::Malformed;
        }
        let listed = |lists: &[(Kind, crate::strings::StringSet)]| {
            lists
                .iter()
                .any(|(kind, keys)| self.context.key(kind.as_ref()).is_some_and(|key| keys.contains(key)))
        };
        if listed(&segment.included) {
            trace.step(|| Step::Segment { segment: segment.key.to_string(), how: Membership::Included });
            return Match::Yes;
        }
        if listed(&segment.excluded) {
            trace.step(|| Step::Segment { segment: segment.key.to_string(), how: Membership::Excluded });
            return Match::No;
        }
        let (rule, found) = self.segment_rules(segment, &chain, trace);
        trace.step(|| Step::Segment {
            segment: segment.key.to_string(),
            how: rule.map_or(Membership::NoRule, |id| Membership::Rule(id.to_owned())),
        });
        found
    }

    fn segment_rules(
        &self,
        segment: &'r CompiledSegment,
        chain: &Chain<'_>,
        trace: &mut impl Trace,
    ) -> (Option<&'r str>, Match) {
        for rule in &segment.rules {
            let found = match self.all(&rule.conditions, Some(chain), trace) {
                Match::Yes => rule.share.as_ref().map_or(Match::Yes, |share| self.in_share(share, trace)),
                other @ (Match::No | Match::Unknown | Match::Malformed) => other,
            };
            match found {
                Match::Yes => return (Some(&rule.id), Match::Yes),
                Match::Malformed => return (None, Match::Malformed),
                Match::No | Match::Unknown => {}
            }
        }
        (None, Match::No)
    }

    #[inline]
    fn clause(&self, clause: &'r CompiledClause, trace: &mut impl Trace) -> Match {
        let (found, seen) = match &clause.path.top {
            Top::Malformed => return Match::Malformed,
            Top::Kind if clause.path.rest.is_empty() => {
                let any = self.context.any_kind(&mut |kind| clause.test.holds(Attr::Str(kind)));
                (Match::from(any != clause.negate), None)
            }
            Top::Key | Top::Kind | Top::Anonymous(..) | Top::Named(..) => {
                match self.lookup(&clause.kind, &clause.path) {
                    Ok(Some(attr)) => (Match::from(clause.test.holds_for(attr) != clause.negate), Some(attr)),
                    Ok(None) => (Match::Unknown, None),
                    Err(Malformed) => return Match::Malformed,
                }
            }
        };
        trace.step(|| Step::Clause {
            clause: (*clause.source).clone(),
            found: seen.map(Attr::to_json),
            passed: found.into(),
        });
        found
    }

    /// The attribute; `None` if the context lacks it.
    #[inline(always)]
    pub(super) fn lookup<'a>(&'a self, kind: &'a Kind, path: &Path) -> Result<Option<Attr<'a>>, Malformed> {
        match &path.top {
            Top::Named(id, name) if path.rest.is_empty() => {
                Ok(self.context.attribute(kind.as_ref(), name_ref(*id, name)))
            }
            Top::Key if path.rest.is_empty() => Ok(self.context.key(kind.as_ref()).map(Attr::Str)),
            Top::Key | Top::Kind | Top::Anonymous(..) | Top::Named(..) | Top::Malformed => {
                self.lookup_rarely(kind, path)
            }
        }
    }

    /// Nested and built-in attributes, kept out of the way of plain ones.
    #[inline(never)]
    fn lookup_rarely<'a>(&'a self, kind: &'a Kind, path: &Path) -> Result<Option<Attr<'a>>, Malformed> {
        let kind = kind.as_ref();
        let top = match &path.top {
            Top::Named(id, name) => self.context.attribute(kind, name_ref(*id, name)),
            Top::Key => self.context.key(kind).map(Attr::Str),
            Top::Kind => self.context.has(kind).then_some(Attr::Str(kind.name)),
            Top::Anonymous(id, name) => match self.context.attribute(kind, name_ref(*id, name)) {
                None if self.context.has(kind) => Some(Attr::Bool(false)),
                found => found,
            },
            Top::Malformed => return Err(Malformed),
        };
        Ok(top.and_then(|top| nested(top, &path.rest)))
    }
}

fn nested<'a>(top: Attr<'a>, rest: &[Box<str>]) -> Option<Attr<'a>> {
    rest.iter().try_fold(top, |at, name| match at {
        Attr::Object(map) => map.get(&**name).and_then(Attr::from_json),
        Attr::Bool(_) | Attr::Int(_) | Attr::Float(_) | Attr::Str(_) | Attr::List(_) => None,
    })
}

impl Test {
    /// Whether it holds for the attribute or, in an array, for any element.
    #[inline(always)]
    fn holds_for(&self, attr: Attr<'_>) -> bool {
        match (self, attr) {
            (Test::InStrings(set), Attr::Str(s)) => set.contains(s),
            (test, attr) => test.holds_for_any(attr),
        }
    }

    #[inline(never)]
    fn holds_for_any(&self, attr: Attr<'_>) -> bool {
        match attr {
            Attr::List(list) => list.iter().any(|element| match Attr::from_json(element) {
                Some(attr) => self.holds(attr),
                None => self.holds_null(),
            }),
            Attr::Bool(_) | Attr::Int(_) | Attr::Float(_) | Attr::Str(_) | Attr::Object(_) => {
                self.holds(attr)
            }
        }
    }

    fn holds(&self, attr: Attr<'_>) -> bool {
        match (self, attr) {
            (Test::InStrings(set), Attr::Str(s)) => set.contains(s),
            (Test::InStrings(_), _) => false,
            (test, attr) => test.holds_rarely(attr),
        }
    }

    /// Everything but equality with strings.
    fn holds_rarely(&self, attr: Attr<'_>) -> bool {
        match (self, attr) {
            (Test::In(literals), attr) => literals.hold(attr),
            (Test::StartsWith(list), Attr::Str(s)) => list.iter().any(|l| s.starts_with(&**l)),
            (Test::EndsWith(list), Attr::Str(s)) => list.iter().any(|l| s.ends_with(&**l)),
            (Test::Contains(list), Attr::Str(s)) => list.iter().any(|l| s.contains(&**l)),
            (Test::Matches(list), Attr::Str(s)) => list.iter().any(|regex| regex.is_match(s)),
            (Test::LessThan(bound), attr) => compare(attr, *bound, |a, b| a < b),
            (Test::LessThanOrEqual(bound), attr) => compare(attr, *bound, |a, b| a <= b),
            (Test::GreaterThan(bound), attr) => compare(attr, *bound, |a, b| a > b),
            (Test::GreaterThanOrEqual(bound), attr) => compare(attr, *bound, |a, b| a >= b),
            (Test::Before(bound), attr) => compare_instants(attr, *bound, |a, b| a < b),
            (Test::After(bound), attr) => compare_instants(attr, *bound, |a, b| a > b),
            (Test::SemVer(wanted, list), Attr::Str(s)) => Version::parse(s).is_some_and(|version| {
                let mut versions = list.iter().filter_map(|l| Version::parse(l));
                versions.any(|other| version.precedence(&other) == *wanted)
            }),
            (
                Test::InStrings(_)
                | Test::StartsWith(_)
                | Test::EndsWith(_)
                | Test::Contains(_)
                | Test::Matches(_)
                | Test::SemVer(..)
                | Test::Never,
                _,
            ) => false,
        }
    }

    fn holds_null(&self) -> bool {
        if let Test::In(literals) = self { literals.deep.iter().any(Json::is_null) } else { false }
    }
}

fn number(attr: Attr<'_>) -> Option<f64> {
    match attr {
        Attr::Int(i) => Some(i as f64),
        Attr::Float(f) => Some(f),
        Attr::Bool(_) | Attr::Str(_) | Attr::List(_) | Attr::Object(_) => None,
    }
}

fn compare(attr: Attr<'_>, bound: Option<f64>, holds: impl Fn(f64, f64) -> bool) -> bool {
    matches!((number(attr), bound), (Some(a), Some(b)) if holds(a, b))
}

fn compare_instants(attr: Attr<'_>, bound: Option<i128>, holds: impl Fn(i128, i128) -> bool) -> bool {
    let instant = match attr {
        Attr::Str(s) => instant::from_text(s),
        Attr::Int(_) | Attr::Float(_) => number(attr).and_then(instant::from_millis),
        Attr::Bool(_) | Attr::List(_) | Attr::Object(_) => None,
    };
    matches!((instant, bound), (Some(a), Some(b)) if holds(a, b))
}

impl Literals {
    fn hold(&self, attr: Attr<'_>) -> bool {
        match attr {
            Attr::Str(s) => self.strings.contains(s),
            Attr::Int(i) => self.numbers.contains(&(i as f64)),
            Attr::Float(f) => self.numbers.contains(&f),
            Attr::Bool(b) => (b && self.yes) || (!b && self.no),
            Attr::List(list) => self.deep.iter().any(|d| d.as_array().is_some_and(|d| same_lists(d, list))),
            Attr::Object(map) => {
                self.deep.iter().any(|d| d.as_object().is_some_and(|d| same_objects(d, map)))
            }
        }
    }
}

/// Equality of JSON in which 1 equals 1.0.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => same_lists(a, b),
        (Json::Object(a), Json::Object(b)) => same_objects(a, b),
        (
            Json::Null | Json::Bool(_) | Json::String(_) | Json::Number(_) | Json::Array(_) | Json::Object(_),
            _,
        ) => a == b,
    }
}

fn same_lists(a: &[Json], b: &[Json]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

fn same_objects(a: &serde_json::Map<String, Json>, b: &serde_json::Map<String, Json>) -> bool {
    a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
}
