//! The scripts that Redis runs, each atomic, each on keys of one environment.
use redis::Script;

use crate::base::Name;
use crate::store::key::{Gateway, Shelf};

macro_rules! scripts {
    ($($name:ident,)+) => {
        /// All scripts, with their digests.
        #[derive(Debug)]
        pub(super) struct Scripts { $(pub(super) $name: Script,)+ }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self { $($name: with_prelude(include_str!(concat!("lua/", stringify!($name), ".lua"))),)+ }
            }
        }
    };
}

scripts! {
    found, beat, leave, put_locks, forget_locks, locks_since, lease, count, put_blob, blob, scan_blobs,
    forget_blob, push_alarm, peek_alarms, ack_alarms, drop_forged, drop_alarms,
}

const PRELUDE: &str = include_str!("lua/prelude.lua");

fn with_prelude(body: &str) -> Script {
    Script::new(&[PRELUDE, body].concat())
}

/// Where things are in Redis. All begin with the environment's prefix, to which a user's rights can
/// be cut down (PRIV-5); the braces keep them in one slot.
#[derive(Debug)]
pub(super) struct Places {
    prefix: String,
    pub(super) meta: String,
    pub(super) locks: String,
    pub(super) order: String,
    pub(super) members: String,
    pub(super) plate: String,
    pub(super) alarms: String,
    pub(super) channel: String,
}

impl Places {
    pub(super) fn new(environment: &Name, gateway: Gateway) -> Self {
        let prefix = format!("sekisho:{{{environment}}}:");
        let at = |name: &str| format!("{prefix}{name}");
        Self {
            meta: at("meta"),
            locks: at("locks"),
            order: at("order"),
            members: at("members"),
            plate: at(&format!("gateway:{}", gateway.0)),
            alarms: at("alarms"),
            channel: at("bell"),
            prefix,
        }
    }

    pub(super) fn bucket(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"quota:", key].concat()
    }

    pub(super) fn counter(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"count:", key].concat()
    }

    pub(super) fn shelf(&self, on: Shelf) -> String {
        format!("{}shelf:{}", self.prefix, on.code())
    }

    pub(super) fn index(&self, on: Shelf) -> String {
        format!("{}index:{}", self.prefix, on.code())
    }
}
