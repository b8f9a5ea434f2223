//! A certificate authority that lives in memory, and what it issues.
use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
    date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::DevCertsError;
use crate::base::{Moment, Secret, Use};

/// How long a certificate of this room is good for.
pub(super) const VALIDITY: Duration = Duration::from_secs(30 * 86_400);
/// Certificates start a little in the past, for machines whose clocks differ.
pub(super) const LEEWAY: Duration = Duration::from_secs(3_600);

/// What a certificate is for: its extended key usage (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafUse {
    Server,
    Client,
}

/// One certificate to issue. Tests bend it: several URIs, none, expired, the wrong use.
#[derive(Clone, Debug)]
pub struct LeafPlan {
    pub common_name: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// SAN URIs.
    pub uris: Vec<String>,
    pub usage: LeafUse,
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970.
    pub not_after: u64,
}

impl LeafPlan {
    #[must_use]
    pub fn server(names: &[String], now: Moment) -> Self {
        let common_name = names.first().cloned().unwrap_or_default();
        Self { names: names.to_vec(), ..Self::bare(common_name, LeafUse::Server, now) }
    }

    /// A client that is known by `spiffe://sekisho.test/<name>`.
    #[must_use]
    pub fn client(name: &str, now: Moment) -> Self {
        Self {
            uris: vec![format!("spiffe://sekisho.test/{name}")],
            ..Self::bare(name.to_owned(), LeafUse::Client, now)
        }
    }

    /// A person who operates the gateway, known by `spiffe://sekisho.test/operators/<name>`.
    #[must_use]
    pub fn operator(name: &str, now: Moment) -> Self {
        Self {
            uris: vec![format!("spiffe://sekisho.test/operators/{name}")],
            ..Self::bare(name.to_owned(), LeafUse::Client, now)
        }
    }

    fn bare(common_name: String, usage: LeafUse, now: Moment) -> Self {
        Self {
            common_name,
            names: Vec::new(),
            uris: Vec::new(),
            usage,
            not_before: now.unix_secs().saturating_sub(LEEWAY.as_secs()),
            not_after: now.unix_secs().saturating_add(VALIDITY.as_secs()),
        }
    }
}

/// A throw-away authority. Its private key is never written anywhere.
pub struct DevCa {
    pub(super) issuer: CertifiedIssuer<'static, KeyPair>,
}

impl DevCa {
    pub fn new(common_name: &str, now: Moment) -> Result<Self, DevCertsError> {
        let plan = LeafPlan::bare(common_name.to_owned(), LeafUse::Server, now);
        let mut params = params(&plan)?;
        params.extended_key_usages.clear();
        // Zero: it signs leaves only.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()?).map_err(generate)?;
        Ok(Self { issuer })
    }

    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub fn issue(&self, plan: &LeafPlan) -> Result<Leaf, DevCertsError> {
        let key = new_key()?;
        let mut params = params(plan)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(generate)?;
        Leaf::from_pem(certificate.pem(), key.serialize_pem()).ok_or(DevCertsError::Generate)
    }
}

impl std::fmt::Debug for DevCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevCa")
    }
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Leaf {
    certificate_pem: String,
    key_pem: Secret<String>,
    certificate: CertificateDer<'static>,
    spki_sha256: [u8; 32],
}

impl Leaf {
    /// Reads a PEM certificate and its PEM key.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, DevCertsError> {
        let read =
            |path: &Path| fs::read_to_string(path).map_err(|error| DevCertsError::io(path, &error));
        Self::from_pem(read(certificate)?, read(key)?)
            .ok_or_else(|| DevCertsError::Malformed(certificate.to_owned()))
    }

    fn from_pem(certificate_pem: String, key_pem: String) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
        PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        let spki_sha256 = sha256(parsed.tbs_certificate.subject_pki.raw);
        Some(Self { certificate_pem, key_pem: Secret::new(key_pem), certificate, spki_sha256 })
    }

    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    #[must_use]
    pub const fn key_pem(&self) -> &Secret<String> {
        &self.key_pem
    }

    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, DevCertsError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.reveal_for(Use::Verify).as_bytes())
            .map_err(|_| DevCertsError::Generate)
    }

    /// SHA-256 of the whole certificate: what `cnf.x5t#S256` binds a token to (RFC 8705).
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.certificate)
    }

    /// SHA-256 of the public key's `SubjectPublicKeyInfo`: what a pin holds (RFC 7469 section 2.4).
    #[must_use]
    pub const fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }
}

pub(super) fn new_key() -> Result<KeyPair, DevCertsError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(generate)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

fn params(plan: &LeafPlan) -> Result<CertificateParams, DevCertsError> {
    let mut params = CertificateParams::default();
    for name in &plan.names {
        // A label of a DNS name is letters, digits and hyphens; rcgen takes any ASCII.
        let san = match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if is_dns_name(name) => SanType::DnsName(ia5(name)?),
            Err(_) => return Err(DevCertsError::SubjectName(name.clone())),
        };
        params.subject_alt_names.push(san);
    }
    for uri in &plan.uris {
        params.subject_alt_names.push(SanType::URI(ia5(uri)?));
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, plan.common_name.as_str());
    params.distinguished_name.push(DnType::OrganizationName, "Sekisho throw-away certificates");
    params.extended_key_usages.push(match plan.usage {
        LeafUse::Server => ExtendedKeyUsagePurpose::ServerAuth,
        LeafUse::Client => ExtendedKeyUsagePurpose::ClientAuth,
    });
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(plan.not_before);
    params.not_after = epoch + Duration::from_secs(plan.not_after);
    Ok(params)
}

fn is_dns_name(name: &str) -> bool {
    rustls_pki_types::DnsName::try_from(name).is_ok()
}

fn ia5(text: &str) -> Result<rcgen::string::Ia5String, DevCertsError> {
    text.try_into().map_err(|_| DevCertsError::SubjectName(text.to_owned()))
}

// rcgen's own words say nothing that an operator could act on.
pub(super) fn generate(_: rcgen::Error) -> DevCertsError {
    DevCertsError::Generate
}
