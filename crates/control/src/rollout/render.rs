//! A rollout's state as a text of 80 columns, for `status`, `watch` and `why`.

use super::{GuardView, NumberUnit, StatusView, Verdict, number};

/// The width of the text, in characters.
pub const WIDTH: usize = 80;

/// The whole state: the sentence, the guardrail table, what it waits for.
///
/// Plain text: no colour and no control characters, readable without a terminal.
pub fn render(view: &StatusView) -> String {
    let mut out = String::new();
    let stage = view.stage.map_or_else(String::new, |(stage, of)| format!(", stage {stage} of {of}"));
    let phase = view.phase.replace('_', " ");
    let percent = number::share((view.percent * 1000.0).round() as u32);
    wrap(&mut out, &format!("{}: {phase}{stage}, {percent} on {}", view.rollout, view.new), "", "  ");
    wrap(&mut out, &view.sentence, "", "");
    if !view.guards.is_empty() {
        out.push('\n');
        out.push_str(&table(&view.guards));
    }
    section(&mut out, "Waits for", &view.waits_for);
    section(&mut out, "Data", &view.health);
    out
}

/// The guardrail table alone.
pub fn table(guards: &[GuardView]) -> String {
    let mut out = row("guardrail", "allowed", "new / control", "95 % interval", "evidence", "n");
    for guard in guards {
        let (new, control) = (guard.new, guard.control);
        let values = match (new, control) {
            (Some(new), Some(control)) => {
                format!("{} / {}", number::value(guard.unit, new), number::value(guard.unit, control))
            }
            (None, _) | (_, None) => "no comparison yet".into(),
        };
        let interval = guard.interval.map_or_else(|| "–".to_owned(), |ends| interval(guard, ends));
        let evidence = if guard.watch_only {
            "watched".to_owned()
        } else {
            format!("{}/{}", number::evidence(guard.evidence), number::short(guard.needed))
        };
        out.push_str(&row(
            &guard.label,
            &guard.limit,
            &values,
            &interval,
            &evidence,
            &number::count(guard.n_new),
        ));
        let mut words = match guard.verdict {
            Verdict::Harm => format!("HARM: {}", guard.words),
            Verdict::Safe => guard.words.clone(),
            Verdict::NotYet => format!("not yet: {}", guard.words.trim_start_matches("not yet, ")),
        };
        if let (Some(proof), Verdict::NotYet) = (guard.proof, guard.verdict) {
            words += &format!("; proof {:.0} %", (proof * 100.0).floor().min(99.0));
        }
        if let Some(waits_for) = &guard.waits_for {
            words += &format!("; waits for {waits_for}");
        }
        wrap(&mut out, &words, "    ", "    ");
    }
    out
}

fn interval(guard: &GuardView, (low, high): (f64, f64)) -> String {
    if guard.limit.ends_with('×') || guard.limit == "any change" {
        format!("{} … {}", number::factor(low), number::factor(high))
    } else if guard.unit == NumberUnit::Percent {
        format!("{} … {} pt", number::short(low * 100.0), number::short(high * 100.0))
    } else {
        format!("{} … {}", number::short(low), number::short(high))
    }
}

fn row(a: &str, b: &str, c: &str, d: &str, e: &str, f: &str) -> String {
    let cells = [(a, 15), (b, 11), (c, 18), (d, 15), (e, 9), (f, 7)];
    let mut line = String::new();
    for (index, (text, width)) in cells.into_iter().enumerate() {
        let text: String = text.chars().take(width).collect();
        let pad = " ".repeat(width - text.chars().count());
        if index > 0 {
            line.push(' ');
        }
        line += &if index == 5 { pad + &text } else { text + &pad };
    }
    line.trim_end().to_owned() + "\n"
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    out.push('\n');
    out.push_str(title);
    out.push_str(":\n");
    for line in lines {
        wrap(out, line, "  - ", "    ");
    }
}

/// Breaks `text` at spaces so that no line is longer than [`WIDTH`], unless one word is.
pub(super) fn wrap(out: &mut String, text: &str, first: &str, indent: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line = indent.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}
