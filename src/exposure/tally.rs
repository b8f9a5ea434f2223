//! Counts what one answer reveals, without keeping any of it.
use std::sync::Arc;

use super::class::{PerClass, RecordKind};
use super::scan::Scan;
use super::sketch::Sketch;
use super::tree::{FieldTree, Mark};
use super::visit::{Descend, Fault, Halt, Kind, Piece, Visitor};
use crate::base::ClassSet;
use crate::base::{HashKey, SipHasher};

/// What one answer revealed. It holds counts and a sketch of keyed hashes, nothing of the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of the answer, those behind a fault included.
    pub bytes: u64,
    /// Bytes of these behind a fault: nobody knows what they reveal.
    pub unread: u64,
    /// Records that reveal a personal class ([`super::Class::is_personal`]) of anyone.
    pub records: u64,
    /// Of these, records that do so of a buyer or recipient.
    pub customers: u64,
    /// For each class, the records it occurs in; ids and secrets too, so that a class can have more
    /// records than there are personal ones.
    pub by_class: PerClass,
    /// Values that the contract does not know, or that have another form than it says: an unknown
    /// container counts once, whatever it holds.
    pub drift: u64,
    /// Different records among the personal ones: the same record read through two operations is
    /// one, if both give its id.
    pub distinct: Sketch,
}

impl Tally {
    /// The sketch has room, so that counting allocates only beyond 410 records in one answer.
    fn with_room() -> Self {
        Self { distinct: Sketch::with_room(), ..Self::default() }
    }

    fn clear(&mut self) {
        let mut distinct = std::mem::take(&mut self.distinct);
        distinct.clear();
        *self = Self { distinct, ..Self::default() };
    }
}

/// How many records bytes are taken for that nobody could read: the shortest order takes some 300, and
/// they may be compressed.
#[must_use]
pub const fn records_at_most(bytes: u64) -> u64 {
    bytes.div_ceil(64)
}

/// Counts answers, one after the other. About 3 KB.
#[derive(Debug)]
pub struct Scanner {
    tree: Arc<FieldTree>,
    scan: Scan,
    counter: Counter,
}

impl Scanner {
    #[must_use]
    pub fn new(tree: Arc<FieldTree>, key: HashKey) -> Self {
        let counter = Counter {
            key,
            whole: Record::of(tree.whole()),
            unit: None,
            hash: None,
            is_noted: false,
            tally: Tally::with_room(),
        };
        Self { tree, scan: Scan::default(), counter }
    }

    /// Begins with another answer.
    pub fn start(&mut self, tree: Arc<FieldTree>) {
        self.counter.whole = Record::of(tree.whole());
        self.counter.unit = None;
        self.counter.hash = None;
        self.counter.tally.clear();
        self.scan = Scan::default();
        self.tree = tree;
    }

    /// The next bytes of the answer. After a fault, bytes are counted on and nothing else; what was
    /// seen before stays counted.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), Halt> {
        let bytes = &mut self.counter.tally.bytes;
        *bytes = bytes.saturating_add(chunk.len() as u64);
        self.scan.feed(&self.tree, chunk, &mut self.counter)
    }

    /// Records of buyers and recipients of which something has come, those that are not whole yet and
    /// what may stand behind a fault included. At the end it is what [`finish`](Self::finish) counts.
    #[must_use]
    pub fn so_far(&self) -> u64 {
        let Counter { tally, unit, whole, .. } = &self.counter;
        let open = [unit.as_ref(), Some(whole)].into_iter().flatten();
        let open = open.map(|record| u64::from(record.is_customer)).sum();
        let hidden = self.scan.halt().map_or(0, |halt| tally.bytes.saturating_sub(halt.at));
        tally.customers.saturating_add(open).saturating_add(records_at_most(hidden))
    }

    /// What the answer revealed, and whether all of it could be read. Call it once, at the end.
    pub fn finish(&mut self) -> (&Tally, Option<Fault>) {
        let ended = self.scan.finish(&self.tree, &mut self.counter);
        self.counter.finish();
        let tally = &mut self.counter.tally;
        tally.unread = ended.err().map_or(0, |halt| tally.bytes.saturating_sub(halt.at));
        (tally, ended.err().map(|halt| halt.fault))
    }
}

/// A record while it is read.
#[derive(Clone, Copy, Debug)]
struct Record {
    kind: RecordKind,
    classes: ClassSet,
    is_customer: bool,
    id: Option<u64>,
    /// Sum of the hashes of its personal values, which stands for it if it has no id. The order of
    /// fields does not matter to a sum.
    values: u64,
}

impl Record {
    const fn of(kind: RecordKind) -> Self {
        Self { kind, classes: ClassSet::EMPTY, is_customer: false, id: None, values: 0 }
    }
}

#[derive(Debug)]
struct Counter {
    key: HashKey,
    /// The answer as one record, for what lies in no unit.
    whole: Record,
    unit: Option<Record>,
    /// Of the value being read, if it is an id (true) or stands in for one.
    hash: Option<(SipHasher, bool)>,
    /// The value being read was found not to be empty.
    is_noted: bool,
    tally: Tally,
}

impl Visitor for Counter {
    const SKIPS_CLEAR: bool = true;

    fn open(&mut self, mark: Mark, _: usize) -> Descend {
        if mark.is_outside() {
            self.tally.drift += 1;
            return Descend::Over;
        }
        if let Some(kind) = mark.unit() {
            self.unit = Some(Record::of(kind));
        }
        Descend::Into
    }

    fn scalar(&mut self, mark: Mark, piece: Piece<'_>) {
        if piece.is_first {
            self.is_noted = false;
            self.hash = None;
        }
        // `null` and "" reveal nothing.
        if piece.kind == Kind::Null {
            return;
        }
        if !piece.text.is_empty() {
            if !self.is_noted {
                self.is_noted = true;
                self.note(mark);
            }
            if let Some((hasher, _)) = &mut self.hash {
                hasher.write(piece.text);
            }
        }
        if piece.is_last {
            self.end_hash();
        }
    }

    fn close(&mut self, mark: Mark, _: usize) {
        if mark.unit().is_some()
            && let Some(record) = self.unit.take()
        {
            self.count(record);
        }
    }
}

impl Counter {
    fn record(&mut self) -> &mut Record {
        self.unit.as_mut().unwrap_or(&mut self.whole)
    }

    /// A value that is not empty has begun.
    fn note(&mut self, mark: Mark) {
        if mark.is_outside() {
            self.tally.drift += 1;
            return;
        }
        let record = self.record();
        if let Some(class) = mark.class() {
            record.classes = record.classes.with(class);
            record.is_customer |= class.is_personal() && mark.subject().is_customer();
        }
        // The first id is the record's; once it is known, its values need no hash.
        let lacks_id = record.id.is_none();
        let personal = mark.class().filter(|class| class.is_personal());
        let domain = match (lacks_id, mark.is_id(), personal) {
            (true, true, _) => record.kind as u8,
            (true, false, Some(class)) => 0x80 | class as u8,
            _ => return,
        };
        let mut hasher = self.key.hasher();
        hasher.write_byte(domain);
        self.hash = Some((hasher, mark.is_id()));
    }

    fn end_hash(&mut self) {
        if let Some((hasher, is_id)) = self.hash.take() {
            let (hash, record) = (hasher.finish(), self.record());
            if is_id {
                record.id = Some(hash);
            } else {
                record.values = record.values.wrapping_add(hash);
            }
        }
    }

    fn count(&mut self, record: Record) {
        for class in record.classes.iter() {
            self.tally.by_class.add(class, 1);
        }
        if record.classes.is_personal() {
            self.tally.records += 1;
            self.tally.customers += u64::from(record.is_customer);
            self.tally.distinct.insert(record.id.unwrap_or_else(|| self.stand_in(record)));
        }
    }

    /// For a record without an id: the hash of what its values' hashes sum up to.
    fn stand_in(&self, record: Record) -> u64 {
        let mut hasher = self.key.hasher();
        hasher.write_byte(0x40 | record.kind as u8);
        hasher.write(&record.values.to_le_bytes());
        hasher.finish()
    }

    /// Counts what a fault has left open: its bytes may have left already.
    fn finish(&mut self) {
        self.end_hash();
        if let Some(record) = self.unit.take() {
            self.count(record);
        }
        let whole = std::mem::replace(&mut self.whole, Record::of(RecordKind::Answer));
        self.count(whole);
    }
}
