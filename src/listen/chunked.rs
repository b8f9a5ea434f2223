//! Checks the framing of a chunked HTTP/1.1 request body (RFC 9112 §7.1) and finds its end, so that
//! the next pipelined request is looked for in the right place. Controls: MON-5.
//! Never sees: the head, what the body means, time.
//!
//! 1. There is one way to read every accepted body: sizes are 1 to 16 hexadecimal digits, lines end
//!    in CRLF, there are no chunk extensions and no trailer fields. No SP-API client sends either,
//!    and both are where parsers disagree.
//! 2. The verdict does not depend on how the bytes were cut.
//! 3. Constant memory.
//!
//! On a fault: the connection is to be closed; the verdict stays.
use crate::base::HeadFault;

/// What became of the bytes fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkStep {
    /// All bytes belong to the body, which goes on.
    NeedMore,
    /// The body ended with the chunk's first `body_len_in_chunk` bytes.
    Done { body_len_in_chunk: usize },
    /// The framing is broken: [`HeadFault::BareLineEnd`] or [`HeadFault::TransferCoding`].
    Refuse(HeadFault),
}

/// The most digits of a chunk's size: all of 64 bits.
const DIGITS_MAX: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8, size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    EndCr,
    EndLf,
    Done,
    Refused(HeadFault),
}

/// Follows one body.
#[derive(Clone, Debug)]
pub struct ChunkGuard(State);

impl Default for ChunkGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkGuard {
    pub const fn new() -> Self {
        Self(State::Size { digits: 0, size: 0 })
    }

    /// Looks at the next bytes of the body. Behind its end nothing is consumed.
    pub fn feed(&mut self, chunk: &[u8]) -> ChunkStep {
        let mut rest = chunk;
        loop {
            match self.0 {
                State::Done => {
                    return ChunkStep::Done { body_len_in_chunk: chunk.len() - rest.len() };
                }
                State::Refused(fault) => return ChunkStep::Refuse(fault),
                State::Data { left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    rest = rest.get(here..).unwrap_or_default();
                    let left = left.saturating_sub(here as u64);
                    self.0 = if left == 0 { State::DataCr } else { State::Data { left } };
                    if left > 0 {
                        return ChunkStep::NeedMore;
                    }
                }
                State::Size { .. }
                | State::SizeLf { .. }
                | State::DataCr
                | State::DataLf
                | State::EndCr
                | State::EndLf => {
                    let Some((byte, after)) = rest.split_first() else {
                        return ChunkStep::NeedMore;
                    };
                    self.0 = self.0.after(*byte);
                    rest = after;
                }
            }
        }
    }
}

impl State {
    /// The state behind one byte of framing.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeLf { size },
            (Self::Size { digits: 0..DIGITS_MAX, .. }, _) if byte.is_ascii_hexdigit() => {
                self.with_digit(byte)
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::EndCr,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::EndCr, b'\r') => Self::EndLf,
            (Self::EndLf, b'\n') => Self::Done,
            (Self::Size { .. }, b'\n') | (Self::SizeLf { .. } | Self::DataLf | Self::EndLf, _) => {
                Self::Refused(HeadFault::BareLineEnd)
            }
            (Self::DataCr | Self::EndCr, b'\n') => Self::Refused(HeadFault::BareLineEnd),
            // A chunk extension, a trailer field, data beyond the size told, or no size at all.
            (Self::Size { .. } | Self::DataCr | Self::EndCr, _) => {
                Self::Refused(HeadFault::TransferCoding)
            }
            (Self::Data { .. } | Self::Done | Self::Refused(_), _) => self,
        }
    }

    fn with_digit(self, byte: u8) -> Self {
        let Self::Size { digits, size } = self else { return self };
        let digit = char::from(byte).to_digit(16).unwrap_or(0);
        Self::Size { digits: digits + 1, size: (size << 4) | u64::from(digit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(body: &[u8]) -> ChunkStep {
        ChunkGuard::new().feed(body)
    }

    #[test]
    fn mon_5_a_chunked_body_ends_where_it_ends() {
        assert_eq!(whole(b"0\r\n\r\nGET"), ChunkStep::Done { body_len_in_chunk: 5 });
        let body = b"5\r\nhello\r\n00a\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
        assert_eq!(whole(body), ChunkStep::Done { body_len_in_chunk: 32 });
        assert_eq!(whole(b"5\r\nhell"), ChunkStep::NeedMore);
        assert_eq!(whole(b"ffffffffffffffff\r\nx"), ChunkStep::NeedMore);
    }

    #[test]
    fn mon_5_ambiguous_framing_is_refused() {
        for bad in [
            "\r\n",
            " 5\r\nhello",
            "5 \r\n",
            "5;x=y\r\nhello",
            "5;\r\n",
            "+5\r\n",
            "0x5\r\n",
            "-1\r\n",
            "00000000000000005\r\n",
            "5\r\nhelloo",
            "5\r\nhello0\r\n",
            "0\r\nX-Trailer: 1\r\n\r\n",
            "g\r\n",
        ] {
            assert_eq!(
                whole(bad.as_bytes()),
                ChunkStep::Refuse(HeadFault::TransferCoding),
                "{bad:?}"
            );
        }
        for bad in [
            "5\nhello",
            "5\r\r\n",
            "5\rhello",
            "5\r\nhello\n",
            "5\r\nhello\r0",
            "0\r\n\n",
            "0\r\n\rX",
        ] {
            assert_eq!(whole(bad.as_bytes()), ChunkStep::Refuse(HeadFault::BareLineEnd), "{bad:?}");
        }
    }

    #[test]
    fn mon_5_the_verdict_on_a_body_stays() {
        let mut guard = ChunkGuard::new();
        assert_eq!(guard.feed(b"x"), ChunkStep::Refuse(HeadFault::TransferCoding));
        assert_eq!(guard.feed(b"0\r\n\r\n"), ChunkStep::Refuse(HeadFault::TransferCoding));
        let mut guard = ChunkGuard::new();
        assert_eq!(guard.feed(b"0\r\n\r\n"), ChunkStep::Done { body_len_in_chunk: 5 });
        assert_eq!(guard.feed(b"G"), ChunkStep::Done { body_len_in_chunk: 0 });
    }

    fn cut(body: &[u8], cuts: &[prop::sample::Index]) -> (ChunkStep, usize) {
        let mut at: Vec<_> = cuts.iter().map(|c| c.index(body.len() + 1)).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let mut guard = ChunkGuard::new();
        let mut step = ChunkStep::NeedMore;
        for pair in at.windows(2) {
            step = guard.feed(&body[pair[0]..pair[1]]);
            match step {
                ChunkStep::Done { body_len_in_chunk } => {
                    return (step, pair[0] + body_len_in_chunk);
                }
                ChunkStep::Refuse(_) => break,
                ChunkStep::NeedMore => {}
            }
        }
        (step, 0)
    }

    proptest! {
        #[test]
        fn mon_5_a_body_is_read_alike_however_it_is_cut(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5),
            noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut body = Vec::new();
            for part in &parts {
                body.extend(format!("{:x}\r\n", part.len()).as_bytes());
                body.extend(part);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let end = body.len();
            body.extend(b"GET / HTTP/1.1\r\n");
            if let Some((at, byte)) = noise {
                let at = at.index(end);
                body[at] = byte;
            }
            let whole = match whole(&body) {
                ChunkStep::Done { body_len_in_chunk } => Ok(body_len_in_chunk),
                other => Err(other),
            };
            if noise.is_none() {
                prop_assert_eq!(whole, Ok(end));
            }
            let cut = match cut(&body, &cuts) {
                (ChunkStep::Done { .. }, end) => Ok(end),
                (other, _) => Err(other),
            };
            prop_assert_eq!(cut, whole);
        }
    }
}
