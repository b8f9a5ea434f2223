//! The thread that writes. It alone touches the medium.
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::file::LogOpenFault;
use super::medium::{Medium, Notes, Resume, fault_of};
use super::{BATCH_BYTES, Orders, Rooms, Shared};
use crate::base::Moment;
use crate::evidence::{Event, EventRecord, LogFault};

/// How long a first line waits for company.
const GATHER: Duration = Duration::from_millis(10);
/// How often the medium is looked after while no lines come.
const UPKEEP: Duration = Duration::from_secs(10);
/// Between attempts to write after a failure; doubles up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What the buffers keep after an outage filled them.
const KEEP_BYTES: usize = 4 * BATCH_BYTES;

pub(super) struct Writer {
    shared: Arc<Shared>,
    medium: Box<dyn Medium>,
    batch: Batch,
    notes: Notes,
    outage: Option<Outage>,
    lost_told: u64,
    looked_after: Option<Moment>,
}

/// Whole lines on their way to the medium.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    lines: usize,
    rooms: Rooms,
}

struct Outage {
    since: Moment,
    refused_before: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Whole,
    Abandoned,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, medium: Box<dyn Medium>) -> Result<(), LogOpenFault> {
        let writer = Self {
            medium,
            batch: Batch::default(),
            notes: Notes::new(shared.opening.clone()),
            outage: None,
            lost_told: 0,
            looked_after: None,
            shared,
        };
        let thread = std::thread::Builder::new().name("log-writer".into());
        thread.spawn(move || writer.run()).map(drop).map_err(|e| LogOpenFault::of(&e))
    }

    fn run(mut self) {
        let _end = End(Arc::clone(&self.shared));
        self.look_after();
        loop {
            let (orders, turn) = self.collect();
            if self.deliver_all() == Delivery::Abandoned {
                return;
            }
            if orders.reopen {
                self.medium.reopen(self.shared.clock.now(), &mut self.notes);
            }
            self.look_after();
            if self.deliver_all() == Delivery::Abandoned {
                return;
            }
            if self.answer(orders, turn) {
                return;
            }
        }
    }

    /// Waits for lines or orders and takes them.
    fn collect(&mut self) -> (Orders, u64) {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.queue.lock();
        let idle = |q: &mut super::Queue| q.lines.is_empty() && !q.urgent();
        shared.wake.wait_while_for(&mut queue, idle, UPKEEP);
        if !queue.lines.is_empty() {
            let gathering = |q: &mut super::Queue| q.lines.len() < BATCH_BYTES && !q.urgent();
            shared.wake.wait_while_for(&mut queue, gathering, GATHER);
        }
        std::mem::swap(&mut queue.lines, &mut self.batch.bytes);
        self.batch.rooms = std::mem::take(&mut queue.rooms);
        self.batch.lines = self.batch.rooms.all();
        let orders = queue.orders;
        queue.orders.reopen = false;
        (orders, queue.asked)
    }

    /// Delivers the batch, and then whatever there is to say about it.
    fn deliver_all(&mut self) -> Delivery {
        loop {
            if self.deliver() == Delivery::Abandoned {
                return Delivery::Abandoned;
            }
            self.tell_losses();
            if self.notes.count == 0 {
                return Delivery::Whole;
            }
            std::mem::swap(&mut self.batch.bytes, &mut self.notes.lines);
            self.batch.lines = std::mem::take(&mut self.notes.count);
        }
    }

    /// Writes the batch to its last byte, however long that takes.
    fn deliver(&mut self) -> Delivery {
        let mut pause = PAUSE_MIN;
        while let Err(fault) = self.attempt() {
            self.note_outage(fault);
            if self.pause(pause) == Delivery::Abandoned {
                return Delivery::Abandoned;
            }
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
        self.settle();
        Delivery::Whole
    }

    fn attempt(&mut self) -> Result<(), LogFault> {
        while self.batch.written < self.batch.bytes.len() {
            let (done, rest) = self.batch.bytes.split_at(self.batch.written);
            let line = rest.split_inclusive(|&b| b == b'\n').next().unwrap_or(rest);
            let piece = if done.last().is_none_or(|&b| b == b'\n') {
                let room = self.medium.room(self.shared.clock.now(), line.len(), &mut self.notes);
                whole_lines(rest, room, line)
            } else {
                line
            };
            let error = match self.medium.write(piece) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    self.batch.written += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let torn = done.rsplit(|&b| b == b'\n').next().unwrap_or_default();
            if self.medium.mend(torn) == Resume::LineStart {
                self.batch.written -= torn.len();
            }
            return Err(fault_of(&error));
        }
        Ok(())
    }

    /// The batch is written: its room is free again.
    fn settle(&mut self) {
        let shared = &self.shared;
        let batch = &mut self.batch;
        shared.metrics.written.inc_by(u64::try_from(batch.lines).unwrap_or(u64::MAX));
        // Notes were never in the queue.
        shared.queue.lock().unwritten -= batch.rooms.all();
        shared.promised.fetch_sub(batch.rooms.promised, Ordering::AcqRel);
        shared.spare.fetch_sub(batch.rooms.spare, Ordering::AcqRel);
        shared.events.fetch_sub(batch.rooms.events, Ordering::AcqRel);
        shared.lasting.fetch_sub(batch.rooms.lasting, Ordering::AcqRel);
        shared.meter();
        let mut bytes = std::mem::take(&mut batch.bytes);
        bytes.clear();
        bytes.shrink_to(KEEP_BYTES);
        *batch = Batch { bytes, ..Batch::default() };
        if let Some(outage) = self.outage.take() {
            let now = shared.clock.now();
            let refused = shared.refused.load(Ordering::Relaxed) - outage.refused_before;
            let outage = now.since(outage.since);
            self.notes.event(now, &Event::LogRecovered { refused, outage });
        }
    }

    fn note_outage(&mut self, fault: LogFault) {
        let shared = &self.shared;
        shared.meter();
        if self.outage.is_some() {
            return;
        }
        let now = shared.clock.now();
        let refused_before = shared.refused.load(Ordering::Relaxed);
        self.outage = Some(Outage { since: now, refused_before });
        let event = Event::LogUnavailable { fault };
        self.notes.event(now, &event);
        // The log can't say so yet, and somebody should know now.
        let mut line = Vec::new();
        shared.opening.write(&EventRecord::new(now, &event), &mut line);
        super::super::say(&line);
    }

    /// Waits for the medium to recover; not when asked to hurry, and not at all when told to give up.
    fn pause(&self, pause: Duration) -> Delivery {
        let shared = &self.shared;
        let mut queue = shared.queue.lock();
        let asked = queue.asked;
        let waiting = |q: &mut super::Queue| q.asked == asked && !q.orders.give_up;
        shared.wake.wait_while_for(&mut queue, waiting, pause);
        if queue.orders.give_up { Delivery::Abandoned } else { Delivery::Whole }
    }

    fn tell_losses(&mut self) {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        if lost > self.lost_told {
            let count = lost - self.lost_told;
            self.notes.event(self.shared.clock.now(), &Event::LinesLost { count });
            self.lost_told = lost;
        }
    }

    fn look_after(&mut self) {
        let now = self.shared.clock.now();
        if self.looked_after.is_none_or(|before| now.since(before) >= UPKEEP) {
            self.looked_after = Some(now);
            self.medium.upkeep(now, &mut self.notes);
        }
    }

    /// Lets those who wait for this turn go; true when the writer may end.
    fn answer(&mut self, orders: Orders, turn: u64) -> bool {
        if orders.close {
            self.medium.sync();
        }
        let mut queue = self.shared.queue.lock();
        queue.taken = turn;
        // Lines that came while the last ones were written still have to be.
        queue.closed = orders.close && queue.lines.is_empty();
        let closed = queue.closed;
        drop(queue);
        self.shared.answered.notify_all();
        closed
    }
}

/// However the writer ends, a panic included: nothing more is promised, and nobody waits for it.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Release);
        let mut queue = self.0.queue.lock();
        // Whoever sees the end finds counted what was lost with it.
        self.0.lose(u64::try_from(queue.unwritten).unwrap_or(u64::MAX));
        queue.closed = true;
        drop(queue);
        self.0.answered.notify_all();
    }
}

/// As many whole lines as fit into `room`, but the first in any case.
fn whole_lines<'a>(bytes: &'a [u8], room: usize, first: &'a [u8]) -> &'a [u8] {
    if bytes.len() <= room {
        return bytes;
    }
    let fitting = bytes.get(..room).unwrap_or(bytes);
    match fitting.iter().rposition(|&b| b == b'\n') {
        Some(last) => fitting.get(..=last).unwrap_or(first),
        None => first,
    }
}
