//! Where the server is and who we are: flags, then the environment, then the credentials file.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;

use crate::args::Target;

/// What the environment says, read once by `main`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Env {
    pub(crate) url: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) data: Option<PathBuf>,
    /// The data-encryption key in hexadecimal, where it does not lie in the data folder.
    pub(crate) secret: Option<String>,
    /// What applications must send to the agent.
    pub(crate) access_token: Option<String>,
    pub(crate) xdg_data_home: Option<PathBuf>,
    pub(crate) home: Option<PathBuf>,
}

impl Env {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(crate) fn read() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let text = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
        Self {
            url: text("ENSIGN_URL"),
            token: text("ENSIGN_TOKEN"),
            data: path("ENSIGN_DATA"),
            secret: text("ENSIGN_SECRET_KEY"),
            access_token: text("ACCESS_TOKEN"),
            xdg_data_home: path("XDG_DATA_HOME"),
            home: path("HOME"),
        }
    }

    /// The data folder: the flag, `ENSIGN_DATA`, or the user's data folder.
    pub(crate) fn data_folder(&self, flag: Option<&Path>) -> PathBuf {
        if let Some(folder) = flag.or(self.data.as_deref()) {
            return folder.to_path_buf();
        }
        match (&self.xdg_data_home, &self.home) {
            (Some(data), _) => data.join("ensign"),
            (None, Some(home)) => home.join(".local/share/ensign"),
            (None, None) => PathBuf::from("ensign-data"),
        }
    }
}

/// Reads a key of 32 bytes in hexadecimal; the text itself is never repeated.
pub(crate) fn key(text: &str) -> Result<[u8; 32], String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        "ENSIGN_SECRET_KEY must be 64 hexadecimal digits; `openssl rand -hex 32` makes one".to_owned()
    })
}

/// A server to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) token: String,
}

#[derive(Deserialize)]
struct Credentials {
    url: String,
    admin_token: String,
}

/// Finds the server and the key, or says what is missing and the command that helps.
pub(crate) fn server(target: &Target, env: &Env) -> Result<Server, String> {
    let url = target.url.clone().or_else(|| env.url.clone());
    let token = target.token.clone().or_else(|| env.token.clone());
    if let (Some(url), Some(token)) = (&url, &token) {
        return Ok(Server { url: trim(url), token: token.clone() });
    }
    let file = env.data_folder(None).join("credentials.json");
    let text = std::fs::read_to_string(&file).map_err(|why| {
        format!(
            "no server is named and {} cannot be read ({why}).\n\
             Start one with `ensign serve`, or give --url and --token, or set ENSIGN_URL and ENSIGN_TOKEN.",
            file.display()
        )
    })?;
    let found: Credentials =
        serde_json::from_str(&text).map_err(|why| format!("{} is damaged: {why}", file.display()))?;
    Ok(Server { url: trim(&url.unwrap_or(found.url)), token: token.unwrap_or(found.admin_token) })
}

fn trim(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: Option<&str>, token: Option<&str>) -> Target {
        Target { url: url.map(Into::into), token: token.map(Into::into), ..Target::default() }
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("credentials.json"),
            r#"{"url": "http://file:1/", "admin_token": "file", "projects": {}}"#,
        )
        .unwrap();
        let mut env = Env { data: Some(folder.path().into()), ..Env::default() };
        let check = |target: &Target, env: &Env, url: &str, token: &str| {
            assert_eq!(server(target, env).unwrap(), Server { url: url.into(), token: token.into() });
        };
        check(&target(None, None), &env, "http://file:1", "file");
        env.url = Some("http://env:2".into());
        check(&target(None, None), &env, "http://env:2", "file");
        env.token = Some("env".into());
        check(&target(None, Some("flag")), &env, "http://env:2", "flag");
        check(&target(Some("http://flag:3"), None), &env, "http://flag:3", "env");
    }

    #[test]
    fn without_a_server_the_next_command_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let env = Env { data: Some(folder.path().into()), ..Env::default() };
        let said = server(&target(None, None), &env).unwrap_err();
        assert!(said.contains("ensign serve"), "{said}");
    }
}
