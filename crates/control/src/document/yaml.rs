//! YAML with places: events of the parser become JSON by the core schema of YAML 1.2.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};
use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::problem::{Mark, Problem};
use super::text::{DEPTH, Tree, clamp, join};

/// More nodes than this, aliases counted each time, are refused.
const NODES: usize = 200_000;

/// The documents of a stream; empty ones are left out.
pub(super) fn read(text: &str) -> Result<Vec<Tree>, Vec<Problem>> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        marks: BTreeMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    match reader.documents() {
        Err(problem) => Err(vec![problem]),
        Ok(_) if !reader.problems.is_empty() => Err(reader.problems),
        Ok(trees) => Ok(trees),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Json>,
    marks: BTreeMap<String, Mark>,
    nodes: usize,
    problems: Vec<Problem>,
}

fn mark_of(marker: Marker) -> Mark {
    Mark { line: clamp(marker.line()), column: clamp(marker.col() + 1) }
}

fn broken(error: &ScanError) -> Problem {
    let info = error.info();
    let sentence = format!("This is not YAML: {}.", info.trim_end_matches('.'));
    Problem::new("broken_yaml", "", sentence).at(mark_of(*error.marker()))
}

impl<'a> Reader<'a> {
    /// The next event that is not a comment.
    fn event(&mut self) -> Result<Option<(Event<'a>, Mark)>, Problem> {
        loop {
            match self.parser.next_event() {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok((event, span))) => return Ok(Some((event, mark_of(span.start)))),
            }
        }
    }

    fn documents(&mut self) -> Result<Vec<Tree>, Problem> {
        let mut trees = Vec::new();
        while let Some((event, mark)) = self.event()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                event => {
                    self.anchors.clear();
                    let value = self.node(event, mark, "", 0)?;
                    let marks = std::mem::take(&mut self.marks);
                    match value {
                        Json::Null => {}
                        Json::Array(items) => trees.extend(spread(items, &marks)),
                        value => trees.push(Tree { value, marks }),
                    }
                }
            }
        }
        Ok(trees)
    }

    fn node(&mut self, event: Event<'a>, mark: Mark, pointer: &str, depth: usize) -> Result<Json, Problem> {
        self.nodes += 1;
        if depth > DEPTH || self.nodes > NODES {
            return Err(
                Problem::new("too_deep", pointer, "The document is nested too deeply or too large.").at(mark)
            );
        }
        self.marks.entry(pointer.to_owned()).or_insert(mark);
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, tag.as_deref(), mark, pointer))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(pointer, depth)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(pointer, depth)?),
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned().unwrap_or_default();
                self.nodes += size(&value);
                (0, value)
            }
            _ => {
                return Err(
                    Problem::new("broken_yaml", pointer, "This is not YAML: a value is missing.").at(mark)
                );
            }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, pointer: &str, depth: usize) -> Result<Json, Problem> {
        let mut items = Vec::new();
        while let Some((event, mark)) = self.event()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let inner = join(pointer, &items.len().to_string());
            items.push(self.node(event, mark, &inner, depth + 1)?);
        }
        Ok(Json::Array(items))
    }

    fn mapping(&mut self, pointer: &str, depth: usize) -> Result<Json, Problem> {
        let mut members = Map::new();
        while let Some((event, mark)) = self.event()? {
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(Problem::new(
                        "bad_member",
                        pointer,
                        "The name of a member must be a plain text.",
                    )
                    .at(mark));
                }
            };
            let inner = join(pointer, &key);
            self.marks.insert(inner.clone(), mark);
            let Some((event, at)) = self.event()? else { break };
            let value = self.node(event, at, &inner, depth + 1)?;
            if members.insert(key.clone(), value).is_some() {
                let sentence = format!("The member \"{key}\" is here twice.");
                self.problems.push(Problem::new("duplicate_member", inner, sentence).at(mark));
            }
        }
        Ok(Json::Object(members))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        mark: Mark,
        pointer: &str,
    ) -> Json {
        let forced = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
        if forced || !matches!(style, ScalarStyle::Plain) {
            return Json::String(text.to_owned());
        }
        plain(text).unwrap_or_else(|(code, sentence)| {
            self.problems.push(
                Problem::new(code, pointer, sentence).at(mark).hint("write it in quotes if it is a text"),
            );
            Json::Null
        })
    }
}

/// What an unquoted scalar means.
fn plain(text: &str) -> Result<Json, (&'static str, String)> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Json::Null),
        "true" | "True" | "TRUE" => return Ok(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Json::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(("not_a_number", format!("{text} is not a number that a flag can have.")));
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(Json::String(text.to_owned()));
    }
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !unsigned.is_empty() && digits(unsigned) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            let sentence =
                format!("{text} is read differently by different readers, because it begins with 0.");
            return Err(("ambiguous_number", sentence));
        }
        let signless = text.strip_prefix('+').unwrap_or(text);
        return number(signless, text);
    }
    if let Some(hex) = unsigned.strip_prefix("0x").filter(|hex| !hex.is_empty())
        && let Ok(n) = i64::from_str_radix(hex, 16)
    {
        return Ok(Json::from(if text.starts_with('-') { -n } else { n }));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_good = exponent.is_none_or(|exponent| {
        let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !power.is_empty() && digits(power)
    });
    if digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_good {
        return match text.parse::<f64>().ok().filter(|n| n.is_finite()).and_then(Number::from_f64) {
            Some(number) => Ok(Json::Number(number)),
            None => Err(("not_a_number", format!("{text} is beyond the numbers that a flag can have."))),
        };
    }
    Ok(Json::String(text.to_owned()))
}

fn number(text: &str, shown: &str) -> Result<Json, (&'static str, String)> {
    match text.parse::<i64>() {
        Ok(n) => Ok(Json::from(n)),
        Err(_) => Err(("not_a_number", format!("{shown} is beyond the whole numbers that a flag can have."))),
    }
}

fn size(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Json::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 1,
    }
}

/// The documents of a top-level list, each with its own places.
fn spread(items: Vec<Json>, marks: &BTreeMap<String, Mark>) -> Vec<Tree> {
    let tree = |(index, value): (usize, Json)| {
        let prefix = format!("/{index}");
        let own = marks.iter().filter_map(|(pointer, mark)| {
            let rest = pointer.strip_prefix(&prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| (rest.to_owned(), *mark))
        });
        Tree { value, marks: own.collect() }
    };
    items.into_iter().enumerate().map(tree).collect()
}
