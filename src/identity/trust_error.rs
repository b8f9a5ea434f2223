//! What a registry must not hold. ACC-1: one identity per person or service, and no credential that
//! several could use.
use std::collections::{HashMap, HashSet};
use std::fmt;

use super::registry::{CertificateCredential, IdentitySpec, IssuerSpec, Trust, TrustSpec};
use crate::base::{ControlId, Name};

/// Names and subjects under which several people or programs usually hide.
const SHARED: [&str; 27] = [
    "admin",
    "administrator",
    "all",
    "anonymous",
    "any",
    "anybody",
    "anyone",
    "common",
    "default",
    "dummy",
    "everybody",
    "everyone",
    "generic",
    "guest",
    "nobody",
    "public",
    "root",
    "service",
    "shared",
    "system",
    "team",
    "temp",
    "test",
    "tester",
    "unknown",
    "user",
    "users",
];

const URI_MAX: usize = 2048;
const DNS_MAX: usize = 253;

/// Which credential an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialKind {
    SanUri,
    SanDns,
    SpkiSha256,
    /// Issuer and subject of a token.
    Token,
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SanUri => "certificate.san_uri",
            Self::SanDns => "certificate.san_dns",
            Self::SpkiSha256 => "certificate.spki_sha256",
            Self::Token => "token.subject",
        })
    }
}

/// Why a registry is refused. Names come from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// Two identities have one name.
    IdentityTwice { identity: Name },
    /// One credential would name two identities.
    SharedCredential { first: Name, second: Name, credential: CredentialKind },
    /// An identity or its subject is called by a name that several use.
    SharedName { identity: Name },
    /// A credential holds `*`: it would name whoever fits.
    Wildcard { identity: Name, credential: CredentialKind },
    /// A credential that no certificate or token could carry.
    BrokenCredential { identity: Name, credential: CredentialKind },
    /// An identity that nobody could prove.
    NoCredential { identity: Name },
    /// A token of an issuer that is not configured.
    UnknownIssuer { identity: Name, issuer: Name },
    /// Two issuers have one name or one `iss`.
    IssuerTwice { first: Name, second: Name },
    /// An issuer without `iss` or subject claim.
    IssuerIncomplete { issuer: Name },
    /// An issuer that lists no audience, or an empty one.
    NoAudience { issuer: Name },
    /// An issuer that lists no algorithm.
    NoAlgorithm { issuer: Name },
    /// A clock skew over five minutes.
    ClockSkew { issuer: Name },
    /// More issuers than 65,535 or identities than 4,294,967,295.
    TooMany,
}

impl TrustError {
    /// The control that refuses it.
    pub const fn control(&self) -> ControlId {
        ControlId::Acc1
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdentityTwice { identity } => write!(f, "identity {identity} exists twice"),
            Self::SharedCredential { first, second, credential } => write!(
                f,
                "identities {first} and {second} have the same {credential}; give each its own"
            ),
            Self::SharedName { identity } => write!(
                f,
                "identity {identity} or its subject has a name that several could use; \
                 name the one person or service"
            ),
            Self::Wildcard { identity, credential } => {
                write!(f, "{credential} of identity {identity} holds *; write it out")
            }
            Self::BrokenCredential { identity, credential } => write!(
                f,
                "{credential} of identity {identity} can't occur; write it as it stands in the \
                 certificate or token"
            ),
            Self::NoCredential { identity } => {
                write!(f, "identity {identity} has no credential; give it a certificate or token")
            }
            Self::UnknownIssuer { identity, issuer } => {
                write!(f, "identity {identity} names issuer {issuer}, which is not configured")
            }
            Self::IssuerTwice { first, second } => {
                write!(f, "issuers {first} and {second} have the same name or iss")
            }
            Self::IssuerIncomplete { issuer } => {
                write!(f, "issuer {issuer} needs an iss and a subject_claim")
            }
            Self::NoAudience { issuer } => {
                write!(f, "issuer {issuer} lists no audience; name this gateway's")
            }
            Self::NoAlgorithm { issuer } => {
                write!(f, "issuer {issuer} lists no algorithm; name those it signs with")
            }
            Self::ClockSkew { issuer } => {
                write!(f, "clock_skew of issuer {issuer} is over 300 s")
            }
            Self::TooMany => f.write_str("too many issuers or identities"),
        }
    }
}

impl std::error::Error for TrustError {}

/// Finds all errors at once.
pub(super) fn check(spec: &TrustSpec) -> Result<(), Vec<TrustError>> {
    let mut errors = Vec::new();
    if u16::try_from(spec.issuers.len()).is_err() || u32::try_from(spec.identities.len()).is_err() {
        errors.push(TrustError::TooMany);
    }
    check_issuers(&spec.issuers, &mut errors);
    let mut seen = Seen::default();
    for identity in &spec.identities {
        check_identity(identity, &spec.issuers, &mut errors);
        seen.note(identity, &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn check_issuers(issuers: &[IssuerSpec], errors: &mut Vec<TrustError>) {
    for (place, issuer) in issuers.iter().enumerate() {
        let name = || issuer.name.clone();
        if issuer.iss.is_empty() || issuer.subject_claim.is_empty() {
            errors.push(TrustError::IssuerIncomplete { issuer: name() });
        }
        if issuer.audiences.is_empty() || issuer.audiences.iter().any(String::is_empty) {
            errors.push(TrustError::NoAudience { issuer: name() });
        }
        if issuer.algorithms.is_empty() {
            errors.push(TrustError::NoAlgorithm { issuer: name() });
        }
        if issuer.clock_skew > Trust::CLOCK_SKEW_MAX {
            errors.push(TrustError::ClockSkew { issuer: name() });
        }
        let earlier = issuers.iter().take(place);
        for first in earlier.filter(|i| i.iss == issuer.iss || i.name == issuer.name) {
            errors.push(TrustError::IssuerTwice { first: first.name.clone(), second: name() });
        }
    }
}

fn check_identity(identity: &IdentitySpec, issuers: &[IssuerSpec], errors: &mut Vec<TrustError>) {
    let name = || identity.name.clone();
    if identity.certificates.is_empty() && identity.token.is_none() {
        errors.push(TrustError::NoCredential { identity: name() });
    }
    let subject = identity.token.as_ref().map_or("", |token| &token.subject);
    if [identity.name.as_str(), subject].into_iter().any(is_shared) {
        errors.push(TrustError::SharedName { identity: name() });
    }
    let mut judge = |form: Form, credential| match form {
        Form::Good => {}
        Form::Wildcard => errors.push(TrustError::Wildcard { identity: name(), credential }),
        Form::Broken => errors.push(TrustError::BrokenCredential { identity: name(), credential }),
    };
    for certificate in &identity.certificates {
        match certificate {
            CertificateCredential::SanUri(uri) => judge(uri_form(uri), CredentialKind::SanUri),
            CertificateCredential::SanDns(dns) => judge(dns_form(dns), CredentialKind::SanDns),
            CertificateCredential::SpkiSha256(_) => {}
        }
    }
    if let Some(token) = &identity.token {
        judge(subject_form(&token.subject), CredentialKind::Token);
        if !issuers.iter().any(|issuer| issuer.name == token.issuer) {
            let issuer = token.issuer.clone();
            errors.push(TrustError::UnknownIssuer { identity: name(), issuer });
        }
    }
}

/// Who had which credential first.
#[derive(Default)]
struct Seen<'s> {
    names: HashSet<String>,
    certificates: HashMap<CertificateCredential, &'s Name>,
    subjects: HashMap<(&'s Name, &'s str), &'s Name>,
}

impl<'s> Seen<'s> {
    fn note(&mut self, identity: &'s IdentitySpec, errors: &mut Vec<TrustError>) {
        let name = &identity.name;
        // Two names that differ by case only are one to whoever reads the log.
        if !self.names.insert(name.as_str().to_ascii_lowercase()) {
            errors.push(TrustError::IdentityTwice { identity: name.clone() });
        }
        let mut shared = |first: Option<&Name>, credential| {
            if let Some(first) = first {
                let (first, second) = (first.clone(), name.clone());
                errors.push(TrustError::SharedCredential { first, second, credential });
            }
        };
        for certificate in &identity.certificates {
            let (folded, kind) = match certificate {
                CertificateCredential::SanDns(dns) => (
                    CertificateCredential::SanDns(dns.to_ascii_lowercase()),
                    CredentialKind::SanDns,
                ),
                CertificateCredential::SanUri(_) => (certificate.clone(), CredentialKind::SanUri),
                CertificateCredential::SpkiSha256(_) => {
                    (certificate.clone(), CredentialKind::SpkiSha256)
                }
            };
            shared(self.certificates.insert(folded, name), kind);
        }
        if let Some(token) = &identity.token {
            let subject = (&token.issuer, token.subject.as_str());
            shared(self.subjects.insert(subject, name), CredentialKind::Token);
        }
    }
}

fn is_shared(name: &str) -> bool {
    SHARED.iter().any(|shared| name.eq_ignore_ascii_case(shared))
}

enum Form {
    Good,
    Wildcard,
    Broken,
}

fn form(text: &str, broken: bool) -> Form {
    if text.contains('*') {
        Form::Wildcard
    } else if broken {
        Form::Broken
    } else {
        Form::Good
    }
}

fn uri_form(uri: &str) -> Form {
    let has_scheme = uri.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty() && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
    });
    let printable = uri.bytes().all(|byte| byte.is_ascii_graphic());
    form(uri, uri.len() > URI_MAX || !has_scheme || !printable)
}

fn dns_form(dns: &str) -> Form {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    form(dns, dns.len() > DNS_MAX || !dns.split('.').all(label))
}

fn subject_form(subject: &str) -> Form {
    let readable = !subject.chars().any(char::is_control);
    form(subject, subject.is_empty() || subject.len() > Trust::SUBJECT_MAX || !readable)
}
