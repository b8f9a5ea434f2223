//! A caller that reads its answer slower than a sender may be is cut. Controls: MON-5.
//!
//! Over HTTP/2 what the caller does not take stays here, a window of it for each stream, and Pingora gives
//! each piece its time anew. So a piece has less of it if those before it took too long.
//! 1. Who takes nothing is cut after `idle`; who takes less than `body_rate`, when it is as far behind.
//! 2. Time in which the upstream sends nothing counts as well, since nobody here can tell it from the
//!    caller's. So there is always as much as `body_rate_grace`, in which a caller who reads takes a piece.
use std::time::Duration;

use pingora::proxy::Session;
use tokio::time::Instant;

use super::ctx::Ctx;
use crate::config::Bounds;

/// How late a caller is with its answer.
#[derive(Debug, Default)]
pub(super) struct Reader {
    behind: Duration,
    /// Bytes that had been taken, and when that was looked at.
    taken: usize,
    seen: Option<Instant>,
}

impl Reader {
    /// How long the next piece may take, when so much of the answer has been taken.
    fn has(&mut self, taken: usize, now: Instant, bounds: &Bounds) -> Duration {
        let passed = self.seen.map(|seen| now.saturating_duration_since(seen)).unwrap_or_default();
        let fresh = u64::try_from(taken.saturating_sub(self.taken)).unwrap_or(u64::MAX);
        let earned =
            Duration::from_micros(fresh.saturating_mul(1_000_000) / bounds.body_rate.max(1));
        // Nothing is saved up, and nobody is further behind than it takes to be cut.
        self.behind = self.behind.saturating_add(passed).saturating_sub(earned).min(bounds.idle);
        (self.taken, self.seen) = (taken, Some(now));
        let least = bounds.body_rate_grace.min(bounds.idle);
        bounds.idle.saturating_sub(self.behind).max(least)
    }
}

/// Before the next piece of an answer is written.
pub(super) fn next_piece(session: &mut Session, ctx: &mut Ctx) {
    if let Some(seen) = &ctx.seen {
        let taken = session.body_bytes_sent();
        let time = ctx.reader.has(taken, Instant::now(), &seen.link.facts.bounds);
        session.set_write_timeout(Some(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PIECE: usize = 16_384;

    fn bounds() -> Bounds {
        Bounds { body_rate: 1_024, idle: 60 * SECOND, ..Bounds::small() }
    }

    #[test]
    fn mon_5_a_piece_a_time_earns_no_more_time() {
        let (bounds, mut reader, mut now) = (bounds(), Reader::default(), Instant::now());
        assert_eq!(reader.has(0, now, &bounds), 60 * SECOND);
        // Sixteen seconds' worth, each time nearly as late as it may be.
        now += 59 * SECOND;
        assert_eq!(reader.has(PIECE, now, &bounds), 17 * SECOND);
        now += 17 * SECOND;
        assert_eq!(reader.has(2 * PIECE, now, &bounds), 16 * SECOND);
        now += 30 * SECOND;
        assert_eq!(reader.has(3 * PIECE, now, &bounds), 10 * SECOND);
        // Who reads on has its time back.
        assert_eq!(reader.has(60 * PIECE, now, &bounds), 60 * SECOND);
    }

    #[test]
    fn mon_5_an_upstream_that_takes_its_time_leaves_a_reader_its_own() {
        let (bounds, mut reader, mut now) = (bounds(), Reader::default(), Instant::now());
        for event in 0..100 {
            assert!(reader.has(event, now, &bounds) >= 10 * SECOND);
            now += 30 * SECOND;
        }
    }
}
