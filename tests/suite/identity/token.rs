//! Tokens as attackers write them.
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sekisho::base::Use;
use sekisho::devcerts::TokenClaims;
use sekisho::mock::{Alpn, RawEnd, Session};
use serde_json::{Value, json};

use super::{fault, token_fault};
use crate::support::{AUDIENCE, ISSUER, ORDERS, Plan, World, base64url, bearing, get, put};

/// What is done to claims, and what to call it.
type Edit<'e> = (&'e str, &'e dyn Fn(&mut TokenClaims));

/// Header and claims byte for byte, under a genuine signature.
fn genuine(world: &World, header: &str, claims: &str) -> String {
    let pem = world.pki.signer.key_pem().reveal_for(Use::Forward);
    let key = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::ES256).unwrap();
    format!("{signed}.{signature}")
}

fn header(world: &World) -> Value {
    json!({ "alg": "ES256", "typ": "JWT", "kid": world.pki.signer.kid() })
}

fn claims(world: &World) -> Value {
    let now = world.gateway.engine.clock.now().unix_secs();
    json!({ "iss": ISSUER, "sub": "analyst", "aud": AUDIENCE, "iat": now, "exp": now + 600 })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

async fn refused(world: &World, open: &Session, token: &str, detail: &str, what: &str) {
    let reply = open.call(bearing(get(ORDERS), token)).await.unwrap();
    world.note(&reply);
    assert_eq!(fault(world, &reply), token_fault(detail), "{what}");
    let challenge = reply.header("www-authenticate");
    assert_eq!(challenge, Some("Bearer error=\"invalid_token\""), "{what}");
    for part in token.split('.').filter(|part| part.len() > 8) {
        assert!(!reply.text().contains(part), "{what}: echoed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_no_forged_token_gets_in() {
    let world = World::with(Plan::default().by_hand()).await;
    let (head, body) = (header(&world), claims(&world));
    let sign = |head: &Value, body: &Value| genuine(&world, &head.to_string(), &body.to_string());
    let good = sign(&head, &body);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let zeros = base64url(&[0; 64]);
    let none = |alg: &str| {
        let head = base64url(with(head.clone(), "alg", json!(alg)).to_string().as_bytes());
        format!("{head}.{}", base64url(body.to_string().as_bytes()))
    };
    let mut table = vec![
        ("no signature", format!("{signed}."), "Malformed"),
        ("r and s are zero", format!("{signed}.{zeros}"), "Signature"),
        ("none", format!("{}.", none("none")), "Algorithm"),
        ("none, signed", format!("{}.{signature}", none("none")), "Algorithm"),
        ("None, signed", format!("{}.{signature}", none("nOnE")), "Algorithm"),
        ("padded", format!("{good}="), "Malformed"),
        ("four parts", format!("{good}.{signature}"), "Malformed"),
        ("no token", "a".to_owned(), "Malformed"),
    ];
    // The issuer's public key as the secret of a MAC.
    let jwk = world.pki.signer.jwk();
    for secret in [jwk["x"].as_str().unwrap().to_owned(), jwk.to_string(), world.pki.signer.jwks()]
    {
        let mut head = Header::new(Algorithm::HS256);
        head.kid = Some(world.pki.signer.kid().to_owned());
        let key = EncodingKey::from_secret(secret.as_bytes());
        table.push(("HS256", jsonwebtoken::encode(&head, &body, &key).unwrap(), "Algorithm"));
    }
    for (what, name, value) in [
        ("crit", "crit", json!(["exp"])),
        ("unknown crit", "crit", json!(["urn:unknown"])),
        ("jku", "jku", json!("https://evil.example/jwks")),
        ("x5u", "x5u", json!("https://evil.example/x")),
        ("jwk", "jwk", jwk.clone()),
        ("b64", "b64", json!(false)),
        ("an ID token's type", "typ", json!("logout+jwt")),
    ] {
        table.push((what, sign(&with(head.clone(), name, value), &body), "Header"));
    }
    for (what, name, value, detail) in [
        ("another audience", "aud", json!("other"), "Audience"),
        ("no audience in the list", "aud", json!([]), "Audience"),
        ("another issuer", "iss", json!("https://evil.example"), "Issuer"),
        ("the issuer with a slash", "iss", json!(format!("{ISSUER}/")), "Issuer"),
        ("not valid yet", "nbf", json!(body["iat"].as_u64().unwrap() + 31), "NotYetValid"),
        ("from the future", "iat", json!(body["iat"].as_u64().unwrap() + 31), "NotYetValid"),
        ("expired", "exp", json!(body["iat"].as_u64().unwrap() - 30), "Expired"),
        ("no date", "exp", json!("tomorrow"), "Claim"),
        ("a date too far", "exp", json!(1e300), "Claim"),
        ("no subject", "sub", Value::Null, "Claim"),
        ("bound to something else", "cnf", json!({ "jkt": "x" }), "CertificateBinding"),
    ] {
        table.push((what, sign(&head, &with(body.clone(), name, value)), detail));
    }
    let unknown = with(head.clone(), "kid", json!("who"));
    table.push(("unknown kid", sign(&unknown, &body), "UnknownKey"));
    let twice = body.to_string().replacen('{', "{\"sub\":\"label-printer\",", 1);
    table.push(("a claim twice", genuine(&world, &head.to_string(), &twice), "Malformed"));
    let twice = head.to_string().replacen('{', "{\"alg\":\"none\",", 1);
    table.push(("a header member twice", genuine(&world, &twice, &body.to_string()), "Header"));

    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| config.alpn = alpn);
        let open = caller.connect(world.address()).await.unwrap();
        // Of somebody who has proved itself it bears any number.
        assert_eq!(open.call(bearing(get(ORDERS), &good)).await.unwrap().status, 200);
        for (what, token, detail) in &table {
            refused(&world, &open, token, detail, what).await;
        }
        // The connection has survived all of them.
        assert_eq!(open.call(bearing(get(ORDERS), &good)).await.unwrap().status, 200);
    }
    assert_eq!(world.amazon.total(), 4);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_token_counts_from_its_time_to_its_time() {
    let world = World::with(Plan::default().by_hand()).await;
    let open = world.nobody().connect(world.address()).await.unwrap();
    let early = world.token_with("analyst", |claims| {
        claims.nbf = Some(100);
        claims.exp_in = 200;
    });
    // 30 s of skew on either side.
    for (advance, detail) in [
        (0, Some("NotYetValid")),
        (69, Some("NotYetValid")),
        (1, None),
        (159, None),
        (1, Some("Expired")),
    ] {
        world.advance(Duration::from_secs(advance));
        if let Some(detail) = detail {
            refused(&world, &open, &early, detail, "at its time").await;
        } else {
            let reply = open.call(bearing(get(ORDERS), &early)).await.unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_two_credentials_are_none() {
    let world = World::start().await;
    let token = world.token("analyst");
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| config.alpn = alpn);
        let open = caller.connect(world.address()).await.unwrap();
        let good = format!("Bearer {token}");
        assert_eq!(open.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
        for second in [good.as_str(), "Bearer x", "Basic dTpw", ""] {
            for values in [[good.as_str(), second], [second, good.as_str()]] {
                let mut call = get(ORDERS);
                for value in values {
                    put(&mut call, "authorization", value);
                }
                let reply = open.call(call).await.unwrap();
                world.note(&reply);
                assert_eq!(fault(&world, &reply), token_fault("Malformed"), "{second}");
            }
        }
        for only in ["Basic dTpw", "Bearer", "Bearer ", "Bearer  x", "Token x", "bearer\tx"] {
            let mut call = get(ORDERS);
            put(&mut call, "authorization", only);
            let reply = open.call(call).await.unwrap();
            world.note(&reply);
            assert_eq!(fault(&world, &reply), token_fault("Malformed"), "{only}");
        }
        let mut lower = get(ORDERS);
        put(&mut lower, "authorization", &format!("bEARER {token}"));
        assert_eq!(open.call(lower).await.unwrap().status, 200);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_token_of_a_megabyte_costs_nothing() {
    let world = World::start().await;
    // Over the token's limit and under the header's: refused, and the connection goes on.
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| config.alpn = alpn);
        let open = caller.connect(world.address()).await.unwrap();
        let good = world.token("analyst");
        assert_eq!(open.call(bearing(get(ORDERS), &good)).await.unwrap().status, 200);
        for _ in 0..20 {
            let token = format!("a.{}.c", "b".repeat(9 << 10));
            refused(&world, &open, &token, "TooLarge", "nine kilobytes").await;
        }
        assert_eq!(open.call(bearing(get(ORDERS), &good)).await.unwrap().status, 200);
    }
    // Over the header's limit: told so where that can be told, and closed.
    let caller = world.caller(|config| config.alpn = Alpn::H1);
    let huge = "b".repeat(1 << 20);
    let request = format!(
        "GET /orders/v0/orders HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {huge}\r\n\r\n"
    );
    let mut grown = u64::MAX;
    // Other tests of this process grow as well, but not in each round by as much.
    for _round in 0..3 {
        if grown < 48 << 20 {
            break;
        }
        let before = resident();
        for _ in 0..64 {
            let reply = caller.raw(world.address(), request.as_bytes()).await.unwrap();
            assert!(matches!(reply.end, RawEnd::Closed | RawEnd::Torn), "{:?}", reply.end);
            let text = String::from_utf8_lossy(&reply.bytes);
            assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{text}");
            world.note_bytes(&reply.bytes);
        }
        grown = grown.min(resident().saturating_sub(before));
    }
    assert!(grown < 48 << 20, "64 MiB of tokens left {grown} bytes behind");
    let caller = world.caller(|config| config.alpn = Alpn::H2);
    // HTTP/2 refuses it in its own way: the stream, the connection or a 431.
    match caller.call(world.address(), bearing(get(ORDERS), &huge)).await {
        Ok(reply) => assert_eq!(reply.status, 431),
        Err(closed) => drop(closed),
    }
    let good = world.token("analyst");
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &good)).await;
    assert_eq!(reply.status, 200, "the gateway serves on");
    assert_eq!(world.amazon.total(), 5);
    world.finish().await;
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_required_claims_are_required() {
    let own = "not_before = \"optional\"";
    let strict = "required_claims = { tenant = \"acme\" }\nenvironment_claim = \"env\"";
    let world = World::with(Plan::default().replace(own, strict)).await;
    let open = world.nobody().connect(world.address()).await.unwrap();
    let token = |edit: &dyn Fn(&mut TokenClaims)| {
        world.token_with("analyst", |claims| {
            claims.nbf = Some(0);
            claims.env = Some("test".to_owned());
            claims.extra.insert("tenant".to_owned(), json!("acme"));
            edit(claims);
        })
    };
    let reply = open.call(bearing(get(ORDERS), &token(&|_| {}))).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let edits: [Edit<'_>; 4] = [
        ("no nbf", &|claims| claims.nbf = None),
        ("no env", &|claims| claims.env = None),
        ("no tenant", &|claims| claims.extra.clear()),
        ("another tenant", &|claims| {
            claims.extra.insert("tenant".to_owned(), json!(["acme"]));
        }),
    ];
    for (what, edit) in edits {
        refused(&world, &open, &token(edit), "Claim", what).await;
    }
    // PRIV-5: another environment's token reads like an unknown identity's.
    let elsewhere = token(&|claims| claims.env = Some("production".to_owned()));
    let reply = open.call(bearing(get(ORDERS), &elsewhere)).await.unwrap();
    world.note(&reply);
    assert_eq!(fault(&world, &reply), super::no_identity());
    world.finish().await;
}
