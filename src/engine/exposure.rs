//! What answers reveal, added up over all of them (MON-3): lends scanners, keeps the ledger.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::memory::{Memory, Piece, Source, Unreadable};
use super::revealed::{Sum, Sums};
use super::{Engine, Live};
use crate::base::{HashKey, IdentityIx, Moment, Name, OperationIx, Secret};
use crate::evidence::Fixed;
use crate::exposure::{
    Fault, FieldTree, Hour, Ledger, LedgerFault, PageId, Range, Scanner, Tally, records_at_most,
};
use crate::store::{BlobKey, Shelf};

/// What the ledger may take of memory, in bytes: some 200,000 cells of an hour or a day. Older ones are
/// in the store alone.
const LEDGER_BYTES: usize = 64 << 20;
/// Pages that are asked for at a time.
const PAGES_AT_ONCE: usize = 256;
/// Scanners that wait for their next answer, at about 3 KB each.
const IDLE_MAX: usize = 256;

pub(super) struct Exposures {
    key: HashKey,
    idle: Mutex<Vec<Scanner>>,
    kept: Mutex<Kept>,
    /// Pages that no store took.
    unkept: AtomicU64,
}

struct Kept {
    ledger: Ledger,
    /// The ledger up to the moment when another process began to take this one's place. What came
    /// after it is in `ledger`.
    before: Option<Ledger>,
    /// The hour in which old cells were looked after.
    tidied: Hour,
}

/// What one answer revealed, for its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// Records with personal data of a buyer or recipient, which is what Amazon calls PII. A seller's
    /// own address in each of them is not counted. What can't be read counts for as many as it may be.
    pub records: u64,
    /// Values the contract does not know.
    pub drift: u64,
}

impl Exposures {
    pub(super) fn new(master: &Secret<[u8; 32]>, now: Moment) -> Self {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(master.derive("exposure sketches")) {
            *to = from;
        }
        Self {
            key: HashKey::new(key),
            idle: Mutex::new(Vec::new()),
            kept: Mutex::new(Kept {
                ledger: Ledger::new(LEDGER_BYTES),
                before: None,
                tidied: Hour::of(now),
            }),
            unkept: AtomicU64::new(0),
        }
    }

    fn lend(&self, contract: &Arc<FieldTree>) -> Scanner {
        let idle = self.idle.lock().pop();
        match idle {
            Some(mut scanner) => {
                scanner.start(Arc::clone(contract));
                scanner
            }
            None => Scanner::new(Arc::clone(contract), self.key),
        }
    }

    /// From now on what is revealed is entered into a new ledger.
    pub(super) fn part(&self) {
        let mut kept = self.kept.lock();
        let before = std::mem::replace(&mut kept.ledger, Ledger::new(LEDGER_BYTES));
        kept.before.get_or_insert(before);
    }

    /// What was revealed since, or since this was last asked, as pages to be added. It is added to what
    /// was before as well, should this process go on.
    pub(super) fn take_since(&self) -> Vec<Vec<u8>> {
        let mut kept = self.kept.lock();
        if kept.before.is_none() {
            return Vec::new();
        }
        let mut since = std::mem::replace(&mut kept.ledger, Ledger::new(LEDGER_BYTES));
        drop(kept);
        let mut pages = Vec::new();
        loop {
            let changed = since.take_changed(PAGES_AT_ONCE);
            if changed.is_empty() {
                break;
            }
            pages.extend(changed.iter().map(|page| since.page(page)));
        }
        if let Some(before) = &mut self.kept.lock().before {
            // Pages that were made a moment ago.
            let added = pages.iter().try_for_each(|page| before.add_page(page));
            debug_assert!(added.is_ok());
        }
        pages
    }

    pub(super) fn add(&self, page: &[u8]) -> Result<(), LedgerFault> {
        self.kept.lock().ledger.add_page(page)
    }

    /// Puts both together again.
    pub(super) fn rejoin(&self) {
        self.take_since();
        let mut kept = self.kept.lock();
        if let Some(before) = kept.before.take() {
            kept.ledger = before;
        }
    }

    /// Cells that went before anybody had written them down.
    pub(super) fn lost(&self) -> u64 {
        let lost = self.kept.lock().written().lost();
        lost.saturating_add(self.unkept.load(Ordering::Relaxed))
    }

    /// No store took so many pages.
    pub(super) fn unkept(&self, pages: u64) {
        self.unkept.fetch_add(pages, Ordering::Relaxed);
    }

    /// Where what is in memory begins.
    pub(super) fn floor(&self) -> Hour {
        self.kept.lock().written().floor()
    }

    /// What is in memory of the hours from `from` on, and where it begins. One pair at a time, so that
    /// answers are not held up.
    pub(super) fn sum_up(&self, identity: Option<&Name>, from: Hour, sums: &mut Sums) -> Hour {
        let wanted = |pair: &(&Name, &Name)| identity.is_none_or(|wanted| wanted == pair.0);
        let (pairs, floor) = {
            let mut kept = self.kept.lock();
            let mut pairs: BTreeSet<(Name, Name)> = BTreeSet::new();
            let both = [Some(&kept.ledger), kept.before.as_ref()];
            for ledger in both.into_iter().flatten() {
                let series = ledger.series().filter(&wanted);
                pairs.extend(series.map(|(who, what)| (who.clone(), what.clone())));
            }
            (pairs, kept.written().floor())
        };
        for (who, what) in pairs {
            let mut kept = self.kept.lock();
            let mut sum = Sum::since(kept.written().floor());
            let range =
                Range { identity: Some(&who), operation: Some(&what), from, until: Hour(u32::MAX) };
            let both = [Some(&kept.ledger), kept.before.as_ref()];
            for ledger in both.into_iter().flatten() {
                ledger.visit(range, |hour, span, cell| sum.add(hour, span, cell));
            }
            drop(kept);
            sums.insert((who, what), sum);
        }
        floor
    }

    fn take_back(&self, scanner: Scanner) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(scanner);
        }
    }
}

/// The ledger, for who writes it down.
pub(super) struct Revealed<'e> {
    pub(super) memory: &'e Memory,
    pub(super) exposures: &'e Exposures,
}

impl Revealed<'_> {
    fn key(&self, page: &PageId) -> BlobKey {
        // Neither name holds a space.
        let name = format!("{} {}", page.identity, page.operation);
        BlobKey { shelf: Shelf::Ledger, id: self.memory.id("exposure", &name), part: page.from.0 }
    }
}

impl Source for Revealed<'_> {
    fn shelf(&self) -> Shelf {
        Shelf::Ledger
    }

    fn changed(&self, most: usize, _now: Moment) -> Vec<Piece> {
        let pages = self.exposures.kept.lock().written().take_changed(most);
        // One at a time, so that answers are not held up.
        let piece = |page: PageId| Piece {
            key: self.key(&page),
            value: self.exposures.kept.lock().written().page(&page),
        };
        pages.into_iter().map(piece).collect()
    }

    fn recall(&self, _key: BlobKey, value: &[u8], _now: Moment) -> Result<(), Unreadable> {
        self.exposures.kept.lock().ledger.take_page(value).map_err(|fault| match fault {
            LedgerFault::Version => Unreadable::Newer,
            LedgerFault::Damaged => Unreadable::Damaged,
        })
    }
}

impl Kept {
    /// What is written down.
    const fn written(&mut self) -> &mut Ledger {
        match &mut self.before {
            Some(before) => before,
            None => &mut self.ledger,
        }
    }
}

impl Engine {
    /// A scanner for an answer of this operation, if its contract is known.
    #[must_use]
    pub fn scanner(&self, live: &Live, operation: OperationIx) -> Option<Scanner> {
        live.contract(operation).map(|contract| self.exposures.lend(contract))
    }

    /// Enters what an answer revealed into the ledger and the metrics.
    pub fn report_exposure(
        &self,
        live: &Live,
        who: IdentityIx,
        operation: OperationIx,
        mut scanner: Scanner,
        now: Moment,
    ) -> Exposed {
        let (tally, fault) = scanner.finish();
        self.enter(live, (who, operation), tally, now);
        for (class, records) in tally.by_class.iter() {
            self.metrics.exposed(Fixed::new(class.as_str()), records);
        }
        // What stands behind a fault counts for as many as it may be.
        let hidden = records_at_most(tally.unread);
        let records = tally.customers.saturating_add(hidden);
        let exposed = Exposed { records, drift: tally.drift };
        // An answer without a body is no JSON, and reveals nothing.
        if let Some(fault) = fault.filter(|_| tally.bytes > 0) {
            self.metrics.unread(Fixed::new(unread(fault)));
        }
        self.metrics.drift.inc_by(exposed.drift);
        self.exposures.take_back(scanner);
        exposed
    }
}

impl Engine {
    /// Enters an answer that nobody can read for as much as it may reveal.
    pub fn report_unreadable(
        &self,
        live: &Live,
        of: (IdentityIx, OperationIx),
        bytes: u64,
        now: Moment,
    ) -> Exposed {
        self.enter(live, of, &Tally { bytes, unread: bytes, ..Tally::default() }, now);
        Exposed { records: records_at_most(bytes), drift: 0 }
    }

    fn enter(
        &self,
        live: &Live,
        (who, operation): (IdentityIx, OperationIx),
        tally: &Tally,
        now: Moment,
    ) {
        let names = &live.snapshot.names;
        let Some((who, operation)) = names.identity(who).zip(names.operation(operation)) else {
            return;
        };
        let mut kept = self.exposures.kept.lock();
        let hour = Hour::of(now);
        if kept.tidied != hour {
            kept.tidied = hour;
            kept.ledger.compact(now);
        }
        kept.ledger.record(who, operation, now, tally);
        self.metrics.ledger(kept.ledger.bytes(), kept.ledger.lost());
    }
}

const fn unread(fault: Fault) -> &'static str {
    match fault {
        Fault::Malformed | Fault::Trailing => "malformed",
        Fault::TooDeep => "too_deep",
        Fault::KeyTooLong | Fault::KeyEncoding => "key",
        Fault::Truncated => "truncated",
    }
}
