//! `[[operation]]`.
use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::value::{MethodText, NameText, TemplateText};

/// An operation of an internal store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOperation {
    /// What roles grant: the store's name, a slash, a word, such as `warehouse/getStock`.
    pub(crate) name: At<NameText>,
    /// The upstream it belongs to, of kind `https`.
    pub(crate) upstream: At<NameText>,
    /// The HTTP method.
    pub(crate) method: At<MethodText>,
    /// The path; `{name}` stands for one segment.
    pub(crate) path: At<TemplateText>,
    /// Placeholders of the path that may hold percent-encoded bytes.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub(crate) encoded: Vec<At<String>>,
    /// Query parameters that may be sent. Every other one is refused.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub(crate) query: Vec<At<String>>,
    /// A protocol the connection may change to.
    pub(crate) upgrade: Option<At<UpgradeName>>,
    /// Its answers hold personal data. Nothing says where, so each 64 bytes are charged as a record.
    /// Default: false.
    #[serde(default)]
    #[schemars(extend("x-control" = "MON-3"))]
    pub(crate) personal_data: bool,
}

/// A protocol a connection may change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UpgradeName {
    /// RFC 6455.
    Websocket,
}
