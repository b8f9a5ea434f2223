//! The `OpenAPI` 3.1 document, made from [`ROUTES`] and the very types that are read and written.
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::problem::{Fault, Problem};
use super::routes::{Param, ROUTES, Route};

/// The whole document. The same for every gateway of one version.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<Problem>().to_value();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        let operation = operation(route, &mut schemas, &problem);
        paths.entry(route.path).or_default().insert(route.verb.as_str().to_lowercase(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sekisho, for those who operate it",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "TLS 1.3 with an operator's client certificate. Each operation names the \
                least role that may use it in x-sekisho-role; acts are logged and may need a second person.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "operator": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "operator": {
                "type": "mutualTLS",
                "description": "A client certificate that [operator.NAME] of the configuration names.",
            } },
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn operation(route: &Route, schemas: &mut schemars::SchemaGenerator, problem: &Value) -> Value {
    let answer = (route.answer)(schemas).to_value();
    let mut responses = Map::new();
    let ok =
        json!({ "description": "Done.", "content": { "application/json": { "schema": answer } } });
    responses.insert("200".to_owned(), ok);
    if !route.does.acts().is_empty() {
        let waits = json!({
            "description": "A second person has to confirm it.",
            "content": { "application/json": { "schema": answer } },
        });
        responses.insert("202".to_owned(), waits);
    }
    let refused = json!({
        "description": "Not done; nothing was changed.",
        "content": { "application/problem+json": { "schema": problem } },
    });
    responses.insert("default".to_owned(), refused);
    let mut parameters: Vec<Value> = route.query.iter().map(parameter).collect();
    if route.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true,
            "description": "As it is listed: 16 digits.",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{16}$" },
        }));
    }
    let acts: Vec<Value> = route
        .does
        .acts()
        .iter()
        .map(|act| json!({ "act": act.as_str(), "role": act.role().as_str() }))
        .collect();
    let mut operation = json!({
        "operationId": format!("{:?}", route.does),
        "summary": route.about,
        "parameters": parameters,
        "responses": responses,
        "x-sekisho-role": route.does.role().as_str(),
        "x-sekisho-acts": acts,
        "x-sekisho-problems": problems(),
    });
    if let (Some(body), Some(operation)) = (route.body, operation.as_object_mut()) {
        let body = body(schemas).to_value();
        let body =
            json!({ "required": true, "content": { "application/json": { "schema": body } } });
        operation.insert("requestBody".to_owned(), body);
    }
    if let Some(operation) = operation.as_object_mut() {
        operation.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
        if route.does.acts().is_empty() {
            operation.remove("x-sekisho-problems");
        }
    }
    operation
}

/// Every problem's type. Those of looking are a part of those of acting.
fn problems() -> Vec<String> {
    Fault::ALL.iter().map(|fault| format!("urn:sekisho:problem:{}", fault.slug())).collect()
}

fn parameter(param: &Param) -> Value {
    let schema = if param.words.is_empty() {
        json!({ "type": "string" })
    } else {
        json!({ "type": "string", "enum": param.words })
    };
    json!({ "name": param.name, "in": "query", "description": param.about, "schema": schema })
}
