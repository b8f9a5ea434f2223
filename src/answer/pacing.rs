//! The words for a quota of Amazon's that is used up. Whose limit it is comes first: by the status
//! alone nobody can tell it from the gateway's own, or from Amazon's own 429.
use std::fmt::Write as _;

use super::{Line, row};
use crate::base::PacingFault;
use crate::pacing::Standing;

const HINT: &str = "try again {wait}, as Retry-After says; spread calls over time, or send Sekisho-Max-Wait with a number of seconds and the gateway holds the call until its turn";

pub(super) const fn line(fault: PacingFault) -> Line {
    let words = match fault {
        PacingFault::Patience => {
            "Amazon's quota for {operation} is used up ({pace}); it is not the gateway's, and all callers of the seller account share it; the call's turn comes later than it may wait, so nothing was sent"
        }
        PacingFault::Places => {
            "Amazon's quota for {operation} is used up ({pace}); it is not the gateway's, and all callers of the seller account share it; too many calls wait for it already, so nothing was sent"
        }
        PacingFault::Buckets => {
            "more of Amazon's quotas are in use than the gateway can keep apart; nothing was sent"
        }
        PacingFault::Late => {
            "Amazon's quota for {operation} is used up ({pace}); it is not the gateway's, and all callers of the seller account share it; the call waited and its turn did not come in time, so nothing was sent"
        }
        PacingFault::Draining => {
            "Amazon's quota for {operation} is used up ({pace}); the call waited, and the gateway stops before its turn comes, so nothing was sent"
        }
    };
    row(429, "QuotaExceeded", words, HINT)
}

/// `0.0167/s, 20 at once`, with the decimals that Amazon writes.
pub(super) fn write_pace(out: &mut String, standing: Option<Standing>) {
    let Some(Standing { nano_hz, burst, .. }) = standing else {
        out.push_str("for now");
        return;
    };
    let rate = nano_hz.saturating_add(50_000) / 100_000;
    let digits = format!("{}.{:04}", rate / 10_000, rate % 10_000);
    let short = digits.trim_end_matches('0').trim_end_matches('.');
    let _ = write!(out, "{short}/s, {burst} at once");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_2_a_rate_is_told_as_amazon_writes_it() {
        let told = |nano_hz| {
            let mut out = String::new();
            let standing = Standing { nano_hz, burst: 20, spare: 0, waiting: 0, throttled: false };
            write_pace(&mut out, Some(standing));
            out
        };
        assert_eq!(told(16_650_000), "0.0167/s, 20 at once");
        assert_eq!(told(5_000_000_000), "5/s, 20 at once");
        assert_eq!(told(500_000_000), "0.5/s, 20 at once");
    }
}
