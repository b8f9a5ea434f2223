//! Token buckets as Amazon runs them: `rate` tokens a second up to `burst`.
use std::collections::HashMap;

use super::Operation;
use crate::base::Moment;

/// Requests per second, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: u32,
}

/// Whether the mock refuses requests that come too fast.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Throttling {
    /// Never; Amazon's rates still stand in the header.
    #[default]
    Off,
    /// At Amazon's default rate of each operation.
    Amazon,
    /// At this rate for every operation, each with its own bucket.
    Every(Rate),
}

impl Throttling {
    /// The rate that `x-amzn-RateLimit-Limit` tells.
    pub(super) fn rate(self, operation: Operation) -> Option<Rate> {
        match self {
            Self::Off | Self::Amazon => operation.rate(),
            Self::Every(rate) => Some(rate),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<Operation, (f64, Moment)>);

impl Buckets {
    /// Takes a token if there is one. An operation without a rate has no bucket.
    pub(super) fn admit(&mut self, throttling: Throttling, op: Operation, now: Moment) -> bool {
        let rate = match throttling {
            Throttling::Off => return true,
            Throttling::Amazon | Throttling::Every(_) => throttling.rate(op),
        };
        let Some(rate) = rate else { return true };
        let burst = f64::from(rate.burst);
        let (tokens, last) = self.0.entry(op).or_insert((burst, now));
        let refill = now.since(*last).as_secs_f64() * rate.per_second;
        *tokens = (*tokens + refill).min(burst);
        *last = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_and_no_other_notices() {
        let mut buckets = Buckets::default();
        let throttling = Throttling::Every(Rate { per_second: 0.5, burst: 2 });
        let start = Moment::new(0, 0);
        let mut admit = |op, after: u64| {
            buckets.admit(throttling, op, start.plus(Duration::from_millis(after)))
        };
        assert!(admit(Operation::GetOrders, 0));
        assert!(admit(Operation::GetOrders, 0));
        assert!(!admit(Operation::GetOrders, 1_900));
        assert!(admit(Operation::GetOrderItems, 1_900));
        assert!(admit(Operation::GetOrders, 2_000));
        assert!(!admit(Operation::GetOrders, 2_000));
        // A long rest fills it to the burst and no further.
        assert!(admit(Operation::GetOrders, 900_000));
        assert!(admit(Operation::GetOrders, 900_000));
        assert!(!admit(Operation::GetOrders, 900_000));
    }

    #[test]
    fn amazon_s_rates_apply_and_off_admits_all() {
        let mut buckets = Buckets::default();
        let now = Moment::new(0, 0);
        for n in 0..30 {
            let admitted = buckets.admit(Throttling::Amazon, Operation::GetOrders, now);
            assert_eq!(admitted, n < 20);
            assert!(buckets.admit(Throttling::Off, Operation::GetOrders, now));
            assert!(buckets.admit(Throttling::Amazon, Operation::Unknown, now));
        }
    }
}
