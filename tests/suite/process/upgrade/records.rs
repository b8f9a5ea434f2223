//! What lies beside the state is written by one process at a time: by the one that has the state.
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::process::{Signal, kill_process};
use sekisho::mock::{Alpn, BodyEnd, Scenario};

use super::super::{Place, Sekisho};
use super::steady::{DIES, goes_on, in_time};
use super::{Line, caller, orders, pid_of, program, upgrade};
use crate::logs::eventually;
use crate::support::now;

const DAY: u64 = 86_400;
const RECORDS: [&str; 2] = ["client_crl.kept", "permit.clock"];

/// Puts these on the list of those who are revoked.
fn revoke(place: &Place, names: &[&str]) {
    let leaves: Vec<_> = names.iter().map(|name| place.pki.client(name).unwrap()).collect();
    let from = now().unix_secs() - 3_600;
    let list = place.pki.ca.revocation_list(&leaves, (from, from + 7 * DAY)).unwrap();
    std::fs::write(place.dir.join("revoked.crl"), list).unwrap();
}

async fn place() -> Place {
    let place = Place::new().await;
    revoke(&place, &[]);
    place.write(|text| {
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"20 s\"");
        let text = text.replace("#more\n", "[reload]\napply = \"on-request\"\n#more\n");
        let ca = "client_ca = \"pki/ca.pem\"";
        text.replacen(ca, &format!("{ca}\nclient_crl = [\"revoked.crl\"]"), 1)
    });
    place
}

fn written(place: &Place) -> Vec<u8> {
    std::fs::read(place.dir.join("state").join(RECORDS[0])).unwrap_or_default()
}

/// Sees what comes into the folder of the state.
struct Seen(OwnedFd);

impl Seen {
    fn from_now_on(place: &Place) -> Self {
        let seen = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        // Each record is made beside its place first; without that equal events in a row may be one.
        let what = WatchFlags::CREATE | WatchFlags::MOVED_TO;
        add_watch(&seen, place.dir.join("state"), what).unwrap();
        Self(seen)
    }

    /// The records that came since it was last asked.
    fn came(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4_096];
        let mut events = Reader::new(&self.0, &mut buffer);
        let next = || Some(events.next().ok()?.file_name()?.to_str().unwrap().to_owned());
        std::iter::from_fn(next).filter(|name| RECORDS.contains(&&**name)).collect()
    }
}

async fn reload(by: &Sekisho, pid: u32) {
    let count = || by.err.lock().matches("is in force").count();
    let before = count();
    kill_process(pid_of(pid), Signal::HUP).unwrap();
    eventually("the reload", || (count() > before).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_the_process_that_goes_writes_no_list_any_more() {
    let place = place().await;
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let printer = caller(&place, Alpn::H1);
    place.amazon.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 100 }]);
    let slow = tokio::spawn(async move { printer.call(to, orders()).await });
    eventually("the stream begins", || (place.amazon.total() == 1).then_some(())).await;
    let state = place.dir.join("state");
    let there = || RECORDS.iter().all(|name| state.join(name).exists()).then_some(());
    eventually("what the first one writes", there).await;
    let (seen, mut came) = (Seen::from_now_on(&place), Vec::new());
    line.upgrade(&place, &[]).await;
    // By the first one the time, for the next one to judge by; both by the next one, as at any start.
    eventually("what the next one writes", || {
        came.extend(seen.came());
        (came.len() == 3).then_some(())
    })
    .await;
    for revoked in [&["stock-reader"][..], &["stock-reader", "label-printer"]] {
        let before = written(&place);
        assert!(!slow.is_finished());
        revoke(&place, revoked);
        reload(&line.first, line.pid).await;
        eventually("it is kept", || (written(&place) != before).then_some(())).await;
    }
    // The other one followed: it has cut what it had.
    let cut = slow.await.unwrap();
    assert!(cut.is_ok_and(|reply| reply.end != BodyEnd::Complete));
    line.ended(first).await;
    came.extend(seen.came());
    came.sort_unstable();
    assert_eq!(came, [[RECORDS[0]; 3].as_slice(), &[RECORDS[1]; 2]].concat());
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_process_that_goes_on_keeps_lists_again() {
    in_time(keeps_lists_again).await;
}

async fn keeps_lists_again() -> Option<()> {
    let place = place().await;
    let mut line = Line::start(&place).await;
    let die = place.dir.join("die");
    let dies = program(&place, "dies", &DIES.replace("{die}", die.to_str().unwrap()));
    let output = upgrade(&place, &["--binary", &dies]).await;
    assert_eq!(output.status.code(), Some(0));
    std::fs::write(&die, "").unwrap();
    goes_on(&mut line, 1).await?;
    let before = written(&place);
    revoke(&place, &["stock-reader"]);
    reload(&line.first, line.pid).await;
    eventually("it is kept", || (written(&place) != before).then_some(())).await;
    line.stop().await;
    Some(())
}
