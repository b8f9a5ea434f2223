//! `sekisho explain`: why a call would be allowed or refused. The decision is `policy`'s own, told
//! step by step; around it stands what the door and the proof of identity would say.
mod login;
mod paced;
#[cfg(test)]
mod tests;
mod words;

use std::net::IpAddr;
use std::process::ExitCode;

use super::args::ExplainArgs;
use super::check;
use super::say::{self, Failure};
use crate::base::{
    ClientAddr, Clock, Denial, HeadFault, IdentityIx, Moment, Name, NetworkIx, OperationIx, RoleIx,
    UpstreamIx,
};
use crate::config::{self, Barred, ListenerSettings, Snapshot};
use crate::evidence::Utc;
use crate::policy::{
    Body, Decision, Facts, LimitSpec, Method, NetworkMask, OperationTable, Step, Upgrade,
    decide_traced,
};

pub(super) fn main(words: &ExplainArgs) -> Result<ExitCode, Failure> {
    let now = Clock::system().now();
    let loaded = config::load(&words.config, 1, now)
        .map_err(|errors| check::refusal(&words.config, &errors))?;
    let case = Case::of(words, &loaded.snapshot)?;
    let told = case.judge(now);
    if words.json {
        say::out(serde_json::to_string_pretty(&told.json(&case)).map_err(Failure::new)?);
    } else {
        say::out(told.text(&case));
    }
    Ok(if told.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The call that is asked about.
struct Case<'s> {
    snapshot: &'s Snapshot,
    who: IdentityIx,
    name: &'s Name,
    listener: &'s ListenerSettings,
    table: &'s OperationTable,
    /// None: a method that no operation can have.
    method: Option<Method>,
    path: &'s [u8],
    query: Option<&'s [u8]>,
    from: Option<IpAddr>,
}

/// What was found out.
struct Told {
    /// The networks the call comes from.
    at: NetworkMask,
    lines: Vec<Line>,
    verdict: Result<Allowed, Stopped>,
    operation: Option<OperationIx>,
}

/// One check, in words.
struct Line {
    mark: Mark,
    topic: &'static str,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The check was passed.
    Passed,
    /// Here the call ends.
    Failed,
    /// This way did not lead on; another may.
    Aside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allowed {
    role: RoleIx,
    upstream: UpstreamIx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// NET-1: the connection is closed before TLS, so there is no answer.
    AtDoor,
    Denied(Denial),
}

impl<'s> Case<'s> {
    fn of(words: &'s ExplainArgs, snapshot: &'s Snapshot) -> Result<Self, Failure> {
        let names = &snapshot.names;
        let identities = (0..).map(IdentityIx).map_while(|ix| Some((ix, names.identity(ix)?)));
        let found = identities.clone().find(|(_, name)| name.as_str() == words.identity);
        let (who, name) = found.ok_or_else(|| {
            let known = listed(identities.map(|(_, name)| name));
            Failure::new(format_args!("there is no identity {:?}; {known}", words.identity))
        })?;
        let listener = match &words.listener {
            None => snapshot.listeners.iter().find(|one| one.tls.is_some()),
            Some(wanted) => snapshot.listeners.iter().find(|one| one.name.as_str() == wanted),
        };
        let listener = listener.ok_or_else(|| {
            let known = listed(snapshot.listeners.iter().map(|one| &one.name));
            Failure::new(format_args!("there is no such listener; {known}"))
        })?;
        let server_name = words.server_name.as_deref().map(str::to_ascii_lowercase);
        let table = snapshot.table(listener.ix, server_name.as_deref());
        let table = table.ok_or_else(|| Failure::new("the listener serves nothing"))?;
        let (path, query) = match words.path.split_once('?') {
            None => (words.path.as_str(), None),
            Some((path, query)) => (path, Some(query.as_bytes())),
        };
        Ok(Self {
            snapshot,
            who,
            name,
            listener,
            table,
            method: Method::parse(words.method.as_bytes()),
            path: path.as_bytes(),
            query,
            from: words.from,
        })
    }

    /// The checks in the order of a request: door, method, identity, policy.
    fn judge(&self, now: Moment) -> Told {
        let at = self.network();
        let mut told = Told {
            at,
            lines: Vec::new(),
            verdict: Err(Stopped::Denied(Denial::Internal)),
            operation: None,
        };
        let shown = self.network_words(&at);
        if !at.intersects(&self.listener.networks) {
            told.line(Mark::Failed, "address", shown);
            told.verdict = Err(Stopped::AtDoor);
            return told;
        }
        told.line(Mark::Passed, "address", shown);
        let Some(method) = self.method else {
            told.line(Mark::Failed, "method", "no operation can have this method".to_owned());
            told.verdict = Err(Stopped::Denied(Denial::Head(HeadFault::Method)));
            return told;
        };
        let may_enter = self.snapshot.trust.may_enter(self.who, now);
        let name = self.name;
        if may_enter {
            told.line(Mark::Passed, "identity", format!("{name} may enter"));
        } else {
            let why = self.barred(now).join(", ");
            let text =
                format!("{name} may not enter: {why} (what follows is what it could do else)");
            told.line(Mark::Failed, "identity", text);
        }

        let (decision, steps) = self.decide(method, at);
        told.operation = match &decision {
            Ok(permit) => Some(permit.operation()),
            Err(refused) => refused.operation,
        };
        for step in steps {
            told.lines.extend(self.step(step, told.operation));
        }
        if let (Ok(_), Some(operation)) = (&decision, told.operation) {
            told.lines.extend(self.login_line(operation));
        }
        told.verdict = match decision {
            _ if !may_enter => Err(Stopped::Denied(Denial::NoIdentity)),
            Ok(permit) => Ok(Allowed { role: permit.role(), upstream: permit.upstream() }),
            Err(refused) => Err(Stopped::Denied(refused.denial)),
        };
        told
    }

    /// The reasons why the identity may not enter, in words.
    fn barred(&self, now: Moment) -> Vec<String> {
        let own = &self.snapshot.environment;
        let reasons = self.snapshot.identity(self.who).map_or(&[][..], |of| of.barred.as_slice());
        let words = reasons.iter().filter_map(|reason| match reason {
            Barred::Disabled(why) => Some(format!("disabled ({why})")),
            Barred::Environment(other) => {
                Some(format!("of environment {other}, and this gateway serves {own}"))
            }
            Barred::After(day) => (now.unix_day() > *day).then(|| {
                let last = Utc::of(Moment::new(u64::from(*day) * 86_400_000, 0)).rfc3339();
                let day = last.get(..10).map(String::from_utf8_lossy).unwrap_or_default();
                format!("expired (expires = {day})")
            }),
        });
        words.collect()
    }

    /// The very code of the request path.
    fn decide(&self, method: Method, at: NetworkMask) -> (Decision, Vec<Step<'s>>) {
        let facts = Facts {
            method,
            path: self.path,
            query: self.query,
            upgrade: Upgrade::None,
            body: Body::None,
        };
        let mut steps = Vec::new();
        let policy = &self.snapshot.policy;
        let decision = decide_traced(&facts, self.who, at, self.table, policy, &mut steps);
        (decision, steps)
    }

    /// The networks of the address given; without one, the first of the listener from which the
    /// identity may come.
    fn network(&self) -> NetworkMask {
        if let Some(from) = self.from {
            return self.snapshot.networks.lookup(&ClientAddr::new(from));
        }
        let listed = self.own_networks();
        let first = listed.first().copied().or_else(|| self.listener.networks.first());
        first.map_or(NetworkMask::default(), |ix| NetworkMask::default().with(ix))
    }

    /// The listener's networks from which the identity may come.
    fn own_networks(&self) -> Vec<NetworkIx> {
        let may_come = self.snapshot.policy.networks_of(self.who).and(&self.listener.networks);
        self.networks().filter(|ix| may_come.contains(*ix)).collect()
    }

    fn networks(&self) -> impl Iterator<Item = NetworkIx> {
        let names = &self.snapshot.names;
        (0..=u8::MAX).map(NetworkIx).take_while(|ix| names.network(*ix).is_some())
    }

    /// The limits that count an operation of this identity.
    fn limits(&self, operation: OperationIx) -> Vec<&'s LimitSpec> {
        let quotas = &self.snapshot.quotas;
        let under = quotas.accounts.get(self.who.index()).map(|(_, limits)| limits.as_slice());
        let limits = under.unwrap_or_default().iter();
        limits
            .filter_map(|ix| quotas.limits.get(ix.index()))
            .filter(|limit| limit.operations.contains(&operation))
            .collect()
    }

    /// Methods that have an operation at this path.
    fn other_methods(&self) -> Vec<Method> {
        [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete]
            .into_iter()
            .filter(|method| self.table.match_request(*method, self.path).is_ok())
            .collect()
    }
}

impl Told {
    fn line(&mut self, mark: Mark, topic: &'static str, text: String) {
        self.lines.push(Line { mark, topic, text });
    }
}

/// At most eight of the names there are.
fn listed<'n>(names: impl Iterator<Item = &'n Name>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = names.map(Name::as_str).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<&str> = names.into_iter().take(SHOWN).collect();
    if shown.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there is {}{more}", shown.join(", "))
    }
}
