//! Test fixtures: keys made at run time, tokens and certificates signed with them, a small registry.
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::EncodingKey;
use rcgen::{CertificateParams, KeyPair, RsaKeySize, SanType};
use serde_json::{Value, json};

use super::*;
use crate::base::{HashKey, Name, Secret, base64url};

/// 2026-03-01T00:00:00Z, when all tests take place.
pub(crate) const NOW: u64 = 1_772_323_200;
pub(crate) const ISS: &str = "https://login.example.com/";
pub(crate) const SKEW: u64 = 30;

pub(crate) fn at(unix_secs: u64) -> Moment {
    Moment::new(unix_secs * 1_000, unix_secs.saturating_sub(NOW) * 1_000_000_000 + 1)
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// An issuer's private key.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    key: EncodingKey,
    family: jsonwebtoken::Algorithm,
    public: Vec<u8>,
}

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let family: jsonwebtoken::Algorithm = algorithm.as_str().parse().unwrap();
        let pair = match algorithm {
            Algorithm::Es256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::Es384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Algorithm::EdDsa => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            _ => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        }
        .unwrap();
        let (pem, der) = (pair.serialize_pem(), pair.serialize_der());
        let key = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDsa => Ok(EncodingKey::from_ed_der(&der)),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        let public = pair.public_key_raw().to_vec();
        Self { kid: kid.to_owned(), algorithm, key: key.unwrap(), family, public }
    }

    /// The public half, without `alg` and `use`.
    pub(crate) fn jwk(&self) -> Value {
        if self.algorithm == Algorithm::EdDsa {
            let x = base64url::encode(&self.public);
            return json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid });
        }
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, self.family).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        let members = jwk.as_object_mut().unwrap();
        members.remove("alg");
        members.insert("kid".into(), json!(self.kid));
        jwk
    }

    /// Signs any header and payload, sensible or not.
    pub(crate) fn sign_raw(&self, header: &str, payload: &str) -> Vec<u8> {
        let signed = [header, payload].map(|part| base64url::encode(part.as_bytes())).join(".");
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.family).unwrap();
        format!("{signed}.{signature}").into_bytes()
    }

    pub(crate) fn sign(&self, claims: &Value) -> Vec<u8> {
        let header = json!({ "alg": self.algorithm.as_str(), "kid": self.kid, "typ": "at+jwt" });
        self.sign_raw(&header.to_string(), &claims.to_string())
    }
}

pub(crate) fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(crate) fn key_sets(keys: &[Value]) -> KeySets {
    let set = KeySet::parse(&jwks(keys)).unwrap();
    KeySets::new([(Arc::from(ISS), Some(Arc::new(set)))])
}

pub(crate) fn claims(subject: &str) -> Value {
    json!({
        "iss": ISS, "sub": subject, "aud": ["other", "sekisho"], "tenant": "acme",
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600,
    })
}

/// The usual claims with some set, or taken out where the value is `null`.
pub(crate) fn claims_with(subject: &str, changes: Value) -> Value {
    let mut claims = claims(subject);
    let members = claims.as_object_mut().unwrap();
    let Value::Object(changes) = changes else { panic!("an object") };
    for (name, value) in changes {
        if value.is_null() {
            members.remove(&name)
        } else {
            members.insert(name, value)
        };
    }
    claims
}

pub(crate) fn peer(uri: &str) -> PeerCertificate {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let key = KeyPair::generate().unwrap();
    PeerCertificate::parse(params.self_signed(&key).unwrap().der()).unwrap()
}

pub(crate) fn issuer() -> IssuerSpec {
    IssuerSpec {
        name: name("corp"),
        iss: ISS.to_owned(),
        audiences: vec!["sekisho".to_owned()],
        algorithms: vec![Algorithm::Es256],
        clock_skew: Duration::from_secs(SKEW),
        not_before: NotBefore::Required,
        environment: name("production"),
        environment_claim: None,
        required_claims: vec![("tenant".to_owned(), ClaimValue::Text("acme".to_owned()))],
        subject_claim: "sub".to_owned(),
    }
}

pub(crate) fn identity(of: &str) -> IdentitySpec {
    IdentitySpec {
        name: name(of),
        environment: name("production"),
        certificates: Vec::new(),
        token: None,
        standing: Standing::Active,
        expires: None,
    }
}

pub(crate) fn with_token(of: &str, binding: Binding) -> IdentitySpec {
    let (issuer, subject) = (name("corp"), of.to_owned());
    IdentitySpec { token: Some(TokenCredential { issuer, subject, binding }), ..identity(of) }
}

pub(crate) fn uri_of(of: &str) -> String {
    format!("spiffe://example.com/{of}")
}

pub(crate) fn with_certificate(spec: IdentitySpec) -> IdentitySpec {
    let uri = CertificateCredential::SanUri(uri_of(spec.name.as_str()));
    IdentitySpec { certificates: vec![uri], ..spec }
}

pub(crate) fn spec(identities: Vec<IdentitySpec>) -> TrustSpec {
    TrustSpec {
        environment: name("production"),
        generation: 1,
        token_bytes_max: 8 * 1024,
        strong: StrongLogin::default(),
        issuers: vec![issuer()],
        identities,
    }
}

pub(crate) fn cache() -> TokenCache {
    TokenCache::new(&Secret::new([7; 32]), HashKey::new([9; 16]), 1_024)
}

/// One gateway's view: registry, keys, and what it remembers.
pub(crate) struct World {
    pub(crate) trust: Trust,
    pub(crate) keys: KeySets,
    pub(crate) cache: TokenCache,
    pub(crate) signer: Signer,
}

impl World {
    pub(crate) fn new(spec: TrustSpec) -> Self {
        let signer = Signer::new(Algorithm::Es256, "k1");
        let keys = key_sets(&[signer.jwk()]);
        Self { trust: Trust::build(spec).unwrap(), keys, cache: cache(), signer }
    }

    pub(crate) fn prove_at(
        &self,
        peer: Option<&PeerCertificate>,
        token: Option<&[u8]>,
        now: Moment,
    ) -> Result<Proven, Refusal> {
        let token = token.map_or(Presented::None, Presented::Bearer);
        prove(peer, token, &self.trust, &self.keys, &self.cache, now)
    }

    pub(crate) fn token(&self, token: &[u8]) -> Result<Proven, Denial> {
        self.prove_at(None, Some(token), at(NOW)).map_err(|refusal| refusal.denial)
    }

    /// The answer to these claims, genuinely signed.
    pub(crate) fn claims(&self, claims: &Value) -> Result<Proven, Denial> {
        self.token(&self.signer.sign(claims))
    }
}
