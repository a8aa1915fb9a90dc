//! gRPC's framing, and JSON as protobuf's own structure type.

use std::convert::Infallible;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Map, Value as Json};

/// What a call ended with. Only the codes that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    InvalidArgument = 3,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Failed {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A message behind its head: not compressed, and how long.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(length + 5);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}

/// The one message of a request.
pub(super) fn unframed<M: Message + Default>(body: &[u8]) -> Result<M, Failed> {
    let Some((head, message)) = body.split_first_chunk::<5>() else {
        return Err(Failed::new(Code::InvalidArgument, "the request has no message"));
    };
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err(Failed::new(Code::Unimplemented, "compressed requests are not read: send identity"));
    }
    let message = message
        .get(..u32::from_be_bytes(length) as usize)
        .ok_or_else(|| Failed::new(Code::InvalidArgument, "the message is cut off"))?;
    M::decode(message).map_err(|why| Failed::new(Code::InvalidArgument, why.to_string()))
}

fn trailers(code: Code, message: &str) -> HeaderMap {
    let mut all = HeaderMap::new();
    all.insert("grpc-status", HeaderValue::from(code as u16));
    let mut text = String::new();
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    if let Ok(text) = HeaderValue::try_from(text) {
        all.insert("grpc-message", text);
    }
    all
}

fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The answer of a call with one message.
pub(super) fn answered(result: Result<impl Message, Failed>) -> Response {
    match result {
        Ok(message) => {
            let frames = [Frame::data(framed(&message)), Frame::trailers(trailers(Code::Ok, ""))];
            response(Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)))))
        }
        Err(failed) => refused(&failed),
    }
}

/// The answer of a call that failed: only how it ended.
pub(super) fn refused(failed: &Failed) -> Response {
    let mut response = response(Body::empty());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().extend(trailers(failed.code, &failed.message));
    response
}

/// An endless answer. When it ends all the same, it says so in a way that every client takes for a reason to come back.
pub(super) fn streamed(messages: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let messages = messages
        .filter(|bytes| std::future::ready(bytes.as_ref().is_ok_and(|bytes| !bytes.is_empty())))
        .map(|bytes| bytes.map(Frame::data));
    let end = trailers(Code::Unavailable, "the server is going away; connect again");
    let end = stream::once(async move { Ok(Frame::trailers(end)) });
    response(Body::new(StreamBody::new(messages.chain(end))))
}

/// JSON as a structure. Numbers become doubles: the type has no others.
pub(super) fn structure(map: &Map<String, Json>) -> Struct {
    Struct { fields: map.iter().map(|(name, json)| (name.clone(), value(json))).collect() }
}

fn value(json: &Json) -> prost_types::Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(map) => Kind::StructValue(structure(map)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// A structure as JSON. Whole doubles become integers, as the same context sent in JSON has them.
pub(super) fn json(structure: Option<Struct>) -> Json {
    let fields = structure.map(|structure| structure.fields).unwrap_or_default();
    Json::Object(fields.into_iter().map(|(name, value)| (name, json_value(value))).collect())
}

fn json_value(value: prost_types::Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(number)) => {
            let whole = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_991.0;
            if whole { Json::from(number as i64) } else { Json::from(number) }
        }
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json_value).collect(),
        Some(Kind::StructValue(inner)) => json(Some(inner)),
    }
}
