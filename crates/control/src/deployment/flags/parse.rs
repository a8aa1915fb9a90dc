//! The text of a rule: an s-expression with annotated arguments.

use regex::RegexBuilder;

use super::rule::{Expr, Op, Operand};

/// A pattern may not compile to more than this.
const PATTERN_SIZE: usize = 1 << 18;
/// Expressions may not nest deeper.
const DEPTH: usize = 64;

struct Reader<'a> {
    text: &'a str,
    pos: usize,
}

/// What stands at one place of an expression.
enum Node {
    Expr(Expr),
    Operand(Operand),
    List(Vec<Operand>),
}

type Read<T> = Result<T, String>;

/// Reads a rule that is the whole text.
pub(super) fn rule(text: &str) -> Read<Expr> {
    let mut reader = Reader { text, pos: 0 };
    let expr = match reader.node(0)?.1 {
        Node::Expr(expr) => expr,
        Node::Operand(Operand::Bool(value)) => Expr::Bool(value),
        Node::Operand(_) | Node::List(_) => {
            return Err("A rule is an expression such as (eq $plan \"pro\").".into());
        }
    };
    reader.blanks();
    if reader.pos < text.len() { reader.wrong("nothing may follow the rule") } else { Ok(expr) }
}

/// A moment: a date, perhaps with a time; also a year with a month.
pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.trim_end_matches('T');
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_microsecond());
    }
    let bytes = text.as_bytes();
    let dated = match bytes.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    if bytes.len() < 4 || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let date: jiff::civil::DateTime = dated.parse().ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_microsecond())
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.pos..]
    }

    fn wrong<T>(&self, what: &str) -> Read<T> {
        let column = self.text[..self.pos].chars().count() + 1;
        Err(format!("Character {column} of the rule: {what}."))
    }

    fn blanks(&mut self) {
        self.pos += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(token);
        self.pos += if found { token.len() } else { 0 };
        found
    }

    fn word(&mut self) -> String {
        let end = self
            .rest()
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '-' | '+' | '.' | ':')))
            .unwrap_or(self.rest().len());
        let mut word = &self.rest()[..end];
        // An annotation's colons are not part of a word.
        if let Some(at) = word.find("::") {
            word = &word[..at];
        }
        let word = word.to_owned();
        self.pos += word.len();
        word
    }

    /// One argument with its label.
    fn node(&mut self, depth: usize) -> Read<(Option<String>, Node)> {
        if depth > DEPTH {
            return self.wrong("it is nested too deeply");
        }
        self.blanks();
        match self.rest().chars().next() {
            None => self.wrong("it ends too early"),
            Some('(') => Ok((None, Node::Expr(self.expr(depth)?))),
            Some('[') => Ok((None, Node::List(self.list()?))),
            Some('"') => Ok((None, Node::Operand(Operand::Text(self.string('"')?)))),
            Some('\'') => {
                let name = self.string('\'')?;
                match name.strip_prefix('$') {
                    Some(name) => Ok((None, Node::Operand(Operand::Context(name.to_owned())))),
                    None => self.wrong("a quoted name begins with $"),
                }
            }
            Some(_) => {
                let word = self.word();
                if !word.is_empty() && self.take("::") {
                    let (_, node) = self.node(depth + 1)?;
                    return Ok((Some(word), node));
                }
                match atom(&word) {
                    Some(operand) => Ok((None, Node::Operand(operand))),
                    None => {
                        self.wrong(&format!("\"{word}\" is not a value; text is written in double quotes"))
                    }
                }
            }
        }
    }

    fn string(&mut self, quote: char) -> Read<String> {
        let start = self.pos + 1;
        let mut escaped = false;
        for (at, c) in self.text[start..].char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    let raw = &self.text[start..start + at];
                    let json = if quote == '"' {
                        format!("\"{raw}\"")
                    } else {
                        format!("\"{}\"", raw.replace("\\'", "'").replace('"', "\\\""))
                    };
                    let text = serde_json::from_str(&json);
                    let Ok(text) = text else {
                        return self.wrong("this text has an escape that is not known");
                    };
                    self.pos = start + at + 1;
                    return Ok(text);
                }
                _ => {}
            }
        }
        self.wrong("the text that begins here does not end")
    }

    fn list(&mut self) -> Read<Vec<Operand>> {
        self.take("[");
        let mut all = Vec::new();
        loop {
            // Lists without commas are seen as well.
            while self.take(",") {}
            if self.take("]") {
                return Ok(all);
            }
            match self.node(0)? {
                (None, Node::Operand(operand)) if !matches!(operand, Operand::Context(_)) => {
                    all.push(operand);
                }
                _ => return self.wrong("a list holds values"),
            }
        }
    }

    fn expr(&mut self, depth: usize) -> Read<Expr> {
        self.take("(");
        self.blanks();
        let at = self.pos;
        let word = self.word();
        let mut args = Vec::new();
        loop {
            self.blanks();
            if self.rest().is_empty() {
                return self.wrong("a closing parenthesis is missing");
            }
            if self.take(")") {
                break;
            }
            args.push(self.node(depth + 1)?);
        }
        build(&word, args).map_err(|what| {
            let column = self.text[..at].chars().count() + 1;
            format!("Character {column} of the rule: {what}.")
        })
    }
}

fn atom(word: &str) -> Option<Operand> {
    if let Some(name) = word.strip_prefix('$') {
        let plain = !name.is_empty() && !name.bytes().all(|b| b.is_ascii_digit());
        let named = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'));
        return (plain && named).then(|| Operand::Context(name.to_owned()));
    }
    match word {
        "true" => return Some(Operand::Bool(true)),
        "false" => return Some(Operand::Bool(false)),
        _ => {}
    }
    if let Ok(n) = word.parse::<i64>() {
        return Some(Operand::Int(n));
    }
    let first = word.bytes().next()?;
    if (first.is_ascii_digit() || matches!(first, b'-' | b'+'))
        && let Ok(n) = word.parse::<f64>()
    {
        return n.is_finite().then_some(Operand::Float(n));
    }
    time(word).map(|at| Operand::Time(at, word.to_owned()))
}

type Args = Vec<(Option<String>, Node)>;

fn build(word: &str, args: Args) -> Read<Expr> {
    match word {
        "and" | "or" => {
            let all = args.into_iter().map(|(_, node)| truth(node)).collect::<Read<Vec<_>>>()?;
            if all.is_empty() {
                return Err(format!("({word} …) needs an operand"));
            }
            Ok(if word == "and" { Expr::And(all) } else { Expr::Or(all) })
        }
        "not" => match <[(Option<String>, Node); 1]>::try_from(args) {
            Ok([(_, node)]) => Ok(Expr::Not(Box::new(truth(node)?))),
            Err(_) => Err("(not …) has one operand".into()),
        },
        "in" => {
            let [needle, list] = two(args, "in")?;
            match (operand(needle)?, list) {
                (needle, Node::List(list)) => Ok(Expr::In(needle, list)),
                (_, Node::Expr(_) | Node::Operand(_)) => Err("(in $name […]) needs a list".into()),
            }
        }
        "matches" => {
            let mut args = labelled(args, &["in", "pattern"])?;
            let Some(Operand::Text(pattern)) = args[1].take() else {
                return Err("(matches in::$name pattern::\"…\") needs a pattern".into());
            };
            let Some(subject) = args[0].take() else { return Err("(matches …) needs in::$name".into()) };
            let built = RegexBuilder::new(&pattern).size_limit(PATTERN_SIZE).build();
            match built {
                Ok(regex) => Ok(Expr::Matches(subject, regex)),
                Err(_) => Err("the pattern is not a regular expression without look-around".into()),
            }
        }
        "exists" => match labelled(args, &["key"])?.remove(0) {
            Some(Operand::Text(name) | Operand::Context(name)) => Ok(Expr::Exists(name)),
            _ => Err("(exists key::\"name\") needs a name".into()),
        },
        "split" => split(args),
        _ => match Op::ALL.iter().find(|(_, known)| *known == word) {
            Some((op, _)) => {
                let [left, right] = two(args, word)?;
                Ok(Expr::Compare(*op, operand(left)?, operand(right)?))
            }
            None => Err(format!("there is no operator \"{word}\"")),
        },
    }
}

fn split(args: Args) -> Read<Expr> {
    let mut args = labelled(args, &["pct", "by", "seed"])?;
    let pct = match args[0] {
        Some(Operand::Int(n)) => n as f64,
        Some(Operand::Float(n)) => n,
        _ => return Err("(split …) needs pct::, a number".into()),
    };
    if !(0.0..=100.0).contains(&pct) {
        return Err("a percentage is from 0 to 100".into());
    }
    let Some(by) = args[1].take() else { return Err("(split …) needs by::$name".into()) };
    let seed = match args[2].take() {
        None => None,
        Some(Operand::Text(seed)) => Some(seed),
        Some(_) => return Err("a seed is a text".into()),
    };
    Ok(Expr::Split { pct, by, seed })
}

fn truth(node: Node) -> Read<Expr> {
    match node {
        Node::Expr(expr) => Ok(expr),
        Node::Operand(Operand::Bool(value)) => Ok(Expr::Bool(value)),
        Node::Operand(_) | Node::List(_) => Err("an expression is expected".into()),
    }
}

fn operand(node: Node) -> Read<Operand> {
    match node {
        Node::Operand(operand) => Ok(operand),
        Node::Expr(_) | Node::List(_) => Err("a value or a $name is expected".into()),
    }
}

fn two(args: Args, word: &str) -> Read<[Node; 2]> {
    let nodes: Vec<Node> = args.into_iter().map(|(_, node)| node).collect();
    nodes.try_into().map_err(|_| format!("({word} …) has two operands"))
}

/// The operands of these labels, in this order; one without a label takes the first free place.
fn labelled(args: Args, labels: &[&str]) -> Read<Vec<Option<Operand>>> {
    let mut found: Vec<Option<Operand>> = labels.iter().map(|_| None).collect();
    for (label, node) in args {
        let at = match &label {
            Some(label) => labels.iter().position(|known| known == label),
            None => found.iter().position(Option::is_none),
        };
        match at.and_then(|at| found.get_mut(at)) {
            Some(place @ None) => *place = Some(operand(node)?),
            Some(Some(_)) => return Err("an operand is given twice".into()),
            None => return Err(format!("\"{}\" is not an operand here", label.unwrap_or_default())),
        }
    }
    Ok(found)
}
