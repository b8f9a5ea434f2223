use proptest::prelude::*;

use super::super::*;
use super::{HOUR_MS, at, enforced, event, live, see};
use crate::base::Moment;

fn learned() -> Watch {
    let mut watch = Watch::default();
    live(&mut watch, 0..840, 30, &enforced());
    watch
}

#[test]
fn a_history_survives_a_restart_and_judges_as_before() {
    let (old, settings) = (learned(), enforced());
    let bytes = old.encode();
    assert_eq!(bytes.len(), Watch::HISTORY_BYTES);
    let mut watch = Watch::decode(&bytes).unwrap();
    assert_eq!(watch.encode(), bytes);
    // The monotonic clock begins anew.
    let moment = |ms| Moment::new(at(840, ms).unix_ms(), (ms + 1) * 1_000_000);
    let mut locked = None;
    for n in 0..HOUR_MS / 10_000 {
        let one = Event { records: 10, ..event(moment(n * 10_000)) };
        let lock = see(&mut watch, &one, &settings).iter().any(|s| s.asks == Response::Lock);
        locked = locked.or(lock.then_some(n * 10));
    }
    assert!(locked.unwrap() <= 120, "{locked:?} records; a new identity may take 1,000");
}

#[test]
fn a_history_of_another_version_is_refused() {
    let mut bytes = learned().encode();
    bytes[0] = 3;
    assert_eq!(Watch::decode(&bytes).unwrap_err(), HistoryFault::Newer);
    bytes[0] = 0;
    assert_eq!(Watch::decode(&bytes).unwrap_err(), HistoryFault::Malformed);
    bytes[0] = 2;
    bytes.push(0);
    assert_eq!(Watch::decode(&bytes).unwrap_err(), HistoryFault::Length);
    assert_eq!(Watch::decode(&[]).unwrap_err(), HistoryFault::Length);
}

/// Version 1 has no habit of bursts: who has it is judged by hours and quarters at once, and by
/// minutes when a day of work has said that it does not work in jobs.
#[test]
fn a_history_of_version_1_is_read_and_learns_the_rest() {
    let (old, settings) = (learned().encode(), enforced());
    let mut bytes = old[..old.len() - 4].to_vec();
    bytes[0] = 1;
    let stopped = |watch: &Watch, hour| {
        let mut watch = watch.clone();
        let lock = |n: &u64| {
            let one = Event { records: 10, ..event(at(hour, n * 10_000)) };
            see(&mut watch, &one, &settings).iter().any(|s| s.asks == Response::Lock)
        };
        (1..360).find(lock).unwrap() * 10
    };
    let mut watch = Watch::decode(&bytes).unwrap();
    assert_eq!(Watch::decode(&bytes[1..]).unwrap_err(), HistoryFault::Newer);
    let by_quarters = stopped(&watch, 840);
    live(&mut watch, 840..864, 30, &settings);
    let by_minutes = stopped(&watch, 864);
    assert!(by_minutes < by_quarters && by_quarters <= 160, "{by_minutes} {by_quarters}");
    assert_eq!(watch.encode()[0], 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_a_watch_panic(
        place in 0..Watch::HISTORY_BYTES, byte in any::<u8>(), cut in 0..Watch::HISTORY_BYTES,
    ) {
        let mut bytes = Watch::default().encode();
        bytes[place] = byte;
        prop_assert!(Watch::decode(&bytes[..cut]).is_err());
        if let Ok(mut watch) = Watch::decode(&bytes) {
            for hour in 0..4 {
                see(&mut watch, &event(at(hour, 0)), &enforced());
            }
        }
    }
}
