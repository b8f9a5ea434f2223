//! Notices that a file of the configuration changed, by asking for their times now and then: there is
//! no watch to lose, and it sees through the symbolic links by which orchestrators swap folders.
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::config::{CommandFault, Machine, Outside, ReadFault};

/// This machine, remembering what was read from it.
#[derive(Debug, Default)]
pub struct Watched {
    seen: Mutex<Vec<Seen>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    state: State,
}

type State = Option<(SystemTime, u64)>;

impl Watched {
    /// Starts anew, before a configuration is read again.
    pub fn forget(&self) {
        self.seen.lock().clear();
    }

    /// Whether anything changed since the last call, or since it was read.
    pub fn changed(&self) -> bool {
        let mut seen = self.seen.lock();
        let mut changed = false;
        for file in seen.iter_mut() {
            let now = state(&file.path);
            changed |= now != file.state;
            file.state = now;
        }
        changed
    }

    fn saw(&self, path: &Path) {
        let mut seen = self.seen.lock();
        if !seen.iter().any(|file| file.path == path) {
            // The state before it is read: a change in between is seen as one.
            seen.push(Seen { path: path.to_owned(), state: state(path) });
        }
    }
}

fn state(path: &Path) -> State {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

impl Outside for Watched {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.saw(path);
        Machine.read(path, bytes_max)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        self.saw(directory);
        Machine.list(directory)
    }

    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        self.saw(path);
        Machine.read_secret(path)
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        Machine.variable(name)
    }

    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        Machine.output(words)
    }
}
