//! Where the usual ends: peaks over a threshold, and the generalized Pareto distribution of how far
//! they go (SPOT and DSPOT: Siffer, Fouque, Termier, Largouët, KDD 2017).
//!
//! The threshold is the 95th percentile, found by stochastic approximation, so it drifts with the
//! stream. Of the peaks only the mean and the mean square are kept, which is all that the method of
//! moments asks for; older ones fade. A few imagined peaks begin the count, so that the first real
//! ones do not decide alone.

/// In octaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    threshold: f32,
    mean: f32,
    square: f32,
    seen: u16,
    peaks: u16,
}

/// The share of the stream above the threshold.
const PEAK_SHARE: f32 = 0.05;
const PEAKS_IMAGINED: u16 = 16;
const PEAKS_REMEMBERED: u16 = 96;
/// No single peak teaches more than this.
const PEAK_MAX: f32 = 2.0;
/// Without an end (0.2) or with one soon (-0.4): beyond these, moments say little.
const SHAPE: (f32, f32) = (-0.4, 0.2);
const FIRST: u16 = 20;

impl Default for Tail {
    fn default() -> Self {
        // Exponential peaks: their mean square is twice the square of the mean.
        let mean = 0.2;
        Self { threshold: 0.5, mean, square: 2.0 * mean * mean, seen: 0, peaks: PEAKS_IMAGINED }
    }
}

impl Tail {
    pub(super) fn learn(&mut self, value: f32) {
        if !value.is_finite() {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        if self.seen <= FIRST {
            // The greatest of twenty is as good a 95th percentile as twenty can give.
            let first = self.seen == 1;
            self.threshold = if first { value } else { self.threshold.max(value) };
            return;
        }
        let stride = if self.seen < 200 { 0.12 } else { 0.06 };
        let beyond = value - self.threshold;
        if beyond > 0.0 {
            self.peaks = self.peaks.saturating_add(1).min(PEAKS_REMEMBERED);
            let weight = 1.0 / f32::from(self.peaks);
            let peak = beyond.min(PEAK_MAX);
            self.mean += (peak - self.mean) * weight;
            self.square += (peak * peak - self.square) * weight;
            self.threshold += stride * (1.0 - PEAK_SHARE);
        } else {
            self.threshold -= stride * PEAK_SHARE;
        }
    }

    /// The value that is exceeded with probability `risk`.
    pub(super) fn quantile(&self, risk: f32) -> f32 {
        let variance = (self.square - self.mean * self.mean).max(self.mean * self.mean / 4.0);
        let ratio = self.mean * self.mean / variance.max(f32::MIN_POSITIVE);
        let trust = f32::from(self.peaks) / f32::from(self.peaks + PEAKS_IMAGINED);
        let shape = (0.5 * (1.0 - ratio) * trust).clamp(SHAPE.0, SHAPE.1);
        let scale = self.mean * (1.0 - shape);
        let rarity = (risk / PEAK_SHARE).clamp(f32::MIN_POSITIVE, 1.0);
        let beyond = if shape.abs() < 1e-3 {
            -scale * rarity.ln()
        } else {
            scale / shape * (rarity.powf(-shape) - 1.0)
        };
        self.threshold + beyond
    }

    /// The value that one in twenty exceeds.
    pub(super) const fn threshold(&self) -> f32 {
        self.threshold
    }

    pub(super) const fn parts(&self) -> ([f32; 3], [u16; 2]) {
        ([self.threshold, self.mean, self.square], [self.seen, self.peaks])
    }

    /// None if the parts are none of a tail.
    pub(super) fn of_parts(
        [threshold, mean, square]: [f32; 3],
        [seen, peaks]: [u16; 2],
    ) -> Option<Self> {
        let sound = threshold.abs() < 64.0
            && (0.0..=PEAK_MAX).contains(&mean)
            && (0.0..=PEAK_MAX * PEAK_MAX).contains(&square)
            && (PEAKS_IMAGINED..=PEAKS_REMEMBERED).contains(&peaks);
        sound.then_some(Self { threshold, mean, square, seen, peaks })
    }
}
