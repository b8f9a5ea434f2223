//! Who operates the gateway, and who is told of alarms (PRIV-3, MON-7).
use super::access::sets;
use super::identities::Networks;
use super::line::{Direction, Effect, Line, Part, Said};
use super::upstreams::endpoint;
use super::{Out, Snapshot};
use crate::alarm::{Quiet, Rules, Windows};
use crate::base::{IdentityIx, Moment, Name};
use crate::config::operating::{ApiSettings, OperatorSettings};
use crate::config::settings::{AlarmSettings, AlarmTarget, AlarmWay, Posted};
use crate::identity::Side;

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    operators(old, new, out);
    api(old, new, out);
    alarms(&old.alarms, &new.alarms, out);
}

fn operators(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let line =
        |direction, what, name: &Name| Line::new(direction, Part::Operator, what).about(name);
    let find =
        |of: &Snapshot, name: &Name| of.operators.list.iter().position(|one| one.name == *name);
    for (place, now) in new.operators.list.iter().enumerate() {
        let Some(at) = find(old, &now.name) else {
            let line = line(Direction::Widens, "added", &now.name);
            out.add(line.is(now.role.as_str()));
            continue;
        };
        let Some(was) = old.operators.list.get(at) else { continue };
        let OperatorSettings { name: _, role: _ } = now;
        if was.role != now.role {
            let line = line(Direction::more(&was.role, &now.role), "role", &now.name);
            out.add(line.was(was.role.as_str()).is(now.role.as_str()));
        }
        // From when on: the end of the last day, or at once where disabled.
        let ends = |of: &Snapshot, place: usize| {
            let ix = IdentityIx(u32::try_from(place).unwrap_or(u32::MAX));
            let trust = of.operators.trust.as_ref();
            trust.map_or((false, 0), |trust| {
                (trust.may_enter(ix, Moment::new(0, 0)), trust.ends(ix))
            })
        };
        let (before, after) = (ends(old, at), ends(new, place));
        if before != after {
            out.add(line(Direction::more(&before, &after), "may act until", &now.name));
        }
    }
    for was in &old.operators.list {
        if find(new, &was.name).is_none() {
            out.add(line(Direction::Narrows, "removed", &was.name).was(was.role.as_str()));
        }
    }
    let (Some(before), Some(after)) = (&old.operators.trust, &new.operators.trust) else { return };
    for change in before.changed_credentials(after) {
        if find(old, &change.identity).is_none() || find(new, &change.identity).is_none() {
            continue;
        }
        let (direction, what) = match change.side {
            Side::Before => (Direction::Narrows, "loses a certificate"),
            Side::After => (Direction::Widens, "gains a certificate"),
        };
        out.add(line(direction, what, &change.identity));
    }
}

fn api(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::Operator, what);
    let (was, now) = match (&old.api, &new.api) {
        (None, None) => return,
        (None, Some(now)) => {
            let line = line(Direction::Widens, "API added");
            return out.add(line.is(Said::place(now.address)));
        }
        (Some(was), None) => {
            let line = line(Direction::Narrows, "API removed");
            return out.add(line.was(Said::place(was.address)));
        }
        (Some(was), Some(now)) => (was, now),
    };
    let ApiSettings { address: _, networks: _, tls: _, two_people: _, confirm_within: _ } = now;
    let told = |direction| line(direction, "API address");
    super::reach::address(was.address, now.address, told, out);
    let (gained, lost) = Networks::new(old, new).difference(was.networks, now.networks);
    if !gained.is_empty() {
        let names = gained.into_iter().map(Said::from);
        out.add(line(Direction::Widens, "API admits").items(names));
    }
    if !lost.is_empty() {
        let names = lost.into_iter().map(Said::from);
        out.add(line(Direction::Narrows, "API admits no more").items(names));
    }
    let acts = |of: &ApiSettings| -> Vec<Said> {
        of.two_people.iter().map(|act| act.as_str().into()).collect()
    };
    // What needs a second person is harder to do.
    let told = ("needs no second person any more", "needs a second person");
    sets(&line, told, &acts(now), &acts(was), out);
    if was.confirm_within != now.confirm_within {
        let (from, to) = (was.confirm_within, now.confirm_within);
        let line = line(Direction::more(&from, &to), "second person within");
        out.add(line.was(Said::time(from)).is(Said::time(to)));
    }
    super::reach::tls(&was.tls, &now.tls, &line, out);
}

fn alarms(old: &AlarmSettings, new: &AlarmSettings, out: &mut Out) {
    let AlarmSettings { windows: _, targets: _ } = new;
    let (before, after) = (&old.targets, &new.targets);
    for now in after {
        match before.iter().find(|was| was.name == now.name) {
            None => told(now, out),
            Some(was) => target(was, now, out),
        }
    }
    for was in before {
        if !after.iter().any(|now| now.name == was.name) {
            told_no_more(was, out);
        }
    }
    // What is gathered longer is told later.
    let Windows { first, repeat } = new.windows;
    for (what, from, to) in [
        ("gathered for, at first", old.windows.first, first),
        ("gathered for, at most", old.windows.repeat, repeat),
    ] {
        if from != to {
            let line = Line::new(Direction::more(&from, &to), Part::Alarm, what);
            out.add(line.was(Said::time(from)).is(Said::time(to)));
        }
    }
}

/// Somebody is told who was not, or a program is run.
fn told(now: &AlarmTarget, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::Alarm, what).about(&now.name);
    out.add(line(Direction::Widens, "alarms go to").is(place(&now.way)));
    out.add(line(Direction::Narrows, "told as well").is(now.way.as_str()));
}

fn told_no_more(was: &AlarmTarget, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::Alarm, what).about(&was.name);
    out.add(line(Direction::Widens, "told no more").was(was.way.as_str()));
    out.add(line(Direction::Narrows, "alarms go no more to").was(place(&was.way)));
}

fn target(was: &AlarmTarget, now: &AlarmTarget, out: &mut Out) {
    let AlarmTarget {
        name: _,
        way: _,
        rules: Rules { min: _, quiet: _ },
        heartbeat: _,
        timeout: _,
    } = now;
    let line = |direction, what| Line::new(direction, Part::Alarm, what).about(&now.name);
    if !same_place(&was.way, &now.way) {
        told_no_more(was, out);
        told(now, out);
    } else if was.way != now.way {
        // A receiver that knows another one drops what it is told.
        out.add(line(Direction::Widens, "secret is another"));
    }
    if was.rules.min != now.rules.min {
        let (from, to) = (was.rules.min, now.rules.min);
        let line = line(Direction::more(&from, &to), "told from severity");
        out.add(line.was(from.as_str()).is(to.as_str()));
    }
    quiet(was.rules.quiet, now.rules.quiet, &line, out);
    let mut times = |direction, what, from, to| {
        if from != to {
            out.add(line(direction, what).was(Said::time(from)).is(Said::time(to)));
        }
    };
    let (from, to) = (was.heartbeat, now.heartbeat);
    times(Direction::more(&from, &to), "sign of life every", from, to);
    // A short one cuts off who is slow, and during a long one others wait.
    times(Direction::Widens, "told within", was.timeout, now.timeout);
}

/// In which minutes of a day what waits: more of it is told later.
fn quiet(
    was: Option<Quiet>,
    now: Option<Quiet>,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let within = |one: Option<Quiet>, other: Option<Quiet>| match (one, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => {
            let mut minutes = (0..24 * 60).map(|minute| minute * 60_000);
            one.below() <= other.below() && minutes.all(|at| !one.is_now(at) || other.is_now(at))
        }
    };
    let said = |quiet: Option<Quiet>| {
        let some = |quiet: Quiet| {
            Said::time(quiet.length()).with(" a day below ").with(quiet.below().as_str())
        };
        quiet.map_or_else(|| Said::from("none"), some)
    };
    let effect = Effect { widens: !within(now, was), narrows: !within(was, now) };
    if effect.widens || effect.narrows {
        out.tell(effect, |direction| line(direction, "quiet hours").was(said(was)).is(said(now)));
    }
}

/// Without paths, which may be a secret, and without arguments.
fn place(way: &AlarmWay) -> Said {
    match way {
        AlarmWay::Webhook { to, .. } | AlarmWay::Alertmanager { to, .. } => match to {
            Posted::Https { endpoint: to, .. } => endpoint(to),
            Posted::Loopback { address, .. } => Said::place(format_args!("http://{address}")),
        },
        AlarmWay::Syslog(path) | AlarmWay::Journald(path) => Said::place(path.display()),
        AlarmWay::Command(words) => Said::place(words.first().map_or("", String::as_str)),
    }
}

fn same_place(was: &AlarmWay, now: &AlarmWay) -> bool {
    match (was, now) {
        (AlarmWay::Webhook { to: one, .. }, AlarmWay::Webhook { to: other, .. })
        | (AlarmWay::Alertmanager { to: one, .. }, AlarmWay::Alertmanager { to: other, .. }) => {
            one == other
        }
        _ => was == now,
    }
}
