//! Certificates, tokens, both, and both bound together.
use crate::base::base64url;
use serde_json::{Value, json};

use super::super::support::*;
use super::super::*;

/// 0 by token, 1 by bound token, 2 by certificate, 3 by both.
fn world() -> World {
    World::new(spec(vec![
        with_token("bearer", Binding::Bearer),
        with_token("bound", Binding::Certificate),
        with_certificate(identity("mesh")),
        with_certificate(with_token("double", Binding::Bearer)),
    ]))
}

fn thumbprint(peer: &PeerCertificate) -> String {
    base64url::encode(peer.sha256())
}

fn cnf(subject: &str, confirmation: &Value) -> Value {
    claims_with(subject, json!({ "cnf": confirmation }))
}

fn verdict(
    world: &World,
    peer: Option<&PeerCertificate>,
    claims: Option<&Value>,
) -> Result<(u32, Proof), Denial> {
    let token = claims.map(|claims| world.signer.sign(claims));
    // Twice, so that the remembered answer is seen to be the same one.
    let first = world.prove_at(peer, token.as_deref(), at(NOW));
    assert_eq!(world.prove_at(peer, token.as_deref(), at(NOW)), first);
    first.map(|proven| (proven.identity().0, proven.proof())).map_err(|refusal| refusal.denial)
}

const UNBOUND: Result<(u32, Proof), Denial> = Err(Denial::Token(TokenFault::CertificateBinding));
const MORE: Result<(u32, Proof), Denial> = Err(Denial::Token(TokenFault::ProofRequired));

#[test]
fn acc_1_a_bound_token_counts_with_its_certificate_only() {
    let world = world();
    let (mine, other) = (peer("spiffe://example.com/any"), peer("spiffe://example.com/any"));
    for (place, subject) in [(0, "bearer"), (1, "bound")] {
        let token = cnf(subject, &json!({ "x5t#S256": thumbprint(&mine) }));
        assert_eq!(verdict(&world, Some(&mine), Some(&token)), Ok((place, Proof::BoundToken)));
        assert_eq!(verdict(&world, Some(&other), Some(&token)), UNBOUND);
        assert_eq!(verdict(&world, None, Some(&token)), UNBOUND);
    }
}

#[test]
fn acc_1_an_identity_that_asks_for_binding_takes_no_bare_token() {
    let world = world();
    let any = peer("spiffe://example.com/any");
    assert_eq!(verdict(&world, None, Some(&claims("bound"))), MORE);
    assert_eq!(verdict(&world, Some(&any), Some(&claims("bound"))), MORE);
    assert_eq!(verdict(&world, Some(&any), Some(&claims("bearer"))), Ok((0, Proof::Token)));
}

#[test]
fn acc_1_a_confirmation_that_is_not_understood_is_not_ignored() {
    let world = world();
    let mine = peer("spiffe://example.com/any");
    let print = thumbprint(&mine);
    for confirmation in [
        json!({}),
        json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
        json!({ "x5t#S256": print, "jkt": "a" }),
        json!({ "x5t#S256": format!("{print}=") }),
        json!({ "x5t#S256": print.get(1..) }),
        json!({ "x5t#S256": [print] }),
        json!("x5t#S256"),
        json!([]),
    ] {
        let token = cnf("bearer", &confirmation);
        assert_eq!(verdict(&world, Some(&mine), Some(&token)), UNBOUND, "{confirmation}");
    }
}

#[test]
fn acc_1_certificate_and_token_name_the_same_identity() {
    let world = world();
    let (mesh, double) = (peer(&uri_of("mesh")), peer(&uri_of("double")));
    assert_eq!(verdict(&world, Some(&mesh), None), Ok((2, Proof::Certificate)));
    let both = verdict(&world, Some(&double), Some(&claims("double")));
    assert_eq!(both, Ok((3, Proof::TokenAndCertificate)));
    let bound = cnf("double", &json!({ "x5t#S256": thumbprint(&double) }));
    assert_eq!(verdict(&world, Some(&double), Some(&bound)), Ok((3, Proof::BoundToken)));
    for subject in ["bearer", "bound", "double"] {
        let token = claims(subject);
        assert_eq!(verdict(&world, Some(&mesh), Some(&token)), Err(Denial::NoIdentity));
    }
    // Bound to a certificate that is somebody else's.
    let crossed = cnf("bearer", &json!({ "x5t#S256": thumbprint(&mesh) }));
    assert_eq!(verdict(&world, Some(&mesh), Some(&crossed)), Err(Denial::NoIdentity));
}

#[test]
fn acc_1_everything_registered_has_to_be_presented() {
    let world = world();
    let (double, stranger) = (peer(&uri_of("double")), peer("spiffe://example.com/any"));
    assert_eq!(verdict(&world, Some(&double), None), MORE);
    assert_eq!(verdict(&world, None, Some(&claims("double"))), MORE);
    assert_eq!(verdict(&world, Some(&stranger), Some(&claims("double"))), MORE);
    // Bound, but to a certificate that is not the registered one.
    let bound = cnf("double", &json!({ "x5t#S256": thumbprint(&stranger) }));
    assert_eq!(verdict(&world, Some(&stranger), Some(&bound)), MORE);
}

#[test]
fn acc_1_a_good_certificate_does_not_make_up_for_a_bad_token() {
    let world = world();
    let mesh = peer(&uri_of("mesh"));
    let refused = world.prove_at(Some(&mesh), Some(b"nonsense"), at(NOW)).unwrap_err();
    assert_eq!(refused.denial, Denial::Token(TokenFault::Malformed));
    let expired = claims_with("mesh", json!({ "exp": 1 }));
    let expired = verdict(&world, Some(&mesh), Some(&expired));
    assert_eq!(expired, Err(Denial::Token(TokenFault::Expired)));
}

#[test]
fn acc_1_a_certificate_of_two_identities_is_nobodys() {
    let mut first = identity("one-service");
    first.certificates = vec![CertificateCredential::SanUri(uri_of("one"))];
    let certificate = peer(&uri_of("one"));
    let mut second = with_token("two-service", Binding::Bearer);
    second.certificates = vec![CertificateCredential::SpkiSha256(*certificate.spki_sha256())];
    let world = World::new(spec(vec![first, second]));
    let nobody = Err(Denial::NoIdentity);
    assert_eq!(verdict(&world, Some(&certificate), None), nobody);
    assert_eq!(verdict(&world, Some(&certificate), Some(&claims("two-service"))), nobody);
}

#[test]
fn acc_1_a_certificate_identifies_by_dns_name_and_by_key_too() {
    let certificate = peer(&uri_of("x"));
    let mut pinned = identity("pinned");
    pinned.certificates = vec![
        CertificateCredential::SpkiSha256([1; 32]),
        CertificateCredential::SpkiSha256(*certificate.spki_sha256()),
    ];
    let mut named = identity("named");
    named.certificates = vec![CertificateCredential::SanDns("Printer.Example.com".into())];
    let world = World::new(spec(vec![named, pinned]));
    assert_eq!(verdict(&world, Some(&certificate), None), Ok((1, Proof::Certificate)));
    let key = rcgen::KeyPair::generate().unwrap();
    let dns = |host: &str| {
        let params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        PeerCertificate::parse(params.self_signed(&key).unwrap().der()).unwrap()
    };
    let upper = dns("PRINTER.example.com");
    assert_eq!(verdict(&world, Some(&upper), None), Ok((0, Proof::Certificate)));
    for other in ["*.example.com", "printer.example.com.", "x.printer.example.com"] {
        assert_eq!(verdict(&world, Some(&dns(other)), None), Err(Denial::NoIdentity), "{other}");
    }
}

#[test]
fn acc_1_a_certificate_is_worth_nothing_after_its_last_second() {
    let world = world();
    let mesh = peer(&uri_of("mesh"));
    let last = world.prove_at(Some(&mesh), None, at(mesh.not_after())).unwrap();
    assert_eq!(last.until(), mesh.not_after() + 1);
    let refused = world.prove_at(Some(&mesh), None, at(mesh.not_after() + 1)).unwrap_err();
    assert_eq!(refused.denial, Denial::NoIdentity);
}

#[test]
fn acc_3_what_a_token_showed_counts_while_the_same_credential_names_the_same_identity() {
    let own = with_token("bearer", Binding::Bearer);
    let world = World::new(spec(vec![own.clone()]));
    let shown = world.claims(&claims("bearer")).unwrap().shown();
    let still = |issuers: Vec<IssuerSpec>, who: IdentitySpec| {
        let trust = Trust::build(TrustSpec { issuers, ..spec(vec![who]) }).unwrap();
        still_proves(&trust, &world.keys, IdentityIx(0), shown, None, at(NOW))
    };
    let by = |issuer: &str, subject: &str| {
        let (issuer, subject) = (name(issuer), subject.to_owned());
        let token = TokenCredential { issuer, subject, binding: Binding::Bearer };
        IdentitySpec { token: Some(token), ..own.clone() }
    };
    let other = IssuerSpec { name: name("other"), iss: "https://other".to_owned(), ..issuer() };
    let moved = IssuerSpec { iss: "https://moved".to_owned(), ..issuer() };
    assert!(still(vec![issuer()], own.clone()));
    assert!(still(vec![other.clone(), issuer()], own.clone()), "its place says nothing");
    assert!(!still(vec![issuer()], by("corp", "another")));
    assert!(!still(vec![issuer(), other], by("other", "bearer")));
    assert!(!still(vec![moved], own));
}

#[test]
fn acc_3_what_a_token_showed_counts_while_its_issuer_has_the_key() {
    let world = World::new(spec(vec![with_token("bearer", Binding::Bearer)]));
    let shown = world.claims(&claims("bearer")).unwrap().shown();
    let (own, other) = (world.signer.jwk(), Signer::new(Algorithm::Es256, "k2").jwk());
    let still =
        |keys: &KeySets| still_proves(&world.trust, keys, IdentityIx(0), shown, None, at(NOW));
    let (both, gone) = (key_sets(&[other.clone(), own]), key_sets(&[other]));
    assert!(still(&both) && !world.keys.may_lose(&both));
    assert!(!still(&gone) && both.may_lose(&gone) && world.keys.may_lose(&gone));
    // None could be had yet: those that come then need not be those that were.
    for none in [KeySets::default(), KeySets::new([(ISS.into(), None)])] {
        assert!(still(&none) && !both.may_lose(&none) && none.may_lose(&gone));
    }
}
