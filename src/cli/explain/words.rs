//! The words of an explanation: for people, and as one JSON document.
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, Line, Mark, Stopped, Told};
use crate::answer;
use crate::base::{ControlId, Denial, Name, OperationIx, RoleIx};
use crate::cli::say::{self, Colour, Stream};
use crate::config::IdentityKind;
use crate::evidence::codes;
use crate::policy::{LimitSpec, Measure, Mode, NetworkMask, QueryRefusal, Sharing, Step};

impl Case<'_> {
    pub(super) fn network_words(&self, at: &NetworkMask) -> String {
        let of = self.network_names(at);
        let networks = if of.is_empty() { "no named network".to_owned() } else { of.join(", ") };
        let listener = &self.listener.name;
        match (self.from, at.intersects(&self.listener.networks)) {
            (None, _) => format!("from {networks} (assumed; --from says another address)"),
            (Some(from), true) => format!("{from} is in {networks}"),
            (Some(from), false) => {
                format!("{from} is in {networks}; listener {listener} admits none of that")
            }
        }
    }

    fn network_names(&self, at: &NetworkMask) -> Vec<&str> {
        let names = &self.snapshot.names;
        let within = self.networks().filter(|ix| at.contains(*ix));
        within.filter_map(|ix| names.network(ix).map(Name::as_str)).collect()
    }

    /// A step of the decision; none for a refusal that the step before has told already.
    pub(super) fn step(&self, step: Step<'_>, operation: Option<OperationIx>) -> Option<Line> {
        let policy = &self.snapshot.policy;
        let (mark, topic, text) = match step {
            Step::OperationMatched(route) => {
                let of = policy.operation(route.operation)?;
                let upstream = self.snapshot.names.upstream(route.upstream)?;
                let (name, method, path) = (&of.name, of.method.as_str(), of.template.as_str());
                let text = format!("{name} ({method} {path}) at upstream {upstream}");
                (Mark::Passed, "operation", text)
            }
            Step::QueryReadable => {
                (Mark::Passed, "spelling", "path and query can be read in one way only".to_owned())
            }
            Step::NetworkListed => (Mark::Passed, "network", format!("listed for {}", self.name)),
            Step::RoleLacks(role) => {
                (Mark::Aside, "role", format!("{} does not grant it", self.role(role)))
            }
            Step::RoleGrants(role) => {
                (Mark::Passed, "role", format!("{} grants it", self.role(role)))
            }
            Step::QueryRefused(role, why) => {
                let why = match why {
                    QueryRefusal::NotListed => {
                        "a parameter is not on the operation's list".to_owned()
                    }
                    QueryRefusal::Denied(name) => format!("{name} is denied"),
                    QueryRefusal::Missing(name) => format!("{name} must be given"),
                    QueryRefusal::Value(name) => format!("{name} has a value that is not allowed"),
                };
                (Mark::Aside, "query", format!("{}, but not like this: {why}", self.role(role)))
            }
            Step::QueryAdmitted(role) => {
                (Mark::Passed, "query", format!("within the limits of {}", self.role(role)))
            }
            Step::UpgradeAllowed | Step::BodyAllowed => return None,
            Step::Refused(denial) => {
                let (topic, brief) = check(denial);
                let text = brief.map_or_else(
                    || self.fill(answer::line(denial).message, operation),
                    str::to_owned,
                );
                (Mark::Failed, topic, text)
            }
        };
        Some(Line { mark, topic, text })
    }

    pub(super) fn role(&self, ix: RoleIx) -> &str {
        self.snapshot.names.role(ix).map_or("", Name::as_str)
    }

    fn operation_name(&self, ix: Option<OperationIx>) -> Option<&str> {
        ix.and_then(|ix| self.snapshot.names.operation(ix)).map(Name::as_str)
    }

    /// The answer's words, with the names in place.
    fn fill(&self, message: &str, operation: Option<OperationIx>) -> String {
        message
            .replace("{identity}", self.name.as_str())
            .replace("{operation}", self.operation_name(operation).unwrap_or("this operation"))
            .replace("{wait}", "later")
            .replace("{pace}", "for now")
    }

    /// What an operator can do about a refusal, beside what its answer says.
    fn advice(&self, denial: Denial, operation: Option<OperationIx>) -> Option<String> {
        let joined = |names: &[&str]| Some(names.join(", ")).filter(|_| !names.is_empty());
        if matches!(denial, Denial::OperationNotGranted | Denial::QueryNotGranted) {
            return Some(match joined(&self.granting(operation?)) {
                Some(roles) => format!("roles that grant it: {roles}"),
                None => "no role grants it; it needs an entry in a role's `allow`".to_owned(),
            });
        }
        if matches!(denial, Denial::NetworkNotListed) {
            let (names, own) = (&self.snapshot.names, self.own_networks());
            let own: Vec<&str> =
                own.iter().filter_map(|ix| names.network(*ix)).map(Name::as_str).collect();
            return Some(match joined(&own) {
                Some(networks) => format!("it may come from: {networks}"),
                None => "it may come from none of this listener's networks".to_owned(),
            });
        }
        if matches!(denial, Denial::OperationUnknown) {
            let methods = self.other_methods();
            let methods: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
            return Some(format!("this path has an operation for {}", joined(&methods)?));
        }
        None
    }

    fn granting(&self, operation: OperationIx) -> Vec<&str> {
        let roles = self.snapshot.policy.roles_granting(operation);
        roles.into_iter().map(|role| self.role(role)).collect()
    }

    fn kind(&self) -> &'static str {
        match self.snapshot.identity(self.who).map(|identity| identity.kind) {
            Some(IdentityKind::Person) => "person",
            Some(IdentityKind::Service) | None => "service",
        }
    }
}

/// The check that a refusal belongs to, and a shorter text where the reasons stand above it.
const fn check(denial: Denial) -> (&'static str, Option<&'static str>) {
    match denial {
        Denial::OperationNotGranted => ("role", Some("none is left")),
        Denial::QueryNotGranted => ("query", Some("no role is left that admits it")),
        Denial::NetworkNotListed => ("network", Some("not listed for the identity")),
        Denial::Path(_) => ("path", None),
        Denial::OperationUnknown => ("operation", None),
        // The rest is judged before or after the decision, so it is no step of it.
        Denial::AddressRevoked
        | Denial::Revoked(_)
        | Denial::UpgradeNotAllowed
        | Denial::BodyNotAllowed
        | Denial::BodyTooLarge
        | Denial::BodyTooSlow
        | Denial::NoCredential
        | Denial::Token(_)
        | Denial::NoIdentity
        | Denial::Locked(_)
        | Denial::Closed(_)
        | Denial::StepUp(_)
        | Denial::Canary
        | Denial::IdentityConnections
        | Denial::QuotaExceeded
        | Denial::QuotaUnknown
        | Denial::UpstreamQuota(_)
        | Denial::SlowedDown
        | Denial::Head(_)
        | Denial::WrongHost
        | Denial::LogUnavailable
        | Denial::Withheld(_)
        | Denial::Upstream(_)
        | Denial::Internal => ("request", None),
    }
}

impl Told {
    pub(super) fn text(&self, case: &Case<'_>) -> String {
        let paint = |colour, text: &str| say::paint(Stream::Out, colour, text);
        let mut out =
            format!("{} ({}) at listener {}\n\n", case.name, case.kind(), case.listener.name);
        for Line { mark, topic, text } in &self.lines {
            let mark = match mark {
                Mark::Passed => paint(Colour::Green, "✓"),
                Mark::Failed => paint(Colour::Red, "✗"),
                Mark::Aside => paint(Colour::Yellow, "·"),
            };
            let _ = writeln!(out, "  {mark} {topic:10} {text}");
        }
        out.push('\n');
        self.conclude(case, &mut out);
        out
    }

    /// The decision, and what follows from it.
    fn conclude(&self, case: &Case<'_>, out: &mut String) {
        let paint = |colour, text: &str| say::paint(Stream::Out, colour, text);
        match self.verdict {
            Ok(allowed) => {
                let _ = write!(
                    out,
                    "{} by role {}",
                    paint(Colour::Green, "ALLOWED"),
                    case.role(allowed.role)
                );
                let limits = self.operation.map(|ix| case.limits(ix)).unwrap_or_default();
                if limits.is_empty() {
                    out.push_str("\n  no quota limits it");
                }
                for limit in limits {
                    let _ = write!(out, "\n  quota {}", limit_words(limit));
                }
                if let Some(paced) = case.paced_words(self.operation, allowed) {
                    let _ = write!(out, "\n  {paced}");
                }
            }
            Err(Stopped::AtDoor) => {
                let _ = write!(
                    out,
                    "{} the connection is closed before TLS; there is no answer (NET-1)\n  \
                     list the address in one of the listener's networks, or call from another",
                    paint(Colour::Red, "REFUSED")
                );
            }
            Err(Stopped::Denied(denial)) => {
                let row = answer::line(denial);
                let _ = write!(
                    out,
                    "{} {} Sekisho.{}{}\n  the caller reads: {}\n  {}",
                    paint(Colour::Red, "REFUSED"),
                    row.status,
                    codes::code(denial),
                    denial.control().map_or(String::new(), |control| format!(" ({control})")),
                    case.fill(row.message, self.operation),
                    case.fill(row.hint, self.operation),
                );
                if let Some(advice) = case.advice(denial, self.operation) {
                    let _ = write!(out, "\n  {advice}");
                }
            }
        }
    }

    pub(super) fn json(&self, case: &Case<'_>) -> Value {
        let steps: Vec<Value> = self
            .lines
            .iter()
            .map(|Line { mark, topic, text }| {
                let result = match mark {
                    Mark::Passed => "passed",
                    Mark::Failed => "failed",
                    Mark::Aside => "aside",
                };
                json!({ "check": topic, "result": result, "text": text })
            })
            .collect();
        let limits = self.operation.map(|ix| case.limits(ix)).unwrap_or_default();
        json!({
            "decision": if self.verdict.is_ok() { "allowed" } else { "refused" },
            "identity": case.name.as_str(),
            "listener": case.listener.name.as_str(),
            "networks": case.network_names(&self.at),
            "networks_assumed": case.from.is_none(),
            "operation": case.operation_name(self.operation),
            "role": self.verdict.ok().map(|allowed| case.role(allowed.role)),
            "upstream": self
                .verdict
                .ok()
                .and_then(|allowed| case.snapshot.names.upstream(allowed.upstream))
                .map(Name::as_str),
            "refusal": self.verdict.err().map(|stopped| self.refusal(case, stopped)),
            "roles_granting": self.operation.map(|ix| case.granting(ix)).unwrap_or_default(),
            "quotas": limits.into_iter().map(limit_json).collect::<Vec<_>>(),
            "amazon_quota": self
                .verdict
                .map_or(Value::Null, |allowed| case.paced_json(self.operation, allowed)),
            "fresh_login": self.operation.map_or(Value::Null, |ix| case.login_json(ix)),
            "steps": steps,
        })
    }

    fn refusal(&self, case: &Case<'_>, stopped: Stopped) -> Value {
        match stopped {
            Stopped::AtDoor => json!({
                "status": null, "code": "AddressRefused", "control": "NET-1",
                "detail": null, "message": "the connection is closed before TLS",
                "hint": "list the address in one of the listener's networks", "advice": null,
            }),
            Stopped::Denied(denial) => {
                let row = answer::line(denial);
                json!({
                    "status": row.status,
                    "code": format!("Sekisho.{}", codes::code(denial)),
                    "detail": codes::detail(denial),
                    "control": denial.control().map(ControlId::as_str),
                    "message": case.fill(row.message, self.operation),
                    "hint": case.fill(row.hint, self.operation),
                    "advice": case.advice(denial, self.operation),
                })
            }
        }
    }
}

/// Such as `role/shipping/1: 10 in 1 s, 300 in 1 min; 4 operations count together`.
fn limit_words(limit: &LimitSpec) -> String {
    let (unit, windows) = windows(limit);
    let windows: Vec<String> = windows
        .iter()
        .map(|(count, per)| match per {
            Some(per) => format!("{count}{unit} in {}", span(*per)),
            None => format!("{count} at the same time"),
        })
        .collect();
    let together = match limit.operations.len() {
        1 => String::new(),
        many => format!("; {many} operations count together"),
    };
    let shared = match limit.sharing {
        Sharing::Each => "",
        Sharing::All => "; shared with other identities",
    };
    let shadow = match limit.mode {
        Mode::Enforced => "",
        Mode::Shadow => "; only watched",
    };
    format!("{}: {}{together}{shared}{shadow}", limit.name, windows.join(", "))
}

/// The unit of what a limit counts, and how much of it per period.
fn windows(limit: &LimitSpec) -> (&'static str, Vec<(u64, Option<Duration>)>) {
    let amounts = |all: &[crate::policy::Amount]| {
        all.iter().map(|amount| (amount.count, Some(amount.per))).collect()
    };
    match &limit.measure {
        Measure::Requests(all) => {
            ("", all.iter().map(|window| (window.count.into(), Some(window.per))).collect())
        }
        Measure::Bytes(all) => (" bytes", amounts(all)),
        Measure::PiiRecords(all) => (" personal records", amounts(all)),
        Measure::Concurrent(most) => ("", vec![((*most).into(), None)]),
    }
}

fn limit_json(limit: &LimitSpec) -> Value {
    let key = match limit.measure {
        Measure::Requests(_) => "requests",
        Measure::Bytes(_) => "bytes",
        Measure::PiiRecords(_) => "pii_records",
        Measure::Concurrent(_) => "concurrent",
    };
    let (_, windows) = windows(limit);
    let windows: Vec<Value> = windows
        .iter()
        .map(|(count, per)| json!({ key: count, "seconds": per.map(|per| per.as_secs()) }))
        .collect();
    json!({
        "name": limit.name.as_str(), "windows": windows, "operations": limit.operations.len(),
        "shared": limit.sharing == Sharing::All, "enforced": limit.mode == Mode::Enforced,
    })
}

/// In the largest unit that fits.
pub(super) fn span(per: Duration) -> String {
    let seconds = per.as_secs();
    let units = [(86_400, "day"), (3_600, "h"), (60, "min")];
    match units.into_iter().find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size)) {
        Some((size, "day")) if seconds > size => format!("{} days", seconds / size),
        Some((size, unit)) => format!("{} {unit}", seconds / size),
        None => format!("{seconds} s"),
    }
}
