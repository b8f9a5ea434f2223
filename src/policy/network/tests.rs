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
        (0..4_u128, 0..4_u128, 0..4_u128)
            .prop_map(|(a, b, c)| (0x2001_0db8_0000 | a) << 80 | b << 64 | c),
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
        let edges = networks.iter().flatten().flat_map(|prefix| {
            let step = |addr: IpAddr, by: i8| match addr {
                IpAddr::V4(a) => IpAddr::V4(u32::from(a).wrapping_add_signed(by.into()).into()),
                IpAddr::V6(a) => IpAddr::V6(u128::from(a).wrapping_add_signed(by.into()).into()),
            };
            let (first, last) = (prefix.network(), prefix.broadcast());
            [first, last, step(first, -1), step(last, 1), step(first, 1)]
        });
        for addr in edges.chain(others) {
            let found = table.lookup(&ClientAddr::new(addr));
            prop_assert_eq!(found, naive(&networks, addr), "{}", addr);
        }
    }
}
