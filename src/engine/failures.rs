//! Failed logins of one identity, added up over all gateways that share a store (ACC-2, MON-6): what
//! one gateway saw alone is in `lockout`, and leads to the same verdict if it is enough by itself.
//!
//! Nobody waits for it: the failure that was one too many is answered as any other, and the lock holds
//! a moment later. While the store can't be had each gateway goes by what it saw itself.
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::base::{Moment, Name};
use crate::lockout::{Accusation, Failed, Subject, Trust};
use crate::state::Among;
use crate::store::{CounterKey, KeyId, StoreFault, Tallied};

impl Engine {
    /// Tells the others of a failure, and accuses if it was one too many of all gateways'. `released`:
    /// when the identity was released last before it, in milliseconds since 1970.
    pub(super) fn tell_failure(
        self: &Arc<Self>,
        name: &Name,
        failed: &Failed,
        released: u64,
        now: Moment,
    ) {
        if self.live().quotas.among() == Among::One || failed.accuses.is_some() {
            return;
        }
        let (engine, name, trust, limit) =
            (Arc::clone(self), name.clone(), failed.trust, failed.limit);
        let window = self.live().snapshot.lockout.failures_window;
        // A request that ends when the runtime does has nobody to tell.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let sum = engine.sum_failures(&name, trust, (window, released), now).await;
            if let (Ok(sum), Some(identity)) = (sum, engine.locks.identity_named(&name))
                && sum >= u64::from(limit)
                // A release that came meanwhile has forgiven this one as well.
                && engine.last_release_ms(&name) == released
            {
                engine.accuse(&engine.live(), &Accusation::of_logins(identity, trust, now));
            }
        });
    }

    fn last_release_ms(&self, name: &Name) -> u64 {
        let subject = Subject::Identity(name.clone());
        self.locks.read(|table| table.last_release(&subject).map_or(0, |last| last.at_ms))
    }

    /// One more since a release; how many there were in the last window, about. A release forgives all
    /// that came before it, on every gateway that has heard of it.
    async fn sum_failures(
        &self,
        name: &Name,
        trust: Trust,
        (window, released): (Duration, u64),
        now: Moment,
    ) -> Result<u64, StoreFault> {
        let kind = match trust {
            Trust::Proof | Trust::KnownSource => "familiar failures",
            Trust::Stranger => "failures of strangers",
        };
        let text = format!("{name} {released}");
        let id = KeyId::of(&self.leases.secret, kind, text.as_bytes());
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        let part = u32::try_from(now.unix_ms() / window_ms).unwrap_or(u32::MAX);
        let key = CounterKey { what: Tallied::LoginFailed, id, part };
        let keep = window.saturating_mul(2);
        let store = &self.leases.store;
        let sum = store.count(key, 1, keep, now).await?;
        let before = CounterKey { part: part.saturating_sub(1), ..key };
        let before = store.count(before, 0, keep, now).await?;
        // Of the window before, as much as the last window still covers.
        let left_ms = window_ms.saturating_sub(now.unix_ms() % window_ms);
        let covered = u128::from(before) * u128::from(left_ms) + u128::from(window_ms / 2);
        let covered = covered.checked_div(u128::from(window_ms)).unwrap_or(0);
        Ok(sum.saturating_add(u64::try_from(covered).unwrap_or(u64::MAX)))
    }
}
