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
mod prefixes;
mod trie;

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::base::{ClientAddr, NetworkIx, Use};
pub use prefixes::Prefixes;
use trie::{Builder, Part, Trie};

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
        let [a, b, c, d] = self.0;
        a | b | c | d == 0
    }
}

/// All named networks, ready to be asked about one address. Immutable.
#[derive(Debug)]
pub struct NetTable {
    v4: Trie<u32>,
    /// By the upper 64 bits, and those /64s that hold longer prefixes by their lower 64 bits: the
    /// value of such a /64 says where.
    v6: Trie<u64>,
    /// What the values stand for. The first is the empty set.
    masks: Vec<NetworkMask>,
}

/// In a value: it is not the place of a set in `masks`, which are fewer, but where the trie goes on by
/// the lower 64 bits.
const BELOW: u32 = 1 << 25;
const NOBODY: NetworkMask = NetworkMask([0; 4]);

impl NetTable {
    /// A prefix in `networks[n]` puts its addresses in `NetworkIx(n)`; networks from the 257th on
    /// are ignored, and so hold nothing.
    #[must_use]
    pub fn build(networks: &[Vec<IpNet>]) -> Self {
        let (mut spans_v4, mut spans_v6) = (Vec::new(), Vec::new());
        for (network, prefixes) in (0..=u8::MAX).map(NetworkIx).zip(networks) {
            for prefix in prefixes {
                match fold_mapped(*prefix) {
                    IpNet::V4(net) => spans_v4.push(Span {
                        first: u32::from(net.network()).into(),
                        last: u32::from(net.broadcast()).into(),
                        network,
                    }),
                    IpNet::V6(net) => spans_v6.push(Span {
                        first: net.network().into(),
                        last: net.broadcast().into(),
                        network,
                    }),
                }
            }
        }
        let mut sets = Sets::new();
        let parts: Vec<_> = flatten(spans_v4, &mut sets)
            .iter()
            .map(|i| Part { first: low(i.first), last: low(i.last), value: i.value })
            .collect();
        let (mut v4, mut v6) = (Builder::new(), Builder::new());
        v4.fill(&parts);
        let mut deepen = |lower: &[Part]| match v6.add(lower) {
            node @ ..BELOW => BELOW | node,
            _ => 0,
        };
        let parts = split(&flatten(spans_v6, &mut sets), &mut deepen);
        v6.fill(&parts);
        Self { v4: v4.build(), v6: v6.build(), masks: sets.masks }
    }

    /// Every network that has a prefix around this address.
    #[inline]
    pub fn lookup(&self, addr: &ClientAddr) -> NetworkMask {
        let addr = addr.reveal_for(Use::Match);
        let value = match addr {
            IpAddr::V4(v4) => self.v4.find(v4.into()),
            IpAddr::V6(v6) => self.v6.find(low(u128::from(v6) >> 64)),
        };
        *self.masks.get(value as usize).unwrap_or_else(|| self.mask_below(value, addr))
    }

    /// In a /64 that holds longer prefixes.
    #[inline(never)]
    fn mask_below(&self, value: u32, addr: IpAddr) -> &NetworkMask {
        let IpAddr::V6(v6) = addr else { return &NOBODY };
        let value = self.v6.find_added(value ^ BELOW, low(v6.into()));
        self.masks.get(value as usize).unwrap_or(&NOBODY)
    }

    /// Bytes of memory that lookups may touch.
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + size_of_val(self.masks.as_slice())
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
            let Ok(number @ ..BELOW) = u32::try_from(self.masks.len()) else { return 0 };
            self.masks.push(mask);
            number
        })
    }
}

/// The lower 64 bits.
const fn low(addr: u128) -> u64 {
    (addr & 0xffff_ffff_ffff_ffff) as u64
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

#[cfg(test)]
mod tests;
