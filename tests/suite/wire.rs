//! Bytes by hand: raw TCP from a chosen address, HTTP/1 answers read from bytes, HTTP/2 in frames.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sekisho::mock::{Alpn, Caller, CallerConfig, RawEnd, RawReply};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::support::{World, holds, within};

/// Stands in every malformed request, so that an echo of any part of it is found.
pub const MARK: &str = "mark-q7k-31";

/// The longest that a test waits for something that happens at once. Not longer than that: after ten
/// seconds a connection is closed that nobody meant to close, and the test would take it for the answer.
pub const SOON: Duration = Duration::from_secs(8);

pub async fn tcp(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from.parse::<IpAddr>().unwrap(), 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// What a peer said until it closed.
pub async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut said = Vec::new();
    let mut buffer = [0; 4_096];
    let closes = async {
        // A reset is a close as well.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..count]);
        }
    };
    within(SOON, "it is closed", closes).await;
    said
}

/// `label-printer` over HTTP/1.
pub fn printer_h1(world: &World) -> Caller {
    world.caller(|config| {
        as_printer(world, config);
        config.alpn = Alpn::H1;
        config.deadline = SOON;
    })
}

/// `label-printer` over HTTP/2.
pub fn printer_h2(world: &World) -> Caller {
    world.caller(|config| {
        as_printer(world, config);
        config.alpn = Alpn::H2;
        config.deadline = SOON;
    })
}

pub fn as_printer(world: &World, config: &mut CallerConfig) {
    config.identity = world.pki.client("label-printer").cloned();
}

/// One HTTP/1 answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn code(&self) -> String {
        code(&self.body)
    }
}

/// The code of an error answer's body; empty if it is none.
pub fn code(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    json["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
}

/// The answers in what a connection said, bodies by Content-Length or chunked.
pub fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut all = Vec::new();
    while let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") {
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        bytes = &bytes[end + 4..];
        let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        if let Some(length) = answer.field("content-length") {
            let length = length.parse::<usize>().unwrap().min(bytes.len());
            answer.body = bytes[..length].to_vec();
            bytes = &bytes[length..];
        } else if answer.field("transfer-encoding").is_some() {
            while let Some(line) = memchr::memmem::find(bytes, b"\r\n") {
                let size = std::str::from_utf8(&bytes[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                answer.body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
                bytes = &bytes[line + 4 + size..];
                if size == 0 {
                    break;
                }
            }
        }
        all.push(answer);
    }
    assert!(bytes.is_empty(), "not an answer: {}", String::from_utf8_lossy(bytes));
    all
}

/// How many requests reached an upstream.
pub fn reached(world: &World) -> u64 {
    world.amazon.total() + world.warehouse.total()
}

/// Sends bytes as `label-printer` over HTTP/1 and expects a refusal: in the gateway's own words, in
/// the log, with nothing of the request in either, and before an upstream knew of it.
pub async fn refused(world: &World, bytes: &[u8], status: u16, code: &str, detail: Option<&str>) {
    let before = reached(world);
    let reply = printer_h1(world).raw(world.address(), bytes).await.unwrap();
    let shown = String::from_utf8_lossy(bytes).escape_debug().to_string();
    check_refusal(world, &reply, &shown, status, code, detail);
    assert_eq!(reached(world), before, "{shown}");
}

pub fn check_refusal(
    world: &World,
    reply: &RawReply,
    shown: &str,
    status: u16,
    code: &str,
    detail: Option<&str>,
) {
    world.note_bytes(&reply.bytes);
    let said = String::from_utf8_lossy(&reply.bytes);
    assert_eq!(reply.end, RawEnd::Closed, "{shown}\n{said}");
    let answers = answers(&reply.bytes);
    let [answer] = answers.as_slice() else { panic!("one answer expected: {shown}\n{said}") };
    assert_eq!(answer.status, status, "{shown}\n{said}");
    assert_eq!(answer.code(), format!("Sekisho.{code}"), "{shown}");
    assert_eq!(answer.field("content-type"), Some("application/json"), "{shown}");
    assert!(!said.to_lowercase().contains("pingora"), "{said}");
    assert!(!holds(&reply.bytes, MARK), "echoed: {said}");
    let id = answer.field("x-sekisho-request-id").expect("a request id");
    let line = world.line(id);
    assert_eq!(line["sekisho.denial"], code, "{shown}");
    assert_eq!(line["sekisho.detail"].as_str(), detail, "{shown}");
    assert_eq!(line["http.response.status_code"], status, "{shown}");
    assert_eq!(line["event.outcome"], "denied", "{shown}");
    assert!(!line.to_string().contains(MARK), "in the log: {shown}");
}

/// Waits until a series of the metrics has this value: what happens to a connection is counted when
/// the peer may know of it already.
pub async fn counted(world: &World, series: &str, value: u32) {
    let reached = || (world.metric(series) - f64::from(value)).abs() < 0.1;
    for _ in 0..2_000 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{series} is {}, not {value}", world.metric(series));
}

/// The same for connections that the door refused.
pub async fn turned_back(world: &World, reason: &str, value: u32) {
    let labels = format!("{{listener=\"apps\",reason=\"{reason}\"}}");
    counted(world, &format!("sekisho_connections_refused_total{labels}"), value).await;
}

/// Waits until the gateway has no connection left.
pub async fn all_closed(world: &World) {
    let gone = async {
        while world.gateway.engine.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(SOON, "all connections are closed", gone).await;
    assert!(world.metric("sekisho_connections{listener=\"apps\"}").abs() < 0.5);
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this body.
    Answered(Vec<u8>),
    /// By `RST_STREAM` with this error.
    Reset(u32),
    /// With the connection: the error of a GOAWAY before it, if there was one.
    Closed(Option<u32>),
}

/// An HTTP/2 connection by hand.
pub struct H2 {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl H2 {
    pub async fn open(caller: &Caller, to: SocketAddr) -> Self {
        let mut own = Self::silent(caller, to).await;
        own.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        own.send(SETTINGS, 0, 0, &[]).await;
        own
    }

    /// Without a byte said yet.
    pub async fn silent(caller: &Caller, to: SocketAddr) -> Self {
        Self { stream: caller.stream(to).await.unwrap(), read: Vec::new() }
    }

    /// The other side may have closed: reading tells.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload)).await;
    }

    pub async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        self.write(&headers(stream, fields, end)).await;
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut buffer = vec![0; 16_384];
        loop {
            if let Some((head, rest)) = self.read.split_first_chunk::<9>() {
                let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = *head;
                let length = usize::try_from(u32::from_be_bytes([0, l1, l2, l3])).unwrap();
                if rest.len() >= length {
                    let payload = rest[..length].to_vec();
                    let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
                    self.read.drain(..9 + length);
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
            let read = self.stream.read(&mut buffer);
            match within(SOON, "a frame or an end", read).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// The header block and the body of a stream's answer.
    pub async fn answer_of(&mut self, stream: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut head, mut body) = (Vec::new(), Vec::new());
        while let Some(frame) = self.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => head = frame.payload,
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => continue,
            }
            if frame.flags & END_STREAM != 0 {
                return (head, body);
            }
        }
        panic!("no answer");
    }

    /// Lets so many more bytes of bodies come on this connection.
    pub async fn widen(&mut self, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes()).await;
    }

    /// Reads until a stream has ended; what else comes is passed over.
    pub async fn ended(&mut self, stream: u32) -> Ended {
        let (mut body, mut goaway) = (Vec::new(), None);
        let code =
            |payload: &[u8], at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        while let Some(frame) = self.next().await {
            match frame.kind {
                GOAWAY => goaway = Some(code(&frame.payload, 4)),
                RST_STREAM if frame.stream == stream => {
                    return Ended::Reset(code(&frame.payload, 0));
                }
                HEADERS | DATA if frame.stream == stream => {
                    if frame.kind == DATA {
                        body.extend_from_slice(&frame.payload);
                    }
                    if frame.flags & END_STREAM != 0 {
                        return Ended::Answered(body);
                    }
                }
                _ => {}
            }
        }
        Ended::Closed(goaway)
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal without indexing, without Huffman code (RFC 7541 §6.2.2).
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block)
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(mut length: usize, out: &mut Vec<u8>) {
    if length < 127 {
        out.push(u8::try_from(length).unwrap());
        return;
    }
    out.push(127);
    length -= 127;
    while length >= 128 {
        out.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    out.push(u8::try_from(length).unwrap());
}
