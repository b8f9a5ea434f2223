use std::time::Duration;

use proptest::prelude::*;

use super::{alarm, at};
use crate::alarm::{
    Alarm, Aspect, DecodeFault, Grouper, Kind, Phrase, SUBJECTS_MAX, Severity, Why, Windows,
    in_pages, of_page,
};

const WINDOWS: Windows =
    Windows { first: Duration::from_secs(60), repeat: Duration::from_secs(3_600) };

#[test]
fn mon_7_ten_thousand_same_alarms_are_two_messages() {
    let mut grouper = Grouper::new(WINDOWS);
    let mut told: Vec<Alarm> = Vec::new();
    for ms in 0..10_000 {
        told.extend(grouper.offer(alarm(Kind::Failures, Severity::High, "a", ms), at(ms)));
        told.extend(grouper.due(at(ms)));
    }
    assert_eq!(told.len(), 1, "the first one goes at once");
    told.extend(grouper.due(at(60_000)));
    let [first, rest] = &told[..] else { panic!("{told:?}") };
    assert_eq!((first.count, rest.count), (1, 9_999));
    assert_eq!((rest.first_ms, rest.last_ms), (at(1).unix_ms(), at(9_999).unix_ms()));
    assert_eq!(grouper.due(at(3_779_999)), []);
    assert_eq!(grouper.len(), 1, "remembered, should it go on");
    assert_eq!(grouper.due(at(3_780_000)), []);
    assert!(grouper.is_empty());
    let again = alarm(Kind::Failures, Severity::High, "a", 5_000_000);
    assert!(grouper.offer(again, at(5_000_000)).is_some(), "a new beginning is told at once");
}

#[test]
fn mon_7_what_goes_on_is_told_more_and_more_seldom() {
    let mut grouper = Grouper::new(WINDOWS);
    let mut told = 0;
    for minute in 0..24 * 60 {
        let ms = minute * 60_000;
        told += grouper.due(at(ms)).len();
        told += usize::from(
            grouper.offer(alarm(Kind::UpstreamFailing, Severity::High, "a", ms), at(ms)).is_some(),
        );
    }
    assert!((24..=32).contains(&told), "{told}");
}

#[test]
fn mon_7_what_comes_back_after_its_window_is_told_at_once() {
    let mut grouper = Grouper::new(WINDOWS);
    let mut told = Vec::new();
    for minute in [0, 30, 60] {
        let ms = minute * 60_000;
        let one = alarm(Kind::UpstreamFailing, Severity::High, "a", ms);
        told.extend(grouper.offer(one, at(ms)));
        assert_eq!(grouper.due(at(ms + 300_000)), []);
    }
    assert_eq!(told.len(), 3);
}

#[test]
fn mon_7_what_grows_worse_is_told_at_once() {
    let mut grouper = Grouper::new(WINDOWS);
    assert!(grouper.offer(alarm(Kind::Volume, Severity::Medium, "a", 0), at(0)).is_some());
    assert!(grouper.offer(alarm(Kind::Volume, Severity::Medium, "a", 1), at(1)).is_none());
    let worse = grouper.offer(alarm(Kind::Volume, Severity::Critical, "a", 2), at(2)).unwrap();
    assert_eq!((worse.count, worse.severity), (2, Severity::Critical));
    assert!(grouper.offer(alarm(Kind::Volume, Severity::Critical, "a", 3), at(3)).is_none());
}

#[test]
fn mon_7_what_is_gathered_says_what_was_gravest_or_else_newest() {
    let mut grouper = Grouper::new(WINDOWS);
    let mut offer = |severity, detail: &str, ms| {
        let one =
            alarm(Kind::Locked, severity, "a", ms).about(Aspect::Detail, &super::name(detail));
        let seen = Phrase::new("calls");
        let why =
            Why { seen: ms, expected: 0, limit: 0, unit: seen.clone(), since_ms: 0, setting: seen };
        grouper.offer(one.because(why), at(ms))
    };
    let said = |alarm: &Alarm| {
        let detail = alarm.name(Aspect::Detail).unwrap().to_string();
        (alarm.severity, detail, alarm.why.as_ref().unwrap().seen, alarm.count)
    };
    let first = offer(Severity::Medium, "rate", 1).unwrap();
    assert_eq!(said(&first), (Severity::Medium, "rate".to_owned(), 1, 1));
    assert_eq!(offer(Severity::Medium, "volume", 2), None);
    let graver = offer(Severity::High, "canary", 3).unwrap();
    assert_eq!(said(&graver), (Severity::High, "canary".to_owned(), 3, 2));
    assert_eq!(offer(Severity::High, "sharing", 4), None);
    assert_eq!(offer(Severity::High, "slow", 5), None);
    assert_eq!(offer(Severity::Medium, "rate", 6), None);
    let rest = grouper.due(at(60_001));
    let [rest] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!(said(rest), (Severity::High, "slow".to_owned(), 5, 3));
    assert_eq!(rest.last_ms, at(6).unix_ms());
}

#[test]
fn mon_7_many_subjects_share_an_alarm_and_memory_is_bounded() {
    let mut grouper = Grouper::new(WINDOWS);
    let mut told = Vec::new();
    for nth in 0..100_000 {
        let one = alarm(Kind::Failures, Severity::High, &format!("identity-{nth}"), nth);
        told.extend(grouper.offer(one, at(nth)));
    }
    assert_eq!(told.len(), SUBJECTS_MAX + 1);
    assert_eq!(grouper.len(), SUBJECTS_MAX + 1);
    let shared = told.last().unwrap();
    assert!(shared.several && shared.names().is_empty(), "{shared:?}");
    let rest = grouper.due(at(1_000_000));
    let [rest] = &rest[..] else { panic!("{rest:?}") };
    let each = u32::try_from(SUBJECTS_MAX).unwrap();
    assert_eq!(rest.count, 100_000 - each - 1);
    assert!(rest.sentence().contains("several subjects"), "{}", rest.sentence());
}

#[test]
fn particulars_and_numbers_do_not_make_another_alarm() {
    let plain = alarm(Kind::IssuerKeys, Severity::High, "a", 0);
    let detailed = plain.clone().about(Aspect::Detail, &super::name("timed_out"));
    assert_eq!(plain.fingerprint(), detailed.fingerprint());
    let elsewhere = plain.clone().about(Aspect::Operation, &super::name("a"));
    assert_ne!(plain.fingerprint(), elsewhere.fingerprint());
    // Names can't run into each other.
    let one = plain.clone().about(Aspect::Role, &super::name("ab"));
    let other =
        alarm(Kind::IssuerKeys, Severity::High, "aa", 0).about(Aspect::Role, &super::name("b"));
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert_eq!(
        plain.fingerprint(),
        2_206_937_867_342_188_189,
        "stable over versions: receivers may keep it"
    );
}

proptest! {
    /// Nothing is lost in grouping: what was offered is what was told, by count.
    #[test]
    fn mon_7_every_alarm_is_counted_once(
        events in prop::collection::vec((0..60_u8, 0..4_usize, 0..200_000_u64), 1..300)
    ) {
        let mut grouper = Grouper::new(WINDOWS);
        let (mut ms, mut offered, mut told) = (0, 0_u64, 0_u64);
        for (who, severity, passed) in events {
            ms += passed;
            let one = alarm(Kind::Rate, Severity::ALL[severity], &format!("i{who}"), ms);
            offered += 1;
            told += grouper.offer(one, at(ms)).map_or(0, |alarm| u64::from(alarm.count));
            told += grouper.due(at(ms)).iter().map(|alarm| u64::from(alarm.count)).sum::<u64>();
            prop_assert!(grouper.len() <= SUBJECTS_MAX + 1);
        }
        told += grouper.flush().iter().map(|alarm| u64::from(alarm.count)).sum::<u64>();
        prop_assert_eq!(offered, told);
    }
}

#[test]
fn mon_7_what_is_gathered_is_kept_in_pages() {
    let mut grouper = Grouper::new(WINDOWS);
    assert_eq!(grouper.gathered(), None);
    let subjects: Vec<String> = (0..30).map(|number| format!("subject-{number}")).collect();
    for (ms, subject) in (0..).zip(&subjects) {
        let one = |ms| alarm(Kind::UpstreamFailing, Severity::High, subject, ms);
        assert!(grouper.offer(one(ms), at(ms)).is_some());
        assert!(grouper.offer(one(100 + ms), at(100 + ms)).is_none());
    }
    let gathered = grouper.gathered().unwrap();
    assert_eq!(gathered.len(), 30);
    assert_eq!(grouper.gathered(), None, "as before");
    for max in [200, 1_000, 64 << 10] {
        let pages = in_pages(&gathered, max);
        assert!(pages.iter().all(|page| page.len() <= max));
        let read: Vec<Alarm> = pages.iter().flat_map(|page| of_page(page).unwrap()).collect();
        assert_eq!(read, gathered);
        let page = &pages[0];
        let cut = of_page(&page[..page.len() - 1]);
        assert_eq!(cut, Err(DecodeFault::CutShort));
        assert_eq!(of_page(&page[1..]), Err(DecodeFault::Format));
    }
    assert_eq!(in_pages(&gathered, 20), Vec::<Vec<u8>>::new());
    assert_eq!(in_pages(&[], 1_000), Vec::<Vec<u8>>::new());
    assert_eq!(grouper.due(at(60_000 + 200)), gathered);
    assert_eq!(grouper.gathered(), Some(Vec::new()));
}
