use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, client::WebPkiServerVerifier};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;
use crate::base::{Clock, Moment, Use};

fn now() -> Moment {
    Clock::system().now()
}

/// A directory of this test alone, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sekisho-devcerts-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn roots(ca: &DevCa) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate()).unwrap();
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn client_is_accepted(ca: &DevCa, leaf: &Leaf) -> bool {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(ca), provider()).build().unwrap();
    verifier.verify_client_cert(&leaf.chain()[0], &[], UnixTime::now()).is_ok()
}

fn server_is_accepted(ca: &DevCa, leaf: &Leaf, name: &str) -> bool {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(ca), provider()).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    rustls::client::danger::ServerCertVerifier::verify_server_cert(
        &*verifier,
        &leaf.chain()[0],
        &[],
        &name,
        &[],
        UnixTime::now(),
    )
    .is_ok()
}

#[test]
fn certificates_are_accepted_for_their_names_and_uses_only() {
    let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "gateway.test"] {
        assert!(server_is_accepted(&pki.ca, &pki.server, name), "{name}");
        assert!(!server_is_accepted(&pki.ca, &pki.rogue.server, name), "rogue {name}");
    }
    assert!(server_is_accepted(&pki.ca, &pki.upstream, "upstream.test"));
    assert!(!server_is_accepted(&pki.ca, &pki.server, "upstream.test"));
    let printer = pki.client("label-printer").unwrap();
    assert!(client_is_accepted(&pki.ca, printer));
    assert!(!client_is_accepted(&pki.ca, &pki.rogue.client));
    assert!(client_is_accepted(&pki.rogue.ca, &pki.rogue.client));
    assert!(!client_is_accepted(&pki.ca, &pki.server), "a server certificate is no client's");
    assert!(!server_is_accepted(&pki.ca, printer, "localhost"));
    assert!(pki.client("nobody").is_none());
}

#[test]
fn client_certificates_carry_one_spiffe_uri_and_end_after_thirty_days() {
    let now = now();
    let pki = DevPki::generate(&PkiPlan::default(), now).unwrap();
    let leaf = pki.client("order-importer").unwrap();
    let chain = leaf.chain();
    let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert!(matches!(
        names.value.general_names.as_slice(),
        [GeneralName::URI("spiffe://sekisho.test/order-importer")]
    ));
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap();
    assert_eq!(end, now.unix_secs() + 30 * 86_400);
    assert_eq!(parsed.public_key().parsed().unwrap().key_size(), 256);
    assert_ne!(leaf.sha256(), leaf.spki_sha256());
}

#[test]
fn tls_5_an_expired_certificate_can_be_made_and_is_refused() {
    let now = now();
    let pki = DevPki::generate(&PkiPlan::default(), now).unwrap();
    let plan = LeafPlan { not_after: now.unix_secs() - 1, ..LeafPlan::client("late", now) };
    assert!(!client_is_accepted(&pki.ca, &pki.ca.issue(&plan).unwrap()));
}

#[test]
fn names_that_could_leave_the_directory_or_the_uri_are_refused() {
    for name in ["", "../ca", "a/b", "A", ".hidden", "a b", "a\0", "é", &"x".repeat(65)] {
        let plan = PkiPlan { clients: vec![name.to_owned()], ..PkiPlan::default() };
        let refused = DevPki::generate(&plan, now());
        assert!(matches!(refused, Err(DevCertsError::ClientName(_))), "{name:?}");
    }
    let plan = PkiPlan { server_names: vec!["no name".to_owned()], ..PkiPlan::default() };
    assert!(matches!(DevPki::generate(&plan, now()), Err(DevCertsError::SubjectName(_))));
}

#[cfg(unix)]
#[test]
fn files_are_private_and_replaced_only_when_asked() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("files");
    let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    let written = pki.write(&scratch.0, Existing::Keep).unwrap();
    let mut keys = 0;
    for path in &written {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let text = std::fs::read_to_string(path).unwrap();
        if path.extension().is_some_and(|extension| extension == "key") {
            keys += 1;
            assert_eq!(mode, 0o600, "{}", path.display());
            assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"));
        } else {
            assert!(!text.contains("PRIVATE"), "{}", path.display());
        }
    }
    // Four servers and rogues, three clients, four operators, two signers, the host; no authority's
    // and no issuer's key.
    assert_eq!(keys, 14);

    let again = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    let before = std::fs::read(Layout::new(&scratch.0).ca()).unwrap();
    assert!(matches!(again.write(&scratch.0, Existing::Keep), Err(DevCertsError::Exists(_))));
    assert_eq!(std::fs::read(Layout::new(&scratch.0).ca()).unwrap(), before);
    assert_eq!(again.write(&scratch.0, Existing::Replace).unwrap().len(), written.len());
    assert_ne!(std::fs::read(Layout::new(&scratch.0).ca()).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn a_link_in_a_keys_place_is_not_followed() {
    let scratch = Scratch::new("link");
    let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let victim = scratch.0.join("victim");
    std::fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, Layout::new(&scratch.0).server().1).unwrap();
    assert!(matches!(pki.write(&scratch.0, Existing::Keep), Err(DevCertsError::Exists(_))));
    pki.write(&scratch.0, Existing::Replace).unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
}

#[test]
fn what_was_written_can_be_opened_again() {
    let scratch = Scratch::new("open");
    let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    pki.write(&scratch.0, Existing::Keep).unwrap();
    let at = Layout::new(&scratch.0);
    let (certificate, key) = at.client("stock-reader");
    let leaf = Leaf::open(&certificate, &key).unwrap();
    assert_eq!(leaf.sha256(), pki.client("stock-reader").unwrap().sha256());
    assert!(leaf.private_key().is_ok());
    let signer = TokenSigner::open(&at.signing().1).unwrap();
    assert_eq!(signer.kid(), pki.signer.kid());
    assert_ne!(signer.kid(), pki.other_signer.kid());
    assert!(matches!(Leaf::open(&key, &certificate), Err(DevCertsError::Malformed(_))));
    let nowhere = TokenSigner::open(&scratch.0.join("nowhere"));
    assert!(matches!(nowhere, Err(DevCertsError::Io { .. })));
}

#[test]
fn a_token_verifies_under_its_own_jwks_and_no_other() {
    let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    let leaf = pki.client("label-printer").unwrap();
    let claims = TokenClaims {
        env: Some("test".to_owned()),
        nbf: Some(-5),
        cnf: Some(leaf.sha256()),
        ..TokenClaims::new("https://login.example.com/", "label-printer", "sekisho")
    };
    let token = pki.signer.sign(&claims, now()).unwrap();
    let verify = |signer: &TokenSigner| {
        let set: JwkSet = serde_json::from_str(&signer.jwks()).unwrap();
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&["sekisho"]);
        rules.set_issuer(&["https://login.example.com/"]);
        rules.validate_nbf = true;
        decode::<Value>(&token, &DecodingKey::from_jwk(&set.keys[0]).unwrap(), &rules)
    };
    let good = verify(&pki.signer).unwrap();
    assert_eq!(good.header.kid.as_deref(), Some(pki.signer.kid()));
    assert_eq!(good.claims["sub"], "label-printer");
    assert_eq!(good.claims["env"], "test");
    assert_eq!(good.claims["cnf"]["x5t#S256"].as_str().unwrap().len(), 43);
    assert_eq!(good.claims["exp"].as_u64().unwrap() - good.claims["iat"].as_u64().unwrap(), 3_600);
    assert!(verify(&pki.other_signer).is_err());
}

#[test]
fn claims_can_be_bent() {
    let signer = TokenSigner::generate().unwrap();
    let claims = TokenClaims {
        aud: vec!["a".to_owned(), "b".to_owned()],
        exp_in: -10,
        kid: Some("elsewhere".to_owned()),
        extra: [("sub".to_owned(), json!(7))].into_iter().collect(),
        ..TokenClaims::new("i", "s", "a")
    };
    let token = signer.sign(&claims, Moment::new(1_000_000, 0)).unwrap();
    let read = |part: usize| -> Value {
        // The claims are short ASCII; compare with what the encoder itself would write.
        let text = token.split('.').nth(part).unwrap();
        let candidates = [
            json!({"alg": "ES256", "typ": "JWT", "kid": "elsewhere"}),
            json!({"iss": "i", "sub": 7, "aud": ["a", "b"], "iat": 1_000, "exp": 990}),
        ];
        candidates.into_iter().find(|c| base64url(c.to_string().as_bytes()) == text).unwrap()
    };
    assert_eq!(read(0)["kid"], "elsewhere");
    assert_eq!(read(1)["exp"], 990);
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    let shown = format!("{pki:?}");
    assert!(!shown.contains("PRIVATE"));
    let key = pki.server.key_pem().reveal_for(Use::Match);
    assert!(!shown.contains(key.lines().nth(1).unwrap()));
}
