//! A static search tree over disjoint runs of integer keys: which run, if any, holds this key?
//! Never sees: addresses, prefixes or masks, only integers.
//!
//! 1. Every key has exactly one value.
//! 2. A lookup touches one node per level and, but for the number of levels, takes no branch that
//!    depends on the key. Only the leaves outgrow a core's own cache, so the price of a million
//!    prefixes is about one access to memory.

/// A key: signed, so that baseline SSE2 can compare a whole node in a few instructions. The caller
/// flips the sign bit of the unsigned number.
pub(super) trait Key: Copy + Ord {
    const MAX: Self;
    /// How far behind `origin` the key lies; 0 if before it.
    fn offset(self, origin: Self) -> u64;
    /// Whether the two differ in the lowest `bits` bits only.
    fn same_block(self, other: Self, bits: u32) -> bool;
}

impl Key for i32 {
    const MAX: Self = Self::MAX;
    #[inline]
    fn offset(self, origin: Self) -> u64 {
        u64::from(self.max(origin).wrapping_sub(origin).cast_unsigned())
    }
    #[inline]
    fn same_block(self, other: Self, bits: u32) -> bool {
        // 64 bits, because a shift by 32 is possible.
        u64::from((self ^ other).cast_unsigned()) >> bits.min(32) == 0
    }
}

impl Key for i64 {
    const MAX: Self = Self::MAX;
    #[inline]
    fn offset(self, origin: Self) -> u64 {
        self.max(origin).wrapping_sub(origin).cast_unsigned()
    }
    #[inline]
    fn same_block(self, other: Self, bits: u32) -> bool {
        // Two shifts, because a single one can't be by 64.
        (self ^ other).cast_unsigned() >> (bits / 2) >> bits.div_ceil(2) == 0
    }
}

/// A run of keys with one value, that ends at `last`: of a block of 2^`bits` aligned keys, the part
/// behind the run before. Keys between the two runs and outside of the block have the value 0, so a
/// prefix costs one run and not two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<K> {
    pub last: K,
    pub bits: u32,
    pub value: u32,
}

impl<K> Run<K> {
    /// For `bits`: whatever the block, up to the run before.
    pub(super) const UNBOUNDED: u32 = 64;
}

const VALUE_BITS: u32 = 25;
const VALUE_MAX: u32 = (1 << VALUE_BITS) - 1;

/// The last key of each child; `MAX` where there is no further child.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
struct Inner<K, const N: usize>([K; N]);

/// Runs, in one or two cache lines.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf<K, const V: usize> {
    lasts: [K; V],
    /// `bits` above, `value` below.
    values: [u32; V],
}

/// How many of the keys lie before `key`: the place of the child or run that holds it.
#[inline]
fn rank<K: Key>(lasts: &[K], key: K) -> usize {
    let before: u32 = lasts.iter().map(|last| u32::from(*last < key)).sum();
    before as usize
}

impl<K: Key, const V: usize> Leaf<K, V> {
    /// Of at most `V` runs, ascending; keys behind the last have the value 0.
    pub(super) fn build(runs: &[Run<K>]) -> Self {
        let mut leaf = Self { lasts: [K::MAX; V], values: [0; V] };
        for ((last, value), run) in leaf.lasts.iter_mut().zip(&mut leaf.values).zip(runs) {
            *last = run.last;
            *value = run.bits << VALUE_BITS | run.value;
        }
        leaf
    }

    #[inline]
    pub(super) fn find(&self, key: K) -> u32 {
        let place = rank(&self.lasts, key);
        let (Some(last), Some(value)) = (self.lasts.get(place), self.values.get(place)) else {
            return 0;
        };
        let found = key.same_block(*last, value >> VALUE_BITS);
        (value & VALUE_MAX) * u32::from(found)
    }
}

/// `N` keys per inner node, `V` runs per leaf.
#[derive(Clone, Debug)]
pub(super) struct Tree<K, const N: usize, const V: usize> {
    /// Where to start: by the key's distance from `origin` in steps of 2^`shift`, the deepest node
    /// that holds all keys of that step. Spares evenly spread keys most levels, and costs clustered
    /// ones nothing.
    shortcuts: Vec<Start>,
    origin: K,
    shift: u32,
    /// Where each level starts in `inner`, from the root down.
    levels: Vec<usize>,
    inner: Vec<Inner<K, N>>,
    leaves: Vec<Leaf<K, V>>,
}

/// A node, so many levels below the root: depth in the upper 4 bits, place in its level below.
#[derive(Clone, Copy, Debug)]
struct Start(u32);

impl Start {
    const PLACE_BITS: u32 = 28;

    /// The root, where the node's place does not fit.
    fn new(depth: usize, node: usize) -> Self {
        match (u32::try_from(depth), u32::try_from(node)) {
            (Ok(depth @ ..16), Ok(node)) if node >> Self::PLACE_BITS == 0 => {
                Self(depth << Self::PLACE_BITS | node)
            }
            _ => Self(0),
        }
    }

    #[inline]
    const fn depth(self) -> usize {
        (self.0 >> Self::PLACE_BITS) as usize
    }

    #[inline]
    const fn node(self) -> usize {
        (self.0 & ((1 << Self::PLACE_BITS) - 1)) as usize
    }
}

/// More would crowd the inner nodes out of the second-level cache: these are 256 KiB.
const SHORTCUTS_MAX: usize = 1 << 16;

impl<K: Key, const N: usize, const V: usize> Tree<K, N, V> {
    /// `runs`: ascending. Keys in no run have the value 0.
    pub(super) fn build(runs: &[Run<K>]) -> Self {
        let leaves: Vec<_> = runs.chunks(V).map(Leaf::build).collect();
        let ends: Vec<K> = runs.chunks(V).filter_map(|c| c.last()).map(|run| run.last).collect();
        let mut lasts = ends.clone();
        let mut stack = Vec::new();
        while lasts.len() > 1 {
            let mut above = Vec::with_capacity(lasts.len() / N + 1);
            let mut level = Vec::with_capacity(above.capacity());
            for children in lasts.chunks(N + 1) {
                let mut node = Inner([K::MAX; N]);
                for (place, last) in node.0.iter_mut().zip(children) {
                    *place = *last;
                }
                level.push(node);
                above.extend(children.last());
            }
            lasts = above;
            stack.push(level);
        }
        let origin = ends.first().copied().unwrap_or(K::MAX);
        let mut tree = Self {
            shortcuts: Vec::new(),
            origin,
            shift: 0,
            levels: Vec::new(),
            inner: Vec::new(),
            leaves,
        };
        while let Some(level) = stack.pop() {
            tree.levels.push(tree.inner.len());
            tree.inner.extend(level);
        }
        tree.shorten(&ends);
        tree
    }

    /// Computes the shortcuts, given the last key of each leaf.
    fn shorten(&mut self, ends: &[K]) {
        let offsets: Vec<u64> = ends.iter().map(|end| end.offset(self.origin)).collect();
        let range = offsets.last().map_or(0, |last| 64 - last.leading_zeros());
        let count = ends.len().next_power_of_two().min(SHORTCUTS_MAX);
        self.shift = range.saturating_sub(count.ilog2()).min(63);
        let leaf_of = |offset: u64| {
            offsets.partition_point(|end| *end < offset).min(offsets.len().saturating_sub(1))
        };
        for step in 0..count as u64 {
            let from = step << self.shift;
            let (mut low, mut high) = (leaf_of(from), leaf_of(from | !(u64::MAX << self.shift)));
            let mut depth = self.levels.len();
            while low != high {
                (low, high, depth) = (low / (N + 1), high / (N + 1), depth - 1);
            }
            self.shortcuts.push(Start::new(depth, low));
        }
    }

    #[inline]
    pub(super) fn find(&self, key: K) -> u32 {
        let step = usize::try_from(key.offset(self.origin) >> (self.shift & 63));
        let last = self.shortcuts.len().wrapping_sub(1);
        let Some(start) = self.shortcuts.get(step.unwrap_or(last).min(last)) else { return 0 };
        let mut node = start.node();
        for level in self.levels.get(start.depth()..).unwrap_or_default() {
            let Some(Inner(lasts)) = self.inner.get(level.wrapping_add(node)) else { return 0 };
            node = node.wrapping_mul(N + 1).wrapping_add(rank(lasts, key));
        }
        self.leaves.get(node).map_or(0, |leaf| leaf.find(key))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.shortcuts.as_slice())
            + size_of_val(self.inner.as_slice())
            + size_of_val(self.leaves.as_slice())
    }
}
