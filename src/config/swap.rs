//! Which snapshot is in force. Readers never wait; a reload that fails never gets here.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::Snapshot;

/// The snapshot in force.
pub struct Current {
    snapshot: ArcSwap<Snapshot>,
    /// The next generation to hand out.
    next: AtomicU64,
}

impl Current {
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        let next = AtomicU64::new(first.generation.saturating_add(1));
        Self { snapshot: ArcSwap::from_pointee(first), next }
    }

    /// The snapshot that a request begins with, to be held until it ends.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// A generation that no snapshot of this process has had, for the next `load` of a file.
    pub fn next_generation(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a snapshot in force at once and as a whole; returns the one before. Of two reloads that
    /// overlap, the later generation stays, whichever ends first.
    pub fn publish(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let fresh = Arc::new(snapshot);
        self.snapshot.rcu(|before| {
            let newer = fresh.generation > before.generation;
            Arc::clone(if newer { &fresh } else { before })
        })
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Current(generation {})", self.snapshot.load().generation)
    }
}
