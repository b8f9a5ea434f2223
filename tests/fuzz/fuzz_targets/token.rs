//! ACC-1: bytes that call themselves a token, a key set or a certificate are refused or read, and
//! nothing else happens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::identity::{KeySet, PeerCertificate, parse_token};

/// `header.payload.signature` from plain parts, since few random bytes are base64url of anything.
fn encoded(parts: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = Vec::new();
    for (n, part) in parts.split(|b| *b == 0).enumerate() {
        if n > 0 {
            token.push(b'.');
        }
        for three in part.chunks(3) {
            let word = three.iter().fold(0_u32, |word, b| word << 8 | u32::from(*b))
                << (24 - 8 * three.len());
            token.extend((0..=three.len()).map(|n| DIGITS[(word >> (18 - 6 * n) & 63) as usize]));
        }
    }
    token
}

fuzz_target!(|bytes: &[u8]| {
    for token in [bytes.to_vec(), encoded(bytes)] {
        if parse_token(&token, 4_096).is_ok() {
            assert!(token.len() <= 4_096);
            assert_eq!(token.iter().filter(|b| **b == b'.').count(), 2);
        }
    }
    let _ = KeySet::parse(bytes);
    let _ = PeerCertificate::parse(bytes);
});
