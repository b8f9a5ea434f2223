//! Finds in what the HTTP/2 engine writes the requests that it refused by itself: it tells nobody, so
//! this is where they are learned of. Controls: LOG-1, MON-5.
//! Never sees: header values but the status of an answer that has nothing else; sockets, clocks.
//!
//! 1. An answer of the engine's own is the first of its stream, ends it, and has no field: every answer
//!    of the gateway's bears a request id. It is handed out before it is written, so that fields and a
//!    body can be put behind it.
//! 2. A malformed request is reset with `PROTOCOL_ERROR` before an answer (RFC 9113 §8.1.1), one beyond
//!    the bound with `REFUSED_STREAM`. A request that reached the request path and whose *body* then
//!    breaks HTTP is reset the same way; it is taken for another only while the engine has not handed
//!    over a stream that is younger.
//! 3. What the engine's updates of the connection's window allow the client is added up.
//! 4. Memory is bounded by the streams that are being answered.

/// What the engine refused by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Answered 400: `:authority`, Host and `:path` contradict each other.
    Authority,
    /// Answered 431.
    HeaderList,
    /// Reset, or the connection with it.
    Malformed,
    /// Reset: more requests at a time than allowed.
    Streams,
}

/// What the client began and what the request path has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// Streams that the client opened.
    pub(super) opened: u64,
    /// The last of them.
    pub(super) newest: u32,
    /// Requests that the engine handed over.
    pub(super) handed_over: u64,
}

/// What to do with the bytes that the engine wants to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write so many of them, then ask again.
    Pass(usize),
    /// They begin with an answer of the engine's own, so many bytes long.
    Own { length: usize, stream: u32 },
}

/// What was found in bytes that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Refused(Refused),
    /// The engine ends the connection for the client's fault, which may be that of a request.
    ConnectionError(Option<Refused>),
}

const HEADER: usize = 9;
/// As much of a payload is looked at: a GOAWAY's reason and the first words of its debug data.
const PEEK: usize = 24;
/// A header block with a request id is longer: 26 characters take 17 bytes at the least.
const BARE_MAX: usize = 16;
/// `:status: 400` in the static table (RFC 7541 appendix A).
const STATUS_400: u8 = 0x8c;
/// Answers of the engine's own whose reset may follow yet.
const LATE_RESETS: usize = 16;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;
/// How the engine says in a GOAWAY that a header list is beyond all measure.
const HEADER_LIST: &[u8] = b"header_list";

/// A frame's header.
#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn parse(bytes: [u8; HEADER]) -> Self {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = bytes;
        let length = u32::from_be_bytes([0, l1, l2, l3]);
        Self {
            length: usize::try_from(length).unwrap_or(usize::MAX),
            kind,
            flags,
            stream: u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]),
        }
    }

    /// A header block that ends its stream and is too short for a request id: an answer of the
    /// engine's own, or trailers.
    fn is_short_end(self) -> bool {
        self.kind == HEADERS
            && self.flags & END_HEADERS != 0
            && self.flags & END_STREAM != 0
            && self.length <= BARE_MAX
    }
}

/// Follows what is written on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplyWatch {
    header: [u8; HEADER],
    /// Bytes of the header and of the payload that were seen of the frame under way.
    seen: usize,
    payload: [u8; PEEK],
    /// Streams whose answer has begun and not ended.
    answering: Vec<u32>,
    /// The last streams with an answer of the engine's own.
    own: [u32; LATE_RESETS],
    owned: usize,
    refused: u64,
    granted: u64,
    /// Every stream up to this one was either handed over or refused.
    settled: u32,
}

impl ReplyWatch {
    /// How much of `bytes`, which come next, may be written at once.
    pub(super) fn next(&self, bytes: &[u8]) -> Next {
        let mut at = self.rest_of_frame(bytes);
        while let Some((header, rest)) =
            bytes.get(at..).and_then(<[u8]>::split_first_chunk::<HEADER>)
        {
            let head = Head::parse(*header);
            let end = HEADER.saturating_add(head.length);
            if head.is_short_end() && rest.len() >= head.length {
                if at > 0 {
                    return Next::Pass(at);
                }
                if !self.answering.contains(&head.stream) {
                    return Next::Own { length: end, stream: head.stream };
                }
            }
            at = at.saturating_add(end);
        }
        Next::Pass(bytes.len())
    }

    /// Bytes up to the end of the frame under way.
    fn rest_of_frame(&self, bytes: &[u8]) -> usize {
        if self.seen == 0 {
            return 0;
        }
        let mut header = self.header;
        let missing = HEADER.saturating_sub(self.seen);
        for (place, byte) in header.iter_mut().skip(self.seen).zip(bytes) {
            *place = *byte;
        }
        if bytes.len() < missing {
            return bytes.len();
        }
        HEADER.saturating_add(Head::parse(header).length).saturating_sub(self.seen)
    }

    /// These bytes were written.
    pub(super) fn wrote(&mut self, bytes: &[u8], begun: Begun, mut found: impl FnMut(Found)) {
        if begun.opened == begun.handed_over.saturating_add(self.refused) {
            self.settled = begun.newest;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = if self.seen < HEADER {
                let places = self.header.iter_mut().skip(self.seen);
                places.zip(rest).map(|(place, byte)| *place = *byte).count()
            } else {
                let (from, left) = self.payload_place();
                let places = self.payload.iter_mut().skip(from);
                places.zip(rest.iter().take(left)).for_each(|(place, byte)| *place = *byte);
                left.min(rest.len())
            };
            self.seen = self.seen.saturating_add(used);
            if self.seen >= HEADER && self.payload_place().1 == 0 {
                self.seen = 0;
                let what = self.frame(begun);
                self.payload = [0; PEEK];
                if let Some(what) = what {
                    if let Found::Refused(_) | Found::ConnectionError(Some(_)) = what {
                        self.refused = self.refused.saturating_add(1);
                    }
                    found(what);
                }
            }
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// How many bytes of the payload were seen, and how many are to come.
    fn payload_place(&self) -> (usize, usize) {
        let from = self.seen.saturating_sub(HEADER);
        (from, Head::parse(self.header).length.saturating_sub(from))
    }

    /// Bytes that the client was allowed to send on the connection beyond the first window.
    pub(super) const fn granted(&self) -> u64 {
        self.granted
    }

    /// The client gave a stream up: it is answered no further.
    pub(super) fn given_up(&mut self, stream: u32) {
        self.answering.retain(|own| *own != stream);
    }

    fn frame(&mut self, begun: Begun) -> Option<Found> {
        let head = Head::parse(self.header);
        let open = begun.opened.saturating_sub(begun.handed_over.saturating_add(self.refused));
        match head.kind {
            HEADERS => {
                let first = !self.answering.contains(&head.stream);
                if head.flags & END_STREAM == 0 {
                    if first {
                        self.answering.push(head.stream);
                    }
                } else if first && head.is_short_end() {
                    return Some(Found::Refused(self.own_answer(head)));
                } else {
                    self.given_up(head.stream);
                }
                None
            }
            DATA if head.flags & END_STREAM != 0 => {
                self.given_up(head.stream);
                None
            }
            RST_STREAM => {
                let answered = self.answering.contains(&head.stream);
                self.given_up(head.stream);
                let known = answered || self.own.contains(&head.stream);
                match self.number(0) {
                    REFUSED_STREAM if !known => Some(Found::Refused(Refused::Streams)),
                    PROTOCOL_ERROR if !known && open > 0 && head.stream > self.settled => {
                        Some(Found::Refused(Refused::Malformed))
                    }
                    _ => None,
                }
            }
            WINDOW_UPDATE if head.stream == 0 => {
                self.granted = self.granted.saturating_add(u64::from(self.number(0)));
                None
            }
            GOAWAY => match self.number(4) {
                NO_ERROR => None,
                // The names of fields are read while a block is decompressed.
                PROTOCOL_ERROR | COMPRESSION_ERROR if open > 0 => {
                    Some(Found::ConnectionError(Some(Refused::Malformed)))
                }
                _ if self.payload.get(8..).is_some_and(|said| said.starts_with(HEADER_LIST)) => {
                    Some(Found::ConnectionError(Some(Refused::HeaderList)))
                }
                _ => Some(Found::ConnectionError(None)),
            },
            _ => None,
        }
    }

    fn own_answer(&mut self, head: Head) -> Refused {
        let place = self.owned % LATE_RESETS;
        if let Some(place) = self.own.get_mut(place) {
            *place = head.stream;
        }
        self.owned = self.owned.wrapping_add(1);
        let status = head.length.checked_sub(1).and_then(|last| self.payload.get(last));
        if status == Some(&STATUS_400) { Refused::Authority } else { Refused::HeaderList }
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map_or(NO_ERROR, |bytes| u32::from_be_bytes(*bytes))
    }
}

/// An answer of the engine's own, a whole frame, with fields put behind its status, and a body if there
/// is one. The fields are literals that enter no table (RFC 7541 §6.2.2), so both sides' compression goes
/// on as if they were not there.
#[must_use]
pub(super) fn explained(answer: &[u8], fields: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut out = answer.to_vec();
    for (name, value) in fields {
        // Names and values are the gateway's own and shorter than the 127 that one byte can say.
        let lengths = [name, value].map(|text| u8::try_from(text.len()).ok().filter(|n| *n < 127));
        let [Some(name_length), Some(value_length)] = lengths else { continue };
        out.extend([0, name_length]);
        out.extend_from_slice(name.as_bytes());
        out.push(value_length);
        out.extend_from_slice(value.as_bytes());
    }
    set_length(&mut out);
    if let Some(body) = body {
        let [.., s1, s2, s3, s4] = *out.first_chunk::<HEADER>().unwrap_or(&[0; HEADER]);
        if let Some(flags) = out.get_mut(4) {
            *flags &= !END_STREAM;
        }
        let mut data = vec![0, 0, 0, DATA, END_STREAM, s1, s2, s3, s4];
        data.extend_from_slice(body.as_bytes());
        set_length(&mut data);
        out.extend(data);
    }
    out
}

/// Writes the length of a frame's payload into its header.
fn set_length(frame: &mut [u8]) {
    let length = u32::try_from(frame.len().saturating_sub(HEADER)).unwrap_or_default();
    for (place, byte) in frame.iter_mut().zip(length.to_be_bytes().iter().skip(1)) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests;
