//! A connection that is passed on: what the door knows of it, whether it may go on, and how it ended.
use std::pin::pin;

use tokio::time::{Instant, sleep_until};

use super::Engine;
use crate::base::{ClientAddr, Name, Pseudonym};
use crate::config::Way;
use crate::evidence;
use crate::lockout::{Step, Subject};
use crate::policy::NetworkMask;

/// How a connection that was passed on ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassEnd {
    /// Both sides closed in order.
    Closed,
    /// Both were silent for too long.
    Idle,
    /// The client went away.
    Client,
    /// The target did.
    Target,
    /// No target could be connected to.
    NoTarget,
    /// The target's first byte was none of TLS.
    NotTls,
    /// The target closed before its first byte.
    Silent,
    /// The route has as many connections as it may.
    Full,
    /// The gateway ended.
    Cut,
    /// Its target is one no more.
    TargetGone,
    /// The configuration, or a kill, permits it no more.
    Revoked,
}

/// Whether a connection may go on.
enum Verdict {
    Passes,
    /// As it is, but nobody would be sent to that target any more. That is how one is taken out of
    /// service, and takes nobody's right to be here.
    TargetGone,
    Revoked,
}

impl PassEnd {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Client => "client_reset",
            Self::Target => "target_reset",
            Self::NoTarget => "no_target",
            Self::NotTls => "not_tls",
            Self::Silent => "target_silent",
            Self::Full => "route_full",
            Self::Cut => "cut",
            Self::TargetGone => "target_gone",
            Self::Revoked => "revoked",
        }
    }

    /// For the record.
    #[must_use]
    pub const fn outcome(self) -> evidence::Outcome {
        match self {
            Self::Closed | Self::Idle | Self::Client | Self::Cut | Self::TargetGone => {
                evidence::Outcome::Allowed
            }
            Self::Full | Self::Revoked => evidence::Outcome::Denied,
            Self::Target | Self::NoTarget | Self::NotTls | Self::Silent => {
                evidence::Outcome::Failed
            }
        }
    }
}

/// What the door knows of a connection that it passes on.
#[derive(Debug)]
pub struct PassFacts {
    pub listener: Name,
    /// The real client, behind a balancer too (NET-3).
    pub addr: ClientAddr,
    pub source: Pseudonym,
    pub source_day: u32,
    /// As in [`ConnFacts`](crate::engine::ConnFacts).
    pub source_hash: u64,
    /// A named network that holds the address.
    pub network: Option<Name>,
    pub balancer: Option<ClientAddr>,
    /// What the client asked for; not written down.
    pub server_name: Option<Box<str>>,
    pub generation: u64,
}

impl Engine {
    /// Returns when a connection that is passed on may no longer go on, and how it ends: at once, or,
    /// where only its target is gone, when it `rests` after the grace that requests have.
    pub async fn unpassed(
        &self,
        facts: &PassFacts,
        to: (&str, u16),
        rests: impl Future<Output = ()>,
    ) -> PassEnd {
        let mut rests = pin!(rests);
        let (mut reloads, mut locks) = (self.generations.subscribe(), self.locks.cuts());
        let mut gone: Option<Instant> = None;
        loop {
            match self.still_passes(facts, to) {
                Verdict::Revoked => return PassEnd::Revoked,
                Verdict::Passes => gone = None,
                Verdict::TargetGone => {
                    gone.get_or_insert_with(Instant::now);
                }
            }
            let leaves = async {
                let grace = self.live().snapshot.shutdown_grace;
                match gone.and_then(|gone| gone.checked_add(grace)) {
                    Some(over) => sleep_until(over).await,
                    None => std::future::pending().await,
                }
                rests.as_mut().await;
            };
            // Their senders live as long as the engine.
            let _ = tokio::select! {
                changed = reloads.changed() => changed,
                changed = locks.changed() => changed,
                () = leaves => return PassEnd::TargetGone,
            };
        }
    }

    /// Whether the configuration in force would pass a connection on to this host and port.
    fn still_passes(&self, facts: &PassFacts, (host, port): (&str, u16)) -> Verdict {
        let live = self.live();
        let snapshot = &live.snapshot;
        let mut listeners = snapshot.listeners.iter();
        let Some(listener) = listeners.find(|listener| listener.name == facts.listener) else {
            return Verdict::Revoked;
        };
        let lists =
            |addr: &ClientAddr, list: &NetworkMask| snapshot.networks.lookup(addr).intersects(list);
        let balancer = match (&facts.balancer, &listener.proxy_from) {
            (Some(balancer), Some(list)) => lists(balancer, list),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let route = match listener.way(facts.server_name.as_deref()) {
            Way::Pass(route) => listener.pass.routes().get(route),
            Way::End | Way::Unknown | Way::Nameless => None,
        };
        let may = balancer
            && lists(&facts.addr, &listener.networks)
            && !self.is_killed(facts)
            && !self.is_shut_out(&facts.addr);
        let Some(route) = route.filter(|_| may) else { return Verdict::Revoked };
        let mut targets = route.targets.iter();
        if targets.any(|target| target.host == host && target.port == port) {
            Verdict::Passes
        } else {
            Verdict::TargetGone
        }
    }

    /// Whether everything that comes from a client's network was stopped by hand (ACC-2).
    #[must_use]
    pub fn is_killed(&self, facts: &PassFacts) -> bool {
        let subject = Subject::Source(facts.source_hash);
        let now = self.clock.now();
        self.locks
            .read(|table| table.held(&subject, now).is_some_and(|(of, _)| of.step == Step::Kill))
    }
}
