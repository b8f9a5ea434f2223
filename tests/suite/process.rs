//! The program itself, as a service manager and an operator see it: start, signals, end, words and
//! exit codes.
mod alarms;
mod changes;
mod descriptors;
mod drain;
mod owed;
mod reloads;
mod remembered;
mod upgrade;
mod verbs;
mod walkthrough;

use std::ffi::OsStr;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use sekisho::devcerts::{DevPki, Existing};
use sekisho::mock::{
    Caller, CallerConfig, MockConfig, MockHandle, MockSpApi, PLANTED, Personality, Rate, Reply,
    Scenario, Throttling,
};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use crate::logs::{SOON, eventually};
use crate::streams::read_head;
use crate::support::{CONFIG, ORDERS, error_of, get, holds, pki, scratch, within};
use crate::upstream::tls_of;

/// A folder with everything a gateway needs, and a mock of Amazon.
struct Place {
    dir: PathBuf,
    pki: DevPki,
    amazon: MockHandle,
}

impl Place {
    async fn new() -> Self {
        let dir = scratch();
        let pki = pki();
        pki.write(&dir.join("pki"), Existing::Replace).unwrap();
        // Of what Amazon really gives, a crowd has used up the greatest burst in 25 s; on a busy machine
        // a test may take longer.
        let ample = Throttling::Every(Rate { per_second: 10_000.0, burst: 10_000 });
        let amazon = MockConfig {
            throttling: ample,
            ..MockConfig::new(Personality::Amazon, pki.upstream.clone())
        };
        let amazon = MockSpApi::start(amazon).await.unwrap();
        let place = Self { dir, pki, amazon };
        place.write(str::to_owned);
        place
    }

    /// Writes the configuration, changed, all of it at once. A connection may wait long for its first
    /// request, and what is spent of a quota stays so: on a busy machine an upgrade takes its time.
    fn write(&self, edit: impl FnOnce(&str) -> String) {
        let port = self.amazon.address().port().to_string();
        let text = CONFIG.replace("{amazon}", &port).replace("{warehouse}", &port);
        let text = text.replace("#bounds\n", "first_byte = \"1 min\"\n");
        let text = text.replace("\"3/min\"", "\"3/h\"");
        // Tests read one file, at midnight as well.
        let text = text.replace("[log]\n", "[log]\nrotate_every = \"30 days\"\n");
        self.put(&edit(&text));
    }

    /// Writes this configuration, all of it at once.
    fn put(&self, text: &str) {
        put_whole(&self.config(), text);
    }

    fn config(&self) -> PathBuf {
        self.dir.join("sekisho.toml")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("access.log")
    }

    fn actions(&self) -> Vec<String> {
        let actions = lines(&self.log()).into_iter();
        actions.filter_map(|line| line["event.action"].as_str().map(str::to_owned)).collect()
    }

    fn caller(&self) -> Caller {
        let mut config = CallerConfig::trusting(self.pki.ca.certificate());
        config.identity = self.pki.client("label-printer").cloned();
        config.deadline = SOON;
        Caller::new(config).unwrap()
    }

    async fn orders(&self, gateway: &Sekisho) -> Reply {
        self.caller().call(gateway.address().await, get(ORDERS)).await.unwrap()
    }
}

/// An upstream that says what the mock of Amazon says, and nothing until it is let go.
struct Held {
    port: u16,
    asked: Arc<AtomicUsize>,
    waits: Arc<Semaphore>,
}

impl Held {
    /// In Amazon's place, before a gateway that gives requests so long.
    async fn of(place: &Place, grace: &str) -> Self {
        let amazon = place.amazon.address();
        let orders = place.caller().call(amazon, get(ORDERS)).await.unwrap();
        let fields = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            orders.body.len()
        );
        let answer = [fields.as_bytes(), &orders.body].concat();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = tls_of(&place.pki.upstream);
        let (asked, waits) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
        let held = Self { port, asked: Arc::clone(&asked), waits: Arc::clone(&waits) };
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(tcp).await else { continue };
                let (asked, waits) = (Arc::clone(&asked), Arc::clone(&waits));
                let answer = answer.clone();
                tokio::spawn(async move {
                    read_head(&mut stream).await;
                    asked.fetch_add(1, Ordering::SeqCst);
                    let _let_go = waits.acquire().await;
                    stream.write_all(&answer).await.unwrap();
                    let _closed = stream.shutdown().await;
                });
            }
        });
        let endpoint = |port: u16| format!("https://localhost:{port}");
        place.write(|text| {
            let text = text.replace(&endpoint(amazon.port()), &endpoint(held.port));
            text.replace("shutdown_grace = \"2 s\"", &format!("shutdown_grace = \"{grace}\""))
        });
        held
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn is_asked(&self) {
        self.is_asked_by(1).await;
    }

    async fn is_asked_by(&self, callers: usize) {
        eventually("the upstream is asked", || (self.asked() >= callers).then_some(())).await;
    }

    fn lets_go(&self) {
        self.waits.close();
    }
}

/// Nobody who watches the file sees half of it.
fn put_whole(file: &Path, content: &str) {
    let new = PathBuf::from(format!("{}.new", file.display()));
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// Of a line that is just being written there may be a part, which is none yet.
fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _part)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A process of the program. Ends with the test at the latest.
struct Sekisho {
    child: Child,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

/// How a process ended, and what it said.
struct Ended {
    status: ExitStatus,
    out: String,
    err: String,
}

impl Sekisho {
    fn start(words: &[&OsStr], environment: &[(&str, &OsStr)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.args(words).envs(environment.iter().copied());
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, read_out) = collect(child.stdout.take().unwrap());
        let (err, read_err) = collect(child.stderr.take().unwrap());
        Self { child, out, err, readers: vec![read_out, read_err] }
    }

    fn run(place: &Place) -> Self {
        Self::start(&["run".as_ref(), place.config().as_ref()], &[])
    }

    /// Waits until standard error holds a text so many times.
    async fn says(&self, text: &str, times: usize) {
        let what = format!("{text:?} on standard error");
        let heard = || (self.err.lock().matches(text).count() >= times).then_some(());
        eventually(&what, heard).await;
    }

    async fn address(&self) -> SocketAddr {
        eventually("the address on standard error", || {
            let said = self.err.lock();
            let (_, after) = said.split_once("listening on ")?;
            after.split_once(" (apps)")?.0.parse().ok()
        })
        .await
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn ended(mut self) -> Ended {
        let status = eventually("the end of the process", || self.child.try_wait().unwrap()).await;
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let (out, err) = (self.out.lock().clone(), self.err.lock().clone());
        Ended { status, out, err }
    }

    async fn told_to_end(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }
}

impl Drop for Sekisho {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(
    mut from: impl Read + Send + 'static,
) -> (Arc<Mutex<String>>, std::thread::JoinHandle<()>) {
    let said = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&said);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            into.lock().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    (said, reader)
}

#[tokio::test(flavor = "multi_thread")]
async fn log_2_a_process_serves_ends_in_order_and_keeps_what_it_saw_to_itself() {
    let place = Place::new().await;
    let gateway = Sekisho::run(&place);
    let reply = place.orders(&gateway).await;
    assert_eq!(reply.status, 200);
    assert!(PLANTED.iter().any(|planted| holds(&reply.body, planted)), "personal data went by");

    // What makes libraries speak: broken answers, broken requests, no TLS at all.
    let marked = "/orders/v0/orders/zq8-planted-order/address?zq8-planted=zq8-planted";
    for scenario in [Scenario::CloseEarly, Scenario::Garbage, Scenario::Truncate { after: 9 }] {
        place.amazon.script(&[scenario]);
        let _ = place.caller().call(gateway.address().await, get(marked)).await;
    }
    let head = b"GET /zq8-planted HTTP/1.1\r\nhost: zq8-planted\r\nzq8 planted: x\r\n\r\n";
    let mut config = CallerConfig::trusting(place.pki.ca.certificate());
    config.alpn = sekisho::mock::Alpn::H1;
    let raw = Caller::new(config).unwrap().raw(gateway.address().await, head).await.unwrap();
    assert!(raw.bytes.starts_with(b"HTTP/1.1 400 "));
    let plain = std::net::TcpStream::connect(gateway.address().await).unwrap();
    std::io::Write::write_all(&mut &plain, head).unwrap();
    let _ = (&plain).read_to_end(&mut Vec::new());

    let ended = gateway.told_to_end().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    assert_eq!(ended.out, "");
    let actions = place.actions();
    for action in ["listener-bound", "started", "handshake-failed", "draining", "stopped"] {
        assert!(actions.iter().any(|had| had == action), "{action} is not in {actions:?}");
    }
    assert_eq!(actions.last().map(String::as_str), Some("stopped"));
    let log = std::fs::read(place.log()).unwrap();
    for (name, bytes) in [("standard error", ended.err.as_bytes()), ("the log", log.as_slice())] {
        for planted in PLANTED.iter().chain(&["zq8"]) {
            assert!(!holds(bytes, planted), "{planted:?} is in {name}");
        }
    }
    assert!(!holds(&log, "127.0.0."), "an address is in the log");
    assert_eq!(std::fs::metadata(place.log()).unwrap().permissions().mode() & 0o007, 0);
    let key = place.dir.join("state/pseudonym.key");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_is_applied_and_a_bad_one_changes_nothing() {
    let place = Place::new().await;
    let gateway = Sekisho::run(&place);
    assert_eq!(place.orders(&gateway).await.status, 200);

    let less = |text: &str| {
        text.replace(
            "allow = [\"orders/getOrders\", \"orders/getOrderAddress\"",
            "allow = [\"orders/getOrderAddress\"",
        )
    };
    place.write(less);
    gateway.signal(Signal::HUP);
    gateway.says("is in force", 1).await;
    let reply = place.orders(&gateway).await;
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0.as_str()),
        (403, "Sekisho.OperationNotGranted")
    );

    place.write(|text| text.replace("roles = [\"shipping\"]", "roles = [\"shiping\"]"));
    gateway.signal(Signal::HUP);
    gateway.says("stays in force", 1).await;
    gateway.says("write \"shipping\"", 1).await;
    assert_eq!(place.orders(&gateway).await.status, 403, "the one before goes on");

    // Mended, and noticed without a signal.
    let applied = gateway.err.lock().matches("is in force").count();
    place.write(str::to_owned);
    gateway.says("is in force", applied + 1).await;
    assert_eq!(place.orders(&gateway).await.status, 200);
    let ended = gateway.told_to_end().await;
    assert_eq!(ended.status.code(), Some(0));
    let actions = place.actions();
    for action in ["config-reloaded", "config-refused"] {
        assert!(actions.iter().any(|had| had == action), "{action} is not in {actions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_4_sigusr1_opens_the_log_anew() {
    let place = Place::new().await;
    let gateway = Sekisho::run(&place);
    let count = |file: &Path| {
        let lines = lines(file);
        lines.iter().filter(|line| line["event.dataset"] == "sekisho.access").count()
    };
    assert_eq!(place.orders(&gateway).await.status, 200);
    eventually("the line", || (count(&place.log()) == 1).then_some(())).await;
    let moved = place.dir.join("access.log.1");
    std::fs::rename(place.log(), &moved).unwrap();
    assert_eq!(place.orders(&gateway).await.status, 200, "lines go to the moved file meanwhile");
    gateway.signal(Signal::USR1);
    // Without the signal the writer would see after ten seconds that its file is elsewhere.
    let anew = eventually("a new file", || place.log().exists().then_some(()));
    within(Duration::from_secs(5), "opened by the signal", anew).await;
    assert_eq!(place.orders(&gateway).await.status, 200);
    assert_eq!(gateway.told_to_end().await.status.code(), Some(0));
    assert_eq!(count(&moved) + count(&place.log()), 3);
    assert!(count(&place.log()) >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_sigterm_lets_a_request_in_flight_finish() {
    let place = Place::new().await;
    let upstream = Held::of(&place, "20 s").await;
    let gateway = Sekisho::run(&place);
    let address = gateway.address().await;
    let caller = place.caller();
    let slow = tokio::spawn(async move { caller.call(address, get(ORDERS)).await });
    upstream.is_asked().await;
    assert_eq!(ready(&gateway).await, (Some(0), "ready\n".to_owned()));
    gateway.signal(Signal::TERM);
    eventually("no more connections are taken", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    })
    .await;
    assert!(!slow.is_finished(), "the process stopped listening while the request was under way");
    let draining = ready(&gateway).await;
    assert_eq!((draining.0, draining.1.as_str()), (Some(1), "sekisho: draining\n"));
    upstream.lets_go();
    let reply = slow.await.unwrap().unwrap();
    assert_eq!((reply.status.as_u16(), reply.end), (200, sekisho::mock::BodyEnd::Complete));
    assert_eq!(gateway.ended().await.status.code(), Some(0));
    let lines = lines(&place.log());
    let id = reply.header("x-sekisho-request-id").unwrap();
    let line = lines.iter().find(|line| line["sekisho.request_id"] == id).expect("its line");
    assert_eq!(line["event.outcome"], "allowed");
    assert_eq!(lines.last().unwrap()["event.action"], "stopped");
}

/// What `sekisho ready` ends with, and says.
async fn ready(gateway: &Sekisho) -> (Option<i32>, String) {
    let admin = gateway.admin().await.to_string();
    let words: [&OsStr; 2] = ["ready".as_ref(), admin.as_ref()];
    let ended = Sekisho::start(&words, &[]).ended().await;
    (ended.status.code(), ended.out + &ended.err)
}

/// Longer than the grace: it is cut, and even so it has its line.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_request_that_outlasts_the_grace_is_cut_and_recorded() {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"1 s\""));
    let gateway = Sekisho::run(&place);
    let address = gateway.address().await;
    place.amazon.script(&[Scenario::Delay { ms: 30_000 }]);
    let caller = place.caller();
    let endless = tokio::spawn(async move { caller.call(address, get(ORDERS)).await });
    eventually("the upstream is asked", || (place.amazon.total() == 1).then_some(())).await;
    let ended = gateway.told_to_end().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    assert!(endless.await.unwrap().is_err(), "the connection was cut");
    let lines = lines(&place.log());
    let requests: Vec<_> =
        lines.iter().filter(|line| line["event.dataset"] == "sekisho.access").collect();
    let [line] = requests[..] else { panic!("one request, one line: {lines:#?}") };
    assert_eq!(line["event.outcome"], "failed");
}

/// A configuration that can't be served: what is wrong, how to get there, what is said.
type Case<'c> = (&'c str, &'c dyn Fn(&str) -> String, &'c [&'c str]);

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_served_is_not_started_and_says_why() {
    let place = Place::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let key = place.dir.join("pki/server.key");
    let listener =
        |with: &str| format!("address = \"{with}\"\nnetworks = [\"loopback\"]\nupstreams");
    let log = |with: &str| format!("access = {{ file = \"{with}\" }}");
    let from = (listener("127.0.0.1:0"), log("access.log"));
    let cases: [Case<'_>; 5] = [
        (
            "a taken port",
            &|text| text.replace(&from.0, &listener(&taken)),
            &["listener apps", "can't be bound", "in use"],
        ),
        (
            "a mistake",
            &|text| text.replace("threads = 1", "thread = 1"),
            &["sekisho.toml:5:", "write `threads`", "can't be served"],
        ),
        (
            "a missing certificate",
            &|text| text.replace("pki/server.pem", "pki/absent.pem"),
            &["pki/absent.pem", "can't be served"],
        ),
        (
            "no directory for the log",
            &|text| text.replace(&from.1, &log("nowhere/access.log")),
            &["[log] access", "its directory does not exist"],
        ),
        (
            "an empty list of networks",
            &|text| {
                text.replace("networks = [\"loopback\"]\nupstreams", "networks = []\nupstreams")
            },
            &["NET-1", "can't be served"],
        ),
    ];
    for (what, edit, expect) in cases {
        place.write(|text| {
            let edited = edit(text);
            assert_ne!(edited, text, "{what}");
            edited
        });
        refuses_to_start(&place, what, expect).await;
    }
    place.write(str::to_owned);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    refuses_to_start(&place, "a key that others can read", &["pki/server.key", "600"]).await;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir_all(place.dir.join("state")).unwrap();
    let pseudonyms = place.dir.join("state/pseudonym.key");
    std::fs::write(&pseudonyms, [7; 32]).unwrap();
    std::fs::set_permissions(&pseudonyms, std::fs::Permissions::from_mode(0o640)).unwrap();
    refuses_to_start(&place, "a pseudonym key that others can read", &["pseudonym.key", "600"])
        .await;
    std::fs::remove_file(place.config()).unwrap();
    refuses_to_start(&place, "no configuration", &["sekisho.toml"]).await;
}

async fn refuses_to_start(place: &Place, what: &str, expect: &[&str]) {
    let ended = Sekisho::run(place).ended().await;
    assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.err);
    assert_eq!(ended.out, "", "{what}");
    for text in expect {
        assert!(ended.err.contains(text), "{what}: {text:?} is not in\n{}", ended.err);
    }
    let says_once_more = ended.err.lines().last().unwrap();
    assert!(says_once_more.starts_with("sekisho: "), "{what}: {says_once_more}");
    assert!(!ended.err.contains("panicked"), "{what}: {}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_lines_on_standard_output_are_lines_and_nothing_else() {
    let place = Place::new().await;
    place.write(|text| text.replace("access = { file = \"access.log\" }", "access = \"stdout\""));
    let gateway = Sekisho::run(&place);
    assert_eq!(place.orders(&gateway).await.status, 200);
    let ended = gateway.told_to_end().await;
    let lines: Vec<Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let requests = lines.iter().filter(|line| line["event.dataset"] == "sekisho.access").count();
    assert_eq!(requests, 1, "{}", ended.out);
    assert_eq!(lines.last().unwrap()["event.action"], "stopped");
}

/// The service manager's side of `sd_notify(3)`.
struct Manager(UnixDatagram);

impl Manager {
    /// The next word that is not a sign of life.
    fn hears(&self) -> String {
        loop {
            let word = self.next();
            if word != "WATCHDOG=1" {
                return word;
            }
        }
    }

    fn next(&self) -> String {
        let mut buffer = [0; 512];
        let count = self.0.recv(&mut buffer).expect("a word of the process");
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_how_the_process_stands() {
    let place = Place::new().await;
    let path = place.dir.join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(SOON)).unwrap();
    let config = place.config();
    let words: [&OsStr; 2] = ["run".as_ref(), config.as_ref()];
    let environment: [(&str, &OsStr); 2] =
        [("NOTIFY_SOCKET", path.as_ref()), ("WATCHDOG_USEC", "200000".as_ref())];
    let gateway = Sekisho::start(&words, &environment);
    assert!(manager.hears().starts_with("READY=1"));
    assert_eq!(place.orders(&gateway).await.status, 200, "ready means ready");

    let before = monotonic_usec();
    gateway.signal(Signal::HUP);
    let word = manager.hears();
    let usec = word.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&word);
    let usec: i128 = usec.trim_end().parse().unwrap();
    assert!(
        (before..=monotonic_usec()).contains(&usec),
        "{usec}: systemd compares it with its own"
    );
    assert!(manager.hears().starts_with("READY=1"));

    // Twice within the time after which the manager would restart the process.
    for _ in 0..3 {
        while manager.next() != "WATCHDOG=1" {}
    }
    gateway.signal(Signal::TERM);
    assert!(manager.hears().starts_with("STOPPING=1"));
    assert_eq!(gateway.ended().await.status.code(), Some(0));
}

fn monotonic_usec() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000
}
