//! Whether targets are there: what connecting to them finds, and the checks that do so by themselves
//! as long as the configuration in force has the route.
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;

use super::{Engine, Live, PassRoute, Teller};
use crate::base::{Clock, UpstreamFault};
use crate::upstream::{Outcome, keep_resolved};

/// What came of connecting to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    Yes,
    Refused,
    /// No way leads there.
    Unreachable,
    TimedOut,
    /// This host lacks something: descriptors, ports, memory. It says nothing about the target.
    Shortage,
}

impl Reached {
    /// Why connecting failed.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(
                Errno::MFILE
                | Errno::NFILE
                | Errno::NOBUFS
                | Errno::NOMEM
                | Errno::ADDRNOTAVAIL
                | Errno::ADDRINUSE
                | Errno::AGAIN,
            ) => Self::Shortage,
            Some(Errno::TIMEDOUT) => Self::TimedOut,
            Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN) => Self::Unreachable,
            Some(_) | None => Self::Refused,
        }
    }

    /// For the metrics.
    pub(super) const fn failure(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::Refused => Some("refused"),
            Self::Unreachable => Some("unreachable"),
            Self::TimedOut => Some("timed_out"),
            Self::Shortage => Some("local_shortage"),
        }
    }

    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Self::Yes => Outcome::Ok,
            Self::Refused | Self::Unreachable => Outcome::ConnectFailed,
            Self::TimedOut => Outcome::TimedOut,
            Self::Shortage => Outcome::Abandoned,
        }
    }
}

impl PassRoute {
    /// Connects to a target once, to see whether it is there.
    async fn check(&self, place: usize, clock: &Clock, teller: &Teller) {
        match self.pick(place, clock.now()) {
            Ok(mut chosen) => {
                let connect = TcpStream::connect(chosen.address());
                let reached =
                    match tokio::time::timeout(self.settings.connect_timeout, connect).await {
                        Ok(Ok(_tcp)) => Reached::Yes,
                        Ok(Err(error)) => Reached::of(&error),
                        Err(_elapsed) => Reached::TimedOut,
                    };
                self.report(&mut chosen, reached, clock.now(), teller);
            }
            Err(UpstreamFault::Unreachable) => {
                let unresolved = "unresolved";
                self.count(place, unresolved);
                self.note(place, Some(unresolved), teller, |health| health.unresolved = true);
            }
            // It is left alone, and its time has not come.
            Err(_open) => {}
        }
    }

    /// The configuration in force has it from now on.
    fn begin(self: &Arc<Self>, clock: &Clock, teller: &Teller) {
        self.show();
        let mut tasks = self.tasks.lock();
        for (place, target) in self.targets.iter().enumerate() {
            let (clock, teller) = (clock.clone(), teller.clone());
            let checks = keep_checked(Arc::downgrade(self), place, clock, teller);
            tasks.push(tokio::spawn(checks).abort_handle());
            // Names that don't resolve show in the checks.
            let names = keep_resolved(Arc::downgrade(&target.pool), |_resolution| {});
            tasks.push(tokio::spawn(names).abort_handle());
        }
    }
}

/// Checks a target now and then, until that is stopped or its route is dropped.
async fn keep_checked(route: Weak<PassRoute>, place: usize, clock: Clock, teller: Teller) {
    let mut salt = clock.now().mono_ns();
    let mut first = true;
    loop {
        let every = match route.upgrade() {
            Some(route) => route.settings.check,
            None => return,
        };
        salt = salt.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let pause = if first { spread(every, salt, 0, 100) } else { spread(every, salt, 90, 110) };
        first = false;
        tokio::time::sleep(pause).await;
        let Some(route) = route.upgrade() else { return };
        route.check(place, &clock, &teller).await;
    }
}

/// Between so many hundredths of `every`, so that not all targets are checked at once, nor by all
/// gateways.
pub(super) fn spread(every: Duration, salt: u64, low: u32, high: u32) -> Duration {
    let span = u64::from(high.saturating_sub(low)).saturating_add(1);
    let more = (salt >> 33).checked_rem(span).and_then(|more| u32::try_from(more).ok());
    every.saturating_mul(low.saturating_add(more.unwrap_or(0))) / 100
}

impl Engine {
    /// Watches the targets of new routes, and those of routes that are gone no more: connections that
    /// last keep these, and what becomes of their targets is nobody's business then.
    pub(in crate::engine) fn watch_targets(&self, live: &Live, before: Option<&Live>) {
        let has = |live: &Live, route: &Arc<PassRoute>| {
            live.passes().any(|other| Arc::ptr_eq(other, route))
        };
        for route in before.into_iter().flat_map(Live::passes) {
            if !has(live, route) {
                route.retire();
            }
        }
        for route in live.passes() {
            if !before.is_some_and(|before| has(before, route)) {
                route.begin(&self.clock, &self.teller());
            }
        }
    }
}
