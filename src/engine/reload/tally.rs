//! Counts of one configuration, by place: what went through, and what of it failed.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::{Denial, Name, UpstreamIx};
use crate::config::Snapshot;
use crate::trial::{Figures, Sample, Spot};

/// See the module. Two atomic additions for each request and place.
#[derive(Debug)]
pub(in crate::engine) struct Tally {
    upstreams: Box<[(Name, Cell)]>,
    listeners: Box<[(Name, Cell)]>,
    access: Cell,
    gateway: Cell,
}

#[derive(Debug, Default)]
struct Cell {
    sent: AtomicU64,
    failed: AtomicU64,
}

/// How one thing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Ended {
    Well,
    Failed,
}

impl Ended {
    pub(in crate::engine) const fn failed_if(failed: bool) -> Self {
        if failed { Self::Failed } else { Self::Well }
    }
}

impl Cell {
    fn note(&self, ended: Ended) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        if ended == Ended::Failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn figures(&self, over: Duration) -> Figures {
        let failed = self.failed.load(Ordering::Relaxed);
        let sent = self.sent.load(Ordering::Relaxed).max(failed);
        Figures { sent, failed, over }
    }
}

impl Tally {
    pub(in crate::engine) fn of(snapshot: &Snapshot) -> Self {
        let cell = |name: &Name| (name.clone(), Cell::default());
        Self {
            upstreams: snapshot.upstreams.iter().map(|up| cell(&up.name)).collect(),
            listeners: snapshot.listeners.iter().map(|one| cell(&one.name)).collect(),
            access: Cell::default(),
            gateway: Cell::default(),
        }
    }

    /// `place`: where this configuration has the listener.
    pub(in crate::engine) fn handshake(&self, place: Option<usize>, ended: Ended) {
        if let Some((_, cell)) = place.and_then(|place| self.listeners.get(place)) {
            cell.note(ended);
        }
    }

    pub(in crate::engine) fn upstream(&self, upstream: UpstreamIx, ended: Ended) {
        if let Some((_, cell)) = self.upstreams.get(upstream.index()) {
            cell.note(ended);
        }
    }

    pub(in crate::engine) fn request(&self, denial: Option<Denial>) {
        match denial {
            None => [&self.access, &self.gateway].into_iter().for_each(|all| all.note(Ended::Well)),
            Some(Denial::Internal) => self.gateway.note(Ended::Failed),
            Some(denial) if is_of_access(denial) => self.access.note(Ended::Failed),
            // Neither here nor there: a flood of malformed requests is no success either.
            Some(_) => {}
        }
    }

    /// Everything since this configuration came into force, so long ago.
    pub(super) fn all(&self, over: Duration) -> Sample {
        let upstreams = self.upstreams.iter();
        let upstreams = upstreams.map(|(name, cell)| (Spot::Upstream(name.clone()), cell));
        let listeners = self.listeners.iter();
        let listeners = listeners.map(|(name, cell)| (Spot::Listener(name.clone()), cell));
        let rest = [(Spot::Access, &self.access), (Spot::Gateway, &self.gateway)];
        let all = upstreams.chain(listeners).chain(rest);
        Sample(all.map(|(spot, cell)| (spot, cell.figures(over))).collect())
    }
}

/// Refusals that follow from who may do what, and how that is proved. Locks, quotas and malformed
/// requests have other reasons than a change.
const fn is_of_access(denial: Denial) -> bool {
    matches!(
        denial,
        Denial::WrongHost
            | Denial::NoCredential
            | Denial::Token(_)
            | Denial::NoIdentity
            | Denial::NetworkNotListed
            | Denial::AddressRevoked
            | Denial::OperationUnknown
            | Denial::OperationNotGranted
            | Denial::QueryNotGranted
            | Denial::UpgradeNotAllowed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HeadFault;

    #[test]
    fn mon_5_what_is_malformed_is_neither_a_success_nor_a_failure() {
        let tally = Tally {
            upstreams: Box::default(),
            listeners: Box::default(),
            access: Cell::default(),
            gateway: Cell::default(),
        };
        for denial in [
            None,
            Some(Denial::Head(HeadFault::TooLarge)),
            Some(Denial::QuotaExceeded),
            Some(Denial::NoCredential),
            Some(Denial::Internal),
        ] {
            tally.request(denial);
        }
        let all = tally.all(Duration::ZERO);
        for spot in [Spot::Access, Spot::Gateway] {
            let figures = all.of(&spot);
            assert_eq!((figures.sent, figures.failed), (2, 1), "{spot:?}");
        }
    }
}
