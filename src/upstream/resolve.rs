//! Keeps an upstream's addresses up to date by DNS, off the request path.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Weak;
use std::time::Duration;

use super::route::{Addresses, Upstream};

const REFRESH: Duration = Duration::from_secs(30);
/// While nothing is known the question is repeated sooner, because every request fails meanwhile.
const RETRY: Duration = Duration::from_secs(1);
/// A name with more addresses than this is cut: each pick looks at all of them.
const ADDRESSES_MAX: usize = 64;

/// What came of one look-up. For the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The answer is in use.
    Fresh,
    /// No usable answer; the addresses known before stay in use.
    Kept,
    /// No usable answer, and none is known from before: requests fail.
    Unknown,
}

/// Whether a name resolves, as last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameHealth {
    #[default]
    Resolves,
    Fails,
}

/// What is worth telling of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameChange {
    /// It resolves no more, or never did.
    Lost,
    /// It resolves again.
    Found,
}

impl NameHealth {
    /// What a look-up changed; most change nothing.
    pub const fn note(&mut self, resolution: Resolution) -> Option<NameChange> {
        let (now, change) = match (*self, resolution) {
            (Self::Resolves, Resolution::Kept | Resolution::Unknown) => {
                (Self::Fails, Some(NameChange::Lost))
            }
            (Self::Fails, Resolution::Fresh) => (Self::Resolves, Some(NameChange::Found)),
            (Self::Resolves, Resolution::Fresh)
            | (Self::Fails, Resolution::Kept | Resolution::Unknown) => (*self, None),
        };
        *self = now;
        change
    }
}

/// Resolves the upstream's name now and then every 30 s, until the upstream is dropped. Tells each
/// look-up's end. Ends at once where the addresses are fixed.
///
/// There is never more than one look-up under way: a system resolver that hangs can't be cancelled,
/// only waited for.
pub async fn keep_resolved(upstream: Weak<Upstream>, mut tell: impl FnMut(Resolution) + Send) {
    loop {
        let pause = {
            let Some(upstream) = upstream.upgrade() else { return };
            match upstream.spec().addresses {
                Addresses::Fixed(_) => return,
                Addresses::Dns => {}
            }
            let spec = upstream.spec();
            let answer = tokio::net::lookup_host((spec.host.as_str(), spec.port)).await;
            let resolution = apply(&upstream, answer.map(Iterator::collect));
            tell(resolution);
            match resolution {
                Resolution::Fresh | Resolution::Kept => REFRESH,
                Resolution::Unknown => RETRY,
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn apply(upstream: &Upstream, answer: io::Result<Vec<SocketAddr>>) -> Resolution {
    let usable = answer.map(|all| usable(all, has_route)).unwrap_or_default();
    if !usable.is_empty() {
        upstream.replace_addresses(&usable);
        Resolution::Fresh
    } else if upstream.knows_addresses() {
        Resolution::Kept
    } else {
        Resolution::Unknown
    }
}

/// Drops what is no host's address, and addresses that this machine has no route to (IPv6 in an
/// IPv4-only network), unless no others are left.
fn usable(mut all: Vec<SocketAddr>, has_route: impl Fn(&SocketAddr) -> bool) -> Vec<SocketAddr> {
    all.retain(|addr| {
        let ip = addr.ip().to_canonical();
        addr.port() != 0
            && !ip.is_unspecified()
            && !ip.is_multicast()
            && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
    });
    all.sort_unstable();
    all.dedup();
    let (mut routed, unrouted): (Vec<_>, Vec<_>) = all.into_iter().partition(has_route);
    if routed.is_empty() {
        routed = unrouted;
    }
    routed.truncate(ADDRESSES_MAX);
    routed
}

/// Asks the kernel's routing table. Connecting a UDP socket sends nothing.
fn has_route(addr: &SocketAddr) -> bool {
    let any = match addr {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(addr)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::base::{Moment, Name, UpstreamFault};
    use crate::upstream::{BreakerSpec, UpstreamSpec};

    fn upstream(host: &str, addresses: Addresses) -> Arc<Upstream> {
        Arc::new(Upstream::new(UpstreamSpec {
            name: Name::parse("store").unwrap(),
            host: host.into(),
            port: 8443,
            addresses,
            breaker: BreakerSpec {
                failures: NonZeroU32::new(5).unwrap(),
                open: Duration::from_secs(10),
            },
        }))
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_name_is_resolved_in_the_background_and_the_task_ends_with_its_upstream() {
        let upstream = upstream("localhost", Addresses::Dns);
        let now = Moment::new(0, 0);
        assert_eq!(upstream.pick(&[], now).unwrap_err(), UpstreamFault::Unreachable);
        let fresh = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&fresh);
        let task = tokio::spawn(keep_resolved(Arc::downgrade(&upstream), move |resolution| {
            if resolution == Resolution::Fresh {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }));
        upstream.ready(Duration::from_secs(20)).await.unwrap();
        let picked = upstream.pick(&[], now).unwrap();
        assert!(picked.address().ip().is_loopback());
        assert_eq!(picked.address().port(), 8443);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled(), "it goes on while the upstream is there");
        assert_eq!(fresh.load(Ordering::SeqCst), 1);
        drop(picked);
        let gone = Arc::downgrade(&upstream);
        drop(upstream);
        keep_resolved(gone, |resolution| panic!("{resolution:?}")).await;
    }

    #[tokio::test]
    async fn fixed_addresses_are_never_resolved() {
        let fixed = vec![addr("10.0.0.5:1")];
        let upstream = upstream("localhost", Addresses::Fixed(fixed));
        keep_resolved(Arc::downgrade(&upstream), |resolution| panic!("{resolution:?}")).await;
        upstream.ready(Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn the_first_wait_is_bounded() {
        let upstream = upstream("localhost", Addresses::Dns);
        assert_eq!(upstream.ready(Duration::ZERO).await, Err(UpstreamFault::Unreachable));
    }

    #[test]
    fn a_name_is_told_when_it_changes_and_not_for_every_look_up() {
        use Resolution::{Fresh, Kept, Unknown};
        let mut health = NameHealth::default();
        let told = [Fresh, Fresh, Kept, Kept, Unknown, Fresh, Fresh].map(|what| health.note(what));
        let (lost, found) = (Some(NameChange::Lost), Some(NameChange::Found));
        assert_eq!(told, [None, None, lost, None, None, found, None]);
        assert_eq!(NameHealth::default().note(Unknown), lost, "at the start, too");
    }

    #[test]
    fn a_failed_or_empty_answer_keeps_the_last_good_one() {
        let upstream = upstream("store.internal", Addresses::Dns);
        let down = || Err(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(apply(&upstream, down()), Resolution::Unknown);
        assert_eq!(apply(&upstream, Ok(vec![addr("127.0.0.1:8443")])), Resolution::Fresh);
        assert_eq!(apply(&upstream, down()), Resolution::Kept);
        assert_eq!(apply(&upstream, Ok(vec![])), Resolution::Kept);
        assert_eq!(apply(&upstream, Ok(vec![addr("0.0.0.0:8443")])), Resolution::Kept);
        let picked = upstream.pick(&[], Moment::new(0, 0)).unwrap();
        assert_eq!(picked.address(), addr("127.0.0.1:8443"));
    }

    #[test]
    fn what_is_no_host_is_dropped_and_the_list_is_bounded() {
        let answer = ["0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1"]
            .into_iter()
            .chain(["[::ffff:0.0.0.0]:1", "10.0.0.1:0", "10.0.0.2:1", "10.0.0.2:1"])
            .map(addr)
            .collect();
        assert_eq!(usable(answer, |_| true), [addr("10.0.0.2:1")]);
        let many = (0..200).map(|last| SocketAddr::from(([10, 0, 0, last], 1))).collect();
        assert_eq!(usable(many, |_| true).len(), ADDRESSES_MAX);
    }

    #[test]
    fn addresses_without_a_route_are_left_out_while_there_are_others() {
        let both = || vec![addr("[2001:db8::1]:1"), addr("10.0.0.2:1")];
        assert_eq!(usable(both(), SocketAddr::is_ipv4), [addr("10.0.0.2:1")]);
        assert_eq!(usable(both(), |_| false).len(), 2);
        assert!(has_route(&addr("127.0.0.1:1")));
    }
}
