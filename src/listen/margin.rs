//! Keeps what it takes to put a body behind an answer of the HTTP/2 engine's own: a little of the window
//! that the client gave, on which the engine does not count, and the streams whose answer may have one.
//! Controls: MON-5.
//! Never sees: sockets, clocks, header values but the method.
//!
//! 1. What is kept here and what the engine may send are together what the client allows: an update of
//!    the connection's window is made smaller before the engine reads it, by a quarter at the most and
//!    never to zero (RFC 9113 §6.9). Nothing is kept of the window that the connection begins with.
//! 2. No body where the method may be HEAD, or where the client left too little window.
//! 3. Constant memory.

/// What is kept at the most: all that one connection's answers take, as the engine bears no more than 32
/// requests with an ambiguous authority.
const KEPT_MAX: u32 = 8_192;
/// Streams whose method is known: the engine answers soon after it has read a request.
const KNOWN_MAX: usize = 32;
/// The window that a stream begins with unless SETTINGS say otherwise (RFC 9113 §6.9.2).
const FIRST_WINDOW: u32 = 65_535;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW_SIZE: u16 = 4;

#[derive(Clone, Debug)]
pub(super) struct Margin {
    kept: u32,
    stream_window: u32,
    known: [u32; KNOWN_MAX],
    opened: usize,
}

impl Margin {
    pub(super) const fn new() -> Self {
        Self { kept: 0, stream_window: FIRST_WINDOW, known: [0; KNOWN_MAX], opened: 0 }
    }

    /// The client opens a stream with a header block that begins so.
    pub(super) fn opened(&mut self, stream: u32, block: &[u8]) {
        if is_head(block) == Some(false) {
            let place = self.opened % KNOWN_MAX;
            if let Some(place) = self.known.get_mut(place) {
                *place = stream;
            }
            self.opened = self.opened.wrapping_add(1);
        }
    }

    /// The client's SETTINGS; `None` if they are not known whole.
    pub(super) fn settings(&mut self, payload: Option<&[u8]>) {
        let Some(payload) = payload else {
            self.stream_window = 0;
            return;
        };
        for setting in payload.chunks_exact(6) {
            if let [i1, i2, v1, v2, v3, v4] = *setting
                && u16::from_be_bytes([i1, i2]) == INITIAL_WINDOW_SIZE
            {
                self.stream_window = u32::from_be_bytes([v1, v2, v3, v4]);
            }
        }
    }

    /// Keeps what is missing here of an update of the connection's window.
    pub(super) const fn keep(&mut self, increment: &mut [u8; 4]) {
        let [first, ..] = *increment;
        let allowed = u32::from_be_bytes(*increment) & 0x7fff_ffff;
        let missing = KEPT_MAX - self.kept;
        let kept = if missing < allowed / 4 { missing } else { allowed / 4 };
        self.kept += kept;
        *increment = (allowed - kept).to_be_bytes();
        increment[0] |= first & 0x80;
    }

    /// Takes the window for a body on a stream, if all of it is there.
    pub(super) fn take(&mut self, stream: u32, length: usize) -> bool {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let left = self.kept.checked_sub(length).filter(|_left| length <= self.stream_window);
        match left {
            Some(left) if self.known.contains(&stream) => {
                self.kept = left;
                true
            }
            _ => false,
        }
    }
}

/// Pseudo-header fields come first, and there are no more of them in a request.
const FIELDS_MAX: usize = 5;
const METHOD: &[u8] = b":method";
const HEAD: &[u8] = b"HEAD";
/// HEAD in the Huffman code (RFC 7541 appendix B).
const HEAD_HUFFMAN: &[u8] = &[0xc7, 0xc1, 0x0b, 0xbf];

/// Whether the method that a header block names is HEAD. `None`: it is not said in the first fields
/// without the help of earlier blocks.
fn is_head(block: &[u8]) -> Option<bool> {
    let mut rest = block;
    for _ in 0..FIELDS_MAX {
        let first = *rest.first()?;
        // RFC 7541 §6: an indexed field, a literal that enters the table, a size update, other literals.
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = number(&mut rest, bits)?;
        match (bits, index) {
            // `:method: GET` and `:method: POST` in the static table.
            (7, 2 | 3) => return Some(false),
            (7 | 5, _) => continue,
            _ => {}
        }
        let names_method = match index {
            0 => string(&mut rest)? == (false, METHOD),
            index => matches!(index, 2 | 3),
        };
        let (huffman, value) = string(&mut rest)?;
        if names_method {
            return Some(value == if huffman { HEAD_HUFFMAN } else { HEAD });
        }
    }
    None
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1); none that takes more than two bytes is of
/// use here, and longer ones end the search.
fn number(rest: &mut &[u8], bits: u8) -> Option<usize> {
    let most = u8::MAX >> 8_u8.checked_sub(bits)?;
    let (first, next) = rest.split_first()?;
    *rest = next;
    let prefix = first & most;
    if prefix < most {
        return Some(usize::from(prefix));
    }
    let (more, next) = rest.split_first()?;
    *rest = next;
    (*more < 0x80).then(|| usize::from(prefix).saturating_add(usize::from(*more)))
}

/// A string, and whether it is Huffman-coded (RFC 7541 §5.2).
fn string<'a>(rest: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let huffman = *rest.first()? & 0x80 != 0;
    let length = number(rest, 7)?;
    let (string, next) = rest.split_at_checked(length)?;
    *rest = next;
    Some((huffman, string))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// With room for bodies, and stream 1 open by GET.
    fn margin() -> Margin {
        let mut margin = Margin::new();
        margin.opened(1, &[0x82]);
        margin.keep(&mut (1_u32 << 20).to_be_bytes());
        margin
    }

    #[test]
    fn mon_5_a_body_needs_window_of_the_stream_and_of_the_connection() {
        let mut margin = Margin::new();
        margin.opened(1, &[0x82]);
        assert!(!margin.take(1, 1), "nothing is kept of the first window");
        margin.keep(&mut 1_000_u32.to_be_bytes());
        assert!(!margin.take(1, 251));
        assert!(margin.take(1, 200));
        assert!(!margin.take(1, 51));
        let mut margin = self::margin();
        let setting = |value: u32| [&[0, 3, 0, 0, 0, 9, 0, 4][..], &value.to_be_bytes()].concat();
        margin.settings(Some(&setting(99)));
        assert!(!margin.take(1, 100));
        margin.settings(Some(&setting(100)));
        assert!(margin.take(1, 100));
        margin.settings(Some(&[]));
        assert!(margin.take(1, 100));
        margin.settings(None);
        assert!(!margin.take(1, 1), "settings that were cut are not known");
    }

    #[test]
    fn mon_5_no_body_where_the_method_may_be_head() {
        let literal = |start: &[u8], value: &[u8]| {
            let length = u8::try_from(value.len()).unwrap();
            [start, &[length], value].concat()
        };
        let huffman = |start: u8| [&[start, 0x84][..], HEAD_HUFFMAN].concat();
        for (block, head) in [
            (vec![0x82], Some(false)),
            (vec![0x83], Some(false)),
            // The authority, the scheme, a size update first.
            (
                [&literal(&[0x41], b"localhost")[..], &[0x87, 0x3f, 0x21, 0x82]].concat(),
                Some(false),
            ),
            (literal(&[0x42], b"PUT"), Some(false)),
            (literal(&[0x02], b"HEAD"), Some(true)),
            (literal(&[0x13], b"HEAD"), Some(true)),
            (huffman(0x42), Some(true)),
            (literal(b"\0\x07:method", b"PATCH"), Some(false)),
            (literal(b"\0\x07:method", b"HEAD"), Some(true)),
            // An entry of an earlier block, and a cut one.
            (vec![0xbe, 0x87], None),
            (vec![0x42, 0x04, b'H'], None),
            (vec![0x41, 0xff, 0xff, 0x01], None),
            // A sixth field.
            ([&[0x87; 5][..], &[0x82]].concat(), None),
            (vec![], None),
        ] {
            assert_eq!(is_head(&block), head, "{block:x?}");
            let mut margin = margin();
            margin.opened(3, &block);
            assert_eq!(margin.take(3, 1), head == Some(false), "{block:x?}");
        }
    }

    #[test]
    fn mon_5_streams_that_are_long_gone_are_forgotten() {
        let mut margin = margin();
        (1..=32).for_each(|n| margin.opened(2 * n + 1, &[0x82]));
        assert!(!margin.take(1, 1));
        assert!(margin.take(3, 1));
    }

    proptest! {
        #[test]
        fn mon_5_no_more_is_sent_than_the_client_allows(
            steps in prop::collection::vec((1..100_000_u32, 0..1_000_usize), 0..200),
        ) {
            let mut margin = Margin::new();
            margin.opened(1, &[0x82]);
            let (mut allowed, mut engine, mut bodies) = (0, 0, 0);
            for (increment, body) in steps {
                let mut bytes = increment.to_be_bytes();
                margin.keep(&mut bytes);
                let left = u32::from_be_bytes(bytes);
                prop_assert!(left > 0 && left >= increment - increment / 4);
                allowed += increment;
                engine += left;
                if margin.take(1, body) {
                    bodies += u32::try_from(body).unwrap();
                }
                prop_assert_eq!(engine + bodies + margin.kept, allowed);
                prop_assert!(margin.kept <= KEPT_MAX);
            }
        }

        #[test]
        fn mon_5_no_block_confounds_the_search(block in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = is_head(&block);
        }
    }
}
