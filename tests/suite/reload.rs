//! Another configuration while requests run: swapped whole or not at all, and nothing is lost.
mod put_back;
mod retried;
mod trial;
mod turns;
mod unfinished;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sekisho::base::Use;
use sekisho::config;
use sekisho::devcerts::{Leaf, LeafPlan};
use sekisho::mock::{Alpn, BodyEnd, Caller, MockConfig, MockSpApi, Personality, Scenario, Session};

use crate::support::{ORDERS, Plan, World, bearing, error_of, get, now, until};

/// What the analyst may do, and nothing.
const GRANT: &str = "roles = [\"analysis\"]";
const LESS: &str = "roles = []";
const MORE: &str = "roles = [\"analysis\", \"shipping\"]";

/// What a change is called, the change, and the mistakes in it.
type Edit<'e> = (&'e str, &'e dyn Fn(String) -> String, u64);

fn generation(world: &World) -> u64 {
    world.gateway.engine.live().snapshot.generation
}

/// A whole number among the metrics.
fn metric(world: &World, series: &str) -> u64 {
    format!("{:.0}", world.metric(series)).parse().unwrap()
}

fn reloads(world: &World, result: &str) -> u64 {
    metric(world, &format!("sekisho_config_reloads_total{{result=\"{result}\"}}"))
}

async fn status(open: &Session, token: &str) -> u16 {
    open.call(bearing(get(ORDERS), token)).await.unwrap().status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_bad_file_changes_nothing() {
    let world = World::start().await;
    let token = world.token("analyst");
    let open = world.nobody().connect(world.address()).await.unwrap();
    assert_eq!(status(&open, &token).await, 200);
    let edits: [Edit<'_>; 4] = [
        // One mistake, beside a change that would be right by itself.
        (
            "a name",
            &|t| t.replace(GRANT, LESS).replace("roles = [\"limited\"]", "roles = [\"limted\"]"),
            1,
        ),
        ("no TOML", &|t| t.replace(GRANT, LESS) + "\nthis is none\n", 1),
        ("a missing file", &|t| t.replace(GRANT, LESS).replace("pki/ca.pem", "pki/none.pem"), 3),
        ("nothing at all", &|_| String::new(), 0),
    ];
    let good = std::fs::read_to_string(world.dir.join("sekisho.toml")).unwrap();
    for (place, (what, edit, errors)) in (1..).zip(edits) {
        assert!(!world.reload(edit).await, "{what}");
        assert_eq!(status(&open, &token).await, 200, "{what}");
        assert_eq!(generation(&world), 1, "{what}");
        assert_eq!(metric(&world, "sekisho_config_generation"), 1, "{what}");
        let events = world.events("config-refused");
        let last = events.last().unwrap();
        assert_eq!(events.len(), place, "{what}");
        assert_eq!(last["sekisho.snapshot"], 1, "{what}: the one that stays in force");
        if errors > 0 {
            assert_eq!(last["sekisho.count"], errors, "{what}");
        }
        std::fs::write(world.dir.join("sekisho.toml"), &good).unwrap();
    }
    assert_eq!((reloads(&world, "refused"), reloads(&world, "applied")), (4, 0));
    assert!(world.events("config-reloaded").is_empty());
    // And the way back is open.
    assert!(world.reload(|text| text.replace(GRANT, LESS)).await);
    assert_eq!(status(&open, &token).await, 403);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_good_file_is_told() {
    let world = World::start().await;
    for expected in 2..5 {
        assert!(world.reload(|text| text + "\n").await);
        assert_eq!(generation(&world), expected);
        let events = world.events("config-reloaded");
        assert_eq!(events.last().unwrap()["sekisho.snapshot"], expected);
        assert_eq!(events.last().unwrap()["sekisho.control"], "LOG-1");
        let reply = world.call(&world.printer(), get(ORDERS)).await;
        assert_eq!(world.line_of(&reply)["sekisho.snapshot"], expected);
    }
    assert_eq!((reloads(&world, "refused"), reloads(&world, "applied")), (0, 3));
    assert_eq!(metric(&world, "sekisho_config_generation"), 4);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_forty_mistakes_are_told_at_once() {
    let world = World::start().await;
    let mut many = String::new();
    for n in 0..40 {
        let _ = write!(
            many,
            "[identity.wrong-{n}]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
             token = {{ issuer = \"corp\", subject = \"wrong-{n}\" }}\n\
             networks = [\"loopback\"]\nroles = [\"no-such-role-{n}\"]\n"
        );
    }
    let edit = |text: String| text.replace("[token]\n", &format!("{many}[token]\n"));
    assert!(!world.reload(edit).await);
    assert_eq!(world.events("config-refused").last().unwrap()["sekisho.count"], 40);
    let path = world.dir.join("sekisho.toml");
    let errors = config::load(&path, 2, now()).unwrap_err();
    let lines: std::collections::HashSet<usize> = errors.errors.iter().map(|e| e.line).collect();
    assert_eq!((errors.errors.len(), lines.len()), (40, 40));
    for (n, error) in errors.errors.iter().enumerate() {
        assert!(error.found.contains(&format!("no-such-role-{n}")), "{error:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_request_ends_under_the_rules_it_began_with_or_with_its_grant() {
    let world = World::start().await;
    let token = world.token("analyst");
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| {
            config.alpn = alpn;
            config.deadline = Duration::from_secs(60);
        });
        // While its answer dribbles, other roles come, or the one goes that grants it (ACC-3).
        for (rules, end) in [(MORE, BodyEnd::Complete), (LESS, BodyEnd::Broken)] {
            let mut tick_ms = 40;
            let (before, reply, ended) = loop {
                world.amazon.set(Scenario::SlowBody { bytes: 2_048, tick_ms });
                let before = (generation(&world), world.amazon.total());
                let slow = tokio::spawn({
                    let (caller, to) = (caller.clone(), world.address());
                    let call = bearing(get(ORDERS), &token);
                    async move { caller.call(to, call).await }
                });
                until("the upstream is asked", || world.amazon.total() > before.1).await;
                assert!(world.reload(|text| text.replace(GRANT, rules)).await);
                let was_over = slow.is_finished();
                let reply = slow.await.unwrap();
                // All of it is a refusal where its head was not out yet.
                let ended = match &reply {
                    Ok(reply) if reply.status == 200 => reply.end,
                    Ok(_) | Err(_) => BodyEnd::Broken,
                };
                if !(was_over && ended == BodyEnd::Complete) {
                    break (before, reply, ended);
                }
                // A busy machine takes longer over a reload.
                assert!(tick_ms < 400, "the body came too fast for this test");
                tick_ms = 400;
                assert!(world.reload(|text| text.replace(rules, GRANT)).await);
            };
            assert_eq!(ended, end);
            if let (MORE, Ok(reply)) = (rules, reply) {
                assert!(reply.json()["payload"]["Orders"].is_array());
                assert_eq!(world.line_of(&reply)["sekisho.snapshot"], before.0);
            } else {
                let refused = world.call(&caller, bearing(get(ORDERS), &token)).await;
                assert_eq!(error_of(&refused).0, "Sekisho.OperationNotGranted");
            }
            assert!(world.reload(|text| text.replace(rules, GRANT)).await);
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_network_taken_off_the_list_ends_open_connections_requests() {
    let world = World::start().await;
    let token = world.token("office-clerk");
    let source = "127.0.0.2".parse().unwrap();
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| {
            config.alpn = alpn;
            config.source = Some(source);
        });
        let open = caller.connect(world.address()).await.unwrap();
        assert_eq!(status(&open, &token).await, 200);
        // The identity's own network first.
        let (own, none) = ("office = [\"127.0.0.2\", \"127.0.0.3\"]", "office = [\"127.0.0.3\"]");
        assert!(world.reload(|text| text.replace(own, none)).await);
        until("it is cut", || world.gateway.engine.open_connections() == 0).await;
        let refused = caller.call(world.address(), bearing(get(ORDERS), &token)).await.unwrap();
        assert_eq!(error_of(&refused).0, "Sekisho.NetworkNotListed");
        assert!(world.reload(|text| text.replace(none, own)).await);
        let open = caller.connect(world.address()).await.unwrap();
        assert_eq!(status(&open, &token).await, 200);
        // Then the listener's.
        let (all, few) = ("loopback = [\"127.0.0.0/8\", \"::1\"]", "loopback = [\"127.0.0.1\"]");
        assert!(world.reload(|text| text.replace(all, few)).await);
        until("it is cut", || world.gateway.engine.open_connections() == 0).await;
        assert!(open.call(bearing(get(ORDERS), &token)).await.is_err());
        assert!(caller.connect(world.address()).await.is_err(), "no new connection either");
        assert!(world.reload(|text| text.replace(few, all)).await);
        let open = caller.connect(world.address()).await.unwrap();
        assert_eq!(status(&open, &token).await, 200);
    }
    world.finish().await;
}

fn install(world: &World, leaf: &Leaf) {
    std::fs::write(world.dir.join("pki/server.pem"), leaf.certificate_pem()).unwrap();
    let key = leaf.key_pem().reveal_for(Use::Forward);
    std::fs::write(world.dir.join("pki/server.key"), key).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_new_certificate_is_served_to_new_connections() {
    let world = World::start().await;
    let old = world.pki.server.chain().remove(0);
    let plan = LeafPlan::server(&["localhost".to_owned()], now());
    let leaf = world.pki.ca.issue(&plan).unwrap();
    let printer = world.printer();
    let open = printer.connect(world.address()).await.unwrap();
    assert_eq!(open.certificate(), Some(&old));
    // A certificate whose key is another one's: it is not served.
    std::fs::write(world.dir.join("pki/server.pem"), leaf.certificate_pem()).unwrap();
    assert!(world.reload(|text| text).await);
    assert_eq!(printer.connect(world.address()).await.unwrap().certificate(), Some(&old));
    install(&world, &leaf);
    assert!(world.reload(|text| text).await);
    let fresh = printer.connect(world.address()).await.unwrap();
    assert_eq!(fresh.certificate(), leaf.chain().first());
    for session in [&open, &fresh] {
        assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
    }
    let expiry = world.metric("sekisho_certificate_not_after_timestamp_seconds{listener=\"apps\"}");
    assert!(expiry > 0.0, "{}", world.gateway.engine.render_metrics());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_what_only_a_restart_can_change_is_refused_by_name() {
    let world = World::start().await;
    let good = std::fs::read_to_string(world.dir.join("sekisho.toml")).unwrap();
    let edits = [
        (good.replace("access.log", "elsewhere.log"), "[log] access"),
        (
            good.replace("[log]\naccess", "[log]\nrotate_bytes = \"64 MiB\"\naccess"),
            "[log] rotate_bytes",
        ),
        (good.replace("threads = 1", "threads = 2"), "gateway.threads"),
    ];
    for (text, what) in edits {
        assert_ne!(text, good, "{what}");
        let path = world.dir.join("other.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = config::load(&path, 2, now()).unwrap();
        let fault = world.gateway.engine.reload(loaded.snapshot).unwrap_err().to_string();
        assert!(fault.contains(what) && fault.contains("restart"), "{what}: {fault}");
        assert_eq!(generation(&world), 1);
    }
    let reply = world.call(&world.printer(), get(ORDERS)).await;
    assert_eq!(reply.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_another_upstream_is_used_by_the_next_request() {
    let world = World::start().await;
    let other = MockConfig::new(Personality::Warehouse, world.pki.upstream.clone());
    let other = MockSpApi::start(other).await.unwrap();
    let open = world.printer().connect(world.address()).await.unwrap();
    world.warehouse.set(Scenario::Echo);
    other.set(Scenario::Echo);
    assert_eq!(open.call(get("/stock/A1")).await.unwrap().status, 200);
    let (from, to) = (world.warehouse.address().port(), other.address().port());
    let port = |port: u16| format!("endpoint = \"https://localhost:{port}\"");
    assert!(world.reload(|text| text.replace(&port(from), &port(to))).await);
    assert_eq!(open.call(get("/stock/A1")).await.unwrap().status, 200);
    assert_eq!((world.warehouse.total(), other.total()), (1, 1));
    // Roots that no longer vouch for it: the connection in the pool is not used either (TLS-2).
    let ca = |file: &str| format!("{}\nca = \"{file}\"", port(to));
    assert!(world.reload(|text| text.replace(&ca("pki/ca.pem"), &ca("pki/rogue/ca.pem"))).await);
    let refused = open.call(get("/stock/A1")).await.unwrap();
    world.note(&refused);
    assert_eq!((refused.status.as_u16(), other.total()), (502, 1), "{}", refused.text());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn log_1_reloading_under_load_loses_no_request() {
    let world = World::with(Plan::default()).await;
    world.amazon.set(Scenario::Echo);
    let (done, reloaded) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let address = world.address();
    let mut loads = Vec::new();
    for alpn in [Alpn::H1, Alpn::H2, Alpn::H1, Alpn::H2, Alpn::H1, Alpn::H2] {
        let caller: Caller = world.caller(|config| {
            config.alpn = alpn;
            config.identity = world.pki.client("label-printer").cloned();
        });
        let (done, reloaded) = (Arc::clone(&done), Arc::clone(&reloaded));
        loads.push(tokio::spawn(async move {
            let open = caller.connect(address).await.unwrap();
            for n in 0..80_u64 {
                // However long a reload takes, not all of them are over before the next one.
                while n / 8 > reloaded.load(Ordering::Relaxed) + 1 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let reply = open.call(get(ORDERS)).await.unwrap_or_else(|e| panic!("{n}: {e}"));
                assert_eq!((reply.status.as_u16(), reply.end), (200, BodyEnd::Complete), "{n}");
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for n in 0..10_u64 {
        until("the load goes on", || done.load(Ordering::Relaxed) >= n * 40).await;
        // Every other one changes what is granted to somebody else.
        let swap = |text: String| {
            if n % 2 == 0 { text.replace(GRANT, LESS) } else { text.replace(LESS, GRANT) }
        };
        assert!(world.reload(swap).await);
        reloaded.fetch_add(1, Ordering::Relaxed);
    }
    for load in loads {
        load.await.unwrap();
    }
    assert_eq!(world.amazon.total(), 480);
    assert_eq!(generation(&world), 11);
    let allowed = |lines: &[serde_json::Value]| {
        lines.iter().filter(|line| line["event.outcome"] == "allowed").count()
    };
    until("every request has its line", || allowed(&world.requests()) >= 480).await;
    let lines = world.requests();
    assert_eq!((lines.len(), allowed(&lines)), (480, 480));
    let snapshots: std::collections::HashSet<u64> =
        lines.iter().filter_map(|line| line["sekisho.snapshot"].as_u64()).collect();
    assert!(snapshots.len() > 3, "{snapshots:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_reload_takes_up_a_new_identity() {
    let world = World::start().await;
    let reader = world.caller(|config| config.identity = world.pki.client("stock-reader").cloned());
    let open = reader.connect(world.address()).await.unwrap();
    let refused = open.call(get("/stock/A1")).await.unwrap();
    assert_eq!(error_of(&refused).0, "Sekisho.NoIdentity");
    let who = "[identity.stock-reader]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
               certificate = { san_uri = \"spiffe://sekisho.test/stock-reader\" }\n\
               networks = [\"loopback\"]\nroles = [\"shipping\"]\n";
    assert!(world.reload(|text| text.replace("[token]\n", &format!("{who}[token]\n"))).await);
    world.warehouse.set(Scenario::Echo);
    assert_eq!(open.call(get("/stock/A1")).await.unwrap().status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_an_authority_taken_off_the_list_ends_its_certificates() {
    let world = World::start().await;
    let mut sessions = Vec::new();
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| {
            config.alpn = alpn;
            config.identity = world.pki.client("label-printer").cloned();
        });
        let open = caller.connect(world.address()).await.unwrap();
        assert_eq!(open.call(get(ORDERS)).await.unwrap().status, 200);
        sessions.push((caller, open));
    }
    let edit = |text: String| {
        text.replace("client_ca = \"pki/ca.pem\"", "client_ca = \"pki/rogue/ca.pem\"")
    };
    assert!(world.reload(edit).await);
    for (caller, open) in &sessions {
        assert!(caller.call(world.address(), get(ORDERS)).await.is_err(), "no new connection");
        // The connection may be closed; what it may not do is let another request pass.
        if let Ok(reply) = open.call(get(ORDERS)).await {
            world.note(&reply);
            assert_eq!(reply.status, 401, "{}", reply.text());
        }
    }
    assert_eq!(world.amazon.total(), 2);
    world.finish().await;
}
