//! Rates that Amazon said (`x-amzn-RateLimit-Limit`), over restarts (MON-2).
use std::collections::HashSet;

use super::Pacing;
use crate::base::Moment;
use crate::engine::Live;
use crate::engine::memory::{Memory, Piece, Source, Unreadable};
use crate::pacing::{BucketKey, Learned, LearnedFault};
use crate::store::{BlobKey, KeyId, Shelf};

/// Those of every quota that was used.
pub(in crate::engine) struct Told<'e> {
    pub(in crate::engine) memory: &'e Memory,
    pub(in crate::engine) pacing: &'e Pacing,
    pub(in crate::engine) live: &'e Live,
}

impl Told<'_> {
    fn id(&self, quota: BucketKey) -> KeyId {
        let BucketKey { seller, application, operation } = quota;
        self.memory.id("rate that Amazon said", &format!("{seller} {application} {operation}"))
    }
}

impl Source for Told<'_> {
    fn shelf(&self) -> Shelf {
        Shelf::Pace
    }

    fn changed(&self, most: usize, _now: Moment) -> Vec<Piece> {
        let learned = self.pacing.state.lock().pacer.take_learned(most);
        let piece = |learned: Learned| Piece {
            key: BlobKey { shelf: Shelf::Pace, id: self.id(learned.quota), part: 0 },
            value: learned.encode(),
        };
        learned.into_iter().map(piece).collect()
    }

    fn recall(&self, _key: BlobKey, value: &[u8], _now: Moment) -> Result<(), Unreadable> {
        let learned = Learned::decode(value).map_err(|fault| match fault {
            LearnedFault::Newer => Unreadable::Newer,
            LearnedFault::Damaged => Unreadable::Damaged,
        })?;
        self.pacing.state.lock().pacer.recall(learned);
        Ok(())
    }

    fn known(&self) -> Option<HashSet<KeyId>> {
        Some(self.live.pacing.buckets().map(|(_, _, quota)| self.id(quota)).collect())
    }
}
