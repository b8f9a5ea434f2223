//! What `decide` tells about its way to a decision, for `sekisho explain`.
use super::query::QueryRefusal;
use super::table::Route;
use crate::base::{Denial, RoleIx};

/// One step on the way, in the order taken. Names in it come from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'p> {
    /// Method and path mean this operation.
    OperationMatched(Route),
    /// The query can be read one way only.
    QueryReadable,
    /// The identity may come from this network.
    NetworkListed,
    RoleLacks(RoleIx),
    RoleGrants(RoleIx),
    /// The role grants the operation, not with this query.
    QueryRefused(RoleIx, QueryRefusal<'p>),
    QueryAdmitted(RoleIx),
    UpgradeAllowed,
    BodyAllowed,
    /// The last step of a refusal.
    Refused(Denial),
}

/// Takes the steps as they happen.
pub trait Trace<'p> {
    fn step(&mut self, step: Step<'p>);
}

/// Keeps nothing, and costs nothing once compiled.
#[derive(Clone, Copy, Debug)]
pub struct NoTrace;

impl<'p> Trace<'p> for NoTrace {
    #[inline]
    fn step(&mut self, _: Step<'p>) {}
}

impl<'p> Trace<'p> for Vec<Step<'p>> {
    fn step(&mut self, step: Step<'p>) {
        self.push(step);
    }
}
