//! What is checked in and derived from the code: the API's description and the page of error codes. To write them
//! anew: `ENSIGN_WRITE_GOLDEN=1 cargo test -p ensign-server --test golden`.

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
    let mut words: Vec<&str> = ensign_protocol::problem::TABLE.iter().map(|row| row.word).collect();
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
