//! Since when issuers' keys are known here (TLS-5): by their ids, as no key set says when it was made.
//! Over restarts, as bytes for the store: a version byte, the `iss`, then for each key what stands for
//! its id, since when it is known, and since when it is gone.
//!
//! The wall clock may be wrong at any time. A key is never younger for it: one that was first seen in a
//! time to come is known since now, and what a clock says that was never set is not believed.
use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};

use crate::base::Moment;
use crate::identity::KeySet;

/// A key that its issuer has withdrawn for so long is new when it comes back.
const GONE_SECS: u64 = 400 * 86_400;
/// Keys of one issuer, with those that are gone: of these the one that went first makes room.
const KEYS_MAX: usize = 4 * KeySet::KEYS_MAX;
/// 2020-01-01: no clock that was ever set is behind that.
const CLOCKS_BEGIN: u64 = 1_577_836_800;
const VERSION: u8 = 1;

/// Stands for a key's id; those without any are one.
type Mark = [u8; 16];

/// In seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    since: u64,
    gone: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    keys: BTreeMap<Mark, Sight>,
    /// Since it was last written down.
    changed: bool,
}

/// The keys of each issuer, by its `iss`.
#[derive(Debug, Default)]
pub(super) struct Sights(BTreeMap<Box<str>, Seen>);

/// Why bytes tell of no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SightFault {
    /// Written by a newer version of this program.
    Newer,
    Damaged,
}

impl Sights {
    /// What an issuer publishes now.
    pub(super) fn note(&mut self, iss: &str, keys: &KeySet, now: Moment) {
        let (there, now) = (marks(keys), now.unix_secs());
        let seen = self.0.entry(Box::from(iss)).or_default();
        let before = seen.keys.clone();
        for mark in &there {
            seen.keys.entry(*mark).or_insert(Sight { since: now, gone: None }).gone = None;
        }
        for (mark, sight) in &mut seen.keys {
            if !there.contains(mark) {
                sight.gone.get_or_insert(now);
            }
            if now >= CLOCKS_BEGIN {
                sight.since = believed(sight.since, now);
                sight.gone = sight.gone.map(|gone| believed(gone, now));
            }
        }
        let gone = |sight: &Sight| sight.gone.map_or(0, |gone| now.saturating_sub(gone));
        seen.keys.retain(|_, sight| gone(sight) < GONE_SECS);
        while seen.keys.len() > KEYS_MAX
            && let Some((first, _)) = seen.keys.iter().max_by_key(|(_, sight)| gone(sight))
        {
            let first = *first;
            seen.keys.remove(&first);
        }
        seen.changed |= seen.keys != before;
    }

    /// Since when each of an issuer's keys is known, in seconds since 1970; in no particular order.
    pub(super) fn since(&self, iss: &str, keys: &KeySet) -> Vec<u64> {
        let Some(seen) = self.0.get(iss) else { return Vec::new() };
        marks(keys).iter().filter_map(|mark| seen.keys.get(mark)).map(|one| one.since).collect()
    }

    /// Issuers of whose keys something is to be written down, at most `most`.
    pub(super) fn take_changed(&mut self, most: usize) -> Vec<(Box<str>, Vec<u8>)> {
        let changed = self.0.iter_mut().filter(|(_, seen)| seen.changed).take(most);
        changed
            .map(|(iss, seen)| {
                seen.changed = false;
                (iss.clone(), encode(iss, &seen.keys))
            })
            .collect()
    }

    /// Takes back what was written down. What was seen since, counts beside it: of two first sights the
    /// earlier one.
    pub(super) fn recall(&mut self, bytes: &[u8]) -> Result<(), SightFault> {
        let (iss, kept) = decode(bytes)?;
        let seen = self.0.entry(Box::from(iss)).or_default();
        for (mark, kept) in &kept {
            let own = seen.keys.entry(*mark).or_insert(*kept);
            let told = [own.since, kept.since].into_iter().filter(|at| *at >= CLOCKS_BEGIN);
            own.since = told.min().unwrap_or(own.since);
        }
        seen.changed = seen.keys != kept;
        Ok(())
    }
}

/// What a clock said that may have been wrong.
const fn believed(at: u64, now: u64) -> u64 {
    if at < CLOCKS_BEGIN || at > now { now } else { at }
}

fn marks(keys: &KeySet) -> BTreeSet<Mark> {
    let mark = |id: Option<&str>| {
        let text = id.map_or_else(Vec::new, |id| [b"id ", id.as_bytes()].concat());
        let mut mark = Mark::default();
        for (to, from) in mark.iter_mut().zip(digest(&SHA256, &text).as_ref()) {
            *to = *from;
        }
        mark
    };
    keys.ids().map(mark).collect()
}

fn encode(iss: &str, keys: &BTreeMap<Mark, Sight>) -> Vec<u8> {
    // An `iss` is a line of the configuration.
    let length = u16::try_from(iss.len()).unwrap_or(u16::MAX);
    let mut out = [&[VERSION][..], &length.to_be_bytes(), iss.as_bytes()].concat();
    for (mark, sight) in keys {
        out.extend_from_slice(mark);
        out.extend_from_slice(&sight.since.to_be_bytes());
        out.extend_from_slice(&sight.gone.unwrap_or(0).to_be_bytes());
    }
    out
}

fn decode(bytes: &[u8]) -> Result<(&str, BTreeMap<Mark, Sight>), SightFault> {
    let damaged = SightFault::Damaged;
    let (version, rest) = bytes.split_first().ok_or(damaged)?;
    match *version {
        VERSION => {}
        newer if newer > VERSION => return Err(SightFault::Newer),
        _ => return Err(damaged),
    }
    let (length, rest) = rest.split_first_chunk().ok_or(damaged)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (iss, mut rest) = rest.split_at_checked(length).ok_or(damaged)?;
    let iss = std::str::from_utf8(iss).map_err(|_no_text| damaged)?;
    let mut keys = BTreeMap::new();
    while !rest.is_empty() {
        let (mark, after) = rest.split_first_chunk().ok_or(damaged)?;
        let (since, after) = after.split_first_chunk().ok_or(damaged)?;
        let (gone, after) = after.split_first_chunk().ok_or(damaged)?;
        let gone = Some(u64::from_be_bytes(*gone)).filter(|gone| *gone > 0);
        keys.insert(*mark, Sight { since: u64::from_be_bytes(*since), gone });
        rest = after;
    }
    if keys.len() > KEYS_MAX { Err(damaged) } else { Ok((iss, keys)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISS: &str = "https://issuer.test";
    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    fn set(kids: &[&str]) -> KeySet {
        let key = |kid: &str| {
            format!(
                "{{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"kid\":\"{kid}\",\
                 \"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\
                 \"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}}"
            )
        };
        let keys: Vec<String> = kids.iter().map(|kid| key(kid)).collect();
        KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap()
    }

    fn at(secs: u64) -> Moment {
        Moment::new(secs * 1_000, 0)
    }

    /// Since when a key is known.
    fn since(sights: &Sights, kid: &str) -> Option<u64> {
        sights.since(ISS, &set(&[kid])).first().copied()
    }

    /// A process that begins at `secs`, reads its keys, and then what the one before wrote.
    fn restarted(kept: &[u8], kids: &[&str], secs: u64) -> Sights {
        let mut sights = Sights::default();
        sights.note(ISS, &set(kids), at(secs));
        sights.recall(kept).unwrap();
        sights
    }

    fn written(sights: &mut Sights) -> Vec<u8> {
        sights.take_changed(9).remove(0).1
    }

    #[test]
    fn tls_5_a_key_is_as_old_as_its_id_is_known() {
        let mut sights = Sights::default();
        sights.note(ISS, &set(&["a"]), at(NOW));
        sights.note(ISS, &set(&["a", "b"]), at(NOW + 100));
        sights.note(ISS, &set(&["b"]), at(NOW + 200));
        assert_eq!([since(&sights, "a"), since(&sights, "b")], [NOW, NOW + 100].map(Some));
        assert_eq!(since(&sights, "c"), None);
        // Withdrawn for a while it is the same; after long it is a new one.
        sights.note(ISS, &set(&["a", "b"]), at(NOW + 399 * DAY));
        assert_eq!(since(&sights, "a"), Some(NOW));
        sights.note(ISS, &set(&["b"]), at(NOW + 400 * DAY));
        sights.note(ISS, &set(&["b"]), at(NOW + 800 * DAY));
        sights.note(ISS, &set(&["a", "b"]), at(NOW + 801 * DAY));
        assert_eq!(since(&sights, "a"), Some(NOW + 801 * DAY));
        assert_eq!(since(&sights, "b"), Some(NOW + 100));
    }

    #[test]
    fn tls_5_a_key_is_no_younger_after_a_restart() {
        let mut sights = Sights::default();
        sights.note(ISS, &set(&["a", "b"]), at(NOW));
        sights.note(ISS, &set(&["b"]), at(NOW + DAY));
        let kept = written(&mut sights);
        assert_eq!(sights.take_changed(9), [], "nothing new");
        let mut again = restarted(&kept, &["b", "c"], NOW + 20 * DAY);
        let known = ["a", "b", "c"].map(|kid| since(&again, kid));
        assert_eq!(known, [NOW, NOW, NOW + 20 * DAY].map(Some));
        assert_eq!(again.take_changed(9).len(), 1, "there is a new one");
        // One that went before the restart goes its way.
        again.note(ISS, &set(&["b"]), at(NOW + 402 * DAY));
        assert_eq!(since(&again, "a"), None);
        // An issuer that can't be had at once, and one that no configuration names now.
        let mut later = Sights::default();
        later.recall(&kept).unwrap();
        assert_eq!(later.take_changed(9), []);
        later.note(ISS, &set(&["b"]), at(NOW + 30 * DAY));
        assert_eq!(since(&later, "b"), Some(NOW));
    }

    #[test]
    fn tls_5_a_clock_that_is_wrong_makes_no_key_younger() {
        let mut sights = Sights::default();
        sights.note(ISS, &set(&["a"]), at(NOW));
        let kept = written(&mut sights);
        // Never set, behind, ahead; and right again.
        for (wrong, then) in [(7, NOW), (NOW - DAY, NOW - DAY), (NOW + 3_000 * DAY, NOW)] {
            let mut again = restarted(&kept, &["a"], wrong);
            again.note(ISS, &set(&["a"]), at(wrong + 60));
            again.note(ISS, &set(&["a"]), at(NOW + 2 * DAY));
            assert_eq!(since(&again, "a"), Some(then), "at {wrong}");
        }
        // First seen by such a clock it is known since the first look that can be believed.
        for wrong in [7, NOW + 3_000 * DAY] {
            let mut sights = Sights::default();
            sights.note(ISS, &set(&["a"]), at(wrong));
            let again = restarted(&written(&mut sights), &["a"], NOW);
            assert_eq!(since(&again, "a"), Some(NOW), "at {wrong}");
        }
    }

    #[test]
    fn tls_5_an_issuer_with_ever_new_keys_costs_no_more_memory() {
        let mut sights = Sights::default();
        for nth in 0..2_000_u64 {
            sights.note(ISS, &set(&["stays", &nth.to_string()]), at(NOW + nth));
        }
        assert_eq!(sights.0[ISS].keys.len(), KEYS_MAX);
        assert_eq!(since(&sights, "stays"), Some(NOW));
        assert_eq!(since(&sights, "1990"), Some(NOW + 1_990));
        let bytes = written(&mut sights);
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        for (bad, fault) in [
            (&[][..], SightFault::Damaged),
            (&bytes[..bytes.len() - 1], SightFault::Damaged),
            (&bytes[..9], SightFault::Damaged),
            (&[VERSION, 0, 1, 0xff], SightFault::Damaged),
            (&[0], SightFault::Damaged),
            (&[VERSION + 1], SightFault::Newer),
        ] {
            assert_eq!(Sights::default().recall(bad), Err(fault));
        }
    }
}
