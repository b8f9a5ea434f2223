//! What access is judged by, beside identities: networks, operations, issuers, the token (NET-1,
//! PRIV-1, ACC-1).
use std::collections::HashMap;
use std::time::Duration;

use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot};
use crate::base::{Name, NetworkIx, OperationIx};
use crate::config::settings::{
    Addresses, DeniedToken, IssuerSettings, JwksSource, Roots, TokenSettings, UpstreamKind,
};
use crate::identity::{Basic, IssuerSpec, NotBefore};
use crate::policy::{Holds, Operation, QueryNames, Upgrades};

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    networks(old, new, out);
    operations(old, new, out);
    issuers(old, new, out);
    token(&old.token, &new.token, out);
}

fn networks(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let held = |of: &Snapshot, ix: NetworkIx| of.prefixes.get(ix.index()).cloned();
    let before: HashMap<&Name, NetworkIx> =
        old.names.networks.iter().zip((0..=u8::MAX).map(NetworkIx)).collect();
    let after: HashMap<&Name, NetworkIx> =
        new.names.networks.iter().zip((0..=u8::MAX).map(NetworkIx)).collect();
    let mut line = |direction, what, name: &Name, prefixes: &crate::policy::Prefixes| {
        let line = Line::new(direction, Part::Network, what).about(name);
        out.add(line.items(prefixes.iter().map(Said::prefix)));
    };
    for (name, ix) in &after {
        let now = held(new, *ix).unwrap_or_default();
        let Some(was) = before.get(name) else {
            // It admits nobody until it is named, and who names it is told of apart. But failed logins
            // from there are from an unknown network no more (MON-6).
            line(Direction::Widens, "added, with prefixes", name, &now);
            continue;
        };
        let was = held(old, *was).unwrap_or_default();
        if was == now {
            continue;
        }
        let (gained, lost) = (now.without(&was), was.without(&now));
        if !gained.is_empty() {
            line(Direction::Widens, "gains prefixes", name, &gained);
        }
        if !lost.is_empty() {
            line(Direction::Narrows, "loses prefixes", name, &lost);
        }
    }
    for (name, ix) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        let was = held(old, *ix).unwrap_or_default();
        line(Direction::Narrows, "removed, with prefixes", name, &was);
    }
}

/// Operations of internal stores: those of Amazon are built in.
fn operations(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let (before, after) = (old.policy.operations(), new.policy.operations());
    let (stood, stands) = (answered(old), answered(new));
    for (ix, now) in after.iter() {
        let Some(at) = before.find(now.name.as_str()) else {
            // Nobody may call it by that; grants are told of apart.
            out.add(Line::new(Direction::Neutral, Part::Operation, "added").about(&now.name));
            continue;
        };
        if let Some(was) = before.get(at) {
            operation(was, now, out);
        }
        let by = |of: &HashMap<OperationIx, Name>, ix| of.get(&ix).map(Said::from);
        let line = |direction, what| Line::new(direction, Part::Operation, what).about(&now.name);
        let (was, now) = (Vec::from_iter(by(&stood, at)), Vec::from_iter(by(&stands, ix)));
        sets(&line, ("is answered by", "is answered no more by"), &was, &now, out);
    }
    for (_, was) in before.iter().filter(|(_, was)| after.find(was.name.as_str()).is_none()) {
        out.add(Line::new(Direction::Narrows, Part::Operation, "removed").about(&was.name));
    }
}

/// Who answers each operation of internal stores; who answers Amazon's, is told with the listeners.
fn answered(of: &Snapshot) -> HashMap<OperationIx, Name> {
    let stores = of.upstreams.iter().zip(&of.served);
    let stores = stores.filter(|(upstream, _)| upstream.kind == UpstreamKind::Https);
    stores.flat_map(|(upstream, list)| list.iter().map(|ix| (*ix, upstream.name.clone()))).collect()
}

fn operation(was: &Operation, now: &Operation, out: &mut Out) {
    // Only Amazon's have an alias, and those are built in.
    let Operation { name: _, alias: _, method: _, template: _, query: _, upgrades: _, holds: _ } =
        now;
    let line = |direction, what| Line::new(direction, Part::Operation, what).about(&now.name);
    let requests = |of: &Operation| {
        Said::from(of.method.as_str()).with(" ").with(Said::place(of.template.as_str()))
    };
    if was.method != now.method || was.template != now.template {
        out.add(line(Direction::Widens, "is now").is(requests(now)));
        out.add(line(Direction::Narrows, "is no more").was(requests(was)));
    }
    let names = |list: &[Box<str>]| Said::list(list.iter().map(Said::place));
    match (&was.query, &now.query) {
        (one, other) if one == other => {}
        (QueryNames::Any, QueryNames::Listed(list)) => {
            out.add(line(Direction::Narrows, "query parameters").was("any").is(names(list)));
        }
        (QueryNames::Listed(list), QueryNames::Any) => {
            out.add(line(Direction::Widens, "query parameters").was(names(list)).is("any"));
        }
        (QueryNames::Listed(few), QueryNames::Listed(many)) => {
            let more: Vec<_> = many.iter().filter(|name| !few.contains(name)).cloned().collect();
            let less: Vec<_> = few.iter().filter(|name| !many.contains(name)).cloned().collect();
            if !more.is_empty() {
                out.add(line(Direction::Widens, "further query parameters").is(names(&more)));
            }
            if !less.is_empty() {
                out.add(line(Direction::Narrows, "fewer query parameters").was(names(&less)));
            }
        }
        (QueryNames::Any, QueryNames::Any) => {}
    }
    match (was.upgrades, now.upgrades) {
        (Upgrades::Refused, Upgrades::WebSocket) => {
            out.add(line(Direction::Widens, "may become a WebSocket"));
        }
        (Upgrades::WebSocket, Upgrades::Refused) => {
            out.add(line(Direction::Narrows, "may become a WebSocket no more"));
        }
        _ => {}
    }
    match (was.holds, now.holds) {
        (Holds::Nothing, Holds::PersonalData) => {
            out.add(line(Direction::Narrows, "is counted as personal data"));
        }
        (Holds::PersonalData, Holds::Nothing) => {
            out.add(line(Direction::Widens, "is counted as personal data no more"));
        }
        _ => {}
    }
}

fn issuers(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let list = |of: &Snapshot| -> Vec<(IssuerSpec, IssuerSettings)> {
        of.trust.issuer_specs().cloned().zip(of.issuers.iter().cloned()).collect()
    };
    let (before, after) = (list(old), list(new));
    for (now, keys) in &after {
        match before.iter().find(|(was, _)| was.name == now.name) {
            None => out.add(Line::new(Direction::Widens, Part::Issuer, "added").about(&now.name)),
            Some((was, were)) => issuer((was, were), (now, keys), out),
        }
    }
    for (was, _) in &before {
        if !after.iter().any(|(now, _)| now.name == was.name) {
            out.add(Line::new(Direction::Narrows, Part::Issuer, "removed").about(&was.name));
        }
    }
}

fn issuer(
    (was, were): (&IssuerSpec, &IssuerSettings),
    (now, keys): (&IssuerSpec, &IssuerSettings),
    out: &mut Out,
) {
    let IssuerSpec {
        name: _,
        iss: _,
        audiences: _,
        algorithms: _,
        clock_skew: _,
        not_before: _,
        environment: _,
        environment_claim: _,
        required_claims: _,
        subject_claim: _,
    } = now;
    let IssuerSettings { name: _, jwks: _, cooldown: _, refresh: _ } = keys;
    let line = |direction, what| Line::new(direction, Part::Issuer, what).about(&now.name);
    let mut exchanged = |what, from: Said, to: Said| {
        if from != to {
            out.add(line(Direction::Widens, what).is(to));
            out.add(line(Direction::Narrows, what).was(from));
        }
    };
    exchanged("iss", Said::place(&was.iss), Said::place(&now.iss));
    exchanged("subject claim", Said::place(&was.subject_claim), Said::place(&now.subject_claim));
    exchanged("environment", (&was.environment).into(), (&now.environment).into());
    exchanged("keys from", source(&were.jwks), source(&keys.jwks));
    let algorithms = |of: &IssuerSpec| -> Vec<Said> {
        of.algorithms.iter().map(|one| one.as_str().into()).collect()
    };
    let audiences =
        |of: &IssuerSpec| -> Vec<Said> { of.audiences.iter().map(Said::place).collect() };
    let required = |of: &IssuerSpec| -> Vec<Said> {
        let claims = of.required_claims.iter();
        claims.map(|(name, value)| Said::place(format_args!("{name} {value:?}"))).collect()
    };
    sets(
        &line,
        ("accepts audiences", "accepts no more audiences"),
        &audiences(was),
        &audiences(now),
        out,
    );
    sets(
        &line,
        ("accepts algorithms", "accepts no more algorithms"),
        &algorithms(was),
        &algorithms(now),
        out,
    );
    // A claim that has to be there keeps tokens out.
    sets(
        &line,
        ("asks no more for claims", "asks for claims"),
        &required(now),
        &required(was),
        out,
    );
    match (&was.environment_claim, &now.environment_claim) {
        (Some(from), Some(to)) if from == to => {}
        (None, Some(_)) => out.add(line(Direction::Narrows, "asks for the environment's claim")),
        (Some(_), None) => {
            out.add(line(Direction::Widens, "asks no more for the environment's claim"));
        }
        (Some(from), Some(to)) => {
            out.add(line(Direction::Widens, "environment's claim").is(Said::place(to)));
            out.add(line(Direction::Narrows, "environment's claim").was(Said::place(from)));
        }
        (None, None) => {}
    }
    let mut times = |direction, what, from: Duration, to: Duration| {
        if from != to {
            out.add(line(direction, what).was(Said::time(from)).is(Said::time(to)));
        }
    };
    times(
        Direction::more(&was.clock_skew, &now.clock_skew),
        "clock skew",
        was.clock_skew,
        now.clock_skew,
    );
    // For so long a key counts that the issuer has taken back.
    times(
        Direction::more(&were.refresh, &keys.refresh),
        "keys are fetched every",
        were.refresh,
        keys.refresh,
    );
    times(Direction::Neutral, "an unknown key is asked for every", were.cooldown, keys.cooldown);
    match (was.not_before, now.not_before) {
        (NotBefore::Required, NotBefore::Optional) => {
            out.add(line(Direction::Widens, "nbf may be missing"));
        }
        (NotBefore::Optional, NotBefore::Required) => {
            out.add(line(Direction::Narrows, "nbf has to be there"));
        }
        _ => {}
    }
}

fn source(of: &JwksSource) -> Said {
    match of {
        JwksSource::File(path) => Said::place(path.display()),
        JwksSource::Url { endpoint, path, roots } => {
            let url = Said::place(format_args!("https://{}{path}", endpoint.authority));
            let url = match &endpoint.addresses {
                Addresses::Dns => url,
                Addresses::Fixed(list) => {
                    url.with(" at ").with(Said::list(list.iter().map(Said::place)))
                }
            };
            match roots {
                Roots::System => url,
                Roots::Private(list) => url.with(" by ").with(super::upstreams::certificates(list)),
            }
        }
    }
}

/// What a list has more, and what it has less.
pub(super) fn sets(
    line: &impl Fn(Direction, &'static str) -> Line,
    (more, less): (&'static str, &'static str),
    old: &[Said],
    new: &[Said],
    out: &mut Out,
) {
    let only = |these: &[Said], those: &[Said]| -> Vec<Said> {
        these.iter().filter(|one| !those.contains(one)).cloned().collect()
    };
    let (gained, lost) = (only(new, old), only(old, new));
    if !gained.is_empty() {
        out.add(line(Direction::Widens, more).items(gained));
    }
    if !lost.is_empty() {
        out.add(line(Direction::Narrows, less).items(lost));
    }
}

fn token(was: &TokenSettings, now: &TokenSettings, out: &mut Out) {
    let TokenSettings { header: _, scheme: _, basic: _, bytes_max: _, denied: _ } = now;
    let line = |direction, what| Line::new(direction, Part::Token, what);
    // Others may read what comes there. Whoever has a token has it still and may send it there.
    if (&was.header, &was.scheme) != (&now.header, &now.scheme) {
        let said = |of: &TokenSettings| {
            let scheme = of.scheme.as_deref().unwrap_or_default();
            Said::place(format_args!("{}: {scheme}", of.header))
        };
        out.add(line(Direction::Widens, "comes in").was(said(was)).is(said(now)));
    }
    match (was.basic, now.basic) {
        (Basic::Refused, Basic::PasswordIsToken) => {
            out.add(line(Direction::Widens, "may come as a password"));
        }
        (Basic::PasswordIsToken, Basic::Refused) => {
            out.add(line(Direction::Narrows, "may come as a password no more"));
        }
        _ => {}
    }
    denied(&was.denied, &now.denied, &line, out);
    if was.bytes_max != now.bytes_max {
        let direction = Direction::more(&was.bytes_max, &now.bytes_max);
        let size = |bytes: usize| Said::size(u64::try_from(bytes).unwrap_or(u64::MAX));
        out.add(line(direction, "longest").was(size(was.bytes_max)).is(size(now.bytes_max)));
    }
}

/// How many tokens are denied for longer or for less long: one that is denied no more has no time left.
fn denied(
    was: &[DeniedToken],
    now: &[DeniedToken],
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let dates = |of: &[DeniedToken]| {
        let mut dates: HashMap<[u8; 32], u64> = HashMap::new();
        for DeniedToken { digest, until_unix_secs } in of {
            let until = dates.entry(*digest).or_default();
            *until = (*until).max(*until_unix_secs);
        }
        dates
    };
    let (before, after) = (dates(was), dates(now));
    // How many of these have no time among those, and how many have less of it.
    let lacking = |these: &HashMap<[u8; 32], u64>, those: &HashMap<[u8; 32], u64>| {
        let gone = these.keys().filter(|digest| !those.contains_key(*digest)).count();
        let less = these
            .iter()
            .filter(|(digest, until)| those.get(*digest).is_some_and(|there| there < *until));
        (gone, less.count())
    };
    let ((freed, sooner), (denied, longer)) = (lacking(&before, &after), lacking(&after, &before));
    for (direction, what, count) in [
        (Direction::Widens, "tokens that are denied no more", freed),
        (Direction::Widens, "tokens that are denied less long", sooner),
        (Direction::Narrows, "tokens that are denied", denied),
        (Direction::Narrows, "tokens that are denied longer", longer),
    ] {
        if count > 0 {
            out.add(line(direction, what).is(Said::count(count)));
        }
    }
}
