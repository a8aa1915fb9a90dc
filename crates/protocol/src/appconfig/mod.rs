//! The bytes of AWS AppConfig's API: signatures, routes, errors, session tokens, resources as its clients read them.
//!
//! Absent on purpose: who may do what, and which session gets which version.

pub mod alarm;
pub mod error;
pub mod route;
pub mod sigv4;
pub mod token;
pub mod wire;

pub use error::{AwsError, Kind};
pub use route::{Operation, Target, route};

/// Undoes percent-encoding; `None` where the result is not UTF-8 or an escape is broken.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            plain.push(u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok()?);
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(plain).ok()
}

/// The values of a name in a raw query, in order.
pub fn query<'q>(query: &'q str, name: &str) -> impl Iterator<Item = String> + use<'q> {
    let name = name.to_owned();
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key)? == name).then(|| decode(&value.replace('+', " "))).flatten()
    })
}
