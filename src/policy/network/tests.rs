use std::iter::repeat;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use proptest::prelude::*;

use super::*;

fn nets(text: &[&[&str]]) -> Vec<Vec<IpNet>> {
    text.iter().map(|net| net.iter().map(|p| p.parse().unwrap()).collect()).collect()
}

fn addr(text: &str) -> ClientAddr {
    ClientAddr::new(text.parse().unwrap())
}

fn members(table: &NetTable, text: &str) -> Vec<u8> {
    let mask = table.lookup(&addr(text));
    (0..=u8::MAX).filter(|ix| mask.contains(NetworkIx(*ix))).collect()
}

/// What `NET-1` says, prefix by prefix.
fn naive(networks: &[Vec<IpNet>], addr: IpAddr) -> NetworkMask {
    let addr = addr.to_canonical();
    let mut mask = NetworkMask::default();
    for (ix, prefixes) in (0..=u8::MAX).zip(networks) {
        let inside = prefixes.iter().any(|prefix| match (prefix, addr) {
            (IpNet::V6(p), IpAddr::V4(v4)) => {
                p.prefix_len() >= 96 && p.contains(&v4.to_ipv6_mapped())
            }
            (prefix, addr) => prefix.contains(&addr),
        });
        if inside {
            mask = mask.with(NetworkIx(ix));
        }
    }
    mask
}

/// The first and the last address of a prefix, and those next to them.
fn edges(prefix: &IpNet) -> [IpAddr; 6] {
    let step = |addr: IpAddr, by: i8| match addr {
        IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_add_signed(by.into()).into()),
        IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_add_signed(by.into()).into()),
    };
    let (first, last) = (prefix.network(), prefix.broadcast());
    [step(first, -1), first, step(first, 1), step(last, -1), last, step(last, 1)]
}

#[test]
fn net_1_nothing_listed_admits_nobody() {
    for networks in [vec![], vec![vec![], vec![]]] {
        let table = NetTable::build(&networks);
        for text in ["0.0.0.0", "255.255.255.255", "10.0.0.1", "::", "::1", "2001:db8::1"] {
            assert!(table.lookup(&addr(text)).is_empty(), "{text}");
        }
    }
}

#[test]
fn net_1_overlapping_networks_are_all_reported() {
    let table = NetTable::build(&nets(&[
        &["10.0.0.0/8", "2001:db8::/32"],
        &["10.1.0.0/16"],
        &["10.1.2.3/32", "2001:db8:0:1::5/128"],
        &["0.0.0.0/0"],
    ]));
    assert_eq!(members(&table, "10.1.2.3"), [0, 1, 2, 3]);
    assert_eq!(members(&table, "10.1.2.4"), [0, 1, 3]);
    assert_eq!(members(&table, "10.2.0.0"), [0, 3]);
    assert_eq!(members(&table, "11.0.0.0"), [3]);
    assert_eq!(members(&table, "2001:db8:0:1::5"), [0, 2]);
    assert_eq!(members(&table, "2001:db8:0:1::6"), [0]);
    assert_eq!(members(&table, "2001:db9::"), [0_u8; 0]);
}

#[test]
fn net_1_the_ends_of_the_address_space_belong_to_their_prefixes() {
    let table = NetTable::build(&nets(&[
        &[
            "0.0.0.0/32",
            "255.255.255.255/32",
            "::/128",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
        ],
        &["128.0.0.0/1", "8000::/1"],
    ]));
    assert_eq!(members(&table, "0.0.0.0"), [0]);
    assert_eq!(members(&table, "0.0.0.1"), [0_u8; 0]);
    assert_eq!(members(&table, "255.255.255.255"), [0, 1]);
    assert_eq!(members(&table, "255.255.255.254"), [1]);
    assert_eq!(members(&table, "::"), [0]);
    assert_eq!(members(&table, "::1"), [0_u8; 0]);
    assert_eq!(members(&table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), [0, 1]);
    assert_eq!(members(&table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"), [1]);
}

#[test]
fn net_3_a_mapped_address_and_a_mapped_prefix_are_ipv4() {
    let table = NetTable::build(&nets(&[
        &["::ffff:192.0.2.0/120"],
        &["::/0"],
        &["192.0.2.7/32"],
        &["::ffff:0:0/96"],
        &["::ffff:0:0/95"],
    ]));
    assert_eq!(members(&table, "192.0.2.7"), [0, 2, 3]);
    assert_eq!(members(&table, "::ffff:192.0.2.7"), [0, 2, 3]);
    assert_eq!(members(&table, "203.0.113.9"), [3]);
    assert_eq!(members(&table, "::fffe:1:1"), [1, 4]);
    assert_eq!(members(&table, "2001:db8::1"), [1]);
}

#[test]
fn net_1_host_bits_in_a_prefix_do_not_matter() {
    let table = NetTable::build(&nets(&[&["10.9.8.7/8", "2001:db8::dead:beef/32"]]));
    assert_eq!(members(&table, "10.0.0.0"), [0]);
    assert_eq!(members(&table, "2001:db8::"), [0]);
}

#[test]
fn net_1_the_257th_network_admits_nobody() {
    let mut networks = vec![vec![]; NETWORKS_MAX];
    networks[255] = vec!["10.0.0.0/8".parse().unwrap()];
    networks.push(vec!["10.0.0.0/8".parse().unwrap(), "11.0.0.0/8".parse().unwrap()]);
    let table = NetTable::build(&networks);
    assert_eq!(members(&table, "10.0.0.1"), [255]);
    assert_eq!(members(&table, "11.0.0.1"), [0_u8; 0]);
}

#[test]
fn net_1_many_hosts_in_one_slash_64() {
    let hosts: Vec<IpNet> = (0..1_000_u128)
        .map(|n| {
            Ipv6Net::new(Ipv6Addr::from((0x2001_0db8 << 96) | (n * 7 + 3)), 128).unwrap().into()
        })
        .collect();
    let table = NetTable::build(&[hosts, nets(&[&["2001:db8::/48"]]).remove(0)]);
    for n in 0..7_100_u128 {
        let addr = ClientAddr::new(Ipv6Addr::from((0x2001_0db8 << 96) | n).into());
        let listed = n % 7 == 3 && n < 7_000;
        assert_eq!(table.lookup(&addr).contains(NetworkIx(0)), listed, "{n}");
        assert!(table.lookup(&addr).contains(NetworkIx(1)));
    }
}

fn v6(addr: u128, length: u8) -> IpNet {
    Ipv6Net::new(addr.into(), length).unwrap().into()
}

fn v4(addr: u32, length: u8) -> IpNet {
    IpNet::new(Ipv4Addr::from(addr).into(), length).unwrap()
}

/// What crowds, nests and alternates so that lines, slots and nodes overflow.
fn bad_lists() -> Vec<(&'static str, Vec<IpNet>)> {
    let base = 0x2001_0db8_u128 << 96;
    let six = |at: u128| (0..6).map(move |n| v6(at + (n << 64), 64));
    let mut lists = vec![
        ("one /24", (0..256).map(|n| v4(0x0a00_0100 + n, 32)).collect()),
        ("neighbours", (0..400).map(|n| v4(0x0aff_ff80 + n, 32)).collect()),
        ("neighbours", (0..400).map(|n| v6(base + (n << 64), 64)).collect()),
        ("neighbours in one /64", (0..400).map(|n| v6(base + 0xff80 + n, 128)).collect()),
        (
            "the ends of one /64",
            (0..9)
                .flat_map(|n| [n * 3, u64::MAX - n * 3])
                .map(|n| v6(base + u128::from(n), 128))
                .collect(),
        ),
        ("each in its own /64", (0..200).map(|n| v6(base + ((n * 5) << 64) + n, 128)).collect()),
        ("all lengths", (0..=128).map(|length| v6(base + 5, length)).collect()),
        ("all lengths", (0..=32).map(|length| v4(0xc000_0207, length)).collect()),
        ("ever further", (0..128).map(|bit| v6(1 << bit, 128)).collect()),
        ("ever nearer", (0..128).map(|bit| v6(u128::MAX - (1 << bit), 128)).collect()),
        ("ever further", (0..32).map(|bit| v4(1 << bit, 32)).collect()),
        ("sixes far apart", (0..60).flat_map(|n| six(base + ((n * n) << 90))).collect()),
        ("three quarters", vec![v6(0, 1), v6(1 << 127, 2), v4(1 << 30, 2), v4(1 << 31, 1)]),
        ("no first one", (0..16).map(|bit| v6(1 << bit, 128 - bit)).collect()),
    ];
    // As many as fit in a line, in a line of lines, in all lines that a slot can tell; and one more.
    for (size, far) in (1..80).flat_map(|size| [(size, 1_600), (size, 1 << 20)]) {
        let crowd = (0..size).chain([far]);
        lists.push(("a crowd and one afar", crowd.clone().map(|n| v4(n, 32)).collect()));
        lists.push((
            "a crowd and one afar",
            crowd.map(|n| v6(base + (u128::from(n) << 64), 64)).collect(),
        ));
    }
    lists
}

#[test]
fn net_1_lists_made_up_to_be_bad_agree_with_a_scan() {
    let covers = [vec![], vec![v4(0, 0), v6(0, 0)], vec![v6(0x2001 << 112, 17)]];
    for (cover, (name, list)) in covers.iter().flat_map(|cover| repeat(cover).zip(bad_lists())) {
        // In three networks by turns, so that neighbours stay apart.
        let mut networks = vec![cover.clone(), vec![], vec![], vec![]];
        for (n, prefix) in list.iter().enumerate() {
            networks[1 + n % 3].push(*prefix);
        }
        let table = NetTable::build(&networks);
        for addr in list.iter().flat_map(edges) {
            let found = table.lookup(&ClientAddr::new(addr));
            assert_eq!(found, naive(&networks, addr), "{name}: {addr}");
        }
        assert!(table.v4.depth() <= 15 && table.v6.depth() <= 15, "{name}");
        assert!(table.bytes() < (48 << 10) + 512 * list.len(), "{name}: {}", table.bytes());
    }
}

#[test]
fn net_1_a_table_of_hosts_stays_small() {
    let hosts: Vec<IpNet> = (0..50_000_u32)
        .map(|n| IpNet::new(Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1)).into(), 32).unwrap())
        .collect();
    let table = NetTable::build(&[hosts]);
    assert!(table.bytes() < 50_000 * 10, "{}", table.bytes());
}

#[test]
fn a_mask_is_a_set() {
    let mask = NetworkMask::default().with(NetworkIx(200)).with(NetworkIx(64));
    assert_eq!(mask.first(), Some(NetworkIx(64)));
    assert!(mask.contains(NetworkIx(200)) && !mask.contains(NetworkIx(72)));
    let other = NetworkMask::default().with(NetworkIx(200)).with(NetworkIx(255));
    assert!(mask.intersects(&other));
    assert_eq!(mask.and(&other).first(), Some(NetworkIx(200)));
    assert!(!mask.intersects(&NetworkMask::default()));
    assert_eq!(NetworkMask::default().first(), None);
}

/// Addresses close to each other, so that prefixes nest, touch and repeat.
fn some_addr() -> impl Strategy<Value = IpAddr> {
    let near = prop_oneof![
        any::<u128>(),
        (0..4_u128, 0..4_u128, -3..4_i64).prop_map(|(a, b, c)| {
            (0x2001_0db8_0000 | a) << 80 | b << 64 | u128::from(c.cast_unsigned())
        }),
        (0..3_u128).prop_map(|n| u128::MAX - n),
        (0..3_u128),
        (0..70_000_u128).prop_map(|n| 0xffff_0000_0000 | n),
        (0..3_u128).prop_map(|n| 0xffff_ffff_ffff + n),
    ];
    let v4 = prop_oneof![any::<u32>(), 0..300_u32, (0..300_u32).prop_map(|n| u32::MAX - n)];
    prop_oneof![near.prop_map(|a| IpAddr::V6(a.into())), v4.prop_map(|a| IpAddr::V4(a.into())),]
}

fn some_prefix() -> impl Strategy<Value = IpNet> {
    (some_addr(), 0..=128_u8, 0..40_u8).prop_map(|(addr, length, near)| {
        let width = if addr.is_ipv4() { 32 } else { 128 };
        // Half of the prefixes are long, so that the table does not become one that holds all.
        let length = if near < 20 { width - near } else { length.min(width) };
        IpNet::new(addr, length).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn net_1_the_table_agrees_with_a_scan(
        networks in prop::collection::vec(prop::collection::vec(some_prefix(), 0..24), 0..6),
        others in prop::collection::vec(some_addr(), 0..64),
    ) {
        let table = NetTable::build(&networks);
        let edges = networks.iter().flatten().flat_map(edges);
        for addr in edges.chain(others) {
            let found = table.lookup(&ClientAddr::new(addr));
            prop_assert_eq!(found, naive(&networks, addr), "{}", addr);
        }
    }
}
