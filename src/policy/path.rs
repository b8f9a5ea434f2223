//! Decides whether a path is written in the one spelling that is accepted. Controls: MON-5, PRIV-1.
//! Never sees: which operation is meant, who asks. Paths go upstream as they came, so what is
//! matched here and what the upstream routes by must be the same text however it decodes.
//!
//! 1. Nothing that any number of decodings turns into `.`, `..`, NUL or a control byte is accepted.
//! 2. In a strict segment no decoding changes where segments begin and end, and a byte that needs
//!    no escape has none: two accepted paths differ exactly when their bytes differ.
//! 3. In an encoded segment (text that people choose, such as a SKU) any escape may occur, up to
//!    double encoding, and rule 1 holds for every part between decoded separators.
//!
//! On a fault: refused, nothing is repaired.
use super::escape::{ByteSet, Unescape, check_text, hex, unescape};
use crate::base::PathFault;

/// How the bytes of a path segment may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// One spelling only: no escaped separator, no escape without need, upper-case hexadecimal.
    #[default]
    Strict,
    /// Any valid escape, `%2F` and double encoding included.
    Encoded,
}

/// Judges a whole path with every segment strict; `/` alone is accepted.
pub fn check(path: &[u8]) -> Result<(), PathFault> {
    let rest = path.strip_prefix(b"/").ok_or(PathFault::NotAbsolute)?;
    if rest.is_empty() {
        return Ok(());
    }
    rest.split(|byte| *byte == b'/')
        .try_for_each(|segment| check_segment(segment, Spelling::Strict))
}

/// Judges what stands between two slashes.
pub fn check_segment(segment: &[u8], spelling: Spelling) -> Result<(), PathFault> {
    if segment.is_empty() {
        return Err(PathFault::EmptySegment);
    }
    let escaped = check_bytes(segment, judge_byte)?;
    if matches!(segment, b"." | b"..") {
        return Err(PathFault::DotSegment);
    }
    match escaped {
        Escapes::None => Ok(()),
        Escapes::Some => {
            check_decoded(segment)?;
            match spelling {
                Spelling::Strict => check_strict(segment),
                Spelling::Encoded => Ok(()),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    None,
    Some,
}

/// Judges bytes as they stand: percent signs need two digits, all others pass `judge`.
pub(super) fn check_bytes(
    bytes: &[u8],
    judge: impl Fn(u8) -> Result<(), PathFault>,
) -> Result<Escapes, PathFault> {
    let mut escapes = Escapes::None;
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().copied().and_then(hex);
            digit().zip(digit()).ok_or(PathFault::BrokenEscape)?;
            escapes = Escapes::Some;
        } else {
            judge(byte)?;
        }
    }
    Ok(escapes)
}

/// `pchar` of RFC 3986 §3.3 without `;`, which some servers cut a segment at.
fn judge_byte(byte: u8) -> Result<(), PathFault> {
    match byte {
        _ if SEGMENT_BYTES.contains(byte) => Ok(()),
        b'\\' => Err(PathFault::EncodedSeparator),
        b';' => Err(PathFault::PathParameter),
        _ if byte.is_ascii_control() => Err(PathFault::ControlByte),
        _ => Err(PathFault::IllegalByte),
    }
}

/// What may stand in a segment without an escape.
pub(super) const SEGMENT_BYTES: ByteSet = ByteSet::UNRESERVED.with(b"!$&'()*+,=:@");

/// What one and two decodings yield. Two is where an honest client ends (some of Amazon's inbound
/// operations want `%`, `+` and `,` of a SKU encoded twice), so a third layer is refused, and with
/// it every deeper one.
fn check_decoded(segment: &[u8]) -> Result<(), PathFault> {
    let once = unescape(segment);
    check_text(once.clone())?;
    let twice = Unescape::new(once);
    check_text(twice.clone())?;
    if has_dot_part(twice.clone()) {
        return Err(PathFault::DotSegment);
    }
    // Decoding shortens exactly where an escape was.
    if Unescape::new(twice.clone()).count() == twice.count() {
        Ok(())
    } else {
        Err(PathFault::MixedEncoding)
    }
}

/// Whether a part between separators is `.` or `..`.
fn has_dot_part(bytes: impl Iterator<Item = u8>) -> bool {
    let (mut dots, mut others) = (0_usize, 0_usize);
    for byte in bytes {
        match byte {
            b'/' | b'\\' if others == 0 && matches!(dots, 1 | 2) => return true,
            b'/' | b'\\' => (dots, others) = (0, 0),
            b'.' => dots += 1,
            _ => others += 1,
        }
    }
    others == 0 && matches!(dots, 1 | 2)
}

/// Every escape of a well-formed segment must be needed, and must not hide a delimiter.
fn check_strict(segment: &[u8]) -> Result<(), PathFault> {
    let mut rest = segment;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (escape, behind) = rest
            .get(at..)
            .and_then(<[u8]>::split_first_chunk::<3>)
            .ok_or(PathFault::BrokenEscape)?;
        let [_, high, low] = *escape;
        let (tens, ones) = hex(high).zip(hex(low)).ok_or(PathFault::BrokenEscape)?;
        match tens << 4 | ones {
            b'/' | b'\\' | b'?' | b'#' => return Err(PathFault::EncodedSeparator),
            b';' => return Err(PathFault::PathParameter),
            b'%' => return Err(PathFault::MixedEncoding),
            byte if ByteSet::UNRESERVED.contains(byte) => return Err(PathFault::MixedEncoding),
            _ if high.is_ascii_lowercase() || low.is_ascii_lowercase() => {
                return Err(PathFault::MixedEncoding);
            }
            _ => rest = behind,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mon_5_a_path_has_one_spelling() {
        for (path, expected) in [
            ("/", Ok(())),
            ("/orders/v0/orders/902-3159896-1390916", Ok(())),
            ("/a/b%20c/%E3%81%82/x=1,2+3:4@5", Ok(())),
            ("/a/...", Ok(())),
            ("/a/..b", Ok(())),
            ("", Err(PathFault::NotAbsolute)),
            ("orders", Err(PathFault::NotAbsolute)),
            ("*", Err(PathFault::NotAbsolute)),
            ("//", Err(PathFault::EmptySegment)),
            ("/a//b", Err(PathFault::EmptySegment)),
            ("/a/", Err(PathFault::EmptySegment)),
            ("/a/./b", Err(PathFault::DotSegment)),
            ("/a/..", Err(PathFault::DotSegment)),
            ("/a/%2e%2e/b", Err(PathFault::DotSegment)),
            ("/a/.%2E", Err(PathFault::DotSegment)),
            ("/a/%252e%252E/b", Err(PathFault::DotSegment)),
            ("/a/..%2fb", Err(PathFault::DotSegment)),
            ("/a/..%5cb", Err(PathFault::DotSegment)),
            ("/a/..%252fb", Err(PathFault::DotSegment)),
            ("/a%2Fb", Err(PathFault::EncodedSeparator)),
            ("/a%5Cb", Err(PathFault::EncodedSeparator)),
            ("/a\\b", Err(PathFault::EncodedSeparator)),
            ("/a%3Fb", Err(PathFault::EncodedSeparator)),
            ("/a%23b", Err(PathFault::EncodedSeparator)),
            ("/a%2", Err(PathFault::BrokenEscape)),
            ("/a%", Err(PathFault::BrokenEscape)),
            ("/a%zz", Err(PathFault::BrokenEscape)),
            ("/a%u002f", Err(PathFault::BrokenEscape)),
            ("/%61", Err(PathFault::MixedEncoding)),
            ("/%7E", Err(PathFault::MixedEncoding)),
            ("/a%3d", Err(PathFault::MixedEncoding)),
            ("/a%2520", Err(PathFault::MixedEncoding)),
            ("/%c0%ae%c0%ae/", Err(PathFault::BadUtf8)),
            ("/%C0%AF", Err(PathFault::BadUtf8)),
            ("/%25C0%25AE", Err(PathFault::BadUtf8)),
            ("/%E3%81", Err(PathFault::BadUtf8)),
            ("/%FF", Err(PathFault::BadUtf8)),
            ("/a%00", Err(PathFault::ControlByte)),
            ("/a%2500", Err(PathFault::ControlByte)),
            ("/a%0D%0Ab", Err(PathFault::ControlByte)),
            ("/a%C2%85", Err(PathFault::ControlByte)),
            ("/a\0", Err(PathFault::ControlByte)),
            ("/a\tb", Err(PathFault::ControlByte)),
            ("/a;v=1", Err(PathFault::PathParameter)),
            ("/a%3Bv=1", Err(PathFault::PathParameter)),
            ("/..;/b", Err(PathFault::PathParameter)),
            ("/a b", Err(PathFault::IllegalByte)),
            ("/a?b", Err(PathFault::IllegalByte)),
            ("/a#b", Err(PathFault::IllegalByte)),
            ("/é", Err(PathFault::IllegalByte)),
            ("/a{b}", Err(PathFault::IllegalByte)),
        ] {
            assert_eq!(check(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn mon_5_an_encoded_segment_may_hold_separators_but_no_traversal() {
        for (segment, expected) in [
            ("A%2FB", Ok(())),
            ("a%2fb", Ok(())),
            ("%41", Ok(())),
            ("50%25", Ok(())),
            ("50%2525", Ok(())),
            ("A%252FB", Ok(())),
            ("a%3Bb", Ok(())),
            ("1.5%2F2..0", Ok(())),
            ("", Err(PathFault::EmptySegment)),
            ("..", Err(PathFault::DotSegment)),
            ("%2E%2e", Err(PathFault::DotSegment)),
            ("%252E%252e", Err(PathFault::DotSegment)),
            ("a%2F..%2Fb", Err(PathFault::DotSegment)),
            ("a%2F%2E%2E", Err(PathFault::DotSegment)),
            ("a%5C..", Err(PathFault::DotSegment)),
            ("a%252F..%252Fb", Err(PathFault::DotSegment)),
            ("%25252E%25252E", Err(PathFault::MixedEncoding)),
            ("%25%32%35%32%45", Err(PathFault::MixedEncoding)),
            ("a;b", Err(PathFault::PathParameter)),
            ("a\\b", Err(PathFault::EncodedSeparator)),
            ("%00", Err(PathFault::ControlByte)),
            ("%2500", Err(PathFault::ControlByte)),
            ("%C0%AE%C0%AE", Err(PathFault::BadUtf8)),
            ("%", Err(PathFault::BrokenEscape)),
        ] {
            assert_eq!(check_segment(segment.as_bytes(), Spelling::Encoded), expected, "{segment}");
        }
    }

    /// Undoes escapes until nothing changes, as a chain of careless proxies would.
    fn decode_fully(segment: &str) -> Vec<u8> {
        let mut bytes = segment.as_bytes().to_vec();
        loop {
            let next: Vec<_> = unescape(&bytes).collect();
            if next == bytes {
                return bytes;
            }
            bytes = next;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn mon_5_no_accepted_segment_decodes_to_a_traversal(
            parts in proptest::collection::vec(
                proptest::sample::select(&[
                    ".", "..", "%2e", "%2E", "%252e", "%25", "25", "2e", "2f", "%2F", "%5c",
                    "%255C", "%32", "%35", "%45", "%00", "a", ";", "\\", "%c0%ae", "%c0%af",
                ][..]),
                0..7,
            ),
        ) {
            let segment = parts.concat();
            for spelling in [Spelling::Strict, Spelling::Encoded] {
                if check_segment(segment.as_bytes(), spelling).is_ok() {
                    let end = decode_fully(&segment);
                    prop_assert!(std::str::from_utf8(&end).is_ok());
                    prop_assert!(!end.contains(&0));
                    for part in end.split(|b| b"/\\".contains(b)) {
                        prop_assert!(part != b"." && part != b"..", "{}", segment);
                    }
                    if spelling == Spelling::Strict {
                        prop_assert!(!end.iter().any(|b| b"/\\;?#%".contains(b)), "{}", segment);
                    }
                }
            }
        }

        #[test]
        fn mon_5_strict_spelling_is_unique(text in "[ -~あé]{1,12}") {
            // What an honest client writes (escape all but unreserved) is accepted, unless the text
            // holds a delimiter; any other way to write an unreserved byte is not.
            let escape = |byte: u8| match byte {
                _ if ByteSet::UNRESERVED.contains(byte) => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            };
            let written: String = text.bytes().map(escape).collect();
            let delimits = text.bytes().any(|b| b"/\\;?#%".contains(&b));
            let hides = delimits || text == "." || text == "..";
            prop_assert_eq!(check_segment(written.as_bytes(), Spelling::Strict).is_err(), hides);
            if text.bytes().any(|b| ByteSet::UNRESERVED.contains(b)) {
                let all = text.bytes().map(|b| format!("%{b:02X}")).collect::<Vec<_>>().concat();
                prop_assert!(check_segment(all.as_bytes(), Spelling::Strict).is_err());
            }
        }
    }
}
