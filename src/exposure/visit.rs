//! What a scan tells, and to whom.
use std::ops::Range;

use super::tree::Mark;

/// Why a text can't be read on. It is the caller's to decide what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON, from this byte on. A byte order mark is not JSON (RFC 8259 §8.1).
    Malformed,
    /// More than [`super::DEPTH_MAX`] containers in each other.
    TooDeep,
    /// A key of more than [`super::KEY_MAX`] bytes.
    KeyTooLong,
    /// A key that is no UTF-8, or has an escape that stands for nothing: readers differ on it.
    KeyEncoding,
    /// Something follows the value.
    Trailing,
    /// The value does not end, or there is none.
    Truncated,
}

/// The scan has ended before the text did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    pub fault: Fault,
    /// Bytes of the text before the one at fault.
    pub at: u64,
}

/// What is told of a text.
///
/// Redaction will be a visitor with [`Self::SKIPS_CLEAR`] off, made for each chunk and holding the
/// chunk, a mask of classes and the output: it passes the chunk's bytes up to [`Piece::span`], leaves
/// the span out where the mask does not show [`Mark::class`] or the place [`Mark::is_outside`], and
/// writes its marker where [`Piece::is_first`]. For a container it does so at [`Self::open`], answers
/// [`Descend::Over`] and goes on behind [`Self::close`]. What is not shown to it may pass. A piece is
/// shown in the `feed` that brought it, so that nothing is held back and the first byte does not wait
/// for the last. The room's tests hold such a visitor.
pub trait Visitor {
    /// Whether containers without a marked place below need not be looked into. Fields in them that
    /// the contract does not know are then not shown.
    const SKIPS_CLEAR: bool;

    /// A marked container begins at byte `at` of the chunk.
    fn open(&mut self, mark: Mark, at: usize) -> Descend;

    /// A part of a string, number or literal at a marked place.
    fn scalar(&mut self, mark: Mark, piece: Piece<'_>);

    /// A marked container has ended with byte `at` of the chunk.
    fn close(&mut self, mark: Mark, at: usize);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descend {
    Into,
    /// What is in the container is not shown.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Number,
    True,
    False,
    Null,
}

/// As much of a value as one chunk holds.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    pub kind: Kind,
    /// Without quotes; escapes as they are.
    pub text: &'a [u8],
    /// Where it is in the chunk, quotes included.
    pub span: Range<usize>,
    pub is_first: bool,
    /// Nothing of the value follows. Of a number that a chunk's end cuts, the last piece is empty.
    pub is_last: bool,
}
