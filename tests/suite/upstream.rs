//! TLS-2: an upstream proves itself or gets nothing; and what happens when it fails: nothing is sent
//! twice that may not be, one upstream's trust is never another's, and each failure has its name.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use sekisho::base::Clock;
use sekisho::devcerts::{Leaf, LeafPlan, LeafUse};
use sekisho::mock::{
    Alpn, Call, ClientAuth, Flow, MockConfig, MockHandle, MockSpApi, Personality, Reply, Scenario,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::hygiene::printer;
use crate::support::{Plan, World, bearing, error_of, get, until};
use crate::wire::counted;

mod breaker;

const STOCK: &str = "/stock/A";

/// An upstream that plays its bytes, one answer for each head that it reads.
pub struct Scripted {
    pub address: SocketAddr,
    heads: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Scripted {
    pub async fn start(world: &World, answers: &[&[u8]]) -> Self {
        let answers: Arc<Vec<Vec<u8>>> = Arc::new(answers.iter().map(|own| own.to_vec()).collect());
        let tls = upstream_tls(world);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(AtomicUsize::new(0));
        let closed = Arc::new(AtomicUsize::new(0));
        let (count, ends) = (Arc::clone(&heads), Arc::clone(&closed));
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, count, ends) = (tls.clone(), Arc::clone(&count), Arc::clone(&ends));
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    let Ok(mut stream) = tls.accept(tcp).await else { return };
                    let mut head = Vec::new();
                    while let Ok(byte) = stream.read_u8().await {
                        head.push(byte);
                        if head.ends_with(b"\r\n\r\n") {
                            head.clear();
                            let nth = count.fetch_add(1, Ordering::SeqCst);
                            let answer = &answers[nth % answers.len()];
                            let _ = stream.write_all(answer).await;
                            let _ = stream.flush().await;
                        }
                    }
                    ends.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, heads, closed, task }
    }

    /// How many connections the gateway has ended.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many request heads came.
    pub fn heads(&self) -> usize {
        self.heads.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// TLS as the world's upstreams speak it.
pub fn upstream_tls(world: &World) -> tokio_rustls::TlsAcceptor {
    tls_of(&world.pki.upstream)
}

pub fn tls_of(leaf: &Leaf) -> tokio_rustls::TlsAcceptor {
    let tls = rustls::ServerConfig::builder_with_provider(sekisho::engine::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(leaf.chain(), leaf.private_key().unwrap());
    tokio_rustls::TlsAcceptor::from(Arc::new(tls.unwrap()))
}

/// Makes `address` the warehouse, with these lines besides.
pub async fn lead_to(world: &World, address: SocketAddr, lines: &str) {
    lead_to_all(world, address.port(), &[address], &format!("ca = \"pki/ca.pem\"\n{lines}")).await;
}

pub async fn lead_to_all(world: &World, port: u16, addresses: &[SocketAddr], lines: &str) {
    let applied = world.reload(|text| {
        let head = "name = \"warehouse\"\nkind = \"https\"\n";
        let (before, rest) = text.split_once(head).unwrap();
        let (_, after) = rest.split_once("\n\n").unwrap();
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        format!(
            "{before}{head}endpoint = \"https://localhost:{port}\"\naddresses = {addresses:?}\n\
             {lines}\n\n{after}"
        )
    });
    assert!(applied.await, "the configuration was refused");
}

async fn warehouse(leaf: Leaf, edit: impl FnOnce(&mut MockConfig)) -> MockHandle {
    let mut config = MockConfig::new(Personality::Warehouse, leaf);
    edit(&mut config);
    MockSpApi::start(config).await.unwrap()
}

/// An address where nobody listens, kept from others as long as the socket lives.
pub fn nobody_s() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// An address where nobody listens until somebody does who was given it: none that connections get.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let own = usize::try_from(std::process::id()).unwrap() * 97;
    loop {
        let nth = own + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = ([127, 0, 0, 1], u16::try_from(20_000 + nth % 12_000).unwrap()).into();
        if std::net::TcpListener::bind::<SocketAddr>(address).is_ok() {
            return address;
        }
    }
}

fn post(body: Flow) -> Call {
    Call::post("/upload", body)
}

/// The answer of a failed upstream, and how it was written down.
fn assert_failed(world: &World, reply: &Reply, status: u16, detail: &str) {
    assert_eq!(reply.status.as_u16(), status, "{detail}: {}", reply.text());
    assert_eq!(error_of(reply).0, "Sekisho.UpstreamFailed");
    let line = world.line_of(reply);
    assert_eq!(line["sekisho.detail"], detail, "{line}");
    assert_eq!(line["sekisho.denial"], "UpstreamFailed");
    let control = if detail == "Untrusted" { "TLS-2".into() } else { serde_json::Value::Null };
    assert_eq!(line["sekisho.control"], control, "a failure enforces no control");
    assert_eq!(line["event.outcome"], "failed");
    assert_eq!(line["sekisho.upstream"], "warehouse");
    assert_eq!(line["http.response.status_code"], status);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_an_upstream_that_can_t_prove_itself_gets_nothing() {
    let world = World::start().await;
    let now = Clock::system().now();
    let names = ["localhost".to_owned()];
    let good = LeafPlan::server(&names, now);
    let issue = |plan: &LeafPlan| world.pki.ca.issue(plan).unwrap();
    let elsewhere = LeafPlan::server(&["elsewhere.test".to_owned()], now);
    let expired = LeafPlan { not_after: now.unix_secs() - 60, ..good.clone() };
    let early = LeafPlan { not_before: now.unix_secs() + 3_600, ..good.clone() };
    let client = LeafPlan { usage: LeafUse::Client, ..good.clone() };
    let common_name_only = LeafPlan { names: Vec::new(), ..good.clone() };
    let impostors = [
        world.pki.rogue.server.clone(),
        issue(&elsewhere),
        issue(&expired),
        issue(&early),
        issue(&client),
        issue(&common_name_only),
    ];
    let mut failures = 0;
    for (nth, leaf) in impostors.into_iter().enumerate() {
        let impostor = warehouse(leaf, |_| {}).await;
        for protocol in ["auto", "http/1.1", "h2"] {
            let lines = format!(
                "protocol = \"{protocol}\"\nbreaker = {{ failures = 1000, open = \"1 s\" }}"
            );
            lead_to(&world, impostor.address(), &lines).await;
            let caller = printer(&world, Alpn::Both);
            for call in [Call::get(STOCK), post(Flow::whole("secret"))] {
                let reply = world.call(&caller, call).await;
                assert_failed(&world, &reply, 502, "Untrusted");
                assert_eq!(world.line_of(&reply)["sekisho.attempts"], 1, "impostor {nth}");
                assert_eq!(world.line_of(&reply)["sekisho.control"], "TLS-2");
                failures += 1;
            }
        }
        assert_eq!(impostor.total(), 0, "impostor {nth}");
    }
    // Both come after the request's line.
    counted(&world, "sekisho_denials_total{code=\"UpstreamFailed\"}", 36).await;
    until("each is told", || world.events("upstream-untrusted").len() == failures).await;
    lead_to(&world, world.warehouse.address(), "").await;
    assert_eq!(world.call(&printer(&world, Alpn::Both), Call::get(STOCK)).await.status, 200);
    world.finish().await;
}

pub fn pin(leaf: &Leaf) -> String {
    let hex: Vec<_> = leaf.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.join(":")
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_a_pin_is_the_leaf_s_and_is_checked_before_a_byte_leaves() {
    let world = World::start().await;
    let right = pin(&world.pki.upstream);
    let wrong = pin(&world.pki.server);
    let caller = printer(&world, Alpn::Both);
    for protocol in ["http/1.1", "h2"] {
        // A connection is in the pool before the pin asks for another certificate.
        let line = format!("protocol = \"{protocol}\"");
        lead_to(&world, world.warehouse.address(), &line).await;
        assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
        let before = world.warehouse.total();
        for (pins, status) in [
            (format!("pins = [\"{wrong}\"]"), 502),
            (format!("pins = [\"{right}\"]"), 200),
            (format!("pins = [\"{wrong}\", \"{right}\"]"), 200),
        ] {
            lead_to(&world, world.warehouse.address(), &format!("{line}\n{pins}")).await;
            for call in [Call::get(STOCK), post(Flow::whole("secret"))] {
                let reply = world.call(&caller, call).await;
                assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
                if status == 502 {
                    assert_failed(&world, &reply, 502, "Untrusted");
                }
            }
        }
        assert_eq!(world.warehouse.total() - before, 4);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_the_gateway_shows_its_certificate_where_one_is_demanded() {
    let world = World::start().await;
    let authority = world.pki.ca.certificate();
    let strict = warehouse(world.pki.upstream.clone(), |config| {
        config.client_auth = ClientAuth::Required(vec![authority]);
    })
    .await;
    let caller = printer(&world, Alpn::Both);
    for protocol in ["http/1.1", "h2"] {
        let shown = |name: &str| {
            format!(
                "protocol = \"{protocol}\"\nclient_certificate = {{ certificate = \
                 \"pki/clients/{name}.pem\", key = \"pki/clients/{name}.key\" }}"
            )
        };
        for name in ["order-importer", "stock-reader"] {
            lead_to(&world, strict.address(), &shown(name)).await;
            assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
            // The certificate is part of the pool's key: the other one's connection is not taken.
            let seen = strict.last().unwrap().client_certificate;
            assert_eq!(seen, Some(world.pki.client(name).unwrap().sha256()), "{protocol}");
        }
        let before = strict.total();
        lead_to(&world, strict.address(), &format!("protocol = \"{protocol}\"")).await;
        let reply = world.call(&caller, Call::get(STOCK)).await;
        assert_eq!(reply.status, 502, "{}", reply.text());
        assert_eq!(strict.total(), before);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_trust_in_one_upstream_is_no_trust_in_another_at_the_same_address() {
    let other = "[[upstream]]\nname = \"other\"\nkind = \"https\"\n\
        endpoint = \"https://localhost:{warehouse}\"\nca = \"pki/rogue/ca.pem\"\n\
        [[operation]]\nname = \"other/getStock\"\nupstream = \"other\"\nmethod = \"GET\"\n\
        path = \"/other/{sku}\"\n";
    for protocol in ["http/1.1", "h2"] {
        let plan = Plan::default()
            .fill("warehouse", &format!("protocol = \"{protocol}\""))
            .fill(
                "more",
                &other.replace(
                    "rogue/ca.pem\"",
                    &format!("rogue/ca.pem\"\nprotocol = \"{protocol}\""),
                ),
            )
            .replace(
                "upstreams = [\"amazon\", \"warehouse\"]",
                "upstreams = [\"amazon\", \"warehouse\", \"other\"]",
            )
            .replace(
                "\"listingsItems/*\", \"warehouse/*\"",
                "\"listingsItems/*\", \"warehouse/*\", \"other/*\"",
            );
        let world = World::with(plan).await;
        world.warehouse.set(Scenario::Echo);
        let caller = printer(&world, Alpn::Both);
        for _ in 0..3 {
            assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
            let reply = world.call(&caller, Call::get("/other/A")).await;
            assert_eq!(reply.status, 502, "{}", reply.text());
            assert_eq!(world.line_of(&reply)["sekisho.detail"], "Untrusted");
        }
        assert_eq!(world.warehouse.total(), 3);
        // The same upstream with another authority, after a reload, is another upstream.
        let address = world.warehouse.address();
        let rogue = format!("ca = \"pki/rogue/ca.pem\"\nprotocol = \"{protocol}\"");
        lead_to_all(&world, address.port(), &[address], &rogue).await;
        let reply = world.call(&caller, Call::get(STOCK)).await;
        assert_failed(&world, &reply, 502, "Untrusted");
        assert_eq!(world.warehouse.total(), 3);
        world.finish().await;
    }
}

/// Bytes that an upstream sends late could be read as the next answer on its connection: whose request
/// that next one is decides whether they can leak.
#[tokio::test(flavor = "multi_thread")]
async fn acc_1_an_http_1_connection_to_an_upstream_serves_one_identity() {
    let second = "[identity.packer]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
        token = { issuer = \"corp\", subject = \"packer\" }\n\
        networks = [\"loopback\"]\nroles = [\"shipping\"]\n";
    for (protocol, offered, shared) in [
        ("http/1.1", Alpn::Both, false),
        ("auto", Alpn::H1, false),
        ("auto", Alpn::Absent, false),
        ("auto", Alpn::Both, true),
        ("h2", Alpn::Both, true),
    ] {
        let line = format!("protocol = \"{protocol}\"");
        let plan = Plan::default().fill("warehouse", &line).fill("identities", second);
        let world = World::with(plan).await;
        let mock = warehouse(world.pki.upstream.clone(), |config| config.alpn = offered).await;
        lead_to(&world, mock.address(), &line).await;
        let (token, nobody) = (world.token("packer"), world.nobody());
        let caller = printer(&world, Alpn::Both);
        for _ in 0..4 {
            let packer = bearing(get("/stock/PACKER"), &token);
            for (caller, call) in [(&caller, get("/stock/PRINTER")), (&nobody, packer)] {
                let reply = world.call(caller, call).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                // Its connection is back in the pool before its line is written.
                world.line_of(&reply);
            }
        }
        let of = |target: &str| {
            let all = mock.requests().into_iter().filter(|asked| asked.target == target);
            all.map(|asked| asked.connection).collect::<BTreeSet<_>>()
        };
        let (printers, packers) = (of("/stock/PRINTER"), of("/stock/PACKER"));
        let what = format!("{protocol} {offered:?}: {printers:?} {packers:?}");
        assert_eq!(!printers.is_disjoint(&packers), shared, "{what}");
        // Where the version is found out first, the first request of each may have had its own.
        assert!(printers.len() <= 2 && packers.len() <= 2, "not pooled: {what}");
        mock.shutdown().await;
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upstream_is_told_by_how_it_failed() {
    for protocol in ["http/1.1", "h2"] {
        // So long, because answers that come must not be late on a machine that stands still for a while.
        let lines = format!("protocol = \"{protocol}\"\nresponse_timeout = \"4 s\"");
        let world = World::with(Plan::default().fill("warehouse", &lines)).await;
        let caller = printer(&world, Alpn::Both);
        let closed = if protocol == "h2" { "Malformed" } else { "Closed" };
        for (scenario, status, detail) in [
            (Scenario::CloseEarly, 502, closed),
            (Scenario::Garbage, 502, "Malformed"),
            (Scenario::Informational { count: None }, 502, "Malformed"),
            (Scenario::Delay { ms: 60_000 }, 504, "TimedOut"),
            (Scenario::BigHeaders { bytes: 1_000_000 }, 502, "Malformed"),
        ] {
            if protocol == "h2" && matches!(scenario, Scenario::BigHeaders { .. }) {
                continue; // Within the engine's bound for compressed headers.
            }
            let before = world.warehouse.total();
            world.warehouse.set(scenario);
            let reply = world.call(&caller, Call::get(STOCK)).await;
            assert_failed(&world, &reply, status, detail);
            assert_eq!(world.warehouse.total() - before, 1, "{scenario} was asked again");
            world.warehouse.set(Scenario::Normal);
            // The caller's next request, on a connection of its own, is served.
            assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200, "{scenario}");
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_connect_is_told_apart() {
    let world = World::start().await;
    let caller = printer(&world, Alpn::Both);
    let (_kept, dead) = nobody_s();
    lead_to(&world, dead, "").await;
    let reply = world.call(&caller, Call::get(STOCK)).await;
    assert_failed(&world, &reply, 502, "Unreachable");
    assert_eq!(world.line_of(&reply)["sekisho.attempts"], 2);
    let reply = world.call(&caller, post(Flow::whole("x"))).await;
    assert_failed(&world, &reply, 502, "Unreachable");
    assert_eq!(world.line_of(&reply)["sekisho.attempts"], 2, "nothing was sent");
    lead_to(&world, dead, "retries = 0").await;
    let reply = world.call(&caller, Call::get(STOCK)).await;
    assert_eq!(world.line_of(&reply)["sekisho.attempts"], 1);
    // A socket that accepts and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = "connect_timeout = \"100 ms\"\nretries = 0";
    lead_to(&world, mute.local_addr().unwrap(), lines).await;
    let reply = world.call(&caller, Call::get(STOCK)).await;
    assert_failed(&world, &reply, 504, "TimedOut");
    // A name that does not resolve.
    let applied = world
        .reload(|text| {
            let addresses = format!("addresses = [\"{}\"]\n", mute.local_addr().unwrap());
            let endpoint = format!("https://localhost:{}", mute.local_addr().unwrap().port());
            text.replace(&addresses, "").replace(&endpoint, "https://nowhere.invalid")
        })
        .await;
    assert!(applied);
    let reply = world.call(&caller, Call::get(STOCK)).await;
    assert_failed(&world, &reply, 502, "Unreachable");
    // That is told once, and what the name was before is not.
    let unresolved = "sekisho_upstream_unresolved{endpoint=\"main\",upstream=\"warehouse\"}";
    counted(&world, unresolved, 1).await;
    let lines = world.events("upstream-unresolved");
    let [line] = lines.as_slice() else { panic!("one line expected: {lines:?}") };
    assert_eq!(
        (&line["sekisho.upstream"], &line["sekisho.detail"]),
        (&"warehouse".into(), &"main".into())
    );
    assert!(world.events("upstream-resolved").is_empty());
    assert!(!line.to_string().contains("nowhere"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_goes_on_to_another_address_and_nothing_that_was_sent_goes_twice() {
    // By hand: what rests does so to the end.
    let world = World::with(Plan::default().by_hand()).await;
    let caller = printer(&world, Alpn::Both);
    let (_kept, dead) = nobody_s();
    let alive = world.warehouse.address();
    lead_to_all(&world, alive.port(), &[dead, alive], "ca = \"pki/ca.pem\"").await;
    let mut attempts = Vec::new();
    for _ in 0..12 {
        let reply = world.call(&caller, Call::get(STOCK)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        attempts.push(world.line_of(&reply)["sekisho.attempts"].as_u64().unwrap());
    }
    assert!(attempts.contains(&2) && attempts.iter().all(|n| *n <= 2), "{attempts:?}");
    // After three failures in a row the dead address rests.
    assert_eq!(attempts.iter().filter(|n| **n == 2).count(), 3, "{attempts:?}");
    counted(&world, "sekisho_upstream_retries_total{upstream=\"warehouse\"}", 3).await;
    assert_eq!(world.warehouse.total(), 12);

    // Of a POST nothing has left either where no connection came about.
    lead_to_all(
        &world,
        alive.port(),
        &[dead, alive],
        "ca = \"pki/ca.pem\"\nbreaker = { failures = 50, open = \"10 s\" }",
    )
    .await;
    let mut attempts = Vec::new();
    for _ in 0..8 {
        let before = world.warehouse.total();
        let reply = world.call(&caller, post(Flow::whole("{\"quantity\":1}"))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(world.warehouse.last().unwrap().body_bytes, 14, "its body, whole");
        assert_eq!(world.warehouse.total() - before, 1);
        attempts.push(world.line_of(&reply)["sekisho.attempts"].as_u64().unwrap());
    }
    assert_eq!(attempts.iter().filter(|n| **n == 2).count(), 3, "{attempts:?}");

    for protocol in ["http/1.1", "h2"] {
        let lines = format!("protocol = \"{protocol}\"\nretries = 5");
        lead_to(&world, alive, &lines).await;
        let put =
            || Call { body: Flow::whole("{\"quantity\":1}"), ..Call::new(Method::PUT, STOCK) };
        if protocol == "http/1.1" {
            // Without a body, a connection that ends unanswered is taken for one that lay too long.
            // A connection comes back to the pool a moment after its answer: not always in time.
            let mut ends = Vec::new();
            while !ends.contains(&(200, 2)) && ends.len() < 10 {
                assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
                world.warehouse.script(&[Scenario::CloseEarly]);
                let reply = world.call(&caller, Call::get(STOCK)).await;
                let attempts = world.line_of(&reply)["sekisho.attempts"].as_u64().unwrap();
                ends.push((reply.status.as_u16(), attempts));
            }
            assert!(ends.contains(&(200, 2)), "{ends:?}");
        }
        for call in [put(), post(Flow::whole("once")), put()] {
            // The connection lies in the pool; the upstream reads the request and closes.
            assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
            let before = world.warehouse.total();
            world.warehouse.script(&[Scenario::CloseEarly]);
            let reply = world.call(&caller, call).await;
            assert_eq!(reply.status, 502, "{}", reply.text());
            assert_eq!(world.warehouse.total() - before, 1, "a body was sent twice");
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_addresses_share_the_load_and_the_work_of_one_that_dies() {
    let world = World::start().await;
    let second = warehouse(world.pki.upstream.clone(), |_| {}).await;
    let first = world.warehouse.address();
    let both = [first, second.address()];
    lead_to_all(&world, first.port(), &both, "ca = \"pki/ca.pem\"").await;
    let caller = printer(&world, Alpn::Both);
    for _ in 0..40 {
        assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
    }
    let (one, two) = (world.warehouse.total(), second.total());
    assert_eq!(one + two, 40);
    assert!(one >= 8 && two >= 8, "{one} and {two}");
    second.shutdown().await;
    for _ in 0..20 {
        assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
    }
    world.finish().await;
}
