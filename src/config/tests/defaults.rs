//! The schema says what the code does: every key described, every default and range as documented.
use std::time::Duration;

use serde_json::Value;

use super::support::{GOOD, world};
use crate::config::{Bounds, Rate, schema};

#[test]
fn the_schema_file_is_what_the_structs_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/sekisho.schema.json");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(written, schema(), "write it anew: sekisho schema > conf/sekisho.schema.json");
}

#[test]
fn every_key_has_a_description() {
    fn visit(schema: &Value, path: &str, missing: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, property) in properties {
                let only_variant = schema.get("description").is_some() && properties.len() == 1;
                if property.get("description").is_none() && !only_variant {
                    missing.push(format!("{path}.{key}"));
                }
            }
        }
        let children: Vec<(String, &Value)> = match schema {
            Value::Object(map) => map.iter().map(|(k, v)| (format!("{path}/{k}"), v)).collect(),
            Value::Array(list) => list.iter().map(|v| (path.to_owned(), v)).collect(),
            _ => Vec::new(),
        };
        for (path, child) in children {
            visit(child, &path, missing);
        }
    }
    let mut missing = Vec::new();
    visit(&schema(), "", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn no_object_takes_unknown_keys() {
    fn visit(schema: &Value) {
        if schema.get("type").is_some_and(|kind| kind == "object") {
            assert!(schema.get("additionalProperties").is_some(), "{schema}");
        }
        match schema {
            Value::Object(map) => map.values().for_each(visit),
            Value::Array(list) => list.iter().for_each(visit),
            _ => {}
        }
    }
    visit(&schema());
}

#[test]
fn documented_defaults_are_the_ones_in_force() {
    let snapshot = world(GOOD).load().unwrap().snapshot;
    let seconds = Duration::from_secs;
    let bounds = Bounds {
        handshake: seconds(10),
        first_byte: seconds(10),
        header: seconds(10),
        header_bytes: 32 << 10,
        header_count: 100,
        target_bytes: 8 << 10,
        body_bytes: 100 << 20,
        body_rate: 1 << 10,
        body_rate_grace: seconds(10),
        idle: seconds(60),
        requests_per_connection: 10_000,
        connections: 10_000,
        connections_per_address: 1_000,
        connections_per_identity: 1_000,
        h2_streams: 100,
        h2_resets: 100,
        h2_header_bytes: 32 << 10,
        h2_control_frames: Rate { count: 1_000, per: seconds(10) },
    };
    assert_eq!(snapshot.listeners[0].bounds, bounds);
    let upstream = &snapshot.upstreams[0];
    assert_eq!(upstream.connect_timeout, seconds(5));
    assert_eq!((upstream.response_timeout, upstream.idle_timeout), (seconds(60), seconds(60)));
    assert_eq!((upstream.retries, upstream.breaker.failures), (1, 5));
    assert_eq!(upstream.breaker.open, seconds(10));
    assert_eq!(snapshot.shutdown_grace, seconds(30));
    assert_eq!(snapshot.log.keep, seconds(400 * 86_400));
    assert_eq!(
        (snapshot.log.rotate_bytes, snapshot.log.rotate_every),
        (256 << 20, seconds(86_400))
    );
    assert_eq!(snapshot.token.header.as_str(), "authorization");
    assert_eq!(
        (snapshot.token.scheme.as_deref(), snapshot.token.bytes_max),
        (Some("Bearer"), 8192)
    );
    assert_eq!(snapshot.admin.address, "127.0.0.1:9464".parse().unwrap());
    assert_eq!(
        (snapshot.issuers[0].cooldown, snapshot.issuers[0].refresh),
        (seconds(30), seconds(600))
    );
}

#[test]
fn a_default_lies_in_its_range_and_is_described() {
    let schema = schema();
    let mut seen = 0;
    for (_, definition) in schema["$defs"].as_object().unwrap() {
        let properties = definition.get("properties").and_then(Value::as_object);
        for (key, property) in properties.into_iter().flatten() {
            let description = property["description"].as_str().unwrap_or_default();
            if let Some(range) = property.get("x-range").and_then(Value::as_array) {
                let format = property["format"].as_str().unwrap();
                let of = |value: &Value| {
                    crate::config::raw::value::measure(format, value.as_str().unwrap()).unwrap()
                };
                let default = of(&property["default"]);
                assert!((of(&range[0])..=of(&range[1])).contains(&default), "{key}");
                let text = format!(
                    "Range: {} to {}.",
                    range[0].as_str().unwrap(),
                    range[1].as_str().unwrap()
                );
                assert!(description.contains(&text), "{key}: {description}");
                assert!(description.contains("Default: "), "{key}: {description}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "{seen}");
}
