//! Whether a call takes a fresh login (ACC-4), and what asks for it.
use serde_json::{Value, json};

use super::words::span;
use super::{Case, Line, Mark};
use crate::base::{OperationIx, RoleIx};

impl Case<'_> {
    /// The settings that ask for one; none, if none does.
    fn asking(&self, operation: OperationIx) -> Vec<String> {
        let (step_up, policy) = (&self.snapshot.step_up, &self.snapshot.policy);
        if !step_up.is_due(policy, self.who, operation) {
            return Vec::new();
        }
        let named = step_up.operations().any(|ix| ix == operation);
        let granting = policy.roles_granting(operation);
        let grants =
            |role: &&RoleIx| policy.roles_of(self.who).contains(role) && granting.contains(role);
        let roles = step_up.roles().iter().filter(grants);
        named
            .then(|| "step_up.operations".to_owned())
            .into_iter()
            .chain(roles.map(|role| format!("role.{}.step_up", self.role(*role))))
            .collect()
    }

    /// A line about it. Whether a caller has one is in its token, so the decision does not know.
    pub(super) fn login_line(&self, operation: OperationIx) -> Option<Line> {
        let asking = self.asking(operation);
        let within = span(self.snapshot.step_up.within);
        let text = format!(
            "takes a login with several factors in the last {within}, by {}; a certificate is none (ACC-4)",
            asking.join(" and ")
        );
        (!asking.is_empty()).then_some(Line { mark: Mark::Aside, topic: "login", text })
    }

    pub(super) fn login_json(&self, operation: OperationIx) -> Value {
        let asking = self.asking(operation);
        if asking.is_empty() {
            return Value::Null;
        }
        json!({ "within_seconds": self.snapshot.step_up.within.as_secs(), "asked_by": asking })
    }
}
