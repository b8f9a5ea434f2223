//! What was revealed to whom, for people, and for as long as it is kept (MON-3): the latest from memory,
//! what is older from the store, which is tidied here.
use std::collections::BTreeMap;

use super::Engine;
use super::memory::{Piece, Saved};
use crate::base::{Moment, Name};
use crate::exposure::{Cell, Hour, Page, Span};
use crate::store::{BlobKey, KeyId, Shelf, StoreFault};

pub use crate::exposure::{HOURS_DAYS, KEPT_DAYS};

/// Days that one tidying takes away at most: a clock that is ahead for a while costs no more.
const GONE_AT_ONCE: u32 = 2 * 24;

/// What one identity was shown by one operation.
#[derive(Clone, Debug)]
pub struct ExposureView {
    pub identity: Name,
    pub operation: Name,
    /// The beginning of the first hour or day, and the end of the last. Milliseconds since 1970.
    pub from_ms: u64,
    pub until_ms: u64,
    pub sum: Cell,
}

/// Cells on their way to becoming one.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) cell: Cell,
    from: Hour,
    until: Hour,
    /// What is before it was not in memory.
    pub(super) floor: Hour,
}

impl Sum {
    pub(super) fn since(floor: Hour) -> Self {
        Self { cell: Cell::default(), from: Hour(u32::MAX), until: Hour(0), floor }
    }

    pub(super) fn add(&mut self, from: Hour, span: Span, cell: &Cell) {
        self.cell.merge(cell);
        self.from = self.from.min(from);
        self.until = self.until.max(Hour(from.0.saturating_add(span.hours())));
    }
}

pub(super) type Sums = BTreeMap<(Name, Name), Sum>;

/// Pages of one day of one identity and operation.
#[derive(Default)]
struct Day {
    of: Option<(KeyId, u32)>,
    keys: Vec<BlobKey>,
    hours: Vec<Page>,
    is_told: bool,
}

impl Engine {
    /// What was revealed in the last so many days, of one identity or of all.
    ///
    /// # Errors
    /// What is older than memory goes back can't be had.
    pub async fn view_exposure(
        &self,
        identity: Option<&Name>,
        days: u32,
    ) -> Result<Vec<ExposureView>, StoreFault> {
        let now = Hour::of(self.clock.now());
        let from = Hour(now.0.saturating_sub(days.saturating_mul(24)));
        let mut sums = Sums::new();
        let floor = self.exposures.sum_up(identity, from, &mut sums);
        if from < floor {
            self.sum_up_stored(identity, (from, floor), &mut sums).await?;
        }
        let ms = |hour: Hour| u64::from(hour.0).saturating_mul(3_600_000);
        let view = |((identity, operation), sum): ((Name, Name), Sum)| ExposureView {
            identity,
            operation,
            from_ms: ms(sum.from),
            until_ms: ms(sum.until),
            sum: sum.cell,
        };
        Ok(sums.into_iter().filter(|(_, sum)| sum.cell.requests > 0).map(view).collect())
    }

    async fn sum_up_stored(
        &self,
        identity: Option<&Name>,
        (from, floor): (Hour, Hour),
        sums: &mut Sums,
    ) -> Result<(), StoreFault> {
        let mut told = None;
        let mut after = None;
        loop {
            let blobs = self.store.scan_blobs(Shelf::Ledger, after).await?;
            let Some(last) = blobs.last() else { return Ok(()) };
            after = Some(last.key);
            for blob in blobs {
                if Hour(blob.key.part.saturating_add(24)) <= from {
                    continue;
                }
                // What can't be read was told of at the start.
                let Ok(page) = Page::read(&blob.state.value) else { continue };
                if identity.is_some_and(|wanted| *wanted != page.identity) {
                    continue;
                }
                let day = (blob.key.id, blob.key.part / 24);
                if page.is_day() {
                    told = Some(day);
                } else if told == Some(day) {
                    // Left over from the folding of that day.
                    continue;
                }
                let place = (page.identity.clone(), page.operation.clone());
                let sum = sums.entry(place).or_insert_with(|| Sum::since(floor));
                page.visit(|hour, span, cell| {
                    let ends = Hour(hour.0.saturating_add(span.hours()));
                    if hour < sum.floor && ends > from {
                        sum.add(hour, span, cell);
                    }
                });
            }
        }
    }

    /// Looks, once a day, at what is in the store alone: hours older than 35 days become days, and what
    /// is older than 400 goes.
    pub(super) async fn tidy_exposure(&self, now: Moment) -> Result<(), StoreFault> {
        let floor = self.exposures.floor();
        if floor == Hour(0) {
            // All of it is in memory, which looks after it.
            return Ok(());
        }
        let today = Hour::of(now).0;
        let gone = today.saturating_sub(KEPT_DAYS * 24) / 24 * 24;
        let fold = (today.saturating_sub(HOURS_DAYS * 24) / 24 * 24).min(floor.0);
        let (mut pieces, mut old, mut day) = (Vec::new(), Vec::new(), Day::default());
        let mut after = None;
        loop {
            let blobs = self.store.scan_blobs(Shelf::Ledger, after).await?;
            let Some(last) = blobs.last() else { break };
            after = Some(last.key);
            for blob in blobs.into_iter().filter(|blob| blob.key.part < floor.0) {
                let key = blob.key;
                if key.part < gone {
                    old.push(key);
                } else if key.part < fold
                    && let Ok(page) = Page::read(&blob.state.value)
                {
                    if day.of != Some((key.id, key.part / 24)) {
                        std::mem::take(&mut day).fold_into(&mut pieces);
                        day.of = Some((key.id, key.part / 24));
                    }
                    day.add(key, page);
                }
            }
            if pieces.len() >= super::memory::PIECES_AT_ONCE {
                // What can't be written is found again tomorrow.
                self.memory.write(&mut pieces, &mut Saved::default()).await;
                pieces.clear();
            }
        }
        day.fold_into(&mut pieces);
        let first = old.iter().map(|key| key.part).min().unwrap_or(0);
        let old = old.into_iter().filter(|key| key.part < first.saturating_add(GONE_AT_ONCE));
        pieces.extend(old.map(|key| Piece { key, value: Vec::new() }));
        self.memory.write(&mut pieces, &mut Saved::default()).await;
        Ok(())
    }
}

impl Day {
    fn add(&mut self, key: BlobKey, page: Page) {
        if page.is_day() {
            self.is_told = true;
        } else {
            self.keys.push(key);
            self.hours.push(page);
        }
    }

    /// One page in place of its hours.
    fn fold_into(self, pieces: &mut Vec<Piece>) {
        let Some((id, day)) = self.of else { return };
        let key = BlobKey { shelf: Shelf::Ledger, id, part: day.saturating_mul(24) };
        let gone = self.keys.into_iter().filter(|own| *own != key);
        if self.is_told {
            // It was folded, and the process ended in the middle.
            pieces.extend(gone.map(|key| Piece { key, value: Vec::new() }));
        } else if let Some(value) = Page::fold(&self.hours) {
            pieces.push(Piece { key, value });
            pieces.extend(gone.map(|key| Piece { key, value: Vec::new() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Moment;
    use crate::exposure::{Ledger, PageId, Tally};

    const DAY: u32 = 20_000;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A stored page of one hour of the day, with so many records.
    fn hour(nth: u32, customers: u64) -> (BlobKey, Page) {
        let mut ledger = Ledger::new(1 << 20);
        let from = Hour(DAY * 24 + nth);
        let at = Moment::new(u64::from(from.0) * 3_600_000, 0);
        let tally = Tally { customers, records: customers, ..Tally::default() };
        ledger.record(&name("printer"), &name("orders/getOrders"), at, &tally);
        let id = PageId { identity: name("printer"), operation: name("orders/getOrders"), from };
        let page = Page::read(&ledger.page(&id)).unwrap();
        (BlobKey { shelf: Shelf::Ledger, id: KeyId::SOLE, part: from.0 }, page)
    }

    fn folded(pages: impl IntoIterator<Item = (BlobKey, Page)>) -> Vec<Piece> {
        let mut day = Day { of: Some((KeyId::SOLE, DAY)), ..Day::default() };
        pages.into_iter().for_each(|(key, page)| day.add(key, page));
        let mut pieces = Vec::new();
        day.fold_into(&mut pieces);
        pieces
    }

    #[test]
    fn mon_3_hours_of_a_day_become_one_page_that_tells_the_same() {
        let pieces = folded([hour(0, 3), hour(5, 4), hour(23, 5)]);
        let parts: Vec<_> =
            pieces.iter().map(|piece| (piece.key.part - DAY * 24, piece.value.len())).collect();
        assert!(matches!(parts[..], [(0, 1..), (5, 0), (23, 0)]), "{parts:?}");
        let day = Page::read(&pieces[0].value).unwrap();
        assert!(day.is_day());
        let mut cells = Vec::new();
        day.visit(|from, span, cell| {
            cells.push((from, span.hours(), cell.customers, cell.requests));
        });
        assert_eq!(cells, [(Hour(DAY * 24), 24, 12, 3)]);
    }

    #[test]
    fn mon_3_a_day_that_was_folded_is_not_folded_again_and_what_is_left_of_its_hours_goes() {
        let whole = &folded([hour(0, 3), hour(5, 4)])[0];
        let day = (whole.key, Page::read(&whole.value).unwrap());
        // The process ended before the hours were taken away.
        let pieces = folded([day, hour(5, 4)]);
        let [left] = &pieces[..] else { panic!("{} pieces", pieces.len()) };
        assert_eq!((left.key.part - DAY * 24, left.value.len()), (5, 0));
    }
}
