//! Who has asked for how much in the last minute, for people who watch. Nothing is decided by it.
//!
//! Six tens of seconds and the one that runs, for each identity that came at all: 40 bytes for one
//! that did not, 400 for one that did. One lock of its own for each identity, taken once a request.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Engine, Live};
use crate::base::{IdentityIx, Moment, Name};
use crate::config::Snapshot;

/// How long one slice is.
const SLICE: Duration = Duration::from_secs(10);
/// What is looked at: the whole slices before the one that runs, and that one.
const SLICES: usize = 7;

/// What somebody did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub requests: u64,
    /// Of those, requests that were not served.
    pub refused: u64,
    /// Of both bodies.
    pub bytes: u64,
    /// Records of personal data in answers.
    pub records: u64,
}

impl Done {
    const fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.refused = self.refused.saturating_add(more.refused);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.records = self.records.saturating_add(more.records);
    }
}

#[derive(Debug, Default)]
struct Ring {
    /// Each with the number of its slice since the clock began, counted from one.
    slices: [(u64, Done); SLICES],
    /// Milliseconds since 1970.
    last_ms: u64,
}

impl Ring {
    fn note(&mut self, done: Done, now: Moment) {
        let number = slice(now);
        let place = usize::try_from(number).unwrap_or(0) % SLICES;
        if let Some((own, sum)) = self.slices.get_mut(place) {
            if *own != number {
                (*own, *sum) = (number, Done::default());
            }
            sum.add(done);
        }
        self.last_ms = now.unix_ms();
    }

    fn sum(&self, now: Moment) -> Done {
        let newest = slice(now);
        let oldest = newest.saturating_sub(SLICES as u64 - 1);
        let mut all = Done::default();
        for (_, done) in self.slices.iter().filter(|(own, _)| (oldest..=newest).contains(own)) {
            all.add(*done);
        }
        all
    }
}

/// Zero stands for a slice that never was.
fn slice(now: Moment) -> u64 {
    now.mono_ns() / u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX) + 1
}

#[derive(Debug, Default)]
struct Meter(OnceLock<Box<Mutex<Ring>>>);

/// One meter for each identity of a configuration, and one for everybody who proved nothing.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    meters: Box<[Arc<Meter>]>,
    nobody: Arc<Meter>,
}

impl Traffic {
    /// Meters go on over a reload, by name.
    pub(super) fn of(snapshot: &Snapshot, before: Option<&Live>) -> Self {
        let names = |snapshot: &Snapshot| -> Vec<Name> {
            (0..).map(IdentityIx).map_while(|ix| snapshot.names.identity(ix).cloned()).collect()
        };
        let known: HashMap<Name, Arc<Meter>> = before.map_or_else(HashMap::new, |before| {
            let meters = before.traffic.meters.iter().cloned();
            names(&before.snapshot).into_iter().zip(meters).collect()
        });
        let meter = |name| known.get(&name).cloned().unwrap_or_default();
        Self {
            meters: names(snapshot).into_iter().map(meter).collect(),
            nobody: before.map(|before| Arc::clone(&before.traffic.nobody)).unwrap_or_default(),
        }
    }

    fn meter(&self, who: Option<IdentityIx>) -> &Meter {
        who.and_then(|ix| self.meters.get(ix.index())).unwrap_or(&self.nobody)
    }

    pub(super) fn note(&self, who: Option<IdentityIx>, done: Done, now: Moment) {
        self.meter(who).0.get_or_init(Box::default).lock().note(done, now);
    }

    /// In the last minute; and when last, in milliseconds since 1970.
    pub(super) fn seen(&self, who: Option<IdentityIx>, now: Moment) -> Option<(Done, u64)> {
        let ring = self.meter(who).0.get()?.lock();
        Some((ring.sum(now), ring.last_ms))
    }

    /// Everybody who came in the last minute.
    pub(super) fn all(&self, now: Moment) -> Vec<(Option<IdentityIx>, Done)> {
        let places = (0..).map(|ix| Some(IdentityIx(ix))).take(self.meters.len());
        places
            .chain([None])
            .filter_map(|who| Some((who, self.seen(who, now)?.0)))
            .filter(|(_, done)| done.requests > 0)
            .collect()
    }
}

/// Counts a request for as long as it is under way.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicU64>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Whoever sees it gone finds what it left behind.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Engine {
    /// A request begins; it is under way until what is returned is dropped.
    pub fn begin_request(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.under_way))
    }

    /// Requests that are under way, whether or not their connections still are.
    #[must_use]
    pub fn requests_under_way(&self) -> u64 {
        self.under_way.load(Ordering::Acquire)
    }

    /// A request has ended; `who` is whom it proved.
    pub fn note_traffic(&self, live: &Live, who: Option<IdentityIx>, done: Done, now: Moment) {
        live.traffic.note(who, done, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_seen_and_no_more() {
        let traffic =
            Traffic { meters: [Arc::default(), Arc::default()].into(), ..Traffic::default() };
        let start = Moment::new(1_000_000, 0);
        let one = Done { requests: 1, refused: 0, bytes: 100, records: 2 };
        let who = Some(IdentityIx(1));
        for second in 0..60 {
            traffic.note(who, one, start.plus(Duration::from_secs(second)));
        }
        let at = |second| start.plus(Duration::from_secs(second));
        assert_eq!(traffic.seen(who, at(59)).unwrap().0.requests, 60);
        assert_eq!(traffic.seen(who, at(59)).unwrap().1, 1_059_000);
        assert_eq!(traffic.seen(who, at(80)).unwrap().0.requests, 40, "the first 20 s are gone");
        assert_eq!(traffic.seen(who, at(500)).unwrap().0, Done::default());
        assert_eq!(traffic.all(at(59)).len(), 1);
        assert_eq!(traffic.all(at(500)).len(), 0);
        assert!(traffic.seen(Some(IdentityIx(0)), at(1)).is_none(), "who never came takes no ring");
    }

    #[test]
    fn a_slot_that_is_used_again_forgets_what_it_held() {
        let traffic = Traffic::default();
        let one = Done { requests: 1, ..Done::default() };
        traffic.note(None, one, Moment::new(0, 0));
        let later = Moment::new(0, 0).plus(SLICE * u32::try_from(SLICES).unwrap());
        traffic.note(None, one, later);
        assert_eq!(traffic.seen(None, later).unwrap().0.requests, 1);
    }
}
