//! Who judges the certificates that were shown on a listener that is gone, as long as what came by it may
//! take its time. Controls: ACC-3.
use rustls_pki_types::CertificateDer;

use super::Live;
use super::tls::Judge;
use crate::base::{ListenerIx, Moment};
use crate::config::Snapshot;

#[derive(Clone, Debug)]
pub(super) struct Gone {
    listener: ListenerIx,
    judge: Judge,
    since: Moment,
}

impl Gone {
    pub(super) const fn judge(&self) -> &Judge {
        &self.judge
    }
}

/// Those of `before`, and the listeners that it has and the next configuration has not.
pub(super) fn with(before: &Live, next: &Snapshot, now: Moment) -> Vec<Gone> {
    let grace = before.snapshot.shutdown_grace.max(next.shutdown_grace);
    let known = before.gone.iter().filter(|gone| now.since(gone.since) < grace).cloned();
    let listeners = before.snapshot.listeners.iter().map(|listener| listener.ix);
    let judged = listeners.zip(&before.judges).filter(|(ix, _)| next.listener(*ix).is_none());
    let fresh = judged
        .filter_map(|(listener, judge)| Some(Gone { listener, judge: judge.clone()?, since: now }));
    known.chain(fresh).collect()
}

/// Whether a chain that was shown there would be accepted now. Nobody reads that listener's own lists any
/// more, but those of others may speak of the same authorities.
pub(super) fn admits(
    live: &Live,
    listener: ListenerIx,
    chain: &[CertificateDer<'static>],
    now: Moment,
) -> bool {
    let Some(Gone { judge, .. }) = live.gone.iter().rfind(|gone| gone.listener == listener) else {
        return false;
    };
    let objects = |other: &Judge| other.objects_for(judge, chain, now);
    judge.admits(chain, now) && !live.judges.iter().flatten().any(objects)
}
