//! Who keeps a place: nobody without a credential, and nobody who hardly takes what was asked for.
use sekisho::mock::Alpn;
use tokio::io::AsyncReadExt;

use super::*;
use crate::wire::{DATA, Ended, H2, RST_STREAM, SETTINGS, WINDOW_UPDATE};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_INITIAL_WINDOW_SIZE`: nothing.
const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];

fn asks(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", "localhost")]
}

/// In a world of its own, so that both versions of HTTP can be waited for together.
async fn nobody_stays(alpn: Alpn) {
    let world = World::with(bounds("first_byte = \"3 s\"")).await;
    let nobody = world.caller(|config| config.alpn = alpn);
    let answered = |reply: Reply| {
        world.note(&reply);
        assert_eq!(
            (reply.status.as_u16(), error_of(&reply).0),
            (401, "Sekisho.NoCredential".to_owned())
        );
        reply.header("connection") == Some("close")
    };
    let refused =
        async |session: &sekisho::mock::Session| answered(session.call(get(ORDERS)).await.unwrap());
    // One request buys no minute.
    let session = nobody.connect(world.address()).await.unwrap();
    let began = Instant::now();
    refused(&session).await;
    all_closed(&world).await;
    assert!(began.elapsed() >= Duration::from_millis(2_500), "{:?}", began.elapsed());
    // Nor does one after the other: each has its answer, and then that is enough.
    let eight = async || {
        let session = nobody.connect(world.address()).await.unwrap();
        for _ in 0..7 {
            assert!(!refused(&session).await);
        }
        let eighth = session.call(get(ORDERS)).await;
        // This client's library takes a request for lost if the farewell comes before it has looked after
        // that request once more, which a busy machine can bring about over HTTP/2.
        let closes = eighth.map(answered).map_err(|fault| assert_eq!(alpn, Alpn::H2, "{fault}"));
        all_closed(&world).await;
        closes.ok()
    };
    let closes = until_some("the eighth answer is seen", eight).await;
    assert_eq!(closes, alpn == Alpn::H1);
    // Whoever proves itself stays, and may err.
    let (token, session) = (world.token("analyst"), nobody.connect(world.address()).await.unwrap());
    for errors in [7, 20] {
        for _ in 0..errors {
            assert!(!refused(&session).await);
        }
        let reply = session.call(bearing(get(ORDERS), &token)).await.unwrap();
        assert_eq!(reply.status, 200);
        sleep(Duration::from_millis(3_500)).await;
    }
    assert_eq!(world.gateway.engine.open_connections(), 1);
    drop(session);
    all_closed(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_nobody_stays_without_a_credential() {
    tokio::join!(nobody_stays(Alpn::H1), nobody_stays(Alpn::H2));
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_nobody_stays_who_does_not_hear_the_farewell() {
    let world = World::with(bounds("first_byte = \"1 s\"")).await;
    let nobody = world.caller(|config| config.alpn = Alpn::H2);
    let mut deaf = H2::open(&nobody, world.address()).await;
    // Eight refusals and a second; counted, not timed, because this machine may stand still.
    for stream in (1..).step_by(2) {
        deaf.headers(stream, &asks("/stock/17"), true).await;
        if matches!(deaf.ended(stream).await, Ended::Closed(_)) {
            break;
        }
        assert!(stream < 160, "it stays");
        sleep(TICK).await;
    }
    world.finish().await;
}

/// Lets so many bytes of an answer come each time, until it is reset; how long that took.
async fn drips(world: &World, bytes: u32, every: Duration) -> Duration {
    let mut h2 = H2::silent(&printer_h2(world), world.address()).await;
    h2.write(PREFACE).await;
    h2.send(SETTINGS, 0, 0, NO_WINDOW).await;
    h2.widen(1 << 20).await;
    h2.headers(1, &asks("/download/10000000"), true).await;
    let began = Instant::now();
    loop {
        h2.send(WINDOW_UPDATE, 0, 1, &bytes.to_be_bytes()).await;
        loop {
            let frame = h2.next().await.expect("the connection is in order");
            if (frame.kind, frame.stream) == (RST_STREAM, 1) {
                return began.elapsed();
            }
            if frame.kind == DATA {
                break;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it goes on");
        sleep(every).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_caller_that_reads_a_byte_a_time_is_cut() {
    let world = World::with(bounds("idle = \"1 s\"")).await;
    let cut = drips(&world, 1, Duration::from_millis(800));
    within(Duration::from_secs(5), "it is cut", cut).await;
    all_closed(&world).await;

    let mut stream = printer_h1(&world).stream(world.address()).await.unwrap();
    let ask = format!("GET /download/200000000 HTTP/1.1\r\n{HOST}\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
    let mut reads = 0;
    while world.gateway.engine.open_connections() > 0 {
        let _ = stream.read(&mut [0]).await;
        reads += 1;
        assert!(reads < 10, "it goes on");
        sleep(Duration::from_millis(800)).await;
    }
    until("both lines", || world.requests().len() == 2).await;
    let lines = world.requests();
    assert!(lines.iter().all(|line| line["event.outcome"] == "failed"), "{lines:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_caller_that_reads_a_piece_a_time_is_cut() {
    let lines = "idle = \"2 s\"\nbody_rate = \"64 KiB/s\"\nbody_rate_grace = \"1 s\"";
    let world = World::with(bounds(lines)).await;
    // Each piece is taken in time, and all of them at a sixth of the least rate.
    let took = drips(&world, 16_384, Duration::from_millis(1_500)).await;
    assert!(took > Duration::from_secs(2), "{took:?}");
    world.finish().await;
}
