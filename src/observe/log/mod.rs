//! The log: lines are promised room before a request is admitted, queued by the request, and written
//! by a thread of their own.
//!
//! What lasts as long as its peer likes takes no room from requests: it is promised room of its own,
//! and what bounds that is not how many last (connections are bounded elsewhere) but how many lines of
//! those that are over still wait.
mod file;
mod medium;
mod opening;
mod writer;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::metrics::LogMetrics;
use crate::base::{Clock, Name};
use crate::evidence::{Event, EventRecord, Record};
use file::FileMedium;
pub use file::{LogOpenFault, Rotation};
use medium::{Medium, StreamMedium};
use opening::Opening;
use writer::Writer;

/// Where lines go, and how many may wait.
#[derive(Clone, Debug)]
pub struct LogSpec {
    pub target: LogTarget,
    /// Named in every line.
    pub environment: Name,
    /// Room for lines of admitted requests, from the promise until the line is written.
    pub lines_max: usize,
    /// Room beside it for lines of refused requests.
    pub spare_max: usize,
    /// Room for events, of which strangers' refusals take none.
    pub events_max: usize,
    /// Once so many lines of what lasted wait to be written, nothing more of the kind is admitted.
    pub lasting_max: usize,
}

impl LogSpec {
    /// At some 700 bytes a line this is 14 MB while nothing can be written: 8 s of 2,000 requests/s.
    pub const LINES_MAX: usize = 16_384;
    pub const SPARE_MAX: usize = 4_096;
    pub const EVENTS_MAX: usize = 4_096;
    pub const LASTING_MAX: usize = 16_384;

    #[must_use]
    pub const fn new(target: LogTarget, environment: Name) -> Self {
        Self {
            target,
            environment,
            lines_max: Self::LINES_MAX,
            spare_max: Self::SPARE_MAX,
            events_max: Self::EVENTS_MAX,
            lasting_max: Self::LASTING_MAX,
        }
    }
}

#[derive(Clone, Debug)]
pub enum LogTarget {
    Stdout,
    /// Created with mode 0640; its directory must exist.
    File(PathBuf, Rotation),
}

/// The log has no room for another line: what can't be written down must not pass (LOG-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFull;

/// How many lines were not written in the time given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten(pub usize);

/// The way into the log. Clones share one log; when the last is gone, the log is closed.
#[derive(Clone, Debug)]
pub struct LogSink {
    shared: Arc<Shared>,
    _closer: Arc<Closer>,
}

/// Room for one line. Write the line, or [`LogSlot::release`] it if nothing was admitted after all:
/// a slot that is merely dropped counts as a lost line.
#[derive(Debug)]
#[must_use]
pub struct LogSlot {
    shared: Arc<Shared>,
    room: Room,
    spent: Spent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    No,
    Yes,
}

/// From whose room a line was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Promised,
    Spare,
    Event,
    Lasting,
}

/// How many lines there are of each.
#[derive(Clone, Copy, Debug, Default)]
struct Rooms {
    promised: usize,
    spare: usize,
    events: usize,
    lasting: usize,
}

impl Rooms {
    const fn all(self) -> usize {
        self.promised + self.spare + self.events + self.lasting
    }

    const fn add(&mut self, room: Room) {
        match room {
            Room::Promised => self.promised += 1,
            Room::Spare => self.spare += 1,
            Room::Event => self.events += 1,
            Room::Lasting => self.lasting += 1,
        }
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// The writer waits here for lines and orders.
    wake: Condvar,
    /// Callers of `flush` and `close` wait here.
    answered: Condvar,
    open: AtomicBool,
    promised: AtomicUsize,
    spare: AtomicUsize,
    events: AtomicUsize,
    /// Lines of what lasted that wait to be written.
    lasting: AtomicUsize,
    lines_max: usize,
    spare_max: usize,
    events_max: usize,
    lasting_max: usize,
    refused: AtomicU64,
    lost: AtomicU64,
    metrics: LogMetrics,
    clock: Clock,
    opening: Opening,
}

/// Between the requests and the writer. Held for a copy of one line, never while anything is
/// formatted or written.
#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    rooms: Rooms,
    /// Lines here and in the writer's hands.
    unwritten: usize,
    orders: Orders,
    /// Turns of the writer that callers asked for, and those it took.
    asked: u64,
    taken: u64,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    reopen: bool,
    close: bool,
    /// Don't wait for the medium to recover.
    give_up: bool,
}

impl Queue {
    const fn urgent(&self) -> bool {
        self.orders.reopen || self.orders.close || self.asked != self.taken
    }
}

/// A batch this large is written without waiting for more.
const BATCH_BYTES: usize = 64 * 1024;
/// How long [`LogSink::close`] waits for a writer that was told to give up.
const LAST_WAIT: Duration = Duration::from_millis(200);

impl LogSink {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// If the target is not there, not ours alone to write, or can't be opened.
    pub fn open(spec: &LogSpec, clock: Clock, metrics: LogMetrics) -> Result<Self, LogOpenFault> {
        let medium: Box<dyn Medium> = match &spec.target {
            LogTarget::Stdout => Box::new(StreamMedium::stdout()?),
            LogTarget::File(path, rotation) => {
                Box::new(FileMedium::open(path, *rotation, clock.now())?)
            }
        };
        Self::with_medium(spec, medium, clock, metrics)
    }

    fn with_medium(
        spec: &LogSpec,
        medium: Box<dyn Medium>,
        clock: Clock,
        metrics: LogMetrics,
    ) -> Result<Self, LogOpenFault> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            answered: Condvar::new(),
            open: AtomicBool::new(true),
            promised: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            lasting: AtomicUsize::new(0),
            lines_max: spec.lines_max,
            spare_max: spec.spare_max,
            events_max: spec.events_max,
            lasting_max: spec.lasting_max,
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            metrics,
            clock,
            opening: Opening::of(&spec.environment),
        });
        Writer::start(Arc::clone(&shared), medium)?;
        Ok(Self { _closer: Arc::new(Closer(Arc::clone(&shared))), shared })
    }

    /// Room for one line, before the request that it is about is admitted. No lock.
    ///
    /// # Errors
    /// [`LogFull`] if there is none, or no writer; the request must be refused.
    pub fn reserve(&self) -> Result<LogSlot, LogFull> {
        let shared = &self.shared;
        if shared.open.load(Ordering::Acquire) && take(&shared.promised, shared.lines_max) {
            return Ok(shared.slot(Room::Promised));
        }
        Err(shared.refuse())
    }

    /// Room for the line of something that lasts as long as its peer likes, and of which there is only
    /// a bounded number. It takes none from requests, however many there are. No lock.
    ///
    /// # Errors
    /// [`LogFull`] if lines of those before it pile up, or there is no writer; it must be refused.
    pub fn reserve_lasting(&self) -> Result<LogSlot, LogFull> {
        let shared = &self.shared;
        if shared.open.load(Ordering::Acquire) && shared.keeps_up() {
            return Ok(shared.slot(Room::Lasting));
        }
        Err(shared.refuse())
    }

    /// Queues the line of a request that was refused before it had a slot. If even the spare room is
    /// used up the line is lost, counted, and the loss reported in the log.
    pub fn write_refusal(&self, record: &impl Record) {
        self.shared.write_if_room(record, Room::Spare, self.shared.spare_max);
    }

    /// Queues the line of an event, from the room that is theirs alone.
    pub fn event(&self, event: &Event<'_>) {
        self.write_event(&EventRecord::new(self.shared.clock.now(), event));
    }

    pub(super) fn write_event(&self, record: &EventRecord<'_>) {
        self.shared.write_if_room(record, Room::Event, self.shared.events_max);
    }

    /// Whether the next [`LogSink::reserve`] or [`LogSink::reserve_lasting`] would fail.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let shared = &self.shared;
        !shared.open.load(Ordering::Acquire)
            || shared.promised.load(Ordering::Acquire) >= shared.lines_max
            || !shared.keeps_up()
    }

    /// Begins a file of the same name anew, as `logrotate` asks for after it moved the old one.
    pub fn reopen(&self) {
        self.shared.queue.lock().orders.reopen = true;
        self.shared.wake.notify_one();
    }

    /// Waits until all that was queued before is written.
    ///
    /// # Errors
    /// [`Unwritten`] lines, if it took longer than `within`.
    pub fn flush(&self, within: Duration) -> Result<(), Unwritten> {
        let shared = &self.shared;
        let mut queue = shared.queue.lock();
        queue.asked += 1;
        let turn = queue.asked;
        shared.wake.notify_one();
        shared.answered.wait_while_for(&mut queue, |q| q.taken < turn && !q.closed, within);
        let done = queue.taken >= turn || (queue.closed && queue.unwritten == 0);
        if done { Ok(()) } else { Err(Unwritten(queue.unwritten)) }
    }

    /// Writes what is queued and ends the writer. From the first call on nothing more is promised.
    ///
    /// # Errors
    /// [`Unwritten`] lines, if it took longer than `within`; they are lost.
    pub fn close(&self, within: Duration) -> Result<(), Unwritten> {
        let shared = &self.shared;
        shared.order_close();
        let mut queue = shared.queue.lock();
        shared.answered.wait_while_for(&mut queue, |q| !q.closed, within);
        if !queue.closed {
            queue.orders.give_up = true;
            shared.wake.notify_one();
            shared.answered.wait_while_for(&mut queue, |q| !q.closed, LAST_WAIT);
        }
        if queue.unwritten == 0 { Ok(()) } else { Err(Unwritten(queue.unwritten)) }
    }
}

impl LogSlot {
    pub fn write(mut self, record: &impl Record) {
        self.spent = Spent::Yes;
        let Self { shared, room, .. } = &self;
        with_line(record, &shared.opening, |line| shared.append(line, *room));
    }

    /// What the line is about lasts from now on. Requests have their room back at once, unless lines
    /// of what lasted pile up.
    pub fn lasts(&mut self) {
        if self.room == Room::Promised && self.shared.keeps_up() {
            self.room = Room::Lasting;
            self.shared.free(Room::Promised);
        }
    }

    /// Gives the room back: no request was admitted on it, and its line goes another way.
    pub fn release(mut self) {
        self.spent = Spent::Yes;
        self.give_back();
    }

    fn give_back(&self) {
        match self.room {
            Room::Promised | Room::Spare | Room::Event => self.shared.free(self.room),
            // Only lines that are there take room.
            Room::Lasting => {}
        }
    }
}

impl Drop for LogSlot {
    fn drop(&mut self) {
        if self.spent == Spent::No {
            self.give_back();
            self.shared.lose(1);
        }
    }
}

impl Shared {
    fn slot(self: &Arc<Self>, room: Room) -> LogSlot {
        LogSlot { shared: Arc::clone(self), room, spent: Spent::No }
    }

    fn refuse(&self) -> LogFull {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.metrics.refused.inc();
        LogFull
    }

    /// Whether lines of what lasted are written as they come.
    fn keeps_up(&self) -> bool {
        self.lasting.load(Ordering::Acquire) < self.lasting_max
    }

    const fn used(&self, room: Room) -> &AtomicUsize {
        match room {
            Room::Promised => &self.promised,
            Room::Spare => &self.spare,
            Room::Event => &self.events,
            Room::Lasting => &self.lasting,
        }
    }

    fn free(&self, room: Room) {
        self.used(room).fetch_sub(1, Ordering::AcqRel);
    }

    fn write_if_room(&self, record: &impl Record, room: Room, most: usize) {
        if take(self.used(room), most) {
            with_line(record, &self.opening, |line| self.append(line, room));
        } else {
            self.lose(1);
        }
    }

    fn append(&self, line: &[u8], room: Room) {
        // Of what lasts, lines take room from now on, and not before.
        if room == Room::Lasting {
            self.lasting.fetch_add(1, Ordering::AcqRel);
        }
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            self.free(room);
            return self.lose(1);
        }
        let before = queue.lines.len();
        queue.lines.extend_from_slice(line);
        let after = queue.lines.len();
        queue.unwritten += 1;
        queue.rooms.add(room);
        drop(queue);
        if before == 0 || (before < BATCH_BYTES && after >= BATCH_BYTES) {
            self.wake.notify_one();
        }
    }

    fn meter(&self) {
        let rooms = [Room::Promised, Room::Spare, Room::Event, Room::Lasting];
        let queued: usize = rooms.map(|room| self.used(room).load(Ordering::Relaxed)).iter().sum();
        self.metrics.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.metrics.lost.inc_by(lines);
    }

    fn order_close(&self) {
        self.open.store(false, Ordering::Release);
        self.queue.lock().orders.close = true;
        self.wake.notify_one();
    }
}

/// Ends the writer with the last sink. Slots that are still out keep the queue alive, not the writer.
#[derive(Debug)]
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.order_close();
    }
}

/// Takes one of `most`, if one is left.
fn take(used: &AtomicUsize, most: usize) -> bool {
    used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < most).then_some(n + 1)).is_ok()
}

/// Formats outside of every lock, in a buffer that each thread keeps.
fn with_line(record: &impl Record, opening: &Opening, give: impl FnOnce(&[u8])) {
    thread_local! {
        static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Taken, not borrowed: a panic in between, and the hook that reports it, find an empty one.
    let mut line = LINE.try_with(Cell::take).unwrap_or_default();
    line.clear();
    opening.write(record, &mut line);
    give(&line);
    let _ = LINE.try_with(|kept| kept.set(line));
}

#[cfg(test)]
pub(in crate::observe) mod testing;
#[cfg(test)]
mod tests;
