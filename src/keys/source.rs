//! One issuer's keys: where they come from, what is known of them, and how a reload takes them over.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::fetch::{self, JwksFault};
use super::jwks::{IssuerKeys, JwksSource};
use crate::base::Moment;
use crate::https;
use crate::identity::KeySet;

pub(super) struct Source {
    pub(super) issuer: IssuerKeys,
    /// Present for a URL.
    tls: Option<TlsConnector>,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) keys: Option<Arc<KeySet>>,
    pub(super) read_at: Option<Moment>,
    /// How old they were at that moment: those of another process are.
    pub(super) were: Duration,
    pub(super) fault: Option<JwksFault>,
    pub(super) fetched: u64,
    pub(super) failed: u64,
    pub(super) tried_at: Option<Moment>,
    pub(super) asked_at: Option<Moment>,
    /// Closes when the fetch that is under way has ended.
    pub(super) flight: Option<watch::Receiver<()>>,
}

impl State {
    pub(super) fn age(&self, now: Moment) -> Option<Duration> {
        self.read_at.map(|read| now.since(read).saturating_add(self.were))
    }
}

impl Source {
    pub(super) fn open(
        issuer: IssuerKeys,
        before: &[Arc<Self>],
        now: Moment,
    ) -> Result<Self, JwksFault> {
        let mut state = State::default();
        let tls = match &issuer.source {
            JwksSource::File(path) => {
                state.tried_at = Some(now);
                match fetch::file(path) {
                    Ok(keys) => {
                        state.keys = Some(Arc::new(keys));
                        state.read_at = Some(now);
                    }
                    Err(fault) => {
                        let old = same_place(&issuer, before).ok_or(fault)?.state.lock();
                        state.keys = Some(old.keys.clone().ok_or(fault)?);
                        (state.read_at, state.were) = (old.read_at, old.were);
                        state.fault = Some(fault);
                    }
                }
                None
            }
            JwksSource::Url(url) => {
                let old = same_place(&issuer, before);
                let tls = https::connector(&url.roots);
                // The machine's trust store may be gone for a moment.
                let tls = tls.or_else(|fault| old.and_then(|old| old.tls.clone()).ok_or(fault))?;
                if let Some(old) = old {
                    let old = old.state.lock();
                    state.keys.clone_from(&old.keys);
                    (state.read_at, state.were) = (old.read_at, old.were);
                    state.fault = old.fault;
                    // Not when it was tried: a reload is a good moment to fetch again.
                }
                Some(tls)
            }
        };
        Ok(Self { issuer, tls, state: Mutex::new(state) })
    }

    /// Takes over what was read in the same place since this was opened.
    pub(super) fn catch_up(&self, before: &[Arc<Self>]) {
        let Some(old) = same_place(&self.issuer, before) else { return };
        let (old, mut own) = (old.state.lock(), self.state.lock());
        if old
            .read_at
            .is_some_and(|read| own.read_at.is_none_or(|known| known.mono_ns() < read.mono_ns()))
        {
            own.keys.clone_from(&old.keys);
            (own.read_at, own.were, own.fault) = (old.read_at, old.were, old.fault);
        }
    }

    /// A fetch that failed is due again after the cool-down.
    pub(super) fn is_due(&self, state: &State, now: Moment) -> bool {
        let pause = match state.fault {
            None => self.issuer.refresh,
            Some(_) => self.pause_after_failure(),
        };
        state.tried_at.is_none_or(|tried| now.since(tried) >= pause)
    }

    pub(super) fn pause_after_failure(&self) -> Duration {
        self.issuer.cooldown.min(self.issuer.refresh)
    }

    pub(super) async fn read(&self) -> Result<KeySet, JwksFault> {
        match (&self.issuer.source, &self.tls) {
            (JwksSource::Url(url), Some(tls)) => fetch::https(url, tls).await,
            (JwksSource::File(path), _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || fetch::file(&path));
                read.await.unwrap_or(Err(JwksFault::Internal))
            }
            (JwksSource::Url(_), None) => Err(JwksFault::Internal),
        }
    }
}

/// Where an issuer's keys came from before, if it was the same place: a file, whoever's it is, or a URL of
/// the same issuer.
fn same_place<'b>(issuer: &IssuerKeys, before: &'b [Arc<Source>]) -> Option<&'b Arc<Source>> {
    before.iter().find(|old| {
        let same = match issuer.source {
            JwksSource::File(_) => true,
            JwksSource::Url(_) => old.issuer.iss == issuer.iss,
        };
        same && old.issuer.source == issuer.source
    })
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.issuer.name).finish_non_exhaustive()
    }
}
