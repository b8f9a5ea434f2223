use proptest::prelude::*;

use super::super::*;
use super::runs::{self, Run};
use super::{HOUR_MS, at, enforced, event, live, see};
use crate::base::{IdentityIx, Moment};

fn learned() -> Watch {
    let mut watch = Watch::default();
    live(&mut watch, 0..840, 30, &enforced());
    watch
}

/// The monotonic clock begins anew, `down_ms` after the last moment.
fn restarted(watch: &mut Watch, last: Moment, down_ms: u64) -> Watch {
    let bytes = watch.encode(last);
    assert!(bytes.len() <= Watch::HISTORY_BYTES_MAX, "{}", bytes.len());
    Watch::decode(&bytes, Moment::new(last.unix_ms() + down_ms, 0)).unwrap()
}

#[test]
fn a_history_survives_a_restart_and_judges_as_before() {
    let (mut old, settings) = (learned(), enforced());
    let mut watch = restarted(&mut old, at(839, HOUR_MS - 1), 1);
    let moment = |ms| Moment::new(at(840, ms).unix_ms(), (ms + 1) * 1_000_000);
    let mut locked = None;
    for n in 0..HOUR_MS / 10_000 {
        let one = Event { records: 10, ..event(moment(n * 10_000)) };
        let lock = see(&mut watch, &one, &settings).iter().any(|s| s.asks == Response::Lock);
        locked = locked.or(lock.then_some(n * 10));
    }
    assert!(locked.unwrap() <= 120, "{locked:?} records; a new identity may take 1,000");
}

/// A crash is nothing an attacker may profit from: in the midst of every attack.
#[test]
fn what_is_counted_survives_a_restart_and_the_verdict_is_the_same() {
    for run in runs::all() {
        let before = run.signals(&run.settings);
        let own = |all: &[(usize, Signal)]| -> Vec<_> {
            let of_identities =
                |(_, signal): &&(usize, Signal)| matches!(signal.subject, Subject::Identity(_));
            let said = |(place, signal): &(usize, Signal)| {
                (*place, signal.detector, signal.level, signal.asks, signal.why)
            };
            all.iter().filter(of_identities).map(said).collect()
        };
        for part in [2, 3] {
            let after = interrupted(&run, run.events.len() / part);
            assert_eq!(own(&after), own(&before), "{}", run.name);
        }
    }
}

/// As [`Run::signals`], with a restart before the event at `place`.
fn interrupted(run: &Run, place: usize) -> Vec<(usize, Signal)> {
    let mut watch = run.learned.clone();
    let mut all = Vec::new();
    let mut began = Moment::new(0, 0);
    for (nth, event) in run.events.iter().enumerate() {
        let Some(identity) = event.identity else { continue };
        let mut event = *event;
        if nth == place {
            let last = run.events[nth.saturating_sub(1)].at;
            let down = event.at.unix_ms() - last.unix_ms();
            watch = restarted(&mut watch, last, down);
            began = event.at;
        }
        let mono_ns = event.at.mono_ns() - began.mono_ns();
        event.at = Moment::new(event.at.unix_ms(), mono_ns);
        let watched = watch.observe(identity, &event, &run.peers, &run.settings);
        all.extend(watched.signals.iter().map(|signal| (nth, *signal)));
    }
    all
}

#[test]
fn a_quarter_is_over_after_a_restart_that_took_an_hour() {
    let settings = enforced();
    let refused = |watch: &mut Watch, minute: u64| {
        let mut noted = false;
        for n in 0..15 {
            let outcome = Outcome::NotPermitted;
            let one = Event { outcome, ..event(at(0, minute * 60_000 + n * 1_000)) };
            noted |= !see(watch, &one, &settings).is_empty();
        }
        noted
    };
    for (down, expected) in [(1, true), (60, false)] {
        let mut watch = Watch::default();
        assert!(!refused(&mut watch, 1));
        let bytes = watch.encode(at(0, 80_000));
        let mut watch = Watch::decode(&bytes, at(0, 80_000 + down * 60_000)).unwrap();
        assert_eq!(refused(&mut watch, 2 + down), expected, "{down} minutes");
    }
}

#[test]
fn a_change_is_told_of_once_until_it_is_written_down() {
    let (mut watch, settings) = (Watch::default(), enforced());
    let told = |watch: &mut Watch| {
        watch.observe(IdentityIx(0), &event(at(0, 0)), &Peers::default(), &settings).changed
    };
    assert_eq!([told(&mut watch), told(&mut watch)], [true, false]);
    watch.encode(at(0, 0));
    assert_eq!([told(&mut watch), told(&mut watch)], [true, false]);
}

const LEARNED: usize = 1 + 2 + 3 * (168 + 4 + 2 * 16) + 3 * 16 + 3 * 4 + 2 * 2 + 2 + 4;

#[test]
fn a_history_of_another_version_is_refused() {
    let now = at(840, 0);
    let mut bytes = learned().encode(now);
    bytes[0] = 5;
    assert_eq!(Watch::decode(&bytes, now).unwrap_err(), HistoryFault::Newer);
    bytes[0] = 0;
    assert_eq!(Watch::decode(&bytes, now).unwrap_err(), HistoryFault::Malformed);
    for version in [3, 4] {
        bytes[0] = version;
        assert!(Watch::decode(&bytes, now).is_ok());
    }
    bytes.push(0);
    assert_eq!(Watch::decode(&bytes, now).unwrap_err(), HistoryFault::Length);
    assert_eq!(Watch::decode(&[], now).unwrap_err(), HistoryFault::Length);
}

/// Version 2 has no counts, and version 1 no habit of bursts: who has that is judged by hours and
/// quarters at once, and by minutes when a day of work has said that it does not work in jobs.
#[test]
fn a_history_of_an_earlier_version_is_read_and_learns_the_rest() {
    let (now, settings) = (at(840, 0), enforced());
    let old = learned().encode(now);
    let stopped = |watch: &Watch, hour| {
        let mut watch = watch.clone();
        let lock = |n: &u64| {
            let one = Event { records: 10, ..event(at(hour, n * 10_000)) };
            see(&mut watch, &one, &settings).iter().any(|s| s.asks == Response::Lock)
        };
        (1..360).find(lock).unwrap() * 10
    };
    let of = |version, length| {
        let bytes = [&[version], &old[1..length]].concat();
        Watch::decode(&bytes, now).unwrap()
    };
    let mut watch = of(1, LEARNED - 4);
    let by_quarters = stopped(&watch, 840);
    live(&mut watch, 840..864, 30, &settings);
    let by_minutes = stopped(&watch, 864);
    assert!(by_minutes < by_quarters && by_quarters <= 160, "{by_minutes} {by_quarters}");
    assert_eq!(watch.encode(now)[0], 4);
    assert_eq!(stopped(&of(2, LEARNED), 840), by_minutes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_a_watch_panic(
        place in any::<prop::sample::Index>(), byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let now = at(0, 0);
        let mut watch = Watch::default();
        for n in 0..100 {
            see(&mut watch, &Event { object: Some(runs::object(n)), ..event(at(0, n)) }, &enforced());
        }
        let mut bytes = watch.encode(now);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        prop_assert!(Watch::decode(&bytes[..cut.index(bytes.len())], now).is_err() || place == 0);
        if let Ok(mut watch) = Watch::decode(&bytes, now) {
            for hour in 0..4 {
                see(&mut watch, &event(at(hour, 0)), &enforced());
            }
        }
    }
}
