//! Whether a token is genuine and meant for this gateway: key, signature, claims. Given keys and a
//! moment; fetches nothing.
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::keys::{Key, KeySets};
use super::registry::{ClaimValue, Issuer, IssuerIx, NotBefore, StrongLogin, Trust};
use super::token::{Algorithm, Token};
use crate::base::{HashKey, IdentityIx, Moment, TokenFault, base64url};

/// Dates beyond this are no dates, and floating point would no longer tell seconds apart.
const DATE_MAX: u64 = 1 << 53;

/// What a genuine token said. Everything that can change while it is remembered (the time, the
/// connection, the identity's standing) is judged afterwards, for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) issuer: IssuerIx,
    /// Nobody, if the subject is unknown or the token is for another environment.
    pub(super) identity: Option<IdentityIx>,
    /// The certificate it is bound to (RFC 8705 §3.1).
    pub(super) bound_to: Option<[u8; 32]>,
    /// First second in which it counts, skew allowed for.
    pub(super) not_before: u64,
    /// First second in which it no longer counts, skew allowed for.
    pub(super) expires: u64,
    /// Version of the key set that verified it.
    pub(super) key_set: [u8; 16],
    /// Stands for the key itself.
    pub(super) key: u64,
    /// Keyed hash of its `jti`, if it has one.
    pub(super) id: Option<u64>,
    /// When somebody logged in for it with more than one factor, in seconds since 1970; zero if
    /// that is not said.
    pub(super) strong_at: u64,
}

/// A fault, and whose keys may be out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unverified {
    pub(super) fault: TokenFault,
    pub(super) stale_keys_of: Option<IssuerIx>,
}

impl From<TokenFault> for Unverified {
    fn from(fault: TokenFault) -> Self {
        Self { fault, stale_keys_of: None }
    }
}

/// Key, then signature, then claims: nothing a token says is believed before its signature, except
/// which issuer's key to try.
pub(super) fn verify(
    token: &Token<'_>,
    trust: &Trust,
    keys: &KeySets,
    ids: &HashKey,
    now: Moment,
) -> Result<Verified, Unverified> {
    let iss = text(&token.claims, "iss")?;
    let (place, issuer) = trust.issuer_of(iss).ok_or(TokenFault::Issuer)?;
    if !issuer.spec.algorithms.contains(&token.algorithm) {
        return Err(TokenFault::Algorithm.into());
    }
    let stale = |fault| Unverified { fault, stale_keys_of: Some(place) };
    let set = keys.of(place, iss).ok_or(stale(TokenFault::KeysUnavailable))?;
    let key = set.key(token.kid.as_deref()).ok_or(stale(TokenFault::UnknownKey))?;
    signature(token, key)?;

    let claims = &token.claims;
    audience(claims, &issuer.spec.audiences)?;
    let (not_before, expires) = dates(claims, issuer)?;
    for (name, expected) in &issuer.spec.required_claims {
        if !claims.get(name).is_some_and(|found| has_value(found, expected)) {
            return Err(TokenFault::Claim.into());
        }
    }
    let subject = text(claims, &issuer.spec.subject_claim)?;
    if subject.is_empty() || subject.len() > Trust::SUBJECT_MAX {
        return Err(TokenFault::Claim.into());
    }
    let at_home = match &issuer.spec.environment_claim {
        None => true,
        Some(claim) => text(claims, claim)? == issuer.spec.environment.as_str(),
    };
    let verified = Verified {
        issuer: place,
        identity: issuer.identity_of(subject).filter(|_| at_home),
        bound_to: binding(claims)?,
        not_before,
        expires,
        key_set: set.version(),
        key: key.mark,
        id: id(claims)?.map(|id| ids.hash(&token_digest(id))),
        strong_at: strong_at(
            claims,
            &trust.strong,
            now.unix_secs().saturating_add(issuer.skew_secs),
        ),
    };
    verified.in_time(now)?;
    Ok(verified)
}

impl Verified {
    /// RFC 7519 §4.1.4 and §4.1.5: valid from `nbf`, and no longer at `exp`.
    pub(super) const fn in_time(&self, now: Moment) -> Result<(), TokenFault> {
        if now.unix_secs() >= self.expires {
            Err(TokenFault::Expired)
        } else if now.unix_secs() < self.not_before {
            Err(TokenFault::NotYetValid)
        } else {
            Ok(())
        }
    }
}

fn signature(token: &Token<'_>, key: &Key) -> Result<(), TokenFault> {
    // The header chooses among what the key is for; it can't turn one kind of key into another.
    if !key.fits(token.algorithm) {
        return Err(TokenFault::Algorithm);
    }
    if is_degenerate(token.algorithm, &token.signature) {
        return Err(TokenFault::Signature);
    }
    let algorithm = match token.algorithm {
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
    };
    match jsonwebtoken::crypto::verify(token.signature_text, token.signed, &key.decoding, algorithm)
    {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(TokenFault::Signature),
    }
}

/// An ECDSA signature whose r or s is zero, or that has another length than two numbers. A library
/// that forgets the range check accepts zeros for every message (CVE-2022-21449); ours does not
/// forget it, and the next one will not get the chance.
fn is_degenerate(algorithm: Algorithm, signature: &[u8]) -> bool {
    let half = match algorithm {
        Algorithm::Es256 => 32,
        Algorithm::Es384 => 48,
        Algorithm::EdDsa
        | Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => return false,
    };
    let is_zero = |number: &[u8]| number.iter().all(|byte| *byte == 0);
    match signature.split_at_checked(half) {
        Some((r, s)) => s.len() != half || is_zero(r) || is_zero(s),
        None => true,
    }
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<&'c str, TokenFault> {
    claims.get(name).and_then(Value::as_str).ok_or(TokenFault::Claim)
}

/// What stands for a token's id where it is denied. The text itself is kept nowhere.
#[must_use]
pub fn token_digest(id: &str) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, id.as_bytes()).as_ref()) {
        *to = *from;
    }
    out
}

/// `jti` is a text (RFC 7519 §4.1.7); as anything else it could not be denied.
fn id(claims: &Map<String, Value>) -> Result<Option<&str>, TokenFault> {
    claims.get("jti").map(|id| id.as_str().ok_or(TokenFault::Claim)).transpose()
}

/// `aud` is one name or a list of names (RFC 7519 §4.1.3); one of them has to be ours.
fn audience(claims: &Map<String, Value>, ours: &[String]) -> Result<(), TokenFault> {
    let named = match claims.get("aud") {
        Some(Value::String(one)) => ours.contains(one),
        Some(Value::Array(several)) if several.iter().all(Value::is_string) => {
            several.iter().filter_map(Value::as_str).any(|one| ours.iter().any(|our| our == one))
        }
        Some(_) | None => return Err(TokenFault::Claim),
    };
    if named { Ok(()) } else { Err(TokenFault::Audience) }
}

/// The first second of validity and the first after it, both widened by the allowed skew. `iat`, if
/// given, must not lie ahead either: a token from the future was made by a clock nobody can trust.
fn dates(claims: &Map<String, Value>, issuer: &Issuer) -> Result<(u64, u64), TokenFault> {
    let optional = |name| match claims.get(name) {
        None => Ok(None),
        Some(value) => date(value, Round::Up).map(Some),
    };
    let expires = claims.get("exp").ok_or(TokenFault::Claim)?;
    let expires = date(expires, Round::Down)?;
    let not_before = match (optional("nbf")?, issuer.spec.not_before) {
        (Some(date), _) => date,
        (None, NotBefore::Optional) => 0,
        (None, NotBefore::Required) => return Err(TokenFault::Claim),
    };
    let not_before = not_before.max(optional("iat")?.unwrap_or(0));
    let skew = issuer.skew_secs;
    Ok((not_before.saturating_sub(skew), expires.saturating_add(skew)))
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// A `NumericDate`: seconds, possibly with a fraction (RFC 7519 §2), rounded so that it never
/// widens the time in which a token counts.
fn date(value: &Value, round: Round) -> Result<u64, TokenFault> {
    if let Some(seconds) = value.as_u64() {
        return Some(seconds).filter(|s| *s <= DATE_MAX).ok_or(TokenFault::Claim);
    }
    let fractional = value.as_f64().ok_or(TokenFault::Claim)?;
    let whole = match round {
        Round::Up => fractional.ceil(),
        Round::Down => fractional.floor(),
    };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "2^53 is exact, and the value is whole and within 0 and it"
    )]
    if (0.0..=DATE_MAX as f64).contains(&whole) { Ok(whole as u64) } else { Err(TokenFault::Claim) }
}

fn has_value(found: &Value, expected: &ClaimValue) -> bool {
    match expected {
        ClaimValue::Text(text) => found.as_str() == Some(text),
        ClaimValue::Number(number) => found.as_i64() == Some(*number),
        ClaimValue::Flag(flag) => found.as_bool() == Some(*flag),
    }
}

/// Whom a token claims to be for, before anything is proved. For counting failures only.
pub(super) fn claimed(token: &Token<'_>, trust: &Trust) -> Option<IdentityIx> {
    let (_place, issuer) = trust.issuer_of(text(&token.claims, "iss").ok()?)?;
    issuer.identity_of(text(&token.claims, &issuer.spec.subject_claim).ok()?)
}

/// `auth_time` of a login that counts for a strong one. One that is yet to come would count for longer
/// than any other, so it counts for nothing.
fn strong_at(claims: &Map<String, Value>, strong: &StrongLogin, latest: u64) -> u64 {
    let said = |words: &[String], word: &Value| {
        word.as_str().is_some_and(|word| words.iter().any(|known| known == word))
    };
    let methods = claims.get("amr").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let by_method = methods.iter().any(|method| said(&strong.methods, method));
    let by_class = claims.get("acr").is_some_and(|class| said(&strong.classes, class));
    let at = claims.get("auth_time").and_then(|at| date(at, Round::Down).ok());
    at.filter(|at| (by_method || by_class) && *at <= latest).unwrap_or(0)
}

/// The certificate a token is bound to (`cnf`, RFC 7800 §3.1). A confirmation of another kind, such
/// as a `DPoP` key, is a proof that is not asked for here, and a token is never taken for less bound
/// than its issuer made it.
fn binding(claims: &Map<String, Value>) -> Result<Option<[u8; 32]>, TokenFault> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    confirmation
        .as_object()
        .filter(|members| members.len() == 1)
        .and_then(|members| members.get("x5t#S256"))
        .and_then(Value::as_str)
        .and_then(|thumbprint| base64url::decode_array(thumbprint.as_bytes()))
        .map(Some)
        .ok_or(TokenFault::CertificateBinding)
}
