//! Credentials in the spellings that go over the wire.
use sekisho::mock::Call;

use super::put;

/// A call with the token as the password of Basic credentials.
pub fn basic(mut call: Call, user: &str, token: &str) -> Call {
    let credentials = base64(format!("{user}:{token}").as_bytes());
    put(&mut call, "authorization", &format!("Basic {credentials}"));
    call
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            let character = char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]);
            out.push(if place <= group.len() { character } else { '=' });
        }
    }
    out
}

/// RFC 4648 section 5, without padding.
pub fn base64url(bytes: &[u8]) -> String {
    base64(bytes).replace('+', "-").replace('/', "_").replace('=', "")
}
