//! One world per test: throw-away certificates, a mock of Amazon, a mock warehouse and a gateway in
//! front of both. `World::finish` stops everything and searches all that the gateway wrote for the
//! personal data that the mocks are full of (LOG-2); a world that is dropped without it fails.
pub mod crowd;
mod encode;
mod late;
mod wait;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use sekisho::base::{Clock, ManualClock, Moment};
use sekisho::cli::run::Running;
use sekisho::cli::watch::Watched;
use sekisho::config;
use sekisho::devcerts::{DevPki, Existing, PkiPlan, TokenClaims};
use sekisho::mock::{
    Call, Caller, CallerConfig, MockConfig, MockHandle, MockSpApi, PLANTED, Personality, Reply,
    Throttling,
};
use serde_json::Value;

pub use encode::{base64url, basic};
pub use late::Late;
pub use wait::{until, until_some, within};

pub const ISSUER: &str = "https://issuer.sekisho.test";
pub const AUDIENCE: &str = "sekisho";

/// The configuration every test begins with. `{name}` is filled in by the world.
pub const CONFIG: &str = r#"
[gateway]
environment = "test"
state_dir = "state"
threads = 1
shutdown_grace = "2 s"

[permit]
file = "pki/permit/host.permit"
issuers = ["pki/permit/issuer.pub"]
host_key = "pki/permit/host.key"
machine_id = "pki/permit/machine-id"

[network]
loopback = ["127.0.0.0/8", "::1"]
office = ["127.0.0.2", "127.0.0.3"]
balancers = ["127.0.0.9"]

[[listener]]
name = "apps"
address = "127.0.0.1:0"
networks = ["loopback"]
upstreams = ["amazon", "warehouse"]
[listener.tls]
certificates = [{ certificate = "pki/server.pem", key = "pki/server.key" }]
client_ca = "pki/ca.pem"
client_auth = "optional"
[listener.bounds]
#bounds

[[upstream]]
name = "amazon"
kind = "sp-api"
region = "fe"
stage = "sandbox"
endpoint = "https://localhost:{amazon}"
token_endpoint = "https://localhost:{amazon}"
ca = "pki/ca.pem"
pacing = { plans = [{ operations = ["*"], rate = "10000/s", burst = 10000 }] }
#amazon

[[upstream]]
name = "warehouse"
kind = "https"
endpoint = "https://localhost:{warehouse}"
ca = "pki/ca.pem"
#warehouse

[[operation]]
name = "warehouse/getStock"
upstream = "warehouse"
method = "GET"
path = "/stock/{sku}"
encoded = ["sku"]
query = ["page", "size"]
[[operation]]
name = "warehouse/putStock"
upstream = "warehouse"
method = "PUT"
path = "/stock/{sku}"
encoded = ["sku"]
[[operation]]
name = "warehouse/download"
upstream = "warehouse"
method = "GET"
path = "/download/{bytes}"
[[operation]]
name = "warehouse/upload"
upstream = "warehouse"
method = "POST"
path = "/upload"
[[operation]]
name = "warehouse/socket"
upstream = "warehouse"
method = "GET"
path = "/ws"
upgrade = "websocket"

[[issuer]]
name = "corp"
iss = "https://issuer.sekisho.test"
audiences = ["sekisho"]
algorithms = ["ES256"]
jwks = { file = "pki/tokens/signing.jwks" }
environment = "test"
not_before = "optional"

[role.shipping]
purpose = "print labels"
allow = ["orders/getOrders", "orders/getOrderAddress", "orders/v0/getOrder", "lwa/token", "listingsItems/*", "warehouse/*"]

[role.analysis]
purpose = "count orders"
allow = ["orders/getOrders", "sellers/*"]
query = [{ operations = ["orders/getOrders"], deny = ["BuyerEmail"] }, { operations = ["orders/getOrders"], parameter = "MarketplaceIds", values = ["A1VC38T7YXB528"] }]

[role.limited]
purpose = "be limited"
allow = ["orders/getOrders"]
limits = [{ operations = ["orders/*"], requests = ["3/min", "100/day"] }]

[identity.label-printer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://sekisho.test/label-printer" }
networks = ["loopback"]
roles = ["shipping"]
[identity.analyst]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "analyst" }
networks = ["loopback"]
roles = ["analysis"]
[identity.limited-caller]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "limited-caller" }
networks = ["loopback"]
roles = ["limited"]
[identity.office-clerk]
kind = "person"
owner = "platform@example.com"
token = { issuer = "corp", subject = "office-clerk" }
networks = ["office"]
roles = ["shipping"]
[identity.leaver]
kind = "person"
owner = "platform@example.com"
token = { issuer = "corp", subject = "leaver" }
networks = ["loopback"]
roles = ["shipping"]
disabled = "left the company"
#identities

[token]
#token

[log]
access = { file = "access.log" }
[admin]
address = "127.0.0.1:0"
#more
"#;

/// A gateway with everything around it.
pub struct World {
    pub dir: PathBuf,
    pub pki: DevPki,
    pub amazon: MockHandle,
    pub warehouse: MockHandle,
    pub gateway: Running,
    pub hand: Option<Arc<ManualClock>>,
    watched: Arc<Watched>,
    /// Everything that went out to callers as an error, and what else tests want searched.
    said: Mutex<Vec<u8>>,
    guard: Guard,
}

/// Fails a test that forgot to finish its world.
struct Guard(bool);

impl Drop for Guard {
    fn drop(&mut self) {
        assert!(self.0 || std::thread::panicking(), "a world was dropped without finish()");
    }
}

/// How a world differs from [`CONFIG`].
#[derive(Default)]
pub struct Plan {
    /// Lines for a `#place` of [`CONFIG`].
    pub fill: HashMap<&'static str, String>,
    /// Texts replaced by others.
    pub replace: Vec<(String, String)>,
    /// Files beside the configuration.
    pub files: Vec<(&'static str, String)>,
    pub clock: Option<(Clock, Arc<ManualClock>)>,
    pub amazon: Option<MockConfig>,
    pub warehouse: Option<MockConfig>,
    /// How fast the mock of Amazon lets itself be called, by the gateway's clock.
    pub throttling: Throttling,
}

impl Plan {
    pub fn fill(mut self, place: &'static str, lines: &str) -> Self {
        self.fill.insert(place, lines.to_owned());
        self
    }

    pub fn file(mut self, name: &'static str, text: &str) -> Self {
        self.files.push((name, text.to_owned()));
        self
    }

    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(CONFIG.contains(from), "the configuration holds no {from:?}");
        self.replace.push((from.to_owned(), to.to_owned()));
        self
    }

    pub fn throttling(mut self, throttling: Throttling) -> Self {
        self.throttling = throttling;
        self
    }

    /// Time stands still, today, until the hand moves it.
    pub fn by_hand(mut self) -> Self {
        self.clock = Some(Clock::manual(Clock::system().now().unix_ms()));
        self
    }
}

/// Throw-away keys for [`CONFIG`], with a permit for its environment.
pub fn pki() -> DevPki {
    let mut pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
    let names = ["localhost", "gateway.test", "upstream.test", "*.shop.test"].map(str::to_owned);
    let claims = pki.host.claims("test", &["apps", "second", "admin.api"], &names, now()).unwrap();
    pki.permit = pki.host.issuer.sign(&claims);
    pki
}

pub fn now() -> Moment {
    Clock::system().now()
}

impl World {
    pub async fn start() -> Self {
        Self::with(Plan::default()).await
    }

    pub async fn with(plan: Plan) -> Self {
        let dir = scratch();
        let pki = pki();
        pki.write(&dir.join("pki"), Existing::Replace).unwrap();
        let mock = |config: Option<MockConfig>, personality| {
            config.unwrap_or_else(|| MockConfig::new(personality, pki.upstream.clone()))
        };
        let mut amazon = mock(plan.amazon, Personality::Amazon);
        if plan.throttling != Throttling::Off {
            amazon.throttling = plan.throttling;
            if let Some((clock, _hand)) = &plan.clock {
                amazon.clock = clock.clone();
            }
        }
        let amazon = MockSpApi::start(amazon).await.unwrap();
        let warehouse =
            MockSpApi::start(mock(plan.warehouse, Personality::Warehouse)).await.unwrap();
        let mut text = CONFIG.to_owned();
        for (from, to) in &plan.replace {
            text = text.replace(from, to);
        }
        for (place, lines) in &plan.fill {
            let mark = format!("#{place}\n");
            assert!(text.contains(&mark), "the configuration has no place {place:?}");
            text = text.replace(&mark, &format!("{lines}\n"));
        }
        text = text
            .replace("{amazon}", &amazon.address().port().to_string())
            .replace("{warehouse}", &warehouse.address().port().to_string());
        std::fs::write(dir.join("sekisho.toml"), text).unwrap();
        for (name, text) in &plan.files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let (clock, hand) = match plan.clock {
            Some((clock, hand)) => (clock, Some(hand)),
            None => (Clock::system(), None),
        };
        let watched = Arc::new(Watched::default());
        let loaded = config::load_from(&*watched, &dir.join("sekisho.toml"), 1, clock.now())
            .unwrap_or_else(|errors| panic!("{errors}"));
        let gateway = Running::start(loaded, clock).await.unwrap();
        gateway.follow(&dir.join("sekisho.toml"), &watched);
        let said = Mutex::default();
        let guard = Guard(false);
        Self { dir, pki, amazon, warehouse, gateway, hand, watched, said, guard }
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address("apps").unwrap()
    }

    /// Trusts the gateway's CA and presents nothing.
    pub fn caller_config(&self) -> CallerConfig {
        CallerConfig::trusting(self.pki.ca.certificate())
    }

    pub fn caller(&self, edit: impl FnOnce(&mut CallerConfig)) -> Caller {
        let mut config = self.caller_config();
        edit(&mut config);
        Caller::new(config).unwrap()
    }

    /// Presents no certificate.
    pub fn nobody(&self) -> Caller {
        self.caller(|_| {})
    }

    /// Presents the certificate of `label-printer`.
    pub fn printer(&self) -> Caller {
        self.caller(|config| config.identity = self.pki.client("label-printer").cloned())
    }

    pub fn token(&self, subject: &str) -> String {
        self.token_with(subject, |_| {})
    }

    pub fn token_with(&self, subject: &str, edit: impl FnOnce(&mut TokenClaims)) -> String {
        let mut claims = TokenClaims::new(ISSUER, subject, AUDIENCE);
        edit(&mut claims);
        self.pki.signer.sign(&claims, self.gateway.engine.clock.now()).unwrap()
    }

    /// One call on a connection of its own.
    pub async fn call(&self, caller: &Caller, call: Call) -> Reply {
        let reply = caller.call(self.address(), call).await.unwrap();
        self.note(&reply);
        reply
    }

    /// Puts an error answer among what is searched for personal data.
    pub fn note(&self, reply: &Reply) {
        if reply.status.as_u16() >= 400 {
            self.said.lock().extend_from_slice(&reply.body);
        }
    }

    /// Puts any bytes that must hold no personal data among what is searched.
    pub fn note_bytes(&self, bytes: &[u8]) {
        self.said.lock().extend_from_slice(bytes);
    }

    /// Every line of the access log so far.
    pub fn log(&self) -> Vec<Value> {
        self.gateway.flush_log();
        log_in(&self.dir)
    }

    /// Lines about requests.
    pub fn requests(&self) -> Vec<Value> {
        self.log().into_iter().filter(|l| l["event.dataset"] == "sekisho.access").collect()
    }

    /// Lines about the gateway itself, by their `event.action`.
    pub fn events(&self, action: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["event.action"] == action).collect()
    }

    /// The line of the request that was answered.
    pub fn line_of(&self, reply: &Reply) -> Value {
        self.line(reply.header("x-sekisho-request-id").expect("a request id"))
    }

    /// The line of a request by its id. It is written after the answer's last byte left, which may be
    /// a moment after the answer is here.
    pub fn line(&self, id: &str) -> Value {
        for _ in 0..2_000 {
            let line = self.requests().into_iter().find(|line| line["sekisho.request_id"] == id);
            if let Some(line) = line {
                return line;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no line for request {id}");
    }

    /// The value of one series of the metrics; 0 if there is none.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.gateway.engine.render_metrics();
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .find(|(name, _)| *name == series)
            .map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// Replaces text in the configuration file and reloads it.
    pub async fn reload(&self, edit: impl FnOnce(String) -> String) -> bool {
        let path = self.dir.join("sekisho.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, edit(text)).unwrap();
        self.reload_as_it_is().await
    }

    /// Reloads the configuration file.
    pub async fn reload_as_it_is(&self) -> bool {
        self.gateway.reload().await
    }

    /// Stops the gateway and starts another one on the same state and configuration.
    pub async fn restart(self) -> Self {
        self.restart_after(async || {}).await
    }

    /// The same; something happens meanwhile.
    pub async fn restart_after(self, meanwhile: impl AsyncFnOnce()) -> Self {
        let Self { dir, pki, amazon, warehouse, gateway, hand, watched, said, guard } = self;
        let clock = gateway.engine.clock.clone();
        Box::pin(gateway.stop()).await;
        meanwhile().await;
        let path = dir.join("sekisho.toml");
        let loaded = config::load_from(&*watched, &path, 1, clock.now()).unwrap();
        let gateway = Running::start(loaded, clock).await.unwrap();
        gateway.follow(&path, &watched);
        Self { dir, pki, amazon, warehouse, gateway, hand, watched, said, guard }
    }

    pub fn advance(&self, by: Duration) {
        self.hand.as_ref().expect("a world by hand").advance(by);
    }

    /// Stops the gateway and searches everything it wrote.
    pub async fn finish(self) {
        Box::pin(self.stop()).await;
    }

    /// The same; returns every line of the access log.
    pub async fn stop(self) -> Vec<Value> {
        let Self { dir, gateway, said, mut guard, .. } = self;
        guard.0 = true;
        let mut places = vec![
            ("metrics".to_owned(), gateway.engine.render_metrics().into_bytes()),
            ("error answers".to_owned(), said.into_inner()),
        ];
        Box::pin(gateway.stop()).await;
        let written = log_text(&dir);
        assert_eq!(whole_lines(&written), written, "the log ends within a line");
        collect(&dir, &dir.join("pki"), &mut places);
        for (place, bytes) in &places {
            for planted in PLANTED {
                assert!(!holds(bytes, planted), "personal data {planted:?} in {place}");
            }
            let is_ours = place == "error answers" || place.contains("access.log");
            for address in ["127.0.0.", "::1"] {
                assert!(!(is_ours && holds(bytes, address)), "an address in {place}");
            }
        }
        let log = log_in(&dir);
        let _ = std::fs::remove_dir_all(&dir);
        log
    }
}

/// Every whole line of the access log that a test's gateway wrote in this folder.
pub fn log_in(dir: &Path) -> Vec<Value> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect(line);
        // PRIV-5: of whatever kind it is.
        assert_eq!(line["service.environment"], "test", "{line}");
        line
    };
    whole_lines(&log_text(dir)).lines().map(line).collect()
}

/// The text without a line that is just being written: whoever reads meanwhile may find a part of it.
pub fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

/// The text of every file of it, the oldest first: whenever midnight comes, another one begins.
pub fn log_text(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let is_closed =
        |path: &PathBuf| path.to_str().is_some_and(|path| path.contains("/access.log."));
    let mut files: Vec<PathBuf> = files.filter(is_closed).collect();
    files.sort();
    files.push(dir.join("access.log"));
    files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect()
}

pub fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// A folder of its own for each world.
pub fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("sekisho-suite-{}-{count}", std::process::id()));
    // One that was killed may have had the same number, and left a state behind.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Every file below a folder but those of the PKI.
fn collect(dir: &Path, except: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path == except {
            continue;
        }
        if path.is_dir() {
            collect(&path, except, into);
        } else if let Ok(bytes) = std::fs::read(&path) {
            into.push((path.display().to_string(), bytes));
        }
    }
}

/// A GET as an SP-API client sends it: with Amazon's token.
pub fn get(target: &str) -> Call {
    amazon(Method::GET, target)
}

pub fn amazon(method: Method, target: &str) -> Call {
    let mut call = Call::new(method, target);
    put(&mut call, "x-amz-access-token", "Atza|mock-access-token");
    put(&mut call, "user-agent", "suite/1.0 (Language=Rust)");
    call
}

pub fn put(call: &mut Call, name: &'static str, value: &str) {
    call.headers.append(
        HeaderName::from_static(name),
        HeaderValue::from_str(value).expect("a header value"),
    );
}

/// The same, with a bearer token for the gateway.
pub fn bearing(mut call: Call, token: &str) -> Call {
    put(&mut call, "authorization", &format!("Bearer {token}"));
    call
}

/// The code and message of an error answer.
pub fn error_of(reply: &Reply) -> (String, String) {
    let json: Value = serde_json::from_slice(&reply.body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&reply.body)));
    let error = &json["errors"][0];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"))
}

pub const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528";

/// A whole answer as text, without what differs between any two: request id and date.
pub fn masked(reply: &Reply) -> String {
    let id = reply.header("x-sekisho-request-id").expect("a request id");
    let mut fields: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    fields.sort();
    let whole = format!("{}\n{}\n\n{}", reply.status, fields.join("\n"), reply.text());
    whole.replace(id, "[request]")
}
