//! The messages, as flagd's schemas number them.
//!
//! The two evaluation services differ in presence only: what v2 calls optional is a plain field in v1, and a plain
//! field that is written out although it is zero is read the same. So one set of messages serves both.

use prost_types::Struct;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resolve {
    #[prost(string, tag = "1")]
    pub(super) flag_key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) context: Option<Struct>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResolveAll {
    #[prost(message, optional, tag = "1")]
    pub(super) context: Option<Struct>,
}

macro_rules! resolved {
    ($($name:ident: $kind:tt $type:ty),*) => {$(
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct $name {
            #[prost($kind, optional, tag = "1")]
            pub(super) value: Option<$type>,
            #[prost(string, tag = "2")]
            pub(super) reason: String,
            #[prost(string, optional, tag = "3")]
            pub(super) variant: Option<String>,
            #[prost(message, optional, tag = "4")]
            pub(super) metadata: Option<Struct>,
        }
    )*};
}
resolved!(Bool: bool bool, Text: string String, Int: int64 i64, Float: double f64, Object: message Struct);

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnyFlag {
    #[prost(string, tag = "1")]
    pub(super) reason: String,
    #[prost(string, tag = "2")]
    pub(super) variant: String,
    #[prost(oneof = "AnyValue", tags = "3, 4, 5, 6")]
    pub(super) value: Option<AnyValue>,
    #[prost(message, optional, tag = "7")]
    pub(super) metadata: Option<Struct>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum AnyValue {
    #[prost(bool, tag = "3")]
    Bool(bool),
    #[prost(string, tag = "4")]
    Text(String),
    #[prost(double, tag = "5")]
    Float(f64),
    #[prost(message, tag = "6")]
    Object(Struct),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResolvedAll {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) flags: std::collections::BTreeMap<String, AnyFlag>,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<Struct>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(message, optional, tag = "2")]
    pub(super) data: Option<Struct>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SyncFlags {
    #[prost(string, tag = "1")]
    pub(super) provider_id: String,
    #[prost(string, tag = "2")]
    pub(super) selector: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Synced {
    #[prost(string, tag = "1")]
    pub(super) flag_configuration: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metadata {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<Struct>,
}

/// A message without members.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}
