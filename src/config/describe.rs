//! Says in words what a schema asks for.
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::raw::value::by_format;
use crate::base::ControlId;

/// A schema behind its `$ref`s.
pub(super) fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|target| target.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
}

/// The alternatives of a schema, without nesting; none if it has but one form.
pub(super) fn branches<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    ["anyOf", "oneOf"]
        .iter()
        .filter_map(|word| schema.get(*word).and_then(Value::as_array))
        .flatten()
        .map(|branch| resolved(root, branch))
        .flat_map(|branch| match branches(root, branch) {
            inner if inner.is_empty() => vec![branch],
            inner => inner,
        })
        .collect()
}

/// The control a schema names.
pub(super) fn control(schema: &Value) -> Option<ControlId> {
    let text = schema.get("x-control")?.as_str()?;
    ControlId::ALL.iter().find(|id| id.as_str() == text).copied()
}

pub(super) fn format(schema: &Value) -> Option<&str> {
    schema.get("format").and_then(Value::as_str)
}

/// The words a schema permits; none if it permits any text.
pub(super) fn words(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    listed.chain(schema.get("const")).filter_map(Value::as_str).collect()
}

pub(super) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// What a node is, with its article.
pub(super) const fn kind_of(node: &DeValue<'_>) -> &'static str {
    match node {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The schema's word for what a node is.
pub(super) const fn type_of(node: &DeValue<'_>) -> &'static str {
    match node {
        DeValue::String(_) | DeValue::Datetime(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

/// The table a key was found in.
pub(super) fn seat(key: &str) -> String {
    if key.is_empty() { "a configuration file".to_owned() } else { format!("`{key}`") }
}

/// `write "a" or "b"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!("write {}", quoted.join(" or "))
}

/// How many entries or characters there may be.
pub(super) fn count(schema: &Value) -> String {
    between(schema, "minItems", "maxItems", "entries")
}

pub(super) fn length(schema: &Value) -> String {
    between(schema, "minLength", "maxLength", "characters")
}

fn between(schema: &Value, low: &str, high: &str, of: &str) -> String {
    let end = |name: &str| schema.get(name).and_then(Value::as_u64);
    match (end(low), end(high)) {
        (Some(low), Some(high)) => format!("write {low} to {high} {of}"),
        (Some(low), None) => format!("write at least {low} {of}"),
        (None, Some(high)) => format!("write at most {high} {of}"),
        (None, None) => format!("write fewer {of}"),
    }
}

/// What to write where this schema holds.
pub(super) fn instead(root: &Value, schema: &Value) -> String {
    let range = schema.get("x-range").and_then(Value::as_array).cloned();
    let schema = resolved(root, schema);
    let branches = branches(root, schema);
    if !branches.is_empty() {
        let words: Vec<&str> = branches.iter().flat_map(|branch| words(branch)).collect();
        let mut ways: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        ways.extend(
            branches
                .iter()
                .filter(|branch| self::words(branch).is_empty())
                .map(|branch| instead(root, branch).trim_start_matches("write ").to_owned()),
        );
        return format!("write {}", ways.join(" or "));
    }
    let words = words(schema);
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !words.is_empty() => one_of(&words),
        Some("string") => match format(schema).map(|name| (name, by_format(name))) {
            Some(("date", _)) => "write a date without quotes, such as 2027-01-31".to_owned(),
            Some((_, Some(known))) => {
                let [low, high] = range.as_deref().unwrap_or_default() else {
                    return format!("write {}, such as \"{}\"", known.what, known.example);
                };
                format!("write {}, from {low} to {high}", known.what)
            }
            Some((_, None)) | None => "write a text in quotes".to_owned(),
        },
        Some("integer") => {
            let end = |name: &str| schema.get(name).map(Value::to_string);
            match (end("minimum"), end("maximum")) {
                (Some(low), Some(high)) => format!("write a whole number from {low} to {high}"),
                _ => "write a whole number".to_owned(),
            }
        }
        Some("number") => {
            let end = |name: &str| schema.get(name).map(Value::to_string);
            match (end("minimum"), end("maximum")) {
                (Some(low), Some(high)) => format!("write a number from {low} to {high}"),
                _ => "write a number".to_owned(),
            }
        }
        Some("array") => {
            let of = schema.get("items").map(|items| instead(root, items)).unwrap_or_default();
            let of = of.strip_prefix("write ").unwrap_or(&of);
            format!("write a list in brackets, each entry {of}")
        }
        Some("object") => {
            let keys: Vec<&str> = match required(schema).collect::<Vec<_>>() {
                needed if needed.is_empty() => {
                    let all = schema.get("properties").and_then(Value::as_object);
                    all.into_iter().flatten().map(|(key, _)| key.as_str()).take(3).collect()
                }
                needed => needed,
            };
            format!("write {{ {} = … }}", keys.join(" = …, "))
        }
        _ => "write `true` or `false`".to_owned(),
    }
}

/// Something that deserialises where this schema holds; it stands for what can't be used.
pub(super) fn stand_in(root: &Value, schema: &Value) -> DeValue<'static> {
    let schema = resolved(root, schema);
    if let Some(first) = branches(root, schema).first() {
        return stand_in(root, first);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => DeValue::Integer(DeInteger::default()),
        Some("boolean") => DeValue::Boolean(false),
        Some("array") => DeValue::Array(DeArray::default()),
        Some("object") => {
            let mut table = DeTable::new();
            let properties = schema.get("properties");
            for key in required(schema) {
                let of = properties.and_then(|of| of.get(key)).unwrap_or(&Value::Null);
                let value = Spanned::new(0..0, stand_in(root, of));
                table.insert(Spanned::new(0..0, key.to_owned().into()), value);
            }
            DeValue::Table(table)
        }
        _ => {
            let example = format(schema).and_then(by_format).map(|known| known.example);
            let text = words(schema).first().copied().or(example).unwrap_or("?");
            DeValue::String(text.to_owned().into())
        }
    }
}

/// As [`instead`], knowing what was found: a number without its unit, a text without its brackets.
pub(super) fn instead_of(root: &Value, schema: &Value, node: &DeValue<'_>, key: &str) -> String {
    let target = resolved(root, schema);
    let kind = target.get("type").and_then(Value::as_str);
    match (node, kind) {
        (DeValue::Integer(number), Some("string")) => {
            let known = format(target).and_then(by_format);
            let with_unit = known.map(|known| {
                let unit = known.example.trim_start_matches(|c: char| c.is_ascii_digit());
                (format!("{number}{unit}"), known)
            });
            match with_unit {
                Some((text, known)) if (known.check)(&text).is_ok() => format!("write \"{text}\""),
                _ => instead(root, schema),
            }
        }
        (DeValue::String(text), Some("array")) if !text.contains("-----") => {
            format!("write {key} = [\"{}\"]", text.escape_debug())
        }
        (DeValue::String(text), Some("string")) if format(target) == Some("date") => {
            let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            if plain { format!("write {text} without quotes") } else { instead(root, schema) }
        }
        (DeValue::Table(_), Some("array")) => {
            let tables = target.get("items").map(|items| resolved(root, items));
            let of_tables =
                tables.and_then(|items| items.get("type")).is_some_and(|t| t == "object");
            if of_tables {
                format!("write [[{key}]], or a list [{{ … }}]")
            } else {
                instead(root, schema)
            }
        }
        _ => instead(root, schema),
    }
}
