//! What is spent after a moment, for another process that remembers everything before it: two
//! processes serve while one takes the other's place, and together spend no more than one would.
//!
//! Written as in `saved`, with the time that was spent in nanoseconds in place of the arrival time. A
//! bucket that was full for a part of the time since it was last asked for counts as if it had not
//! been: what comes out is never less than what was spent, and never more than that and the time
//! between two questions.
use std::sync::atomic::Ordering;

use super::saved::{
    OF_ALL_SINCE, OF_ONE_SINCE, OWED, Places, SavedFault, VERSION, Whose, kind_of, owed_in, piece,
    put_row, read,
};
use super::{Meter, Quotas, limit};
use crate::base::{IdentityIx, LimitIx, Moment};

/// How much of everything had been spent at one moment.
#[derive(Debug)]
pub struct Mark {
    /// By account, and then by limit that is shared; of each its windows: what was spent, and what was
    /// owed that the other process reads from the file.
    numbers: Vec<Vec<(u64, u64)>>,
    at: Moment,
}

impl Quotas {
    fn everybody(&self) -> impl Iterator<Item = Whose> {
        let identities = (0..).map(IdentityIx).take(self.accounts.len()).map(Whose::Identity);
        let shared = (0..).map(LimitIx).take(self.limits.len()).map(Whose::Everybody);
        identities.chain(shared)
    }

    /// How much is spent now, just before all of it is written down.
    #[must_use]
    pub fn mark(&self, now: Moment) -> Mark {
        self.mark_with(now, |meter| meter.pool.as_ref().map_or(0, |pool| pool.owed()))
    }

    /// The same of a configuration that took another one's place since.
    #[must_use]
    pub fn mark_again(&self, now: Moment) -> Mark {
        self.mark_with(now, |_| 0)
    }

    fn mark_with(&self, now: Moment, known: impl Fn(&Meter) -> u64) -> Mark {
        let of = |whose| {
            let mut numbers = Vec::new();
            self.each_meter(whose, |_, _, meter| {
                numbers.push((meter.number.load(Ordering::Relaxed), known(meter)));
            });
            numbers
        };
        Mark { numbers: self.everybody().map(of).collect(), at: now }
    }

    /// What was spent since a mark, which moves: one piece for each that spent anything. What is owed of
    /// it the other process owes from now on, where the store can't be told from here.
    #[must_use]
    pub fn spent_since(&self, mark: &mut Mark, now: Moment) -> Vec<Vec<u8>> {
        let before = std::mem::replace(mark, Mark { numbers: Vec::new(), at: now });
        let (mut pieces, since_ns) = (Vec::new(), before.at.mono_ns());
        for (whose, numbers) in self.everybody().zip(before.numbers) {
            let kind = match whose {
                Whose::Identity(_) => OF_ONE_SINCE,
                Whose::Everybody(_) => OF_ALL_SINCE,
            };
            let (mut after, mut rows) = (Vec::with_capacity(numbers.len()), Vec::new());
            let mut numbers = numbers.into_iter();
            self.each_meter(whose, |limit, lane, meter| {
                let number = meter.number.load(Ordering::Relaxed);
                after.push((number, 0));
                let (Some((before, known)), Some(kind)) = (numbers.next(), kind_of(&lane.gate))
                else {
                    return;
                };
                let spent = number.saturating_sub(before.max(since_ns));
                if spent > 0 {
                    put_row((limit, kind, lane), spent, &mut rows);
                }
                if let Some(owed @ 1..) = meter.pool.as_ref().map(|pool| pool.hand_over(known)) {
                    put_row((limit, kind + OWED, lane), owed, &mut rows);
                }
            });
            mark.numbers.push(after);
            if let (false, Some(name)) = (rows.is_empty(), self.name_of(whose)) {
                pieces.push(piece(kind, name, &rows));
            }
        }
        pieces
    }

    /// Charges what the other process spent. Names and windows that this configuration does not have
    /// are passed over. To be written down it has to be marked, see [`mark_spent`](Self::mark_spent).
    ///
    /// # Errors
    /// See [`SavedFault`]; nothing was charged then.
    pub fn add_spent(
        &self,
        names: &Places<'_>,
        bytes: &[u8],
        now: Moment,
    ) -> Result<(), SavedFault> {
        if bytes.first().is_some_and(|version| *version > VERSION) {
            return Err(SavedFault::Newer);
        }
        let (kind, name, rows) = read(bytes).ok_or(SavedFault::Damaged)?;
        let whose = match kind {
            OF_ONE_SINCE => names.identity(name).map(Whose::Identity),
            OF_ALL_SINCE => names.limit(name).map(Whose::Everybody),
            _ => return Err(SavedFault::Damaged),
        };
        let Some(whose) = whose else { return Ok(()) };
        self.each_meter(whose, |limit: &limit::Limit, lane, meter| {
            if let (Some(pool), Some(row)) = (&meter.pool, owed_in(&rows, limit, lane)) {
                pool.owe(row.time);
            }
            let period = lane.gate.per().as_secs();
            let row = rows.iter().find(|row| {
                row.limit == limit.name.as_str()
                    && Some(row.kind) == kind_of(&lane.gate)
                    && u64::from(row.period_secs) == period
            });
            let Some(row) = row else { return };
            let add = |number: u64| Some(number.max(now.mono_ns()).saturating_add(row.time));
            let _ = meter.number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        });
        Ok(())
    }
}
