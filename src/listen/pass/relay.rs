//! Carries bytes between two sockets, both ways, until both have ended. On Linux they go through a
//! pipe inside the kernel (splice(2)) and never come here; a pipe is held only while something is in
//! it, so a connection that is silent has none.
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::moved::{Moved, Way};
use crate::engine::{PassEnd, PassRoute};

/// Pipes that wait for use. A connection needs one for each way while bytes are under way.
const PIPES_KEPT: usize = 64;
/// What is moved at once, at most. A pipe holds 64 KiB as a rule, and more in large pages.
#[cfg(target_os = "linux")]
const AT_ONCE: usize = 1 << 20;
/// Where there are no pipes.
const BUFFER: usize = 32 << 10;

/// Which side failed.
#[derive(Clone, Copy)]
enum Side {
    From,
    To,
}

/// The types of TLS records: 20 to 23 (RFC 8446 §5.1).
const RECORDS: std::ops::RangeInclusive<u8> = 20..=23;

/// Carries bytes until both sides have ended, one has failed, or both are silent for too long. `heard`
/// is called once, as soon as the target speaks TLS; if it says anything else, nothing of that reaches
/// the client.
pub(super) async fn relay(
    (client, target): (&TcpStream, &TcpStream),
    route: &PassRoute,
    moved: &Moved,
    pipes: &Arc<Pipes>,
    heard: impl FnOnce(),
) -> PassEnd {
    let up = async {
        let note = |count| {
            moved.note(&moved.up, count);
            route.metrics.up.inc_by(count);
        };
        carry(client, target, (&moved.up, &moved.down), note, pipes).await.map_err(
            |side| match side {
                Side::From => PassEnd::Client,
                Side::To if moved.was_heard() => PassEnd::Target,
                Side::To => PassEnd::Silent,
            },
        )
    };
    let down = async {
        let note = |count| {
            moved.note(&moved.down, count);
            route.metrics.down.inc_by(count);
        };
        if speaks_tls(target, moved).await? {
            moved.heard.store(true, Ordering::Relaxed);
            heard();
        }
        carry(target, client, (&moved.down, &moved.up), note, pipes).await.map_err(
            |side| match side {
                Side::From => PassEnd::Target,
                Side::To => PassEnd::Client,
            },
        )
    };
    tokio::select! {
        // What the target said is looked at before it is found to be gone.
        both = async { tokio::try_join!(down, up) } => both.err().unwrap_or(PassEnd::Closed),
        () = moved.idle(route.settings.idle) => PassEnd::Idle,
    }
}

/// Whether the target's first byte begins a record of TLS. It is left where it is: one look is all that
/// it costs. Where the client was the first to end, a target that closes has done no wrong.
async fn speaks_tls(target: &TcpStream, moved: &Moved) -> Result<bool, PassEnd> {
    let mut first = [0];
    match target.peek(&mut first).await {
        Ok(1..) if RECORDS.contains(&first[0]) => Ok(true),
        Ok(1..) => Err(PassEnd::NotTls),
        Ok(0) | Err(_) if moved.up.ended.load(Ordering::Relaxed) => Ok(false),
        Ok(0) | Err(_) => Err(PassEnd::Silent),
    }
}

/// One way, until `from` has ended.
async fn carry(
    from: &TcpStream,
    to: &TcpStream,
    (way, back): (&Way, &Way),
    note: impl Fn(u64),
    pipes: &Arc<Pipes>,
) -> Result<(), Side> {
    // A side that has said all it had to say may be gone when it is written to: that is no failure.
    let failed = |_error: io::Error| {
        if back.ended.load(Ordering::Relaxed) { Ok(()) } else { Err(Side::To) }
    };
    loop {
        from.readable().await.map_err(|_error| Side::From)?;
        let mut vessel = pipes.take();
        loop {
            let filled = match from.try_io(Interest::READABLE, || vessel.fill(from)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                filled => filled.map_err(|_error| Side::From)?,
            };
            if filled == 0 {
                way.ended.store(true, Ordering::Relaxed);
                pipes.give_back(vessel);
                // The other way goes on: half a connection is one.
                let _ = rustix::net::shutdown(to, Shutdown::Write);
                return Ok(());
            }
            let mut left = filled;
            way.holds.store(true, Ordering::Relaxed);
            while left > 0 {
                let emptied = to.async_io(Interest::WRITABLE, || vessel.empty(to, left)).await;
                match emptied {
                    Ok(0) => return failed(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        note(u64::try_from(count).unwrap_or(u64::MAX));
                        left = left.saturating_sub(count);
                    }
                    Err(error) => return failed(error),
                }
            }
            way.holds.store(false, Ordering::Relaxed);
        }
        pipes.give_back(vessel);
    }
}

/// Pipes that are empty.
#[derive(Default)]
pub(in crate::listen) struct Pipes(Mutex<Vec<Vessel>>);

impl Pipes {
    fn take(&self) -> Vessel {
        self.0.lock().pop().unwrap_or_else(Vessel::new)
    }

    fn give_back(&self, vessel: Vessel) {
        #[cfg(target_os = "linux")]
        if let Vessel::Buffer { .. } = vessel {
            return;
        }
        let mut kept = self.0.lock();
        if kept.len() < PIPES_KEPT {
            kept.push(vessel);
        }
    }
}

/// What bytes are carried in.
enum Vessel {
    #[cfg(target_os = "linux")]
    Pipe(pipe::Pipe),
    /// Where no pipe can be had: what was read and not yet written.
    Buffer { bytes: Box<[u8]>, at: usize },
}

impl Vessel {
    fn new() -> Self {
        #[cfg(target_os = "linux")]
        if let Some(pipe) = pipe::Pipe::new() {
            return Self::Pipe(pipe);
        }
        Self::Buffer { bytes: vec![0; BUFFER].into(), at: 0 }
    }

    /// Takes from a socket what fits. Only what is empty may be filled.
    fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Pipe(pipe) => pipe.fill(from),
            Self::Buffer { bytes, at } => {
                *at = 0;
                Ok(rustix::io::read(from, &mut **bytes)?)
            }
        }
    }

    /// Gives to a socket what it takes of the `left` bytes that are in here.
    fn empty(&mut self, to: &TcpStream, left: usize) -> io::Result<usize> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Pipe(pipe) => pipe.empty(to, left),
            Self::Buffer { bytes, at } => {
                let rest = bytes.get(*at..at.saturating_add(left)).unwrap_or_default();
                let count = rustix::net::send(to, rest, rustix::net::SendFlags::NOSIGNAL)?;
                *at = at.saturating_add(count);
                Ok(count)
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod pipe {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
    use tokio::net::TcpStream;

    use super::AT_ONCE;

    const PIPE_BYTES: usize = 256 << 10;

    pub(super) struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
    }

    impl Pipe {
        /// `None` where the process has no descriptor left.
        pub(super) fn new() -> Option<Self> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            // More at once costs fewer calls. A system that has no room for it leaves it small.
            let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
            Some(Self { read, write })
        }

        pub(super) fn fill(&self, from: &TcpStream) -> io::Result<usize> {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            Ok(splice(from, None, &self.write, None, AT_ONCE, flags)?)
        }

        pub(super) fn empty(&self, to: &TcpStream, left: usize) -> io::Result<usize> {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            Ok(splice(&self.read, None, to, None, left, flags)?)
        }
    }
}
