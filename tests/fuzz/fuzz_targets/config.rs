//! Any text is a configuration or a list of mistakes, each with something to write instead; a
//! configuration never takes more than it may, and no mistake is silent.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sekisho::base::Moment;
use sekisho::config::{CommandFault, ERRORS_MAX, Outside, ReadFault, load_from};
use zeroize::Zeroizing;

/// A machine with one file.
struct OneFile<'a>(&'a [u8]);

impl Outside for OneFile<'_> {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        if path != Path::new("/conf/sekisho.toml") {
            return Err(ReadFault::Missing);
        }
        if self.0.len() as u64 > bytes_max { Err(ReadFault::TooLarge) } else { Ok(self.0.to_vec()) }
    }

    fn list(&self, _: &Path) -> Result<Vec<String>, ReadFault> {
        Err(ReadFault::Missing)
    }

    fn read_secret(&self, _: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        Err(ReadFault::Missing)
    }

    fn variable(&self, _: &str) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    fn output(&self, _: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        Err(CommandFault::NotStarted)
    }
}

fuzz_target!(|text: &[u8]| {
    let now = Moment::new(1_800_000_000_000, 0);
    if let Err(refused) = load_from(&OneFile(text), Path::new("/conf/sekisho.toml"), 1, now) {
        assert!((1..=ERRORS_MAX).contains(&refused.errors.len()));
        assert!(!refused.to_string().is_empty());
    }
});
