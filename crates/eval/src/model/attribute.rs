//! References to attributes of a context: a plain name, or a path into nested objects.

use std::fmt;

/// Which attribute of a context is meant.
///
/// Kept as written, so that documents and other systems' encodings lose nothing. An invalid reference can be held
/// ([`AttributeRef::lenient`]), because another system may send one: evaluation that reaches it is malformed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeRef {
    raw: String,
    path: Path,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Path {
    Name,
    Nested(Vec<String>),
    Invalid(BadAttribute),
}

/// Why a string is not an attribute reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BadAttribute {
    /// Empty, or `/` alone.
    Empty,
    /// A doubled or trailing slash.
    EmptySegment,
    /// `~` followed by something other than `0` or `1`.
    BadEscape,
}

impl AttributeRef {
    /// Parses `name` or `/a/b`; in the slash form `~1` stands for `/` and `~0` for `~`. A string without a
    /// leading slash is a literal name, whatever it contains.
    ///
    /// # Errors
    /// [`BadAttribute`] says what is wrong with it.
    pub fn parse(raw: &str) -> Result<Self, BadAttribute> {
        let path = path_of(raw)?;
        Ok(Self { raw: raw.to_owned(), path })
    }

    /// As [`AttributeRef::parse`], but holds an invalid reference instead of refusing it.
    #[must_use]
    pub fn lenient(raw: &str) -> Self {
        Self { raw: raw.to_owned(), path: path_of(raw).unwrap_or_else(Path::Invalid) }
    }

    /// A literal top-level name, slashes and all. An empty name is held as invalid.
    #[must_use]
    pub fn name(name: &str) -> Self {
        let path = if name.is_empty() { Path::Invalid(BadAttribute::Empty) } else { Path::Name };
        Self { raw: name.to_owned(), path }
    }

    /// The attribute `key`, which every context has.
    #[must_use]
    pub fn key() -> Self {
        Self::name("key")
    }

    /// As it was written.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Whether a literal name begins with a slash, so that [`AttributeRef::parse`] of [`AttributeRef::raw`]
    /// would mean something else.
    #[must_use]
    pub fn is_literal_slash(&self) -> bool {
        matches!(self.path, Path::Name) && self.raw.starts_with('/')
    }

    /// What is wrong with it, if it is held although invalid.
    #[must_use]
    pub fn problem(&self) -> Option<BadAttribute> {
        match self.path {
            Path::Invalid(why) => Some(why),
            Path::Name | Path::Nested(_) => None,
        }
    }

    /// The top-level attribute name, without escapes; `None` if invalid.
    #[must_use]
    pub fn top(&self) -> Option<&str> {
        match &self.path {
            Path::Name => Some(&self.raw),
            Path::Nested(parts) => parts.first().map(String::as_str),
            Path::Invalid(_) => None,
        }
    }

    /// The names below the top one, without escapes.
    #[must_use]
    pub fn rest(&self) -> &[String] {
        match &self.path {
            Path::Nested(parts) => parts.get(1..).unwrap_or_default(),
            Path::Name | Path::Invalid(_) => &[],
        }
    }
}

impl fmt::Display for AttributeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl BadAttribute {
    /// A sentence for a person.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            BadAttribute::Empty => "an attribute reference may not be empty or a slash alone",
            BadAttribute::EmptySegment => "an attribute path may not have a doubled or trailing slash",
            BadAttribute::BadEscape => "in an attribute path `~` must be followed by 0 or 1",
        }
    }
}

fn path_of(raw: &str) -> Result<Path, BadAttribute> {
    let Some(rest) = raw.strip_prefix('/') else {
        return if raw.is_empty() { Err(BadAttribute::Empty) } else { Ok(Path::Name) };
    };
    if rest.is_empty() {
        return Err(BadAttribute::Empty);
    }
    rest.split('/').map(unescape).collect::<Result<Vec<_>, _>>().map(Path::Nested)
}

fn unescape(part: &str) -> Result<String, BadAttribute> {
    if part.is_empty() {
        return Err(BadAttribute::EmptySegment);
    }
    let mut plain = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match (c, c == '~') {
            (_, false) => plain.push(c),
            (_, true) => match chars.next() {
                Some('0') => plain.push('~'),
                Some('1') => plain.push('/'),
                Some(_) | None => return Err(BadAttribute::BadEscape),
            },
        }
    }
    Ok(plain)
}
