//! OpenFeature's context as the evaluator asks for it.

use ensign_eval::{BadContext, KindRef, NameRef};
use ensign_sdk::{Attr, Context, ContextBuf};
use open_feature::{EvaluationContext, EvaluationContextFieldValue as Field};
use serde_json::{Map, Value as Json};

/// A context of one user, read where it is.
pub(crate) struct Flat<'a>(pub(crate) &'a EvaluationContext);

impl Context for Flat<'_> {
    fn has(&self, kind: KindRef<'_>) -> bool {
        kind.is_user
    }

    fn key(&self, kind: KindRef<'_>) -> Option<&str> {
        // An empty targeting key is how some callers say that there is none.
        self.0.targeting_key.as_deref().filter(|key| kind.is_user && !key.is_empty())
    }

    fn attribute(&self, kind: KindRef<'_>, name: NameRef<'_>) -> Option<Attr<'_>> {
        if !kind.is_user {
            return None;
        }
        Some(match self.0.custom_fields.get(name.name)? {
            Field::Bool(value) => Attr::Bool(*value),
            Field::Int(value) => Attr::Int(*value),
            Field::Float(value) => Attr::Float(*value),
            Field::String(value) => Attr::Str(value),
            Field::DateTime(at) => Attr::Int(millis(at.unix_timestamp_nanos())),
            Field::Struct(any) => Attr::from_json(any.downcast_ref::<Json>()?)?,
        })
    }

    fn any_kind(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        test(ensign_eval::model::USER)
    }
}

fn millis(nanos: i128) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}

/// A context of a kind that it names, or of several.
pub(crate) fn owned(context: &EvaluationContext) -> Result<ContextBuf, BadContext> {
    let mut all = Map::new();
    if let Some(key) = &context.targeting_key {
        all.insert("targetingKey".to_owned(), Json::from(key.as_str()));
    }
    for (name, field) in &context.custom_fields {
        let value = match field {
            Field::Bool(value) => Json::from(*value),
            Field::Int(value) => Json::from(*value),
            Field::Float(value) => Json::from(*value),
            Field::String(value) => Json::from(value.as_str()),
            Field::DateTime(at) => Json::from(millis(at.unix_timestamp_nanos())),
            Field::Struct(any) => any.downcast_ref::<Json>().cloned().unwrap_or(Json::Null),
        };
        all.insert(name.clone(), value);
    }
    ContextBuf::from_openfeature(&Json::Object(all))
}
