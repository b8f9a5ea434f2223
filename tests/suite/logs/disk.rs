//! The disk is full: what can't be written down does not pass, and nothing that passed is lost.
//!
//! The test starts itself again in a process of its own, once for each way of being cramped: a file
//! size limit works everywhere but holds for a whole process; a small `tmpfs` is a really full disk but
//! needs a mount namespace, which not every machine gives.
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sekisho::mock::Reply;
use sekisho::observe::{LogSlot, LogSpec};
use serde_json::Value;

use super::{SOON, admin, eventually};
use crate::support::{ORDERS, World, error_of, get, scratch};

const ROLE: &str = "SEKISHO_SUITE_CRAMPED";
const NAME: &str = "logs::disk::log_1_on_a_full_disk_nothing_passes_and_nothing_is_lost";
/// Requests that may pass before the room is used up.
const LEFT: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cramped {
    /// `RLIMIT_FSIZE`; the kernel then answers `EFBIG`.
    Limit,
    /// A full file system: `ENOSPC`.
    Tmpfs,
}

#[test]
fn log_1_on_a_full_disk_nothing_passes_and_nothing_is_lost() {
    match std::env::var(ROLE).as_deref() {
        Ok("limit") => run(Cramped::Limit),
        Ok("tmpfs") => run(Cramped::Tmpfs),
        _ => {
            again(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"], "limit", None);
            if let Some(unshare) = unshare() {
                let dir = scratch();
                let mount = "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$TMPDIR\" && exec \"$@\"";
                let mut words = unshare;
                words.extend(["sh", "-c", mount, "sh"]);
                again(&words, "tmpfs", Some(&dir));
                std::fs::remove_dir(&dir).expect("the mount was the other process's own");
            }
        }
    }
}

/// How a process gets a mount namespace of its own here, if it can.
fn unshare() -> Option<Vec<&'static str>> {
    [vec!["unshare", "--mount"], vec!["unshare", "--map-root-user", "--mount"]].into_iter().find(
        |words| {
            let tried = Command::new(words[0]).args(&words[1..]).arg("true").output();
            tried.is_ok_and(|out| out.status.success())
        },
    )
}

fn again(wrapper: &[&str], role: &str, temporary: Option<&Path>) {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--nocapture"]).env(ROLE, role);
    if let Some(dir) = temporary {
        command.env("TMPDIR", dir);
    }
    let out = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{role}: {said}");
}

impl Cramped {
    /// From now on the log can grow by a line or two.
    fn fill(self, world: &World) {
        match self {
            Self::Limit => {
                let length = std::fs::metadata(world.dir.join("access.log")).unwrap().len();
                let maximum = getrlimit(Resource::Fsize).maximum;
                // In the middle of the third line from here.
                let current = Some(length + 1_700);
                setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
            }
            Self::Tmpfs => {
                let mut ballast = File::create(ballast(world)).unwrap();
                while ballast.write_all(&[0; 4_096]).is_ok() {}
            }
        }
    }

    fn free(self, world: &World) {
        match self {
            Self::Limit => {
                let maximum = getrlimit(Resource::Fsize).maximum;
                setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
            }
            Self::Tmpfs => std::fs::remove_file(ballast(world)).unwrap(),
        }
    }
}

fn ballast(world: &World) -> PathBuf {
    world.dir.join("state/ballast")
}

fn run(cramped: Cramped) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(full_disk(cramped));
}

#[derive(Default)]
struct Answers {
    passed: Vec<String>,
    refused: Vec<String>,
}

impl Answers {
    fn take(&mut self, reply: &Reply) {
        let id = reply.header("x-sekisho-request-id").unwrap().to_owned();
        match reply.status.as_u16() {
            200 => self.passed.push(id),
            503 => {
                assert_eq!(error_of(reply).0, "Sekisho.LogUnavailable");
                self.refused.push(id);
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
}

async fn full_disk(cramped: Cramped) {
    let world = World::start().await;
    let session = world.printer().connect(world.address()).await.unwrap();
    let mut answers = Answers::default();
    answers.take(&session.call(get(ORDERS)).await.unwrap());
    eventually("the first line", || (world.requests().len() == 1).then_some(())).await;

    // As if so many requests were under way: their room is promised.
    let under_way: Vec<LogSlot> =
        (LEFT..LogSpec::LINES_MAX).map(|_| world.gateway.log.reserve().unwrap()).collect();
    cramped.fill(&world);
    // Refusals count as the outage's from when the writer, in its own time, has met it.
    for _ in 0..LEFT / 2 {
        answers.take(&session.call(get(ORDERS)).await.unwrap());
    }
    let waiting = f64::from(u32::try_from(under_way.len() + LEFT / 4).unwrap());
    let queued = || world.metric("sekisho_log_queue_lines");
    eventually("nothing is written", || (queued() >= waiting).then_some(())).await;
    while answers.refused.len() < 5 {
        answers.take(&session.call(get(ORDERS)).await.unwrap());
        assert!(answers.passed.len() < 3 * LEFT, "requests pass although nothing can be written");
    }
    assert!(answers.passed.len() > LEFT, "lines wait in memory first");
    let asked = usize::try_from(world.amazon.total()).unwrap();
    assert_eq!(asked, answers.passed.len(), "what is refused does not reach Amazon");
    // Other refusals are answered as ever, and wait in a room of their own.
    let reply = world.call(&world.nobody(), get(ORDERS)).await;
    assert_eq!((reply.status.as_u16(), error_of(&reply).0.as_str()), (401, "Sekisho.NoCredential"));
    let stranger = reply.header("x-sekisho-request-id").unwrap().to_owned();

    let ready = admin(&world, "GET", "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("access log"), "{ready}");
    assert!(admin(&world, "GET", "/livez").await.starts_with("HTTP/1.1 200 "));
    let full = world.metric("sekisho_log_full_total");
    assert_eq!(full.to_string(), answers.refused.len().to_string());

    cramped.free(&world);
    world.gateway.log.flush(SOON).expect("what waited is written");
    eventually("requests pass again", || world.gateway.engine.readiness().ok()).await;
    assert!(admin(&world, "GET", "/readyz").await.starts_with("HTTP/1.1 200 "));
    for _ in 0..3 {
        let reply = session.call(get(ORDERS)).await.unwrap();
        assert_eq!(reply.status, 200);
        answers.take(&reply);
    }
    under_way.into_iter().for_each(LogSlot::release);
    judge(&world, &answers, &stranger).await;
    drop(session);
    world.finish().await;
}

/// Every request that was answered has one whole line, and the outage is told.
async fn judge(world: &World, answers: &Answers, stranger: &str) {
    let total = answers.passed.len() + answers.refused.len() + 1;
    eventually("every line", || (world.requests().len() >= total).then_some(())).await;
    let text = std::fs::read_to_string(world.dir.join("access.log")).unwrap();
    assert!(text.ends_with('\n'));
    let mut lines: HashMap<String, Vec<Value>> = HashMap::new();
    for line in text.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Some(id) = line["sekisho.request_id"].as_str() {
            lines.entry(id.to_owned()).or_default().push(line);
        }
    }
    assert_eq!(lines.len(), total);
    let outcome = |id: &str| {
        let [line] = lines[id].as_slice() else { panic!("{id} has several lines") };
        (line["event.outcome"].as_str().unwrap(), line["sekisho.denial"].as_str())
    };
    for id in &answers.passed {
        assert_eq!(outcome(id), ("allowed", None));
    }
    for id in &answers.refused {
        assert_eq!(outcome(id), ("failed", Some("LogUnavailable")));
    }
    assert_eq!(outcome(stranger), ("denied", Some("NoCredential")));

    let [unavailable] = world.events("log-unavailable").try_into().expect("one outage");
    assert_eq!(unavailable["sekisho.detail"], "full");
    let [recovered] = world.events("log-recovered").try_into().expect("one recovery");
    assert_eq!(recovered["sekisho.count"], answers.refused.len(), "how many were refused");
    assert!(recovered["sekisho.elapsed_us"].as_u64().unwrap() > 0);
    assert_eq!(world.events("lines-lost"), Vec::<Value>::new());
    assert_eq!(world.metric("sekisho_log_lines_lost_total").to_string(), "0");
}
