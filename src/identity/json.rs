//! JSON for security decisions: one reading only. A document that two parsers could read in two
//! ways (a member twice, text after the end, broken UTF-8) is refused, not resolved.
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Objects and arrays within each other. Claims of real issuers need three or four.
const DEPTH_MAX: u8 = 16;

/// Why a text was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonFault {
    /// No JSON, no UTF-8, too deep, or not an object.
    Form,
    /// An object, at any depth, names a member twice (RFC 8259 §4 leaves the meaning open).
    Duplicate,
}

/// Reads one object and nothing after it.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let fault = Cell::new(JsonFault::Form);
    // From `str`, so that the UTF-8 of every byte is checked, not only of the strings looked at.
    let text = std::str::from_utf8(text).map_err(|_| JsonFault::Form)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: DEPTH_MAX, fault: &fault }
        .deserialize(&mut reader)
        .map_err(|_| fault.get())?;
    reader.end().map_err(|_| JsonFault::Form)?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonFault::Form)
        }
    }
}

/// Builds a value and notices what `serde_json::Value` would silently settle.
#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: u8,
    fault: &'f Cell<JsonFault>,
}

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Map::new();
        // The name arrives unescaped, so `"iss"` and `"is\u0073"` are the same name here.
        while let Some(name) = members.next_key::<String>()? {
            if out.contains_key(&name) {
                self.fault.set(JsonFault::Duplicate);
                return Err(A::Error::custom("duplicate member"));
            }
            let value = members.next_value_seed(inner)?;
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_named_twice_is_refused_at_every_depth() {
        for text in [
            r#"{"iss":"a","iss":"b"}"#,
            r#"{"iss":"a","is\u0073":"b"}"#,
            r#"{"cnf":{"x":1,"x":2}}"#,
            r#"{"a":[1,{"b":{"c":1,"\u0063":1}}]}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::Duplicate), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_object_is_refused() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
        let bytes: [&[u8]; 10] = [
            b"",
            b"[]",
            b"1",
            b"{}{}",
            b"{} x",
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":1e999}",
            b"{\"a\":\"\\ud800\"}",
            deep.as_bytes(),
        ];
        for text in bytes {
            assert_eq!(object(text), Err(JsonFault::Form));
        }
        let least = format!("{}1{}", r#"{"a":"#.repeat(16), "}".repeat(16));
        assert!(object(least.as_bytes()).is_ok());
    }
}
