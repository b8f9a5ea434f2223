//! Bytes of paths and queries, and their percent escapes (RFC 3986 §2), read lazily: nothing is
//! copied, nothing is allocated.
use std::iter::Copied;
use std::slice::Iter;

use crate::base::PathFault;

/// The value of a hexadecimal digit.
pub const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A set of ASCII bytes.
#[derive(Clone, Copy, Debug)]
pub struct ByteSet(u128);

impl ByteSet {
    /// RFC 3986 §2.3: these never need an escape.
    pub const UNRESERVED: Self = Self(0)
        .with(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        .with(b"abcdefghijklmnopqrstuvwxyz")
        .with(b"0123456789-._~");

    /// This set and more bytes; those that are not ASCII are left out.
    pub const fn with(mut self, mut bytes: &[u8]) -> Self {
        while let [byte, rest @ ..] = bytes {
            if byte.is_ascii() {
                self.0 |= 1 << *byte;
            }
            bytes = rest;
        }
        self
    }

    pub const fn contains(self, byte: u8) -> bool {
        byte.is_ascii() && (self.0 >> byte) & 1 == 1
    }
}

/// Bytes with their escapes undone once. Whatever is no escape stays as it is, so that it can be
/// laid over itself to see what a second decoder would see.
#[derive(Clone, Debug)]
pub struct Unescape<I> {
    inner: I,
    /// Read ahead behind a percent sign that began no escape.
    held: [Option<u8>; 2],
}

impl<I: Iterator<Item = u8>> Unescape<I> {
    pub const fn new(inner: I) -> Self {
        Self { inner, held: [None, None] }
    }

    fn take(&mut self) -> Option<u8> {
        let [first, second] = &mut self.held;
        match first.take() {
            Some(byte) => {
                *first = second.take();
                Some(byte)
            }
            None => self.inner.next(),
        }
    }
}

impl<I: Iterator<Item = u8>> Iterator for Unescape<I> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let byte = self.take()?;
        if byte != b'%' {
            return Some(byte);
        }
        // Nothing is held here: a held percent sign is always the last byte that was held.
        let high = self.take();
        let Some(tens) = high.and_then(hex) else {
            self.held = [high, None];
            return Some(byte);
        };
        let low = self.take();
        let Some(ones) = low.and_then(hex) else {
            self.held = [high, low];
            return Some(byte);
        };
        Some(tens << 4 | ones)
    }
}

pub fn unescape(bytes: &[u8]) -> Unescape<Copied<Iter<'_, u8>>> {
    Unescape::new(bytes.iter().copied())
}

/// What is before the first `separator`, and what is behind it.
pub fn cut(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(separator, bytes).and_then(|at| bytes.split_at_checked(at)) {
        Some((before, behind)) => (before, behind.get(1..)),
        None => (bytes, None),
    }
}

/// Accepts shortest-form UTF-8 without control characters (C0, DEL, C1).
pub fn check_text(bytes: impl Iterator<Item = u8>) -> Result<(), PathFault> {
    let mut run = [0_u8; 4];
    let mut length = 0;
    for byte in bytes {
        if byte.is_ascii() && length > 0 {
            return Err(PathFault::BadUtf8);
        }
        if byte.is_ascii_control() {
            return Err(PathFault::ControlByte);
        }
        if byte.is_ascii() {
            continue;
        }
        // `run` never fills without a verdict: no incomplete sequence is longer than three bytes.
        *run.get_mut(length).ok_or(PathFault::BadUtf8)? = byte;
        length += 1;
        match std::str::from_utf8(run.get(..length).unwrap_or_default()) {
            Ok(text) if text.chars().any(char::is_control) => return Err(PathFault::ControlByte),
            Ok(_) => length = 0,
            Err(error) if error.error_len().is_some() => return Err(PathFault::BadUtf8),
            Err(_) => {}
        }
    }
    if length == 0 { Ok(()) } else { Err(PathFault::BadUtf8) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> String {
        String::from_utf8(unescape(text.as_bytes()).collect()).unwrap()
    }

    #[test]
    fn what_is_no_escape_stays() {
        for (raw, expected) in [
            ("", ""),
            ("abc", "abc"),
            ("%41%42", "AB"),
            ("%2541", "%41"),
            ("100%", "100%"),
            ("%", "%"),
            ("%%41", "%A"),
            ("%4%41", "%4A"),
            ("%zz%2", "%zz%2"),
            ("%e3%81%82", "あ"),
        ] {
            assert_eq!(decoded(raw), expected, "{raw}");
        }
    }

    #[test]
    fn text_is_shortest_form_utf8_without_controls() {
        for (bytes, expected) in [
            (&b"plain"[..], Ok(())),
            ("日本語 𝄞".as_bytes(), Ok(())),
            (b"\xc0\xae", Err(PathFault::BadUtf8)),
            (b"\xe0\x80\xae", Err(PathFault::BadUtf8)),
            (b"\xed\xa0\x80", Err(PathFault::BadUtf8)),
            (b"\xf4\x90\x80\x80", Err(PathFault::BadUtf8)),
            (b"\xe3\x81", Err(PathFault::BadUtf8)),
            (b"\xe3\x81a", Err(PathFault::BadUtf8)),
            (b"a\0", Err(PathFault::ControlByte)),
            (b"\x7f", Err(PathFault::ControlByte)),
            (b"\xc2\x85", Err(PathFault::ControlByte)),
        ] {
            assert_eq!(check_text(bytes.iter().copied()), expected, "{bytes:?}");
        }
    }

    /// Decodes a whole slice at once: the reference for the lazy decoder.
    fn reference(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let pair = bytes
                .get(at + 1)
                .copied()
                .and_then(hex)
                .zip(bytes.get(at + 2).copied().and_then(hex));
            match (bytes[at], pair) {
                (b'%', Some((high, low))) => {
                    out.push(high << 4 | low);
                    at += 3;
                }
                (byte, _) => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn agrees_with_a_decoder_of_slices(text in "[%25aF/.]{0,24}") {
            let once = reference(text.as_bytes());
            prop_assert_eq!(unescape(text.as_bytes()).collect::<Vec<_>>(), once.clone());
            let twice: Vec<_> = Unescape::new(unescape(text.as_bytes())).collect();
            prop_assert_eq!(twice, reference(&once));
        }

        #[test]
        fn text_agrees_with_the_standard_library(
            bytes in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let text = std::str::from_utf8(&bytes);
            let expected = text.is_ok_and(|text| !text.chars().any(char::is_control));
            prop_assert_eq!(check_text(bytes.iter().copied()).is_ok(), expected);
        }
    }
}
