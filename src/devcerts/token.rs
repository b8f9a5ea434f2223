//! Signs tokens for tests, the demo and a developer's terminal. ES256 (RFC 7518 section 3.4).
use std::fmt;
use std::fs;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use super::authority::{new_key, sha256};
use super::{DevCertsError, base64url};
use crate::base::{Moment, Secret};

/// What a token says. Times are seconds relative to the moment of signing; negative is in the past.
#[derive(Clone, Debug)]
pub struct TokenClaims {
    pub iss: String,
    pub sub: String,
    /// One becomes a string, several a list (RFC 7519 section 4.1.3); none leaves the claim out.
    pub aud: Vec<String>,
    pub exp_in: i64,
    pub nbf: Option<i64>,
    /// The claim `env`.
    pub env: Option<String>,
    /// SHA-256 of the certificate that the token is bound to (RFC 8705 section 3.1).
    pub cnf: Option<[u8; 32]>,
    /// Another `kid` than the signer's own.
    pub kid: Option<String>,
    /// Added last; a name used here wins over the fields above.
    pub extra: Map<String, Value>,
}

impl TokenClaims {
    /// A token of one hour for `sub`, not bound to anything.
    #[must_use]
    pub fn new(iss: &str, sub: &str, aud: &str) -> Self {
        Self {
            iss: iss.to_owned(),
            sub: sub.to_owned(),
            aud: vec![aud.to_owned()],
            exp_in: 3_600,
            nbf: None,
            env: None,
            cnf: None,
            kid: None,
            extra: Map::new(),
        }
    }

    fn to_json(&self, now: Moment) -> Value {
        let at =
            |offset: i64| i64::try_from(now.unix_secs()).unwrap_or(i64::MAX).saturating_add(offset);
        let mut claims = Map::new();
        let mut claim = |name: &str, value| claims.insert(name.to_owned(), value);
        claim("iss", json!(self.iss));
        claim("sub", json!(self.sub));
        match self.aud.as_slice() {
            [] => {}
            [one] => drop(claim("aud", json!(one))),
            several => drop(claim("aud", json!(several))),
        }
        claim("iat", json!(at(0)));
        claim("exp", json!(at(self.exp_in)));
        if let Some(offset) = self.nbf {
            claim("nbf", json!(at(offset)));
        }
        if let Some(env) = &self.env {
            claim("env", json!(env));
        }
        if let Some(sha256) = &self.cnf {
            claim("cnf", json!({ "x5t#S256": base64url(sha256) }));
        }
        claims.extend(self.extra.clone());
        Value::Object(claims)
    }
}

/// A signing key with its `kid`, which follows from the public key.
pub struct TokenSigner {
    key: EcdsaKeyPair,
    pem: Secret<String>,
    point: Vec<u8>,
    kid: String,
}

impl TokenSigner {
    pub fn generate() -> Result<Self, DevCertsError> {
        Self::from_pem(new_key()?.serialize_pem()).ok_or(DevCertsError::Generate)
    }

    /// Reads a PEM PKCS#8 key as [`super::DevPki::write`] leaves it.
    pub fn open(path: &Path) -> Result<Self, DevCertsError> {
        let pem = fs::read_to_string(path).map_err(|error| DevCertsError::io(path, &error))?;
        Self::from_pem(pem).ok_or_else(|| DevCertsError::Malformed(path.to_owned()))
    }

    fn from_pem(pem: String) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
                .ok()?;
        let point = KeyPair::from_pem(&pem).ok()?.public_key_raw().to_vec();
        let kid = format!("dev-{}", base64url(sha256(&point).get(..12)?));
        Some(Self { key, pem: Secret::new(pem), point, kid })
    }

    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    #[must_use]
    pub const fn key_pem(&self) -> &Secret<String> {
        &self.pem
    }

    /// The public key as a JWK (RFC 7518 section 6.2.1).
    #[must_use]
    pub fn jwk(&self) -> Value {
        // An uncompressed point is 04, x, y.
        let (x, y) = self.point.split_at_checked(33).unwrap_or_default();
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": base64url(x.get(1..).unwrap_or_default()),
            "y": base64url(y),
        })
    }

    /// A JWKS file with this one key (RFC 7517 section 5).
    #[must_use]
    pub fn jwks(&self) -> String {
        format!("{:#}\n", json!({ "keys": [self.jwk()] }))
    }

    pub fn sign(&self, claims: &TokenClaims, now: Moment) -> Result<String, DevCertsError> {
        let kid = claims.kid.as_deref().unwrap_or(&self.kid);
        self.sign_raw(&json!({ "alg": "ES256", "typ": "JWT", "kid": kid }), &claims.to_json(now))
    }

    /// Signs any header and any claims, for tests that need what [`Self::sign`] would not write.
    pub fn sign_raw(&self, header: &Value, claims: &Value) -> Result<String, DevCertsError> {
        let mut token = base64url(header.to_string().as_bytes());
        token.push('.');
        token.push_str(&base64url(claims.to_string().as_bytes()));
        let signature = self
            .key
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| DevCertsError::Generate)?;
        token.push('.');
        token.push_str(&base64url(signature.as_ref()));
        Ok(token)
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSigner({})", self.kid)
    }
}
