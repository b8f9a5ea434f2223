//! Failed logins of pairs of identity and source, in a table of fixed size.
use std::time::Duration;

use crate::base::{IdentityIx, Moment};

const WAYS: usize = 8;
/// A pair without failures for so long is forgotten.
const FORGET: Duration = Duration::from_secs(86_400);

#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    identity: u32,
    /// None of the pair's failures, then the place is free.
    failures: u32,
    source: u64,
    failed_ns: u64,
    free_ns: u64,
}

/// When it is full, the pair of its set that failed longest ago is forgotten: that pair is slowed
/// down no more, and nobody is locked or let in by it.
#[derive(Debug)]
pub(super) struct Pairs {
    sets: Box<[[Pair; WAYS]]>,
}

impl Pairs {
    /// Room for `pairs` of them, rounded up to whole sets; 32 bytes each.
    pub(super) fn new(pairs: usize) -> Self {
        let sets = pairs.div_ceil(WAYS).next_power_of_two();
        Self { sets: vec![[Pair::default(); WAYS]; sets].into_boxed_slice() }
    }

    /// The same pairs, where an identity that was at `n` is at `after[n]` now.
    pub(super) fn moved(&self, after: &[Option<IdentityIx>]) -> Self {
        let mut moved = Self::new(self.sets.len() * WAYS);
        for old in self.sets.iter().flatten().filter(|pair| pair.failures > 0) {
            let now = after.get(IdentityIx(old.identity).index()).copied().flatten();
            let Some(identity) = now else { continue };
            let place = moved.place(identity, old.source);
            let set = moved.sets.get_mut(place);
            if let Some(pair) = set.and_then(|set| claim(set, identity, old.source)) {
                *pair = Pair { identity: identity.0, ..*old };
            }
        }
        moved
    }

    /// How long until the pair may try again.
    pub(super) fn wait(&self, identity: IdentityIx, source: u64, now: Moment) -> Duration {
        let set = self.sets.get(self.place(identity, source));
        let pair = set.and_then(|set| set.iter().find(|pair| pair.is(identity, source)));
        pair.map_or(Duration::ZERO, |pair| {
            Duration::from_nanos(pair.free_ns.saturating_sub(now.mono_ns()))
        })
    }

    /// One more failure; the wait that follows: 1, 2, 4 … seconds after the free tries.
    pub(super) fn fail(
        &mut self,
        (identity, source): (IdentityIx, u64),
        now: Moment,
        free_tries: u32,
        wait_max: Duration,
    ) -> Duration {
        let place = self.place(identity, source);
        let Some(pair) = self.sets.get_mut(place).and_then(|set| claim(set, identity, source))
        else {
            return wait_max;
        };
        let forget_ns = u64::try_from(FORGET.as_nanos()).unwrap_or(u64::MAX);
        if now.mono_ns().saturating_sub(pair.failed_ns) > forget_ns {
            pair.failures = 0;
        }
        pair.failures = pair.failures.saturating_add(1);
        pair.failed_ns = now.mono_ns();
        let wait = match pair.failures.saturating_sub(free_tries) {
            0 => Duration::ZERO,
            beyond => Duration::from_secs(1_u64.checked_shl(beyond - 1).unwrap_or(u64::MAX)),
        };
        let wait = wait.min(wait_max);
        pair.free_ns = now.plus(wait).mono_ns();
        wait
    }

    pub(super) fn succeed(&mut self, identity: IdentityIx, source: u64) {
        let place = self.place(identity, source);
        let set = self.sets.get_mut(place);
        if let Some(pair) =
            set.and_then(|set| set.iter_mut().find(|pair| pair.is(identity, source)))
        {
            *pair = Pair::default();
        }
    }

    fn place(&self, identity: IdentityIx, source: u64) -> usize {
        // The source is a keyed hash already: nobody can choose sources that meet in one set.
        let mixed = (source ^ u64::from(identity.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mixed >> 32).unwrap_or(0) & (self.sets.len() - 1)
    }
}

impl Pair {
    const fn is(&self, identity: IdentityIx, source: u64) -> bool {
        self.failures > 0 && self.identity == identity.0 && self.source == source
    }
}

/// The pair's place: its own, or a free one, or that of the pair that failed longest ago.
fn claim(set: &mut [Pair; WAYS], identity: IdentityIx, source: u64) -> Option<&mut Pair> {
    let own = set.iter().position(|pair| pair.is(identity, source));
    let place = own.or_else(|| {
        (0..)
            .zip(set.iter())
            .min_by_key(|(_, pair)| (pair.failures > 0, pair.failed_ns))
            .map(|(place, _)| place)
    })?;
    let pair = set.get_mut(place)?;
    if own.is_none() {
        *pair = Pair { identity: identity.0, source, failed_ns: 0, failures: 0, free_ns: 0 };
    }
    Some(pair)
}
