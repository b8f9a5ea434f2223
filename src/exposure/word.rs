//! Numbers and the literals `true`, `false`, `null`, byte by byte.
use super::visit::Kind;

/// A number or literal that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub kind: Kind,
    /// What a literal still lacks.
    pub rest: &'static [u8],
}

impl Word {
    pub(super) fn begin(first: u8) -> Option<Self> {
        let (kind, rest): (_, &'static [u8]) = match first {
            b't' => (Kind::True, b"true"),
            b'f' => (Kind::False, b"false"),
            b'n' => (Kind::Null, b"null"),
            b'-' | b'0'..=b'9' => (Kind::Number, b""),
            _ => return None,
        };
        Some(Self { kind, rest })
    }

    /// How many of the bytes continue it.
    pub(super) fn read(&mut self, bytes: &[u8]) -> usize {
        if self.kind == Kind::Number {
            let fits = |b: &u8| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
            return bytes.iter().position(|b| !fits(b)).unwrap_or(bytes.len());
        }
        let same = bytes.iter().zip(self.rest).take_while(|(a, b)| a == b).count();
        self.rest = self.rest.get(same..).unwrap_or_default();
        same
    }
}
