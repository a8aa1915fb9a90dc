//! Values: what code receives from a flag.

use std::fmt;

/// What the code receives. Integer or float is settled when the flag is parsed and kept from then on.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// A string.
    String(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction, even if that is `.0`.
    Float(f64),
    /// Anything else JSON can say.
    Json(serde_json::Value),
}

/// The type of a flag's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// `true` or `false`.
    Bool,
    /// Text.
    String,
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Any JSON.
    Json,
}

impl Value {
    /// Which type this is.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Value::Bool(_) => ValueKind::Bool,
            Value::String(_) => ValueKind::String,
            Value::Int(_) => ValueKind::Int,
            Value::Float(_) => ValueKind::Float,
            Value::Json(_) => ValueKind::Json,
        }
    }

    /// The same value as JSON; `1.0` stays `1.0`. A float that JSON cannot say becomes `null`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Bool(b) => (*b).into(),
            Value::String(s) => s.as_str().into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) => (*f).into(),
            Value::Json(json) => json.clone(),
        }
    }

    /// The natural value of a piece of JSON: scalars by their own type (a number is an integer if it is written
    /// as one and fits), everything else as JSON.
    #[must_use]
    pub fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Bool(b) => Value::Bool(b),
            serde_json::Value::String(s) => Value::String(s),
            serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(i), _) => Value::Int(i),
                (None, Some(f)) => Value::Float(f),
                (None, None) => Value::Json(serde_json::Value::Number(n)),
            },
            serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                Value::Json(json)
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(s) => f.write_str(s),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Json(_) => self.to_json().fmt(f),
        }
    }
}

impl ValueKind {
    /// The word used in documents and answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ValueKind::Bool => "boolean",
            ValueKind::String => "string",
            ValueKind::Int => "integer",
            ValueKind::Float => "float",
            ValueKind::Json => "json",
        }
    }
}
