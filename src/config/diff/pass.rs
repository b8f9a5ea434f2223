//! What is passed on to other gateways with its TLS (TLS-3).
use std::time::Duration;

use super::Out;
use super::access::sets;
use super::line::{Direction, Line, Said};
use crate::config::settings::{
    Addresses, Nameless, PassProxy, PassSettings, PassTable, PassTarget,
};

/// What a route takes, and where to, is compared as one: each name goes to each target.
pub(super) fn routes(
    was: &PassTable,
    now: &PassTable,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
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

fn route(
    was: &PassSettings,
    now: &PassSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let line = |direction, what| line(direction, what).items([Said::from(&now.name)]);
    let names = |of: &PassSettings| -> Vec<Said> {
        let nameless = (of.nameless == Nameless::Here).then(|| Said::from("hellos without a name"));
        of.server_names.iter().map(Said::place).chain(nameless).collect()
    };
    if names(was) != names(now) {
        let (from, to) = (Said::list(names(was)), Said::list(names(now)));
        out.add(line(Direction::Widens, "passes on the names").was(from).is(to));
    }
    let targets = |of: &PassSettings| Said::list(of.targets.iter().map(target));
    if targets(was) != targets(now) {
        out.add(line(Direction::Widens, "passes on to").was(targets(was)).is(targets(now)));
    }
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
    let named = Said::place(format_args!("{}:{}", of.host, of.port));
    match &of.addresses {
        Addresses::Dns => named,
        Addresses::Fixed(list) => named.with(" at ").with(Said::list(list.iter().map(Said::place))),
    }
}
