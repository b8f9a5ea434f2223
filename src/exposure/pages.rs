//! The ledger for the store: one page for each hour or day of an identity and operation, so that what
//! is written is what has changed, and what is damaged takes nothing else with it.
//!
//! A page is its version (1), identity and operation (texts, a length byte before each), a series of
//! one cell, and a sum over all of it (8).
use std::collections::{BTreeMap, BTreeSet};

use super::cell::Cell;
use super::ledger::{Hour, Ledger, LedgerFault, Range, Span};
use super::series::{SUM_BYTES, Series, check_sum};
use crate::base::Name;

const VERSION: u8 = 1;

/// Which page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageId {
    pub identity: Name,
    pub operation: Name,
    /// The first hour of its cell.
    pub from: Hour,
}

/// Cells that are other than when they were last asked for.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<Name, BTreeMap<Name, BTreeSet<Hour>>>);

impl Changes {
    pub(super) fn note(
        &mut self,
        identity: &Name,
        operation: &Name,
        hours: impl Iterator<Item = Hour>,
    ) {
        let operations = self.0.entry(identity.clone()).or_default();
        operations.entry(operation.clone()).or_default().extend(hours);
    }

    /// The earliest of them.
    pub(super) fn oldest(&self) -> Option<Hour> {
        let hours = self.0.values().flat_map(BTreeMap::values);
        hours.filter_map(BTreeSet::first).min().copied()
    }

    fn pop(&mut self) -> Option<PageId> {
        let mut first = self.0.first_entry()?;
        let identity = first.key().clone();
        let Some(mut second) = first.get_mut().first_entry() else {
            first.remove();
            return self.pop();
        };
        let operation = second.key().clone();
        let Some(from) = second.get_mut().pop_first() else {
            second.remove();
            return self.pop();
        };
        Some(PageId { identity, operation, from })
    }
}

impl Ledger {
    /// Pages that have changed, at most `most`; each once until it changes again. Nothing says that
    /// there are no more now.
    pub fn take_changed(&mut self, most: usize) -> Vec<PageId> {
        let pages: Vec<PageId> = (0..most).map_while(|_| self.changes.pop()).collect();
        for page in &pages {
            if let Some(series) = self.series_mut(&page.identity, &page.operation) {
                series.given(page.from);
            }
        }
        pages
    }

    /// A page as bytes, at most some 2 KB; empty if its cell is gone.
    #[must_use]
    pub fn page(&self, id: &PageId) -> Vec<u8> {
        let series = self.series_of(&id.identity, &id.operation);
        let Some(cell) = series.and_then(|series| series.page(id.from)) else { return Vec::new() };
        let mut out = vec![VERSION];
        for name in [&id.identity, &id.operation] {
            // A name has at most 96 bytes.
            out.push(u8::try_from(name.as_str().len()).unwrap_or(0));
            out.extend_from_slice(name.as_str().as_bytes());
        }
        out.extend_from_slice(&cell);
        let sum = check_sum(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// Takes a page from the store. One whose time is told by a page that was taken already, as after
    /// a crash between two writings, changes nothing.
    ///
    /// # Errors
    /// See [`LedgerFault`]; nothing was taken then.
    pub fn take_page(&mut self, bytes: &[u8]) -> Result<(), LedgerFault> {
        let (identity, operation, page) = page(bytes)?;
        self.insert(&identity, &operation, page);
        Ok(())
    }

    /// Adds a page of another ledger that counted at the same time.
    ///
    /// # Errors
    /// See [`LedgerFault`]; nothing was added then.
    pub fn add_page(&mut self, bytes: &[u8]) -> Result<(), LedgerFault> {
        let (identity, operation, page) = page(bytes)?;
        self.merge(&identity, &operation, &page);
        Ok(())
    }
}

/// One page that was read, by itself.
#[derive(Clone, Debug)]
pub struct Page {
    pub identity: Name,
    pub operation: Name,
    series: Series,
}

impl Page {
    /// # Errors
    /// See [`LedgerFault`].
    pub fn read(bytes: &[u8]) -> Result<Self, LedgerFault> {
        let (identity, operation, series) = page(bytes)?;
        Ok(Self { identity, operation, series })
    }

    /// Whether it tells of a whole day.
    #[must_use]
    pub fn is_day(&self) -> bool {
        self.series.packed.iter().any(|cell| cell.span() == Span::Day)
    }

    /// The cell, and when it begins.
    pub fn visit(&self, mut show: impl FnMut(Hour, Span, &Cell)) {
        let all = Range { identity: None, operation: None, from: Hour(0), until: Hour(u32::MAX) };
        self.series.visit(all, &mut show);
    }

    /// Pages of one day's hours as one of the day.
    #[must_use]
    pub fn fold(hours: &[Self]) -> Option<Vec<u8>> {
        let first = hours.first()?;
        let mut ledger = Ledger::new(usize::MAX);
        for Self { identity, operation, series } in hours {
            ledger.insert(identity, operation, series.clone());
        }
        ledger.fold_all();
        let (identity, operation) = (first.identity.clone(), first.operation.clone());
        let from = first.series.oldest()?.day();
        let page = ledger.page(&PageId { identity, operation, from });
        (!page.is_empty()).then_some(page)
    }
}

fn page(bytes: &[u8]) -> Result<(Name, Name, Series), LedgerFault> {
    if bytes.first().is_some_and(|version| *version > VERSION) {
        return Err(LedgerFault::Version);
    }
    let (identity, operation, series) = read(bytes).ok_or(LedgerFault::Damaged)?;
    Ok((identity, operation, Series::decode(series)?))
}

fn read(bytes: &[u8]) -> Option<(Name, Name, &[u8])> {
    let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
    if *sum != check_sum(body) {
        return None;
    }
    let (version, rest) = body.split_first()?;
    if *version != VERSION {
        return None;
    }
    let (identity, rest) = take_name(rest)?;
    let (operation, series) = take_name(rest)?;
    Some((identity, operation, series))
}

fn take_name(bytes: &[u8]) -> Option<(Name, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((Name::parse(std::str::from_utf8(text).ok()?).ok()?, rest))
}
