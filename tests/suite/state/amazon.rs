//! Amazon's quotas, of which it has one for a seller and not one for each gateway: two real gateways,
//! one real Redis, one mock of Amazon.
use std::time::Duration;

use sekisho::base::Clock;
use sekisho::mock::{Operation, Rate, Reply, Scenario, Throttling};

use super::{eventually, finish, put, shared, told, two_share, value};
use crate::store::redis::Server;
use crate::support::{ORDERS, Plan, World, bearing, error_of, get, until_some};

const CALLER: &str = r#"
[role.free]
purpose = "be limited by Amazon alone"
allow = ["orders/getOrders"]
[identity.free]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "free" }
networks = ["loopback"]
roles = ["free"]
"#;
/// What the suite's other tests are given, so that pacing is not in their way.
const UNPACED: &str =
    "pacing = { plans = [{ operations = [\"*\"], rate = \"10000/s\", burst = 10000 }] }";

async fn two(server: &Server, throttling: Throttling, pacing: &str) -> [World; 2] {
    two_of(server, throttling, pacing, |plan| plan).await
}

/// Two gateways that know of each other, before the first one's Amazon.
pub(super) async fn two_of(
    server: &Server,
    throttling: Throttling,
    pacing: &str,
    edit: impl Fn(Plan) -> Plan,
) -> [World; 2] {
    let plan = |number| {
        edit(Plan::default())
            .fill("identities", CALLER)
            .fill("more", &shared(server, number))
            .replace("stage = \"sandbox\"\n", "")
            .throttling(throttling)
    };
    let one = World::with(plan(1).replace(UNPACED, pacing)).await;
    let ca =
        put(server.dir(), "amazon-ca.pem", &std::fs::read(one.dir.join("pki/ca.pem")).unwrap());
    let port = one.amazon.address().port().to_string();
    let other = plan(2)
        .replace(&format!("ca = \"pki/ca.pem\"\n{UNPACED}"), &format!("ca = \"{ca}\"\n{pacing}"))
        .replace("{amazon}", &port);
    let both = [one, World::with(other).await];
    both[0].amazon.set(Scenario::Echo);
    for world in &both {
        eventually("both share", || {
            (value(world, "sekisho_state_sound") && two_share(world)).then_some(())
        })
        .await;
    }
    both
}

pub(super) async fn ask(world: &World) -> Reply {
    world.call(&world.nobody(), bearing(get(ORDERS), &world.token("free"))).await
}

/// Whether Amazon served it. Amazon itself refuses nothing.
async fn served(world: &World) -> bool {
    is_served(&ask(world).await)
}

fn is_served(reply: &Reply) -> bool {
    if reply.status == 200 {
        return true;
    }
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(error_of(reply).0, "Sekisho.UpstreamQuotaExceeded");
    false
}

/// So many callers at each gateway, all at once; how many of each are served.
async fn crowd(both: &[World; 2], callers: usize) -> [usize; 2] {
    let calls = both.each_ref().map(|world| {
        let token = world.token("free");
        let patient = world.caller(|config| config.deadline = Duration::from_secs(60));
        let call = || (patient.clone(), world.address(), bearing(get(ORDERS), &token));
        let calls = (0..callers).map(|_| call());
        calls
            .map(|(caller, to, call)| tokio::spawn(async move { caller.call(to, call).await }))
            .collect::<Vec<_>>()
    });
    let mut served = [0, 0];
    for (calls, served) in calls.into_iter().zip(&mut served) {
        for call in calls {
            *served += usize::from(is_served(&call.await.unwrap().unwrap()));
        }
    }
    served
}

fn counted(both: &[World; 2]) -> u64 {
    both[0].amazon.count(Operation::GetOrders)
}

fn never_refused(both: &[World; 2]) {
    for world in both {
        assert!(
            world.metric("sekisho_upstream_throttled_total{status=\"429\",upstream=\"amazon\"}")
                < 0.5
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_two_gateways_have_of_a_slow_quota_of_amazon_s_what_one_would_have() {
    let server = Server::start().await;
    // 0.0167 a second, twenty at once: the catalogue's and the mock's.
    let both = two(&server, Throttling::Amazon, "pacing = { wait = \"8 s\" }").await;
    let passed = crowd(&both, 20).await;
    // A call that could not leave within a second counts twice, so on a busy machine it may be less.
    assert!((10..=20).contains(&passed.iter().sum::<usize>()), "{passed:?}");
    // Whose they are is who came first, which is nobody's promise.
    assert_eq!(usize::try_from(counted(&both)).unwrap(), passed.iter().sum::<usize>());
    // Who is refused is told when the next call comes back, whichever gateway it asks.
    for world in &both {
        let reply = ask(world).await;
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=61).contains(&wait), "{wait}");
    }
    never_refused(&both);
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_fast_quota_of_amazon_s_is_divided_among_the_gateways() {
    let server = Server::start().await;
    let fast = Throttling::Every(Rate { per_second: 10.0, burst: 10 });
    let plans = "pacing = { wait = \"60 s\", plans = [{ operations = [\"*\"], rate = \"10/s\", burst = 10 }] }";
    let both = two(&server, fast, plans).await;
    let began = Clock::system();
    assert_eq!(crowd(&both, 20).await, [20, 20]);
    let took = began.now().mono_ns();
    assert!(took >= 2_500_000_000, "{took} ns: forty calls, ten at once and ten a second");
    assert_eq!(counted(&both), 40);
    never_refused(&both);
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_without_redis_each_gateway_has_its_part_of_amazon_s_quota() {
    let mut server = Server::start().await;
    let slow = Throttling::Every(Rate { per_second: 0.9, burst: 4 });
    let plans = "pacing = { wait = \"0 s\", plans = [{ operations = [\"*\"], rate = \"54/min\", burst = 4 }] }";
    let both = two(&server, slow, plans).await;
    let (began, mut passed) = (Clock::system(), [0_u64; 2]);
    for turn in 0..8 {
        passed[turn % 2] += u64::from(served(&both[turn % 2]).await);
    }
    // Some of a small burst is held back, since Amazon may count a call later than it was sent.
    let most = 4 + began.now().mono_ns() / 1_000_000_000;
    assert!((1..=most).contains(&passed.iter().sum()), "{passed:?}, {most}");
    let cut = Clock::system();
    server.kill();
    for world in &both {
        eventually("the outage is told", || told(world, "store-faulty").pop()).await;
    }
    // Each has one in 2.2 seconds, from an empty start.
    let mut passed = [0_u64; 2];
    while passed.iter().any(|passed| *passed < 2) {
        for (world, passed) in both.iter().zip(&mut passed) {
            *passed += u64::from(served(world).await);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let seconds = cut.now().mono_ns() / 1_000_000_000;
        assert!(seconds < 20, "{passed:?} in {seconds} s");
    }
    let most = cut.now().mono_ns() / 2_000_000_000 + 1;
    assert!(passed.iter().all(|passed| *passed <= most), "{passed:?}, {most}");
    server.restart().await;
    for world in &both {
        eventually("the healing is told", || told(world, "store-healed").pop()).await;
    }
    for world in &both {
        until_some("it is served again", async || served(world).await.then_some(())).await;
    }
    never_refused(&both);
    Box::pin(finish(both)).await;
}
