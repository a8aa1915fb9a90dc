//! Runs unmodified clients, installed from their registries at pinned versions, against a real server.

use std::path::Path;
use std::process::Command;

use crate::{Done, cargo, run as execute, strict};

/// Builds the server, installs the Python clients into a folder below `target`, and runs their tests.
pub(crate) fn run_all(root: &Path) -> Done {
    cargo(root, &["build", "--quiet", "--locked", "--package", "ensign-cli"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let venv = target.join("clients-python");
    let python = venv.join("bin/python");
    if !python.exists() {
        execute(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    execute(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(root.join("tests/clients/requirements.txt")),
    )?;
    execute(
        Command::new(&python)
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
            .arg(root.join("tests/clients"))
            .env("ENSIGN_BINARY", target.join("debug/ensign"))
            .env("ENSIGN_NODE_CLIENTS", node_clients(root, &target)?)
            .env("ENSIGN_RUST_CLIENT", rust_client(root, &target)?)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

/// Clients for Node.js at the versions of tests/clients/package.json, in a folder below `target`. Empty where the
/// machine has no Node.js, which only lists what was not run, unless this is CI.
fn node_clients(root: &Path, target: &Path) -> Result<std::path::PathBuf, String> {
    if !Command::new("npm").arg("--version").output().is_ok_and(|out| out.status.success()) {
        if strict() {
            return Err("npm is not installed".into());
        }
        eprintln!(
            "clients: not run: npm is not installed (tests/clients: the AWS SDK for JavaScript, LaunchDarkly's for Node)"
        );
        return Ok(std::path::PathBuf::new());
    }
    let folder = target.join("clients-node");
    let failed = |why: std::io::Error| format!("{}: {why}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::copy(root.join("tests/clients/package.json"), folder.join("package.json")).map_err(failed)?;
    let mut install = Command::new("npm");
    install.args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder);
    execute(&mut install)?;
    Ok(folder)
}

/// The client for Rust, which is a workspace of its own: its program.
fn rust_client(root: &Path, target: &Path) -> Result<std::path::PathBuf, String> {
    let folder = target.join("clients-rust");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("tests/clients/rust/Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder);
    execute(&mut build)?;
    Ok(folder.join("debug/ensign-client-tests"))
}

/// As [`run_all`], but a machine without Python only lists what was not run, unless this is CI.
pub(crate) fn run(root: &Path) -> Done {
    if Command::new("python3").arg("--version").output().is_ok_and(|out| out.status.success()) {
        return run_all(root);
    }
    if strict() {
        return Err("python3 is not installed".into());
    }
    eprintln!(
        "clients: not run: python3 is not installed (tests/clients: OFREP, AWS and LaunchDarkly clients)"
    );
    Ok(())
}
