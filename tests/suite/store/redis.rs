//! Real Redis servers on loopback, with TLS and an access list; a proxy that can be cut; and servers
//! that are no Redis at all.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sekisho::base::{Name, Secret};
use sekisho::store::{
    Endpoint, Gateway, LOCKS_MAX, Login, Memory, RIGHTS, Remote, RemoteSettings, SharedSecret,
    TlsFiles,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Scratch;
use crate::upstream::free_address;

pub(crate) const ENVIRONMENT: &str = "test";

/// A throw-away authority with a server's and a client's certificate.
pub(crate) struct Pki {
    pub(crate) authority: CertificateDer<'static>,
    authority_pem: String,
    server: (String, KeyPair),
    server_der: CertificateDer<'static>,
    client: (CertificateDer<'static>, KeyPair),
}

impl Pki {
    pub(crate) fn new() -> Self {
        // With one name for all, OpenSSL takes each of them for self-signed.
        let named = |mut params: CertificateParams, name: &str| {
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut params = named(CertificateParams::default(), "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = named(CertificateParams::new([name.to_owned()]).unwrap(), name);
            let cert = params.signed_by(&key, &ca).unwrap();
            (cert, key)
        };
        let (server, server_key) = issue("127.0.0.1");
        let (client, client_key) = issue("gateway");
        Self {
            authority: ca.der().clone(),
            authority_pem: ca.pem(),
            server_der: server.der().clone(),
            server: (server.pem(), server_key),
            client: (client.der().clone(), client_key),
        }
    }

    pub(crate) fn client_key(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::try_from(self.client.1.serialize_der()).unwrap();
        (vec![self.client.0.clone()], key)
    }

    fn server_config(&self) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::try_from(self.server.1.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.server_der.clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    Optional,
    Required,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    Nothing,
    Everything,
}

/// A Redis or Valkey server of our own. Stopped when dropped.
pub(crate) struct Server {
    dir: Scratch,
    pub(crate) port: u16,
    pub(crate) pki: Arc<Pki>,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // A stopped process does not die of SIGTERM, but it does of this.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(ClientCertificate::Optional, Keeps::Nothing).await
    }

    pub(crate) async fn start_with(client: ClientCertificate, keeps: Keeps) -> Self {
        let (dir, pki, port) = (Scratch::new(), Arc::new(Pki::new()), free_address().port());
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let auth = if client == ClientCertificate::Required { "yes" } else { "optional" };
        let keep = if keeps == Keeps::Everything { "yes" } else { "no" };
        let conf = format!(
            "port 0\ntls-port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly {keep}\n\
             appendfsync always\nlogfile log\ndir {}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
             tls-auth-clients {auth}\nuser default off ~* &* +@all\nuser admin on >admin ~* &* +@all\n\
             user gateway on >correct-horse ~sekisho:{{{ENVIRONMENT}}}:* &sekisho:{{{ENVIRONMENT}}}:* {RIGHTS}\n",
            dir.path().display(),
            file("server.pem", &pki.server.0),
            file("server.key", &pki.server.1.serialize_pem()),
            file("ca.pem", &pki.authority_pem),
        );
        let conf = PathBuf::from(file("redis.conf", &conf));
        let child = launch(&conf);
        let server = Self { dir, port, pki, child };
        server.answers().await;
        server
    }

    /// Where its files are; `ca.pem` is among them.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    async fn answers(&self) {
        let answers = async {
            while self.try_admin().await.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), answers).await.is_err() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            panic!("{} does not answer: {log}", program());
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A new process on the same port; it has kept what the configuration says.
    pub(crate) async fn restart(&mut self) {
        self.child = launch(&self.dir.path().join("redis.conf"));
        self.answers().await;
    }

    /// All that the server has written down so far.
    pub(crate) fn copy(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(self.dir.path().join("appendonlydir")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    /// While it is not running.
    pub(crate) fn go_back_to(&mut self, copy: &[(PathBuf, Vec<u8>)]) {
        assert!(self.child.try_wait().unwrap().is_some());
        for (path, bytes) in copy {
            std::fs::write(path, bytes).unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn endpoint(&self, port: u16) -> Endpoint {
        let files = TlsFiles { authorities: vec![self.pki.authority.clone()], client: None };
        Endpoint::new("127.0.0.1", port, files).unwrap()
    }

    pub(crate) fn settings(&self, gateway: u16) -> RemoteSettings {
        settings(self.endpoint(self.port), gateway)
    }

    pub(crate) fn remote(&self, gateway: u16) -> Remote {
        Remote::start(self.settings(gateway), memory(gateway))
    }

    /// A connection that may do everything.
    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        self.try_admin().await.expect("the server answers")
    }

    async fn try_admin(&self) -> Option<MultiplexedConnection> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.pki.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (chain, key) = self.pki.client_key();
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.ok()?;
        let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream =
            tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.ok()?;
        let info = RedisConnectionInfo::default()
            .set_username("admin")
            .set_password("admin")
            .set_protocol(ProtocolVersion::RESP3);
        // Half a second otherwise, which a busy machine takes.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(super::DEADLINE));
        let made = MultiplexedConnection::new_with_config(&info, stream, config);
        let (connection, driver) = made.await.ok()?;
        tokio::spawn(driver);
        Some(connection)
    }
}

/// `redis-server`, or what is named instead: `tests/run` has these tests done with Valkey's too.
fn program() -> String {
    std::env::var("SEKISHO_TEST_STORE").unwrap_or_else(|_| "redis-server".to_owned())
}

fn launch(conf: &Path) -> Child {
    let program = program();
    let started =
        Command::new(&program).arg(conf).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started.unwrap_or_else(|error| panic!("{program}: {error}; `tests/run` installs it"))
}

pub(crate) fn secret(environment: &str) -> SharedSecret {
    SharedSecret::derive(&Secret::new([7; 32]), &Name::parse(environment).unwrap())
}

pub(crate) fn settings(endpoint: Endpoint, gateway: u16) -> RemoteSettings {
    RemoteSettings {
        endpoint,
        login: Login {
            user: "gateway".to_owned(),
            password: Secret::new("correct-horse".to_owned()),
        },
        environment: Name::parse(ENVIRONMENT).unwrap(),
        secret: secret(ENVIRONMENT),
        gateway: Gateway(gateway),
        // The longest there is: no test is about it but those that say so.
        time_out: Duration::from_secs(5),
        poll: Duration::from_millis(200),
        locks_max: LOCKS_MAX,
    }
}

/// For tests of servers that say nothing.
pub(crate) const IMPATIENT: Duration = Duration::from_millis(500);

pub(crate) fn memory(gateway: u16) -> Memory {
    Memory { instance: 1_000 + u64::from(gateway), known_epoch: 0 }
}

/// Passes bytes on to a server until it is cut.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: Arc<AtomicBool>,
    cut: Arc<tokio::sync::Notify>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicBool::new(true));
        let cut = Arc::new(tokio::sync::Notify::new());
        let (is_open, on_cut) = (Arc::clone(&open), Arc::clone(&cut));
        tokio::spawn(async move {
            loop {
                let Ok((mut near, _)) = listener.accept().await else { return };
                if !is_open.load(Ordering::SeqCst) {
                    continue;
                }
                let on_cut = Arc::clone(&on_cut);
                tokio::spawn(async move {
                    let cut = on_cut.notified();
                    let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = cut => {}
                    }
                });
            }
        });
        Self { port, open, cut }
    }

    pub(crate) fn part(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cut.notify_waiters();
    }

    pub(crate) fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

/// What a server that is no Redis says.
#[derive(Clone)]
pub(crate) enum Says {
    /// Nothing at all.
    Nothing,
    /// This, in answer to whatever comes.
    Once(Vec<u8>),
    /// This, and then the second part without end.
    Forever(Vec<u8>, Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manners {
    /// Speaks nonsense from the first word.
    None,
    /// Greets as Redis does, and answers beats.
    Good,
}

/// Speaks TLS with a good certificate; counts what the gateway took of what it said without end.
pub(crate) struct Impostor {
    pub(crate) port: u16,
    pub(crate) taken: Arc<AtomicUsize>,
    pub(crate) floods_ended: Arc<AtomicUsize>,
    pki: Pki,
    says: Says,
}

impl Impostor {
    pub(crate) async fn start(says: Says) -> Self {
        Self::with(says, Manners::None).await
    }

    pub(crate) async fn lying(says: Says) -> Self {
        Self::with(says, Manners::Good).await
    }

    async fn with(says: Says, manners: Manners) -> Self {
        let pki = Pki::new();
        let acceptor = tokio_rustls::TlsAcceptor::from(pki.server_config());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr: SocketAddr = listener.local_addr().unwrap();
        let (taken, floods_ended) = (Arc::default(), Arc::default());
        let (count, ended) = (Arc::clone(&taken), Arc::clone(&floods_ended));
        let words = says.clone();
        tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let Ok(tls) = acceptor.accept(tcp).await else { continue };
                tokio::spawn(speak(
                    tls,
                    words.clone(),
                    manners,
                    Arc::clone(&count),
                    Arc::clone(&ended),
                ));
            }
        });
        Self { port: addr.port(), taken, floods_ended, pki, says }
    }

    pub(crate) fn remote(&self) -> Remote {
        let files = TlsFiles { authorities: vec![self.pki.authority.clone()], client: None };
        let endpoint = Endpoint::new("127.0.0.1", self.port, files).unwrap();
        let mut settings = settings(endpoint, 1);
        if matches!(self.says, Says::Nothing) {
            settings.time_out = IMPATIENT;
        }
        Remote::start(settings, memory(1))
    }
}

async fn speak(
    mut tls: tokio_rustls::server::TlsStream<TcpStream>,
    says: Says,
    manners: Manners,
    count: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
) {
    let (mut bytes, mut heard) = (vec![0; 65_536], Vec::new());
    while let Ok(length @ 1..) = tls.read(&mut bytes).await {
        heard.extend_from_slice(&bytes[..length]);
        // Several may come at once, and each waits for its own answer.
        while let Some(end) = end_of_command(&heard) {
            let command: Vec<u8> = heard.drain(..end).collect();
            if manners == Manners::Good
                && let Some(polite) = polite(&String::from_utf8_lossy(&command))
            {
                if tls.write_all(&polite).await.is_err() {
                    return;
                }
                continue;
            }
            match &says {
                Says::Nothing => {}
                Says::Once(words) => {
                    if tls.write_all(words).await.is_err() {
                        return;
                    }
                }
                Says::Forever(begin, rest) => {
                    count.store(0, Ordering::SeqCst);
                    let mut piece = begin;
                    while tls.write_all(piece).await.is_ok() {
                        count.fetch_add(piece.len(), Ordering::SeqCst);
                        piece = rest;
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
    }
}

/// Where the first command ends, if all of it is there: a number of parts, each with its length.
fn end_of_command(heard: &[u8]) -> Option<usize> {
    let number_at = |from: usize| {
        let rest = heard.get(from..)?;
        let length = rest.windows(2).position(|two| two == b"\r\n")?;
        let number: usize = std::str::from_utf8(rest.get(1..length)?).ok()?.parse().ok()?;
        Some((number, from + length + 2))
    };
    let (parts, mut end) = number_at(0)?;
    for _ in 0..parts {
        let (length, from) = number_at(end)?;
        end = from + length + 2;
    }
    (end <= heard.len()).then_some(end)
}

/// What Redis would say to the words of a gateway that connects.
fn polite(heard: &str) -> Option<Vec<u8>> {
    if heard.contains("HELLO") {
        Some(b"%1\r\n+proto\r\n:3\r\n".to_vec())
    } else if heard.contains("SUBSCRIBE") {
        let channel = format!("sekisho:{{{ENVIRONMENT}}}:bell");
        let length = channel.len();
        Some(format!(">3\r\n$9\r\nsubscribe\r\n${length}\r\n{channel}\r\n:1\r\n").into_bytes())
    } else if heard.contains(":gateway:1\r\n") {
        Some(b"*1\r\n$1\r\n1\r\n".to_vec())
    } else if heard.contains("\r\n$1\r\n1\r\n$19\r\nsekisho:{test}:meta") {
        Some(b"*2\r\n$1\r\n1\r\n$16\r\n00000000000000aa\r\n".to_vec())
    } else {
        None
    }
}
