//! What locks are on: under which keys subjects are hashed, where a configuration keeps their names, and
//! what it denies by itself (ACC-2, ACC-3, ACC-5).
use std::collections::{BTreeMap, HashMap};

use crate::base::{HashKey, IdentityIx, Name, OperationIx, UpstreamIx};
use crate::config::Snapshot;
use crate::evidence::LockSubject;
use crate::lockout::{Places, Subject};
use crate::store::SharedSecret;

/// Under which subjects are hashed. The same on every gateway of the environment, over restarts.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockKeys {
    pub(super) source: HashKey,
    account: HashKey,
    order: HashKey,
    pub(super) token: HashKey,
}

/// Tokens that the configuration denies, by the hash of their id: until when, in seconds since 1970.
pub(super) type Denied = HashMap<u64, u64>;

/// Where one configuration keeps its names.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    pub(super) identities: BTreeMap<Name, IdentityIx>,
    pub(super) operations: BTreeMap<Name, OperationIx>,
    pub(super) upstreams: BTreeMap<Name, UpstreamIx>,
}

impl NameTable {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let names = &snapshot.names;
        Self {
            identities: (0..)
                .map(IdentityIx)
                .map_while(|ix| Some((names.identity(ix)?.clone(), ix)))
                .collect(),
            operations: (0..)
                .map(OperationIx)
                .map_while(|ix| Some((names.operation(ix)?.clone(), ix)))
                .collect(),
            upstreams: (0..)
                .map(UpstreamIx)
                .map_while(|ix| Some((names.upstream(ix)?.clone(), ix)))
                .collect(),
        }
    }

    pub(super) fn places(&self) -> Places<'_> {
        Places {
            identities: &self.identities,
            operations: &self.operations,
            upstreams: &self.upstreams,
        }
    }
}

impl LockKeys {
    pub(super) fn new(secret: &SharedSecret) -> Self {
        Self {
            source: secret.hash_key("lock sources"),
            account: secret.hash_key("lock accounts"),
            order: secret.hash_key("lock orders"),
            token: secret.hash_key("lock tokens"),
        }
    }

    /// A seller account, by its name in the configuration.
    pub(super) fn account(&self, seller: &Name) -> u64 {
        self.account.hash(seller.as_str().as_bytes())
    }

    /// An order, by its id.
    pub(super) fn order(&self, id: &[u8]) -> u64 {
        self.order.hash(id)
    }

    pub(super) fn denied(&self, snapshot: &Snapshot) -> Denied {
        let denied = snapshot.token.denied.iter();
        denied.map(|one| (self.token(&one.digest), one.until_unix_secs)).collect()
    }

    /// A token, by the digest of its id.
    pub(super) fn token(&self, digest: &[u8; 32]) -> u64 {
        self.token.hash(digest)
    }
}

/// A subject as it may be written down.
#[must_use]
pub const fn written(subject: &Subject) -> LockSubject<'_> {
    match subject {
        Subject::Identity(name) => LockSubject::Identity(name),
        Subject::Operation(name) => LockSubject::Operation(name),
        Subject::Upstream(name) => LockSubject::Upstream(name),
        Subject::Source(_) => LockSubject::Source,
        Subject::Account(_) => LockSubject::Account,
        Subject::Order(_) => LockSubject::Order,
        Subject::Token(_) => LockSubject::Token,
    }
}
