//! What watches, and what follows from it; how the gateway runs (MON-8, ACC-2, LOG-1, LOG-4).
use std::time::Duration;

use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot};
use crate::base::Name;
use crate::config::settings::{
    AccessLog, Apply, OnErrors, PacingSettings, ReloadSettings, UpstreamPacing,
};
use crate::detect::{Detector, Mode};
use crate::lockout::Rules;

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    detectors(old, new, out);
    lockout(&old.lockout, &new.lockout, out);
    log(old, new, out);
    gateway(old, new, out);
    pacing(old, new, out);
}

/// Harder to notice or to act upon is wider.
fn detectors(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let (was, now) = (&old.detect.settings, &new.detect.settings);
    for detector in Detector::ALL {
        let line = |direction, what| {
            let line = Line::new(direction, Part::Detector, what);
            match Name::parse(detector.as_str()) {
                Ok(name) => line.about(&name),
                Err(_) => line,
            }
        };
        let strength = |mode: Mode| match mode {
            Mode::Off => 0_u8,
            Mode::Observe => 1,
            Mode::Enforce => 2,
        };
        let (from, to) = (was.mode(*detector), now.mode(*detector));
        if from != to {
            let line = line(Direction::less(&strength(from), &strength(to)), "mode");
            out.add(line.was(from.as_str()).is(to.as_str()));
        }
        for ((what, from), (_, to)) in
            was.figures(*detector).into_iter().zip(now.figures(*detector))
        {
            if from.to_bits() == to.to_bits() {
                continue;
            }
            // How long is learned makes nothing harder in itself.
            let direction = if what.contains("learn") || what == "slow.odds" {
                Direction::Neutral
            } else {
                Direction::more(&from, &to)
            };
            out.add(line(direction, what).was(Said::figure(from)).is(Said::figure(to)));
        }
    }
    if was != now
        && Detector::ALL
            .iter()
            .all(|d| was.figures(*d) == now.figures(*d) && was.mode(*d) == now.mode(*d))
    {
        out.add(Line::new(Direction::Widens, Part::Detector, "figures that are not listed"));
    }
    let (before, after) = (old.detect.canaries.len(), new.detect.canaries.len());
    if before != after {
        let number = |count: usize| Said::number(u64::try_from(count).unwrap_or(u64::MAX));
        let line = Line::new(Direction::less(&before, &after), Part::Detector, "planted records");
        out.add(line.was(number(before)).is(number(after)));
    } else if !old.detect.canaries.is_like(&new.detect.canaries) {
        out.add(Line::new(Direction::Neutral, Part::Detector, "other planted records"));
    }
}

fn lockout(was: &Rules, now: &Rules, out: &mut Out) {
    let mut line = |direction, what, from: Said, to: Said| {
        if from != to {
            out.add(Line::new(direction, Part::Lockout, what).was(from).is(to));
        }
    };
    let mut more = |what, from: u32, to: u32| {
        line(Direction::more(&from, &to), what, Said::number(from), Said::number(to));
    };
    more("free_tries", was.free_tries, now.free_tries);
    more("failures", was.failures, now.failures);
    more("stranger_failures", was.stranger_failures, now.stranger_failures);
    let (from, to) = (was.locked_per_mille, now.locked_per_mille);
    line(Direction::less(&from, &to), "locked_per_mille", Said::number(from), Said::number(to));
    // The longer it is remembered or holds, the harder.
    let mut times = |what, from: Duration, to: Duration| {
        line(Direction::less(&from, &to), what, Said::time(from), Said::time(to));
    };
    times("wait_max", was.wait_max, now.wait_max);
    times("failures_window", was.failures_window, now.failures_window);
    times("slow_for", was.slow_for, now.slow_for);
    times("step_up_for", was.step_up_for, now.step_up_for);
    times("lock_for", was.lock_for, now.lock_for);
    times("probation", was.probation, now.probation);
}

fn log(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let (was, now) = (&old.log, &new.log);
    let mut line = |direction, what, from: Said, to: Said| {
        if from != to {
            out.add(Line::new(direction, Part::Log, what).was(from).is(to));
        }
    };
    let place = |access: &AccessLog| match access {
        AccessLog::Stdout => Said::from("stdout"),
        AccessLog::File(path) => Said::place(path.display()),
    };
    line(Direction::Neutral, "access", place(&was.access), place(&now.access));
    let (from, to) = (Said::size(was.rotate_bytes), Said::size(now.rotate_bytes));
    line(Direction::Neutral, "rotate_bytes", from, to);
    let (from, to) = (Said::time(was.rotate_every), Said::time(now.rotate_every));
    line(Direction::Neutral, "rotate_every", from, to);
    // What is gone proves nothing.
    let direction = Direction::less(&was.keep, &now.keep);
    line(direction, "keep", Said::time(was.keep), Said::time(now.keep));
}

fn gateway(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let mut line = |direction, what, from: Said, to: Said| {
        if from != to {
            out.add(Line::new(direction, Part::Gateway, what).was(from).is(to));
        }
    };
    let (from, to) = ((&old.environment).into(), (&new.environment).into());
    line(Direction::Widens, "environment", from, to);
    let path = |of: &Snapshot| Said::place(of.state_dir.display());
    line(Direction::Neutral, "state_dir", path(old), path(new));
    // What it opens or closes is told of each listener.
    let permit = |of: &Snapshot| match &of.permit.standing {
        Ok(permit) => Said::from(permit.serial()),
        Err(fault) => Said::from(fault.as_str()),
    };
    line(Direction::Neutral, "permit", permit(old), permit(new));
    let threads =
        |of: &Snapshot| of.threads.map_or_else(|| Said::from("one per processor"), Said::number);
    line(Direction::Neutral, "threads", threads(old), threads(new));
    let grace = |of: &Snapshot| Said::time(of.shutdown_grace);
    line(Direction::Neutral, "shutdown_grace", grace(old), grace(new));
    let age = |of: &Snapshot| Said::time(of.key_max_age);
    line(Direction::Neutral, "key_max_age", age(old), age(new));
    let admin = |of: &Snapshot| Said::place(of.admin.address);
    line(Direction::Neutral, "[admin] address", admin(old), admin(new));
    reload(&old.reload, &new.reload, &mut line);
    for key in old.state.changed(&new.state) {
        out.add(Line::new(Direction::Neutral, Part::Gateway, key));
    }
}

fn reload(
    was: &ReloadSettings,
    now: &ReloadSettings,
    line: &mut impl FnMut(Direction, &'static str, Said, Said),
) {
    let apply = |of: &ReloadSettings| match of.apply {
        Apply::OnChange => Said::from("on change"),
        Apply::OnRequest => Said::from("on request"),
    };
    // Whoever writes a file then decides alone.
    let direction = match now.apply {
        Apply::OnChange => Direction::Widens,
        Apply::OnRequest => Direction::Narrows,
    };
    line(direction, "[reload] apply", apply(was), apply(now));
    let (from, to) = (Said::time(was.trial), Said::time(now.trial));
    line(Direction::Neutral, "[reload] trial", from, to);
    let on_errors = |of: &ReloadSettings| match of.on_errors {
        OnErrors::RollBack => Said::from("roll back"),
        OnErrors::Alarm => Said::from("alarm"),
    };
    line(Direction::Neutral, "[reload] on_errors", on_errors(was), on_errors(now));
}

fn pacing(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let of = |settings: &'_ PacingSettings, at: usize| -> Option<UpstreamPacing> {
        settings.upstreams.get(at).cloned().flatten()
    };
    // Operations are numbered alike only where they are the same ones.
    let plans = |snapshot: &Snapshot,
                 pacing: &UpstreamPacing|
     -> Vec<(Option<Name>, crate::pacing::Plan)> {
        let name = |ix| snapshot.names.operation(ix).cloned();
        pacing.plans.iter().map(|(ix, plan)| (name(*ix), *plan)).collect()
    };
    for (at, now) in new.upstreams.iter().enumerate() {
        let Some(was) = old.upstreams.iter().position(|was| was.name == now.name) else { continue };
        let pair = of(&old.pacing, was).zip(of(&new.pacing, at));
        let Some((before, after)) = pair else { continue };
        let words =
            |pacing: &UpstreamPacing| (pacing.wait, pacing.max_wait, pacing.application.clone());
        if words(&before) != words(&after) || plans(old, &before) != plans(new, &after) {
            out.add(Line::new(Direction::Neutral, Part::Upstream, "pacing").about(&now.name));
        }
    }
    let weights = |of: &Snapshot| -> std::collections::HashMap<Name, crate::pacing::Weight> {
        of.names.identities.iter().cloned().zip(of.pacing.weights.iter().copied()).collect()
    };
    let before = weights(old);
    let moved: Vec<Name> = weights(new)
        .into_iter()
        .filter(|(name, weight)| before.get(name).is_some_and(|was| was != weight))
        .map(|(name, _)| name)
        .collect();
    if !moved.is_empty() {
        let mut line = Line::new(Direction::Neutral, Part::Identity, "weight at Amazon's quotas");
        line.count = moved.len();
        line.names = moved;
        line.names.sort_unstable();
        line.names.truncate(super::NAMES_MAX);
        out.add(line);
    }
}
