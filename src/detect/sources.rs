//! Sources that do something bad, in a table of fixed size.
use super::event::{Event, Outcome};
use super::intrusion::SourceCounts;
use super::settings::Settings;
use super::signal::Signals;

const WAYS: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    source: u64,
    last_ns: u64,
    counts: SourceCounts,
}

const _: () = assert!(size_of::<Place>() == 72);

/// When a set is full, the source in it that was bad longest ago is forgotten. Ten million sources
/// with one bad request each cost no more memory than the first thousands; each identity still
/// counts what they do to it.
#[derive(Debug)]
pub struct Sources {
    sets: Box<[[Place; WAYS]]>,
}

impl Sources {
    /// Room for so many sources, rounded up to a power of two; 72 bytes each.
    pub fn new(sources: usize) -> Self {
        let sets = sources.div_ceil(WAYS).next_power_of_two();
        Self { sets: vec![[Place::default(); WAYS]; sets].into_boxed_slice() }
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
        let mask = self.sets.len() - 1;
        let set = usize::try_from(event.source >> 32).unwrap_or(0) & mask;
        let Some(place) = self.sets.get_mut(set).and_then(|set| claim(set, event.source)) else {
            return signals;
        };
        place.last_ns = event.at.mono_ns().max(1);
        let (intrusion, logins) = place.counts.observe(event, settings);
        signals.add(intrusion);
        signals.add(logins);
        signals
    }
}

fn claim(set: &mut [Place; WAYS], source: u64) -> Option<&mut Place> {
    let own = set.iter().position(|place| place.last_ns > 0 && place.source == source);
    let oldest = || (0..).zip(set.iter()).min_by_key(|(_, place)| place.last_ns).map(|(ix, _)| ix);
    let ix = own.or_else(oldest)?;
    let place = set.get_mut(ix)?;
    if own.is_none() {
        *place = Place { source, ..Place::default() };
    }
    Some(place)
}
