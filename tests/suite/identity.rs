//! Who is calling: certificates, tokens, both bound together, and everything that is none of them.
mod issuer;
mod token;

use std::time::Duration;

use http::Method;
use sekisho::devcerts::LeafPlan;
use sekisho::mock::{Alpn, Call, Caller, Flow, Reply, Scenario};

use crate::support::{ORDERS, Plan, World, basic, bearing, error_of, get, masked, now, put, until};

/// Identities beside those of every world.
const MORE: &str = r#"
[identity.bound-caller]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "bound-caller", bound = "certificate" }
networks = ["loopback"]
roles = ["shipping"]
[identity.importer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://sekisho.test/order-importer" }
networks = ["loopback"]
roles = ["analysis"]
[identity.past]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "past" }
networks = ["loopback"]
roles = ["shipping"]
expires = 2026-01-31
[identity.elsewhere]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "elsewhere" }
environment = "production"
networks = ["loopback"]
roles = ["shipping"]
"#;

async fn world() -> World {
    World::with(Plan::default().fill("identities", MORE)).await
}

fn showing(world: &World, client: &str) -> Caller {
    world.caller(|config| config.identity = Some(world.pki.client(client).unwrap().clone()))
}

/// The code of an answer and the detail of its line in the log.
fn fault(world: &World, reply: &Reply) -> (u16, String, String) {
    let line = world.line_of(reply);
    let detail = line["sekisho.detail"].as_str().unwrap_or_default().to_owned();
    (reply.status.as_u16(), error_of(reply).0, detail)
}

fn token_fault(detail: &str) -> (u16, String, String) {
    (401, "Sekisho.TokenNotAccepted".to_owned(), detail.to_owned())
}

fn no_identity() -> (u16, String, String) {
    (401, "Sekisho.NoIdentity".to_owned(), String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_certificate_proves_by_its_san_and_nothing_else() {
    let world = World::start().await;
    let reply = world.call(&world.printer(), get(ORDERS)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(world.line_of(&reply)["sekisho.proof"], "certificate");

    // Of the same authority, under a name that nobody registered.
    let stranger = world.call(&showing(&world, "stock-reader"), get(ORDERS)).await;
    assert_eq!(fault(&world, &stranger), no_identity());

    // The right name as common name, which proves nothing (RFC 6125 section 2.3).
    let mut plan = LeafPlan::client("label-printer", now());
    plan.uris.clear();
    let named = world.pki.ca.issue(&plan).unwrap();
    let named = world.caller(|config| config.identity = Some(named));
    assert_eq!(fault(&world, &world.call(&named, get(ORDERS)).await), no_identity());

    // The right name of an authority that is not trusted gets no further than the handshake.
    let rogue = world.caller(|config| config.identity = Some(world.pki.rogue.client.clone()));
    // In TLS 1.3 the caller learns of it by an alert, or by writing to a closed connection.
    assert!(rogue.call(world.address(), get(ORDERS)).await.is_err());
    let refused = "sekisho_handshakes_total{listener=\"apps\",result=\"client_certificate\"}";
    until("the handshake is refused", || world.metric(refused) > 0.5).await;

    let nothing = world.call(&world.nobody(), get(ORDERS)).await;
    assert_eq!(error_of(&nothing).0, "Sekisho.NoCredential");
    assert_eq!(nothing.status, 401);
    assert_eq!(nothing.header("www-authenticate"), Some("Bearer"));
    assert_eq!(world.amazon.total(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_bound_token_counts_only_with_its_certificate() {
    let world = world().await;
    let (own, other) = ("stock-reader", "order-importer");
    let cnf = world.pki.client(own).unwrap().sha256();
    let bound = world.token_with("bound-caller", |claims| claims.cnf = Some(cnf));
    let reply = world.call(&showing(&world, own), bearing(get(ORDERS), &bound)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let line = world.line_of(&reply);
    assert_eq!(
        (&line["user.name"], &line["sekisho.proof"]),
        (&"bound-caller".into(), &"bound-token".into())
    );

    let elsewhere = token_fault("CertificateBinding");
    let reply = world.call(&showing(&world, other), bearing(get(ORDERS), &bound)).await;
    assert_eq!(fault(&world, &reply), elsewhere);
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &bound)).await;
    assert_eq!(fault(&world, &reply), elsewhere);
    // The identity asks for a bound token: neither an unbound one nor the certificate will do.
    let loose = world.token("bound-caller");
    for caller in [showing(&world, own), world.nobody()] {
        let reply = world.call(&caller, bearing(get(ORDERS), &loose)).await;
        assert_eq!(fault(&world, &reply), token_fault("ProofRequired"));
    }
    // A token stays bound although its identity does not ask for that.
    let analyst = world.token_with("analyst", |claims| claims.cnf = Some(cnf));
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &analyst)).await;
    assert_eq!(fault(&world, &reply), elsewhere);
    assert_eq!(world.amazon.total(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_token_and_certificate_of_two_identities_are_nobody() {
    let world = world().await;
    let analyst = bearing(get(ORDERS), &world.token("analyst"));
    let reply = world.call(&world.printer(), analyst).await;
    assert_eq!(fault(&world, &reply), no_identity());
    // A wrong token is not overlooked because the certificate beside it is good.
    let reply = world.call(&world.printer(), bearing(get(ORDERS), "a.b.c")).await;
    assert_eq!(fault(&world, &reply), token_fault("Malformed"));
    assert_eq!(world.amazon.total(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_who_may_not_enter_can_not_tell_why() {
    let world = world().await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| config.alpn = alpn);
        let mut answers = Vec::new();
        // Unknown, disabled, expired, of another environment; twice, for what is remembered.
        for subject in ["unknown", "leaver", "past", "elsewhere", "unknown", "leaver", "past"] {
            let call = bearing(get(ORDERS), &world.token(subject));
            let reply = world.call(&caller, call).await;
            assert_eq!(reply.status, 401, "{subject}");
            answers.push((subject, masked(&reply)));
        }
        for (subject, answer) in &answers {
            assert_eq!(*answer, answers[0].1, "{subject}");
            for word in ["disabled", "expired", "left", "production", "leaver", "past"] {
                assert!(!answer.contains(word), "{word:?} in {answer}");
            }
        }
    }
    // The same without a token: a certificate nobody registered.
    let reply = world.call(&showing(&world, "stock-reader"), get(ORDERS)).await;
    let by_token = world.token("leaver");
    let other = world.call(&world.nobody(), bearing(get(ORDERS), &by_token)).await;
    assert_eq!(masked(&reply), masked(&other));
    assert_eq!(world.amazon.total(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_remembered_token_of_a_disabled_identity_is_worth_nothing() {
    let world = World::start().await;
    let token = world.token("analyst");
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| config.alpn = alpn);
        let open = caller.connect(world.address()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(open.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
        }
        let own = "token = { issuer = \"corp\", subject = \"analyst\" }";
        let off = format!("disabled = \"on leave\"\n{own}");
        assert!(world.reload(|text| text.replace(own, &off)).await);
        let refused = world.call(&caller, bearing(get(ORDERS), &token)).await;
        assert_eq!(fault(&world, &refused), no_identity());
        assert!(world.reload(|text| text.replace(&off, own)).await);
        assert_eq!(world.call(&caller, bearing(get(ORDERS), &token)).await.status, 200);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_remembered_token_ends_when_it_says_so() {
    let world = World::with(Plan::default().by_hand()).await;
    let token = world.token_with("analyst", |claims| claims.exp_in = 600);
    let open = world.nobody().connect(world.address()).await.unwrap();
    let call = || bearing(get(ORDERS), &token);
    assert_eq!(open.call(call()).await.unwrap().status, 200);
    // The default skew of 30 s: its last second, then the first one after it.
    world.advance(Duration::from_secs(629));
    assert_eq!(open.call(call()).await.unwrap().status, 200);
    world.advance(Duration::from_secs(1));
    let reply = open.call(call()).await.unwrap();
    world.note(&reply);
    assert_eq!(fault(&world, &reply), token_fault("Expired"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_an_identity_ends_with_its_last_day() {
    let today = now().unix_secs() / 86_400;
    let (year, month, day) = civil(today);
    let own = "token = { issuer = \"corp\", subject = \"analyst\" }";
    let ends = format!("{own}\nexpires = {year:04}-{month:02}-{day:02}");
    let world = World::with(Plan::default().replace(own, &ends).by_hand()).await;
    let token = world.token_with("analyst", |claims| claims.exp_in = 7 * 86_400);
    let nobody = world.nobody();
    let call = || bearing(get(ORDERS), &token);
    assert_eq!(world.call(&nobody, call()).await.status, 200);
    let left = (today + 1) * 86_400 - world.gateway.engine.clock.now().unix_secs();
    world.advance(Duration::from_secs(left));
    let reply = world.call(&nobody, call()).await;
    assert_eq!(fault(&world, &reply), no_identity());
    world.finish().await;
}

/// The date of a day since 1970 (proleptic Gregorian calendar).
fn civil(unix_day: u64) -> (u64, u64, u64) {
    let days = unix_day + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_the_credential_never_travels_on() {
    let world = World::start().await;
    world.amazon.set(Scenario::Echo);
    world.warehouse.set(Scenario::Echo);
    let printer = world.printer();
    let token = world.token_with("office-clerk", |_| {});
    for (caller, call) in [
        (world.nobody(), bearing(get(ORDERS), &world.token("analyst"))),
        (printer, get("/stock/A1")),
    ] {
        let reply = world.call(&caller, call).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        for secret in ["authorization", "eyJ", token.split('.').next().unwrap()] {
            assert!(!reply.text().contains(secret), "{secret} in {}", reply.text());
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_the_token_may_come_in_a_header_of_its_own() {
    let token = "header = \"X-Gateway-Token\"\nscheme = \"\"";
    let world = World::with(Plan::default().fill("token", token)).await;
    world.amazon.set(Scenario::Echo);
    let own = world.token("analyst");
    let mut call = get(ORDERS);
    put(&mut call, "x-gateway-token", &own);
    let reply = world.call(&world.nobody(), call).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.text().contains(&own) && !reply.text().contains("x-gateway-token"));
    // The usual place is no place then; with the scheme's word it is no token either.
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &own)).await;
    assert_eq!(error_of(&reply).0, "Sekisho.NoCredential");
    let mut call = get(ORDERS);
    put(&mut call, "x-gateway-token", &format!("Bearer {own}"));
    let reply = world.call(&world.nobody(), call).await;
    assert_eq!(fault(&world, &reply), token_fault("Malformed"));
    world.finish().await;
}

/// What Amazon's Python SDK sends when its token endpoint is `https://printer:TOKEN@gateway/…`.
fn exchange() -> Call {
    let form = "grant_type=refresh_token&refresh_token=Atzr%7Cmock-refresh-token\
                &client_id=amzn1.application-oa2-client.mock\
                &client_secret=amzn1.oa2-cs.v1.mock-secret";
    let mut call = Call::post("/auth/o2/token", Flow::whole(form));
    put(&mut call, "content-type", "application/x-www-form-urlencoded");
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_an_unmodified_sdk_brings_its_token_as_a_password() {
    let who = "[identity.sdk]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
               token = { issuer = \"corp\", subject = \"sdk\" }\nnetworks = [\"loopback\"]\nroles = [\"shipping\"]";
    let world = World::with(
        Plan::default().fill("token", "basic = \"password-is-token\"").fill("identities", who),
    )
    .await;
    let (token, nobody) = (world.token("sdk"), world.nobody());
    let reply = world.call(&nobody, basic(exchange(), "q7-user-name", &token)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.json()["access_token"].as_str().unwrap().starts_with("Atza|"));
    assert_eq!(world.line_of(&reply)["user.name"], "sdk");
    let upstream = world.amazon.last().unwrap();
    assert!(!upstream.headers.contains_key("authorization"), "{upstream:?}");
    // The same token both ways, and one that is remembered.
    let reply = world.call(&nobody, bearing(get(ORDERS), &token)).await;
    assert_eq!(reply.status, 200);
    let reply = world.call(&nobody, basic(get(ORDERS), "another", &token)).await;
    assert_eq!(reply.status, 200);
    let before = world.amazon.total();
    for (user, password, detail) in [
        ("", token.as_str(), "Malformed"),
        ("q7-user-name", "", "Malformed"),
        ("q7-user-name\n", token.as_str(), "Malformed"),
        ("q7-user-name:x", token.as_str(), "Malformed"),
        ("q7-user-name", &"a".repeat(9_000), "TooLarge"),
        (&"u".repeat(14_000), token.as_str(), "TooLarge"),
    ] {
        let reply = world.call(&nobody, basic(get(ORDERS), user, password)).await;
        assert_eq!(fault(&world, &reply), token_fault(detail), "{user:.20}");
    }
    assert_eq!(world.amazon.total(), before);
    let log = std::fs::read_to_string(world.dir.join("access.log")).unwrap();
    assert!(!log.contains("q7-user-name"));
    world.finish().await;

    // Without the word in the configuration, Basic is no credential.
    let world = World::with(Plan::default().fill("identities", who)).await;
    let reply = world.call(&world.nobody(), basic(exchange(), "sdk", &world.token("sdk"))).await;
    assert_eq!(fault(&world, &reply), token_fault("Malformed"));
    assert_eq!(world.amazon.total(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_5_keys_of_another_environment_prove_nobody() {
    let foreign = "[[issuer]]\nname = \"abroad\"\niss = \"https://abroad.sekisho.test\"\n\
                   audiences = [\"sekisho\"]\nalgorithms = [\"ES256\"]\n\
                   jwks = { file = \"pki/tokens/other-environment.jwks\" }\n\
                   environment = \"production\"\nnot_before = \"optional\"\n\
                   [identity.visitor]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
                   token = { issuer = \"abroad\", subject = \"visitor\" }\n\
                   networks = [\"loopback\"]\nroles = [\"shipping\"]";
    let world = World::with(Plan::default().fill("more", foreign)).await;
    let mut claims =
        sekisho::devcerts::TokenClaims::new("https://abroad.sekisho.test", "visitor", "sekisho");
    let token = world.pki.other_signer.sign(&claims, now()).unwrap();
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
    assert_eq!(fault(&world, &reply), no_identity());
    let unknown = world.call(&world.nobody(), bearing(get(ORDERS), &world.token("who"))).await;
    assert_eq!(masked(&reply), masked(&unknown));
    // That issuer's key under the name of the right one is no key of the right one.
    claims.iss = crate::support::ISSUER.to_owned();
    claims.sub = "analyst".to_owned();
    let token = world.pki.other_signer.sign(&claims, now()).unwrap();
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
    assert_eq!(fault(&world, &reply), token_fault("UnknownKey"));
    // And under the right one's key name its signature does not fit.
    claims.kid = Some(world.pki.signer.kid().to_owned());
    let token = world.pki.other_signer.sign(&claims, now()).unwrap();
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
    assert_eq!(fault(&world, &reply), token_fault("Signature"));
    assert_eq!(world.amazon.total(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_an_identity_holds_as_many_connections_as_it_may() {
    let own = "token = { issuer = \"corp\", subject = \"analyst\" }";
    let two = format!("{own}\nconnections = 2");
    let world = World::with(Plan::default().replace(own, &two)).await;
    let token = world.token("analyst");
    let mut open = Vec::new();
    for _ in 0..2 {
        let session = world.nobody().connect(world.address()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(session.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
        }
        open.push(session);
    }
    let third = world.nobody().connect(world.address()).await.unwrap();
    let refused = third.call(bearing(get(ORDERS), &token)).await.unwrap();
    world.note(&refused);
    assert_eq!(
        (refused.status.as_u16(), error_of(&refused).0.as_str()),
        (429, "Sekisho.TooManyConnections")
    );
    // Nobody else suffers, and the place is free again once a connection is closed.
    let other = world.call(&world.printer(), get(ORDERS)).await;
    assert_eq!(other.status, 200);
    open.pop();
    let mut freed = refused;
    for _ in 0..200 {
        freed = third.call(bearing(get(ORDERS), &token)).await.unwrap();
        if freed.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(freed.status, 200);
    let method = Method::GET;
    assert_eq!(world.line_of(&freed)["http.request.method"], method.as_str());
    world.finish().await;
}
