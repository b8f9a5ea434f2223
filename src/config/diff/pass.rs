//! What is passed on to other gateways with its TLS (TLS-3).
use std::collections::BTreeSet;
use std::time::Duration;

use super::Out;
use super::access::sets;
use super::line::{Direction, Line, Said};
use crate::config::settings::{
    Addresses, ListenerSettings, Nameless, PassProxy, PassSettings, PassTable, PassTarget,
    TlsSettings, Way,
};

/// What a route takes, and where to, is compared as one: each name goes to each target.
pub(super) fn routes(
    was: &ListenerSettings,
    now: &ListenerSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    ended(was, now, line, out);
    let (was, now) = (&was.pass, &now.pass);
    let named = |of: &PassTable| -> Vec<Said> {
        of.routes().iter().map(|route| Said::from(&route.name)).collect()
    };
    sets(line, ("passes on by", "passes on no more by"), &named(was), &named(now), out);
    for after in now.routes() {
        let before = was.routes().iter().find(|route| route.name == after.name);
        if let Some(before) = before {
            route(before, after, line, out);
        }
    }
}

/// Names that were passed on, or nobody's, and whose TLS ends here from now on; and the other way round.
/// Where nothing is passed on, it ends for every name.
fn ended(
    was: &ListenerSettings,
    now: &ListenerSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let passes = !was.pass.is_empty() || !now.pass.is_empty();
    if !passes || was.tls.is_none() || now.tls.is_none() {
        return;
    }
    let names = |of: &'_ ListenerSettings| -> Vec<String> {
        let routed = of.pass.routes().iter().flat_map(|route| route.server_names.iter());
        routed.chain(of.tls.iter().flat_map(TlsSettings::names)).cloned().collect()
    };
    let all: BTreeSet<String> = names(was).into_iter().chain(names(now)).collect();
    // One with a wildcard stands for all that it fits and that are not written out.
    let ends = |of: &ListenerSettings| -> Vec<Said> {
        let all = all.iter().map(|name| (Some(name.as_str()), Said::place(name)));
        let all = all.chain([(None, Said::from("hellos without a name"))]);
        all.filter(|(name, _)| of.way(*name) == Way::End).map(|(_, said)| said).collect()
    };
    let told = ("ends TLS for the names", "ends TLS no more for the names");
    let (before, after) = (ends(was), ends(now));
    sets(line, told, &before, &after, out);
    // A route's wildcard takes what no certificate holds any more.
    let written = |name: &Said| {
        let routes = now.pass.routes().iter();
        let mut names = routes.flat_map(|route| &route.server_names);
        names.any(|one| one.as_str() == name.as_str())
    };
    let taken = before.iter().filter(|name| !after.contains(name) && !written(name));
    let taken: Vec<Said> = taken.cloned().collect();
    if !taken.is_empty() {
        out.add(line(Direction::Widens, "passes on the names").items(taken));
    }
}

fn route(
    was: &PassSettings,
    now: &PassSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    // One that is new does not compile until it is compared.
    let PassSettings {
        name: _,
        server_names: _,
        nameless: _,
        targets: _,
        proxy: _,
        connect_timeout: _,
        check: _,
        failures: _,
        idle: _,
        connections: _,
    } = now;
    let line = |direction, what| line(direction, what).items([Said::from(&now.name)]);
    let names = |of: &PassSettings| -> Vec<Said> {
        let nameless = (of.nameless == Nameless::Here).then(|| Said::from("hellos without a name"));
        of.server_names.iter().map(Said::place).chain(nameless).collect()
    };
    let told = ("passes on the names", "passes no more on the names");
    sets(&line, told, &names(was), &names(now), out);
    let targets = |of: &PassSettings| -> Vec<Said> { of.targets.iter().map(target).collect() };
    sets(&line, ("passes on to", "passes no more on to"), &targets(was), &targets(now), out);
    if was.proxy != now.proxy {
        let (direction, told) = match now.proxy {
            PassProxy::V2 => (Direction::Narrows, "tells its targets of the client's address"),
            PassProxy::Silent => (Direction::Widens, "tells its targets of no client's address"),
        };
        out.add(line(direction, told));
    }
    let mut times = |what, from: Duration, to: Duration| {
        if from != to {
            out.add(
                line(Direction::more(&from, &to), what).was(Said::time(from)).is(Said::time(to)),
            );
        }
    };
    times("pass.connect_timeout", was.connect_timeout, now.connect_timeout);
    times("pass.idle", was.idle, now.idle);
    times("pass.check", was.check, now.check);
    let mut numbers = |what, from: u32, to: u32| {
        if from != to {
            let line = line(Direction::more(&from, &to), what);
            out.add(line.was(Said::number(from)).is(Said::number(to)));
        }
    };
    numbers("pass.failures", was.failures, now.failures);
    numbers("pass.connections", was.connections, now.connections);
}

fn target(of: &PassTarget) -> Said {
    let PassTarget { name: _, host, port, addresses } = of;
    let named = Said::place(format_args!("{host}:{port}"));
    match addresses {
        Addresses::Dns => named,
        Addresses::Fixed(list) => named.with(" at ").with(Said::list(list.iter().map(Said::place))),
    }
}
