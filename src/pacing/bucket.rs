//! A token bucket that is never fuller than Amazon's, although nobody knows when a call arrives.
//!
//! Amazon counts a call somewhere between its start and its answer. The emptiest that Amazon's
//! bucket can be is the one in which every call counts as late as it can, while all calls that are
//! under way are already taken off. So a call is debited when it is answered, or after
//! `counted_within` if that comes first, and admitted only if a token is left beyond the calls
//! under way. With the right rate and burst no delay and no order of arrival then earns a 429.
//!
//! The level is kept as GCRA's theoretical arrival time: the moment at which the bucket is full.
use std::collections::VecDeque;
use std::time::Duration;

use super::rate::Rate;

#[derive(Debug)]
pub(super) struct Bucket {
    interval_ns: u64,
    burst: u32,
    /// When the bucket is full again, calls under way left out.
    full_ns: u64,
    counted_within_ns: u64,
    in_flight: u32,
    /// Calls not yet known to be counted, oldest first, and answered ones between them. Bounded by
    /// what the bucket lets through in `counted_within`.
    sent: VecDeque<Sent>,
    /// Number of the first of `sent`.
    first: u64,
    /// The slowest answer of late, at most `counted_within`: how long a call keeps its token twice.
    lateness_ns: u64,
}

#[derive(Debug)]
struct Sent {
    at_ns: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

/// How a call that was sent came out, for the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Yes,
    No,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: Rate, burst: u32, counted_within: Duration) -> Self {
        let counted_within_ns = u64::try_from(counted_within.as_nanos()).unwrap_or(u64::MAX);
        Self {
            interval_ns: rate.interval_ns(),
            burst,
            full_ns: 0,
            counted_within_ns,
            in_flight: 0,
            sent: VecDeque::new(),
            first: 0,
            lateness_ns: counted_within_ns,
        }
    }

    pub(super) const fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// Debits the calls that must have arrived by now.
    pub(super) fn advance(&mut self, now: u64) {
        while let Some(oldest) = self.sent.front() {
            let counted_ns = oldest.at_ns.saturating_add(self.counted_within_ns);
            if oldest.state == State::Open {
                if counted_ns > now {
                    return;
                }
                self.debit(counted_ns);
            }
            self.sent.pop_front();
            self.first = self.first.saturating_add(1);
        }
    }

    fn debit(&mut self, at: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.full_ns = self.full_ns.max(at).saturating_add(self.interval_ns);
    }

    /// Takes a token for a call that starts now, and numbers the call.
    pub(super) fn take(&mut self, now: u64) -> Option<u64> {
        if self.spare(now) == 0 {
            return None;
        }
        self.in_flight += 1;
        self.sent.push_back(Sent { at_ns: now, state: State::Open });
        Some(self.first.saturating_add(self.sent.len() as u64 - 1))
    }

    /// A call that was let through leaves only now: it may count as much later than thought. Its new
    /// number.
    pub(super) fn depart(&mut self, call: u64, now: u64) -> u64 {
        let place = call.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| self.sent.get_mut(place)) {
            Some(sent) if sent.state == State::Open => sent.state = State::Closed,
            // Debited already, and not given back: that would be a token which Amazon may not have.
            Some(_) | None => self.in_flight = self.in_flight.saturating_add(1),
        }
        self.sent.push_back(Sent { at_ns: now, state: State::Open });
        let call = self.first.saturating_add(self.sent.len() as u64 - 1);
        self.advance(now);
        call
    }

    /// Tokens beyond the calls under way.
    pub(super) fn spare(&self, now: u64) -> u32 {
        let missing = self.full_ns.saturating_sub(now).div_ceil(self.interval_ns);
        let taken = missing.saturating_add(u64::from(self.in_flight));
        u32::try_from(u64::from(self.burst).saturating_sub(taken)).unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.sent.len()
    }

    /// Full, and no call under way: as good as new.
    pub(super) const fn is_full(&self, now: u64) -> bool {
        self.full_ns <= now && self.in_flight == 0
    }

    /// When it will be full if nothing more is taken.
    pub(super) fn full_at(&self, now: u64) -> u64 {
        let late = if self.in_flight == 0 { 0 } else { now.saturating_add(self.counted_within_ns) };
        let owed = self.interval_ns.saturating_mul(u64::from(self.in_flight));
        self.full_ns.max(late).saturating_add(owed)
    }

    /// The call was answered: the latest moment at which it can have been counted is this one.
    pub(super) fn settle(&mut self, call: u64, counted: Counted, now: u64) {
        let place = call.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let Some(sent) = place.and_then(|place| self.sent.get_mut(place)) else {
            // Answered after `counted_within`: already debited.
            self.lateness_ns = self.counted_within_ns;
            return;
        };
        if sent.state == State::Closed {
            return;
        }
        sent.state = State::Closed;
        let took = now.saturating_sub(sent.at_ns);
        match counted {
            Counted::Yes => {
                // Falls by an eighth a call, so that one slow answer is not told for ever.
                let fading = self.lateness_ns - self.lateness_ns / 8;
                self.lateness_ns = fading.max(took).min(self.counted_within_ns);
                self.debit(now);
            }
            Counted::No => self.in_flight = self.in_flight.saturating_sub(1),
        }
        self.advance(now);
    }

    /// Amazon says that nothing is left.
    pub(super) fn drain(&mut self, now: u64) {
        let empty = self.interval_ns.saturating_mul(u64::from(self.burst));
        self.full_ns = self.full_ns.max(now.saturating_add(empty));
    }

    /// Somebody who knows better says how long the next token takes. Even he is not believed that a
    /// bucket is emptier than empty: it would stay shut for ever.
    pub(super) fn expect(&mut self, wait_ns: u64, now: u64) {
        let burst_ns = self.interval_ns.saturating_mul(u64::from(self.burst));
        let at = now.saturating_add(wait_ns.min(burst_ns.saturating_add(self.counted_within_ns)));
        let taken = u64::from(self.in_flight).saturating_add(1);
        let taken_ns = self.interval_ns.saturating_mul(taken);
        self.full_ns = at.saturating_add(burst_ns).saturating_sub(taken_ns);
    }

    /// Changes pace. Neither a faster rate nor a greater burst brings a token at once.
    pub(super) fn reshape(&mut self, rate: Rate, burst: u32, now: u64) {
        let interval_ns = rate.interval_ns();
        if interval_ns == self.interval_ns && burst == self.burst {
            return;
        }
        let owed_ns = u128::from(self.full_ns.saturating_sub(now)) * u128::from(interval_ns);
        let owed_ns = owed_ns.div_ceil(u128::from(self.interval_ns));
        let more = u64::from(burst.saturating_sub(self.burst)).saturating_mul(interval_ns);
        let owed_ns = u64::try_from(owed_ns).unwrap_or(u64::MAX).saturating_add(more);
        if owed_ns > 0 {
            self.full_ns = now.saturating_add(owed_ns);
        }
        self.interval_ns = interval_ns;
        self.burst = burst;
    }

    /// The earliest moment, not before `now`, at which a token may be spare. If a call that counts
    /// late moves it, asking again then tells the next.
    pub(super) fn ready_at(&self, now: u64) -> u64 {
        let burst_ns = self.interval_ns.saturating_mul(u64::from(self.burst));
        let taken = u64::from(self.in_flight).saturating_add(1);
        if taken <= u64::from(self.burst) {
            let full = self.full_ns.saturating_add(self.interval_ns.saturating_mul(taken));
            return full.saturating_sub(burst_ns).max(now);
        }
        // All of the burst is under way: the next token comes one interval after a call counts.
        let oldest = self.sent.iter().find(|sent| sent.state == State::Open);
        let counted = oldest.map_or(now, |sent| sent.at_ns.saturating_add(self.counted_within_ns));
        let over = taken.saturating_sub(u64::from(self.burst));
        let owed = self.interval_ns.saturating_mul(over);
        self.full_ns.max(counted).saturating_add(owed).max(now)
    }

    /// When at the latest `calls` more will have been let through, one after the other and none
    /// before `from`, if answers take no longer than of late.
    pub(super) fn served_at(&self, calls: u64, from: u64, now: u64) -> u64 {
        let last_ns = self.sent.back().map_or(0, |sent| sent.at_ns);
        let counted_ns = last_ns.saturating_add(self.lateness_ns);
        let refill_ns = self.interval_ns.saturating_mul(u64::from(self.burst) - 1);
        // Where the bucket takes longer to fill than an answer takes to come, a call that counts
        // late wastes nothing, and each interval lets one through.
        let counted =
            self.in_flight == 0 || self.in_flight < self.burst && counted_ns <= self.full_ns;
        if refill_ns >= self.lateness_ns && counted {
            let more = self.interval_ns.saturating_mul(calls.saturating_sub(1));
            return self.ready_at(now).max(from).saturating_add(more);
        }
        // Otherwise each token makes a round of one answer and one interval. Once the calls under
        // way have made theirs, rounds repeat.
        let burst = u64::from(self.burst);
        let first = burst.saturating_mul(3);
        let rounds = calls.saturating_sub(first) / burst;
        let round_ns = self.interval_ns.saturating_add(self.lateness_ns);
        let round_ns = round_ns.max(self.interval_ns.saturating_mul(burst));
        self.play(calls.saturating_sub(rounds.saturating_mul(burst)), from.max(now))
            .saturating_add(rounds.saturating_mul(round_ns))
    }

    /// The same, call by call.
    pub(super) fn play(&self, calls: u64, from: u64) -> u64 {
        let mut bucket =
            Self { sent: VecDeque::new(), counted_within_ns: self.lateness_ns, ..*self };
        let open = self.sent.iter().filter(|sent| sent.state == State::Open);
        bucket.sent.extend(open.map(|sent| Sent { at_ns: sent.at_ns, state: State::Open }));
        let mut at = from;
        for _ in 0..calls {
            bucket.advance(at);
            while bucket.spare(at) == 0 {
                let counted = bucket
                    .sent
                    .front()
                    .map_or(u64::MAX, |sent| sent.at_ns.saturating_add(bucket.counted_within_ns));
                at = bucket.ready_at(at).min(counted).max(at.saturating_add(1));
                bucket.advance(at);
                if at == u64::MAX {
                    return at;
                }
            }
            bucket.in_flight = bucket.in_flight.saturating_add(1);
            bucket.sent.push_back(Sent { at_ns: at, state: State::Open });
        }
        at
    }
}
