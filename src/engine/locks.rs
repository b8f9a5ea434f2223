//! Locks in force (ACC-2, ACC-5): owns the table, its compiled form, and the memory of logins; in step
//! with the store, and with other gateways through it.
//!
//! 1. What is imposed holds from that moment on, here: requests read the compiled form, and waiting
//!    ones and open connections are woken.
//! 2. Nothing lifts a lock but its own end and a release; a store that can't be had lifts none.
//! 3. An operator's act returns when it can't be lost any more, or says that it is not there yet.
mod keep;
mod networks;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

pub(super) use networks::keep_out;

use super::subjects::{Denied, LockKeys, NameTable};
use super::{Engine, Live};
use crate::base::{Clock, IdentityIx, Moment, Name};
use crate::config::Snapshot;
use crate::evidence::Event;
use crate::lockout::{
    Asked, Attempt, GatewayId, Heard, LockTable, Logins, Part, Release, Standing, Standings,
    Subject, TableFault, Told, Trust, Turns,
};
use crate::store::{Cursor, Gateway, SharedSecret, Store, StoreFault};
use keep::Written;

/// Pairs of identity and source whose failed logins are remembered, at 32 bytes each.
const PAIRS_MAX: usize = 65_536;
/// Until locks that could not be read are read again.
const READ_AGAIN: Duration = Duration::from_millis(500);
/// Subjects of which it is looked at a time whether they are over.
const LOOKED_AT_ONCE: usize = 1_024;

/// See the module.
pub(super) struct Locks {
    me: GatewayId,
    keys: LockKeys,
    secret: SharedSecret,
    store: Arc<dyn Store>,
    book: Mutex<Book>,
    compiled: ArcSwap<Compiled>,
    /// Rises with every change of what holds.
    changed: watch::Sender<u64>,
    /// The same number, for those who only look.
    epoch: AtomicU64,
    /// Rises when open connections may have to be cut: with what holds for networks, and with the
    /// kill of an identity or a source.
    cuts: watch::Sender<u64>,
    unwritten: Notify,
    /// Rings when something has no room in the store.
    crowded: Notify,
    /// Of those who are slowed down.
    pub(super) turns: Mutex<Turns>,
    /// Tokens that were denied since somebody asked.
    pub(super) denied: Mutex<Vec<u64>>,
    /// Rises when a token is denied.
    pub(super) tokens: watch::Sender<u64>,
    /// How far the last writing came. One at a time, so that whoever finds nothing left to write
    /// knows that it is written.
    writing: tokio::sync::Mutex<Written>,
    /// How far the store was read.
    cursor: tokio::sync::Mutex<Cursor>,
}

/// What the store had to tell.
#[derive(Default)]
struct News {
    /// Parts that could not be read: they are a newer version's.
    unreadable: u64,
    /// What somebody released on another gateway.
    released: Vec<(Subject, Release)>,
}

/// What came of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Changed,
    /// A note changes nothing.
    Nothing,
}

struct Book {
    table: LockTable,
    logins: Logins,
    /// Subjects of which the store has not been told the latest.
    dirty: BTreeSet<Subject>,
    /// Up to where it was looked whether something is over.
    looked: Option<Subject>,
}

/// What holds, under one configuration.
struct Compiled {
    generation: u64,
    standings: Standings,
    names: Arc<NameTable>,
    tokens: Arc<Denied>,
}

impl Locks {
    pub(super) fn new(
        gateway: Gateway,
        store: Arc<dyn Store>,
        secret: SharedSecret,
        snapshot: &Snapshot,
        now: Moment,
    ) -> Self {
        let names = Arc::new(NameTable::of(snapshot));
        let table = LockTable::new(now);
        let standings = Standings::compile(&table, names.places(), now);
        let identities = snapshot.identities.len();
        let keys = LockKeys::new(&secret);
        let tokens = Arc::new(keys.denied(snapshot));
        let compiled = Compiled { generation: snapshot.generation, standings, names, tokens };
        Self {
            me: GatewayId(gateway.0),
            keys,
            secret,
            store,
            book: Mutex::new(Book {
                table,
                logins: Logins::new(identities, PAIRS_MAX),
                dirty: BTreeSet::new(),
                looked: None,
            }),
            compiled: ArcSwap::from_pointee(compiled),
            changed: watch::Sender::new(0),
            epoch: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
            unwritten: Notify::new(),
            crowded: Notify::new(),
            turns: Mutex::default(),
            denied: Mutex::default(),
            tokens: watch::Sender::new(0),
            writing: tokio::sync::Mutex::new(Written::EVERYWHERE),
            cursor: tokio::sync::Mutex::new(Cursor::START),
        }
    }

    pub(super) const fn keys(&self) -> &LockKeys {
        &self.keys
    }

    /// What holds for a request that is judged by `live`. No lock and no allocation, but right after a
    /// reload for requests that began before it.
    pub(super) fn standing(&self, live: &Live, asked: &Asked, now: Moment) -> Standing {
        let compiled = self.compiled.load();
        if compiled.generation == live.snapshot.generation {
            return compiled.standings.standing(asked, now);
        }
        let (names, of) = (&live.snapshot.names, &compiled.names);
        let moved = Asked {
            identity: asked.identity.and_then(|ix| of.identities.get(names.identity(ix)?).copied()),
            operation: asked
                .operation
                .and_then(|ix| of.operations.get(names.operation(ix)?).copied()),
            upstream: asked.upstream.and_then(|ix| of.upstreams.get(names.upstream(ix)?).copied()),
            ..*asked
        };
        compiled.standings.standing(&moved, now)
    }

    /// Rises with every change of what holds.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Rises with those changes alone by which open connections may have to be cut: connections are many
    /// more than requests, and nobody wakes all of them for a lock.
    pub(super) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    /// Where the configuration in force keeps an identity.
    pub(super) fn identity_named(&self, name: &Name) -> Option<IdentityIx> {
        self.compiled.load().names.identities.get(name).copied()
    }

    /// Whether the order of this id is locked.
    pub(super) fn is_order_locked(&self, id: &[u8], now: Moment) -> bool {
        self.compiled.load().standings.is_order_locked(self.keys.order(id), now)
    }

    /// One of these orders, by their hashes, that is locked.
    pub(super) fn locked_among(&self, orders: &[u64], now: Moment) -> Option<u64> {
        let compiled = self.compiled.load();
        let locked = |order: &&u64| compiled.standings.is_order_locked(**order, now);
        orders.iter().find(locked).copied()
    }

    /// Whether the token of this id's hash counts for nothing: locked, or denied by the configuration.
    pub(super) fn is_token_denied(&self, token: u64, now: Moment) -> bool {
        let compiled = self.compiled.load();
        compiled.standings.is_token_locked(token, now)
            || compiled.tokens.get(&token).is_some_and(|until| now.unix_secs() < *until)
    }

    /// Whether any order is locked, so that nobody hashes ids for nothing.
    pub(super) fn holds_orders(&self) -> bool {
        self.compiled.load().standings.holds_orders()
    }

    /// Changes the table, and what holds with it.
    pub(super) fn change<T>(
        &self,
        subject: &Subject,
        now: Moment,
        change: impl FnOnce(&mut LockTable, GatewayId) -> Result<T, TableFault>,
    ) -> Result<T, TableFault> {
        self.judge(subject, now, |table, me| {
            change(table, me).map(|changed| (changed, Effect::Changed))
        })
    }

    /// The same, where it turns out that there may be nothing to be done.
    pub(super) fn judge<T>(
        &self,
        subject: &Subject,
        now: Moment,
        judge: impl FnOnce(&mut LockTable, GatewayId) -> Result<(T, Effect), TableFault>,
    ) -> Result<T, TableFault> {
        self.alter(subject, now, |book| judge(&mut book.table, self.me))
    }

    /// Ends what holds, and forgives at the same moment the failed logins that led to it: whoever finds
    /// itself free may fail at once.
    pub(super) fn release(
        &self,
        subject: &Subject,
        now: Moment,
        release: impl FnOnce(&mut LockTable) -> Result<(), TableFault>,
    ) -> Result<Option<Release>, TableFault> {
        self.alter(subject, now, |book| {
            release(&mut book.table)?;
            if let Subject::Identity(name) = subject {
                self.forgive_logins(&mut book.logins, name);
            }
            Ok((book.table.last_release(subject).cloned(), Effect::Changed))
        })
    }

    fn alter<T>(
        &self,
        subject: &Subject,
        now: Moment,
        act: impl FnOnce(&mut Book) -> Result<(T, Effect), TableFault>,
    ) -> Result<T, TableFault> {
        let mut book = self.book.lock();
        let (judged, effect) = act(&mut book)?;
        if effect == Effect::Nothing {
            return Ok(judged);
        }
        book.dirty.insert(subject.clone());
        self.compile(&book, std::iter::once(subject), now);
        drop(book);
        self.unwritten.notify_one();
        Ok(judged)
    }

    fn compile<'s>(
        &self,
        book: &Book,
        subjects: impl Iterator<Item = &'s Subject> + Clone,
        now: Moment,
    ) {
        let before = self.compiled.load();
        let (names, tokens) = (Arc::clone(&before.names), Arc::clone(&before.tokens));
        let standings =
            before.standings.changed(&book.table, subjects.clone(), names.places(), now);
        let is_killed = |in_force: &Standings, subject: &Subject| match subject {
            Subject::Identity(name) => {
                let place = names.identities.get(name);
                place.is_some_and(|identity| in_force.is_killed(*identity, now))
            }
            Subject::Source(hash) => in_force.is_source_killed(*hash, now),
            _ => false,
        };
        // An attempt of somebody who is out already changes nothing for anybody.
        let mut subjects = subjects.filter(|subject| !is_killed(&before.standings, subject));
        let cuts = !standings.shares_ranges(&before.standings)
            || subjects.any(|subject| is_killed(&standings, subject));
        let generation = before.generation;
        let denied: Vec<u64> = standings.tokens_since(&before.standings, now).collect();
        self.compiled.store(Arc::new(Compiled { generation, standings, names, tokens }));
        if !denied.is_empty() {
            self.denied.lock().extend(denied);
            self.tokens.send_modify(|count| *count = count.wrapping_add(1));
        }
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.changed.send_replace(epoch);
        if cuts {
            self.cuts.send_replace(epoch);
        }
    }

    /// Another configuration is in force from now on.
    pub(super) fn adopt(&self, snapshot: &Snapshot, now: Moment) {
        // Names change here only, so requests need not wait until they are sorted.
        let (before, names) = (self.compiled.load_full(), Arc::new(NameTable::of(snapshot)));
        let was = |name: &Name| before.names.identities.get(name).copied();
        let moved: Vec<_> =
            (0..).map(IdentityIx).map_while(|ix| snapshot.names.identity(ix)).map(was).collect();
        let mut book = self.book.lock();
        let logins = std::mem::replace(&mut book.logins, Logins::new(0, 0));
        book.logins = logins.moved(&moved);
        let standings = Standings::compile(&book.table, names.places(), now);
        let generation = snapshot.generation;
        let tokens = Arc::new(self.keys.denied(snapshot));
        let fresh = tokens.keys().filter(|token| !before.tokens.contains_key(token));
        self.denied.lock().extend(fresh);
        self.compiled.store(Arc::new(Compiled { generation, standings, names, tokens }));
    }

    /// Forgets what is over, some of it at each call, so that nobody waits for it.
    fn tidy(&self, now: Moment) {
        let Book { table, dirty, looked, .. } = &mut *self.book.lock();
        // What is forgotten here must be written down.
        let (over, next) = table.prune_some(looked.as_ref(), LOOKED_AT_ONCE, dirty, now);
        *looked = next;
        if !over.is_empty() {
            let before = self.compiled.load();
            let (names, tokens) = (Arc::clone(&before.names), Arc::clone(&before.tokens));
            let generation = before.generation;
            let standings = before.standings.changed(table, over.iter(), names.places(), now);
            // What holds is what held: nobody is woken.
            self.compiled.store(Arc::new(Compiled { generation, standings, names, tokens }));
        }
    }

    /// Whether an identity of this name is killed.
    pub(super) fn is_killed(&self, name: &Name, now: Moment) -> bool {
        let compiled = self.compiled.load();
        let place = compiled.names.identities.get(name);
        place.is_some_and(|identity| compiled.standings.is_killed(*identity, now))
    }

    /// Reads the table, for people and for judging.
    pub(super) fn read<T>(&self, read: impl FnOnce(&LockTable) -> T) -> T {
        read(&self.book.lock().table)
    }

    /// Counts, forgives or asks about logins.
    pub(super) fn logins<T>(&self, act: impl FnOnce(&mut Logins, &LockTable) -> T) -> T {
        let book = &mut *self.book.lock();
        act(&mut book.logins, &book.table)
    }

    pub(super) fn trust(&self, attempt: &Attempt) -> Trust {
        self.book.lock().logins.trust(attempt)
    }

    /// Somebody tried to enter in spite of a lock.
    pub(super) fn attempted(&self, subject: Subject) {
        let mut book = self.book.lock();
        book.table.attempted(&subject, self.me);
        book.dirty.insert(subject);
    }

    /// Everything the store knows; what of it was released.
    async fn restore(&self, now: Moment) -> Result<Vec<(Subject, Release)>, StoreFault> {
        // Whatever holds there is in force before the first request; a page that fails, fails all,
        // and so does a lock that can't be read: without it somebody would enter who must not.
        let mut news = News::default();
        self.take_over(Told::Before, &mut news, now).await?;
        // Attempts of whom only a later page told.
        self.walk(|table, record| {
            if record.key.slot == Part::ATTEMPTS {
                let _counted = table.take_over(&record.state.value, Told::Before, now);
            }
            true
        })
        .await?;
        if news.unreadable == 0 { Ok(news.released) } else { Err(StoreFault::Corrupt) }
    }

    /// Takes over what is new in the store until that is gone.
    async fn follow(&self, clock: &Clock, learned: impl Fn(&News)) {
        let mut bell = self.store.bell();
        loop {
            // Before the first ring as well: what came since `restore` rang for nobody.
            let mut news = News::default();
            let read = self.take_over(Told::Now, &mut news, clock.now()).await;
            learned(&news);
            let open = tokio::select! {
                open = bell.rung() => open,
                // The store's condition tells that it fails.
                () = tokio::time::sleep(READ_AGAIN), if read.is_err() => true,
            };
            if !open {
                return;
            }
        }
    }

    /// What failed before counts no more.
    pub(super) fn forgive_logins(&self, logins: &mut Logins, name: &Name) {
        if let Some(ix) = self.identity_named(name) {
            logins.released(ix);
        }
    }

    /// What is new in the store. What came before a fault is among the news.
    async fn take_over(&self, told: Told, news: &mut News, now: Moment) -> Result<(), StoreFault> {
        let mut cursor = self.cursor.lock().await;
        loop {
            let page = self.store.locks_since(*cursor).await?;
            if !page.records.is_empty() {
                let mut book = self.book.lock();
                let mut subjects = Vec::with_capacity(page.records.len());
                for record in &page.records {
                    // Its own locks come back by its own clock.
                    let told = if record.key.by.0 == self.me.0 { Told::Before } else { told };
                    match book.table.take_over(&record.state.value, told, now) {
                        Ok(Heard { subject, released }) => {
                            if let (Subject::Identity(name), Some(_)) = (&subject, &released) {
                                self.forgive_logins(&mut book.logins, name);
                            }
                            news.released.extend(released.map(|of| (subject.clone(), of)));
                            subjects.push(subject);
                        }
                        Err(_newer) => news.unreadable = news.unreadable.saturating_add(1),
                    }
                }
                self.compile(&book, subjects.iter(), now);
            }
            *cursor = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }
}

impl Engine {
    /// Brings back the locks that held when the process ended. Before this nobody may be served.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn restore(&self) -> Result<(), StoreFault> {
        // Nothing is counted yet: what is brought back afterwards is held against these.
        for (subject, release) in &self.locks.restore(self.clock.now()).await? {
            self.forgive(subject, release);
        }
        Ok(())
    }

    /// Learns what other gateways lock and release, for as long as it is polled.
    pub async fn follow_locks(&self) {
        let learned = |news: &News| {
            for (subject, release) in &news.released {
                self.forgive(subject, release);
            }
            if let count @ 1.. = news.unreadable {
                self.metrics.state.refused.inc_by(count);
                self.report_event(&Event::MemoryRefused { count });
            }
        };
        self.locks.follow(&self.clock, learned).await;
    }
}
