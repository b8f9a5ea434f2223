//! What it costs to ask which networks an address is in (NET-1). Goal: at most 50 ns with a million
//! prefixes. `cargo bench --bench address`
//!
//! Each sample asks about 4,096 addresses in random order out of a million different ones, so the
//! part of the table that they touch is never in the caches of the core for free. `independent`
//! asks as connections come: no answer waits for another, so the core overlaps some of them.
//! `dependent` makes each question wait for the answer before, so that nothing overlaps: the worst a
//! single lookup can take. Shown is the time of 4,096 lookups and, as items per second, that of one
//! (20 Mitem/s are 50 ns).
//!
//! A million prefixes are 9 to 16 MB, so a single lookup can't be faster than one access to the
//! machine's last cache or memory: on a virtual machine with a small share of that cache, 100 to
//! 150 ns. The goal is about lookups that overlap. It holds as long as they are few instructions
//! (about 60, of 90 in a turn of this loop), for then three or four wait at the same time. The rows
//! of a million therefore tell much about the machine, and about who else uses its memory.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_macros,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark cuts random numbers to size, speaks to a terminal and may stop"
)]
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sekisho::base::ClientAddr;
use sekisho::policy::NetTable;

const PER_SAMPLE: usize = 4_096;
const QUERIES: usize = 1 << 20;
const NETWORKS: usize = 16;
const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn main() {
    for shape in Shape::ALL {
        for (place, size) in SIZES.into_iter().enumerate() {
            let table = &case(*shape, place).table;
            let each = table.bytes() as f64 / size as f64;
            println!("{shape:?}, {size} prefixes: {each:.1} bytes per prefix");
        }
    }
    divan::main();
}

/// Where the prefixes lie.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// IPv4 hosts and small networks (/24 to /32) anywhere.
    V4Spread,
    /// The same in four /8s, as cloud and carrier ranges are.
    V4Crowded,
    /// IPv6 /32 to /64 anywhere in `2000::/3`.
    V6Spread,
    /// The same in three allocations: a /12, a /20 and a /29.
    V6Crowded,
}

impl Shape {
    const ALL: &[Self] = &[Self::V4Spread, Self::V4Crowded, Self::V6Spread, Self::V6Crowded];

    fn prefix(self, random: &mut Random) -> IpNet {
        let v4 =
            |addr: u32, length| IpNet::from(Ipv4Net::new(addr.into(), length).unwrap().trunc());
        let v6 = |addr: u64, length| {
            let addr = Ipv6Addr::from(u128::from(addr) << 64);
            IpNet::from(Ipv6Net::new(addr, length).unwrap().trunc())
        };
        let bits = random.next();
        match self {
            // Most are hosts: there are not a million /24s that lie apart in four /8s.
            Self::V4Spread => v4(bits as u32, random.pick(&[24, 28, 30, 32, 32, 32, 32, 32])),
            Self::V4Crowded => {
                let block = random.pick(&[10_u32, 52, 54, 203]) << 24;
                v4(block | (bits as u32 >> 8), random.pick(&[28, 30, 32, 32, 32, 32, 32, 32]))
            }
            Self::V6Spread => {
                v6((0b001 << 61) | (bits >> 3), random.pick(&[32, 40, 44, 48, 48, 56, 64, 64]))
            }
            Self::V6Crowded => {
                let (block, length) = random.pick(&[
                    (0x2600_u64 << 48, 12),
                    (0x2400_cb00 << 32, 20),
                    (0x2001_0db8 << 32, 29),
                ]);
                v6(block | (bits >> length), random.pick(&[48, 48, 56, 56, 60, 64, 64, 64]))
            }
        }
    }
}

/// xorshift64*: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() >> 33) as usize % from.len()]
    }
}

struct Case {
    table: NetTable,
    hits: Vec<ClientAddr>,
    misses: Vec<ClientAddr>,
}

fn case(shape: Shape, size: usize) -> &'static Case {
    static CASES: [OnceLock<Case>; 12] = [const { OnceLock::new() }; 12];
    CASES[shape as usize * SIZES.len() + size].get_or_init(|| {
        let mut random = Random(0x5eed_0000 + shape as u64);
        let mut networks = vec![Vec::new(); NETWORKS];
        let prefixes: Vec<_> = (0..SIZES[size]).map(|_| shape.prefix(&mut random)).collect();
        for (n, prefix) in prefixes.iter().enumerate() {
            networks[n % NETWORKS].push(*prefix);
        }
        let table = NetTable::build(&networks);
        // Another address of the same prefix, or of a prefix that could have been.
        let inside = |prefix: IpNet, bits: u64| match prefix {
            IpNet::V4(net) => ClientAddr::new(
                Ipv4Addr::from(u32::from(net.addr()) | (bits as u32 & u32::from(net.hostmask())))
                    .into(),
            ),
            IpNet::V6(net) => {
                let wide = u128::from(bits) << 64 | u128::from(bits);
                ClientAddr::new(
                    Ipv6Addr::from(u128::from(net.addr()) | (wide & u128::from(net.hostmask())))
                        .into(),
                )
            }
        };
        let hits = (0..QUERIES).map(|_| inside(random.pick(&prefixes), random.next())).collect();
        let mut misses = Vec::with_capacity(QUERIES);
        while misses.len() < QUERIES {
            let addr = inside(shape.prefix(&mut random), random.next());
            if table.lookup(&addr).is_empty() {
                misses.push(addr);
            }
        }
        Case { table, hits, misses }
    })
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Hit,
    Miss,
}

/// One line of the table: shape, place in `SIZES`, what is asked.
fn cases() -> impl Iterator<Item = Line> {
    Shape::ALL.iter().flat_map(|shape| {
        (0..SIZES.len())
            .flat_map(move |size| [Asked::Hit, Asked::Miss].map(|asked| Line(*shape, size, asked)))
    })
}

#[derive(Clone, Copy)]
struct Line(Shape, usize, Asked);

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} {:?}", self.0, SIZES[self.1], self.2)
    }
}

impl Line {
    fn queries(self) -> (&'static NetTable, &'static [ClientAddr]) {
        let case = case(self.0, self.1);
        let queries = match self.2 {
            Asked::Hit => &case.hits,
            Asked::Miss => &case.misses,
        };
        (&case.table, queries)
    }
}

#[divan::bench(args = cases(), sample_size = 1, sample_count = 500)]
fn independent(bencher: Bencher<'_, '_>, line: Line) {
    let (table, queries) = line.queries();
    let mut batches = queries.chunks_exact(PER_SAMPLE).cycle();
    bencher.counter(ItemsCount::new(PER_SAMPLE)).bench_local(|| {
        let batch = batches.next().unwrap_or_default();
        batch.iter().filter(|addr| !table.lookup(black_box(addr)).is_empty()).count()
    });
}

#[divan::bench(args = cases().filter(|line| matches!(line.2, Asked::Hit)), sample_size = 1, sample_count = 500)]
fn dependent(bencher: Bencher<'_, '_>, line: Line) {
    let (table, queries) = line.queries();
    let mut batches = queries.chunks_exact(2 * PER_SAMPLE).cycle();
    bencher.counter(ItemsCount::new(PER_SAMPLE)).bench_local(|| {
        let batch = batches.next().unwrap_or_default();
        let mut hold = 0;
        for pair in batch.chunks_exact(2) {
            // The next address can't be known before this answer is.
            if let Some(addr) = pair.get(hold) {
                hold = usize::from(table.lookup(addr).first().is_some_and(|ix| ix.0 & 1 == 1));
            }
        }
        hold
    });
}
