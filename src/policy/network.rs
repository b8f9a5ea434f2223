//! Decides which named networks an address belongs to. Controls: NET-1, NET-3.
//! Never sees: sockets, files, names or listeners; only prefixes once, then addresses.
//!
//! 1. One lookup answers for all networks, however they overlap.
//! 2. An address in no prefix is in no network, and no networks at all admit nobody.
//! 3. An IPv4 address is judged by IPv4 prefixes and by prefixes within `::ffff:0:0/96` alone:
//!    `::/0` does not admit it.
//! 4. Immutable: a reload builds another table.
//! 5. Prefixes crowded in one corner cost hardly more than spread ones.
//!
//! On more networks or distinct sets of networks than fit: those beyond admit nobody.
mod tree;

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::base::{ClientAddr, NetworkIx, Use};
use tree::{Key, Leaf, Run, Tree};

/// The most named networks one configuration may have.
pub const NETWORKS_MAX: usize = 256;

/// A set of named networks. The default is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkMask([u64; 4]);

impl NetworkMask {
    pub fn contains(&self, network: NetworkIx) -> bool {
        let word = self.0.get(usize::from(network.0 >> 6)).copied().unwrap_or(0);
        (word >> (network.0 & 63)) & 1 == 1
    }

    /// This set and one more network.
    #[must_use]
    pub fn with(mut self, network: NetworkIx) -> Self {
        if let Some(word) = self.0.get_mut(usize::from(network.0 >> 6)) {
            *word |= 1 << (network.0 & 63);
        }
        self
    }

    pub fn intersects(&self, other: &Self) -> bool {
        !self.and(other).is_empty()
    }

    /// The networks in both sets.
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (self.0, other.0);
        Self([a0 & b0, a1 & b1, a2 & b2, a3 & b3])
    }

    /// The network with the lowest index.
    pub fn first(&self) -> Option<NetworkIx> {
        let (place, word) = (0_u8..).zip(self.0).find(|(_, word)| *word != 0)?;
        let bit = u8::try_from(word.trailing_zeros()).ok()?;
        Some(NetworkIx(place * 64 + bit))
    }

    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

/// Nodes of one cache line. IPv6 leaves have two, which arrive together: that halves the level above
/// them, which then stays in the core's own cache (measured: an eighth faster with 1,000,000).
type TreeV4 = Tree<i32, 16, 8>;
type TreeV6 = Tree<i64, 8, 10>;
/// What fits in one cache line.
const SMALL_MAX: usize = 5;

/// All named networks, ready to be asked about one address. Immutable.
#[derive(Clone, Debug)]
pub struct NetTable {
    v4: TreeV4,
    /// By the upper 64 bits. A value with a flag names the place of a /64 in `small` or `large`.
    v6: TreeV6,
    /// The lower 64 bits of each /64 that holds longer prefixes, where they fit in one leaf.
    small: Vec<Leaf<i64, SMALL_MAX>>,
    /// The same of the other ones.
    large: Vec<TreeV6>,
    /// What the values stand for. The first is the empty set.
    masks: Vec<NetworkMask>,
}

const SMALL: u32 = 1 << 24;
const LARGE: u32 = 1 << 23;
const PLACE_MAX: u32 = LARGE - 1;

impl NetTable {
    /// A prefix in `networks[n]` puts its addresses in `NetworkIx(n)`; networks from the 257th on
    /// are ignored, and so hold nothing.
    #[must_use]
    pub fn build(networks: &[Vec<IpNet>]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, prefixes) in (0..=u8::MAX).map(NetworkIx).zip(networks) {
            for prefix in prefixes {
                match fold_mapped(*prefix) {
                    IpNet::V4(net) => v4.push(Span {
                        first: u32::from(net.network()).into(),
                        last: u32::from(net.broadcast()).into(),
                        network,
                    }),
                    IpNet::V6(net) => v6.push(Span {
                        first: net.network().into(),
                        last: net.broadcast().into(),
                        network,
                    }),
                }
            }
        }
        let mut sets = Sets::new();
        let v4 = flatten(v4, &mut sets);
        let v4: Vec<_> = v4
            .iter()
            .map(|i| Part { first: low(i.first), last: low(i.last), value: i.value })
            .collect();
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let mut deepen = |lower: &[Part]| {
            let runs = runs(lower, key_v6);
            if runs.len() <= SMALL_MAX {
                small.push(Leaf::build(&runs));
                place(small.len()).map_or(0, |place| SMALL | place)
            } else {
                large.push(Tree::build(&runs));
                place(large.len()).map_or(0, |place| LARGE | place)
            }
        };
        let v6 = split(&flatten(v6, &mut sets), &mut deepen);
        Self {
            v4: Tree::build(&runs(&v4, key_v4)),
            v6: Tree::build(&runs(&v6, key_v6)),
            small,
            large,
            masks: sets.masks,
        }
    }

    /// Every network that has a prefix around this address.
    #[inline]
    pub fn lookup(&self, addr: &ClientAddr) -> NetworkMask {
        let value = match addr.reveal_for(Use::Match) {
            IpAddr::V4(v4) => self.v4.find(key_v4(u32::from(v4).into())),
            IpAddr::V6(v6) => self.find_v6(v6.into()),
        };
        self.masks.get(value as usize).copied().unwrap_or_default()
    }

    #[inline]
    fn find_v6(&self, addr: u128) -> u32 {
        let value = self.v6.find(key_v6(low(addr >> 64)));
        let place = (value & PLACE_MAX) as usize;
        if value & SMALL != 0 {
            self.small.get(place).map_or(0, |leaf| leaf.find(key_v6(low(addr))))
        } else if value & LARGE != 0 {
            self.large.get(place).map_or(0, |tree| tree.find(key_v6(low(addr))))
        } else {
            value
        }
    }

    /// Bytes of memory that lookups may touch.
    pub fn bytes(&self) -> usize {
        let large: usize = self.large.iter().map(|tree| size_of_val(tree) + tree.bytes()).sum();
        self.v4.bytes()
            + self.v6.bytes()
            + size_of_val(self.small.as_slice())
            + size_of_val(self.masks.as_slice())
            + large
    }
}

/// A prefix of IPv4-mapped addresses is an IPv4 prefix, as [`ClientAddr`] is an IPv4 address.
fn fold_mapped(prefix: IpNet) -> IpNet {
    let IpNet::V6(v6) = prefix else { return prefix };
    let length = v6.prefix_len().checked_sub(96);
    let v4 = length.zip(v6.network().to_ipv4_mapped());
    v4.and_then(|(length, addr)| Ipv4Net::new(addr, length).ok()).map_or(prefix, IpNet::V4)
}

/// One prefix of one network.
#[derive(Clone, Copy)]
struct Span {
    first: u128,
    last: u128,
    network: NetworkIx,
}

/// Addresses `first..=last` that are in the same networks: the set with the number `value`.
#[derive(Clone, Copy)]
struct Interval {
    first: u128,
    last: u128,
    value: u32,
}

/// The same in 32 or 64 bits.
#[derive(Clone, Copy)]
struct Part {
    first: u64,
    last: u64,
    value: u32,
}

/// Gives each distinct set of networks a number; the empty one has 0.
struct Sets {
    masks: Vec<NetworkMask>,
    numbers: HashMap<NetworkMask, u32>,
}

impl Sets {
    fn new() -> Self {
        let empty = NetworkMask::default();
        Self { masks: vec![empty], numbers: HashMap::from([(empty, 0)]) }
    }

    fn number(&mut self, mask: NetworkMask) -> u32 {
        *self.numbers.entry(mask).or_insert_with(|| {
            self.masks.push(mask);
            place(self.masks.len()).unwrap_or(0)
        })
    }
}

/// The place of the last of `length` elements, if it fits in a value.
fn place(length: usize) -> Option<u32> {
    u32::try_from(length.checked_sub(1)?).ok().filter(|place| *place <= PLACE_MAX)
}

/// The lower 64 bits.
const fn low(addr: u128) -> u64 {
    (addr & 0xffff_ffff_ffff_ffff) as u64
}

const fn key_v4(addr: u64) -> i32 {
    ((addr & 0xffff_ffff) as u32 ^ (1 << 31)).cast_signed()
}

const fn key_v6(half: u64) -> i64 {
    (half ^ (1 << 63)).cast_signed()
}

/// Turns prefixes, which lie apart or one in another, into disjoint intervals, ascending.
fn flatten(mut spans: Vec<Span>, sets: &mut Sets) -> Vec<Interval> {
    // An outer prefix comes before those in it.
    spans.sort_unstable_by(|a, b| (a.first, b.last).cmp(&(b.first, a.last)));
    // From which address on which set holds.
    let mut bounds: Vec<(u128, NetworkMask)> = Vec::with_capacity(2 * spans.len());
    // The prefixes around the current address, outermost first: last address, set.
    let mut open: Vec<(u128, NetworkMask)> = Vec::new();
    let around = |open: &[(u128, NetworkMask)]| open.last().map(|o| o.1).unwrap_or_default();
    for span in spans.iter().map(Some).chain([None]) {
        while let Some((last, _)) = open.last().copied() {
            if span.is_some_and(|span| span.first <= last) {
                break;
            }
            open.pop();
            if let Some(next) = last.checked_add(1) {
                mark(&mut bounds, next, around(&open));
            }
        }
        if let Some(span) = span {
            let mask = around(&open).with(span.network);
            open.push((span.last, mask));
            mark(&mut bounds, span.first, mask);
        }
    }
    let lasts = bounds.iter().skip(1).map(|next| next.0 - 1).chain([u128::MAX]);
    let intervals = bounds.iter().zip(lasts).filter(|((_, mask), _)| !mask.is_empty());
    intervals
        .map(|((first, mask), last)| Interval { first: *first, last, value: sets.number(*mask) })
        .collect()
}

/// Notes that `mask` holds from `first` on, whatever was noted for `first` before.
fn mark(bounds: &mut Vec<(u128, NetworkMask)>, first: u128, mask: NetworkMask) {
    bounds.pop_if(|bound| bound.0 == first);
    if bounds.last().map(|bound| bound.1).unwrap_or_default() != mask {
        bounds.push((first, mask));
    }
}

/// Cuts IPv6 intervals into upper halves. What covers a /64 in part goes to `deepen`, which says
/// what value that /64 gets.
fn split(intervals: &[Interval], deepen: &mut impl FnMut(&[Part]) -> u32) -> Vec<Part> {
    let mut pieces = Vec::with_capacity(intervals.len());
    for Interval { first, last, value } in intervals.iter().copied() {
        let (mut from, mut to) = (low(first >> 64), low(last >> 64));
        if from == to {
            pieces.push((from, Part { first: low(first), last: low(last), value }, to));
            continue;
        }
        if low(first) != 0 {
            pieces.push((from, Part { first: low(first), last: u64::MAX, value }, from));
            from += 1;
        }
        let tail =
            (low(last) != u64::MAX).then_some((to, Part { first: 0, last: low(last), value }, to));
        to -= u64::from(tail.is_some());
        if from <= to {
            pieces.push((from, Part { first: 0, last: u64::MAX, value }, to));
        }
        pieces.extend(tail);
    }
    let of_one_half = |a: &(u64, Part, u64), b: &(u64, Part, u64)| a.2 == b.0;
    let mut upper = Vec::with_capacity(pieces.len());
    for group in pieces.chunk_by(of_one_half) {
        let lower: Vec<_> = group.iter().map(|piece| piece.1).collect();
        let Some((first, last)) = group.first().zip(group.last()) else { continue };
        let value = match lower.as_slice() {
            [Part { first: 0, last: u64::MAX, value }] => *value,
            _ => deepen(&lower),
        };
        upper.push(Part { first: first.0, last: last.2, value });
    }
    upper
}

/// The shortest list of runs for ascending intervals.
fn runs<K: Key>(parts: &[Part], key: fn(u64) -> K) -> Vec<Run<K>> {
    let mut runs = Vec::with_capacity(parts.len());
    let mut next = 0; // the first key that no run has decided on
    for Part { first, last, value } in parts.iter().copied() {
        let span = last - first;
        let is_block = span & span.wrapping_add(1) == 0 && first & span == 0;
        if !is_block && next < first {
            runs.push(Run { last: key(first - 1), bits: Run::<K>::UNBOUNDED, value: 0 });
        }
        let bits = if is_block { span.count_ones() } else { Run::<K>::UNBOUNDED };
        runs.push(Run { last: key(last), bits, value });
        next = last.saturating_add(1);
    }
    runs
}

#[cfg(test)]
mod tests;
