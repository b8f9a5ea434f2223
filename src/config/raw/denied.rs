//! `[token] denied`.
use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::At;
use super::value::PathText;

/// Tokens that count for nothing: a list of `jti` values, or a file with one per line and the last day
/// on which it is needed behind it (`#` starts a comment).
#[derive(Debug)]
pub(crate) enum RawDenied {
    List(Vec<At<String>>),
    File(At<PathText>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InFile {
    /// A file with one `jti` per line, and behind it the last day on which it is denied, such as
    /// `2027-01-31`; `#` starts a comment. Read again at every change.
    file: At<PathText>,
}

impl Default for RawDenied {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// For the schema's default only, which is nothing.
impl Serialize for RawDenied {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(std::iter::empty::<&str>())
    }
}

impl<'de> Deserialize<'de> for RawDenied {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawDenied;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of `jti` values or { file = … }")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawDenied, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(RawDenied::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawDenied, A::Error> {
                let InFile { file } = InFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawDenied::File(file))
            }
        }
        from.deserialize_any(Either)
    }
}

impl JsonSchema for RawDenied {
    fn schema_name() -> Cow<'static, str> {
        "DeniedTokens".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Tokens that count for nothing: a list of `jti` values, or a file with one per line.",
            "anyOf": [
                <Vec<At<String>>>::json_schema(generator),
                InFile::json_schema(generator),
            ],
            "examples": [["4f2c7c52-8a0e-4b53-9b0b-0f5b3f1f6a11"]],
        })
    }
}
