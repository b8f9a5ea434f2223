//! What the members of a role do in an hour at most: by this a new identity is judged.
use crate::base::RoleIx;

use super::event::Metric;
use super::volume::HourTotals;

/// The 99th percentile of each metric over all members' hours with work, in octaves.
#[derive(Clone, Copy, Debug, Default)]
struct Pool {
    high: [f32; 3],
}

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

    pub(super) fn ceiling(&self, role: Option<RoleIx>, metric: Metric) -> f32 {
        let pool = role.and_then(|role| self.pools.get(role.index()));
        let [requests, bytes, records] = pool.copied().unwrap_or_default().high;
        match metric {
            Metric::Requests => requests,
            Metric::Bytes => bytes,
            Metric::Records => records,
        }
    }
}
