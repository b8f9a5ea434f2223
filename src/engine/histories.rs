//! What is usual for an identity, and from where it logs in, over restarts (ACC-2, MON-2, MON-3).
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::memory::{Piece, Source, Unreadable};
use super::usual::Usual;
use super::{Engine, Live};
use crate::base::{IdentityIx, Moment, Name, RoleIx};
use crate::lockout::{Release, ReleaseReason};
use crate::store::{BlobKey, KeyId, Shelf, StoreFault};

/// Whose memory has changed since it was written down. By name: places change with the configuration.
#[derive(Debug, Default)]
pub(super) struct Histories {
    /// In the order in which they changed, so that nobody waits for ever.
    watches: Mutex<VecDeque<Name>>,
    logins: Mutex<BTreeSet<Name>>,
    roles: Mutex<BTreeSet<Name>>,
    /// Who came with a reload and may have been here before. Nothing of theirs is written down until
    /// what is kept of them was brought back, which it would otherwise replace.
    returning: Mutex<Returning>,
    /// What was counted before these releases counts no more, here and in what is brought back. Held while
    /// something is forgiven, written down or brought back, so that each of them is before another.
    forgiven: Mutex<BTreeMap<Name, Forgiven>>,
}

/// The last release of an identity.
#[derive(Clone, Copy, Debug)]
struct Forgiven {
    /// As the lock table has it: each release of a subject has a later one, whatever the clocks say.
    at_ms: u64,
    reason: ReleaseReason,
}

/// What a piece begins with that was written after a release; its time follows.
const RELEASED: u8 = 128;

/// After which release a piece was written, and the piece.
fn after_release(value: &[u8]) -> Result<(u64, &[u8]), Unreadable> {
    let Some(rest) = value.strip_prefix(&[RELEASED]) else { return Ok((0, value)) };
    let (at_ms, piece) = rest.split_first_chunk().ok_or(Unreadable::Damaged)?;
    Ok((u64::from_le_bytes(*at_ms), piece))
}

/// By name.
#[derive(Clone, Debug, Default)]
struct Returning {
    identities: BTreeSet<Name>,
    roles: BTreeSet<Name>,
}

impl Histories {
    /// A configuration is about to be in force in the place of another.
    pub(super) fn adopt(&self, before: &Live, after: &Live) {
        let all = |live: &Live| {
            let names = &live.snapshot.names;
            let identities = (0..).map(IdentityIx).map_while(|ix| names.identity(ix).cloned());
            let roles = (0..).map(RoleIx).map_while(|ix| names.role(ix).cloned());
            Returning { identities: identities.collect(), roles: roles.collect() }
        };
        let (before, after) = (all(before), all(after));
        let mut returning = self.returning.lock();
        returning.identities.extend(after.identities.difference(&before.identities).cloned());
        returning.roles.extend(after.roles.difference(&before.roles).cloned());
    }

    /// At most `most` of those that changed and are not `away`.
    fn take(changed: &Mutex<BTreeSet<Name>>, away: &BTreeSet<Name>, most: usize) -> Vec<Name> {
        let mut changed = changed.lock();
        let names: Vec<Name> =
            changed.iter().filter(|name| !away.contains(*name)).take(most).cloned().collect();
        for name in &names {
            changed.remove(name);
        }
        names
    }

    /// The same of watches, which wait in a queue.
    fn take_watches(&self, most: usize) -> Vec<Name> {
        let returning = self.returning.lock();
        let mut watches = self.watches.lock();
        let mut names = Vec::new();
        for _ in 0..watches.len() {
            if names.len() == most {
                break;
            }
            let Some(name) = watches.pop_front() else { break };
            if returning.identities.contains(&name) {
                watches.push_back(name);
            } else {
                names.push(name);
            }
        }
        names
    }

    /// For the first time since it was last written down.
    pub(super) fn changed_watch(&self, live: &Live, who: IdentityIx) {
        self.watches.lock().extend(live.snapshot.names.identity(who).cloned());
    }

    pub(super) fn changed_role(&self, live: &Live, role: RoleIx) {
        self.roles.lock().extend(live.snapshot.names.role(role).cloned());
    }

    pub(super) fn take_changed_roles(&self, most: usize) -> Vec<Name> {
        Self::take(&self.roles, &self.returning.lock().roles, most)
    }

    pub(super) fn changed_login(&self, who: &Name) {
        self.logins.lock().insert(who.clone());
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What detectors have learned and count.
    Watches,
    /// Known sources and failures.
    Logins,
}

/// One kind, of the identities of the configuration in force.
pub(super) struct Remembered<'e> {
    engine: &'e Engine,
    live: &'e Live,
    kind: Kind,
    /// How many more may be written down now.
    left: AtomicUsize,
    /// Made for the start only, when everything comes back at once.
    places: BTreeMap<KeyId, IdentityIx>,
}

impl<'e> Remembered<'e> {
    /// To be written down.
    pub(super) const fn of(engine: &'e Engine, live: &'e Live, kind: Kind) -> Self {
        let left = AtomicUsize::new(usize::MAX);
        Self { engine, live, kind, left, places: BTreeMap::new() }
    }

    /// So many at most.
    pub(super) fn up_to(self, most: usize) -> Self {
        Self { left: AtomicUsize::new(most), ..self }
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

    /// What is remembered now, by name: watches are placed as in `live`, logins as the locks have it.
    fn value(&self, name: &Name, now: Moment) -> Option<Vec<u8>> {
        let locks = &self.engine.locks;
        let forgiven = self.engine.histories.forgiven.lock();
        let piece = match self.kind {
            Kind::Watches => self.live.watch_bytes(self.place(name)?, now),
            Kind::Logins => {
                locks.logins(|logins, _table| logins.encode(locks.identity_named(name)?))
            }
        }?;
        Some(match forgiven.get(name) {
            None => piece,
            Some(Forgiven { at_ms, .. }) => {
                [&[RELEASED][..], &at_ms.to_le_bytes(), &piece].concat()
            }
        })
    }

    /// Where `live` has an identity: most often where the locks have it.
    fn place(&self, name: &Name) -> Option<IdentityIx> {
        let names = &self.live.snapshot.names;
        let near = self.engine.locks.identity_named(name);
        near.filter(|ix| names.identity(*ix) == Some(name)).or_else(|| names.identity_named(name))
    }

    fn key(&self, name: &Name) -> BlobKey {
        BlobKey { shelf: self.shelf(), id: self.id(name), part: 0 }
    }

    /// Gives somebody back what was kept, but for what was forgiven since.
    fn give(&self, name: &Name, value: &[u8], now: Moment) -> Result<(), Unreadable> {
        let (after_ms, value) = after_release(value)?;
        let locks = &self.engine.locks;
        let forgiven = self.engine.histories.forgiven.lock();
        match self.kind {
            Kind::Watches => {
                let Some(ix) = self.place(name) else { return Ok(()) };
                self.live.recall_watch(ix, value, now)?;
            }
            Kind::Logins => {
                let restored = locks.logins(|logins, _table| {
                    locks.identity_named(name).is_none_or(|ix| logins.restore(ix, value, now))
                });
                if !restored {
                    return Err(Unreadable::Damaged);
                }
            }
        }
        if let Some(Forgiven { at_ms, reason }) = forgiven.get(name)
            && *at_ms > after_ms
        {
            self.forgive(name, *reason);
        }
        Ok(())
    }

    fn forgive(&self, name: &Name, reason: ReleaseReason) {
        let Engine { locks, histories, .. } = self.engine;
        match self.kind {
            Kind::Watches => {
                if let Some(ix) = self.place(name)
                    && self.live.forgive_watch(ix, reason)
                {
                    histories.changed_watch(self.live, ix);
                }
            }
            Kind::Logins => {
                locks.logins(|logins, _table| locks.forgive_logins(logins, name));
                histories.changed_login(name);
            }
        }
    }
}

impl Engine {
    /// What was counted of an identity before its release counts no more; nor does what is brought back
    /// later and was written down before it. Its failed logins were forgiven with the release.
    pub(super) fn forgive_identity(&self, name: &Name, release: &Release) {
        let live = self.live();
        let mut forgiven = self.histories.forgiven.lock();
        Remembered::of(self, &live, Kind::Watches).forgive(name, release.reason);
        self.histories.changed_login(name);
        let Release { at_ms, reason, .. } = *release;
        let last = forgiven.entry(name.clone()).or_insert(Forgiven { at_ms, reason });
        if last.at_ms < at_ms {
            *last = Forgiven { at_ms, reason };
        }
    }

    /// Brings back what is kept of those that came with a reload. How many pieces could not be read.
    ///
    /// # Errors
    /// If the store can't be read; they are asked for again then, and not written until they came.
    pub(super) async fn recall_returning(&self, now: Moment) -> Result<u64, StoreFault> {
        let returning = self.histories.returning.lock().clone();
        let live = self.live();
        let mut refused = 0_u64;
        for name in &returning.identities {
            for kind in [Kind::Watches, Kind::Logins] {
                let source = Remembered::of(self, &live, kind);
                if let Some(kept) = self.memory.store().blob(source.key(name)).await? {
                    refused += u64::from(source.give(name, &kept.value, now).is_err());
                }
            }
            self.histories.returning.lock().identities.remove(name);
        }
        for name in &returning.roles {
            let source = Usual::new(self, &live);
            let key = source.key(name);
            if let Some(kept) = self.memory.store().blob(key).await? {
                refused += u64::from(source.recall(key, &kept.value, now).is_err());
            }
            self.histories.returning.lock().roles.remove(name);
        }
        Ok(refused)
    }
}

impl Source for Remembered<'_> {
    fn shelf(&self) -> Shelf {
        match self.kind {
            Kind::Watches => Shelf::Baseline,
            Kind::Logins => Shelf::Login,
        }
    }

    fn changed(&self, most: usize, now: Moment) -> Vec<Piece> {
        let histories = &self.engine.histories;
        let most = most.min(self.left.load(Ordering::Relaxed));
        let names = match self.kind {
            Kind::Watches => histories.take_watches(most),
            Kind::Logins => {
                let away = &histories.returning.lock().identities;
                Histories::take(&histories.logins, away, most)
            }
        };
        self.left.fetch_sub(names.len(), Ordering::Relaxed);
        let piece = |name: &Name| {
            // Whoever left meanwhile keeps what is written down.
            self.place(name)?;
            // Nothing left to remember: the piece is forgotten.
            Some(Piece { key: self.key(name), value: self.value(name, now).unwrap_or_default() })
        };
        names.iter().filter_map(piece).collect()
    }

    fn recall(&self, key: BlobKey, value: &[u8], now: Moment) -> Result<(), Unreadable> {
        // Of somebody who is no longer configured, and may be again.
        let place = self.places.get(&key.id);
        match place.and_then(|ix| self.live.snapshot.names.identity(*ix)) {
            Some(name) => self.give(name, value, now),
            None => Ok(()),
        }
    }

    fn known(&self) -> Option<HashSet<KeyId>> {
        Some(self.ids().map(|(id, _)| id).collect())
    }
}
