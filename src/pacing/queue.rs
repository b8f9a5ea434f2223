//! Who is next: start-time fair queueing (Goyal, Vin and Cheng, 1996) between callers, first come
//! first served within one.
//!
//! Each caller has a tag, the virtual time at which its next call starts; whoever has the least is
//! next and moves on by `1 / weight`. A caller that comes starts at the present virtual time at the
//! earliest, so idle time earns nothing, and at its old tag if that is later, so that leaving and
//! coming back, or asking for one call at a time, earns nothing either.
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU16;

/// Who shares a quota: an identity, by a number that outlives a reload (a hash of its name, not its
/// place in a snapshot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(pub u64);

/// A caller's part of a quota that others want too, relative to theirs: 1 to 1,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(NonZeroU16);

impl Weight {
    pub const ONE: Self = Self(NonZeroU16::MIN);
    pub const MAX: u16 = 1_000;

    #[must_use]
    pub fn new(weight: u16) -> Option<Self> {
        NonZeroU16::new(weight).filter(|weight| weight.get() <= Self::MAX).map(Self)
    }

    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Virtual time of one call. At 10,000 calls a second `u64` lasts 3,000 years of weight one.
    const fn cost(self) -> u64 {
        (1 << 24) / self.0.get() as u64
    }
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) caller: Caller,
    /// Order of arrival.
    pub(super) number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    virtual_time: u64,
    flows: HashMap<Caller, Flow>,
    /// Callers that wait: tag, then arrival of their first call.
    order: BTreeSet<(u64, Place)>,
    /// Callers that don't wait, yet have had their turn ahead of the virtual time.
    ahead: BTreeSet<(u64, Caller)>,
    deadlines: BTreeSet<(u64, Place)>,
}

#[derive(Debug)]
struct Flow {
    tag: u64,
    weight: Weight,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    until_ns: u64,
}

impl Queue {
    /// Callers that are remembered although they don't wait. Beyond it those are forgotten that are
    /// least ahead.
    const AHEAD_MAX: usize = 256;

    pub(super) fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    pub(super) fn waiting(&self, caller: Caller) -> usize {
        self.flows.get(&caller).map_or(0, |flow| flow.waiting.len())
    }

    /// The earliest moment until which somebody waits.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Forgets who is ahead: nobody competes.
    pub(super) fn rest(&mut self) {
        if self.is_empty() && !self.flows.is_empty() {
            self.flows.clear();
            self.ahead.clear();
            self.virtual_time = 0;
        }
    }

    pub(super) fn join(&mut self, place: Place, weight: Weight, until_ns: u64) {
        let virtual_time = self.virtual_time;
        let flow = self.flow(place.caller, weight);
        if flow.waiting.is_empty() {
            let was = flow.tag;
            flow.tag = was.max(virtual_time);
            let tag = flow.tag;
            self.ahead.remove(&(was, place.caller));
            self.order.insert((tag, place));
        }
        if let Some(flow) = self.flows.get_mut(&place.caller) {
            flow.waiting.push_back(Waiting { number: place.number, until_ns });
        }
        self.deadlines.insert((until_ns, place));
    }

    fn flow(&mut self, caller: Caller, weight: Weight) -> &mut Flow {
        let new = || Flow { tag: 0, weight, waiting: VecDeque::new() };
        let flow = self.flows.entry(caller).or_insert_with(new);
        flow.weight = weight;
        flow
    }

    /// A call passes without waiting; nobody waits.
    pub(super) fn pass(&mut self, caller: Caller, weight: Weight) {
        let virtual_time = self.virtual_time;
        let flow = self.flow(caller, weight);
        let was = flow.tag;
        let start = was.max(virtual_time);
        flow.tag = start.saturating_add(weight.cost());
        let tag = flow.tag;
        self.ahead.remove(&(was, caller));
        self.ahead.insert((tag, caller));
        self.move_on(start);
    }

    /// The next in turn leaves the queue to be let through.
    pub(super) fn next(&mut self) -> Option<Place> {
        let (tag, place) = self.order.pop_first()?;
        let flow = self.flows.get_mut(&place.caller)?;
        let first = flow.waiting.pop_front()?;
        self.deadlines.remove(&(first.until_ns, place));
        flow.tag = tag.saturating_add(flow.weight.cost());
        match flow.waiting.front() {
            Some(next) => {
                self.order.insert((flow.tag, Place { number: next.number, ..place }));
            }
            None => {
                self.ahead.insert((flow.tag, place.caller));
            }
        }
        self.move_on(tag);
        Some(place)
    }

    /// Somebody stops waiting. Its turn goes to the same caller's next call, if there is one.
    pub(super) fn leave(&mut self, place: Place) -> bool {
        let Some(flow) = self.flows.get_mut(&place.caller) else { return false };
        let Ok(at) = flow.waiting.binary_search_by_key(&place.number, |call| call.number) else {
            return false;
        };
        let Some(call) = flow.waiting.remove(at) else { return false };
        self.deadlines.remove(&(call.until_ns, place));
        if at > 0 {
            return true;
        }
        self.order.remove(&(flow.tag, place));
        if let Some(next) = flow.waiting.front() {
            self.order.insert((flow.tag, Place { number: next.number, ..place }));
        } else if flow.tag > self.virtual_time {
            self.ahead.insert((flow.tag, place.caller));
        } else {
            self.flows.remove(&place.caller);
        }
        true
    }

    /// Somebody whose time is over by `now`.
    pub(super) fn overdue(&mut self, now: u64) -> Option<Place> {
        let place =
            self.deadlines.first().filter(|(until, _)| *until < now).map(|(_, place)| *place)?;
        self.leave(place).then_some(place)
    }

    /// How many calls would be let through before one that comes now, if nobody else came. Looks
    /// once at each caller whose next turn is before its.
    pub(super) fn ahead_of(&self, caller: Caller, weight: Weight) -> u64 {
        let mine = self.flows.get(&caller);
        let own = mine.map_or(0, |flow| flow.waiting.len() as u64);
        let tag = mine.map_or(0, |flow| flow.tag).max(self.virtual_time);
        let start = tag.saturating_add(own.saturating_mul(weight.cost()));
        // A tie goes to whoever came first, which may be the other.
        let before = self.order.iter().take_while(|(tag, _)| *tag <= start);
        let others = before.filter(|(_, place)| place.caller != caller);
        others.fold(own, |sum, (tag, place)| {
            let Some(flow) = self.flows.get(&place.caller) else { return sum };
            let turns = start.saturating_sub(*tag) / flow.weight.cost() + 1;
            sum.saturating_add(turns.min(flow.waiting.len() as u64))
        })
    }

    fn move_on(&mut self, to: u64) {
        self.virtual_time = self.virtual_time.max(to);
        while let Some((tag, caller)) = self.ahead.first().copied() {
            if tag > self.virtual_time && self.ahead.len() <= Self::AHEAD_MAX {
                break;
            }
            self.ahead.pop_first();
            self.flows.remove(&caller);
        }
    }
}
