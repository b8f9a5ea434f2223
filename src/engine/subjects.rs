//! What locks are on: under which keys subjects are hashed, where a configuration keeps their names, and
//! what it denies by itself (ACC-2, ACC-3, ACC-5).
use std::collections::{BTreeMap, HashMap};

use crate::base::{HashKey, IdentityIx, Name, OperationIx, UpstreamIx};
use crate::config::Snapshot;
use crate::evidence::LockSubject;
use crate::lockout::{Author, Cause, Places, Subject};
use crate::store::{KeyId, Scope, SharedSecret};

/// Under which subjects are hashed. The same on every gateway of the environment, over restarts.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockKeys {
    pub(super) source: HashKey,
    pub(super) network: HashKey,
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
            network: secret.hash_key("lock networks"),
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

/// Where something about a subject is kept: a lock by its cause and author, so that none takes
/// another's place. Whoever reads goes by what is written there.
pub(super) fn place(
    secret: &SharedSecret,
    subject: &Subject,
    of: Option<&(Cause, Author)>,
) -> (Scope, KeyId) {
    let of = of.map_or(String::new(), |(cause, author)| match author {
        Author::Detector => format!("\0{}", cause.as_str()),
        Author::Operator(name) => format!("\0{}\0{name}", cause.as_str()),
    });
    let id = |kind, what: &[u8]| KeyId::of(secret, kind, &[what, of.as_bytes()].concat());
    let named = |kind, name: &Name| id(kind, name.as_str().as_bytes());
    let hashed = |kind, hash: &u64| id(kind, &hash.to_be_bytes());
    match subject {
        Subject::Identity(name) => (Scope::Identity, named("lock identity", name)),
        Subject::Source(hash) => (Scope::Source, hashed("lock source", hash)),
        Subject::Operation(name) => (Scope::Operation, named("lock operation", name)),
        Subject::Upstream(name) => (Scope::Upstream, named("lock upstream", name)),
        Subject::Account(hash) => (Scope::Account, hashed("lock account", hash)),
        Subject::Order(hash) => (Scope::Order, hashed("lock order", hash)),
        Subject::Token(hash) => (Scope::Token, hashed("lock token", hash)),
        Subject::Network(range) => {
            let (family, length, key) = range.parts();
            let what = [&[family, length][..], &key.to_be_bytes()].concat();
            (Scope::Network, id("lock network", &what))
        }
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
        Subject::Network(_) => LockSubject::Network,
        Subject::Account(_) => LockSubject::Account,
        Subject::Order(_) => LockSubject::Order,
        Subject::Token(_) => LockSubject::Token,
    }
}
