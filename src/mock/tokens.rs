//! Login with Amazon's token exchange, and restricted data tokens.
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Asked};
use super::world::mix;

/// The application and the seller that the mock knows. Invented, and recognisable as such.
#[derive(Clone, Debug)]
pub struct LwaClient {
    pub client_id: String,
    pub client_secret: String,
    pub refresh_token: String,
}

impl Default for LwaClient {
    fn default() -> Self {
        Self {
            client_id: "amzn1.application-oa2-client.mock".to_owned(),
            client_secret: "amzn1.oa2-cs.v1.mock-secret".to_owned(),
            refresh_token: "Atzr|mock-refresh-token".to_owned(),
        }
    }
}

const SCOPES: [&str; 2] =
    ["sellingpartnerapi::notifications", "sellingpartnerapi::client_credential:rotation"];
/// What access tokens and restricted data tokens live, in seconds.
const EXPIRES_IN: u32 = 3_600;

/// `POST /auth/o2/token` (RFC 6749 sections 4.4, 5.2 and 6).
pub(super) fn login(client: &LwaClient, asked: &Asked, n: u64) -> Answer {
    let field = |name| asked.form(name).unwrap_or_default();
    let content_type = asked.headers.get(http::header::CONTENT_TYPE);
    let is_form = content_type
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if !is_form {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "The body is no form.");
    }
    if field("client_id") != client.client_id || field("client_secret") != client.client_secret {
        return oauth_error(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "Client authentication failed.",
        );
    }
    let refusal = match field("grant_type").as_str() {
        "refresh_token" if field("refresh_token") == client.refresh_token => None,
        "refresh_token" => Some(("invalid_grant", "The refresh token is not valid.")),
        "client_credentials" if asked.form("refresh_token").is_some() => {
            Some(("invalid_request", "A grantless request has no refresh_token."))
        }
        "client_credentials" if SCOPES.contains(&field("scope").as_str()) => None,
        "client_credentials" => Some(("invalid_scope", "The scope is not known.")),
        "" => Some(("invalid_request", "grant_type is required.")),
        _ => Some(("unsupported_grant_type", "The grant type is not supported.")),
    };
    if let Some((code, description)) = refusal {
        return oauth_error(StatusCode::BAD_REQUEST, code, description);
    }
    let mut body = json!({
        "access_token": format!("Atza|mock-{:016x}", mix(n)), "token_type": "bearer",
        "expires_in": EXPIRES_IN,
    });
    if let (Some(fields), Some(token)) = (body.as_object_mut(), asked.form("refresh_token")) {
        fields.insert("refresh_token".to_owned(), json!(token));
    }
    no_store(Answer::json(StatusCode::OK, &body))
}

fn oauth_error(status: StatusCode, code: &'static str, description: &str) -> Answer {
    let body = json!({ "error": code, "error_description": description });
    no_store(Answer::json(status, &body))
}

fn no_store(answer: Answer) -> Answer {
    answer.with("cache-control", "no-store").with("pragma", "no-cache")
}

/// `POST /tokens/2021-03-01/restrictedDataToken`.
pub(super) fn restricted(asked: &Asked, n: u64) -> Answer {
    let body = asked.json().unwrap_or_default();
    let resources = body.get("restrictedResources").and_then(Value::as_array);
    let resources = resources.map(Vec::as_slice).unwrap_or_default();
    if !(1..=50).contains(&resources.len()) || !resources.iter().all(is_resource) {
        return Answer::refusal(
            StatusCode::BAD_REQUEST,
            "InvalidRequest",
            "Request is invalid.",
            "restrictedResources holds 1 to 50 resources, each with a method, a path and known dataElements.",
        );
    }
    let token = format!("Atz.sprdt|mock-{:016x}", mix(n));
    let body = json!({ "restrictedDataToken": token, "expiresIn": EXPIRES_IN });
    Answer::json(StatusCode::OK, &body)
}

fn is_resource(resource: &Value) -> bool {
    let text = |name| resource.get(name).and_then(Value::as_str).unwrap_or_default();
    let elements = resource.get("dataElements").map(Value::as_array);
    let known = |element: &Value| {
        matches!(element.as_str(), Some("buyerInfo" | "shippingAddress" | "buyerTaxInformation"))
    };
    matches!(text("method"), "GET" | "PUT" | "POST" | "DELETE")
        && text("path").starts_with('/')
        && !text("path").contains('?')
        && elements.is_none_or(|list| list.is_some_and(|list| list.iter().all(known)))
}
