//! Whether the configuration in force grants what an earlier one let through. Controls: ACC-3, PRIV-1.
use super::{ConnFacts, Engine, Live};
use crate::base::{Denial, IdentityIx, OperationIx, UpstreamIx};
use crate::policy::{self, Facts};

impl Engine {
    /// The number of the configuration in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.live.load().snapshot.generation
    }

    /// Whether a request that was let through by an earlier configuration would be by this one, and to the
    /// same upstream. Whom it does not know, from where it lets nobody come, and what a connection stands on
    /// otherwise is looked at by whoever cuts connections.
    #[must_use]
    pub fn still_grants(
        &self,
        before: &Live,
        conn: &ConnFacts,
        facts: &Facts<'_>,
        (who, operation, upstream): (IdentityIx, OperationIx, UpstreamIx),
    ) -> bool {
        let live = self.live();
        let (was, now) = (&before.snapshot.names, &live.snapshot);
        if now.generation == before.snapshot.generation {
            return true;
        }
        let Some(name) = was.identity(who) else { return false };
        let who = self.locks.identity_named(name);
        // Another one than in force knows it: that comes in force yet, and is asked in its turn.
        let known = who.filter(|who| now.names.identity(*who) == Some(name));
        let Some(who) = known else { return true };
        let table = live.table(conn.listener, conn.server_name.as_deref());
        match (table, live.networks_of(conn)) {
            (Some(table), Ok(networks)) => {
                match policy::decide(facts, who, networks, table, &now.policy) {
                    Ok(permit) => now.names.upstream(permit.upstream()) == was.upstream(upstream),
                    Err(refused) => refused.denial == Denial::NetworkNotListed,
                }
            }
            (Some(_), Err(_)) => true,
            // What came by a listener that is gone may take its time, if anybody may do that anywhere.
            (None, _) => {
                let asked = was.operation(operation).and_then(|name| now.operation(name.as_str()));
                let granting = asked.map(|asked| now.policy.roles_granting(asked));
                let granting = granting.unwrap_or_default();
                now.policy.roles_of(who).iter().any(|role| granting.contains(role))
            }
        }
    }
}
