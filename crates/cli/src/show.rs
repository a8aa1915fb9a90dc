//! How answers read: a sentence first, then a table that fits 80 columns.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

/// The columns a table may use.
const WIDTH: usize = 80;

/// The way an answer is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Show {
    /// The answer's sentences, one a line.
    Sentences,
    /// The answer's list (its first array), with these members as columns.
    Table(&'static [&'static str]),
    /// What changes, what drifts, what to know.
    Plan,
    /// Documents: to standard output, or into a folder.
    Files(Option<PathBuf>),
    /// An evaluation, with its steps if asked for.
    Evaluation,
    /// What happened, with the guardrail table.
    Why,
    /// SDK instances, and what is odd about them.
    Clients,
    /// Changes, newest last, each with its diff.
    History,
    /// The text that the server laid out.
    Text,
    /// JSON, indented.
    Raw,
    /// JSON as it came, to the byte: a receipt is verified as text.
    Exact,
}

/// Lays an answer out for a person.
pub(crate) fn render(show: &Show, answer: &Value) -> String {
    match show {
        Show::Sentences => sentences(answer),
        Show::Table(columns) => table(answer, columns),
        Show::Plan => plan(answer),
        Show::Files(_) => documents(answer),
        Show::Evaluation => evaluation(answer),
        Show::Text | Show::Why => match text(answer, "text") {
            Some(text) => format!("{}\n", text.trim_end()),
            None => sentences(answer),
        },
        Show::Clients => clients(answer),
        Show::History => history(answer),
        Show::Raw => pretty(answer),
        Show::Exact => answer.to_string() + "\n",
    }
}

/// A problem document as a person can use it: what, where, and what to do.
pub(crate) fn problem(problem: &Value) -> String {
    let mut out = String::new();
    let detail = text(problem, "detail").or(text(problem, "title")).unwrap_or("the server refused");
    let code = text(problem, "code").unwrap_or("unknown");
    let _ = writeln!(out, "{}{detail} [{code}]", place(problem));
    for one in problem["problems"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  {}{}", place(one), text(one, "detail").unwrap_or_default());
    }
    if let Some(next) = text(problem, "next") {
        let _ = writeln!(out, "Next: {next}");
    }
    out
}

/// `file:line:column: pointer: ` as far as a problem says it.
fn place(problem: &Value) -> String {
    let mut out = String::new();
    if let Some(file) = text(problem, "file") {
        out.push_str(file);
        for member in ["line", "column"] {
            if let Some(number) = problem[member].as_u64() {
                let _ = write!(out, ":{number}");
            }
        }
        out.push_str(": ");
    }
    if let Some(pointer) = text(problem, "pointer").filter(|it| !it.is_empty()) {
        let _ = write!(out, "{pointer}: ");
    }
    out
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).map_or_else(|why| why.to_string(), |text| text + "\n")
}

fn sentences(answer: &Value) -> String {
    let mut out = String::new();
    let said = answer["sentences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for sentence in said.chain(text(answer, "sentence")) {
        let _ = writeln!(out, "{sentence}");
    }
    for member in ["url", "secret", "token", "aws_access_key_id", "aws_secret_access_key"] {
        if let Some(secret) = text(answer, member) {
            let _ = writeln!(out, "{member}: {secret}");
        }
    }
    if out.is_empty() { pretty(answer) } else { out }
}

fn clients(answer: &Value) -> String {
    let columns = ["name", "version", "connected", "revision", "behind", "evaluations", "last_seen"];
    let mut out = table(&answer["clients"], &columns);
    for finding in odd_clients(answer) {
        let _ = writeln!(out, "\n{finding}");
    }
    for unknown in answer["events_without_metric"].as_array().into_iter().flatten() {
        let (name, events) = (text(unknown, "name").unwrap_or_default(), &unknown["events"]);
        let _ = writeln!(
            out,
            "\n{events} events are called {name}, and no metric is: they are counted and measure nothing.\nNext: ensign \
             metric create {name}"
        );
    }
    out
}

/// What is odd about connected clients, each with its correction.
pub(crate) fn odd_clients(answer: &Value) -> Vec<String> {
    let clients = answer["clients"].as_array().into_iter().flatten();
    let odd = clients.filter_map(|client| client.get("warning").filter(|warning| warning.is_object()));
    let words = odd.map(|warning| {
        let part = |member| text(warning, member).unwrap_or_default();
        format!("{}\nNext: {}", part("sentence"), part("next"))
    });
    let mut all: Vec<String> = words.collect();
    all.dedup();
    all
}

/// The rows of an answer: the answer itself, or its first member that is a list.
fn rows(answer: &Value) -> &[Value] {
    let list = match answer {
        Value::Array(rows) => Some(rows),
        Value::Object(members) => {
            members.iter().filter(|(name, _)| *name != "sentences").find_map(|(_, value)| value.as_array())
        }
        _ => None,
    };
    list.map_or(&[], Vec::as_slice)
}

fn table(answer: &Value, columns: &[&str]) -> String {
    let rows: Vec<Vec<String>> =
        rows(answer).iter().map(|row| columns.iter().map(|column| cell(&row[*column])).collect()).collect();
    let mut out = String::new();
    if let Some(first) = answer["sentences"].get(0).and_then(Value::as_str) {
        let _ = writeln!(out, "{first}");
    } else {
        let _ = writeln!(out, "{} {}", rows.len(), if rows.len() == 1 { "entry." } else { "entries." });
    }
    if rows.is_empty() {
        return out;
    }
    // A column that no row fills is left out; the last one takes what is left of the line.
    let used: Vec<usize> =
        (0..columns.len()).filter(|at| rows.iter().any(|row| !row[*at].is_empty())).collect();
    let width = |at: usize| {
        rows.iter().map(|row| row[at].chars().count()).chain([columns[at].chars().count()]).max().unwrap_or(0)
    };
    let mut line = |cells: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for (nth, at) in used.iter().enumerate() {
            if nth + 1 == used.len() {
                text.push_str(&cells(*at));
            } else {
                let _ = write!(text, "{:<1$}  ", cells(*at), width(*at));
            }
        }
        out.push_str(&cut(text.trim_end(), WIDTH));
        out.push('\n');
    };
    line(&|at| columns[at].replace('_', " "));
    for row in &rows {
        line(&|at| row[at].clone());
    }
    out
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.lines().next().unwrap_or_default().to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn plan(answer: &Value) -> String {
    let mut out = sentences(answer);
    for (member, title) in
        [("changes", ""), ("drift", "Changed elsewhere since the last apply:"), ("notes", "")]
    {
        let lines: Vec<String> = answer[member].as_array().into_iter().flatten().map(lines_of).collect();
        if !lines.is_empty() && !title.is_empty() {
            let _ = writeln!(out, "{title}");
        }
        for line in lines {
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

/// An entry of a plan: its text, or its sentence with the lines of its diff below.
fn lines_of(entry: &Value) -> String {
    if let Some(text) = entry.as_str() {
        return text.to_owned();
    }
    let mut out = text(entry, "text").or(text(entry, "sentence")).unwrap_or_default().to_owned();
    for line in entry["lines"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = write!(out, "\n  {line}");
    }
    out
}

fn documents(answer: &Value) -> String {
    let texts: Vec<&str> =
        answer["files"].as_array().into_iter().flatten().filter_map(|file| text(file, "text")).collect();
    let json = texts.iter().all(|text| text.trim_start().starts_with(['{', '[']));
    let mut out = texts.iter().map(|text| text.trim_end()).collect::<Vec<_>>();
    if json && out.len() > 1 {
        return format!("[\n{}\n]\n", out.join(",\n"));
    }
    out.push("");
    out.join(if out.len() > 2 { "\n---\n" } else { "\n" }).trim_end_matches("---\n").to_owned()
}

fn evaluation(answer: &Value) -> String {
    let mut out = String::new();
    let value = answer.get("value").map_or_else(|| "the caller's default".to_owned(), Value::to_string);
    let reason = answer["reason"].as_str().map_or_else(|| answer["reason"].to_string(), str::to_owned);
    let _ = writeln!(out, "{value} because {reason}");
    for step in answer["steps"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  {}", lines_of(step));
    }
    out
}

fn history(answer: &Value) -> String {
    let mut out = String::new();
    for entry in rows(answer) {
        let reason = text(entry, "reason").map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "revision {}  {}  {} by {}{reason}",
            entry["revision"],
            text(entry, "at").unwrap_or_default(),
            text(entry, "action").unwrap_or_default(),
            text(entry, "actor").unwrap_or_default(),
        );
        for line in entry["diff"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let _ = writeln!(out, "  {line}");
        }
    }
    if out.is_empty() { "No changes.\n".into() } else { out }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_says_how_many_leaves_empty_columns_out_and_fits_the_line() {
        let answer = json!({"flags": [
            {"key": "inference_model", "serves": "claude-3-haiku", "rollout": null},
            {"key": "k", "serves": "x".repeat(100)}
        ]});
        let shown = render(&Show::Table(&["key", "rollout", "serves"]), &answer);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[..3], ["2 entries.", "key              serves", "inference_model  claude-3-haiku"]);
        assert_eq!(lines[3].chars().count(), WIDTH);
    }

    #[test]
    fn a_problem_says_where_and_what_next() {
        let shown = problem(&json!({
            "code": "document-invalid", "detail": "2 problems, nothing was applied.",
            "problems": [{"file": "a.json", "line": 2, "column": 7, "pointer": "/rules/0",
                          "detail": "101 is not a percentage"}],
            "next": "ensign lint a.json"
        }));
        assert_eq!(
            shown,
            "2 problems, nothing was applied. [document-invalid]\n  \
             a.json:2:7: /rules/0: 101 is not a percentage\nNext: ensign lint a.json\n"
        );
    }

    #[test]
    fn exported_documents_stay_one_stream() {
        let yaml = json!({"files": [{"text": "flag: a\n"}, {"text": "flag: b\n"}]});
        assert_eq!(render(&Show::Files(None), &yaml), "flag: a\n---\nflag: b\n");
        let one = json!({"files": [{"text": "{\"flag\": \"a\"}"}]});
        assert_eq!(render(&Show::Files(None), &one), "{\"flag\": \"a\"}\n");
    }
}
