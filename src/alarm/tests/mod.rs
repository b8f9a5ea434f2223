mod delivery;
mod forms;
mod grouping;

use proptest::prelude::*;

use super::{
    Alarm, Aspect, DecodeFault, Kind, Phrase, Progress, Severity, Source, TargetProgress, Why,
};
use crate::alarm::progress::Ahead;
use crate::base::{Moment, Name, Pseudonym};

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// 2026-11-22T00:00:00Z.
pub(super) const MIDNIGHT: u64 = 20_779 * 86_400_000;

pub(super) fn at(ms: u64) -> Moment {
    Moment::new(MIDNIGHT + ms, 1_000_000_000 + ms * 1_000_000)
}

pub(super) fn alarm(kind: Kind, severity: Severity, identity: &str, ms: u64) -> Alarm {
    Alarm::new(kind, severity, at(ms)).about(Aspect::Identity, &name(identity))
}

fn names() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9][A-Za-z0-9._/:@-]{0,95}".prop_map(|text| name(&text))
}

fn whys() -> impl Strategy<Value = Why> {
    let words = prop::sample::select(vec!["records", "answers with personal data in 10,000", ""]);
    (any::<[u64; 4]>(), words, prop::sample::select(vec!["detect.slow.odds", ""])).prop_map(
        |([seen, expected, limit, since_ms], unit, setting)| Why {
            seen,
            expected,
            limit,
            unit: Phrase::new(unit),
            since_ms,
            setting: Phrase::new(setting),
        },
    )
}

pub(super) fn alarms() -> impl Strategy<Value = Alarm> {
    let aspects = prop::sample::subsequence(Aspect::ALL.to_vec(), 0..=super::NAMES_MAX);
    let source = prop::option::of((any::<u64>(), any::<u32>()));
    (
        prop::sample::select(Kind::ALL.to_vec()),
        prop::sample::select(Severity::ALL.to_vec()),
        (aspects, prop::collection::vec(names(), super::NAMES_MAX)),
        source,
        prop::option::of(whys()),
        (any::<u64>(), any::<u64>(), 1..=u32::MAX, any::<bool>()),
    )
        .prop_map(|(kind, severity, (aspects, names), source, why, numbers)| {
            let mut alarm = Alarm::new(kind, severity, Moment::new(0, 0));
            for (aspect, name) in aspects.iter().zip(&names) {
                alarm = alarm.about(*aspect, name);
            }
            alarm.source =
                source.map(|(bits, day)| Source { pseudonym: Pseudonym::kept(bits), day });
            alarm.why = why;
            (alarm.first_ms, alarm.last_ms, alarm.count, alarm.several) = numbers;
            alarm
        })
}

proptest! {
    #[test]
    fn mon_7_an_alarm_survives_the_way_to_the_store_and_back(alarm in alarms()) {
        let bytes = alarm.encode();
        prop_assert!(bytes.len() <= 1_100, "{}", bytes.len());
        let read = Alarm::decode(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&alarm));
        prop_assert_eq!(read.unwrap().fingerprint(), alarm.fingerprint());
    }

    /// Whatever is read is what would be written: no two spellings, nothing guessed, no panic.
    #[test]
    fn mon_7_damaged_bytes_are_refused_or_mean_what_they_say(
        alarm in alarms(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = alarm.encode();
        let place = at.index(bytes.len());
        if cut {
            bytes.truncate(place);
            prop_assert!(Alarm::decode(&bytes).is_err());
        } else {
            bytes[place] = to;
            if let Ok(read) = Alarm::decode(&bytes) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }

    #[test]
    fn mon_7_any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(read) = Alarm::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
        }
        let _ = Progress::decode(&bytes);
    }

    #[test]
    fn mon_7_progress_survives_the_way_there_and_back(
        targets in prop::collection::vec((any::<[u64; 2]>(), prop::option::of(any::<u64>())), 0..=16)
    ) {
        let mut progress = Progress::default();
        for (nth, ([done, lost], ahead)) in targets.into_iter().enumerate() {
            let ahead = ahead.map(|done| Ahead { done, from: Severity::High });
            progress.set(&name(&format!("target-{nth}")), TargetProgress { done, ahead, lost });
        }
        prop_assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut bytes = alarm(Kind::Test, Severity::Low, "a", 0).encode();
    bytes[0] = 2;
    assert_eq!(Alarm::decode(&bytes), Err(DecodeFault::Format));
    bytes[0] = 1;
    bytes.push(0);
    assert_eq!(Alarm::decode(&bytes), Err(DecodeFault::Trailing));
    assert_eq!(Alarm::decode(&[1, 255, 1]), Err(DecodeFault::Value));
}

#[test]
fn codes_and_words_are_each_used_once() {
    let mut codes: Vec<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    let mut words: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let (all, _) = (codes.len(), (codes.sort_unstable(), words.sort_unstable()));
    codes.dedup();
    words.dedup();
    assert_eq!((codes.len(), words.len()), (all, all));
    for kind in Kind::ALL {
        let texts = [kind.as_str(), kind.summary(), kind.advice()];
        assert!(
            texts.iter().all(|text| Phrase::read(&text.as_bytes()[..text.len().min(96)]).is_some())
        );
        assert!(kind.summary().len() <= 96, "{}", kind.summary());
    }
}
