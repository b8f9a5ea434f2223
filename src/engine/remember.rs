//! What is remembered, by those who know it; and the task that looks after the store.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::watch;

use super::exposure::Revealed;
use super::histories::{Kind, Remembered};
use super::memory::{ALL_EVERY, Piece, SAVE_EVERY, Saved, Source, Unreadable, WATCHES_AT_ONCE};
use super::pacing::Told;
use super::sights::FirstSights;
use super::sources::BadSources;
use super::usual::Usual;
use super::{Engine, Live, Memory};
use crate::base::{IdentityIx, LimitIx, Moment};
use crate::evidence::{Event, Fixed};
use crate::state::{QuotaPlaces, SavedFault, Whose};
use crate::store::{BlobKey, Condition, KeyId, Shelf, StoreFault};

/// A wall clock that moves against the monotonic one by so much between two writings was set.
const SET_MS: i64 = 1_000;

/// How much is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// What decides about requests.
    Urgent,
    All,
    /// All, and of watches too as many as there are.
    Rest,
}

/// Spent quotas of the configuration in force.
struct SpentQuotas<'e> {
    memory: &'e Memory,
    live: &'e Live,
    places: QuotaPlaces<'e>,
}

impl<'e> SpentQuotas<'e> {
    fn new(memory: &'e Memory, live: &'e Live) -> Self {
        Self { memory, live, places: live.quotas.places() }
    }

    fn id(&self, whose: Whose) -> Option<KeyId> {
        let kind = match whose {
            Whose::Identity(_) => "quotas of an identity",
            Whose::Everybody(_) => "quota of everybody",
        };
        Some(self.memory.id(kind, self.live.quotas.name_of(whose)?.as_str()))
    }
}

impl Source for SpentQuotas<'_> {
    fn shelf(&self) -> Shelf {
        Shelf::Quota
    }

    fn changed(&self, most: usize, now: Moment) -> Vec<Piece> {
        let quotas = &self.live.quotas;
        let piece = |whose: Whose| {
            let key = BlobKey { shelf: Shelf::Quota, id: self.id(whose)?, part: 0 };
            Some(Piece { key, value: quotas.save(whose, now) })
        };
        quotas.take_changed(most).into_iter().filter_map(piece).collect()
    }

    fn recall(&self, _key: BlobKey, value: &[u8], now: Moment) -> Result<(), Unreadable> {
        self.live.quotas.restore(&self.places, value, now).map_err(|fault| match fault {
            SavedFault::Newer => Unreadable::Newer,
            SavedFault::Damaged => Unreadable::Damaged,
        })
    }

    fn known(&self) -> Option<HashSet<KeyId>> {
        let identities = (0..).map(IdentityIx).map(Whose::Identity);
        let limits = (0..).map(LimitIx).map(Whose::Everybody);
        let ids = |whose| self.id(whose);
        Some(identities.map_while(ids).chain(limits.map_while(ids)).collect())
    }
}

impl Engine {
    /// Brings back what was remembered beside the locks. Before this nobody may be served.
    ///
    /// # Errors
    /// If the store can't be read. A piece that can't be is left out, and told of.
    pub async fn recall(&self) -> Result<(), StoreFault> {
        let (live, now) = (self.live(), self.clock.now());
        let mut refused = 0_u64;
        let quotas = SpentQuotas::new(&self.memory, &live);
        let revealed = Revealed { memory: &self.memory, exposures: &self.exposures };
        let watches = Remembered::by_id(self, &live, Kind::Watches);
        let logins = Remembered::by_id(self, &live, Kind::Logins);
        let usual = Usual::new(self, &live);
        let told = Told { memory: &self.memory, pacing: &self.pacing, live: &live };
        let bad = BadSources::of(self);
        let sights = FirstSights { memory: &self.memory, jwks: &self.jwks, live: &live };
        let all: [&dyn Source; 8] =
            [&quotas, &revealed, &watches, &logins, &usual, &told, &bad, &sights];
        for source in all {
            refused = refused.saturating_add(self.memory.load(source, now).await?.refused);
        }
        self.leases.untold.store(true, Ordering::Release);
        if refused > 0 {
            self.metrics.state.refused.inc_by(refused);
            self.report_event(&Event::MemoryRefused { count: refused });
        }
        Ok(())
    }

    /// Takes in what is written down of spent quotas, beside what is known of them: of each the
    /// greater counts.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn recall_spent(&self) -> Result<(), StoreFault> {
        let live = self.live();
        let quotas = SpentQuotas::new(&self.memory, &live);
        let loaded = self.memory.load(&quotas, self.clock.now()).await;
        self.leases.untold.store(true, Ordering::Release);
        loaded.map(|_pieces| ())
    }

    /// Writes down what has changed.
    async fn save(&self, extent: Extent, now: Moment) -> Saved {
        if let Ok(refused @ 1..) = self.recall_returning(now).await {
            self.metrics.state.refused.inc_by(refused);
            self.report_event(&Event::MemoryRefused { count: refused });
        }
        let live = self.live();
        let quotas = SpentQuotas::new(&self.memory, &live);
        let revealed = Revealed { memory: &self.memory, exposures: &self.exposures };
        let most = if extent == Extent::Rest { usize::MAX } else { WATCHES_AT_ONCE };
        let watches = Remembered::of(self, &live, Kind::Watches).up_to(most);
        let logins = Remembered::of(self, &live, Kind::Logins);
        let usual = Usual::new(self, &live);
        let told = Told { memory: &self.memory, pacing: &self.pacing, live: &live };
        let bad = BadSources::of(self);
        let bad = if extent == Extent::Rest { bad.all() } else { bad };
        let sights = FirstSights { memory: &self.memory, jwks: &self.jwks, live: &live };
        let sources: [&dyn Source; 8] =
            [&quotas, &logins, &bad, &watches, &usual, &told, &sights, &revealed];
        let sources = match (extent, sources.split_last()) {
            (Extent::Urgent, Some((_revealed, urgent))) => urgent,
            _ => &sources[..],
        };
        let saved = self.memory.save(sources, now).await;
        let metrics = &self.metrics.state;
        metrics.refused.inc_by(saved.dropped);
        self.exposures.unkept(saved.dropped);
        let waiting = saved.waiting.map_or(0, |(pieces, _)| pieces);
        metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        if saved.waiting.is_none() && extent != Extent::Urgent {
            metrics.written_at.set(i64::try_from(now.unix_secs()).unwrap_or(i64::MAX));
        }
        saved
    }

    /// Looks, once a day, at what no configuration knows any more.
    async fn forget_unknown(&self, now: Moment) -> Result<(), StoreFault> {
        let live = self.live();
        let quotas = SpentQuotas::new(&self.memory, &live);
        let watches = Remembered::of(self, &live, Kind::Watches);
        let logins = Remembered::of(self, &live, Kind::Logins);
        let usual = Usual::new(self, &live);
        let told = Told { memory: &self.memory, pacing: &self.pacing, live: &live };
        let sights = FirstSights { memory: &self.memory, jwks: &self.jwks, live: &live };
        let sources: [&dyn Source; 6] = [&quotas, &watches, &logins, &usual, &told, &sights];
        self.memory.forget_unknown(&sources, now).await.map(|_pieces| ())
    }

    /// Writes memory down about once a second, until `stopped` turns true; never ends in the middle.
    pub async fn keep_memory(&self, mut stopped: watch::Receiver<bool>) {
        let offset = |now: Moment| {
            let mono_ms = i64::try_from(now.mono_ns() / 1_000_000).unwrap_or(i64::MAX);
            i64::try_from(now.unix_ms()).unwrap_or(i64::MAX).saturating_sub(mono_ms)
        };
        let wall = AtomicI64::new(offset(self.clock.now()));
        let mut looked = None;
        for round in 1_u32.. {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(SAVE_EVERY) => {}
            }
            let now = self.clock.now();
            let moved = wall.swap(offset(now), Ordering::Relaxed).abs_diff(offset(now));
            if moved >= SET_MS.unsigned_abs() {
                // What was written stands for other moments now.
                self.live().quotas.mark_spent(now);
                self.watches.sources.lock().mark_kept();
            }
            let extent = if round.is_multiple_of(ALL_EVERY) { Extent::All } else { Extent::Urgent };
            self.save(extent, now).await;
            let today = Some(now.unix_day());
            if looked != today
                && self.forget_unknown(now).await.is_ok()
                && self.tidy_exposure(now).await.is_ok()
            {
                looked = today;
            }
        }
    }

    /// Writes down everything, at the end.
    ///
    /// # Errors
    /// If the store can't be had; pieces that could not be written are then lost with the process.
    pub async fn save_all(&self) -> Result<(), StoreFault> {
        // Requests that began under an earlier configuration have charged what this one looks after.
        let now = self.clock.now();
        self.live().quotas.mark_spent(now);
        match self.save(Extent::Rest, now).await.waiting {
            None => Ok(()),
            Some((_, fault)) => Err(fault),
        }
    }

    /// Tells when the store can't be had and when it can be again, and what follows from either; for
    /// as long as it is polled.
    pub async fn watch_store(self: Arc<Self>) {
        let store = self.memory.store();
        let mut condition = store.condition();
        // Since before a process let go of its file, or took it back.
        let since = *self.leases.faulty_since.lock();
        let mut faulty = since.map(|since| (StoreFault::Unreachable, since));
        let mut look = tokio::time::interval(SAVE_EVERY);
        loop {
            let (now, is) = (self.clock.now(), *condition.borrow_and_update());
            // Whoever is told of an outage, or of its end, finds Amazon's quotas divided by it.
            let peers = store.peers().await.unwrap_or_default();
            self.share_amazon(is, peers);
            match (is, faulty) {
                (Condition::Faulty(fault), None) => {
                    faulty = Some((fault, now));
                    self.store_faulty(fault, now);
                }
                (Condition::Faulty(fault), Some((before, since))) if fault != before => {
                    self.metrics.state.fault(Fixed::new(fault.word()));
                    faulty = Some((fault, since));
                }
                (Condition::Sound, before) => {
                    self.metrics.state.sound.set(1);
                    // One call that failed, or an outage too short to be seen here, is enough.
                    let apart = self.leases.faulty_since.lock().is_some();
                    if self.leases.untold.swap(false, Ordering::AcqRel) || apart {
                        self.come_together().await;
                    }
                    if let Some((_, since)) = before {
                        faulty = None;
                        self.report_event(&Event::StoreHealed { outage: now.since(since) });
                    }
                }
                (Condition::Faulty(_), Some(_)) => {}
            }
            self.metrics.state.forged(store.forged());
            self.metrics.state.gateways.set(i64::from(peers.count));
            tokio::select! {
                changed = condition.changed() => if changed.is_err() { return },
                _ = look.tick() => {}
            }
        }
    }

    /// From now on locks hold and quotas fall to this gateway's part.
    fn store_faulty(&self, fault: StoreFault, now: Moment) {
        self.leases.faulty_since.lock().get_or_insert(now);
        let reason = Fixed::new(fault.word());
        self.metrics.state.sound.set(0);
        self.metrics.state.fault(reason);
        self.report_event(&Event::StoreFaulty { fault: reason });
    }
}
