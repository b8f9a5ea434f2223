//! An issuer's public keys, read from a JSON Web Key Set (RFC 7517).
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::registry::IssuerIx;
use super::{Algorithm, json};
use crate::base::{HashKey, base64url};

/// Which algorithms a key can be used with. A key of one kind is never tried with another's
/// algorithm (RFC 8725 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

impl KeyKind {
    const fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Es256 => matches!(self, Self::P256),
            Algorithm::Es384 => matches!(self, Self::P384),
            Algorithm::EdDsa => matches!(self, Self::Ed25519),
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self, Self::Rsa),
        }
    }
}

/// One public key.
pub(super) struct Key {
    kid: Option<Box<str>>,
    kind: KeyKind,
    /// The only algorithm the issuer means the key for, if it says so.
    algorithm: Option<Algorithm>,
    pub(super) decoding: DecodingKey,
    /// Stands for the key itself, whatever it is called.
    pub(super) mark: u64,
}

impl Key {
    /// Whether the key may check a signature of this algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

/// The keys of one issuer.
pub struct KeySet {
    keys: Vec<Key>,
    version: [u8; 16],
    text: Box<str>,
}

/// Why a key set is refused as a whole. Keys for other uses, or of kinds that are not known, are
/// passed over instead (RFC 7517 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetFault {
    /// Longer than 256 KiB.
    TooLarge,
    /// No JSON object with a `keys` array, or a member twice.
    Form,
    /// More than 64 keys.
    TooManyKeys,
    /// A symmetric key: whoever can read the set could sign with it.
    Symmetric,
    /// A private key: whoever can read the set could sign with it.
    Private,
    /// An RSA key under 2,048 or over 8,192 bits, or with an unusable exponent.
    WeakRsa,
    /// A key whose members are missing, mistyped, or no point of its curve.
    BrokenKey,
    /// Two keys have one `kid`.
    DuplicateKid,
    /// A key without `kid` beside others: no token could choose it.
    NamelessKey,
    /// No key that could check a signature.
    NoKey,
}

impl KeySetFault {
    /// What is wrong and what would be right, for configuration errors and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "the key set is longer than 256 KiB",
            Self::Form => "it is no JWK set: {\"keys\": [...]}, no member twice",
            Self::TooManyKeys => "it holds more than 64 keys",
            Self::Symmetric => "it publishes a symmetric key (kty oct); replace that key",
            Self::Private => "it publishes a private key (member d); replace that key",
            Self::WeakRsa => "an RSA key has under 2048 or over 8192 bits or an unusable exponent",
            Self::BrokenKey => "a key's members are missing, mistyped or no point of its curve",
            Self::DuplicateKid => "two keys have the same kid",
            Self::NamelessKey => "a key without kid stands beside others; give it one",
            Self::NoKey => "it holds no key that could check a signature",
        }
    }
}

impl fmt::Display for KeySetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for KeySetFault {}

impl KeySet {
    pub const BYTES_MAX: usize = 256 * 1024;
    pub const KEYS_MAX: usize = 64;

    /// Reads a JWK set.
    ///
    /// # Errors
    /// If any key in it is dangerous or ambiguous, or none is usable.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetFault> {
        if text.len() > Self::BYTES_MAX {
            return Err(KeySetFault::TooLarge);
        }
        let document = json::object(text).map_err(|_| KeySetFault::Form)?;
        let Some(Value::Array(listed)) = document.get("keys") else {
            return Err(KeySetFault::Form);
        };
        if listed.len() > Self::KEYS_MAX {
            return Err(KeySetFault::TooManyKeys);
        }
        let mut keys: Vec<Key> = Vec::new();
        for jwk in listed {
            let Value::Object(jwk) = jwk else { return Err(KeySetFault::Form) };
            let Some(key) = key(jwk)? else { continue };
            if key.kid.is_some() && keys.iter().any(|other| other.kid == key.kid) {
                return Err(KeySetFault::DuplicateKid);
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeySetFault::NoKey);
        }
        if keys.len() > 1 && keys.iter().any(|key| key.kid.is_none()) {
            return Err(KeySetFault::NamelessKey);
        }
        let published = std::str::from_utf8(text).map_err(|_| KeySetFault::Form)?;
        let mut version = [0; 16];
        for (to, from) in version.iter_mut().zip(digest(&SHA256, text).as_ref()) {
            *to = *from;
        }
        Ok(Self { keys, version, text: published.into() })
    }

    /// The key with this name; for a token without `kid`, the set's nameless only key.
    pub(super) fn key(&self, kid: Option<&str>) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid.as_deref() == kid)
    }

    /// Whether the key is in the set that signed what is remembered by its mark.
    pub(super) fn holds(&self, mark: u64) -> bool {
        self.keys.iter().any(|key| key.mark == mark)
    }

    /// Changes with the set's text, so that what was verified with other keys is verified again.
    pub(super) const fn version(&self) -> [u8; 16] {
        self.version
    }

    /// The set as it was read: public keys, or it would have been refused.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its keys; none is the nameless only key's.
    pub fn ids(&self) -> impl Iterator<Item = Option<&str>> {
        self.keys.iter().map(|key| key.kid.as_deref())
    }

    /// How many keys can check signatures.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without a usable key is refused.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// One entry of the set, or nothing if it is for another use.
fn key(jwk: &Map<String, Value>) -> Result<Option<Key>, KeySetFault> {
    let text = |name| match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(KeySetFault::BrokenKey),
    };
    let kty = text("kty")?.ok_or(KeySetFault::BrokenKey)?;
    if kty == "oct" || jwk.contains_key("k") {
        return Err(KeySetFault::Symmetric);
    }
    // `d` holds the private part of RSA, EC and OKP keys alike (RFC 7518 §6, RFC 8037 §2).
    if jwk.contains_key("d") {
        return Err(KeySetFault::Private);
    }
    if text("use")?.is_some_and(|purpose| purpose != "sig") || !may_verify(jwk)? {
        return Ok(None);
    }
    let algorithm = match text("alg")? {
        None => None,
        Some(name) => match Algorithm::parse(name) {
            None => return Ok(None),
            known => known,
        },
    };
    let member = |name| {
        text(name)?
            .and_then(|value| base64url::decode(value.as_bytes()))
            .ok_or(KeySetFault::BrokenKey)
    };
    let (kind, decoding) = match (kty, text("crv")?) {
        ("EC", Some("P-256")) => (KeyKind::P256, curve_point::<32>(&member("x")?, &member("y")?)?),
        ("EC", Some("P-384")) => (KeyKind::P384, curve_point::<48>(&member("x")?, &member("y")?)?),
        ("OKP", Some("Ed25519")) => {
            let x = member("x")?;
            ParsedPublicKey::new(&ED25519, &x).map_err(|_| KeySetFault::BrokenKey)?;
            (KeyKind::Ed25519, DecodingKey::from_ed_der(&x))
        }
        ("RSA", _) => (KeyKind::Rsa, rsa(&member("n")?, &member("e")?)?),
        _ => return Ok(None),
    };
    if algorithm.is_some_and(|only| !kind.fits(only)) {
        return Err(KeySetFault::BrokenKey);
    }
    let mark = mark(jwk);
    Ok(Some(Key { kid: text("kid")?.map(Box::from), kind, algorithm, decoding, mark }))
}

fn mark(jwk: &Map<String, Value>) -> u64 {
    let mut hasher = HashKey::new(*b"key of an issuer").hasher();
    for member in ["kty", "crv", "x", "y", "n", "e"] {
        hasher.write(jwk.get(member).and_then(Value::as_str).unwrap_or_default().as_bytes());
        hasher.write(&[0]);
    }
    hasher.finish()
}

/// `key_ops`, where present, has to allow verification (RFC 7517 §4.3).
fn may_verify(jwk: &Map<String, Value>) -> Result<bool, KeySetFault> {
    match jwk.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(uses)) => Ok(uses.iter().any(|one| one == "verify")),
        Some(_) => Err(KeySetFault::BrokenKey),
    }
}

/// The uncompressed point of two coordinates of full length (RFC 7518 §6.2.1.2).
fn curve_point<const N: usize>(x: &[u8], y: &[u8]) -> Result<DecodingKey, KeySetFault> {
    if x.len() != N || y.len() != N {
        return Err(KeySetFault::BrokenKey);
    }
    let point = [&[4], x, y].concat();
    let scheme = if N == 32 { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P384_SHA384_FIXED };
    ParsedPublicKey::new(scheme, &point).map_err(|_| KeySetFault::BrokenKey)?;
    Ok(DecodingKey::from_ec_der(&point))
}

/// Two unsigned big-endian numbers without leading zeros (RFC 7518 §6.3.1, §2).
fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, KeySetFault> {
    let bits = match modulus.first() {
        None | Some(0) => return Err(KeySetFault::BrokenKey),
        Some(first) => modulus.len() * 8 - first.leading_zeros() as usize,
    };
    // With exponent 1 anybody can sign and an even one is no RSA key. Issuers use 65537; the
    // verifier would refuse more than 33 bits.
    let exponent_usable = match exponent {
        [] | [0, ..] => return Err(KeySetFault::BrokenKey),
        [only] => *only >= 3 && only % 2 == 1,
        [.., last] => last % 2 == 1 && exponent.len() <= 4,
    };
    if !(2048..=8192).contains(&bits) || !exponent_usable {
        return Err(KeySetFault::WeakRsa);
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

/// The keys of all issuers at one moment, made by the shell that fetches them.
///
/// They are found by `iss`, not by place: a snapshot that is being replaced may be read together
/// with the keys of its successor, and an issuer's tokens must never meet another issuer's keys.
#[derive(Clone, Debug, Default)]
pub struct KeySets {
    sets: Vec<(Arc<str>, Option<Arc<KeySet>>)>,
}

impl KeySets {
    /// `None` stands for an issuer whose keys could not be had yet.
    pub fn new(sets: impl IntoIterator<Item = (Arc<str>, Option<Arc<KeySet>>)>) -> Self {
        Self { sets: sets.into_iter().collect() }
    }

    /// Whether an issuer may have lost a key in what comes after: it has fewer, or others, or the first
    /// since none could be had, before which it had whichever. Where it has none there, nothing is known.
    pub fn may_lose(&self, after: &Self) -> bool {
        after.sets.iter().any(|(iss, next)| {
            let Some(next) = next else { return false };
            let set = self.sets.iter().find(|(of, _)| of == iss).and_then(|(_, set)| set.as_ref());
            set.is_none_or(|set| {
                !Arc::ptr_eq(set, next) && set.keys.iter().any(|key| !next.holds(key.mark))
            })
        })
    }

    /// The keys of an issuer. `place` is where it usually stands.
    pub(super) fn of(&self, place: IssuerIx, iss: &str) -> Option<&KeySet> {
        let usual = self.sets.get(usize::from(place.0)).filter(|(of, _)| **of == *iss);
        let (_, set) = usual.or_else(|| self.sets.iter().find(|(of, _)| **of == *iss))?;
        set.as_deref()
    }
}
