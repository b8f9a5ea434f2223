//! Tokens that were verified a short while ago, so that a signature is checked once and not with
//! every request.
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use aws_lc_rs::hmac;
use parking_lot::RwLock;

use super::compare::Heritage;
use super::keys::KeySets;
use super::registry::Trust;
use super::verify::Verified;
use crate::base::{Moment, Secret, Use};

/// No verdict is remembered longer, whatever the token's `exp`.
const KEPT_NS: u64 = 3_600 * 1_000_000_000;
const SHARDS: usize = 64;
/// How many entries of a full shard are compared to find the one that is given up.
const CANDIDATES: usize = 8;

/// Remembers verified tokens by a keyed hash: HMAC-SHA-256 under a key of this process, so that
/// neither the memory nor its timing says anything about a token.
///
/// 1. Only genuine tokens are remembered; a refusal costs its caller's rate limit, not memory.
/// 2. The number of entries is bounded; one that is given up is verified again.
/// 3. An entry counts only for the same [`Trust`] and the same key set that made it, and for the next
///    trust where the issuer is the same to the letter and the subject names somebody still; see
///    [`Self::adopt`].
/// 4. It never says that somebody may enter: time, certificate and standing are judged each time.
pub struct TokenCache {
    key: hmac::Key,
    shards: Box<[Shard]>,
    shard_max: usize,
    heritage: RwLock<Option<Heritage>>,
}

type Shard = RwLock<HashMap<Tag, Entry, BuildHasherDefault<TagHasher>>>;

#[derive(Clone, Copy)]
struct Entry {
    verified: Verified,
    generation: u64,
    /// Monotonic nanoseconds from which it is no longer used.
    forgotten: u64,
}

/// Stands for a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag([u8; 32]);

impl TokenCache {
    pub const ENTRIES_DEFAULT: usize = 65_536;

    /// `key` is random and made anew by each process. At least 64 entries are kept.
    pub fn new(key: &Secret<[u8; 32]>, entries: usize) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.reveal_for(Use::Verify)),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            shard_max: (entries / SHARDS).max(1),
            heritage: RwLock::default(),
        }
    }

    /// Goes on from one trust to the next: what was verified is not verified again in the moment
    /// after a reload, when everybody would come at once. Also the way back is possible.
    pub fn adopt(&self, before: &Trust, after: &Trust) {
        let heritage = Heritage::new(before, after);
        *self.heritage.write() = Some(heritage);
    }

    pub(super) fn tag(&self, token: &[u8]) -> Tag {
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(hmac::sign(&self.key, token).as_ref()) {
            *to = *from;
        }
        Tag(tag)
    }

    /// What the token was found to say, if that is still worth something.
    pub(super) fn recall(
        &self,
        tag: &Tag,
        trust: &Trust,
        keys: &KeySets,
        now: Moment,
    ) -> Option<Verified> {
        let found = *self.shard(tag)?.read().get(tag)?;
        let entry = self.under(found, trust)?;
        let issuer = entry.verified.issuer;
        let same_keys = || {
            let set = trust.iss(issuer).and_then(|iss| keys.of(issuer, iss));
            set.is_some_and(|set| set.version() == entry.verified.key_set)
        };
        let usable =
            now.mono_ns() < entry.forgotten && entry.verified.in_time(now).is_ok() && same_keys();
        if usable && entry.generation != found.generation {
            // So that it goes on from here to the next one. Its time is not longer for that.
            if let Some(kept) = self.shard(tag)?.write().get_mut(tag) {
                *kept = entry;
            }
        }
        usable.then_some(entry.verified)
    }

    /// What an entry says under this trust; nothing, if it was made under another one that says
    /// nothing of this one.
    fn under(&self, entry: Entry, trust: &Trust) -> Option<Entry> {
        if entry.generation == trust.generation {
            return Some(entry);
        }
        let Verified { issuer, identity, .. } = entry.verified;
        let known = self.heritage.read();
        let known = known.as_ref()?;
        let (issuer, identity) =
            known.pass_on((entry.generation, issuer, identity), trust.generation)?;
        let verified = Verified { issuer, identity: Some(identity), ..entry.verified };
        Some(Entry { verified, generation: trust.generation, ..entry })
    }

    pub(super) fn remember(&self, tag: Tag, verified: Verified, trust: &Trust, now: Moment) {
        let Some(shard) = self.shard(&tag) else { return };
        let forgotten = now.mono_ns().saturating_add(KEPT_NS);
        let mut entries = shard.write();
        if entries.len() >= self.shard_max && !entries.contains_key(&tag) {
            let candidates = entries.iter().take(CANDIDATES);
            let soonest = candidates.min_by_key(|(_, entry)| {
                let stale = entry.generation != trust.generation;
                (!stale, entry.verified.expires, entry.forgotten)
            });
            if let Some(victim) = soonest.map(|(tag, _)| *tag) {
                entries.remove(&victim);
            }
        }
        entries.insert(tag, Entry { verified, generation: trust.generation, forgotten });
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, tag: &Tag) -> Option<&Shard> {
        let [.., last] = tag.0;
        self.shards.get(usize::from(last) % SHARDS)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("entries_max", &(self.shard_max * SHARDS))
            .finish_non_exhaustive()
    }
}

impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().copied().map_or(0, u64::from_le_bytes));
    }
}

/// A tag is a keyed hash already; hashing it again would gain nothing.
#[derive(Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
