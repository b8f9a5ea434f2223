//! Decides who is calling: one registered identity, proved by a client certificate, by a token, or
//! by a token bound to the certificate. Controls: ACC-1, ACC-3, PRIV-5.
//!
//! Never sees: sockets, addresses, paths, bodies, clocks, key files. It is given a certificate whose
//! chain rustls verified, the bytes of one header, compiled [`Trust`], [`KeySets`] and a moment.
//!
//! 1. Nothing a token says is believed before its signature, except which issuer's key to try.
//! 2. A credential that was presented has to be right; a good one beside it does not make up for it.
//! 3. Certificate and token name the same identity, or nobody. A certificate that names nobody may
//!    accompany a token, because a token can be bound to it.
//! 4. An identity presents everything that is registered for it: its certificate, its token, or both.
//! 5. A token that is bound to a certificate is worth nothing on another connection, whatever its
//!    identity asks for.
//! 6. Unknown, disabled, expired and of another environment are one answer, after the same work.
//! 7. Being remembered changes the cost of an answer, never the answer.
//!
//! On failure: a [`Refusal`] with one closed reason. If the issuer's keys may be out of date it says
//! so, and the caller may fetch them once and ask again; nothing is let through meanwhile.
mod cache;
mod certificate;
mod compare;
mod json;
mod keys;
mod presented;
mod registry;
#[cfg(test)]
pub(crate) mod support;
#[cfg(test)]
mod tests;
mod token;
mod trust_error;
mod verify;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::base::{Denial, IdentityIx, Moment, TokenFault};
use registry::{Holder, Needs};
use verify::Verified;

pub use cache::TokenCache;
pub use certificate::{CertificateFault, PeerCertificate};
pub use compare::{BindingChange, CredentialChange, Side};
pub use keys::{KeySet, KeySetFault, KeySets};
pub use presented::{Basic, Presented, presented};
pub use registry::{
    Binding, CertificateCredential, ClaimValue, IdentitySpec, IssuerIx, IssuerSpec, NotBefore,
    Standing, StrongLogin, TokenCredential, Trust, TrustSpec,
};
pub use token::{Algorithm, Token, parse_token};
pub use trust_error::{CredentialKind, TrustError};
pub use verify::token_digest;

/// An identity that was proved. Only [`prove`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    identity: IdentityIx,
    shown: Shown,
    until: u64,
    strong_at: u64,
    token: Option<u64>,
}

impl Proven {
    /// When somebody logged in with several factors, in seconds since 1970, if that was within
    /// `fresh_secs`; zero if it was not (RFC 9470).
    pub const fn fresh_login(&self, now: Moment, fresh_secs: u64) -> u64 {
        if self.is_fresh(now, fresh_secs) { self.strong_at } else { 0 }
    }

    /// Whether somebody logged in with several factors within `fresh_secs`, whatever else was proved.
    pub const fn is_fresh(&self, now: Moment, fresh_secs: u64) -> bool {
        self.strong_at.saturating_add(fresh_secs) > now.unix_secs()
    }

    pub const fn identity(&self) -> IdentityIx {
        self.identity
    }

    pub const fn proof(&self) -> Proof {
        self.shown.proof
    }

    /// What is judged again for as long as its connection lasts.
    pub const fn shown(&self) -> Shown {
        self.shown
    }

    /// Stands for the token's id, where there is a token with one.
    pub const fn token(&self) -> Option<u64> {
        self.token
    }

    /// First second, since 1970-01-01T00:00:00Z, in which the proof no longer holds: the earliest
    /// end of token, certificate and identity. For connections that outlive their first request.
    pub const fn until(&self) -> u64 {
        self.until
    }
}

/// What an identity showed of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    proof: Proof,
    /// What in a token named it, and the key that signed it, where there was a token.
    named: Option<Named>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    by: u64,
    key: u64,
}

/// By what an identity was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A client certificate.
    Certificate,
    /// A token alone: whoever bears it.
    Token,
    /// A token that its issuer bound to this connection's certificate (RFC 8705).
    BoundToken,
    /// A token and a certificate that name the same identity, not bound to each other.
    TokenAndCertificate,
}

impl Proof {
    /// Whether the caller proved that it holds a private key.
    pub const fn is_of_possession(self) -> bool {
        match self {
            Self::Certificate | Self::BoundToken | Self::TokenAndCertificate => true,
            Self::Token => false,
        }
    }
}

/// Why nobody was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub denial: Denial,
    /// Whom a genuine credential named. For the log only: the answer must not depend on it.
    pub identity: Option<IdentityIx>,
    /// The issuer has no key of that name: the shell may fetch its keys once and ask again.
    pub retry: Option<IssuerIx>,
}

impl Refusal {
    const fn new(denial: Denial, identity: Option<IdentityIx>) -> Self {
        Self { denial, identity, retry: None }
    }
}

/// Proves who is calling, or says why not.
///
/// `peer` is the certificate of the connection, if the handshake verified one. Allocates nothing
/// when the token is remembered, unless it came as a password.
pub fn prove(
    peer: Option<&PeerCertificate>,
    token: Presented<'_>,
    trust: &Trust,
    keys: &KeySets,
    cache: &TokenCache,
    now: Moment,
) -> Result<Proven, Refusal> {
    let holder = peer.map_or(Holder::Nobody, |peer| trust.holder_of(peer));
    let token = match token {
        Presented::None => None,
        Presented::Bearer(bytes) => Some(genuine(bytes, trust, keys, cache, now)?),
        Presented::Basic(credentials) => {
            let token = password(credentials, trust)?;
            Some(genuine(&token, trust, keys, cache, now)?)
        }
        Presented::Several | Presented::Other => {
            return Err(Refusal::new(Denial::Token(TokenFault::Malformed), None));
        }
    };
    if peer.is_none() && token.is_none() {
        return Err(Refusal::new(Denial::NoCredential, None));
    }
    let link = link(token.as_ref(), peer).map_err(|fault| {
        Refusal::new(Denial::Token(fault), token.and_then(|token| token.identity))
    })?;

    let by_token = token.map(|token| token.identity);
    let (named, seen) = match (by_token, holder) {
        (Some(named), Holder::Nobody) => (named, named),
        (Some(named), Holder::One(held)) => (named.filter(|ix| *ix == held), named.or(Some(held))),
        (None, Holder::One(held)) => (Some(held), Some(held)),
        (None, Holder::Nobody | Holder::Several) => (None, None),
        (Some(named), Holder::Several) => (None, named),
    };
    // From here on the same steps for everybody: nobody has a record too. What differs is one bit,
    // taken at the end, so the time does not tell an unknown identity from a disabled one.
    let record = trust.record(named);
    let certificate_until = peer.map_or(u64::MAX, |peer| peer.not_after().saturating_add(1));
    let admitted = record.may_enter(now) & (now.unix_secs() < certificate_until);
    let Some(identity) = named.filter(|_| admitted) else {
        return Err(Refusal::new(Denial::NoIdentity, seen));
    };
    let proof = match (token.is_some(), link, holder) {
        (false, _, _) => Proof::Certificate,
        (true, Link::Bound, _) => Proof::BoundToken,
        (true, Link::Loose, Holder::One(_)) => Proof::TokenAndCertificate,
        (true, Link::Loose, Holder::Nobody | Holder::Several) => Proof::Token,
    };
    if !suffices(record.needs, proof, holder) {
        return Err(Refusal::new(Denial::Token(TokenFault::ProofRequired), seen));
    }
    let token_until = token.map_or(u64::MAX, |token| token.expires);
    let until = record.expires.min(certificate_until).min(token_until);
    let strong_at = token.map_or(0, |token| token.strong_at);
    let named = token.zip(record.named_by);
    let named = named.map(|(token, (_issuer, by))| Named { by, key: token.key });
    let shown = Shown { proof, named };
    let token = token.and_then(|token| token.id);
    Ok(Proven { identity, shown, until, strong_at, token })
}

/// Whether what proved an identity on a connection would still do so, its token's own life aside: for
/// connections that outlive a change of the registry, or of an issuer's keys (ACC-3).
#[must_use]
pub fn still_proves(
    trust: &Trust,
    keys: &KeySets,
    who: IdentityIx,
    Shown { proof, named }: Shown,
    peer: Option<&PeerCertificate>,
    now: Moment,
) -> bool {
    let record = trust.record(Some(who));
    let holder = peer.map_or(Holder::Nobody, |peer| trust.holder_of(peer));
    let token_names_it = named.is_none_or(|named| {
        record
            .named_by
            .is_some_and(|(issuer, by)| by == named.by && has(trust, keys, issuer, named))
    });
    let names_it = match (proof, holder) {
        (Proof::Certificate | Proof::TokenAndCertificate, holder) => holder == Holder::One(who),
        (Proof::Token | Proof::BoundToken, Holder::One(held)) => held == who,
        (Proof::Token | Proof::BoundToken, Holder::Nobody | Holder::Several) => true,
    };
    record.may_enter(now) && token_names_it && names_it && suffices(record.needs, proof, holder)
}

/// Whether the key that signed the token, where there was one, is its issuer's still: for whoever was
/// proved by keys that may be others by now (ACC-3).
#[must_use]
pub fn still_signed(
    trust: &Trust,
    keys: &KeySets,
    who: IdentityIx,
    Shown { named, .. }: Shown,
) -> bool {
    let issuer = trust.record(Some(who)).named_by.map(|(issuer, _)| issuer);
    named.zip(issuer).is_none_or(|(named, issuer)| has(trust, keys, issuer, named))
}

/// Keys that can't be had say nothing of one that was there.
fn has(trust: &Trust, keys: &KeySets, issuer: IssuerIx, named: Named) -> bool {
    let set = trust.iss(issuer).and_then(|iss| keys.of(issuer, iss));
    set.is_none_or(|set| set.holds(named.key))
}

/// Whom a credential that was refused claims to be, and whether possession of that identity's key
/// came with it. A claim proves nothing: it is for counting failures.
pub fn claimed(
    peer: Option<&PeerCertificate>,
    token: &Presented<'_>,
    trust: &Trust,
) -> Option<(IdentityIx, Possession)> {
    let held = match peer.map_or(Holder::Nobody, |peer| trust.holder_of(peer)) {
        Holder::One(held) => Some(held),
        Holder::Nobody | Holder::Several => None,
    };
    let of = |bytes: &[u8]| {
        let token = parse_token(bytes, trust.token_bytes_max).ok()?;
        verify::claimed(&token, trust)
    };
    let named = match token {
        Presented::Bearer(bytes) => of(bytes),
        Presented::Basic(credentials) => password(credentials, trust).ok().and_then(|t| of(&t)),
        Presented::None | Presented::Several | Presented::Other => None,
    };
    let who = named.or(held)?;
    let possession = match trust.record(Some(who)).needs {
        _ if held == Some(who) => Possession::Proved,
        needs if needs.key() => Possession::Missing,
        _ => Possession::Unproved,
    };
    Some((who, possession))
}

/// Whether the handshake proved that a caller holds an identity's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Possession {
    Proved,
    Unproved,
    /// It did not, and the identity can't be entered without.
    Missing,
}

/// The token that Basic credentials carry.
fn password(credentials: &[u8], trust: &Trust) -> Result<Vec<u8>, Refusal> {
    let refuse = |fault| Refusal::new(Denial::Token(fault), None);
    // Base64 takes a third more; what is left of twice the limit is for the user name.
    if credentials.len() > trust.token_bytes_max.saturating_mul(2) {
        return Err(refuse(TokenFault::TooLarge));
    }
    presented::password(credentials).ok_or(refuse(TokenFault::Malformed))
}

/// What a token says, verified now or a short while ago.
fn genuine(
    bytes: &[u8],
    trust: &Trust,
    keys: &KeySets,
    cache: &TokenCache,
    now: Moment,
) -> Result<Verified, Refusal> {
    let refuse = |fault| Refusal::new(Denial::Token(fault), None);
    // Before the hash, so that a megabyte costs nothing.
    if bytes.len() > trust.token_bytes_max {
        return Err(refuse(TokenFault::TooLarge));
    }
    let tag = cache.tag(bytes);
    if let Some(verified) = cache.recall(&tag, trust, keys, now) {
        return Ok(verified);
    }
    let token = parse_token(bytes, trust.token_bytes_max).map_err(refuse)?;
    let verified = verify::verify(&token, trust, keys, &cache.ids, now).map_err(|unverified| {
        Refusal { retry: unverified.stale_keys_of, ..refuse(unverified.fault) }
    })?;
    // Whoever it names: were only the known remembered, the second try would tell them by its speed.
    cache.remember(tag, verified, trust, now);
    Ok(verified)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Bound,
    Loose,
}

/// Whether the token is bound to this connection's certificate. A bound token without it is
/// refused, whatever the identity's own rule.
fn link(token: Option<&Verified>, peer: Option<&PeerCertificate>) -> Result<Link, TokenFault> {
    match (token.and_then(|token| token.bound_to), peer) {
        (None, _) => Ok(Link::Loose),
        (Some(_), None) => Err(TokenFault::CertificateBinding),
        (Some(bound_to), Some(peer)) => verify_slices_are_equal(&bound_to, peer.sha256())
            .map(|()| Link::Bound)
            .map_err(|_| TokenFault::CertificateBinding),
    }
}

/// Whether everything that is registered for the identity was presented.
fn suffices(needs: Needs, proof: Proof, holder: Holder) -> bool {
    let certificate = !needs.certificate | matches!(holder, Holder::One(_));
    let token = match needs.token {
        None => true,
        Some(Binding::Bearer) => proof != Proof::Certificate,
        Some(Binding::Certificate) => proof == Proof::BoundToken,
    };
    certificate & token
}
