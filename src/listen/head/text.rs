//! The character classes and small grammars of request heads (RFC 9110 §5, RFC 9112), and how far
//! they reach in a slice. Never sees: what the bytes are for.
use std::net::Ipv6Addr;

/// The fields that say where a message goes and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    ContentLength,
    TransferEncoding,
    Other,
}

impl Field {
    #[inline]
    pub(super) fn of(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => Self::Host,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::ContentLength,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }
}

/// Up to `N` bytes kept inline; what does not fit is dropped and remembered as too long.
#[derive(Clone)]
pub(super) struct Bytes<const N: usize> {
    held: [u8; N],
    length: usize,
    overflow: bool,
}

impl<const N: usize> Bytes<N> {
    pub(super) const fn new() -> Self {
        Self { held: [0; N], length: 0, overflow: false }
    }

    pub(super) const fn clear(&mut self) {
        (self.length, self.overflow) = (0, false);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = self.held.get_mut(self.length..).unwrap_or_default();
        let fits = bytes.len().min(room.len());
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.length += fits;
        self.overflow |= fits < bytes.len();
    }

    /// All bytes that were pushed, if they fit.
    pub(super) fn get(&self) -> Option<&[u8]> {
        (!self.overflow).then(|| self.start())
    }

    /// The bytes that fit.
    pub(super) fn start(&self) -> &[u8] {
        self.held.get(..self.length).unwrap_or_default()
    }
}

/// `token` (RFC 9110 §5.6.2), by byte.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(
            clippy::indexing_slicing,
            clippy::cast_possible_truncation,
            reason = "const; below 256"
        )]
        {
            let b = byte as u8;
            table[byte] = b.is_ascii_alphanumeric()
                || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        }
        byte += 1;
    }
    table
};

#[inline]
fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// How many bytes of a token come first.
#[inline]
pub(super) fn token_len(bytes: &[u8]) -> usize {
    run_len(bytes, |word| HIGH & !plain_name(word), is_token)
}

/// How many bytes of field value come first: anything but control bytes other than HTAB.
#[inline]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    run_len(
        bytes,
        |word| below(word, b' ') | equal(word, 0x7f),
        |b| b >= b' ' && b != 0x7f || b == b'\t',
    )
}

/// How many bytes of visible ASCII come first.
#[inline]
pub(super) fn visible_len(bytes: &[u8]) -> usize {
    run_len(
        bytes,
        |word| below(word, b'!') | equal(word, 0x7f) | (word & HIGH),
        |b| b.is_ascii_graphic(),
    )
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the first byte below `limit` (at most 128) with its high bit; may mark later ones wrongly.
#[inline]
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGH
}

/// Marks the first byte equal to `byte` with its high bit; may mark later ones wrongly.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// Marks the letters and hyphens, of which nearly all field names consist, exactly.
#[inline]
const fn plain_name(word: u64) -> u64 {
    let low = ONES * 0x7f;
    let lower = (word | (ONES * 0x20)) & low;
    let from_a = lower + ONES * (0x80 - b'a' as u64);
    let beyond_z = lower + ONES * (0x7f - b'z' as u64);
    let no_hyphen = ((word ^ (ONES * b'-' as u64)) & low) + low;
    ((from_a & !beyond_z) | !no_hyphen) & !word & HIGH
}

/// How many bytes come first that `holds`; `suspects` marks the first of those that do not, and
/// perhaps others, in eight bytes at once.
#[inline]
fn run_len(bytes: &[u8], suspects: impl Fn(u64) -> u64, holds: impl Fn(u8) -> bool) -> usize {
    let mut done = 0;
    while let Some((eight, _)) = bytes.get(done..).and_then(|rest| rest.split_first_chunk::<8>()) {
        let marks = suspects(u64::from_le_bytes(*eight));
        if marks == 0 {
            done += 8;
            continue;
        }
        done += (marks.trailing_zeros() / 8) as usize;
        if !bytes.get(done).is_some_and(|b| holds(*b)) {
            return done;
        }
        done += 1;
    }
    let tail = bytes.get(done..).unwrap_or_default();
    done + tail.iter().position(|b| !holds(*b)).unwrap_or(tail.len())
}

/// Without the white space around a field value.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A number in decimal digits, without sign or leading zeros.
pub(super) fn plain_number(digits: &[u8]) -> Option<u64> {
    match digits {
        [] | [b'0', _, ..] => None,
        digits => digits.iter().try_fold(0_u64, |sum, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
            sum.checked_mul(10)?.checked_add(digit.into())
        }),
    }
}

/// `host[:port]`: a name of letters, digits, `-`, `.` and `_`, or an IP address. Percent escapes and
/// sub-delimiters, which RFC 3986 has too, stand in no name that a certificate can carry.
pub(super) fn is_host(text: &[u8]) -> bool {
    let is_port = |port: &[u8]| {
        (1..=5).contains(&port.len())
            && plain_number(port).is_some_and(|n| (1..=65_535).contains(&n))
    };
    if let [b'[', inside @ ..] = text {
        let Some(end) = inside.iter().position(|b| *b == b']') else { return false };
        let (addr, after) = inside.split_at(end);
        let addr = std::str::from_utf8(addr).ok().and_then(|a| a.parse::<Ipv6Addr>().ok());
        return addr.is_some()
            && match after {
                [b']'] => true,
                [b']', b':', port @ ..] => is_port(port),
                _ => false,
            };
    }
    let end = text.iter().position(|b| !is_host_byte(*b)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    (1..=255).contains(&name.len())
        && match after {
            [] => true,
            [b':', port @ ..] => is_port(port),
            _ => false,
        }
}

#[inline]
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight bytes at once must say what one at a time says, wherever the byte in question stands.
    #[test]
    fn runs_of_eight_agree_with_single_bytes() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[place] = byte;
                let alike = |length: usize, holds: bool| {
                    assert_eq!(length, if holds { 20 } else { place }, "{byte:#x} at {place}");
                };
                let name = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                alike(token_len(&bytes), name);
                alike(visible_len(&bytes), (0x21..=0x7e).contains(&byte));
                alike(text_len(&bytes), byte == b'\t' || (byte >= 0x20 && byte != 0x7f));
            }
        }
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(plain_number(b"0"), Some(0));
        assert_eq!(plain_number(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "1 ", "18446744073709551616", "1a", "/", ":"] {
            assert_eq!(plain_number(bad.as_bytes()), None, "{bad}");
        }
    }
}
