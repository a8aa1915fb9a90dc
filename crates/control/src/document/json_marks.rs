//! JSON with places: `serde_json` decides what is valid, a second walk notes where things are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::problem::{Mark, Problem};
use super::text::{Tree, clamp, join};

/// One document, or an array of them.
pub(super) fn read(text: &str) -> Result<Vec<Tree>, Vec<Problem>> {
    let value: Json = serde_json::from_str(text).map_err(|error| vec![broken(&error)])?;
    let mut walk = Walk { bytes: text.as_bytes(), at: 0, line: 1, column: 1, ..Walk::default() };
    walk.value("");
    if !walk.problems.is_empty() {
        return Err(walk.problems);
    }
    let Json::Array(values) = value else { return Ok(vec![Tree { value, marks: walk.marks }]) };
    let mut trees: Vec<Tree> =
        values.into_iter().map(|value| Tree { value, marks: BTreeMap::new() }).collect();
    for (pointer, mark) in walk.marks {
        let (index, rest) = match pointer.strip_prefix('/').map(|path| path.split_once('/')) {
            Some(Some((index, rest))) => (index.to_owned(), format!("/{rest}")),
            Some(None) => (pointer.trim_start_matches('/').to_owned(), String::new()),
            None => continue,
        };
        if let Some(tree) = index.parse::<usize>().ok().and_then(|index| trees.get_mut(index)) {
            tree.marks.insert(rest, mark);
        }
    }
    Ok(trees)
}

fn broken(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let sentence = text.split(" at line ").next().unwrap_or(&text);
    let mark = Mark { line: clamp(error.line()), column: clamp(error.column().max(1)) };
    let code = if sentence.contains("recursion limit") { "too_deep" } else { "broken_json" };
    Problem::new(code, "", format!("This is not JSON: {sentence}.")).at(mark)
}

/// A walk over text that is known to be valid JSON.
#[derive(Default)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    column: u32,
    marks: BTreeMap<String, Mark>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn step(&mut self) -> u8 {
        let byte = self.peek();
        self.at += 1;
        if byte == b'\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else if byte & 0xc0 != 0x80 {
            self.column += 1;
        }
        byte
    }

    fn blank(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.step();
        }
    }

    fn mark(&self) -> Mark {
        Mark { line: self.line, column: self.column }
    }

    fn value(&mut self, pointer: &str) {
        self.blank();
        let mark = self.mark();
        self.marks.entry(pointer.to_owned()).or_insert(mark);
        match self.peek() {
            b'{' => self.object(pointer),
            b'[' => self.array(pointer),
            b'"' => drop(self.string()),
            _ => {
                while !matches!(self.peek(), b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t' | 0) {
                    self.step();
                }
            }
        }
        self.blank();
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.step();
        loop {
            match self.step() {
                b'\\' => drop(self.step()),
                b'"' | 0 => break,
                _ => {}
            }
        }
        let raw = self.bytes.get(start..self.at).unwrap_or_default();
        serde_json::from_slice(raw).unwrap_or_default()
    }

    fn object(&mut self, pointer: &str) {
        let mut seen = BTreeSet::new();
        self.step();
        self.blank();
        while self.peek() == b'"' {
            let mark = self.mark();
            let key = self.string();
            let inner = join(pointer, &key);
            if !seen.insert(key.clone()) {
                let sentence = format!("The member \"{key}\" is here twice.");
                self.problems.push(Problem::new("duplicate_member", inner.clone(), sentence).at(mark));
            }
            self.marks.insert(inner.clone(), mark);
            self.blank();
            self.step();
            self.value(&inner);
            if self.peek() == b',' {
                self.step();
            }
            self.blank();
        }
        self.step();
    }

    fn array(&mut self, pointer: &str) {
        self.step();
        self.blank();
        let mut index = 0_usize;
        while !matches!(self.peek(), b']' | 0) {
            self.value(&join(pointer, &index.to_string()));
            index += 1;
            if self.peek() == b',' {
                self.step();
            }
            self.blank();
        }
        self.step();
    }
}
