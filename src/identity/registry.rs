//! Who is known, compiled: issuers, identities and the credentials that name them (ACC-1).
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::trust_error::{TrustError, check};
use super::{Algorithm, PeerCertificate};
use crate::base::{HashKey, IdentityIx, Moment, Name};

/// Place of an issuer in [`TrustSpec::issuers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerIx(pub u16);

/// Everything [`Trust`] is made of. The places of its lists are the indices used from then on.
#[derive(Clone, Debug)]
pub struct TrustSpec {
    /// The gateway's own environment (PRIV-5).
    pub environment: Name,
    /// Differs between any two snapshots of a process; what was remembered under another one is
    /// verified again.
    pub generation: u64,
    /// Longest token that is read.
    pub token_bytes_max: usize,
    pub strong: StrongLogin,
    pub issuers: Vec<IssuerSpec>,
    pub identities: Vec<IdentitySpec>,
}

/// Which logins are more than a password's, by what their tokens say (RFC 9470). One of the words is
/// enough; where there are none, no login is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrongLogin {
    /// In `amr` (RFC 8176).
    pub methods: Vec<String>,
    /// In `acr`.
    pub classes: Vec<String>,
}

impl StrongLogin {
    /// Several factors, or a key that was proved.
    pub const METHODS: [&'static str; 4] = ["mfa", "hwk", "swk", "sc"];
}

impl Default for StrongLogin {
    fn default() -> Self {
        Self { methods: Self::METHODS.map(str::to_owned).into(), classes: Vec::new() }
    }
}

/// Somebody whose signature on a token counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSpec {
    pub name: Name,
    /// Compared with the claim byte by byte.
    pub iss: String,
    /// One of these has to be in `aud`. An empty list accepts no token and is refused.
    pub audiences: Vec<String>,
    /// An empty list accepts no token and is refused.
    pub algorithms: Vec<Algorithm>,
    /// How far the two clocks may differ; at most five minutes.
    pub clock_skew: Duration,
    /// Whether a token has to say from when it counts.
    pub not_before: NotBefore,
    /// The environment whose tokens this issuer signs (PRIV-5).
    pub environment: Name,
    /// A claim that has to hold the environment's name.
    pub environment_claim: Option<String>,
    /// Claims that have to be there with exactly this value.
    pub required_claims: Vec<(String, ClaimValue)>,
    /// The claim that names the identity, usually `sub`.
    pub subject_claim: String,
}

/// Whether `nbf` may be missing. Several identity providers never send it; everything else about
/// time stays checked then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NotBefore {
    #[default]
    Required,
    Optional,
}

/// The value a required claim has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    Text(String),
    Number(i64),
    Flag(bool),
}

/// One person or service.
#[derive(Clone, Debug)]
pub struct IdentitySpec {
    pub name: Name,
    pub environment: Name,
    /// Any of these names it. Two may be listed while a key is being replaced (TLS-5).
    pub certificates: Vec<CertificateCredential>,
    pub token: Option<TokenCredential>,
    pub standing: Standing,
    /// Seconds since 1970-01-01T00:00:00Z from which it may no longer enter (ACC-3).
    pub expires: Option<u64>,
}

/// What in a client certificate names an identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateCredential {
    /// A URI among the subject alternative names, byte by byte.
    SanUri(String),
    /// A DNS name among the subject alternative names, without regard to case.
    SanDns(String),
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    SpkiSha256([u8; 32]),
}

/// What in a token names an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCredential {
    /// Name of the issuer.
    pub issuer: Name,
    /// Value of the issuer's subject claim, byte by byte.
    pub subject: String,
    pub binding: Binding,
}

/// Whether a token alone is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Whoever bears the token is the identity. A token that is bound nevertheless stays bound.
    Bearer,
    /// The token has to name the certificate of the connection (RFC 8705 §3).
    Certificate,
}

/// Whether an identity may enter at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Disabled,
}

/// The compiled registry: immutable, shared, replaced whole.
#[derive(Clone)]
pub struct Trust {
    pub(super) generation: u64,
    pub(super) token_bytes_max: usize,
    pub(super) strong: StrongLogin,
    issuers: Vec<Issuer>,
    identities: Vec<Identity>,
    pub(super) san_uri: HashMap<Box<str>, IdentityIx>,
    pub(super) san_dns: HashMap<Box<str>, IdentityIx>,
    pub(super) spki: HashMap<[u8; 32], IdentityIx>,
}

#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) spec: IssuerSpec,
    pub(super) skew_secs: u64,
    /// Whether it signs for this gateway's environment.
    local: bool,
    pub(super) subjects: HashMap<Box<str>, IdentityIx>,
}

#[derive(Clone)]
struct Identity {
    name: Name,
    /// Active and of this gateway's environment.
    admitted: bool,
    /// First second of no admittance.
    expires: u64,
    needs: Needs,
    named_by: Option<(IssuerIx, u64)>,
}

/// What an identity has to present: everything that is registered for it. Whoever registers a
/// certificate and a token wants both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) certificate: bool,
    pub(super) token: Option<Binding>,
}

impl Needs {
    /// Whether nobody gets in without possession of a key.
    pub(super) fn key(self) -> bool {
        self.certificate || self.token == Some(Binding::Certificate)
    }
}

/// Whom a certificate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    One(IdentityIx),
    /// Its names belong to different identities.
    Several,
}

/// What is known of an identity, or of nobody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) admitted: bool,
    pub(super) expires: u64,
    pub(super) needs: Needs,
    /// Whose tokens name it, and what stands for that issuer and the subject: equal in every registry
    /// where they are.
    pub(super) named_by: Option<(IssuerIx, u64)>,
}

const NOBODY: Record = Record {
    admitted: false,
    expires: 0,
    needs: Needs { certificate: true, token: None },
    named_by: None,
};

impl Trust {
    /// Longest accepted `clock_skew`.
    pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);
    /// Longest subject, in bytes.
    pub const SUBJECT_MAX: usize = 256;

    /// Compiles the registry.
    ///
    /// # Errors
    /// All conflicts at once: a credential of two identities, a wildcard, a shared or default
    /// name, an identity without credential, an issuer that could accept nothing or anything.
    pub fn build(spec: TrustSpec) -> Result<Self, Vec<TrustError>> {
        check(&spec)?;
        let mut trust = Self {
            generation: spec.generation,
            token_bytes_max: spec.token_bytes_max,
            strong: spec.strong,
            issuers: Vec::with_capacity(spec.issuers.len()),
            identities: Vec::with_capacity(spec.identities.len()),
            san_uri: HashMap::new(),
            san_dns: HashMap::new(),
            spki: HashMap::new(),
        };
        for issuer in spec.issuers {
            trust.issuers.push(Issuer {
                skew_secs: issuer.clock_skew.as_secs(),
                local: issuer.environment == spec.environment,
                subjects: HashMap::new(),
                spec: issuer,
            });
        }
        for (place, identity) in (0..).zip(spec.identities) {
            trust.add(IdentityIx(place), identity, &spec.environment);
        }
        Ok(trust)
    }

    fn add(&mut self, ix: IdentityIx, identity: IdentitySpec, environment: &Name) {
        let needs = Needs {
            certificate: !identity.certificates.is_empty(),
            token: identity.token.as_ref().map(|token| token.binding),
        };
        for credential in identity.certificates {
            match credential {
                CertificateCredential::SanUri(uri) => self.san_uri.insert(uri.into(), ix),
                CertificateCredential::SanDns(dns) => {
                    self.san_dns.insert(dns.to_ascii_lowercase().into(), ix)
                }
                CertificateCredential::SpkiSha256(hash) => self.spki.insert(hash, ix),
            };
        }
        let mut named_by = None;
        if let Some(token) = identity.token
            && let Some((place, issuer)) =
                (0..).zip(&mut self.issuers).find(|(_, i)| i.spec.name == token.issuer)
        {
            named_by = Some((IssuerIx(place), issuer.mark(&token.subject)));
            issuer.subjects.insert(token.subject.into(), ix);
        }
        self.identities.push(Identity {
            admitted: identity.standing == Standing::Active && identity.environment == *environment,
            name: identity.name,
            expires: identity.expires.unwrap_or(u64::MAX),
            needs,
            named_by,
        });
    }

    /// The name of an identity, for records.
    pub fn identity(&self, ix: IdentityIx) -> Option<&Name> {
        self.identities.get(ix.index()).map(|identity| &identity.name)
    }

    /// Whether an identity may enter at all: active, not expired, of this environment. Of nobody: no.
    #[must_use]
    pub fn may_enter(&self, ix: IdentityIx, now: Moment) -> bool {
        self.record(Some(ix)).may_enter(now)
    }

    /// The first second in which it may not enter, whatever else keeps it out; `u64::MAX` for never.
    #[must_use]
    pub fn ends(&self, ix: IdentityIx) -> u64 {
        self.record(Some(ix)).expires
    }

    /// How many identities are registered.
    pub fn identities(&self) -> usize {
        self.identities.len()
    }

    /// The `iss` of an issuer, by which its keys are found and fetched.
    pub fn iss(&self, ix: IssuerIx) -> Option<&str> {
        self.issuer(ix).map(|issuer| issuer.spec.iss.as_str())
    }

    /// The name of an issuer, for records.
    pub fn issuer_name(&self, ix: IssuerIx) -> Option<&Name> {
        self.issuer(ix).map(|issuer| &issuer.spec.name)
    }

    pub(super) fn issuer(&self, ix: IssuerIx) -> Option<&Issuer> {
        self.issuers.get(usize::from(ix.0))
    }

    pub(super) fn all_issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers.iter()
    }

    pub(super) fn issuer_of(&self, iss: &str) -> Option<(IssuerIx, &Issuer)> {
        let (place, issuer) =
            (0..).zip(&self.issuers).find(|(_, issuer)| issuer.spec.iss == iss)?;
        Some((IssuerIx(place), issuer))
    }

    /// Whom a certificate names. Every name of it is looked up, whatever the others gave: neither
    /// time nor answer tells which of them is known.
    pub(super) fn holder_of(&self, peer: &PeerCertificate) -> Holder {
        let uris = peer.san_uri().map(|name| self.san_uri.get(name));
        let names = peer.san_dns().map(|name| self.san_dns.get(name));
        let key = std::iter::once(self.spki.get(peer.spki_sha256()));
        uris.chain(names).chain(key).flatten().fold(Holder::Nobody, |so_far, ix| match so_far {
            Holder::Nobody => Holder::One(*ix),
            Holder::One(same) if same == *ix => so_far,
            Holder::One(_) | Holder::Several => Holder::Several,
        })
    }

    /// Whom a certificate names, if it names exactly one. Whether that one may enter is asked apart.
    #[must_use]
    pub fn certificate_holder(&self, peer: &PeerCertificate) -> Option<IdentityIx> {
        match self.holder_of(peer) {
            Holder::One(ix) => Some(ix),
            Holder::Nobody | Holder::Several => None,
        }
    }

    /// What is known of an identity; of nobody, that it may not enter.
    pub(super) fn record(&self, ix: Option<IdentityIx>) -> Record {
        ix.and_then(|ix| self.identities.get(ix.index())).map_or(NOBODY, |identity| Record {
            admitted: identity.admitted,
            expires: identity.expires,
            needs: identity.needs,
            named_by: identity.named_by,
        })
    }
}

impl Record {
    pub(super) const fn may_enter(&self, now: Moment) -> bool {
        self.admitted & (now.unix_secs() < self.expires)
    }
}

impl Issuer {
    pub(super) const fn is_local(&self) -> bool {
        self.local
    }

    /// Stands for what names an identity in this issuer's tokens, if it signs for this environment.
    fn mark(&self, subject: &str) -> u64 {
        let mut hasher = HashKey::new(*b"token credential").hasher();
        for text in [&self.spec.iss, &self.spec.subject_claim, subject] {
            hasher.write(text.as_bytes());
            hasher.write(&[0]);
        }
        hasher.write(&[u8::from(self.local)]);
        hasher.finish()
    }

    /// The identity a subject names, if the issuer signs for this environment.
    pub(super) fn identity_of(&self, subject: &str) -> Option<IdentityIx> {
        let found = self.subjects.get(subject).copied();
        found.filter(|_| self.local)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("generation", &self.generation)
            .field("issuers", &self.issuers.len())
            .field("identities", &self.identities.len())
            .finish_non_exhaustive()
    }
}
