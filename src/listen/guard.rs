//! Judges the bytes of a connection before the HTTP engine sees them. Controls: MON-5.
//!
//! Never sees: sockets, clocks (time comes as nanoseconds), policy.
//! 1. On HTTP/1 no byte of a head reaches the engine unless every byte before it was well formed.
//! 2. A pending read always has a deadline, except while the engine owns a request without a body.
//! 3. Where one request ends, the guard and the engine agree, or the connection ends.
//! 4. Memory is fixed: the guards keep counters, not bytes.
use std::time::Duration;

use super::chunked::{ChunkGuard, ChunkStep};
use super::frames::{FrameFault, FrameGuard, FrameLimits, FrameStep, Told};
use super::head::{BodyFraming, HeadGuard, HeadLimits, HeadStep};
use super::margin::Margin;
use super::replies::{Begun, Found, Next, ReplyWatch};
use crate::base::HeadFault;
use crate::config::Bounds;
use crate::engine::BodyFault;

/// What to do with the bytes just read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// Hide them from the engine, answer this fault, close.
    Refuse(HeadFault),
    /// Hide them and break the connection: the engine owns the request and answers.
    Break(BodyFault),
    /// Break an HTTP/2 connection.
    Flood(FrameFault),
}

/// Where an HTTP/1 connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the first byte of a head.
    Idle,
    Head,
    Body(Body),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// None, or all of it was seen.
    Done,
    Length(u64),
    Chunked,
}

#[derive(Debug)]
pub(super) struct H1Guard {
    head: HeadGuard,
    chunks: ChunkGuard,
    phase: Phase,
    armed_for: u32,
    /// Bytes a second, at least.
    body_rate: u64,
    /// By how much the body is later than at that rate. Bytes pay it off, but nothing is saved up: who
    /// was fast may not stop for hours.
    behind: Duration,
}

/// What [`H1Guard::arm`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Armed {
    Before,
    Now,
    /// The engine begins a request where this guard sees the body of the last one.
    Astray,
}

impl H1Guard {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            head: HeadGuard::new(HeadLimits {
                bytes_max: bounds.header_bytes,
                count_max: bounds.header_count,
                target_max: bounds.target_bytes,
            }),
            chunks: ChunkGuard::new(),
            phase: Phase::Body(Body::Done),
            armed_for: 0,
            body_rate: bounds.body_rate.max(1),
            behind: Duration::ZERO,
        }
    }

    /// Expects a head once the gateway has begun a request that this guard has not seen.
    pub(super) fn arm(&mut self, begun: u32) -> Armed {
        if begun == self.armed_for {
            return Armed::Before;
        }
        if self.phase != Phase::Body(Body::Done) {
            return Armed::Astray;
        }
        self.armed_for = begun;
        self.head.reset();
        self.phase = Phase::Idle;
        self.behind = Duration::ZERO;
        Armed::Now
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Verdict {
        let mut rest = bytes;
        let mut in_one = false;
        if matches!(self.phase, Phase::Idle | Phase::Head) {
            self.phase = Phase::Head;
            match self.head.feed(bytes) {
                HeadStep::NeedMore => return Verdict::Pass,
                HeadStep::Refuse(fault) => return Verdict::Refuse(fault),
                HeadStep::Done { head_len_in_chunk } => {
                    self.phase = Phase::Body(match self.head.body() {
                        BodyFraming::None | BodyFraming::Length(0) => Body::Done,
                        BodyFraming::Length(length) => Body::Length(length),
                        BodyFraming::Chunked => {
                            self.chunks = ChunkGuard::new();
                            Body::Chunked
                        }
                    });
                    rest = bytes.get(head_len_in_chunk..).unwrap_or_default();
                    in_one = true;
                }
            }
        }
        match self.feed_body(rest) {
            // The engine has not seen the head either, so nobody there could answer.
            Verdict::Break(_) if in_one => Verdict::Refuse(HeadFault::TransferCoding),
            verdict => verdict,
        }
    }

    fn feed_body(&mut self, bytes: &[u8]) -> Verdict {
        if bytes.is_empty() {
            return Verdict::Pass;
        }
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self.phase {
            Phase::Body(Body::Length(left)) => {
                self.pay(count);
                let left = left.saturating_sub(count);
                self.phase = Phase::Body(if left == 0 { Body::Done } else { Body::Length(left) });
            }
            Phase::Body(Body::Chunked) => {
                self.pay(count);
                match self.chunks.feed(bytes) {
                    ChunkStep::NeedMore => {}
                    ChunkStep::Done { .. } => self.phase = Phase::Body(Body::Done),
                    ChunkStep::Refuse(_) => return Verdict::Break(BodyFault::Framing),
                }
            }
            // Bytes past the end of a request: the engine does not pipeline and closes after it.
            Phase::Body(Body::Done) | Phase::Idle | Phase::Head => {}
        }
        Verdict::Pass
    }

    fn pay(&mut self, bytes: u64) {
        let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.body_rate);
        self.behind = self.behind.saturating_sub(earned);
    }

    /// How long a read may stay pending from now on. `None`: as long as the engine wishes.
    pub(super) fn patience(&self, bounds: &Bounds) -> Option<Duration> {
        match self.phase {
            Phase::Idle if self.armed_for <= 1 => Some(bounds.first_byte),
            Phase::Idle => Some(bounds.idle),
            Phase::Head => Some(bounds.header),
            Phase::Body(Body::Done) => None,
            Phase::Body(Body::Length(_) | Body::Chunked) => {
                Some(bounds.body_rate_grace.saturating_sub(self.behind))
            }
        }
    }

    /// A read was pending this long before bytes came.
    pub(super) fn waited(&mut self, time: Duration) {
        if matches!(self.phase, Phase::Body(_)) {
            self.behind = self.behind.saturating_add(time);
        }
    }

    /// Waits for a request of which no byte has come.
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// What it means that the patience ran out. `None`: an idle connection, closed without a word.
    pub(super) fn out_of_patience(&self) -> Option<Verdict> {
        match self.phase {
            Phase::Idle => None,
            Phase::Head => Some(Verdict::Refuse(HeadFault::TooSlow)),
            Phase::Body(_) => Some(Verdict::Break(BodyFault::TooSlow)),
        }
    }

    /// Whether the time in [`Self::patience`] counts from the first byte of the head rather than
    /// from the last read.
    pub(super) const fn counts_from_start(&self) -> bool {
        matches!(self.phase, Phase::Head)
    }
}

#[derive(Debug)]
pub(super) struct H2Guard {
    frames: FrameGuard,
    replies: ReplyWatch,
    margin: Margin,
    /// The largest that the connection's window has been.
    window_max: u64,
}

/// The window that every HTTP/2 connection begins with (RFC 9113 §6.9.2).
const FIRST_WINDOW: u64 = 65_535;

impl H2Guard {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            frames: FrameGuard::new(FrameLimits {
                control_max: bounds.h2_control_frames.count,
                window_ns: u64::try_from(bounds.h2_control_frames.per.as_nanos())
                    .unwrap_or(u64::MAX),
                // RFC 9113 §6.5.2: the size nobody may exceed unless we had allowed more.
                frame_max: 16_384,
            }),
            replies: ReplyWatch::default(),
            margin: Margin::new(),
            window_max: FIRST_WINDOW,
        }
    }

    /// Judges what the client sent, and keeps a margin of the window that it gives.
    pub(super) fn feed(&mut self, bytes: &mut [u8], now_ns: u64) -> Verdict {
        let (replies, margin) = (&mut self.replies, &mut self.margin);
        let mut widened = None;
        let step = self.frames.feed_telling(bytes, now_ns, |told| match told {
            Told::Opened { stream, block } => margin.opened(stream, block),
            Told::GaveUp(stream) => replies.given_up(stream),
            Told::Settings(payload) => margin.settings(payload),
            // One of a chunk is enough.
            Told::Widened { before_end } => widened = Some(before_end),
        });
        let at = widened.and_then(|before_end| bytes.len().checked_sub(before_end));
        let increment =
            at.and_then(|at| bytes.get_mut(at..)).and_then(<[u8]>::first_chunk_mut::<4>);
        if let Some(increment) = increment {
            self.margin.keep(increment);
        }
        match step {
            FrameStep::Ok => Verdict::Pass,
            FrameStep::Refuse(fault) => Verdict::Flood(fault),
        }
    }

    /// Whether a body of so many bytes may follow an answer of the engine's own; if so, it is taken to
    /// be sent.
    pub(super) fn may_explain(&mut self, stream: u32, body: usize) -> bool {
        let may = self.margin.take(stream, body);
        if may {
            self.frames.sent(u64::try_from(body).unwrap_or(u64::MAX));
        }
        may
    }

    /// What to do with the bytes that the engine wants to write.
    pub(super) fn next(&self, bytes: &[u8]) -> Next {
        self.replies.next(bytes)
    }

    /// The engine sent these bytes, which the client will acknowledge with frames of its own, after it
    /// had handed over so many requests.
    pub(super) fn sent(&mut self, bytes: &[u8], handed_over: u32, found: impl FnMut(Found)) {
        self.frames.sent(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let begun = Begun {
            opened: self.frames.headers_seen(),
            newest: self.frames.newest(),
            handed_over: u64::from(handed_over),
        };
        self.replies.wrote(bytes, begun, found);
        self.window_max = self.window_max.max(self.window());
    }

    /// What the client may still send.
    fn window(&self) -> u64 {
        let allowed = FIRST_WINDOW.saturating_add(self.replies.granted());
        allowed.saturating_sub(self.frames.data_seen())
    }

    /// Whether bytes of bodies lie here that nobody takes: then it is not the client that is waited for.
    /// The engine widens the window as bodies are read, and with all of them read more than two thirds
    /// of it are open.
    pub(super) fn is_backed_up(&self) -> bool {
        self.window() < self.window_max / 2
    }

    /// Until the first request came, the client has the first-byte time; afterwards the engine's
    /// own idle time counts.
    pub(super) fn patience(&self, bounds: &Bounds) -> Option<Duration> {
        (self.frames.headers_seen() == 0).then_some(bounds.first_byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn armed() -> H1Guard {
        let mut guard = H1Guard::new(&Bounds::small());
        assert_eq!(guard.arm(1), Armed::Now);
        assert_eq!(guard.arm(1), Armed::Before);
        guard
    }

    const LENGTH: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n";
    const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn mon_5_each_wait_has_its_own_patience() {
        let bounds = Bounds::small();
        let mut guard = armed();
        assert_eq!(guard.patience(&bounds), Some(bounds.first_byte));
        assert_eq!(guard.out_of_patience(), None);
        assert_eq!(guard.feed(b"GET / HT"), Verdict::Pass);
        assert_eq!(guard.patience(&bounds), Some(bounds.header));
        assert_eq!(guard.out_of_patience(), Some(Verdict::Refuse(HeadFault::TooSlow)));
        assert_eq!(guard.feed(b"TP/1.1\r\nHost: a\r\n\r\n"), Verdict::Pass);
        assert_eq!(guard.patience(&bounds), None, "the engine owns it");
        assert_eq!(guard.arm(2), Armed::Now);
        assert_eq!(guard.patience(&bounds), Some(bounds.idle));
    }

    #[test]
    fn mon_5_bodies_that_nobody_takes_back_up() {
        let frame = |kind, stream: u32, payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
        };
        let mut guard = H2Guard::new(&Bounds::small());
        let mut open = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, &[])].concat();
        assert_eq!(guard.feed(&mut open, 0), Verdict::Pass);
        let data = |bytes| frame(0, 1, &vec![b'.'; bytes]);
        let update = |bytes: u32| frame(8, 0, &bytes.to_be_bytes());
        assert_eq!(guard.feed(&mut data(16_384), 0), Verdict::Pass);
        assert_eq!(guard.feed(&mut data(16_384), 0), Verdict::Pass);
        assert!(!guard.is_backed_up());
        assert_eq!(guard.feed(&mut data(1), 0), Verdict::Pass);
        assert!(guard.is_backed_up());
        // Of one stream only: nothing on the connection was taken.
        guard.sent(&frame(8, 1, &32_769_u32.to_be_bytes()), 1, |_found| {});
        assert!(guard.is_backed_up());
        guard.sent(&update(32_769), 1, |_found| {});
        assert!(!guard.is_backed_up());
        // A larger window is half closed later.
        guard.sent(&update(65_535), 1, |_found| {});
        for _ in 0..3 {
            assert_eq!(guard.feed(&mut data(16_384), 0), Verdict::Pass);
        }
        assert!(!guard.is_backed_up());
        assert_eq!(guard.feed(&mut data(16_384), 0), Verdict::Pass);
        assert!(guard.is_backed_up());
    }

    #[test]
    fn mon_5_speed_of_a_body_is_not_saved_up() {
        let bounds = Bounds::small();
        let mut guard = armed();
        assert_eq!(guard.feed(LENGTH), Verdict::Pass);
        // Fast at first: no more patience than the grace.
        assert_eq!(guard.feed(&[b'.'; 3_000]), Verdict::Pass);
        assert_eq!(guard.patience(&bounds), Some(10 * SECOND));
        guard.waited(4 * SECOND);
        assert_eq!(guard.patience(&bounds), Some(6 * SECOND));
        // A thousand bytes pay off a second.
        assert_eq!(guard.feed(&[b'.'; 1_000]), Verdict::Pass);
        assert_eq!(guard.patience(&bounds), Some(7 * SECOND));
        guard.waited(8 * SECOND);
        assert_eq!(guard.patience(&bounds), Some(Duration::ZERO));
        assert_eq!(guard.out_of_patience(), Some(Verdict::Break(BodyFault::TooSlow)));
    }

    #[test]
    fn mon_5_a_broken_body_is_answered_by_whoever_can() {
        // The engine has the head: it answers.
        let mut guard = armed();
        assert_eq!(guard.feed(CHUNKED), Verdict::Pass);
        assert_eq!(guard.feed(b"zz\r\n"), Verdict::Break(BodyFault::Framing));
        // The head came with it and is hidden too: the door answers.
        let mut guard = armed();
        let refused = Verdict::Refuse(HeadFault::TransferCoding);
        assert_eq!(guard.feed(&[CHUNKED, b"zz\r\n"].concat()), refused);
    }

    #[test]
    fn mon_5_an_engine_that_sees_another_end_of_a_request_is_stopped() {
        let mut guard = armed();
        assert_eq!(guard.feed(LENGTH), Verdict::Pass);
        assert_eq!(guard.feed(&[b'.'; 4_999]), Verdict::Pass);
        assert_eq!(guard.arm(2), Armed::Astray);
        assert_eq!(guard.feed(b"."), Verdict::Pass);
        assert_eq!(guard.arm(2), Armed::Now);
    }
}
