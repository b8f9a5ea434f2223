//! NET-1: listeners come, go and move while others serve, and no connection is taken for another's.
use std::net::{SocketAddr, TcpListener};

use sekisho::mock::{Alpn, BodyEnd, Call, Caller, Scenario, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{ORDERS, Plan, World, get, until, until_some};
use crate::upstream::free_address;

const APPS: &str = "[[listener]]\nname = \"apps\"\naddress = \"127.0.0.1:0\"\n";

fn second(address: &str, networks: &str) -> String {
    format!(
        "[[listener]]\nname = \"second\"\naddress = \"{address}\"\nnetworks = [\"{networks}\"]\n\
         upstreams = [\"amazon\", \"warehouse\"]\n[listener.tls]\n\
         certificates = [{{ certificate = \"pki/server.pem\", key = \"pki/server.key\" }}]\n\
         client_ca = \"pki/ca.pem\"\nclient_auth = \"optional\"\n\n"
    )
}

fn h1(world: &World) -> Caller {
    world.caller(|config| {
        config.alpn = Alpn::H1;
        config.identity = world.pki.client("label-printer").cloned();
    })
}

fn generation(world: &World) -> u64 {
    world.gateway.engine.live().snapshot.generation
}

async fn refused(address: SocketAddr) {
    until("nobody is taken any more", || std::net::TcpStream::connect(address).is_err()).await;
}

async fn served(world: &World, on: &Session) -> sekisho::mock::Reply {
    let reply = on.call(get(ORDERS)).await.unwrap();
    world.note(&reply);
    assert_eq!((reply.status.as_u16(), reply.end), (200, BodyEnd::Complete), "{}", reply.text());
    reply
}

/// `second` stands before `apps`, so every place in the file changes.
pub async fn add(world: &World, address: &str) -> SocketAddr {
    let lines = second(address, "loopback");
    assert!(world.reload(|text| text.replace(APPS, &format!("{lines}{APPS}"))).await);
    world.gateway.listens_at("second").unwrap()
}

pub async fn remove(world: &World, address: &str) {
    let lines = second(address, "loopback");
    assert!(
        world
            .reload(|text| {
                assert!(text.contains(&lines));
                text.replace(&lines, "")
            })
            .await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_listener_comes_and_goes_and_no_connection_is_taken_for_another_s() {
    // An answer that takes three seconds, and the question after it, are in time on a machine that stands
    // still for some more.
    let grace = Plan::default().replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\"");
    let world = World::with(grace).await;
    let caller = h1(&world);
    let on_apps = caller.connect(world.address()).await.unwrap();
    served(&world, &on_apps).await;

    let second_at = add(&world, "127.0.0.1:0").await;
    let on_second = caller.connect(second_at).await.unwrap();
    for (session, listener) in [(&on_apps, "apps"), (&on_second, "second")] {
        let reply = served(&world, session).await;
        assert_eq!(world.line_of(&reply)["sekisho.listener"], listener);
    }
    // The newcomer is closed to everybody, which is no concern of the other's connections.
    assert!(
        world
            .reload(|text| text
                .replace(&second("127.0.0.1:0", "loopback"), &second("127.0.0.1:0", "office")))
            .await
    );
    assert_eq!(world.gateway.listens_at("second"), Some(second_at), "it was not bound anew");
    served(&world, &on_apps).await;
    until_some("it is cut", async || on_second.call(get(ORDERS)).await.is_err().then_some(()))
        .await;
    assert!(
        world
            .reload(|text| text
                .replace(&second("127.0.0.1:0", "office"), &second("127.0.0.1:0", "loopback")))
            .await
    );

    // It goes: who waits on it is told so, and whoever asks meanwhile is refused.
    let (asking, idle) =
        (caller.connect(second_at).await.unwrap(), caller.connect(second_at).await.unwrap());
    let h2 = world.printer().connect(second_at).await.unwrap();
    for session in [&asking, &idle, &h2] {
        served(&world, session).await;
    }
    world.amazon.set(Scenario::SlowBody { bytes: 8_192, tick_ms: 500 });
    let before = world.amazon.total();
    let slow = {
        let session = caller.connect(second_at).await.unwrap();
        tokio::spawn(async move { session.call(get(ORDERS)).await.unwrap() })
    };
    until("the upstream is asked", || world.amazon.total() > before).await;
    remove(&world, "127.0.0.1:0").await;
    refused(second_at).await;
    assert!(!slow.is_finished(), "the answer came too fast for this test");
    let reply = slow.await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.end), (200, BodyEnd::Complete), "it was under way");
    world.amazon.set(Scenario::Normal);
    let denied = asking.call(get(ORDERS)).await.unwrap();
    assert_eq!(denied.status, 403);
    assert_eq!(denied.header("connection"), Some("close"));
    until_some("HTTP/2 is told to go", async || h2.call(get(ORDERS)).await.is_err().then_some(()))
        .await;
    // `shutdown_grace` later nobody is left of it, asked or not.
    until("idle connections of it are over", || world.gateway.engine.open_connections() == 1).await;
    assert!(idle.call(get(ORDERS)).await.is_err());
    served(&world, &on_apps).await;
    assert_eq!(world.events("listener-closed").len(), 1);
    assert_eq!(world.events("listener-bound").len(), 2);

    // A name that returns has its old number, and its socket is a new one.
    let again = add(&world, "127.0.0.1:0").await;
    let reply = served(&world, &caller.connect(again).await.unwrap()).await;
    assert_eq!(world.line_of(&reply)["sekisho.listener"], "second");
    served(&world, &on_apps).await;
    drop(on_apps);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_what_can_t_be_bound_refuses_the_whole_configuration() {
    let world = World::start().await;
    let caller = h1(&world);
    let open = caller.connect(world.address()).await.unwrap();
    served(&world, &open).await;
    let taken = TcpListener::bind(free_address()).unwrap();
    let lines = second(&taken.local_addr().unwrap().to_string(), "loopback");
    let changed = |text: String| {
        text.replace(APPS, &format!("{lines}{APPS}"))
            .replace("roles = [\"analysis\"]", "roles = []")
    };
    assert!(!world.reload(changed).await);
    assert_eq!(generation(&world), 1);
    assert_eq!(world.gateway.listens_at("second"), None);
    assert_eq!(world.events("config-refused").last().unwrap()["sekisho.count"], 1);
    let call = crate::support::bearing(get(ORDERS), &world.token("analyst"));
    assert_eq!(world.nobody().call(world.address(), call).await.unwrap().status, 200);
    served(&world, &open).await;
    // With the port free the same file is taken.
    drop(taken);
    assert!(world.reload(|text| text).await);
    let at = world.gateway.listens_at("second").unwrap();
    served(&world, &caller.connect(at).await.unwrap()).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_listener_that_moves_takes_its_callers_along() {
    let world = World::start().await;
    let caller = h1(&world);
    let (before, after) = (world.address(), free_address());
    let open = caller.connect(before).await.unwrap();
    served(&world, &open).await;
    let moved = APPS.replace("127.0.0.1:0", &after.to_string());
    assert!(world.reload(|text| text.replace(APPS, &moved)).await);
    assert_eq!(world.gateway.listens_at("apps"), Some(after));
    refused(before).await;
    let reply = served(&world, &open).await;
    assert_eq!(reply.header("connection"), Some("close"), "the next one comes to the new address");
    let open = caller.connect(after).await.unwrap();
    let reply = served(&world, &open).await;
    assert_eq!(reply.header("connection"), Some("keep-alive"));

    // Two that change places are served by the sockets that are there.
    let other = free_address();
    let lines = second(&other.to_string(), "loopback");
    assert!(world.reload(|text| text.replace(&moved, &format!("{lines}{moved}"))).await);
    assert!(
        world
            .reload(|text| {
                text.replace(&other.to_string(), "OTHER")
                    .replace(&after.to_string(), &other.to_string())
                    .replace("OTHER", &after.to_string())
            })
            .await
    );
    for (address, listener) in [(other, "apps"), (after, "second")] {
        let reply = served(&world, &caller.connect(address).await.unwrap()).await;
        assert_eq!(world.line_of(&reply)["sekisho.listener"], listener);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_3_metrics_and_operators_move_too() {
    let world = World::start().await;
    let (metrics, api) = (free_address(), free_address());
    let admin = format!(
        "[admin]\naddress = \"{metrics}\"\n[admin.api]\naddress = \"{api}\"\n\
         networks = [\"loopback\"]\ntls = {{ certificate = \"pki/server.pem\", \
         key = \"pki/server.key\", client_ca = \"pki/ca.pem\" }}\n[operator.viewer]\n\
         certificate = {{ san_uri = \"spiffe://sekisho.test/operators/viewer\" }}\nrole = \"viewer\"\n"
    );
    let was = "[admin]\naddress = \"127.0.0.1:0\"\n";
    assert!(world.reload(|text| text.replace(was, &admin)).await);
    assert_eq!(world.gateway.administered_at(), (Some(metrics), Some(api)));
    refused(world.gateway.admin).await;
    let viewer = world.caller(|config| {
        config.alpn = Alpn::H1;
        config.identity = world.pki.operator("viewer").cloned();
    });
    assert_eq!(viewer.call(api, Call::get("/v1/me")).await.unwrap().status, 200);
    assert!(world.reload(|text| text.replace(&admin, was)).await);
    refused(api).await;
    refused(metrics).await;
    let (again, nobody) = world.gateway.administered_at();
    std::net::TcpStream::connect(again.unwrap()).unwrap();
    assert_eq!(nobody, None);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_of_two_reloads_at_once_one_comes_after_the_other() {
    let world = World::start().await;
    let lines = second("127.0.0.1:0", "loopback");
    let path = world.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(APPS, &format!("{lines}{APPS}"))).unwrap();
    let (first, second) = tokio::join!(world.reload_as_it_is(), world.reload_as_it_is());
    assert!(first && second);
    assert_eq!(generation(&world), 3);
    let at = world.gateway.listens_at("second").unwrap();
    served(&world, &h1(&world).connect(at).await.unwrap()).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_what_happened_at_a_listener_s_door_is_told_when_it_is_gone() {
    const ANYWHERE: &str = "127.0.0.1:0";
    let world = World::start().await;
    let at = add(&world, ANYWHERE).await;
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    stream.write_all(b"no hello at all\r\n\r\n").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    remove(&world, ANYWHERE).await;
    world.gateway.flush_log();
    let told = world.events("handshake-failed");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["sekisho.listener"], "second");
    world.finish().await;
}
