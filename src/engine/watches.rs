//! Detectors in force (MON-1 to MON-6, MON-8): lends each identity its watch, keeps what sources did,
//! and follows up what was seen. `detect` decides what is out of the ordinary, `lockout` what becomes
//! of it.
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use super::{ConnFacts, Engine, Live};
use crate::base::{HashKey, IdentityIx, Moment, Name, Pseudonym, RoleIx};
use crate::config::Snapshot;
use crate::detect::{
    Detector, Event as Seen, HistoryFault, Level, Outcome, Peers, Response, Signal, Sources,
    Subject, Usual, Watch,
};
use crate::evidence::{Event, Fixed, Noticed};
use crate::identity::Proof;
use crate::lockout::{Accusation, Backing, Cause, ReleaseReason, Shown, Step};
use crate::store::SharedSecret;

/// Sources that did something bad lately, at 72 bytes each.
const SOURCES_MAX: usize = 65_536;

/// What is kept over configurations.
pub(super) struct Watches {
    pub(super) sources: Mutex<Sources>,
    /// Under which objects are told apart.
    object: HashKey,
}

impl Watches {
    pub(super) fn new(secret: &SharedSecret) -> Self {
        Self { sources: Mutex::new(Sources::new(SOURCES_MAX)), object: secret.hash_key("objects") }
    }
}

/// One identity's watch; memory is taken with its first request. One that came while a reload was
/// being prepared, and was the first of all, stays with the configuration that it came under.
pub(super) type Place = OnceLock<Arc<Mutex<Watch>>>;

/// What is usual for roles, for the few requests that ask.
#[derive(Clone, Copy, Debug)]
struct Lent<'g>(&'g RwLock<Peers>);

impl Usual for Lent<'_> {
    fn at_most(&self, role: Option<RoleIx>) -> [f32; 3] {
        self.0.read().at_most(role)
    }
}

/// The watches of one configuration's identities.
#[derive(Debug)]
pub(super) struct Guarded {
    places: Box<[Place]>,
    peers: RwLock<Peers>,
}

impl Guarded {
    /// Watches of identities, and what is usual for roles, go on under the same name.
    pub(super) fn build(snapshot: &Snapshot, before: Option<&Live>) -> Self {
        let names = &snapshot.names;
        let known: HashMap<&Name, &Place> = before
            .into_iter()
            .flat_map(|live| {
                let names = (0..).map_while(|ix| live.snapshot.names.identity(IdentityIx(ix)));
                names.zip(&live.guarded.places)
            })
            .collect();
        let places = (0..)
            .map_while(|ix| names.identity(IdentityIx(ix)))
            .map(|name| known.get(name).map_or_else(Place::default, |place| (*place).clone()))
            .collect();
        let roles: Vec<&Name> = (0..).map_while(|ix| names.role(RoleIx(ix))).collect();
        let peers = match before {
            None => Peers::new(roles.len()),
            Some(before) => {
                let was = |role: &&Name| {
                    (0..)
                        .map(RoleIx)
                        .map_while(|ix| Some((ix, before.snapshot.names.role(ix)?)))
                        .find(|(_, name)| name == role)
                        .map(|(ix, _)| ix)
                };
                let moved: Vec<Option<RoleIx>> = roles.iter().map(was).collect();
                before.guarded.peers.read().moved(&moved)
            }
        };
        Self { places, peers: RwLock::new(peers) }
    }
}

impl Live {
    /// What an identity's watch has learned and counts, as bytes; nothing if it was never asked.
    pub(super) fn watch_bytes(&self, ix: IdentityIx, now: Moment) -> Option<Vec<u8>> {
        let place = self.guarded.places.get(ix.index())?;
        place.get().map(|watch| watch.lock().encode(now))
    }

    /// What is usual for a role, as bytes; nothing if nobody has worked in it yet.
    pub(super) fn peer_bytes(&self, role: RoleIx) -> Option<Vec<u8>> {
        self.guarded.peers.read().encode(role)
    }

    /// Takes back what was usual for a role.
    pub(super) fn recall_peers(&self, role: RoleIx, bytes: &[u8]) -> Result<(), HistoryFault> {
        self.guarded.peers.write().recall(role, bytes)
    }

    /// Takes back what a watch had learned and counted.
    pub(super) fn recall_watch(
        &self,
        ix: IdentityIx,
        bytes: &[u8],
        now: Moment,
    ) -> Result<(), HistoryFault> {
        let watch = Watch::decode(bytes, now)?;
        if let Some(place) = self.guarded.places.get(ix.index()) {
            *place.get_or_init(Arc::default).lock() = watch;
        }
        Ok(())
    }

    /// An identity was released. Whether this is the first change since it was written down.
    pub(super) fn forgive_watch(&self, ix: IdentityIx, reason: ReleaseReason) -> bool {
        let watch = self.guarded.places.get(ix.index()).and_then(OnceLock::get);
        watch.is_some_and(|watch| match reason {
            // What was no attack is normal use; otherwise it would be found again tomorrow.
            ReleaseReason::FalseAlarm | ReleaseReason::OwnerConfirmed => watch.lock().accept(),
            ReleaseReason::CredentialReplaced
            | ReleaseReason::InvestigationClosed
            | ReleaseReason::Business => watch.lock().forgive(),
        })
    }
}

impl Engine {
    /// Stands for the object that a request asked for.
    pub fn object<'p>(&self, parameters: impl Iterator<Item = &'p [u8]>) -> Option<u64> {
        let mut hasher = self.watches.object.hasher();
        let mut any = false;
        for parameter in parameters {
            any = true;
            hasher.write(parameter);
            hasher.write(b"/");
        }
        any.then(|| hasher.finish())
    }

    /// Shows a finished request to the detectors, and follows up what they saw.
    /// `proof` is what it was done with, where the identity is proved.
    pub fn observe(
        &self,
        live: &Live,
        event: &Seen<'_>,
        proof: Option<Proof>,
        source: Option<(Pseudonym, u32)>,
    ) {
        let shown = shown(proof);
        let settings = &live.snapshot.detect.settings;
        if is_bad(event.outcome) {
            let signals = self.watches.sources.lock().observe(event, settings);
            signals.iter().for_each(|signal| self.follow_up(live, signal, (event, shown), source));
        }
        let place = event.identity.and_then(|ix| Some((ix, live.guarded.places.get(ix.index())?)));
        let Some((identity, place)) = place else { return };
        let usual = Lent(&live.guarded.peers);
        let watched =
            place.get_or_init(Arc::default).lock().observe(identity, event, &usual, settings);
        if watched.changed {
            self.histories.changed_watch(live, identity);
        }
        if let Some(hour) = &watched.hour {
            live.guarded.peers.write().learn(hour);
            self.histories.changed_role(live, hour.role);
        }
        watched
            .signals
            .iter()
            .for_each(|signal| self.follow_up(live, signal, (event, shown), source));
    }

    /// The same for what was no request at all: nobody is behind it but its source.
    pub(super) fn observe_malformed(&self, live: &Live, conn: &ConnFacts, now: Moment) {
        let event = Seen {
            at: now,
            identity: None,
            role: None,
            network: conn.networks.first(),
            source: conn.source_hash,
            operation: None,
            outcome: Outcome::Malformed,
            bytes: 0,
            records: 0,
            object: None,
            named: &[],
            fingerprint: conn.fingerprint,
            canary: None,
        };
        self.observe(live, &event, None, Some((conn.source, conn.source_day)));
    }

    fn follow_up(
        &self,
        live: &Live,
        signal: &Signal,
        (event, shown): (&Seen<'_>, Shown),
        source: Option<(Pseudonym, u32)>,
    ) {
        let level = match signal.level {
            Level::Note => "note",
            Level::Act => "act",
        };
        self.metrics.noticed(signal.detector.as_str(), level);
        let of = |ix| live.snapshot.names.identity(ix);
        let identity = match signal.subject {
            Subject::Identity(ix) => Some(ix),
            Subject::Source(_) => None,
        };
        self.report_event(&Event::Noticed(Noticed {
            detector: Fixed::new(signal.detector.as_str()),
            control: signal.detector.control(),
            level: Fixed::new(level),
            grade: Fixed::new(signal.severity.as_str()),
            identity: identity.and_then(of),
            source,
            seen: signal.why.seen,
            expected: signal.why.expected,
            limit: signal.why.limit,
            since_ms: signal.why.since_ms,
            unit: Fixed::new(signal.why.unit),
            setting: Fixed::new(signal.why.setting),
        }));
        let cause = cause(signal);
        let asks = match signal.asks {
            Response::Note => return,
            Response::Slow => Step::Slow,
            Response::StepUp => Step::StepUp,
            Response::Lock => Step::Lock,
        };
        match signal.subject {
            Subject::Identity(identity) => {
                let backing =
                    if signal.authenticated { Backing::Credential } else { Backing::Stranger };
                let at = event.at;
                self.accuse(live, &Accusation { identity, asks, backing, shown, cause, at });
            }
            Subject::Source(hash) => self.block_source(live, hash, cause, event.at),
        }
    }
}

const fn is_bad(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::ScannerPath | Outcome::Malformed | Outcome::NotAuthenticated)
}

/// What whoever did it had to show.
const fn shown(proof: Option<Proof>) -> Shown {
    match proof {
        None | Some(Proof::Token) => Shown::Bearer,
        Some(Proof::BoundToken | Proof::TokenAndCertificate) => Shown::KeyAndToken,
        Some(Proof::Certificate) => Shown::Certificate,
    }
}

/// Why somebody stands on the ladder because of a signal.
const fn cause(signal: &Signal) -> Cause {
    match (signal.detector, signal.subject) {
        (Detector::Failures, _) => Cause::RefusedCalls,
        (Detector::Rate, _) => Cause::Rate,
        (Detector::Volume, _) => Cause::Volume,
        (Detector::Slow, _) => Cause::SlowExfiltration,
        (Detector::Enumeration, _) => Cause::Enumeration,
        (Detector::Canary, _) => Cause::Canary,
        (Detector::Intrusion, _) => Cause::Intrusion,
        (Detector::Logins, Subject::Source(_)) => Cause::Spraying,
        (Detector::Logins, Subject::Identity(_)) => Cause::Strangers,
        (Detector::Sharing, _) => Cause::CredentialSharing,
    }
}
