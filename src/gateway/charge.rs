//! What passes is charged, and told to the detectors, while it passes. Controls: MON-2, MON-3.
//!
//! 1. What a piece reveals is charged before it leaves, so that calls in parallel share what is left.
//! 2. Once a limit is overdrawn by a step, no further piece passes. Neither a long answer nor many at
//!    once bring more than the limit, the step, and the pieces that were in hand at that moment.
//! 3. Nothing is charged or told twice.
//!
//! On failure: refused with the limit's name where the answer has not begun, else cut. The record names
//! the limit, and so does the answer to whoever tries again.
use std::sync::Arc;

use super::ctx::{Ctx, Seen, Stage};
use super::guard;
use crate::base::{Denial, IdentityIx, Moment, OperationIx, UpstreamIx};
use crate::detect::{Event, Outcome};
use crate::engine::{ConnFacts, Engine, Exposed, Live};
use crate::exposure::records_at_most;
use crate::identity::Proof;
use crate::state::{Spent, Standing};

/// Detectors are told of so many bytes at once; of records as they come.
const TOLD_AT_ONCE: u64 = 64 << 10;

/// What came of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    up: u64,
    down: u64,
    records: u64,
}

/// What of it was charged and told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Accounted {
    charged: Spent,
    /// Of the answer.
    told: Spent,
}

impl Came {
    /// So far, of a call whose answer may still go on.
    fn so_far(ctx: &Ctx) -> Self {
        let records = match (&ctx.scanner, ctx.unread) {
            (Some(scanner), _) => scanner.so_far(),
            (None, true) => records_at_most(ctx.response_bytes),
            (None, false) => 0,
        };
        Self { up: ctx.request_bytes, down: ctx.response_bytes, records }
    }

    /// In all.
    fn in_all(ctx: &Ctx, exposed: Option<Exposed>) -> Self {
        let records = exposed.map_or(0, |exposed| exposed.records);
        Self { up: ctx.request_bytes, down: ctx.response_bytes, records }
    }

    const fn charged(self) -> Spent {
        Spent { bytes: self.up.saturating_add(self.down), pii_records: self.records }
    }

    const fn told(self) -> Spent {
        Spent { bytes: self.down, pii_records: self.records }
    }
}

/// Takes what is due for one call.
struct Toll<'c> {
    engine: &'c Arc<Engine>,
    live: &'c Live,
    conn: &'c ConnFacts,
    of: (IdentityIx, OperationIx, UpstreamIx),
    proof: Proof,
    event: Event<'static>,
    accounted: &'c mut Accounted,
    exceeded: &'c mut Option<Standing>,
}

impl Toll<'_> {
    /// Whether more may pass.
    fn admit(&mut self) -> Result<(), Denial> {
        let over = self.engine.overdrawn(self.live, self.of, self.engine.clock.now());
        if over.is_none() {
            return Ok(());
        }
        *self.exceeded = over;
        Err(Denial::QuotaExceeded)
    }

    /// So much came in all.
    fn take(&mut self, came: Came) {
        let now = self.engine.clock.now();
        let fresh = came.charged().since(self.accounted.charged);
        self.accounted.charged = came.charged();
        self.engine.spend(self.live, self.of, fresh, now);
        // The last record is told at the end: what held any is told as a call that did.
        let tell = Came { records: came.records.saturating_sub(1), ..came }.told();
        let fresh = tell.since(self.accounted.told);
        if fresh.pii_records == 0 && fresh.bytes < TOLD_AT_ONCE {
            return;
        }
        self.accounted.told = tell;
        let event = Event { at: now, bytes: fresh.bytes, records: fresh.pii_records, ..self.event };
        let source = Some((self.conn.source, self.conn.source_day));
        self.engine.observe(self.live, &event, Some(self.proof), source);
    }
}

/// For what has its clearance.
fn toll(ctx: &mut Ctx) -> Option<Toll<'_>> {
    let (Stage::Cleared(_), Some(seen)) = (&ctx.stage, &ctx.seen) else { return None };
    let (who, proof) = ctx.identity?;
    // What it names is told once, at the end.
    let event = guard::event(ctx, seen, Outcome::UnderWay, &[]);
    Some(Toll {
        engine: &ctx.engine,
        live: &seen.live,
        conn: &seen.link.facts,
        of: (who, ctx.operation?, ctx.upstream?),
        proof,
        event,
        accounted: &mut ctx.accounted,
        exceeded: &mut ctx.exceeded,
    })
}

/// Whether more may pass.
pub(super) fn admit(ctx: &mut Ctx) -> Result<(), Denial> {
    toll(ctx).map_or(Ok(()), |mut toll| toll.admit())
}

/// Charges what has come, before it leaves.
pub(super) fn take(ctx: &mut Ctx) {
    let came = Came::so_far(ctx);
    if let Some(mut toll) = toll(ctx) {
        toll.take(came);
    }
}

/// So much has passed through a socket in all. Whether more may.
pub(super) fn pass(ctx: &mut Ctx, up: u64, down: u64) -> Result<(), Denial> {
    let moved = (ctx.request_bytes, ctx.response_bytes) != (up, down);
    (ctx.request_bytes, ctx.response_bytes) = (up, down);
    if moved {
        take(ctx);
    }
    admit(ctx)
}

/// Charges the rest, however it ended.
pub(super) fn take_rest(ctx: &Ctx, seen: &Seen, exposed: Option<Exposed>, now: Moment) {
    let (Some((who, _proof)), Some(operation), Some(upstream)) =
        (ctx.identity, ctx.operation, ctx.upstream)
    else {
        return;
    };
    let rest = Came::in_all(ctx, exposed).charged().since(ctx.accounted.charged);
    ctx.engine.spend(&seen.live, (who, operation, upstream), rest, now);
}

/// What of the answer the detectors have not been told.
pub(super) fn untold(ctx: &Ctx, exposed: Option<Exposed>) -> Spent {
    Came::in_all(ctx, exposed).told().since(ctx.accounted.told)
}
