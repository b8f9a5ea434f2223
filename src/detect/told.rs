//! What was said already in an hour or a day.
use super::scale::{byte, real};
use super::signal::Level;

/// The highest level, in one byte: nothing, a note, or how much of the stretch was still to come when it
/// was last acted upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told(pub(super) u8);

const NOTED: u8 = 1;
const ACTED: u8 = 2;
const PARTS: f32 = 253.0;
/// A step that goes on must not end in between: some seconds of an hour.
const EARLY: f32 = 0.5 / PARTS;

/// A moment in a stretch of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// The part of the stretch that is to come.
    pub(super) left: f32,
    /// How long a step lasts that begins now, in parts of the stretch.
    pub(super) lasts: f32,
}

impl When {
    /// For what is said once and never again.
    pub(super) const ONCE: Self = Self { left: 0.0, lasts: f32::INFINITY };
}

impl Told {
    pub(super) const fn level(self) -> Option<Level> {
        match self.0 {
            0 => None,
            NOTED => Some(Level::Note),
            _ => Some(Level::Act),
        }
    }

    pub(super) const fn acted(self) -> bool {
        self.0 >= ACTED
    }

    /// Whether this is news. A level is once in a stretch of time; to act is again when the step is over
    /// that it led to.
    pub(super) fn rises(&mut self, level: Level, when: When) -> bool {
        let again = level == Level::Act && self.acted() && self.passed(when) + EARLY >= when.lasts;
        let rises = again || self.level() < Some(level);
        if rises {
            self.0 = match level {
                Level::Note => NOTED,
                Level::Act => byte((when.left * PARTS).ceil()).saturating_add(ACTED),
            };
        }
        rises
    }

    /// Since it was acted upon.
    fn passed(self, when: When) -> f32 {
        real(u64::from(self.0.saturating_sub(ACTED))) / PARTS - when.left
    }
}
