//! Every quota of Amazon's that is in use, within a fixed number.
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::among::{Among, Dealt};
use super::lane::{Chance, Lane, Standing, Step, nanos};
use super::learned::Learned;
use super::number::Patience;
use super::queue::{Caller, Place, Weight};
use super::rate::{Plan, Rate};
use crate::base::Moment;

/// Which quota: Amazon counts per selling partner, application and operation. Numbers that outlive a
/// reload (keyed hashes, places in the catalogue), never places in a snapshot: after a reload those
/// would name another quota. A fixed seller serves grantless operations, a fixed operation the
/// sandbox, where all share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketKey {
    pub seller: u64,
    pub application: u64,
    pub operation: u64,
}

/// What one pacer holds at most, and what it assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Quotas that are remembered.
    pub buckets_max: usize,
    /// Calls that wait, in all.
    pub waiting_max: usize,
    /// Calls that wait for one quota.
    pub lane_waiting_max: usize,
    /// Calls of one caller that wait for one quota.
    pub caller_waiting_max: usize,
    /// Amazon has counted a call so long after it was let through, whatever the network does.
    pub counted_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buckets_max: 65_536,
            waiting_max: 8_192,
            lane_waiting_max: 512,
            caller_waiting_max: 128,
            counted_within: Duration::from_secs(2),
        }
    }
}

/// A call that wants to go to Amazon.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub bucket: BucketKey,
    /// What the quota starts from.
    pub plan: Plan,
    pub caller: Caller,
    pub weight: Weight,
    pub patience: Patience,
}

/// The right to send one call. It is used up by [`Pacer::settle`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that is let through must be settled"]
pub struct Pass {
    key: BucketKey,
    lane: u32,
    call: u64,
    sent_ns: u64,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    number: u64,
    lane: u32,
    caller: Caller,
}

/// The answer to an [`Ask`].
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Admit(Pass),
    /// [`Pacer::release`] will say when: at `expected` if nobody else comes, at `until` at the latest.
    Wait {
        ticket: Ticket,
        expected: Moment,
        until: Moment,
    },
    Refuse(Refused),
}

/// Why a call neither goes nor waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: Reason,
    /// A caller that comes back after this, with the same patience, is let through if nothing else
    /// happens meanwhile. For `Retry-After`, rounded up.
    pub wait: Duration,
}

/// See [`Refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its turn would come after its patience ends.
    Patience,
    /// Too many calls of this caller wait already, or too many of all.
    Places,
    /// Too many quotas are in use that must not be forgotten.
    Buckets,
}

/// What happened to a call that waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Released {
    pub ticket: Ticket,
    pub turn: Turn,
}

/// See [`Released`].
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Admit(Pass),
    /// Others came whose turn was before, or Amazon slowed us down. See [`Refused::wait`].
    Late {
        wait: Duration,
    },
}

/// What became of a call that was let through. Only Amazon's own answers belong here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Any answer but 429 and 503, with `x-amzn-RateLimit-Limit` if it could be read.
    Served { limit: Option<Rate> },
    /// 429.
    Throttled { retry_after: Option<Duration> },
    /// 503.
    Overloaded { retry_after: Option<Duration> },
    /// Certainly nothing was sent: the token comes back.
    Unsent,
    /// No answer came, or it was cut short before its head.
    Lost,
}

/// Paces all calls toward Amazon. A shell wraps it in one lock, or several by the key's hash.
#[derive(Debug)]
pub struct Pacer {
    limits: Limits,
    places: HashMap<BucketKey, u32>,
    lanes: Vec<Lane>,
    /// When to look at a lane in which somebody waits.
    wakes: BTreeSet<(u64, u32)>,
    /// Lanes by the moment at which they may be forgotten, at the earliest.
    forgettable: BTreeSet<(u64, u32)>,
    callers: HashMap<Caller, usize>,
    waiting: usize,
    next_number: u64,
    latest_ns: u64,
    /// Who else takes from the quotas, and since when that is so.
    among: Among,
    since_ns: u64,
    /// What Amazon said before the process began, of quotas that are not in use yet.
    recalled: HashMap<BucketKey, Rate>,
    /// Quotas of which it said something else since anybody asked.
    news: BTreeSet<BucketKey>,
}

impl Pacer {
    /// Lanes that one call looks at to find one that may be forgotten.
    const SEARCH_MAX: usize = 8;

    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            places: HashMap::new(),
            lanes: Vec::new(),
            wakes: BTreeSet::new(),
            forgettable: BTreeSet::new(),
            callers: HashMap::new(),
            waiting: 0,
            next_number: 0,
            latest_ns: 0,
            among: Among::Alone,
            since_ns: 0,
            recalled: HashMap::new(),
            news: BTreeSet::new(),
        }
    }

    /// Tells who else takes from the quotas. Nothing that is let through after it is more than this
    /// gateway's part.
    pub fn share(&mut self, among: Among, now: Moment) {
        if self.among == among {
            return;
        }
        let now_ns = self.tick(now);
        (self.among, self.since_ns) = (among, now_ns);
        for at in (0..).take(self.lanes.len()) {
            if let Some(lane) = self.lane(at) {
                lane.share(among, now_ns);
            }
            self.reschedule(at, now_ns);
        }
    }

    /// How calls of a quota come to be allowed; to be asked right after one was let through.
    pub fn dealt(&mut self, bucket: BucketKey) -> Dealt {
        let at = self.places.get(&bucket).copied();
        at.and_then(|at| self.lane(at)).map_or(Dealt::Not, |lane| lane.dealt())
    }

    /// The bucket that gateways share is empty for so long.
    pub fn emptied(&mut self, bucket: BucketKey, wait: Duration, now: Moment) {
        let now_ns = self.tick(now);
        let Some(at) = self.places.get(&bucket).copied() else { return };
        if let Some(lane) = self.lane(at) {
            lane.advance(now_ns);
            lane.expect(nanos(wait), now_ns);
        }
        self.reschedule(at, now_ns);
    }

    /// Lets a call through, gives it a place in the queue, or refuses it. O(log n); only where it is
    /// doubtful whether its turn comes in time each caller that goes before it is looked at.
    pub fn offer(&mut self, ask: &Ask, now: Moment) -> Verdict {
        let now_ns = self.tick(now);
        let at = match self.lane_for(ask, now_ns) {
            Ok(at) => at,
            Err(wait) => return Verdict::Refuse(Refused { reason: Reason::Buckets, wait }),
        };
        let (number, limits) = (self.next_number, self.limits);
        let Some(lane) = self.lane(at) else { return Self::lost() };
        lane.adopt(ask.plan);
        lane.advance(now_ns);
        let refuse = |lane: &Lane, reason, patience| {
            Verdict::Refuse(Refused { reason, wait: lane.honest_wait(patience, now_ns) })
        };
        let turn_ns = match lane.consider(ask.caller, ask.weight, ask.patience, now_ns) {
            Chance::Now { call } => {
                return Verdict::Admit(Pass { key: ask.bucket, lane: at, call, sent_ns: now_ns });
            }
            Chance::TooLate => return refuse(lane, Reason::Patience, ask.patience),
            Chance::Later { turn_ns } => turn_ns,
        };
        // Of the places that are left a caller may fill half: whoever comes next finds one.
        let (all, own) = (lane.waiting(), lane.waiting_of(ask.caller));
        let room = limits.lane_waiting_max.saturating_sub(all).min(limits.caller_waiting_max) > own;
        let own = self.callers.get(&ask.caller).copied().unwrap_or(0);
        let room = room && self.limits.waiting_max.saturating_sub(self.waiting) > own;
        let Some(lane) = self.lane(at) else { return Self::lost() };
        if !room {
            return refuse(lane, Reason::Places, Patience::NONE);
        }
        let until_ns = now_ns.saturating_add(nanos(ask.patience.duration()));
        lane.join(Place { caller: ask.caller, number }, ask.weight, until_ns);
        self.next_number = number.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        *self.callers.entry(ask.caller).or_default() += 1;
        self.reschedule(at, now_ns);
        Verdict::Wait {
            ticket: Ticket { number, lane: at, caller: ask.caller },
            expected: now.plus(Duration::from_nanos(turn_ns.saturating_sub(now_ns))),
            until: now.plus(ask.patience.duration()),
        }
    }

    /// The caller no longer waits. A ticket that was released already is ignored.
    pub fn leave(&mut self, ticket: Ticket, now: Moment) {
        let now_ns = self.tick(now);
        let place = Place { caller: ticket.caller, number: ticket.number };
        let Some(lane) = self.lane(ticket.lane) else { return };
        if lane.leave(place) {
            self.vacate(ticket.caller);
            self.reschedule(ticket.lane, now_ns);
        }
    }

    /// How long until [`Self::release`] has something to do; nothing if nobody waits.
    #[must_use]
    pub fn next_wake(&self, now: Moment) -> Option<Duration> {
        let (wake_ns, _) = self.wakes.first()?;
        Some(Duration::from_nanos(wake_ns.saturating_sub(now.mono_ns().max(self.latest_ns))))
    }

    /// Appends everything that is due to `out`.
    pub fn release(&mut self, now: Moment, out: &mut Vec<Released>) {
        let now_ns = self.tick(now);
        while let Some((wake_ns, at)) = self.wakes.first().copied() {
            if wake_ns > now_ns {
                break;
            }
            self.release_lane(at, now_ns, out);
            self.reschedule(at, now_ns.saturating_add(1));
        }
    }

    fn release_lane(&mut self, at: u32, now_ns: u64, out: &mut Vec<Released>) {
        let Some(lane) = self.lane(at) else { return };
        lane.advance(now_ns);
        loop {
            let Some(lane) = self.lane(at) else { return };
            let key = lane.key;
            let Some(step) = lane.release(now_ns) else { return };
            let (place, turn) = match step {
                Step::Overdue(place) => {
                    (place, Turn::Late { wait: lane.honest_wait(Patience::NONE, now_ns) })
                }
                Step::Admitted { place, call } => {
                    (place, Turn::Admit(Pass { key, lane: at, call, sent_ns: now_ns }))
                }
            };
            let ticket = Ticket { number: place.number, lane: at, caller: place.caller };
            out.push(Released { ticket, turn });
            self.vacate(place.caller);
        }
    }

    /// A call leaves later than it was let through, because connecting took its time: from now on
    /// Amazon has `counted_within` to count it.
    pub fn depart(&mut self, pass: Pass, now: Moment) -> Pass {
        let now_ns = self.tick(now);
        let same = |lane: &&mut Lane| lane.key == pass.key && lane.made_ns <= pass.sent_ns;
        let Some(lane) = self.lane(pass.lane).filter(same) else { return pass };
        lane.advance(now_ns);
        let call = lane.depart(pass.call, now_ns);
        Pass { call, sent_ns: now_ns, ..pass }
    }

    /// Tells what became of a call.
    #[expect(clippy::needless_pass_by_value, reason = "a pass is used up: settled once")]
    pub fn settle(&mut self, pass: Pass, answer: Answer, now: Moment) {
        let now_ns = self.tick(now);
        let Pass { key, lane: at, call, sent_ns } = pass;
        // The lane may have been forgotten since, and its place taken.
        let same = |lane: &&mut Lane| lane.key == key && lane.made_ns <= sent_ns;
        let Some(lane) = self.lane(at).filter(same) else { return };
        lane.advance(now_ns);
        let before = lane.learned();
        lane.settle(call, sent_ns, answer, now_ns);
        let (is_new, waited_for) = (lane.learned() != before, lane.waiting() > 0);
        if is_new {
            self.news.insert(key);
        }
        if waited_for {
            self.reschedule(at, now_ns);
        }
    }

    /// What Amazon said that it had not said before, of at most so many quotas; the rest waits for the
    /// next call. A quota that was forgotten meanwhile is passed over.
    pub fn take_learned(&mut self, most: usize) -> Vec<Learned> {
        let news: Vec<BucketKey> =
            std::iter::from_fn(|| self.news.pop_first()).take(most).collect();
        let mut learned = |quota: BucketKey| {
            let at = self.places.get(&quota).copied()?;
            Some(Learned { quota, rate: self.lane(at)?.learned()? })
        };
        news.into_iter().filter_map(&mut learned).collect()
    }

    /// What Amazon had said before the process began. Later words of its own win.
    pub fn recall(&mut self, learned: Learned) {
        if let Some(at) = self.places.get(&learned.quota).copied() {
            if let Some(lane) = self.lane(at) {
                lane.recall(learned.rate);
            }
        } else if self.recalled.len() < self.limits.buckets_max {
            self.recalled.insert(learned.quota, learned.rate);
        }
    }

    /// Where a quota stands; nothing if it is not in use.
    pub fn standing(&mut self, bucket: BucketKey, now: Moment) -> Option<Standing> {
        let now_ns = self.tick(now);
        let at = self.places.get(&bucket).copied()?;
        let lane = self.lane(at)?;
        lane.advance(now_ns);
        Some(lane.standing(now_ns))
    }

    /// Quotas that are remembered, and calls that wait.
    #[must_use]
    pub const fn size(&self) -> (usize, usize) {
        (self.lanes.len(), self.waiting)
    }

    /// Threads read the clock before they get the lock, so moments may come out of order; time here
    /// never goes back.
    fn tick(&mut self, now: Moment) -> u64 {
        self.latest_ns = self.latest_ns.max(now.mono_ns());
        self.latest_ns
    }

    fn lane(&mut self, at: u32) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::try_from(at).ok()?)
    }

    /// The key's lane, made if need be, or how long until there is room for it.
    fn lane_for(&mut self, ask: &Ask, now_ns: u64) -> Result<u32, Duration> {
        if let Some(at) = self.places.get(&ask.bucket) {
            return Ok(*at);
        }
        let at = if self.lanes.len() < self.limits.buckets_max {
            u32::try_from(self.lanes.len()).map_err(|_| Patience::MAX)?
        } else {
            self.forget_one(now_ns)?
        };
        let mut lane =
            Lane::new(ask.bucket, ask.plan, &self.limits, (self.among, self.since_ns), now_ns);
        if let Some(rate) = self.recalled.remove(&ask.bucket) {
            lane.recall(rate);
        }
        match self.lane(at) {
            Some(place) => *place = lane,
            None => self.lanes.push(lane),
        }
        self.places.insert(ask.bucket, at);
        self.forgettable.insert((now_ns, at));
        Ok(at)
    }

    /// Forgets a lane that a new one would equal. A lane that still owes Amazon a wait, or knows a
    /// refusal or a lower rate, is kept: forgetting would refill it.
    fn forget_one(&mut self, now_ns: u64) -> Result<u32, Duration> {
        for _ in 0..Self::SEARCH_MAX {
            let Some((from_ns, at)) = self.forgettable.first().copied() else { break };
            if from_ns > now_ns {
                break;
            }
            self.forgettable.pop_first();
            let Some(lane) = self.lane(at) else { continue };
            lane.advance(now_ns);
            if lane.is_forgettable(now_ns) {
                let key = lane.key;
                self.places.remove(&key);
                return Ok(at);
            }
            let again_ns = lane.forgettable_at(now_ns).max(now_ns.saturating_add(1));
            self.forgettable.insert((again_ns, at));
        }
        let first_ns = self.forgettable.first().map_or(now_ns, |(from_ns, _)| *from_ns);
        Err(Duration::from_nanos(first_ns.saturating_sub(now_ns)).max(Duration::from_millis(1)))
    }

    fn vacate(&mut self, caller: Caller) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(count) = self.callers.get_mut(&caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.callers.remove(&caller);
            }
        }
    }

    fn reschedule(&mut self, at: u32, now_ns: u64) {
        let Some(lane) = self.lane(at) else { return };
        let wake_ns = lane.wake_at(now_ns);
        let was_ns = std::mem::replace(&mut lane.wake_ns, wake_ns);
        if was_ns == wake_ns {
            return;
        }
        if let Some(was_ns) = was_ns {
            self.wakes.remove(&(was_ns, at));
        }
        if let Some(wake_ns) = wake_ns {
            self.wakes.insert((wake_ns, at));
        }
    }

    /// A lane that was just looked up is there; were it not, deny is the default.
    const fn lost() -> Verdict {
        Verdict::Refuse(Refused { reason: Reason::Buckets, wait: Patience::MAX })
    }
}
