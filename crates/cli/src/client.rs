//! Talks to a server: one request, one JSON answer, errors as a person can use them.

use serde_json::Value;

use crate::settings::Server;

/// The HTTP methods that the API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server refused: its problem document.
    Refused(Value),
    /// There was no answer that could be read.
    Broken(String),
}

/// A connection to one server.
pub(crate) struct Client {
    http: reqwest::Client,
    server: Server,
}

impl Client {
    pub(crate) fn new(server: Server) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("ensign/", env!("CARGO_PKG_VERSION")))
            .timeout(std::time::Duration::from_secs(60))
            .build()
            .map_err(|why| format!("no HTTP client: {why}"))?;
        Ok(Self { http, server })
    }

    /// Sends one request and reads the JSON of its answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failed> {
        let url = format!("{}{path}", self.server.url);
        let mut request = match method {
            Method::Get => self.http.get(&url),
            Method::Post => self.http.post(&url),
            Method::Put => self.http.put(&url),
            Method::Delete => self.http.delete(&url),
        }
        .bearer_auth(&self.server.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|why| Failed::Broken(self.unreachable(&why)))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|why| Failed::Broken(format!("{url}: {why}")))?;
        let parsed: Result<Value, _> =
            if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
        match parsed {
            Ok(value) if status.is_success() => Ok(value),
            Ok(problem @ Value::Object(_)) => Err(Failed::Refused(problem)),
            Ok(_) | Err(_) => Err(Failed::Broken(format!(
                "{url} answered {status} with a body that is not Ensign's. Is an Ensign server there?"
            ))),
        }
    }

    fn unreachable(&self, why: &reqwest::Error) -> String {
        if why.is_connect() {
            return format!(
                "no server answers at {}. Start one with `ensign serve`, or name another with --url.",
                self.server.url
            );
        }
        if why.is_timeout() {
            return format!("{} did not answer within 60 s", self.server.url);
        }
        format!("{}: {why}", self.server.url)
    }
}
