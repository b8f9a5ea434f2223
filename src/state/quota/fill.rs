//! When a bucket is full again, and how a charge is taken back.
use crate::base::Moment;

/// A theoretical arrival time, and how much of it was given back, ever.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fill {
    pub(super) full_at_ns: u64,
    pub(super) given_back_ns: u64,
}

impl Fill {
    pub(super) const fn new(full_at_ns: u64) -> Self {
        Self { full_at_ns, given_back_ns: 0 }
    }

    /// What the time would be had nothing ever been given back.
    pub(super) const fn mark(&self) -> u64 {
        self.full_at_ns.wrapping_add(self.given_back_ns)
    }

    /// Takes back a charge of a unit that ended at this mark; how much it was.
    ///
    /// Without it every later request would have found one unit more, but no bucket fuller than full.
    /// None of them found less time missing than is left until that charge's own end, and what was
    /// given back since then has taken from that; so no more than this comes back, and all of it does
    /// where the bucket was never close to full.
    pub(super) fn give_back(&mut self, mark: u64, unit_ns: u64, now: Moment) -> u64 {
        let end = mark.wrapping_sub(self.given_back_ns).cast_signed();
        let missing = u64::try_from(end).unwrap_or(0).saturating_sub(now.mono_ns());
        let back = missing.min(unit_ns);
        self.full_at_ns = self.full_at_ns.saturating_sub(back);
        self.given_back_ns = self.given_back_ns.wrapping_add(back);
        back
    }
}
