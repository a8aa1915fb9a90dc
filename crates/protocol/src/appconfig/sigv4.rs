//! Signature Version 4: what was presented, what should have been signed, and whether the two agree.
//!
//! Works on the request exactly as received: raw path, raw query, header bytes. Absent on purpose: keys, clocks and
//! permissions.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The name of both services in a credential's scope.
pub const SERVICE: &str = "appconfig";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// SHA-256 of nothing.
pub const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no signature.
    Missing,
    /// The signature's header cannot be read.
    Malformed,
    /// A header that has to be signed is not.
    Unsigned,
    /// The signature is not that of this request under this key.
    Mismatch,
    /// The time of the request is too far from the server's.
    Skewed,
}

/// A request as it came: header names in lower case, values as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The raw path.
    pub path: &'a str,
    /// The raw query, without its question mark.
    pub query: &'a str,
    /// The headers in the order received.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> Request<'a> {
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.header(name)?).ok().map(str::trim)
    }
}

/// What a request presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a> {
    /// The id of the key.
    pub key: &'a str,
    /// `YYYYMMDD`.
    pub date: &'a str,
    /// Any.
    pub region: &'a str,
    service: &'a str,
    signed: &'a str,
    signature: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    stamp: &'a str,
    /// The same in seconds since 1970.
    pub at: i64,
    /// Of temporary credentials.
    pub session_token: Option<&'a str>,
}

/// Whether a request claims to be signed.
#[must_use]
pub fn is_signed(authorization: Option<&[u8]>) -> bool {
    authorization.is_some_and(|value| value.starts_with(ALGORITHM.as_bytes()))
}

/// Reads what a request presents.
///
/// # Errors
/// [`Refused::Missing`], [`Refused::Malformed`] or [`Refused::Unsigned`].
pub fn read<'a>(request: &Request<'a>) -> Result<Presented<'a>, Refused> {
    let header = request.text("authorization").ok_or(Refused::Missing)?;
    let fields = header.strip_prefix(ALGORITHM).ok_or(Refused::Malformed)?;
    let (mut credential, mut signed, mut signature) = (None, None, None);
    for field in fields.split(',') {
        match field.trim().split_once('=') {
            Some(("Credential", value)) => credential = Some(value),
            Some(("SignedHeaders", value)) => signed = Some(value),
            Some(("Signature", value)) => signature = Some(value),
            _ => return Err(Refused::Malformed),
        }
    }
    let (Some(credential), Some(signed), Some(signature)) = (credential, signed, signature) else {
        return Err(Refused::Malformed);
    };
    let mut scope = credential.rsplitn(5, '/');
    let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(key)) =
        (scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
    else {
        return Err(Refused::Malformed);
    };
    let (dated_by, stamp) = match request.text("x-amz-date") {
        Some(stamp) => ("x-amz-date", stamp),
        None => ("date", request.text("date").ok_or(Refused::Malformed)?),
    };
    let at = seconds(stamp).ok_or(Refused::Malformed)?;
    let is_signed = |name: &str| signed.split(';').any(|known| known == name);
    let every = request.headers.iter().all(|(name, _)| !name.starts_with("x-amz-") || is_signed(name));
    if !is_signed("host") || !is_signed(dated_by) || !every {
        return Err(Refused::Unsigned);
    }
    if signature.len() != 64 || key.is_empty() {
        return Err(Refused::Malformed);
    }
    let session_token = request.text("x-amz-security-token");
    Ok(Presented { key, date, region, service, signed, signature, stamp, at, session_token })
}

/// `YYYYMMDDTHHMMSSZ` in seconds since 1970.
fn seconds(stamp: &str) -> Option<i64> {
    let digits = |range: std::ops::Range<usize>| -> Option<i64> {
        let text = stamp.get(range)?;
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    if stamp.len() != 16 || stamp.as_bytes()[8] != b'T' || !stamp.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    let narrow = |n: i64| i8::try_from(n).ok();
    let civil = jiff::civil::Date::new(i16::try_from(year).ok()?, narrow(month)?, narrow(day)?).ok()?;
    let civil =
        civil.to_datetime(jiff::civil::Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, 0).ok()?);
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// The key that signs the requests of one day in one region.
#[must_use]
pub fn signing_key(secret: &str, date: &str, region: &str) -> [u8; 32] {
    let date = hmac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    let region = hmac(&date, region.as_bytes());
    hmac(&hmac(&region, SERVICE.as_bytes()), b"aws4_request")
}

/// Whether a request was signed with a key. `now` and `window` are in seconds.
///
/// # Errors
/// [`Refused::Mismatch`] or [`Refused::Skewed`]. The signature is looked at first and compared in constant time.
pub fn verify(
    request: &Request<'_>,
    presented: &Presented<'_>,
    body: &[u8],
    signing_key: &[u8; 32],
    now: i64,
    window: i64,
) -> Result<(), Refused> {
    let hash = if body.is_empty() { EMPTY.to_owned() } else { HEXLOWER.encode(&Sha256::digest(body)) };
    if let Some(claimed) = request.text("x-amz-content-sha256")
        && !bool::from(claimed.as_bytes().ct_eq(hash.as_bytes()))
    {
        return Err(Refused::Mismatch);
    }
    let text = string_to_sign(request, presented, &hash);
    let expected = HEXLOWER.encode(&hmac(signing_key, text.as_bytes()));
    let good = bool::from(expected.as_bytes().ct_eq(presented.signature.as_bytes()));
    let dated = presented.stamp.get(..8) == Some(presented.date);
    if !good || !dated || presented.service != SERVICE {
        return Err(Refused::Mismatch);
    }
    if (presented.at - now).abs() > window { Err(Refused::Skewed) } else { Ok(()) }
}

fn string_to_sign(request: &Request<'_>, presented: &Presented<'_>, hash: &str) -> String {
    let canonical = HEXLOWER.encode(&Sha256::digest(canonical(request, presented, hash)));
    let Presented { date, region, service, stamp, .. } = presented;
    format!("{ALGORITHM}\n{stamp}\n{date}/{region}/{service}/aws4_request\n{canonical}")
}

/// The canonical request, as bytes: header values need not be UTF-8.
fn canonical(request: &Request<'_>, presented: &Presented<'_>, hash: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b'\n');
    canonical_path(request.path, &mut out);
    out.push(b'\n');
    canonical_query(request.query, &mut out);
    out.push(b'\n');
    for name in presented.signed.split(';') {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let mut first = true;
        for (_, value) in request.headers.iter().filter(|(known, _)| *known == name) {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            canonical_value(value, &mut out);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(presented.signed.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(hash.as_bytes());
    out
}

/// Dot segments and repeated slashes removed, then encoded once more.
fn canonical_path(path: &str, out: &mut Vec<u8>) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let start = out.len();
    for segment in &segments {
        out.push(b'/');
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                out.push(byte);
            } else {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
        }
    }
    if path.ends_with('/') || out.len() == start {
        out.push(b'/');
    }
}

/// Sorted by name and value, never decoded.
fn canonical_query(query: &str, out: &mut Vec<u8>) {
    if query.is_empty() {
        return;
    }
    let mut pairs: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.into_iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
    }
}

/// Without blanks at the ends, and with one for each run of them.
fn canonical_value(value: &[u8], out: &mut Vec<u8>) {
    let mut gap = false;
    let start = out.len();
    for byte in value {
        if matches!(byte, b' ' | b'\t') {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) && out.len() > start {
            out.push(b' ');
        }
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests;
