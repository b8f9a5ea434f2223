//! What waits, for its turn or for a connection to the upstream, when its access is taken away: nothing
//! of it goes up.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use sekisho::identity::Presented;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::keys::link;
use super::open::OPEN;
use super::*;
use crate::lockout::{lock, name};
use crate::support::amazon;

const ITEM: &str = "/listings/2021-08-01/items/S1/K1?marketplaceIds=A1VC38T7YXB528";

/// The clerk's network.
fn office(world: &World, alpn: Alpn) -> Caller {
    world.caller(|config| {
        config.alpn = alpn;
        config.source = Some([127, 0, 0, 2].into());
    })
}

fn clerks(world: &World, jti: &str) -> String {
    world.token_with("office-clerk", |claims| {
        claims.extra.insert("jti".to_owned(), jti.into());
    })
}

/// Eight turns of somebody who is slowed down are taken: whoever comes next waits so many seconds, and
/// what happens to it meanwhile happens before its turn. Twice as many, and four calls, may wait.
fn take_turns(world: &World, token: &str) {
    let engine = &world.gateway.engine;
    let (live, link, now) = (engine.live(), link(world), engine.clock.now());
    let who = engine.prove(&live, &link, Presented::Bearer(token.as_bytes()), now).unwrap();
    let (caller, _slow) = engine.admit_caller(&live, &link, &who, now).unwrap();
    for _ in 0..8 {
        engine.slow_turn(&live, &caller).unwrap();
    }
}

fn under_way(world: &World) -> u64 {
    world.gateway.engine.requests_under_way()
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_call_that_waits_for_its_turn_does_not_outlive_its_connection() {
    let world = World::start().await;
    world.amazon.set(Scenario::Echo);
    for who in ["office-clerk", "analyst"] {
        lock(&world, Target::Identity(name(who)), Step::Slow).await;
    }
    let analyst = world.token("analyst");
    for (alpn, jti) in BOTH.iter().zip(["stolen-1", "stolen-2"]) {
        let (token, lines) = (clerks(&world, jti), world.requests().len());
        let open = office(&world, *alpn).connect(world.address()).await.unwrap();
        take_turns(&world, &token);
        take_turns(&world, &analyst);
        let mut calls = vec![bearing(amazon(Method::DELETE, ITEM), &token)];
        if *alpn == Alpn::H2 {
            calls.extend((0..2).map(|_| bearing(amazon(Method::DELETE, ITEM), &token)));
            // Somebody else's, by the same connection.
            calls.push(bearing(get(ORDERS), &analyst));
        }
        let count = calls.len();
        let waiting: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let open = open.clone();
                tokio::spawn(async move { open.call(call).await })
            })
            .collect();
        until("they wait", || under_way(&world) == u64::try_from(count).unwrap()).await;
        // Who has come later has all of its answer: those before have proved who they are.
        let reply = world.call(&world.printer(), get(ORDERS)).await;
        assert_eq!(reply.status, 200);
        let asked = world.amazon.total();
        until("it is gone", || open_connections(&world) == 1).await;
        revoke(&world, jti).await;
        cut_to(&world, 0).await;
        for call in waiting {
            assert!(call.await.unwrap().is_err());
        }
        until("every line", || world.requests().len() == lines + 1 + count).await;
        assert_eq!(world.amazon.total(), asked, "it went up all the same");
        let mut theirs = world.requests().split_off(lines);
        theirs.retain(|line| line["user.name"] != "label-printer");
        assert_eq!(theirs.len(), count);
        for line in theirs {
            if line["user.name"] == "analyst" {
                assert_eq!(
                    (&line["event.outcome"], &line["sekisho.detail"]),
                    (&"failed".into(), &"CallerWentAway".into()),
                    "{line}"
                );
            } else {
                assert_revoked(&line, "Token");
            }
        }
    }
    world.finish().await;
}

/// Whoever went away by itself is on no roll any more that anybody would be cut off by.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_call_whose_caller_went_away_is_on_record_when_the_gateway_stops() {
    let world = World::start().await;
    lock(&world, Target::Identity(name("office-clerk")), Step::Slow).await;
    let token = clerks(&world, "own");
    let open = office(&world, Alpn::H2).connect(world.address()).await.unwrap();
    take_turns(&world, &token);
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (open, call) = (open.clone(), bearing(amazon(Method::DELETE, ITEM), &token));
            tokio::spawn(async move { open.call(call).await })
        })
        .collect();
    until("they wait", || under_way(&world) == 3).await;
    for call in calls {
        call.abort();
    }
    drop(open);
    until("it is gone", || open_connections(&world) == 0).await;
    let log = world.stop().await;
    let lines: Vec<_> =
        log.iter().filter(|line| line["event.dataset"] == "sekisho.access").collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        assert_eq!(line["sekisho.detail"], "CallerWentAway", "{line}");
    }
}

/// The way to an upstream, on which nothing gets on before it is opened.
struct Gate {
    to: watch::Sender<Option<SocketAddr>>,
    came: Arc<AtomicUsize>,
}

impl Gate {
    /// A gate, and its port.
    async fn shut() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Self { to: watch::Sender::new(None), came: Arc::default() };
        let (came, to) = (Arc::clone(&gate.came), gate.to.subscribe());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                came.fetch_add(1, Ordering::Relaxed);
                let mut to = to.clone();
                tokio::spawn(async move {
                    let Ok(to) = to.wait_for(Option::is_some).await.map(|to| to.unwrap()) else {
                        return;
                    };
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        (gate, port)
    }

    async fn holds(&self, count: usize) {
        until("they connect", || self.came.load(Ordering::Relaxed) == count).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_acc_3_nothing_goes_up_for_whoever_is_locked_or_revoked_while_it_connects() {
    let (gate, port) = Gate::shut().await;
    let there = "endpoint = \"https://localhost:{warehouse}\"";
    // Two locks are written down while they connect.
    let plan = Plan::default()
        .replace(there, &format!("endpoint = \"https://localhost:{port}\""))
        .fill("warehouse", "connect_timeout = \"30 s\"");
    let world = World::with(plan).await;
    let mut waiting = Vec::new();
    for alpn in BOTH {
        let (caller, to) = (printer(&world, alpn), world.address());
        waiting.push(tokio::spawn(async move { caller.call(to, get("/stock/A")).await }));
    }
    let mut socket = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
    socket.write_all(format!("{OPEN}\r\n").as_bytes()).await.unwrap();
    let clerk = tokio::spawn({
        let (caller, to) = (office(&world, Alpn::H2), world.address());
        let call = bearing(get("/stock/A"), &clerks(&world, "stolen"));
        async move { caller.call(to, call).await }
    });
    gate.holds(4).await;
    revoke(&world, "stolen").await;
    assert!(clerk.await.unwrap().is_err());
    lock(&world, Target::Identity(name("label-printer")), Step::Lock).await;
    gate.to.send_replace(Some(world.warehouse.address()));
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().status, 401);
    }
    assert!(read_head(&mut socket).await.starts_with("HTTP/1.1 401 "));
    until("every line", || world.requests().len() == 4).await;
    for line in world.requests() {
        if line["user.name"] == "office-clerk" {
            assert_revoked(&line, "Token");
        } else {
            assert_eq!(
                (&line["sekisho.denial"], &line["sekisho.detail"]),
                (&"Locked".into(), &"Identity".into()),
                "{line}"
            );
        }
    }
    assert_eq!(world.warehouse.total(), 0, "it went up all the same");
    world.finish().await;
}
