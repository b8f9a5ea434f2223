//! Networks that operators lock (ACC-5): whoever comes from one is turned away before TLS, and what is
//! open from one is cut.
use std::sync::{Arc, Weak};

use super::{Engine, Locks};
use crate::base::{ClientAddr, Moment, RevokedFault, SourceRange};
use crate::engine::conn::{ConnLink, Cut};
use crate::engine::revoke::judged;
use crate::lockout::Subject;

impl Locks {
    /// The locked network that an address is in. One look where none is locked.
    fn network_locked(&self, addr: &ClientAddr, now: Moment) -> Option<SourceRange> {
        let hash = &self.keys.network;
        self.compiled.load().standings.locked_range(|shape| addr.range(shape, hash), now)
    }

    /// Whether there are networks that are locked, or were a moment ago.
    pub(in crate::engine) fn holds_networks(&self) -> bool {
        self.compiled.load().standings.holds_ranges()
    }
}

impl Engine {
    /// Whether somebody who knocks is turned away, since its network is locked; counts the attempt.
    #[must_use]
    pub fn shuts_out(&self, addr: &ClientAddr) -> bool {
        let locked = self.locks.network_locked(addr, self.clock.now());
        if let Some(range) = locked {
            self.locks.attempted(Subject::Network(range));
        }
        locked.is_some()
    }

    /// The same of somebody who is inside, which is no attempt.
    pub(in crate::engine) fn is_shut_out(&self, addr: &ClientAddr) -> bool {
        self.locks.network_locked(addr, self.clock.now()).is_some()
    }

    pub(in crate::engine) fn cut_of_network(&self, link: &ConnLink) -> Option<Cut> {
        let cut = Cut { fault: RevokedFault::Lock, identity: None };
        self.is_shut_out(&link.facts.addr).then_some(cut)
    }
}

/// Cuts what is open from a network as soon as it is locked, here or on another gateway, as long as
/// the engine lives. Whoever joins the roll later is looked at by itself.
pub(in crate::engine) async fn keep_out(engine: Weak<Engine>) {
    let Some((mut changes, mut before)) =
        engine.upgrade().map(|here| (here.locks.changes(), here.locks.compiled.load_full()))
    else {
        return;
    };
    while changes.changed().await.is_ok() {
        let Some(here) = engine.upgrade() else { return };
        let compiled = here.locks.compiled.load_full();
        if !compiled.standings.shares_ranges(&before.standings) {
            here.cut_where(|link| judged(|| here.cut_of_network(link)));
        }
        before = Arc::clone(&compiled);
    }
}
