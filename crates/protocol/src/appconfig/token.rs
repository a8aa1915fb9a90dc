//! Session tokens: everything that a poll needs, signed, so that any server with the key can answer and a repeated
//! poll gets the same answer.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

const VERSION: u8 = 1;
const MAC: usize = 16;
const LENGTH: usize = 1 + 1 + 16 + 3 * 8 + 4 + 4 + 8 + 8 + 8;
/// Longer texts are not looked at.
const TEXT_MAX: usize = 512;

/// How long a token lives, in microseconds.
pub const LIFE: i64 = 24 * 3_600 * 1_000_000;

/// A session as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Who is asked about: random, or derived from the credential.
    pub id: u128,
    /// The application's id, zero-padded.
    pub application: [u8; 8],
    /// The environment's id, zero-padded.
    pub environment: [u8; 8],
    /// The profile's id, zero-padded.
    pub profile: [u8; 8],
    /// The shortest time between polls that was asked for, in seconds; 0: none was.
    pub interval: u32,
    /// The version last delivered; 0: none yet.
    pub version: u32,
    /// When the token was issued, in microseconds since 1970.
    pub issued: i64,
    /// The first moment of the next poll, in microseconds since 1970.
    pub not_before: i64,
    /// Makes no two tokens equal.
    pub nonce: u64,
}

/// Why a token is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// It cannot be read, or was not signed with a known key.
    Corrupted,
    /// It is older than [`LIFE`].
    Expired,
}

/// A text of at most eight bytes as a token holds it.
#[must_use]
pub fn pad(id: &str) -> [u8; 8] {
    let mut bytes = [0; 8];
    for (place, byte) in bytes.iter_mut().zip(id.bytes()) {
        *place = byte;
    }
    bytes
}

/// The text of a padded id.
#[must_use]
pub fn unpad(bytes: &[u8; 8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(8);
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// Signs a session with the key of that number.
#[must_use]
pub fn encode(session: &Session, key_id: u8, key: &[u8; 32]) -> String {
    let mut bytes = Vec::with_capacity(LENGTH + MAC);
    bytes.extend([VERSION, key_id]);
    bytes.extend(session.id.to_be_bytes());
    bytes.extend(session.application);
    bytes.extend(session.environment);
    bytes.extend(session.profile);
    bytes.extend(session.interval.to_be_bytes());
    bytes.extend(session.version.to_be_bytes());
    bytes.extend(session.issued.to_be_bytes());
    bytes.extend(session.not_before.to_be_bytes());
    bytes.extend(session.nonce.to_be_bytes());
    bytes.extend(mac(&bytes, key));
    BASE64URL_NOPAD.encode(&bytes)
}

/// Which environment a token speaks of, before it is believed: its key is that environment's.
#[must_use]
pub fn environment(text: &str) -> Option<[u8; 8]> {
    let bytes = from_text(text)?;
    bytes.get(26..34)?.try_into().ok()
}

/// Opens a token with whichever of the keys signed it.
///
/// # Errors
/// [`Bad`].
pub fn decode<'k>(
    text: &str,
    keys: impl IntoIterator<Item = (u8, &'k [u8; 32])>,
    now: i64,
) -> Result<Session, Bad> {
    let bytes = from_text(text).filter(|bytes| bytes.len() == LENGTH + MAC).ok_or(Bad::Corrupted)?;
    let (body, signed) = bytes.split_at(LENGTH);
    let key = keys.into_iter().find(|(id, _)| *id == body[1]).map(|(_, key)| key).ok_or(Bad::Corrupted)?;
    if body[0] != VERSION || !bool::from(mac(body, key).ct_eq(signed)) {
        return Err(Bad::Corrupted);
    }
    fn part<const N: usize>(body: &[u8], at: usize) -> [u8; N] {
        let mut part = [0; N];
        part.copy_from_slice(&body[at..at + N]);
        part
    }
    let session = Session {
        id: u128::from_be_bytes(part(body, 2)),
        application: part(body, 18),
        environment: part(body, 26),
        profile: part(body, 34),
        interval: u32::from_be_bytes(part(body, 42)),
        version: u32::from_be_bytes(part(body, 46)),
        issued: i64::from_be_bytes(part(body, 50)),
        not_before: i64::from_be_bytes(part(body, 58)),
        nonce: u64::from_be_bytes(part(body, 66)),
    };
    if now.saturating_sub(session.issued) > LIFE { Err(Bad::Expired) } else { Ok(session) }
}

fn mac(body: &[u8], key: &[u8; 32]) -> [u8; MAC] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(b"appconfig session\0");
    mac.update(body);
    let whole = mac.finalize().into_bytes();
    let mut half = [0; MAC];
    half.copy_from_slice(&whole[..MAC]);
    half
}

fn from_text(text: &str) -> Option<Vec<u8>> {
    (text.len() <= TEXT_MAX).then(|| BASE64URL_NOPAD.decode(text.as_bytes()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            application: pad("u1a6qre"),
            environment: pad("p4vvaiq"),
            profile: pad("7ia6ez6"),
            interval: 15,
            version: 3,
            issued: 1_000_000,
            not_before: 2_000_000,
            nonce: 9,
        }
    }

    #[test]
    fn a_token_says_again_what_was_put_into_it_and_nothing_else_does() {
        let (key, other) = ([7; 32], [8; 32]);
        let text = encode(&session(), 2, &key);
        assert!(
            text.len() < 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{text}"
        );
        assert_eq!(decode(&text, [(1, &other), (2, &key)], 0), Ok(session()));
        assert_eq!(environment(&text).as_ref().map(unpad), Some("p4vvaiq"));
        assert_eq!(decode(&text, [(1, &key)], 0), Err(Bad::Corrupted), "a key of another number");
        assert_eq!(decode(&text, [(2, &other)], 0), Err(Bad::Corrupted));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(decode(&changed, [(2, &key)], 0), Err(Bad::Corrupted), "character {at}");
            assert_eq!(decode(&text[..at], [(2, &key)], 0), Err(Bad::Corrupted));
        }
        assert_eq!(decode(&text, [(2, &key)], LIFE + 1_000_000), Ok(session()));
        assert_eq!(decode(&text, [(2, &key)], LIFE + 1_000_001), Err(Bad::Expired));
        assert_eq!(decode("ä", [(2, &key)], 0), Err(Bad::Corrupted));
    }
}
