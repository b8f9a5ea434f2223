//! The cells of one identity and operation, and their stored form.
use super::cell::{Cell, put, take};
use super::ledger::{DAY, Hour, LedgerFault, Range, Span};
use super::tally::Tally;
use crate::base::HashKey;
use crate::base::Name;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    /// By time, none overlapping.
    pub packed: Vec<Packed>,
    /// Their bytes of memory.
    packed_size: usize,
    /// The hour that is being counted; it is not among the packed.
    open: Option<(Hour, Box<Cell>)>,
    /// Where cells begin that are not what they were.
    changed: Vec<Hour>,
    /// The last one that was told as changed and is not asked for yet.
    told: Option<Hour>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub from: Hour,
    span: Span,
    bytes: Box<[u8]>,
}

impl Packed {
    fn new(from: Hour, span: Span, cell: &Cell) -> Self {
        let mut bytes = Vec::new();
        cell.pack(&mut bytes);
        Self { from, span, bytes: bytes.into() }
    }

    /// What was packed here or checked when it was read can be unpacked.
    fn cell(&self) -> Cell {
        Cell::unpack(&self.bytes).unwrap_or_default()
    }

    const fn until(&self) -> Hour {
        self.from.plus(self.span.hours())
    }

    pub(super) const fn span(&self) -> Span {
        self.span
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + ALLOCATION
    }
}

/// What an allocation and its place in a tree cost beside its bytes, about.
const ALLOCATION: usize = 16;
/// The first version had no count of what could not be read; where there is none it is still written.
const VERSION: u8 = 2;
const WITHOUT_UNREAD: u8 = 1;
/// Of no secrecy: the sum only tells damage.
const SUM_KEY: [u8; 16] = *b"sekisho ledger 1";
pub(super) const SUM_BYTES: usize = 8;

impl Series {
    pub(super) fn is_empty(&self) -> bool {
        self.packed.is_empty() && self.open.is_none()
    }

    pub(super) fn oldest(&self) -> Option<Hour> {
        let open = self.open.as_ref().map(|(hour, _)| *hour);
        self.packed.first().map(|cell| cell.from).into_iter().chain(open).min()
    }

    pub(super) fn latest(&self) -> Option<Hour> {
        let open = self.open.as_ref().map(|(hour, _)| *hour);
        self.packed.last().map(|cell| cell.from).into_iter().chain(open).max()
    }

    /// Lets go of what is before `floor`, which the store keeps.
    pub(super) fn release(&mut self, floor: Hour) {
        if self.open.as_ref().is_some_and(|(hour, _)| *hour < floor) {
            self.open = None;
        }
        self.packed.retain(|cell| cell.from >= floor);
        self.packed.shrink_to_fit();
        self.weigh();
    }

    pub(super) fn size(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |(_, cell)| cell.size() + ALLOCATION);
        size_of::<Self>() + 2 * size_of::<Name>() + 2 * ALLOCATION + self.packed_size + open
    }

    fn weigh(&mut self) {
        self.packed_size = self.packed.iter().map(Packed::size).sum();
    }

    pub(super) fn keep(&mut self, mut which: impl FnMut(&Packed) -> bool) {
        let changed = &mut self.changed;
        self.packed.retain(|cell| {
            let stays = which(cell);
            if !stays {
                changed.push(cell.from);
            }
            stays
        });
        self.weigh();
    }

    pub(super) const fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Where cells begin that have changed.
    pub(super) fn take_changed(&mut self) -> impl Iterator<Item = Hour> {
        std::mem::take(&mut self.changed).into_iter()
    }

    /// A cell was asked for: the next change of it is news.
    pub(super) fn given(&mut self, from: Hour) {
        self.told = self.told.filter(|told| *told != from);
    }

    fn tell(&mut self, from: Hour) {
        if self.told != Some(from) {
            self.told = Some(from);
            self.changed.push(from);
        }
    }

    /// The cell that begins there, as a series of its own.
    pub(super) fn page(&self, from: Hour) -> Option<Vec<u8>> {
        let open = self.open.as_ref().filter(|(hour, _)| *hour == from);
        let packed = if let Some((_, cell)) = open {
            Packed::new(from, Span::Hour, cell)
        } else {
            let at = self.packed.binary_search_by_key(&from, |cell| cell.from).ok()?;
            self.packed.get(at)?.clone()
        };
        Some(Self { packed: vec![packed], ..Self::default() }.encode())
    }

    /// Adds cells of times of which nothing is known here.
    pub(super) fn insert(&mut self, page: Self) {
        for cell in page.packed {
            let at = self.packed.partition_point(|own| own.until() <= cell.from);
            let free = self.packed.get(at).is_none_or(|next| cell.until() <= next.from);
            let open = self
                .open
                .as_ref()
                .is_some_and(|(hour, _)| cell.from <= *hour && *hour < cell.until());
            if free && !open {
                self.packed.insert(at, cell);
            }
        }
        self.weigh();
    }

    pub(super) fn add(&mut self, hour: Hour, tally: &Tally) {
        self.count(hour, |cell| cell.add(tally));
    }

    /// Adds what was counted elsewhere at the same time. A day counts in its first hour.
    pub(super) fn merge(&mut self, other: &Self, floor: Hour) {
        for packed in &other.packed {
            self.count(packed.from.max(floor), |cell| cell.merge(&packed.cell()));
        }
    }

    fn count(&mut self, hour: Hour, add: impl FnOnce(&mut Cell)) {
        if self.open.as_ref().is_none_or(|(open, _)| *open != hour) {
            self.put_away();
            let at = self.packed.partition_point(|cell| cell.until() <= hour);
            let found = self.packed.get(at).filter(|cell| cell.from <= hour);
            if let Some(Packed { span: Span::Day, .. }) = found {
                return self.add_to_day(at, add);
            }
            let cell = found.map(Packed::cell);
            if cell.is_some() {
                self.packed.remove(at);
                self.weigh();
            }
            self.open = Some((hour, Box::new(cell.unwrap_or_default())));
        }
        if let Some((_, cell)) = &mut self.open {
            add(cell);
        }
        self.tell(hour);
    }

    /// A late answer for a day that is no longer told by the hour.
    fn add_to_day(&mut self, at: usize, add: impl FnOnce(&mut Cell)) {
        if let Some(day) = self.packed.get_mut(at) {
            let mut cell = day.cell();
            add(&mut cell);
            *day = Packed::new(day.from, day.span, &cell);
            let from = day.from;
            self.tell(from);
        }
        self.weigh();
    }

    /// Packs the open hour.
    fn put_away(&mut self) {
        if let Some((hour, cell)) = self.open.take() {
            let at = self.packed.partition_point(|cell| cell.from < hour);
            self.packed.insert(at, Packed::new(hour, Span::Hour, &cell));
            self.weigh();
        }
    }

    /// Packs the open hour if it is over.
    pub(super) fn close(&mut self, now: Hour) {
        if self.open.as_ref().is_some_and(|(hour, _)| *hour != now) {
            self.put_away();
        }
    }

    pub(super) fn forget(&mut self, horizon: Hour) {
        self.keep(|cell| cell.until() > horizon);
    }

    /// Turns hours of days that end by `limit` into days.
    pub(super) fn fold(&mut self, limit: Hour) {
        let is_due = |cell: &Packed| cell.span == Span::Hour && cell.from.day().plus(DAY) <= limit;
        if !self.packed.iter().any(is_due) {
            return;
        }
        let mut folded: Vec<Packed> = Vec::with_capacity(self.packed.len());
        let mut day: Option<(Hour, Cell)> = None;
        let end = |day: Option<(Hour, Cell)>, folded: &mut Vec<Packed>| {
            folded.extend(day.map(|(from, cell)| Packed::new(from, Span::Day, &cell)));
        };
        for packed in self.packed.drain(..) {
            let own = packed.from.day();
            if day.as_ref().is_some_and(|(from, _)| *from != own) {
                end(day.take(), &mut folded);
            }
            if is_due(&packed) {
                self.changed.extend([packed.from, own]);
                day.get_or_insert((own, Cell::default())).1.merge(&packed.cell());
            } else {
                folded.push(packed);
            }
        }
        end(day, &mut folded);
        folded.shrink_to_fit();
        self.packed = folded;
        self.weigh();
    }

    pub(super) fn visit(&self, range: Range<'_>, show: &mut impl FnMut(Hour, Span, &Cell)) {
        let mut open =
            self.open.as_ref().filter(|(hour, _)| *hour >= range.from && *hour < range.until);
        for packed in &self.packed {
            if let Some((hour, cell)) = open.filter(|(hour, _)| *hour < packed.from) {
                show(*hour, Span::Hour, cell);
                open = None;
            }
            if packed.until() > range.from && packed.from < range.until {
                show(packed.from, packed.span, &packed.cell());
            }
        }
        if let Some((hour, cell)) = open {
            show(*hour, Span::Hour, cell);
        }
    }

    /// Version, number of cells; of each the hours since the one before, its span and bytes; a sum.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut closed = self.clone();
        closed.put_away();
        let unread = closed.packed.iter().any(|packed| packed.cell().unread > 0);
        let mut out = vec![if unread { VERSION } else { WITHOUT_UNREAD }];
        put(&mut out, closed.packed.len() as u64);
        let mut before = 0;
        for cell in &closed.packed {
            put(&mut out, u64::from(cell.from.0 - before));
            before = cell.from.0;
            out.push(u8::from(cell.span == Span::Day));
            put(&mut out, cell.bytes.len() as u64);
            out.extend_from_slice(&cell.bytes);
        }
        let sum = check_sum(&out);
        out.extend_from_slice(&sum);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LedgerFault> {
        let version = bytes.first().ok_or(LedgerFault::Damaged)?;
        if *version > VERSION {
            return Err(LedgerFault::Version);
        }
        Self::read(bytes).ok_or(LedgerFault::Damaged)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
        if *sum != check_sum(body) {
            return None;
        }
        let (version, mut rest) = body.split_first()?;
        if !(WITHOUT_UNREAD..=VERSION).contains(version) {
            return None;
        }
        let from = &mut rest;
        let count = take(from)?;
        let mut series = Self::default();
        let mut end = Hour(0);
        let mut start = 0_u32;
        for _ in 0..count {
            start = start.checked_add(u32::try_from(take(from)?).ok()?)?;
            let (span, after) = from.split_first()?;
            let span = match span {
                0 => Span::Hour,
                1 if start.is_multiple_of(DAY) => Span::Day,
                _ => return None,
            };
            *from = after;
            let length = usize::try_from(take(from)?).ok()?;
            let (cell, after) = from.split_at_checked(length)?;
            *from = after;
            Cell::unpack(cell)?;
            let packed = Packed { from: Hour(start), span, bytes: cell.into() };
            if packed.from < end {
                return None;
            }
            end = packed.until();
            series.packed.push(packed);
        }
        series.weigh();
        rest.is_empty().then_some(series)
    }
}

pub(super) fn check_sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let mut hasher = HashKey::new(SUM_KEY).hasher();
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}
