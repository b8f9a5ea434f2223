//! Another binary takes a process' place: what goes along, what is not lost, and what goes wrong.
mod alone;
mod given;
mod keys;
mod passed;
mod records;
mod shared;
mod slow;
mod slow_disk;
mod steady;
mod stopped;
mod streams;
mod told;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_child_subreaper, test_kill_process, waitpid,
};
use sekisho::devcerts::TokenClaims;
use sekisho::mock::{Alpn, Call, Caller, CallerConfig, Reply, Session};

use super::remembered::records;
use super::{Held, Place, Sekisho};
use crate::logs::{SOON, eventually};
use crate::support::crowd::{Crowd, Habit};
use crate::support::{AUDIENCE, ISSUER, ORDERS, bearing, get, now, until_some};

/// A gateway over all the processes that are it one after the other.
pub(super) struct Line {
    pub(super) first: Sekisho,
    /// The one that serves now.
    pub(super) pid: u32,
    all: Vec<u32>,
}

pub(super) fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

impl Line {
    pub(super) async fn start(place: &Place) -> Self {
        let line = Self::of(Sekisho::run(place));
        line.address().await;
        line
    }

    fn of(first: Sekisho) -> Self {
        // Whoever loses its parent becomes a child of this test, which sees how it ends.
        set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let pid = first.child.id();
        Self { first, pid, all: vec![pid] }
    }

    pub(super) async fn address(&self) -> SocketAddr {
        self.first.address().await
    }

    /// Asks for an upgrade as an operator does, who tries again where it is said so: files that changed
    /// while a busy machine took its time are read first.
    pub(super) async fn upgrade(&mut self, place: &Place, words: &[&str]) -> Output {
        let mut output = upgrade(place, words).await;
        for _ in 0..10 {
            if text(&output.stderr).contains("the gateway reads them first: try again") {
                output = upgrade(place, words).await;
            }
        }
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let pid = said.strip_prefix("process ").and_then(|said| said.split_once(" serves"));
        self.pid = pid.expect(&said).0.parse().unwrap();
        self.all.push(self.pid);
        output
    }

    /// Waits until a process that was relieved has ended.
    pub(super) async fn ended(&mut self, pid: u32) {
        if pid == self.first.child.id() {
            let status =
                eventually("the end of the first", || self.first.child.try_wait().unwrap());
            assert_eq!(status.await.code(), Some(0));
        } else {
            let status = eventually("the end of a process", || {
                // No child yet: the one that started it still drains.
                match waitpid(Some(pid_of(pid)), WaitOptions::NOHANG) {
                    Ok(ended) => ended.map(|(_pid, status)| status.exit_status()),
                    // The one that started it still drained, and saw its end; the log tells of that.
                    Err(_) if test_kill_process(pid_of(pid)).is_err() => Some(Some(0)),
                    Err(_) => None,
                }
            });
            assert_eq!(status.await, Some(0));
        }
        self.all.retain(|one| *one != pid);
    }

    pub(super) async fn stop(mut self) {
        kill_process(pid_of(self.pid), Signal::TERM).unwrap();
        for pid in self.all.clone() {
            self.ended(pid).await;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for pid in &self.all {
            // Only what this test started, and still has to wait for.
            let _ = kill_process(pid_of(*pid), Signal::KILL);
            if *pid != self.first.child.id() {
                let _ = waitpid(Some(pid_of(*pid)), WaitOptions::empty());
            }
        }
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `sekisho upgrade`, with these words. A gateway that took another one's place can be asked a moment
/// after that one said so, and once that is out of the way.
pub(super) async fn upgrade(place: &Place, words: &[&str]) -> Output {
    until_some("a gateway that can be asked", async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.arg("upgrade").arg(place.config()).args(words).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = text(&output.stderr);
        let not_yet = ["is the gateway running", "still finishes its requests"];
        if not_yet.iter().any(|why| said.contains(why)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return None;
        }
        Some(output)
    })
    .await
}

pub(super) fn caller(place: &Place, alpn: Alpn) -> Caller {
    let mut config = CallerConfig::trusting(place.pki.ca.certificate());
    config.identity = place.pki.client("label-printer").cloned();
    // Some calls last until they are cut.
    (config.deadline, config.alpn) = (6 * SOON, alpn);
    Caller::new(config).unwrap()
}

/// May call three times an hour.
async fn limited(place: &Place, address: SocketAddr) -> Session {
    let mut config = CallerConfig::trusting(place.pki.ca.certificate());
    // Some calls wait for an upgrade.
    (config.deadline, config.alpn) = (6 * SOON, Alpn::H1);
    Caller::new(config).unwrap().connect(address).await.unwrap()
}

async fn spend(place: &Place, on: &Session) -> Reply {
    let claims = TokenClaims::new(ISSUER, "limited-caller", AUDIENCE);
    let token = place.pki.signer.sign(&claims, now()).unwrap();
    on.call(bearing(get(ORDERS), &token)).await.unwrap()
}

pub(super) fn orders() -> Call {
    get(ORDERS)
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_no_request_is_lost_while_the_binary_is_swapped() {
    const SWAPS: usize = 3;
    let place = Place::new().await;
    // Whoever makes no call within it is cut; a machine that stands still does so for less.
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"10 s\""));
    let mut line = Line::start(&place).await;
    let to = line.address().await;
    let mut crowd = Crowd::new();
    let habit = |alpn, every_ms, keeps| Habit {
        caller: caller(&place, alpn),
        to,
        call: orders,
        every: Duration::from_millis(every_ms),
        keeps,
    };
    crowd.add(8, &habit(Alpn::H1, 40, true));
    crowd.add(8, &habit(Alpn::H2, 40, true));
    crowd.add(4, &habit(Alpn::Both, 400, false));
    let idle = caller(&place, Alpn::H1).connect(to).await.unwrap();
    for _ in 0..SWAPS {
        let before = crowd.tally.ok.load(Ordering::Relaxed);
        line.upgrade(&place, &[]).await;
        eventually("calls after a swap", || {
            (crowd.tally.ok.load(Ordering::Relaxed) > before + 50).then_some(())
        })
        .await;
    }
    drop(idle);
    let tally = crowd.stop().await;
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    assert_eq!(count(&tally.failed), 0, "{:#?}", tally.faults.lock());
    line.stop().await;
    let lines = super::lines(&place.log());
    let of = |key: &str, value: &str| lines.iter().filter(|line| line[key] == value).count();
    let answered = usize::try_from(count(&tally.ok)).unwrap();
    assert_eq!(of("event.dataset", "sekisho.access"), answered, "one line each, nothing twice");
    assert_eq!(of("event.outcome", "allowed"), answered);
    for (action, times) in [
        ("upgrade-begun", SWAPS),
        ("upgrade-done", SWAPS),
        ("upgrade-failed", 0),
        ("started", SWAPS + 1),
        ("draining", SWAPS + 1),
        ("stopped", SWAPS + 1),
    ] {
        assert_eq!(of("event.action", action), times, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_two_processes_together_spend_no_more_than_one() {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"20 s\""));
    let mut line = Line::start(&place).await;
    let to = line.address().await;
    let (open, printer) =
        (limited(&place, to).await, caller(&place, Alpn::H1).connect(to).await.unwrap());
    assert_eq!(spend(&place, &open).await.status, 200);
    assert_eq!(printer.call(orders()).await.unwrap().status, 200);
    let first = line.pid;
    line.upgrade(&place, &[]).await;
    // The one that goes still answers whoever has a connection, and says that it is the last answer.
    for reply in [spend(&place, &open).await, printer.call(orders()).await.unwrap()] {
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("connection"), Some("close"));
    }
    drop((open, printer));
    line.ended(first).await;
    let open = limited(&place, to).await;
    assert_eq!(spend(&place, &open).await.status, 200, "one of three was left");
    let refused = spend(&place, &open).await;
    assert_eq!(refused.status, 429, "one before, one meanwhile, one after: {}", refused.text());
    let printer = caller(&place, Alpn::H1);
    assert_eq!(printer.call(to, orders()).await.unwrap().status, 200);
    line.stop().await;
    // What was revealed before, meanwhile and after is in one ledger.
    let ledger = place.ledger().await;
    let one = records(&ledger) / 3;
    assert!(one > 0 && records(&ledger) == 3 * one, "{}", records(&ledger));
    assert_eq!(place.amazon.total(), 6);
}

/// Programs that are no gateway, what is said of them, and whether they had the state in hand.
const BROKEN: [(&str, &str, &[&str]); 7] = [
    ("#!/nowhere/at/all\n", "can't be started", &[]),
    ("#!/bin/sh\necho no such library >&2\nexit 3\n", "exit status: 3", &["no such library"]),
    ("#!/bin/sh\nexec sleep 60\n", "was not prepared in time", &[]),
    ("#!/bin/sh\nread hello\necho '\"prepared\"' >&0\nread go\nexit 7\n", "exit status: 7", &[]),
    (
        "#!/bin/sh\nread hello\necho '\"prepared\"' >&0\nread go\nexec sleep 60\n",
        "was not ready in time",
        &[],
    ),
    (
        "#!/bin/sh\nread hello\necho '\"prepared\"' >&0\nread go\necho '\"ready\"' >&0\nexit 7\n",
        "exit status: 7",
        &[],
    ),
    (
        "#!/bin/sh\nread hello\necho '\"prepared\"' >&0\nread go\necho '\"ready\"' >&0\nread serve\nexit 8\n",
        "exit status: 8",
        &[],
    ),
];

pub(super) fn program(place: &Place, name: &str, script: &str) -> String {
    let path = place.dir.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_whatever_is_wrong_with_the_new_one_the_old_one_goes_on() {
    let place = Place::new().await;
    let line = Line::start(&place).await;
    let to = line.address().await;
    let open = caller(&place, Alpn::H1).connect(to).await.unwrap();
    let limited = limited(&place, to).await;
    assert_eq!(spend(&place, &limited).await.status, 200);
    for (number, (script, why, said)) in BROKEN.into_iter().enumerate() {
        let binary = program(&place, &format!("broken-{number}"), script);
        // Who sleeps is waited for to the end.
        let within = if script.ends_with("sleep 60\n") { "2" } else { "20" };
        let output = upgrade(&place, &["--binary", &binary, "--within", within]).await;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(text(&output.stdout), "");
        for word in said.iter().chain(&[why]) {
            assert!(told.contains(word), "{word:?} is not in {told}");
        }
        let reply = open.call(orders()).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, Some("keep-alive")));
    }
    // A binary that is not there is found by whoever asks.
    let output = upgrade(&place, &["--binary", "/nowhere/at/all"]).await;
    assert!(text(&output.stderr).contains("--binary can't be found"));

    // The new one can't use what the old one still serves: who asks beforehand is told at once.
    let good = std::fs::read_to_string(place.config()).unwrap();
    place.write(|text| text.replace("roles = [\"shipping\"]", "roles = [\"shiping\"]"));
    line.first.says("stays in force", 1).await;
    let output = upgrade(&place, &[]).await;
    assert!(text(&output.stderr).contains("write \"shipping\""), "{}", text(&output.stderr));
    // And who doesn't, by the new process.
    line.first.signal(Signal::USR2);
    line.first.says("the new process ended by itself (exit status: 1)", 1).await;
    line.first.says("write \"shipping\"", 2).await;
    // One of another gateway is no successor.
    place.put(&good.replace("\"state\"", "\"elsewhere\""));
    std::fs::create_dir_all(place.dir.join("elsewhere")).unwrap();
    line.first.signal(Signal::USR2);
    line.first.says("gateway.state_dir changed: stop", 1).await;
    place.put(&good);

    // Everything is remembered by one that was given back its state twice.
    for _ in 0..2 {
        assert_eq!(spend(&place, &limited).await.status, 200);
    }
    assert_eq!(spend(&place, &limited).await.status, 429);
    line.stop().await;
    let again = Sekisho::run(&place);
    let address = again.address().await;
    let limited = self::limited(&place, address).await;
    assert_eq!(spend(&place, &limited).await.status, 429);
    again.told_to_end().await;
    let failed = place.actions().iter().filter(|action| *action == "upgrade-failed").count();
    assert_eq!(failed, BROKEN.len() + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_nothing_else_happens_in_the_middle_of_a_swap() {
    let place = Place::new().await;
    let line = Line::start(&place).await;
    let limited = limited(&place, line.address().await).await;
    for _ in 0..3 {
        assert_eq!(spend(&place, &limited).await.status, 200);
    }
    let go_on = place.dir.join("go-on");
    let waits = format!("while [ ! -e {} ]; do sleep 0.05; done\nexit 7", go_on.display());
    let hangs = program(&place, "hangs", &BROKEN[4].0.replace("exec sleep 60", &waits));
    let words = ["--binary", hangs.as_str(), "--within", "20"];
    let first = upgrade(&place, &words);
    let more = async {
        eventually("the state is let go of", || {
            sekisho::store::Embedded::open(
                &place.dir.join("state"),
                sekisho::store::Gateway(1),
                now(),
            )
            .is_ok()
            .then_some(())
        })
        .await;
        // Another upgrade is refused; another configuration waits its turn.
        let second = upgrade(&place, &[]).await;
        assert_eq!(second.status.code(), Some(1));
        assert!(text(&second.stderr).contains("under way already"), "{}", text(&second.stderr));
        line.first.signal(Signal::HUP);
        assert!(!line.first.err.lock().contains("is in force"));
        std::fs::write(&go_on, "").unwrap();
    };
    let (first, ()) = tokio::join!(first, more);
    assert!(text(&first.stderr).contains("exit status: 7"), "{}", text(&first.stderr));
    line.first.says("is in force", 1).await;
    std::fs::remove_file(&go_on).unwrap();

    // Told to stop meanwhile, it takes its state back, writes it down and stops.
    let asked = upgrade(&place, &words[..2]);
    let stop = async {
        let begun = || {
            let begun = place.actions().iter().filter(|action| *action == "upgrade-begun").count();
            (begun == 2).then_some(())
        };
        eventually("the second one begins", begun).await;
        line.first.signal(Signal::TERM);
    };
    let (asked, ()) = tokio::join!(asked, stop);
    assert!(text(&asked.stderr).contains("told to stop"), "{}", text(&asked.stderr));
    line.stop().await;
    let again = Sekisho::run(&place);
    let limited = self::limited(&place, again.address().await).await;
    assert_eq!(spend(&place, &limited).await.status, 429);
    again.told_to_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_long_outlives_the_swap_and_the_manager_follows() {
    let place = Place::new().await;
    let upstream = Held::of(&place, "20 s").await;
    let path = place.dir.join("notify");
    let manager = super::Manager(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(SOON)).unwrap();
    let config = place.config();
    let first =
        Sekisho::start(&["run".as_ref(), config.as_ref()], &[("NOTIFY_SOCKET", path.as_ref())]);
    assert!(manager.hears().starts_with("READY=1"));
    let mut line = Line::of(first);
    let pid = line.pid;
    let to = line.address().await;
    let slow = {
        let caller = caller(&place, Alpn::H1);
        tokio::spawn(async move { caller.call(to, orders()).await })
    };
    upstream.is_asked().await;
    line.upgrade(&place, &[]).await;
    assert!(!slow.is_finished());
    upstream.lets_go();
    // One word from each, in either order: who is the service now, and that it serves.
    let heard = [manager.hears(), manager.hears()];
    let main = format!("MAINPID={}", line.pid);
    assert!(heard.iter().any(|word| word.starts_with(&main)), "{heard:?}");
    assert!(heard.iter().any(|word| word.starts_with("READY=1")), "{heard:?}");
    assert_eq!(caller(&place, Alpn::H2).call(to, orders()).await.unwrap().status, 200);
    assert_eq!(slow.await.unwrap().unwrap().status, 200, "it was under way");
    line.ended(pid).await;
    let last = line.pid;
    kill_process(pid_of(last), Signal::TERM).unwrap();
    assert!(manager.hears().starts_with("STOPPING=1"));
    line.stop().await;
}
