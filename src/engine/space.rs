//! Room on the file systems of the log and of the state: without it nobody is served, so people are
//! told before it is used up (LOG-1, MON-7).
use std::path::Path;

use super::Engine;
use super::alarms::named;
use super::conditions::Lasting;
use crate::alarm::{Alarm, Aspect, Kind, Phrase, Severity, Why};
use crate::base::Moment;
use crate::config::AccessLog;
use crate::evidence::Fixed;

const MIB: u64 = 1 << 20;
/// Less than this part of a file system, and less than so much: somebody should look today.
const LOW: (u64, u64) = (10, 10 << 30);
/// Somebody should look now.
const SCARCE: (u64, u64) = (33, 2 << 30);

/// What a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// For this process: what is kept for root is not.
    free: u64,
    size: u64,
}

impl Room {
    /// None where nobody can say.
    fn of(path: &Path) -> Option<Self> {
        let at = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(at.f_frsize);
        // Some file systems have no size.
        (at.f_blocks > 0).then(|| Self { free: bytes(at.f_bavail), size: bytes(at.f_blocks) })
    }

    const fn least(self, (part, most): (u64, u64)) -> u64 {
        let part = self.size / part;
        if part < most { part } else { most }
    }

    const fn stands(self) -> Option<Severity> {
        if self.free < self.least(SCARCE) {
            Some(Severity::Critical)
        } else if self.free < self.least(LOW) {
            Some(Severity::High)
        } else {
            None
        }
    }

    fn alarm(self, of: Fixed, severity: Severity, now: Moment) -> Alarm {
        let limit =
            self.size - self.least(if severity == Severity::Critical { SCARCE } else { LOW });
        let alarm = Alarm::new(Kind::SpaceLow, severity, now).because(Why {
            seen: self.size.saturating_sub(self.free) / MIB,
            expected: (self.size - self.least(LOW)) / MIB,
            limit: limit / MIB,
            unit: Phrase::new("MiB in use"),
            since_ms: 0,
            setting: Phrase::new(""),
        });
        named(alarm, Aspect::Target, of)
    }
}

/// What was told of one file system: that there is little, and that there is hardly any.
#[derive(Debug, Default)]
pub(super) struct Space([Lasting; 2]);

impl Space {
    fn news(&mut self, of: Fixed, room: Room, now: Moment) -> Option<Alarm> {
        let stands = room.stands();
        let [low, scarce] = &mut self.0;
        let news = low.is_news(stands == Some(Severity::High), now);
        let worse = scarce.is_news(stands == Some(Severity::Critical), now);
        stands.filter(|_| news || worse).map(|severity| room.alarm(of, severity, now))
    }
}

impl Engine {
    /// Looks at the file systems, and says what people must know.
    pub(super) fn look_at_space(&self, told: &mut [Space; 2], now: Moment) -> Vec<Alarm> {
        let live = self.live();
        let log = match &live.snapshot.log.access {
            // The directory: a file that is renamed is begun anew there.
            AccessLog::File(path) => path
                .parent()
                .map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir }),
            AccessLog::Stdout => None,
        };
        let places = [("log", log), ("state", Some(live.snapshot.state_dir.as_path()))];
        let mut news = Vec::new();
        for ((of, path), told) in places.into_iter().zip(told) {
            let Some(room) = path.and_then(Room::of) else { continue };
            let of = Fixed::new(of);
            self.metrics.space_free(of, room.free);
            news.extend(told.news(of, room, now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn log_1_little_room_is_told_before_there_is_none() {
        for (size, free, expect) in [
            (20 * GIB, 3 * GIB, None),
            (20 * GIB, 2 * GIB - 1, Some(Severity::High)),
            (20 * GIB, GIB / 2, Some(Severity::Critical)),
            // A tenth of a large one is no little.
            (8_000 * GIB, 20 * GIB, None),
            (8_000 * GIB, 9 * GIB, Some(Severity::High)),
            (8_000 * GIB, GIB, Some(Severity::Critical)),
            (100 * MIB, 0, Some(Severity::Critical)),
        ] {
            assert_eq!(Room { free, size }.stands(), expect, "{free} of {size}");
        }
    }

    #[test]
    fn mon_7_little_room_is_told_once_an_hour_and_when_it_gets_less() {
        let mut space = Space::default();
        let at = |minutes: u64| Moment::new(0, minutes * 60_000_000_000);
        let mut tell = |free, minutes| {
            let room = Room { free, size: 20 * GIB };
            space.news(Fixed::new("log"), room, at(minutes)).map(|alarm| alarm.severity)
        };
        assert_eq!(tell(4 * GIB, 0), None);
        assert_eq!(tell(GIB, 1), Some(Severity::High));
        assert_eq!(tell(GIB, 2), None);
        assert_eq!(tell(GIB / 4, 3), Some(Severity::Critical));
        assert_eq!(tell(GIB / 4, 62), None);
        assert_eq!(tell(GIB / 4, 63), Some(Severity::Critical));
        assert_eq!(tell(4 * GIB, 64), None);
        assert_eq!(tell(GIB, 65), Some(Severity::High), "it began anew");
    }

    #[test]
    fn mon_8_the_alarm_says_where_and_how_much() {
        let room = Room { free: GIB, size: 20 * GIB };
        let alarm = room.alarm(Fixed::new("state"), Severity::High, Moment::new(0, 0));
        assert_eq!(
            alarm.sentence(),
            "Little room is left on the file system of the log or the state: target state; \
             seen 19456 MiB in use, expected 18432, at most 18432"
        );
        assert!(Room::of(&std::env::temp_dir()).is_some_and(|room| room.free <= room.size));
        assert_eq!(Room::of(Path::new("/nowhere/at/all")), None);
    }
}
