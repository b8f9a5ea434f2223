//! What sources did in their last quarter of an hour, over restarts (MON-5, MON-6): whoever guesses goes
//! on where it was. Sources are the keyed hashes that locks on them are kept by.
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Engine;
use super::memory::{Piece, SOURCE_PAGES_AT_ONCE, Source, Unreadable};
use crate::base::Moment;
use crate::store::{BlobKey, KeyId, Shelf};

/// Pages that are taken at a time: whoever is refused meanwhile waits for these few.
const PAGES_AT_A_TIME: usize = 32;

pub(super) struct BadSources<'e> {
    engine: &'e Engine,
    /// How many more pages may be written down now.
    left: AtomicUsize,
}

impl<'e> BadSources<'e> {
    pub(super) const fn of(engine: &'e Engine) -> Self {
        Self { engine, left: AtomicUsize::new(SOURCE_PAGES_AT_ONCE) }
    }

    /// However many there are.
    pub(super) fn all(self) -> Self {
        Self { left: AtomicUsize::new(usize::MAX), ..self }
    }
}

impl Source for BadSources<'_> {
    fn shelf(&self) -> Shelf {
        Shelf::Detector
    }

    fn changed(&self, most: usize, now: Moment) -> Vec<Piece> {
        let most = most.min(self.left.load(Ordering::Relaxed));
        let mut pieces = Vec::new();
        while pieces.len() < most {
            let some = PAGES_AT_A_TIME.min(most - pieces.len());
            let pages = self.engine.watches.sources.lock().take_changed(some, now);
            let ended = pages.len() < some;
            pieces.extend(pages.into_iter().map(|(part, value)| Piece {
                key: BlobKey { shelf: Shelf::Detector, id: KeyId::SOLE, part },
                value,
            }));
            if ended {
                break;
            }
        }
        self.left.fetch_sub(pieces.len(), Ordering::Relaxed);
        pieces
    }

    fn recall(&self, key: BlobKey, value: &[u8], now: Moment) -> Result<(), Unreadable> {
        Ok(self.engine.watches.sources.lock().restore(key.part, value, now)?)
    }
}
