//! Finds where strings end and blanks end, eight bytes at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = ONES << 7;

/// Where a string's closing quote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringEnd {
    Quote(usize),
    /// Not in this chunk.
    Later,
    /// A byte that no string holds comes first.
    Bad(usize),
}

/// Reads strings, the next where the last ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StringReader {
    /// A backslash was the last byte.
    is_escaped: bool,
}

impl StringReader {
    /// Where the string ends that `at` lies in.
    #[inline]
    pub(super) fn end(&mut self, bytes: &[u8], mut at: usize) -> StringEnd {
        if !self.is_escaped {
            // Nearly every string ends here. What else there is stands elsewhere, so that this is small
            // enough to become part of its callers.
            while let Some(words) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
                let stop = first_stop(words);
                at += stop;
                if stop < size_of_val(words) {
                    if bytes.get(at) == Some(&b'"') {
                        return StringEnd::Quote(at);
                    }
                    break;
                }
            }
        }
        self.odd_end(bytes, at)
    }

    /// The same for strings with escapes, and those at a chunk's end.
    #[cold]
    #[inline(never)]
    fn odd_end(&mut self, bytes: &[u8], mut at: usize) -> StringEnd {
        loop {
            if self.is_escaped {
                match bytes.get(at) {
                    None => return StringEnd::Later,
                    Some(byte) if is_escape(*byte) => self.is_escaped = false,
                    Some(_) => return StringEnd::Bad(at),
                }
                at += 1;
            }
            at += plain_length(bytes.get(at..).unwrap_or_default());
            match bytes.get(at) {
                None => return StringEnd::Later,
                Some(b'"') => return StringEnd::Quote(at),
                Some(b'\\') => self.is_escaped = true,
                Some(_) => return StringEnd::Bad(at),
            }
            at += 1;
        }
    }
}

/// Bytes before the first quote, backslash or control character; 16 if there is none. Sixteen at
/// once leave less to guess for the branch predictor than eight.
#[inline]
const fn first_stop(words: &[u8; 16]) -> usize {
    let (halves, _) = words.as_chunks::<8>();
    let [low, high] = halves else { return 0 };
    let (low, high) = (stops(u64::from_le_bytes(*low)), stops(u64::from_le_bytes(*high)));
    let (word, before) = if low == 0 { (high, 8) } else { (low, 0) };
    before + (word.trailing_zeros() / 8) as usize
}

/// The top bit of bytes that end a plain run. Above the lowest, a borrow may have marked others.
#[inline]
const fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20);
    (control | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES)) & !word & TOPS
}

/// Bytes before the first quote, backslash or control character; all of them if there is none.
fn plain_length(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks();
    let mut length = 0;
    for block in blocks {
        let stop = first_stop(block);
        length += stop;
        if stop < size_of_val(block) {
            return length;
        }
    }
    length + rest.iter().take_while(|byte| !is_stop(**byte)).count()
}

const fn is_stop(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Bytes before the first that is no white space (RFC 8259 §2).
#[inline]
pub(super) fn blank_length(bytes: &[u8]) -> usize {
    const SPACES: u64 = ONES * b' ' as u64;
    let (words, _) = bytes.as_chunks::<8>();
    // Indentation is long runs of spaces behind one line end.
    let first = usize::from(bytes.first().is_some_and(|byte| *byte == b'\n'));
    let spaces = words.iter().take_while(|word| u64::from_le_bytes(**word) == SPACES).count() * 8;
    let from = if spaces == 0 { first } else { spaces };
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| is_blank(**byte)).count()
}

#[inline]
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Whether the byte may follow a backslash (RFC 8259 §7).
const fn is_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u')
}

/// What a byte outside strings can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Quote,
    Open,
    Close,
    /// Blank, comma, colon, or part of a number or literal.
    Between,
    /// Of no JSON text: a comment, an apostrophe, a byte order mark, a control character.
    Bad,
}

#[inline]
pub(super) fn sort(byte: u8) -> Sort {
    SORTS.get(byte as usize).copied().unwrap_or(Sort::Bad)
}

static SORTS: [Sort; 256] = {
    let mut sorts = [Sort::Bad; 256];
    let mut byte = 0_u8;
    loop {
        let sort = match byte {
            b'"' => Sort::Quote,
            b'{' | b'[' => Sort::Open,
            b'}' | b']' => Sort::Close,
            b' ' | b'\n' | b'\r' | b'\t' | b',' | b':' | b'+' | b'-' | b'.' => Sort::Between,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => Sort::Between,
            _ => Sort::Bad,
        };
        #[expect(clippy::indexing_slicing, reason = "at compile time, by a byte, in 256 places")]
        {
            sorts[byte as usize] = sort;
        }
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    sorts
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lengths_are_those_of_going_byte_by_byte(
            bytes in prop::collection::vec(
                prop_oneof![8 => any::<u8>(), 4 => Just(b' '), 1 => Just(b'"'), 1 => Just(0x1f), 1 => Just(b'\n')],
                0..40,
            ),
        ) {
            let plain = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain_length(&bytes), plain.unwrap_or(bytes.len()));
            let blank = bytes.iter().position(|b| !b" \t\r\n".contains(b));
            prop_assert_eq!(blank_length(&bytes), blank.unwrap_or(bytes.len()));
        }

        #[test]
        fn a_long_string_ends_where_it_ends(plain in 0_usize..100, stop in prop::sample::select(vec![b'"', b'\\', 0, 9, 0x1f])) {
            let mut bytes = vec![b'a'; plain];
            // High bytes must not be taken for control characters.
            bytes.iter_mut().step_by(3).for_each(|byte| *byte = 0x9f);
            bytes.push(stop);
            bytes.extend([b'"'; 9]);
            prop_assert_eq!(plain_length(&bytes), plain);
        }
    }
}
