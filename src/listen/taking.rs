//! How late a client is with taking what is written to it. Controls: MON-5.
//! Never sees: sockets, bytes; time is passed in.
//!
//! 1. Time counts only while a write is pending. Bytes pay it off at the least rate, and nothing is saved
//!    up by being faster.
//! 2. One byte a time is no progress: what a write may take does not begin anew with each of them.
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Taking {
    /// Bytes a second, at least.
    rate: u64,
    behind: Duration,
    pending_since: Option<Instant>,
}

impl Taking {
    pub(super) const fn new(rate: u64) -> Self {
        Self { rate, behind: Duration::ZERO, pending_since: None }
    }

    /// A write is pending: until when it may be, if the client may be so late.
    pub(super) fn waits(&mut self, now: Instant, most: Duration) -> Instant {
        let since = *self.pending_since.get_or_insert(now);
        since.checked_add(most.saturating_sub(self.behind)).unwrap_or(now)
    }

    /// So many bytes were taken.
    pub(super) fn took(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.pending_since.take() {
            self.behind = self.behind.saturating_add(now().saturating_duration_since(since));
        }
        if !self.behind.is_zero() {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let earned = bytes.saturating_mul(1_000_000) / self.rate.max(1);
            self.behind = self.behind.saturating_sub(Duration::from_micros(earned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(10);

    #[test]
    fn mon_5_a_byte_a_time_earns_no_more_time() {
        let began = Instant::now();
        let (mut taking, mut now) = (Taking::new(1_000), began);
        assert_eq!(taking.waits(now, MOST), now + MOST);
        for _ in 0..9 {
            now += SECOND;
            taking.took(1, || now);
            assert!(taking.waits(now, MOST) <= began + MOST + SECOND);
        }
        // A thousand bytes pay off a second, and all of it is paid off at the most.
        taking.took(5_000, || now);
        let until = taking.waits(now, MOST);
        assert!(until > now + 5 * SECOND && until < now + 7 * SECOND);
        taking.took(1_000_000, || now);
        assert_eq!(taking.waits(now, MOST), now + MOST);
    }

    #[test]
    fn mon_5_time_in_which_nothing_is_to_be_taken_is_nobodys_fault() {
        let began = Instant::now();
        let mut taking = Taking::new(1_000);
        let later = began + 100 * SECOND;
        taking.took(1, || later);
        assert_eq!(taking.waits(later, MOST), later + MOST);
    }
}
