//! The gateway is told to stop in the middle of an upgrade.
use std::time::Duration;

use rustix::process::{Signal, kill_process, test_kill_process};
use sekisho::mock::{Alpn, BodyEnd, Scenario};
use sekisho::store::{Embedded, Gateway};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::Place;
use super::steady::{DIES, in_time};
use super::{Line, caller, orders, pid_of, program, text, upgrade};
use crate::logs::eventually;
use crate::support::{now, until_some};

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_stop_that_comes_while_everything_is_taken_back_is_not_lost() {
    for signal in [Signal::TERM, Signal::INT] {
        in_time(async || stops_while_it_takes_back(signal).await).await;
    }
}

async fn stops_while_it_takes_back(signal: Signal) -> Option<()> {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\""));
    let die = place.dir.join("die");
    let dies = program(&place, "dies", &DIES.replace("{die}", die.to_str().unwrap()));
    let mut line = Line::start(&place).await;
    let first = line.pid;
    line.upgrade(&place, &["--binary", &dies]).await;
    // While it is open here it can't be had back, which is tried once a second.
    let state = Embedded::open(&place.dir.join("state"), Gateway(1), now()).unwrap();
    std::fs::write(&die, "").unwrap();
    let dead = pid_of(line.pid);
    let seen = eventually("its end is seen", || {
        let ended = line.first.child.try_wait().unwrap().is_some();
        (ended || test_kill_process(dead).is_err()).then_some(!ended)
    });
    if !seen.await {
        // It was steady by then.
        line.all.retain(|pid| *pid != first);
        return None;
    }
    line.all.retain(|pid| *pid == first);
    line.first.signal(signal);
    eventually("the signal is there", || taken(first, signal).then_some(())).await;
    drop(state);
    line.ended(first).await;
    let actions = place.actions();
    let count = |wanted: &str| actions.iter().filter(|action| *action == wanted).count();
    assert_eq!((count("upgrade-done"), count("stopped")), (1, 1));
    // Of one that was steady, nothing was taken back.
    (count("upgrade-failed") == 1).then_some(())
}

/// The first one has the sockets as well, as long as the new one may die at once.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_whoever_connects_after_a_stop_in_an_upgrade_is_refused() {
    in_time(async || connects_after_a_stop().await).await;
}

async fn connects_after_a_stop() -> Option<()> {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"16 s\""));
    let mut line = Line::start(&place).await;
    let (first, to) = (line.pid, line.address().await);
    let began = Instant::now();
    line.upgrade(&place, &[]).await;
    // The new one has something to finish.
    place.amazon.script(&[Scenario::Delay { ms: 4_000 }]);
    let before = place.amazon.total();
    let caller = caller(&place, Alpn::H1);
    let under_way = tokio::spawn(async move { caller.call(to, orders()).await });
    eventually("it is under way", || (place.amazon.total() > before).then_some(())).await;
    kill_process(pid_of(line.pid), Signal::TERM).unwrap();
    until_some("nobody else comes in", async || TcpStream::connect(to).await.err()).await;
    let in_time = began.elapsed() < Duration::from_secs(4);
    assert_eq!(under_way.await.unwrap().unwrap().end, BodyEnd::Complete);
    line.ended(first).await;
    line.ended(line.pid).await;
    // Later the first one has let go of them by itself.
    in_time.then_some(())
}

/// Whether the system has handed a signal to a process.
fn taken(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = pending.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    pending.is_none_or(|bits| bits & (1 << (signal.as_raw() - 1)) == 0)
}

/// Says that it serves when it may, as one does that has many callers at once, and ends in order.
const SERVES: &str = "#!/bin/sh\ntrap 'touch {here}/ended; exit 0' TERM\nread hello\n\
    echo '\"prepared\"' >&0\nread go\necho '\"ready\"' >&0\nread serve\ntouch {here}/serves\n\
    while [ ! -e {here}/may ]; do sleep 0.3; done\necho '\"serving\"' >&0\n\
    while :; do sleep 0.05; done\n";

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_stop_waits_for_a_process_that_serves_already() {
    let place = Place::new().await;
    let mut line = Line::start(&place).await;
    let here = place.dir.to_str().unwrap();
    let serves = program(&place, "new", &SERVES.replace("{here}", here));
    let there = |name: &str| place.dir.join(name).exists();
    let words = ["--binary", serves.as_str()];
    let stop = async {
        eventually("it serves", || there("serves").then_some(())).await;
        line.first.signal(Signal::TERM);
        std::fs::write(place.dir.join("may"), "").unwrap();
    };
    let (output, ()) = tokio::join!(upgrade(&place, &words), stop);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    line.ended(line.pid).await;
    assert!(there("ended"), "it was told to end, and did so by itself");
    let actions = place.actions();
    assert!(!actions.contains(&"upgrade-failed".to_owned()), "{actions:?}");
}
