//! What a row of the table says, and how it is printed: a sentence first, then the figures.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::interval::Median;

/// The lines a figure is judged by; smaller is better everywhere.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lines {
    /// Above this the row is broken.
    pub floor: f64,
    /// At most this is what is wanted.
    pub goal: f64,
}

/// How a row stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// At most the goal.
    Goal,
    /// At most the floor.
    Floor,
    /// Above the floor.
    Broken,
    /// A time, which depends on the machine: printed, not judged.
    Timing,
}

impl Verdict {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Floor => "floor",
            Self::Broken => "BROKEN",
            Self::Timing => "timing",
        }
    }
}

/// How a row's figures are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A share, in percent.
    Percent,
    /// A number of requests.
    Requests,
    /// A quotient.
    Ratio,
    /// A relative deviation.
    Deviation,
    /// Differences found.
    Count,
    /// Milliseconds.
    Millis,
    /// Bytes.
    Bytes,
}

impl Unit {
    fn write(self, value: f64) -> String {
        if !value.is_finite() {
            return "never".into();
        }
        match self {
            Self::Percent => format!("{:.2} %", 100.0 * value),
            Self::Requests | Self::Count => format!("{value:.0}"),
            Self::Ratio => format!("{value:.2}"),
            Self::Deviation => format!("{value:.0e}"),
            Self::Millis => format!("{value:.1} ms"),
            Self::Bytes => format!("{value:.0} B"),
        }
    }
}

/// One row.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The row of the goals it belongs to.
    pub id: &'static str,
    /// What is measured.
    pub what: String,
    /// Repetitions.
    pub n: usize,
    /// The figure that is judged.
    pub value: f64,
    /// What it is judged with: an interval, or counts.
    pub beside: String,
    /// How figures are written.
    pub unit: Unit,
    /// The lines; `None` where the figure is only shown.
    pub lines: Option<Lines>,
    /// Whether it is a time, which is not judged.
    pub timing: bool,
    /// What else must be known to read the figure.
    pub note: String,
}

impl Row {
    /// A row judged by a median.
    pub fn of_median(
        id: &'static str,
        what: &str,
        values: usize,
        median: Option<Median>,
        unit: Unit,
    ) -> Self {
        let of = |pick: fn(&Median) -> f64| median.as_ref().map_or(f64::INFINITY, pick);
        Self {
            id,
            what: what.into(),
            n: values,
            value: of(|m| m.value),
            beside: format!("{}–{}", unit.write(of(|m| m.low)), unit.write(of(|m| m.high))),
            unit,
            lines: None,
            timing: false,
            note: String::new(),
        }
    }

    /// A row judged by the upper 99 % limit of a share.
    pub fn of_share(id: &'static str, what: &str, k: usize, n: usize) -> Self {
        Self {
            id,
            what: what.into(),
            n,
            value: crate::interval::share_upper(k as u64, n as u64, 0.99),
            beside: format!("{k} of {n}"),
            unit: Unit::Percent,
            lines: None,
            timing: false,
            note: String::new(),
        }
    }

    /// The same row with its lines.
    #[must_use]
    pub fn judged(self, lines: Lines) -> Self {
        Self { lines: Some(lines), ..self }
    }

    /// The same row with a note.
    #[must_use]
    pub fn noted(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        match self.lines {
            _ if self.timing => Verdict::Timing,
            Some(lines) if self.value <= lines.goal => Verdict::Goal,
            Some(lines) if self.value <= lines.floor => Verdict::Floor,
            Some(_) => Verdict::Broken,
            None => Verdict::Goal,
        }
    }

    fn json(&self) -> Value {
        let number = |x: f64| if x.is_finite() { json!(x) } else { Value::Null };
        json!({
            "id": self.id,
            "what": self.what,
            "repetitions": self.n,
            "value": number(self.value),
            "beside": self.beside,
            "unit": format!("{:?}", self.unit).to_lowercase(),
            "floor": self.lines.map_or(Value::Null, |lines| number(lines.floor)),
            "goal": self.lines.map_or(Value::Null, |lines| number(lines.goal)),
            "verdict": self.verdict().word().to_lowercase(),
            "note": self.note,
        })
    }
}

/// A whole run.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The quick form.
    pub quick: bool,
    /// The seed.
    pub seed: u64,
    /// The rows in order.
    pub rows: Vec<Row>,
}

/// What the figures are of: said once, above the table.
const ASSUMED: &str = "Traffic: 100 requests/s as a Poisson process, a look every 100 ms, 30 s of traffic on \
control before the rollout, each request announced at its start and reported at its end; answers take 1 s (lognormal, \
sigma 0.6) and failures 0.3 s, unless a row says otherwise. Requests are counted when they have entered a block; those \
still in flight (share x rate x settle age) come on top. Shares are judged by the upper 99 % Clopper-Pearson limit, \
medians shown with their 95 % order-statistic interval (ratios: resampled pairs).";

impl Report {
    /// Whether no floor is broken.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.verdict() != Verdict::Broken)
    }

    /// The sentence above the table.
    pub fn sentence(&self) -> String {
        let count = |verdict| self.rows.iter().filter(|row| row.verdict() == verdict).count();
        let (goal, floor, broken) = (count(Verdict::Goal), count(Verdict::Floor), count(Verdict::Broken));
        let form =
            if self.quick { "quick form, with wider lines for its small samples" } else { "full form" };
        let all = goal + floor + broken;
        let verdict = if broken > 0 {
            format!("{broken} of {all} rows break their floor; {goal} reach their goal.")
        } else {
            format!("No floor is broken; {goal} of {all} rows reach their goal, {floor} the floor.")
        };
        format!("{verdict} ({form}, seed {})", self.seed)
    }

    /// The table, at most 80 columns wide.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = write!(out, "{}\n\n{}\n\n", wrap(&self.sentence(), 0), wrap(ASSUMED, 0));
        let _ = writeln!(
            out,
            "{:<4} {:<25} {:>5} {:>8} {:>12} {:>7} {:>6} {:<6}",
            "row", "figure", "runs", "result", "interval/k", "floor", "goal", "says"
        );
        for row in &self.rows {
            let _ = write!(out, "{}", line(row));
        }
        out
    }

    /// The run as one document.
    pub fn json(&self) -> Value {
        json!({
            "sentence": self.sentence(),
            "form": if self.quick { "quick" } else { "full" },
            "seed": self.seed,
            "holds": self.holds(),
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

fn line(row: &Row) -> String {
    let shown = |pick: fn(&Lines) -> f64| {
        row.lines.as_ref().map_or_else(String::new, |lines| row.unit.write(pick(lines)))
    };
    let mut what = fold(&row.what, 25).into_iter();
    let mut out = format!(
        "{:<4} {:<25} {:>5} {:>8} {:>12} {:>7} {:>6} {:<6}\n",
        row.id,
        what.next().unwrap_or_default(),
        row.n,
        row.unit.write(row.value),
        row.beside,
        shown(|lines| lines.floor),
        shown(|lines| lines.goal),
        row.verdict().word(),
    );
    for more in what {
        let _ = writeln!(out, "     {more}");
    }
    if !row.note.is_empty() {
        let _ = writeln!(out, "{}", wrap(&row.note, 7));
    }
    out
}

fn wrap(text: &str, indent: usize) -> String {
    let space = " ".repeat(indent);
    fold(text, 80 - indent).into_iter().map(|line| format!("{space}{line}")).collect::<Vec<_>>().join("\n")
}

fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits = lines
            .last()
            .is_some_and(|line| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width);
        if !fits {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
