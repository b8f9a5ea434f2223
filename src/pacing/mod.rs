//! Decides when a call may go to Amazon, so that its quotas are shared fairly and never overdrawn.
//! Control: MON-2, the side toward Amazon. Quotas of our own are in `state`.
//! Never sees: requests, answers, names, sockets; only keys, rates and moments.
//!
//! 1. One bucket per seller, application and operation. It starts from Amazon's published plan,
//!    follows `x-amzn-RateLimit-Limit` up and down, and never holds more than Amazon's own: see
//!    [`Pacer`]. Wall-clock jumps don't matter, only monotonic time is read.
//! 2. Where a bucket is empty callers wait, each no longer than its [`Patience`]: weighted shares
//!    between callers, first come first served within one. Whoever would wait too long is refused
//!    at once with the wait that is true. Fairness is among those who wait: a caller without
//!    patience gets what they leave.
//! 3. Amazon's 429 and 503 slow a bucket down; our own refusals never do.
//! 4. Of what several gateways take from, this one has a part, or takes each call from a bucket that
//!    all share ([`Among`]). What it sent while it could not ask there it owes ([`Debts`]).
//! 5. Buckets, queues and calls under way are bounded. A bucket is only forgotten when a new one
//!    would be no fuller or faster; with nothing to forget, new quotas are refused.
//!
//! A shell calls [`Pacer::offer`], sends what is admitted and settles it, and calls
//! [`Pacer::release`] after [`Pacer::next_wake`] and after each settle that may have changed it.
mod among;
mod bucket;
mod debt;
mod lane;
mod learned;
mod number;
mod pacer;
mod queue;
mod rate;
mod throttle;

#[cfg(test)]
mod tests;

pub use among::{Among, Dealer, Dealt};
pub use debt::{Debts, Telling, Tempo, Told};
pub use lane::Standing;
pub use learned::{Learned, LearnedFault};
pub use number::{LENGTH_MAX, NumberFault, Patience, REST_MAX, retry_after};
pub use pacer::{
    Answer, Ask, BucketKey, Limits, Pacer, Pass, Reason, Refused, Released, Ticket, Turn, Verdict,
};
pub use queue::{Caller, Weight};
pub use rate::{Plan, Rate};
