//! What is under way when its token ends, its role loses the operation, or its listener goes.
use tokio::time::sleep;

use super::open::OPEN;
use super::*;
use crate::listeners::{add, remove};

const ROLE: &str = "\"listingsItems/*\", \"warehouse/*\"]";
const SMALLER: &str = "\"listingsItems/*\"]";

fn clerk(world: &World) -> Caller {
    world.caller(|config| {
        config.alpn = Alpn::H1;
        config.source = Some([127, 0, 0, 2].into());
        config.deadline = crate::logs::SOON;
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_socket_ends_with_its_token() {
    let exact = "not_before = \"optional\"";
    let plan = Plan::default().replace(exact, &format!("{exact}\nclock_skew = \"0 s\""));
    let world = World::with(plan).await;
    let second = || world.gateway.engine.clock.now().unix_secs();
    let (token, ends) = loop {
        let now = second();
        let token = world.token_with("office-clerk", |claims| claims.exp_in = 7);
        // Else it may be of the second after.
        if second() == now {
            break (token, now + 7);
        }
    };
    // An answer under way has its end, and is let go on to it.
    world.warehouse.set_for("/stock", Scenario::SlowBody { bytes: 1, tick_ms: 300 });
    let slow = tokio::spawn({
        let (caller, call) = (clerk(&world), bearing(get("/stock/A"), &token));
        let to = world.address();
        async move { caller.call(to, call).await.unwrap() }
    });
    let mut stream = clerk(&world).stream(world.address()).await.unwrap();
    let head = format!("{OPEN}authorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let mut echoed = 0;
    let talk = async {
        while stream.write_all(b".").await.is_ok() && matches!(stream.read(&mut [0]).await, Ok(1..))
        {
            echoed += 1;
            sleep(Duration::from_millis(200)).await;
        }
    };
    within(8 * SECOND, "it ends with its token", talk).await;
    assert!(second() >= ends, "{}, not {ends}", second());
    assert!(echoed > 2, "it ended at once");
    assert!(!slow.is_finished(), "the answer came too fast for this test");
    assert_eq!(slow.await.unwrap().end, BodyEnd::Complete);
    until("both lines", || world.requests().len() == 2).await;
    let lines = world.requests();
    let line = lines.iter().find(|line| line["http.response.status_code"] == 101).unwrap();
    assert_revoked(line, "Expired");
    assert_told(&world, "expired", Some("office-clerk"), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_role_taken_away_cuts_its_socket() {
    let world = World::start().await;
    let mut stream = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
    stream.write_all(format!("{OPEN}\r\n").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    // Another configuration that grants it as well is no matter.
    assert!(world.reload(|text| text.replace("\"print labels\"", "\"labels\"")).await);
    for _ in 0..3 {
        stream.write_all(b".").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
    }
    assert!(world.reload(|text| text.replace(ROLE, SMALLER)).await);
    let _ = within(SECOND, "it is cut", stream.read_to_end(&mut Vec::new())).await;
    until("its line", || !world.requests().is_empty()).await;
    let line = world.requests().pop().unwrap();
    assert_revoked(&line, "Grant");
    assert_eq!(line["http.response.status_code"], 101);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_role_taken_away_breaks_its_answer_off() {
    let world = World::start().await;
    let (all, none) = (
        "allow = [\"orders/getOrders\", \"orders/getOrderAddress\"",
        "allow = [\"orders/getOrderAddress\"",
    );
    for alpn in BOTH {
        let line = broken_off(&world, &printer(&world, alpn), None, async || {
            assert!(world.reload(|text| text.replace(all, none)).await);
        })
        .await;
        assert_revoked(&line, "Grant");
        assert!(world.reload(|text| text.replace(none, all)).await);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_listener_that_goes_keeps_nobody_whose_certificate_is_revoked() {
    const ANYWHERE: &str = "127.0.0.1:0";
    let world = World::start().await;
    let write = |text: &str| std::fs::write(world.dir.join("revoked.crl"), text).unwrap();
    write(&list(&world, &[], 7));
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    for (alpn, cut) in BOTH.into_iter().zip(1..) {
        let second = add(&world, ANYWHERE).await;
        let (lines, asked) = (world.requests().len(), world.amazon.total());
        world.amazon.set(Scenario::SlowBody { bytes: 64, tick_ms: 50 });
        let caller = printer(&world, alpn);
        let slow = tokio::spawn(async move { caller.call(second, get(ORDERS)).await });
        until("the upstream is asked", || world.amazon.total() > asked).await;
        // Both in one change: the lists of the listener that goes are nobody's any more.
        write(&list(&world, &["label-printer"], 7));
        remove(&world, ANYWHERE).await;
        let ended = within(SECOND, "it breaks off", slow).await.unwrap();
        assert!(ended.is_err() || ended.is_ok_and(|reply| reply.end == BodyEnd::Broken));
        let line = line_after(&world, lines).await;
        assert_revoked(&line, "Certificate");
        assert_eq!(line["sekisho.listener"], "second");
        // Also of a listener that nobody is told of by the configuration in force.
        assert_told(&world, "certificate", Some("label-printer"), cut);
        write(&list(&world, &[], 7));
        assert!(world.reload_as_it_is().await);
    }
    world.finish().await;
}
