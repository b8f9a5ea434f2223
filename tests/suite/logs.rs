//! LOG-1 and LOG-2 from outside: one line for every request, with the documented keys and nothing of
//! the request in it; nothing of a request in metrics, answers, events or state either.
mod disk;
mod flood;
mod keeping;
mod silence;

use std::collections::BTreeSet;
use std::time::Duration;

use sekisho::evidence::codes;
use sekisho::mock::{Alpn, BodyEnd, Call, Flow, Reply, Scenario};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{ORDERS, Plan, World, bearing, error_of, get, until};

/// The longest that a test waits for something that is on its way.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for something that another task is about to do.
pub async fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// In every line of a request that reached the request path.
const ALWAYS: &[&str] = &[
    "@timestamp",
    "event.dataset",
    "event.duration",
    "event.outcome",
    "http.request.body.bytes",
    "http.response.body.bytes",
    "network.protocol",
    "sekisho.listener",
    "sekisho.network",
    "sekisho.request_id",
    "sekisho.snapshot",
    "sekisho.source",
    "sekisho.source_day",
    "service.environment",
    "tls.version",
];
/// Where there is something to say.
const SOMETIMES: &[&str] = &[
    "http.request.method",
    "http.response.status_code",
    "sekisho.amazon_request_id",
    "sekisho.attempts",
    "sekisho.control",
    "sekisho.denial",
    "sekisho.detail",
    "sekisho.drift",
    "sekisho.limit",
    "sekisho.operation",
    "sekisho.paced_us",
    "sekisho.pii_records",
    "sekisho.proof",
    "sekisho.role",
    "sekisho.shadow_limit",
    "sekisho.upstream",
    "sekisho.upstream_status",
    "sekisho.upstream_us",
    "user.name",
];

/// The keys are the documented ones, and each value has its one form.
fn judge(line: &Value) {
    let line = line.as_object().unwrap();
    for key in ALWAYS {
        assert!(line.contains_key(*key), "{key} is missing: {line:?}");
    }
    for (key, value) in line {
        let key = key.as_str();
        assert!(ALWAYS.contains(&key) || SOMETIMES.contains(&key), "{key} is not documented");
        let Some(text) = value.as_str() else {
            assert!(value.is_u64(), "{key}: {value}");
            continue;
        };
        let fits = match key {
            "@timestamp" => text.len() == "2026-11-22T10:15:00.123Z".len() && text.ends_with('Z'),
            "sekisho.request_id" => {
                text.len() == 26
                    && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            }
            "sekisho.source" => text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            "sekisho.amazon_request_id" => text.len() == 36,
            "event.outcome" => ["allowed", "denied", "failed"].contains(&text),
            "network.protocol" => ["h1", "h2"].contains(&text),
            "tls.version" => ["1.2", "1.3"].contains(&text),
            // Names of the configuration, and words of the program.
            _ => text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-./".contains(&b)),
        };
        assert!(fits, "{key}: {text:?}");
    }
    let has = |key: &str| line.contains_key(key);
    match line["event.outcome"].as_str().unwrap() {
        "allowed" => {
            for key in ["sekisho.operation", "user.name", "sekisho.proof", "sekisho.role"] {
                assert!(has(key), "{key}: {line:?}");
            }
            assert!(has("http.request.method") && has("http.response.status_code"), "{line:?}");
            assert!(has("sekisho.upstream") && has("sekisho.attempts"), "{line:?}");
            assert!(!has("sekisho.denial") && !has("sekisho.control"), "{line:?}");
        }
        "denied" => {
            assert!(has("sekisho.denial") && has("sekisho.control"), "{line:?}");
            assert!(has("http.response.status_code"), "{line:?}");
            // Only a body is still judged after the upstream was asked.
            let in_the_body = line["sekisho.denial"].as_str().unwrap().starts_with("BodyToo");
            assert!(in_the_body || !has("sekisho.upstream"), "{line:?}");
        }
        _ => assert!(has("sekisho.denial") || has("sekisho.detail"), "{line:?}"),
    }
}

/// Takes the lines of requests as they come, one for each request.
struct Ledger<'w> {
    world: &'w World,
    taken: usize,
    denials: BTreeSet<String>,
}

impl Ledger<'_> {
    /// The line of a request whose caller did not wait for the end.
    async fn went_away(&mut self, alpn: Alpn) {
        let line = self.one("a caller who went away").await;
        assert_eq!(line["event.outcome"], "failed", "{alpn:?}: {line}");
        assert_eq!(line["sekisho.detail"], "CallerWentAway", "{alpn:?}: {line}");
    }

    async fn one(&mut self, what: &str) -> Value {
        let world = self.world;
        let lines = eventually(what, || {
            let lines = world.requests();
            (lines.len() > self.taken).then_some(lines)
        })
        .await;
        self.taken += 1;
        assert_eq!(lines.len(), self.taken, "{what}: more than one line");
        let line = lines.last().unwrap().clone();
        judge(&line);
        self.denials.extend(line["sekisho.denial"].as_str().map(str::to_owned));
        line
    }

    /// The line fits the answer, and says the denial and its particulars.
    async fn denied(&mut self, reply: &Reply, code: &str, detail: Option<&str>) -> Value {
        let line = self.one(code).await;
        assert_eq!(line["sekisho.denial"], code);
        assert_eq!(line["sekisho.detail"].as_str(), detail, "{code}");
        assert_eq!(line["http.response.status_code"], reply.status.as_u16(), "{code}");
        assert_eq!(reply.header("x-sekisho-request-id"), line["sekisho.request_id"].as_str());
        assert_eq!(error_of(reply).0, format!("Sekisho.{code}"));
        line
    }
}

const SINGLE: &str = r#"
[identity.single]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "single" }
networks = ["loopback"]
roles = ["shipping"]
connections = 1
"#;

#[tokio::test(flavor = "multi_thread")]
async fn log_1_every_kind_of_request_leaves_one_line_with_the_documented_keys() {
    let plan = Plan::default()
        .fill("identities", SINGLE)
        .fill("bounds", "body_bytes = \"4 KiB\"\nbody_rate_grace = \"1 s\"");
    let world = World::with(plan).await;
    let mut ledger = Ledger { world: &world, taken: 0, denials: BTreeSet::new() };
    let (printer, nobody) = (world.printer(), world.nobody());

    let reply = world.call(&printer, get(ORDERS)).await;
    let line = ledger.one("a granted request").await;
    assert_eq!((line["event.outcome"].as_str(), reply.status.as_u16()), (Some("allowed"), 200));
    assert_eq!(line["sekisho.upstream"], "amazon");
    assert_eq!(line["http.response.body.bytes"], reply.body_bytes);

    refused_at_the_head(&world, &mut ledger).await;
    refused_by_identity(&world, &mut ledger).await;
    refused_by_policy(&world, &mut ledger).await;
    refused_by_quota(&world, &mut ledger).await;
    refused_by_its_body(&world, &mut ledger).await;

    world.amazon.script(&[Scenario::CloseEarly]);
    let reply = world.call(&printer, get(ORDERS)).await;
    // The mock speaks HTTP/2 and resets the stream.
    let line = ledger.denied(&reply, "UpstreamFailed", Some("Malformed")).await;
    assert_eq!(line["event.outcome"], "failed");
    abandoned(&world, &mut ledger).await;

    // Taken off the list while connected.
    let session = printer.connect(world.address()).await.unwrap();
    session.call(get(ORDERS)).await.unwrap();
    ledger.one("before the address was taken off the list").await;
    let fewer = |text: String| {
        text.replacen(
            "networks = [\"loopback\"]\nupstreams",
            "networks = [\"office\"]\nupstreams",
            1,
        )
    };
    assert!(world.reload(fewer).await);
    until("it is cut", || world.gateway.engine.open_connections() == 0).await;
    assert!(session.call(get(ORDERS)).await.is_err());

    let elsewhere = [
        "AccessRevoked",
        "AddressRevoked",
        "Canary",
        "Closed",
        "Internal",
        "Locked",
        "LogUnavailable",
        "QuotaUnknown",
        "SlowedDown",
        "StepUpRequired",
        "UpstreamQuotaExceeded",
        "Withheld",
    ];
    let all: BTreeSet<_> =
        codes::DenialCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    let missed: Vec<_> = all.difference(&ledger.denials).collect();
    assert_eq!(
        missed, elsewhere,
        "full disks are in logs/disk.rs, locks in lockout.rs, what is taken away in life.rs, Amazon's quotas in paced.rs, what is withheld in hidden.rs; defects can't be ordered"
    );
    the_log_and_the_numbers_agree(&world, ledger.taken);
    drop(nobody);
    world.finish().await;
}

async fn refused_at_the_head(world: &World, ledger: &mut Ledger<'_>) {
    let by_hand = world.caller(|config| {
        config.identity = world.pki.client("label-printer").cloned();
        config.alpn = Alpn::H1;
    });
    let raw =
        by_hand.raw(world.address(), b"GET / HTTP/1.1\r\nhost: localhost\nx: y\r\n\r\n").await;
    let raw = raw.unwrap();
    world.note_bytes(&raw.bytes);
    let line = ledger.one("a malformed head").await;
    assert_eq!(line["sekisho.denial"], "HeadNotAccepted");
    assert_eq!(line["sekisho.detail"], "BareLineEnd");
    let said = String::from_utf8_lossy(&raw.bytes).into_owned();
    assert!(said.contains(line["sekisho.request_id"].as_str().unwrap()), "{said}");

    let printer = world.printer();
    let reply = world.call(&printer, get("/orders//v0/orders")).await;
    ledger.denied(&reply, "PathNotAccepted", Some("EmptySegment")).await;
    let reply = world.call(&printer, get(ORDERS).header("host", "other.test")).await;
    ledger.denied(&reply, "WrongHost", None).await;
    let upgrade = get(ORDERS).header("connection", "upgrade").header("upgrade", "websocket");
    let reply = world.call(&by_hand, upgrade).await;
    ledger.denied(&reply, "UpgradeNotAllowed", None).await;
    let reply = world.call(&by_hand, Call { body: Flow::whole("x"), ..get(ORDERS) }).await;
    ledger.denied(&reply, "BodyNotAllowed", None).await;
}

async fn refused_by_identity(world: &World, ledger: &mut Ledger<'_>) {
    let nobody = world.nobody();
    let reply = world.call(&nobody, get(ORDERS)).await;
    ledger.denied(&reply, "NoCredential", None).await;
    let expired = world.token_with("analyst", |claims| claims.exp_in = -600);
    let reply = world.call(&nobody, bearing(get(ORDERS), &expired)).await;
    ledger.denied(&reply, "TokenNotAccepted", Some("Expired")).await;
    let reply = world.call(&nobody, bearing(get(ORDERS), &world.token("leaver"))).await;
    let line = ledger.denied(&reply, "NoIdentity", None).await;
    assert_eq!(line["user.name"], "leaver", "the operator sees who tried");
    assert!(!reply.text().contains("leaver"), "the caller learns nothing of the identity");
    let reply = world.call(&nobody, bearing(get(ORDERS), &world.token("office-clerk"))).await;
    ledger.denied(&reply, "NetworkNotListed", None).await;

    let single = world.token("single");
    let first = nobody.connect(world.address()).await.unwrap();
    first.call(bearing(get(ORDERS), &single)).await.unwrap();
    ledger.one("the first connection of one who may have one").await;
    let reply = world.call(&nobody, bearing(get(ORDERS), &single)).await;
    ledger.denied(&reply, "TooManyConnections", None).await;
}

async fn refused_by_policy(world: &World, ledger: &mut Ledger<'_>) {
    let (nobody, analyst) = (world.nobody(), world.token("analyst"));
    let reply = world.call(&nobody, bearing(get("/nothing/here"), &analyst)).await;
    let line = ledger.denied(&reply, "OperationUnknown", None).await;
    assert_eq!(line.get("sekisho.operation"), None);
    let address = get("/orders/v0/orders/902-1/address");
    let reply = world.call(&nobody, bearing(address, &analyst)).await;
    let line = ledger.denied(&reply, "OperationNotGranted", None).await;
    assert_eq!(line["sekisho.operation"], "orders/getOrderAddress");
    assert_eq!(line["user.name"], "analyst");
    let by_mail = format!("{ORDERS}&BuyerEmail=x%40example.com");
    let reply = world.call(&nobody, bearing(get(&by_mail), &analyst)).await;
    ledger.denied(&reply, "QueryNotGranted", None).await;
}

async fn refused_by_quota(world: &World, ledger: &mut Ledger<'_>) {
    let (nobody, limited) = (world.nobody(), world.token("limited-caller"));
    for _ in 0..3 {
        world.call(&nobody, bearing(get(ORDERS), &limited)).await;
        ledger.one("within the quota").await;
    }
    let reply = world.call(&nobody, bearing(get(ORDERS), &limited)).await;
    ledger.denied(&reply, "QuotaExceeded", None).await;
}

async fn refused_by_its_body(world: &World, ledger: &mut Ledger<'_>) {
    let printer = world.printer();
    let reply = world.call(&printer, Call::post("/upload", Flow::whole(vec![b'x'; 5_000]))).await;
    ledger.denied(&reply, "BodyTooLarge", None).await;
    let slow = Flow::slow(vec![b'x'; 4_000], 10, Duration::from_millis(100));
    let by_hand = world.caller(|config| {
        config.identity = world.pki.client("label-printer").cloned();
        config.alpn = Alpn::H1;
        config.deadline = SOON;
    });
    let reply = world.call(&by_hand, Call::post("/upload", slow)).await;
    ledger.denied(&reply, "BodyTooSlow", None).await;
}

/// The caller goes away, before the answer and within it, on either version of HTTP.
async fn abandoned(world: &World, ledger: &mut Ledger<'_>) {
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = |body_max| {
            world.caller(|config| {
                config.identity = world.pki.client("label-printer").cloned();
                config.alpn = alpn;
                config.body_max = body_max;
            })
        };
        let before = world.amazon.total();
        world.amazon.script(&[Scenario::Delay { ms: 30_000 }]);
        let (patient, address) = (caller(u64::MAX), world.address());
        let call = tokio::spawn(async move { patient.call(address, get(ORDERS)).await.map(drop) });
        eventually("the upstream is asked", || (world.amazon.total() > before).then_some(())).await;
        call.abort();
        ledger.went_away(alpn).await;
        world.amazon.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 50 }]);
        let reply = caller(3).call(address, get(ORDERS)).await.unwrap();
        assert_eq!(reply.end, BodyEnd::TooLarge, "{alpn:?}");
        ledger.went_away(alpn).await;
    }
}

/// What was written is what was counted, and nothing was lost.
fn the_log_and_the_numbers_agree(world: &World, requests: usize) {
    let text = world.gateway.engine.render_metrics();
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    let lines = world.log();
    let of = |dataset: &str| lines.iter().filter(|line| line["event.dataset"] == dataset).count();
    assert_eq!(of("sekisho.access"), requests);
    assert_eq!(of("sekisho.access") + of("sekisho.event"), lines.len(), "there are no other lines");
    assert_eq!(sum("sekisho_requests_total").to_string(), requests.to_string());
    let denied = lines.iter().filter(|line| line.get("sekisho.denial").is_some()).count();
    let on_requests = lines.iter().filter(|line| {
        line["event.dataset"] == "sekisho.access" && line.get("sekisho.denial").is_some()
    });
    assert_eq!(denied, on_requests.count());
    assert_eq!(sum("sekisho_denials_total").to_string(), denied.to_string());
    assert_eq!(
        world.metric("sekisho_request_duration_seconds_count").to_string(),
        requests.to_string()
    );
    assert_eq!(world.events("lines-lost"), Vec::<Value>::new());
    assert_eq!(world.metric("sekisho_log_lines_lost_total").to_string(), "0");
}

/// One answer of the admin listener, whole.
async fn admin(world: &World, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(world.gateway.admin).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    said
}
