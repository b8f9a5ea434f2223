//! What access is judged by, beside identities: networks, operations, issuers, the token, limits
//! (NET-1, PRIV-1, ACC-1, MON-2).
use std::collections::HashMap;

use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot};
use crate::base::{LimitIx, Name, NetworkIx};
use crate::config::settings::{IssuerSettings, JwksSource};
use crate::identity::{Basic, IssuerSpec, NotBefore};
use crate::policy::{LimitSpec, Measure, Mode, Operation, QueryNames, Sharing, Upgrades};

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    networks(old, new, out);
    operations(old, new, out);
    issuers(old, new, out);
    token(old, new, out);
    limits(old, new, out);
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
            // By itself it admits nobody; whoever names it is told of apart.
            line(Direction::Neutral, "added, with prefixes", name, &now);
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
    for (_, now) in after.iter() {
        let was = before.find(now.name.as_str()).and_then(|ix| before.get(ix));
        match was {
            // Nobody may call it by that; grants are told of apart.
            None => {
                out.add(Line::new(Direction::Neutral, Part::Operation, "added").about(&now.name));
            }
            Some(was) => operation(was, now, out),
        }
    }
    for (_, was) in before.iter().filter(|(_, was)| after.find(was.name.as_str()).is_none()) {
        out.add(Line::new(Direction::Narrows, Part::Operation, "removed").about(&was.name));
    }
}

fn operation(was: &Operation, now: &Operation, out: &mut Out) {
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
        (one, other) if one == other => {}
        (None, Some(_)) => out.add(line(Direction::Narrows, "asks for the environment's claim")),
        (Some(_), None) => {
            out.add(line(Direction::Widens, "asks no more for the environment's claim"));
        }
        _ => out.add(line(Direction::Widens, "environment's claim is another")),
    }
    if was.clock_skew != now.clock_skew {
        let direction = Direction::more(&was.clock_skew, &now.clock_skew);
        let (from, to) = (Said::time(was.clock_skew), Said::time(now.clock_skew));
        out.add(line(direction, "clock skew").was(from).is(to));
    }
    match (was.not_before, now.not_before) {
        (NotBefore::Required, NotBefore::Optional) => {
            out.add(line(Direction::Widens, "nbf may be missing"));
        }
        (NotBefore::Optional, NotBefore::Required) => {
            out.add(line(Direction::Narrows, "nbf has to be there"));
        }
        _ => {}
    }
    if (were.cooldown, were.refresh) != (keys.cooldown, keys.refresh) {
        out.add(line(Direction::Neutral, "keys are fetched at other times"));
    }
}

fn source(of: &JwksSource) -> Said {
    match of {
        JwksSource::File(path) => Said::place(path.display()),
        JwksSource::Url { endpoint, path, roots } => {
            let url = Said::place(format_args!("https://{}{path}", endpoint.authority));
            match roots {
                crate::config::Roots::System => url,
                crate::config::Roots::Private(list) => {
                    url.with(" by ").with(super::reach::certificates(list))
                }
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

fn token(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let (was, now) = (&old.token, &new.token);
    let line = |direction, what| Line::new(direction, Part::Token, what);
    if (&was.header, &was.scheme) != (&now.header, &now.scheme) {
        let said = |of: &crate::config::TokenSettings| {
            let scheme = of.scheme.as_deref().unwrap_or_default();
            Said::place(format_args!("{}: {scheme}", of.header))
        };
        out.add(line(Direction::Neutral, "comes in").was(said(was)).is(said(now)));
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
    if was.bytes_max != now.bytes_max {
        let direction = Direction::more(&was.bytes_max, &now.bytes_max);
        let size = |bytes: usize| Said::size(u64::try_from(bytes).unwrap_or(u64::MAX));
        out.add(line(direction, "longest").was(size(was.bytes_max)).is(size(now.bytes_max)));
    }
}

fn limits(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let named = |of: &Snapshot| -> HashMap<Name, LimitIx> {
        (0..)
            .map(LimitIx)
            .zip(&of.quotas.limits)
            .map(|(ix, spec)| (spec.name.clone(), ix))
            .collect()
    };
    let (before, after) = (named(old), named(new));
    let get = |of: &'_ Snapshot, ix: LimitIx| of.quotas.limits.get(ix.index()).cloned();
    for (name, ix) in &after {
        let Some(now) = get(new, *ix) else { continue };
        let line = |direction, what| Line::new(direction, Part::Limit, what).about(name);
        match before.get(name).and_then(|was| get(old, *was)) {
            None => out.add(line(Direction::Narrows, "added").is(measure(&now.measure))),
            Some(was) => limit((old, &was), (new, &now), &line, out),
        }
    }
    for (name, ix) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        let was = get(old, *ix).map_or_else(|| "none".into(), |was| measure(&was.measure));
        out.add(Line::new(Direction::Widens, Part::Limit, "removed").about(name).was(was));
    }
    freed(old, new, &after, out);
}

fn limit(
    (old, was): (&Snapshot, &LimitSpec),
    (new, now): (&Snapshot, &LimitSpec),
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    if was.measure != now.measure {
        let (from, to) = (measure(&was.measure), measure(&now.measure));
        let what = match looser(&was.measure, &now.measure) {
            Direction::Widens => "raised",
            Direction::Narrows => "lowered",
            Direction::Neutral => "changed",
        };
        out.add(line(looser(&was.measure, &now.measure), what).was(from).is(to));
    }
    match (was.mode, now.mode) {
        (Mode::Enforced, Mode::Shadow) => out.add(line(Direction::Widens, "on trial only")),
        (Mode::Shadow, Mode::Enforced) => out.add(line(Direction::Narrows, "enforced")),
        _ => {}
    }
    match (was.sharing, now.sharing) {
        (Sharing::All, Sharing::Each) => out.add(line(Direction::Widens, "each has its own")),
        (Sharing::Each, Sharing::All) => out.add(line(Direction::Narrows, "all share one")),
        _ => {}
    }
    let operations = |of: &Snapshot, spec: &LimitSpec| -> Vec<Said> {
        spec.operations.iter().filter_map(|ix| of.names.operation(*ix)).map(Said::from).collect()
    };
    // What is not counted is not limited.
    let told = ("counts no more", "counts as well");
    sets(line, told, &operations(new, now), &operations(old, was), out);
    let upstreams = |of: &Snapshot, spec: &LimitSpec| {
        spec.upstreams.as_ref().map(|list| -> Vec<Said> {
            list.iter().filter_map(|ix| of.names.upstream(*ix)).map(Said::from).collect()
        })
    };
    match (upstreams(old, was), upstreams(new, now)) {
        (None, None) => {}
        (None, Some(few)) => out.add(line(Direction::Widens, "counts only through").items(few)),
        (Some(few), None) => {
            out.add(line(Direction::Narrows, "counts through all, not only").items(few));
        }
        (Some(before), Some(after)) => {
            let told = ("counts no more through", "counts through");
            sets(line, told, &after, &before, out);
        }
    }
}

/// Identities that a limit does not hold for any more, though it is there still.
fn freed(old: &Snapshot, new: &Snapshot, after: &HashMap<Name, LimitIx>, out: &mut Out) {
    let known: HashMap<&Name, usize> =
        new.names.identities.iter().enumerate().map(|(at, name)| (name, at)).collect();
    let mut freed: HashMap<LimitIx, Vec<&Name>> = HashMap::new();
    let mut moved: HashMap<&[LimitIx], Vec<LimitIx>> = HashMap::new();
    for (name, under) in &old.quotas.accounts {
        let account = known.get(name).and_then(|at| new.quotas.accounts.get(*at));
        let Some((_, now)) = account else { continue };
        let expected = moved.entry(under).or_insert_with(|| {
            let specs = under.iter().filter_map(|ix| old.quotas.limits.get(ix.index()));
            specs.filter_map(|spec| after.get(&spec.name).copied()).collect()
        });
        for ix in expected.iter().filter(|ix| !now.contains(ix)) {
            freed.entry(*ix).or_default().push(name);
        }
    }
    for (ix, names) in freed {
        let Some(spec) = new.quotas.limits.get(ix.index()) else { continue };
        let mut line = Line::new(Direction::Widens, Part::Limit, "holds no more for");
        line = line.items([Said::from(&spec.name)]);
        line.count = names.len();
        line.names = names.into_iter().take(super::NAMES_MAX).cloned().collect();
        out.add(line);
    }
}

/// Whether the new one lets more through, as far as that can be told.
fn looser(old: &Measure, new: &Measure) -> Direction {
    let judge = |raised: bool, lowered: bool| match (raised, lowered) {
        (true, _) => Direction::Widens,
        (false, true) => Direction::Narrows,
        (false, false) => Direction::Neutral,
    };
    match (old, new) {
        (Measure::Concurrent(before), Measure::Concurrent(after)) => Direction::more(before, after),
        (Measure::Requests(before), Measure::Requests(after)) => {
            let most = |window: &crate::policy::Window| {
                (window.count, window.burst.unwrap_or(window.count))
            };
            // Each window before has one now that is no looser, and the other way round.
            let within = |these: &[crate::policy::Window], those: &[crate::policy::Window]| {
                those.iter().all(|that| {
                    these.iter().any(|this| {
                        this.per == that.per
                            && most(this).0 <= most(that).0
                            && most(this).1 <= most(that).1
                    })
                })
            };
            judge(!within(after, before), !within(before, after))
        }
        (Measure::Bytes(before), Measure::Bytes(after))
        | (Measure::PiiRecords(before), Measure::PiiRecords(after)) => {
            let within = |these: &[crate::policy::Amount], those: &[crate::policy::Amount]| {
                those.iter().all(|that| {
                    these.iter().any(|this| this.per == that.per && this.count <= that.count)
                })
            };
            judge(!within(after, before), !within(before, after))
        }
        _ => Direction::Widens,
    }
}

fn measure(of: &Measure) -> Said {
    let rates = |what: &'static str, rates: Vec<(u64, std::time::Duration)>| {
        let rate = |(count, per): (u64, std::time::Duration)| Said::rate(count, per);
        Said::list(rates.into_iter().map(rate)).with(" ").with(what)
    };
    match of {
        Measure::Requests(list) => {
            let all = list.iter().map(|one| (u64::from(one.count), one.per)).collect();
            let bursts = list.iter().filter_map(|one| one.burst);
            bursts.fold(rates("requests", all), |said, burst| {
                said.with(", ").with(Said::number(burst)).with(" at once")
            })
        }
        Measure::Bytes(list) => {
            rates("bytes", list.iter().map(|one| (one.count, one.per)).collect())
        }
        Measure::PiiRecords(list) => {
            rates("records", list.iter().map(|one| (one.count, one.per)).collect())
        }
        Measure::Concurrent(most) => Said::number(*most).with(" at a time"),
    }
}
