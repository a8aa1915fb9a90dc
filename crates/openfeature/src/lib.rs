//! The OpenFeature provider for Rust: evaluation in process by [`ensign_sdk`], in OpenFeature's words.
//!
//! ```no_run
//! use ensign_openfeature::Provider;
//! use ensign_sdk::{Client, Config};
//! use open_feature::{EvaluationContext, OpenFeature};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::start(Config::new("http://127.0.0.1:7070", "ens-sdk-…"))?;
//! let mut api = OpenFeature::singleton_mut().await;
//! api.set_provider(Provider::new(client)).await;
//! let user = EvaluationContext::default().with_targeting_key("user-1");
//! let model = api.create_client().get_string_value("inference_model", Some(&user), None).await;
//! # let _ = model;
//! # Ok(())
//! # }
//! ```

mod context;

use std::time::Duration;

use async_trait::async_trait;
use ensign_protocol::openfeature::{Why, why};
use ensign_sdk::{Answer, Client, Contact, ErrorKind, Reason, Value};
use open_feature::provider::{FeatureProvider, ProviderMetadata, ProviderStatus, ResolutionDetails};
use open_feature::{
    EvaluationContext, EvaluationError, EvaluationErrorCode, EvaluationReason, EvaluationResult,
    FlagMetadata, StructValue, Value as OfValue,
};

/// How long `initialize` waits for the first ruleset.
const FIRST: Duration = Duration::from_secs(5);

/// The provider.
pub struct Provider {
    client: Client,
    metadata: ProviderMetadata,
}

impl Provider {
    /// A provider that evaluates with this client. Exposures are noted as with the client itself.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, metadata: ProviderMetadata::new("ensign") }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn resolve<T>(
        &self,
        flag: &str,
        context: &EvaluationContext,
        read: impl Fn(&Value) -> Option<T>,
    ) -> EvaluationResult<ResolutionDetails<T>> {
        let reading = self.client.read();
        if reading.snapshot().revision().is_none() {
            return Err(error(EvaluationErrorCode::ProviderNotReady, "there is no ruleset yet"));
        }
        let evaluated = if context.custom_fields.contains_key("kind") {
            let context = context::owned(context)
                .map_err(|bad| error(EvaluationErrorCode::InvalidContext, &bad.to_string()))?;
            details(&reading.evaluate(flag, &context), read)
        } else {
            details(&reading.evaluate(flag, &context::Flat(context)), read)
        };
        evaluated.map_err(|code| {
            let message = match code {
                EvaluationErrorCode::FlagNotFound => format!("there is no flag {flag:?}"),
                EvaluationErrorCode::TypeMismatch => format!("flag {flag:?} has values of another type"),
                _ => format!("flag {flag:?} gives no value: the caller's default applies"),
            };
            error(code, &message)
        })
    }
}

fn error(code: EvaluationErrorCode, message: &str) -> EvaluationError {
    EvaluationError { code, message: Some(message.to_owned()) }
}

fn details<T>(
    answer: &Answer<'_>,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<ResolutionDetails<T>, EvaluationErrorCode> {
    let why = why(&answer.evaluation(), || answer.depends_on_context()).map_err(|kind| match kind {
        ErrorKind::FlagNotFound => EvaluationErrorCode::FlagNotFound,
        ErrorKind::MalformedFlag => EvaluationErrorCode::General("MALFORMED_FLAG".to_owned()),
    })?;
    // This version of the interface has no way to say "use your own default, and nothing is wrong".
    let value = answer.value().ok_or_else(|| EvaluationErrorCode::General(why.word().to_owned()))?;
    let value = read(value).ok_or(EvaluationErrorCode::TypeMismatch)?;
    let reason = match why {
        Why::Static => EvaluationReason::Static,
        Why::Default => EvaluationReason::Default,
        Why::TargetingMatch => EvaluationReason::TargetingMatch,
        Why::Split => EvaluationReason::Split,
        Why::Disabled => EvaluationReason::Disabled,
    };
    Ok(ResolutionDetails {
        value,
        variant: answer.variant().map(str::to_owned),
        reason: Some(reason),
        flag_metadata: Some(metadata(answer)),
    })
}

fn metadata(answer: &Answer<'_>) -> FlagMetadata {
    let mut all = FlagMetadata::default();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    if let Some(version) = answer.flag_version() {
        all.add_value("version", number(version));
    }
    if let Some(revision) = answer.snapshot().revision() {
        all.add_value("revision", number(revision));
    }
    if let Reason::RuleMatch { id, .. } = answer.reason() {
        all.add_value("rule", id);
    }
    let decision = answer.decision();
    if let Some(allocation) = decision.allocation {
        all.add_value("allocation", format!("{:016x}", allocation.0));
        all.add_value("epoch", decision.epoch);
    }
    all
}

fn structure(json: &serde_json::Value) -> Option<StructValue> {
    let members = json.as_object()?;
    let mut all = StructValue::default();
    for (name, value) in members {
        if let Some(value) = value_of(value) {
            all.fields.insert(name.clone(), value);
        }
    }
    Some(all)
}

/// OpenFeature has no null: a member that is null is left out.
fn value_of(json: &serde_json::Value) -> Option<OfValue> {
    use serde_json::Value as Json;
    Some(match json {
        Json::Null => return None,
        Json::Bool(value) => OfValue::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => OfValue::Int(value),
            None => OfValue::Float(number.as_f64()?),
        },
        Json::String(text) => OfValue::String(text.clone()),
        Json::Array(items) => OfValue::Array(items.iter().filter_map(value_of).collect()),
        Json::Object(_) => OfValue::Struct(structure(json)?),
    })
}

#[async_trait]
impl FeatureProvider for Provider {
    async fn initialize(&mut self, _: &EvaluationContext) {
        // A wait without a thread of its own: the client's thread wakes it.
        let client = self.client.clone();
        if client.snapshot().revision().is_none() {
            let _ = client.ready(FIRST).await;
        }
    }

    fn status(&self) -> ProviderStatus {
        match (self.client.snapshot().revision(), self.client.contact()) {
            (None, Contact::Refused { .. }) => ProviderStatus::Error,
            (None, _) => ProviderStatus::NotReady,
            (Some(_), Contact::Current | Contact::Lost { .. }) => ProviderStatus::Ready,
            (Some(_), Contact::Never | Contact::Stale { .. } | Contact::Refused { .. }) => {
                ProviderStatus::STALE
            }
        }
    }

    fn metadata(&self) -> &ProviderMetadata {
        &self.metadata
    }

    async fn resolve_bool_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<bool>> {
        self.resolve(flag_key, evaluation_context, |value| match value {
            Value::Bool(value) => Some(*value),
            Value::String(_) | Value::Int(_) | Value::Float(_) | Value::Json(_) => None,
        })
    }

    async fn resolve_int_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<i64>> {
        self.resolve(flag_key, evaluation_context, |value| match value {
            Value::Int(value) => Some(*value),
            Value::Bool(_) | Value::String(_) | Value::Float(_) | Value::Json(_) => None,
        })
    }

    async fn resolve_float_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<f64>> {
        self.resolve(flag_key, evaluation_context, |value| match value {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            Value::Bool(_) | Value::String(_) | Value::Json(_) => None,
        })
    }

    async fn resolve_string_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        self.resolve(flag_key, evaluation_context, |value| match value {
            Value::String(value) => Some(value.clone()),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Json(_) => None,
        })
    }

    async fn resolve_struct_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        self.resolve(flag_key, evaluation_context, |value| match value {
            Value::Json(json) => structure(json),
            Value::Bool(_) | Value::String(_) | Value::Int(_) | Value::Float(_) => None,
        })
    }
}
