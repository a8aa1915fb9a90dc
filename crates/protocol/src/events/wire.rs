//! The members of an event, borrowed from the body.

use std::borrow::Cow;
use std::fmt;

use ensign_control::ids::Timestamp;
use ensign_control::metric::Status;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// One event as sent: every member that any type has. What is missing is found when it is read.
#[derive(serde::Deserialize, Clone, Debug, Default)]
pub struct Wire<'a> {
    /// The version of the envelope; 1 if absent.
    pub v: Option<u32>,
    /// `exposure`, `request` or `outcome`.
    #[serde(rename = "type", borrow)]
    pub kind: Option<Text<'a>>,
    /// A free id, unique for 24 hours.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// A sender that numbers its events.
    #[serde(borrow)]
    pub source: Option<Text<'a>>,
    /// The number, rising by one per event of the source.
    pub seq: Option<u64>,
    /// When it happened; for a request: when it ended.
    pub time: Option<Time>,
    /// An attribution token.
    #[serde(borrow)]
    pub token: Option<Text<'a>>,
    /// Decision records of all flags served.
    #[serde(borrow)]
    pub decisions: Option<Vec<Decision<'a>>>,
    /// The unit.
    #[serde(borrow)]
    pub unit: Option<UnitName<'a>>,
    /// The request's id.
    #[serde(borrow)]
    pub request: Option<Text<'a>>,
    /// When the request started.
    pub start: Option<Time>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// Time to the first token, in milliseconds.
    pub ttft_ms: Option<f64>,
    /// How it ended.
    pub status: Option<StatusWord>,
    /// Tokens sent.
    pub tokens_in: Option<u32>,
    /// Tokens received.
    pub tokens_out: Option<u32>,
    /// Cost in the price table's currency.
    pub cost: Option<f64>,
    /// The use case, for its price table.
    #[serde(borrow)]
    pub use_case: Option<Text<'a>>,
    /// The model, for the price table.
    #[serde(borrow)]
    pub model: Option<Text<'a>>,
    /// The metric an outcome is of.
    #[serde(borrow)]
    pub metric: Option<Text<'a>>,
    /// The outcome's value.
    pub value: Option<Number>,
    /// A ratio's numerator.
    pub numerator: Option<f64>,
    /// A ratio's denominator.
    pub denominator: Option<f64>,
}

/// What a flag served, as the evaluation's decision record says it. Further members are ignored.
#[derive(serde::Deserialize, Clone, Debug)]
pub struct Decision<'a> {
    /// The flag's key.
    #[serde(borrow)]
    pub flag: Text<'a>,
    /// The variant's name or index.
    #[serde(borrow)]
    pub variant: VariantName<'a>,
    /// The allocation that decided, as 16 hexadecimal digits; none: no split decided.
    #[serde(borrow, default)]
    pub allocation: Option<Text<'a>>,
    /// The allocation's epoch.
    #[serde(default)]
    pub epoch: Option<u32>,
    /// Whether the unit is part of the comparison; `false` only in records of missing units.
    #[serde(default)]
    pub compared: Option<bool>,
    /// The unit, where it is not the event's.
    #[serde(borrow, default)]
    pub unit: Option<UnitName<'a>>,
}

/// A text, borrowed unless it has escapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A point in time: RFC 3339, or milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time(pub Timestamp);

impl Time {
    /// Reads RFC 3339 or a number of milliseconds, as headers have it.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match text.parse::<i64>() {
            Ok(millis) => Some(Self(Timestamp(millis.checked_mul(1_000)?))),
            Err(_) => text.parse::<jiff::Timestamp>().ok().map(|at| Self(Timestamp(at.as_microsecond()))),
        }
    }
}

/// A unit: the key of the flag's unit, or kind and key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitName<'a> {
    /// The context kind; none: the one that the flag's split goes by.
    pub kind: Option<Cow<'a, str>>,
    /// The key.
    pub key: Cow<'a, str>,
}

/// A variant: its name or its index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VariantName<'a> {
    /// Its name.
    Name(Cow<'a, str>),
    /// Its index.
    Index(u16),
}

/// A number; `true` and `false` are 1 and 0.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number(pub f64);

/// A status of the closed list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusWord(pub Status);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Reader)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time: RFC 3339, or milliseconds since 1970")
            }
            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Time, E> {
                let micros =
                    millis.checked_mul(1_000).ok_or_else(|| E::custom("the time is out of range"))?;
                Ok(Time(Timestamp(micros)))
            }
            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Time, E> {
                self.visit_i64(i64::try_from(millis).unwrap_or(i64::MAX))
            }
            fn visit_f64<E: de::Error>(self, millis: f64) -> Result<Time, E> {
                if millis.abs() < 1e15 {
                    Ok(Time(Timestamp((millis * 1_000.0).round() as i64)))
                } else {
                    Err(E::custom("the time is out of range"))
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                let at =
                    text.parse::<jiff::Timestamp>().map_err(|_| E::custom("the time is not RFC 3339"))?;
                Ok(Time(Timestamp(at.as_microsecond())))
            }
        }
        from.deserialize_any(Reader)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for UnitName<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Pair<'a> {
            #[serde(borrow)]
            kind: Text<'a>,
            #[serde(borrow)]
            key: Text<'a>,
        }
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = UnitName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a unit: its key, or {\"kind\": …, \"key\": …}")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<UnitName<'de>, E> {
                Ok(UnitName { kind: None, key: Cow::Borrowed(text) })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<UnitName<'de>, E> {
                Ok(UnitName { kind: None, key: Cow::Owned(text.to_owned()) })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<UnitName<'de>, A::Error> {
                let pair = Pair::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(UnitName { kind: Some(pair.kind.0), key: pair.key.0 })
            }
        }
        from.deserialize_any(Reader)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for VariantName<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = VariantName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a variant: its name or its index")
            }
            fn visit_u64<E: de::Error>(self, index: u64) -> Result<VariantName<'de>, E> {
                let index = u16::try_from(index).map_err(|_| E::custom("no flag has so many variants"))?;
                Ok(VariantName::Index(index))
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<VariantName<'de>, E> {
                Ok(VariantName::Name(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<VariantName<'de>, E> {
                Ok(VariantName::Name(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, true or false")
            }
            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Number, E> {
                Ok(Number(x))
            }
            fn visit_i64<E: de::Error>(self, x: i64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }
            fn visit_u64<E: de::Error>(self, x: u64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }
            fn visit_bool<E: de::Error>(self, x: bool) -> Result<Number, E> {
                Ok(Number(f64::from(u8::from(x))))
            }
        }
        from.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for StatusWord {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = StatusWord;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusWord, E> {
                status(text).map(StatusWord).ok_or_else(|| E::custom("unknown status"))
            }
        }
        from.deserialize_str(Reader)
    }
}

/// The status of a word.
pub(super) fn status(word: &str) -> Option<Status> {
    Some(match word {
        "ok" => Status::Ok,
        "timeout" => Status::Timeout,
        "malformed" => Status::Malformed,
        "truncated" => Status::Truncated,
        "upstream_error" => Status::UpstreamError,
        "overloaded" => Status::Overloaded,
        "rate_limited" => Status::RateLimited,
        "rejected" => Status::Rejected,
        "client_cancelled" => Status::ClientCancelled,
        "content_filter" => Status::ContentFilter,
        _ => return None,
    })
}

/// The words of every status, for messages.
pub(super) const STATUS_WORDS: &str = "ok, timeout, malformed, truncated, upstream_error, overloaded, \
                                       rate_limited, rejected, client_cancelled, content_filter";
