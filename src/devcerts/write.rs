//! Puts PEM files on the disk: keys for the owner only, nothing overwritten by accident.
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::DevCertsError;

/// What to do about a file that is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse; the default.
    #[default]
    Keep,
    /// Put the new file in its place, in one step.
    Replace,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    Owner,
    Everyone,
}

/// Creates the directory and its parents with mode 0700; one that exists keeps its mode.
pub(super) fn directory(path: &Path) -> Result<(), DevCertsError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| DevCertsError::io(path, &error))
}

pub(super) fn file(
    path: &Path,
    text: &str,
    readable: Readable,
    existing: Existing,
) -> Result<(), DevCertsError> {
    match existing {
        Existing::Keep => create(path, text, readable),
        Existing::Replace => {
            let mut fresh = path.as_os_str().to_owned();
            fresh.push(".new");
            let fresh = PathBuf::from(fresh);
            // Left over from a run that was cut off; it belongs to nobody.
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DevCertsError::io(&fresh, &error));
                }
                Ok(()) | Err(_) => {}
            }
            create(&fresh, text, readable)?;
            fs::rename(&fresh, path).map_err(|error| DevCertsError::io(path, &error))
        }
    }
}

fn create(path: &Path, text: &str, readable: Readable) -> Result<(), DevCertsError> {
    let mut options = OpenOptions::new();
    // `create_new` also refuses a link that somebody has put in the file's place.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        match readable {
            Readable::Owner => 0o600,
            Readable::Everyone => 0o644,
        },
    );
    let mut file = options.open(path).map_err(|error| DevCertsError::io(path, &error))?;
    file.write_all(text.as_bytes()).map_err(|error| DevCertsError::io(path, &error))
}
