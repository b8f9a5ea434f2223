//! What the controls cost on the wire: the gateway with all of them on, against a bare Pingora TLS
//! proxy, alternating in one run. Prints CPU seconds per 10,000 requests of each and the latency
//! that the gateway adds.
//!
//!     cargo bench --bench wire [-- --rounds 8 --requests 20000 --connections 32 --rate 2000]
//!
//! Once at a steady rate (requests a second over all connections), and once as fast as they answer.
//! Compare CPU at the steady rate: a proxy that is saturated wakes its peers less often the faster
//! it is, so there the cheaper one is also spared system calls.
//!
//! Both proxies run as processes of their own, with one worker thread, on CPU 0 where `taskset`
//! exists; backend and load have the other CPU. Traffic is on loopback, and ends by itself.
#![allow(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_debug_implementations,
    reason = "a measuring program: it reads clocks, computes with floats, prints, and may panic"
)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho::base::Clock;
use sekisho::devcerts::{DevPki, Existing, PkiPlan, TokenClaims};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

type Error = Box<dyn std::error::Error + Send + Sync>;

const OPERATIONS: usize = 200;
const IDENTITIES: usize = 100;
const GRANTS: usize = 60;

fn main() -> Result<(), Error> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    match words.next().as_deref() {
        Some("serve-bare") => bare::serve(&words.collect::<Vec<_>>()),
        Some("serve-backend") => backend::serve(&words.collect::<Vec<_>>()),
        first => compare(&Options::read(first, words)?),
    }
}

struct Options {
    rounds: usize,
    requests: usize,
    connections: usize,
    rate: usize,
}

impl Options {
    fn read(first: Option<&str>, rest: impl Iterator<Item = String>) -> Result<Self, Error> {
        let words: Vec<String> = first.map(str::to_owned).into_iter().chain(rest).collect();
        let mut options = Self { rounds: 8, requests: 20_000, connections: 32, rate: 2_000 };
        for pair in words.chunks(2) {
            let [key, value] = pair else { return Err("an option needs a value".into()) };
            let value = value.parse()?;
            match key.as_str() {
                "--rounds" => options.rounds = value,
                "--requests" => options.requests = value,
                "--connections" => options.connections = value,
                "--rate" => options.rate = value,
                _ => {
                    return Err("options: --rounds N --requests N --connections N --rate N".into());
                }
            }
        }
        Ok(options)
    }
}

/// One process under measurement. Ends when dropped.
struct Proxy {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
    rounds: Vec<Round>,
}

/// When a connection sends its next request.
#[derive(Clone, Copy)]
enum Pace {
    /// So long after the one before was due, or at once if that has passed.
    Every(Duration),
    /// When it has the answer.
    Flood,
}

#[derive(Clone, Copy)]
struct Round {
    cpu_per_10k: f64,
    p50_us: f64,
    p99_us: f64,
    per_second: f64,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare(options: &Options) -> Result<(), Error> {
    let dir = Dir::new()?;
    let plan = PkiPlan {
        environment: "bench".to_owned(),
        listeners: vec!["bench".to_owned()],
        ..PkiPlan::default()
    };
    let pki = DevPki::generate(&plan, Clock::system().now())?;
    pki.write(&dir.0.join("pki"), Existing::Replace)?;
    let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
    let (back_at, bare_at, gate_at, admin_at) = (free()?, free()?, free()?, free()?);
    let me = std::env::current_exe()?;
    let files = dir.0.join("pki").to_string_lossy().into_owned();

    let mut back = Command::new(&me);
    back.args(["serve-backend", &back_at.to_string(), &files]);
    let _backend = Proxy::start("backend", back, back_at, Vec::new())?;
    let mut bare = pinned(&me);
    bare.args(["serve-bare", &bare_at.to_string(), &back_at.to_string(), &files]);
    let config = scenario::config(&dir.0, gate_at, admin_at, back_at)?;
    let mut gate = pinned(Path::new(env!("CARGO_BIN_EXE_sekisho")));
    gate.arg("run").arg(config);
    let requests = scenario::requests(&pki)?;

    let mut proxies = [
        Proxy::start("bare Pingora", bare, bare_at, requests.clone())?,
        Proxy::start("Sekisho, all controls", gate, gate_at, requests)?,
    ];
    let load = Load::new(&dir.0.join("pki/ca.pem"), options)?;
    for proxy in &mut proxies {
        load.round(proxy, Pace::Flood, options.requests / 4)?; // connections, caches, branch predictors
    }
    let each = Duration::from_secs_f64(options.connections as f64 / options.rate.max(1) as f64);
    println!(
        "{} rounds of {} requests each, alternating; {} keep-alive HTTP/1.1 connections, 1 KiB answers; medians",
        options.rounds, options.requests, options.connections
    );
    let steady = format!("{} requests a second", options.rate);
    for (title, pace) in
        [(steady.as_str(), Pace::Every(each)), ("as fast as they answer", Pace::Flood)]
    {
        for proxy in &mut proxies {
            proxy.rounds.clear();
        }
        for round in 0..options.rounds {
            for place in 0..proxies.len() {
                load.round(&mut proxies[(round + place) % 2], pace, options.requests)?;
            }
        }
        report(title, &proxies);
    }
    println!("\nmachine: {}", machine());
    Ok(())
}

fn pinned(program: &Path) -> Command {
    if Command::new("taskset").arg("-V").stdout(Stdio::null()).status().is_ok() {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

impl Proxy {
    fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        requests: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let proxy = Self { name, child, address, requests: Arc::new(requests), rounds: Vec::new() };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(format!("{name} does not listen on {address}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(proxy)
    }

    /// User and system time of the process so far, in seconds. `taskset` replaces itself by the
    /// program, so the child is the proxy.
    fn cpu_seconds(&self) -> Result<f64, Error> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(')').ok_or("no stat")?.1;
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap_or(0))
            .sum();
        Ok(f64::from(u32::try_from(ticks)?) / 100.0)
    }
}

/// The load: `connections` keep-alive connections, closed loop.
struct Load {
    runtime: tokio::runtime::Runtime,
    tls: tokio_rustls::TlsConnector,
    connections: usize,
}

impl Load {
    fn new(ca: &Path, options: &Options) -> Result<Self, Error> {
        use rustls_pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        for anchor in rustls_pki_types::CertificateDer::pem_file_iter(ca)? {
            roots.add(anchor?)?;
        }
        let config =
            rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
                .with_root_certificates(roots)
                .with_no_client_auth();
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            tls: tokio_rustls::TlsConnector::from(Arc::new(config)),
            connections: options.connections,
        })
    }

    fn round(&self, proxy: &mut Proxy, pace: Pace, total: usize) -> Result<(), Error> {
        let before = proxy.cpu_seconds()?;
        let started = Instant::now();
        let each = total / self.connections;
        let mut latencies = self.runtime.block_on(async {
            let tasks: Vec<_> = (0..self.connections)
                .map(|offset| {
                    let (tls, address) = (self.tls.clone(), proxy.address);
                    let requests = Arc::clone(&proxy.requests);
                    tokio::task::spawn(caller(tls, address, requests, pace, offset, each))
                })
                .collect();
            let mut all = Vec::with_capacity(total);
            for task in tasks {
                all.extend(task.await??);
            }
            Ok::<_, Error>(all)
        })?;
        let took = started.elapsed().as_secs_f64();
        let cpu = proxy.cpu_seconds()? - before;
        latencies.sort_unstable();
        let at = |share: f64| f64::from(latencies[(latencies.len() as f64 * share) as usize]);
        proxy.rounds.push(Round {
            cpu_per_10k: cpu / latencies.len() as f64 * 10_000.0,
            p50_us: at(0.50),
            p99_us: at(0.99),
            per_second: latencies.len() as f64 / took,
        });
        Ok(())
    }
}

async fn caller(
    tls: tokio_rustls::TlsConnector,
    address: SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
    pace: Pace,
    offset: usize,
    count: usize,
) -> Result<Vec<u32>, Error> {
    let tcp = tokio::net::TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut stream = tls.connect("localhost".try_into()?, tcp).await?;
    let mut latencies = Vec::with_capacity(count);
    let mut buffer = vec![0; 16 * 1024];
    let mut due = Instant::now();
    if let Pace::Every(step) = pace {
        due += step.mul_f64((offset * 37 % 64) as f64 / 64.0); // not all at the same moment
    }
    for place in 0..count {
        let request = &requests[(offset * 7_919 + place) % requests.len()];
        if let Pace::Every(step) = pace {
            tokio::time::sleep_until(due.into()).await;
            due += step;
        }
        let sent = Instant::now();
        stream.write_all(request).await?;
        read_answer(&mut stream, &mut buffer).await?;
        latencies.push(u32::try_from(sent.elapsed().as_micros())?);
    }
    Ok(latencies)
}

async fn read_answer(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    buffer: &mut [u8],
) -> Result<(), Error> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("the proxy closed the connection".into());
        }
        filled += read;
        let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end])?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(head.lines().next().unwrap_or_default().to_owned().into());
        }
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .ok_or("no length")?
            .1
            .trim()
            .parse()?;
        while filled < end + 4 + length {
            filled += stream.read(&mut buffer[filled..]).await?;
        }
        return Ok(());
    }
}

fn report(title: &str, proxies: &[Proxy; 2]) {
    let median = |proxy: &Proxy, of: fn(&Round) -> f64| {
        let mut all: Vec<f64> = proxy.rounds.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "\n| {title} | cpu-s per 10,000 | p50 µs | p99 µs | requests/s |\n|---|---|---|---|---|"
    );
    for proxy in proxies {
        println!(
            "| {} | {:.3} | {:.0} | {:.0} | {:.0} |",
            proxy.name,
            median(proxy, |round| round.cpu_per_10k),
            median(proxy, |round| round.p50_us),
            median(proxy, |round| round.p99_us),
            median(proxy, |round| round.per_second),
        );
    }
    let [bare, gate] = proxies;
    println!(
        "\nratio of CPU {:.2}; added p50 {:+.0} µs, added p99 {:+.0} µs",
        median(gate, |r| r.cpu_per_10k) / median(bare, |r| r.cpu_per_10k),
        median(gate, |r| r.p50_us) - median(bare, |r| r.p50_us),
        median(gate, |r| r.p99_us) - median(bare, |r| r.p99_us),
    );
}

fn machine() -> String {
    let cpu = std::fs::File::open("/proc/cpuinfo")
        .map(BufReader::new)
        .ok()
        .and_then(|file| {
            file.lines().map_while(Result::ok).find(|line| line.starts_with("model name"))
        })
        .and_then(|line| line.split_once(": ").map(|(_, name)| name.to_owned()))
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cpu}, {cores} cores")
}

/// A scratch folder that goes away with the run.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("sekisho-wire-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The gateway's configuration: 10,000 networks, 100 identities by ES256 token, each granted 60 of
/// 200 operations, two quotas each, JSON access log to a file.
mod scenario {
    use super::{Clock, DevPki, Error, GRANTS, IDENTITIES, OPERATIONS, Path, PathBuf, SocketAddr};
    use std::collections::hash_map::Entry;
    use std::fmt::Write as _;

    use super::{HashMap, TokenClaims};

    pub(super) fn config(
        dir: &Path,
        listen: SocketAddr,
        admin: SocketAddr,
        backend: SocketAddr,
    ) -> Result<PathBuf, Error> {
        let mut networks = String::from("127.0.0.0/8\n");
        for place in 0..10_000_u32 {
            let _ = writeln!(
                networks,
                "{}.{}.{}.0/24",
                11 + place / 4_096,
                place / 16 % 256,
                place % 16 * 16
            );
        }
        std::fs::write(dir.join("allow.cidr"), networks)?;
        let mut text = format!(
            r#"
[gateway]
environment = "bench"
state_dir = "state"
threads = 1
[permit]
file = "pki/permit/host.permit"
issuers = ["pki/permit/issuer.pub"]
host_key = "pki/permit/host.key"
machine_id = "pki/permit/machine-id"
[network]
allowed = {{ file = "allow.cidr" }}
[[listener]]
name = "bench"
address = "{listen}"
networks = ["allowed"]
upstreams = ["store"]
tls = {{ certificates = [{{ certificate = "pki/server.pem", key = "pki/server.key" }}], alpn = ["h2", "http/1.1"] }}
bounds = {{ requests_per_connection = 1000000 }}
[[upstream]]
name = "store"
kind = "https"
endpoint = "https://localhost:{port}"
addresses = ["{backend}"]
ca = "pki/ca.pem"
[[issuer]]
name = "bench"
iss = "https://issuer.sekisho.test"
audiences = ["sekisho"]
algorithms = ["ES256"]
environment = "bench"
not_before = "optional"
jwks = {{ file = "pki/tokens/signing.jwks" }}
[log]
access = {{ file = "access.log" }}
[admin]
address = "{admin}"
"#,
            port = backend.port()
        );
        for place in 0..OPERATIONS {
            let _ = writeln!(
                text,
                "[[operation]]\nname = \"store/get{place}\"\nupstream = \"store\"\nmethod = \"GET\"\npath = \"/api/v1/r{place}/{{id}}\"\nquery = [\"page\", \"size\"]"
            );
        }
        for place in 0..IDENTITIES {
            let allow: Vec<String> =
                granted(place).map(|operation| format!("\"store/get{operation}\"")).collect();
            let _ = writeln!(
                text,
                "[role.r{place}]\npurpose = \"bench\"\nallow = [{}]\nlimits = [{{ operations = [\"store/*\"], requests = [\"100000/s\", \"1000000/min\"] }}]\n[identity.id{place}]\nkind = \"service\"\nowner = \"bench@example.com\"\ntoken = {{ issuer = \"bench\", subject = \"id{place}\" }}\nnetworks = [\"allowed\"]\nroles = [\"r{place}\"]\nreview_by = 2099-01-01",
                allow.join(", ")
            );
        }
        std::fs::create_dir_all(dir.join("state"))?;
        let path = dir.join("sekisho.toml");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn granted(identity: usize) -> impl Iterator<Item = usize> {
        (0..GRANTS).map(move |place| (identity * 7 + place * 3) % OPERATIONS)
    }

    /// One request for every identity and a few of its operations.
    pub(super) fn requests(pki: &DevPki) -> Result<Vec<Vec<u8>>, Error> {
        let mut tokens: HashMap<usize, String> = HashMap::new();
        let mut all = Vec::new();
        for round in 0..4 {
            for identity in 0..IDENTITIES {
                if let Entry::Vacant(place) = tokens.entry(identity) {
                    let subject = format!("id{identity}");
                    let claims =
                        TokenClaims::new("https://issuer.sekisho.test", &subject, "sekisho");
                    place.insert(pki.signer.sign(&claims, Clock::system().now())?);
                }
                let token = &tokens[&identity];
                let operation = granted(identity).nth(round * 13).ok_or("no grant")?;
                all.push(
                    format!("GET /api/v1/r{operation}/{identity}?page=2 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nuser-agent: wire/1.0 (Language=Rust)\r\naccept: application/json\r\n\r\n")
                        .into_bytes(),
                );
            }
        }
        Ok(all)
    }
}

/// The floor: TLS ended by Pingora's own listener, TLS to the backend verified, nothing else.
mod bare {
    use async_trait::async_trait;
    use pingora::listeners::tls::TlsSettings;
    use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
    use pingora::server::{RunArgs, Server, configuration::ServerConf};
    use pingora::upstreams::peer::HttpPeer;

    use super::{Error, SocketAddr};

    struct Forward(SocketAddr);

    #[async_trait]
    impl ProxyHttp for Forward {
        type CTX = ();
        fn new_ctx(&self) {}
        async fn upstream_peer(
            &self,
            _session: &mut Session,
            _ctx: &mut (),
        ) -> pingora::Result<Box<HttpPeer>> {
            Ok(Box::new(HttpPeer::new(self.0, true, "localhost".to_owned())))
        }
    }

    pub(super) fn serve(words: &[String]) -> Result<(), Error> {
        let [listen, backend, dir] = words else { return Err("listen backend dir".into()) };
        let conf = ServerConf {
            threads: 1,
            ca_file: Some(format!("{dir}/ca.pem")),
            ..ServerConf::default()
        };
        let mut server = Server::new_with_opt_and_conf(None, conf);
        let mut service = http_proxy_service(&server.configuration, Forward(backend.parse()?));
        let tls =
            TlsSettings::intermediate(&format!("{dir}/server.pem"), &format!("{dir}/server.key"))?;
        service.add_tls_with_settings(listen, None, tls);
        server.add_service(service);
        server.run(RunArgs::default());
        Ok(())
    }
}

/// Answers every request with 1 KiB over TLS.
mod backend {
    use std::sync::Arc;

    use rustls_pki_types::pem::PemObject as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::Error;

    pub(super) fn serve(words: &[String]) -> Result<(), Error> {
        let [listen, dir] = words else { return Err("listen dir".into()) };
        let chain = rustls_pki_types::CertificateDer::pem_file_iter(format!("{dir}/server.pem"))?
            .collect::<Result<Vec<_>, _>>()?;
        let key = rustls_pki_types::PrivateKeyDer::from_pem_file(format!("{dir}/server.key"))?;
        let config =
            rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1024\r\nx-amzn-requestid: 0f4b7a3e-1c7d-4a3e-9b1d-2f6e8c5a7d90\r\n\r\n".to_vec();
        answer.resize(answer.len() + 1_024, b' ');
        let answer: Arc<[u8]> = answer.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let socket = tokio::net::TcpListener::bind(listen).await?;
            loop {
                let (tcp, _) = socket.accept().await?;
                tcp.set_nodelay(true)?;
                let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Ok(mut stream) = tls.accept(tcp).await else { return };
                    let mut buffer = vec![0; 16 * 1024];
                    let mut filled = 0;
                    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
                        filled += read;
                        if buffer[..filled].ends_with(b"\r\n\r\n") {
                            filled = 0;
                            if stream.write_all(&answer).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        })
    }
}
