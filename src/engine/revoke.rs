//! Open connections when the ground is taken from under them (ACC-3): an identity that may no longer
//! enter, a certificate revoked or without its authority, a token denied or its key lost, a network off the
//! list, a socket that has outlived its token.
//!
//! 1. All that are open are on one roll. A reload, a denied token, a key that its issuer has no more and
//!    the end of somebody's time ring for a look at each, on a thread of its own: requests pay nothing for it.
//!    Whoever is locked out by hand is looked for at once, in the same way.
//! 2. A chain is verified again only if authorities or revocation lists changed, and once for all
//!    connections that showed it.
//! 3. Whoever joins the roll after the look began is looked at by itself.
//!
//! On failure: what can't be judged is cut.
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::conn::{ConnFacts, ConnLink, Cut};
use super::{Engine, Live};
use crate::base::{Denial, ListenerIx, Moment, Name, RevokedFault};
use crate::evidence::{Event, Fixed};
use crate::identity::still_proves;
use crate::policy::NetworkMask;

/// How often the clock is looked at for somebody's end.
const LOOK: Duration = Duration::from_millis(250);
/// Connections taken off the roll at a time, so that those who join wait for no more.
const AT_ONCE: usize = 256;

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct Roll {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<ConnLink>>>,
    rung: Notify,
    /// When a look is due at the latest, in seconds since 1970.
    due: AtomicU64,
}

/// A connection's place on the roll; dropping it gives it up.
#[derive(Debug)]
pub struct Enrolled {
    engine: Arc<Engine>,
    place: u64,
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.engine.roll.open.lock().remove(&self.place);
    }
}

/// Looks at every connection whenever that is due, as long as the engine lives.
pub(super) async fn keep_watch(engine: Weak<Engine>) {
    let Some(mut tokens) = engine.upgrade().map(|engine| engine.locks.tokens.subscribe()) else {
        return;
    };
    loop {
        let Some(here) = engine.upgrade() else { return };
        let due = tokio::select! {
            () = here.roll.rung.notified() => true,
            () = here.jwks.lost() => true,
            changed = tokens.changed() => changed.is_ok(),
            () = tokio::time::sleep(LOOK) => {
                here.clock.now().unix_secs() >= here.roll.due.load(Ordering::Acquire)
            }
        };
        if due {
            let again = Arc::downgrade(&here);
            let swept = tokio::task::spawn_blocking(move || here.sweep());
            if swept.await.is_err()
                && let Some(here) = again.upgrade()
            {
                // What it had not come to is still to be looked at; not all the time, if it never is.
                tokio::time::sleep(LOOK).await;
                here.ring();
            }
        }
    }
}

/// What a look at many connections need not find out twice.
#[derive(Default)]
struct Verdicts {
    hasher: RandomState,
    chains: HashMap<(ListenerIx, u64), bool>,
}

impl Engine {
    /// Puts a connection on the roll.
    #[must_use]
    pub fn enrol(self: &Arc<Self>, link: &Arc<ConnLink>) -> Enrolled {
        let place = self.roll.next.fetch_add(1, Ordering::Relaxed);
        self.roll.open.lock().insert(place, Arc::clone(link));
        // Judged at the door by a configuration that may be gone, or before its network was locked.
        let other = link.facts.generation != self.live.load().snapshot.generation;
        if other || self.locks.holds_networks() {
            self.look_again(link);
        }
        self.expect(link.facts.certificate.as_ref().map_or(u64::MAX, |own| own.not_after() + 1));
        Enrolled { engine: Arc::clone(self), place }
    }

    /// ACC-1: a request turned into a socket. It ends with what proved who opened it, whereas an answer
    /// that is under way then is let go on to its end.
    pub fn opened_socket(&self, link: &ConnLink, who: &Name, until: u64) {
        link.opened_socket(who.clone(), until);
        self.expect(until);
        // The last look may have been before it was known to be somebody's.
        self.look_again(link);
    }

    /// Has all connections looked at soon.
    pub(super) fn ring(&self) {
        self.roll.rung.notify_one();
    }

    /// A look is due by then, in seconds since 1970.
    pub(super) fn expect(&self, unix_secs: u64) {
        self.roll.due.fetch_min(unix_secs, Ordering::AcqRel);
    }

    /// Looks at one connection that the last look may have missed.
    pub(super) fn look_again(&self, link: &ConnLink) {
        let (live, now) = (self.live(), self.clock.now());
        let judged = judged(|| self.judge(&live, link, now, &mut Verdicts::default()));
        if let Some(cut) = judged
            && link.cut(cut.clone())
        {
            self.report_cut(&link.facts.listener_name, &cut, 1);
        }
    }

    fn sweep(&self) {
        // Taken first: whoever locks a token waits for this lock, and has the table's.
        let denied = std::mem::take(&mut *self.locks.denied.lock());
        for token in denied {
            self.tokens.forget(token);
        }
        let (live, now) = (self.live(), self.clock.now());
        self.roll.due.store(live.authorities_until(now), Ordering::Release);
        let mut verdicts = Verdicts::default();
        self.cut_where(|link| judged(|| self.judge(&live, link, now, &mut verdicts)));
    }

    /// Cuts those of all open connections for which there is a reason.
    pub(super) fn cut_where(&self, mut reason: impl FnMut(&ConnLink) -> Option<Cut>) {
        let mut cuts: HashMap<(Name, Cut), u64> = HashMap::new();
        let mut from = Bound::Unbounded;
        loop {
            let some: Vec<(u64, Arc<ConnLink>)> = {
                let open = self.roll.open.lock();
                let range = open.range((from, Bound::Unbounded)).take(AT_ONCE);
                range.map(|(place, link)| (*place, Arc::clone(link))).collect()
            };
            let Some((last, _)) = some.last() else { break };
            from = Bound::Excluded(*last);
            for (_, link) in &some {
                if let Some(cut) = reason(link)
                    && link.cut(cut.clone())
                {
                    let count = cuts.entry((link.facts.listener_name.clone(), cut)).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
        for ((listener, cut), count) in cuts {
            self.report_cut(&listener, &cut, count);
        }
    }

    /// What a connection no longer stands on.
    fn judge(
        &self,
        live: &Live,
        link: &ConnLink,
        now: Moment,
        verdicts: &mut Verdicts,
    ) -> Option<Cut> {
        let (conn, snapshot) = (&link.facts, &live.snapshot);
        let by = |fault, identity| Some(Cut { fault, identity });
        if let Some(cut) = self.cut_of_lock(link, now) {
            return Some(cut);
        }
        // Whoever came by a listener that is gone was told to go, is refused, and has as long as its
        // answers may take; what else it stands on is looked at as ever.
        let gone = live.listener(conn.listener).is_none();
        let networks = match live.networks_of(conn) {
            Ok(networks) => networks,
            Err(_) if gone => snapshot.networks.lookup(&conn.addr),
            Err(_) => return by(RevokedFault::Network, None),
        };
        let peer = link.certificate_under(live.authorities(conn.listener, now), |chain| {
            let key = verdicts.hasher.hash_one(chain.iter().map(AsRef::as_ref).collect::<Vec<_>>());
            let verify = || live.still_verifies(conn.listener, chain, now);
            *verdicts.chains.entry((conn.listener, key)).or_insert_with(verify)
        });
        if let Some(own) = &conn.certificate {
            let ends = own.not_after().saturating_add(1);
            if peer.is_none() || now.unix_secs() >= ends {
                let held = link.identities();
                return by(RevokedFault::Certificate, held.first().cloned());
            }
            self.expect(ends);
        }
        if let Some(name) = link.denied_token(|token| self.locks.is_token_denied(token, now)) {
            return by(RevokedFault::Token, Some(name));
        }
        let keys = self.jwks.current();
        for (name, shown) in link.proofs() {
            let ix = self.locks.identity_named(&name);
            let known = ix.filter(|ix| snapshot.names.identity(*ix) == Some(&name));
            if ix.is_some() && known.is_none() {
                // Yet another configuration comes in force; it rings for a look of its own.
                continue;
            }
            let proves = |ix: &_| still_proves(&snapshot.trust, &keys, *ix, shown, peer, now);
            let Some(ix) = known.filter(proves) else {
                return by(RevokedFault::Identity, Some(name));
            };
            if !snapshot.policy.networks_of(ix).intersects(&networks) {
                return by(RevokedFault::Network, Some(name));
            }
            self.expect(snapshot.trust.ends(ix));
        }
        if let Some((name, until)) = link.socket() {
            if now.unix_secs() >= *until {
                return by(RevokedFault::Expired, Some(name.clone()));
            }
            self.expect(*until);
        }
        None
    }

    fn report_cut(&self, listener: &Name, cut: &Cut, count: u64) {
        let cause = Fixed::new(word(cut.fault));
        self.metrics.life.cut(cause, count);
        let identity = cut.identity.as_ref();
        self.report_event(&Event::ConnectionsCut { listener, identity, cause, count });
    }
}

/// A look that panics has cleared nobody, and must not keep the others from theirs.
pub(super) fn judged(judge: impl FnOnce() -> Option<Cut>) -> Option<Cut> {
    let unjudged = Cut { fault: RevokedFault::Unjudged, identity: None };
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or(Some(unjudged))
}

impl Live {
    /// The named networks that a connection's client is in now, if the listener still admits it
    /// (NET-1, NET-3).
    ///
    /// # Errors
    /// It does not.
    pub fn networks_of(&self, conn: &ConnFacts) -> Result<NetworkMask, Denial> {
        if conn.generation == self.snapshot.generation {
            return Ok(conn.networks);
        }
        let table = &self.snapshot.networks;
        let networks = table.lookup(&conn.addr);
        let listed = self.listener(conn.listener).is_some_and(|listener| {
            let balancer = match (&conn.balancer, &listener.proxy_from) {
                (None, None) => true,
                (Some(balancer), Some(from)) => table.lookup(balancer).intersects(from),
                // The listener changed between direct and balanced: nobody's facts hold any more.
                (None, Some(_)) | (Some(_), None) => false,
            };
            balancer && networks.intersects(&listener.networks)
        });
        if listed { Ok(networks) } else { Err(Denial::AddressRevoked) }
    }
}

const fn word(fault: RevokedFault) -> &'static str {
    match fault {
        RevokedFault::Identity => "identity",
        RevokedFault::Certificate => "certificate",
        RevokedFault::Token => "token",
        RevokedFault::Expired => "expired",
        RevokedFault::Grant => "grant",
        RevokedFault::Network => "network",
        RevokedFault::Lock => "lock",
        RevokedFault::Unjudged => "unjudged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acc_3_whoever_cannot_be_judged_is_cut_and_the_others_are_judged() {
        let fault = |cut: Option<Cut>| cut.map(|cut| cut.fault);
        let by = |fault| Some(Cut { fault, identity: None });
        let mut looks = 0;
        let found: Vec<_> = (0..3)
            .map(|place| {
                fault(judged(|| {
                    looks += 1;
                    assert!(place != 1, "a defect");
                    if place == 0 { None } else { by(RevokedFault::Identity) }
                }))
            })
            .collect();
        let (unjudged, identity) = (Some(RevokedFault::Unjudged), Some(RevokedFault::Identity));
        assert_eq!((found, looks), (vec![None, unjudged, identity], 3));
    }
}
