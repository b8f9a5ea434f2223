//! Another configuration under traffic: 10,000 identities, 1,000 roles, all operations of the catalogue.
//!
//!     cargo bench --bench reload [-- --identities 10000 --rounds 8]
//!
//! Prints what reading and compiling takes, what the comparison with the one in force takes, what
//! building and swapping takes; how long a reader of the configuration in force was held up at most while
//! that went on; and the latency of real requests over TLS, at rest and during reloads. Every other round
//! changes what each role grants. Targets: all of a reload within 1 s; no request 5 ms later than at rest.
#![allow(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_debug_implementations,
    reason = "a measuring program: it reads clocks, prints, and may panic"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sekisho::base::Clock;
use sekisho::cli::run::Running;
use sekisho::cli::watch::Watched;
use sekisho::config::{self, diff};
use sekisho::devcerts::{DevPki, Existing, PkiPlan, TokenClaims};
use sekisho::engine::{Again, Order, Outcome, Trigger, Widening};
use sekisho::mock::{Call, Caller, CallerConfig};

const ROLES: usize = 1_000;
/// Requests a second while latency is measured.
const RATE: u64 = 2_000;
/// Identities of one policy file, which is bounded in bytes.
const IN_FILE: usize = 2_500;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |key: &str, default| {
        let place = words.iter().position(|word| word == key);
        place.and_then(|place| words.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let (identities, rounds) = (number("--identities", 10_000), number("--rounds", 8));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(identities, rounds));
}

/// A folder that is gone afterwards.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn measure(identities: usize, rounds: usize) {
    let dir = Dir(std::env::temp_dir().join(format!("sekisho-reload-{}", std::process::id())));
    std::fs::create_dir_all(dir.0.join("policy")).unwrap();
    let clock = Clock::system();
    let plan = PkiPlan { environment: "test".to_owned(), ..PkiPlan::default() };
    let pki = DevPki::generate(&plan, clock.now()).unwrap();
    pki.write(&dir.0.join("pki"), Existing::Replace).unwrap();
    aside(&dir.0, identities, &clock);
    in_force(&dir.0, (identities, rounds), &clock, &pki).await;
}

/// Nothing in force: reading, comparing, giving up.
fn aside(dir: &Path, identities: usize, clock: &Clock) {
    let main = write(dir, identities, 0);
    let began = Instant::now();
    let old = config::load(&main, 1, clock.now()).unwrap().snapshot;
    row("read and compile", began.elapsed());
    write(dir, identities, 1);
    let new = config::load(&main, 2, clock.now()).unwrap().snapshot;
    let began = Instant::now();
    let change = diff::compare(&old, &new);
    row("compare, every role changed", began.elapsed());
    println!("  {} lines, {} left out", change.lines.len(), change.omitted);
    let began = Instant::now();
    assert!(diff::compare(&new, &new).is_empty());
    row("compare, nothing changed", began.elapsed());
    let began = Instant::now();
    drop(old);
    row("give one up", began.elapsed());
}

/// A gateway at work, reloaded again and again.
async fn in_force(dir: &Path, (identities, rounds): (usize, usize), clock: &Clock, pki: &DevPki) {
    let main = write(dir, identities, 1);
    let watched = Arc::new(Watched::default());
    let loaded = config::load_from(&*watched, &main, 1, clock.now()).unwrap();
    let running = Running::start(loaded, clock.clone()).await.unwrap();
    running.follow(&main, &watched);
    let claims = TokenClaims::new("https://issuer.sekisho.test", "clerk", "sekisho");
    let token = pki.signer.sign(&claims, clock.now()).unwrap();
    let address = running.address("apps").unwrap();
    let caller = Caller::new(CallerConfig::trusting(pki.ca.certificate())).unwrap();
    let open = caller.connect(address).await.unwrap();
    let call = || {
        let mut call = Call::get("/orders/v0/orders/902-0000000-0000000/buyerInfo");
        let value = http::HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        call.headers.append(http::header::AUTHORIZATION, value);
        call
    };
    // Proved, judged, refused and written down: everything but an upstream.
    assert_eq!(open.call(call()).await.unwrap().status, 403);
    let stop = Arc::new(AtomicBool::new(false));
    let reloading = Arc::new(AtomicBool::new(false));
    let held = Arc::new(AtomicU64::new(0));
    let reader = reader(&running, &stop, &held);
    let load = {
        let (stop, reloading) = (Arc::clone(&stop), Arc::clone(&reloading));
        let calls: Vec<Call> = (0..RATE * 600).map(|_| call()).collect();
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_nanos(1_000_000_000 / RATE));
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
            let (mut rest, mut during) = (Vec::new(), Vec::new());
            for call in calls {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // From when it was due: a request that waits for the one before is late as well.
                let due = pace.tick().await.into_std();
                let busy = reloading.load(Ordering::Relaxed);
                let reply = open.call(call).await.unwrap();
                assert_eq!(reply.status, 403);
                let busy = busy || reloading.load(Ordering::Relaxed);
                if busy { &mut during } else { &mut rest }.push(due.elapsed());
            }
            (rest, during)
        })
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    row("a reader held up at rest, at most", Duration::from_nanos(held.swap(0, Ordering::Relaxed)));
    let mut took = Vec::new();
    for round in 0..rounds {
        write(dir, identities, round % 2);
        let order = Order {
            trigger: Trigger::Signal,
            expect: None,
            widening: Widening::Allowed,
            again: Again::Yes,
        };
        reloading.store(true, Ordering::Relaxed);
        let began = Instant::now();
        let outcome = running.engine.reload_files(order).await;
        took.push(began.elapsed());
        // The first requests afterwards belong to it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        reloading.store(false, Ordering::Relaxed);
        assert!(matches!(&*outcome, Outcome::Applied { .. }), "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    row("a reader held up in reloads, at most", Duration::from_nanos(held.load(Ordering::Relaxed)));
    stop.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    let (rest, during) = load.await.unwrap();
    took.sort();
    row("reload as a whole, median", took[took.len() / 2]);
    row("reload as a whole, slowest", took[took.len() - 1]);
    latency("at rest", rest);
    latency("in reloads", during);
    running.stop().await;
}

/// Asks for the configuration in force, as every request does, and remembers its longest wait.
fn reader(
    running: &Running,
    stop: &Arc<AtomicBool>,
    held: &Arc<AtomicU64>,
) -> std::thread::JoinHandle<()> {
    let (engine, stop, held) = (Arc::clone(&running.engine), Arc::clone(stop), Arc::clone(held));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            std::hint::black_box(engine.live().snapshot.generation);
            held.fetch_max(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(50));
        }
    })
}

fn latency(what: &str, mut list: Vec<Duration>) {
    list.sort();
    let at = |per_mille: usize| list[(list.len() - 1) * per_mille / 1_000];
    println!(
        "request {what}: {} of them, p50 {:?}, p99 {:?}, p99.9 {:?}, slowest {:?}",
        list.len(),
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
}

fn row(what: &str, took: Duration) {
    println!("{what:40} {:9.3} ms", took.as_secs_f64() * 1_000.0);
}

/// Main file and policy files; `variant` says what each role grants.
fn write(dir: &Path, identities: usize, variant: usize) -> PathBuf {
    let main = dir.join("sekisho.toml");
    std::fs::write(&main, MAIN).unwrap();
    let mut roles = String::new();
    let more = ["", ", \"feeds/getFeed\", \"catalogItems/*:read\""][variant];
    for n in 0..ROLES {
        let _ = write!(
            roles,
            "[role.r{n}]\npurpose = \"measure\"\nallow = [\"orders/getOrders\", \"sellers/*:read\"{more}]\n\
             query = [{{ operations = [\"orders/getOrders\"], deny = [\"BuyerEmail\"] }}]\n\
             limits = [{{ operations = [\"orders/*\"], requests = [\"10000/s\", \"300000/min\"] }}]\n"
        );
    }
    std::fs::write(dir.join("policy/roles.toml"), roles).unwrap();
    for (nth, start) in (0..identities).step_by(IN_FILE).enumerate() {
        let mut text = String::new();
        for n in start..identities.min(start + IN_FILE) {
            let (one, two) = (n % ROLES, (n * 7 + 1) % ROLES);
            let _ = write!(
                text,
                "[identity.i{n}]\nkind = \"service\"\nowner = \"team@example.com\"\n\
                 certificate = {{ san_uri = \"spiffe://example.com/i{n}\" }}\nnetworks = [\"loopback\"]\n\
                 roles = [\"r{one}\", \"r{two}\"]\n"
            );
        }
        std::fs::write(dir.join(format!("policy/identities-{nth}.toml")), text).unwrap();
    }
    main
}

const MAIN: &str = r#"
[gateway]
environment = "test"
state_dir = "state"
shutdown_grace = "2 s"
policy = ["policy/*.toml"]
[permit]
file = "pki/permit/host.permit"
issuers = ["pki/permit/issuer.pub"]
host_key = "pki/permit/host.key"
machine_id = "pki/permit/machine-id"
[network]
loopback = ["127.0.0.0/8"]
[[listener]]
name = "apps"
address = "127.0.0.1:0"
networks = ["loopback"]
upstreams = ["amazon"]
[listener.tls]
certificates = [{ certificate = "pki/server.pem", key = "pki/server.key" }]
client_ca = "pki/ca.pem"
client_auth = "optional"
[listener.bounds]
requests_per_connection = 1000000
[[upstream]]
name = "amazon"
kind = "sp-api"
region = "fe"
stage = "sandbox"
endpoint = "https://localhost:1"
token_endpoint = "https://localhost:1"
ca = "pki/ca.pem"
[[issuer]]
name = "corp"
iss = "https://issuer.sekisho.test"
audiences = ["sekisho"]
algorithms = ["ES256"]
jwks = { file = "pki/tokens/signing.jwks" }
environment = "test"
not_before = "optional"
[role.clerk]
purpose = "measure"
allow = ["orders/getOrders"]
[identity.clerk]
kind = "service"
owner = "team@example.com"
token = { issuer = "corp", subject = "clerk" }
networks = ["loopback"]
roles = ["clerk"]
[log]
access = { file = "access.log" }
[admin]
address = "127.0.0.1:0"
"#;
