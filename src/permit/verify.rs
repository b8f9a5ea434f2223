//! A document, a host and a moment: a permit, or why not.
use std::fmt;

use super::claims::{Claims, DOCUMENT_BYTES_MAX, LIFE_MAX_SECS};
use super::clock::went_back;
use super::facts::{FactKind, HostFacts};
use super::issuer::{IssuerId, IssuerKey, Signed};
use crate::base::{Moment, Name};

/// This host may end TLS, for some listeners and names, for some time. Made by [`verify`] only, and
/// what opens a listener's private key asks for one:
///
/// ```compile_fail
/// # use sekisho::permit::{Claims, HostPermit, IssuerId};
/// // Nobody makes one by hand …
/// fn forge(claims: Claims, issuer: IssuerId) -> HostPermit {
///     HostPermit { claims, issuer }
/// }
/// ```
/// ```compile_fail
/// // … nor out of what a document says, unverified.
/// # use sekisho::permit::{Claims, HostPermit};
/// fn believe(claims: Claims) -> HostPermit {
///     claims.into()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPermit {
    claims: Claims,
    issuer: IssuerId,
}

impl HostPermit {
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    #[must_use]
    pub const fn issuer(&self) -> IssuerId {
        self.issuer
    }

    #[must_use]
    pub const fn serial(&self) -> &Name {
        &self.claims.serial
    }

    /// Seconds since 1970; over from that second on.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.claims.expires
    }

    /// Whether a listener of this name may end TLS here.
    #[must_use]
    pub fn allows_listener(&self, name: &str) -> bool {
        self.claims.listeners.iter().any(|listed| listed.as_str() == name)
    }

    /// Whether TLS may end here on a listener with a certificate of these names: all of them, and one
    /// at least.
    #[must_use]
    pub fn covers(&self, listener: &str, names: &[String]) -> bool {
        self.allows_listener(listener)
            && !names.is_empty()
            && names.iter().all(|name| self.allows_name(name))
    }

    /// Whether TLS may end here for a server name, or for all that a certificate's wildcard stands for;
    /// or for an address.
    #[must_use]
    pub fn allows_name(&self, name: &str) -> bool {
        self.claims.server_names.iter().any(|listed| listed.covers(name))
    }
}

/// Why a host may not end TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermitFault {
    /// There is no document.
    Missing,
    /// It is there and can't be read.
    Unreadable,
    /// It is longer than [`DOCUMENT_BYTES_MAX`].
    TooLarge,
    /// It does not end with a signature line.
    Torn,
    /// Signed by a key that is not trusted.
    Issuer,
    /// The signature is not that key's for this text.
    Signature,
    /// Signed, and not in the form of a permit.
    Malformed,
    /// Of a form that this version does not know.
    Version,
    /// It lives longer than 90 days, or ends before it begins.
    Life,
    /// PRIV-5: of another environment.
    Environment,
    /// For another host: this fact differs.
    Host(FactKind),
    /// The host can't show this fact.
    Unproved(FactKind),
    /// Its time has not come.
    NotYet,
    Expired,
    /// The clock is behind what this host has seen.
    ClockWentBack,
    /// The record of the latest time is not this host's own writing.
    ClockRecord,
}

impl PermitFault {
    /// Every word that [`as_str`](Self::as_str) can give.
    pub const ALL: &'static [Self] = &[
        Self::Missing,
        Self::Unreadable,
        Self::TooLarge,
        Self::Torn,
        Self::Issuer,
        Self::Signature,
        Self::Malformed,
        Self::Version,
        Self::Life,
        Self::Environment,
        Self::Host(FactKind::Machine),
        Self::Host(FactKind::SealingKey),
        Self::Host(FactKind::Instance),
        Self::Host(FactKind::Tpm),
        Self::Unproved(FactKind::Machine),
        Self::Unproved(FactKind::SealingKey),
        Self::Unproved(FactKind::Instance),
        Self::Unproved(FactKind::Tpm),
        Self::NotYet,
        Self::Expired,
        Self::ClockWentBack,
        Self::ClockRecord,
    ];

    /// For records and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Torn => "torn",
            Self::Issuer => "unknown_issuer",
            Self::Signature => "signature",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Life => "life",
            Self::Environment => "other_environment",
            Self::Host(FactKind::Machine) => "other_machine",
            Self::Host(FactKind::SealingKey) => "other_sealing_key",
            Self::Host(FactKind::Instance) => "other_instance",
            Self::Host(FactKind::Tpm) => "other_tpm",
            Self::Unproved(FactKind::Machine) => "no_machine_id",
            Self::Unproved(FactKind::SealingKey) => "no_host_key",
            Self::Unproved(FactKind::Instance) => "no_instance",
            Self::Unproved(FactKind::Tpm) => "no_tpm",
            Self::NotYet => "not_yet",
            Self::Expired => "expired",
            Self::ClockWentBack => "clock_went_back",
            Self::ClockRecord => "clock_record",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Missing => {
                "print this host's request with `sekisho permit host`, have the platform team issue \
                 a permit, and put it there"
            }
            Self::Unreadable => "let the gateway's user read it",
            Self::TooLarge | Self::Torn | Self::Malformed | Self::Signature => {
                "copy the permit again, as it was issued"
            }
            Self::Issuer => "ask who issued it; only keys under `issuers` count",
            Self::Version => "issue it with the `sekisho` that runs here",
            Self::Life => "issue one of at most 90 days",
            Self::Environment => "issue one for this host's environment",
            Self::Host(_) => "issue one for this host: `sekisho permit host` prints its request",
            Self::Unproved(FactKind::Machine) => {
                "give the gateway the host's machine id, in the file under `machine_id`"
            }
            Self::Unproved(FactKind::SealingKey) => {
                "make the host's key with `sekisho permit host`, as the gateway's user"
            }
            Self::Unproved(FactKind::Instance) => {
                "name the platform's document under `instance_document`, or issue one without"
            }
            Self::Unproved(FactKind::Tpm) => {
                "issue one that asks for no more than this host can show"
            }
            Self::NotYet => "wait until it begins, or set this host's clock",
            Self::Expired => "issue a new one",
            Self::ClockWentBack => {
                "set this host's clock; if it was ahead before, remove permit.clock from the state \
                 directory"
            }
            Self::ClockRecord => "find out who changed permit.clock, then remove it",
        }
    }
}

impl fmt::Display for PermitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no permit",
            Self::Unreadable => "the permit can't be read",
            Self::TooLarge => "the permit is longer than 16 KiB",
            Self::Torn => "the permit is cut short: its signature line is missing",
            Self::Issuer => "the permit is signed by a key that is not trusted here",
            Self::Signature => "the permit was changed after it was signed",
            Self::Malformed => "the permit is not in the form of one",
            Self::Version => "the permit is of a form that this version does not know",
            Self::Life => "the permit lives longer than 90 days, or ends before it begins",
            Self::Environment => "the permit is of another environment (PRIV-5)",
            Self::Host(FactKind::Machine) => {
                "the permit is for another host: the machine id differs"
            }
            Self::Host(FactKind::SealingKey) => {
                "the permit is for another host: the host's key differs"
            }
            Self::Host(FactKind::Instance | FactKind::Tpm) => "the permit is for another host",
            Self::Unproved(FactKind::Machine) => "this host has no machine id",
            Self::Unproved(FactKind::SealingKey) => {
                "this host has no key of its own, or others can read it"
            }
            Self::Unproved(FactKind::Instance | FactKind::Tpm) => {
                "the permit asks for a proof that this host can't give"
            }
            Self::NotYet => "the permit's time has not come",
            Self::Expired => "the permit has expired",
            Self::ClockWentBack => "this host's clock was moved back by more than an hour",
            Self::ClockRecord => "the record of the latest time was not written by this host",
        })
    }
}

impl std::error::Error for PermitFault {}

/// What a permit must fit.
pub struct Expected<'e> {
    /// `gateway.environment`.
    pub environment: &'e Name,
    /// Whose word counts. None: nobody's.
    pub issuers: &'e [IssuerKey],
    pub host: &'e dyn HostFacts,
    /// The latest time this host has seen, in seconds since 1970, as far as it is known.
    pub latest: Option<u64>,
}

impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expected({}, {} issuers)", self.environment, self.issuers.len())
    }
}

/// The only way to a [`HostPermit`].
///
/// # Errors
/// See [`PermitFault`]; the first one that is found.
pub fn verify(
    document: &[u8],
    expected: &Expected<'_>,
    now: Moment,
) -> Result<HostPermit, PermitFault> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(PermitFault::TooLarge);
    }
    let (text, issuer) = Signed::split(document)?.verified(expected.issuers)?;
    let claims = Claims::parse(text)?;
    let last = claims.issued.saturating_add(LIFE_MAX_SECS);
    if claims.not_before < claims.issued
        || claims.expires <= claims.not_before
        || claims.expires > last
    {
        return Err(PermitFault::Life);
    }
    if claims.environment != *expected.environment {
        return Err(PermitFault::Environment);
    }
    for (kind, asked) in &claims.host {
        let shown = expected.host.fact(*kind).ok_or(PermitFault::Unproved(*kind))?;
        if shown != *asked {
            return Err(PermitFault::Host(*kind));
        }
    }
    let now = now.unix_secs();
    if expected.latest.is_some_and(|latest| went_back(latest, now)) {
        return Err(PermitFault::ClockWentBack);
    }
    if now < claims.not_before {
        return Err(PermitFault::NotYet);
    }
    if now >= claims.expires {
        return Err(PermitFault::Expired);
    }
    Ok(HostPermit { claims, issuer: issuer.id() })
}

/// Whether one of these signed a document, whatever it says.
///
/// # Errors
/// It was somebody else, or the text was changed since.
pub fn signed_by(document: &[u8], issuers: &[IssuerKey]) -> Result<IssuerKey, PermitFault> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(PermitFault::TooLarge);
    }
    Signed::split(document)?.verified(issuers).map(|(_, issuer)| issuer)
}

/// What a document says and whose key it names, to be shown to people. Nothing of it is proved.
///
/// # Errors
/// Its form is not that of a permit.
pub fn read_unverified(document: &[u8]) -> Result<(Claims, IssuerId), PermitFault> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(PermitFault::TooLarge);
    }
    let signed = Signed::split(document)?;
    let issuer = signed.issuer().ok_or(PermitFault::Torn)?;
    Ok((Claims::parse(signed.unverified())?, issuer))
}
