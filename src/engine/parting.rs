//! Two processes serve for a while when one takes the other's place. The one that goes wrote down all
//! it knew; what its last requests spend and reveal after that is told to the one that stays, and added
//! there (MON-2, MON-3). What they teach detectors stays untold: they are the requests of seconds.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Engine, Live};
use crate::evidence::Event;
pub use crate::keys::Handed;
use crate::state::QuotaMark;

const QUOTA: u8 = 1;
const LEDGER: u8 = 2;

/// The moment from which on everything is told. Whoever puts another configuration in force meanwhile
/// has a clone.
#[derive(Clone, Debug)]
pub struct Parting(Arc<Mutex<Marked>>);

#[derive(Debug)]
struct Marked {
    mark: QuotaMark,
    /// What was spent under a configuration that is in force no more.
    owed: Vec<Vec<u8>>,
}

impl Engine {
    /// From now on what is spent and revealed is to be told. What is written down after this call holds
    /// everything before it; of quotas also what is spent until then, which counts twice.
    #[must_use]
    pub fn part(&self) -> Parting {
        self.exposures.part();
        let mark = self.live().quotas.mark(self.clock.now());
        Parting(Arc::new(Mutex::new(Marked { mark, owed: Vec::new() })))
    }

    /// What was spent and revealed since it was last asked, in small pieces; nothing yet while another
    /// configuration comes into force, which is waited for by nobody.
    #[must_use]
    pub fn told_since(&self, parting: &Parting) -> Vec<Vec<u8>> {
        parting.0.try_lock().map_or_else(Vec::new, |mut marked| self.told(&mut marked))
    }

    /// The same at the end, when nobody is served any more.
    #[must_use]
    pub fn told_last(&self, parting: &Parting) -> Vec<Vec<u8>> {
        self.told(&mut parting.0.lock())
    }

    fn told(&self, marked: &mut Marked) -> Vec<Vec<u8>> {
        let mut spent = std::mem::take(&mut marked.owed);
        spent.extend(self.live().quotas.spent_since(&mut marked.mark, self.clock.now()));
        let tagged = |tag: u8| move |piece: Vec<u8>| [&[tag][..], &piece].concat();
        let spent = spent.into_iter().map(tagged(QUOTA));
        spent.chain(self.exposures.take_since().into_iter().map(tagged(LEDGER))).collect()
    }

    /// Has another configuration take the place of the one `before`: what was spent under that one is
    /// told as well.
    pub(super) fn part_again<E>(
        &self,
        parting: &Parting,
        before: &Live,
        swap: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut marked = parting.0.lock();
        swap()?;
        let now = self.clock.now();
        let spent = before.quotas.spent_since(&mut marked.mark, now);
        marked.owed.extend(spent);
        marked.mark = self.live().quotas.mark_again(now);
        Ok(())
    }

    /// Nobody takes this process' place after all.
    pub fn rejoin(&self, parting: Parting) {
        drop(parting);
        self.exposures.rejoin();
        self.live().quotas.mark_spent(self.clock.now());
    }

    /// What [`begin_drain`](Self::begin_drain) began is over: this process serves as before.
    pub fn end_drain(&self) {
        self.draining.store(false, Ordering::Release);
        self.cut.send_replace(None);
        self.pacing.go_on();
    }

    /// Wakes with every configuration that is put in force.
    pub fn configurations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// Adds what the process before spent and revealed; how many pieces could not be read.
    pub fn add_told(&self, pieces: &[Vec<u8>]) -> u64 {
        let (live, now) = (self.live(), self.clock.now());
        let names = live.quotas.places();
        let add = |piece: &[u8]| match piece.split_first() {
            Some((&QUOTA, piece)) => live.quotas.add_spent(&names, piece, now).is_ok(),
            Some((&LEDGER, page)) => self.exposures.add(page).is_ok(),
            Some(_) | None => false,
        };
        let unread = pieces.iter().filter(|piece| !add(piece)).count();
        live.quotas.mark_spent(now);
        self.leases.untold.store(true, Ordering::Release);
        let unread = u64::try_from(unread).unwrap_or(u64::MAX);
        if unread > 0 {
            self.metrics.state.refused.inc_by(unread);
            self.report_event(&Event::MemoryRefused { count: unread });
        }
        unread
    }
}
