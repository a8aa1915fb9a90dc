//! Secrets at rest: the installation's data-encryption key, sealing, token hashes, random bytes.
//!
//! What must be readable again is sealed; everything else is hashed. Absent on purpose: any rule about which secret
//! is which, and any way to print a key.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Fault;

/// The file name of the key in a data folder.
pub const KEY_FILE: &str = "secret.key";

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// The first byte of everything sealed: the method, so that it can be changed.
const VERSION: u8 = 1;

/// The installation's data-encryption key.
#[derive(Clone)]
pub struct SecretKey {
    bytes: [u8; KEY_BYTES],
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl SecretKey {
    /// A key from elsewhere, such as the environment.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self { bytes }
    }

    /// Reads the key file of a data folder, or creates it (mode 0600) when it is missing. A file that others may read
    /// is refused. `may_create` is false when there is data already: a new key could not open it.
    pub fn open_or_create(dir: &Path, may_create: bool) -> Result<Self, Fault> {
        let path = dir.join(KEY_FILE);
        match File::open(&path) {
            Ok(file) => Self::read(file, &path),
            Err(error) if error.kind() == ErrorKind::NotFound && may_create => Self::create(dir, &path),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Fault::operator(format!(
                "{} is missing, and without it the secrets in this data folder cannot be read: bring it back \
                 from the backup",
                path.display()
            ))),
            Err(error) => Err(failed("open", &path, &error)),
        }
    }

    fn read(mut file: File, path: &Path) -> Result<Self, Fault> {
        let mode = file.metadata().map_err(|error| failed("inspect", path, &error))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Fault::operator(format!(
                "{} can be read by others (mode {mode:o}): chmod 600 it, and if others had access, replace the keys",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| failed("read", path, &error))?;
        let bytes = bytes.try_into().map_err(|_| {
            Fault::operator(format!("{} is not a key: it must have {KEY_BYTES} bytes", path.display()))
        })?;
        Ok(Self { bytes })
    }

    fn create(dir: &Path, path: &Path) -> Result<Self, Fault> {
        let key = Self { bytes: random()? };
        write_private(path, &key.bytes)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| failed("sync", dir, &error))?;
        Ok(key)
    }

    /// Encrypts `plain`. `context` says what it is (such as `sdk-key/default/production`); opening needs the same.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, Fault> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Fault::ours("a secret is too long to be sealed"))?;
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Decrypts. `None`: altered, sealed with another key, or for another context.
    #[must_use]
    pub fn open(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, body) = rest.split_at_checked(NONCE_BYTES)?;
        if *version != VERSION {
            return None;
        }
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let payload = Payload { msg: body, aad: context.as_bytes() };
        self.cipher().decrypt(&XNonce::from(nonce), payload).ok()
    }

    /// A key for one purpose: HMAC-SHA-256 of the purpose under this key, so that no such key tells of another.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.bytes))
    }
}

/// What is stored of a token. Tokens are 128 random bits or more, so a plain hash cannot be guessed backwards.
#[must_use]
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Compares in a time that depends on the lengths only.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::machine(format!("the system has no random bytes: {error}")))?;
    Ok(bytes)
}

/// Writes a new file that only its owner can read, durably. An existing file is left alone and is a fault.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| failed("create", path, &error))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| failed("write", path, &error))
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::machine(format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_context_and_bytes_open() {
        let key = SecretKey::from_bytes([1; 32]);
        let sealed = key.seal("sdk-key/p/e", b"hidden").unwrap();
        assert_eq!(key.open("sdk-key/p/e", &sealed).as_deref(), Some(&b"hidden"[..]));
        assert_eq!(key.open("sdk-key/p/other", &sealed), None);
        assert_eq!(SecretKey::from_bytes([2; 32]).open("sdk-key/p/e", &sealed), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open("sdk-key/p/e", &altered), None, "byte {at}");
            assert_eq!(key.open("sdk-key/p/e", &sealed[..at]), None, "cut at {at}");
        }
        assert_ne!(key.seal("c", b"x").unwrap(), key.seal("c", b"x").unwrap(), "nonces repeat");
    }

    #[test]
    fn the_key_file_is_private_and_is_not_made_twice() {
        let dir = tempfile::tempdir().unwrap();
        assert!(SecretKey::open_or_create(dir.path(), false).unwrap_err().inward.contains("missing"));
        let first = SecretKey::open_or_create(dir.path(), true).unwrap();
        let path = dir.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let second = SecretKey::open_or_create(dir.path(), true).unwrap();
        assert!(same(&first.bytes, &second.bytes));
        assert_eq!(format!("{first:?}"), "SecretKey(…)");

        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(SecretKey::open_or_create(dir.path(), true).unwrap_err().inward.contains("chmod 600"));
    }
}
