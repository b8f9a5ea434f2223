//! Networks that operators lock, and identities that are killed (ACC-5): whoever comes from such a network
//! is turned away before TLS, and what is open from there, or by such an identity, is cut.
use std::sync::Weak;

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

    /// For its network, or for somebody who proved itself there and is killed. Whoever comes back is
    /// refused.
    pub(in crate::engine) fn cut_of_lock(&self, link: &ConnLink, now: Moment) -> Option<Cut> {
        let by = |identity| Cut { fault: RevokedFault::Lock, identity };
        if self.is_shut_out(&link.facts.addr) {
            return Some(by(None));
        }
        let mut there = link.identities().into_iter();
        there.find(|name| self.locks.is_killed(name, now)).map(|name| by(Some(name)))
    }
}

/// Cuts what is open from a network as soon as it is locked, and by an identity as soon as it is killed,
/// here or on another gateway, as long as the engine lives. Whoever joins the roll or proves itself later is
/// looked at by itself.
pub(in crate::engine) async fn keep_out(engine: Weak<Engine>) {
    let Some(mut cuts) = engine.upgrade().map(|here| here.locks.cuts()) else { return };
    while cuts.changed().await.is_ok() {
        let Some(here) = engine.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || {
            let now = here.clock.now();
            here.cut_where(|link| judged(|| here.cut_of_lock(link, now)));
        });
        if looked.await.is_err()
            && let Some(here) = engine.upgrade()
        {
            // Whoever looks at what else connections stand on looks at this, too, and tries again.
            here.ring();
        }
    }
}
