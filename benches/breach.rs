//! From the request that breaches a rule, shown to the detectors, to the lock that refuses the next
//! one, through the functions that the gateway calls: target 1 ms on one gateway. What locks, quotas and
//! detectors together cost a request of one of 100,000 identities: target 2 µs. And the meter of traffic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measuring program: it may panic where it can't be set up"
)]
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use divan::counter::ItemsCount;
use sekisho::base::{ClientAddr, Clock, IdentityIx, ListenerIx, Moment, Name, RoleIx, UpstreamIx};
use sekisho::cli::run::Running;
use sekisho::config;
use sekisho::detect::{Canary, Event, Outcome};
use sekisho::devcerts::{DevPki, Existing, PkiPlan, TokenClaims};
use sekisho::engine::{ConnFacts, ConnLink, Done, Engine, Live, LockOrder, Target};
use sekisho::evidence::{Protocol, TlsVersion};
use sekisho::identity::{Presented, Proven};
use sekisho::lockout::Step;

const IDENTITIES: usize = 100_000;
/// As many as may be locked by rule at once are locked before anything is measured.
const LOCKED: usize = IDENTITIES / 20;

fn main() {
    divan::main();
}

/// A gateway with its engine, and a connection that nobody closes.
struct World {
    dir: PathBuf,
    pki: DevPki,
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    link: Arc<ConnLink>,
    next: AtomicUsize,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(Box::pin(running.stop()));
        }
        let _left = std::fs::remove_dir_all(&self.dir);
    }
}

const CONFIGURATION: &str = r#"
[gateway]
environment = "test"
state_dir = "state"
threads = 1
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
[[upstream]]
name = "amazon"
kind = "sp-api"
region = "fe"
stage = "sandbox"
endpoint = "https://localhost:9"
token_endpoint = "https://localhost:9"
ca = "pki/ca.pem"
[[issuer]]
name = "corp"
iss = "https://issuer.sekisho.test"
audiences = ["sekisho"]
algorithms = ["ES256"]
jwks = { file = "pki/tokens/signing.jwks" }
environment = "test"
not_before = "optional"
[lockout]
locked_per_mille = 1000
[role.orders]
purpose = "be locked"
allow = ["orders/*"]
limits = [{ operations = ["orders/*"], requests = ["900000/s", "1000000/min"] }]
[log]
access = { file = "access.log" }
[admin]
address = "127.0.0.1:0"
"#;

/// A file has bounds.
const TOGETHER: usize = 10_000;

fn identities(from: usize) -> String {
    let mut text = String::new();
    for n in from..from + TOGETHER {
        let _ = write!(
            text,
            "[identity.service-{n}]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
             token = {{ issuer = \"corp\", subject = \"service-{n}\" }}\n\
             networks = [\"loopback\"]\nroles = [\"orders\"]\n"
        );
    }
    text
}

impl World {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("sekisho-breach-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let clock = Clock::system();
        let plan = PkiPlan { environment: "test".to_owned(), ..PkiPlan::default() };
        let pki = DevPki::generate(&plan, clock.now()).expect("certificates");
        pki.write(&dir.join("pki"), Existing::Replace).expect("files");
        std::fs::write(dir.join("sekisho.toml"), CONFIGURATION).expect("a file");
        std::fs::create_dir_all(dir.join("policy")).expect("a directory");
        for from in (0..IDENTITIES).step_by(TOGETHER) {
            let file = dir.join(format!("policy/from-{from}.toml"));
            std::fs::write(file, identities(from)).expect("a file");
        }
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let running = runtime.block_on(async {
            let loaded = config::load(&dir.join("sekisho.toml"), 1, clock.now());
            let loaded = loaded.expect("a configuration");
            Running::start(loaded, clock).await.expect("a gateway")
        });
        let link = connection(&running.engine, Ipv4Addr::LOCALHOST);
        Self { dir, pki, runtime, running: Some(running), link, next: AtomicUsize::new(0) }
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.running.as_ref().expect("it runs").engine
    }

    /// What the token of one of the identities proves.
    fn proves(&self, live: &Live, n: usize) -> Proven {
        let claims =
            TokenClaims::new("https://issuer.sekisho.test", &format!("service-{n}"), "sekisho");
        let now = self.engine().clock.now();
        let token = self.pki.signer.sign(&claims, now).expect("a token");
        let presented = Presented::Bearer(token.as_bytes());
        self.engine().prove(live, &self.link, presented, now).expect("an identity")
    }
}

fn connection(engine: &Engine, from: Ipv4Addr) -> Arc<ConnLink> {
    let (live, now) = (engine.live(), engine.clock.now());
    let addr = ClientAddr::new(IpAddr::V4(from));
    let key = engine.pseudonyms(now);
    ConnLink::new(ConnFacts {
        listener: ListenerIx(0),
        listener_name: live.snapshot.names.listener(ListenerIx(0)).expect("a listener").clone(),
        source: addr.pseudonym(&key),
        source_day: key.day(),
        source_hash: engine.source(&addr),
        fingerprint: 1,
        networks: live.snapshot.networks.lookup(&addr),
        addr,
        generation: live.snapshot.generation,
        authorities: live.authorities(ListenerIx(0), now),
        server_name: None,
        certificate: None,
        chain: Vec::new(),
        balancer: None,
        tls: TlsVersion::V1_3,
        http: Protocol::Http1,
        bounds: live.snapshot.listeners[0].bounds.clone(),
    })
}

/// A request that touched a planted record: what its sender did is a theft, whoever sent it.
fn theft(who: IdentityIx, at: Moment) -> Event<'static> {
    Event {
        at,
        identity: Some(who),
        role: None,
        network: None,
        source: 7,
        operation: None,
        outcome: Outcome::Allowed,
        bytes: 2_000,
        records: 3,
        object: None,
        named: &[],
        fingerprint: 1,
        canary: Some(Canary { number: 1, planted_for: None }),
    }
}

/// Observed, judged, put in force, and the next request refused.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn from_the_breach_to_the_lock(bencher: divan::Bencher<'_, '_>) {
    let world = World::new();
    let engine = world.engine();
    let live: Arc<Live> = engine.live();
    // What a lock sets off in the background belongs to the runtime.
    let _within = world.runtime.enter();
    for n in 0..LOCKED {
        let who = world.proves(&live, n).identity();
        engine.observe(&live, &theft(who, engine.clock.now()), None, None);
    }
    world.next.store(LOCKED, Ordering::Relaxed);
    bencher
        .with_inputs(|| {
            let n = world.next.fetch_add(1, Ordering::Relaxed) % IDENTITIES;
            let who = world.proves(&live, n);
            let now = engine.clock.now();
            assert!(engine.admit_caller(&live, &world.link, &who, now).is_ok(), "free until now");
            who
        })
        .bench_values(|who| {
            let now = engine.clock.now();
            engine.observe(&live, &theft(who.identity(), now), None, None);
            let admitted = engine.admit_caller(&live, &world.link, &who, now);
            assert!(admitted.is_err(), "locked");
            black_box(admitted)
        });
}

/// An operator locks a network, and a connection from there, beside 5,000 from elsewhere, is cut.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn from_the_order_to_the_cut_of_a_network(bencher: divan::Bencher<'_, '_>) {
    let world = World::new();
    let engine = world.engine();
    let _within = world.runtime.enter();
    let _elsewhere: Vec<_> =
        (0..LOCKED).map(|_| engine.enrol(&connection(engine, Ipv4Addr::LOCALHOST))).collect();
    let parse = |text: &str| Name::parse(text).expect("a name");
    bencher
        .with_inputs(|| {
            let n = world.next.fetch_add(1, Ordering::Relaxed);
            let third = u8::try_from(n).expect("a sample has a network of its own");
            let link = connection(engine, Ipv4Addr::new(127, 1, third, 1));
            let network = format!("127.1.{third}.0/24").parse().expect("a network");
            let (by, case) = (parse("officer"), parse("CASE-1"));
            let target = Target::Network(network);
            let order = LockOrder { target, step: Step::Lock, lasts: None, by, case };
            (engine.enrol(&link), link, order)
        })
        .bench_values(|(enrolled, link, order)| {
            let locks = Arc::clone(engine);
            let locking = world.runtime.spawn(async move { locks.lock(&order).await });
            world.runtime.block_on(link.cut_off());
            (enrolled, locking)
        });
}

/// Whether somebody may go on, whether what they ask for is open, two windows of a quota, and what the
/// detectors are shown at the end. Each request is another identity's, so all memory is met cold.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn standing_quota_and_detectors(bencher: divan::Bencher<'_, '_>) {
    const ASKING: usize = 20_000;
    const TOGETHER: usize = 1_000;
    let world = World::new();
    let engine = world.engine();
    let live: Arc<Live> = engine.live();
    let _within = world.runtime.enter();
    let operation = live.snapshot.operation("orders/getOrders").expect("an operation");
    let ordinary = |who, at| Event {
        role: Some(RoleIx(0)),
        operation: Some(operation),
        object: Some(7),
        canary: None,
        ..theft(who, at)
    };
    for n in 0..u32::try_from(IDENTITIES).expect("a number") {
        engine.observe(&live, &ordinary(IdentityIx(n), engine.clock.now()), None, None);
    }
    let asking: Vec<_> =
        (0..ASKING).map(|n| world.proves(&live, n * (IDENTITIES / ASKING))).collect();
    bencher.counter(ItemsCount::new(TOGETHER)).bench(|| {
        let mut n = world.next.fetch_add(TOGETHER, Ordering::Relaxed);
        for _ in 0..TOGETHER {
            n += 1;
            // A stride of a prime comes to all of them, each after another's neighbours.
            let who = &asking[n.wrapping_mul(7_919) % ASKING];
            let now = engine.clock.now();
            let (mut caller, _pace) =
                engine.admit_caller(&live, &world.link, who, now).expect("free");
            let target = (operation, UpstreamIx(0));
            engine.admit_target(&live, &mut caller, target, Vec::new(), now).expect("open");
            let charged = live.quotas().charge(who.identity(), operation, UpstreamIx(0), now);
            assert!(charged.is_ok_and(|charged| charged.tightest.is_some()), "two windows");
            engine.observe(&live, &ordinary(who.identity(), now), Some(who.proof()), None);
        }
    });
}

#[divan::bench(sample_size = 1_000)]
fn the_meter_of_traffic(bencher: divan::Bencher<'_, '_>) {
    let world = World::new();
    let (engine, now) = (world.engine(), world.engine().clock.now());
    let live = engine.live();
    let done = Done { requests: 1, refused: 0, bytes: 4_000, records: 2 };
    bencher.counter(ItemsCount::new(1_u32)).bench(|| {
        let under_way = engine.begin_request();
        engine.note_traffic(black_box(&live), Some(IdentityIx(7)), black_box(done), now);
        under_way
    });
}
