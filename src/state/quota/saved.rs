//! What was spent, as bytes that outlive the process.
//!
//! Arrival times are monotonic here and would mean nothing to another process, so they are written by
//! the wall clock, in milliseconds, rounded up. What is read back is never fuller than it was, as far
//! as the wall clock is right, and never emptier than empty: a clock that was set back while nobody
//! ran locks nobody out for longer than one window.
//!
//! Version (1), whose (1), name; then of each window in use: limit, kind (1), period in seconds (4),
//! arrival time in milliseconds since 1970 (8); a sum (8). Integers are big-endian; texts have their
//! length (1) before them. What a gateway owes the store that several share is a row like these, of a
//! kind of its own, with the amount in place of the time: a version that does not know it passes it over.
use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::limit::{Gate, Lane, Limit};
use super::{Bucket, Meter, Quotas, locate};
use crate::base::{HashKey, IdentityIx, LimitIx, Moment, Name};
use crate::policy::Sharing;

pub(super) const VERSION: u8 = 1;
/// Of no secrecy: the sum only tells damage.
const SUM_KEY: [u8; 16] = *b"sekisho quotas 1";
const SUM: usize = 8;
const OF_ONE: u8 = 1;
const OF_ALL: u8 = 2;
pub(super) const OF_ONE_SINCE: u8 = 3;
pub(super) const OF_ALL_SINCE: u8 = 4;
/// Added to a row's kind: what is owed.
pub(super) const OWED: u8 = 16;

/// Who has spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Identity(IdentityIx),
    /// All identities under this limit together.
    Everybody(LimitIx),
}

/// Why bytes are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedFault {
    /// Written by a newer version of this program.
    Newer,
    /// Cut short, changed, or something else.
    Damaged,
}

/// Where names are in one configuration's quotas.
#[derive(Debug)]
pub struct Places<'q> {
    accounts: HashMap<&'q str, IdentityIx>,
    limits: HashMap<&'q str, LimitIx>,
}

impl Places<'_> {
    pub(super) fn identity(&self, name: &str) -> Option<IdentityIx> {
        self.accounts.get(name).copied()
    }

    pub(super) fn limit(&self, name: &str) -> Option<LimitIx> {
        self.limits.get(name).copied()
    }
}

/// One window as it was written.
pub(super) struct Row<'a> {
    pub(super) limit: &'a str,
    pub(super) kind: u8,
    pub(super) period_secs: u32,
    /// When it is full again, in milliseconds since 1970; or how much is owed. See also `moved`.
    pub(super) time: u64,
}

impl Quotas {
    /// Who has spent since they were last asked for; at most so many. The rest waits for the next
    /// call.
    #[must_use]
    pub fn take_changed(&self, most: usize) -> Vec<Whose> {
        let accounts = self.accounts.len();
        let whose = |place: usize| match place.checked_sub(accounts) {
            None => Some(Whose::Identity(IdentityIx(u32::try_from(place).ok()?))),
            Some(limit) => Some(Whose::Everybody(LimitIx(u16::try_from(limit).ok()?))),
        };
        self.changed.take(most).into_iter().filter_map(whose).collect()
    }

    /// Everything that was spent is to be written once more: the wall clock was set, another
    /// configuration is in force, or the process ends.
    pub fn mark_spent(&self, now: Moment) {
        for (at, account) in self.accounts.iter().enumerate() {
            let own = |bucket: &&Bucket| {
                locate(&self.limits, bucket)
                    .is_some_and(|(limit, _)| limit.sharing == Sharing::Each)
            };
            if account.buckets.iter().filter(own).any(|bucket| bucket.meter.is_to_keep(now)) {
                self.changed.mark(at);
            }
        }
        for (at, meters) in self.shared.iter().enumerate() {
            if meters.iter().any(|meter| meter.is_to_keep(now)) {
                self.changed.mark(self.accounts.len() + at);
            }
        }
    }

    /// The name of who has spent.
    #[must_use]
    pub fn name_of(&self, whose: Whose) -> Option<&Name> {
        match whose {
            Whose::Identity(ix) => self.accounts.get(ix.index()).map(|account| &account.name),
            Whose::Everybody(ix) => self.limit_name(ix),
        }
    }

    /// What was spent and is owed, in at most some KB; empty if everything has come back and was told.
    #[must_use]
    pub fn save(&self, whose: Whose, now: Moment) -> Vec<u8> {
        let kind = match whose {
            Whose::Identity(_) => OF_ONE,
            Whose::Everybody(_) => OF_ALL,
        };
        let mut rows = Vec::new();
        self.each_meter(whose, |limit, lane, meter| {
            let spent_until = meter.number.load(Ordering::Relaxed);
            let ahead = spent_until.saturating_sub(now.mono_ns());
            let Some(kind) = kind_of(&lane.gate) else { return };
            if ahead > 0 {
                let unix_ms = now.unix_ms().saturating_add(ahead.div_ceil(1_000_000));
                put_row((limit, kind, lane), unix_ms, &mut rows);
            }
            if let Some(owed @ 1..) = meter.pool.as_ref().map(|pool| pool.keep_owed()) {
                put_row((limit, kind + OWED, lane), owed, &mut rows);
            }
        });
        self.name_of(whose).map(|name| piece(kind, name, &rows)).unwrap_or_default()
    }

    /// For [`restore`](Self::restore), which is called for each of many.
    #[must_use]
    pub fn places(&self) -> Places<'_> {
        let accounts = self.accounts.iter().map(|account| account.name.as_str());
        let limits = self.limits.iter().map(|limit| limit.name.as_str());
        Places {
            accounts: accounts.zip((0..).map(IdentityIx)).collect(),
            limits: limits.zip((0..).map(LimitIx)).collect(),
        }
    }

    /// Charges what was spent before the process began. Names that this configuration does not have
    /// are passed over.
    ///
    /// # Errors
    /// See [`SavedFault`]; nothing was charged then.
    pub fn restore(&self, names: &Places<'_>, bytes: &[u8], now: Moment) -> Result<(), SavedFault> {
        match bytes.first() {
            Some(version) if *version > VERSION => return Err(SavedFault::Newer),
            _ => {}
        }
        let (kind, name, rows) = read(bytes).ok_or(SavedFault::Damaged)?;
        let whose = match kind {
            OF_ONE => names.identity(name).map(Whose::Identity),
            OF_ALL => names.limit(name).map(Whose::Everybody),
            _ => return Err(SavedFault::Damaged),
        };
        if let Some(whose) = whose {
            self.charge_saved(whose, &rows, now);
        }
        Ok(())
    }

    fn charge_saved(&self, whose: Whose, rows: &[Row<'_>], now: Moment) {
        self.each_meter(whose, |limit, lane, meter| {
            let Some(kind) = kind_of(&lane.gate) else { return };
            let of_limit =
                || rows.iter().filter(|row| row.limit == limit.name.as_str() && row.kind == kind);
            if let (Some(pool), Some(row)) = (&meter.pool, owed_in(rows, limit, lane)) {
                pool.restore_owed(row.time);
            }
            let period = lane.gate.per().as_secs();
            let same = of_limit().find(|row| u64::from(row.period_secs) == period);
            // A window that is new is as empty as the emptiest of its limit.
            let row = same.or_else(|| of_limit().max_by_key(|row| row.time));
            let Some(row) = row else { return };
            let ahead_ms = row.time.saturating_sub(now.unix_ms());
            let spent_until = now.mono_ns().saturating_add(ahead_ms.saturating_mul(1_000_000));
            meter.number.fetch_max(spent_until.min(lane.gate.drained(now)), Ordering::Relaxed);
        });
    }

    pub(super) fn each_meter(&self, whose: Whose, mut each: impl FnMut(&Limit, &Lane, &Meter)) {
        match whose {
            Whose::Identity(ix) => {
                let Some(account) = self.accounts.get(ix.index()) else { return };
                let _turn = account.turn.lock();
                for bucket in &account.buckets {
                    if let Some((limit, lane)) = locate(&self.limits, bucket)
                        && limit.sharing == Sharing::Each
                    {
                        each(limit, lane, &bucket.meter);
                    }
                }
            }
            Whose::Everybody(ix) => {
                let both = self.limits.get(ix.index()).zip(self.shared.get(ix.index()));
                let Some((limit, meters)) = both else { return };
                if limit.sharing == Sharing::All {
                    let _turn = self.shared_turn.lock();
                    for (lane, meter) in limit.lanes.iter().zip(meters) {
                        each(limit, lane, meter);
                    }
                }
            }
        }
    }
}

/// Open requests end with the process.
pub(super) const fn kind_of(gate: &Gate) -> Option<u8> {
    match gate {
        Gate::Requests(_) => Some(1),
        Gate::Bytes(_) => Some(2),
        Gate::PiiRecords(_) => Some(3),
        Gate::Concurrent(_) => None,
    }
}

/// What is owed of a window, among what was read.
pub(super) fn owed_in<'r, 'a>(
    rows: &'r [Row<'a>],
    limit: &Limit,
    lane: &Lane,
) -> Option<&'r Row<'a>> {
    let kind = kind_of(&lane.gate)? + OWED;
    rows.iter().find(|row| {
        row.limit == limit.name.as_str()
            && row.kind == kind
            && u64::from(row.period_secs) == lane.gate.per().as_secs()
    })
}

pub(super) fn put_row((limit, kind, lane): (&Limit, u8, &Lane), number: u64, out: &mut Vec<u8>) {
    put_text(&limit.name, out);
    out.push(kind);
    let period = u32::try_from(lane.gate.per().as_secs()).unwrap_or(u32::MAX);
    out.extend_from_slice(&period.to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
}

/// Empty where there are no rows.
pub(super) fn piece(kind: u8, name: &Name, rows: &[u8]) -> Vec<u8> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut out = vec![VERSION, kind];
    put_text(name, &mut out);
    out.extend_from_slice(rows);
    let sum = sum_of(&out);
    out.extend_from_slice(&sum);
    out
}

fn put_text(name: &Name, out: &mut Vec<u8>) {
    // A name has at most 96 bytes.
    out.push(u8::try_from(name.as_str().len()).unwrap_or(0));
    out.extend_from_slice(name.as_str().as_bytes());
}

fn sum_of(bytes: &[u8]) -> [u8; SUM] {
    HashKey::new(SUM_KEY).hash(bytes).to_be_bytes()
}

pub(super) fn read(bytes: &[u8]) -> Option<(u8, &str, Vec<Row<'_>>)> {
    let (body, sum) = bytes.split_last_chunk::<SUM>()?;
    if *sum != sum_of(body) {
        return None;
    }
    let ([VERSION, kind @ OF_ONE..=OF_ALL_SINCE], mut rest) = body.split_first_chunk()? else {
        return None;
    };
    let name = take_text(&mut rest)?;
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let limit = take_text(&mut rest)?;
        let ([kind], after) = rest.split_first_chunk()?;
        let (period, after) = after.split_first_chunk()?;
        let (time, after) = after.split_first_chunk()?;
        rest = after;
        let (period_secs, time) = (u32::from_be_bytes(*period), u64::from_be_bytes(*time));
        rows.push(Row { limit, kind: *kind, period_secs, time });
    }
    Some((*kind, name, rows))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = rest.split_first()?;
    let (text, after) = after.split_at_checked(usize::from(*length))?;
    *rest = after;
    std::str::from_utf8(text).ok()
}
