//! The JSON Schema of the configuration: made from the structs that read it, completed with what TOML
//! can't say (`null`) taken out and with ranges and defaults written into the descriptions.
use std::fmt::Write as _;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::raw::RawConfig;

/// Made once; every reading of a configuration is checked against it.
pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(generate);

/// The schema for editors and for the shape check, in JSON Schema 2020-12.
#[must_use]
pub fn schema() -> Value {
    SCHEMA.clone()
}

fn generate() -> Value {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawConfig>();
    RecursiveTransform(without_null).transform(&mut schema);
    RecursiveTransform(with_figures).transform(&mut schema);
    let names = super::raw::value::NameText::json_schema(
        &mut SchemaSettings::draft2020_12().into_generator(),
    );
    for section in ["network", "role", "limit", "identity", "operator"] {
        let pointer = format!("/properties/{section}");
        if let Some(Value::Object(map)) = schema.pointer_mut(&pointer) {
            map.insert("propertyNames".to_owned(), names.clone().to_value());
        }
    }
    schema.to_value()
}

/// TOML has no null: a key is there or not.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object
        .remove("default")
        .filter(|value| !value.is_null())
        .map(|value| object.insert("default".to_owned(), value));
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// Appends `Range: … to …. Default: ….` to descriptions, so that they can't drift from the figures.
fn with_figures(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    let Some(Value::String(description)) = object.get("description") else { return };
    let mut text = description.replace('\n', " ");
    let range = match object.get("x-range") {
        Some(Value::Array(ends)) => ends.first().cloned().zip(ends.last().cloned()),
        _ => object.get("minimum").cloned().zip(object.get("maximum").cloned()),
    };
    let bare = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some((low, high)) = range {
        let _ = write!(text, " Range: {} to {}.", bare(&low), bare(&high));
    }
    match object.get("default") {
        Some(Value::Array(items)) if items.is_empty() => {}
        Some(Value::Object(_)) | None => {}
        Some(default) => {
            let _ = write!(text, " Default: {}.", bare(default));
        }
    }
    object.insert("description".to_owned(), Value::String(text));
}
