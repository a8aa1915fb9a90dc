//! What is checked in and derived from the code: the API's description and the page of error codes. To write them
//! anew: `ENSIGN_WRITE_GOLDEN=1 cargo test -p ensign-server --test golden`.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    #[expect(clippy::disallowed_methods, reason = "a person asks for new files by the environment")]
    if std::env::var_os("ENSIGN_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{name} differs from the code; see the first lines of this file");
}

#[test]
fn the_description_of_the_api() {
    compare("spec/openapi.json", &ensign_server::description());
}

#[test]
fn the_page_of_error_codes() {
    compare("docs/reference/errors.md", &ensign_protocol::problem::reference());
}

#[test]
fn every_code_is_in_the_table_once_and_is_a_word() {
    let mut words: Vec<&str> = ensign_protocol::problem::all().map(|row| row.word).collect();
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count, "a code is there twice");
    for word in words {
        assert!(
            word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{word}"
        );
    }
}

/// The codes that the core makes are words in its source; each has a row.
#[test]
fn every_code_that_the_core_makes_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/src");
    let known: Vec<&str> = ensign_protocol::problem::all().map(|row| row.word).collect();
    let mut missing = std::collections::BTreeSet::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for maker in ["Problem::new(", "Refusal::new("] {
                for call in text.split(maker).skip(1) {
                    let Some(word) = call.split('"').nth(1) else { continue };
                    let first = call.trim_start().starts_with('"');
                    if first && !known.contains(&word) {
                        missing.insert(word.to_owned());
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "without a row in crates/protocol/src/problem: {missing:?}");
}
