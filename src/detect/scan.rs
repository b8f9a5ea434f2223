//! Looks for canaries in a body while it streams through. An id is a whole run of `A-Z a-z 0-9 - _`,
//! so every run of a length that a canary has is hashed and looked up.
//!
//! 1. Where the body is cut into chunks makes no difference. 2. It holds 128 bytes, whatever comes.
//! 3. `undecided` tells how many bytes at the end belong to a run that goes on: who holds them back
//!    lets no byte of a canary leave.
//! 4. What has a backslash is read twice: as it stands, and with JSON's escapes (RFC 8259 §7), so that
//!    `\u0035` is a 5 and the n of `\n` belongs to no id. A hit in either reading is one.
//!
//! An id in another encoding is not seen.
use std::cell::RefCell;
use std::convert::Infallible;

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

/// Shows every run of bytes that could be an id, in either reading: for what is short and stands in one
/// piece.
pub fn each_id(bytes: &[u8], see: impl FnMut(&[u8])) {
    let (each, mut scan) = (Each(RefCell::new(see)), Scan::default());
    let _never = scan.feed(&each, bytes);
    let _never = scan.finish(&each);
}

/// Whether it is one such run and nothing else.
pub fn is_id(bytes: &[u8]) -> bool {
    bytes.len() <= CanarySet::LENGTH_MAX && bytes.iter().all(|byte| is_id_byte(*byte))
}

struct Each<F>(RefCell<F>);

impl<F: FnMut(&[u8])> Sought for Each<F> {
    type Found = Infallible;

    fn is_empty(&self) -> bool {
        false
    }

    fn find(&self, id: &[u8]) -> Option<Infallible> {
        (self.0.borrow_mut())(id);
        None
    }
}

/// What one chunk brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned<F = Canary> {
    /// The first one that ended in this chunk.
    pub hit: Option<F>,
    /// Bytes at the end of all that was fed which may be the beginning of one; at most 63, or 383
    /// where they are escapes.
    pub undecided: usize,
}

/// The state between chunks.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    plain: Run,
    /// The other reading, if it differs.
    escaped: Option<Escaped>,
}

/// A run that goes on, as far as it fits.
#[derive(Clone, Debug)]
struct Run {
    bytes: [u8; CanarySet::LENGTH_MAX],
    /// One more than fits if it is too long to be an id.
    length: usize,
}

const TOO_LONG: usize = CanarySet::LENGTH_MAX + 1;

impl Default for Run {
    fn default() -> Self {
        Self { bytes: [0; CanarySet::LENGTH_MAX], length: 0 }
    }
}

impl Scan {
    /// Allocates nothing. After a hit the rest of the chunk is not looked at.
    pub fn feed<S: Sought>(&mut self, set: &S, chunk: &[u8]) -> Scanned<S::Found> {
        if set.is_empty() {
            return Scanned { hit: None, undecided: 0 };
        }
        if self.escaped.is_none() && memchr::memchr(b'\\', chunk).is_some() {
            // Up to here both readings are the same.
            self.escaped = Some(Escaped::after(&self.plain));
        }
        let mut hit = self.plain.feed(set, chunk);
        let mut undecided = self.plain.undecided();
        if let Some(escaped) = &mut self.escaped {
            hit = hit.or_else(|| escaped.feed(set, chunk));
            undecided = undecided.max(escaped.undecided());
            if escaped.is(&self.plain) {
                self.escaped = None;
            }
        }
        Scanned { undecided: if hit.is_some() { 0 } else { undecided }, hit }
    }

    /// The body is over.
    pub fn finish<S: Sought>(&mut self, set: &S) -> Option<S::Found> {
        let escaped = self.escaped.take();
        self.plain.take(set).or_else(|| escaped?.run.take(set))
    }
}

impl Run {
    fn feed<S: Sought>(&mut self, set: &S, chunk: &[u8]) -> Option<S::Found> {
        let mut rest = chunk;
        if self.length > 0 {
            let (more, after) = split_run(rest);
            self.extend(more);
            rest = after;
            if rest.is_empty() {
                return None;
            }
            if let Some(found) = self.take(set) {
                return Some(found);
            }
        }
        match find(set, rest) {
            Ok(open) => {
                self.extend(open);
                None
            }
            Err(found) => Some(found),
        }
    }

    const fn undecided(&self) -> usize {
        if self.length < TOO_LONG { self.length } else { 0 }
    }

    fn known(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    fn extend(&mut self, more: &[u8]) {
        match self.bytes.get_mut(self.length..self.length + more.len()) {
            Some(place) => {
                place.copy_from_slice(more);
                self.length += more.len();
            }
            None => self.length = TOO_LONG,
        }
    }

    fn take<S: Sought>(&mut self, set: &S) -> Option<S::Found> {
        let run = self.bytes.get(..std::mem::take(&mut self.length))?;
        set.find(run)
    }
}

/// A body as JSON's strings are read.
#[derive(Clone, Debug)]
struct Escaped {
    run: Run,
    escape: Escape,
    /// Bytes, as they stand, since the run began: those of an escape that goes on as well.
    raw: usize,
}

/// How far an escape has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Backslash,
    /// After the u: what the digits say so far, and how many there were.
    Unicode(u16, u8),
}

impl Escaped {
    fn after(plain: &Run) -> Self {
        Self { run: plain.clone(), escape: Escape::None, raw: plain.length }
    }

    /// Whether it makes no difference any more.
    fn is(&self, plain: &Run) -> bool {
        self.escape == Escape::None
            && self.run.length == plain.length
            && self.run.known() == plain.known()
            && self.raw == plain.length
    }

    const fn undecided(&self) -> usize {
        if self.run.length < TOO_LONG { self.raw } else { 0 }
    }

    fn feed<S: Sought>(&mut self, set: &S, chunk: &[u8]) -> Option<S::Found> {
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.escape == Escape::None {
                let at = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
                let (text, after) = rest.split_at(at);
                if let Some(found) = self.text(set, text) {
                    return Some(found);
                }
                rest = after;
            }
            let (&byte, after) = rest.split_first()?;
            self.raw += 1;
            let (escape, found) = self.step(set, byte);
            // A byte that ends no escape stands for itself.
            let is_read = !matches!(self.escape, Escape::Unicode(..)) || byte.is_ascii_hexdigit();
            self.escape = escape;
            if found.is_some() {
                return found;
            }
            if is_read {
                rest = after;
            }
        }
        None
    }

    /// One byte of an escape: what it leads to, and what ended with it.
    fn step<S: Sought>(&mut self, set: &S, byte: u8) -> (Escape, Option<S::Found>) {
        match (self.escape, char::from(byte).to_digit(16)) {
            (Escape::None, _) => (Escape::Backslash, None),
            (Escape::Backslash, _) if byte == b'u' => (Escape::Unicode(0, 0), None),
            (Escape::Unicode(value, count), Some(digit)) => {
                let value = value << 4 | u16::try_from(digit).unwrap_or(0);
                if count < 3 {
                    return (Escape::Unicode(value, count + 1), None);
                }
                match u8::try_from(value) {
                    Ok(byte) if is_id_byte(byte) => {
                        self.run.extend(&[byte]);
                        (Escape::None, None)
                    }
                    _ => (Escape::None, self.end(set)),
                }
            }
            // Of the short escapes none stands for a byte of an id.
            (Escape::Backslash | Escape::Unicode(..), _) => (Escape::None, self.end(set)),
        }
    }

    fn text<S: Sought>(&mut self, set: &S, text: &[u8]) -> Option<S::Found> {
        let found = self.run.feed(set, text);
        let is_within = text.iter().all(|byte| is_id_byte(*byte));
        self.raw = if is_within { self.raw + text.len() } else { self.run.length };
        found
    }

    fn end<S: Sought>(&mut self, set: &S) -> Option<S::Found> {
        self.raw = 0;
        self.run.take(set)
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
