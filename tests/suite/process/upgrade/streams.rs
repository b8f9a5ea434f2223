//! What is under way when the binary is swapped, in every form that it can have: it goes on to its end.
use std::cell::Cell;
use std::time::Duration;

use sekisho::mock::{Alpn, Scenario};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::super::{Held, Place};
use super::{Line, caller, limited, spend};
use crate::logs::SOON;
use crate::pass::raw::{Target, hear, hello, say};
use crate::sockets::{HELLO, OPEN, echoes, handshake};
use crate::streams::read_head;
use crate::upstream::tls_of;
use crate::wire::{DATA, GOAWAY, H2, WINDOW_UPDATE, until_closed};

const END_STREAM: u8 = 1;
/// How a target's answer begins.
const RECORD: &[u8] = &[22, 3, 3, 0, 1, 0];
/// Bytes of an answer that takes as long as its reader does.
const LONG: u64 = 300_000;
/// Of a socket in the process that goes it is the end.
const PAUSE: Duration = Duration::from_secs(1);

/// A place whose requests have time to end after a swap.
async fn patient() -> Place {
    let place = Place::new().await;
    patiently(&place, str::to_owned);
    place
}

fn patiently(place: &Place, edit: impl FnOnce(&str) -> String) {
    place
        .write(|text| edit(&text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"10 s\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_an_http_2_stream_ends_after_the_farewell() {
    let place = patient().await;
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    place.amazon.script(&[Scenario::Endless { bytes: LONG }]);
    let mut h2 = H2::open(&caller(&place, Alpn::H2), to).await;
    let path = format!("/download/{LONG}");
    let get =
        [(":method", "GET"), (":scheme", "https"), (":path", &path), (":authority", "localhost")];
    h2.headers(1, &get, true).await;
    // No more of it comes than there is room for (RFC 9113 §6.9.2).
    let mut came = 0;
    while came < 65_535 {
        let frame = h2.next().await.expect("a piece of the answer");
        came += if frame.kind == DATA { frame.payload.len() } else { 0 };
    }
    line.upgrade(&place, &[]).await;
    let farewell = loop {
        let frame = h2.next().await.expect("a farewell");
        if frame.kind == GOAWAY {
            break frame.payload[4..8].to_vec();
        }
    };
    assert_eq!(farewell, [0; 4], "without an error");
    for stream in [0, 1] {
        h2.send(WINDOW_UPDATE, 0, stream, &1_000_000_u32.to_be_bytes()).await;
    }
    loop {
        let frame = h2.next().await.expect("the end of the stream");
        came += if frame.kind == DATA { frame.payload.len() } else { 0 };
        if (frame.kind, frame.stream, frame.flags & END_STREAM) == (DATA, 1, END_STREAM) {
            break;
        }
    }
    assert_eq!(came, usize::try_from(LONG).unwrap());
    drop(h2);
    line.ended(first).await;
    line.stop().await;
}

/// A web socket by which frames pass all the time, as far as the machine lets them.
struct Talk<S> {
    socket: S,
    last: Instant,
    /// Between any two frames that came back.
    pause: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn over(socket: S) -> Self {
        Self { socket, last: Instant::now(), pause: Duration::ZERO }
    }

    /// Has a frame come back. None, if the socket was ended, which may be where a busy machine had it
    /// pause.
    async fn passes(&mut self) -> Option<()> {
        let mut came = [0; HELLO.len()];
        let passes = async {
            self.socket.write_all(HELLO).await?;
            self.socket.flush().await?;
            self.socket.read_exact(&mut came).await
        };
        let outcome = timeout(SOON, passes).await.expect("a frame");
        let last = std::mem::replace(&mut self.last, Instant::now());
        self.pause = self.pause.max(last.elapsed());
        if let Err(error) = outcome {
            assert!(self.pause >= PAUSE, "it had not paused: {error}, {:?}", self.pause);
            return None;
        }
        assert_eq!(came, HELLO);
        Some(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_web_socket_goes_on_until_it_pauses() {
    for _ in 0..3 {
        if Box::pin(a_web_socket_goes_on()).await.is_some() {
            return;
        }
    }
    panic!("this machine has every socket pause");
}

async fn a_web_socket_goes_on() -> Option<()> {
    let place = Place::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = listener.local_addr().unwrap().port();
    let tls = tls_of(&place.pki.upstream);
    let upstream = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(tcp).await else { continue };
            tokio::spawn(async move {
                read_head(&mut stream).await;
                stream.write_all(OPEN).await.unwrap();
                let mut buffer = [0; 1_024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await.unwrap();
                    stream.flush().await.unwrap();
                }
                let _closed = stream.shutdown().await;
            });
        }
    });
    let amazon = place.amazon.address().port();
    let endpoint = |port: u16| format!("kind = \"https\"\nendpoint = \"https://localhost:{port}\"");
    patiently(&place, |text| {
        assert!(text.contains(&endpoint(amazon)));
        text.replace(&endpoint(amazon), &endpoint(store))
    });
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let open = async || {
        let mut stream = caller(&place, Alpn::H1).stream(to).await.unwrap();
        stream.write_all(handshake("/ws", "websocket").as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream
    };
    let mut socket = Talk::over(open().await);
    socket.passes().await?;
    // Frames pass all the time, before, meanwhile and after.
    let is_over = Cell::new(false);
    let swap = async {
        line.upgrade(&place, &[]).await;
        let fresh = open().await;
        is_over.set(true);
        fresh
    };
    let talk = async {
        while !is_over.get() {
            socket.passes().await?;
        }
        Some(())
    };
    let (mut fresh, talked) = tokio::join!(swap, talk);
    talked?;
    for _ in 0..50 {
        socket.passes().await?;
        echoes(&mut fresh, HELLO).await;
    }
    // The one that goes ends it when nothing passes; the other one stays.
    assert_eq!(until_closed(&mut socket.socket).await, b"");
    echoes(&mut fresh, HELLO).await;
    line.ended(first).await;
    drop(fresh);
    line.stop().await;
    upstream.abort();
    Some(())
}

pub(super) const PASSES: &str = r#"
[gateway]
environment = "test"
state_dir = "state"
threads = 1
shutdown_grace = "10 s"
[network]
loopback = ["127.0.0.0/8"]
[[listener]]
name = "apps"
address = "127.0.0.1:0"
networks = ["loopback"]
[[listener.pass]]
name = "behind"
server_names = ["localhost"]
targets = [{ name = "gw-1", address = "{target}" }]
[log]
access = { file = "access.log" }
rotate_every = "30 days"
[admin]
address = "127.0.0.1:0"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_what_is_passed_on_unread_passes_on_across_a_swap() {
    let (place, target) = (Place::new().await, Target::start().await);
    place.write(|_| PASSES.replace("{target}", &target.address().to_string()));
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let hello = hello(Some("localhost"), 0);
    let open = async || {
        let mut client = TcpStream::connect(to).await.unwrap();
        say(&mut client, &hello).await;
        let (mut server, _client) = target.take_from().await;
        assert_eq!(hear(&mut server, hello.len()).await, hello);
        // What answers no TLS is no gateway.
        say(&mut server, RECORD).await;
        assert_eq!(hear(&mut client, RECORD.len()).await, RECORD);
        (client, server)
    };
    let (mut client, mut server) = open().await;
    let mut both = async |text: &[u8]| {
        say(&mut client, text).await;
        assert_eq!(hear(&mut server, text.len()).await, text);
        say(&mut server, text).await;
        assert_eq!(hear(&mut client, text.len()).await, text);
    };
    both(b"before").await;
    line.upgrade(&place, &[]).await;
    both(b"meanwhile").await;
    let (new, at_new) = open().await;
    both(&vec![7; 100_000]).await;
    drop((client, server));
    line.ended(first).await;
    drop((new, at_new));
    line.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_calls_at_a_time_are_each_process_own() {
    let place = Place::new().await;
    let upstream = Held::of(&place, "60 s").await;
    let text = std::fs::read_to_string(place.config()).unwrap();
    let rates = "requests = [\"3/h\", \"100/day\"]";
    assert!(text.contains(rates));
    place.put(&text.replace(rates, "concurrent = 2"));
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    // Two are under way, and there is no third.
    let slow = async || {
        let open = limited(&place, to).await;
        spend(&place, &open).await.status.as_u16()
    };
    let third = async {
        upstream.is_asked_by(2).await;
        assert_eq!(spend(&place, &limited(&place, to).await).await.status, 429);
        line.upgrade(&place, &[]).await;
        assert_eq!(upstream.asked(), 2);
        // Nobody is refused for what the one that goes still has.
        let all = async {
            upstream.is_asked_by(4).await;
            upstream.lets_go();
        };
        let (one, other, ()) = tokio::join!(slow(), slow(), all);
        assert_eq!((one, other), (200, 200));
    };
    let (one, other, ()) = tokio::join!(slow(), slow(), third);
    assert_eq!((one, other), (200, 200));
    line.ended(first).await;
    line.stop().await;
}
