//! TLS that ends at another gateway (TLS-3): a client goes through a host that holds no key, and is
//! identified, limited and logged behind it by its own address.
mod leaving;
pub mod raw;
mod taken;
mod targets;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sekisho::base::{ClientAddr, Clock};
use sekisho::cli::run::Running;
use sekisho::cli::watch::Watched;
use sekisho::config;
use sekisho::engine::{LockOrder, Target as LockTarget};
use sekisho::lockout::Step;
use sekisho::mock::{Alpn, Call, Caller, Flow, Length, Reply};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::support::{ORDERS, Plan, World, get, holds, scratch, until, whole_lines, within};
use crate::wire::{SOON, as_printer, tcp, until_closed};

const ADMITTED: &str = "networks = [\"loopback\"]\nupstreams = [\"amazon\", \"warehouse\"]\n";

/// A gateway that passes connections on: no key, no certificate, no identity.
pub struct Edge {
    dir: PathBuf,
    pub gateway: Running,
}

const EDGE: &str = r#"
[gateway]
environment = "test"
state_dir = "state"
threads = 1
shutdown_grace = "1 s"
[network]
loopback = ["127.0.0.0/8"]
office = ["127.0.0.2", "127.0.0.3"]
balancers = ["127.0.0.9"]
customers = ["203.0.113.0/24", "2001:db8::/32"]
[[listener]]
name = "edge"
address = "127.0.0.1:0"
networks = ["loopback"]
#listener
[listener.bounds]
handshake = "20 s"
#bounds
[[listener.pass]]
name = "apps"
server_names = ["localhost", "*.apps.test"]
targets = [{targets}]
connect_timeout = "500 ms"
check = "1 s"
#pass
[log]
access = { file = "access.log" }
rotate_every = "30 days"
[admin]
address = "127.0.0.1:0"
"#;

impl Edge {
    /// Before these targets, with lines in the places of [`EDGE`].
    pub async fn before(targets: &[SocketAddr], lines: &[(&str, &str)]) -> Self {
        let dir = scratch();
        let list: Vec<String> = (1..)
            .zip(targets)
            .map(|(nth, at)| format!("{{ name = \"gw-{nth}\", address = \"{at}\" }}"))
            .collect();
        let mut text = EDGE.replace("{targets}", &list.join(", "));
        for (place, lines) in lines {
            let mark = format!("#{place}\n");
            assert!(text.contains(&mark), "{place}");
            text = text.replace(&mark, &format!("{lines}\n"));
        }
        std::fs::write(dir.join("sekisho.toml"), text).unwrap();
        let (watched, clock) = (Arc::new(Watched::default()), Clock::system());
        let loaded = config::load_from(&*watched, &dir.join("sekisho.toml"), 1, clock.now())
            .unwrap_or_else(|errors| panic!("{errors}"));
        let gateway = Running::start(loaded, clock).await.unwrap();
        gateway.follow(&dir.join("sekisho.toml"), &watched);
        Self { dir, gateway }
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address("edge").unwrap()
    }

    pub async fn reload(&self, edit: impl FnOnce(String) -> String) -> bool {
        let path = self.dir.join("sekisho.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, edit(text)).unwrap();
        self.gateway.reload().await
    }

    pub fn log(&self) -> Vec<Value> {
        self.gateway.flush_log();
        let text = std::fs::read_to_string(self.dir.join("access.log")).unwrap();
        whole_lines(&text).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Records of connections that were passed on.
    pub fn passed(&self) -> Vec<Value> {
        self.log().into_iter().filter(|l| l["event.dataset"] == "sekisho.pass").collect()
    }

    pub fn events(&self, action: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["event.action"] == action).collect()
    }

    /// The first of these, once it is there: numbers change a moment before anything is told of it.
    pub async fn told(&self, action: &str) -> Value {
        until(action, || !self.events(action).is_empty()).await;
        self.events(action).remove(0)
    }

    /// The records of so many connections, once they are there.
    pub async fn records(&self, count: usize) -> Vec<Value> {
        until("their records", || self.passed().len() >= count).await;
        let all = self.passed();
        assert_eq!(all.len(), count, "{all:#?}");
        all
    }

    /// The one record, once it is there.
    pub async fn record(&self) -> Value {
        self.records(1).await.remove(0)
    }

    pub fn metric(&self, series: &str) -> f64 {
        let text = self.gateway.engine.render_metrics();
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.into_iter().find(|(name, _)| *name == series).map_or(0.0, |(_, v)| v.parse().unwrap())
    }

    /// Waits until a series has this value.
    pub async fn counts(&self, series: &str, value: f64) {
        until(series, || (self.metric(series) - value).abs() < 0.1).await;
    }

    /// Stops it, and searches what it wrote for addresses and names that clients asked for.
    pub async fn finish(self) -> Vec<Value> {
        let Self { dir, gateway, .. } = self;
        let metrics = gateway.engine.render_metrics();
        Box::pin(gateway.stop()).await;
        let log = std::fs::read_to_string(dir.join("access.log")).unwrap();
        for text in ["127.0.0.", "203.0.113.", "2001:db8", ".test", "localhost"] {
            assert!(!metrics.contains(text), "{text} in the metrics");
            assert!(!log.contains(text), "{text} in the log: {log}");
        }
        let _ = std::fs::remove_dir_all(&dir);
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A gateway that ends TLS, behind an edge at 127.0.0.1, and only behind it.
pub async fn behind(plan: Plan) -> World {
    let admitted = "networks = [\"office\"]\nupstreams = [\"amazon\", \"warehouse\"]\n\
                    proxy_protocol = { from = [\"edges\"] }\n";
    let plan = plan.replace(ADMITTED, admitted).replace(
        "balancers = [\"127.0.0.9\"]",
        "balancers = [\"127.0.0.9\"]\nedges = [\"127.0.0.1\"]",
    );
    World::with(plan).await
}

pub fn printer(world: &World, from: &str, alpn: Alpn) -> Caller {
    world.caller(|config| {
        as_printer(world, config);
        config.source = Some(from.parse().unwrap());
        config.alpn = alpn;
        config.deadline = SOON;
    })
}

async fn through(edge: &Edge, world: &World, caller: &Caller, call: Call) -> Reply {
    let reply = caller.call(edge.address(), call).await.unwrap();
    world.note(&reply);
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_behind_a_host_without_a_key_a_client_counts_by_its_own_address() {
    let plan = Plan::default().fill("bounds", "connections_per_address = 1");
    let world = behind(plan).await;
    let edge = Edge::before(&[world.address()], &[]).await;
    let mut sources = Vec::new();
    for alpn in [Alpn::H1, Alpn::H2] {
        for from in ["127.0.0.2", "127.0.0.3"] {
            let reply = through(&edge, &world, &printer(&world, from, alpn), get(ORDERS)).await;
            assert_eq!(reply.status, 200, "{from}: {}", reply.text());
            let line = world.line_of(&reply);
            assert_eq!(line["user.name"], "label-printer");
            sources.push(line["sekisho.source"].as_str().unwrap().to_owned());
            crate::wire::all_closed(&world).await;
        }
    }
    assert!(sources[0] == sources[2] && sources[1] == sources[3] && sources[0] != sources[1]);
    // On its list are its own clients: one that the edge admits, and it does not.
    let stranger = printer(&world, "127.0.0.4", Alpn::H1);
    assert!(stranger.call(edge.address(), get(ORDERS)).await.is_err());
    crate::wire::turned_back(&world, "address", 1).await;
    // So is the share of connections.
    let first = printer(&world, "127.0.0.2", Alpn::H2).connect(edge.address()).await.unwrap();
    assert_eq!(first.call(get(ORDERS)).await.unwrap().status, 200);
    assert!(printer(&world, "127.0.0.2", Alpn::H2).stream(edge.address()).await.is_err());
    crate::wire::turned_back(&world, "connections_per_address", 1).await;
    let other = printer(&world, "127.0.0.3", Alpn::H2);
    assert_eq!(through(&edge, &world, &other, get(ORDERS)).await.status, 200);
    drop(first);

    let records = edge.records(8).await;
    let mut seen = std::collections::BTreeSet::new();
    for record in &records {
        assert_eq!(record["sekisho.listener"], "edge", "{record}");
        assert_eq!(record["sekisho.route"], "apps", "{record}");
        assert_eq!(record["sekisho.target"], "gw-1", "{record}");
        assert_eq!(record["sekisho.attempts"], 1, "{record}");
        assert!(record["source.bytes"].as_u64().unwrap() > 200, "{record}");
        seen.insert(record["sekisho.source"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 3, "three clients, three pseudonyms");
    edge.counts("sekisho_pass_connections{listener=\"edge\",route=\"apps\"}", 0.0).await;
    edge.counts("sekisho_connections{listener=\"edge\"}", 0.0).await;
    let up: u64 = records.iter().map(|record| record["source.bytes"].as_u64().unwrap()).sum();
    let series = "sekisho_pass_bytes_total{direction=\"up\",listener=\"edge\",route=\"apps\"}";
    assert_eq!(edge.metric(series), up as f64);
    // No health check of the edge was taken for a broken client.
    assert!(world.events("proxy-header-refused").is_empty());
    edge.finish().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_bodies_pass_whole_both_ways() {
    let world = behind(Plan::default()).await;
    let edge = Edge::before(&[world.address()], &[]).await;
    let mut records = 0;
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = printer(&world, "127.0.0.2", alpn);
        let down = through(&edge, &world, &caller, Call::get("/download/2000000")).await;
        assert_eq!((down.status.as_u16(), down.body.len()), (200, 2_000_000));
        records += 1;
        // Records come when connections have ended, here in the order in which they began.
        edge.records(records).await;
        let call = Call::post("/upload", Flow::repeat(2_000_000, Length::Declared));
        let up = through(&edge, &world, &caller, call).await;
        assert!(holds(&up.body, "2000000"), "{}", up.text());
        records += 1;
        edge.records(records).await;
    }
    let records = edge.records(records).await;
    for (record, (up, down)) in records.iter().zip([(0, 2), (2, 0), (0, 2), (2, 0)]) {
        let bytes = |key: &str| record[key].as_u64().unwrap();
        let near = |bytes: u64, millions: u64| {
            (millions * 1_000_000..millions * 1_000_000 + 60_000).contains(&bytes)
        };
        assert!(near(bytes("source.bytes"), up), "{record}");
        assert!(near(bytes("destination.bytes"), down), "{record}");
    }
    edge.finish().await;
    world.finish().await;
}

/// Writes one byte at a time, each in a packet of its own.
struct Dribble(TcpStream);

impl AsyncRead for Dribble {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dribble {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let one = buf.len().min(1);
        Pin::new(&mut self.0).poll_write(cx, &buf[..one])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_hello_byte_by_byte_is_passed_on_like_any_other() {
    let world = behind(Plan::default()).await;
    let edge = Edge::before(&[world.address()], &[]).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.pki.ca.certificate()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let tcp = tcp("127.0.0.2", edge.address()).await;
    tcp.set_nodelay(true).unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(name, Dribble(tcp)).await.unwrap();
    let ask = b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    tls.write_all(ask).await.unwrap();
    tls.flush().await.unwrap();
    let said = until_closed(&mut tls).await;
    assert!(said.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&said));
    drop(tls);
    assert_eq!(edge.record().await["sekisho.ended"], "closed");
    edge.finish().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_one_listener_ends_tls_for_some_names_and_passes_others_on() {
    let target = raw::Target::start().await;
    let pass = format!(
        "[[listener.pass]]\nname = \"elsewhere\"\nserver_names = [\"other.test\"]\n\
         targets = [{{ name = \"raw\", address = \"{}\" }}]\nproxy = \"none\"",
        target.address()
    );
    let world = World::with(Plan::default().fill("bounds", &pass)).await;
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    // A name that neither a route nor a certificate holds, none, and bytes that are no hello go
    // where TLS ends, as they do without routes.
    for server_name in ["gateway.test", "127.0.0.1"] {
        let caller = world.caller(|config| {
            as_printer(&world, config);
            config.server_name = server_name.to_owned();
        });
        assert!(caller.stream(world.address()).await.is_ok(), "{server_name}");
    }
    let mut plain = tcp("127.0.0.1", world.address()).await;
    raw::say(&mut plain, b"GET / HTTP/1.1\r\n\r\n").await;
    let alert = until_closed(&mut plain).await;
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
    // The route's name goes on as it is, written in full (with a dot at its end) or not.
    for server_name in ["other.test", "Other.TEST."] {
        let hello = raw::hello(Some(server_name), 100);
        let mut client = tcp("127.0.0.1", world.address()).await;
        raw::say(&mut client, &hello).await;
        let mut taken = target.take().await;
        assert_eq!(raw::hear(&mut taken, hello.len()).await, hello);
    }
    let records = || world.log().iter().filter(|l| l["event.dataset"] == "sekisho.pass").count();
    until("their records", || records() == 2).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_network_taken_off_the_list_cuts_what_is_passed_on() {
    let world = behind(Plan::default()).await;
    let edge = Edge::before(&[world.address()], &[]).await;
    let office = printer(&world, "127.0.0.2", Alpn::H2).connect(edge.address()).await.unwrap();
    let gone = printer(&world, "127.0.0.3", Alpn::H2).connect(edge.address()).await.unwrap();
    for session in [&office, &gone] {
        assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
    }
    let fewer = |text: String| {
        text.replace("office = [\"127.0.0.2\", \"127.0.0.3\"]", "office = [\"127.0.0.2\"]")
            .replace("networks = [\"loopback\"]", "networks = [\"office\"]")
    };
    assert!(edge.reload(fewer).await);
    let record = within(Duration::from_secs(2), "it is cut", edge.record()).await;
    assert_eq!(record["sekisho.ended"], "revoked");
    assert_eq!(record["event.outcome"], "denied");
    assert!(gone.call(get(ORDERS)).await.is_err());
    assert_eq!(office.call(get(ORDERS)).await.unwrap().status, 200);
    // So does a route that leads there no more.
    assert!(edge.reload(|text| text.replace("\"localhost\", ", "")).await);
    assert_eq!(edge.records(2).await[1]["sekisho.ended"], "revoked");
    assert!(office.call(get(ORDERS)).await.is_err());
    edge.finish().await;
    world.finish().await;
}

async fn kill(edge: &Edge, target: LockTarget) {
    let word = |text: &str| sekisho::base::Name::parse(text).unwrap();
    let (by, case) = (word("officer"), word("CASE-1"));
    let order = LockOrder { target, step: Step::Kill, lasts: None, by, case };
    edge.gateway.engine.lock(&order).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_from_a_locked_network_nothing_is_passed_on() {
    let target = raw::Target::start().await;
    let edge = Edge::before(&[target.address()], &[]).await;
    let hello = raw::hello(Some("localhost"), 10);
    let mut there = tcp("127.1.2.3", edge.address()).await;
    raw::say(&mut there, &hello).await;
    let mut there_behind = target.take().await;
    let mut elsewhere = tcp("127.0.0.3", edge.address()).await;
    raw::say(&mut elsewhere, &hello).await;
    let mut behind = target.take().await;
    kill(&edge, LockTarget::Network("127.1.0.0/16".parse().unwrap())).await;
    assert_eq!(until_closed(&mut there).await, b"");
    let heard = until_closed(&mut there_behind).await;
    assert!(heard.ends_with(&hello), "all of it came, and then the end");
    assert_eq!(edge.record().await["sekisho.ended"], "revoked");
    let mut again = tcp("127.1.2.3", edge.address()).await;
    assert_eq!(until_closed(&mut again).await, b"", "before the hello");
    edge.counts(
        "sekisho_connections_refused_total{listener=\"edge\",reason=\"network_locked\"}",
        1.0,
    )
    .await;
    raw::say(&mut elsewhere, b"still here").await;
    raw::hear(&mut behind, 10 + hello.len() + 28).await;
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_source_that_is_killed_is_cut_off_and_stays_out() {
    let target = raw::Target::start().await;
    let edge = Edge::before(&[target.address()], &[]).await;
    let hello = raw::hello(Some("localhost"), 10);
    let mut open = Vec::new();
    for from in ["127.0.0.2", "127.0.0.3"] {
        let mut client = tcp(from, edge.address()).await;
        raw::say(&mut client, &hello).await;
        open.push((client, target.take().await));
    }
    kill(&edge, LockTarget::Source(ClientAddr::new([127, 0, 0, 3].into()))).await;
    let (mut killed, _behind) = open.pop().unwrap();
    assert_eq!(until_closed(&mut killed).await, b"");
    let record = edge.record().await;
    assert_eq!(
        (&record["sekisho.ended"], &record["sekisho.target"]),
        (&"revoked".into(), &"gw-1".into())
    );
    let mut again = tcp("127.0.0.3", edge.address()).await;
    raw::say(&mut again, &hello).await;
    assert_eq!(until_closed(&mut again).await, b"");
    let record = edge.records(2).await.remove(1);
    assert_eq!(
        (&record["sekisho.ended"], &record["sekisho.attempts"]),
        (&"revoked".into(), &0.into())
    );
    // The other one goes on.
    let (mut other, mut behind) = open.pop().unwrap();
    raw::say(&mut other, b"still here").await;
    raw::hear(&mut behind, 10 + hello.len() + 28).await;
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_what_is_passed_on_has_the_grace_of_a_shutdown_and_its_record() {
    let world = behind(Plan::default()).await;
    let edge = Edge::before(&[world.address()], &[]).await;
    // Longer than a machine stands still.
    let longer = |text: String| text.replace("grace = \"1 s\"", "grace = \"6 s\"");
    assert!(edge.reload(longer).await);
    let session = printer(&world, "127.0.0.2", Alpn::H2).connect(edge.address()).await.unwrap();
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
    let still = {
        let session = session.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            session.call(get(ORDERS)).await.map(|reply| reply.status.as_u16())
        })
    };
    let log = edge.finish().await;
    assert_eq!(still.await.unwrap().unwrap(), 200, "it went on within the grace");
    let records: Vec<_> = log.iter().filter(|l| l["event.dataset"] == "sekisho.pass").collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["sekisho.ended"], "cut");
    assert!(session.call(get(ORDERS)).await.is_err());
    world.finish().await;
}
