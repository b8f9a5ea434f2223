//! Several ask for a reload at once: one after the other, and each is told.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use sekisho::base::{Moment, Name};
use sekisho::config::{self, Machine, Snapshot};
use sekisho::engine::{
    Again, Files, Order, Origin, Outcome, Print, Read, Reading, ReloadFault, Trigger, Why, Widening,
};

use super::{GRANT, LESS, generation, reloads, status};
use crate::support::{World, until, until_some};

/// Files that take as long to read as the test wants.
struct Slow {
    path: PathBuf,
    gate: Mutex<()>,
    reads: AtomicUsize,
}

impl Files for Slow {
    fn read(&self, _: Reading<'_>, generation: u64, now: Moment, before: &Snapshot) -> Read {
        let nth = self.reads.fetch_add(1, Ordering::SeqCst);
        let text = std::fs::read(&self.path).unwrap();
        let loaded = config::reload_from(&Machine, &self.path, generation, now, before);
        let _open = self.gate.lock();
        let mut print = [0; 16];
        print[..8].copy_from_slice(&(text.len() + nth).to_be_bytes());
        Read { loaded, origin: Origin { print: Print(print), texts: Arc::default() } }
    }
}

fn order(trigger: Trigger) -> Order {
    Order { trigger, expect: None, widening: Widening::Allowed, again: Again::No }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_reload_in_the_middle_of_a_reload_waits_for_its_turn() {
    let world = World::start().await;
    let token = world.token("analyst");
    let open = world.nobody().connect(world.address()).await.unwrap();
    let path = world.dir.join("sekisho.toml");
    let files =
        Arc::new(Slow { path: path.clone(), gate: Mutex::new(()), reads: AtomicUsize::new(0) });
    let engine = Arc::clone(&world.gateway.engine);
    engine.read_from(Arc::clone(&files) as Arc<dyn Files>, None);
    let spawn = |trigger| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.reload_files(order(trigger)).await })
    };
    let held = Arc::clone(&files);
    let (shut, told) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let keeper = std::thread::spawn(move || {
        let _gate = held.gate.lock();
        shut.send(()).unwrap();
        released.recv().unwrap();
    });
    told.recv().unwrap();
    let first = spawn(Trigger::File);
    until("the first one reads", || files.reads.load(Ordering::SeqCst) == 1).await;
    // What is written now is not what the first one read.
    let text = std::fs::read_to_string(&path).unwrap();
    let renewed = path.with_extension("new");
    std::fs::write(&renewed, text.replace(GRANT, LESS)).unwrap();
    std::fs::rename(&renewed, &path).unwrap();
    let storm: Vec<_> = (0..20)
        .map(|nth| spawn(if nth % 2 == 0 { Trigger::File } else { Trigger::Signal }))
        .collect();
    // Nobody who calls waits for any of it.
    assert_eq!(status(&open, &token).await, 200);
    assert!(!first.is_finished());
    release.send(()).unwrap();
    keeper.join().unwrap();
    let generation_of = |outcome: &Outcome| match outcome {
        Outcome::Applied { generation, .. } => *generation,
        Outcome::Refused { why, .. } => panic!("{why:?}"),
    };
    assert_eq!(generation_of(&first.await.unwrap()), 2);
    let mut told = Vec::new();
    for one in storm {
        told.push(generation_of(&one.await.unwrap()));
    }
    told.dedup();
    let reads = files.reads.load(Ordering::SeqCst);
    assert!(told.iter().all(|generation| *generation > 2), "{told:?}");
    assert!(reads < 21, "those who wait together share one: {reads}");
    assert_eq!(generation(&world), u64::try_from(reads).unwrap() + 1);
    assert_eq!(world.events("config-reloaded").len(), reads);
    assert_eq!(status(&open, &token).await, 403, "the last one wins");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_3_what_was_not_looked_at_is_not_applied() {
    let world = World::start().await;
    let engine = &world.gateway.engine;
    let looked = engine.preview_files().await.unwrap();
    assert!(looked.diff.is_empty());
    let path = world.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(GRANT, LESS)).unwrap();
    let name = Name::parse("sato").unwrap();
    let by = |print| Order { expect: Some(print), ..order(Trigger::Operator(name.clone())) };
    let outcome = engine.reload_files(by(looked.print)).await;
    assert!(matches!(&*outcome, Outcome::Refused { generation: 1, why: Why::Changed }));
    // Looking again, twice the same.
    let (one, two) = (engine.preview_files().await.unwrap(), engine.preview_files().await.unwrap());
    assert_eq!(one.print, two.print);
    assert_eq!((one.diff.counts.narrows, one.diff.counts.widens), (1, 0));
    assert_eq!(generation(&world), 1, "looking changes nothing");
    let outcome = engine.reload_files(by(one.print)).await;
    assert!(matches!(&*outcome, Outcome::Applied { generation: 2, .. }));
    let event = world.events("config-reloaded").pop().unwrap();
    assert_eq!([&event["sekisho.cause"], &event["sekisho.actor"]], ["operator", "sato"]);
    assert_eq!([&event["sekisho.widens"], &event["sekisho.narrows"]], [0, 1]);
    // What may not widen, does not.
    std::fs::write(&path, text).unwrap();
    let narrow = Order { widening: Widening::Refused, ..order(Trigger::Operator(name.clone())) };
    let outcome = engine.reload_files(narrow).await;
    assert!(matches!(&*outcome, Outcome::Refused { generation: 2, why: Why::Widens }));
    assert_eq!(reloads(&world, "refused"), 0, "nothing was wrong with the files");
    world.finish().await;
}

/// Whether files that changed are enough is the configuration's to say.
#[tokio::test(flavor = "multi_thread")]
async fn priv_3_files_may_wait_for_somebody_to_ask() {
    let world = World::start().await;
    assert!(world.gateway.files_changed().await);
    assert_eq!(generation(&world), 2);
    assert!(world.reload(|text| text + "\n[reload]\napply = \"on-request\"\n").await);
    assert!(!world.gateway.files_changed().await);
    assert_eq!(generation(&world), 3);
    assert!(world.gateway.reload().await, "as SIGHUP asks");
    world.finish().await;
}

/// While another process is about to take this one's place, it may have read the files already.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_no_configuration_comes_into_force_during_a_hand_over() {
    let world = World::start().await;
    let engine = Arc::clone(&world.gateway.engine);
    let sato = || Trigger::Operator(Name::parse("sato").unwrap());
    let files = Arc::new(Slow {
        path: world.dir.join("sekisho.toml"),
        gate: Mutex::new(()),
        reads: AtomicUsize::new(0),
    });
    engine.read_from(Arc::clone(&files) as Arc<dyn Files>, None);
    let spawn = |trigger| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.reload_files(order(trigger)).await })
    };
    // What is under way is waited for.
    let gate = Arc::clone(&files);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (shut, told) = std::sync::mpsc::channel();
    let keeper = std::thread::spawn(move || {
        let _gate = gate.gate.lock();
        shut.send(()).unwrap();
        released.recv().unwrap();
    });
    told.recv().unwrap();
    let first = spawn(sato());
    until("it reads", || files.reads.load(Ordering::SeqCst) == 1).await;
    let hold = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.hold_reloads().await })
    };
    until_some("operators are told", async || {
        let outcome = spawn(sato()).await.unwrap();
        let told =
            matches!(&*outcome, Outcome::Refused { why: Why::Fault(ReloadFault::Parting), .. });
        told.then_some(())
    })
    .await;
    assert!(!hold.is_finished() && !first.is_finished());
    release.send(()).unwrap();
    keeper.join().unwrap();
    assert!(matches!(&*first.await.unwrap(), Outcome::Applied { generation: 2, .. }));
    let hold = hold.await.unwrap();

    // A signal waits; whoever looks is told and does not.
    let signal = spawn(Trigger::Signal);
    let preview = engine.preview_files().await.unwrap();
    assert!(matches!(preview.blocked, Some(ReloadFault::Parting)));
    assert_eq!(engine.view_trial().generation, 2);
    assert!(!signal.is_finished());
    drop(hold);
    assert!(matches!(&*signal.await.unwrap(), Outcome::Applied { generation: 3, .. }));
    assert!(matches!(&*spawn(sato()).await.unwrap(), Outcome::Applied { generation: 4, .. }));
    world.finish().await;
}
