//! The envelope: header, no wrapped key, nonce, content, tag.
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{HostKey, Recipient};
use crate::base::{Secret, base64url};

/// Random bytes that sealing takes: a key that is used once, and a nonce.
pub const RANDOM_BYTES: usize = 32 + NONCE;
/// The most that may be sealed.
pub const PLAIN_BYTES_MAX: usize = 64 << 10;
const NONCE: usize = 12;
const TAG: usize = 16;
const ALG: &str = "ECDH-ES";
const ENC: &str = "A256GCM";

/// Why something can't be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealFault {
    /// Longer than anything that is sealed.
    TooLarge,
    /// Not five parts of base64url with a header of ours.
    Malformed,
    /// Sealed in another way than this one.
    Algorithm,
    /// Sealed to another host's key.
    OtherHost,
    /// A key that is no key.
    Key,
    /// Changed after it was sealed.
    Forged,
}

impl fmt::Display for SealFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "it is larger than 64 KiB",
            Self::Malformed => "it is broken, or cut short",
            Self::Algorithm => "it is not sealed with ECDH-ES over X25519 and A256GCM",
            Self::OtherHost => "it is sealed to another host's key",
            Self::Key => "it names a key that is none",
            Self::Forged => "it was changed after it was sealed",
        })
    }
}

impl std::error::Error for SealFault {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    enc: String,
    kid: String,
    epk: PublicJwk,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicJwk {
    kty: String,
    crv: String,
    x: String,
}

/// Whether bytes look like something sealed, rather than PEM.
#[must_use]
pub fn is_sealed(bytes: &[u8]) -> bool {
    // `{"` in base64url, as every JOSE header begins.
    bytes.trim_ascii_start().starts_with(b"eyJ")
}

/// Seals bytes so that one host can open them: one line of text. `random` is used once.
///
/// # Errors
/// More than [`PLAIN_BYTES_MAX`], or a recipient whose key is none.
pub fn seal(
    plain: &[u8],
    to: &Recipient,
    random: &Zeroizing<[u8; RANDOM_BYTES]>,
) -> Result<String, SealFault> {
    if plain.len() > PLAIN_BYTES_MAX {
        return Err(SealFault::TooLarge);
    }
    let (once, nonce) = random.split_first_chunk::<32>().ok_or(SealFault::Key)?;
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_length| SealFault::Key)?;
    let once = HostKey::new(Secret::new(*once)).ok_or(SealFault::Key)?;
    let header = Header {
        alg: ALG.to_owned(),
        enc: ENC.to_owned(),
        kid: to.id(),
        epk: PublicJwk {
            kty: "OKP".to_owned(),
            crv: "X25519".to_owned(),
            x: base64url::encode(once.public().bytes()),
        },
    };
    let header = serde_json::to_vec(&header).map_err(|_never| SealFault::Malformed)?;
    let header = base64url::encode(&header);
    let key = content_key(&once.agree(to)?)?;
    let mut content = Zeroizing::new(plain.to_vec());
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header.as_bytes()),
            &mut content,
        )
        .map_err(|_unspecified| SealFault::Key)?;
    let [nonce, content, tag] = [&nonce, content.as_slice(), tag.as_ref()].map(base64url::encode);
    Ok(format!("{header}..{nonce}.{content}.{tag}\n"))
}

/// Opens what was sealed to this host.
///
/// # Errors
/// See [`SealFault`].
pub fn open(sealed: &[u8], with: &HostKey) -> Result<Zeroizing<Vec<u8>>, SealFault> {
    // Four thirds for the alphabet, and the header's few hundred bytes.
    if sealed.len() > PLAIN_BYTES_MAX / 3 * 4 + 2_048 {
        return Err(SealFault::TooLarge);
    }
    let parts: Vec<&[u8]> = sealed.trim_ascii().split(|byte| *byte == b'.').collect();
    let [header, wrapped, nonce, content, tag] = parts.as_slice() else {
        return Err(SealFault::Malformed);
    };
    let decoded = |part: &[u8]| base64url::decode(part).ok_or(SealFault::Malformed);
    let said: Header =
        serde_json::from_slice(&decoded(header)?).map_err(|_error| SealFault::Malformed)?;
    if said.alg != ALG || said.enc != ENC || !wrapped.is_empty() {
        return Err(SealFault::Algorithm);
    }
    if said.epk.kty != "OKP" || said.epk.crv != "X25519" {
        return Err(SealFault::Algorithm);
    }
    if said.kid != with.public().id() {
        return Err(SealFault::OtherHost);
    }
    let once = base64url::decode_array(said.epk.x.as_bytes()).ok_or(SealFault::Malformed)?;
    let nonce: [u8; NONCE] = base64url::decode_array(nonce).ok_or(SealFault::Malformed)?;
    let tag: [u8; TAG] = base64url::decode_array(tag).ok_or(SealFault::Malformed)?;
    let mut content = Zeroizing::new(decoded(content)?);
    content.extend_from_slice(&tag);
    let key = content_key(&with.agree(&Recipient::new(once))?)?;
    let plain = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(*header), &mut content)
        .map_err(|_unspecified| SealFault::Forged)?
        .len();
    content.truncate(plain);
    Ok(content)
}

fn content_key(shared: &Zeroizing<[u8; 32]>) -> Result<LessSafeKey, SealFault> {
    let key = Zeroizing::new(derive(shared.as_slice(), ENC, [b"", b""], 256));
    let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_rejected| SealFault::Key)?;
    Ok(LessSafeKey::new(key))
}

/// Concat KDF with SHA-256, one round (RFC 7518 §4.6.2): at most 256 bits.
pub(super) fn derive(shared: &[u8], algorithm: &str, parties: [&[u8]; 2], bits: u32) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&1_u32.to_be_bytes());
    hash.update(shared);
    for part in [algorithm.as_bytes()].into_iter().chain(parties) {
        // Bounded far below 2³² by the callers.
        hash.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.update(&bits.to_be_bytes());
    let bytes = usize::try_from(bits / 8).unwrap_or(0);
    hash.finish().as_ref().get(..bytes).unwrap_or_default().to_vec()
}
