//! What an identity does in each hour of the week.
use super::scale::byte;

/// Octaves in 168 bytes: steps of a twelfth, up to 21 octaves, which is two million times the floor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Week([u8; 168]);

const STEPS: f32 = 12.0;

impl Default for Week {
    fn default() -> Self {
        Self([0; 168])
    }
}

impl Week {
    pub(super) fn at(&self, hour: u64) -> f32 {
        f32::from(self.cell(hour)) / STEPS
    }

    /// What this hour and its neighbours let expect. Where they are alike, their mean, which trembles
    /// less than each. Where they are not, the highest: a job that comes an hour early or late, and
    /// a change to summer time, are nothing new.
    pub(super) fn around(&self, hour: u64) -> f32 {
        let [before, own, after] = [hour + 167, hour, hour + 1].map(|hour| self.at(hour));
        let (low, high) = (before.min(own).min(after), before.max(own).max(after));
        if high - low < 1.0 { (before + own + after) / 3.0 } else { high }
    }

    /// Moves the hour towards what was seen, by `weight`: a fall in octaves, a rise in counts, so that
    /// a job that has moved to another hour is known there after a week or two. `dither`, from 0 to
    /// 1, decides the rounding: else steps smaller than half of one would never be taken.
    pub(super) fn learn(&mut self, hour: u64, seen: f32, weight: f32, dither: f32) {
        let before = self.at(hour);
        let after = if seen > before {
            (before.exp2() + (seen.exp2() - before.exp2()) * weight).log2()
        } else {
            before + (seen - before) * weight
        };
        let after = after * STEPS;
        if let Some(cell) = usize::try_from(hour % 168).ok().and_then(|ix| self.0.get_mut(ix)) {
            *cell = byte((after + dither).floor());
        }
    }

    /// The hour in which the identity does most.
    pub(super) fn highest(&self) -> f32 {
        f32::from(self.0.iter().copied().max().unwrap_or(0)) / STEPS
    }

    pub(super) const fn cells(&self) -> &[u8; 168] {
        &self.0
    }

    pub(super) const fn of_cells(cells: [u8; 168]) -> Self {
        Self(cells)
    }

    fn cell(&self, hour: u64) -> u8 {
        usize::try_from(hour % 168).ok().and_then(|ix| self.0.get(ix)).copied().unwrap_or(0)
    }
}
