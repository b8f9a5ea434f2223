//! Writes by hand, over HTTP/1, what no HTTP engine would.
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Scenario;
use super::serve::{Script, declared, filled, size};

/// What follows a body whose length was understated: it must never be taken for an answer.
pub(super) const POISON: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 14\r\n\r\nPOISONED-q7k-9";
const GARBAGE: &[u8] = b"SSH-2.0-mock\r\n\x00\xff\xfe not http planted-garbage-q7k\r\n\r\n";
/// How long a lying connection stays open, so that it can be put into a pool.
const LINGER: Duration = Duration::from_secs(5);
/// Between two informational responses without end.
const TICK: Duration = Duration::from_millis(10);

/// Plays the script and closes the connection. A client that goes away ends it.
pub(super) async fn play<S>(mut stream: S, script: &Script)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let lingering = match script.scenario {
        Scenario::LieLength => LINGER,
        // Long enough that a late request can't turn what was sent into a reset.
        _ => Duration::from_millis(500),
    };
    if write(&mut stream, script).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    if lingering < LINGER {
        let _ = stream.shutdown().await;
    }
    let _ = timeout(lingering, drain(&mut stream)).await;
}

async fn drain<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut sink = [0; 4 * 1024];
    while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, script: &Script) -> std::io::Result<()> {
    let body = &script.body;
    let length = |bytes: u64| format!("content-length: {bytes}\r\n");
    let whole = u64::try_from(body.len()).unwrap_or(u64::MAX);
    match script.scenario {
        Scenario::CloseEarly => Ok(()),
        Scenario::Garbage => stream.write_all(GARBAGE).await,
        Scenario::Truncate { after } => {
            let body = filled(body.clone(), after);
            let length = length(declared(&body, after));
            let sent = body.slice(..body.len().min(size(after)));
            stream.write_all(&message(script, &length, &sent)).await
        }
        Scenario::LieLength => {
            stream.write_all(&message(script, &length(whole), body)).await?;
            stream.write_all(POISON).await
        }
        Scenario::Informational { count } => {
            let mut sent = 0;
            while count.is_none_or(|count| sent < count) {
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\nx-mock-hint: q7k\r\n\r\n").await?;
                if count.is_none() {
                    stream.flush().await?;
                    tokio::time::sleep(TICK).await;
                } else {
                    sent += 1;
                }
            }
            stream.write_all(&message(script, &length(whole), body)).await
        }
        Scenario::Trailers => {
            let framing = "transfer-encoding: chunked\r\ntrailer: x-mock-trailer\r\n";
            let mut chunked = format!("{whole:x}\r\n").into_bytes();
            if whole > 0 {
                chunked.extend_from_slice(body);
                chunked.extend_from_slice(b"\r\n0\r\n");
            }
            chunked.extend_from_slice(b"x-mock-trailer: planted-trailer-q7k\r\n\r\n");
            stream.write_all(&message(script, framing, &chunked)).await
        }
        Scenario::Normal
        | Scenario::Error { .. }
        | Scenario::Delay { .. }
        | Scenario::Endless { .. }
        | Scenario::Throttle
        | Scenario::SlowBody { .. }
        | Scenario::BigHeaders { .. }
        | Scenario::NoContent
        | Scenario::NotModified
        | Scenario::BadBanner
        | Scenario::Echo => stream.write_all(&message(script, &length(whole), body)).await,
    }
}

/// Head and body of the answer, with this framing in place of the answer's own.
fn message(script: &Script, framing: &str, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(script.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(script.status.canonical_reason().unwrap_or("Mock").as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &script.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(framing.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}
