//! What both processes have to know of each other while the one that goes finishes its requests: locks
//! in both directions; in one what it spends, reveals and has people told of; in the other that there
//! is another configuration.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;

use super::words::{Hearing, Link, Saying, Word};
use crate::alarm::Alarm;
use crate::cli::say;
use crate::engine::{Engine, Follow, Hold, Parting, Print};
use crate::store::{Cursor, Exchange, LOCK_VALUE_MAX, LockKey, LockRecord, Register, Store as _};

/// How often it is told what was spent.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Carries lock changes from a store to the other process.
struct Carrier<'s> {
    store: &'s Exchange,
    told: Cursor,
}

impl Carrier<'_> {
    async fn carry(&mut self, to: &mut Saying) -> io::Result<()> {
        loop {
            // What can't be read now is carried at the next ring.
            let Ok(page) = self.store.locks_since(self.told).await else { return Ok(()) };
            if !page.records.is_empty() {
                let encode = |record: &LockRecord| (record.key.encode(), record.state.encode());
                to.say(&Word::Locks(page.records.iter().map(encode).collect())).await?;
            }
            self.told = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }
}

/// Where the changes end that are there now: both processes know them.
pub(super) async fn known_by_both(store: &Exchange) -> Cursor {
    let mut known = Cursor::START;
    // What can't be read now is told, which does no harm.
    while let Ok(page) = store.locks_since(known).await {
        known = page.next;
        if !page.more {
            break;
        }
    }
    known
}

/// Writes down what the other process locked or released. What is new rings the bell here.
async fn take_locks(store: &Exchange, locks: &[(Vec<u8>, Vec<u8>)]) {
    let decode = |(key, state): &(Vec<u8>, Vec<u8>)| {
        let state = Register::decode(state, LOCK_VALUE_MAX).ok()?;
        Some(LockRecord { key: LockKey::decode(key).ok()?, state })
    };
    let records: Vec<LockRecord> = locks.iter().filter_map(decode).collect();
    // A store that fails tells of it by itself, and the other process keeps them too.
    let _told_by_condition = store.put_locks(&records).await;
}

/// What the process that goes tells.
pub(in crate::cli) struct Leaving<'s> {
    pub(in crate::cli) engine: &'s Arc<Engine>,
    pub(in crate::cli) store: &'s Exchange,
    pub(in crate::cli) alarms: &'s mut UnboundedReceiver<Vec<u8>>,
    pub(in crate::cli) parting: &'s Parting,
    pub(in crate::cli) hold: &'s mut Hold,
    /// The texts that the other process began with; none, if that is not known.
    pub(in crate::cli) begun_with: Option<String>,
    pub(in crate::cli) stand: Stand,
    /// Until then the other process is watched: if it dies, this one goes on as if nothing had been.
    pub(in crate::cli) watched_until: Instant,
}

/// What is in force here, beside what the process that stays has in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Stand {
    /// What it began with, or what was here before.
    AsBegun,
    /// It has put other files in force, and here they are not, or not yet.
    Behind,
    /// It has, and here they are too.
    Level,
}

impl Leaving<'_> {
    /// Tells until `over` is done, and all that is left then.
    pub(in crate::cli) async fn tell(
        &mut self,
        link: &mut Link,
        over: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (store, (changes, told_of)) = (self.store, unbounded_channel());
        let mut over = std::pin::pin!(over);
        let mut is_over = false;
        let Link { hearing, saying } = link;
        // Whoever says much must hear meanwhile, or both wait for each other.
        let told = tokio::select! {
            told = self.tell_until(saying, (over.as_mut(), &mut is_over), told_of) => told,
            gone = take(hearing, store, &changes) => gone,
        };
        if !is_over {
            tokio::time::sleep_until(self.watched_until).await;
            // Nobody tells any more who is locked out or may enter no more: what is left may not go on.
            self.engine.cut_connections(Duration::ZERO);
            over.await;
        }
        told
    }

    async fn tell_until(
        &mut self,
        to: &mut Saying,
        (mut over, is_over): (Pin<&mut impl Future<Output = ()>>, &mut bool),
        changes: UnboundedReceiver<Follow>,
    ) -> io::Result<()> {
        let (engine, store, parting) = (self.engine, self.store, self.parting);
        let Self { alarms, hold, begun_with, stand, .. } = self;
        let mut locks = Carrier { store, told: Cursor::START };
        let mut bell = store.bell();
        let mut tick = tokio::time::interval(TELL_EVERY);
        locks.carry(to).await?;
        {
            // Reading takes as long as a program that gives a secret, and nothing else waits for that.
            let follows = follow(engine, (hold, parting, stand), begun_with.take(), changes);
            let mut follows = std::pin::pin!(follows);
            while !*is_over {
                tokio::select! {
                    () = &mut over => *is_over = true,
                    open = bell.rung() => {
                        if !open {
                            bell = store.bell();
                        }
                        locks.carry(to).await?;
                    }
                    Some(alarm) = alarms.recv() => to.say(&Word::Alarms(vec![alarm])).await?,
                    _ = tick.tick() => tell_spent(to, &engine.told_since(parting)).await?,
                    () = &mut follows => {}
                }
            }
        }
        locks.carry(to).await?;
        tell_spent(to, &engine.told_last(parting)).await?;
        let mut last = Vec::new();
        while let Ok(alarm) = alarms.try_recv() {
            last.push(alarm);
        }
        to.say(&Word::Alarms(last)).await?;
        to.say(&Word::Done).await
    }
}

/// Has each configuration that the other process has judge what is left here (ACC-3), for ever: the one
/// it began with, if that is another one than is in force here, and those that come.
async fn follow(
    engine: &Arc<Engine>,
    (hold, parting, stand): (&mut Hold, &Parting, &mut Stand),
    begun_with: Option<String>,
    mut changes: UnboundedReceiver<Follow>,
) {
    let mut what = Follow::IfOther(begun_with);
    loop {
        let has_changed = !matches!(what, Follow::IfOther(_));
        let other_files = has_changed && what != Follow::Permit;
        if other_files {
            *stand = Stand::Behind;
        }
        match engine.follow(hold, what, parting).await {
            Ok(()) if other_files => *stand = Stand::Level,
            // What can't be judged is cut. A newer binary may begin with what this one can't read, and
            // then nobody has changed anything since.
            Err(why) if has_changed => {
                say::err(format_args!(
                    "connections that were left to this process are cut, since it can't follow the \
                     new configuration: {}",
                    why.word()
                ));
                engine.cut_connections(Duration::ZERO);
            }
            Ok(()) | Err(_) => {}
        }
        what = match changes.recv().await {
            Some(next) => next,
            None => std::future::pending().await,
        };
    }
}

async fn tell_spent(to: &mut Saying, told: &[Vec<u8>]) -> io::Result<()> {
    for pieces in told.chunks(256) {
        to.say(&Word::Told(pieces.to_vec())).await?;
    }
    Ok(())
}

/// Takes what the process that stays says, until that is gone.
async fn take(
    from: &mut Hearing,
    store: &Exchange,
    changes: &UnboundedSender<Follow>,
) -> io::Result<()> {
    loop {
        let change = match from.hear().await? {
            Word::Locks(theirs) => {
                take_locks(store, &theirs).await;
                continue;
            }
            Word::Reloaded => Follow::AtOnce,
            Word::InForce { permit_alone: true, .. } => Follow::Permit,
            Word::InForce { texts, .. } => Follow::Texts(texts),
            _ => continue,
        };
        // Whoever listens there lives as long as this.
        let _ = changes.send(change);
    }
}

/// What a process tells of its configurations.
pub(super) struct Configurations {
    engine: Arc<Engine>,
    changes: watch::Receiver<u64>,
    /// All that the last one was made from; none, if that is not known.
    last: Option<Print>,
    /// Whether the other process hears more than that there is another one.
    in_words: bool,
}

impl Configurations {
    /// From now on they are told, from the one on that is in force by `changes`.
    pub(super) fn new(engine: &Arc<Engine>, changes: watch::Receiver<u64>, in_words: bool) -> Self {
        let last = {
            // While it is borrowed no other one comes.
            let of = changes.borrow();
            engine.made_from().filter(|_| !of.has_changed())
        };
        let last = last.map(|origin| origin.print);
        Self { engine: Arc::clone(engine), changes, last, in_words }
    }

    /// What is in force now.
    fn word(&mut self) -> Word {
        let Some(origin) = self.engine.made_from().filter(|_| self.in_words) else {
            return Word::Reloaded;
        };
        // Nothing else is taken up without all of it being read again.
        let permit_alone = self.last.replace(origin.print) == Some(origin.print);
        Word::InForce { texts: origin.texts.digest(), permit_alone }
    }
}

/// Listens to the process that goes until it is gone, and tells it what is locked here beyond what
/// both `known`.
pub(super) async fn listen(
    link: Link,
    mut configurations: Configurations,
    store: Arc<Exchange>,
    known: Cursor,
) {
    let (Link { mut hearing, mut saying }, engine) = (link, Arc::clone(&configurations.engine));
    let tell = async {
        let mut bell = store.bell();
        let mut locks = Carrier { store: &store, told: known };
        let mut told = locks.carry(&mut saying).await;
        while told.is_ok() {
            told = tokio::select! {
                rung = bell.rung() => {
                    if !rung {
                        bell = store.bell();
                    }
                    locks.carry(&mut saying).await
                }
                Ok(()) = configurations.changes.changed() => {
                    saying.say(&configurations.word()).await
                }
            };
        }
        // It does not listen any more. It may yet speak.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = add(&mut hearing, &engine, &store) => {}
        () = tell => {}
    }
}

/// Adds what the process that goes says, until its last word.
async fn add(from: &mut Hearing, engine: &Engine, store: &Exchange) {
    loop {
        match from.hear().await {
            Ok(Word::Locks(theirs)) => take_locks(store, &theirs).await,
            Ok(Word::Told(pieces)) => {
                engine.add_told(&pieces);
            }
            Ok(Word::Alarms(alarms)) => {
                for alarm in alarms.iter().filter_map(|alarm| Alarm::decode(alarm).ok()) {
                    engine.alarms.raise(alarm);
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}
