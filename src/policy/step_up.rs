//! What takes a fresh login with several factors, whoever asks. Control: ACC-4.
//!
//! It adds to what roles ask and takes nothing away: an operation that is named here, or that one of
//! the caller's roles which say so grants, takes such a login, whichever other role grants it too.
use std::time::Duration;

use super::grant::Policy;
use super::operation::OperationSet;
use crate::base::{IdentityIx, OperationIx, RoleIx};

/// Compiled once for each configuration.
#[derive(Clone, Debug)]
pub struct StepUp {
    /// For so long a login is fresh.
    pub within: Duration,
    operations: OperationSet,
    /// Sorted.
    roles: Box<[RoleIx]>,
}

impl StepUp {
    #[must_use]
    pub fn new(within: Duration, operations: OperationSet, mut roles: Vec<RoleIx>) -> Self {
        roles.sort_unstable();
        Self { within, operations, roles: roles.into() }
    }

    /// Whether an identity's call of an operation takes a fresh login.
    #[must_use]
    pub fn is_due(&self, policy: &Policy, who: IdentityIx, operation: OperationIx) -> bool {
        let by_role = |role: &RoleIx| {
            self.roles.binary_search(role).is_ok()
                && policy.role(*role).is_some_and(|role| role.grants(operation))
        };
        self.operations.contains(operation)
            || (!self.roles.is_empty() && policy.roles_of(who).iter().any(by_role))
    }
}
