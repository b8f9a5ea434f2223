use std::time::Duration;

use proptest::prelude::*;

use super::{MIDNIGHT, alarm, name};
use crate::alarm::{
    Alarm, DeliveryFault, Kind, LAG_MAX, Progress, Quiet, RETRY_MAX, Rules, Severity,
    TargetProgress, wait,
};

const HOUR: u64 = 3_600_000;

fn japan(below: Severity) -> Quiet {
    Quiet::new(22 * 60, 7 * 60, 9 * 60, below).unwrap()
}

#[test]
fn mon_7_quiet_hours_are_local_and_may_cross_midnight() {
    let quiet = japan(Severity::Critical);
    // 22:00 in Japan is 13:00 UTC, 07:00 is 22:00 UTC.
    for (utc_ms, expect) in [
        (13 * HOUR - 1, false),
        (13 * HOUR, true),
        (15 * HOUR, true),
        (22 * HOUR - 1, true),
        (22 * HOUR, false),
        (0, false),
    ] {
        assert_eq!(quiet.is_now(MIDNIGHT + utc_ms), expect, "{utc_ms}");
    }
    let siesta = Quiet::new(13 * 60, 15 * 60, -3 * 60, Severity::High).unwrap();
    assert!(siesta.is_now(MIDNIGHT + 17 * HOUR) && !siesta.is_now(MIDNIGHT + 13 * HOUR));
    assert_eq!(Quiet::new(60, 60, 0, Severity::High), None);
    assert_eq!(Quiet::new(60, 24 * 60, 0, Severity::High), None);
    assert_eq!(Quiet::new(60, 90, 19 * 60, Severity::High), None);
}

fn page(severities: &[Severity]) -> Vec<(u64, Option<Alarm>)> {
    let each = severities.iter().enumerate();
    each.map(|(nth, severity)| {
        let sequence = u64::try_from(nth).unwrap() + 1;
        (sequence, Some(alarm(Kind::Rate, *severity, "a", sequence)))
    })
    .collect()
}

fn sequences(send: &[(u64, &Alarm)]) -> Vec<u64> {
    send.iter().map(|(sequence, _)| *sequence).collect()
}

#[test]
fn mon_7_critical_alarms_overtake_and_the_rest_comes_in_the_morning() {
    use Severity::{Critical, High, Low, Medium};
    let queue = page(&[Critical, Medium, Critical, Low, High]);
    let rules = Rules { min: Medium, quiet: Some(japan(Critical)) };
    let (night, morning) = (MIDNIGHT + 15 * HOUR, MIDNIGHT + 22 * HOUR);
    let start = TargetProgress::default();
    let told = start.select(&queue, &rules, night);
    assert_eq!(sequences(&told.send), [1, 3]);
    assert_eq!(told.after.done, 1);
    assert_eq!(told.after.read_after(&rules, night), 5);
    // More come in the same night, and the rule is changed: what waits still waits, critical does not.
    let more: Vec<_> = (6..)
        .zip([High, Critical])
        .map(|(sequence, severity)| (sequence, Some(alarm(Kind::Rate, severity, "b", sequence))))
        .collect();
    let eager = Rules { min: Medium, quiet: Some(japan(High)) };
    let told = told.after.select(&more, &eager, night);
    assert_eq!(sequences(&told.send), [7]);
    let rest = told.after;
    assert_eq!(rest.read_after(&rules, morning), 1);
    let all: Vec<_> = queue.into_iter().chain(more).skip(1).collect();
    let told = rest.select(&all, &rules, morning);
    assert_eq!(sequences(&told.send), [2, 5, 6], "once each, in order; low is for others");
    assert_eq!(told.after, TargetProgress { done: 7, ahead: None, lost: 0 });
}

#[test]
fn mon_7_an_alarm_that_can_t_be_read_is_counted_and_passed() {
    let queue = [(4, None), (5, Some(alarm(Kind::Rate, Severity::Low, "a", 0)))];
    let rules = Rules { min: Severity::Low, quiet: None };
    let told = TargetProgress::default().select(&queue, &rules, MIDNIGHT);
    assert_eq!(sequences(&told.send), [5]);
    assert_eq!(told.after, TargetProgress { done: 5, ahead: None, lost: 1 });
}

#[test]
fn mon_7_a_target_that_is_too_far_back_loses_the_oldest_and_says_so() {
    let behind = TargetProgress { done: 10, ahead: None, lost: 1 };
    assert_eq!(behind.caught_up(10 + LAG_MAX), behind);
    let caught_up = behind.caught_up(15 + LAG_MAX);
    assert_eq!(caught_up, TargetProgress { done: 15, ahead: None, lost: 6 });
    assert_eq!(caught_up.caught_up(0), caught_up, "a queue that begins anew");
}

#[test]
fn mon_7_a_new_target_begins_where_the_queue_is_and_an_old_one_holds_nobody_up() {
    let mut progress = Progress::default();
    progress.retain(&[name("a"), name("b")], 7);
    progress.set(&name("b"), TargetProgress { done: 9, ..TargetProgress::default() });
    assert_eq!(progress.done_by_all(), Some(7));
    progress.retain(&[name("b"), name("c")], 12);
    assert_eq!(progress.of(&name("a")), None);
    assert_eq!(progress.of(&name("c")).unwrap().done, 12);
    assert_eq!(progress.done_by_all(), Some(9));
}

#[test]
fn mon_7_retries_come_later_and_later_but_not_too_late() {
    let shortest = |failures| wait(failures, 0, None);
    let longest = |failures| wait(failures, u16::MAX, None);
    assert_eq!((shortest(1), longest(1)), (Duration::from_millis(500), Duration::from_secs(1)));
    assert_eq!((shortest(4), longest(4)), (Duration::from_secs(4), Duration::from_secs(8)));
    assert_eq!((shortest(99), longest(u32::MAX)), (RETRY_MAX / 2, RETRY_MAX));
    let asked = |secs| wait(1, 0, Some(Duration::from_secs(secs)));
    assert_eq!(asked(20), Duration::from_secs(20));
    assert_eq!(asked(0), Duration::from_millis(500), "never faster than our own");
    assert_eq!(asked(u64::MAX), Duration::from_secs(3_600), "nor as slow as it likes");
    for status in 0..1_000 {
        let ok = (200..300).contains(&status);
        assert_eq!(DeliveryFault::of_status(status).is_none(), ok, "{status}");
    }
}

proptest! {
    /// Whatever the severities, the hours and the places where the queue is read: each alarm that
    /// this target is told is told once, and by the end of the night none waits.
    #[test]
    fn mon_7_each_alarm_is_told_once(
        severities in prop::collection::vec(0..4_usize, 0..60),
        pages in prop::collection::vec((1..17_usize, any::<bool>()), 1..60),
        min in 0..4_usize,
        below in 0..4_usize,
    ) {
        let severities: Vec<_> = severities.into_iter().map(|at| Severity::ALL[at]).collect();
        let queue = page(&severities);
        let rules = Rules { min: Severity::ALL[min], quiet: Some(japan(Severity::ALL[below])) };
        let (mut place, mut told) = (TargetProgress::default(), Vec::new());
        let last = (queue.len() + 1, false);
        for (size, night) in pages.into_iter().chain([last, last]) {
            let now = MIDNIGHT + if night { 15 * HOUR } else { 0 };
            let from = place.read_after(&rules, now);
            let read: Vec<_> =
                queue.iter().filter(|(at, _)| *at > from).take(size).cloned().collect();
            let selection = place.select(&read, &rules, now);
            if night {
                prop_assert!(selection.send.iter().all(|(_, a)| a.severity >= rules.quiet.unwrap().below()));
            }
            told.extend(sequences(&selection.send));
            place = selection.after;
        }
        let mut expect: Vec<u64> = queue
            .iter()
            .filter(|(_, alarm)| alarm.as_ref().unwrap().severity >= rules.min)
            .map(|(sequence, _)| *sequence)
            .collect();
        expect.sort_unstable();
        told.sort_unstable();
        prop_assert_eq!(told, expect);
        prop_assert_eq!(place.done, u64::try_from(queue.len()).unwrap());
    }
}
