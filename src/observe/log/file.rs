//! A log file that is begun anew by size, by time and on request, and deleted when its time is over.
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::medium::{Medium, Notes, Resume, fault_of};
use crate::base::Moment;
use crate::evidence::{Event, LogFault, Utc};

/// When a file is closed and a new one begun, and when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// No file grows larger, but for a single line.
    pub bytes: u64,
    /// Counted from 1970-01-01 UTC: `24 h` is midnight UTC.
    pub every: Duration,
    /// By the time in the file's name. The configuration refuses less than 365 days (LOG-4).
    pub keep: Duration,
}

/// Why a log can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOpenFault {
    /// The directory does not exist.
    DirectoryMissing,
    /// Anybody may put files into the directory, and so take the log's place.
    DirectoryWorldWritable,
    /// The path is a symbolic link.
    Link,
    /// The path is a directory, a device or a pipe.
    NotRegular,
    /// Anybody may write to the file.
    WorldWritable,
    /// The operating system says no.
    Refused(io::ErrorKind),
}

impl LogOpenFault {
    pub(super) fn of(error: &io::Error) -> Self {
        Self::Refused(error.kind())
    }

    const fn word(self) -> LogFault {
        match self {
            Self::DirectoryMissing
            | Self::DirectoryWorldWritable
            | Self::Link
            | Self::NotRegular
            | Self::WorldWritable => LogFault::Misplaced,
            Self::Refused(io::ErrorKind::PermissionDenied) => LogFault::NotPermitted,
            Self::Refused(_) => LogFault::Other,
        }
    }
}

impl fmt::Display for LogOpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DirectoryMissing => f.write_str("its directory does not exist"),
            Self::DirectoryWorldWritable => {
                f.write_str("anybody may write to its directory; remove that permission")
            }
            Self::Link => f.write_str("it is a symbolic link; name the file itself"),
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::WorldWritable => f.write_str("anybody may write to it; remove that permission"),
            Self::Refused(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for LogOpenFault {}

/// How long a rotation that failed is not tried again.
const ROTATION_RETRY: Duration = Duration::from_secs(60);
const EXPIRY_EVERY: Duration = Duration::from_secs(3_600);

pub(super) struct FileMedium {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    length: u64,
    /// The interval (since 1970) that the file's lines are from.
    interval: u64,
    rotation_failed: Option<Moment>,
    expired: Option<Moment>,
}

impl FileMedium {
    pub(super) fn open(path: &Path, rotation: Rotation, now: Moment) -> Result<Self, LogOpenFault> {
        let (file, length) = open(path)?;
        let mut medium = Self {
            path: path.to_owned(),
            rotation,
            file,
            length,
            interval: 0,
            rotation_failed: None,
            expired: None,
        };
        // A process that restarts more often than it rotates must rotate all the same.
        let last_line = medium.file.metadata().ok().and_then(|meta| modified_ms(&meta));
        medium.interval = match last_line {
            Some(ms) if length > 0 => medium.interval_of(ms),
            _ => medium.interval_of(now.unix_ms()),
        };
        Ok(medium)
    }

    fn interval_of(&self, unix_ms: u64) -> u64 {
        let every = u64::try_from(self.rotation.every.as_millis()).unwrap_or(u64::MAX);
        unix_ms / every.max(1)
    }

    /// Whether the path still leads to the file that is open.
    fn in_place(&self) -> bool {
        let same = |ours: &fs::Metadata, there: &fs::Metadata| {
            (ours.dev(), ours.ino()) == (there.dev(), there.ino())
        };
        match (self.file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(ours), Ok(there)) => same(&ours, &there),
            _ => false,
        }
    }

    /// Opens the path anew; the old file stays in use if that fails.
    fn renew(&mut self, now: Moment) -> Result<(), LogOpenFault> {
        let (file, length) = open(&self.path)?;
        let _ = self.file.sync_data();
        self.file = file;
        self.length = length;
        self.interval = self.interval_of(now.unix_ms());
        Ok(())
    }

    fn rotate(&mut self, now: Moment, notes: &mut Notes) {
        let bytes = self.length;
        // Another process, or logrotate, may have moved it already: then only a new one is needed.
        let moved = if self.in_place() { move_aside(&self.path, now) } else { Ok(()) };
        let fault = match moved {
            Ok(()) => self.renew(now).err().map(LogOpenFault::word),
            Err(error) => Some(fault_of(&error)),
        };
        self.rotation_failed = fault.map(|_| now);
        notes.event(
            now,
            &match fault {
                None => Event::LogRotated { bytes },
                Some(fault) => Event::LogRotationFailed { fault },
            },
        );
    }

    /// LOG-4: deletes rotated files whose time is over, by their name and by their last change, so
    /// that neither a wrong name nor a touched file is deleted early.
    fn expire(&self, now: Moment, notes: &mut Notes) {
        let keep = u64::try_from(self.rotation.keep.as_millis()).unwrap_or(u64::MAX);
        let over = |unix_ms: u64| unix_ms.saturating_add(keep) < now.unix_ms();
        let Some(own) = self.path.file_name().and_then(|name| name.to_str()) else { return };
        let Ok(entries) = fs::read_dir(directory(&self.path)) else { return };
        let (mut files, mut bytes) = (0, 0);
        for entry in entries.flatten() {
            let named = entry.file_name().to_str().and_then(|name| rotated_at(own, name));
            let Ok(meta) = entry.metadata() else { continue };
            let changed = modified_ms(&meta);
            let due = meta.is_file() && named.is_some_and(over) && changed.is_some_and(over);
            if due && fs::remove_file(entry.path()).is_ok() {
                files += 1;
                bytes += meta.len();
            }
        }
        if files > 0 {
            notes.event(now, &Event::LogExpired { files, bytes });
        }
    }
}

impl Medium for FileMedium {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.length += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }

    fn mend(&mut self, torn: &[u8]) -> Resume {
        let taken = take_back(&self.file, torn);
        if let Ok(true) = taken {
            self.length = self.length.saturating_sub(u64::try_from(torn.len()).unwrap_or(0));
        }
        if !self.in_place()
            && let Ok((file, length)) = open(&self.path)
        {
            self.file = file;
            self.length = length;
            return Resume::LineStart;
        }
        if taken.is_ok() { Resume::LineStart } else { Resume::MidLine }
    }

    fn room(&mut self, now: Moment, next: usize, notes: &mut Notes) -> usize {
        let next = u64::try_from(next).unwrap_or(u64::MAX);
        let due = self.length > 0
            && (self.length.saturating_add(next) > self.rotation.bytes
                || self.interval_of(now.unix_ms()) > self.interval);
        let hopeful = self.rotation_failed.is_none_or(|failed| now.since(failed) >= ROTATION_RETRY);
        if due && hopeful {
            self.rotate(now, notes);
        }
        if self.length == 0 {
            self.interval = self.interval_of(now.unix_ms());
        }
        let room = self.rotation.bytes.saturating_sub(self.length).max(next);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    fn reopen(&mut self, now: Moment, notes: &mut Notes) {
        if let Err(fault) = self.renew(now) {
            notes.event(now, &Event::LogRotationFailed { fault: fault.word() });
        }
    }

    fn upkeep(&mut self, now: Moment, notes: &mut Notes) {
        if !self.in_place() {
            self.reopen(now, notes);
        }
        if self.expired.is_none_or(|before| now.since(before) >= EXPIRY_EVERY) {
            self.expired = Some(now);
            self.expire(now, notes);
        }
    }

    fn sync(&mut self) {
        let _ = self.file.sync_data();
    }
}

fn open(path: &Path) -> Result<(File, u64), LogOpenFault> {
    const ANYBODY_WRITES: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let parent = fs::metadata(directory(path)).map_err(|_| LogOpenFault::DirectoryMissing)?;
    if !parent.is_dir() {
        return Err(LogOpenFault::DirectoryMissing);
    }
    if parent.mode() & ANYBODY_WRITES != 0 && parent.mode() & STICKY == 0 {
        return Err(LogOpenFault::DirectoryWorldWritable);
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => return Err(LogOpenFault::Link),
        Ok(meta) if !meta.is_file() => return Err(LogOpenFault::NotRegular),
        _ => {}
    }
    // What was just looked at may have changed since: NOFOLLOW and fstat decide, and NONBLOCK keeps
    // a pipe from holding us up.
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(0o640));
    let mut file = File::from(opened.map_err(|errno| LogOpenFault::of(&errno.into()))?);
    let meta = file.metadata().map_err(|e| LogOpenFault::of(&e))?;
    if !meta.is_file() {
        return Err(LogOpenFault::NotRegular);
    }
    if meta.mode() & ANYBODY_WRITES != 0 {
        return Err(LogOpenFault::WorldWritable);
    }
    let length = end_last_line(&mut file, meta.len()).map_err(|e| LogOpenFault::of(&e))?;
    Ok((file, length))
}

/// A process that died in a line left it without its end; the next line must not stick to it.
fn end_last_line(file: &mut File, length: u64) -> io::Result<u64> {
    let mut last = [b'\n'];
    if let Some(place) = length.checked_sub(1) {
        file.read_exact_at(&mut last, place)?;
    }
    if last == *b"\n" {
        return Ok(length);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

/// Cuts `torn` off the file, if it is what the file ends with: another process may have written
/// since, as when a new binary takes over. False if it did; the torn line then stays behind.
fn take_back(file: &File, torn: &[u8]) -> io::Result<bool> {
    if torn.is_empty() {
        return Ok(false);
    }
    let torn_length = u64::try_from(torn.len()).unwrap_or(u64::MAX);
    let Some(length) = file.metadata()?.len().checked_sub(torn_length) else {
        return Ok(false);
    };
    let mut end = vec![0; torn.len()];
    file.read_exact_at(&mut end, length)?;
    if end != torn {
        return Ok(false);
    }
    file.set_len(length).map(|()| true)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Renames to `access.log.20261122T101500Z`, or with `.1`, `.2` … where that is taken. Two processes may
/// do so at once while one takes the other's place: no name is given twice.
fn move_aside(path: &Path, now: Moment) -> io::Result<()> {
    let mut stamped = path.as_os_str().to_owned();
    stamped.push(".");
    stamped.push(Utc::of(now).compact());
    for count in 0..10_000_u32 {
        let mut name = stamped.clone();
        if count > 0 {
            name.push(format!(".{count}"));
        }
        match renameat_with(CWD, path, CWD, &name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            // A file system that knows no such thing; one process at a time is safe there.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if fs::symlink_metadata(&name).is_err() {
                    return fs::rename(path, &name);
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// When a file that this log rotated was closed, by its name; milliseconds since 1970.
fn rotated_at(own: &str, name: &str) -> Option<u64> {
    let rest = name.strip_prefix(own)?.strip_prefix('.')?;
    let (stamp, count) = match rest.split_once('.') {
        Some((stamp, count)) => (stamp, count),
        None => (rest, "0"),
    };
    let counted = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    counted.then(|| Utc::parse_compact(stamp)).flatten()
}

fn modified_ms(meta: &fs::Metadata) -> Option<u64> {
    let since = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn log_4_no_name_is_given_twice_however_many_rotate_at_once() {
        const THREADS: u32 = 4;
        const ROUNDS: u32 = 100;
        let dir = std::env::temp_dir().join(format!("sekisho-aside-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (path, now) = (dir.join("access.log"), Moment::new(1_795_342_500_000, 0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let path = &path;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        // Somebody else may have moved the file, or begun one, in between.
                        let mut file = loop {
                            match File::create_new(path) {
                                Ok(file) => break file,
                                Err(_there) => drop(move_aside(path, now)),
                            }
                        };
                        write!(file, "{}", thread * ROUNDS + round).unwrap();
                        let _moved = move_aside(path, now);
                    }
                });
            }
        });
        let kept: BTreeSet<u32> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap().parse().unwrap())
            .collect();
        assert!(kept.into_iter().eq(0..THREADS * ROUNDS));
        fs::remove_dir_all(&dir).unwrap();
    }
}
