//! The key from which each day's pseudonym key is derived: made once, kept in the state directory.
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::say::Failure;
use crate::base::Secret;

const FILE: &str = "pseudonym.key";

/// Reads the key, or makes one where there is none.
pub(super) fn pseudonym_master(state_dir: &Path) -> Result<Secret<[u8; 32]>, Failure> {
    let path = state_dir.join(FILE);
    let failed = |what: &str| Failure::new(format_args!("{}: {what}", path.display()));
    match std::fs::File::open(&path) {
        Ok(mut file) => {
            let mode = file.metadata().map_err(|error| failed(&error.to_string()))?;
            if mode.permissions().mode() & 0o077 != 0 {
                return Err(failed("others can read it; chmod 600 it (LOG-2)"));
            }
            let mut key = [0; 32];
            file.read_exact(&mut key).map_err(|_short| {
                failed("it is shorter than 32 bytes; delete it, and a new one is made")
            })?;
            Ok(Secret::new(key))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(state_dir)
                .map_err(|error| failed(&format!("its directory can't be made: {error}")))?;
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key).map_err(|_none| failed("no random numbers"))?;
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            made.and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
                .map_err(|error| failed(&error.to_string()))?;
            Ok(Secret::new(key))
        }
        Err(error) => Err(failed(&error.to_string())),
    }
}
