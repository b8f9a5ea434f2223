//! Counts what an HTTP/2 client sends beside its requests, as raw bytes and before the HTTP engine
//! acts on it: floods of frames that cost the sender nothing. Controls: MON-5.
//! Never sees: header values, payloads (they are skipped), sockets, clocks (time is passed in).
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
        self.feed_telling(chunk, now_ns, |_stream| {})
    }

    /// The same, and tells the streams that the client gives up.
    pub fn feed_telling(
        &mut self,
        chunk: &[u8],
        now_ns: u64,
        mut gave_up: impl FnMut(u32),
    ) -> FrameStep {
        let mut rest = chunk;
        loop {
            let used = match self.state {
                State::Refused(fault) => return FrameStep::Refuse(fault),
                _ if rest.is_empty() => return FrameStep::Ok,
                State::Preface(seen) => self.preface(seen, rest),
                State::Header(seen) => self.frame_header(seen, rest, now_ns, &mut gave_up),
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
        gave_up: &mut impl FnMut(u32),
    ) -> usize {
        let places = self.header.iter_mut().skip(seen);
        let used = places.zip(rest).map(|(place, byte)| *place = *byte).count();
        self.state = if seen + used < HEADER {
            State::Header(seen + used)
        } else {
            match self.frame(now_ns, gave_up) {
                Ok(0) => State::Header(0),
                Ok(length) => State::Payload(length),
                Err(fault) => State::Refused(fault),
            }
        };
        used
    }

    /// Judges the frame whose header is complete: the length of its payload.
    fn frame(&mut self, now_ns: u64, gave_up: &mut impl FnMut(u32)) -> Result<usize, FrameFault> {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = self.header;
        let length = u32::from_be_bytes([0, l1, l2, l3]);
        let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
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
        if kind == RST_STREAM {
            gave_up(stream);
        }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;
    const LIMITS: FrameLimits =
        FrameLimits { control_max: 100, window_ns: 10 * SECOND, frame_max: 16_384 };
    const PING: u8 = 0x6;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn open() -> Vec<u8> {
        [&PREFACE[..], &frame(SETTINGS, 0, 0, &[0; 12])].concat()
    }

    fn opened() -> FrameGuard {
        let mut guard = FrameGuard::new(LIMITS);
        assert_eq!(guard.feed(&open(), 0), FrameStep::Ok);
        guard
    }

    fn refused(fault: FrameFault) -> FrameStep {
        FrameStep::Refuse(fault)
    }

    #[test]
    fn mon_5_only_http_2_passes() {
        for bad in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"\0"] {
            assert_eq!(FrameGuard::new(LIMITS).feed(bad, 0), refused(FrameFault::Preface));
        }
        let mut guard = FrameGuard::new(LIMITS);
        assert_eq!(guard.feed(PREFACE, 0), FrameStep::Ok);
        assert_eq!(guard.feed(&frame(PING, 0, 0, &[0; 8]), 0), refused(FrameFault::Preface));
        assert_eq!(guard.feed(&frame(SETTINGS, 0, 0, &[]), 0), refused(FrameFault::Preface));
    }

    #[test]
    fn mon_5_control_floods_are_cut() {
        for (kind, flags, payload) in [
            (SETTINGS, 0, 0),
            (SETTINGS, 1, 0),
            (PING, 0, 8),
            (0x2, 0, 5),
            (RST_STREAM, 0, 4),
            (WINDOW_UPDATE, 0, 4),
            (DATA, 0, 0),
            (0x10, 0, 3),
            (0xff, 0, 0),
        ] {
            let mut guard = opened();
            let frame = frame(kind, flags, 1, &vec![0; payload]);
            for _ in 1..100 {
                assert_eq!(guard.feed(&frame, SECOND), FrameStep::Ok, "{kind}");
            }
            assert_eq!(guard.feed(&frame, SECOND), refused(FrameFault::Flood), "{kind}");
        }
    }

    #[test]
    fn mon_5_requests_and_bodies_are_no_control_frames() {
        let mut guard = opened();
        for n in 0..10_000_u32 {
            let stream = 2 * n + 1;
            assert_eq!(guard.feed(&frame(HEADERS, END_HEADERS, stream, b"x"), 0), FrameStep::Ok);
            assert_eq!(guard.feed(&frame(DATA, 0, stream, b"x"), 0), FrameStep::Ok);
            assert_eq!(guard.feed(&frame(DATA, END_STREAM, stream, b""), 0), FrameStep::Ok);
            assert_eq!(guard.headers_seen(), u64::from(n) + 1);
        }
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"x");
        assert_eq!(guard.feed(&trailers, 0), FrameStep::Ok);
        assert_eq!(guard.headers_seen(), 10_000);
    }

    #[test]
    fn mon_5_acknowledging_what_was_sent_is_no_flood() {
        let mut guard = opened();
        let update = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 1, 0]);
        for _ in 0..10_000 {
            guard.sent(2 * SENT_PER_UPDATE);
            assert_eq!(guard.feed(&[&update[..], &update].concat(), 0), FrameStep::Ok);
        }
        guard.sent(u64::MAX);
        for _ in 0..4_096 + 99 {
            assert_eq!(guard.feed(&update, 0), FrameStep::Ok);
        }
        assert_eq!(guard.feed(&update, 0), refused(FrameFault::Flood));
    }

    #[test]
    fn mon_5_the_window_slides() {
        let mut guard = opened();
        let ping = frame(PING, 0, 0, &[0; 8]);
        let mut pass = |seconds: u64, count: u32| {
            (0..count).all(|_| guard.feed(&ping, seconds * SECOND) == FrameStep::Ok)
        };
        assert!(pass(9, 99));
        // Half of the hundred of 0..10 s still counts at 15 s.
        assert!(pass(15, 50));
        assert!(pass(25, 70));
        assert!(!pass(25, 10));
    }

    #[test]
    fn mon_5_header_blocks_are_whole_and_short() {
        let start = frame(HEADERS, 0, 1, b"x");
        let more = frame(CONTINUATION, 0, 1, b"");
        let end = frame(CONTINUATION, END_HEADERS, 1, b"");
        let mut guard = opened();
        assert_eq!(guard.feed(&[&start[..], &more.repeat(7), &end].concat(), 0), FrameStep::Ok);
        let mut guard = opened();
        let long = [&start[..], &more.repeat(9)].concat();
        assert_eq!(guard.feed(&long, 0), refused(FrameFault::HeaderBlock));
        for bad in [
            end.clone(),
            [&start[..], &frame(DATA, 0, 1, b"x")].concat(),
            [&start[..], &frame(CONTINUATION, END_HEADERS, 3, b"")].concat(),
            [&start[..], &start].concat(),
            frame(PUSH_PROMISE, END_HEADERS, 1, b"xxxx"),
        ] {
            assert_eq!(opened().feed(&bad, 0), refused(FrameFault::Order));
        }
    }

    #[test]
    fn mon_5_an_oversized_frame_is_refused_by_its_header() {
        let mut guard = opened();
        let full = frame(DATA, 0, 1, &vec![0; 16_384]);
        assert_eq!(guard.feed(&full, 0), FrameStep::Ok);
        assert_eq!(
            guard.feed(&[0, 0x40, 0x01, DATA, 0, 0, 0, 0, 1], 0),
            refused(FrameFault::TooLarge)
        );
    }

    fn some_frame() -> impl Strategy<Value = Vec<u8>> {
        (0..12_u8, prop::sample::select(vec![0, END_STREAM, END_HEADERS, 5]), 0..4_u32, 0..40_usize)
            .prop_map(|(kind, flags, stream, length)| {
                frame(kind, flags, stream, &vec![b'x'; length])
            })
    }

    proptest! {
        #[test]
        fn mon_5_frames_are_judged_alike_however_they_are_cut(
            frames in prop::collection::vec(some_frame(), 0..40),
            noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let limits = FrameLimits { control_max: 12, ..LIMITS };
            let mut bytes = open();
            bytes.extend(frames.concat());
            if let Some((at, byte)) = noise {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let mut whole = FrameGuard::new(limits);
            let verdict = whole.feed(&bytes, 5);
            let mut at: Vec<_> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut cut = FrameGuard::new(limits);
            let mut last = FrameStep::Ok;
            for pair in at.windows(2) {
                last = cut.feed(&bytes[pair[0]..pair[1]], 5);
            }
            prop_assert_eq!(last, verdict);
            prop_assert_eq!(cut.headers_seen(), whole.headers_seen());
        }
    }
}
