//! What a named network holds, for comparing two configurations (NET-1). Addresses are never looked up
//! here.
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use super::fold_mapped;

/// A set of addresses, as the fewest prefixes that hold exactly it, ascending: 5 bytes for each of
/// IPv4, 17 of IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    v4: Box<[Ipv4Net]>,
    v6: Box<[Ipv6Net]>,
}

/// First and last address.
type Range = (u128, u128);

impl Prefixes {
    #[must_use]
    pub fn of(list: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in list {
            match fold_mapped(*prefix) {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        Self { v4: Ipv4Net::aggregate(&v4).into(), v6: Ipv6Net::aggregate(&v6).into() }
    }

    /// What is in this set and not in the other. Linear in both.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let v4 = left_over(self.ranges_v4(), other.ranges_v4()).into_iter().flat_map(|range| {
            let [first, last] = [range.0, range.1].map(|n| Ipv4Addr::from(low_32(n)));
            Ipv4Subnets::new(first, last, 0)
        });
        let v6 = left_over(self.ranges_v6(), other.ranges_v6()).into_iter().flat_map(|range| {
            let [first, last] = [range.0, range.1].map(Ipv6Addr::from);
            Ipv6Subnets::new(first, last, 0)
        });
        Self { v4: v4.collect(), v6: v6.collect() }
    }

    /// Whether it holds whatever address of a family a host can have (unicast: RFC 5771, RFC 4291 §2.4),
    /// in one prefix or in several.
    #[must_use]
    pub fn holds_a_family(&self) -> bool {
        const V4: Range = (0, 0xdfff_ffff);
        const V6: Range = (0x2000 << 112, (0x4000 << 112) - 1);
        let all =
            |family, own: Vec<Range>| left_over([family].into_iter(), own.into_iter()).is_empty();
        all(V4, self.ranges_v4().collect()) || all(V6, self.ranges_v6().collect())
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4.iter().map(|net| IpNet::V4(*net));
        v4.chain(self.v6.iter().map(|net| IpNet::V6(*net)))
    }

    fn ranges_v4(&self) -> impl Iterator<Item = Range> {
        self.v4.iter().map(|net| {
            (u128::from(u32::from(net.network())), u128::from(u32::from(net.broadcast())))
        })
    }

    fn ranges_v6(&self) -> impl Iterator<Item = Range> {
        self.v6.iter().map(|net| (net.network().into(), net.broadcast().into()))
    }
}

const fn low_32(n: u128) -> u32 {
    (n & 0xffff_ffff) as u32
}

/// Both ascend and do not overlap within themselves.
fn left_over(mine: impl Iterator<Item = Range>, theirs: impl Iterator<Item = Range>) -> Vec<Range> {
    let mut theirs = theirs.peekable();
    let mut left = Vec::new();
    for (mut first, last) in mine {
        let mut whole = true;
        while let Some((cut_first, cut_last)) = theirs.peek().copied() {
            if cut_last < first {
                theirs.next();
                continue;
            }
            if cut_first > last {
                break;
            }
            if cut_first > first {
                left.push((first, cut_first - 1));
            }
            // What is cut may reach into the next range of mine, so it stays.
            if cut_last >= last {
                whole = false;
                break;
            }
            first = cut_last + 1;
            theirs.next();
        }
        if whole {
            left.push((first, last));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Prefixes {
        let list: Vec<IpNet> = text.split_whitespace().map(|net| net.parse().unwrap()).collect();
        Prefixes::of(&list)
    }

    fn texts(set: &Prefixes) -> String {
        set.iter().map(|net| net.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn net_1_a_network_is_what_it_holds_however_it_is_written() {
        assert_eq!(set("10.0.0.0/9 10.128.0.0/9 10.1.2.0/24"), set("10.0.0.0/8"));
        assert_eq!(set("::ffff:192.0.2.0/120"), set("192.0.2.0/24"));
        assert!(set("").is_empty());
        assert_eq!(set("192.0.2.0/24 2001:db8::/32").len(), 2);
    }

    #[test]
    fn net_3_everybody_is_everybody_however_it_is_written() {
        for all in [
            "0.0.0.0/0",
            "::/0",
            "0.0.0.0/1 128.0.0.0/1",
            "0.0.0.0/1 128.0.0.0/2 192.0.0.0/3",
            "2000::/3",
            "2000::/4 3000::/4 10.0.0.0/8",
        ] {
            assert!(set(all).holds_a_family(), "{all}");
        }
        for some in ["", "10.0.0.0/8 fd00::/8", "0.0.0.0/1 128.0.0.0/2 192.0.0.0/4", "2000::/4"] {
            assert!(!set(some).holds_a_family(), "{some}");
        }
    }

    #[test]
    fn net_1_what_is_gained_and_lost_is_exact() {
        for (mine, theirs, left) in [
            ("10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"),
            ("10.0.0.0/8", "", "10.0.0.0/8"),
            ("", "10.0.0.0/8", ""),
            ("10.0.0.0/8", "0.0.0.0/0", ""),
            ("192.0.2.0/30", "192.0.2.1/32", "192.0.2.0/32 192.0.2.2/31"),
            ("192.0.2.0/31 192.0.2.4/31", "192.0.2.0/29", ""),
            ("192.0.2.0/24 198.51.100.0/24", "192.0.2.0/24", "198.51.100.0/24"),
            ("0.0.0.0/0", "128.0.0.0/1", "0.0.0.0/1"),
            ("::/0", "8000::/1", "::/1"),
            ("2001:db8::/32", "::/0", ""),
            ("192.0.2.0/24", "::/0", "192.0.2.0/24"),
            ("ffff::/16", "ffff:ffff::/32", &wide()),
        ] {
            assert_eq!(texts(&set(mine).without(&set(theirs))), left, "{mine} without {theirs}");
        }
    }

    /// `ffff::/16` without its last /32: a prefix for each bit.
    fn wide() -> String {
        let net = |bit: u32| {
            let upper = 0xffff_0000_u32 | (0xffff_u32 << (16 - bit) & 0xffff);
            let address = Ipv6Addr::from(u128::from(upper) << 96);
            format!("{address}/{}", 17 + bit)
        };
        (0..16).map(net).collect::<Vec<_>>().join(" ")
    }
}
