//! Bodies as they are sent: whole, endless, slow, broken off or followed by trailers.
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval, sleep};

/// What [`Flow::repeat`] sends, over and over.
const FILL: &[u8; 16 * 1024] = &[b'.'; 16 * 1024];

/// An HTTP/2 reset overtakes what is still in the buffers; this lets it out first, on a busy machine too.
const BREAK_AFTER: Duration = Duration::from_millis(400);

/// The body ended on purpose before it was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowBroken;

impl fmt::Display for FlowBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body was broken off on purpose")
    }
}

impl std::error::Error for FlowBroken {}

/// A body to send, for the mock's answers and the caller's requests alike.
#[derive(Debug)]
pub struct Flow(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    Repeat { left: u64, length: Length },
    Slow { rest: Bytes, step: usize, tick: Interval },
    Broken { rest: Bytes, pause: Pin<Box<Sleep>> },
    Trailed(Bytes, Option<HeaderMap>),
}

/// Whether the length of a body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Declared,
    /// Chunked over HTTP/1.
    Unknown,
}

impl Flow {
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Whole(Bytes::new()))
    }

    #[must_use]
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(body.into()))
    }

    /// So many bytes of filling, made as they are sent.
    #[must_use]
    pub const fn repeat(bytes: u64, length: Length) -> Self {
        Self(Kind::Repeat { left: bytes, length })
    }

    /// `step` bytes (at least one) at a time, one step per `tick` (at least a millisecond).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn slow(body: impl Into<Bytes>, step: usize, tick: Duration) -> Self {
        let mut tick = interval(tick.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Kind::Slow { rest: body.into(), step: step.max(1), tick })
    }

    /// These bytes, then an error instead of an end, late enough that the head is on its way.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn broken(body: impl Into<Bytes>) -> Self {
        Self(Kind::Broken { rest: body.into(), pause: Box::pin(sleep(BREAK_AFTER)) })
    }

    #[must_use]
    pub fn trailed(body: impl Into<Bytes>, trailers: HeaderMap) -> Self {
        Self(Kind::Trailed(body.into(), Some(trailers)))
    }

    /// The bytes, where they are all at hand; nothing for filling.
    pub(super) fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Whole(body) | Kind::Trailed(body, _) => body,
            Kind::Slow { rest, .. } | Kind::Broken { rest, .. } => rest,
            Kind::Repeat { .. } => Bytes::new(),
        }
    }
}

fn data(body: &mut Bytes) -> Option<Frame<Bytes>> {
    let body = std::mem::take(body);
    if body.is_empty() { None } else { Some(Frame::data(body)) }
}

impl Body for Flow {
    type Data = Bytes;
    type Error = FlowBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FlowBroken>>> {
        let frame = match &mut self.0 {
            Kind::Whole(body) => data(body),
            Kind::Repeat { left, .. } => {
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(FILL.len());
                *left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
                data(&mut Bytes::from_static(FILL).split_to(size))
            }
            Kind::Slow { rest, step, tick } => {
                if !rest.is_empty() {
                    ready!(tick.poll_tick(cx));
                }
                data(&mut rest.split_to(rest.len().min(*step)))
            }
            Kind::Broken { rest, pause } => {
                let frame = data(rest);
                if frame.is_none() {
                    ready!(pause.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(FlowBroken)));
                }
                // It is in the buffers from now on.
                pause.as_mut().reset(Instant::now() + BREAK_AFTER);
                frame
            }
            Kind::Trailed(body, trailers) => {
                data(body).or_else(|| trailers.take().map(Frame::trailers))
            }
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.is_empty(),
            Kind::Repeat { left, .. } => *left == 0,
            Kind::Slow { rest, .. } => rest.is_empty(),
            Kind::Broken { .. } => false,
            Kind::Trailed(body, trailers) => body.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exact = |bytes: &Bytes| SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(0));
        match &self.0 {
            Kind::Whole(body) | Kind::Slow { rest: body, .. } => exact(body),
            Kind::Repeat { left, length: Length::Declared } => SizeHint::with_exact(*left),
            Kind::Repeat { length: Length::Unknown, .. }
            | Kind::Broken { .. }
            | Kind::Trailed(..) => SizeHint::default(),
        }
    }
}
