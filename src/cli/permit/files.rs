//! Files of keys and permits: read within bounds, written whole or not at all.
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::say::Failure;
use crate::config::{Machine, Outside as _, ReadFault};

/// The most that any of these files holds.
const BYTES_MAX: u64 = 64 << 10;

/// What to do about a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

impl Existing {
    pub(super) const fn of(force: bool) -> Self {
        if force { Self::Replace } else { Self::Keep }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum Mode {
    Owner = 0o600,
    Everyone = 0o644,
}

pub(super) fn failed(path: &Path, what: impl std::fmt::Display) -> Failure {
    Failure::new(format_args!("{}: {what}", path.display()))
}

/// A file that is no secret; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().take(BYTES_MAX).read_to_end(&mut bytes);
        return read.map(|_| bytes).map_err(|error| failed(path, error));
    }
    Machine.read(path, BYTES_MAX).map_err(|fault| unreadable(path, fault))
}

/// A private key; `None` if there is no file.
pub(super) fn secret(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    match Machine.read_secret(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadFault::Missing) => Ok(None),
        Err(fault) => Err(unreadable(path, fault)),
    }
}

fn unreadable(path: &Path, fault: ReadFault) -> Failure {
    failed(
        path,
        match fault {
            ReadFault::Missing => "it does not exist",
            ReadFault::Forbidden => "this user may not read it",
            ReadFault::NotAFile => "it is no file",
            ReadFault::TooLarge => "it is too large",
            ReadFault::Exposed { .. } => "others can read it; chmod 600 it (PRIV-4)",
            ReadFault::Foreign { .. } => "another user owns it; chown it (PRIV-4)",
            ReadFault::Unreadable => "it can't be read",
        },
    )
}

pub(super) fn write(
    path: &Path,
    bytes: &[u8],
    mode: Mode,
    existing: Existing,
) -> Result<(), Failure> {
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => failed(path, "it is there already"),
        _ => failed(path, error),
    };
    match existing {
        Existing::Keep => create(path, bytes, mode).map_err(told),
        Existing::Replace => replace(path, bytes, mode).map_err(told),
    }
}

/// In one step: whoever reads it finds the old file or the new one.
pub(in crate::cli) fn replace(path: &Path, bytes: &[u8], mode: Mode) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    create(&fresh, bytes, mode)?;
    fs::rename(&fresh, path)
}

fn create(path: &Path, bytes: &[u8], mode: Mode) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    // Refuses a link in the file's place, too.
    options.write(true).create_new(true).mode(mode as u32);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
