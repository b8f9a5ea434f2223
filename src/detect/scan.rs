//! Looks for canaries in a body while it streams through. An id is a whole run of `A-Z a-z 0-9 - _`,
//! so every run of a length that a canary has is hashed and looked up.
//!
//! 1. Where the body is cut into chunks makes no difference. 2. It holds 64 bytes, whatever comes.
//! 3. `undecided` tells how many bytes at the end belong to a run that goes on: who holds them back
//!    lets no byte of a canary leave.
//!
//! An id that is written in another way than byte for byte (`\u0035` in JSON, another encoding) is
//! not seen.
use super::canary::{Canary, CanarySet};

/// Ids to look for.
pub trait Sought {
    /// What is known of one that was found.
    type Found;

    /// There is nothing to look for.
    fn is_empty(&self) -> bool;

    /// For a whole run of id bytes.
    fn find(&self, id: &[u8]) -> Option<Self::Found>;
}

impl Sought for CanarySet {
    type Found = Canary;

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    fn find(&self, id: &[u8]) -> Option<Canary> {
        Self::find(self, id)
    }
}

/// What one chunk brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned<F = Canary> {
    /// The first one that ended in this chunk.
    pub hit: Option<F>,
    /// Bytes at the end of all that was fed which may be the beginning of one; at most 63.
    pub undecided: usize,
}

/// The state between chunks.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The run that goes on, as far as it fits.
    run: [u8; CanarySet::LENGTH_MAX],
    /// Its length; one more than fits if it is too long to be an id.
    length: usize,
}

const TOO_LONG: usize = CanarySet::LENGTH_MAX + 1;

impl Default for Scan {
    fn default() -> Self {
        Self { run: [0; CanarySet::LENGTH_MAX], length: 0 }
    }
}

impl Scan {
    /// Allocates nothing. After a hit the rest of the chunk is not looked at.
    pub fn feed<S: Sought>(&mut self, set: &S, chunk: &[u8]) -> Scanned<S::Found> {
        if set.is_empty() {
            return Scanned { hit: None, undecided: 0 };
        }
        let mut rest = chunk;
        if self.length > 0 {
            let (more, after) = split_run(rest);
            self.extend(more);
            rest = after;
            if rest.is_empty() {
                return self.so_far();
            }
            if let Some(canary) = self.take(set) {
                return Scanned { hit: Some(canary), undecided: 0 };
            }
        }
        match find(set, rest) {
            Ok(open) => {
                self.extend(open);
                self.so_far()
            }
            Err(canary) => Scanned { hit: Some(canary), undecided: 0 },
        }
    }

    /// The body is over.
    pub fn finish<S: Sought>(&mut self, set: &S) -> Option<S::Found> {
        self.take(set)
    }

    fn so_far<F>(&self) -> Scanned<F> {
        let undecided = if self.length < TOO_LONG { self.length } else { 0 };
        Scanned { hit: None, undecided }
    }

    fn extend(&mut self, more: &[u8]) {
        match self.run.get_mut(self.length..self.length + more.len()) {
            Some(place) => {
                place.copy_from_slice(more);
                self.length += more.len();
            }
            None => self.length = TOO_LONG,
        }
    }

    fn take<S: Sought>(&mut self, set: &S) -> Option<S::Found> {
        let run = self.run.get(..std::mem::take(&mut self.length))?;
        set.find(run)
    }
}

/// A byte that an id can have.
pub(super) const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The run at the beginning, and what follows it.
fn split_run(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !is_id_byte(*byte)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// Looks up every run that ends within `bytes`; gives the one that does not, or the first canary.
fn find<'a, S: Sought>(set: &S, bytes: &'a [u8]) -> Result<&'a [u8], S::Found> {
    let mut rest = bytes;
    loop {
        let Some(start) = rest.iter().position(|byte| is_id_byte(*byte)) else { return Ok(&[]) };
        let (run, after) = split_run(rest.get(start..).unwrap_or_default());
        if after.is_empty() {
            return Ok(run);
        }
        if let Some(canary) = set.find(run) {
            return Err(canary);
        }
        rest = after;
    }
}
