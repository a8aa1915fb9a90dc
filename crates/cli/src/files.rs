//! Reads the files a person names: single files, folders, standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The largest file that is read, in bytes; the server's limit for one apply is the same.
const LARGEST: u64 = 4 << 20;

/// A file's name, as problems will name it, and its text.
#[derive(Debug, Serialize)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Reads everything below the given paths, in the order of their names.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|why| format!("standard input: {why}"))?;
            files.push(File { name: "standard input".into(), text: utf8("standard input", bytes)? });
        } else if path.is_dir() {
            folder(path, &mut files)?;
        } else {
            files.push(one(path)?);
        }
    }
    if files.is_empty() {
        return Err("no *.json, *.yaml or *.yml file was found there".into());
    }
    Ok(files)
}

/// The bytes of one file, however large; `-` is standard input.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|why| format!("standard input: {why}"))?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(|why| format!("{}: {why}", path.display()))
}

fn folder(path: &Path, files: &mut Vec<File>) -> Result<(), String> {
    let entries = std::fs::read_dir(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut below: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    below.sort();
    for entry in below {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if entry.is_dir() {
            folder(&entry, files)?;
        } else if entry.extension().is_some_and(|it| it == "json" || it == "yaml" || it == "yml") {
            files.push(one(&entry)?);
        }
    }
    Ok(())
}

fn one(path: &Path) -> Result<File, String> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|why| format!("{name}: {why}"))?.len();
    if size > LARGEST {
        return Err(format!("{name}: {size} bytes; a file has at most {LARGEST}. Split it."));
    }
    let bytes = std::fs::read(path).map_err(|why| format!("{name}: {why}"))?;
    Ok(File { text: utf8(&name, bytes)?, name })
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|bad| {
        let at = bad.utf8_error().valid_up_to();
        let line = bad.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{name}:{line}: byte {} is not UTF-8. Save the file as UTF-8.", at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_and_hidden_files_are_not() {
        let top = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.json", "c.txt", ".d.json"] {
            std::fs::write(top.path().join(name), "{}").unwrap();
        }
        let names: Vec<String> = read(&[top.path().into()]).unwrap().into_iter().map(|it| it.name).collect();
        assert!(
            names[0].ends_with("a.json") && names[1].ends_with("b.yaml") && names.len() == 2,
            "{names:?}"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named_by_line() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("a.json");
        std::fs::write(&path, b"{}\n\xff").unwrap();
        let said = read(&[path]).unwrap_err();
        assert!(said.contains("a.json:2: byte 4 is not UTF-8"), "{said}");
    }
}
