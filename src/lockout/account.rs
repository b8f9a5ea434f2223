//! What one account remembers of its logins.
use std::time::Duration;

use crate::base::Moment;

const KNOWN_MAX: usize = 8;
/// A source that was not used for so many days is a stranger again.
const KNOWN_DAYS: u32 = 90;

#[derive(Clone, Copy, Debug, Default)]
struct KnownSource {
    source: u64,
    /// The day of the last success, counted from one so that zero is a free place.
    day: u32,
}

/// Failures that are forgiven one by one as time passes, at the pace of all of them in one window.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    /// Up to where time has been credited.
    credited_ns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    known: [KnownSource; KNOWN_MAX],
    familiar: Failures,
    strangers: Failures,
}

const _: () = assert!(size_of::<Account>() <= 192);

impl Account {
    /// Whether the identity has logged in from there.
    pub(super) fn knows(&self, source: u64, now: Moment) -> bool {
        let today = now.unix_day().saturating_add(1);
        self.known.iter().any(|known| {
            known.day > 0 && known.source == source && today.saturating_sub(known.day) <= KNOWN_DAYS
        })
    }

    pub(super) fn succeeded_from(&mut self, source: u64, now: Moment) {
        let own = self.known.iter().position(|known| known.day > 0 && known.source == source);
        let place = own.or_else(|| {
            (0..).zip(&self.known).min_by_key(|(_, known)| known.day).map(|(place, _)| place)
        });
        if let Some(known) = place.and_then(|place| self.known.get_mut(place)) {
            *known = KnownSource { source, day: now.unix_day().saturating_add(1) };
        }
    }

    /// One more; how many count now. A success forgives none: who sits beside the victim could
    /// otherwise guess on between the victim's own logins.
    pub(super) fn familiar_failure(&mut self, now: Moment, window: Duration, limit: u32) -> u32 {
        self.familiar.add(now, window, limit)
    }

    pub(super) fn stranger_failure(&mut self, now: Moment, window: Duration, limit: u32) -> u32 {
        self.strangers.add(now, window, limit)
    }

    /// After a release.
    pub(super) fn forgive(&mut self) {
        self.familiar = Failures::default();
        self.strangers = Failures::default();
    }
}

/// For the store. Failures are forgiven as if none had come meanwhile: time that a process did not
/// run is not time it watched.
impl Account {
    pub(super) const BYTES: usize = 1 + KNOWN_MAX * 12 + 8;
    const VERSION: u8 = 1;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.push(Self::VERSION);
        for known in &self.known {
            out.extend_from_slice(&known.source.to_le_bytes());
            out.extend_from_slice(&known.day.to_le_bytes());
        }
        for failures in [&self.familiar, &self.strangers] {
            out.extend_from_slice(&failures.count.to_le_bytes());
        }
        out
    }

    /// Only what [`encode`](Self::encode) wrote, whole.
    pub(super) fn decode(bytes: &[u8], now: Moment) -> Option<Self> {
        let (&[version], mut rest) = bytes.split_first_chunk()?;
        let mut account = Self::default();
        for known in &mut account.known {
            let (source, after) = rest.split_first_chunk()?;
            let (day, after) = after.split_first_chunk()?;
            *known =
                KnownSource { source: u64::from_le_bytes(*source), day: u32::from_le_bytes(*day) };
            rest = after;
        }
        for failures in [&mut account.familiar, &mut account.strangers] {
            let (count, after) = rest.split_first_chunk()?;
            *failures = Failures { count: u32::from_le_bytes(*count), credited_ns: now.mono_ns() };
            rest = after;
        }
        (version == Self::VERSION && rest.is_empty()).then_some(account)
    }

    /// Whether there is anything to remember.
    pub(super) fn is_blank(&self) -> bool {
        self.familiar.count == 0
            && self.strangers.count == 0
            && self.known.iter().all(|known| known.day == 0)
    }
}

impl Failures {
    fn add(&mut self, now: Moment, window: Duration, limit: u32) -> u32 {
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let each_ns = (window_ns / u64::from(limit.max(1))).max(1);
        let passed = now.mono_ns().saturating_sub(self.credited_ns) / each_ns;
        self.count = self.count.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
        self.credited_ns = if self.count == 0 {
            now.mono_ns()
        } else {
            self.credited_ns.saturating_add(passed.saturating_mul(each_ns))
        };
        self.count = self.count.saturating_add(1);
        self.count
    }
}
