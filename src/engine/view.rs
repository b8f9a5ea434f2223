//! What people who operate the gateway may see of it: names, numbers and words of the program, a page
//! at a time. Nothing here changes anything. Controls: PRIV-3, LOG-2.
use rustls_pki_types::CertificateDer;

use super::acts::{ActFault, Listed, Target};
use super::traffic::Done;
use super::{Engine, Live};
use crate::base::{IdentityIx, Moment, Name};
use crate::config::{Barred, IdentityKind};
use crate::detect::{Detector, Mode};
use crate::lockout::{Step, Subject};

/// The most entries of one page.
pub const PAGE_MAX: usize = 500;

/// Some of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; none after the last one.
    pub next: Option<usize>,
    pub total: usize,
}

/// One identity, without its owner: a mail address is personal data.
#[derive(Clone, Debug)]
pub struct IdentityView {
    pub name: Name,
    pub kind: IdentityKind,
    pub roles: Vec<Name>,
    /// Why it may not enter, by the configuration. Words of the program.
    pub barred: Vec<&'static str>,
    /// The hardest step that is on it.
    pub held: Option<Step>,
    /// The day its access must have been reviewed, since 1970-01-01 UTC (ACC-3).
    pub review_by_unix_day: Option<u32>,
    /// Milliseconds since 1970; none if it did not come since this process began.
    pub last_seen_ms: Option<u64>,
}

/// One detector: what it is set to.
#[derive(Clone, Debug)]
pub struct DetectorView {
    pub detector: Detector,
    pub mode: Mode,
    pub settings: Vec<(&'static str, f64)>,
}

/// What somebody did in the last minute.
#[derive(Clone, Debug)]
pub struct TrafficView {
    /// None: everybody who proved nothing.
    pub identity: Option<Name>,
    pub done: Done,
    /// The hardest step that is on it.
    pub held: Option<Step>,
}

/// The gateway as a whole.
#[derive(Clone, Debug)]
pub struct GatewayView {
    pub environment: Name,
    pub generation: u64,
    /// Why a balancer should send nothing here, in words of the program.
    pub unready: Option<&'static str>,
    pub connections: u32,
    pub under_way: u64,
    pub locks: usize,
}

/// What a name is looked for among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Identity,
    Operation,
    Upstream,
    /// The sellers of the upstreams.
    Account,
}

impl Live {
    /// Whether a chain that was shown to the API earlier would be accepted now.
    #[must_use]
    pub fn api_still_verifies(&self, chain: &[CertificateDer<'static>], now: Moment) -> bool {
        super::tls::still_verifies(self.api_verifier.as_ref(), chain, now)
    }
}

impl Engine {
    /// What a target stands for. Ids and addresses are hashed at once.
    ///
    /// # Errors
    /// If the configuration has no such name.
    pub fn resolve_target(&self, target: &Target) -> Result<Subject, ActFault> {
        self.subject(target)
    }

    /// The locks on one subject.
    #[must_use]
    pub fn locks_on(&self, subject: &Subject) -> Vec<Listed> {
        self.list_locks().into_iter().filter(|lock| lock.subject == *subject).collect()
    }

    /// The configuration's own word for what somebody typed, so that no typed text goes further.
    #[must_use]
    pub fn known_name(&self, kind: NameKind, text: &str) -> Option<Name> {
        let live = self.live();
        let (names, upstreams) = (&live.snapshot.names, &live.snapshot.upstreams);
        match kind {
            NameKind::Identity => names.identity(identity_called(&live, text)?).cloned(),
            NameKind::Operation => names.operation(live.snapshot.operation(text)?).cloned(),
            NameKind::Upstream => {
                upstreams.iter().map(|up| &up.name).find(|name| name.as_str() == text).cloned()
            }
            NameKind::Account => {
                upstreams.iter().map(|up| &up.seller).find(|name| name.as_str() == text).cloned()
            }
        }
    }

    /// Every upstream there is.
    #[must_use]
    pub fn all_upstreams(&self) -> Vec<Subject> {
        let live = self.live();
        live.snapshot.upstreams.iter().map(|up| Subject::Upstream(up.name.clone())).collect()
    }

    #[must_use]
    pub fn view_gateway(&self) -> GatewayView {
        let live = self.live();
        GatewayView {
            environment: live.snapshot.environment.clone(),
            generation: live.snapshot.generation,
            unready: self.readiness().err(),
            connections: self.open_connections(),
            under_way: self.requests_under_way(),
            locks: self.list_locks().len(),
        }
    }

    #[must_use]
    pub fn view_identities(&self, from: usize, most: usize) -> Page<IdentityView> {
        let (live, now) = (self.live(), self.clock.now());
        page(&live, from, most, |ix, name| {
            let settings = live.snapshot.identity(ix)?;
            let roles = live.snapshot.policy.roles_of(ix);
            Some(IdentityView {
                name: name.clone(),
                kind: settings.kind,
                roles: roles
                    .iter()
                    .filter_map(|ix| live.snapshot.names.role(*ix).cloned())
                    .collect(),
                barred: settings.barred.iter().filter_map(|why| barred(why, now)).collect(),
                held: self.held(&Subject::Identity(name.clone()), now),
                review_by_unix_day: settings.review_by_unix_day,
                last_seen_ms: live.traffic.seen(Some(ix), now).map(|(_, last_ms)| last_ms),
            })
        })
    }

    /// Every detector as the configuration has it.
    #[must_use]
    pub fn view_detectors(&self) -> Vec<DetectorView> {
        let settings = &self.live().snapshot.detect.settings;
        let view = |detector: &Detector| DetectorView {
            detector: *detector,
            mode: settings.mode(*detector),
            settings: settings.figures(*detector),
        };
        Detector::ALL.iter().map(view).collect()
    }

    /// Who did most in the last minute, by `key`.
    #[must_use]
    pub fn view_traffic(&self, most: usize, key: fn(&Done) -> u64) -> Vec<TrafficView> {
        let (live, now) = (self.live(), self.clock.now());
        let mut all = live.traffic.all(now);
        all.sort_by_key(|(who, done)| (std::cmp::Reverse(key(done)), *who));
        all.truncate(most.min(PAGE_MAX));
        let view = |(who, done): (Option<IdentityIx>, Done)| {
            let identity = who.and_then(|ix| live.snapshot.names.identity(ix).cloned());
            let held =
                identity.as_ref().and_then(|name| self.held(&Subject::Identity(name.clone()), now));
            TrafficView { identity, done, held }
        };
        all.into_iter().map(view).collect()
    }

    fn held(&self, subject: &Subject, now: Moment) -> Option<Step> {
        self.locks.read(|table| table.held(subject, now).map(|(of, _)| of.step))
    }
}

pub(super) fn page<T>(
    live: &Live,
    from: usize,
    most: usize,
    view: impl Fn(IdentityIx, &Name) -> Option<T>,
) -> Page<T> {
    let total = live.snapshot.identities.len();
    let to = from.saturating_add(most.clamp(1, PAGE_MAX)).min(total);
    let one = |place| {
        let ix = IdentityIx(u32::try_from(place).ok()?);
        view(ix, live.snapshot.names.identity(ix)?)
    };
    Page { items: (from..to).filter_map(one).collect(), next: (to < total).then_some(to), total }
}

pub(super) fn identity_called(live: &Live, text: &str) -> Option<IdentityIx> {
    let names = &live.snapshot.names;
    let is_it = |ix: &IdentityIx| names.identity(*ix).is_some_and(|name| name.as_str() == text);
    (0..).map(IdentityIx).take(live.snapshot.identities.len()).find(is_it)
}

/// Without the reason that somebody wrote down, which may name people.
fn barred(why: &Barred, now: Moment) -> Option<&'static str> {
    match why {
        Barred::Disabled(_) => Some("disabled"),
        Barred::Environment(_) => Some("environment"),
        Barred::After(day) => (now.unix_day() > *day).then_some("expired"),
    }
}
