//! How many connections are open: in all, per source address, per identity. Counted by permits that
//! give their place back when they are dropped.
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::base::Name;

const SHARDS: usize = 32;
/// A table that holds fewer than an eighth of what it has room for gives memory back above this.
const SHARD_KEEP: usize = 64;

/// The most connections at once. Zero admits nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub total: u32,
    /// Per IPv4 address or IPv6 /64, see [`crate::base::ClientAddr::source`].
    pub per_source: u32,
}

/// Why one more connection may not be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFault {
    Total,
    PerSource,
    PerIdentity,
}

/// The open connections of one listener. It outlives reloads, as they do; limits come with each
/// question, so that a reload's take effect at once.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    total: AtomicU32,
    sources: Tally<u64>,
    /// By name, because an index means another identity after a reload.
    identities: Tally<Name>,
}

impl ConnectionCounts {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts a connection from `source`, until the permit is dropped.
    pub fn try_admit(
        self: &Arc<Self>,
        source: u64,
        limits: ConnectionLimits,
    ) -> Result<Permit, ConnectionFault> {
        self.total
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < limits.total).then(|| open.saturating_add(1))
            })
            .map_err(|_| ConnectionFault::Total)?;
        if self.sources.try_add(&source, limits.per_source) {
            Ok(Permit { counts: Arc::clone(self), source })
        } else {
            self.total.fetch_sub(1, Ordering::AcqRel);
            Err(ConnectionFault::PerSource)
        }
    }

    /// Counts a connection on which `who` was proved, until the permit is dropped.
    pub fn try_identity(
        self: &Arc<Self>,
        who: &Name,
        most: u32,
    ) -> Result<IdentityPermit, ConnectionFault> {
        if self.identities.try_add(who, most) {
            Ok(IdentityPermit { counts: Arc::clone(self), who: who.clone() })
        } else {
            Err(ConnectionFault::PerIdentity)
        }
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.total.load(Ordering::Acquire)
    }

    /// Sources that have a connection open now.
    #[must_use]
    pub fn open_sources(&self) -> usize {
        self.sources.len()
    }
}

/// One open connection's place in the total and in its source's share.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<ConnectionCounts>,
    source: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.sources.remove(&self.source);
        self.counts.total.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One open connection's place in its identity's share.
#[derive(Debug)]
pub struct IdentityPermit {
    counts: Arc<ConnectionCounts>,
    who: Name,
}

impl IdentityPermit {
    /// The identity it was given for.
    #[must_use]
    pub const fn who(&self) -> &Name {
        &self.who
    }
}

impl Drop for IdentityPermit {
    fn drop(&mut self) {
        self.counts.identities.remove(&self.who);
    }
}

/// Counts per key. A key whose count falls to zero leaves, so there are never more keys than things
/// counted.
#[derive(Debug)]
struct Tally<K> {
    hasher: RandomState,
    shards: [Mutex<HashMap<K, u32>>; SHARDS],
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
        }
    }
}

impl<K: Clone + Eq + Hash> Tally<K> {
    fn shard(&self, key: &K) -> Option<&Mutex<HashMap<K, u32>>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0);
        self.shards.get(hash % SHARDS)
    }

    fn try_add(&self, key: &K, most: u32) -> bool {
        let Some(shard) = self.shard(key) else { return false };
        let mut counts = shard.lock();
        let open = counts.get(key).copied().unwrap_or(0);
        if open >= most {
            return false;
        }
        counts.insert(key.clone(), open.saturating_add(1));
        true
    }

    fn remove(&self, key: &K) {
        let Some(shard) = self.shard(key) else { return };
        let mut counts = shard.lock();
        if let Some(count) = counts.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(key);
                if counts.capacity() > SHARD_KEEP && counts.len() < counts.capacity() / 8 {
                    let room = counts.len().saturating_mul(2).max(SHARD_KEEP);
                    counts.shrink_to(room);
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_limit_of_zero_admits_nobody() {
        let counts = ConnectionCounts::new();
        let none = ConnectionLimits::default();
        assert_eq!(counts.try_admit(1, none).unwrap_err(), ConnectionFault::Total);
        let no_source = ConnectionLimits { total: 5, per_source: 0 };
        assert_eq!(counts.try_admit(1, no_source).unwrap_err(), ConnectionFault::PerSource);
        assert_eq!(counts.open(), 0, "a refused connection is not counted");
        assert_eq!(counts.try_identity(&name("a"), 0).unwrap_err(), ConnectionFault::PerIdentity);
    }

    #[test]
    fn net_1_one_source_can_not_take_the_places_of_others() {
        let counts = ConnectionCounts::new();
        let limits = ConnectionLimits { total: 5, per_source: 2 };
        let mut held =
            vec![counts.try_admit(7, limits).unwrap(), counts.try_admit(7, limits).unwrap()];
        assert_eq!(counts.try_admit(7, limits).unwrap_err(), ConnectionFault::PerSource);
        held.extend((8..11).map(|source| counts.try_admit(source, limits).unwrap()));
        assert_eq!(counts.try_admit(99, limits).unwrap_err(), ConnectionFault::Total);
        held.remove(0);
        assert_eq!(counts.open(), 4);
        held.push(counts.try_admit(7, limits).unwrap());
        drop(held);
        assert_eq!((counts.open(), counts.open_sources()), (0, 0));
    }

    #[test]
    fn acc_1_an_identity_has_no_more_connections_than_it_may() {
        let counts = ConnectionCounts::new();
        let first = counts.try_identity(&name("printer"), 1).unwrap();
        assert!(counts.try_identity(&name("printer"), 1).is_err());
        assert!(counts.try_identity(&name("other"), 1).is_ok());
        assert!(counts.try_identity(&name("printer"), 2).is_ok(), "a raised limit acts at once");
        drop(first);
        assert!(counts.try_identity(&name("printer"), 1).is_ok());
        assert_eq!(counts.identities.len(), 0);
    }

    #[test]
    fn memory_of_a_flood_is_given_back() {
        let counts = ConnectionCounts::new();
        let limits = ConnectionLimits { total: 50_000, per_source: 1 };
        let flood: Vec<_> = (0..50_000).map(|s| counts.try_admit(s, limits).unwrap()).collect();
        assert_eq!(counts.open_sources(), 50_000);
        drop(flood);
        for shard in &counts.sources.shards {
            assert!(shard.lock().capacity() <= 2 * SHARD_KEEP);
        }
    }

    #[test]
    fn counts_hold_under_concurrent_churn() {
        let counts = ConnectionCounts::new();
        let limits = ConnectionLimits { total: 40, per_source: 3 };
        let per_source: [AtomicU32; 16] = std::array::from_fn(|_| AtomicU32::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (counts, per_source) = (&counts, &per_source);
                scope.spawn(move || {
                    for round in 0..5_000_u64 {
                        let source = (thread * 7 + round) % 16;
                        let Ok(permit) = counts.try_admit(source, limits) else { continue };
                        let open = &per_source[usize::try_from(source).unwrap()];
                        assert!(open.fetch_add(1, Ordering::SeqCst) < 3);
                        assert!(counts.open() <= 40);
                        open.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!((counts.open(), counts.open_sources()), (0, 0));
    }
}
