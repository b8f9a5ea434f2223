//! Sources that do something bad, in a table of fixed size, and as bytes for the store.
//!
//! They are written down by pages: a version byte, then each source of the page whose quarter of an
//! hour is not over.
use super::event::{Event, Outcome};
use super::history::{Bytes, From, HistoryFault, To};
use super::intrusion::{SourceCounts, WINDOW_NS, ticks, ticks_of, wall_ms};
use super::settings::Settings;
use super::signal::Signals;
use crate::base::Moment;

const WAYS: usize = 4;
/// Sets of one page.
const PAGE_SETS: usize = 16;
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    source: u64,
    /// In ticks. Zero: nobody is here.
    last_ns: u64,
    counts: SourceCounts,
}

const _: () = assert!(size_of::<Place>() == 72);

/// What is written down at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// When one of its sources was bad last, in ticks.
    last_ns: u64,
    /// Since it was last written down.
    changed: bool,
    /// There is something of it in the store.
    kept: bool,
}

/// When a set is full, the source in it that was bad longest ago is forgotten. Ten million sources
/// with one bad request each cost no more memory than the first thousands; each identity still
/// counts what they do to it.
#[derive(Debug)]
pub struct Sources {
    sets: Box<[[Place; WAYS]]>,
    pages: Box<[Page]>,
    /// The page that is asked first what changed: each has its turn.
    next: usize,
}

impl Sources {
    /// Room for so many sources, rounded up to a power of two; 72 bytes each.
    pub fn new(sources: usize) -> Self {
        let sets = sources.div_ceil(WAYS).next_power_of_two();
        let pages = vec![Page::default(); sets.div_ceil(PAGE_SETS)].into_boxed_slice();
        let sets = vec![[Place::default(); WAYS]; sets].into_boxed_slice();
        Self { sets, pages, next: 0 }
    }

    /// Cheap for what is not bad: such an event touches nothing.
    pub fn observe(&mut self, event: &Event<'_>, settings: &Settings) -> Signals {
        let mut signals = Signals::default();
        let bad = matches!(
            event.outcome,
            Outcome::ScannerPath | Outcome::Malformed | Outcome::NotAuthenticated
        );
        if !bad {
            return signals;
        }
        let now = ticks(event.at);
        let Some((place, page)) = self.place(event.source) else { return signals };
        (page.last_ns, page.changed) = (now, true);
        if place.source != event.source {
            *place = Place { source: event.source, ..Place::default() };
        }
        place.last_ns = now;
        let (intrusion, logins) = place.counts.observe(event, settings);
        signals.add(intrusion);
        signals.add(logins);
        signals
    }

    /// Somebody released it: what it did until now counts no more.
    pub fn forgive(&mut self, source: u64) {
        if let Some((place, page)) = self.place(source)
            && place.source == source
        {
            place.counts = SourceCounts::default();
            page.changed = true;
        }
    }

    /// The place of a source, or else the one that it may have, and their page.
    fn place(&mut self, source: u64) -> Option<(&mut Place, &mut Page)> {
        let at = usize::try_from(source >> 32).unwrap_or(0) & (self.sets.len() - 1);
        let set = self.sets.get_mut(at)?;
        let own = set.iter().position(|place| place.last_ns > 0 && place.source == source);
        let oldest =
            || (0..).zip(set.iter()).min_by_key(|(_, place)| place.last_ns).map(|(ix, _)| ix);
        let ix = own.or_else(oldest)?;
        Some((set.get_mut(ix)?, self.pages.get_mut(at / PAGE_SETS)?))
    }

    /// Pages that changed since they were last given, or of which nothing counts any more, with their
    /// numbers; at most `most`. What is empty is to be forgotten.
    pub fn take_changed(&mut self, most: usize, now: Moment) -> Vec<(u32, Vec<u8>)> {
        let (count, mut taken) = (self.pages.len(), Vec::new());
        for _ in 0..count {
            if taken.len() == most {
                break;
            }
            let at = self.next;
            self.next = (at + 1) % count;
            let Some(page) = self.pages.get_mut(at) else { break };
            let over = page.kept && ticks(now).saturating_sub(page.last_ns) > WINDOW_NS;
            if !page.changed && !over {
                continue;
            }
            let sets = self.sets.iter().skip(at * PAGE_SETS).take(PAGE_SETS);
            let bytes = encode(sets.flatten(), now);
            let was_kept = std::mem::replace(&mut page.kept, !bytes.is_empty());
            page.changed = false;
            if was_kept || page.kept {
                taken.push((u32::try_from(at).unwrap_or(u32::MAX), bytes));
            }
        }
        taken
    }

    /// The wall clock was set: what is written down stands for other moments now.
    pub fn mark_kept(&mut self) {
        for page in self.pages.iter_mut().filter(|page| page.kept) {
            page.changed = true;
        }
    }

    /// Takes a page back, at the start.
    ///
    /// # Errors
    /// On anything but what [`take_changed`](Self::take_changed) gives, whole; nothing is taken then.
    pub fn restore(&mut self, page: u32, bytes: &[u8], now: Moment) -> Result<(), HistoryFault> {
        if let Some(page) = self.pages.get_mut(usize::try_from(page).unwrap_or(usize::MAX)) {
            page.kept = true;
        }
        for one in decode(bytes, now)?.into_iter().filter(|place| !place.counts.are_over(now)) {
            if let Some((place, page)) = self.place(one.source)
                && place.last_ns <= one.last_ns
            {
                page.last_ns = page.last_ns.max(one.last_ns);
                *place = one;
            }
        }
        Ok(())
    }
}

fn encode<'p>(places: impl Iterator<Item = &'p Place>, now: Moment) -> Vec<u8> {
    let mut out = Vec::new();
    for mut place in places.filter(|place| !place.counts.are_over(now)).copied() {
        if out.is_empty() {
            out.push(VERSION);
        }
        // Nothing that is written is refused.
        let _written = place.pass(&mut To(&mut out), now);
    }
    out
}

fn decode(bytes: &[u8], now: Moment) -> Result<Vec<Place>, HistoryFault> {
    let (version, bytes) = bytes.split_first().ok_or(HistoryFault::Length)?;
    match *version {
        VERSION => {}
        newer if newer > VERSION => return Err(HistoryFault::Newer),
        _ => return Err(HistoryFault::Malformed),
    }
    let (mut from, mut places) = (From(bytes), Vec::new());
    while !from.0.is_empty() {
        let mut place = Place::default();
        place.pass(&mut from, now)?;
        places.push(place);
    }
    Ok(places)
}

impl Place {
    fn pass(&mut self, by: &mut impl Bytes, now: Moment) -> Result<(), HistoryFault> {
        let mut last_ms = wall_ms(self.last_ns, now);
        by.u64(&mut self.source)?;
        by.u64(&mut last_ms)?;
        self.last_ns = ticks_of(last_ms, now);
        self.counts.pass(by, now)
    }
}
