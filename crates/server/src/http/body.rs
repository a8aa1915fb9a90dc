//! Bodies of requests: bounded, UTF-8, JSON, of the right shape; each refusal with its place.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::{ApiError, App, limits};

/// A JSON body of at most `LIMIT` bytes. An empty one is `{}`.
pub(crate) struct Body<T, const LIMIT: usize = { limits::BODY }>(pub(crate) T);

impl<T: DeserializeOwned, const LIMIT: usize> FromRequest<Arc<App>> for Body<T, LIMIT> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, ApiError> {
        let headers = request.headers();
        if let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
            && !kind.trim_start().to_ascii_lowercase().starts_with("application/json")
            // What `curl --data` sends without being asked.
            && !kind.starts_with("application/x-www-form-urlencoded")
        {
            return Err(ApiError::new("media_type", format!("The body has to be JSON, not {kind}.")));
        }
        let bytes = read(request, LIMIT).await?;
        parse(if bytes.is_empty() { b"{}" } else { &bytes }).map(Self)
    }
}

/// The bytes of a body, if there are not too many.
pub(crate) async fn read(request: Request, limit: usize) -> Result<bytes::Bytes, ApiError> {
    let too_large = || ApiError::new("body_too_large", format!("A body has at most {limit} bytes here."));
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    to_bytes(request.into_body(), limit).await.map_err(|error| {
        let long =
            std::error::Error::source(&error).is_some_and(|why| why.to_string().contains("length limit"));
        if long { too_large() } else { ApiError::new("body_unreadable", "The body did not arrive whole.") }
    })
}

/// Reads JSON, or says where it is wrong.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let (line, column) = place(&bytes[..error.valid_up_to()]);
        let detail = format!("Byte {} of the body is not UTF-8.", error.valid_up_to() + 1);
        return Err(ApiError::new("not_utf8", detail).at(line, column));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        explain(error.inner(), pointer)
    })?;
    reader.end().map_err(|error| explain(&error, String::new()))?;
    Ok(value)
}

/// Line and column behind some text, both from 1; columns count characters.
fn place(before: &[u8]) -> (usize, usize) {
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    (line, String::from_utf8_lossy(last).chars().count() + 1)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&part);
    }
    pointer
}

fn explain(error: &serde_json::Error, pointer: String) -> ApiError {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let name = what.split('`').nth(1).unwrap_or_default().to_owned();
    let found = |code, pointer: String| {
        ApiError::new(code, sentence(&what)).at(error.line(), error.column()).pointer(pointer)
    };
    if !error.is_data() {
        return ApiError::new("json_syntax", sentence(&what)).at(error.line(), error.column());
    }
    // The reader's path ends at the member or at the object that holds it, depending on how the type is read.
    let member = |pointer: String| {
        if pointer.rsplit('/').next() == Some(name.as_str()) { pointer } else { format!("{pointer}/{name}") }
    };
    if what.starts_with("unknown field") {
        found("json_unknown_member", member(pointer))
    } else if what.starts_with("missing field") {
        found("json_missing_member", pointer)
    } else if what.starts_with("duplicate field") {
        found("json_duplicate_member", member(pointer))
    } else {
        found("json_type", pointer)
    }
}

fn sentence(text: &str) -> String {
    let text = text.replace("unknown field", "unknown member").replace("missing field", "missing member");
    let mut letters = text.replace("duplicate field", "repeated member").chars().collect::<Vec<_>>();
    if let Some(first) = letters.first_mut() {
        *first = first.to_ascii_uppercase();
    }
    let mut text: String = letters.into_iter().collect();
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Shape {
        name: String,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Part {
        weight: u32,
    }

    #[track_caller]
    fn check(body: &[u8], code: &str, pointer: Option<&str>, place: (u32, u32)) {
        let document = parse::<Shape>(body).unwrap_err().document;
        assert_eq!(
            (document.code.as_str(), document.pointer.as_deref()),
            (code, pointer),
            "{}",
            document.detail
        );
        assert_eq!((document.line, document.column), (Some(place.0), Some(place.1)), "{}", document.detail);
    }

    #[test]
    fn every_refusal_says_where() {
        check(b"{\"name\": }", "json_syntax", None, (1, 10));
        check(b"{\n \"name\": \"a\",\n}", "json_syntax", None, (3, 1));
        check(b"", "json_syntax", None, (1, 0));
        check(b"{\"name\": \"a\"} x", "json_syntax", None, (1, 15));
        check(b"{\"name\": NaN}", "json_syntax", None, (1, 10));
        check(b"{\"name\": 1}", "json_type", Some("/name"), (1, 10));
        check(b"{\"nam\": \"a\"}", "json_unknown_member", Some("/nam"), (1, 6));
        check(b"{}", "json_missing_member", Some(""), (1, 2));
        check(b"{\"name\": \"a\", \"name\": \"b\"}", "json_duplicate_member", Some("/name"), (1, 20));
        check(
            b"{\"name\": \"a\", \"parts\": [{\"weight\": 1}, {\"weight\": -1}]}",
            "json_type",
            Some("/parts/1/weight"),
            (1, 52),
        );
        check(b"{\"name\":\n \"\xff\"}", "not_utf8", None, (2, 3));
    }
}
