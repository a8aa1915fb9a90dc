//! Keys: what is given out, what is kept of it, and who a bearer is.
//!
//! API keys are kept as hashes. What must be readable again (SDK keys for secure mode, AWS secrets, token-signing keys)
//! is kept sealed with the installation's data-encryption key. Nothing here can print a secret.

use std::collections::BTreeMap;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ensign_control::catalogue::{Actor, ApiKey, Change, ItemKey, KeyScope, RecordKind, Scope};
use ensign_control::ids::{Key, Place, Timestamp};
use ensign_control::token::TokenKey;
use ensign_store::Fault;
use ensign_store::secrets::{SecretKey, random, same, token_hash};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::image::{Image, place_scope, project_scope};
use crate::ingest::BookKeys;

/// Who a bearer is and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The key's id.
    pub id: String,
    /// The name in the audit log.
    pub actor: Actor,
    /// Only this project; none: all.
    pub project: Option<Key>,
    /// Only this environment; none: all.
    pub environment: Option<Key>,
    /// What for.
    pub scopes: Vec<KeyScope>,
}

impl Grant {
    /// Whether it has a scope; `admin` has all.
    #[must_use]
    pub fn may(&self, scope: KeyScope) -> bool {
        self.scopes.iter().any(|own| *own == scope || *own == KeyScope::Admin)
    }

    /// Whether it reaches an environment.
    #[must_use]
    pub fn reaches(&self, place: &Place) -> bool {
        self.reaches_project(&place.project)
            && self.environment.as_ref().is_none_or(|environment| *environment == place.environment)
    }

    /// Whether it reaches a project, perhaps only one environment of it.
    #[must_use]
    pub fn reaches_project(&self, project: &Key) -> bool {
        self.project.as_ref().is_none_or(|own| own == project)
    }

    /// The environment it is bound to.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Some(Place { project: self.project.clone()?, environment: self.environment.clone()? })
    }
}

/// Every valid key by its hash.
#[derive(Debug, Default)]
pub(crate) struct Access {
    by_hash: BTreeMap<[u8; 32], (Grant, ApiKey)>,
}

impl Access {
    pub(crate) fn of(image: &Image) -> Self {
        let mut by_hash = BTreeMap::new();
        for (id, stored) in image.records(RecordKind::ApiKey) {
            let Ok(key) = ApiKey::deserialize(stored.body.as_ref()) else { continue };
            let Some(hash) = from_hex(&key.hash).and_then(|hash| <[u8; 32]>::try_from(hash).ok()) else {
                continue;
            };
            let (project, environment) = owner(&id.scope);
            let actor = Actor::new(key.name.clone());
            let grant = Grant { id: id.key.clone(), actor, project, environment, scopes: key.scopes.clone() };
            by_hash.insert(hash, (grant, key));
        }
        Self { by_hash }
    }

    /// Whether a key of this id may still read an environment.
    pub(crate) fn is_valid(&self, id: &str, place: &Place, now: Timestamp) -> bool {
        self.by_hash.values().any(|(grant, key)| {
            grant.id == id && grant.reaches(place) && grant.may(KeyScope::Read) && key.valid(now)
        })
    }

    /// Who a token belongs to. Only the token's hash is looked up, and the hit is compared in constant time, so that
    /// time tells nothing about tokens.
    pub(crate) fn grant(&self, token: &str, now: Timestamp) -> Option<Grant> {
        let hash = token_hash(token);
        let (stored, (grant, key)) = self.by_hash.get_key_value(&hash)?;
        (same(stored, &hash) && key.valid(now)).then(|| grant.clone())
    }
}

/// The project and environment of a scope.
pub(crate) fn owner(scope: &Scope) -> (Option<Key>, Option<Key>) {
    let environment = scope.environment.as_ref().and_then(|key| key.parse().ok());
    (scope.project.parse().ok(), environment)
}

/// What an environment's clients use. Shown once, and written into `credentials.json` at the first start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnvironmentCredentials {
    /// Reads flags and sends events.
    pub sdk_key: String,
    /// The same for mobile applications.
    pub mobile_key: String,
    /// Names the environment in browsers; no secret.
    pub client_id: String,
    /// The id of the AWS key pair of the data plane.
    pub aws_access_key_id: String,
    /// Its secret.
    pub aws_secret_access_key: String,
}

/// A project's AWS pair for the control plane, and its environments' credentials.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProjectCredentials {
    /// The id of the AWS key pair of the control plane.
    pub aws_access_key_id: String,
    /// Its secret.
    pub aws_secret_access_key: String,
    /// By environment.
    pub environments: BTreeMap<String, EnvironmentCredentials>,
}

/// A new token: a readable prefix and 160 random bits, in an alphabet that fits a DNS label, a header and a path.
pub(crate) fn new_token(prefix: &str) -> Result<String, Fault> {
    Ok(format!("{prefix}-{}", base32(&random::<20>()?)))
}

pub(crate) fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

/// The stored form of a key, and its record's id.
pub(crate) fn api_key(
    name: &str,
    token: &str,
    scopes: &[KeyScope],
    now: Timestamp,
    expires: Option<Timestamp>,
) -> (String, ApiKey) {
    let hash = token_hash(token);
    let prefix = token.get(..12).unwrap_or_default().to_owned();
    let key = ApiKey {
        name: name.to_owned(),
        hash: hex(&hash),
        prefix,
        scopes: scopes.to_vec(),
        created: now,
        expires,
        replaced_by: None,
    };
    (format!("k{}", &hex(&hash)[..12]), key)
}

fn record(scope: &Scope, kind: RecordKind, key: impl Into<String>) -> ItemKey {
    ItemKey { scope: scope.clone(), kind: kind.word().to_owned(), key: key.into() }
}

fn sealed(secret: &SecretKey, scope: &Scope, what: &str, plain: &[u8]) -> Result<(ItemKey, Json), Fault> {
    let context = format!("{what}/{}/{}", scope.project, scope.environment.as_deref().unwrap_or_default());
    let body = json!({ "sealed": hex(&secret.seal(&context, plain)?) });
    Ok((record(scope, RecordKind::Secret, what), body))
}

/// Opens a sealed record of a scope.
pub(crate) fn open(secret: &SecretKey, image: &Image, scope: &Scope, what: &str) -> Option<Vec<u8>> {
    let body = &image.item(scope, RecordKind::Secret.word(), what)?.body;
    let context = format!("{what}/{}/{}", scope.project, scope.environment.as_deref().unwrap_or_default());
    secret.open(&context, &from_hex(body.get("sealed")?.as_str()?)?)
}

/// A new AWS key pair: its id and its secret.
pub(crate) fn aws_pair() -> Result<(String, String), Fault> {
    Ok((new_token("ens-aws")?, base32(&random::<25>()?)))
}

/// New credentials of an environment and what is stored of them.
pub(crate) fn for_environment(
    secret: &SecretKey,
    place: &Place,
    now: Timestamp,
    change: &mut Change,
) -> Result<EnvironmentCredentials, Fault> {
    let scope = place_scope(place);
    let (aws_access_key_id, aws_secret_access_key) = aws_pair()?;
    let made = EnvironmentCredentials {
        sdk_key: new_token("ens-sdk")?,
        mobile_key: new_token("ens-mob")?,
        client_id: new_token("ens-cid")?,
        aws_access_key_id,
        aws_secret_access_key,
    };
    let data = [KeyScope::Read, KeyScope::Ingest];
    for (what, token) in [("sdk", &made.sdk_key), ("mobile", &made.mobile_key)] {
        let (id, key) = api_key(&format!("{what} key of {place}"), token, &data, now, None);
        change.puts.push((record(&scope, RecordKind::ApiKey, id), json!(key)));
    }
    let aws = format!("{}\n{}", made.aws_access_key_id, made.aws_secret_access_key);
    for (what, plain) in [
        ("sdk_key", made.sdk_key.as_bytes()),
        ("client_id", made.client_id.as_bytes()),
        ("aws", aws.as_bytes()),
        ("token_key.1", &random::<32>()?),
        ("unit_key", &random::<16>()?),
    ] {
        change.puts.push(sealed(secret, &scope, what, plain)?);
    }
    Ok(made)
}

/// New credentials of a project and what is stored of them.
pub(crate) fn for_project(
    secret: &SecretKey,
    project: &Key,
    change: &mut Change,
) -> Result<ProjectCredentials, Fault> {
    let (id, key) = aws_pair()?;
    change.puts.push(sealed(secret, &project_scope(project), "aws", format!("{id}\n{key}").as_bytes())?);
    Ok(ProjectCredentials {
        aws_access_key_id: id,
        aws_secret_access_key: key,
        environments: BTreeMap::new(),
    })
}

/// The secrets that events and tokens of an environment need.
pub(crate) fn place_keys(secret: &SecretKey, image: &Image, place: &Place) -> Option<BookKeys> {
    let scope = place_scope(place);
    let mut tokens = Vec::new();
    for (key, _) in image.items(&scope, RecordKind::Secret.word()) {
        let Some(id) = key.strip_prefix("token_key.").and_then(|id| id.parse::<u8>().ok()) else { continue };
        let bytes = open(secret, image, &scope, key)?;
        tokens.push(TokenKey { id, secret: bytes.try_into().ok()? });
    }
    // The newest signs.
    tokens.sort_by_key(|key| std::cmp::Reverse(key.id));
    // Behind them: only what signs is looked for in front.
    tokens.extend(tokens.clone().iter().map(TokenKey::for_sdks));
    let unit = open(secret, image, &scope, "unit_key")?.try_into().ok()?;
    Some(BookKeys { tokens, unit })
}

/// What client-side SDKs are recognised by.
#[derive(Clone, Default)]
pub(crate) struct ClientKeys {
    /// Names the environment in browsers; no secret.
    pub(crate) client_id: String,
    /// Signs contexts in secure mode.
    pub(crate) sdk_key: String,
}

/// The client-side ID and the SDK key of an environment; empty where they cannot be opened, which matches nothing.
pub(crate) fn client_keys(secret: &SecretKey, image: &Image, place: &Place) -> ClientKeys {
    let scope = place_scope(place);
    let text = |what: &str| {
        let bytes = open(secret, image, &scope, what)?;
        String::from_utf8(bytes).ok()
    };
    ClientKeys {
        client_id: text("client_id").unwrap_or_default(),
        sdk_key: text("sdk_key").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_fit_a_dns_label_and_are_never_the_same() {
        let made: Vec<String> = (0..100).map(|_| new_token("ens-admin").unwrap()).collect();
        for token in &made {
            assert!(token.len() <= 63, "{token}");
            assert!(
                token.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
        }
        assert_eq!(made.iter().collect::<std::collections::BTreeSet<_>>().len(), 100);
    }
}
