//! The store in Redis 7 or Valkey, for several gateways. One connection, TLS only, RESP3.
//!
//! Each verb is one script, so it happens whole or not at all, by the server's clock. Nothing the
//! server says is taken on trust: records carry codes, numbers are checked against what was asked,
//! sizes are bounded ahead of the parser. A server that lies about a quota can give each gateway at
//! most what it asked for, so gateways keep their own limits in front of it.
//! Servers before the fix of redis#14541 (valkey#3983) lose scripts' writes when they read their
//! append-only file and the user `default` has no rights. It should be `off`, and keep its rights:
//! `user default off ~* &* +@all`. Where it does not, this room notices the loss of locks at the
//! next poll and tells them again.
//!
//! The user needs the commands of [`RIGHTS`] on the environment's keys and channel, and no more.
mod answer;
mod endpoint;
mod guard;
mod link;
mod scripts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

pub use endpoint::{Endpoint, EndpointFault, Login, TlsFiles};

use super::bell::Ringing;
use super::bucket::{Ask, Lease, OWNED_FOR};
use super::fault::{Condition, StoreFault};
use super::key::{BlobKey, CounterKey, Gateway, Shelf};
use super::register::{Register, VALUE_MAX};
use super::seal::{Purpose, SharedSecret};
use super::stance::Peers;
use super::{
    ALARM_MAX, ALARMS_MAX, AlarmPage, BLOB_PAGE_MAX, Blob, Cursor, LOCK_VALUE_MAX, LockPage,
    LockRecord, Meta, PAGE_MAX, Put, Reach, Store, room_for,
};
use crate::base::{Moment, Name};
use link::{Call, Link};

/// A gateway that was silent for so long does not count as one of those that share.
pub const MEMBER_FOR: Duration = Duration::from_secs(5);
/// What the user of the access list may do; its keys and channels are `sekisho:{environment}:*`.
pub const RIGHTS: &str = "-@all +hello +auth +ping +eval +evalsha +script|load +subscribe +publish \
    +time +get +set +del +incrby +pexpire +hget +hset +hdel +hlen +hexists +hmget +hincrby +zadd \
    +zcard +zrem +zrange +zrangebyscore +zrangebylex +zremrangebyscore +rpush +lpop +llen +lindex \
    +lrange +lrem";
const BLOBS_MAX: u64 = 1_000_000;

/// How a gateway uses its server.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    pub endpoint: Endpoint,
    pub login: Login,
    pub environment: Name,
    pub secret: SharedSecret,
    /// Unique among the gateways of the environment.
    pub gateway: Gateway,
    /// The longest wait for an answer.
    pub time_out: Duration,
    /// How often to look for news without being told; at most a second.
    pub poll: Duration,
    /// Locks that the server keeps at most; [`LOCKS_MAX`](super::LOCKS_MAX) on each gateway.
    pub locks_max: u64,
}

/// What a gateway remembers of its server from before it was started.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// A number of this installation that outlives restarts: by it a gateway that restarts is told
    /// from another one with the same number.
    pub instance: u64,
    /// The server's epoch when this gateway last saw it; zero if it never did. A server with another
    /// one has forgotten.
    pub known_epoch: u64,
}

/// The store in Redis.
pub struct Remote {
    link: Arc<Link>,
    keeper: JoinHandle<()>,
    /// Large answers come one at a time, so that they fit what a connection may hold.
    large: Mutex<()>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("settings", &self.link.settings).finish_non_exhaustive()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Remote {
    /// Begins to connect, and goes on for as long as this exists. Needs a runtime around it.
    #[must_use]
    pub fn start(settings: RemoteSettings, memory: Memory) -> Self {
        let link = Arc::new(Link::new(settings, memory));
        let keeper = tokio::spawn(Arc::clone(&link).keep());
        Self { link, keeper, large: Mutex::new(()) }
    }

    /// The epoch of the server as last seen; zero before the first time.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.link.epoch()
    }

    /// How many connections there have been. A new one may be to a server that has gone back to an
    /// older copy of itself.
    pub(super) fn connections(&self) -> u64 {
        self.link.connections()
    }

    /// Whether verbs reach a server now.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// From now on server and gateway prove themselves to each other by these. The connection there is
    /// serves until one under them does.
    pub fn renew(&self, endpoint: Endpoint, login: Login) {
        self.link.renew(endpoint, login);
    }

    /// Tells the other gateways that this one goes.
    ///
    /// # Errors
    /// If the server can't be had.
    pub async fn leave(&self) -> Result<(), StoreFault> {
        self.link.leave().await
    }

    /// One call of `put_locks.lua`. Answers records that are there and no gateway wrote.
    async fn offer(
        &self,
        locks: &[LockRecord],
        void: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreFault> {
        let link = &self.link;
        let secret = &link.settings.secret;
        let places = &link.places;
        let most = room_for(locks, link.settings.locks_max);
        let mut args = vec![places.channel.clone().into_bytes(), most.to_string().into_bytes()];
        for lock in locks {
            let place = lock.key.encode();
            let over = void.iter().find(|(key, _)| *key == place);
            args.push(place.clone());
            args.push(secret.seal(Purpose::Lock, &place, lock.state.encode()));
            args.push(over.map(|(_, bytes)| bytes.clone()).unwrap_or_default());
        }
        let keys: &[&[u8]] = &[places.locks.as_bytes(), places.order.as_bytes()];
        let call = Call { script: &link.scripts.put_locks, keys, args };
        let mut newer = link.call(call, |value| answer::pairs(value, PAGE_MAX)).await?;
        newer.retain(|(place, sealed)| {
            secret.open_register(Purpose::Lock, place, sealed, LOCK_VALUE_MAX).is_none()
        });
        Ok(newer)
    }

    fn shelf_keys(&self, on: Shelf) -> (String, String) {
        (self.link.places.shelf(on), self.link.places.index(on))
    }

    async fn offer_blob(
        &self,
        blob: &Blob,
        void: Vec<u8>,
    ) -> Result<Result<(), Vec<u8>>, StoreFault> {
        let (hash, index) = self.shelf_keys(blob.key.shelf);
        let place = blob.key.encode();
        let sealed = self.link.settings.secret.seal(Purpose::Blob, &place, blob.state.encode());
        let args = vec![place, sealed, void, BLOBS_MAX.to_string().into_bytes()];
        let keys: &[&[u8]] = &[hash.as_bytes(), index.as_bytes()];
        let call = Call { script: &self.link.scripts.put_blob, keys, args };
        self.link.call(call, answer::put).await
    }

    async fn scan_once(
        &self,
        on: Shelf,
        after: Option<BlobKey>,
    ) -> Result<answer::Sifted<Vec<Blob>, (Vec<u8>, Vec<u8>)>, StoreFault> {
        let (hash, index) = self.shelf_keys(on);
        let from = after
            .filter(|after| after.shelf == on)
            .map_or_else(|| b"-".to_vec(), |after| [b"(", &after.encode()[..]].concat());
        let args = vec![from, BLOB_PAGE_MAX.to_string().into_bytes()];
        let keys: &[&[u8]] = &[hash.as_bytes(), index.as_bytes()];
        let call = Call { script: &self.link.scripts.scan_blobs, keys, args };
        let secret = &self.link.settings.secret;
        let sifted = self.link.call(call, |value| answer::blobs(value, secret, on)).await?;
        if !sifted.forged.is_empty() {
            self.link.suspect(sifted.forged.len());
            let args = sifted.forged.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect();
            let call = Call { script: &self.link.scripts.drop_forged, keys, args };
            self.link.call(call, |_| Some(())).await?;
        }
        Ok(sifted)
    }

    fn alarm_keys(&self) -> [&[u8]; 1] {
        [self.link.places.alarms.as_bytes()]
    }
}

#[async_trait]
impl Store for Remote {
    async fn put_locks(&self, locks: &[LockRecord]) -> Result<Reach, StoreFault> {
        let too_long = |lock: &LockRecord| lock.state.value.len() > LOCK_VALUE_MAX;
        if locks.len() > PAGE_MAX || locks.iter().any(too_long) {
            return Err(StoreFault::TooLarge);
        }
        let forged = self.offer(locks, &[]).await?;
        if !forged.is_empty() {
            // Someone without the secret sits on the place, with a version as great as he likes.
            self.link.suspect(forged.len());
            if !self.offer(locks, &forged).await?.is_empty() {
                return Err(StoreFault::Forged);
            }
        }
        Ok(Reach::Everywhere)
    }

    async fn forget_locks(&self, locks: &[LockRecord]) -> Result<(), StoreFault> {
        if locks.len() > PAGE_MAX {
            return Err(StoreFault::TooLarge);
        }
        let link = &self.link;
        let record = |lock: &LockRecord| {
            let place = lock.key.encode();
            let sealed = link.settings.secret.seal(Purpose::Lock, &place, lock.state.encode());
            [place, sealed]
        };
        let args = locks.iter().flat_map(record).collect();
        let keys: &[&[u8]] = &[link.places.locks.as_bytes(), link.places.order.as_bytes()];
        let call = Call { script: &link.scripts.forget_locks, keys, args };
        link.call(call, |_| Some(())).await
    }

    async fn locks_since(&self, cursor: Cursor) -> Result<LockPage, StoreFault> {
        let link = &self.link;
        let _one = self.large.lock().await;
        let epoch = link.epoch();
        let sequence = if cursor.epoch == epoch { cursor.sequence } else { 0 };
        let after = Cursor { epoch, sequence };
        let keys: &[&[u8]] = &[link.places.locks.as_bytes(), link.places.order.as_bytes()];
        let args = vec![sequence.to_string().into_bytes(), (PAGE_MAX + 1).to_string().into_bytes()];
        let call = Call { script: &link.scripts.locks_since, keys, args };
        let secret = &link.settings.secret;
        let page = link.call(call, |value| answer::locks(value, secret, after)).await?;
        if page.forged > 0 {
            link.suspect(page.forged);
        }
        Ok(page)
    }

    fn bell(&self) -> Ringing {
        self.link.bell.listen()
    }

    async fn lease(&self, ask: Ask, _now: Moment) -> Result<Lease, StoreFault> {
        let link = &self.link;
        let rate = ask.rate;
        let numbers = [
            rate.interval_us(),
            rate.drain_us(),
            u64::from(rate.has_owner(ask.key.of)),
            u64::from(ask.wanted),
            u64::from(ask.debt),
            u64::from(link.settings.gateway.0),
            u64::from(link.peers().count),
            u64::try_from(OWNED_FOR.as_micros()).unwrap_or(u64::MAX),
            u64::from(ask.returned),
            u64::try_from(ask.late.as_micros()).unwrap_or(u64::MAX),
        ];
        let args = numbers.iter().map(|number| number.to_string().into_bytes()).collect();
        let bucket = link.places.bucket(&ask.key.encode());
        let call = Call { script: &link.scripts.lease, keys: &[&bucket], args };
        link.ask(call, |value| answer::lease(value, &ask)).await
    }

    async fn count(
        &self,
        key: CounterKey,
        add: u32,
        keep: Duration,
        _now: Moment,
    ) -> Result<u64, StoreFault> {
        let link = &self.link;
        let counter = link.places.counter(&key.encode());
        let keep_ms = keep.as_millis().clamp(1, 1 << 40);
        let args = vec![add.to_string().into_bytes(), keep_ms.to_string().into_bytes()];
        let call = Call { script: &link.scripts.count, keys: &[&counter], args };
        link.call(call, |value| answer::sum(&value)).await
    }

    async fn put_blob(&self, blob: &Blob) -> Result<Put, StoreFault> {
        if blob.state.value.len() > VALUE_MAX {
            return Err(StoreFault::TooLarge);
        }
        let secret = &self.link.settings.secret;
        let place = blob.key.encode();
        let mut void = Vec::new();
        for _ in 0..2 {
            match self.offer_blob(blob, void).await? {
                Ok(()) => return Ok(Put::Stored),
                Err(there) => {
                    if secret.open_register(Purpose::Blob, &place, &there, VALUE_MAX).is_some() {
                        return Ok(Put::Stale);
                    }
                    self.link.suspect(1);
                    void = there;
                }
            }
        }
        Err(StoreFault::Forged)
    }

    async fn put_blobs(
        &self,
        blobs: Arc<[Blob]>,
    ) -> Result<Vec<Result<Put, StoreFault>>, StoreFault> {
        // Nobody keeps many here: a gateway has a file for them.
        let mut outcomes = Vec::with_capacity(blobs.len());
        for blob in blobs.iter() {
            outcomes.push(self.put_blob(blob).await);
        }
        Ok(outcomes)
    }

    async fn blob(&self, key: BlobKey) -> Result<Option<Register>, StoreFault> {
        let _one = self.large.lock().await;
        let (hash, _) = self.shelf_keys(key.shelf);
        let place = key.encode();
        let call = Call {
            script: &self.link.scripts.blob,
            keys: &[hash.as_bytes()],
            args: vec![place.clone()],
        };
        let sealed = self.link.call(call, answer::blob).await?;
        if sealed.is_empty() {
            return Ok(None);
        }
        let secret = &self.link.settings.secret;
        let state = secret.open_register(Purpose::Blob, &place, &sealed, VALUE_MAX);
        if state.is_none() {
            self.link.suspect(1);
            return Err(StoreFault::Forged);
        }
        Ok(state)
    }

    async fn scan_blobs(&self, on: Shelf, after: Option<BlobKey>) -> Result<Vec<Blob>, StoreFault> {
        let _one = self.large.lock().await;
        // A page of nothing but forgeries is not the end; they are gone when it is read again.
        for _ in 0..4 {
            let sifted = self.scan_once(on, after).await?;
            if sifted.forged.is_empty() || !sifted.page.is_empty() {
                return Ok(sifted.page);
            }
        }
        Err(StoreFault::Forged)
    }

    async fn forget_blob(&self, key: BlobKey) -> Result<(), StoreFault> {
        let (hash, index) = self.shelf_keys(key.shelf);
        let keys: &[&[u8]] = &[hash.as_bytes(), index.as_bytes()];
        let script = &self.link.scripts.forget_blob;
        self.link.call(Call { script, keys, args: vec![key.encode()] }, |_| Some(())).await
    }

    async fn push_alarm(&self, body: &[u8]) -> Result<u64, StoreFault> {
        if body.len() > ALARM_MAX {
            return Err(StoreFault::TooLarge);
        }
        let sealed = self.link.settings.secret.seal(Purpose::Alarm, &[], body.to_vec());
        let args = vec![sealed, ALARMS_MAX.to_string().into_bytes()];
        let call = Call { script: &self.link.scripts.push_alarm, keys: &self.alarm_keys(), args };
        self.link.call(call, |value| answer::number(&value)).await
    }

    async fn peek_alarms(&self, after: u64) -> Result<AlarmPage, StoreFault> {
        let _one = self.large.lock().await;
        let args = vec![BLOB_PAGE_MAX.to_string().into_bytes(), after.to_string().into_bytes()];
        let call = Call { script: &self.link.scripts.peek_alarms, keys: &self.alarm_keys(), args };
        let secret = &self.link.settings.secret;
        let mut sifted = self.link.call(call, |value| answer::alarms(value, secret)).await?;
        sifted.page.alarms.retain(|alarm| alarm.sequence > after);
        if !sifted.forged.is_empty() {
            self.link.suspect(sifted.forged.len());
            let script = &self.link.scripts.drop_alarms;
            let call = Call { script, keys: &self.alarm_keys(), args: sifted.forged };
            self.link.call(call, |_| Some(())).await?;
        }
        Ok(sifted.page)
    }

    async fn ack_alarms(&self, sequence: u64) -> Result<(), StoreFault> {
        let args = vec![sequence.to_string().into_bytes()];
        let call = Call { script: &self.link.scripts.ack_alarms, keys: &self.alarm_keys(), args };
        self.link.call(call, |_| Some(())).await
    }

    async fn peers(&self) -> Result<Peers, StoreFault> {
        Ok(self.link.peers())
    }

    async fn meta(&self) -> Result<Meta, StoreFault> {
        match self.link.epoch() {
            0 => Err(StoreFault::Unreachable),
            epoch => Ok(Meta { schema: link::SCHEMA, epoch }),
        }
    }

    async fn flush(&self) -> Result<(), StoreFault> {
        Ok(())
    }

    fn forged(&self) -> u64 {
        self.link.forged()
    }

    fn lacks_room(&self) -> bool {
        false
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.link.condition()
    }
}
