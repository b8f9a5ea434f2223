//! How long a pseudonym lives, what happens to lines when files change under load, and what the admin
//! listener says about it all.
use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sekisho::admin::Admin;
use sekisho::config;
use sekisho::evidence::{AccessRecord, EventRecord, Record as _};
use sekisho::mock::{Caller, Reply};
use sekisho::observe::METRICS;
use serde_json::Value;

use super::{admin, eventually};
use crate::support::{CONFIG, ORDERS, Plan, World, bearing, get};

const DAY: Duration = Duration::from_secs(86_400);

/// Who called, as the log has it.
fn source(line: &Value) -> (String, u64) {
    let source = line["sekisho.source"].as_str().unwrap().to_owned();
    (source, line["sekisho.source_day"].as_u64().unwrap())
}

async fn seen(world: &World, caller: &Caller) -> (String, u64) {
    let reply = world.call(caller, get(ORDERS)).await;
    eventually("the line", || {
        let id = reply.header("x-sekisho-request-id").unwrap();
        world.requests().iter().find(|line| line["sekisho.request_id"] == id).map(source)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn log_2_a_pseudonym_lasts_one_utc_day() {
    let world = World::with(Plan::default().by_hand()).await;
    let printer = world.printer();
    let other = world.caller(|config| {
        config.identity = world.pki.client("label-printer").cloned();
        config.source = Some("127.0.0.2".parse().unwrap());
    });
    let today = seen(&world, &printer).await;
    assert_eq!(today, seen(&world, &printer).await, "the same within a day, on another connection");
    let beside = seen(&world, &other).await;
    assert_eq!(today.1, beside.1);
    assert_ne!(today.0, beside.0, "two addresses can be told apart");

    // Up to the day's last millisecond it stays, with the first of the next it is another one.
    let now_ms = world.gateway.engine.clock.now().unix_ms();
    let left = 86_400_000 - now_ms % 86_400_000;
    world.advance(Duration::from_millis(left - 1));
    assert_eq!(today, seen(&world, &printer).await);
    world.advance(Duration::from_millis(1));
    let tomorrow = seen(&world, &printer).await;
    assert_eq!(tomorrow.1, today.1 + 1);
    assert_ne!(tomorrow.0, today.0);
    assert_ne!(tomorrow.0, beside.0);

    // A connection that lives over midnight keeps the pseudonym of the day that is named beside it.
    let session = printer.connect(world.address()).await.unwrap();
    let before = session.call(get(ORDERS)).await.unwrap();
    world.advance(DAY);
    let after = session.call(get(ORDERS)).await.unwrap();
    for reply in [&before, &after] {
        let id = reply.header("x-sekisho-request-id").unwrap();
        let line = eventually("the line", || {
            world.requests().into_iter().find(|line| line["sekisho.request_id"] == id)
        });
        assert_eq!(source(&line.await), tomorrow);
    }
    let master = std::fs::read(world.dir.join("state/pseudonym.key")).unwrap();
    assert_eq!(master.len(), 32, "without this file no pseudonym can be traced to an address");
    world.finish().await;
}

/// Files of the access log, the current one among them.
fn log_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("access.log"))
        .collect();
    files.sort();
    files
}

/// How often each request id stands in all files together. Every line must be whole.
fn tally(dir: &Path) -> HashMap<String, u32> {
    let mut ids = HashMap::new();
    for file in log_files(dir) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{} ends in a torn line", file.display());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display()));
            if line["event.dataset"] == "sekisho.access" {
                *ids.entry(line["sekisho.request_id"].as_str().unwrap().to_owned()).or_default() +=
                    1;
            }
        }
    }
    ids
}

/// Calls from several connections at once while `disturb` is at work; the request ids answered. However
/// long it is at work, no more than a few calls are ahead of it.
async fn under_load(world: &World, mut disturb: impl FnMut(u32)) -> Vec<String> {
    const CALLERS: u32 = 4;
    const CALLS: u32 = 60;
    let analyst = world.token("analyst");
    let (done, mut answered) = tokio::sync::mpsc::channel(1);
    for caller in 0..CALLERS {
        // Half of them are granted, half refused: the two ways into the log.
        let own = if caller % 2 == 0 { world.printer() } else { world.nobody() };
        let call = bearing(get(ORDERS), &analyst).headers;
        let session = own.connect(world.address()).await.unwrap();
        let done = done.clone();
        tokio::spawn(async move {
            for _ in 0..CALLS {
                let mut one = get(if caller % 2 == 0 { ORDERS } else { "/feeds/2021-06-30/feeds" });
                if caller % 2 == 1 {
                    one.headers = call.clone();
                }
                let reply: Reply = session.call(one).await.unwrap();
                let id = reply.header("x-sekisho-request-id").unwrap().to_owned();
                done.send(id).await.unwrap();
            }
        });
    }
    drop(done);
    let mut ids = Vec::new();
    while let Some(id) = answered.recv().await {
        ids.push(id);
        disturb(u32::try_from(ids.len()).unwrap());
    }
    assert_eq!(ids.len(), usize::try_from(CALLERS * CALLS).unwrap());
    ids
}

async fn each_once(world: &World, ids: &[String]) {
    // Files are looked at for torn lines when nobody writes any more.
    eventually("every line", || (world.requests().len() >= ids.len()).then_some(())).await;
    let tally = tally(&world.dir);
    assert_eq!(tally.len(), ids.len());
    for id in ids {
        assert_eq!(tally.get(id), Some(&1), "{id}");
    }
    assert_eq!(world.metric("sekisho_log_lines_lost_total").to_string(), "0");
}

/// Rows as they are in a log, to bring a file near its bound.
fn filler(bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < bytes {
        out.extend_from_slice(
            b"{\"service.environment\":\"test\",\"event.dataset\":\"filler\",\"text\":\"",
        );
        out.extend_from_slice(&[b'.'; 960]);
        out.extend_from_slice(b"\"}\n");
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn log_4_rotation_under_load_keeps_every_line_once() {
    let by_size = "access = { file = \"access.log\" }\nrotate_bytes = \"1 MiB\"";
    let plan = Plan::default().replace("access = { file = \"access.log\" }", by_size);
    let world = World::with(plan).await;
    let log = world.dir.join("access.log");
    // The writer counts what it wrote; after a reopening it knows the file's whole length. A disk that
    // takes its time must not have it write much of what it does not know the place of, nor come to the
    // second filling before the first one led to a rotation.
    let fill = || {
        world.gateway.log.flush(super::SOON).unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        file.write_all(&filler((1 << 20) - 20_000 - length)).unwrap();
        world.gateway.log.reopen();
        world.gateway.log.flush(super::SOON).unwrap();
    };
    let ids = under_load(&world, |count| {
        if [40, 140].contains(&count) {
            fill();
        }
    })
    .await;
    each_once(&world, &ids).await;
    let files = log_files(&world.dir);
    assert!(files.len() >= 3, "two rotations: {files:?}");
    for file in &files {
        let length = std::fs::metadata(file).unwrap().len();
        assert!(length <= (1 << 20) + 20_000, "{}: {length}", file.display());
    }
    let rotated: Vec<String> =
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    assert!(rotated.concat().matches("\"event.action\":\"log-rotated\"").count() >= 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_4_a_file_moved_by_logrotate_is_begun_anew_and_every_line_kept() {
    let world = World::start().await;
    let log = world.dir.join("access.log");
    let mut moves = 0;
    let ids = under_load(&world, |count| {
        if count % 60 == 30 {
            moves += 1;
            std::fs::rename(&log, world.dir.join(format!("access.log.{moves}"))).unwrap();
            world.gateway.log.reopen();
            // logrotate's next round finds a new file.
            let _ = world.gateway.log.flush(super::SOON);
            assert!(log.exists(), "it is begun anew");
        }
    })
    .await;
    each_once(&world, &ids).await;
    assert_eq!(log_files(&world.dir).len(), 5);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_serves_numbers_and_health_and_nothing_else() {
    let world = World::start().await;
    world.call(&world.printer(), get(ORDERS)).await;
    world.call(&world.nobody(), get(ORDERS)).await;
    eventually("both lines", || (world.requests().len() == 2).then_some(())).await;
    // Whoever sees the number finds the line, and not the other way round.
    let counted = || {
        world.metric("sekisho_requests_total{operation=\"orders/getOrders\",outcome=\"allowed\"}")
            + world.metric("sekisho_denials_total{code=\"NoCredential\"}")
    };
    eventually("both numbers", || (counted() > 1.5).then_some(())).await;

    let metrics = admin(&world, "GET", "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.contains("cache-control: no-store\r\n"));
    for line in [
        "sekisho_requests_total{operation=\"orders/getOrders\",outcome=\"allowed\"} 1",
        "sekisho_requests_total{operation=\"-\",outcome=\"denied\"} 1",
        "sekisho_denials_total{code=\"NoCredential\"} 1",
        "sekisho_config_generation 1",
    ] {
        assert!(metrics.lines().any(|had| had == line), "{line}\n{metrics}");
    }
    let (_, body) = metrics.split_once("\r\n\r\n").unwrap();
    for line in body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(METRICS.iter().any(|doc| doc.name == name), "{name} is not documented");
    }

    let status = |said: &str| said.lines().next().unwrap().to_owned();
    assert_eq!(status(&admin(&world, "GET", "/livez").await), "HTTP/1.1 200 OK");
    assert_eq!(status(&admin(&world, "GET", "/readyz").await), "HTTP/1.1 200 OK");
    let head = admin(&world, "HEAD", "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for path in ["/", "/metrics/", "/Metrics", "/config", "/livez?x=1"] {
        let expect =
            if path == "/livez?x=1" { "HTTP/1.1 200 OK" } else { "HTTP/1.1 404 Not Found" };
        assert_eq!(status(&admin(&world, "GET", path).await), expect, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let said = admin(&world, method, "/metrics").await;
        assert_eq!(status(&said), "HTTP/1.1 405 Method Not Allowed", "{method}");
    }
    world.gateway.engine.begin_drain();
    let said = admin(&world, "GET", "/readyz").await;
    assert_eq!(status(&said), "HTTP/1.1 503 Service Unavailable");
    assert!(said.ends_with("draining\n"), "{said}");
    assert_eq!(status(&admin(&world, "GET", "/livez").await), "HTTP/1.1 200 OK");
    world.finish().await;
}

#[tokio::test]
async fn priv_3_the_admin_listener_is_on_loopback_or_not_at_all() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let address: SocketAddr = address.parse().unwrap();
        let refused = Admin::bind(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{address}");
    }
    let dir = crate::support::scratch();
    let text =
        CONFIG.replace("[admin]\naddress = \"127.0.0.1:0\"", "[admin]\naddress = \"0.0.0.0:0\"");
    assert_ne!(text, CONFIG);
    std::fs::write(dir.join("sekisho.toml"), text).unwrap();
    let errors = config::load(&dir.join("sekisho.toml"), 1, crate::support::now()).unwrap_err();
    assert!(errors.to_string().contains("error[PRIV-3]"), "{errors}");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The keys that the tests of this module allow are those that the types have.
#[test]
fn log_1_the_documented_keys_are_the_record_s() {
    let mut documented: Vec<&str> = super::ALWAYS.iter().chain(super::SOMETIMES).copied().collect();
    let mut written: Vec<&str> = AccessRecord::KEYS.to_vec();
    written.extend(["event.dataset", "service.environment"]);
    documented.sort_unstable();
    written.sort_unstable();
    assert_eq!(documented, written);
    assert!(EventRecord::KEYS.contains(&"event.action"));
}
