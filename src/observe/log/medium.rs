//! What lines are written to.
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use super::file::LogOpenFault;
use super::opening::Opening;
use crate::base::Moment;
use crate::evidence::{Event, EventRecord, LogFault};

/// Lines that the writer itself adds to the log.
#[derive(Debug)]
pub(super) struct Notes {
    opening: Opening,
    pub(super) lines: Vec<u8>,
    pub(super) count: usize,
}

impl Notes {
    pub(super) const fn new(opening: Opening) -> Self {
        Self { opening, lines: Vec::new(), count: 0 }
    }

    pub(super) fn event(&mut self, at: Moment, event: &Event<'_>) {
        self.opening.write(&EventRecord::new(at, event), &mut self.lines);
        self.count += 1;
    }
}

/// From where a batch goes on after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// The torn line was taken back, or stays behind elsewhere.
    LineStart,
    /// The torn line's beginning is written; its rest follows.
    MidLine,
}

pub(super) trait Medium: Send {
    /// As [`Write::write`]: may write less than it is given.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// After a failure. `torn` is what was written of the last line.
    fn mend(&mut self, torn: &[u8]) -> Resume;

    /// Asked between lines: how many bytes may follow here. At least `next`, the next line's length.
    fn room(&mut self, now: Moment, next: usize, notes: &mut Notes) -> usize;

    fn reopen(&mut self, now: Moment, notes: &mut Notes);

    /// Duties that do not wait for lines.
    fn upkeep(&mut self, now: Moment, notes: &mut Notes);

    fn sync(&mut self);
}

/// Standard output: whoever reads it rotates and keeps.
pub(super) struct StreamMedium(File);

impl StreamMedium {
    pub(super) const fn new(stream: File) -> Self {
        Self(stream)
    }

    /// Not through `io::Stdout`, whose buffer would hide what was written and what was not.
    pub(super) fn stdout() -> Result<Self, LogOpenFault> {
        let stream = io::stdout().as_fd().try_clone_to_owned().map_err(|e| LogOpenFault::of(&e))?;
        Ok(Self::new(File::from(stream)))
    }
}

impl Medium for StreamMedium {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn mend(&mut self, torn: &[u8]) -> Resume {
        if torn.is_empty() { Resume::LineStart } else { Resume::MidLine }
    }

    fn room(&mut self, _now: Moment, _next: usize, _notes: &mut Notes) -> usize {
        usize::MAX
    }

    fn reopen(&mut self, _now: Moment, _notes: &mut Notes) {}

    fn upkeep(&mut self, _now: Moment, _notes: &mut Notes) {}

    fn sync(&mut self) {}
}

pub(super) fn fault_of(error: &io::Error) -> LogFault {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => LogFault::Full,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => LogFault::NotPermitted,
        Kind::BrokenPipe => LogFault::ReaderGone,
        Kind::NotFound | Kind::NotADirectory | Kind::IsADirectory => LogFault::Misplaced,
        _ => LogFault::Other,
    }
}
