//! Counts what an HTTP/2 client sends beside its requests, as raw bytes and before the HTTP engine
//! acts on it: floods of frames that cost the sender nothing. Controls: MON-5.
//! Never sees: header values, payloads (they are skipped, and shown to who asks), sockets, clocks (time
//! is passed in).
//!
//! 1. Bytes pass only behind the client's preface and a `SETTINGS` frame (RFC 9113 §3.4).
//! 2. In any span of `window_ns` about `control_max` control frames pass and no more.
//! 3. A header block has at most [`CONTINUATIONS_MAX`] `CONTINUATION` frames, and nothing stands
//!    between them.
//! 4. Constant memory; the verdict does not depend on how the bytes were cut.
//!
//! Control frames are `SETTINGS`, `PING`, `PRIORITY`, `RST_STREAM`, `CONTINUATION`, frames of
//! unknown type, empty `DATA` frames that do not end a stream, and `WINDOW_UPDATE` frames that
//! nothing was sent for. A client acknowledges what it received, in the worst case with two updates
//! per `DATA` frame, so every [`SENT_PER_UPDATE`] bytes told to [`FrameGuard::sent`] pay for one.
//! On a fault: the connection is to be closed; the verdict stays.

/// What an HTTP/2 connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Control frames in each window.
    pub control_max: u32,
    /// Nanoseconds.
    pub window_ns: u64,
    /// Bytes of one frame's payload: what our SETTINGS allow, 16,384 unless they say otherwise.
    pub frame_max: u32,
}

/// What became of the bytes fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameStep {
    Ok,
    Refuse(FrameFault),
}

/// What is wrong with a client's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The connection does not begin with the client's preface and SETTINGS.
    Preface,
    /// A frame is longer than allowed.
    TooLarge,
    /// More control frames than allowed.
    Flood,
    /// A header block in too many pieces.
    HeaderBlock,
    /// A frame inside of a header block, a `CONTINUATION` outside of one, or a `PUSH_PROMISE`.
    Order,
}

impl FrameFault {
    /// A word for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preface => "preface",
            Self::TooLarge => "frame_too_large",
            Self::Flood => "control_flood",
            Self::HeaderBlock => "header_block",
            Self::Order => "frame_order",
        }
    }
}

/// What a client says in its frames, for who keeps account of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// A stream is opened; its header block, as much of it as has come with this chunk.
    Opened { stream: u32, block: &'a [u8] },
    /// A stream is given up.
    GaveUp(u32),
    /// The payload of a SETTINGS frame; `None` if it was cut.
    Settings(Option<&'a [u8]>),
    /// The connection's window is widened; the increment's four bytes begin so many before the end of
    /// the chunk. Not told if they were cut.
    Widened { before_end: usize },
}

/// The most `CONTINUATION` frames of one header block (CVE-2024-27316 and its kin). Clients fill
/// frames, so the header list's own limit is reached long before.
pub const CONTINUATIONS_MAX: u32 = 8;
/// Bytes sent that pay for one `WINDOW_UPDATE`: half of a small `DATA` frame with its header.
pub const SENT_PER_UPDATE: u64 = 16;
/// More credit than this is not saved up: 4,096 updates, a client's acknowledgement of 32 MiB.
const CREDIT_MAX: u64 = 4_096 * SENT_PER_UPDATE;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// So many bytes of a frame header have come.
    Header(usize),
    /// So many bytes of a payload are to come.
    Payload(usize),
    Refused(FrameFault),
}

/// A header block that is not whole.
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    continuations: u32,
}

/// Follows one connection.
#[derive(Clone, Debug)]
pub struct FrameGuard {
    limits: FrameLimits,
    state: State,
    header: [u8; HEADER],
    settled: bool,
    block: Option<Block>,
    stream_max: u32,
    streams: u64,
    data: u64,
    credit: u64,
    control: Window,
}

impl FrameGuard {
    pub const fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            state: State::Preface(0),
            header: [0; HEADER],
            settled: false,
            block: None,
            stream_max: 0,
            streams: 0,
            data: 0,
            credit: 0,
            control: Window { start_ns: 0, before: 0, now: 0 },
        }
    }

    /// How many streams the client has opened: HEADERS frames, trailers not counted.
    pub const fn headers_seen(&self) -> u64 {
        self.streams
    }

    /// Bytes of `DATA` payloads that the client has begun to send, which its window paid for.
    pub const fn data_seen(&self) -> u64 {
        self.data
    }

    /// The youngest stream that the client has opened.
    pub const fn newest(&self) -> u32 {
        self.stream_max
    }

    /// The server wrote so many bytes on this connection, which the client will acknowledge.
    pub const fn sent(&mut self, bytes: u64) {
        let credit = self.credit.saturating_add(bytes);
        self.credit = if credit < CREDIT_MAX { credit } else { CREDIT_MAX };
    }

    /// Looks at the next bytes of the connection, read at `now_ns` by the monotonic clock.
    pub fn feed(&mut self, chunk: &[u8], now_ns: u64) -> FrameStep {
        self.feed_telling(chunk, now_ns, |_told| {})
    }

    /// The same, and tells what the client says.
    pub fn feed_telling(
        &mut self,
        chunk: &[u8],
        now_ns: u64,
        mut told: impl FnMut(Told<'_>),
    ) -> FrameStep {
        let mut rest = chunk;
        loop {
            let used = match self.state {
                State::Refused(fault) => return FrameStep::Refuse(fault),
                _ if rest.is_empty() => return FrameStep::Ok,
                State::Preface(seen) => self.preface(seen, rest),
                State::Header(seen) => self.frame_header(seen, rest, now_ns, &mut told),
                State::Payload(left) => {
                    let used = left.min(rest.len());
                    let left = left - used;
                    self.state = if left == 0 { State::Header(0) } else { State::Payload(left) };
                    used
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    fn preface(&mut self, seen: usize, rest: &[u8]) -> usize {
        let due = PREFACE.get(seen..).unwrap_or_default();
        let used = due.len().min(rest.len());
        self.state = if rest.iter().zip(due).any(|(a, b)| a != b) {
            State::Refused(FrameFault::Preface)
        } else if used == due.len() {
            State::Header(0)
        } else {
            State::Preface(seen + used)
        };
        used
    }

    fn frame_header(
        &mut self,
        seen: usize,
        rest: &[u8],
        now_ns: u64,
        told: &mut impl FnMut(Told<'_>),
    ) -> usize {
        let places = self.header.iter_mut().skip(seen);
        let used = places.zip(rest).map(|(place, byte)| *place = *byte).count();
        if seen + used < HEADER {
            self.state = State::Header(seen + used);
            return used;
        }
        let streams = self.streams;
        self.state = match self.frame(now_ns) {
            Ok(length) => {
                let opened = self.streams > streams;
                self.tell(opened, length, rest.get(used..).unwrap_or_default(), told);
                if length == 0 { State::Header(0) } else { State::Payload(length) }
            }
            Err(fault) => State::Refused(fault),
        };
        used
    }

    /// Length, type, flags and stream of the frame whose header is complete.
    const fn head(&self) -> (u32, u8, u8, u32) {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = self.header;
        let length = u32::from_be_bytes([0, l1, l2, l3]);
        (length, kind, flags, u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]))
    }

    /// Tells what the frame says whose header is complete and behind which `next` has come.
    fn tell(&self, opened: bool, length: usize, next: &[u8], told: &mut impl FnMut(Told<'_>)) {
        let (_length, kind, flags, stream) = self.head();
        let whole = next.get(..length);
        match kind {
            HEADERS if opened => {
                let payload = whole.unwrap_or(next);
                let block = usize::from(flags & PADDED != 0)
                    + if flags & WITH_PRIORITY == 0 { 0 } else { 5 };
                told(Told::Opened { stream, block: payload.get(block..).unwrap_or_default() });
            }
            RST_STREAM => told(Told::GaveUp(stream)),
            SETTINGS => told(Told::Settings(whole)),
            WINDOW_UPDATE if stream == 0 && whole.is_some_and(|increment| increment.len() == 4) => {
                told(Told::Widened { before_end: next.len() });
            }
            _ => {}
        }
    }

    /// Judges the frame whose header is complete: the length of its payload.
    fn frame(&mut self, now_ns: u64) -> Result<usize, FrameFault> {
        let (length, kind, flags, stream) = self.head();
        if !self.settled && kind != SETTINGS {
            return Err(FrameFault::Preface);
        }
        self.settled = true;
        if length > self.limits.frame_max {
            return Err(FrameFault::TooLarge);
        }
        self.header_block(kind, flags, stream)?;
        let is_control = match kind {
            DATA => {
                self.data = self.data.saturating_add(u64::from(length));
                length == 0 && flags & END_STREAM == 0
            }
            HEADERS => {
                // Trailers come on a stream that is open already; ids only grow (RFC 9113 §5.1.1).
                self.streams += u64::from(stream > self.stream_max);
                self.stream_max = self.stream_max.max(stream);
                false
            }
            WINDOW_UPDATE => match self.credit.checked_sub(SENT_PER_UPDATE) {
                Some(credit) => {
                    self.credit = credit;
                    false
                }
                None => true,
            },
            _ => true,
        };
        if is_control && !self.control.admits(self.limits, now_ns) {
            return Err(FrameFault::Flood);
        }
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Keeps header blocks whole (RFC 9113 §4.3) and short.
    fn header_block(&mut self, kind: u8, flags: u8, stream: u32) -> Result<(), FrameFault> {
        let continuations = match (self.block, kind) {
            (Some(block), CONTINUATION) if block.stream == stream => block.continuations + 1,
            (None, HEADERS) => 0,
            (Some(_), _) | (None, CONTINUATION | PUSH_PROMISE) => return Err(FrameFault::Order),
            (None, _) => return Ok(()),
        };
        if continuations > CONTINUATIONS_MAX {
            return Err(FrameFault::HeaderBlock);
        }
        let open = flags & END_HEADERS == 0;
        self.block = open.then_some(Block { stream, continuations });
        Ok(())
    }
}

/// How many control frames came of late: those of this window, and of the one before as much as
/// still lies within one window's length, taken as evenly spread.
#[derive(Clone, Copy, Debug)]
struct Window {
    start_ns: u64,
    before: u32,
    now: u32,
}

impl Window {
    /// Counts one more, unless that is too many.
    fn admits(&mut self, limits: FrameLimits, now_ns: u64) -> bool {
        let length = limits.window_ns.max(1);
        let passed = now_ns.saturating_sub(self.start_ns) / length;
        if passed > 0 {
            self.before = if passed == 1 { self.now } else { 0 };
            self.now = 0;
            self.start_ns = self.start_ns.saturating_add(passed.saturating_mul(length));
        }
        let left = length - now_ns.saturating_sub(self.start_ns).min(length);
        let share = u128::from(self.before) * u128::from(left) / u128::from(length);
        if share + u128::from(self.now) >= u128::from(limits.control_max) {
            return false;
        }
        self.now += 1;
        true
    }
}

#[cfg(test)]
mod tests;
