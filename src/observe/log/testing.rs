//! A log in memory, on a disk whose size and faults a test chooses.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use super::medium::{Medium, Notes, Resume};
use super::{LogSink, LogSpec, LogTarget};
use crate::base::{Clock, ManualClock, Moment, Name};
use crate::observe::Metrics;

/// Long enough for any machine; no test waits for it unless it fails.
pub(in crate::observe) const WITHIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(in crate::observe) struct Disk {
    pub(in crate::observe) bytes: Vec<u8>,
    /// Full at this size; `None`: never.
    pub(in crate::observe) size: Option<usize>,
    /// Whether a torn line can be cut off, as on a file but not on a stream.
    pub(in crate::observe) appends_only: Option<()>,
    /// The largest write that is done at once.
    pub(in crate::observe) piece: Option<usize>,
    /// The next write panics: a defect of the writer.
    pub(in crate::observe) broken: Option<()>,
    /// Happens after the next write.
    pub(in crate::observe) then: Option<Box<dyn FnOnce() + Send>>,
    /// Writes that failed.
    pub(in crate::observe) failures: usize,
}

struct DiskMedium(Arc<Mutex<Disk>>);

impl Medium for DiskMedium {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock();
        assert!(disk.broken.is_none(), "the writer's thread panics");
        let left = disk.size.map_or(usize::MAX, |size| size - disk.bytes.len());
        let count = bytes.len().min(left).min(disk.piece.unwrap_or(usize::MAX));
        if count == 0 {
            disk.failures += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.bytes.extend_from_slice(&bytes[..count]);
        let then = disk.then.take();
        drop(disk);
        if let Some(then) = then {
            then();
        }
        Ok(count)
    }

    fn mend(&mut self, torn: &[u8]) -> Resume {
        let mut disk = self.0.lock();
        if disk.appends_only.is_some() && !torn.is_empty() {
            return Resume::MidLine;
        }
        let length = disk.bytes.len() - torn.len();
        assert_eq!(&disk.bytes[length..], torn);
        disk.bytes.truncate(length);
        Resume::LineStart
    }

    fn room(&mut self, _: Moment, _: usize, _: &mut Notes) -> usize {
        usize::MAX
    }

    fn reopen(&mut self, _: Moment, _: &mut Notes) {}

    fn upkeep(&mut self, _: Moment, _: &mut Notes) {}

    fn sync(&mut self) {}
}

/// Of the environment `test`.
pub(in crate::observe) fn spec(target: LogTarget) -> LogSpec {
    LogSpec::new(target, Name::parse("test").unwrap())
}

pub(in crate::observe) struct Recorded {
    pub(in crate::observe) clock: Clock,
    pub(in crate::observe) disk: Arc<Mutex<Disk>>,
    hand: Arc<ManualClock>,
    metrics: Arc<Metrics>,
    sink: LogSink,
}

impl Recorded {
    pub(in crate::observe) fn new() -> Self {
        Self::with_room(1_000, 1_000, Disk::default())
    }

    pub(in crate::observe) fn with_room(lines_max: usize, spare_max: usize, disk: Disk) -> Self {
        let spec = LogSpec { lines_max, spare_max, lasting_max: 3, ..spec(LogTarget::Stdout) };
        Self::with(&spec, disk)
    }

    pub(in crate::observe) fn with(spec: &LogSpec, disk: Disk) -> Self {
        let (clock, hand) = Clock::manual(1_795_342_500_123);
        let metrics = Arc::new(Metrics::new("test", clock.now()).unwrap());
        let disk = Arc::new(Mutex::new(disk));
        let medium = Box::new(DiskMedium(Arc::clone(&disk)));
        let sink = LogSink::with_medium(spec, medium, clock.clone(), metrics.log()).unwrap();
        Self { clock, disk, hand, metrics, sink }
    }

    pub(in crate::observe) fn sink(&self) -> LogSink {
        self.sink.clone()
    }

    pub(in crate::observe) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub(in crate::observe) fn advance(&self, by: Duration) {
        self.hand.advance(by);
    }

    pub(in crate::observe) fn flush(&self) {
        self.sink.flush(WITHIN).unwrap();
    }

    pub(in crate::observe) fn text(&self) -> String {
        String::from_utf8(self.disk.lock().bytes.clone()).unwrap()
    }

    /// Every line, parsed: a torn one fails here.
    pub(in crate::observe) fn lines(&self) -> Vec<Value> {
        parse(&self.text())
    }
}

pub(in crate::observe) fn parse(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values of `key` in those lines that have it.
pub(in crate::observe) fn numbers(lines: &[Value], key: &str) -> Vec<u64> {
    lines.iter().filter_map(|line| line[key].as_u64()).collect()
}

/// The lines of one kind of event.
pub(in crate::observe) fn events<'a>(lines: &'a [Value], action: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event.action"] == action).collect()
}
