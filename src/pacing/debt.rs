//! Calls that were sent while nobody could be asked for their units: what this gateway owes to the
//! buckets that gateways share, until it is told there.
//!
//! No more is owed than Amazon may still miss: however much was sent, its bucket was no emptier than
//! empty when the last call arrived, and has been filling up since.
//!
//! As bytes, which outlive the process: version (1); seller, application, operation and the
//! nanoseconds from one call to the next, 8 bytes each; burst and calls, 4 each; the milliseconds since
//! 1970 at which nothing is owed any more (8); big-endian; a sum (8).
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::learned::{LearnedFault, seal, unseal};
use super::pacer::BucketKey;
use crate::base::Moment;

/// How fast a quota is, as a whole: one call in so many nanoseconds, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    pub interval_ns: u64,
    pub burst: u32,
}

impl Tempo {
    /// For how long a call may be missing in a bucket that counts it within `late`.
    fn missed_for_ns(self, late: Duration) -> u64 {
        let late_ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        self.interval_ns.saturating_mul(u64::from(self.burst)).saturating_add(late_ns)
    }
}

#[derive(Debug)]
struct Debt {
    tempo: Tempo,
    calls: u32,
    /// Those of them that somebody is just being told of.
    telling: u32,
    /// Nothing of them is missing at Amazon from then on.
    void_ns: u64,
}

/// A part of what is owed, on its way to the shared bucket. It stays owed until
/// [`Debts::told`] says that it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is being told is told to nobody else"]
pub struct Telling {
    pub bucket: BucketKey,
    pub tempo: Tempo,
    /// What the bucket is charged.
    pub debt: u32,
    calls: u32,
}

/// Everything that is owed.
#[derive(Debug, Default)]
pub struct Debts {
    owed: HashMap<BucketKey, Debt>,
    /// Buckets of which something else is owed than was written down.
    news: BTreeSet<BucketKey>,
}

impl Debts {
    /// So many calls leave. The last of them is counted within `late`.
    pub fn owe(
        &mut self,
        bucket: BucketKey,
        (tempo, calls): (Tempo, u32),
        late: Duration,
        now: Moment,
    ) {
        let debt =
            self.owed.entry(bucket).or_insert(Debt { tempo, calls: 0, telling: 0, void_ns: 0 });
        debt.tempo = tempo;
        debt.calls = debt.calls.saturating_add(calls);
        debt.void_ns = debt.void_ns.max(now.mono_ns().saturating_add(tempo.missed_for_ns(late)));
        self.news.insert(bucket);
    }

    /// One call did not leave after all. What was told already stays told: the bucket may have had no
    /// room for all of it, and would then be given what it never took.
    pub fn take_back(&mut self, bucket: BucketKey) {
        if let Some(debt) = self.owed.get_mut(&bucket)
            && debt.calls > debt.telling
        {
            debt.calls -= 1;
            self.news.insert(bucket);
            self.forget_settled(bucket);
        }
    }

    /// Buckets of which something is owed.
    #[must_use]
    pub fn owing(&self) -> Vec<BucketKey> {
        self.owed.keys().copied().collect()
    }

    /// What is to be told of a bucket, unless somebody is telling it.
    pub fn tell(&mut self, bucket: BucketKey, now: Moment) -> Option<Telling> {
        let debt = self.owed.get_mut(&bucket)?;
        let calls = debt.calls.saturating_sub(debt.telling);
        let missing =
            debt.void_ns.saturating_sub(now.mono_ns()).div_ceil(debt.tempo.interval_ns.max(1));
        let due = calls.min(u32::try_from(missing).unwrap_or(u32::MAX));
        if due == 0 {
            debt.calls = debt.telling;
            self.news.insert(bucket);
            self.forget_settled(bucket);
            return None;
        }
        debt.telling = debt.telling.saturating_add(calls);
        Some(Telling { bucket, tempo: debt.tempo, debt: due, calls })
    }

    /// The bucket was charged, or could not be.
    pub fn told(&mut self, telling: Telling, outcome: Told) {
        let Telling { bucket, calls, .. } = telling;
        let Some(debt) = self.owed.get_mut(&bucket) else { return };
        debt.telling = debt.telling.saturating_sub(calls);
        if outcome == Told::Yes {
            debt.calls = debt.calls.saturating_sub(calls);
            self.news.insert(bucket);
        }
        self.forget_settled(bucket);
    }

    fn forget_settled(&mut self, bucket: BucketKey) {
        if self.owed.get(&bucket).is_some_and(|debt| debt.calls == 0) {
            self.owed.remove(&bucket);
        }
    }

    /// What is owed now of at most so many buckets that changed; the rest waits for the next call. No
    /// bytes where nothing is.
    pub fn take_changed(&mut self, most: usize, now: Moment) -> Vec<(BucketKey, Vec<u8>)> {
        let news = std::iter::from_fn(|| self.news.pop_first()).take(most);
        let bytes = |bucket| {
            let debt = self.owed.get(&bucket);
            (bucket, debt.map(|debt| debt.encode(bucket, now)).unwrap_or_default())
        };
        news.map(bytes).collect()
    }

    /// What was owed when the process before ended, beside what is owed since.
    ///
    /// # Errors
    /// See [`LearnedFault`].
    pub fn recall(
        &mut self,
        bytes: &[u8],
        late: Duration,
        now: Moment,
    ) -> Result<(), LearnedFault> {
        let (bucket, before) = Debt::decode(bytes, late, now)?;
        if before.void_ns <= now.mono_ns() {
            self.news.insert(bucket);
            return Ok(());
        }
        match self.owed.get_mut(&bucket) {
            Some(debt) => {
                debt.calls = debt.calls.saturating_add(before.calls);
                debt.void_ns = debt.void_ns.max(before.void_ns);
                self.news.insert(bucket);
            }
            None => drop(self.owed.insert(bucket, before)),
        }
        Ok(())
    }
}

/// Whether the shared bucket was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Yes,
    No,
}

impl Told {
    /// By what came of it. Whether what failed had come through is not known; then it is told twice.
    pub const fn of<T, E>(outcome: &Result<T, E>) -> Self {
        if outcome.is_ok() { Self::Yes } else { Self::No }
    }
}

impl Debt {
    fn encode(&self, bucket: BucketKey, now: Moment) -> Vec<u8> {
        let BucketKey { seller, application, operation } = bucket;
        let left = self.void_ns.saturating_sub(now.mono_ns()).div_ceil(1_000_000);
        let numbers = [seller, application, operation, self.tempo.interval_ns];
        let counts = [self.tempo.burst, self.calls].map(u32::to_be_bytes).concat();
        let void_ms = now.unix_ms().saturating_add(left).to_be_bytes();
        seal(&[&numbers.map(u64::to_be_bytes).concat()[..], &counts, &void_ms].concat())
    }

    fn decode(
        bytes: &[u8],
        late: Duration,
        now: Moment,
    ) -> Result<(BucketKey, Self), LearnedFault> {
        let body: &[u8; 48] = unseal(bytes)?.try_into().map_err(|_length| LearnedFault::Damaged)?;
        let (numbers, _) = body.as_chunks::<8>();
        let &[seller, application, operation, interval, counts, void] = numbers else {
            return Err(LearnedFault::Damaged);
        };
        let [seller, application, operation, interval_ns, end_ms] =
            [seller, application, operation, interval, void].map(u64::from_be_bytes);
        let [a, b, c, d, counts @ ..] = counts;
        let (burst, calls) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(counts));
        if interval_ns == 0 || burst == 0 || calls == 0 {
            return Err(LearnedFault::Damaged);
        }
        let tempo = Tempo { interval_ns, burst };
        // By a wall clock that was set meanwhile it may seem longer than it can be.
        let left_ns = end_ms.saturating_sub(now.unix_ms()).saturating_mul(1_000_000);
        let void_ns = now.mono_ns().saturating_add(left_ns.min(tempo.missed_for_ns(late)));
        let bucket = BucketKey { seller, application, operation };
        Ok((bucket, Self { tempo, calls, telling: 0, void_ns }))
    }
}
