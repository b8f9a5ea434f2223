//! Rates that Amazon said (`x-amzn-RateLimit-Limit`), and what is owed to the buckets that gateways share,
//! over restarts (MON-2).
use std::collections::HashSet;

use super::{Pacing, dealt};
use crate::base::Moment;
use crate::engine::Live;
use crate::engine::memory::{Memory, Piece, Source, Unreadable};
use crate::pacing::{BucketKey, Learned, LearnedFault};
use crate::store::{BlobKey, KeyId, Shelf};

/// Which of a quota's pieces holds which.
const RATE: u32 = 0;
const DEBT: u32 = 1;

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

    fn changed(&self, most: usize, now: Moment) -> Vec<Piece> {
        let piece = |quota, part, value| Piece {
            key: BlobKey { shelf: Shelf::Pace, id: self.id(quota), part },
            value,
        };
        let learned = self.pacing.state.lock().pacer.take_learned(most);
        let debts = self.pacing.debts.lock().take_changed(most - learned.len(), now);
        let learned = learned.into_iter().map(|own| piece(own.quota, RATE, own.encode()));
        let debts = debts.into_iter().map(|(quota, value)| piece(quota, DEBT, value));
        learned.chain(debts).collect()
    }

    fn recall(&self, key: BlobKey, value: &[u8], now: Moment) -> Result<(), Unreadable> {
        match key.part {
            RATE => self.pacing.state.lock().pacer.recall(Learned::decode(value)?),
            DEBT => self.pacing.debts.lock().recall(value, dealt::counted_within(), now)?,
            _ => return Err(Unreadable::Damaged),
        }
        Ok(())
    }

    fn known(&self) -> Option<HashSet<KeyId>> {
        Some(self.live.pacing.buckets().map(|(_, _, quota)| self.id(quota)).collect())
    }
}

impl From<LearnedFault> for Unreadable {
    fn from(fault: LearnedFault) -> Self {
        match fault {
            LearnedFault::Newer => Self::Newer,
            LearnedFault::Damaged => Self::Damaged,
        }
    }
}
