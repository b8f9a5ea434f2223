//! What goes back to the store: units that were given and that nobody needs, and what refused requests
//! were charged.
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Pool, Source, State, Taken};
use crate::base::Moment;
use crate::state::quota::units::{Counts, KEPT_FOR, Units};

impl Pool {
    /// A request that was charged then was refused after all: its unit may be spent once more, here as
    /// long as others are, and by anybody after that.
    pub(in crate::state) fn give_back(
        &self,
        taken: Taken,
        then: Moment,
        units: &Units,
        now: Moment,
    ) {
        let mut state = self.state.lock();
        match taken {
            Taken::Nothing => {}
            Taken::Given(_) if state.void_at_ns > now.mono_ns() => {
                state.given = state.given.saturating_add(1);
            }
            Taken::Given(mark) => state.credit(mark, units.interval_ns(), now),
            Taken::Owed(mark) => {
                if let Source::Part { units, fill, since_ns } = &mut state.source
                    && *since_ns <= then.mono_ns()
                {
                    fill.give_back(mark, units.interval_ns(), now);
                }
                if state.owed > 0 {
                    state.owed -= 1;
                } else {
                    // Told meanwhile: the last that the store has heard of.
                    let mark = state.heard.mark();
                    state.credit(mark, units.interval_ns(), now);
                }
            }
        }
    }

    /// Whether there is something to give back, now or if nobody spends it, and nobody looks after it
    /// yet; whoever is told so does.
    pub(in crate::state) fn begin_return(&self, units: &Units, now: Moment) -> bool {
        let mut state = self.state.lock();
        state.expire(units, now);
        state.has_to_return(units) && !std::mem::replace(&mut state.looked_after, true)
    }

    /// Takes out units that were given and that nothing here needs now; they are to be given back. Then, in
    /// how long to look again; without that nobody looks after it any more.
    pub(in crate::state) fn take_unspent(
        &self,
        units: &Units,
        now: Moment,
    ) -> (u32, Option<Duration>) {
        let mut state = self.state.lock();
        let waiting = self.waiting.load(Ordering::Acquire);
        if !matches!(state.source, Source::Asked) {
            state.looked_after = false;
            return (0, None);
        }
        state.expire(units, now);
        let unspent = state.give_up(units, waiting, now);
        let back = state.take_credit(units, now).saturating_add(unspent);
        if back > 0 {
            // Whoever comes next asks for one.
            state.fresh_until_ns = now.mono_ns();
            state.dry_until_ns = 0;
            state.sure_until_ns = 0;
        }
        state.looked_after = state.has_to_return(units);
        let until_void = Duration::from_nanos(state.void_at_ns.saturating_sub(now.mono_ns()));
        let next = if waiting > 0 { KEPT_FOR } else { until_void.max(KEPT_FOR) };
        (back, state.looked_after.then_some(units.kept_for().unwrap_or(next)))
    }
}

impl State {
    fn has_to_return(&self, units: &Units) -> bool {
        let of_amounts = units.kept_for().is_some() && self.unspent(units) > 0;
        self.back_ns > 0 || self.given > 0 || of_amounts
    }

    /// What is given and not needed now is to go back. Requests that wait keep a unit each, and a fast
    /// quota keeps a batch for those who come. Returns how many units there are of bytes or records.
    fn give_up(&mut self, units: &Units, waiting: u32, now: Moment) -> u32 {
        match (units.counts, units.kept_for()) {
            (Counts::Requests, slow) => {
                let ahead = if slow.is_some() { 0 } else { self.batch.min(units.batch_max()) };
                self.keep_given(ahead.max(waiting), units, now);
                0
            }
            (Counts::Amounts, Some(_)) if waiting == 0 => {
                let unspent = self.unspent(units);
                let grain = i64::try_from(units.grain).unwrap_or(i64::MAX);
                self.owed = self.owed.saturating_add(i64::from(unspent).saturating_mul(grain));
                unspent
            }
            (Counts::Amounts, _) => 0,
        }
    }

    /// Keeps so many units at most; the store is to have back what it still lacks of the others.
    pub(super) fn keep_given(&mut self, most: u32, units: &Units, now: Moment) {
        let kept = self.given.min(most);
        let others = u64::from(self.given.saturating_sub(kept));
        self.given = kept;
        self.credit(self.heard.mark(), units.interval_ns().saturating_mul(others), now);
    }

    /// The store is to have back what it still lacks of units that take so long and end at this mark.
    fn credit(&mut self, mark: u64, length_ns: u64, now: Moment) {
        if matches!(self.source, Source::Asked) {
            let back = self.heard.give_back(mark, length_ns, now);
            self.back_ns = self.back_ns.saturating_add(back);
        }
    }

    /// Takes out what the store is to have back, in units.
    fn take_credit(&mut self, units: &Units, now: Moment) -> u32 {
        let (back, unit) = (std::mem::take(&mut self.back_ns), units.interval_ns().max(1));
        let lacks = self.heard.full_at_ns.saturating_add(back).saturating_sub(now.mono_ns());
        let rounded = back.min(lacks).saturating_add(unit / 2) / unit;
        u32::try_from(rounded).unwrap_or(u32::MAX)
    }
}
