//! What is spent after a moment, for another process that remembers everything before it: two
//! processes serve while one takes the other's place, and together spend no more than one would.
//!
//! Written as in `saved`, with the time that was spent in nanoseconds in place of the arrival time. A
//! bucket that was full for a part of the time since it was last asked for counts as if it had not
//! been: what comes out is never less than what was spent, and never more than that and the time
//! between two questions.
use std::sync::atomic::Ordering;

use super::saved::{
    OF_ALL_SINCE, OF_ONE_SINCE, Places, SavedFault, Whose, kind_of, put_text, read,
};
use super::saved::{VERSION, sum_of};
use super::{Quotas, limit};
use crate::base::{IdentityIx, LimitIx, Moment};

/// How much of everything had been spent at one moment.
#[derive(Debug)]
pub struct Mark {
    /// By account, and then by limit that is shared; of each its windows.
    numbers: Vec<Vec<u64>>,
    at: Moment,
}

impl Quotas {
    fn everybody(&self) -> impl Iterator<Item = Whose> {
        let identities = (0..).map(IdentityIx).take(self.accounts.len()).map(Whose::Identity);
        let shared = (0..).map(LimitIx).take(self.limits.len()).map(Whose::Everybody);
        identities.chain(shared)
    }

    /// How much is spent now.
    #[must_use]
    pub fn mark(&self, now: Moment) -> Mark {
        let of = |whose| {
            let mut numbers = Vec::new();
            self.each_meter(whose, |_, _, meter| {
                numbers.push(meter.number.load(Ordering::Relaxed));
            });
            numbers
        };
        Mark { numbers: self.everybody().map(of).collect(), at: now }
    }

    /// What was spent since a mark, which moves: one piece for each that spent anything.
    #[must_use]
    pub fn spent_since(&self, mark: &mut Mark, now: Moment) -> Vec<Vec<u8>> {
        let after = self.mark(now);
        let before = std::mem::replace(mark, after);
        let mut pieces = Vec::new();
        let both = before.numbers.iter().zip(&mark.numbers);
        for (whose, (before_of, after_of)) in self.everybody().zip(both) {
            if before_of != after_of {
                pieces.extend(self.piece(whose, before_of, after_of, before.at));
            }
        }
        pieces
    }

    fn piece(&self, whose: Whose, before: &[u64], after: &[u64], since: Moment) -> Option<Vec<u8>> {
        let kind = match whose {
            Whose::Identity(_) => OF_ONE_SINCE,
            Whose::Everybody(_) => OF_ALL_SINCE,
        };
        let mut out = vec![VERSION, kind];
        put_text(self.name_of(whose)?, &mut out);
        let empty = out.len();
        let mut numbers = before.iter().zip(after);
        self.each_meter(whose, |limit, lane, _| {
            let (Some((before, after)), Some(kind)) = (numbers.next(), kind_of(&lane.gate)) else {
                return;
            };
            let spent = after.saturating_sub((*before).max(since.mono_ns()));
            if spent > 0 {
                put_text(&limit.name, &mut out);
                out.push(kind);
                let period = u32::try_from(lane.gate.per().as_secs()).unwrap_or(u32::MAX);
                out.extend_from_slice(&period.to_be_bytes());
                out.extend_from_slice(&spent.to_be_bytes());
            }
        });
        if out.len() == empty {
            return None;
        }
        let sum = sum_of(&out);
        out.extend_from_slice(&sum);
        Some(out)
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
