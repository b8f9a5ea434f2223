//! What callers notice while the binary is swapped: how many requests are lost, and how long the
//! slowest took, against the same load without swaps.
//!
//!     cargo bench --bench swap [-- --swaps 20 --rate 2000 --fresh 50 --connections 32]
//!
//! Half of the connections that stay speak HTTP/1.1, half HTTP/2; `--fresh` connections a second are
//! opened for one call each. A caller opens another connection where it was told to, and sends again
//! only what the server said it had not begun. Everything is on loopback and ends by itself; exit code
//! 1 if a request was lost.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_debug_implementations,
    reason = "a measuring program: it reads clocks, computes with floats, prints, and may panic"
)]

#[path = "../tests/suite/support/crowd.rs"]
mod crowd;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crowd::{Crowd, Habit, Tally};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};
use sekisho::base::Clock;
use sekisho::devcerts::{DevPki, Existing, PkiPlan};
use sekisho::mock::{Alpn, Call, Caller, CallerConfig, MockConfig, MockSpApi, Personality};

type Error = Box<dyn std::error::Error + Send + Sync>;

const SEKISHO: &str = env!("CARGO_BIN_EXE_sekisho");
const STOCK: &str = "/stock/JP-1";

const CONFIG: &str = r#"
[gateway]
environment = "development"
state_dir = "state"
shutdown_grace = "5 s"
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
upstreams = ["warehouse"]
[listener.tls]
certificates = [{ certificate = "pki/server.pem", key = "pki/server.key" }]
client_ca = "pki/ca.pem"
client_auth = "optional"
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
allow = ["warehouse/getStock"]
limits = [{ operations = ["warehouse/*"], requests = ["1000000/min"] }]
[identity.label-printer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://sekisho.test/label-printer" }
networks = ["loopback"]
roles = ["shipping"]
[log]
access = { file = "access.log" }
[admin]
address = "127.0.0.1:0"
"#;

struct Options {
    swaps: usize,
    rate: usize,
    fresh: usize,
    connections: usize,
}

fn options() -> Result<Options, Error> {
    let mut options = Options { swaps: 20, rate: 2_000, fresh: 50, connections: 32 };
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    for pair in words.chunks(2) {
        let [key, value] = pair else { return Err("an option needs a value".into()) };
        let value = value.parse()?;
        match key.as_str() {
            "--swaps" => options.swaps = value,
            "--rate" => options.rate = value,
            "--fresh" => options.fresh = value,
            "--connections" => options.connections = value,
            _ => return Err("options: --swaps N --rate N --fresh N --connections N".into()),
        }
    }
    Ok(options)
}

/// A gateway over all its processes. The one that serves at the end is ended when this is dropped.
struct Line {
    dir: PathBuf,
    pid: u32,
    address: SocketAddr,
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Line {
    fn start(dir: PathBuf) -> Result<Self, Error> {
        let mut child = Command::new(SEKISHO)
            .arg("run")
            .arg(dir.join("sekisho.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let err = BufReader::new(child.stderr.take().ok_or("no standard error")?);
        let mut lines = err.lines();
        let mut heard = String::from("the gateway did not start\n");
        let address = loop {
            let Some(line) = lines.next() else { return Err(heard.into()) };
            let line = line?;
            heard += &line;
            heard.push('\n');
            let said = line.strip_prefix("listening on ");
            if let Some((address, _)) = said.and_then(|said| said.split_once(" (apps)")) {
                break address.parse()?;
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { dir, pid: child.id(), address })
    }

    /// How long until the new process serves, and until the old one is gone.
    fn swap(&mut self) -> Result<(Duration, Duration), Error> {
        let began = Instant::now();
        let config = self.dir.join("sekisho.toml");
        let output = Command::new(SEKISHO).arg("upgrade").arg(config).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let pid = said.strip_prefix("process ").and_then(|said| said.split_once(" serves"));
        let Some((pid, _)) = pid else {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        };
        let served = began.elapsed();
        let before = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or("no process")?;
        self.pid = pid.parse()?;
        waitpid(Some(before), WaitOptions::empty())?;
        Ok((served, began.elapsed()))
    }
}

/// One stretch of load: those that keep their connections, and those that don't.
struct Load {
    kept: Crowd,
    fresh: Crowd,
}

fn stock() -> Call {
    Call::get(STOCK)
}

impl Load {
    fn begin(options: &Options, pki: &DevPki, to: SocketAddr) -> Result<Self, Error> {
        let habit = |alpn, every, keeps| -> Result<Habit, Error> {
            let mut config = CallerConfig::trusting(pki.ca.certificate());
            config.identity = pki.client("label-printer").cloned();
            config.alpn = alpn;
            Ok(Habit { caller: Caller::new(config)?, to, call: stock, every, keeps })
        };
        let every = |count: usize, rate: usize| Duration::from_secs_f64(count as f64 / rate as f64);
        let (mut kept, mut fresh) = (Crowd::new(), Crowd::new());
        let half = options.connections / 2;
        for alpn in [Alpn::H1, Alpn::H2] {
            kept.add(half, &habit(alpn, every(options.connections, options.rate), true)?);
        }
        if options.fresh > 0 {
            fresh.add(10, &habit(Alpn::Both, every(10, options.fresh), false)?);
        }
        Ok(Self { kept, fresh })
    }

    async fn end(self, what: &str, took: Duration) -> u64 {
        let kept = self.kept.stop().await;
        let fresh = self.fresh.stop().await;
        let mut lost = 0;
        for (who, tally) in [("connections that stay", kept), ("one call each", fresh)] {
            lost += report(what, who, took, &tally);
        }
        lost
    }
}

fn report(what: &str, who: &str, over: Duration, tally: &Arc<Tally>) -> u64 {
    let mut took = tally.took.lock().clone();
    took.sort_unstable();
    let at = |share: f64| {
        let place = (took.len() as f64 * share) as usize;
        f64::from(took.get(place.min(took.len().saturating_sub(1))).copied().unwrap_or(0)) / 1_000.0
    };
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "{what:<8} {who:<22} {:>7} ok {:>6.0}/s  {:>5} connections  {:>4} resent  {:>3} lost   p50 {:.1} p99 {:.1} max {:.1} ms",
        count(&tally.ok),
        count(&tally.ok) as f64 / over.as_secs_f64(),
        count(&tally.connections),
        count(&tally.resent),
        count(&tally.failed),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    for fault in tally.faults.lock().iter() {
        println!("         {fault}");
    }
    count(&tally.failed)
}

fn prepare(dir: &Path, upstream: SocketAddr, pki: &DevPki) -> Result<(), Error> {
    pki.write(&dir.join("pki"), Existing::Replace)?;
    let text = CONFIG.replace("{upstream}", &upstream.port().to_string());
    std::fs::write(dir.join("sekisho.toml"), text)?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = options()?;
    // Processes that lose their parent become children of this one, which waits for them.
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let dir = std::env::temp_dir().join(format!("sekisho-swap-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let pki = DevPki::generate(&PkiPlan::default(), Clock::system().now())?;
    let upstream = MockConfig::new(Personality::Amazon, pki.upstream.clone());
    let upstream = MockSpApi::start(upstream).await?;
    upstream.serve(STOCK, "application/json", "{\"stock\":12}");
    prepare(&dir, upstream.address(), &pki)?;
    let mut line = Line::start(dir)?;

    let load = Load::begin(&options, &pki, line.address)?;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut lost = load.end("quiet", began.elapsed()).await;

    let load = Load::begin(&options, &pki, line.address)?;
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..options.swaps {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let moved = tokio::task::spawn_blocking(move || {
            let swapped = line.swap();
            (swapped, line)
        });
        let swapped;
        (swapped, line) = moved.await?;
        times.push(swapped?);
    }
    let average = |of: fn(&(Duration, Duration)) -> Duration| {
        times.iter().map(of).sum::<Duration>().as_secs_f64() * 1_000.0 / times.len().max(1) as f64
    };
    println!(
        "{} swaps: the new process serves after {:.0} ms, the old one is gone after {:.0} ms",
        times.len(),
        average(|(served, _)| *served),
        average(|(_, gone)| *gone),
    );
    lost += load.end("swapping", began.elapsed()).await;
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
