//! Counts on a logarithmic scale. The only file that turns integers into floating point and back.

/// `count` in octaves above nothing: 0 for none, 1 for `floor`, 2 for three times `floor`. Below the
/// floor it is nearly linear, so that a few more of a few are no surprise.
pub(super) fn octaves(count: u64, floor: f32) -> f32 {
    (1.0 + real(count) / floor).log2()
}

/// The count that has so many octaves.
pub(super) fn count_of(octaves: f32, floor: f32) -> f32 {
    (octaves.max(0.0).exp2() - 1.0) * floor
}

#[expect(clippy::cast_precision_loss, reason = "24 bits are more than a limit needs")]
pub(super) const fn real(count: u64) -> f32 {
    count as f32
}

/// Rounded; none below zero, and the greatest if it does not fit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such a cast saturates, which is what is asked for"
)]
pub(super) fn whole(value: f32) -> u64 {
    value.round() as u64
}

/// Rounded and saturated, as [`whole`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such a cast saturates, which is what is asked for"
)]
pub(super) const fn byte(value: f32) -> u8 {
    value as u8
}
