//! Where configurations come from. The engine does not know; the program's edge does.
use crate::base::Moment;
use crate::config::{ConfigErrors, Loaded};

/// Stands for everything that was read for a configuration: equal where all of it was equal. Keyed by
/// the process, so that it says nothing of secrets among what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(pub [u8; 16]);

/// What the files are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// What is read is put in force if it can be.
    ToApply,
    /// Somebody wants to know what would change.
    ToLook,
}

/// What came of reading.
#[derive(Debug)]
pub struct Read {
    pub loaded: Result<Loaded, ConfigErrors>,
    pub print: Print,
}

/// The configuration's files.
pub trait Files: Send + Sync + 'static {
    /// Reads and compiles everything again. Blocks.
    fn read(&self, reading: Reading, generation: u64, now: Moment) -> Read;
}
