//! Reloads as a service manager sees them, and what comes while one is under way.
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{
    Signal, WaitOptions, getpid, kill_process, set_child_subreaper, test_kill_process, waitpid,
};
use sekisho::mock::Alpn;

use super::remembered::records;
use super::upgrade::{Line, caller, orders, pid_of, program, text, upgrade};
use super::{Held, Manager, Place, Sekisho};
use crate::logs::{SOON, eventually};
use crate::support::{now, within};
use crate::upstream::nobody_s;

/// A program that yields a key hangs for ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_reload_that_hangs_keeps_nothing_else_waiting() {
    let place = Place::new().await;
    let path = place.dir.join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(SOON)).unwrap();
    let config = place.config();
    let gateway = Sekisho::start(
        &["run".as_ref(), config.as_ref()],
        &[("NOTIFY_SOCKET", path.as_ref()), ("WATCHDOG_USEC", "200000".as_ref())],
    );
    assert!(manager.hears().starts_with("READY=1"));
    let hangs = "key = { command = [\"/bin/sleep\", \"20\"] }";
    place.write(|text| text.replacen("key = \"pki/server.key\"", hangs, 1));
    gateway.signal(Signal::HUP);
    assert!(manager.hears().starts_with("RELOADING=1"));
    let began = now();
    for _ in 0..10 {
        assert_eq!(manager.next(), "WATCHDOG=1", "after {:?}", now().since(began));
    }
    assert_eq!(place.orders(&gateway).await.status, 200);
    // The log can be opened anew, and the process be told to end.
    std::fs::rename(place.log(), place.dir.join("access.log.1")).unwrap();
    gateway.signal(Signal::USR1);
    eventually("a new log", || place.log().exists().then_some(())).await;
    gateway.signal(Signal::TERM);
    assert!(manager.hears().starts_with("STOPPING=1"));
    // It does not wait for the program, which has most of its time left.
    let ended = within(Duration::from_secs(6), "the end", gateway.ended()).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    assert_eq!(place.actions().last().map(String::as_str), Some("stopped"));
}

/// Takes a gateway's place, and says which signals it gets.
const SUCCESSOR: &str = "#!/bin/sh
trap 'touch {here}/hup' HUP
trap 'exit 0' TERM
echo $$ > {here}/pid
read hello
echo '\"prepared\"' >&0
read go
touch {here}/swapping
while [ ! -e {here}/go-on ]; do sleep 0.02; done
echo '\"ready\"' >&0
read serve
{first}
echo '\"serving\"' >&0
while :; do sleep 0.05; done
";

fn successor(place: &Place, first: &str) -> String {
    let here = place.dir.to_str().unwrap();
    program(place, "successor", &SUCCESSOR.replace("{here}", here).replace("{first}", first))
}

async fn appears(file: &Path) {
    eventually(&file.display().to_string(), || file.exists().then_some(())).await;
}

fn successor_s_pid(place: &Place) -> u32 {
    std::fs::read_to_string(place.dir.join("pid")).unwrap().trim().parse().unwrap()
}

/// Waits for the end of whoever took a gateway's place.
async fn gone(pid: u32) {
    eventually("the end of the successor", || {
        match waitpid(Some(pid_of(pid)), WaitOptions::NOHANG) {
            Ok(ended) => ended.map(drop),
            Err(_) => test_kill_process(pid_of(pid)).is_err().then_some(()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_signal_during_a_swap_reaches_whoever_serves_after_it() {
    let place = Place::new().await;
    set_child_subreaper(Some(getpid())).unwrap();
    let gateway = Sekisho::run(&place);
    gateway.address().await;
    let binary = successor(&place, "");
    let words = ["--binary", binary.as_str()];
    let asked = upgrade(&place, &words);
    let meanwhile = async {
        appears(&place.dir.join("swapping")).await;
        gateway.signal(Signal::HUP);
        std::fs::write(place.dir.join("go-on"), "").unwrap();
    };
    let (done, ()) = tokio::join!(asked, meanwhile);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    appears(&place.dir.join("hup")).await;
    kill_process(pid_of(successor_s_pid(&place)), Signal::TERM).unwrap();
    gone(successor_s_pid(&place)).await;
    let ended = gateway.ended().await;
    assert!(!ended.err.contains("is in force"), "{}", ended.err);
}

/// Whether it is heard a moment before "serving" or a moment after, nobody serves in the end.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_process_that_is_told_to_stop_leaves_no_other_one_running() {
    for _ in 0..3 {
        let place = Place::new().await;
        set_child_subreaper(Some(getpid())).unwrap();
        let gateway = Sekisho::run(&place);
        gateway.address().await;
        let binary = successor(&place, "kill -TERM $PPID");
        std::fs::write(place.dir.join("go-on"), "").unwrap();
        let words = ["--binary", binary.as_str()];
        upgrade(&place, &words).await;
        assert_eq!(gateway.ended().await.status.code(), Some(0));
        gone(successor_s_pid(&place)).await;
    }
}

/// The one that came is told to stop while the one before still finishes a request: what that reveals
/// is written down.
#[tokio::test(flavor = "multi_thread")]
async fn mon_3_a_process_that_stops_waits_for_the_one_before() {
    let place = Place::new().await;
    let upstream = Held::of(&place, "20 s").await;
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let slow = {
        let caller = caller(&place, Alpn::H1);
        tokio::spawn(async move { caller.call(to, orders()).await })
    };
    upstream.is_asked().await;
    line.upgrade(&place, &[]).await;
    kill_process(pid_of(line.pid), Signal::TERM).unwrap();
    let stops = || (place.actions().iter().filter(|a| *a == "draining").count() == 2).then_some(());
    eventually("both stop", stops).await;
    assert!(!slow.is_finished());
    upstream.lets_go();
    for pid in [first, line.pid] {
        line.ended(pid).await;
    }
    assert_eq!(slow.await.unwrap().unwrap().status, 200);
    assert!(records(&place.ledger().await) > 0);
}

/// What nobody asked for, or is on trial, does not come into force by way of another process.
#[tokio::test(flavor = "multi_thread")]
async fn priv_3_an_upgrade_is_no_way_around_the_trial_or_the_second_person() {
    const LESS: &str = "allow = [\"orders/getOrderAddress\"";
    const MORE: &str = "allow = [\"orders/getOrders\", \"orders/getOrderAddress\"";
    let place = Place::new().await;
    let on_request = "[reload]\napply = \"on-request\"\ntrial = \"10 min\"\n#more\n";
    place.write(|text| text.replace("#more\n", on_request).replace(MORE, LESS));
    let mut line = Line::start(&place).await;
    let text_of = || std::fs::read_to_string(place.config()).unwrap();
    let (to, caller) = (line.address().await, place.caller());
    let refused = async |why: &str| {
        let output = upgrade(&place, &[]).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && said.contains("--with-configuration"), "{said}");
        assert_eq!(caller.call(to, orders()).await.unwrap().status, 403);
    };
    place.put(&text_of().replace(LESS, MORE));
    refused("waits for somebody to ask for it; 1 differences widen").await;
    line.first.signal(Signal::USR2);
    line.first.says("waits for somebody to ask for it", 2).await;
    // As it is in force, only written in another way.
    place.put(&(text_of().replace(MORE, LESS) + "\n# no more\n"));
    let first = line.pid;
    line.upgrade(&place, &[]).await;
    line.ended(first).await;

    // Asked for, and on trial.
    place.put(&(text_of() + "[detect]\n"));
    kill_process(pid_of(line.pid), Signal::HUP).unwrap();
    line.first.says("is in force", 1).await;
    refused("on trial for another").await;
    place.put(&text_of().replace(LESS, MORE));
    line.upgrade(&place, &["--with-configuration"]).await;
    assert_eq!(caller.call(to, orders()).await.unwrap().status, 200);
    line.stop().await;
}

/// What is written between the look and the reading nobody has looked at.
#[tokio::test(flavor = "multi_thread")]
async fn priv_3_an_upgrade_begins_with_the_texts_that_were_looked_at() {
    let place = Place::new().await;
    let mut line = Line::start(&place).await;
    let script = "#!/bin/sh\necho '# more' >>{config}\nexec {binary} \"$@\"\n";
    let script = script.replace("{config}", place.config().to_str().unwrap());
    let writes = script.replace("{binary}", env!("CARGO_BIN_EXE_sekisho"));
    let words = ["--binary", &program(&place, "writes", &writes)];
    let output = upgrade(&place, &words).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    // By the new process, unless that takes its time.
    assert!(said.contains(" changed ") && said.contains(": try again"), "{said}");
    // They are taken up then, and so are those that are put back.
    line.first.says("is in force", 1).await;
    place.write(str::to_owned);
    line.first.says("is in force", 2).await;
    // What they refer to may change whenever it likes.
    let script = "#!/bin/sh\ntouch {ca}\nexec {binary} \"$@\"\n";
    let script = script.replace("{ca}", place.dir.join("pki/ca.pem").to_str().unwrap());
    let touches = script.replace("{binary}", env!("CARGO_BIN_EXE_sekisho"));
    let first = line.pid;
    line.upgrade(&place, &["--binary", &program(&place, "touches", &touches)]).await;
    line.ended(first).await;
    line.upgrade(&place, &[&words[..], &["--with-configuration"]].concat()).await;
    line.stop().await;
}

/// The latest time that the host has seen is written down before another process looks at it.
#[tokio::test(flavor = "multi_thread")]
async fn tls_3_an_upgrade_does_not_forget_what_time_it_was() {
    let place = Place::new().await;
    let gateway = Sekisho::run(&place);
    gateway.address().await;
    let latest = || {
        let record = std::fs::read_to_string(place.dir.join("state/permit.clock")).ok()?;
        record.split(' ').nth(2)?.parse::<u64>().ok()
    };
    let at_start = eventually("a record", latest).await;
    eventually("another second", || (now().unix_secs() > at_start).then_some(())).await;
    let broken = program(&place, "broken", "#!/bin/sh\nexit 3\n");
    assert_eq!(upgrade(&place, &["--binary", &broken]).await.status.code(), Some(1));
    assert!(latest().unwrap() > at_start);
    gateway.told_to_end().await;
}

/// Versions lie side by side, and a link says which one is current.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_the_current_version_is_followed_anew() {
    set_child_subreaper(Some(getpid())).unwrap();
    let place = Place::new().await;
    let current = place.dir.join("current");
    for version in ["1.2", "1.3"] {
        std::fs::create_dir(place.dir.join(version)).unwrap();
    }
    symlink(env!("CARGO_BIN_EXE_sekisho"), place.dir.join("1.2/sekisho")).unwrap();
    program(&place, "1.3/sekisho", "#!/bin/sh\necho this is 1.3 >&2\nexit 3\n");
    for (name, search) in
        [(current.join("sekisho"), None), (PathBuf::from("sekisho"), Some(&current))]
    {
        symlink("1.2", &current).unwrap();
        let mut command = Command::new(name);
        command.arg("run").arg(place.config()).envs(search.map(|search| ("PATH", search)));
        let gateway = Sekisho::of(command);
        gateway.address().await;
        std::fs::remove_file(&current).unwrap();
        symlink("1.3", &current).unwrap();
        let output = upgrade(&place, &[]).await;
        assert!(text(&output.stderr).contains("this is 1.3"), "{}", text(&output.stderr));
        // Back, and told of the version.
        std::fs::remove_file(&current).unwrap();
        symlink("1.2", &current).unwrap();
        let output = upgrade(&place, &[]).await;
        let version = concat!("is sekisho ", env!("CARGO_PKG_VERSION"));
        assert!(text(&output.stderr).contains(version), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let pid = said.split_whitespace().nth(1).unwrap().parse().unwrap();
        kill_process(pid_of(pid), Signal::TERM).unwrap();
        gone(pid).await;
        assert_eq!(gateway.ended().await.status.code(), Some(0));
        std::fs::remove_file(&current).unwrap();
    }
}

/// As every other outcome of a reload, with the figures.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_what_is_put_back_is_told_on_standard_error() {
    let place = Place::new().await;
    let gateway = Sekisho::run(&place);
    let (caller, to) = (caller(&place, Alpn::H2), gateway.address().await);
    let open = caller.connect(to).await.unwrap();
    for _ in 0..60 {
        assert_eq!(open.call(orders()).await.unwrap().status, 200);
    }
    let (_kept, nobody) = nobody_s();
    let (from, to) = (place.amazon.address().port(), nobody.port());
    let endpoint = |port| format!("endpoint = \"https://localhost:{port}\"\ntoken_endpoint");
    place.write(|text| text.replace(&endpoint(from), &endpoint(to)));
    gateway.says("configuration 2 is in force", 1).await;
    for _ in 0..60 {
        open.call(orders()).await.unwrap();
    }
    gateway.says("configuration 2 was put back, 1 is in force again: at upstream amazon", 1).await;
    gateway.says("failed, 1000 in 1,000; before it were 0, and up to", 1).await;
    assert_eq!(open.call(orders()).await.unwrap().status, 200);
    gateway.told_to_end().await;
}
