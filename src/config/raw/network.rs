//! `[network]`.
use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::At;
use super::value::{CidrText, PathText};

/// The addresses of a network: a list, or a file with one network per line (`#` starts a comment).
#[derive(Debug)]
pub(crate) enum RawNetwork {
    List(Vec<At<CidrText>>),
    File(At<PathText>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InFile {
    /// A file with one network per line; `#` starts a comment. Read again at every reload.
    file: At<PathText>,
}

impl<'de> Deserialize<'de> for RawNetwork {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawNetwork;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of networks or { file = … }")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<RawNetwork, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(RawNetwork::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawNetwork, A::Error> {
                let InFile { file } = InFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawNetwork::File(file))
            }
        }
        from.deserialize_any(Either)
    }
}

impl JsonSchema for RawNetwork {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The addresses of a network: a list, or a file with one network per line.",
            "anyOf": [
                <Vec<At<CidrText>>>::json_schema(generator),
                InFile::json_schema(generator),
            ],
            "examples": [["203.0.113.0/24", "2001:db8:1::/48"]],
        })
    }
}
