//! Attribution tokens: what was decided, for whom (as a keyed hash) and when, signed and opaque.
//!
//! Feedback sent with a token needs no lookup table and no join. Absent on purpose: the unit's own key, any
//! value, any secret; a token can be shown to anybody and says nothing readable.
//!
//! Layout, then base64url without padding: version, key id, flags, time (milliseconds), use case (4 bytes,
//! if any), request (16 bytes, if any), the served flags, and the first 16 bytes of HMAC-SHA256 over all of it.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::sip128::{Hasher128, SipHasher24};
use subtle::ConstantTimeEq;

use crate::event::Served;
use crate::ids::{AllocationId, Epoch, Fingerprint, FlagId, Place, Timestamp, Unit};

const VERSION: u8 = 1;
const MAC: usize = 16;
const HAS_REQUEST: u8 = 1;
const HAS_USE_CASE: u8 = 2;
/// The longest token that is looked at, in characters: about sixty flags.
pub const TOKEN_MAX: usize = 4_096;

/// What a token says.
#[derive(Clone, PartialEq, Debug)]
pub struct Token {
    /// Every flag that was served, with the decision record's parts that attribution needs.
    pub served: Vec<Served>,
    /// A short hash of the use case, if the evaluation had one: see [`use_case_hash`].
    pub use_case: Option<u32>,
    /// When it was decided; kept to the millisecond.
    pub time: Timestamp,
    /// The request it belongs to, if one was named.
    pub request: Option<Fingerprint>,
}

/// A signing key with its number, so that keys can be changed while old tokens are still out.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// The number tokens carry.
    pub id: u8,
    /// The secret.
    pub secret: [u8; 32],
}

impl TokenKey {
    /// The key that clients which evaluate by themselves sign with. It is derived, so that they never hold the
    /// server's own, and has a number of its own (this one's with the highest bit set), so that it can be told apart.
    #[must_use]
    pub fn for_sdks(&self) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(b"ensign sdk tokens");
        Self { id: self.id | 0x80, secret: mac.finalize().into_bytes().into() }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({}, secret)", self.id)
    }
}

/// Why a text is not a token that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadToken {
    /// Too long, not base64url, or cut off.
    Malformed,
    /// Of a version this program does not read.
    Version(u8),
    /// Signed with a key that is no longer (or not yet) known here.
    UnknownKey(u8),
    /// The signature does not fit: changed, or of another environment.
    Signature,
}

impl BadToken {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Version(_) => "token_version",
            Self::UnknownKey(_) => "token_key_unknown",
            Self::Signature => "token_signature",
        }
    }
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the attribution token is damaged or cut off"),
            Self::Version(v) => write!(f, "the attribution token has version {v}, which this server does not read"),
            Self::UnknownKey(id) => write!(f, "the attribution token was signed with key {id}, which is not in use here"),
            Self::Signature => f.write_str("the attribution token's signature does not fit: it was changed, or is of another environment"),
        }
    }
}

impl std::error::Error for BadToken {}

/// The keyed hash of a unit: what events, evidence and tokens know a unit by.
pub fn unit_hash(key: [u8; 16], place: &Place, kind: &str, unit: &str) -> Unit {
    use std::hash::Hasher;
    let mut hasher = SipHasher24::new_with_key(&key);
    // A zero byte cannot be in a key or a kind, so two different triples never give the same input.
    for part in [place.project.as_str(), place.environment.as_str(), kind] {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    }
    hasher.write(unit.as_bytes());
    Unit(hasher.finish128().as_u128())
}

/// The short hash of a use case's key that a token carries.
pub fn use_case_hash(place: &Place, use_case: &str) -> u32 {
    (xxhash_rust::xxh3::xxh3_64(format!("use-case/{place}/{use_case}").as_bytes()) >> 32) as u32
}

fn sign(key: &TokenKey, body: &[u8]) -> [u8; MAC] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).expect("HMAC takes a key of any length");
    mac.update(body);
    let full = mac.finalize().into_bytes();
    let mut short = [0; MAC];
    short.copy_from_slice(&full[..MAC]);
    short
}

/// Writes and signs a token.
pub fn encode(token: &Token, key: &TokenKey) -> String {
    let mut out = Vec::with_capacity(96);
    out.extend([VERSION, key.id]);
    let mut flags = 0;
    flags |= if token.request.is_some() { HAS_REQUEST } else { 0 };
    flags |= if token.use_case.is_some() { HAS_USE_CASE } else { 0 };
    out.push(flags);
    put_varint(&mut out, zigzag(token.time.0.div_euclid(1_000)));
    if let Some(use_case) = token.use_case {
        out.extend(use_case.to_le_bytes());
    }
    if let Some(request) = token.request {
        out.extend(request.0.to_le_bytes());
    }
    put_varint(&mut out, token.served.len() as u64);
    let mut last = None;
    for served in &token.served {
        out.extend(served.flag.0.to_le_bytes());
        // Two low bits: whether a split decided, and whether the unit is the one before's.
        let same = last == Some(served.unit);
        let bits = u64::from(served.split.is_some()) | (u64::from(same) << 1);
        put_varint(&mut out, (u64::from(served.variant) << 2) | bits);
        if let Some((allocation, epoch)) = served.split {
            out.extend(allocation.0.to_le_bytes());
            put_varint(&mut out, u64::from(epoch.0));
        }
        if !same {
            out.extend(served.unit.0.to_le_bytes());
        }
        last = Some(served.unit);
    }
    let mac = sign(key, &out);
    out.extend(mac);
    BASE64URL_NOPAD.encode(&out)
}

/// Checks a token's signature and reads it.
///
/// # Errors
/// [`BadToken`], told apart so that a person can be told what to do; the signature check takes the same
/// time wherever the difference is.
pub fn decode(text: &str, keys: &[TokenKey]) -> Result<Token, BadToken> {
    if text.len() > TOKEN_MAX {
        return Err(BadToken::Malformed);
    }
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| BadToken::Malformed)?;
    let body_end = bytes.len().checked_sub(MAC).ok_or(BadToken::Malformed)?;
    let (body, mac) = bytes.split_at(body_end);
    let [version, id, flags, rest @ ..] = body else { return Err(BadToken::Malformed) };
    if *version != VERSION {
        return Err(BadToken::Version(*version));
    }
    let key = keys.iter().find(|key| key.id == *id).ok_or(BadToken::UnknownKey(*id))?;
    if !bool::from(sign(key, body).ct_eq(mac)) {
        return Err(BadToken::Signature);
    }
    let mut rest = rest;
    read(&mut rest, *flags).filter(|_| rest.is_empty()).ok_or(BadToken::Malformed)
}

fn read(rest: &mut &[u8], flags: u8) -> Option<Token> {
    let millis = unzigzag(take_varint(rest)?);
    let use_case = if flags & HAS_USE_CASE == 0 { None } else { Some(u32::from_le_bytes(take(rest)?)) };
    let request =
        if flags & HAS_REQUEST == 0 { None } else { Some(Fingerprint(u128::from_le_bytes(take(rest)?))) };
    let count = take_varint(rest)?;
    let mut served = Vec::new();
    let mut last = None;
    for _ in 0..count {
        let flag = FlagId(u64::from_le_bytes(take(rest)?));
        let bits = take_varint(rest)?;
        let variant = u16::try_from(bits >> 2).ok()?;
        let split = if bits & 1 == 0 {
            None
        } else {
            let allocation = AllocationId(u64::from_le_bytes(take(rest)?));
            Some((allocation, Epoch(u32::try_from(take_varint(rest)?).ok()?)))
        };
        let unit = if bits & 2 == 0 { Unit(u128::from_le_bytes(take(rest)?)) } else { last? };
        last = Some(unit);
        served.push(Served { flag, variant, split, unit });
    }
    Some(Token { served, use_case, time: Timestamp(millis.checked_mul(1_000)?), request })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn zigzag(x: i64) -> u64 {
    ((x << 1) ^ (x >> 63)) as u64
}

fn unzigzag(x: u64) -> i64 {
    ((x >> 1) as i64) ^ -((x & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        out.push((x as u8) | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut x = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take::<1>(rest)?;
        x |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(x);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8) -> TokenKey {
        TokenKey { id, secret: [id; 32] }
    }

    fn served(flag: u64, split: bool) -> Served {
        Served {
            flag: FlagId(flag ^ 0xdead_beef_0bad_cafe),
            variant: 1,
            split: split.then_some((AllocationId(0xfeed_f00d_1234_5678), Epoch(3))),
            unit: Unit(0x1234_5678_9abc_def0_0fed_cba9_8765_4321),
        }
    }

    fn token(flags: u64, request: bool) -> Token {
        Token {
            served: (0..flags).map(|flag| served(flag, flag % 2 == 0)).collect(),
            use_case: request.then_some(77),
            time: Timestamp(1_900_000_000_123_000),
            request: request.then_some(Fingerprint(u128::MAX - 5)),
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        for flags in [0, 1, 2, 7] {
            for request in [false, true] {
                let token = token(flags, request);
                assert_eq!(decode(&encode(&token, &key(1)), &[key(2), key(1)]), Ok(token));
            }
        }
    }

    #[test]
    fn one_flag_fits_in_a_short_text() {
        assert!(encode(&token(1, false), &key(1)).len() <= 86);
        assert!(encode(&token(1, true), &key(1)).len() <= 112);
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = encode(&token(1, true), &key(1));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(decode(&changed, &[key(1)]).is_err(), "at {at}");
        }
        for cut in 0..text.len() {
            assert!(decode(&text[..cut], &[key(1)]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_reason_is_named() {
        let text = encode(&token(1, true), &key(1));
        assert_eq!(decode(&text, &[key(2)]), Err(BadToken::UnknownKey(1)));
        let other = TokenKey { id: 1, secret: [9; 32] };
        assert_eq!(decode(&text, &[other]), Err(BadToken::Signature));
        assert_eq!(decode("ÄÖ", &[key(1)]), Err(BadToken::Malformed));
        assert_eq!(decode(&"A".repeat(5_000), &[key(1)]), Err(BadToken::Malformed));
    }

    #[test]
    fn units_of_different_kinds_places_and_keys_differ() {
        let place = |e: &str| Place { project: "p".parse().unwrap(), environment: e.parse().unwrap() };
        let base = unit_hash([1; 16], &place("a"), "user", "u1");
        assert_eq!(base, unit_hash([1; 16], &place("a"), "user", "u1"));
        for other in [
            unit_hash([2; 16], &place("a"), "user", "u1"),
            unit_hash([1; 16], &place("b"), "user", "u1"),
            unit_hash([1; 16], &place("a"), "org", "u1"),
            unit_hash([1; 16], &place("a"), "user", "u2"),
        ] {
            assert_ne!(base, other);
        }
    }
}
