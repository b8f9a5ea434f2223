//! Finds the run of integer keys that holds a key, and so its value.
//! Never sees: addresses, prefixes or masks, only integers.
//!
//! The runs lie in order in lines of one cache line each. A node cuts its stretch of keys into equal
//! steps, one and a half to three for each run, and a line holds the runs of as many steps as fit.
//! For 32 steps a slot tells which line the last of them is in and, with a bit for each, behind which
//! ones another line begins: counting bits leads from a step to its line. Where keys crowd, so that
//! the runs of a single step do not fit in a line, the slot leads to a line of lines instead or, if
//! there are too many, to another node, whose steps are finer.
//!
//! 1. Every key has exactly one value; that of keys in no run is 0.
//! 2. The slots of a million runs are half a megabyte, which the core's own cache holds, so a lookup
//!    waits once for memory: for its line, which lies in a huge page, so that no walk through page
//!    tables comes before it. It takes no branch that depends on what is in there, and few
//!    instructions: while one waits, the core has room for the next ones (measured: with a million
//!    runs, each instruction less makes lookups that do not wait for each other 1 to 2 % faster).
//! 3. However keys crowd, the steps of a node are at least 16 times finer than those of the node
//!    above, so no lookup passes more than 15 nodes; lists not made up to be bad need one or two.
use std::hint::select_unpredictable;
use std::marker::PhantomData;
use std::ops::Range;

use crate::base::Blocks;

/// Keys `first..=last`, which have one value: 26 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub first: u64,
    pub last: u64,
    pub value: u32,
}

/// Of the 2^`bits` keys that end with `last`, those behind the run before. So a prefix is one run, and
/// the keys between two prefixes need none.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    last: u64,
    bits: u32,
    value: u32,
}

/// As few runs as possible for ascending parts.
fn runs(parts: &[Part]) -> Vec<Run> {
    let mut runs = Vec::with_capacity(parts.len());
    let mut next = 0; // the first key that no run has decided on
    for Part { mut first, last, value } in parts.iter().copied() {
        let span = last - first;
        if span & span.wrapping_add(1) != 0 && next < first {
            runs.push(Run { first: next, last: first - 1, bits: 0, value: 0 });
        }
        let mut bits = u64::BITS - span.leading_zeros();
        // There are not that many keys up to `last`: two runs of half as many.
        if bits == u64::BITS || last < (1 << bits) - 1 {
            bits -= 1;
            let middle = first + (1 << bits);
            runs.push(Run { first, last: middle - 1, bits, value });
            first = middle;
        }
        runs.push(Run { first, last, bits, value });
        next = last.saturating_add(1);
    }
    runs
}

/// Runs, ascending, in one cache line: as many as fit. In front where each ends, behind that its
/// `value` and, in the lowest six bits, its `bits`, all with the lowest byte first.
type Line = [u8; 64];

/// 32 or 64 bits.
pub(super) trait Key: Copy + Ord + Into<u64> {
    /// The runs of a line.
    const RUNS: usize = size_of::<Line>() / (size_of::<Self>() + size_of::<u32>());

    /// The key at a place of a line, counted in keys.
    fn at(line: &Line, place: usize) -> Self;
}

impl Key for u32 {
    #[inline]
    fn at(line: &Line, place: usize) -> Self {
        line.as_chunks().0.get(place).map_or(0, |bytes| Self::from_le_bytes(*bytes))
    }
}

impl Key for u64 {
    #[inline]
    fn at(line: &Line, place: usize) -> Self {
        line.as_chunks().0.get(place).map_or(0, |bytes| Self::from_le_bytes(*bytes))
    }
}

/// Of at most `K::RUNS` runs; the last of them is repeated in places that are left over.
fn line<K: Key>(runs: &[Run]) -> Line {
    let mut line = [0; 64];
    let (lasts, values) = line.split_at_mut(K::RUNS * size_of::<K>());
    let places = lasts.chunks_exact_mut(size_of::<K>()).zip(values.as_chunks_mut::<4>().0);
    let padded = runs.iter().chain(runs.last().into_iter().cycle());
    for ((last, value), run) in places.zip(padded) {
        last.iter_mut().zip(run.last.to_le_bytes()).for_each(|(to, from)| *to = from);
        *value = (run.value << 6 | run.bits).to_le_bytes();
    }
    line
}

/// The place of the first run that ends at the key or behind it, else of the last one.
#[inline]
fn place<K: Key>(line: &Line, key: K) -> usize {
    // Halves, as `partition_point` does, which needs a slice.
    let (mut place, mut places) = (0, K::RUNS - 1);
    while places > 1 {
        let half = places / 2;
        let middle = place + half;
        place = select_unpredictable(K::at(line, middle) < key, middle, place);
        places -= half;
    }
    place + usize::from(K::at(line, place) < key)
}

#[inline]
fn find<K: Key>(line: &Line, key: K) -> u32 {
    let place = place(line, key);
    let value = u32::at(line, place + K::RUNS * size_of::<K>() / size_of::<u32>());
    // For a key behind the last one this wraps, and is more than any run has.
    let ahead = K::at(line, place).into().wrapping_sub(key.into());
    if ahead >> (value & 63) == 0 { value >> 6 } else { 0 }
}

/// Where the lines of 32 steps are.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The line of the last step.
    last: u32,
    /// Bit n: behind step n another line begins.
    later: u32,
}

const STEPS: usize = 32;
/// In `later`: `last` is a node. With a number in the lower bits: a line that has the last runs of so
/// many lines, which are those before it.
const NODE: u32 = 1 << 31;
/// What a slot can count. Up to here it takes a third less than `count_ones`, for which baseline
/// x86-64 has no instruction.
const LATER_MAX: u32 = 15;

impl Slot {
    fn bytes(self) -> [u8; 8] {
        (u64::from(self.later) << 32 | u64::from(self.last)).to_le_bytes()
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "takes the lower half apart from the upper"
    )]
    const fn of(bytes: [u8; 8]) -> Self {
        let both = u64::from_le_bytes(bytes);
        Self { last: both as u32, later: (both >> 32) as u32 }
    }

    #[inline]
    const fn line(self, step: u64) -> u32 {
        let ones = self.later >> (step & 31);
        let pairs = ones.wrapping_sub((ones >> 1) & 0x5555_5555);
        let fours = (pairs & 0x3333_3333).wrapping_add((pairs >> 2) & 0x3333_3333);
        self.last.wrapping_sub(fours.wrapping_mul(0x1111_1111) >> 28)
    }
}

/// Cuts the keys between its first run and its last one into steps.
#[derive(Clone, Copy, Debug)]
struct Node {
    origin: u64,
    /// The step of all other keys, which has a slot of its own.
    outside: u64,
    /// A step is 2^`shift` keys.
    shift: u32,
    /// The first slot.
    slots: u32,
}

impl Node {
    #[inline]
    fn step(&self, key: u64) -> u64 {
        (key.wrapping_sub(self.origin) >> (self.shift & 63)).min(self.outside)
    }

    /// The places of the runs that each step touches, but for that outside.
    fn touched(self, runs: &[Run]) -> impl Iterator<Item = Range<usize>> {
        let (mut start, mut end) = (0, 0);
        (0..self.outside).map(move |step| {
            let first = self.origin + (step << self.shift);
            let last = first + ((1 << self.shift) - 1);
            start += runs.iter().skip(start).take_while(|run| run.last < first).count();
            end += runs.iter().skip(end).take_while(|run| run.first <= last).count();
            start..end
        })
    }
}

#[derive(Debug)]
pub(super) struct Trie<K> {
    /// By the highest eight bits of the key.
    roots: Box<[Node; 256]>,
    nodes: Box<[Node]>,
    slots: Blocks<8>,
    lines: Blocks<64>,
    key: PhantomData<K>,
}

/// A trie being made.
#[derive(Debug)]
pub(super) struct Builder<K> {
    roots: Box<[Node; 256]>,
    nodes: Vec<Node>,
    slots: Vec<Slot>,
    lines: Vec<Line>,
    key: PhantomData<K>,
}

/// A key's bits behind the highest eight.
const fn root_shift<K>() -> usize {
    8 * (size_of::<K>() - 1)
}

impl<K: Key> Builder<K> {
    /// Without runs.
    pub(super) fn new() -> Self {
        let empty = Node { origin: 0, outside: 0, shift: 0, slots: 0 };
        Self {
            roots: Box::new([empty; 256]),
            nodes: Vec::new(),
            slots: vec![Slot { last: 0, later: 0 }],
            lines: vec![line::<K>(&[])],
            key: PhantomData,
        }
    }

    /// Gives the keys of these parts their values. `parts`: ascending.
    pub(super) fn fill(&mut self, parts: &[Part]) {
        let runs = runs(parts);
        for byte in 0..=u8::MAX {
            let start = runs.partition_point(|run| run.last >> root_shift::<K>() < byte.into());
            let end = runs.partition_point(|run| run.first >> root_shift::<K>() <= byte.into());
            let touching = runs.get(start..end).unwrap_or_default();
            if !touching.is_empty() {
                let node = self.node(touching);
                if let Some(root) = self.roots.get_mut(usize::from(byte)) {
                    *root = node;
                }
            }
        }
    }

    /// Adds keys of another kind, which `find_added` knows by the number returned.
    pub(super) fn add(&mut self, parts: &[Part]) -> u32 {
        let slot = self.below(&runs(parts));
        self.slots.push(slot);
        number(self.slots.len() - 1)
    }

    fn below(&mut self, runs: &[Run]) -> Slot {
        if runs.len() > K::RUNS * K::RUNS {
            let node = self.node(runs);
            self.nodes.push(node);
            return Slot { last: number(self.nodes.len() - 1), later: NODE };
        }
        let ends: Vec<_> = runs.chunks(K::RUNS).filter_map(|line| line.last().copied()).collect();
        self.lines.extend(runs.chunks(K::RUNS).map(line::<K>));
        let mut later = 0;
        if ends.len() > 1 {
            self.lines.push(line::<K>(&ends));
            later = NODE | number(ends.len());
        }
        Slot { last: number(self.lines.len() - 1), later }
    }

    fn node(&mut self, runs: &[Run]) -> Node {
        let mut node = Node { origin: 0, outside: 0, shift: 0, slots: 0 };
        let mut slots = Vec::new();
        let mut outside = line::<K>(runs);
        if let [first, .., last] = runs
            && runs.len() > K::RUNS
        {
            node.origin = first.last + 1;
            let range = last.first - node.origin;
            let steps_max = (3 * runs.len() as u64).max(512);
            node.shift = (0..63).find(|shift| range >> shift < steps_max).unwrap_or(63);
            node.outside = ((range >> node.shift) + 1).next_multiple_of(STEPS as u64);
            // No step is behind the last key: the keys before the first step would be taken for it.
            node.origin = node.origin.min((node.outside << node.shift).wrapping_neg());
            let mut touched = node.touched(runs);
            let mut open = None;
            for _ in 0..node.outside / STEPS as u64 {
                let steps: Vec<_> = touched.by_ref().take(STEPS).collect();
                slots.push(self.slot(runs, &steps, &mut open));
            }
            self.close(runs, open);
            outside = line::<K>(&[*first, *last]);
        }
        slots.push(Slot { last: number(self.lines.len()), later: 0 });
        self.lines.push(outside);
        node.slots = number(self.slots.len());
        self.slots.extend(slots);
        node
    }

    /// `open`: the runs of the line before, which takes in more as long as they fit.
    fn slot(
        &mut self,
        runs: &[Run],
        steps: &[Range<usize>],
        open: &mut Option<Range<usize>>,
    ) -> Slot {
        let (mut last, mut full, mut later) = (open.clone(), Vec::new(), 0_u32);
        for (step, touched) in (0..).zip(steps) {
            match &mut last {
                Some(last) if touched.end - last.start <= K::RUNS => last.end = touched.end,
                _ => {
                    full.extend(last.replace(touched.clone()));
                    later |= (1 << step) >> 1;
                }
            }
        }
        if later.count_ones() > LATER_MAX || steps.iter().any(|touched| touched.len() > K::RUNS) {
            self.close(runs, open.take());
            let all = steps.first().zip(steps.last()).map(|(first, last)| first.start..last.end);
            return self.below(all.and_then(|all| runs.get(all)).unwrap_or_default());
        }
        self.close(runs, full);
        *open = last;
        Slot { last: number(self.lines.len()), later }
    }

    fn close(&mut self, runs: &[Run], lines: impl IntoIterator<Item = Range<usize>>) {
        self.lines.extend(lines.into_iter().filter_map(|line| runs.get(line)).map(line::<K>));
    }

    pub(super) fn build(self) -> Trie<K> {
        let slots: Vec<_> = self.slots.into_iter().map(Slot::bytes).collect();
        Trie {
            roots: self.roots,
            nodes: self.nodes.into(),
            slots: Blocks::of(&slots),
            lines: Blocks::of(&self.lines),
            key: PhantomData,
        }
    }
}

impl<K: Key> Trie<K> {
    #[inline]
    fn slot(&self, place: usize) -> Option<Slot> {
        self.slots.get(place).map(|bytes| Slot::of(*bytes))
    }

    // Its callers are then small enough to be inlined, which saves more.
    #[inline(never)]
    pub(super) fn find(&self, key: K) -> u32 {
        let byte = usize::try_from(key.into() >> root_shift::<K>()).unwrap_or(usize::MAX);
        self.roots.get(byte).map_or(0, |root| self.find_in(root, key))
    }

    /// Among the keys that `add` gave this number.
    pub(super) fn find_added(&self, number: u32, key: K) -> u32 {
        self.slot(number as usize).map_or(0, |slot| self.find_below(slot, key))
    }

    #[inline]
    fn find_in(&self, node: &Node, key: K) -> u32 {
        let step = node.step(key.into());
        let place = usize::try_from(step / STEPS as u64).unwrap_or(usize::MAX);
        let Some(slot) = self.slot(place.wrapping_add(node.slots as usize)) else { return 0 };
        if slot.later >= NODE {
            return self.find_below(slot, key);
        }
        self.lines.get(slot.line(step) as usize).map_or(0, |line| find(line, key))
    }

    #[cold]
    #[inline(never)]
    fn find_below(&self, slot: Slot, key: K) -> u32 {
        if slot.later == NODE {
            return self.nodes.get(slot.last as usize).map_or(0, |node| self.find_in(node, key));
        }
        let mut line = self.lines.get(slot.last as usize);
        if slot.later > NODE {
            let lines = (slot.later - NODE) as usize;
            let place = line.map_or(0, |ends| place(ends, key)).min(lines - 1);
            line = self.lines.get((slot.last as usize).wrapping_sub(lines - place));
        }
        line.map_or(0, |line| find(line, key))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.roots.as_slice())
            + size_of_val(&*self.nodes)
            + self.slots.bytes()
            + self.lines.bytes()
    }

    /// The most nodes that a lookup passes.
    #[cfg(test)]
    pub(super) fn depth(&self) -> usize {
        self.roots.iter().chain(&self.nodes).map(|node| self.depth_of(node)).max().unwrap_or(0)
    }

    #[cfg(test)]
    fn depth_of(&self, node: &Node) -> usize {
        let steps = (0..node.outside).step_by(STEPS);
        let slots = (node.slots as usize..).zip(steps).filter_map(|(place, _)| self.slot(place));
        let below = slots.filter(|slot| slot.later == NODE);
        1 + below.map(|slot| self.depth_of(&self.nodes[slot.last as usize])).max().unwrap_or(0)
    }
}

/// The place of a node, slot or line. Where 32 bits do not hold it, no lookup gets there, and nobody
/// is admitted.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
