//! Base64url without padding, in its one canonical spelling (RFC 7515 §2, RFC 4648 §3.5).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The value of each character, or 255.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut place = 0_u8;
    let mut rest: &[u8] = ALPHABET;
    while let Some((character, after)) = rest.split_first() {
        let (_, at) = values.split_at_mut(*character as usize);
        if let Some(value) = at.first_mut() {
            *value = place;
        }
        place += 1;
        rest = after;
    }
    values
};

/// The bytes that `text` spells; nothing if it holds another character, padding, or bits that
/// belong to no byte. Were those let through, one token would have several spellings, and whatever
/// is remembered about one (a revocation, a cached verdict) would not hold for the others.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for character in group {
            let value = VALUES.get(usize::from(*character)).copied().filter(|v| *v < 64)?;
            bits = (bits << 6) | u32::from(value);
        }
        let [_, a, b, c] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match (group.len(), b, c) {
            (4, _, _) => out.extend([a, b, c]),
            (3, _, 0) => out.extend([a, b]),
            (2, 0, 0) => out.push(a),
            _ => return None,
        }
    }
    Some(out)
}

/// Exactly `N` bytes, spelt canonically.
pub(crate) fn decode_array<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

/// How `bytes` are spelt.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        for (to, from) in padded.iter_mut().skip(1).zip(group) {
            *to = *from;
        }
        let bits = u32::from_be_bytes(padded);
        for place in 0..=group.len() {
            let six = usize::try_from((bits >> (18 - 6 * place)) & 63).unwrap_or(0);
            out.push(char::from(ALPHABET.get(six).copied().unwrap_or(b'A')));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_spelling_is_read() {
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
        assert_eq!(decode(b"Zg").as_deref(), Some(&b"f"[..]));
        assert_eq!(decode(b"Zm8").as_deref(), Some(&b"fo"[..]));
        assert_eq!(decode(b"-_-_").as_deref(), Some(&[0xfb, 0xff, 0xbf][..]));
        for other in ["Z", "Zh", "Zm9", "Zg==", "Zm8=", "Zm9v\n", "+/+/", "Zm9vZ", "Zé"] {
            assert_eq!(decode(other.as_bytes()), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_that_is_read_is_the_only_one(text in "[A-Za-z0-9_-]{0,40}") {
            if let Some(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }

        #[test]
        fn what_was_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let text = encode(&bytes);
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}
