//! Private keys of 32 bytes as PEM files (RFC 8410): what `openssl genpkey` writes, and nothing else.
use zeroize::Zeroizing;

use super::base64url;
use super::pii::{Secret, Use};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Before the key itself: a PKCS#8 sequence, version 0, the algorithm, an octet string in another.
const HEAD: usize = 16;

/// What a key of 32 bytes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawKind {
    /// Signs.
    Ed25519,
    /// Agrees on keys.
    X25519,
}

impl RawKind {
    const fn head(self) -> [u8; HEAD] {
        let algorithm = match self {
            Self::X25519 => 0x6e,
            Self::Ed25519 => 0x70,
        };
        [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, algorithm, 0x04,
            0x22, 0x04, 0x20,
        ]
    }

    /// The PEM file of a key.
    #[must_use]
    pub fn to_pem(self, key: &Secret<[u8; 32]>) -> Zeroizing<String> {
        let mut der = Zeroizing::new([0; HEAD + 32]);
        let head = self.head();
        for (to, from) in der.iter_mut().zip(head.iter().chain(key.reveal_for(Use::Forward))) {
            *to = *from;
        }
        // 48 bytes are 64 characters: one line, no padding.
        let line = Zeroizing::new(base64url::encode(der.as_slice()));
        let line = Zeroizing::new(line.replace('-', "+"));
        let line = Zeroizing::new(line.replace('_', "/"));
        Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", line.as_str()))
    }

    /// The key in a PEM file; none if it holds anything else, or a key of another kind.
    #[must_use]
    pub fn of_pem(self, pem: &[u8]) -> Option<Secret<[u8; 32]>> {
        let text = std::str::from_utf8(pem).ok()?.trim_ascii();
        let line = text.strip_prefix(BEGIN)?.strip_suffix(END)?.trim_ascii();
        if line.bytes().any(|byte| byte == b'-' || byte == b'_') {
            return None;
        }
        let line = Zeroizing::new(line.replace('+', "-"));
        let line = Zeroizing::new(line.replace('/', "_"));
        let der = Zeroizing::new(base64url::decode(line.as_bytes())?);
        let key: [u8; 32] = der.strip_prefix(&self.head())?.try_into().ok()?;
        Some(Secret::new(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_way_there_and_back() {
        let key = Secret::new([0xfb; 32]);
        for kind in [RawKind::Ed25519, RawKind::X25519] {
            let pem = kind.to_pem(&key);
            assert_eq!(pem.lines().count(), 3);
            let read = kind.of_pem(pem.as_bytes()).unwrap();
            assert_eq!(read.reveal_for(Use::Verify), key.reveal_for(Use::Verify));
            let torn = pem.get(..pem.len() / 2).unwrap();
            for bad in [torn, "", &pem.replace("PRIVATE", "PUBLIC"), &pem.replace('/', "_")] {
                assert!(kind.of_pem(bad.as_bytes()).is_none(), "{bad}");
            }
        }
        assert!(RawKind::X25519.of_pem(RawKind::Ed25519.to_pem(&key).as_bytes()).is_none());
    }
}
