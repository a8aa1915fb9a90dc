//! Steps as sentences for a person.

use serde_json::Value as Json;

use super::{Membership, Passed, Recorder, Step};
use crate::model::{Clause, Interval, Unit, Variant, VariantIndex};

impl Recorder {
    /// One sentence per step; steps of a prerequisite are indented by two blanks. Variants are named by their
    /// names in `variants`, those of the evaluated flag.
    #[must_use]
    pub fn sentences(&self, variants: &[Variant]) -> Vec<String> {
        let mut lines = Vec::with_capacity(self.steps.len());
        let mut depth: usize = 0;
        for step in &self.steps {
            if matches!(step, Step::Prerequisite { entered: true, .. }) {
                depth = depth.saturating_sub(1);
            }
            let names = Names { variants: if depth == 0 { variants } else { &[] } };
            lines.push(format!("{}{}", "  ".repeat(depth), names.sentence(step)));
            if matches!(step, Step::EnterPrerequisite { .. }) {
                depth += 1;
            }
        }
        lines
    }
}

struct Names<'v> {
    variants: &'v [Variant],
}

impl Names<'_> {
    fn variant(&self, index: VariantIndex) -> String {
        match self.variants.get(usize::from(index)) {
            Some(variant) => format!("\"{}\"", variant.name),
            None => format!("variant {index}"),
        }
    }

    fn sentence(&self, step: &Step) -> String {
        match step {
            Step::Killed { variant } => {
                format!("The flag is killed: everyone gets {}.", self.variant(*variant))
            }
            Step::Off => "The flag is off.".to_owned(),
            Step::EnterPrerequisite { flag } => format!("Prerequisite {flag}:"),
            Step::Prerequisite { flag, wanted, served, passed, entered: _ } => {
                prerequisite(flag, *wanted, *served, *passed)
            }
            Step::Pin { id, passed: Passed::Yes } => format!("Pin {id} holds this unit."),
            Step::Pin { id, passed: Passed::No | Passed::Unknown } => {
                format!("Pin {id} does not hold this unit.")
            }
            Step::Target { kind, key } => format!("The {kind} {key:?} is targeted individually."),
            Step::Clause { clause, found, passed } => clause_sentence(clause, found.as_ref(), *passed),
            Step::Segment { segment, how } => membership(segment, how),
            Step::SegmentMatch { source, passed } => {
                let wanted = if source.negate { "in none of" } else { "in one of" };
                format!("Being {wanted} the segments {} {}.", source.segments.join(", "), holds(*passed))
            }
            Step::SegmentShare { position: Some(position), weight, passed, .. } => format!(
                "Position {position} is {} the segment rule's {weight} of 100000.",
                if *passed == Passed::Yes { "below" } else { "not below" },
            ),
            Step::SegmentShare { position: None, .. } => {
                "The context lacks the kind that the segment rule hashes.".to_owned()
            }
            Step::Gate { gate, unit, value, position, weight, .. } => {
                gate_sentence(gate, unit, value.as_deref(), *position, *weight)
            }
            Step::Rule { index, id, passed: Passed::Yes } => format!("Rule {} ({id}) decides.", index + 1),
            Step::Rule { index, id, passed: Passed::No | Passed::Unknown } => {
                format!("Rule {} ({id}) does not match.", index + 1)
            }
            Step::Fallthrough => "No rule decides; the default applies.".to_owned(),
            Step::Split { unit, value, position, intervals, variant, .. } => {
                let range = range_of(intervals, *position);
                let name = self.variant(*variant);
                format!(
                    "The {} {value:?} has position {position} of 100000, in {range}: {name}.",
                    unit_name(unit)
                )
            }
            Step::UnitMissing { unit, variant, .. } => format!(
                "The context has no {}, so it gets control, {}, and is not compared.",
                unit_name(unit),
                self.variant(*variant)
            ),
        }
    }
}

fn prerequisite(flag: &str, wanted: VariantIndex, served: Option<VariantIndex>, passed: Passed) -> String {
    match (served, passed) {
        (Some(served), Passed::Yes) => format!("Prerequisite {flag} serves variant {served}, as it must."),
        (Some(served), Passed::No | Passed::Unknown) => {
            format!("Prerequisite {flag} serves variant {served}, and must serve variant {wanted}.")
        }
        (None, _) => {
            format!("Prerequisite {flag} is missing, off or without a value; it must serve variant {wanted}.")
        }
    }
}

fn holds(passed: Passed) -> &'static str {
    match passed {
        Passed::Yes => "holds",
        Passed::No => "does not hold",
        Passed::Unknown => "cannot be told",
    }
}

fn clause_sentence(clause: &Clause, found: Option<&Json>, passed: Passed) -> String {
    let kind = if clause.kind == crate::model::USER { String::new() } else { format!("{}:", clause.kind) };
    let not = if clause.negate { "not " } else { "" };
    let values: Vec<String> = clause.values.iter().take(8).map(Json::to_string).collect();
    let more = clause.values.len().saturating_sub(values.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let asked = format!("{kind}{} {not}{} {}{more}", clause.attribute, clause.op.name(), values.join(" or "));
    match (passed, found) {
        (Passed::Unknown, _) => format!("{asked}: the context has no {kind}{}.", clause.attribute),
        (Passed::Yes | Passed::No, Some(found)) => {
            format!("{asked}: {}, it is {found}.", if passed == Passed::Yes { "yes" } else { "no" })
        }
        (Passed::Yes, None) => format!("{asked}: yes."),
        (Passed::No, None) => format!("{asked}: no."),
    }
}

fn membership(segment: &str, how: &Membership) -> String {
    match how {
        Membership::Included => format!("In segment {segment}: its key is included."),
        Membership::Excluded => format!("Not in segment {segment}: its key is excluded."),
        Membership::Rule(id) => format!("In segment {segment} by its rule {id}."),
        Membership::NoRule => format!("Not in segment {segment}: not listed, and no rule matches."),
    }
}

fn gate_sentence(gate: &str, unit: &Unit, value: Option<&str>, position: Option<u32>, weight: u32) -> String {
    let unit = unit_name(unit);
    match (value, position) {
        (Some(value), Some(position)) => {
            let (passed, side) = if position < weight {
                ("lets through", "below")
            } else {
                ("does not let through", "not below")
            };
            format!(
                "Gate {gate} {passed} the {unit} {value:?}: position {position} of 100000 is {side} {weight}."
            )
        }
        (None, _) | (_, None) => format!("Gate {gate} lets nobody through without a {unit}."),
    }
}

fn unit_name(unit: &Unit) -> String {
    match unit {
        Unit::Named(name) => name.clone(),
        Unit::Attribute { kind, by } if kind == crate::model::USER => by.to_string(),
        Unit::Attribute { kind, by } => format!("{kind}:{by}"),
    }
}

fn range_of(intervals: &[Interval], position: u32) -> String {
    let mut start = 0;
    for interval in intervals {
        let end = start + interval.weight;
        if position < end {
            return format!("{start} to {end}");
        }
        start = end;
    }
    format!("the rest above {start}")
}
