//! Slow exfiltration (MON-3): a share of answers with personal data that rises a little and stays.
//!
//! A CUSUM of likelihood ratios (Page, 1954) over blocks of requests: is the share still the usual
//! one, or are the odds several times as great? What is not independent (a batch in which every
//! answer has personal data) shows as spread between blocks and as high days in the past; the
//! evidence is divided by the one and held against the other.
use super::history::{Bytes, HistoryFault};
use super::limits::higher;
use super::scale::{real, whole};
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Subject};
use super::told::Told;
use super::watch::{Beat, Turned};

const BLOCK: u8 = 64;
/// Blocks until the usual share is known well enough.
const BLOCKS_MIN: u16 = 32;
const BLOCKS_WEIGHED: u16 = 512;
/// No share counts as less usual, or one answer in a quiet month would be an attack.
const SHARE_MIN: f32 = 0.005;
/// Evidence never exceeds this, so that it is soon gone when the cause is.
const EVIDENCE_MAX: f32 = 100.0;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slow {
    /// The usual share of answers with personal data.
    pub(super) share: f32,
    /// How much more blocks differ than independent answers would; at least 1.
    pub(super) spread: f32,
    evidence: f32,
    /// The most evidence of a normal day, fading.
    pub(super) normal_most: f32,
    today_most: f32,
    /// Of the block that runs.
    hits: u8,
    asked: u8,
    pub(super) blocks: u16,
    pub(super) days: u16,
    told: Told,
    rising: Rising,
}

/// What came since the evidence was last nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Rising {
    since_secs: u32,
    hits: u32,
    asked: u32,
}

impl Default for Slow {
    fn default() -> Self {
        Self {
            share: SHARE_MIN,
            spread: 1.0,
            evidence: 0.0,
            normal_most: 0.0,
            today_most: 0.0,
            hits: 0,
            asked: 0,
            blocks: 0,
            days: 0,
            told: Told::default(),
            rising: Rising::default(),
        }
    }
}

impl Slow {
    pub(super) fn turn(&mut self, turned: &Turned) {
        if turned.day.is_some() {
            self.days = self.days.saturating_add(1);
            // A day on which this was acted upon is no normal one.
            if !self.told.acted() {
                self.normal_most = f32::max(self.normal_most * 0.99, self.today_most);
            }
            self.today_most = self.evidence;
            self.told = Told::default();
        }
    }

    /// What it counts, over a restart.
    pub(super) fn pass(&mut self, by: &mut impl Bytes) -> Result<(), HistoryFault> {
        by.within(&mut self.evidence, 0.0, EVIDENCE_MAX)?;
        by.within(&mut self.today_most, 0.0, EVIDENCE_MAX)?;
        by.u8(&mut self.hits)?;
        by.u8(&mut self.asked)?;
        by.told(&mut self.told)?;
        let Rising { since_secs, hits, asked } = &mut self.rising;
        for count in [since_secs, hits, asked] {
            by.u32(count)?;
        }
        let sound = self.hits <= self.asked && self.asked < BLOCK;
        if sound { Ok(()) } else { Err(HistoryFault::Malformed) }
    }

    pub(super) fn observe(&mut self, beat: &Beat<'_>) -> Option<Signal> {
        if !beat.event.is_served() {
            return None;
        }
        if self.asked == 0 && self.evidence <= 0.0 {
            let since_secs = u32::try_from(beat.event.at.unix_secs()).unwrap_or(u32::MAX);
            self.rising = Rising { since_secs, ..Rising::default() };
        }
        let hit = beat.event.records > 0;
        self.asked += 1;
        self.hits += u8::from(hit);
        self.rising.asked = self.rising.asked.saturating_add(1);
        self.rising.hits = self.rising.hits.saturating_add(u32::from(hit));
        if self.asked < BLOCK {
            return None;
        }
        let before = self.evidence;
        self.close(beat.settings.slow.odds);
        (self.asked, self.hits) = (0, 0);
        let grows = self.evidence > before || self.evidence >= EVIDENCE_MAX;
        let (level, limit) = self.rises(grows, beat)?;
        self.signal(level, limit, beat).under(beat.settings.slow.mode)
    }

    fn close(&mut self, odds: f32) {
        let (hits, asked) = (f32::from(self.hits), f32::from(self.asked));
        let usual = self.share.max(SHARE_MIN);
        if self.blocks >= BLOCKS_MIN {
            let (of_hit, of_miss) = weights(usual, odds);
            let ratio = hits * of_hit + (asked - hits) * of_miss;
            self.evidence = (self.evidence + ratio / self.spread).clamp(0.0, EVIDENCE_MAX);
            self.today_most = self.today_most.max(self.evidence);
        }
        // Under suspicion it learns slowly: an attack should not become usual before it is seen.
        let caution = if self.evidence > 4.0 { 8.0 } else { 1.0 };
        let weight = 1.0 / f32::from(self.blocks.saturating_add(1).min(BLOCKS_WEIGHED)) / caution;
        let expected = asked * usual;
        let square = (hits - expected) * (hits - expected) / (expected * (1.0 - usual)).max(0.05);
        if self.blocks >= BLOCKS_MIN / 2 {
            self.spread = (self.spread + (square - self.spread) * weight.min(0.02)).max(1.0);
        }
        self.share = (self.share + (hits / asked - self.share) * weight).clamp(0.0, 0.98);
        self.blocks = self.blocks.saturating_add(1);
    }

    /// The level that is reached for the first time today, and the evidence that it takes. What was acted
    /// upon goes on if the evidence still `grows`.
    fn rises(&mut self, grows: bool, beat: &Beat<'_>) -> Option<(Level, (f32, &'static str))> {
        let slow = &beat.settings.slow;
        if self.days < slow.learn_days {
            return None;
        }
        let normal = self.normal_most * slow.factor;
        let note = higher((slow.note, "detect.slow.note"), (normal, "detect.slow.factor"));
        let act = higher((slow.act, "detect.slow.act"), (normal * 1.5, "detect.slow.factor"));
        let (level, limit) = match () {
            () if self.evidence > act.0 => (Level::Act, act),
            () if self.evidence > note.0 => (Level::Note, note),
            () => return None,
        };
        let said = self.told.acted() && !grows;
        (!said && self.told.rises(level, beat.in_day(Response::StepUp))).then_some((level, limit))
    }

    /// Evidence is told of in answers: how many there were, and with how many there would be no more
    /// of it than may be.
    fn signal(&self, level: Level, limit: (f32, &'static str), beat: &Beat<'_>) -> Signal {
        let (asks, severity) = match level {
            Level::Note => (Response::Note, Severity::Medium),
            Level::Act => (Response::StepUp, Severity::High),
        };
        let (usual, rising) = (self.share.max(SHARE_MIN), self.rising);
        let (of_hit, of_miss) = weights(usual, beat.settings.slow.odds);
        let too_much = (self.evidence - limit.0) * self.spread / (of_hit - of_miss);
        let too_many = u64::from(too_much.is_finite()) * whole(too_much.ceil());
        let seen = u64::from(rising.hits);
        Signal {
            detector: Detector::Slow,
            subject: Subject::Identity(beat.identity),
            level,
            severity,
            asks,
            authenticated: true,
            why: Explanation {
                seen,
                expected: whole(real(u64::from(rising.asked)) * usual),
                limit: seen.saturating_sub(too_many.max(1)),
                unit: "answers with personal data",
                since_ms: u64::from(rising.since_secs) * 1_000,
                setting: limit.1,
            },
            at: beat.event.at,
        }
    }
}

/// What an answer with personal data adds to the evidence that the odds are so many times the usual
/// ones, and what one without adds: less than nothing.
fn weights(usual: f32, odds: f32) -> (f32, f32) {
    let risen = odds * usual / (1.0 - usual + odds * usual);
    ((risen / usual).ln(), ((1.0 - risen) / (1.0 - usual)).ln())
}
