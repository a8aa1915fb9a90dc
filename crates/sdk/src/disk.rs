//! The copy of the last good ruleset on disk: written whole beside the old one, then put in its place.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ensign_protocol::stream::{Put, VERSION};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The file's first line: what the second one must be.
#[derive(Serialize, Deserialize)]
struct Head {
    ensign_ruleset: u32,
    checksum: String,
}

/// The file of one server and key; the key cannot be read out of its name.
pub(crate) fn file(folder: &Path, url: &str, key: &str) -> PathBuf {
    folder.join(format!("ensign-{:016x}.json", xxh3_64(format!("{url}\n{key}").as_bytes())))
}

/// Writes the copy. Only this user can read it: rules may name customers.
pub(crate) fn save(file: &Path, put: &Put) -> io::Result<()> {
    let body = serde_json::to_string(put)?;
    let head = Head { ensign_ruleset: 1, checksum: format!("{:016x}", xxh3_64(body.as_bytes())) };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // A name of this process's own: two that share a folder must not write into each other's file.
    let beside = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&beside)?;
    out.write_all(format!("{}\n{body}\n", serde_json::to_string(&head)?).as_bytes())?;
    out.sync_data()?;
    fs::rename(&beside, file)
}

/// Reads the copy; a missing, damaged or foreign one is none.
pub(crate) fn load(file: &Path) -> Option<Put> {
    let text = fs::read_to_string(file).ok()?;
    let (head, body) = text.strip_suffix('\n')?.split_once('\n')?;
    let head: Head = serde_json::from_str(head).ok()?;
    if head.ensign_ruleset != 1 || head.checksum != format!("{:016x}", xxh3_64(body.as_bytes())) {
        return None;
    }
    serde_json::from_str(body).ok().filter(|put: &Put| put.v == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ensign_protocol::stream::Position;

    #[test]
    fn what_is_damaged_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(folder.path(), "http://x", "k");
        assert_eq!(load(&file), None);
        let at = Position { cursor: "1-a".to_owned(), revision: 1, overlay: 0 };
        let put = Put { v: 1, at, flags: Default::default(), segments: Default::default() };
        save(&file, &put).expect("it can be written");
        assert_eq!(load(&file), Some(put));
        let whole = fs::read(&file).expect("it can be read");
        for cut in [0, 1, whole.len() / 2, whole.len() - 2] {
            fs::write(&file, &whole[..cut]).expect("it can be written");
            assert_eq!(load(&file), None, "cut at {cut}");
        }
        let mut changed = whole.clone();
        let at = whole.len() - 5;
        changed[at] ^= 1;
        fs::write(&file, &changed).expect("it can be written");
        assert_eq!(load(&file), None);
    }
}
