//! How much may be done, and for whom it is counted (MON-2, MON-3).
use std::collections::HashMap;
use std::time::Duration;

use super::access::sets;
use super::line::{Direction, Effect, Line, Part, Said};
use super::{Out, Snapshot};
use crate::base::{LimitIx, Name};
use crate::config::settings::QuotaSettings;
use crate::policy::{Amount, LimitSpec, Measure, Mode, Sharing, Window};

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let QuotaSettings { limits: _, accounts: _ } = &new.quotas;
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
    holders(old, new, (&before, &after), out);
}

fn limit(
    (old, was): (&Snapshot, &LimitSpec),
    (new, now): (&Snapshot, &LimitSpec),
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let LimitSpec { name: _, operations: _, upstreams: _, measure: _, sharing: _, mode: _ } = now;
    if was.measure != now.measure {
        let effect = effect(&was.measure, &now.measure);
        out.tell(effect, |direction| {
            let what = match direction {
                Direction::Widens => "raised",
                Direction::Narrows => "lowered",
                Direction::Neutral => "changed",
            };
            line(direction, what).was(measure(&was.measure)).is(measure(&now.measure))
        });
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

/// Identities that a limit holds for no more, or from now on, though it was and is there.
fn holders(
    old: &Snapshot,
    new: &Snapshot,
    (before, after): (&HashMap<Name, LimitIx>, &HashMap<Name, LimitIx>),
    out: &mut Out,
) {
    let known: HashMap<&Name, usize> =
        new.names.identities.iter().enumerate().map(|(at, name)| (name, at)).collect();
    let mut freed: HashMap<LimitIx, Vec<&Name>> = HashMap::new();
    let mut bound: HashMap<LimitIx, Vec<&Name>> = HashMap::new();
    let mut moved: HashMap<&[LimitIx], Vec<LimitIx>> = HashMap::new();
    let is_old = |ix: &LimitIx| {
        let spec = new.quotas.limits.get(ix.index());
        spec.is_some_and(|spec| before.contains_key(&spec.name))
    };
    for (name, under) in &old.quotas.accounts {
        let account = known.get(name).and_then(|at| new.quotas.accounts.get(*at));
        let Some((_, now)) = account else { continue };
        let expected = moved.entry(under).or_insert_with(|| {
            let specs = under.iter().filter_map(|ix| old.quotas.limits.get(ix.index()));
            specs.filter_map(|spec| after.get(&spec.name).copied()).collect()
        });
        if *now == *expected {
            continue;
        }
        for ix in expected.iter().filter(|ix| !now.contains(ix)) {
            freed.entry(*ix).or_default().push(name);
        }
        for ix in now.iter().filter(|ix| !expected.contains(ix) && is_old(ix)) {
            bound.entry(*ix).or_default().push(name);
        }
    }
    for (direction, what, all) in [
        (Direction::Widens, "holds no more for", freed),
        (Direction::Narrows, "holds as well for", bound),
    ] {
        for (ix, names) in all {
            let Some(spec) = new.quotas.limits.get(ix.index()) else { continue };
            let line = Line::new(direction, Part::Limit, what);
            let mut line = line.items([Said::from(&spec.name)]);
            line.count = names.len();
            line.names = names.into_iter().take(super::NAMES_MAX).cloned().collect();
            out.add(line);
        }
    }
}

/// Two kinds of measure can't be held against each other.
fn effect(old: &Measure, new: &Measure) -> Effect {
    match (old, new) {
        (Measure::Concurrent(before), Measure::Concurrent(after)) => {
            Effect { widens: after > before, narrows: after < before }
        }
        (Measure::Requests(before), Measure::Requests(after)) => {
            let burst = |window: &Window| window.burst.unwrap_or(window.count);
            windows(before, after, |this, that| {
                this.per == that.per && this.count <= that.count && burst(this) <= burst(that)
            })
        }
        (Measure::Bytes(before), Measure::Bytes(after))
        | (Measure::PiiRecords(before), Measure::PiiRecords(after)) => {
            windows(before, after, |this: &Amount, that| {
                this.per == that.per && this.count <= that.count
            })
        }
        _ => Effect::EXCHANGED,
    }
}

/// Each window before has to have one now that is no looser, or more passes; and the other way round.
fn windows<T>(old: &[T], new: &[T], within: impl Fn(&T, &T) -> bool) -> Effect {
    let keeps = |these: &[T], those: &[T]| {
        those.iter().all(|that| these.iter().any(|this| within(this, that)))
    };
    Effect { widens: !keeps(new, old), narrows: !keeps(old, new) }
}

fn measure(of: &Measure) -> Said {
    let rates = |what: &'static str, rates: Vec<(u64, Duration)>| {
        let rate = |(count, per): (u64, Duration)| Said::rate(count, per);
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
