use crate::base::HashKey;
use proptest::prelude::*;

use super::super::*;
use super::{at, enforced, event, see};
use crate::base::IdentityIx;

const IDS: [&str; 3] = ["503-1234567-7654321", "canary_order", "A1B2C3D4E5"];

fn set() -> CanarySet {
    let ids: Vec<_> =
        IDS.iter().zip([None, Some(IdentityIx(7)), None]).map(|(i, o)| (*i, o)).collect();
    CanarySet::build(HashKey::new([3; 16]), &ids).unwrap()
}

fn scan(set: &CanarySet, chunks: &[&[u8]]) -> Option<Canary> {
    let mut scan = Scan::default();
    let hit = chunks.iter().find_map(|chunk| scan.feed(set, chunk).hit);
    hit.or_else(|| scan.finish(set))
}

/// The plain way: the whole text, split into runs.
fn reference(set: &CanarySet, text: &[u8]) -> Option<Canary> {
    text.split(|byte| !(byte.is_ascii_alphanumeric() || b"-_".contains(byte)))
        .find_map(|run| set.find(run))
}

#[test]
fn mon_4_a_canary_is_found_wherever_the_body_is_cut() {
    let set = set();
    let body = br#"{"orders":[{"id":"503-1234567-0000000"},{"id":"503-1234567-7654321","n":1}]}"#;
    for cut in 0..=body.len() {
        for next in cut..=body.len() {
            let chunks = [&body[..cut], &body[cut..next], &body[next..]];
            assert_eq!(scan(&set, &chunks).map(|c| c.number), Some(0), "{cut} {next}");
        }
    }
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert!(scan(&set, &bytes).is_some());
}

#[test]
fn mon_4_a_canary_stands_alone() {
    let set = set();
    for text in ["x503-1234567-7654321", "503-1234567-76543210", "canary_orde", "CANARY_ORDER", ""]
    {
        assert_eq!(scan(&set, &[text.as_bytes()]), None, "{text}");
    }
    for text in ["canary_order", "(canary_order)", "a/canary_order?b", "\"canary_order"] {
        let canary = scan(&set, &[text.as_bytes()]).unwrap();
        assert_eq!((canary.number, canary.planted_for), (1, Some(IdentityIx(7))));
    }
    assert!(set.find(b"A1B2C3D4E5").is_some() && set.find(b"A1B2C3D4E6").is_none());
}

#[test]
fn mon_4_no_byte_of_a_canary_leaves_if_the_undecided_are_held_back() {
    let set = set();
    let body = b"before canary_order after";
    for cut in 0..body.len() {
        let mut scan = Scan::default();
        let first = scan.feed(&set, &body[..cut]);
        if first.hit.is_some() {
            continue;
        }
        let left = cut - first.undecided;
        assert!(left <= 7 || cut > 19, "{left} bytes left at {cut}");
        assert!(scan.feed(&set, &body[cut..]).hit.is_some());
    }
}

/// Each byte as it stands, or as the escape that the number says.
fn escaped(text: &str, how: &[u8]) -> String {
    let one = |(byte, how): (u8, &u8)| match (byte, how % 4) {
        (b'/', 1) => "\\/".to_owned(),
        (_, 2) => format!("\\u{byte:04x}"),
        (_, 3) => format!("\\u{byte:04X}"),
        _ => char::from(byte).to_string(),
    };
    text.bytes().zip(how.iter().cycle()).map(one).collect()
}

#[test]
fn mon_4_an_id_in_escapes_is_found_and_none_of_it_leaves() {
    let set = set();
    let id = escaped(IDS[0], &[0, 2, 3, 0]);
    assert!(id.contains("\\u") && !id.contains(IDS[0]));
    for before in ["{\"id\":\"", "\"line\\n", "\"C:\\\\", "\"x \\/", "\"\\u00e9"] {
        let body = format!("{before}{id}\"}}");
        for cut in 0..body.len() {
            let mut scan = Scan::default();
            let first = scan.feed(&set, &body.as_bytes()[..cut]);
            if first.hit.is_none() {
                let left = cut - first.undecided;
                assert!(left <= before.len(), "{left} bytes of {body} left at {cut}");
                assert!(scan.feed(&set, &body.as_bytes()[cut..]).hit.is_some(), "{body} at {cut}");
            }
        }
    }
    // The letter of a short escape belongs to no id, and in what is no JSON it does.
    assert!(scan(&set, &[b"a\\n503-1234567-7654321"]).is_some());
    assert!(scan(&set, &[b"a\\canary_order"]).is_some());
    for text in ["503-1234567-765432\\u00310", "\\u0041canary_order", "canary_orde\\u0072\\u0072"] {
        assert_eq!(scan(&set, &[text.as_bytes()]), None, "{text}");
    }
    // Broken off, too long, malformed: nothing is held for ever.
    let mut scan = Scan::default();
    assert_eq!(scan.feed(&set, b"\\u00").undecided, 4);
    assert_eq!(scan.feed(&set, b"zz ").undecided, 0);
    let long = scan.feed(&set, "\\u0061".repeat(200).as_bytes());
    assert_eq!((long.hit, long.undecided), (None, 5), "u0061, in the other reading");
    assert!(scan.feed(&set, b" canary_order ").hit.is_some());
}

#[test]
fn mon_4_a_canary_locks_at_once_and_names_another_owner() {
    let settings = Settings::default();
    let touched = |canary| {
        let one = Event { canary: Some(canary), ..event(at(0, 0)) };
        see(&mut Watch::default(), &one, &settings)
    };
    let own = touched(Canary { number: 4, planted_for: None });
    assert_eq!((own[0].asks, own[0].severity), (Response::Lock, Severity::Critical));
    assert_eq!((own[0].why.seen, own[0].why.unit), (4, "canary by number"));
    let leaked = touched(Canary { number: 4, planted_for: Some(IdentityIx(7)) });
    assert_eq!(leaked[0].why.unit, "another's canary by number");
    let stranger = Event {
        canary: Some(Canary { number: 4, planted_for: None }),
        outcome: Outcome::NotAuthenticated,
        ..event(at(0, 0))
    };
    let mut watch = Watch::default();
    assert!(see(&mut watch, &stranger, &enforced()).is_empty(), "no credential, no lock");
}

#[test]
fn mon_4_a_list_with_an_impossible_id_is_refused() {
    let key = HashKey::new([3; 16]);
    let long = "x".repeat(64);
    for (id, fault) in [
        ("short", CanaryFault::TooShort),
        (long.as_str(), CanaryFault::TooLong),
        ("hanako@example.com", CanaryFault::Character),
        ("good-id-1", CanaryFault::Twice),
    ] {
        let ids = [("good-id-1", None), (id, None)];
        assert_eq!(CanarySet::build(key, &ids).unwrap_err(), (1, fault));
    }
    assert!(CanarySet::build(key, &[]).unwrap().is_empty());
    assert!(!format!("{key:?} {:?}", set()).contains("canary_order"), "only hashes are kept");
}

proptest! {
    #[test]
    fn mon_4_the_stream_finds_what_the_whole_text_holds(
        parts in proptest::collection::vec(
            prop_oneof![
                "[a-z0-9 -]{0,6}", Just(IDS[0].to_owned()), Just(IDS[1].to_owned()),
                Just(" ".to_owned()), "[x]{60,70}",
            ], 0..12),
        cuts in proptest::collection::vec(0_usize..300, 0..6),
    ) {
        let (set, text) = (set(), parts.concat().into_bytes());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| *cut % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(scan(&set, &chunks), reference(&set, &text));
    }

    #[test]
    fn mon_4_escapes_and_cuts_hide_nothing(
        how in proptest::collection::vec(any::<u8>(), 1..30), which in 0..3_usize,
        noise in "[a-z \\\\\"/]{0,20}", cuts in proptest::collection::vec(0_usize..400, 0..6),
    ) {
        let body = format!("\"{noise} {}\"", escaped(IDS[which], &how));
        let (set, text) = (set(), body.as_bytes());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| *cut % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let begin = text.len() - 1 - escaped(IDS[which], &how).len();
        let (mut scan, mut fed, mut hit) = (Scan::default(), 0, None);
        for pair in cuts.windows(2) {
            let scanned = scan.feed(&set, &text[pair[0]..pair[1]]);
            fed = pair[1];
            if scanned.hit.is_some() {
                hit = scanned.hit;
                break;
            }
            prop_assert!(fed - scanned.undecided <= begin || fed == text.len());
        }
        prop_assert_eq!(hit.or_else(|| scan.finish(&set)).map(|c| usize::from(c.number)), Some(which));
        prop_assert!(fed <= text.len());
    }

    #[test]
    fn the_hash_is_sip_hash_1_3(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        use std::hash::Hasher;
        // The standard library's, whose key is zero.
        let mut std = std::hash::DefaultHasher::new();
        std.write(&bytes);
        prop_assert_eq!(HashKey::new([0; 16]).hash(&bytes), std.finish());
    }
}
