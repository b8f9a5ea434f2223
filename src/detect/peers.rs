//! What the members of a role do in an hour at most: by this a new identity is judged.
use std::cmp::Ordering;

use crate::base::RoleIx;

use super::history::HistoryFault;
use super::volume::HourTotals;

/// The 99th percentile of each metric over all members' hours with work, in octaves.
#[derive(Clone, Copy, Debug, Default)]
struct Pool {
    high: [f32; 3],
}

/// Of the form in which a pool is kept: version (1), then three numbers (4 each), big-endian.
const VERSION: u8 = 1;
/// In octaves, more than any count has.
const HIGH_MAX: f32 = 64.0;
const SHARE: f32 = 0.01;
const STRIDE: f32 = 0.1;

/// One pool for each role.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    pools: Box<[Pool]>,
}

impl Peers {
    pub fn new(roles: usize) -> Self {
        Self { pools: vec![Pool::default(); roles].into_boxed_slice() }
    }

    /// The same pools for a new configuration: `before[n]` is where its role `n` was.
    #[must_use]
    pub fn moved(&self, before: &[Option<RoleIx>]) -> Self {
        let of = |old: &Option<RoleIx>| old.and_then(|ix| self.pools.get(ix.index()));
        Self { pools: before.iter().map(|old| of(old).copied().unwrap_or_default()).collect() }
    }

    /// From [`Watched::hour`](super::Watched).
    pub fn learn(&mut self, hour: &HourTotals) {
        let Some(pool) = self.pools.get_mut(hour.role.index()) else { return };
        for (high, seen) in pool.high.iter_mut().zip(hour.octaves) {
            if seen > *high {
                *high += STRIDE * (1.0 - SHARE);
            } else if seen >= 1.0 {
                *high -= STRIDE * SHARE;
            }
        }
    }

    /// What is known of a role, in 13 bytes; nothing if nobody taught anything.
    #[must_use]
    pub fn encode(&self, role: RoleIx) -> Option<Vec<u8>> {
        let pool =
            self.pools.get(role.index()).filter(|pool| pool.high.iter().any(|high| *high > 0.0))?;
        Some([&[VERSION][..], &pool.high.map(f32::to_be_bytes).concat()].concat())
    }

    /// Takes back what was known of a role.
    ///
    /// # Errors
    /// See [`HistoryFault`]; nothing was taken then.
    pub fn recall(&mut self, role: RoleIx, bytes: &[u8]) -> Result<(), HistoryFault> {
        let (version, numbers) = bytes.split_first().ok_or(HistoryFault::Length)?;
        match version.cmp(&VERSION) {
            Ordering::Greater => return Err(HistoryFault::Newer),
            Ordering::Less => return Err(HistoryFault::Malformed),
            Ordering::Equal => {}
        }
        let ([requests, bytes, records], []) = numbers.as_chunks::<4>() else {
            return Err(HistoryFault::Length);
        };
        let high = [requests, bytes, records].map(|number| f32::from_be_bytes(*number));
        // A number that is none lies between nothing.
        if !high.iter().all(|high| (-1.0..=HIGH_MAX).contains(high)) {
            return Err(HistoryFault::Malformed);
        }
        if let Some(pool) = self.pools.get_mut(role.index()) {
            pool.high = high;
        }
        Ok(())
    }
}

/// Of what a role's members do at most in an hour, in octaves of each metric. It is asked for when an
/// hour begins, and then of the young only.
pub trait Usual {
    fn at_most(&self, role: Option<RoleIx>) -> [f32; 3];
}

impl Usual for Peers {
    fn at_most(&self, role: Option<RoleIx>) -> [f32; 3] {
        let pool = role.and_then(|role| self.pools.get(role.index()));
        pool.copied().unwrap_or_default().high
    }
}
