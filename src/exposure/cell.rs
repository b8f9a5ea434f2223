//! What was revealed in one hour or day, and its packed form.
use super::class::PerClass;
use super::sketch::Sketch;
use super::tally::{Tally, records_at_most};
use crate::base::Class;

/// Sums of tallies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Answers.
    pub requests: u64,
    pub bytes: u64,
    /// As in [`Tally::records`]: a record that was read twice counts twice.
    pub records: u64,
    pub customers: u64,
    pub drift: u64,
    pub by_class: PerClass,
    /// Different records.
    pub distinct: Sketch,
    /// Records that may stand in what nobody could read, at most; in none of the counts above.
    pub unread: u64,
}

impl Cell {
    pub fn add(&mut self, tally: &Tally) {
        self.sum([1, tally.bytes, tally.records, tally.customers, tally.drift]);
        self.by_class.merge(&tally.by_class);
        self.distinct.merge(&tally.distinct);
        self.unread = self.unread.saturating_add(records_at_most(tally.unread));
    }

    pub fn merge(&mut self, other: &Self) {
        self.sum(other.counts());
        self.by_class.merge(&other.by_class);
        self.distinct.merge(&other.distinct);
        self.unread = self.unread.saturating_add(other.unread);
    }

    const fn counts(&self) -> [u64; 5] {
        [self.requests, self.bytes, self.records, self.customers, self.drift]
    }

    fn sum(&mut self, more: [u64; 5]) {
        let own = [
            &mut self.requests,
            &mut self.bytes,
            &mut self.records,
            &mut self.customers,
            &mut self.drift,
        ];
        for (own, more) in own.into_iter().zip(more) {
            *own = own.saturating_add(more);
        }
    }

    /// Bytes of memory, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.distinct.size()
    }

    /// Variable-length numbers: the five counts, a bit for each class, a count for each bit, the
    /// sketch; where there were any, the unread. About 15 bytes, and four for each different record; 1.7 KB at most.
    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        for count in self.counts() {
            put(out, count);
        }
        let present = self.by_class.iter().fold(0, |bits, (class, _)| bits | 1 << class.index());
        put(out, present);
        for (_, count) in self.by_class.iter() {
            put(out, count);
        }
        self.distinct.pack(out);
        if self.unread > 0 {
            put(out, self.unread);
        }
    }

    /// Reads what [`Self::pack`] wrote; nothing if it is anything else, or more.
    pub(super) fn unpack(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let mut cell = Self {
            requests: take(from)?,
            bytes: take(from)?,
            records: take(from)?,
            customers: take(from)?,
            drift: take(from)?,
            ..Self::default()
        };
        let present = take(from)?;
        for class in Class::ALL.iter().filter(|class| present >> class.index() & 1 == 1) {
            let count = take(from).filter(|count| *count > 0)?;
            cell.by_class.add(*class, count);
        }
        if present >> Class::COUNT != 0 {
            return None;
        }
        cell.distinct = Sketch::unpack(from)?;
        if !from.is_empty() {
            cell.unread = take(from).filter(|unread| *unread > 0)?;
        }
        bytes.is_empty().then_some(cell)
    }
}

/// Seven bits to a byte, the lowest first; the top bit says that more follow.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            // One way to write a number, so that equal cells are equal bytes.
            return (shift == 0 || bits > 0).then_some(number);
        }
    }
    None
}
