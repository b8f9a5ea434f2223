//! Joins two streams: bytes pass both ways, in the order they came, until both ways are at their end
//! or nothing has passed for a while.
//!
//! 1. A way reads only what it has room for: who does not read is not read for (MON-5).
//! 2. Neither way waits for the other, so that a side which writes before it reads is not stuck.
//! 3. What passed is counted as it passes; a relay that is dropped has counted right (LOG-1).
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use super::search::Socket;
use crate::base::Denial;

/// One record of TLS.
const ROOM: usize = 16 * 1024;
/// Reads of one way before the other has its turn.
const TURNS: usize = 8;
/// When one side has ended, or all must end, a pause of this length is the end. Farewells are over
/// by then (RFC 6455 §7.1.1), and what is still under way keeps passing.
const LINGER: Duration = Duration::from_secs(1);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both ways came to their end.
    Closed,
    /// Nothing passed for as long as it may.
    Silent,
    /// The stream of the client broke, rather than end.
    ClientBroke,
    UpstreamBroke,
    /// What was to pass may not.
    Refused(Denial),
}

/// One of the two streams, and what was read of it already.
#[derive(Debug)]
pub(super) struct Side<S> {
    pub(super) stream: S,
    pub(super) early: Bytes,
}

/// Who has a say in what passes.
pub(super) struct Passed<'c> {
    /// Who looks at bytes before they pass, up and down.
    pub(super) looks: [Option<&'c mut Socket>; 2],
    /// Is told how much has passed up and down in all, before and after each turn, and says whether
    /// more may.
    pub(super) toll: &'c mut (dyn FnMut(u64, u64) -> Result<(), Denial> + Send),
}

/// Runs until the end. `idle` is how long both sides may be silent; once `stop` is ready, and once
/// one side has ended, that is at most a second.
pub(super) async fn relay<C, U>(
    client: Side<C>,
    upstream: Side<U>,
    passed: Passed<'_>,
    idle: Duration,
    stop: impl Future<Output = ()>,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let [look_up, look_down] = passed.looks;
    let mut up = Way::new(&client.early, look_up);
    let mut down = Way::new(&upstream.early, look_down);
    let (mut client, mut upstream) = (client.stream, upstream.stream);
    let (mut stop, mut timer) = (pin!(stop), pin!(sleep(idle)));
    let (mut stopping, mut last) = (false, Instant::now());
    poll_fn(|cx| {
        let before = up.passed.saturating_add(down.passed);
        if let Err(denial) = (passed.toll)(up.passed, down.passed) {
            return Poll::Ready(End::Refused(denial));
        }
        let up_done = up.poll(cx, &mut client, &mut upstream).is_ready();
        let down_done = down.poll(cx, &mut upstream, &mut client).is_ready();
        // Whether more may is asked when there is more.
        let _later = (passed.toll)(up.passed, down.passed);
        if let Some(denial) = up.refused.or(down.refused) {
            return Poll::Ready(End::Refused(denial));
        }
        if up_done && down_done {
            return Poll::Ready(end(&up, &down, End::Closed));
        }
        if up.passed.saturating_add(down.passed) != before {
            last = Instant::now();
        }
        stopping = stopping || stop.as_mut().poll(cx).is_ready();
        let short = stopping || up_done || down_done;
        let silence = if short { idle.min(LINGER) } else { idle };
        // Traffic moves the timer only when it rings.
        let deadline = last.checked_add(silence).unwrap_or(last);
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                // A farewell, as far as it goes without waiting; the door sees to the client's.
                let _ = Pin::new(&mut upstream).poll_shutdown(cx);
                return Poll::Ready(end(&up, &down, End::Silent));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    })
    .await
}

/// A stream that broke is the reason, whatever came after it. One that had ended before it took no
/// more has not broken.
fn end(up: &Way<'_>, down: &Way<'_>, otherwise: End) -> End {
    let broke = |from: &Way<'_>, to: &Way<'_>| {
        from.source == Source::Broke || (to.sink == Sink::Gone && from.source == Source::Open)
    };
    if broke(up, down) {
        End::ClientBroke
    } else if broke(down, up) {
        End::UpstreamBroke
    } else {
        otherwise
    }
}

/// Bytes on their way from one stream to the other.
struct Way<'c> {
    look: Option<&'c mut Socket>,
    refused: Option<Denial>,
    room: Vec<u8>,
    /// What of `room` is still to be written.
    rest: Range<usize>,
    passed: u64,
    source: Source,
    sink: Sink,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Open,
    Ended,
    Broke,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Flushed,
    Unflushed,
    /// Told that nothing more comes.
    Closed,
    /// Takes no more.
    Gone,
}

impl<'c> Way<'c> {
    fn new(early: &[u8], look: Option<&'c mut Socket>) -> Self {
        let mut room = early.to_vec();
        room.resize(ROOM.max(early.len()), 0);
        let (source, sink) = (Source::Open, Sink::Flushed);
        let mut way = Self { look, refused: None, room, rest: 0..0, passed: 0, source, sink };
        way.came(early.len());
        way
    }

    /// So many bytes of the room came, and pass if they may.
    fn came(&mut self, count: usize) {
        let bytes = self.room.get(..count).unwrap_or_default();
        let looked = self.look.as_mut().map_or(Ok(()), |look| look.look(bytes));
        self.refused = looked.err();
        self.rest = if self.refused.is_none() { 0..count } else { 0..0 };
    }

    /// Moves what can be moved. Ready when the way is at its end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<()> {
        for _ in 0..TURNS {
            if matches!(self.sink, Sink::Closed | Sink::Gone) || self.refused.is_some() {
                return Poll::Ready(());
            }
            if let Err(_gone) = ready!(self.poll_turn(cx, source, sink)) {
                self.sink = Sink::Gone;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what was read, then reads. An error is the sink's.
    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.room.get(self.rest.clone()) {
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.start = self.rest.start.saturating_add(written);
            self.passed = self.passed.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
            self.sink = Sink::Unflushed;
        }
        if self.source != Source::Open {
            // All that was read is written: one that doesn't hear of the end misses nothing.
            let _ = ready!(Pin::new(sink).poll_shutdown(cx));
            self.sink = Sink::Closed;
            return Poll::Ready(Ok(()));
        }
        let mut room = ReadBuf::new(&mut self.room);
        let Poll::Ready(read) = Pin::new(source).poll_read(cx, &mut room) else {
            if self.sink == Sink::Unflushed {
                ready!(Pin::new(sink).poll_flush(cx))?;
                self.sink = Sink::Flushed;
            }
            return Poll::Pending;
        };
        let count = room.filled().len();
        self.came(count);
        self.source = match read {
            Ok(()) if count > 0 => Source::Open,
            Ok(()) => Source::Ended,
            // Without TLS's farewell, which many leave out; the socket has one of its own.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Source::Ended,
            Err(_broken) => Source::Broke,
        };
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);
    const NEARLY_IDLE: Duration = Duration::from_secs(59);

    /// A relay at work, and the far ends of its streams.
    struct Joined {
        client: DuplexStream,
        upstream: DuplexStream,
        stop: tokio::sync::oneshot::Sender<()>,
        relay: JoinHandle<(End, u64, u64)>,
        began: Instant,
    }

    impl Joined {
        fn new(room: usize, early: [&'static [u8]; 2]) -> Self {
            let (client, near) = duplex(room);
            let (upstream, far) = duplex(room);
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let [up, down] = early.map(Bytes::from_static);
            let relay = tokio::spawn(async move {
                let (mut sent, mut got) = (0, 0);
                let mut toll = |up, down| {
                    (sent, got) = (up, down);
                    Ok(())
                };
                let passed = Passed { looks: [None, None], toll: &mut toll };
                let (near, far) =
                    (Side { stream: near, early: up }, Side { stream: far, early: down });
                let stop = async {
                    if stopped.await.is_err() {
                        pending::<()>().await;
                    }
                };
                let end = relay(near, far, passed, IDLE, stop).await;
                (end, sent, got)
            });
            Self { client, upstream, stop, relay, began: Instant::now() }
        }
    }

    async fn read(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_were_there_early_come_first() {
        let mut joined = Joined::new(4_096, [b"up ", b"down "]);
        joined.client.write_all(b"and up").await.unwrap();
        joined.upstream.write_all(b"and down").await.unwrap();
        assert_eq!(read(&mut joined.upstream, 9).await, b"up and up");
        assert_eq!(read(&mut joined.client, 13).await, b"down and down");
        drop(joined.client);
        assert_eq!(joined.upstream.read(&mut [0]).await.unwrap(), 0);
        drop(joined.upstream);
        assert_eq!(joined.relay.await.unwrap(), (End::Closed, 9, 13));
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_reads_only_after_it_wrote_is_not_stuck() {
        const MANY: usize = 100_000;
        let mut joined = Joined::new(64, [b"", b""]);
        let (mut reads, mut writes) = tokio::io::split(joined.upstream);
        let writing = tokio::spawn(async move { writes.write_all(&vec![1; MANY]).await.unwrap() });
        let reading = tokio::spawn(async move {
            let mut bytes = vec![0; MANY];
            reads.read_exact(&mut bytes).await.unwrap();
            bytes
        });
        joined.client.write_all(&vec![2; MANY]).await.unwrap();
        assert_eq!(reading.await.unwrap(), vec![2; MANY]);
        assert!(!writing.is_finished(), "the client has read nothing yet");
        assert_eq!(read(&mut joined.client, MANY).await, vec![1; MANY]);
        writing.await.unwrap();
        drop(joined.client);
        let many = u64::try_from(MANY).unwrap();
        assert_eq!(joined.relay.await.unwrap(), (End::Closed, many, many));
    }

    #[tokio::test(start_paused = true)]
    async fn mon_5_silence_on_both_sides_is_the_end_and_traffic_on_one_is_none() {
        let mut joined = Joined::new(4_096, [b"", b""]);
        for _ in 0..10 {
            tokio::time::advance(NEARLY_IDLE).await;
            joined.upstream.write_all(b".").await.unwrap();
            assert_eq!(read(&mut joined.client, 1).await, b".");
        }
        let last = Instant::now();
        assert_eq!(joined.client.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(last.elapsed().as_secs(), IDLE.as_secs());
        assert_eq!(joined.relay.await.unwrap(), (End::Silent, 0, 10));
        assert_eq!(joined.began.elapsed().as_secs(), 59 * 10 + 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_has_to_stop_waits_for_a_pause() {
        let mut joined = Joined::new(4_096, [b"", b""]);
        joined.stop.send(()).unwrap();
        for _ in 0..10 {
            tokio::time::advance(LINGER / 2).await;
            joined.client.write_all(b".").await.unwrap();
            assert_eq!(read(&mut joined.upstream, 1).await, b".");
        }
        let last = Instant::now();
        assert_eq!(joined.upstream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(last.elapsed().as_secs(), LINGER.as_secs());
        assert_eq!(joined.relay.await.unwrap(), (End::Silent, 10, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_side_s_end_reaches_the_other_which_has_a_moment_to_end_too() {
        let mut joined = Joined::new(4_096, [b"", b""]);
        joined.upstream.write_all(b"bye").await.unwrap();
        joined.upstream.shutdown().await.unwrap();
        assert_eq!(read(&mut joined.client, 3).await, b"bye");
        assert_eq!(joined.client.read(&mut [0]).await.unwrap(), 0);
        joined.client.write_all(b"bye").await.unwrap();
        assert_eq!(read(&mut joined.upstream, 3).await, b"bye");
        let last = Instant::now();
        assert_eq!(joined.relay.await.unwrap(), (End::Silent, 3, 3));
        assert_eq!(last.elapsed().as_secs(), LINGER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_broke_is_told() {
        // Gone without an end of its own: what is written for it can't be delivered.
        let mut joined = Joined::new(4_096, [b"", b""]);
        drop(joined.upstream);
        assert_eq!(joined.client.read(&mut [0]).await.unwrap(), 0);
        joined.client.write_all(b"late").await.unwrap();
        drop(joined.client);
        let (end, up, _) = joined.relay.await.unwrap();
        assert_eq!((end, up), (End::Closed, 0), "it had ended before");
        let (other, far) = duplex(64);
        let end = alone(Reset, far).await;
        assert_eq!(end, End::ClientBroke);
        drop(other);
        let (other, near) = duplex(64);
        assert_eq!(alone(near, Reset).await, End::UpstreamBroke);
        drop(other);
    }

    async fn alone<C, U>(client: C, upstream: U) -> End
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let passed = Passed { looks: [None, None], toll: &mut |_, _| Ok(()) };
        let client = Side { stream: client, early: Bytes::new() };
        let upstream = Side { stream: upstream, early: Bytes::new() };
        relay(client, upstream, passed, IDLE, pending()).await
    }

    /// A stream that its peer has reset.
    struct Reset;

    impl AsyncRead for Reset {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    impl AsyncWrite for Reset {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
