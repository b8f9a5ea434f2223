//! One request's state. Its stage decides what the hooks may do; dropping it writes the record.
use std::net::SocketAddr;
use std::sync::Arc;

use super::charge::Accounted;
use super::form::Form;
use super::pace::Pace;
use super::reader::Reader;
use crate::base::{
    Denial, IdentityIx, LimitIx, Moment, OperationIx, RequestId, RoleIx, UpstreamIx,
};
use crate::detect::{Canary, Scan};
use crate::engine::{Caller, Clearance, ConnLink, Engine, InUse, Live, UnderWay};
use crate::evidence::SafeToken;
use crate::exposure::Scanner;
use crate::identity::Proof;
use crate::observe::LogSlot;
use crate::policy::Method;
use crate::state::Standing;
use crate::upstream::{BreakerChange, Outcome, Picked};

pub(super) struct Ctx {
    pub(super) engine: Arc<Engine>,
    pub(super) request: RequestId,
    pub(super) started: Moment,
    /// Known once the first hook ran; one snapshot for this request's whole life.
    pub(super) seen: Option<Seen>,
    pub(super) stage: Stage,
    pub(super) method: Option<Method>,
    pub(super) identity: Option<(IdentityIx, Proof)>,
    /// Until when that proof holds, in seconds since 1970.
    pub(super) proved_until: u64,
    /// The configuration that granted it last.
    pub(super) granted_by: u64,
    /// The token it came with, for as long as it lasts.
    pub(super) token: Option<InUse>,
    /// Whom a genuine credential named that was refused. For the record only, never for the answer.
    pub(super) named: Option<IdentityIx>,
    /// Whom a credential claimed to be that proved nothing. For counting only.
    pub(super) claimed: Option<IdentityIx>,
    pub(super) operation: Option<OperationIx>,
    pub(super) upstream: Option<UpstreamIx>,
    pub(super) role: Option<RoleIx>,
    /// Who goes on, as locks see it; known once it was let on.
    pub(super) caller: Option<Caller>,
    /// What the detectors will be told.
    pub(super) traits: Traits,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// What the caller was told; 0 while nothing was.
    pub(super) status: u16,
    /// A quota said no: where the caller stands in it.
    pub(super) exceeded: Option<Standing>,
    /// Limits on trial that would have said no.
    pub(super) shadowed: Vec<LimitIx>,
    /// Another reason to come back in so many seconds.
    pub(super) wait_secs: Option<u64>,
    /// Its turn at Amazon.
    pub(super) pace: Pace,
    pub(super) tries: Tries,
    /// What of it was charged and told.
    pub(super) accounted: Accounted,
    /// How late the caller is with reading the answer.
    pub(super) reader: Reader,
    /// Counts what the answer reveals.
    pub(super) scanner: Option<Scanner>,
    /// The answer can't be read and may reveal anything.
    pub(super) unread: bool,
    /// The place in the log of a request that was cleared and then failed.
    pub(super) slot: Option<LogSlot>,
    pub(super) recorded: Recorded,
    /// The engine below had its last word, and it was no error.
    pub(super) ended: bool,
    _under_way: UnderWay,
}

pub(super) struct Seen {
    pub(super) live: Arc<Live>,
    pub(super) link: Arc<ConnLink>,
}

/// What of a request the detectors look at. No word of it.
#[derive(Default)]
pub(super) struct Traits {
    /// Stands for the object that the path names.
    pub(super) object: Option<u64>,
    /// For each that the query names.
    pub(super) named: Vec<u64>,
    /// The path is one that scanners try.
    pub(super) scanner: bool,
    /// A planted record was touched.
    pub(super) canary: Option<Canary>,
    /// What the heads say of the bodies' forms.
    pub(super) asked: Form,
    pub(super) answered: Form,
    /// Looks for planted records, and orders that are locked, in the bodies.
    pub(super) search: Option<Box<Search>>,
}

/// One search for each direction.
#[derive(Default)]
pub(super) struct Search {
    /// Whether planted records are looked for; orders that are locked always are.
    pub(super) planted: bool,
    pub(super) up: Way,
    pub(super) down: Way,
}

/// What is searched of one direction's bytes.
#[derive(Default)]
pub(super) struct Way {
    pub(super) planted: Scan,
    pub(super) orders: Scan,
    /// The end of what came so far, which may be the beginning of an id.
    pub(super) held: Vec<u8>,
}

/// What happened between the gateway and the upstream.
#[derive(Default)]
pub(super) struct Tries {
    pub(super) count: u8,
    /// Whether a head was on its way up.
    pub(super) sent: bool,
    /// Addresses that failed this request.
    pub(super) failed: Vec<SocketAddr>,
    pub(super) picked: Option<Picked>,
    pub(super) began: Option<Moment>,
    pub(super) first_byte: Option<Moment>,
    pub(super) status: Option<u16>,
    pub(super) informational: u8,
    pub(super) amazon_request: Option<SafeToken>,
}

/// How far a request came.
#[expect(
    clippy::large_enum_variant,
    reason = "one for each request, in its place; a box is an allocation"
)]
pub(super) enum Stage {
    New,
    /// May go upstream.
    Cleared(Clearance),
    Denied(Denial),
    /// The caller went away.
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    No,
    Yes,
}

impl Ctx {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let started = engine.clock.now();
        Self {
            request: engine.ids.issue(started),
            _under_way: engine.begin_request(),
            engine,
            started,
            seen: None,
            stage: Stage::New,
            method: None,
            identity: None,
            proved_until: 0,
            granted_by: 0,
            token: None,
            named: None,
            claimed: None,
            operation: None,
            upstream: None,
            role: None,
            caller: None,
            traits: Traits::default(),
            request_bytes: 0,
            response_bytes: 0,
            status: 0,
            exceeded: None,
            shadowed: Vec::new(),
            wait_secs: None,
            pace: Pace::default(),
            tries: Tries::default(),
            accounted: Accounted::default(),
            reader: Reader::default(),
            scanner: None,
            unread: false,
            slot: None,
            recorded: Recorded::No,
            ended: false,
        }
    }

    /// The permission to go upstream; any other stage is a defect and refuses.
    pub(super) fn clearance(&self) -> Result<&Clearance, Denial> {
        match &self.stage {
            Stage::Cleared(clearance) => Ok(clearance),
            Stage::Denied(denial) => Err(*denial),
            Stage::New | Stage::Aborted => Err(Denial::Internal),
        }
    }

    /// Whether it broke off: let through, or not judged yet, and neither answered to the end nor
    /// refused.
    pub(super) const fn is_unfinished(&self) -> bool {
        match self.stage {
            Stage::New | Stage::Cleared(_) => !self.ended,
            Stage::Aborted => true,
            Stage::Denied(_) => false,
        }
    }

    pub(super) fn seen(&self) -> Result<&Seen, Denial> {
        self.seen.as_ref().ok_or(Denial::Internal)
    }

    pub(super) fn deny(&mut self, denial: Denial) {
        self.leave(Stage::Denied(denial));
    }

    /// The caller went away.
    pub(super) fn abort(&mut self) {
        self.leave(Stage::Aborted);
    }

    /// Gives up the permission to go upstream, but not the place in the log.
    fn leave(&mut self, stage: Stage) {
        if let Stage::Cleared(clearance) = std::mem::replace(&mut self.stage, stage) {
            self.give_back(&clearance);
            self.slot = Some(clearance.into_slot());
        }
    }

    /// Refused calls charge nothing: whatever refuses one that was cleared, as long as nothing of it went
    /// upstream. Whoever goes away by itself has had its unit.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self.stage, Stage::Denied(_)) && !self.tries.sent
    }

    fn give_back(&self, clearance: &Clearance) {
        if self.is_free()
            && let (Some(seen), Some((who, _proof))) = (&self.seen, self.identity)
        {
            let of = (who, clearance.operation(), clearance.upstream());
            self.engine.give_back(&seen.live, of, clearance.charged());
        }
    }

    /// Tells the upstream's health what came of the attempt.
    pub(super) fn report(&mut self, outcome: Outcome) {
        let now = self.engine.clock.now();
        let Some(picked) = &mut self.tries.picked else { return };
        if !matches!(outcome, Outcome::Ok | Outcome::Abandoned) {
            self.tries.failed.push(picked.address());
        }
        if let Some(change) = picked.report(outcome, now) {
            self.breaker_changed(change);
        }
    }

    pub(super) fn breaker_changed(&self, change: BreakerChange) {
        if let (Some(upstream), Some(operation), Ok(seen)) =
            (self.upstream, self.operation, self.seen())
            && let Some(route) = seen.live.route(upstream, operation)
        {
            self.engine.report_breaker(&seen.live, route, change);
        }
    }
}

impl Drop for Ctx {
    /// A panic, a time-out or a caller who went away never reaches Pingora's `logging`; the record
    /// is written here then.
    fn drop(&mut self) {
        super::finish::record(self);
    }
}
