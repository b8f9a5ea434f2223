//! Somebody who is told: an HTTPS (or plain loopback) server that behaves as it is told.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use sekisho::devcerts::{DevPki, PkiPlan};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

use crate::support::now;

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What it does with a message.
#[derive(Clone, Debug)]
pub enum Manner {
    Takes,
    /// Has a form for alarms, and none for signs of life.
    Alarms,
    /// A status line and headers, each with its line end.
    Says(String),
    /// Answers 200 and never stops talking.
    Huge,
    /// Takes the message, and its time.
    Slow,
    Garbage,
    Hangs,
}

/// One message as it came in.
#[derive(Clone, Debug)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    taken: Arc<Mutex<Vec<Message>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate of its own authority, which it leaves in `dir` with the secret.
pub struct Credentials {
    tls: Arc<ServerConfig>,
}

impl Credentials {
    pub fn new(dir: &Path) -> Self {
        let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
        std::fs::write(dir.join("receiver-ca.pem"), pki.ca.certificate_pem()).unwrap();
        let secret = dir.join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, owner).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(pki.upstream.chain(), pki.upstream.private_key().unwrap())
            .unwrap();
        Self { tls: Arc::new(tls) }
    }
}

impl Receiver {
    pub fn start(address: SocketAddr, credentials: Option<&Credentials>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        Self::on(socket, credentials)
    }

    /// Where nobody else can be.
    pub fn anywhere(credentials: Option<&Credentials>) -> Self {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0)), credentials)
    }

    /// With a socket that was bound before.
    pub fn on(socket: TcpSocket, credentials: Option<&Credentials>) -> Self {
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, taken) = (Arc::new(Mutex::new(Manner::Takes)), Arc::default());
        let acceptor = credentials.map(|own| TlsAcceptor::from(Arc::clone(&own.tls)));
        let task = tokio::spawn(serve(listener, acceptor, Arc::clone(&manner), Arc::clone(&taken)));
        Self { address, manner, taken, task }
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock() = manner;
    }

    /// How many there are of those.
    pub fn count(&self) -> usize {
        self.taken.lock().len()
    }

    /// Messages that were answered with success, in the order in which they came.
    pub fn taken(&self) -> Vec<Message> {
        self.taken.lock().clone()
    }

    /// The alarms in them.
    pub fn alarms(&self) -> Vec<Value> {
        let messages = self.taken().into_iter().map(|message| message.json());
        let alarms = messages.filter(|json| json["type"] == "alarms");
        alarms.flat_map(|json| json["alarms"].as_array().unwrap().clone()).collect()
    }

    pub fn heartbeats(&self) -> Vec<Value> {
        let messages = self.taken().into_iter().map(|message| message.json());
        messages.filter(|json| json["type"] == "heartbeat").collect()
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    manner: Arc<Mutex<Manner>>,
    taken: Arc<Mutex<Vec<Message>>>,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, manner, taken) = (acceptor.clone(), manner.lock().clone(), taken.clone());
        tokio::spawn(async move {
            match acceptor {
                None => answer(tcp, manner, &taken).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        answer(stream, manner, &taken).await;
                    }
                }
            }
        });
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    manner: Manner,
    taken: &Mutex<Vec<Message>>,
) {
    let Some(message) = read(&mut stream).await else { return };
    let ok = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned();
    let said = match manner {
        Manner::Alarms if message.json()["type"] == "heartbeat" => {
            "HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        Manner::Takes | Manner::Alarms => ok,
        Manner::Says(head) => format!("HTTP/1.1 {head}content-length: 0\r\n\r\n"),
        Manner::Slow => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            ok
        }
        Manner::Huge => {
            taken.lock().push(message);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4_096]).await.is_ok() {}
            return;
        }
        Manner::Garbage => "\u{0}\u{1}nonsense\r\n\r\n".to_owned(),
        Manner::Hangs => std::future::pending().await,
    };
    if said.starts_with("HTTP/1.1 2") {
        taken.lock().push(message);
    }
    let _ = stream.write_all(said.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Message> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let end = memchr::memmem::find(&bytes, b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let message = Message { head, body: bytes[end + 4..].to_vec() };
            let length: usize = message.header("content-length")?.parse().unwrap();
            if message.body.len() >= length {
                return Some(message);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}
