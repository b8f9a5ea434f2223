//! Two shares of failures, compared.
use std::time::Duration;

/// The fewest requests before and after, of one place.
pub const SENT_MIN: u64 = 50;
/// The fewest failures after.
pub const FAILED_MIN: u64 = 10;
/// What a share has to rise by: five in a hundred.
pub const RISE: f64 = 0.05;
/// What it has to rise by besides, in standard errors.
pub const SIGMAS: f64 = 4.5;

/// What went through one place in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub sent: u64,
    /// Of those. Never more.
    pub failed: u64,
    pub over: Duration,
}

/// Who can make something fail in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Callers who were let in, and what the gateway depends on.
    Inner,
    /// Anybody who can connect.
    Open,
}

/// How much more fails, in thousandths of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    pub seen: u64,
    pub expected: u64,
    /// Up to here it would have been chance.
    pub limit: u64,
    pub sent: u64,
    pub failed: u64,
}

/// What a place says of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Calm,
    Worse(Blame),
}

/// Whether more fails than before, beyond chance.
#[must_use]
pub fn judge(before: Figures, after: Figures, kind: Kind) -> Verdict {
    if before.sent < SENT_MIN || after.sent < SENT_MIN || after.failed < FAILED_MIN {
        return Verdict::Calm;
    }
    if kind == Kind::Open && !succeeds_less_than_half(before, after) {
        return Verdict::Calm;
    }
    let (was, is) = (share(before), share(after));
    let both =
        (number(before.failed) + number(after.failed)) / (number(before.sent) + number(after.sent));
    let error =
        (both * (1.0 - both) * (1.0 / number(before.sent) + 1.0 / number(after.sent))).sqrt();
    let limit = was + RISE.max(SIGMAS * error);
    if is <= limit {
        return Verdict::Calm;
    }
    Verdict::Worse(Blame {
        seen: per_mille(is),
        expected: per_mille(was),
        limit: per_mille(limit),
        sent: after.sent,
        failed: after.failed,
    })
}

/// Of what would have succeeded in this time at the rate of before, which has to be enough to tell.
fn succeeds_less_than_half(before: Figures, after: Figures) -> bool {
    let good = |of: Figures| number(of.sent.saturating_sub(of.failed));
    let rate = good(before) / before.over.as_secs_f64().max(1.0);
    let expected = rate * after.over.as_secs_f64();
    expected >= number(SENT_MIN) && good(after) * 2.0 < expected
}

fn share(of: Figures) -> f64 {
    number(of.failed.min(of.sent)) / number(of.sent).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares lie between 0 and some units"
)]
fn per_mille(share: f64) -> u64 {
    (share * 1_000.0).round().clamp(0.0, 1_000_000.0) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures(sent: u64, failed: u64) -> Figures {
        Figures { sent, failed, over: Duration::from_secs(60) }
    }

    fn worse(before: (u64, u64), after: (u64, u64)) -> bool {
        let figures = |(sent, failed)| figures(sent, failed);
        judge(figures(before), figures(after), Kind::Inner) != Verdict::Calm
    }

    #[test]
    fn log_1_a_share_that_rose_beyond_chance_is_worse() {
        for (before, after, expected) in [
            // Nothing failed, and now all does.
            ((1_000, 0), (50, 50), true),
            // A tenth fails where nothing did.
            ((1_000, 0), (100, 10), true),
            ((1_000, 0), (100, 9), false),
            // As many as ever.
            ((1_000, 200), (100, 20), false),
            ((1_000, 200), (100, 30), false),
            ((1_000, 200), (100, 60), true),
            // Too few to say, on either side.
            ((1_000, 0), (49, 49), false),
            ((49, 0), (1_000, 1_000), false),
            ((0, 0), (1_000, 1_000), false),
            // More by less than what is worth it.
            ((1_000_000, 0), (1_000_000, 40_000), false),
            // It was as bad before.
            ((1_000, 1_000), (100, 100), false),
        ] {
            assert_eq!(worse(before, after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn log_1_the_blame_has_the_figures() {
        let Verdict::Worse(blame) = judge(figures(1_000, 10), figures(200, 100), Kind::Inner)
        else {
            panic!("worse")
        };
        assert_eq!((blame.seen, blame.expected), (500, 10));
        assert_eq!((blame.sent, blame.failed), (200, 100));
        assert!((100..200).contains(&blame.limit), "{blame:?}");
    }

    /// Failures that strangers bring do not roll anything back while callers are served as before.
    #[test]
    fn mon_5_strangers_can_not_bring_a_change_down() {
        let before = figures(6_000, 0);
        let flood = figures(106_000, 100_000);
        assert_eq!(judge(before, flood, Kind::Open), Verdict::Calm);
        let broken = figures(106_000, 104_000);
        assert_ne!(judge(before, broken, Kind::Open), Verdict::Calm);
        // In the first moment nobody else has come yet.
        let at_once = Figures { over: Duration::from_millis(400), ..figures(1_000, 1_000) };
        assert_eq!(judge(before, at_once, Kind::Open), Verdict::Calm);
    }

    proptest! {
        /// The same share on both sides, as a coin would have it: a false verdict is rare.
        #[test]
        fn the_same_share_is_calm(share in 0.0_f64..1.0, sent in 50_u64..5_000, seed in any::<u64>()) {
            let mut state = seed | 1;
            let mut coin = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                number(state >> 11) / number(1 << 53) < share
            };
            let mut draw = |count| (0..count).filter(|_| coin()).count() as u64;
            let (before, after) = (draw(sent * 4), draw(sent));
            prop_assert!(!worse((sent * 4, before), (sent, after)));
        }
    }
}
