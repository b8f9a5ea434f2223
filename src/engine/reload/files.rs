//! Where configurations come from. The engine does not know; the program's edge does.
use std::sync::Arc;

use crate::base::Moment;
use crate::config::{ConfigErrors, Loaded, Snapshot, Texts};

/// Stands for everything that was read for a configuration: equal where all of it was equal. Keyed by
/// the process, so that it says nothing of secrets among what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(pub [u8; 16]);

/// What a configuration was made from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub print: Print,
    pub texts: Arc<Texts>,
}

/// What the files are read for.
#[derive(Clone, Copy, Debug)]
pub enum Reading<'t> {
    /// What is read is put in force if it can be.
    ToApply,
    /// The same of these texts, whatever the files say now: what they refer to is read again.
    Again(&'t Texts),
    /// As [`Self::ToApply`], because a file changed: of one that is still being written what is in force
    /// stays. Where a text is, these do, if they are known.
    AtRest(Option<&'t Texts>),
    /// As [`Self::Again`], because a file changed.
    AgainAtRest(&'t Texts),
    /// Somebody wants to know what would change.
    ToLook,
}

/// What came of reading.
#[derive(Debug)]
pub struct Read {
    pub loaded: Result<Loaded, ConfigErrors>,
    pub origin: Origin,
}

/// The configuration's files.
pub trait Files: Send + Sync + 'static {
    /// Reads and compiles everything again, in the place of `before`. Blocks.
    fn read(&self, reading: Reading<'_>, generation: u64, now: Moment, before: &Snapshot) -> Read;

    /// Whether something could not be read, when all was read last, that can be later with no file
    /// changed.
    fn fell_short(&self) -> bool {
        false
    }
}
