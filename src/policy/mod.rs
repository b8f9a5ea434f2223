//! Decides whether an identity may make a request. Controls: PRIV-1, NET-1, MON-5.
//! Never sees: sockets, headers, tokens, bodies, clocks - only facts that were read and checked.
//!
//! 1. Deny is the default: without an operation, a listed network and a role that grants exactly
//!    this, there is no [`Permit`], and nothing else can make one.
//! 2. The order is the code of [`decide_traced`]; no configuration changes it.
//! 3. A decision allocates nothing and takes no lock; `sekisho explain` runs the same code.
//! 4. No denial or trace holds a byte of the request (LOG-2).
//!
//! On anything unknown, an index of another snapshot included: refused.
mod catalogue;
mod escape;
mod glob;
mod grant;
mod limit;
mod network;
mod operation;
mod path;
mod query;
mod step_up;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod trace;

use std::fmt;

pub use catalogue::{
    CatalogueOperation, Endpoint, Rate, RateSource, ResponseSecret, Standing, catalogue, search,
};
pub use grant::{
    GrantChange, Grants, IdentitySpec, ParameterLimit, Place, Policy, PolicyError, PolicyFault,
    QueryRule, RoleSpec,
};
pub use limit::{Amount, LimitSpec, Measure, Mode, Sharing, Window};
pub use network::{NETWORKS_MAX, NetTable, NetworkMask, Prefixes};
pub use operation::{
    Access, Holds, Method, Operation, OperationError, OperationSet, Operations, PatternError,
    QueryNames, Upgrades,
};
pub use path::{Spelling, check as check_path};
pub use query::{Presence, QueryRefusal, check as check_query};
pub use step_up::StepUp;
pub use table::{OperationTable, Route, TableError};
pub use template::{Segment, Template, TemplateError};
pub use trace::{NoTrace, Step, Trace};

use crate::base::{Denial, IdentityIx, OperationIx, RoleIx, UpstreamIx};

/// What of a request decides. Its `Debug` shows neither path nor query (LOG-2).
#[derive(Clone, Copy)]
pub struct Facts<'r> {
    pub method: Method,
    /// As received, from the first slash up to the question mark.
    pub path: &'r [u8],
    /// As received, behind the question mark.
    pub query: Option<&'r [u8]>,
    pub upgrade: Upgrade,
    pub body: Body,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("method", &self.method)
            .field("upgrade", &self.upgrade)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// Which other protocol the request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    None,
    WebSocket,
    Other,
}

/// How the request's body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    /// Bytes.
    Length(u64),
    /// Of unknown length: chunked, or an HTTP/2 stream that does not end with its headers.
    Chunked,
}

/// What [`decide`] answers.
pub type Decision = Result<Permit, Refused>;

/// A request was found to be allowed. Only [`decide`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    route: Route,
    role: RoleIx,
}

impl Permit {
    #[must_use]
    pub const fn operation(&self) -> OperationIx {
        self.route.operation
    }

    #[must_use]
    pub const fn upstream(&self) -> UpstreamIx {
        self.route.upstream
    }

    /// The role that granted it: the first of the identity's, in the order of the configuration.
    #[must_use]
    pub const fn role(&self) -> RoleIx {
        self.role
    }
}

/// A request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub denial: Denial,
    /// What it asked for, if that was found out.
    pub operation: Option<OperationIx>,
}

/// Whether `who`, coming from the networks `at`, may make this request at the listener of `table`.
/// `table` and `policy` must be of one snapshot.
pub fn decide(
    facts: &Facts<'_>,
    who: IdentityIx,
    at: NetworkMask,
    table: &OperationTable,
    policy: &Policy,
) -> Decision {
    decide_traced(facts, who, at, table, policy, &mut NoTrace)
}

/// [`decide`], telling its steps.
pub fn decide_traced<'p>(
    facts: &Facts<'_>,
    who: IdentityIx,
    at: NetworkMask,
    table: &OperationTable,
    policy: &'p Policy,
    trace: &mut impl Trace<'p>,
) -> Decision {
    let mut operation = None;
    let decision = (|| {
        let route = table.match_request(facts.method, facts.path)?;
        operation = Some(route.operation);
        trace.step(Step::OperationMatched(route));
        let query = facts.query.unwrap_or_default();
        query::check(query).map_err(Denial::Path)?;
        trace.step(Step::QueryReadable);
        let identity = policy.identity(who).ok_or(Denial::Internal)?;
        if !identity.networks.intersects(&at) {
            return Err(Denial::NetworkNotListed);
        }
        trace.step(Step::NetworkListed);
        let asked = policy.operation(route.operation).ok_or(Denial::Internal)?;
        let roles = policy.role_list(identity);
        let role = granting_role(policy, roles, route.operation, asked, query, trace)?;
        check_upgrade(facts, asked.upgrades)?;
        trace.step(Step::UpgradeAllowed);
        check_body(facts)?;
        trace.step(Step::BodyAllowed);
        Ok(Permit { route, role })
    })();
    decision.map_err(|denial| {
        trace.step(Step::Refused(denial));
        Refused { denial, operation }
    })
}

/// The first role that grants the operation with this query.
fn granting_role<'p>(
    policy: &'p Policy,
    roles: &[RoleIx],
    ix: OperationIx,
    operation: &Operation,
    query: &[u8],
    trace: &mut impl Trace<'p>,
) -> Result<RoleIx, Denial> {
    let mut denial = Denial::OperationNotGranted;
    for role_ix in roles.iter().copied() {
        let role = policy.role(role_ix).ok_or(Denial::Internal)?;
        if !role.grants(ix) {
            trace.step(Step::RoleLacks(role_ix));
            continue;
        }
        trace.step(Step::RoleGrants(role_ix));
        match operation.query.admit(query).and_then(|()| role.admit(ix, query)) {
            Ok(()) => {
                trace.step(Step::QueryAdmitted(role_ix));
                return Ok(role_ix);
            }
            Err(why) => {
                trace.step(Step::QueryRefused(role_ix, why));
                denial = Denial::QueryNotGranted;
            }
        }
    }
    Err(denial)
}

const fn check_upgrade(facts: &Facts<'_>, allowed: Upgrades) -> Result<(), Denial> {
    match (facts.upgrade, allowed, facts.method) {
        // Only a GET opens a WebSocket (RFC 6455 §4.1).
        (Upgrade::None, _, _) | (Upgrade::WebSocket, Upgrades::WebSocket, Method::Get) => Ok(()),
        (Upgrade::WebSocket | Upgrade::Other, Upgrades::WebSocket | Upgrades::Refused, _) => {
            Err(Denial::UpgradeNotAllowed)
        }
    }
}

const fn check_body(facts: &Facts<'_>) -> Result<(), Denial> {
    match (facts.method, facts.body) {
        (_, Body::None | Body::Length(0))
        | (
            Method::Post | Method::Put | Method::Patch | Method::Delete,
            Body::Length(_) | Body::Chunked,
        ) => Ok(()),
        (Method::Get | Method::Head, Body::Length(_) | Body::Chunked) => {
            Err(Denial::BodyNotAllowed)
        }
    }
}
