//! Since when issuers' keys are known here, over restarts (TLS-5).
use std::collections::HashSet;

use super::Live;
use super::memory::{Memory, Piece, Source, Unreadable};
use crate::base::Moment;
use crate::identity::IssuerIx;
use crate::keys::{JwksStore, SightFault};
use crate::store::{BlobKey, KeyId, Shelf};

/// Those of each issuer that was ever in force.
pub(super) struct FirstSights<'e> {
    pub(super) memory: &'e Memory,
    pub(super) jwks: &'e JwksStore,
    pub(super) live: &'e Live,
}

impl FirstSights<'_> {
    fn id(&self, iss: &str) -> KeyId {
        self.memory.id("keys of an issuer", iss)
    }
}

impl Source for FirstSights<'_> {
    fn shelf(&self) -> Shelf {
        Shelf::Keys
    }

    fn changed(&self, most: usize, _now: Moment) -> Vec<Piece> {
        let piece = |(iss, value): (Box<str>, Vec<u8>)| Piece {
            key: BlobKey { shelf: Shelf::Keys, id: self.id(&iss), part: 0 },
            value,
        };
        self.jwks.take_changed_sights(most).into_iter().map(piece).collect()
    }

    fn recall(&self, _key: BlobKey, value: &[u8], _now: Moment) -> Result<(), Unreadable> {
        self.jwks.recall_sights(value).map_err(|fault| match fault {
            SightFault::Newer => Unreadable::Newer,
            SightFault::Damaged => Unreadable::Damaged,
        })
    }

    fn known(&self) -> Option<HashSet<KeyId>> {
        let trust = &self.live.snapshot.trust;
        Some((0..).map(IssuerIx).map_while(|ix| trust.iss(ix)).map(|iss| self.id(iss)).collect())
    }
}
