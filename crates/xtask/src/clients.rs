//! Runs clients against a real server: unmodified ones, installed from their registries at pinned versions, and
//! Ensign's own for Python, from the wheel.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Done, cargo, run as execute, strict};

/// What a client needs of the machine.
const TOOLS: [(&str, &str); 3] = [
    ("python3", "clients for Python, Ensign's own among them"),
    ("npm", "OpenFeature's providers, LaunchDarkly's and the AWS SDK for JavaScript"),
    ("protoc", "flagd's provider for Rust, which compiles its protocol"),
];

/// Builds the server and the clients, installs what is unmodified below `target`, and runs the tests. A machine without
/// Python or Node only lists what was not run, unless this is CI.
pub(crate) fn run(root: &Path) -> Done {
    for (tool, what) in TOOLS.iter().filter(|(tool, _)| !has(tool)) {
        if strict() {
            return Err(format!("{tool} is not installed"));
        }
        eprintln!("clients: not run: {tool} is not installed (tests/clients: {what})");
    }
    if !has("python3") {
        return Ok(());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    cargo(root, &["build", "--quiet", "--locked", "--package", "ensign-cli"])?;
    let python = venv(root, &target)?;
    let wheel = wheel(root, &target, &python)?;
    pip(&python, &["--force-reinstall".as_ref(), "--no-deps".as_ref(), wheel.as_os_str()])?;
    let launchdarkly = rust_client(&root.join("tests/clients/rust"), &target.join("clients-rust"))?;
    let mut tests = Command::new(&python);
    tests
        .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
        .arg(root.join("tests/clients"))
        .env("ENSIGN_BINARY", target.join("debug/ensign"))
        .env("ENSIGN_WHEEL", &wheel)
        .env("ENSIGN_RUST_CLIENT", launchdarkly)
        .env("ENSIGN_NODE_CLIENTS", "")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if has("protoc") {
        let from = root.join("tests/clients/openfeature-rust");
        tests.env("ENSIGN_RUST_OPENFEATURE", rust_client(&from, &target.join("clients-openfeature-rust"))?);
    }
    if has("npm") {
        let aws = node_clients(&root.join("tests/clients"), &target.join("clients-node"))?;
        let openfeature =
            node_clients(&root.join("tests/clients/node"), &target.join("clients-openfeature"))?;
        tests.env("ENSIGN_NODE_CLIENTS", aws).env("ENSIGN_NODE_MODULES", openfeature.join("node_modules"));
    }
    execute(&mut tests)
}

/// A client for Rust, which is a workspace of its own: its program.
fn rust_client(from: &Path, folder: &Path) -> Result<PathBuf, String> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--target-dir"]).arg(folder);
    execute(build.current_dir(from))?;
    Ok(folder.join("debug/ensign-client-tests"))
}

fn has(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success())
}

fn venv(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let venv = target.join("clients-python");
    let python = venv.join("bin/python");
    if !python.exists() {
        execute(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    pip(&python, &["-r".as_ref(), root.join("tests/clients/requirements.txt").as_os_str()])?;
    Ok(python)
}

fn pip(python: &Path, what: &[&OsStr]) -> Done {
    let mut install = Command::new(python);
    execute(install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(what))
}

/// Builds the wheel of Ensign's own client. One wheel serves every Python from 3.10 on.
fn wheel(root: &Path, target: &Path, python: &Path) -> Result<PathBuf, String> {
    let out = target.join("wheels");
    execute(
        Command::new(python)
            .args(["-m", "maturin", "build", "--quiet", "--locked", "--release", "--target-dir"])
            .arg(target.join("python"))
            .arg("--out")
            .arg(&out)
            .arg("--interpreter")
            .arg(python)
            .current_dir(root.join("bindings/python")),
    )?;
    let wheels = std::fs::read_dir(&out).map_err(|why| format!("{}: {why}", out.display()))?;
    wheels
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|it| it == "whl"))
        .ok_or_else(|| format!("{} holds no wheel", out.display()))
}

/// Clients for Node.js at the versions of `from`'s package.json, exactly as locked if there is a lock file, in a folder
/// of their own.
fn node_clients(from: &Path, folder: &Path) -> Result<PathBuf, String> {
    let failed = |why: std::io::Error| format!("{}: {why}", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::copy(from.join("package.json"), folder.join("package.json")).map_err(failed)?;
    let lock = from.join("package-lock.json");
    let how = if lock.exists() {
        std::fs::copy(lock, folder.join("package-lock.json")).map_err(failed)?;
        "ci"
    } else {
        "install"
    };
    let mut install = Command::new("npm");
    execute(install.args([how, "--silent", "--no-audit", "--no-fund"]).current_dir(folder))?;
    Ok(folder.to_path_buf())
}
