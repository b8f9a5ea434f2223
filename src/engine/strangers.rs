//! Requests of callers who proved nothing: so many a minute have a line each, and beyond these the
//! first of each kind; the rest are counted by source, listener and code (LOG-1). So nobody without a
//! credential can fill a disk, and a developer still finds the line of a refused request. Memory is
//! bounded, whoever comes.
use crate::base::{Moment, Name, Pseudonym};
use crate::evidence::{AccessRecord, DenialCode, Gathered};

/// Lines a minute, whosever they are.
const WHOLE_MAX: u32 = 120;
/// Lines a minute and kind beyond these.
const WHOLE_EACH: u32 = 2;
/// Kinds that are told apart; of the others no source is told.
const KINDS_MAX: usize = 256;
const MINUTE_NS: u64 = 60_000_000_000;

/// What is to become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Whole,
    Counted,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    minute: u64,
    /// The minute in which counts were last told, whether or not anything was noted in it.
    told: u64,
    whole: u32,
    /// At most [`KINDS_MAX`], searched from front to back.
    kinds: Vec<(Kind, Seen)>,
    /// By listener and code alone, both of which are closed sets.
    rest: Vec<(Kind, Seen)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    denial: Option<DenialCode>,
    source: Option<(Pseudonym, u32)>,
    listener: Option<Name>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    whole: u32,
    counted: u64,
}

impl Kind {
    fn is(&self, record: &AccessRecord<'_>, source: Option<(Pseudonym, u32)>) -> bool {
        self.denial == record.denial()
            && self.source == source
            && self.listener.as_ref() == record.listener
    }

    fn of(record: &AccessRecord<'_>, source: Option<(Pseudonym, u32)>) -> Self {
        Self { denial: record.denial(), source, listener: record.listener.cloned() }
    }
}

impl Strangers {
    pub(super) fn note(&mut self, record: &AccessRecord<'_>, now: Moment) -> Kept {
        self.turn(now);
        if self.whole < WHOLE_MAX {
            self.whole += 1;
            return Kept::Whole;
        }
        let source = record.source.zip(record.source_day);
        if let Some((_, seen)) = self.kinds.iter_mut().find(|(kind, _)| kind.is(record, source)) {
            if seen.whole < WHOLE_EACH {
                seen.whole += 1;
                return Kept::Whole;
            }
            seen.counted = seen.counted.saturating_add(1);
            return Kept::Counted;
        }
        if self.kinds.len() < KINDS_MAX {
            self.kinds.push((Kind::of(record, source), Seen { whole: 1, counted: 0 }));
            return Kept::Whole;
        }
        match self.rest.iter_mut().find(|(kind, _)| kind.is(record, None)) {
            Some((_, seen)) => seen.counted = seen.counted.saturating_add(1),
            None => self.rest.push((Kind::of(record, None), Seen { whole: 0, counted: 1 })),
        }
        Kept::Counted
    }

    /// What was counted, once in each minute.
    pub(super) fn take_due(&mut self, now: Moment) -> Tallies {
        let minute = now.mono_ns() / MINUTE_NS;
        if minute == self.told {
            return Tallies::default();
        }
        self.told = minute;
        self.take_all()
    }

    /// All that was counted.
    pub(super) fn take_all(&mut self) -> Tallies {
        let told = |kinds: &mut Vec<(Kind, Seen)>| {
            let counted = kinds.iter_mut().filter(|(_, seen)| seen.counted > 0);
            counted
                .map(|(kind, seen)| (kind.clone(), std::mem::take(&mut seen.counted)))
                .collect::<Vec<_>>()
        };
        let mut tallies = told(&mut self.kinds);
        tallies.append(&mut told(&mut self.rest));
        self.rest.clear();
        Tallies(tallies)
    }

    /// In another minute lines are written anew; what was counted stays until it is told.
    fn turn(&mut self, now: Moment) {
        let minute = now.mono_ns() / MINUTE_NS;
        if minute != self.minute {
            self.minute = minute;
            self.whole = 0;
            self.kinds.retain(|(_, seen)| seen.counted > 0);
            for (_, seen) in &mut self.kinds {
                seen.whole = 0;
            }
        }
    }
}

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Tallies(Vec<(Kind, u64)>);

impl Tallies {
    pub(super) fn each(&self) -> impl Iterator<Item = Gathered<'_>> {
        self.0.iter().map(|(kind, count)| Gathered {
            listener: kind.listener.as_ref(),
            denial: kind.denial,
            source: kind.source,
            count: *count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Denial, PseudonymKey, RequestIds, Secret};
    use crate::evidence::{Event, EventRecord, Record};

    const FLOOD: u64 = 50_000;

    fn at(secs: u64) -> Moment {
        Moment::new(secs * 1_000, secs * 1_000_000_000)
    }

    /// A day of 256 sources is one whose table is full.
    fn record<'a>(ids: &RequestIds, listener: &'a Name, source: u64) -> AccessRecord<'a> {
        let key = PseudonymKey::of_day(&Secret::new([7; 32]), 20_779);
        let mut record = AccessRecord::new(at(0), ids.issue(at(0)));
        record.listener = Some(listener);
        record.source = Some(key.pseudonym(&source.to_be_bytes()));
        record.source_day = Some(20_779);
        record.deny(Denial::NoCredential);
        record
    }

    /// The lines of a flood, and how many refusals they stand for.
    fn flood(sources: u64, count: u64) -> (Vec<u8>, u64) {
        let (ids, listener) = (RequestIds::new([1, 2]), Name::parse("apps").unwrap());
        let (mut strangers, mut lines, mut told) = (Strangers::default(), Vec::new(), 0);
        for number in 0..count {
            let record = record(&ids, &listener, number % sources);
            if strangers.note(&record, at(1)) == Kept::Whole {
                record.write_json(&mut lines);
                told += 1;
            }
        }
        assert!(strangers.take_due(at(59)).0.is_empty(), "the minute is not over");
        for gathered in strangers.take_due(at(60)).each() {
            told += gathered.count;
            let event = Event::RequestsRefused(gathered);
            EventRecord::new(at(60), &event).write_json(&mut lines);
        }
        assert!(strangers.take_all().0.is_empty(), "told once");
        assert!(strangers.kinds.len() <= KINDS_MAX && strangers.rest.len() <= 1);
        (lines, told)
    }

    #[test]
    fn log_1_a_flood_without_credentials_leaves_a_bounded_log() {
        for sources in [1, 100, 10_000, FLOOD] {
            let (lines, told) = flood(sources, FLOOD);
            assert_eq!(told, FLOOD, "{sources} sources: the counts add up");
            assert!(lines.len() < 1 << 20, "{sources} sources: {} bytes", lines.len());
        }
        let (lines, told) = flood(1, 100);
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!((lines.lines().count(), told), (100, 100), "few are written whole");
    }

    #[test]
    fn log_1_whoever_comes_during_a_flood_has_a_line() {
        let (ids, listener) = (RequestIds::new([1, 2]), Name::parse("apps").unwrap());
        let mut strangers = Strangers::default();
        for _ in 0..FLOOD {
            strangers.note(&record(&ids, &listener, 1), at(1));
        }
        let mut note = |source, secs| strangers.note(&record(&ids, &listener, source), at(secs));
        assert_eq!([note(2, 1), note(2, 1), note(2, 1)], [Kept::Whole, Kept::Whole, Kept::Counted]);
        assert_eq!(note(1, 1), Kept::Counted);
        assert_eq!(note(1, 60), Kept::Whole, "another minute");
    }

    #[test]
    fn log_1_a_flood_that_goes_on_is_told_of_each_minute() {
        let (ids, listener) = (RequestIds::new([1, 2]), Name::parse("apps").unwrap());
        let mut strangers = Strangers::default();
        let mut told = Vec::new();
        for secs in 1..=190 {
            for source in 0..300 {
                strangers.note(&record(&ids, &listener, source), at(secs));
            }
            let due = strangers.take_due(at(secs));
            if due.each().next().is_some() {
                told.push(secs);
            }
        }
        assert_eq!(told, [60, 120, 180]);
        assert_eq!(
            strangers.note(&record(&ids, &listener, 1_000), at(240)),
            Kept::Whole,
            "the table has room again"
        );
    }
}
