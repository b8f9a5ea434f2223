//! Who may connect at all (NET-1), and whose address counts behind a balancer (NET-3).
use std::net::IpAddr;
use std::time::Duration;

use sekisho::mock::{Alpn, Call, CallFault, Caller, Reply, Scenario};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{ORDERS, Plan, World, error_of, get, holds, put, until, within};
use crate::wire::{all_closed, as_printer, printer_h1, printer_h2, tcp, turned_back, until_closed};

const ADMITTED: &str = "networks = [\"loopback\"]\nupstreams = [\"amazon\", \"warehouse\"]\n";

fn from(world: &World, addr: &str) -> Caller {
    world.caller(|config| {
        as_printer(world, config);
        config.source = Some(addr.parse().unwrap());
    })
}

/// The one line about the door of that kind.
fn event(world: &World, action: &str) -> Value {
    let lines = world.events(action);
    let [line] = lines.as_slice() else { panic!("one {action} expected: {lines:?}") };
    line.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_an_address_not_on_the_list_is_closed_before_tls() {
    let listed = ADMITTED.replace("loopback", "office");
    let world = World::with(Plan::default().replace(ADMITTED, &listed)).await;
    for addr in ["127.0.0.1", "127.0.0.4"] {
        assert_eq!(until_closed(&mut tcp(addr, world.address()).await).await, b"", "{addr}");
    }
    // The start of a TLS hello brings no byte of TLS back, no alert either.
    let mut eager = tcp("127.0.0.4", world.address()).await;
    let _ = eager.write_all(b"\x16\x03\x01\x00\xff").await;
    assert_eq!(until_closed(&mut eager).await, b"");
    assert!(from(&world, "127.0.0.4").stream(world.address()).await.is_err());
    turned_back(&world, "address", 4).await;
    let line = event(&world, "address-refused");
    assert_eq!(line["sekisho.count"], 4);
    assert_eq!(line["sekisho.listener"], "apps");
    assert_eq!(line["sekisho.control"], "NET-1");
    let completed = "sekisho_handshakes_total{listener=\"apps\",result=\"completed\"}";
    assert!(world.metric(completed) < 0.5);

    for addr in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(world.call(&from(&world, addr), get(ORDERS)).await.status, 200, "{addr}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_network_taken_off_the_list_is_refused_on_open_connections_too() {
    let world = World::start().await;
    let (h1, h2) = (printer_h1(&world), printer_h2(&world));
    let mut sessions = Vec::new();
    for caller in [&h1, &h2] {
        let session = caller.connect(world.address()).await.unwrap();
        assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
        sessions.push(session);
    }
    let stays = from(&world, "127.0.0.2").connect(world.address()).await.unwrap();
    assert_eq!(stays.call(get(ORDERS)).await.unwrap().status, 200);

    let listed = ADMITTED.replace("loopback", "office");
    assert!(world.reload(|text| text.replace(ADMITTED, &listed)).await);
    until("they are cut", || world.gateway.engine.open_connections() == 1).await;
    for session in &sessions {
        assert!(session.call(get(ORDERS)).await.is_err());
    }
    until("it is told", || !world.events("connections-cut").is_empty()).await;
    assert_eq!(world.events("connections-cut")[0]["sekisho.cause"], "network");
    assert!(h1.stream(world.address()).await.is_err());
    turned_back(&world, "address", 1).await;
    assert_eq!(stays.call(get(ORDERS)).await.unwrap().status, 200);
    assert_eq!(world.amazon.total(), 4);

    // The network itself changes, not the list of its listener.
    let fewer = |text: String| text.replace("office = [\"127.0.0.2\", ", "office = [");
    assert!(world.reload(fewer).await);
    until("it is cut", || world.gateway.engine.open_connections() == 0).await;
    assert!(stays.call(get(ORDERS)).await.is_err());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_an_ipv4_mapped_address_is_judged_as_ipv4() {
    let listed = ADMITTED.replace("loopback", "office");
    let plan = Plan::default()
        .replace("address = \"127.0.0.1:0\"\nnetworks", "address = \"[::]:0\"\nnetworks")
        .replace(ADMITTED, &listed);
    let world = World::with(plan).await;
    let to = (IpAddr::from([127, 0, 0, 1]), world.address().port()).into();
    let reply = from(&world, "127.0.0.2").call(to, get(ORDERS)).await.unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(until_closed(&mut tcp("127.0.0.4", to).await).await, b"");
    turned_back(&world, "address", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_listener_that_admits_nobody_by_mistake_is_no_configuration() {
    let world = World::start().await;
    for to in [ADMITTED.replace("[\"loopback\"]", "[]"), ADMITTED.replace("loopback", "no-such")] {
        assert!(!world.reload(|text| text.replace(ADMITTED, &to)).await, "{to}");
        assert!(world.reload(|text| text.replace(&to, ADMITTED)).await);
    }
    assert_eq!(world.events("config-refused").len(), 2);
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_forwarded_headers_are_never_believed_nor_passed_on() {
    // By hand: whoever calls has another pseudonym each day.
    let world = World::with(Plan::default().by_hand()).await;
    world.amazon.set(Scenario::Echo);
    let names = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "via",
    ];
    let plain = world.call(&world.printer(), get(ORDERS)).await;
    let mut call = get(ORDERS);
    for name in names {
        put(&mut call, name, "127.0.0.3");
    }
    let reply = world.call(&world.printer(), call).await;
    assert_eq!(reply.status, 200);
    let json = reply.json();
    let seen: Vec<_> =
        json["headers"].as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap()).collect();
    for name in names {
        assert!(!seen.contains(&name), "{name} went up");
    }
    assert!(!holds(&reply.body, "127.0.0.3"));
    let (line, before) = (world.line_of(&reply), world.line_of(&plain));
    assert_eq!(line["sekisho.network"], before["sekisho.network"]);
    assert_eq!(line["sekisho.source"], before["sekisho.source"]);
    world.finish().await;
}

/// Behind a balancer at 127.0.0.9: customers of a network that no socket here can come from.
pub fn balanced(networks: &str) -> Plan {
    Plan::default()
        .replace(
            "balancers = [\"127.0.0.9\"]",
            "balancers = [\"127.0.0.9\"]\n\
             customers = [\"203.0.113.0/24\", \"2001:db8::/32\"]",
        )
        .replace(
            ADMITTED,
            &format!(
                "networks = {networks}\nupstreams = [\"amazon\", \"warehouse\"]\n\
                 proxy_protocol = {{ from = [\"balancers\"] }}\n"
            ),
        )
        .replace(
            "networks = [\"loopback\"]\nroles",
            "networks = [\"customers\", \"balancers\"]\nroles",
        )
}

pub fn through(world: &World, preamble: &[u8]) -> Caller {
    world.caller(|config| {
        as_printer(world, config);
        config.source = Some("127.0.0.9".parse().unwrap());
        config.preamble = preamble.to_vec();
    })
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 5000 443\r\n").into_bytes()
}

pub fn v2(command: u8, client: IpAddr) -> Vec<u8> {
    let (family, addresses) = match client {
        IpAddr::V4(client) => (0x11, [client.octets(), [192, 0, 2, 1]].concat()),
        IpAddr::V6(client) => (0x21, [client.octets(), [0; 16]].concat()),
    };
    let length = u16::try_from(addresses.len() + 4).unwrap().to_be_bytes();
    let start = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x20 | command, family], &length];
    [start.concat(), addresses, vec![0x13, 0x88, 1, 0xbb]].concat()
}

/// The client as the log knows it.
fn client(world: &World, reply: &Reply) -> (String, String) {
    let line = world.line_of(reply);
    let text = |key: &str| line[key].as_str().expect(key).to_owned();
    (text("sekisho.network"), text("sekisho.source"))
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_a_balancer_taken_off_the_list_speaks_for_nobody_any_more() {
    let world = World::with(balanced("[\"customers\"]")).await;
    let caller = through(&world, &v1("203.0.113.7"));
    let open = caller.connect(world.address()).await.unwrap();
    assert_eq!(open.call(get(ORDERS)).await.unwrap().status, 200);
    let elsewhere =
        |text: String| text.replace("balancers = [\"127.0.0.9\"]", "balancers = [\"127.0.0.8\"]");
    assert!(world.reload(elsewhere).await);
    until("it is cut", || world.gateway.engine.open_connections() == 0).await;
    assert!(open.call(get(ORDERS)).await.is_err());
    assert!(caller.stream(world.address()).await.is_err());
    assert_eq!(world.amazon.total(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_the_client_that_the_balancer_names_is_the_one_that_counts() {
    let world = World::with(balanced("[\"customers\"]").by_hand()).await;
    let mut seen = Vec::new();
    for preamble in [
        v1("203.0.113.7"),
        v2(1, [203, 0, 113, 7].into()),
        v2(1, "::ffff:203.0.113.7".parse().unwrap()),
        v1("203.0.113.8"),
        v2(1, "2001:db8::1".parse().unwrap()),
    ] {
        let reply = world.call(&through(&world, &preamble), get(ORDERS)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (network, source) = client(&world, &reply);
        assert_eq!(network, "customers");
        seen.push(source);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "one client, one pseudonym: {seen:?}");
    assert!(seen[0] != seen[3] && seen[3] != seen[4] && seen[0] != seen[4], "{seen:?}");
    // A client behind the balancer can't choose an address either.
    world.amazon.set(Scenario::Echo);
    let mut call = get(ORDERS);
    put(&mut call, "x-forwarded-for", "203.0.113.99");
    let reply = world.call(&through(&world, &v1("203.0.113.7")), call).await;
    assert_eq!(client(&world, &reply).1, seen[0]);
    assert!(!holds(&reply.body, "203.0.113."), "{}", reply.text());
    world.note_bytes(&reply.body);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_without_a_whole_header_there_is_no_connection() {
    let plan = balanced("[\"customers\"]").fill("bounds", "handshake = \"4 s\"");
    let world = World::with(plan).await;
    // A TLS hello in place of the header, an impossible one, one that breaks off.
    assert!(through(&world, b"").stream(world.address()).await.is_err());
    assert!(through(&world, b"PROXY TCP4 1.2.3\r\n").stream(world.address()).await.is_err());
    let mut gone = tcp("127.0.0.9", world.address()).await;
    gone.write_all(b"PROXY TCP4 203.0.").await.unwrap();
    gone.shutdown().await.unwrap();
    assert_eq!(until_closed(&mut gone).await, b"");
    all_closed(&world).await;
    turned_back(&world, "proxy_header", 3).await;
    let mut details: Vec<_> = world
        .events("proxy-header-refused")
        .iter()
        .map(|line| line["sekisho.detail"].as_str().unwrap().to_owned())
        .collect();
    details.sort();
    assert_eq!(details, ["line", "not_proxy", "torn"]);

    // One that never ends has the time of the handshake.
    let began = tokio::time::Instant::now();
    let torn = async {
        let mut torn = tcp("127.0.0.9", world.address()).await;
        torn.write_all(&v2(1, [203, 0, 113, 7].into())[..20]).await.unwrap();
        until_closed(&mut torn).await
    };
    assert_eq!(within(Duration::from_secs(7), "it is closed", torn).await, b"");
    assert!(began.elapsed() >= Duration::from_millis(3_900), "{:?}", began.elapsed());
    until("it is told", || !world.events("handshake-failed").is_empty()).await;
    assert_eq!(event(&world, "handshake-failed")["sekisho.detail"], "timed_out");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_nobody_but_the_balancer_may_speak_for_others() {
    let world = World::with(balanced("[\"customers\", \"loopback\"]")).await;
    // 127.0.0.1 is on the list as a client, but it is no balancer.
    for preamble in [v1("203.0.113.7"), Vec::new()] {
        let mut stranger = tcp("127.0.0.1", world.address()).await;
        let _ = stranger.write_all(&preamble).await;
        assert_eq!(until_closed(&mut stranger).await, b"");
    }
    turned_back(&world, "address", 2).await;
    // The balancer names a client that is not on the list.
    assert!(through(&world, &v1("198.51.100.7")).stream(world.address()).await.is_err());
    turned_back(&world, "address", 3).await;
    assert_eq!(event(&world, "address-refused")["sekisho.count"], 3);
    // Two headers: the second is no TLS hello.
    let twice = [v1("203.0.113.7"), v1("203.0.113.8")].concat();
    assert!(through(&world, &twice).stream(world.address()).await.is_err());
    assert_eq!(world.amazon.total(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_a_balancers_own_connection_is_judged_by_its_own_address() {
    let own = || [v2(0, [203, 0, 113, 7].into()), b"PROXY UNKNOWN\r\n".to_vec()];
    let world = World::with(balanced("[\"customers\"]")).await;
    for preamble in own() {
        assert!(through(&world, &preamble).stream(world.address()).await.is_err());
    }
    turned_back(&world, "address", 2).await;
    world.finish().await;

    let world = World::with(balanced("[\"customers\", \"balancers\"]")).await;
    for preamble in own() {
        let reply = world.call(&through(&world, &preamble), get(ORDERS)).await;
        assert_eq!(client(&world, &reply).0, "balancers");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_3_each_client_behind_a_balancer_has_its_own_share_of_connections() {
    let plan = balanced("[\"customers\"]").fill("bounds", "connections_per_address = 1");
    let world = World::with(plan).await;
    let (one, other) = (through(&world, &v1("203.0.113.7")), through(&world, &v1("203.0.113.8")));
    let held = one.connect(world.address()).await.unwrap();
    assert_eq!(held.call(get(ORDERS)).await.unwrap().status, 200);
    let second = one.connect(world.address()).await.map(drop);
    assert!(matches!(second, Err(CallFault::Io(_) | CallFault::Tls(_))), "{second:?}");
    turned_back(&world, "connections_per_address", 1).await;
    assert_eq!(event(&world, "connections-exceeded")["sekisho.listener"], "apps");
    assert_eq!(world.call(&other, Call::get("/nowhere")).await.status, 404);
    drop(held);
    all_closed(&world).await;
    assert_eq!(world.call(&one, get(ORDERS)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_2_an_allowed_address_alone_opens_nothing() {
    let world = World::start().await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let nobody = world.caller(|config| config.alpn = alpn);
        let reply = world.call(&nobody, get(ORDERS)).await;
        assert_eq!(reply.status, 401);
        assert_eq!(error_of(&reply).0, "Sekisho.NoCredential");
    }
    assert_eq!(world.amazon.total(), 0);
    world.finish().await;
}
