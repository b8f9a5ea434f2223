//! What is usual for an identity, and from where it logs in, over restarts (ACC-2, MON-2, MON-3).
use std::collections::{BTreeMap, BTreeSet, HashSet};

use parking_lot::Mutex;

use super::memory::{Piece, Source, Unreadable};
use super::{Engine, Live};
use crate::base::{IdentityIx, Moment, Name, RoleIx};
use crate::detect::HistoryFault;
use crate::store::{BlobKey, KeyId, Shelf};

/// Whose memory has changed since it was written down. By name: places change with the configuration.
#[derive(Debug, Default)]
pub(super) struct Histories {
    watches: Mutex<BTreeSet<Name>>,
    logins: Mutex<BTreeSet<Name>>,
    roles: Mutex<BTreeSet<Name>>,
}

impl Histories {
    pub(super) fn changed_watch(&self, live: &Live, who: IdentityIx) {
        self.watches.lock().extend(live.snapshot.names.identity(who).cloned());
    }

    pub(super) fn changed_role(&self, live: &Live, role: RoleIx) {
        self.roles.lock().extend(live.snapshot.names.role(role).cloned());
    }

    pub(super) fn take_changed_roles(&self, most: usize) -> Vec<Name> {
        let mut changed = self.roles.lock();
        std::iter::from_fn(|| changed.pop_first()).take(most).collect()
    }

    pub(super) fn changed_login(&self, live: &Live, who: IdentityIx) {
        self.logins.lock().extend(live.snapshot.names.identity(who).cloned());
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What detectors have learned.
    Watches,
    /// Known sources and failures.
    Logins,
}

/// One kind, of the identities of the configuration in force.
pub(super) struct Remembered<'e> {
    engine: &'e Engine,
    live: &'e Live,
    kind: Kind,
    /// Made for the start only, when everything comes back at once.
    places: BTreeMap<KeyId, IdentityIx>,
}

impl<'e> Remembered<'e> {
    /// To be written down.
    pub(super) const fn of(engine: &'e Engine, live: &'e Live, kind: Kind) -> Self {
        Self { engine, live, kind, places: BTreeMap::new() }
    }

    /// To be brought back.
    pub(super) fn by_id(engine: &'e Engine, live: &'e Live, kind: Kind) -> Self {
        let mut own = Self::of(engine, live, kind);
        own.places = own.ids().collect();
        own
    }

    fn ids(&self) -> impl Iterator<Item = (KeyId, IdentityIx)> {
        let names = &self.live.snapshot.names;
        (0..).map(IdentityIx).map_while(|ix| Some((self.id(names.identity(ix)?), ix)))
    }

    fn id(&self, name: &Name) -> KeyId {
        let kind = match self.kind {
            Kind::Watches => "watch of an identity",
            Kind::Logins => "logins of an identity",
        };
        self.engine.memory.id(kind, name.as_str())
    }

    fn value(&self, ix: IdentityIx) -> Option<Vec<u8>> {
        match self.kind {
            Kind::Watches => self.live.watch_bytes(ix),
            Kind::Logins => self.engine.locks.logins(|logins, _table| logins.encode(ix)),
        }
    }
}

impl Source for Remembered<'_> {
    fn shelf(&self) -> Shelf {
        match self.kind {
            Kind::Watches => Shelf::Baseline,
            Kind::Logins => Shelf::Login,
        }
    }

    fn changed(&self, most: usize, _now: Moment) -> Vec<Piece> {
        let names: Vec<Name> = {
            let mut changed = match self.kind {
                Kind::Watches => self.engine.histories.watches.lock(),
                Kind::Logins => self.engine.histories.logins.lock(),
            };
            std::iter::from_fn(|| changed.pop_first()).take(most).collect()
        };
        let piece = |name: Name| {
            let ix = self.engine.locks.identity_named(&name)?;
            let key = BlobKey { shelf: self.shelf(), id: self.id(&name), part: 0 };
            // Nothing left to remember: the piece is forgotten.
            Some(Piece { key, value: self.value(ix).unwrap_or_default() })
        };
        names.into_iter().filter_map(piece).collect()
    }

    fn recall(&self, key: BlobKey, value: &[u8], now: Moment) -> Result<(), Unreadable> {
        // Of somebody who is no longer configured, and may be again.
        let Some(ix) = self.places.get(&key.id).copied() else { return Ok(()) };
        match self.kind {
            Kind::Watches => self.live.recall_watch(ix, value).map_err(|fault| match fault {
                HistoryFault::Newer => Unreadable::Newer,
                HistoryFault::Length | HistoryFault::Malformed => Unreadable::Damaged,
            }),
            Kind::Logins => {
                let restored =
                    self.engine.locks.logins(|logins, _table| logins.restore(ix, value, now));
                if restored { Ok(()) } else { Err(Unreadable::Damaged) }
            }
        }
    }

    fn known(&self) -> Option<HashSet<KeyId>> {
        Some(self.ids().map(|(id, _)| id).collect())
    }
}
