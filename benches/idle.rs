//! What an idle TLS connection costs: resident memory of a gateway process with thousands of them,
//! by what they have done so far.
//!
//!     cargo bench --bench idle [-- --connections 5000]
//!
//! The gateway is a process of its own, of the profile that this is built with; the clients, who show
//! a certificate, are here. Needs two file descriptors for each connection (`ulimit -n`). Traffic is on
//! loopback, and ends by itself.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_debug_implementations,
    reason = "a measuring program: it reads clocks, computes with floats, prints, and may panic"
)]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sekisho::base::Clock;
use sekisho::devcerts::{DevPki, Existing, PkiPlan};
use sekisho::mock::{
    Alpn, Call, Caller, CallerConfig, MockConfig, MockSpApi, Personality, Scenario, Session,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

const CONFIG: &str = r#"
[gateway]
environment = "development"
state_dir = "state"
threads = 1
[permit]
file = "pki/permit/host.permit"
issuers = ["pki/permit/issuer.pub"]
host_key = "pki/permit/host.key"
machine_id = "pki/permit/machine-id"
[network]
loopback = ["127.0.0.0/8"]
[[listener]]
name = "apps"
address = "{address}"
networks = ["loopback"]
upstreams = ["warehouse"]
[listener.tls]
certificates = [{ certificate = "pki/server.pem", key = "pki/server.key" }]
client_ca = "pki/ca.pem"
client_auth = "required"
[listener.bounds]
connections = 100000
connections_per_address = 100000
connections_per_identity = 100000
first_byte = "1 min"
idle = "5 min"
[[upstream]]
name = "warehouse"
kind = "https"
endpoint = "https://localhost:{upstream}"
ca = "pki/ca.pem"
[[operation]]
name = "warehouse/getStock"
upstream = "warehouse"
method = "GET"
path = "/stock/{sku}"
[role.shipping]
purpose = "print labels"
allow = ["warehouse/*"]
[identity.label-printer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://sekisho.test/label-printer" }
networks = ["loopback"]
roles = ["shipping"]
[log]
access = { file = "access.log" }
[admin]
address = "{admin}"
"#;

fn main() -> Result<(), Error> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let connections = match (words.next().as_deref(), words.next()) {
        (None, _) => 5_000,
        (Some("--connections"), Some(count)) => count.parse()?,
        _ => return Err("options: --connections N".into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(connections))
}

async fn measure(connections: usize) -> Result<(), Error> {
    let dir = Dir::new()?;
    let pki = DevPki::generate(&PkiPlan::default(), Clock::system().now())?;
    pki.write(&dir.0.join("pki"), Existing::Replace)?;
    let upstream = MockConfig::new(Personality::Warehouse, pki.upstream.clone());
    let upstream = MockSpApi::start(upstream).await?;
    upstream.set(Scenario::Echo);
    let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
    let (address, admin) = (free()?, free()?);
    let text = CONFIG
        .replace("{address}", &address.to_string())
        .replace("{upstream}", &upstream.address().port().to_string())
        .replace("{admin}", &admin.to_string());
    std::fs::write(dir.0.join("sekisho.toml"), text)?;

    println!("{connections} connections, TLS 1.3 with client certificates");
    for (title, alpn, asks) in [
        ("after the handshake", Alpn::H1, 0),
        ("HTTP/1.1, after one request", Alpn::H1, 1),
        ("HTTP/2, after the handshake", Alpn::H2, 0),
        ("HTTP/2, after one request", Alpn::H2, 1),
    ] {
        let gateway = Gateway::start(&dir, address)?;
        let mut config = CallerConfig::trusting(pki.ca.certificate());
        config.identity = pki.client("label-printer").cloned();
        config.alpn = alpn;
        config.deadline = Duration::from_secs(60);
        let caller = Caller::new(config)?;
        // Code pages, pools and tables that are there once are no connection's.
        drop(open(&caller, address, 200, 1).await?);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = gateway.resident()?;
        let held = open(&caller, address, connections, asks).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = gateway.resident()?;
        let each = after.saturating_sub(before) as f64 / connections as f64;
        println!(
            "{title:<32} {:>7.1} KiB each  ({} to {} MiB resident)",
            each / 1_024.0,
            before >> 20,
            after >> 20
        );
        drop(held);
    }
    Ok(())
}

/// Opens connections, a few at a time, and asks on each so many times.
async fn open(
    caller: &Caller,
    address: SocketAddr,
    count: usize,
    asks: usize,
) -> Result<Vec<Session>, Error> {
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let some = (0..32.min(count - held.len())).map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                let session = caller.connect(address).await?;
                for _ in 0..asks {
                    let reply = session.call(Call::get("/stock/A1")).await?;
                    if reply.status != 200 {
                        return Err(format!("answered {}", reply.status).into());
                    }
                }
                Ok::<_, Error>(session)
            })
        });
        for one in some.collect::<Vec<_>>() {
            held.push(one.await??);
        }
    }
    Ok(held)
}

struct Gateway(Child);

impl Gateway {
    fn start(dir: &Dir, address: SocketAddr) -> Result<Self, Error> {
        let child = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .arg("run")
            .arg(dir.0.join("sekisho.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let gateway = Self(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(format!("the gateway does not listen on {address}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(gateway)
    }

    /// Bytes in memory.
    fn resident(&self) -> Result<u64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
        Ok(kib * 1_024)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Result<Self, Error> {
        let dir = std::env::temp_dir().join(format!("sekisho-idle-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
