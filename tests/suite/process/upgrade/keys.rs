//! Issuers' keys go along: the issuer may be down in the very moment of an upgrade.
use http::StatusCode;
use sekisho::devcerts::TokenClaims;
use sekisho::mock::{Caller, CallerConfig, Operation, Scenario};
use serde_json::json;

use super::super::Place;
use super::{Line, text, upgrade};
use crate::support::{AUDIENCE, ISSUER, ORDERS, bearing, get, now, until_some};

const FILE: &str = "jwks = { file = \"pki/tokens/signing.jwks\" }";
const URL: &str = "jwks = { url = \"https://localhost:{amazon}/{path}\", ca = \"pki/ca.pem\" }";

/// The issuer's keys are at this path of the mock; files that change wait.
fn fetched_from(place: &Place, path: &str) {
    let port = place.amazon.address().port().to_string();
    let url = URL.replace("{amazon}", &port).replace("{path}", path);
    place.write(|text| {
        assert!(text.contains(FILE));
        text.replace(FILE, &url).replace("#more\n", "[reload]\napply = \"on-request\"\n")
    });
}

/// What a caller with a token is answered.
pub(super) async fn status(place: &Place, line: &Line) -> StatusCode {
    let claims = TokenClaims::new(ISSUER, "analyst", AUDIENCE);
    let token = place.pki.signer.sign(&claims, now()).unwrap();
    let config = CallerConfig::trusting(place.pki.ca.certificate());
    let call = bearing(get(ORDERS), &token);
    Caller::new(config).unwrap().call(line.address().await, call).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_keys_of_an_issuer_that_is_down_go_along() {
    let place = Place::new().await;
    let keys = json!({ "keys": [place.pki.signer.jwk()] }).to_string();
    place.amazon.serve("/jwks", "application/jwk-set+json", keys);
    fetched_from(&place, "jwks");
    let mut line = Line::start(&place).await;
    until_some("the keys are there", async || {
        (status(&place, &line).await == StatusCode::OK).then_some(())
    })
    .await;
    let down = Scenario::Error { status: StatusCode::SERVICE_UNAVAILABLE };
    place.amazon.set_for("/jwks", down);
    let asked = place.amazon.count(Operation::Document);
    // Twice: what was handed over is handed on.
    for _ in 0..2 {
        let before = line.pid;
        line.upgrade(&place, &[]).await;
        assert_eq!(status(&place, &line).await, StatusCode::OK);
        line.ended(before).await;
        assert_eq!(status(&place, &line).await, StatusCode::OK);
    }
    until_some("each asks by itself", async || {
        (place.amazon.count(Operation::Document) >= asked + 2).then_some(())
    })
    .await;

    // Where they are now there are none: whoever has some goes on.
    fetched_from(&place, "elsewhere");
    let output = upgrade(&place, &["--with-configuration"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("issuer corp: the process before has keys"), "{said}");
    assert_eq!(status(&place, &line).await, StatusCode::OK);
    line.stop().await;
}
