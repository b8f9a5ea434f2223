//! What operators type: ids, addresses and names on their way to being compared or hashed (LOG-2).
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::problem::Fault;
use super::shape::Word;
use crate::base::{ClientAddr, Name, Pii, SourceRange, Use};
use crate::config::OperatorAct;
use crate::engine::{ActFault, Engine, NameKind, OrderId, Target, TokenId};
use crate::lockout::{ReleaseReason, Step, Subject};

/// The longest text.
const TYPED_MAX: usize = 256;
/// The longest lock that ends by itself, in seconds: 400 days.
const LASTS_MAX: u64 = 400 * 86_400;

/// A text that came with a request.
#[derive(Clone)]
pub(super) struct Typed(Pii<String>);

impl Typed {
    fn read<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        read(self.0.reveal_for(Use::Match))
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pii]")
    }
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() > TYPED_MAX {
            return Err(serde::de::Error::custom("too long"));
        }
        Ok(Self(Pii::new(text)))
    }
}

impl JsonSchema for Typed {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Typed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": TYPED_MAX})
    }
}

/// What a lock is on. Addresses and ids of orders and tokens are hashed at once, under the key of the environment,
/// and neither logged nor answered; a lock of theirs is listed by its hash. So is a network of fewer than 256
/// addresses, or narrower than /48 of IPv6.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TargetBody {
    /// An identity's name.
    Identity(Typed),
    /// An operation's name, such as `orders/getOrderAddress`.
    Operation(Typed),
    /// An upstream's name.
    Upstream(Typed),
    /// A seller's name, as in `upstream.seller`.
    Account(Typed),
    /// An IPv4 address, or any address of an IPv6 /64.
    Source(Typed),
    /// A network of source addresses, such as `203.0.113.0/24` or `2001:db8::/32`: /8 to /32, of IPv6 /16 to
    /// /128. Connections from it are cut, new ones refused. Or as it is listed.
    Network(Typed),
    /// An order's id.
    Order(Typed),
    /// A token's id: its `jti`.
    Token(Typed),
    /// As it is listed.
    AccountHash(Typed),
    /// As it is listed.
    SourceHash(Typed),
    /// As it is listed.
    OrderHash(Typed),
    /// As it is listed.
    TokenHash(Typed),
    /// Every upstream of the configuration; to be killed, and to be unlocked.
    Everything,
}

/// A step of the ladder short of a kill.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepBody {
    /// Requests wait.
    Slow,
    /// A stronger proof is demanded.
    StepUp,
    /// Refused, as if the credential were wrong.
    #[default]
    Lock,
}

/// Asks for a lock.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lock")]
pub(super) struct LockBody {
    pub(super) target: TargetBody,
    #[serde(default)]
    pub(super) step: StepBody,
    /// In seconds. Without it the lock holds until it is released.
    #[schemars(range(min = 1, max = 34_560_000))]
    pub(super) lasts_secs: Option<u64>,
    /// Where the reason is written down: a ticket's number, such as `INC-2041`.
    pub(super) case: Typed,
}

/// Throws a kill switch. It never ends by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Kill")]
pub(super) struct KillBody {
    pub(super) target: TargetBody,
    /// Where the reason is written down: a ticket's number, such as `INC-2041`.
    pub(super) case: Typed,
}

/// Ends every lock on a target. Probation follows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Unlock")]
pub(super) struct UnlockBody {
    pub(super) target: TargetBody,
    pub(super) reason: ReasonBody,
    /// Where it is written down: a ticket's number, such as `INC-2041`.
    pub(super) case: Typed,
}

/// Has the configuration's files read again and put in force.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Reload")]
pub(super) struct ReloadBody {
    /// As the dry run named it: only if everything still reads as it did then.
    pub(super) print: Option<Word>,
    /// Whether a configuration that was put back is tried again.
    #[serde(default)]
    pub(super) again: AgainBody,
    /// Where the reason is written down: a ticket's number, such as `CHG-2041`.
    pub(super) case: Typed,
}

/// Whether somebody insists.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AgainBody {
    #[default]
    No,
    Yes,
}

/// Why a lock is ended.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ReasonBody {
    /// Nothing had happened.
    FalseAlarm,
    /// The credential was replaced.
    CredentialReplaced,
    /// The owner says that it was right.
    OwnerConfirmed,
    /// The investigation is over.
    InvestigationClosed,
    /// It keeps a business-critical process from running, and the risk is accepted.
    Business,
}

impl StepBody {
    pub(super) const fn step(self) -> Step {
        match self {
            Self::Slow => Step::Slow,
            Self::StepUp => Step::StepUp,
            Self::Lock => Step::Lock,
        }
    }
}

impl ReasonBody {
    pub(super) const fn reason(self) -> ReleaseReason {
        match self {
            Self::FalseAlarm => ReleaseReason::FalseAlarm,
            Self::CredentialReplaced => ReleaseReason::CredentialReplaced,
            Self::OwnerConfirmed => ReleaseReason::OwnerConfirmed,
            Self::InvestigationClosed => ReleaseReason::InvestigationClosed,
            Self::Business => ReleaseReason::Business,
        }
    }
}

/// # Errors
/// If it is no length that a lock may have.
pub(super) fn lasts(secs: Option<u64>) -> Result<Option<std::time::Duration>, Fault> {
    match secs {
        Some(secs) if !(1..=LASTS_MAX).contains(&secs) => Err(Fault::Lasts),
        _ => Ok(secs.map(std::time::Duration::from_secs)),
    }
}

/// A ticket's number: letters, then one to three groups of digits, each after at most one of `-_/`. A
/// form that holds no mail address, network address, order id or name of a person.
///
/// # Errors
/// If it has another form.
pub(super) fn case(typed: &Typed) -> Result<Name, Fault> {
    typed.read(|text| {
        let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let mut rest = text.get(letters..).unwrap_or_default();
        let digits = rest.bytes().filter(u8::is_ascii_digit).count();
        let mut groups = 0;
        while !rest.is_empty() {
            rest = rest.strip_prefix(['-', '_', '/']).unwrap_or(rest);
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            if length == 0 {
                return Err(Fault::Case);
            }
            groups += 1;
            rest = rest.get(length..).unwrap_or_default();
        }
        let fits =
            (1..=12).contains(&letters) && (1..=12).contains(&digits) && (1..=3).contains(&groups);
        if fits { Name::parse(text).map_err(|_| Fault::Case) } else { Err(Fault::Case) }
    })
}

impl TargetBody {
    /// What it stands for. Names are the configuration's own from here on.
    ///
    /// # Errors
    /// If there is no such thing, or it can't be read.
    pub(super) fn subjects(
        &self,
        engine: &Engine,
        act: OperatorAct,
    ) -> Result<Vec<Subject>, Fault> {
        let named = |kind, typed: &Typed| {
            typed.read(|text| engine.known_name(kind, text)).ok_or(Fault::TargetUnknown)
        };
        let target = match self {
            Self::Identity(typed) => match named(NameKind::Identity, typed) {
                Ok(name) => Target::Identity(name),
                // Of an earlier configuration: its lock can be ended all the same.
                Err(fault) if act == OperatorAct::Unlock => {
                    let held = engine.list_locks().into_iter().map(|lock| lock.subject);
                    let is_it = |subject: &Subject| {
                        matches!(subject, Subject::Identity(name)
                            if typed.read(|text| text == name.as_str()))
                    };
                    Target::Listed(held.into_iter().find(is_it).ok_or(fault)?)
                }
                Err(fault) => return Err(fault),
            },
            Self::Operation(typed) => Target::Operation(named(NameKind::Operation, typed)?),
            Self::Upstream(typed) => Target::Upstream(named(NameKind::Upstream, typed)?),
            Self::Account(typed) => Target::Account(named(NameKind::Account, typed)?),
            Self::Source(typed) => {
                let address = typed.read(str::parse::<IpAddr>);
                Target::Source(ClientAddr::new(address.map_err(|_| Fault::TargetMalformed)?))
            }
            Self::Network(typed) => match typed.read(SourceRange::parse_listed) {
                Some(listed) => Target::Listed(Subject::Network(listed)),
                None => Target::Network(
                    typed.read(str::parse).map_err(|_fault| Fault::TargetMalformed)?,
                ),
            },
            Self::Order(typed) => {
                let id = typed.read(|text| OrderId::new(text.to_owned()));
                Target::Order(id.ok_or(Fault::TargetMalformed)?)
            }
            Self::Token(typed) => {
                let id = typed.read(|text| TokenId::new(text.to_owned()));
                Target::Token(id.ok_or(Fault::TargetMalformed)?)
            }
            Self::AccountHash(typed) => Target::Listed(Subject::Account(hash(typed)?)),
            Self::SourceHash(typed) => Target::Listed(Subject::Source(hash(typed)?)),
            Self::OrderHash(typed) => Target::Listed(Subject::Order(hash(typed)?)),
            Self::TokenHash(typed) => Target::Listed(Subject::Token(hash(typed)?)),
            // A lock on all there is would be the kill switch without the officer and the second person.
            Self::Everything if act == OperatorAct::Lock => return Err(Fault::KillOnly),
            Self::Everything => return Ok(engine.all_upstreams()),
        };
        let subject = engine.resolve_target(&target).map_err(|fault| match fault {
            ActFault::TooWide => Fault::TargetTooWide,
            _ => Fault::TargetUnknown,
        })?;
        Ok(vec![subject])
    }
}

fn hash(typed: &Typed) -> Result<u64, Fault> {
    typed.read(|text| {
        let fits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).map_err(|_| Fault::TargetMalformed)?;
        if fits { Ok(number) } else { Err(Fault::TargetMalformed) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Typed {
        Typed(Pii::new(text.to_owned()))
    }

    #[test]
    fn log_2_a_case_has_the_form_of_a_tickets_number() {
        for good in ["INC-2041", "CHG0031415", "SEC-2026-0113", "P2-13", "ops/7"] {
            assert!(case(&typed(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "2041",
            "902-4395497-0000029",
            "hanako@example.com",
            "hanako.yamada",
            "Hanako",
            "203.0.113.7",
            "2001:db8::1",
            "INC-",
            "INC--1",
            "INC 1",
            "-1",
            "INC-1-2-3-4",
            "Tokyo-1-2-3x",
            "ABCDEFGHIJKLM-1",
            "INC-1234567890123",
            "日本-1",
        ] {
            assert!(case(&typed(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hash_is_sixteen_digits() {
        assert_eq!(hash(&typed("00000000000000ff")).unwrap(), 255);
        for bad in ["ff", "+0000000000000ff", "00000000000000fg", ""] {
            assert!(hash(&typed(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn log_2_what_was_typed_is_not_printed() {
        let order = TargetBody::Order(typed("902-4395497-0000029"));
        assert_eq!(format!("{order:?}"), "Order([pii])");
    }
}
