//! What a registry or a key set must not hold.
use crate::base::base64url;
use serde_json::{Value, json};

use super::super::support::*;
use super::super::*;

fn errors(identities: Vec<IdentitySpec>) -> Vec<TrustError> {
    Trust::build(spec(identities)).err().unwrap_or_default()
}

fn with(of: &str, credential: CertificateCredential) -> IdentitySpec {
    IdentitySpec { certificates: vec![credential], ..identity(of) }
}

fn uri(text: &str) -> CertificateCredential {
    CertificateCredential::SanUri(text.to_owned())
}

fn dns(text: &str) -> CertificateCredential {
    CertificateCredential::SanDns(text.to_owned())
}

#[test]
fn acc_1_one_credential_is_one_identitys() {
    let pin = CertificateCredential::SpkiSha256([9; 32]);
    let pairs = [
        (
            with("one", uri("spiffe://a/b")),
            with("two", uri("spiffe://a/b")),
            CredentialKind::SanUri,
        ),
        (with("one", dns("a.example")), with("two", dns("A.Example")), CredentialKind::SanDns),
        (with("one", pin.clone()), with("two", pin), CredentialKind::SpkiSha256),
    ];
    for (one, two, credential) in pairs {
        let (first, second) = (name("one"), name("two"));
        assert_eq!(
            errors(vec![one, two]),
            [TrustError::SharedCredential { first, second, credential }]
        );
    }
    let one = with_token("one", Binding::Bearer);
    let two = IdentitySpec { name: name("two"), ..one.clone() };
    let (first, second, credential) = (name("one"), name("two"), CredentialKind::Token);
    let found = errors(vec![one.clone(), two.clone()]);
    assert_eq!(found, [TrustError::SharedCredential { first, second, credential }]);
    // The same subject of another issuer is somebody else.
    let mut two_issuers = spec(vec![one, two]);
    two_issuers.issuers.push(IssuerSpec {
        name: name("partner"),
        iss: "https://partner.example/".to_owned(),
        ..issuer()
    });
    two_issuers.identities[1].token.as_mut().unwrap().issuer = name("partner");
    assert!(Trust::build(two_issuers).is_ok());
}

#[test]
fn acc_1_wildcards_name_nobody() {
    for credential in [uri("spiffe://example.com/*"), dns("*.example.com"), dns("*")] {
        let found = errors(vec![with("one", credential.clone())]);
        assert!(matches!(found[..], [TrustError::Wildcard { .. }]), "{credential:?}");
    }
    let mut any = with_token("one", Binding::Bearer);
    any.token.as_mut().unwrap().subject = "*".to_owned();
    assert!(matches!(errors(vec![any])[..], [TrustError::Wildcard { .. }]));
}

#[test]
fn acc_1_shared_and_default_names_are_refused() {
    for shared in ["admin", "Root", "TEST", "default", "shared", "guest", "everyone", "team"] {
        let as_name = with(shared, uri("spiffe://example.com/x"));
        assert_eq!(errors(vec![as_name]), [TrustError::SharedName { identity: name(shared) }]);
        let mut as_subject = with_token("printer", Binding::Bearer);
        as_subject.token.as_mut().unwrap().subject = shared.to_owned();
        let found = errors(vec![as_subject]);
        assert_eq!(found, [TrustError::SharedName { identity: name("printer") }]);
    }
    let fine = with("test-runner", uri("spiffe://example.com/test"));
    assert!(errors(vec![fine]).is_empty());
}

#[test]
fn acc_1_an_identity_has_a_credential_that_can_occur() {
    let found = errors(vec![identity("one")]);
    assert_eq!(found, [TrustError::NoCredential { identity: name("one") }]);
    let long = format!("spiffe://{}", "a".repeat(2_048));
    for credential in [
        uri(""),
        uri("no-scheme"),
        uri("spiffe:"),
        uri("spiffe://a b"),
        uri(&long),
        dns(""),
        dns("a..b"),
        dns("a.example."),
        dns("-a.example"),
        dns("名前.example"),
    ] {
        let found = errors(vec![with("one", credential.clone())]);
        assert!(matches!(found[..], [TrustError::BrokenCredential { .. }]), "{credential:?}");
    }
    for subject in [String::new(), "a\nb".to_owned(), "x".repeat(257)] {
        let mut spec = with_token("one", Binding::Bearer);
        spec.token.as_mut().unwrap().subject = subject;
        assert!(matches!(errors(vec![spec])[..], [TrustError::BrokenCredential { .. }]));
    }
    let mut orphan = with_token("one", Binding::Bearer);
    orphan.token.as_mut().unwrap().issuer = name("nowhere");
    assert!(matches!(errors(vec![orphan])[..], [TrustError::UnknownIssuer { .. }]));
}

#[test]
fn acc_1_an_issuer_that_accepts_nothing_or_anything_is_refused_and_all_errors_come_at_once() {
    let mut bad = spec(vec![identity("one"), identity("ONE")]);
    bad.issuers.push(IssuerSpec {
        audiences: Vec::new(),
        algorithms: Vec::new(),
        clock_skew: std::time::Duration::from_secs(301),
        subject_claim: String::new(),
        ..issuer()
    });
    let found = Trust::build(bad).unwrap_err();
    let corp = || name("corp");
    for expected in [
        TrustError::NoAudience { issuer: corp() },
        TrustError::NoAlgorithm { issuer: corp() },
        TrustError::ClockSkew { issuer: corp() },
        TrustError::IssuerIncomplete { issuer: corp() },
        TrustError::IssuerTwice { first: corp(), second: corp() },
        TrustError::IdentityTwice { identity: name("ONE") },
        TrustError::NoCredential { identity: name("one") },
        TrustError::NoCredential { identity: name("ONE") },
    ] {
        assert!(found.contains(&expected), "{expected}");
    }
    assert_eq!(found.len(), 8);
    assert!(found.iter().all(|error| error.control().as_str() == "ACC-1"));
}

fn fault(keys: &[Value]) -> Option<KeySetFault> {
    KeySet::parse(&jwks(keys)).err()
}

fn changed(jwk: &Value, name: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    jwk[name] = value;
    jwk
}

#[test]
fn acc_1_key_sets_with_dangerous_or_ambiguous_keys_are_refused() {
    let ec = Signer::new(Algorithm::Es256, "a").jwk();
    let other = Signer::new(Algorithm::Es256, "b").jwk();
    let rsa = Signer::new(Algorithm::Rs256, "r").jwk();
    assert_eq!(KeySet::parse(&jwks(&[ec.clone(), other.clone(), rsa.clone()])).unwrap().len(), 3);
    let weak = base64url::encode(&[0xff; 255]);
    let nameless = {
        let mut jwk = other.clone();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let cases: [(&[Value], KeySetFault); 18] = [
        (&[], KeySetFault::NoKey),
        (&[json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s" })], KeySetFault::Symmetric),
        (&[changed(&ec, "k", json!("c2VjcmV0"))], KeySetFault::Symmetric),
        (&[changed(&ec, "d", json!("AA"))], KeySetFault::Private),
        (&[ec.clone(), changed(&other, "kid", json!("a"))], KeySetFault::DuplicateKid),
        (&[ec.clone(), nameless], KeySetFault::NamelessKey),
        (&[changed(&rsa, "n", json!(weak))], KeySetFault::WeakRsa),
        (&[changed(&rsa, "e", json!("AQ"))], KeySetFault::WeakRsa),
        (&[changed(&rsa, "e", json!("AQAA"))], KeySetFault::WeakRsa),
        (&[changed(&rsa, "e", json!(""))], KeySetFault::BrokenKey),
        (&[changed(&ec, "x", other["x"].clone())], KeySetFault::BrokenKey),
        (&[changed(&ec, "x", json!("AA"))], KeySetFault::BrokenKey),
        (&[changed(&ec, "crv", json!("P-384"))], KeySetFault::BrokenKey),
        (&[changed(&ec, "alg", json!("RS256"))], KeySetFault::BrokenKey),
        (&[changed(&ec, "kid", json!(1))], KeySetFault::BrokenKey),
        (&[changed(&ec, "use", json!("enc"))], KeySetFault::NoKey),
        (&[changed(&ec, "key_ops", json!(["sign"]))], KeySetFault::NoKey),
        (&[changed(&ec, "alg", json!("ECDH-ES"))], KeySetFault::NoKey),
    ];
    for (place, (keys, expected)) in cases.into_iter().enumerate() {
        assert_eq!(fault(keys), Some(expected), "case {place}");
    }
    // Kinds that are not known are passed over.
    assert_eq!(fault(&[ec.clone(), json!({ "kty": "AKP", "kid": "pq" })]), None);
    assert_eq!(fault(&[ec, json!({ "kty": "EC", "crv": "secp256k1", "kid": "k" })]), None);
}

#[test]
fn acc_1_key_sets_are_bounded_and_have_one_reading() {
    let parse = |text: &[u8]| KeySet::parse(text).unwrap_err();
    assert_eq!(parse(&vec![b' '; KeySet::BYTES_MAX + 1]), KeySetFault::TooLarge);
    assert_eq!(fault(&vec![json!({ "kty": "new" }); 65]), Some(KeySetFault::TooManyKeys));
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(parse(text.as_bytes()), KeySetFault::Form, "{text}");
    }
}
