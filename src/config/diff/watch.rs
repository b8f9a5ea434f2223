//! What follows from what is detected, and how the gateway runs (ACC-2, LOG-1, LOG-4).
use std::time::Duration;

use super::access::sets;
use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot};
use crate::base::Name;
use crate::config::settings::{
    AccessLog, AdminSettings, Apply, LogSettings, OnErrors, PacingSettings, PermitSettings,
    ReloadSettings, UpstreamPacing,
};
use crate::lockout::Rules;

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    lockout(&old.lockout, &new.lockout, out);
    log(old, new, out);
    gateway(old, new, out);
    permit_issuers(old, new, out);
    state_proofs(old, new, out);
    pacing(old, new, out);
}

fn lockout(was: &Rules, now: &Rules, out: &mut Out) {
    let Rules {
        free_tries: _,
        wait_max: _,
        failures: _,
        failures_window: _,
        stranger_failures: _,
        slow_for: _,
        step_up_for: _,
        lock_for: _,
        probation: _,
        locked_per_mille: _,
    } = now;
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
    // How many the machine may lock by itself.
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
    let LogSettings { access: _, rotate_bytes: _, rotate_every: _, keep: _ } = now;
    let mut line = |direction, what, from: Said, to: Said| {
        if from != to {
            out.add(Line::new(direction, Part::Log, what).was(from).is(to));
        }
    };
    let place = |access: &AccessLog| match access {
        AccessLog::Stdout => Said::from("stdout"),
        AccessLog::File(path) => Said::place(path.display()),
    };
    // Others may read it there, or nobody keeps it.
    line(Direction::Widens, "access", place(&was.access), place(&now.access));
    // What is closed sooner is kept as long.
    let (from, to) = (Said::size(was.rotate_bytes), Said::size(now.rotate_bytes));
    line(Direction::Neutral, "rotate_bytes", from, to);
    let (from, to) = (Said::time(was.rotate_every), Said::time(now.rotate_every));
    line(Direction::Neutral, "rotate_every", from, to);
    // What is gone proves nothing.
    let direction = Direction::less(&was.keep, &now.keep);
    line(direction, "keep", Said::time(was.keep), Said::time(now.keep));
}

/// Whoever signs permits decides where keys are opened.
fn permit_issuers(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let PermitSettings { standing: _, refused: _, paper: _, issuers: _, host_key: _, latest: _ } =
        &new.permit;
    let issuers = |of: &Snapshot| -> Vec<Said> {
        of.permit.issuers.iter().map(|issuer| Said::place(issuer.id().as_str())).collect()
    };
    let line = |direction, what| Line::new(direction, Part::Gateway, what);
    let told = ("trusts permits of", "trusts permits no more of");
    sets(&line, told, &issuers(old), &issuers(new), out);
}

/// Whose server keeps the locks, and how the gateway proves itself to it.
fn state_proofs(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    if let (Some(was), Some(now)) = (&old.state.redis, &new.state.redis)
        && !was.proves_as(now)
    {
        let what = "[state.redis] ca, client_certificate or password";
        out.add(Line::new(Direction::Widens, Part::Gateway, what));
    }
}

fn gateway(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let mut line = |direction, what, from: Said, to: Said| {
        if from != to {
            out.add(Line::new(direction, Part::Gateway, what).was(from).is(to));
        }
    };
    for direction in [Direction::Widens, Direction::Narrows] {
        line(direction, "environment", (&old.environment).into(), (&new.environment).into());
    }
    // What is remembered of locks, denied tokens and quotas is not there.
    let path = |of: &Snapshot| Said::place(of.state_dir.display());
    line(Direction::Widens, "state_dir", path(old), path(new));
    // Its issuer decides; what it opens or closes is told of each listener.
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
    // People are told later of one that is old.
    let (from, to) = (old.key_max_age, new.key_max_age);
    line(Direction::more(&from, &to), "key_max_age", Said::time(from), Said::time(to));
    let (from, to) = (old.secret_max_age, new.secret_max_age);
    line(Direction::more(&from, &to), "secret_max_age", Said::time(from), Said::time(to));
    reload(&old.reload, &new.reload, &mut line);
    // Locks, denied tokens and quotas of others are known elsewhere, later, or to whoever has a secret
    // that nobody sees here.
    for key in old.state.changed(&new.state) {
        out.add(Line::new(Direction::Widens, Part::Gateway, key));
    }
    let AdminSettings { address: _ } = new.admin;
    let told = |direction| Line::new(direction, Part::Gateway, "[admin] address");
    super::reach::address(old.admin.address, new.admin.address, told, out);
}

fn reload(
    was: &ReloadSettings,
    now: &ReloadSettings,
    line: &mut impl FnMut(Direction, &'static str, Said, Said),
) {
    let ReloadSettings { apply: _, trial: _, on_errors: _ } = now;
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
    // What is put back narrowed nothing, so that the one before it lets nothing more be done; whether
    // it is put back widens nothing, then.
    let (from, to) = (Said::time(was.trial), Said::time(now.trial));
    line(Direction::Neutral, "[reload] trial", from, to);
    let on_errors = |of: &ReloadSettings| match of.on_errors {
        OnErrors::RollBack => Said::from("roll back"),
        OnErrors::Alarm => Said::from("alarm"),
    };
    line(Direction::Neutral, "[reload] on_errors", on_errors(was), on_errors(now));
}

fn pacing(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let PacingSettings { upstreams: _, weights: _ } = &new.pacing;
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
        let words = |pacing: &UpstreamPacing| {
            let UpstreamPacing { wait, max_wait, application, plans: _ } = pacing;
            (*wait, *max_wait, application.clone())
        };
        if words(&before) != words(&after) || plans(old, &before) != plans(new, &after) {
            // What one waits less for, another waits for longer.
            out.add(Line::new(Direction::Widens, Part::Upstream, "pacing").about(&now.name));
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
        // A greater share of one is a smaller one of others.
        let mut line = Line::new(Direction::Widens, Part::Identity, "weight at Amazon's quotas");
        line.count = moved.len();
        line.names = moved;
        line.names.sort_unstable();
        line.names.truncate(super::NAMES_MAX);
        out.add(line);
    }
}
