//! Taking JSON text apart without understanding it: where one element ends and the next begins.
//!
//! It knows strings and brackets and nothing else, so that a `NaN` or a number out of range in one event does not
//! cost the others.

/// The elements of an array, each as its text. `None`: the brackets or quotes do not close.
pub(crate) fn elements(text: &str) -> Option<Vec<&str>> {
    let inner = inside(text, b'[', b']')?;
    Some(divide(inner)?.into_iter().filter(|piece| !piece.is_empty()).collect())
}

/// The members of an object, each as key and text. `None`: the brackets or quotes do not close, or a member has no
/// key. A key with escapes is left as it stands; none of ours has any.
pub(crate) fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let inner = inside(text, b'{', b'}')?;
    let pieces = divide(inner)?.into_iter().filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let rest = piece.strip_prefix('"')?;
            let end = closing_quote(rest.as_bytes())?;
            let value = rest[end + 1..].trim_start().strip_prefix(':')?;
            Some((&rest[..end], value.trim()))
        })
        .collect()
}

fn inside(text: &str, open: u8, close: u8) -> Option<&str> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let closed = bytes.len() >= 2 && bytes[0] == open && bytes[bytes.len() - 1] == close;
    closed.then(|| &text[1..text.len() - 1])
}

/// Pieces between the commas of the outermost level.
fn divide(text: &str) -> Option<Vec<&str>> {
    let bytes = text.as_bytes();
    let (mut depth, mut start, mut at) = (0_usize, 0, 0);
    let mut pieces = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += 1 + closing_quote(&bytes[at + 1..])?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                pieces.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    pieces.push(text[start..].trim());
    (depth == 0).then_some(pieces)
}

/// The offset of the quote that ends a string whose opening quote stood just before `bytes`.
fn closing_quote(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}
