//! Attacks by those who have no credential: the whole way from a failed login or a scanner's path to
//! the lock table.
use sekisho::base::IdentityIx;
use sekisho::detect::{Event, Outcome, Response, Signals, Sources, Subject};
use sekisho::lockout::{
    Attempt, Author, Cause, Deadline, GatewayId, Imposed, LockTable, Logins, Probation, Proof,
    Rules, Step, Subject as Locked, Trust, Until, judge,
};

use super::runs::enforced;
use super::workload::{Caller, at, hash};

/// What came of it.
#[derive(Debug, Default)]
pub struct Siege {
    pub attempts: u32,
    /// Attempts of one source until it was locked.
    pub source_locked_after: Option<u32>,
    pub identities_locked: u32,
    /// Identities of which more was demanded, from strangers only.
    pub stepped_up: u32,
}

struct Wall {
    sources: Sources,
    logins: Logins,
    table: LockTable,
    siege: Siege,
}

const IDENTITIES: u32 = 10_000;

impl Wall {
    fn new() -> Self {
        Self {
            sources: Sources::new(1_024),
            logins: Logins::new(IDENTITIES as usize, 65_536),
            table: LockTable::new(at(0, 0)),
            siege: Siege::default(),
        }
    }

    /// One failed login, `ms` after the beginning.
    fn fails(&mut self, identity: IdentityIx, source: u64, ms: u64) {
        let now = at(0, ms);
        let event = bad(Outcome::NotAuthenticated, Some(identity), source, ms);
        self.siege.attempts += 1;
        let signals = self.sources.observe(&event, &enforced());
        self.lock(&signals, source, ms);
        let attempt = Attempt { identity, source, proof: Proof::Absent, at: now };
        let rules = Rules::default();
        if let Some(accusation) = self.logins.failed(&attempt, Probation::Over, &rules).accuses {
            let census = self.table.census(&nobody(), IDENTITIES, now);
            let verdict = judge(&accusation, Probation::Over, census, &rules);
            self.siege.identities_locked += u32::from(verdict.step >= Step::Lock);
            self.siege.stepped_up += u32::from(verdict.step == Step::StepUp);
        }
    }

    fn lock(&mut self, signals: &Signals, source: u64, ms: u64) {
        for signal in signals.iter() {
            assert_eq!(signal.subject, Subject::Source(source), "an identity is never accused");
            if signal.asks < Response::Lock {
                continue;
            }
            let attempts = self.siege.attempts;
            self.siege.source_locked_after.get_or_insert(attempts);
            let lock = Imposed {
                step: Step::Lock,
                until: Until::At(Deadline::after(at(0, ms), Rules::default().lock_for)),
                cause: Cause::Spraying,
                author: Author::Detector,
                shown: None,
            };
            let locked = Locked::Source(source);
            assert!(self.table.impose(&locked, &lock, GatewayId(1), at(0, ms)).is_ok());
        }
    }

    fn end(mut self, ms: u64) -> Siege {
        self.siege.identities_locked +=
            self.table.census(&nobody(), IDENTITIES, at(0, ms)).locked_automatically;
        self.siege
    }
}

/// Nothing is locked here but sources.
const fn nobody() -> Locked {
    Locked::Source(0)
}

fn bad(outcome: Outcome, identity: Option<IdentityIx>, source: u64, ms: u64) -> Event<'static> {
    let mut event = Caller::new(identity.map_or(0, |ix| ix.0), 1).event(0, 0);
    (event.at, event.identity, event.network, event.source) = (at(0, ms), identity, None, source);
    event.outcome = outcome;
    event
}

/// One password for 10,000 identities, and then the next, from one network.
pub fn spray() -> Siege {
    let mut wall = Wall::new();
    for n in 0..10 * IDENTITIES {
        wall.fails(IdentityIx(n % IDENTITIES), 7, u64::from(n) * 30);
    }
    wall.end(3_000_000)
}

/// A thousand networks that know a victim's name and nothing else, for a day.
pub fn strangers() -> Siege {
    let mut wall = Wall::new();
    let victim = IdentityIx(4_711);
    let own = |ms| Attempt { identity: victim, source: 1, proof: Proof::Absent, at: at(0, ms) };
    wall.logins.succeeded(&own(0));
    for n in 0..80_000 {
        wall.fails(victim, hash(n % 1_000), 1_000 + n * 1_000);
        if n % 1_000 == 0 {
            // The victim, all the while: no wait, and none of what is demanded of strangers.
            assert_eq!(wall.logins.trust(&own(n * 1_000)), Trust::KnownSource);
            assert!(wall.logins.wait(&own(n * 1_000)).is_zero());
        }
    }
    wall.end(81_000_000)
}

/// Paths that scanners try, one a second.
pub fn scanner() -> Siege {
    let mut wall = Wall::new();
    for n in 0..600 {
        let event = bad(Outcome::ScannerPath, None, 9, n * 1_000);
        wall.siege.attempts += 1;
        let signals = wall.sources.observe(&event, &enforced());
        wall.lock(&signals, 9, n * 1_000);
    }
    wall.end(600_000)
}
