//! Reads the frames of a `WebSocket` (RFC 6455 §5) as they pass, for whoever looks into what they carry.
//! Controls: MON-4, ACC-5.
//!
//! 1. A client's frames are read without their mask. 2. A message is one piece, however many frames it has
//!    and whatever control frames come between them. 3. What is compressed can't be read and is refused;
//!    compression is not negotiated where anything is looked for. 4. Where bytes are cut makes no difference.
use super::ctx::Way;

/// A head with a length of eight bytes and a mask of four.
const HEAD_MAX: usize = 14;
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;

/// What can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// One direction of a socket.
#[derive(Default)]
pub(super) struct Frames {
    head: [u8; HEAD_MAX],
    /// How much of it came.
    have: usize,
    /// Bytes of the payload: those that came, and those still to come.
    came: usize,
    left: u64,
    message: Way,
    control: Way,
}

impl Frames {
    /// Shows the payload of the next bytes, and where a message or a control frame ends.
    pub(super) fn feed<E: From<Unreadable>>(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(&mut Way, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if self.left > 0 {
                rest = self.payload(rest, &mut see)?;
                continue;
            }
            if let Some(place) = self.head.get_mut(self.have) {
                *place = byte;
            }
            self.have = self.have.saturating_add(1);
            rest = after;
            if self.have == self.head_length() {
                self.begin()?;
                if self.left == 0 {
                    self.end(&mut see)?;
                }
            }
        }
        Ok(())
    }

    const fn head_length(&self) -> usize {
        let [_, lengths, ..] = self.head;
        if self.have < 2 {
            return 2;
        }
        let mask = if lengths & MASKED == 0 { 0 } else { 4 };
        match lengths & !MASKED {
            126 => 4 + mask,
            127 => 10 + mask,
            _ => 2 + mask,
        }
    }

    fn begin(&mut self) -> Result<(), Unreadable> {
        let [first, lengths, long @ ..] = self.head;
        if first & RESERVED != 0 {
            return Err(Unreadable);
        }
        self.left = match lengths & !MASKED {
            126 => long.first_chunk().copied().map_or(0, u16::from_be_bytes).into(),
            127 => long.first_chunk().copied().map_or(0, u64::from_be_bytes),
            short => short.into(),
        };
        self.came = 0;
        Ok(())
    }

    /// The part of the payload that is there; what follows it.
    fn payload<'b, E>(
        &mut self,
        bytes: &'b [u8],
        see: &mut impl FnMut(&mut Way, &[u8], bool) -> Result<(), E>,
    ) -> Result<&'b [u8], E> {
        let mut plain = [0; 512];
        let there = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (part, rest) = bytes.split_at(there.min(plain.len()));
        let mask = self.mask();
        let cycle = mask.iter().cycle().skip(self.came % 4);
        for ((to, from), mask) in plain.iter_mut().zip(part).zip(cycle) {
            *to = from ^ mask;
        }
        let way = if self.is_control() { &mut self.control } else { &mut self.message };
        see(way, plain.get(..part.len()).unwrap_or_default(), false)?;
        self.came = self.came.wrapping_add(part.len());
        self.left = self.left.saturating_sub(u64::try_from(part.len()).unwrap_or(u64::MAX));
        if self.left == 0 {
            self.end(see)?;
        }
        Ok(rest)
    }

    fn end<E>(
        &mut self,
        see: &mut impl FnMut(&mut Way, &[u8], bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let [first, ..] = self.head;
        self.have = 0;
        if self.is_control() {
            see(&mut self.control, b"", true)
        } else if first & FINAL != 0 {
            see(&mut self.message, b"", true)
        } else {
            Ok(())
        }
    }

    const fn is_control(&self) -> bool {
        let [first, ..] = self.head;
        first & CONTROL != 0
    }

    fn mask(&self) -> [u8; 4] {
        let [_, lengths, ..] = self.head;
        let end = match lengths & !MASKED {
            126 => 8,
            127 => 14,
            _ => 6,
        };
        let mask = self.head.get(end - 4..end).and_then(|mask| mask.try_into().ok());
        mask.filter(|_| lengths & MASKED != 0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl From<Unreadable> for &'static str {
        fn from(Unreadable: Unreadable) -> Self {
            "unreadable"
        }
    }

    fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let bit = if mask.is_some() { MASKED } else { 0 };
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(bit | u8::try_from(short).unwrap()),
            long @ 126..65_536 => {
                out.push(bit | 0x7e);
                out.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
            }
            longer => {
                out.push(bit | 0x7f);
                out.extend_from_slice(&u64::try_from(longer).unwrap().to_be_bytes());
            }
        }
        out.extend_from_slice(&mask.unwrap_or_default()[..mask.map_or(0, |mask| mask.len())]);
        let mask = mask.unwrap_or_default();
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    /// The messages and control frames that are shown, in the order of their ends.
    fn shown(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, &'static str> {
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece, |way, bytes, end| {
                way.held.extend_from_slice(bytes);
                if end {
                    all.push(std::mem::take(&mut way.held));
                }
                Ok::<(), &'static str>(())
            })?;
        }
        Ok(all)
    }

    #[test]
    fn messages_are_put_together_wherever_their_bytes_are_cut() {
        let mask = Some([1, 2, 3, 250]);
        let long = vec![b'x'; 70_000];
        let stream = [
            frame(0x01, mask, b"902-4395497-"),
            frame(0x89, mask, b"a ping"),
            frame(0x80, None, b"0000029"),
            frame(0x82, mask, &[b'y'; 300]),
            frame(0x81, mask, b""),
        ]
        .concat();
        let expect = [&b"a ping"[..], b"902-4395497-0000029", &[b'y'; 300], b""];
        for cut in 0..=stream.len() {
            let (one, other) = stream.split_at(cut);
            assert_eq!(shown(&[one, other]).unwrap(), expect, "{cut}");
        }
        let each: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(shown(&each).unwrap(), expect);
        assert_eq!(shown(&[&frame(0x82, mask, &long)]).unwrap(), [long]);
    }

    #[test]
    fn what_is_compressed_is_not_taken_for_readable() {
        assert_eq!(shown(&[&frame(0xc1, None, b"x")]), Err("unreadable"));
    }
}
