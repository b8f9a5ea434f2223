//! Who was shown how much, hour by hour for five weeks, day by day for 400 days.
use std::collections::BTreeMap;

use super::cell::Cell;
use super::pages::Changes;
use super::series::Series;
use super::tally::Tally;
use crate::base::{Moment, Name};

/// How long single hours are told apart: four weeks and the one before, for a comparison with the
/// same hours of the week.
pub const HOURS_DAYS: u32 = 35;
/// How long anything is kept.
pub const KEPT_DAYS: u32 = 400;

/// Hours since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub u32);

impl Hour {
    #[must_use]
    pub fn of(at: Moment) -> Self {
        Self(u32::try_from(at.unix_secs() / 3_600).unwrap_or(u32::MAX))
    }

    pub(super) const fn day(self) -> Self {
        Self(self.0 - self.0 % DAY)
    }

    const fn minus(self, hours: u32) -> Self {
        Self(self.0.saturating_sub(hours))
    }

    pub(super) const fn plus(self, hours: u32) -> Self {
        Self(self.0.saturating_add(hours))
    }
}

/// Hours.
pub(super) const DAY: u32 = 24;

/// How long a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Hour,
    Day,
}

impl Span {
    #[must_use]
    pub const fn hours(self) -> u32 {
        match self {
            Self::Hour => 1,
            Self::Day => DAY,
        }
    }
}

/// Which cells a question is about; `None` is all.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    pub identity: Option<&'a Name>,
    pub operation: Option<&'a Name>,
    /// The first hour.
    pub from: Hour,
    /// The hour behind the last. A day that is no longer told by the hour counts whole if any of it
    /// is asked for.
    pub until: Hour,
}

/// Why stored bytes are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerFault {
    /// Written by a newer version of the program.
    Version,
    /// Cut short, changed, or not a series.
    Damaged,
}

/// The ledger. It holds names of configuration and counts, nothing of any answer.
///
/// It never outgrows its bound: at the bound the oldest days leave it that are written down, all of
/// what is before [`Self::floor`], and can be had from the store. Only what was not written down yet
/// can be lost: then days take the place of hours, the oldest cells go, and [`Self::lost`] says how
/// many.
#[derive(Debug)]
pub struct Ledger {
    identities: BTreeMap<Name, BTreeMap<Name, Series>>,
    bytes_max: usize,
    bytes: usize,
    lost: u64,
    /// What is before it is gone.
    horizon: Option<Hour>,
    /// What is before it is in the store alone; the beginning of a day.
    floor: Hour,
    pub(super) changes: Changes,
}

impl Ledger {
    /// An empty ledger that takes about `bytes_max` bytes of memory at most.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            identities: BTreeMap::new(),
            bytes_max,
            bytes: 0,
            lost: 0,
            horizon: None,
            floor: Hour(0),
            changes: Changes::default(),
        }
    }

    /// Counts one answer. A moment before the horizon counts as the horizon's hour, so that a clock
    /// set back hides nothing.
    pub fn record(&mut self, identity: &Name, operation: &Name, at: Moment, tally: &Tally) {
        let hour = Hour::of(at).max(self.horizon.unwrap_or(Hour(0))).max(self.floor);
        self.change(identity, operation, |series| series.add(hour, tally));
        if self.bytes > self.bytes_max {
            self.shrink();
        }
    }

    /// The sum of all cells in a range; its sketch says how many records were different over all of
    /// it.
    #[must_use]
    pub fn sum(&self, range: Range<'_>) -> Cell {
        let mut sum = Cell::default();
        self.visit(range, |_, _, cell| sum.merge(cell));
        sum
    }

    /// Shows all cells of a range: of each identity and operation by time.
    pub fn visit(&self, range: Range<'_>, mut show: impl FnMut(Hour, Span, &Cell)) {
        for (identity, operations) in &self.identities {
            if range.identity.is_some_and(|wanted| wanted != identity) {
                continue;
            }
            for (operation, series) in operations {
                if range.operation.is_none_or(|wanted| wanted == operation) {
                    series.visit(range, &mut show);
                }
            }
        }
    }

    /// Forgets what is older than 400 days and turns hours older than 35 days into days; to be
    /// called every hour. One call moves either limit by a day at most, so that a clock that jumps
    /// ahead for some hours costs days, not the year.
    pub fn compact(&mut self, now: Moment) {
        let target = Hour::of(now).minus(KEPT_DAYS * DAY).day();
        let before = self.horizon.unwrap_or_else(|| target.min(self.oldest().unwrap_or(target)));
        let horizon = before.max(target.min(before.plus(DAY)));
        self.horizon = Some(horizon);
        let hours_from = Hour::of(now).minus(HOURS_DAYS * DAY);
        let fold = hours_from.min(horizon.plus((KEPT_DAYS - HOURS_DAYS) * DAY));
        self.change_all(|series| {
            series.close(Hour::of(now));
            series.forget(horizon);
            series.fold(fold);
        });
    }

    /// Where what is in memory begins: of all times before it the store tells, and it alone.
    #[must_use]
    pub const fn floor(&self) -> Hour {
        self.floor
    }

    /// Bytes of memory, about.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Cells that went before their time, for want of room.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The identities and operations that have cells.
    pub fn series(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.identities.iter().flat_map(|(identity, operations)| {
            operations.keys().map(move |operation| (identity, operation))
        })
    }

    /// One series for the store.
    #[must_use]
    pub fn encode(&self, identity: &Name, operation: &Name) -> Option<Vec<u8>> {
        Some(self.identities.get(identity)?.get(operation)?.encode())
    }

    /// Takes a series from the store, in place of what is there.
    pub fn decode(
        &mut self,
        identity: &Name,
        operation: &Name,
        bytes: &[u8],
    ) -> Result<(), LedgerFault> {
        let series = Series::decode(bytes)?;
        self.change(identity, operation, |own| *own = series);
        if self.bytes > self.bytes_max {
            self.shrink();
        }
        Ok(())
    }

    pub(super) fn series_of(&self, identity: &Name, operation: &Name) -> Option<&Series> {
        self.identities.get(identity)?.get(operation)
    }

    pub(super) fn series_mut(&mut self, identity: &Name, operation: &Name) -> Option<&mut Series> {
        self.identities.get_mut(identity)?.get_mut(operation)
    }

    /// Adds cells that are in the store already.
    pub(super) fn insert(&mut self, identity: &Name, operation: &Name, page: Series) {
        if page.oldest().is_some_and(|from| from < self.floor) {
            return;
        }
        self.change(identity, operation, |own| own.insert(page));
        if self.bytes > self.bytes_max {
            self.shrink();
        }
    }

    /// Adds cells that were counted elsewhere at the same time.
    pub(super) fn merge(&mut self, identity: &Name, operation: &Name, page: &Series) {
        let floor = self.floor;
        self.change(identity, operation, |own| own.merge(page, floor));
        if self.bytes > self.bytes_max {
            self.shrink();
        }
    }

    pub(super) fn fold_all(&mut self) {
        self.change_all(|series| series.fold(Hour(u32::MAX)));
    }

    fn oldest(&self) -> Option<Hour> {
        self.identities.values().flat_map(BTreeMap::values).filter_map(Series::oldest).min()
    }

    fn change(&mut self, identity: &Name, operation: &Name, how: impl FnOnce(&mut Series)) {
        // Looked up first, since an entry would cost a copy of the name each time.
        if !self.identities.contains_key(identity) {
            self.identities.insert(identity.clone(), BTreeMap::new());
        }
        let Some(operations) = self.identities.get_mut(identity) else { return };
        let known = operations.get(operation).map(Series::size);
        if known.is_none() {
            operations.insert(operation.clone(), Series::default());
        }
        let Some(series) = operations.get_mut(operation) else { return };
        how(series);
        if series.has_changed() {
            self.changes.note(identity, operation, series.take_changed());
        }
        self.bytes = self.bytes.saturating_sub(known.unwrap_or_default()) + series.size();
    }

    fn change_all(&mut self, mut how: impl FnMut(&mut Series)) {
        let mut bytes = 0;
        let changes = &mut self.changes;
        self.identities.retain(|identity, operations| {
            operations.retain(|operation, series| {
                how(series);
                if series.has_changed() {
                    changes.note(identity, operation, series.take_changed());
                }
                bytes += if series.is_empty() { 0 } else { series.size() };
                !series.is_empty()
            });
            !operations.is_empty()
        });
        self.bytes = bytes;
    }

    /// Lets the oldest days go that are written down, but never the latest.
    fn release(&mut self, goal: usize) {
        let unwritten = self.changes.oldest().map(Hour::day);
        let all = || self.identities.values().flat_map(BTreeMap::values);
        let latest = all().filter_map(Series::latest).max().map(Hour::day);
        let Some(end) = latest.into_iter().chain(unwritten).min() else { return };
        let mut days: BTreeMap<Hour, usize> = BTreeMap::new();
        for cell in all().flat_map(|series| &series.packed).filter(|cell| cell.from.day() < end) {
            *days.entry(cell.from.day()).or_default() += cell.size();
        }
        let mut excess = self.bytes.saturating_sub(goal);
        let mut floor = self.floor;
        for (day, size) in days {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(size);
            floor = floor.max(day.plus(DAY));
        }
        self.floor = floor;
        self.change_all(|series| series.release(floor));
    }

    /// Makes room: an eighth more than is needed, so that it is not needed again at once.
    fn shrink(&mut self) {
        let goal = self.bytes_max - self.bytes_max / 8;
        self.release(goal);
        if self.bytes <= self.bytes_max {
            return;
        }
        self.change_all(|series| {
            series.close(Hour(u32::MAX));
            series.fold(Hour(u32::MAX));
        });
        if self.bytes <= goal {
            return;
        }
        let mut ages: Vec<(Hour, usize)> = self
            .identities
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(|series| series.packed.iter().map(|cell| (cell.from, cell.size())))
            .collect();
        ages.sort_unstable();
        let mut excess = self.bytes - goal;
        let mut limit = Hour(u32::MAX);
        for same in ages.chunk_by(|a, b| a.0 == b.0) {
            let size: usize = same.iter().map(|(_, size)| size).sum();
            limit = same.first().map_or(limit, |(from, _)| *from);
            if size >= excess {
                break;
            }
            excess -= size;
        }
        let mut lost = 0;
        self.change_all(|series| {
            series.keep(|cell| {
                let goes = cell.from < limit || (cell.from == limit && excess > 0);
                if goes {
                    lost += 1;
                    if cell.from == limit {
                        excess = excess.saturating_sub(cell.size());
                    }
                }
                !goes
            });
        });
        self.lost = self.lost.saturating_add(lost);
    }
}
