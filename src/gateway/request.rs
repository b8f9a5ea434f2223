//! THE request: the order of the controls is this file, and nothing in the configuration can change
//! it. Read top-down.
use std::future::Future;
use std::sync::Arc;

use pingora::proxy::Session;
use tokio::time::Duration;

use super::asked::Asked;
use super::ctx::{Ctx, Seen, Stage};
use super::facts::{self, Ended};
use super::{charge, guard, search};
use crate::base::{Denial, TokenFault};
use crate::engine::{Clearance, ConnLink, Live};
use crate::evidence::Protocol;
use crate::identity::{self, Presented, Proven, Refusal};
use crate::policy;

/// Decides whether a request may go upstream, and leaves the answer in `ctx.stage`.
pub(super) async fn admit(session: &mut Session, ctx: &mut Ctx) -> Result<(), Denial> {
    let clearance = match check(session, ctx).await {
        Ok(clearance) => clearance,
        Err(denial) => {
            let target = session.req_header().raw_path();
            guard::look_at_path(ctx, target);
            search::refused(ctx, target);
            return Err(denial);
        }
    };
    ctx.stage = Stage::Cleared(clearance);
    Ok(())
}

async fn check(session: &mut Session, ctx: &mut Ctx) -> Result<Clearance, Denial> {
    // The door's facts: NET-1, NET-3, TLS-1 already hold for the connection.
    let link = link(session).ok_or(Denial::Internal)?;
    link.own_request();
    let live = ctx.engine.live();
    ctx.granted_by = live.snapshot.generation;
    ctx.seen = Some(Seen { live: Arc::clone(&live), link: Arc::clone(&link) });
    let ended = if session.is_body_empty() { Ended::Yes } else { Ended::No };
    let head = session.req_header();
    let conn = &link.facts;

    // What is asked, read one way or not at all: MON-5.
    let facts = facts::read(head, conn.http, ended, &conn.bounds)?;
    ctx.method = Some(facts.method);

    // The network may have been taken off the list since the connection was opened: NET-1.
    let networks = live.networks_of(conn)?;

    // Who asks: ACC-1, PRIV-5.
    let fields = head.headers.get_all(&live.snapshot.token.header);
    let presented = identity::presented(
        fields.iter().map(http::HeaderValue::as_bytes),
        live.snapshot.token.scheme.as_deref(),
        live.snapshot.token.basic,
    );
    let who = prove(ctx, &live, &link, presented).await?;
    let identity = who.identity();

    // Locked, waiting, or asked for more: ACC-2. Whoever is locked or waits is told what a wrong credential is.
    let (mut caller, pace) = ctx.engine.admit_caller(&live, &link, &who, ctx.started)?;
    ctx.token = ctx.engine.count_connection(&live, &link, &who, ctx.started)?;

    // Whose table: the server name the connection was opened for, and no other host: RFC 9110 §7.4.
    let table = live.table(conn.listener, conn.server_name.as_deref()).ok_or(Denial::Internal)?;
    if !live.host_fits(conn, facts::host(head)?) {
        return Err(Denial::WrongHost);
    }

    // May they: PRIV-1, NET-1 for the identity. Pure.
    let permit = policy::decide(&facts, identity, networks, table, &live.snapshot.policy).map_err(
        |refused| {
            ctx.operation = refused.operation;
            refused.denial
        },
    )?;
    ctx.operation = Some(permit.operation());
    ctx.upstream = Some(permit.upstream());
    ctx.role = Some(permit.role());

    // With a login that is fresh enough for it: ACC-4.
    ctx.engine.admit_login(&live, &who, permit.operation(), ctx.started)?;

    // Closed to everybody, or a record that nobody has a reason to ask for: ACC-5, MON-4.
    let asked = Asked::of(&facts, &live, permit.operation());
    ctx.traits.object = ctx.engine.object(asked.parameters());
    asked.named(|one| ctx.traits.named.extend(ctx.engine.object(std::iter::once(one))));
    let (orders, untouched) = search::named(ctx, &live, &asked);
    let target = (permit.operation(), permit.upstream());
    let at_target = ctx.engine.admit_target(&live, &mut caller, target, orders, ctx.started)?;
    untouched?;
    let now = guard::slow_down(ctx, &live, &mut caller, pace.max(at_target)).await?;

    // Room in the log, then the quotas: refused calls charge nothing. LOG-1.
    let settled = guard::settle(ctx, &live, (identity, &caller), permit, now).await;
    ctx.caller = Some(caller);
    settled
}

/// The facts of the connection a request came on.
pub(super) fn link(session: &Session) -> Option<Arc<ConnLink>> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    digest.user_data.as_ref()?.downcast_ref::<Arc<ConnLink>>().cloned()
}

/// Verifies the credential. Only where the issuer's keys may have changed does it wait for anything.
async fn prove(
    ctx: &mut Ctx,
    live: &Live,
    link: &ConnLink,
    presented: Presented<'_>,
) -> Result<Proven, Denial> {
    let mut proved = ctx.engine.prove(live, link, presented, ctx.started);
    if let Err(Refusal { retry: Some(issuer), .. }) = proved
        && let Some(iss) = live.snapshot.trust.iss(issuer)
    {
        ctx.engine.jwks.refetch(iss).await;
        proved = ctx.engine.prove(live, link, presented, ctx.started);
        if let Err(Refusal { denial: Denial::Token(TokenFault::KeysUnavailable), .. }) = proved {
            ctx.wait_secs = ctx.engine.jwks.wait_secs(iss);
        }
    }
    match proved {
        Ok(who) => {
            ctx.identity = Some((who.identity(), who.proof()));
            ctx.proved_until = who.until();
            Ok(who)
        }
        Err(refusal) => {
            ctx.named = refusal.identity;
            guard::login_failed(ctx, live, link, &presented, refusal.denial);
            Err(refusal.denial)
        }
    }
}

/// Runs an HTTP/2 request and ends it when its connection is over, or its body comes slower than allowed:
/// Pingora has no read time-out there. A body that trickles is refused by [`count_body`]; one that has stopped leaves
/// nobody who could answer, and its stream is reset. `None`: it was.
pub(super) async fn within_body_rate<T>(
    link: Arc<ConnLink>,
    request: impl Future<Output = T>,
) -> Option<T> {
    let progress = Arc::new(BodyProgress::default());
    let bounds = link.facts.bounds.clone();
    let watched = BODY.scope(Arc::clone(&progress), request);
    tokio::pin!(watched);
    // By how much the body is later than at the least rate; nothing is saved up by being faster.
    let (mut behind, mut seen) = (Duration::ZERO, 0);
    let step = (bounds.body_rate_grace / 4).max(Duration::from_millis(100));
    loop {
        tokio::select! {
            biased;
            done = &mut watched => return Some(done),
            () = tokio::time::sleep(step) => {}
        }
        // Whoever asked is gone, or cut off: what waits for its turn waits for nothing.
        if progress.is_slow() || link.is_closed() {
            return None;
        }
        // An upstream that does not take a body is no fault of the caller's; its own time-out ends it.
        // Until then the other bodies of the connection, whose window it holds, can't come either.
        if !progress.is_reading() || link.is_backed_up() {
            continue;
        }
        let fresh = progress.bytes().saturating_sub(seen);
        seen = seen.saturating_add(fresh);
        let earned = fresh.saturating_mul(1_000_000) / bounds.body_rate.max(1);
        behind = behind.saturating_add(step).saturating_sub(Duration::from_micros(earned));
        if behind >= bounds.body_rate_grace {
            progress.set(BodyProgress::SLOW);
        }
    }
}

/// What the body hook tells the watch over an HTTP/2 request.
#[derive(Debug, Default)]
pub(super) struct BodyProgress {
    bytes: std::sync::atomic::AtomicU64,
    state: std::sync::atomic::AtomicU8,
}

tokio::task_local! {
    pub(super) static BODY: Arc<BodyProgress>;
}

impl BodyProgress {
    const READING: u8 = 1;
    const DONE: u8 = 2;
    const SLOW: u8 = 3;
    /// Nobody reads it yet.
    const HELD: u8 = 4;

    fn is_slow(&self) -> bool {
        self.state.load(std::sync::atomic::Ordering::Acquire) == Self::SLOW
    }

    fn set(&self, state: u8) {
        self.state.store(state, std::sync::atomic::Ordering::Release);
    }

    fn exchange(&self, from: u8, to: u8) -> bool {
        let ordering = std::sync::atomic::Ordering::AcqRel;
        self.state
            .compare_exchange(from, to, ordering, std::sync::atomic::Ordering::Acquire)
            .is_ok()
    }

    fn is_reading(&self) -> bool {
        self.state.load(std::sync::atomic::Ordering::Acquire) == Self::READING
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(std::sync::atomic::Ordering::Acquire)
    }

    /// A body is expected.
    pub(super) fn begin(&self) {
        self.set(Self::READING);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, std::sync::atomic::Ordering::AcqRel);
    }

    pub(super) fn end(&self) {
        self.set(Self::DONE);
    }
}

/// The request waits for its turn, and its body with it. Whether there is one that was expected.
pub(super) fn hold_body() -> bool {
    BODY.try_with(|progress| progress.exchange(BodyProgress::READING, BodyProgress::HELD))
        .unwrap_or(false)
}

/// What [`hold_body`] held comes again.
pub(super) fn resume_body(held: bool) {
    if held {
        let _ =
            BODY.try_with(|progress| progress.exchange(BodyProgress::HELD, BodyProgress::READING));
    }
}

/// Whether this task's HTTP/2 request was given up because its body was too slow.
pub(super) fn body_is_slow() -> bool {
    BODY.try_with(|progress| progress.is_slow()).unwrap_or(false)
}

/// Too large is told apart from too slow by whoever counts; this is the count.
pub(super) fn count_body(ctx: &mut Ctx, bytes: usize, end: bool) -> Result<(), Denial> {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    ctx.request_bytes = ctx.request_bytes.saturating_add(bytes);
    let seen = ctx.seen()?;
    if seen.link.facts.http == Protocol::Http2 {
        if body_is_slow() {
            return Err(Denial::BodyTooSlow);
        }
        let _ = BODY.try_with(|progress| {
            progress.add(bytes);
            if end {
                progress.end();
            }
        });
    }
    if ctx.request_bytes > seen.link.facts.bounds.body_bytes {
        return Err(Denial::BodyTooLarge);
    }
    guard::still_admitted(ctx)?;
    if bytes > 0 {
        charge::admit(ctx)?;
        charge::take(ctx);
    }
    Ok(())
}
