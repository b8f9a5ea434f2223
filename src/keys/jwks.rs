//! The keys of all issuers: who has which, how old they are, and when they are fetched again.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::fetch::{JwksFault, JwksUrl};
use super::seen::{SightFault, Sights};
use super::source::{Source, State};
use crate::base::{Clock, Moment, Name};
use crate::identity::{KeySet, KeySets};

/// How often the background task looks whether a fetch is due.
const TICK: Duration = Duration::from_secs(1);

/// One issuer and where its keys are. The places in the list are those of the registry's issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKeys {
    pub name: Name,
    /// The `iss` by which its keys are found.
    pub iss: Arc<str>,
    pub source: JwksSource,
    /// Least time between two fetches that an unknown `kid` causes; also the wait after a failure.
    pub cooldown: Duration,
    /// Time between two fetches otherwise.
    pub refresh: Duration,
}

/// Where a key set is. A file is read again as often as a URL is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    File(PathBuf),
    Url(Box<JwksUrl>),
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// One fetch, from the resolver to the last byte.
    pub fetch: Duration,
    /// One request, for a fetch that its unknown key caused.
    pub request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { fetch: Duration::from_secs(5), request: Duration::from_secs(2) }
    }
}

/// What happened since the process started, for metrics.
#[derive(Debug, Default)]
pub struct JwksCounters {
    pub fetches_ok: AtomicU64,
    pub fetches_failed: AtomicU64,
    /// Unknown keys that caused no fetch, because the cool-down of their issuer was not over.
    pub refetches_suppressed: AtomicU64,
}

/// How one issuer's keys stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStatus {
    pub name: Name,
    /// How many keys are lent out; 0 if none ever came.
    pub keys: usize,
    /// Seconds since they were last read successfully.
    pub age_secs: Option<u64>,
    /// When each of them was first seen here, in seconds since 1970.
    pub since_unix_secs: Vec<u64>,
    /// Why the last attempt failed, if it did.
    pub fault: Option<JwksFault>,
    /// Fetches that brought keys, since the configuration named this source.
    pub fetched: u64,
    /// Fetches that did not.
    pub failed: u64,
}

/// Keys that one process hands to the one that takes its place: the issuer may be down just then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    pub iss: String,
    /// Stands for where they were fetched.
    pub from: [u8; 32],
    pub age: Duration,
    /// As the issuer published them.
    pub text: String,
}

/// Lends out keys and has them fetched. Clones share everything.
#[derive(Clone, Debug)]
pub struct JwksStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    patience: Patience,
    sources: ArcSwap<Vec<Arc<Source>>>,
    current: ArcSwap<KeySets>,
    counters: JwksCounters,
    /// Rung when an issuer may have lost a key.
    lost: Notify,
    /// Held while `current` is put together, so that an older one never overwrites a newer one.
    publishing: Mutex<()>,
    /// Asked for with a source's state in hand, never the other way round.
    sights: Mutex<Sights>,
}

/// Issuers whose files were read and whose roots were loaded, not yet in force.
#[derive(Debug)]
pub struct Prepared(Vec<Arc<Source>>);

impl JwksStore {
    pub fn new(clock: Clock, patience: Patience) -> Self {
        Self(Arc::new(Inner {
            clock,
            patience,
            sources: ArcSwap::default(),
            current: ArcSwap::default(),
            counters: JwksCounters::default(),
            lost: Notify::new(),
            publishing: Mutex::new(()),
            sights: Mutex::default(),
        }))
    }

    /// Reads key files and root certificates; nothing is in force yet. Blocks on the file system
    /// and is for start and reload. Servers are not asked: one that is down must not keep the
    /// gateway from starting. Nor does a file hold anything up of which there are keys: those stay.
    ///
    /// # Errors
    /// All files that can't be used and never could, by the issuer's name.
    pub fn prepare(&self, issuers: Vec<IssuerKeys>) -> Result<Prepared, Vec<(Name, JwksFault)>> {
        let mut faults = Vec::new();
        let mut sources = Vec::new();
        let before = self.0.sources.load();
        for issuer in issuers {
            let name = issuer.name.clone();
            match Source::open(issuer, &before, self.0.clock.now()) {
                Ok(source) => sources.push(Arc::new(source)),
                Err(fault) => faults.push((name, fault)),
            }
        }
        if faults.is_empty() { Ok(Prepared(sources)) } else { Err(faults) }
    }

    /// Puts issuers in force. Keys that were fetched from the same place before are kept, and so is what
    /// was fetched since they were prepared: a key that went meanwhile does not come back (ACC-3).
    pub fn adopt(&self, prepared: Prepared) {
        let now = self.0.clock.now();
        // Nobody publishes what was prepared before it was brought up to date.
        let publishing = self.0.publishing.lock();
        let sources = Arc::new(prepared.0);
        let before = self.0.sources.swap(Arc::clone(&sources));
        for source in &*sources {
            source.catch_up(&before);
            if let Some(keys) = &source.state.lock().keys {
                self.0.sights.lock().note(&source.issuer.iss, keys, now);
            }
        }
        drop(publishing);
        self.0.publish();
    }

    /// What is known now. No lock, no waiting.
    pub fn current(&self) -> Arc<KeySets> {
        self.0.current.load_full()
    }

    /// Returns when an issuer may have lost a key: what its tokens opened is to be looked at. For one task.
    pub async fn lost(&self) {
        self.0.lost.notified().await;
    }

    /// After a token named a key that its issuer was not known to have: has the keys fetched, unless
    /// that was done a short while ago, waits for it within [`Patience::request`], and returns what
    /// is known then. Ask again with that, whether or not anything was fetched.
    pub async fn refetch(&self, iss: &str) -> Arc<KeySets> {
        if let Some(mut flight) = self.flight_for(iss) {
            // Errors when the flight has landed and nothing else; late is late.
            let _landed = timeout(self.0.patience.request, flight.changed()).await;
        }
        self.current()
    }

    /// Whole seconds until an issuer's keys, which could not be had, are asked for again; at least one.
    pub fn wait_secs(&self, iss: &str) -> Option<u64> {
        let sources = self.0.sources.load();
        let source = sources.iter().find(|source| *source.issuer.iss == *iss)?;
        let tried = source.state.lock().tried_at;
        let passed = tried.map_or(Duration::ZERO, |tried| self.0.clock.now().since(tried));
        let left = source.pause_after_failure().saturating_sub(passed);
        Some(left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0)).max(1))
    }

    fn flight_for(&self, iss: &str) -> Option<watch::Receiver<()>> {
        let sources = self.0.sources.load();
        let source = sources.iter().find(|source| *source.issuer.iss == *iss)?;
        let now = self.0.clock.now();
        let mut state = source.state.lock();
        if let Some(flight) = &state.flight {
            return Some(flight.clone());
        }
        if state.asked_at.is_some_and(|asked| now.since(asked) < source.issuer.cooldown) {
            self.0.counters.refetches_suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        state.asked_at = Some(now);
        Some(Inner::depart(&self.0, source, &mut state, now))
    }

    /// Fetches whatever is due and waits until it has ended.
    pub async fn refresh_due(&self) {
        let now = self.0.clock.now();
        let mut flights = Vec::new();
        for source in self.0.sources.load().iter() {
            let mut state = source.state.lock();
            if state.flight.is_none() && source.is_due(&state, now) {
                flights.push(Inner::depart(&self.0, source, &mut state, now));
            }
        }
        for mut flight in flights {
            let _landed = flight.changed().await;
        }
    }

    /// Fetches whatever is due, for ever. One task of the engine runs it and ends it by dropping it.
    pub async fn keep_fresh(&self) {
        loop {
            self.refresh_due().await;
            sleep(TICK).await;
        }
    }

    pub fn counters(&self) -> &JwksCounters {
        &self.0.counters
    }

    /// What was fetched, for the process that takes this one's place.
    #[must_use]
    pub fn hand_over(&self) -> Vec<Handed> {
        let now = self.0.clock.now();
        let of = |source: &Arc<Source>| {
            let JwksSource::Url(url) = &source.issuer.source else { return None };
            let state = source.state.lock();
            Some(Handed {
                iss: source.issuer.iss.to_string(),
                from: url.mark(),
                age: state.age(now)?,
                text: state.keys.as_ref()?.text().to_owned(),
            })
        };
        self.0.sources.load().iter().filter_map(of).collect()
    }

    /// Takes what the process before fetched from where the keys still are.
    pub fn take(&self, handed: &[Handed]) {
        let now = self.0.clock.now();
        for source in self.0.sources.load().iter() {
            let JwksSource::Url(url) = &source.issuer.source else { continue };
            let same = |keys: &&Handed| *source.issuer.iss == keys.iss && url.mark() == keys.from;
            let Some(handed) = handed.iter().find(same) else { continue };
            let mut state = source.state.lock();
            if state.keys.is_none()
                && let Ok(keys) = KeySet::parse(handed.text.as_bytes())
            {
                self.0.sights.lock().note(&handed.iss, &keys, now);
                state.keys = Some(Arc::new(keys));
                (state.read_at, state.were) = (Some(now), handed.age);
            }
        }
        self.0.publish();
    }

    /// The first issuer without keys of which there were some before, and why there are none.
    #[must_use]
    pub fn lacks(&self, handed: &[Handed]) -> Option<(Name, Option<JwksFault>)> {
        let sources = self.0.sources.load();
        sources.iter().find_map(|source| {
            let state = source.state.lock();
            let were = handed.iter().any(|keys| *source.issuer.iss == keys.iss);
            (were && state.keys.is_none()).then(|| (source.issuer.name.clone(), state.fault))
        })
    }

    /// Issuers, by their `iss`, of which keys came or went since this was last asked; at most `most`, with
    /// what is to be written down of each.
    pub fn take_changed_sights(&self, most: usize) -> Vec<(Box<str>, Vec<u8>)> {
        self.0.sights.lock().take_changed(most)
    }

    /// Takes back since when an issuer's keys are known, whether or not it is in force now.
    ///
    /// # Errors
    /// See [`SightFault`]; nothing was taken then.
    pub fn recall_sights(&self, bytes: &[u8]) -> Result<(), SightFault> {
        self.0.sights.lock().recall(bytes)
    }

    /// One line per issuer.
    pub fn status(&self) -> Vec<IssuerStatus> {
        let now = self.0.clock.now();
        let sources = self.0.sources.load();
        let of = |source: &Arc<Source>| {
            let state = source.state.lock();
            IssuerStatus {
                name: source.issuer.name.clone(),
                keys: state.keys.as_ref().map_or(0, |keys| keys.len()),
                age_secs: state.age(now).map(|age| age.as_secs()),
                since_unix_secs: state.keys.as_ref().map_or_else(Vec::new, |keys| {
                    self.0.sights.lock().since(&source.issuer.iss, keys)
                }),
                fault: state.fault,
                fetched: state.fetched,
                failed: state.failed,
            }
        };
        sources.iter().map(of).collect()
    }
}

impl Inner {
    /// Starts the one fetch of a source. It is a task of its own, so that it ends what it began even
    /// if the request that caused it goes away.
    fn depart(
        inner: &Arc<Self>,
        source: &Arc<Source>,
        state: &mut State,
        now: Moment,
    ) -> watch::Receiver<()> {
        let (landing, flight) = watch::channel(());
        state.flight = Some(flight.clone());
        state.tried_at = Some(now);
        let (inner, source) = (Arc::clone(inner), Arc::clone(source));
        tokio::spawn(async move {
            let mut landing = Landing { inner, source, outcome: None, _open: landing };
            let patience = landing.inner.patience.fetch;
            let read = timeout(patience, landing.source.read()).await;
            landing.outcome = Some(read.unwrap_or(Err(JwksFault::TimedOut)));
        });
        flight
    }

    fn publish(&self) {
        let _alone = self.publishing.lock();
        let sources = self.sources.load();
        let lent = sources
            .iter()
            .map(|source| (Arc::clone(&source.issuer.iss), source.state.lock().keys.clone()));
        let after = Arc::new(KeySets::new(lent));
        if self.current.swap(Arc::clone(&after)).may_lose(&after) {
            self.lost.notify_one();
        }
    }
}

/// Ends a fetch, also when its task is dropped half-way: the result is recorded, then those who wait
/// are let go.
struct Landing {
    inner: Arc<Inner>,
    source: Arc<Source>,
    outcome: Option<Result<KeySet, JwksFault>>,
    _open: watch::Sender<()>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let now = self.inner.clock.now();
        let counters = &self.inner.counters;
        let outcome = self.outcome.take().unwrap_or(Err(JwksFault::Internal));
        {
            let mut state = self.source.state.lock();
            state.fault = outcome.as_ref().err().copied();
            if let Ok(keys) = outcome {
                self.inner.sights.lock().note(&self.source.issuer.iss, &keys, now);
                state.keys = Some(Arc::new(keys));
                // No younger than the question: what was read elsewhere since then may be newer.
                (state.read_at, state.were) = (state.tried_at, Duration::ZERO);
                state.fetched = state.fetched.saturating_add(1);
                counters.fetches_ok.fetch_add(1, Ordering::Relaxed);
            } else {
                state.failed = state.failed.saturating_add(1);
                counters.fetches_failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.inner.publish();
        // Last, so that whoever finds no fetch under way finds its result in `current`.
        self.source.state.lock().flight = None;
    }
}
