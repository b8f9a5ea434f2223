//! SHA-256 of keys and certificates, as people write it down.
use std::borrow::Cow;

use super::value::{Misfit, TextValue};
use crate::base::ControlId;

/// SHA-256 of a public key (SPKI): `sha256/` and base64, as curl and HPKP write it, or 64
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPin(pub [u8; 32]);

impl TextValue for KeyPin {
    const FORMAT: &'static str = "sekisho-spki-sha256";
    const WHAT: &'static str =
        "a public key's SHA-256 (sha256/ and base64, or 64 hexadecimal digits)";
    const EXAMPLE: &'static str = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const PATTERN: &'static str = "^(sha256/[A-Za-z0-9+/]{43}=|[0-9A-Fa-f]{64})$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        sha256(text).map(Self).ok_or_else(|| Self::misfit(text).under(ControlId::Acc1))
    }

    fn to_text(&self) -> Cow<'_, str> {
        hex(&self.0).into()
    }
}

/// SHA-256 of a whole certificate (DER): the same spellings, and what `openssl x509 -fingerprint
/// -sha256` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificatePin(pub [u8; 32]);

impl TextValue for CertificatePin {
    const FORMAT: &'static str = "sekisho-certificate-sha256";
    const WHAT: &'static str = "a certificate's SHA-256 (sha256/ and base64, or 64 hexadecimal digits, with colons or not)";
    const EXAMPLE: &'static str = KeyPin::EXAMPLE;
    const PATTERN: &'static str =
        "^(sha256/[A-Za-z0-9+/]{43}=|[0-9A-Fa-f]{64}|([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2})$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let pairs = || text.split(':').all(|pair| pair.len() == 2).then(|| text.replace(':', ""));
        sha256(text)
            .or_else(|| from_hex(&pairs()?))
            .map(Self)
            .ok_or_else(|| Self::misfit(text).under(ControlId::Tls2))
    }

    fn to_text(&self) -> Cow<'_, str> {
        hex(&self.0).into()
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    match text.strip_prefix("sha256/") {
        Some(base64) => from_base64(base64),
        None => from_hex(text),
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Vec<u8> = digits?
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    if text.len() == 64 { bytes.try_into().ok() } else { None }
}

/// 43 base64 digits and one `=`: 32 bytes and two bits that must be zero.
fn from_base64(text: &str) -> Option<[u8; 32]> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43)?;
    let (mut bits, mut held, mut out) = (0_u32, 0_u32, Vec::with_capacity(32));
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|&letter| letter == digit)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    if bits & ((1 << held) - 1) == 0 { out.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T: TextValue>(text: &str) -> Option<String> {
        T::parse_text(text).ok().map(|value| value.to_text().into_owned())
    }

    #[test]
    fn pins_are_read_in_both_spellings() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let printed = "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:\
                       A4:95:99:1B:78:52:B8:55";
        assert_eq!(CertificatePin::parse_text(printed).unwrap().to_text(), empty);
        assert!(reads::<CertificatePin>(":").is_none() && reads::<KeyPin>(printed).is_none());
        assert_eq!(reads::<KeyPin>(empty).unwrap(), empty);
        assert_eq!(reads::<KeyPin>(KeyPin::EXAMPLE).unwrap(), empty);
        for bad in [
            "sha256/abc",
            empty.trim_start_matches('e'),
            "sha1/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
        ] {
            assert!(KeyPin::parse_text(bad).is_err(), "{bad}");
        }
    }
}
