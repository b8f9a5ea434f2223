//! Since when an issuer's keys are known here (TLS-5): by their ids, as no key set says when it was made.
use std::collections::BTreeMap;

use crate::base::Moment;
use crate::identity::KeySet;

/// When each key of an issuer was first seen by this process, in seconds since 1970.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(BTreeMap<Option<Box<str>>, u64>);

impl Seen {
    /// What the issuer publishes now. A key that it has withdrawn is new when it comes back.
    pub(super) fn note(&mut self, keys: &KeySet, now: Moment) {
        let now = now.unix_secs();
        let known = std::mem::take(&mut self.0);
        self.0 = keys
            .ids()
            .map(|id| {
                let id = id.map(Box::from);
                let since = known.get(&id).copied().unwrap_or(now);
                (id, since)
            })
            .collect();
    }

    /// In no particular order.
    pub(super) fn since(&self) -> Vec<u64> {
        self.0.values().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_5_a_key_is_as_old_as_its_id_is_known() {
        let key = |kid: &str| {
            format!(
                "{{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"kid\":\"{kid}\",\
                 \"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\
                 \"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}}"
            )
        };
        let set = |kids: &[&str]| {
            let keys: Vec<String> = kids.iter().map(|kid| key(kid)).collect();
            KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap()
        };
        let at = |secs: u64| Moment::new(secs * 1_000, 0);
        let mut seen = Seen::default();
        for (secs, kids, since) in [
            (100, &["a"][..], &[100][..]),
            (200, &["a", "b"], &[100, 200]),
            (300, &["b"], &[200]),
            (400, &["a", "b"], &[400, 200]),
        ] {
            seen.note(&set(kids), at(secs));
            assert_eq!(seen.since(), since, "{kids:?}");
        }
    }
}
