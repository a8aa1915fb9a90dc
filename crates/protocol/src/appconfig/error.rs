//! Errors in the shapes that AWS's clients parse: the code in a header, an object as the body, and a union that has
//! exactly one member or is not there at all.

use serde_json::{Map, Value as Json, json};

use super::sigv4::Refused;

/// A code with its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong.
    BadRequest,
    /// A quota is used up.
    QuotaExceeded,
    /// Something is not there.
    NotFound,
    /// Something has changed meanwhile, or is in the way.
    Conflict,
    /// The document is too large.
    PayloadTooLarge,
    /// Too many requests.
    Throttling,
    /// The server failed.
    Internal,
    /// There is no signature.
    MissingToken,
    /// The signature cannot be read, or does not cover what it must.
    IncompleteSignature,
    /// The key is not known.
    UnrecognizedClient,
    /// The signature is wrong, or too old.
    InvalidSignature,
    /// The key may not do this.
    AccessDenied,
}

impl Kind {
    /// The code as clients know it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequestException",
            Self::QuotaExceeded => "ServiceQuotaExceededException",
            Self::NotFound => "ResourceNotFoundException",
            Self::Conflict => "ConflictException",
            Self::PayloadTooLarge => "PayloadTooLargeException",
            Self::Throttling => "ThrottlingException",
            Self::Internal => "InternalServerException",
            Self::MissingToken => "MissingAuthenticationTokenException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::AccessDenied => "AccessDeniedException",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::IncompleteSignature => 400,
            Self::QuotaExceeded => 402,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::Throttling => 429,
            Self::Internal => 500,
            Self::MissingToken | Self::UnrecognizedClient | Self::InvalidSignature | Self::AccessDenied => {
                403
            }
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct AwsError {
    /// Its code.
    pub kind: Kind,
    /// A sentence.
    pub message: String,
    /// Members besides the message.
    pub members: Map<String, Json>,
}

impl AwsError {
    /// An error without more members.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), members: Map::new() }
    }

    /// The request is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// The same with a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The control plane: a document does not pass its validators. `details` must not be empty.
    #[must_use]
    pub fn invalid_configuration(details: Vec<Json>) -> Self {
        let error = Self::bad("Error invoking validators");
        if details.is_empty() {
            return error;
        }
        error
            .with("Reason", "InvalidConfiguration")
            .with("Details", json!({ "InvalidConfiguration": details }))
    }

    /// The data plane: a token is `Corrupted`, `Expired`, or asked for too early (`PollIntervalNotSatisfied`).
    pub fn token(problem: &str, message: impl Into<String>) -> Self {
        Self::bad(message)
            .with("Reason", "InvalidParameters")
            .with("Details", json!({ "InvalidParameters": { "ConfigurationToken": { "Problem": problem } } }))
    }

    /// The data plane: nothing is found under what the request names.
    #[must_use]
    pub fn unresolved(resource: &str, referenced: &[(&str, &str)]) -> Self {
        let by: Map<String, Json> =
            referenced.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Self::new(Kind::NotFound, format!("Could not find {resource} for account 000000000000"))
            .with("ResourceType", resource)
            .with("ReferencedBy", Json::Object(by))
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Json {
        let mut all = Map::new();
        all.insert("Message".into(), json!(self.message));
        all.extend(self.members.clone());
        Json::Object(all)
    }
}

impl From<Refused> for AwsError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing => Self::new(Kind::MissingToken, "The request is not signed."),
            Refused::Malformed => Self::new(Kind::IncompleteSignature, "The signature cannot be read."),
            Refused::Unsigned => Self::new(
                Kind::IncompleteSignature,
                "The signature must cover the host, the date and every x-amz- header.",
            ),
            Refused::Mismatch => Self::new(
                Kind::InvalidSignature,
                "The request signature we calculated does not match the signature you provided.",
            ),
            Refused::Skewed => Self::new(
                Kind::InvalidSignature,
                "Signature expired: the time of the request is too far from the server's.",
            ),
        }
    }
}
