//! The ruleset: every compiled flag and segment of one environment, immutable and cheap to derive anew.

use std::sync::Arc;

use crate::compile::{Compiler, dependencies};
use crate::compiled::{CompiledFlag, CompiledOutcome, CompiledPinnedTo, CompiledSegment, Slot};
use crate::model::{Flag, Segment, Variant};
use crate::names::Names;
use crate::problem::Problem;

/// All flags and segments of one environment, ready to evaluate. Swapped whole; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Ruleset {
    pub(crate) attributes: Arc<Names>,
    pub(crate) flag_slots: Arc<Names>,
    pub(crate) segment_slots: Arc<Names>,
    pub(crate) flags: Vec<Option<Arc<CompiledFlag>>>,
    pub(crate) segments: Vec<Option<Arc<CompiledSegment>>>,
    /// By flag slot: whether the answer depends on the context.
    depends: Vec<bool>,
}

/// What changes from one ruleset to the next.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes<'a> {
    /// Flags that are new or different.
    pub flags: &'a [Flag],
    /// Segments that are new or different.
    pub segments: &'a [Segment],
    /// Keys of flags that are gone.
    pub removed_flags: &'a [String],
    /// Keys of segments that are gone.
    pub removed_segments: &'a [String],
}

/// A flag that was looked up. Valid for the ruleset it came from and for those made from it by
/// [`Ruleset::with_changes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlagHandle(pub(crate) Slot);

/// Compiles flags and segments. Never fails as a whole: what is wrong with one item is in the list, with what is
/// served instead.
#[must_use]
pub fn compile(flags: &[Flag], segments: &[Segment]) -> (Ruleset, Vec<Problem>) {
    Ruleset::default().with_changes(Changes { flags, segments, ..Changes::default() })
}

impl Ruleset {
    /// The next ruleset. Only what changed is compiled; everything else is shared with this one. The problems
    /// are all problems of the new ruleset, not only those of the changes.
    #[must_use]
    pub fn with_changes(&self, changes: Changes<'_>) -> (Ruleset, Vec<Problem>) {
        let mut next = self.clone();
        let mut problems = Vec::new();
        {
            let mut compiler = Compiler {
                attributes: Arc::make_mut(&mut next.attributes),
                flags: Arc::make_mut(&mut next.flag_slots),
                segments: Arc::make_mut(&mut next.segment_slots),
            };
            let segments: Vec<_> = changes.segments.iter().map(|s| compiler.segment(s)).collect();
            let flags: Vec<_> = changes.flags.iter().map(|f| compiler.flag(f)).collect();
            next.flags.resize(compiler.flags.len(), None);
            next.segments.resize(compiler.segments.len(), None);
            problems.extend(place(&mut next.flags, flags, |f| f.slot, |f| f.duplicate()));
            problems.extend(place(&mut next.segments, segments, |s| s.slot, |s| s.duplicate()));
        }
        for key in changes.removed_flags {
            clear(&mut next.flags, next.flag_slots.id(key));
        }
        for key in changes.removed_segments {
            clear(&mut next.segments, next.segment_slots.id(key));
        }
        next.depends = next.find_dependences();
        problems.extend(next.flags.iter().flatten().flat_map(|f| f.problems.iter().cloned()));
        problems.extend(next.segments.iter().flatten().flat_map(|s| s.problems.iter().cloned()));
        problems.extend(dependencies::problems(&next));
        problems.sort();
        problems.dedup();
        (next, problems)
    }

    /// Looks a flag up once, to evaluate it many times.
    #[inline]
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<FlagHandle> {
        let slot = self.flag_slots.id(key)?;
        self.flags.get(slot as usize)?.as_ref().map(|_| FlagHandle(slot))
    }

    /// The keys of all flags, with handles.
    pub fn flags(&self) -> impl Iterator<Item = (&str, FlagHandle)> {
        self.flags.iter().flatten().map(|flag| (&*flag.key, FlagHandle(flag.slot)))
    }

    /// The keys of all segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flatten().map(|segment| &*segment.key)
    }

    /// The revision of a flag's last change.
    #[must_use]
    pub fn version(&self, flag: FlagHandle) -> Option<u64> {
        self.compiled(flag).map(|f| f.version)
    }

    /// The revision of a segment's last change.
    #[must_use]
    pub fn segment_version(&self, key: &str) -> Option<u64> {
        let slot = self.segment_slots.id(key)?;
        self.segments.get(slot as usize)?.as_ref().map(|s| s.version)
    }

    /// The variants of a flag.
    #[must_use]
    pub fn variants(&self, flag: FlagHandle) -> &[Variant] {
        self.compiled(flag).map(|f| f.variants.as_slice()).unwrap_or_default()
    }

    /// Whether a flag's answer may differ from context to context. If not, it is the same for everyone until the
    /// next revision. A flag that does not exist: no.
    #[must_use]
    pub fn depends_on_context(&self, flag: FlagHandle) -> bool {
        self.depends.get(flag.0 as usize).copied().unwrap_or(false)
    }

    /// The numbers of the attribute names in use, for contexts that are looked up by number.
    #[must_use]
    pub fn attribute_names(&self) -> &Names {
        &self.attributes
    }

    #[inline]
    pub(crate) fn compiled(&self, flag: FlagHandle) -> Option<&CompiledFlag> {
        self.flags.get(flag.0 as usize)?.as_deref()
    }

    fn find_dependences(&self) -> Vec<bool> {
        let mut known = vec![None; self.flags.len()];
        for slot in 0..self.flags.len() {
            self.find_dependence(slot, 0, &mut known);
        }
        known.into_iter().map(|k| k.unwrap_or(false)).collect()
    }

    /// Circles and long chains are answered with the safe side: it depends.
    fn find_dependence(&self, slot: usize, depth: usize, known: &mut [Option<bool>]) -> bool {
        match known.get(slot) {
            Some(Some(answer)) => return *answer,
            Some(None) if depth <= 64 => known[slot] = Some(true),
            Some(None) | None => return true,
        }
        let answer = match &self.flags[slot] {
            Some(flag) if flag.kill.is_none() && flag.on => {
                let mut needed = flag.prerequisites.iter();
                needed.any(|p| self.find_dependence(p.slot as usize, depth + 1, known)) || answer_varies(flag)
            }
            Some(_) | None => false,
        };
        known[slot] = Some(answer);
        answer
    }
}

fn answer_varies(flag: &CompiledFlag) -> bool {
    let for_everyone = |pin: &&crate::compiled::CompiledPin| match &pin.who {
        CompiledPinnedTo::Conditions(conditions) => conditions.is_empty(),
        CompiledPinnedTo::Keys { .. } => false,
    };
    match flag.pins.first() {
        Some(pin) if for_everyone(&pin) => return false,
        Some(_) => return true,
        None if !flag.targets.is_empty() => return true,
        None => {}
    }
    let outcome = match flag.rules.first() {
        Some(rule) if rule.conditions.is_empty() => &rule.outcome,
        Some(_) => return true,
        None => &flag.fallthrough,
    };
    match outcome {
        CompiledOutcome::Fixed(_) => false,
        CompiledOutcome::Split(_) | CompiledOutcome::Gate { .. } => true,
    }
}

fn clear<T>(slots: &mut [Option<Arc<T>>], slot: Option<Slot>) {
    if let Some(place) = slot.and_then(|slot| slots.get_mut(slot as usize)) {
        *place = None;
    }
}

/// Puts compiled items in their slots; one that is there twice in the same batch is a problem.
fn place<T>(
    slots: &mut [Option<Arc<T>>],
    items: Vec<T>,
    slot_of: impl Fn(&T) -> Slot,
    problem: impl Fn(&T) -> Problem,
) -> Vec<Problem> {
    let mut seen = vec![false; slots.len()];
    let mut problems = Vec::new();
    for item in items {
        let at = slot_of(&item) as usize;
        if std::mem::replace(&mut seen[at], true) {
            problems.push(problem(&item));
        }
        slots[at] = Some(Arc::new(item));
    }
    problems
}
