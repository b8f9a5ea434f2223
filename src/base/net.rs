//! The client's address: personal data (LOG-2), so it can be matched and pseudonymised, not printed.
use std::net::IpAddr;

use super::{HashKey, Pii, Pseudonym, PseudonymKey, Shape, SourceRange, Use};

/// The address that counts as the client's: the TCP peer's, or the one a trusted balancer told.
/// An IPv4-mapped IPv6 address is judged as IPv4 (NET-3).
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(Pii<IpAddr>);

impl ClientAddr {
    #[must_use]
    pub fn new(addr: IpAddr) -> Self {
        Self(Pii::new(addr.to_canonical()))
    }

    /// For address lists only.
    #[must_use]
    pub const fn reveal_for(&self, why: Use) -> IpAddr {
        *self.0.reveal_for(why)
    }

    #[must_use]
    pub fn pseudonym(&self, key: &PseudonymKey) -> Pseudonym {
        match self.reveal_for(Use::Match) {
            IpAddr::V4(v4) => key.pseudonym(&v4.octets()),
            IpAddr::V6(v6) => key.pseudonym(&v6.octets()),
        }
    }

    /// A keyed number for counting connections per source: one IPv4 address, or one IPv6 /64, which
    /// is the least a subscriber is given (RFC 6177) and so the unit an attacker has for free.
    pub fn source(&self, key: &HashKey) -> u64 {
        match self.reveal_for(Use::Match) {
            IpAddr::V4(v4) => key.hash(&v4.octets()),
            IpAddr::V6(v6) => {
                let [subnet @ .., _, _, _, _, _, _, _, _] = v6.octets();
                key.hash(&subnet)
            }
        }
    }

    /// The range of this shape that the address is in; none of the other family.
    #[must_use]
    pub fn range(&self, shape: Shape, hash: &HashKey) -> Option<SourceRange> {
        shape.range(self.reveal_for(Use::Match), hash)
    }
}
