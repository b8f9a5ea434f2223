//! What is usual for an identity, and from where it logs in, over restarts (ACC-2, MON-2, MON-3).
use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::Live;
use crate::base::{IdentityIx, Name};

/// Whose memory has changed since it was written down. By name: places change with the configuration.
#[derive(Debug, Default)]
pub(super) struct Histories {
    watches: Mutex<BTreeSet<Name>>,
    logins: Mutex<BTreeSet<Name>>,
}

impl Histories {
    pub(super) fn changed_watch(&self, live: &Live, who: IdentityIx) {
        self.watches.lock().extend(live.snapshot.names.identity(who).cloned());
    }

    pub(super) fn changed_login(&self, live: &Live, who: IdentityIx) {
        self.logins.lock().extend(live.snapshot.names.identity(who).cloned());
    }
}
