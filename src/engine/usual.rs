//! What is usual for the members of a role, over restarts (MON-2): by this a new identity is judged.
use std::collections::{BTreeMap, HashSet};

use super::memory::{Piece, Source, Unreadable};
use super::{Engine, Live};
use crate::base::{Moment, Name, RoleIx};
use crate::store::{BlobKey, KeyId, Shelf};

/// The roles of the configuration in force.
pub(super) struct Usual<'e> {
    engine: &'e Engine,
    live: &'e Live,
}

impl<'e> Usual<'e> {
    pub(super) const fn new(engine: &'e Engine, live: &'e Live) -> Self {
        Self { engine, live }
    }

    fn id(&self, role: &Name) -> KeyId {
        self.engine.memory.id("what is usual for a role", role.as_str())
    }

    pub(super) fn key(&self, role: &Name) -> BlobKey {
        BlobKey { shelf: Shelf::Peers, id: self.id(role), part: 0 }
    }

    fn roles(&self) -> impl Iterator<Item = (&'e Name, RoleIx)> {
        let names = &self.live.snapshot.names;
        (0..).map(RoleIx).map_while(|ix| Some((names.role(ix)?, ix)))
    }
}

impl Source for Usual<'_> {
    fn shelf(&self) -> Shelf {
        Shelf::Peers
    }

    fn changed(&self, most: usize, _now: Moment) -> Vec<Piece> {
        let changed = self.engine.histories.take_changed_roles(most);
        if changed.is_empty() {
            return Vec::new();
        }
        let places: BTreeMap<&Name, RoleIx> = self.roles().collect();
        let piece = |role: &Name| {
            let value = self.live.peer_bytes(*places.get(role)?)?;
            Some(Piece { key: self.key(role), value })
        };
        changed.iter().filter_map(piece).collect()
    }

    fn recall(&self, key: BlobKey, value: &[u8], _now: Moment) -> Result<(), Unreadable> {
        let found = self.roles().find(|(role, _)| self.id(role) == key.id);
        // Of a role that is no longer configured, and may be again.
        let Some((_, ix)) = found else { return Ok(()) };
        Ok(self.live.recall_peers(ix, value)?)
    }

    fn known(&self) -> Option<HashSet<KeyId>> {
        Some(self.roles().map(|(role, _)| self.id(role)).collect())
    }
}
