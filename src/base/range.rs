//! A range of client addresses, as locks know it (ACC-5).
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::HashKey;

/// Of which kind a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

/// How long its prefix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    pub family: Family,
    pub length: u8,
}

/// A network. A wide one is known by its prefix. One that may be a single person's or household's is
/// personal data (LOG-2), and known by a keyed hash of its prefix alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRange {
    shape: Shape,
    /// The prefix at the upper end, the rest zero; or the hash.
    key: u64,
}

/// The prefix is so short that next to everybody would be in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooWide;

impl Family {
    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// No shorter prefix is a range's.
    const fn shortest(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 16,
        }
    }

    /// A longer prefix is kept as its hash: 256 addresses of IPv4, or one site of IPv6 (RFC 6177).
    const fn open(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 48,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

impl Shape {
    const fn is_open(self) -> bool {
        self.length <= self.family.open()
    }

    const fn fits(self) -> bool {
        self.family.shortest() <= self.length && self.length <= self.family.bits()
    }

    /// The range of this shape that an address is in; none of the other family.
    pub(super) fn range(self, addr: IpAddr, hash: &HashKey) -> Option<SourceRange> {
        let (family, bits) = match addr {
            IpAddr::V4(v4) => (Family::V4, u128::from(v4.to_bits()) << 96),
            IpAddr::V6(v6) => (Family::V6, v6.to_bits()),
        };
        let past = u128::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
        let prefix = (bits & !past).to_be_bytes();
        let key = if self.is_open() {
            let [upper @ .., _, _, _, _, _, _, _, _] = prefix;
            u64::from_be_bytes(upper)
        } else {
            let mut hasher = hash.hasher();
            hasher.write(&[self.family as u8, self.length]);
            hasher.write(&prefix);
            hasher.finish()
        };
        (family == self.family).then_some(SourceRange { shape: self, key })
    }
}

impl SourceRange {
    /// An IPv4-mapped network is the IPv4 network, as addresses are.
    ///
    /// # Errors
    /// See [`TooWide`].
    pub fn of(network: IpNet, hash: &HashKey) -> Result<Self, TooWide> {
        let mapped = match network {
            IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        let (addr, length) = match mapped {
            Some((v4, length)) => (IpAddr::V4(v4), length),
            None => (network.addr(), network.prefix_len()),
        };
        let family = if addr.is_ipv4() { Family::V4 } else { Family::V6 };
        let shape = Shape { family, length };
        if !shape.fits() {
            return Err(TooWide);
        }
        shape.range(addr, hash).ok_or(TooWide)
    }

    #[must_use]
    pub const fn shape(self) -> Shape {
        self.shape
    }

    /// Family, length and key, to be written down.
    #[must_use]
    pub const fn parts(self) -> (u8, u8, u64) {
        (self.shape.family as u8, self.shape.length, self.key)
    }

    /// None, if no range has these.
    #[must_use]
    pub fn from_parts((family, length, key): (u8, u8, u64)) -> Option<Self> {
        let family = match family {
            0 => Family::V4,
            1 => Family::V6,
            _ => return None,
        };
        let shape = Shape { family, length };
        let past = u64::MAX.checked_shr(u32::from(length)).unwrap_or(0);
        (shape.fits() && (!shape.is_open() || key & past == 0)).then_some(Self { shape, key })
    }

    /// As it was listed: a range that is known by its hash.
    #[must_use]
    pub fn parse_listed(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (family, length, key) = (parts.next()?, parts.next()?, parts.next()?);
        let family = [Family::V4, Family::V6].into_iter().find(|known| known.word() == family)?;
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if parts.next().is_some() || key.len() != 16 || !key.bytes().all(hex) {
            return None;
        }
        let key = u64::from_str_radix(key, 16).ok()?;
        let listed = Self::from_parts((family as u8, length.parse().ok()?, key))?;
        (!listed.shape.is_open() && listed.to_string() == text).then_some(listed)
    }
}

/// The prefix, such as `203.0.113.0/24`; or `ipv4/29/` and the hash.
impl fmt::Display for SourceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape: Shape { family, length }, key } = *self;
        if !self.shape.is_open() {
            return write!(f, "{}/{length}/{key:016x}", family.word());
        }
        let bits = u128::from(key) << 64;
        match family {
            Family::V4 => {
                let upper = u32::try_from(bits >> 96).unwrap_or(0);
                Ipv4Net::new_assert(Ipv4Addr::from_bits(upper), length).fmt(f)
            }
            Family::V6 => Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClientAddr;

    fn key() -> HashKey {
        HashKey::new([3; 16])
    }

    fn range(text: &str) -> SourceRange {
        SourceRange::of(text.parse().unwrap(), &key()).unwrap()
    }

    fn holds(network: &str, addr: &str) -> bool {
        let range = range(network);
        ClientAddr::new(addr.parse().unwrap()).range(range.shape(), &key()) == Some(range)
    }

    #[test]
    fn acc_5_a_range_holds_the_addresses_of_its_prefix_and_family() {
        for (network, inside, outside) in [
            ("203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
            ("203.0.0.0/9", "203.127.0.1", "203.128.0.1"),
            ("203.0.113.128/25", "203.0.113.200", "203.0.113.127"),
            ("203.0.113.7/32", "203.0.113.7", "203.0.113.6"),
            ("203.0.113.0/24", "::ffff:203.0.113.9", "cb00:7100::"),
            ("::ffff:203.0.113.0/120", "203.0.113.9", "203.0.112.9"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("2001:db8:0:4000::/50", "2001:db8:0:7fff::1", "2001:db8:0:8000::1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("cb00::/16", "cb00:7100::1", "203.0.113.7"),
        ] {
            assert!(holds(network, inside), "{network} {inside}");
            assert!(!holds(network, outside), "{network} {outside}");
        }
    }

    #[test]
    fn acc_5_nobody_locks_everybody() {
        for wide in ["0.0.0.0/0", "0.0.0.0/7", "::/0", "2000::/3", "2000::/15", "::ffff:0:0/96"] {
            assert_eq!(SourceRange::of(wide.parse().unwrap(), &key()), Err(TooWide), "{wide}");
        }
        assert!(SourceRange::of("10.0.0.0/8".parse().unwrap(), &key()).is_ok());
        assert!(SourceRange::of("2001::/16".parse().unwrap(), &key()).is_ok());
    }

    #[test]
    fn log_2_what_may_be_one_household_s_is_not_written() {
        for (network, text) in [
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8:7::/48", "2001:db8:7::/48"),
        ] {
            assert_eq!(range(network).to_string(), text);
            assert_eq!(SourceRange::parse_listed(text), None);
        }
        for network in ["203.0.113.0/25", "203.0.113.7/32", "2001:db8:7:8::/56"] {
            let text = range(network).to_string();
            assert!(!text.contains("203") && !text.contains("db8"), "{text}");
            assert_eq!(SourceRange::parse_listed(&text), Some(range(network)));
            assert_eq!(SourceRange::parse_listed(&text.to_uppercase()), None);
        }
        for bad in ["ipv4/24/0000000000000000", "ipv4/33/0000000000000000", "ipv4/29/0", "", "/"] {
            assert_eq!(SourceRange::parse_listed(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_down_comes_back_and_nothing_else() {
        for network in ["203.0.113.0/24", "203.0.113.0/25", "2001:db8::/32", "2001:db8::/64"] {
            assert_eq!(SourceRange::from_parts(range(network).parts()), Some(range(network)));
        }
        for bad in [(2, 24, 0), (0, 7, 0), (0, 33, 0), (1, 15, 0), (1, 129, 0), (0, 24, 1)] {
            assert_eq!(SourceRange::from_parts(bad), None, "{bad:?}");
        }
    }
}
