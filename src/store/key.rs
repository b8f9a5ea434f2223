//! What things are stored under. Fixed sizes, numbers and keyed hashes only: no text fits in.
//! Integers are big-endian, so that keys sort as their values do.
use super::seal::SharedSecret;

/// Names one gateway among those that share a store. Given by configuration, unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gateway(pub u16);

/// Stands for a name or an id: the first 16 bytes of an HMAC-SHA-256 under a key of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Stands for no name: the key of a shelf that holds one thing.
    pub const SOLE: Self = Self([0; 16]);

    pub(super) const fn new(hash: [u8; 16]) -> Self {
        Self(hash)
    }

    /// Equal for equal `text` of one `kind` in one environment; says nothing about it otherwise.
    #[must_use]
    pub fn of(secret: &SharedSecret, kind: &'static str, text: &[u8]) -> Self {
        secret.key_id(kind, text)
    }
}

/// Bytes that are no key of the kind that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFault;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$each])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(super) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            fn of_code(code: u8) -> Option<Self> {
                Self::ALL.iter().find(|each| each.code() == code).copied()
            }
        }
    };
}

codes! {
    /// What a lock is on.
    Scope {
        Identity = 1,
        Source = 2,
        Operation = 3,
        Upstream = 4,
        Account = 5,
        Order = 6,
        Token = 7,
        Network = 8,
    }
}
codes! {
    /// Where a blob belongs.
    Shelf {
        /// What is normal for an identity.
        Baseline = 1,
        /// What was revealed to an identity.
        Ledger = 2,
        /// What detectors are in the middle of.
        Detector = 3,
        /// Attempts and sources of an identity.
        Login = 4,
        /// What was spent of quotas.
        Quota = 5,
        /// How far each target of alarms has come.
        Alarm = 6,
        /// What is usual for the members of a role.
        Peers = 7,
        /// What Amazon said of its rates.
        Pace = 8,
        /// Since when no configuration knows what something else is about.
        Unknown = 9,
        /// Since when an issuer's keys are known.
        Keys = 10,
    }
}
codes! {
    /// What is counted.
    Tallied {
        Refused = 1,
        LoginFailed = 2,
        Requests = 3,
        Bytes = 4,
        Records = 5,
        Alarms = 6,
    }
}
codes! {
    /// What a quota is a quota of.
    Metered {
        /// Of ours: one identity, one limit, one window.
        Identity = 1,
        /// Toward the upstream: one account, one application, one operation.
        Upstream = 2,
        /// No quota: the turn to do a duty that one gateway does for all.
        Duty = 3,
    }
}

/// Place of one gateway's lock on one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockKey {
    pub scope: Scope,
    pub id: KeyId,
    /// Who writes here.
    pub by: Gateway,
    /// Tells apart what one gateway knows of one subject, such as the step of a ladder.
    pub slot: u8,
}

/// Place of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobKey {
    pub shelf: Shelf,
    pub id: KeyId,
    /// A page, a day, an hour.
    pub part: u32,
}

/// Place of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterKey {
    pub what: Tallied,
    pub id: KeyId,
    /// The hour or day that is counted.
    pub part: u32,
}

/// Place of a quota that gateways share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseKey {
    pub of: Metered,
    pub id: KeyId,
    /// Place of the window in its limit.
    pub window: u8,
}

struct From<'a>(&'a [u8]);

impl From<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeyFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(KeyFault)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn code<T>(&mut self, of: impl Fn(u8) -> Option<T>) -> Result<T, KeyFault> {
        let [code] = self.take()?;
        of(code).ok_or(KeyFault)
    }

    fn end<T>(self, key: T) -> Result<T, KeyFault> {
        if self.0.is_empty() { Ok(key) } else { Err(KeyFault) }
    }
}

fn encoded(kind: u8, id: KeyId, rest: &[&[u8]]) -> Vec<u8> {
    [&[kind][..], &id.0, &rest.concat()].concat()
}

impl LockKey {
    /// 20 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encoded(self.scope.code(), self.id, &[&self.by.0.to_be_bytes(), &[self.slot]])
    }

    /// # Errors
    /// Unless the bytes are exactly a key.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFault> {
        let mut from = From(bytes);
        let scope = from.code(Scope::of_code)?;
        let id = KeyId(from.take()?);
        let by = Gateway(u16::from_be_bytes(from.take()?));
        let [slot] = from.take()?;
        from.end(Self { scope, id, by, slot })
    }
}

impl BlobKey {
    /// 21 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encoded(self.shelf.code(), self.id, &[&self.part.to_be_bytes()])
    }

    /// # Errors
    /// Unless the bytes are exactly a key.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFault> {
        let mut from = From(bytes);
        let shelf = from.code(Shelf::of_code)?;
        let id = KeyId(from.take()?);
        let part = u32::from_be_bytes(from.take()?);
        from.end(Self { shelf, id, part })
    }
}

impl CounterKey {
    /// 21 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encoded(self.what.code(), self.id, &[&self.part.to_be_bytes()])
    }

    /// # Errors
    /// Unless the bytes are exactly a key.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFault> {
        let mut from = From(bytes);
        let what = from.code(Tallied::of_code)?;
        let id = KeyId(from.take()?);
        let part = u32::from_be_bytes(from.take()?);
        from.end(Self { what, id, part })
    }
}

impl LeaseKey {
    /// 18 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encoded(self.of.code(), self.id, &[&[self.window]])
    }

    /// # Errors
    /// Unless the bytes are exactly a key.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFault> {
        let mut from = From(bytes);
        let of = from.code(Metered::of_code)?;
        let id = KeyId(from.take()?);
        let [window] = from.take()?;
        from.end(Self { of, id, window })
    }
}
