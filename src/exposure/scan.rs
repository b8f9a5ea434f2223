//! Reads a JSON text in pieces of any size and tells a [`Visitor`] what lies at the marked places of
//! a [`FieldTree`]. Where the pieces are cut changes nothing.
//!
//! Checked: brackets, commas, colons and their order; that strings close, hold no control character
//! and no unknown escape; the letters of literals and the characters of numbers; the encoding of
//! keys. Not checked: the form of a number (`1-2.` passes), the UTF-8 and the `\u` digits of string
//! values, and, in a part that is skipped because nothing in it is marked, everything but strings,
//! brackets and the alphabet.
use super::key;
use super::text::{Sort, StringEnd, StringReader, blank_length, sort};
use super::tree::{FieldTree, Place};
use super::visit::{Descend, Fault, Halt, Kind, Piece, Visitor};
use super::word::Word;

/// Containers within containers; the deepest contract that does not contain itself has 14.
pub const DEPTH_MAX: usize = 64;
/// Bytes of a key as written, escapes included; the longest of a contract has 52. Keys in skipped
/// parts are not kept and may be longer.
pub const KEY_MAX: usize = 512;

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A value.
    Value,
    /// A value, or the end of the array that has just begun.
    FirstValue,
    /// A key, or the end of the object that has just begun.
    FirstKey,
    /// A key.
    NextKey,
    Colon,
    /// A comma or the end of the container.
    After,
    /// Nothing.
    Done,
    InKey,
    InString,
    InWord,
    /// Anything, until the container at this depth ends.
    Skipping(u8),
}

/// The state of one text. About 0.9 KB; it allocates nothing.
#[derive(Clone, Debug)]
pub struct Scan {
    phase: Phase,
    depth: usize,
    /// One bit for each container, the innermost lowest: whether it is an object.
    kinds: u64,
    around: [Place; DEPTH_MAX],
    /// Where the value is that is being read or comes next.
    place: Place,
    word: Word,
    /// Of the token being read, in the chunk, without its quote.
    start: usize,
    /// It began in an earlier chunk.
    is_continued: bool,
    string: StringReader,
    is_in_skipped_string: bool,
    key: [u8; KEY_MAX],
    key_length: usize,
    /// Bytes of the chunks before.
    before: u64,
    halt: Option<Halt>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            phase: Phase::Value,
            depth: 0,
            kinds: 0,
            around: [Place::CLEAR; DEPTH_MAX],
            place: Place::ROOT,
            word: Word { kind: Kind::Null, rest: b"" },
            start: 0,
            is_continued: false,
            string: StringReader::default(),
            is_in_skipped_string: false,
            key: [0; KEY_MAX],
            key_length: 0,
            before: 0,
            halt: None,
        }
    }
}

/// What does not change while a chunk is read.
struct Chunk<'a, V> {
    tree: &'a FieldTree,
    bytes: &'a [u8],
    visitor: &'a mut V,
}

impl<'a, V> Chunk<'a, V> {
    #[inline]
    fn rest(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    #[inline]
    fn between(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }
}

/// [`Scan::halt`] says why. It is empty so that a step's result travels in registers.
struct Stop;

type Step<T = ()> = Result<T, Stop>;

impl Scan {
    /// The next bytes of the text. After a fault, every further call gives the same fault; `tree` is
    /// the same at every call.
    pub fn feed<V: Visitor>(
        &mut self,
        tree: &FieldTree,
        bytes: &[u8],
        visitor: &mut V,
    ) -> Result<(), Halt> {
        if let Some(halt) = self.halt {
            return Err(halt);
        }
        let mut chunk = Chunk { tree, bytes, visitor };
        let read = self.read_chunk(&mut chunk);
        self.settle(read)?;
        self.before += bytes.len() as u64;
        Ok(())
    }

    /// Where and why reading has ended before the text.
    #[must_use]
    pub const fn halt(&self) -> Option<Halt> {
        self.halt
    }

    /// The text has ended.
    pub fn finish<V: Visitor>(&mut self, tree: &FieldTree, visitor: &mut V) -> Result<(), Halt> {
        if let Some(halt) = self.halt {
            return Err(halt);
        }
        let mut chunk = Chunk { tree, bytes: &[], visitor };
        // Only a number or literal that is the whole text ends with the text.
        let ended = match self.phase {
            Phase::InWord if self.depth == 0 && self.word.rest.is_empty() => {
                self.end_word(&mut chunk, 0)
            }
            Phase::Done => Ok(()),
            _ => self.fail(Fault::Truncated, 0),
        };
        self.settle(ended)
    }

    fn settle(&mut self, read: Step) -> Result<(), Halt> {
        match (read, self.halt) {
            (Err(Stop), Some(halt)) => Err(halt),
            _ => Ok(()),
        }
    }

    /// The byte at `at` in the chunk is at fault.
    #[cold]
    fn fail<T>(&mut self, fault: Fault, at: usize) -> Step<T> {
        self.halt = Some(Halt { fault, at: self.before + at as u64 });
        Err(Stop)
    }

    fn read_chunk<V: Visitor>(&mut self, chunk: &mut Chunk<'_, V>) -> Step {
        let mut at = 0;
        while let Some(byte) = chunk.bytes.get(at).copied() {
            at = match (self.phase, byte) {
                (Phase::InKey, _) => self.read_key(chunk, at)?,
                (Phase::InString, _) => self.read_string(chunk, at)?,
                (Phase::InWord, _) => self.read_word(chunk, at)?,
                (Phase::Skipping(depth), _) => self.skip(chunk, at, depth.into())?,
                (_, b' ' | b'\n' | b'\r' | b'\t') => at + blank_length(chunk.rest(at)),
                (Phase::FirstKey | Phase::NextKey, b'"') => {
                    self.begin(Phase::InKey, at + 1);
                    self.read_key(chunk, at + 1)?
                }
                (Phase::FirstKey, b'}') | (Phase::FirstValue, b']') => {
                    self.end_container(chunk, byte == b'}', at)?
                }
                (Phase::Colon, b':') => {
                    self.phase = Phase::Value;
                    at + 1
                }
                (Phase::Value | Phase::FirstValue, _) => self.begin_value(chunk, byte, at)?,
                (Phase::After, b',') => {
                    self.comma(chunk);
                    at + 1
                }
                (Phase::After, b'}' | b']') => self.end_container(chunk, byte == b'}', at)?,
                (Phase::Done, _) => return self.fail(Fault::Trailing, at),
                (Phase::Colon | Phase::FirstKey | Phase::NextKey | Phase::After, _) => {
                    return self.fail(Fault::Malformed, at);
                }
            };
        }
        Ok(())
    }

    #[inline]
    fn begin_value<V: Visitor>(
        &mut self,
        chunk: &mut Chunk<'_, V>,
        byte: u8,
        at: usize,
    ) -> Step<usize> {
        match byte {
            b'"' => {
                self.begin(Phase::InString, at + 1);
                self.read_string(chunk, at + 1)
            }
            b'{' | b'[' => self.begin_container(chunk, byte == b'{', at),
            _ => {
                let Some(word) = Word::begin(byte) else {
                    return self.fail(Fault::Malformed, at);
                };
                self.word = word;
                self.begin(Phase::InWord, at);
                self.read_word(chunk, at)
            }
        }
    }

    #[inline]
    fn read_key<V: Visitor>(&mut self, chunk: &mut Chunk<'_, V>, at: usize) -> Step<usize> {
        match self.string.end(chunk.bytes, at) {
            StringEnd::Quote(end) => self.end_key(chunk, end),
            StringEnd::Later => {
                self.keep_key(chunk.between(self.start, chunk.bytes.len()))?;
                Ok(self.continued(chunk))
            }
            StringEnd::Bad(at) => {
                self.keep_key(chunk.between(self.start, at))?;
                self.fail(Fault::Malformed, at)
            }
        }
    }

    #[inline]
    fn read_string<V: Visitor>(&mut self, chunk: &mut Chunk<'_, V>, at: usize) -> Step<usize> {
        match self.string.end(chunk.bytes, at) {
            StringEnd::Quote(end) => {
                self.show(chunk, Kind::String, end, true);
                Ok(self.end_value(chunk, end + 1))
            }
            StringEnd::Later => {
                self.show(chunk, Kind::String, chunk.bytes.len(), false);
                Ok(self.continued(chunk))
            }
            StringEnd::Bad(at) => {
                self.show(chunk, Kind::String, at, false);
                self.fail(Fault::Malformed, at)
            }
        }
    }

    #[inline]
    fn read_word<V: Visitor>(&mut self, chunk: &mut Chunk<'_, V>, at: usize) -> Step<usize> {
        let end = at + self.word.read(chunk.rest(at));
        if end == chunk.bytes.len() {
            self.show(chunk, self.word.kind, end, false);
            return Ok(self.continued(chunk));
        }
        self.end_word(chunk, end)?;
        Ok(self.end_value(chunk, end))
    }

    fn end_word<V: Visitor>(&mut self, chunk: &mut Chunk<'_, V>, end: usize) -> Step {
        let is_whole = self.word.rest.is_empty();
        self.show(chunk, self.word.kind, end, is_whole);
        if is_whole { Ok(()) } else { self.fail(Fault::Malformed, end) }
    }

    /// The chunk ends within a token; all of it has been read.
    fn continued<V: Visitor>(&mut self, chunk: &Chunk<'_, V>) -> usize {
        self.start = 0;
        self.is_continued = true;
        chunk.bytes.len()
    }

    /// Goes on behind a value of which all has been read.
    #[inline]
    fn end_value<V: Visitor>(&mut self, chunk: &Chunk<'_, V>, next: usize) -> usize {
        self.phase = if self.depth == 0 { Phase::Done } else { Phase::After };
        if self.depth > 0 && chunk.bytes.get(next) == Some(&b',') {
            self.comma(chunk);
            return next + 1;
        }
        next
    }

    #[inline]
    fn comma<V: Visitor>(&mut self, chunk: &Chunk<'_, V>) {
        if self.is_in_object() {
            self.phase = Phase::NextKey;
        } else {
            self.place = chunk.tree.node(self.container()).element;
            self.phase = Phase::Value;
        }
    }

    /// Goes on to the end of the container at `depth`, or of the chunk.
    fn skip<V: Visitor>(
        &mut self,
        chunk: &mut Chunk<'_, V>,
        mut at: usize,
        depth: usize,
    ) -> Step<usize> {
        while let Some(byte) = chunk.bytes.get(at).copied() {
            if self.is_in_skipped_string {
                match self.string.end(chunk.bytes, at) {
                    StringEnd::Quote(end) => at = end + 1,
                    StringEnd::Later => return Ok(chunk.bytes.len()),
                    StringEnd::Bad(at) => return self.fail(Fault::Malformed, at),
                }
                self.is_in_skipped_string = false;
                continue;
            }
            match sort(byte) {
                Sort::Between => {}
                Sort::Quote => self.is_in_skipped_string = true,
                Sort::Open => self.push(Place::CLEAR, byte == b'{', at)?,
                Sort::Close if self.depth == depth => {
                    return self.end_container(chunk, byte == b'}', at);
                }
                Sort::Close => self.pop(byte == b'}', at)?,
                Sort::Bad => return self.fail(Fault::Malformed, at),
            }
            at += 1;
        }
        Ok(at)
    }

    #[inline]
    fn begin(&mut self, phase: Phase, start: usize) {
        self.phase = phase;
        self.start = start;
        self.is_continued = false;
    }

    /// The object or array whose members are being read.
    #[inline]
    fn container(&self) -> Place {
        self.around.get(self.depth.wrapping_sub(1)).copied().unwrap_or(Place::OUTSIDE)
    }

    #[inline]
    fn is_in_object(&self) -> bool {
        self.kinds & 1 == 1
    }

    #[inline]
    fn push(&mut self, place: Place, is_object: bool, at: usize) -> Step {
        let Some(room) = self.around.get_mut(self.depth) else {
            return self.fail(Fault::TooDeep, at);
        };
        *room = place;
        self.depth += 1;
        self.kinds = self.kinds << 1 | u64::from(is_object);
        Ok(())
    }

    #[inline]
    fn pop(&mut self, is_object: bool, at: usize) -> Step {
        if self.depth == 0 || self.is_in_object() != is_object {
            return self.fail(Fault::Malformed, at);
        }
        self.depth -= 1;
        self.kinds >>= 1;
        Ok(())
    }

    #[inline]
    fn begin_container<V: Visitor>(
        &mut self,
        chunk: &mut Chunk<'_, V>,
        is_object: bool,
        at: usize,
    ) -> Step<usize> {
        let tree = chunk.tree;
        let expected = tree.node(self.place);
        let place = if is_object { expected.as_object } else { expected.as_array };
        self.push(place, is_object, at)?;
        let node = tree.node(place);
        let descend = if node.mark.is_shown() {
            chunk.visitor.open(node.mark, at)
        } else if V::SKIPS_CLEAR && !node.mark.leads_to_marks() {
            Descend::Over
        } else {
            Descend::Into
        };
        self.place = node.element;
        self.phase = match (descend, u8::try_from(self.depth)) {
            (Descend::Over, Ok(depth)) => Phase::Skipping(depth),
            _ if is_object => Phase::FirstKey,
            _ => Phase::FirstValue,
        };
        Ok(at + 1)
    }

    #[inline]
    fn end_container<V: Visitor>(
        &mut self,
        chunk: &mut Chunk<'_, V>,
        is_object: bool,
        at: usize,
    ) -> Step<usize> {
        let mark = chunk.tree.node(self.container()).mark;
        self.pop(is_object, at)?;
        if mark.is_shown() {
            chunk.visitor.close(mark, at);
        }
        Ok(self.end_value(chunk, at + 1))
    }

    #[inline]
    fn end_key<V: Visitor>(&mut self, chunk: &mut Chunk<'_, V>, end: usize) -> Step<usize> {
        let tree = chunk.tree;
        let container = self.container();
        let here = chunk.between(self.start, end);
        let place = if self.is_continued || here.len() > KEY_MAX {
            self.keep_key(here)?;
            let key = self.key.get(..self.key_length).unwrap_or_default();
            let place = place_of(tree, container, key);
            self.key_length = 0;
            place
        } else {
            tree.child(container, here).or_else(|| place_of(tree, container, here))
        };
        let Some(place) = place else {
            return self.fail(Fault::KeyEncoding, end);
        };
        self.place = place;
        if chunk.bytes.get(end + 1) == Some(&b':') {
            self.phase = Phase::Value;
            return Ok(end + 2);
        }
        self.phase = Phase::Colon;
        Ok(end + 1)
    }

    /// Keeps a part of a key that a chunk's end cuts.
    fn keep_key(&mut self, part: &[u8]) -> Step {
        let end = self.key_length + part.len();
        match self.key.get_mut(self.key_length..end) {
            Some(room) => room.copy_from_slice(part),
            None => {
                return self.fail(Fault::KeyTooLong, self.start + KEY_MAX - self.key_length);
            }
        }
        self.key_length = end;
        Ok(())
    }

    /// Shows the value's part from its start, or the chunk's, to before `end`, if its place is marked.
    #[inline]
    fn show<V: Visitor>(
        &mut self,
        chunk: &mut Chunk<'_, V>,
        kind: Kind,
        end: usize,
        is_last: bool,
    ) {
        let place = chunk.tree.node(self.place).as_scalar;
        if place == Place::CLEAR {
            return;
        }
        let text = chunk.between(self.start, end);
        let quote = usize::from(kind == Kind::String);
        let before = if self.is_continued { 0 } else { quote };
        let behind = if is_last { quote } else { 0 };
        let piece = Piece {
            kind,
            text,
            span: self.start - before..end + behind,
            is_first: !self.is_continued,
            is_last,
        };
        chunk.visitor.scalar(chunk.tree.node(place).mark, piece);
    }
}

/// The place of a key that the object does not list as it is written; nothing if it has no one
/// reading.
#[cold]
fn place_of(tree: &FieldTree, container: Place, raw: &[u8]) -> Option<Place> {
    let mut room = [0; KEY_MAX];
    let length = key::decode(raw, &mut room)?;
    let key = room.get(..length)?;
    Some(tree.child(container, key).unwrap_or(tree.node(container).other_key))
}
