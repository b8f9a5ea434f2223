//! Tokens that are forged, confused, mistimed or meant for somebody else.
use crate::base::base64url;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::support::*;
use super::super::*;

fn world() -> World {
    World::new(spec(vec![with_token("printer", Binding::Bearer)]))
}

fn fault(fault: TokenFault) -> Result<Proven, Denial> {
    Err(Denial::Token(fault))
}

#[test]
fn acc_1_a_genuine_token_proves_its_identity() {
    let world = world();
    let proven = world.claims(&claims("printer")).unwrap();
    assert_eq!(proven.identity(), IdentityIx(0));
    assert_eq!(proven.proof(), Proof::Token);
    assert_eq!(proven.until(), NOW + 600 + SKEW);
    let one = claims_with("printer", json!({ "aud": "sekisho" }));
    assert!(world.claims(&one).is_ok());
    assert_eq!(world.prove_at(None, None, at(NOW)).unwrap_err().denial, Denial::NoCredential);
    for confusing in [Presented::Several, Presented::Other] {
        let refused =
            prove(None, confusing, &world.trust, &world.keys, &world.cache, at(NOW)).unwrap_err();
        assert_eq!(refused.denial, Denial::Token(TokenFault::Malformed));
    }
}

#[test]
fn acc_1_every_listed_algorithm_verifies_and_no_unlisted_one() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm, "k");
        let mut spec = spec(vec![with_token("printer", Binding::Bearer)]);
        spec.issuers[0].algorithms = vec![algorithm];
        let world = World { keys: key_sets(&[signer.jwk()]), signer, ..World::new(spec) };
        assert!(world.claims(&claims("printer")).is_ok(), "{algorithm:?}");
        let mut broken = world.signer.sign(&claims("printer"));
        let last = broken.len() - 10;
        broken[last] = if broken[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(world.token(&broken), fault(TokenFault::Signature), "{algorithm:?}");
    }
    let signer = Signer::new(Algorithm::Es384, "k1");
    let world = World { keys: key_sets(&[signer.jwk()]), signer, ..world() };
    assert_eq!(world.claims(&claims("printer")), fault(TokenFault::Algorithm));
}

#[test]
fn acc_1_the_public_key_is_no_hmac_secret_and_none_is_no_signature() {
    let world = world();
    let payload = claims("printer").to_string();
    let jwk = world.signer.jwk();
    let secrets = [jwk["x"].as_str().unwrap().to_owned(), jwk.to_string()];
    for secret in secrets {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let header = jsonwebtoken::Header {
            kid: Some("k1".into()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
        };
        let forged = jsonwebtoken::encode(&header, &claims("printer"), &key).unwrap();
        assert_eq!(world.token(forged.as_bytes()), fault(TokenFault::Algorithm));
    }
    let unsigned = world.signer.sign_raw(r#"{"alg":"none","kid":"k1"}"#, &payload);
    assert_eq!(world.token(&unsigned), fault(TokenFault::Algorithm));
    let cut = unsigned.iter().rposition(|byte| *byte == b'.').unwrap();
    assert_eq!(world.token(&unsigned[..=cut]), fault(TokenFault::Algorithm));
}

#[test]
fn acc_1_a_key_serves_no_other_kind_of_algorithm() {
    let mut spec = spec(vec![with_token("printer", Binding::Bearer)]);
    spec.issuers[0].algorithms = Algorithm::ALL.to_vec();
    let world = World::new(spec);
    let payload = claims("printer").to_string();
    for alg in ["RS256", "PS256", "EdDSA", "ES384"] {
        let header = format!(r#"{{"alg":"{alg}","kid":"k1"}}"#);
        let confused = world.signer.sign_raw(&header, &payload);
        assert_eq!(world.token(&confused), fault(TokenFault::Algorithm), "{alg}");
    }
    // A key that its issuer reserves for PS256 checks no RS256 signature.
    let signer = Signer::new(Algorithm::Rs256, "k1");
    let mut jwk = signer.jwk();
    jwk["alg"] = json!("PS256");
    let world = World { keys: key_sets(&[jwk]), signer, ..world };
    assert_eq!(world.claims(&claims("printer")), fault(TokenFault::Algorithm));
}

#[test]
fn acc_1_signatures_with_zeros_are_refused() {
    let world = world();
    let good = String::from_utf8(world.signer.sign(&claims("printer"))).unwrap();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let signature = base64url::decode(signature.as_bytes()).unwrap();
    let zero = [0; 32];
    let (r, s) = signature.split_at(32);
    for forged in [[zero, zero].concat(), [r, &zero].concat(), [&zero, s].concat()] {
        let token = format!("{signed}.{}", base64url::encode(&forged));
        assert_eq!(world.token(token.as_bytes()), fault(TokenFault::Signature));
    }
    for wrong_length in [&signature[..63], &[&signature[..], &[0]].concat(), &[1]] {
        let token = format!("{signed}.{}", base64url::encode(wrong_length));
        assert_eq!(world.token(token.as_bytes()), fault(TokenFault::Signature));
    }
}

#[test]
fn acc_1_another_key_or_none_of_that_name_is_refused() {
    let world = world();
    let stranger = Signer::new(Algorithm::Es256, "k1");
    assert_eq!(world.token(&stranger.sign(&claims("printer"))), fault(TokenFault::Signature));
    let rotated = Signer::new(Algorithm::Es256, "k2").sign(&claims("printer"));
    let refused = world.prove_at(None, Some(&rotated), at(NOW)).unwrap_err();
    assert_eq!(refused.denial, Denial::Token(TokenFault::UnknownKey));
    assert_eq!(refused.retry, Some(IssuerIx(0)), "the shell may fetch the keys once");
    let nameless = world.signer.sign_raw(r#"{"alg":"ES256"}"#, &claims("printer").to_string());
    assert_eq!(world.token(&nameless), fault(TokenFault::UnknownKey));
    // No keys of the issuer at all, then keys that belong to another one.
    let other = KeySet::parse(&jwks(&[world.signer.jwk()])).unwrap();
    let other = std::sync::Arc::new(other);
    for keys in [
        KeySets::default(),
        KeySets::new([(ISS.into(), None)]),
        KeySets::new([("https://else.example.com/".into(), Some(other))]),
    ] {
        let bytes = world.signer.sign(&claims("printer"));
        let token = Presented::Bearer(&bytes);
        let refused = prove(None, token, &world.trust, &keys, &world.cache, at(NOW)).unwrap_err();
        assert_eq!(refused.denial, Denial::Token(TokenFault::KeysUnavailable));
        assert_eq!(refused.retry, Some(IssuerIx(0)));
    }
}

#[test]
fn acc_1_a_nameless_only_key_serves_tokens_without_kid() {
    let world = world();
    let mut jwk = world.signer.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let world = World { keys: key_sets(&[jwk]), ..world };
    let payload = claims("printer").to_string();
    assert!(world.token(&world.signer.sign_raw(r#"{"alg":"ES256"}"#, &payload)).is_ok());
    assert_eq!(world.claims(&claims("printer")), fault(TokenFault::UnknownKey));
}

#[test]
fn acc_1_each_claim_is_required_and_exact() {
    let world = world();
    let cases = [
        (json!({ "iss": "https://login.example.com" }), TokenFault::Issuer),
        (json!({ "iss": null }), TokenFault::Claim),
        (json!({ "iss": [ISS] }), TokenFault::Claim),
        (json!({ "aud": "sekisho2" }), TokenFault::Audience),
        (json!({ "aud": [] }), TokenFault::Audience),
        (json!({ "aud": null }), TokenFault::Claim),
        (json!({ "aud": ["sekisho", 1] }), TokenFault::Claim),
        (json!({ "aud": { "sekisho": true } }), TokenFault::Claim),
        (json!({ "exp": null }), TokenFault::Claim),
        (json!({ "exp": "1999999999" }), TokenFault::Claim),
        (json!({ "exp": -1 }), TokenFault::Claim),
        (json!({ "exp": 1e300 }), TokenFault::Claim),
        (json!({ "nbf": null }), TokenFault::Claim),
        (json!({ "nbf": true }), TokenFault::Claim),
        (json!({ "iat": "yesterday" }), TokenFault::Claim),
        (json!({ "tenant": "acme2" }), TokenFault::Claim),
        (json!({ "tenant": ["acme"] }), TokenFault::Claim),
        (json!({ "tenant": null }), TokenFault::Claim),
        (json!({ "sub": null }), TokenFault::Claim),
        (json!({ "sub": "" }), TokenFault::Claim),
        (json!({ "sub": 7 }), TokenFault::Claim),
        (json!({ "sub": "x".repeat(257) }), TokenFault::Claim),
    ];
    for (change, expected) in cases {
        let found = world.claims(&claims_with("printer", change.clone()));
        assert_eq!(found, fault(expected), "{change}");
    }
    let longest = claims_with("printer", json!({ "sub": "x".repeat(256) }));
    assert_eq!(world.claims(&longest), Err(Denial::NoIdentity));
}

#[test]
fn acc_1_time_counts_to_the_second_with_the_skew_and_no_more() {
    let world = world();
    let verdict = |change: Value| world.claims(&claims_with("printer", change)).map(|_| ());
    let expired = Err(Denial::Token(TokenFault::Expired));
    let early = Err(Denial::Token(TokenFault::NotYetValid));
    assert_eq!(verdict(json!({ "exp": NOW - SKEW + 1 })), Ok(()));
    assert_eq!(verdict(json!({ "exp": NOW - SKEW })), expired);
    assert_eq!(verdict(json!({ "exp": 0 })), expired);
    assert_eq!(verdict(json!({ "nbf": NOW + SKEW })), Ok(()));
    assert_eq!(verdict(json!({ "nbf": NOW + SKEW + 1 })), early);
    assert_eq!(verdict(json!({ "iat": NOW + SKEW + 1 })), early);
    // Fractions never widen the window.
    let second = |seconds: u64, tenth: u8| -> Value {
        serde_json::from_str(&format!("{seconds}.{tenth}")).unwrap()
    };
    assert_eq!(verdict(json!({ "exp": second(NOW - SKEW, 9) })), expired);
    assert_eq!(verdict(json!({ "nbf": second(NOW + SKEW, 1) })), early);
    assert_eq!(verdict(json!({ "nbf": second(NOW + SKEW - 1, 9) })), Ok(()));
}

#[test]
fn acc_1_nbf_may_be_left_out_only_where_the_issuer_is_configured_so() {
    let mut spec = spec(vec![with_token("printer", Binding::Bearer)]);
    spec.issuers[0].not_before = NotBefore::Optional;
    let world = World::new(spec);
    assert!(world.claims(&claims_with("printer", json!({ "nbf": null }))).is_ok());
    assert_eq!(
        world.claims(&claims_with("printer", json!({ "nbf": NOW + SKEW + 1 }))),
        fault(TokenFault::NotYetValid)
    );
}

#[test]
fn acc_1_oversized_and_ambiguous_tokens_are_refused() {
    let world = world();
    assert_eq!(world.token(&vec![b'a'; 1 << 20]), fault(TokenFault::TooLarge));
    let payload = claims("printer").to_string();
    let header = r#"{"alg":"ES256","kid":"k1"}"#;
    for twice in [r#"{"sub":"other","#, r#"{"s\u0075b":"other","#] {
        let payload = payload.replacen('{', twice, 1);
        let token = world.signer.sign_raw(header, &payload);
        assert_eq!(world.token(&token), fault(TokenFault::Malformed));
    }
    for extra in [r#""crit":["exp"]"#, r#""jku":"https://evil.example/""#, r#""x5u":"https://e""#] {
        let header = header.replacen('{', &format!("{{{extra},"), 1);
        let token = world.signer.sign_raw(&header, &payload);
        assert_eq!(world.token(&token), fault(TokenFault::Header), "{extra}");
    }
}

#[test]
fn priv_5_a_token_of_another_environment_names_nobody() {
    let mut spec = spec(vec![with_token("printer", Binding::Bearer)]);
    spec.issuers[0].environment_claim = Some("env".to_owned());
    let world = World::new(spec.clone());
    assert!(world.claims(&claims_with("printer", json!({ "env": "production" }))).is_ok());
    assert_eq!(
        world.claims(&claims_with("printer", json!({ "env": "staging" }))),
        Err(Denial::NoIdentity)
    );
    assert_eq!(world.claims(&claims("printer")), fault(TokenFault::Claim));
    spec.issuers[0].environment = name("staging");
    let world = World::new(spec);
    for env in ["production", "staging"] {
        let token = claims_with("printer", json!({ "env": env }));
        assert_eq!(world.claims(&token), Err(Denial::NoIdentity), "{env}");
    }
}

#[test]
fn log_2_nothing_prints_a_token_a_key_or_a_claim() {
    let world = world();
    let bytes = world.signer.sign(&claims("printer"));
    let token = parse_token(&bytes, 8192).unwrap();
    let refusal = world.prove_at(None, Some(b"secret"), at(NOW)).unwrap_err();
    let printed = format!(
        "{token:?} {:?} {:?} {:?} {refusal:?} {:?}",
        world.trust,
        world.keys,
        world.cache,
        Presented::Bearer(&bytes)
    );
    let jwk = world.signer.jwk();
    for planted in ["printer", "sub", jwk["x"].as_str().unwrap(), "eyJ", "7, 7"] {
        assert!(!printed.contains(planted), "{planted} in {printed}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_never_accepted(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        thread_local!(static WORLD: World = world());
        prop_assert!(WORLD.with(|world| world.token(&bytes).is_err()));
    }

    #[test]
    fn a_changed_token_is_never_accepted(place in any::<prop::sample::Index>(), to in any::<u8>()) {
        thread_local!(static SIGNED: (World, Vec<u8>) = {
            let world = world();
            let token = world.signer.sign(&claims("printer"));
            (world, token)
        });
        SIGNED.with(|(world, token)| {
            let mut changed = token.clone();
            let place = place.index(changed.len());
            let same = changed[place] == to;
            changed[place] = to;
            assert_eq!(world.token(&changed).is_ok(), same);
            assert!(world.token(&token[..place]).is_err());
            changed.insert(place, to);
            assert!(world.token(&changed).is_err());
        });
    }
}
