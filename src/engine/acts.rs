//! What is done about somebody: verdicts of the machine, acts of named operators. Decided by
//! `lockout`; here they are put in force, written down and told. Controls: ACC-2, ACC-5, PRIV-3.
use std::time::Duration;

use ipnet::IpNet;

use super::locks::Effect;
use super::subjects::written;
use super::{Engine, Live};
use crate::base::{ClientAddr, Moment, Name, SourceRange, TooWide};
use crate::evidence::{Event, Fixed, Held};
use crate::lockout::{
    Accusation, Author, Backing, Cause, Grounds, Imposed, Lock, Release, ReleaseReason, Step,
    Subject, TableFault, Until, judge,
};
use crate::store::{Reach, StoreFault};

/// Why an act was not done, or not wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActFault {
    /// No identity, operation or upstream has this name.
    Unknown,
    /// There is no lock to end.
    NotLocked,
    /// No room for another lock.
    Full,
    /// The network holds too much of all there is.
    TooWide,
    /// A note is no lock.
    NoLock,
    /// In force on this gateway, but not written down: it would not survive a restart yet.
    Unkept(StoreFault),
}

impl From<TableFault> for ActFault {
    fn from(fault: TableFault) -> Self {
        match fault {
            TableFault::Full => Self::Full,
            TableFault::NoLock => Self::NoLock,
            TableFault::NotLocked => Self::NotLocked,
        }
    }
}

/// What an operator asks to be locked, as typed or sent. Ids and addresses are hashed at once and
/// kept nowhere else.
#[derive(Clone, Debug)]
pub enum Target {
    Identity(Name),
    Operation(Name),
    Upstream(Name),
    /// One IPv4 address, or the /64 of an IPv6 address.
    Source(ClientAddr),
    /// A network of sources.
    Network(IpNet),
    /// A seller account, by its name in the configuration.
    Account(Name),
    /// One order.
    Order(OrderId),
    /// One token.
    Token(TokenId),
    /// As it is listed: by its hash.
    Listed(Subject),
}

/// An order's id on its way to being hashed.
#[derive(Clone)]
pub struct OrderId(crate::base::Pii<String>);

impl OrderId {
    /// An Amazon order id has 19 characters, another store's may have 1 to 128.
    #[must_use]
    pub fn new(id: String) -> Option<Self> {
        (1..=128).contains(&id.len()).then(|| Self(crate::base::Pii::new(id)))
    }
}

impl std::fmt::Debug for OrderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[pii]")
    }
}

/// A token's id on its way to being hashed.
#[derive(Clone)]
pub struct TokenId(crate::base::Pii<String>);

impl TokenId {
    /// 1 to 256 bytes.
    #[must_use]
    pub fn new(id: String) -> Option<Self> {
        (1..=256).contains(&id.len()).then(|| Self(crate::base::Pii::new(id)))
    }
}

impl std::fmt::Debug for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[pii]")
    }
}

/// An operator's lock.
#[derive(Clone, Debug)]
pub struct LockOrder {
    pub target: Target,
    pub step: Step,
    /// None: until it is released.
    pub lasts: Option<Duration>,
    pub by: Name,
    /// Where the reason is written down, such as a ticket's number.
    pub case: Name,
}

/// An operator's release.
#[derive(Clone, Debug)]
pub struct Unlock {
    pub target: Target,
    pub by: Name,
    pub reason: ReleaseReason,
    pub case: Name,
}

/// One lock that holds, for people.
#[derive(Clone, Debug)]
pub struct Listed {
    pub subject: Subject,
    pub step: Step,
    pub cause: Cause,
    /// None: the machine.
    pub by: Option<Name>,
    /// Milliseconds since 1970.
    pub since_ms: u64,
    /// None: until it is released.
    pub until_ms: Option<u64>,
    /// Requests refused because of it.
    pub attempts: u64,
}

impl Engine {
    /// Locks on the word of an operator. Returns how far the lock has come.
    ///
    /// # Errors
    /// See [`ActFault`]; with [`ActFault::Unkept`] the lock holds here all the same.
    pub async fn lock(&self, order: &LockOrder) -> Result<Reach, ActFault> {
        let subject = self.impose(order)?;
        self.kept(&[subject]).await
    }

    /// Ends every lock of a subject on the word of an operator; probation follows.
    ///
    /// # Errors
    /// See [`ActFault`].
    pub async fn unlock(&self, unlock: &Unlock) -> Result<Reach, ActFault> {
        let subject = self.release(unlock)?;
        self.kept(&[subject]).await
    }

    /// The part of [`lock`](Self::lock) that waits for nothing: it holds here, and is written down soon.
    ///
    /// # Errors
    /// See [`ActFault`].
    pub fn impose(&self, order: &LockOrder) -> Result<Subject, ActFault> {
        let now = self.clock.now();
        let subject = self.subject(&order.target)?;
        let until = order.lasts.map_or(Until::Released, |lasts| {
            Until::At(crate::lockout::Deadline::after(now, lasts))
        });
        let lock = Imposed {
            step: order.step,
            until,
            cause: Cause::Emergency,
            author: Author::Operator(order.by.clone()),
            shown: None,
        };
        self.locks.change(&subject, now, |table, me| table.impose(&subject, &lock, me, now))?;
        self.report_event(&Event::Locked(Held {
            subject: written(&subject),
            step: Fixed::new(order.step.as_str()),
            cause: Fixed::new(Cause::Emergency.as_str()),
            control: Cause::Emergency.control(),
            actor: Some(&order.by),
            case: Some(&order.case),
            lasts: order.lasts,
        }));
        Ok(subject)
    }

    /// The same part of [`unlock`](Self::unlock).
    ///
    /// # Errors
    /// See [`ActFault`].
    pub fn release(&self, unlock: &Unlock) -> Result<Subject, ActFault> {
        let now = self.clock.now();
        let subject = self.subject(&unlock.target)?;
        let Unlock { by, reason, case, .. } = unlock;
        let probation = self.live().snapshot.lockout.probation;
        let release = self.locks.release(&subject, now, |table| {
            table.release(&subject, (by, *reason, case), probation, now)
        })?;
        if let Some(release) = &release {
            self.forgive(&subject, release);
        }
        self.report_event(&Event::Unlocked {
            subject: written(&subject),
            actor: by,
            reason: Fixed::new(reason.as_str()),
            case,
        });
        Ok(subject)
    }

    /// Returns when what was imposed and released can't be lost any more, and how far it has come: that of
    /// these subjects which has come least.
    ///
    /// # Errors
    /// [`ActFault::Unkept`]; it holds here all the same.
    pub async fn kept(&self, subjects: &[Subject]) -> Result<Reach, ActFault> {
        let written = self.locks.write().await.map_err(ActFault::Unkept)?;
        let mut least = Reach::Everywhere;
        for subject in subjects {
            if written.about(subject).map_err(ActFault::Unkept)? == Reach::HereOnly {
                least = Reach::HereOnly;
            }
        }
        Ok(least)
    }

    /// What came before a release counts no more, on the gateway that was asked and on every other.
    pub(super) fn forgive(&self, subject: &Subject, release: &Release) {
        match subject {
            Subject::Identity(name) => self.forgive_identity(name, release),
            Subject::Source(hash) => self.watches.sources.lock().forgive(*hash),
            Subject::Operation(_)
            | Subject::Upstream(_)
            | Subject::Account(_)
            | Subject::Order(_)
            | Subject::Token(_)
            | Subject::Network(_) => {}
        }
    }

    /// Every lock that holds, by subject.
    #[must_use]
    pub fn list_locks(&self) -> Vec<Listed> {
        let now = self.clock.now();
        self.locks.read(|table| {
            let listed = |(subject, of, lock): (&Subject, &Grounds, &Lock)| Listed {
                subject: subject.clone(),
                step: of.step,
                cause: of.cause,
                by: match &of.author {
                    Author::Detector => None,
                    Author::Operator(name) => Some(name.clone()),
                },
                since_ms: lock.since_ms,
                until_ms: match lock.until {
                    Until::At(deadline) => Some(deadline.unix_ms()),
                    Until::Released => None,
                },
                attempts: table.attempts(subject),
            };
            table.all_held(now).map(listed).collect()
        })
    }

    pub(super) fn subject(&self, target: &Target) -> Result<Subject, ActFault> {
        let live = self.live();
        let names = &live.snapshot.names;
        let keys = self.locks.keys();
        let known = |is_known: bool, subject| is_known.then_some(subject).ok_or(ActFault::Unknown);
        match target {
            Target::Identity(name) => {
                known(names.identity_named(name).is_some(), Subject::Identity(name.clone()))
            }
            Target::Operation(name) => known(
                live.snapshot.operation(name.as_str()).is_some(),
                Subject::Operation(name.clone()),
            ),
            Target::Upstream(name) => known(
                live.snapshot.upstreams.iter().any(|upstream| upstream.name == *name),
                Subject::Upstream(name.clone()),
            ),
            Target::Account(name) => known(
                live.snapshot.upstreams.iter().any(|upstream| upstream.seller == *name),
                Subject::Account(keys.account(name)),
            ),
            Target::Source(addr) => Ok(Subject::Source(addr.source(&keys.source))),
            Target::Network(network) => SourceRange::of(*network, &keys.network)
                .map(Subject::Network)
                .map_err(|TooWide| ActFault::TooWide),
            Target::Order(OrderId(id)) => {
                let id = id.reveal_for(crate::base::Use::Match);
                Ok(Subject::Order(keys.order(id.as_bytes())))
            }
            Target::Token(TokenId(id)) => {
                let id = id.reveal_for(crate::base::Use::Match);
                Ok(Subject::Token(keys.token(&crate::identity::token_digest(id))))
            }
            Target::Listed(subject) => Ok(subject.clone()),
        }
    }

    /// Judges an accusation and puts the verdict in force. The step that was taken.
    pub(super) fn accuse(&self, live: &Live, accusation: &Accusation) -> Step {
        let now = accusation.at;
        let Some(name) = live.snapshot.names.identity(accusation.identity) else {
            return Step::Note;
        };
        let subject = Subject::Identity(name.clone());
        let identities = u32::try_from(live.snapshot.identities.len()).unwrap_or(u32::MAX);
        let rules = &live.snapshot.lockout;
        let judged = self.locks.judge(&subject, now, |table, me| {
            let probation = table.probation(&subject, now);
            let census = table.census(&subject, identities, now);
            let verdict = judge(accusation, probation, census, rules);
            let Some(until) = verdict.until else { return Ok((verdict, Effect::Nothing)) };
            // Who is held already is not told of again, but for another cause that holds it longer.
            let known = table.held_by(&subject, now).any(|(of, lock)| {
                of.step >= verdict.step && (of.cause == verdict.cause || lock.until >= until)
            });
            let lock = Imposed {
                step: verdict.step,
                until,
                cause: verdict.cause,
                author: Author::Detector,
                shown: (accusation.backing == Backing::Credential).then_some(accusation.shown),
            };
            table.impose(&subject, &lock, me, now)?;
            let told = if known { None } else { verdict.until };
            Ok((crate::lockout::Verdict { until: told, ..verdict }, Effect::Changed))
        });
        let held = |step: Step, until: Option<Until>| Held {
            subject: written(&subject),
            step: Fixed::new(step.as_str()),
            cause: Fixed::new(accusation.cause.as_str()),
            control: accusation.cause.control(),
            actor: None,
            case: None,
            lasts: lasts(until, now),
        };
        match judged {
            Ok(verdict) => {
                if verdict.capped {
                    self.metrics.locks_withheld.inc();
                    self.report_event(&Event::LockWithheld(held(accusation.asks, None)));
                }
                if verdict.until.is_some() {
                    self.metrics.locked(verdict.step.as_str(), verdict.cause.as_str());
                    self.report_event(&Event::Locked(held(verdict.step, verdict.until)));
                }
                verdict.step
            }
            Err(_full) => {
                self.metrics.locks_withheld.inc();
                self.report_event(&Event::LockWithheld(held(accusation.asks, None)));
                Step::Note
            }
        }
    }

    /// A source that did something only an attacker does. Callers who prove themselves are spared.
    pub(super) fn block_source(&self, live: &Live, source: u64, cause: Cause, now: Moment) {
        let subject = Subject::Source(source);
        let lasts_for = live.snapshot.lockout.lock_for;
        let lock = Imposed {
            step: Step::Lock,
            until: Until::At(crate::lockout::Deadline::after(now, lasts_for)),
            cause,
            author: Author::Detector,
            shown: None,
        };
        let mut known = false;
        let imposed = self.locks.change(&subject, now, |table, me| {
            // A milder lock beside it tells of another thing.
            known = table.held_by(&subject, now).any(|(of, _)| of.step >= Step::Lock);
            table.impose(&subject, &lock, me, now)
        });
        let held = Held {
            subject: written(&subject),
            step: Fixed::new(Step::Lock.as_str()),
            cause: Fixed::new(cause.as_str()),
            control: cause.control(),
            actor: None,
            case: None,
            lasts: Some(lasts_for),
        };
        match imposed {
            Ok(()) if known => {}
            Ok(()) => {
                self.metrics.locked(Step::Lock.as_str(), cause.as_str());
                self.report_event(&Event::Locked(held));
            }
            Err(_full) => {
                self.metrics.locks_withheld.inc();
                self.report_event(&Event::LockWithheld(held));
            }
        }
    }
}

fn lasts(until: Option<Until>, now: Moment) -> Option<Duration> {
    match until? {
        Until::At(deadline) => {
            Some(Duration::from_millis(deadline.unix_ms().saturating_sub(now.unix_ms())))
        }
        Until::Released => None,
    }
}
