//! Slow exfiltration (MON-3): a share of answers with personal data that rises a little and stays.
//!
//! A CUSUM of likelihood ratios (Page, 1954) over blocks of requests: is the share still the usual
//! one, or are the odds several times as great? What is not independent (a batch in which every
//! answer has personal data) shows as spread between blocks and as high days in the past; the
//! evidence is divided by the one and held against the other.
use super::scale::{real, whole};
use super::settings::Settings;
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Subject};
use super::watch::{Beat, Turned};

const BLOCK: u16 = 64;
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
    hits: u16,
    asked: u16,
    pub(super) blocks: u16,
    pub(super) days: u16,
    told: Option<Level>,
    rising_since_ms: u64,
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
            told: None,
            rising_since_ms: 0,
        }
    }
}

impl Slow {
    pub(super) fn turn(&mut self, turned: &Turned) {
        if turned.day.is_some() {
            self.days = self.days.saturating_add(1);
            // A day on which this was acted upon is no normal one.
            if self.told != Some(Level::Act) {
                self.normal_most = f32::max(self.normal_most * 0.99, self.today_most);
            }
            self.today_most = self.evidence;
            self.told = None;
        }
    }

    pub(super) fn observe(&mut self, beat: &Beat<'_>) -> Option<Signal> {
        if !beat.event.is_served() {
            return None;
        }
        if self.asked == 0 && self.evidence <= 0.0 {
            self.rising_since_ms = beat.event.at.unix_ms();
        }
        self.asked += 1;
        self.hits += u16::from(beat.event.records > 0);
        if self.asked < BLOCK {
            return None;
        }
        let seen = real(u64::from(self.hits)) / f32::from(self.asked);
        self.close(beat.settings.slow.odds);
        (self.asked, self.hits) = (0, 0);
        let level = self.rises(beat.settings)?;
        self.signal(level, seen, beat).under(beat.settings.slow.mode)
    }

    fn close(&mut self, odds: f32) {
        let (hits, asked) = (f32::from(self.hits), f32::from(self.asked));
        let usual = self.share.max(SHARE_MIN);
        if self.blocks >= BLOCKS_MIN {
            let risen = risen(usual, odds);
            let ratio =
                hits * (risen / usual).ln() + (asked - hits) * ((1.0 - risen) / (1.0 - usual)).ln();
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

    /// The level that is reached for the first time today.
    fn rises(&mut self, settings: &Settings) -> Option<Level> {
        let slow = &settings.slow;
        if self.days < slow.learn_days {
            return None;
        }
        let normal = self.normal_most * slow.factor;
        let (note, act) = (slow.note.max(normal), slow.act.max(normal * 1.5));
        let level = if self.evidence > act {
            Level::Act
        } else if self.evidence > note {
            Level::Note
        } else {
            return None;
        };
        if self.told >= Some(level) {
            return None;
        }
        self.told = Some(level);
        Some(level)
    }

    fn signal(&self, level: Level, seen: f32, beat: &Beat<'_>) -> Signal {
        let (asks, severity) = match level {
            Level::Note => (Response::Note, Severity::Medium),
            Level::Act => (Response::StepUp, Severity::High),
        };
        let risen = risen(self.share.max(SHARE_MIN), beat.settings.slow.odds);
        Signal {
            detector: Detector::Slow,
            subject: Subject::Identity(beat.identity),
            level,
            severity,
            asks,
            authenticated: true,
            why: Explanation {
                seen: whole(seen * 10_000.0),
                expected: whole(self.share * 10_000.0),
                limit: whole(risen * 10_000.0),
                unit: "answers with personal data in 10,000",
                since_ms: self.rising_since_ms,
                setting: "detect.slow.odds",
            },
            at: beat.event.at,
        }
    }
}

/// The share that has so many times the odds of the usual one.
fn risen(usual: f32, odds: f32) -> f32 {
    odds * usual / (1.0 - usual + odds * usual)
}
