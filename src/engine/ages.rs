//! How old every key, certificate and secret is, and when it ends (TLS-5): of listeners, upstreams,
//! issuers, the API, the shared state, alarms' targets, the host and the gateway itself. What people must know of that ahead is decided here,
//! from dates alone; what they are told, and how often, is `conditions`'.
mod files;

use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::Engine;
use crate::alarm::Severity;
use crate::base::{Moment, Name};
use crate::config::{
    AlarmWay, CertifiedChain, JwksSource, Machine, OnDisk, Outside as _, Posted, Roots, SecretOf,
    Snapshot, Staple, TlsSettings,
};
use crate::keys::IssuerStatus;

const DAY_SECS: u64 = 86_400;
/// A certificate is told of so long before its end, and then with more and more weight.
const AHEAD: [(u64, Severity); 3] = [
    (DAY_SECS, Severity::Critical),
    (7 * DAY_SECS, Severity::High),
    (14 * DAY_SECS, Severity::Medium),
];
/// A key is told of so long before it is as old as it may become.
const DUE_SECS: u64 = 14 * DAY_SECS;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AgedKind {
    /// One of our own, with its private key.
    Certificate,
    /// A private key. It is as old as the oldest certificate that was seen for it.
    Key,
    /// One that vouches for others.
    Authority,
    RevocationList,
    /// A stapled OCSP response.
    Staple,
    /// An issuer's public keys, since they were last fetched.
    KeySet,
    /// One of an issuer's public keys, since its id was first seen here.
    IssuerKey,
    /// What others know as well: a password, what alarms are signed with. And what the gateway derives
    /// its own keys from. As old as its file.
    Secret,
    /// The host's own key.
    HostKey,
    /// The public key of who issues permits.
    PermitIssuer,
    /// The addresses of a network: there while their file can't be used.
    Network,
    /// The tokens that count for nothing: the same.
    DeniedTokens,
}

impl AgedKind {
    pub const ALL: [Self; 12] = [
        Self::Certificate,
        Self::Key,
        Self::Authority,
        Self::RevocationList,
        Self::Staple,
        Self::KeySet,
        Self::IssuerKey,
        Self::Secret,
        Self::HostKey,
        Self::PermitIssuer,
        Self::Network,
        Self::DeniedTokens,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Authority => "authority",
            Self::RevocationList => "revocation-list",
            Self::Staple => "staple",
            Self::KeySet => "key-set",
            Self::IssuerKey => "issuer-key",
            Self::Secret => "secret",
            Self::HostKey => "host-key",
            Self::PermitIssuer => "permit-issuer",
            Self::Network => "network",
            Self::DeniedTokens => "denied-tokens",
        }
    }
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Listener,
    Upstream,
    Issuer,
    /// The API of operators.
    Api,
    /// The connection to the server that gateways share.
    Redis,
    /// Who is told of alarms.
    Alarm,
    Gateway,
}

impl Owner {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Upstream => "upstream",
            Self::Issuer => "issuer",
            Self::Api => "api",
            Self::Redis => "redis",
            Self::Alarm => "alarm",
            Self::Gateway => "gateway",
        }
    }
}

/// One key, certificate or word of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aged {
    pub kind: AgedKind,
    pub owner: Owner,
    /// The owner's name, where there are several of its kind.
    pub name: Option<Name>,
    /// Place among its owner's of this kind, from 1.
    pub place: u32,
    /// Since when it counts, in seconds since 1970; none if that is not known.
    pub begins: Option<u64>,
    pub ends: Option<u64>,
    /// How old it may become.
    pub max_age: Option<Duration>,
    pub on_disk: OnDisk,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    /// It ends soon.
    Ending,
    Ended,
    /// It is soon as old as it may become.
    Ageing,
    TooOld,
    /// Its file holds nothing that can be used: this is from before, or not there.
    Unusable,
}

impl State {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Ending => "ends-soon",
            Self::Ended => "ended",
            Self::Ageing => "due-soon",
            Self::TooOld => "too-old",
            Self::Unusable => "unusable-file",
        }
    }
}

impl Aged {
    #[must_use]
    pub fn age_secs(&self, now: Moment) -> Option<u64> {
        self.begins.map(|begins| now.unix_secs().saturating_sub(begins))
    }

    /// How it stands, and how much people must know of it.
    #[must_use]
    pub fn stands(&self, now: Moment) -> (State, Option<Severity>) {
        let by_dates = self.stands_by_dates(now);
        match self.on_disk {
            OnDisk::Unusable if by_dates.1 < Some(Severity::High) => {
                (State::Unusable, Some(Severity::High))
            }
            OnDisk::Unusable | OnDisk::Same => by_dates,
        }
    }

    fn stands_by_dates(&self, now: Moment) -> (State, Option<Severity>) {
        if let Some(ends) = self.ends {
            let left = ends.saturating_sub(now.unix_secs());
            if left == 0 {
                return (State::Ended, Some(Severity::Critical));
            }
            if let Some((_, severity)) = self.ahead().iter().find(|(ahead, _)| left <= *ahead) {
                return (State::Ending, Some(*severity));
            }
        }
        if let (Some(age), Some(max_age)) = (self.age_secs(now), self.max_age) {
            if age >= max_age.as_secs() {
                return (State::TooOld, Some(Severity::High));
            }
            if age >= max_age.as_secs().saturating_sub(DUE_SECS) {
                return (State::Ageing, Some(Severity::Low));
            }
        }
        (State::Good, None)
    }

    /// What an authority says counts for days or hours and is renewed at half of that: of these the
    /// last third, sixth and twelfth of the time are told of.
    fn ahead(&self) -> [(u64, Severity); 3] {
        let (AgedKind::RevocationList | AgedKind::Staple, Some(ends)) = (self.kind, self.ends)
        else {
            return AHEAD;
        };
        let whole = ends.saturating_sub(self.begins.unwrap_or(ends));
        [
            (whole / 12, Severity::Critical),
            (whole / 6, Severity::High),
            (whole / 3, Severity::Medium),
        ]
    }
}

impl Engine {
    /// Everything that ages, in the order of the configuration.
    #[must_use]
    pub fn view_keys(&self) -> Vec<Aged> {
        let live = self.live();
        let snapshot = &live.snapshot;
        let (key_max_age, secret_max_age) = (snapshot.key_max_age, snapshot.secret_max_age);
        let mut all = List { all: Vec::new(), key_max_age, secret_max_age };
        for listener in &snapshot.listeners {
            if let Some(tls) = &listener.tls {
                all.tls((Owner::Listener, Some(&listener.name)), tls);
            }
        }
        for upstream in &snapshot.upstreams {
            let owner = (Owner::Upstream, Some(&upstream.name));
            all.certified(owner, upstream.client_certificate.iter());
            if let Roots::Private(roots) = &upstream.roots {
                all.authorities(owner, roots);
            }
        }
        all.issuers(snapshot, &self.jwks.status(), self.clock.now());
        if let Some(api) = &snapshot.api {
            all.tls((Owner::Api, None), &api.tls);
        }
        if let Some(redis) = &snapshot.state.redis {
            all.certified((Owner::Redis, None), redis.client_certificate.iter());
            all.authorities((Owner::Redis, None), &redis.authorities);
        }
        for target in &snapshot.alarms.targets {
            if let AlarmWay::Webhook { to, .. } | AlarmWay::Alertmanager { to, .. } = &target.way
                && let Posted::Https { roots: Roots::Private(roots), .. } = to
            {
                all.authorities((Owner::Alarm, Some(&target.name)), roots);
            }
        }
        // Each day's key is derived from it. With another every lock loses its subject: whoever replaces
        // it looks at the locks first.
        let made = Machine.written(&snapshot.state_dir.join("pseudonym.key"));
        all.push(AgedKind::Secret, (Owner::Gateway, None), (made, None));
        for secret in &snapshot.secrets {
            let (kind, whose) = match &secret.of {
                SecretOf::Host => (AgedKind::HostKey, (Owner::Gateway, None)),
                SecretOf::PermitIssuer => (AgedKind::PermitIssuer, (Owner::Gateway, None)),
                SecretOf::RedisPassword | SecretOf::RedisSecret => {
                    (AgedKind::Secret, (Owner::Redis, None))
                }
                SecretOf::Alarm(name) => (AgedKind::Secret, (Owner::Alarm, Some(name))),
            };
            all.push(kind, whose, (secret.since_unix_secs, None));
        }
        all.unusable_files(snapshot);
        all.all
    }
}

struct List {
    all: Vec<Aged>,
    key_max_age: Duration,
    secret_max_age: Duration,
}

type Whose<'n> = (Owner, Option<&'n Name>);

impl List {
    fn push(
        &mut self,
        kind: AgedKind,
        (owner, name): Whose<'_>,
        (begins, ends): (Option<u64>, Option<u64>),
    ) {
        let same =
            |aged: &&Aged| (aged.kind, aged.owner, aged.name.as_ref()) == (kind, owner, name);
        let before = self.all.iter().filter(same).count();
        self.all.push(Aged {
            kind,
            owner,
            name: name.cloned(),
            place: u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1),
            begins,
            ends,
            max_age: self.max_age(kind),
            on_disk: OnDisk::Same,
        });
    }

    const fn max_age(&self, kind: AgedKind) -> Option<Duration> {
        match kind {
            AgedKind::Key => Some(self.key_max_age),
            AgedKind::IssuerKey | AgedKind::Secret | AgedKind::HostKey | AgedKind::PermitIssuer => {
                Some(self.secret_max_age)
            }
            // They say themselves when they end, or are only as old as the last look.
            AgedKind::Certificate
            | AgedKind::Authority
            | AgedKind::RevocationList
            | AgedKind::Staple
            | AgedKind::KeySet
            | AgedKind::Network
            | AgedKind::DeniedTokens => None,
        }
    }

    /// Of what was pushed last.
    fn found(&mut self, on_disk: OnDisk) {
        if let Some(last) = self.all.last_mut() {
            last.on_disk = on_disk;
        }
    }

    fn tls(&mut self, whose: Whose<'_>, tls: &TlsSettings) {
        self.certified(whose, tls.certificates.iter());
        for one in &tls.expired {
            let dates = (Some(one.not_before_unix_secs), Some(one.not_after_unix_secs));
            self.push(AgedKind::Certificate, whose, dates);
        }
        self.authorities(whose, tls.client_ca.as_deref().unwrap_or_default());
        for list in &tls.client_crl {
            let dates = (Some(list.this_update_unix_secs), Some(list.next_update_unix_secs));
            self.push(AgedKind::RevocationList, whose, dates);
            self.found(list.on_disk);
        }
    }

    fn certified<'c, K: 'c>(
        &mut self,
        whose: Whose<'_>,
        chains: impl Iterator<Item = &'c CertifiedChain<K>>,
    ) {
        for chain in chains {
            let begins = Some(chain.not_before_unix_secs);
            self.push(AgedKind::Certificate, whose, (begins, Some(chain.not_after_unix_secs)));
            self.found(chain.on_disk);
            self.push(AgedKind::Key, whose, (begins, None));
            let dates = |staple: &Staple| {
                (Some(staple.this_update_unix_secs), Some(staple.next_update_unix_secs))
            };
            if chain.staple.is_some() || chain.staple_on_disk == OnDisk::Unusable {
                let dates = chain.staple.as_ref().map_or((None, None), dates);
                self.push(AgedKind::Staple, whose, dates);
                self.found(chain.staple_on_disk);
            }
        }
    }

    fn authorities(&mut self, whose: Whose<'_>, authorities: &[CertificateDer<'_>]) {
        for der in authorities {
            let Ok((_, authority)) = x509_parser::parse_x509_certificate(der) else { continue };
            let validity = authority.validity();
            let secs = |time: i64| Some(u64::try_from(time).unwrap_or(0));
            let dates =
                (secs(validity.not_before.timestamp()), secs(validity.not_after.timestamp()));
            self.push(AgedKind::Authority, whose, dates);
        }
    }

    fn issuers(&mut self, snapshot: &Snapshot, known: &[IssuerStatus], now: Moment) {
        for issuer in &snapshot.issuers {
            let whose = (Owner::Issuer, Some(&issuer.name));
            let status = known.iter().find(|status| status.name == issuer.name);
            let fetched = status.and_then(|status| status.age_secs);
            let begins = fetched.map(|age| now.unix_secs().saturating_sub(age));
            self.push(AgedKind::KeySet, whose, (begins, None));
            let failed = status.is_some_and(|status| status.fault.is_some());
            if failed && let JwksSource::File(_) = issuer.jwks {
                self.found(OnDisk::Unusable);
            }
            for since in status.into_iter().flat_map(|status| &status.since_unix_secs) {
                self.push(AgedKind::IssuerKey, whose, (Some(*since), None));
            }
            if let JwksSource::Url { roots: Roots::Private(roots), .. } = &issuer.jwks {
                self.authorities(whose, roots);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn aged(kind: AgedKind, begins: u64, ends: Option<u64>) -> Aged {
        Aged {
            kind,
            owner: Owner::Listener,
            name: None,
            place: 1,
            begins: Some(begins),
            ends,
            max_age: (kind == AgedKind::Key).then_some(Duration::from_secs(90 * DAY_SECS)),
            on_disk: OnDisk::Same,
        }
    }

    fn now() -> Moment {
        Moment::new(NOW * 1_000, 0)
    }

    #[test]
    fn tls_5_a_certificate_is_told_of_fourteen_seven_and_one_day_ahead() {
        let left = |secs: u64| {
            let kind = AgedKind::Certificate;
            aged(kind, NOW - 300 * DAY_SECS, Some(NOW + secs)).stands(now())
        };
        assert_eq!(left(14 * DAY_SECS + 1), (State::Good, None));
        assert_eq!(left(14 * DAY_SECS), (State::Ending, Some(Severity::Medium)));
        assert_eq!(left(7 * DAY_SECS), (State::Ending, Some(Severity::High)));
        assert_eq!(left(DAY_SECS), (State::Ending, Some(Severity::Critical)));
        assert_eq!(left(0), (State::Ended, Some(Severity::Critical)));
    }

    #[test]
    fn tls_5_a_key_is_told_of_before_it_is_too_old() {
        let old = |days: u64| aged(AgedKind::Key, NOW - days * DAY_SECS, None).stands(now());
        assert_eq!(old(75), (State::Good, None));
        assert_eq!(old(76), (State::Ageing, Some(Severity::Low)));
        assert_eq!(old(90), (State::TooOld, Some(Severity::High)));
        let clock_went_back = aged(AgedKind::Key, NOW + 7, None);
        assert_eq!(clock_went_back.age_secs(now()), Some(0));
    }

    #[test]
    fn tls_5_a_file_that_can_not_be_used_is_told_of_whatever_its_dates_say() {
        let left = |days: u64| {
            let ends = Some(NOW + days * DAY_SECS);
            let good = aged(AgedKind::Certificate, NOW - DAY_SECS, ends);
            Aged { on_disk: OnDisk::Unusable, ..good }.stands(now())
        };
        assert_eq!(left(60), (State::Unusable, Some(Severity::High)));
        assert_eq!(left(14), (State::Unusable, Some(Severity::High)));
        assert_eq!(left(1), (State::Ending, Some(Severity::Critical)));
    }

    #[test]
    fn tls_5_a_list_that_lives_a_day_is_told_of_in_time() {
        for kind in [AgedKind::RevocationList, AgedKind::Staple] {
            let left = |hours: u64| {
                let ends = NOW + hours * 3_600;
                aged(kind, ends - DAY_SECS, Some(ends)).stands(now())
            };
            assert_eq!(left(9), (State::Good, None));
            assert_eq!(left(8), (State::Ending, Some(Severity::Medium)));
            assert_eq!(left(4), (State::Ending, Some(Severity::High)));
            assert_eq!(left(2), (State::Ending, Some(Severity::Critical)));
        }
    }
}
