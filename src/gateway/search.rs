//! Looks for planted records, and for orders that are locked, in what passes. Controls: MON-4, ACC-5.
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};

use super::asked::{self, Asked};
use super::ctx::{Ctx, Search, Way};
use super::form::{Form, Hidden};
use super::frames::{Frames, Unreadable};
use crate::base::{ClosedFault, Denial, WithheldFault};
use crate::detect::{Canary, CanarySet, Mode, Scan, Scanned, Sought, each_id};
use crate::engine::{Engine, Live};

/// What a request names: orders, as locks see them. A planted record is touched by being named, MON-4:
/// nobody has a reason to ask for one. Observed only, the request goes on.
pub(super) fn named(
    ctx: &mut Ctx,
    live: &Live,
    asked: &Asked<'_>,
) -> (Vec<u64>, Result<(), Denial>) {
    let canaries = planted_in(live);
    let (mut orders, mut touched_one) = (Vec::new(), None);
    asked.ids(|id| {
        orders.push(ctx.engine.order(id));
        touched_one = touched_one.or_else(|| canaries?.find(id));
    });
    let touched = touched_one.map_or(Ok(()), |canary| touched(ctx, canary));
    (orders, touched)
}

/// The same of a request that something else refuses, once it is proved whose it is: whoever tries what a
/// stolen credential can do names a planted record as well.
pub(super) fn refused(ctx: &mut Ctx, target: &[u8]) {
    if ctx.identity.is_none() || ctx.traits.canary.is_some() {
        return;
    }
    let Some(canaries) = ctx.seen.as_ref().and_then(|seen| planted_in(&seen.live)) else { return };
    let mut touched = None;
    Asked::plainly(target).ids(|id| touched = touched.or_else(|| canaries.find(id)));
    ctx.traits.canary = touched;
}

/// Planted records, where anybody looks for them.
fn planted_in(live: &Live) -> Option<&CanarySet> {
    let detect = &live.snapshot.detect;
    let looked_for = !detect.canaries.is_empty() && detect.settings.canary.0 != Mode::Off;
    looked_for.then_some(&detect.canaries)
}

/// Bodies are looked into from now on, if there is anything to look for. Asked again on the way, because
/// a lock may come while a call waits or is answered.
pub(super) fn begin(ctx: &mut Ctx) {
    if ctx.traits.search.is_some() {
        return;
    }
    let Some(seen) = &ctx.seen else { return };
    let planted = planted_in(&seen.live).is_some();
    if planted || ctx.engine.holds_locked_orders() {
        ctx.traits.search = Some(Box::new(Search { planted, ..Search::default() }));
    }
}

fn touched(ctx: &mut Ctx, canary: Canary) -> Result<(), Denial> {
    ctx.traits.canary = ctx.traits.canary.or(Some(canary));
    match ctx.seen()?.live.snapshot.detect.settings.canary.0 {
        Mode::Enforce => Err(Denial::Canary),
        Mode::Off | Mode::Observe => Ok(()),
    }
}

/// Looks into what the caller sends. Bytes that may be the beginning of an id are held back until it is
/// clear that they are not, so that none goes up.
pub(super) fn up(ctx: &mut Ctx, body: &mut Option<Bytes>, end: bool) -> Result<(), Denial> {
    let end = end || body.is_none();
    if body.is_some() {
        begin(ctx);
        readable(ctx, ctx.traits.asked.hidden, asked_fault)?;
    }
    let text = ctx.traits.asked.text != Some(false);
    pass(ctx, |search| &mut search.up, body, end, text.then_some(WithheldFault::RequestCharset))?;
    // No bytes at all would be the end to whoever sends them on.
    if !end {
        body.get_or_insert_default();
    }
    Ok(())
}

const fn asked_fault(hidden: Hidden) -> WithheldFault {
    match hidden {
        Hidden::Charset => WithheldFault::RequestCharset,
        Hidden::Coded | Hidden::Partial => WithheldFault::RequestCoding,
    }
}

const fn answer_fault(hidden: Hidden) -> WithheldFault {
    match hidden {
        Hidden::Coded => WithheldFault::Coding,
        Hidden::Charset => WithheldFault::Charset,
        Hidden::Partial => WithheldFault::Partial,
    }
}

/// The request's head, as it is about to go up.
pub(super) fn request_head(
    method: &Method,
    headers: &HeaderMap,
    ctx: &mut Ctx,
) -> Result<(), Denial> {
    ctx.traits.asked = Form::of_request(headers);
    fields(headers, ctx)?;
    // Without a body, whatever is said of one says nothing.
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    readable(ctx, ctx.traits.asked.hidden, asked_fault)
}

/// The answer's head is here. One that nobody can look into does not pass where something is guarded.
pub(super) fn head(status: StatusCode, headers: &HeaderMap, ctx: &mut Ctx) -> Result<(), Denial> {
    ctx.traits.answered = Form::of_answer(status, headers);
    fields(headers, ctx)?;
    readable(ctx, ctx.traits.answered.hidden, answer_fault)
}

/// Looks into what stands in headers or trailers, such as a link or the name of a file.
pub(super) fn fields(headers: &HeaderMap, ctx: &mut Ctx) -> Result<(), Denial> {
    begin(ctx);
    let (Some(seen), Some(search)) = (&ctx.seen, &ctx.traits.search) else { return Ok(()) };
    let locked = ctx.engine.locked_orders();
    let planted = search.planted.then_some(&seen.live.snapshot.detect.canaries);
    let (mut closed, mut touched_one) = (false, None);
    for value in headers.values() {
        asked::each_reading(value.as_bytes(), |text| {
            each_id(text, |id| {
                closed |= locked.find(id).is_some();
                touched_one = touched_one.or_else(|| planted?.find(id));
            });
        });
    }
    if closed {
        return Err(Denial::Closed(ClosedFault::Record));
    }
    touched_one.map_or(Ok(()), |canary| touched(ctx, canary))
}

fn readable(
    ctx: &Ctx,
    hidden: Option<Hidden>,
    fault: fn(Hidden) -> WithheldFault,
) -> Result<(), Denial> {
    match hidden {
        Some(hidden) if is_guarded(ctx) => Err(Denial::Withheld(fault(hidden))),
        _ => Ok(()),
    }
}

/// Whether anything that is looked for may not pass.
fn is_guarded(ctx: &Ctx) -> bool {
    let (Some(seen), Some(search)) = (&ctx.seen, &ctx.traits.search) else { return false };
    let enforced = seen.live.snapshot.detect.settings.canary.0 == Mode::Enforce;
    (search.planted && enforced) || ctx.engine.holds_locked_orders()
}

/// Looks into the answer, and holds back likewise.
pub(super) fn down(ctx: &mut Ctx, body: &mut Option<Bytes>, end: bool) -> Result<(), Denial> {
    begin(ctx);
    readable(ctx, ctx.traits.answered.hidden, answer_fault)?;
    let text = ctx.traits.answered.text == Some(true);
    pass(ctx, |search| &mut search.down, body, end, text.then_some(WithheldFault::Charset))
}

/// Leaves of a body's next bytes what may pass now. `nul`: what a NUL among them would be.
fn pass(
    ctx: &mut Ctx,
    way: fn(&mut Search) -> &mut Way,
    body: &mut Option<Bytes>,
    end: bool,
    nul: Option<WithheldFault>,
) -> Result<(), Denial> {
    begin(ctx);
    let guarded = is_guarded(ctx);
    let (Some(seen), Some(search)) = (&ctx.seen, &mut ctx.traits.search) else { return Ok(()) };
    let (is_planted, scans) = (search.planted, way(search));
    let chunk = body.take().unwrap_or_default();
    if let Some(fault) = nul
        && guarded
        && memchr::memchr(0, &chunk).is_some()
    {
        return Err(Denial::Withheld(fault));
    }
    let orders = look(&mut scans.orders, &ctx.engine.locked_orders(), &chunk, end);
    if orders.hit.is_some() {
        return Err(Denial::Closed(ClosedFault::Record));
    }
    let mut undecided = orders.undecided;
    if is_planted {
        let set = &seen.live.snapshot.detect.canaries;
        let planted = look(&mut scans.planted, set, &chunk, end);
        undecided = undecided.max(planted.undecided);
        if let Some(canary) = planted.hit {
            // Observed only, everything goes on.
            touched(ctx, canary)?;
        }
    }
    *body = ctx.traits.search.as_mut().and_then(|search| way(search).release(chunk, undecided));
    Ok(())
}

/// The next bytes of a body, and its end.
fn look<S: Sought>(scan: &mut Scan, of: &S, chunk: &[u8], end: bool) -> Scanned<S::Found> {
    let mut scanned = scan.feed(of, chunk);
    if end {
        scanned.hit = scanned.hit.or_else(|| scan.finish(of));
        scanned.undecided = 0;
    }
    scanned
}

impl Way {
    /// What may pass: what was held and the chunk, less `undecided` bytes at the end, which are held.
    fn release(&mut self, chunk: Bytes, undecided: usize) -> Option<Bytes> {
        let all = if self.held.is_empty() {
            chunk
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len().saturating_add(chunk.len()));
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&chunk);
            self.held.clear();
            joined.freeze()
        };
        let passes = all.len().saturating_sub(undecided);
        self.held.extend_from_slice(all.get(passes..).unwrap_or_default());
        (passes > 0).then(|| all.slice(..passes))
    }
}

/// Looks into one direction of a `WebSocket`. What is found ends it before the bytes that end the id have
/// passed; nothing is held back, so earlier ones have.
pub(super) struct Socket {
    engine: Arc<Engine>,
    live: Arc<Live>,
    planted: bool,
    frames: Frames,
    /// Touched, also where that is only observed.
    pub(super) canary: Option<Canary>,
}

impl Socket {
    /// Nothing, if there is nothing to look for.
    pub(super) fn of(ctx: &Ctx) -> Option<Self> {
        let (seen, search) = (ctx.seen.as_ref()?, ctx.traits.search.as_ref()?);
        Some(Self {
            engine: Arc::clone(&ctx.engine),
            live: Arc::clone(&seen.live),
            planted: search.planted,
            frames: Frames::default(),
            canary: None,
        })
    }

    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<(), Denial> {
        let Self { engine, live, planted, frames, canary } = self;
        let detect = &live.snapshot.detect;
        frames.feed(bytes, |way, payload, end| {
            if look(&mut way.orders, &engine.locked_orders(), payload, end).hit.is_some() {
                return Err(Denial::Closed(ClosedFault::Record));
            }
            let hit = if *planted {
                look(&mut way.planted, &detect.canaries, payload, end).hit
            } else {
                None
            };
            *canary = canary.or(hit);
            match (hit, detect.settings.canary.0) {
                (Some(_), Mode::Enforce) => Err(Denial::Canary),
                _ => Ok(()),
            }
        })
    }
}

impl From<Unreadable> for Denial {
    /// Whichever side it was: what the two have agreed upon is not what was negotiated here.
    fn from(Unreadable: Unreadable) -> Self {
        Self::Withheld(WithheldFault::Frames)
    }
}
