//! Accepts connections: address, PROXY header, TLS, in this order and under one deadline.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{Acceptor, ClientHello};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;

use super::buffered::Buffered;
use super::conn::Conn;
use super::hello::{HelloFault, HelloReader, HelloStep};
use super::lent::{self, Lender, lend};
use super::pass::{self, Alert, Passing, Pipes};
use super::prefixed::Prefixed;
use super::proxy_header::{self, Source, Step};
use super::waiting::{WAITING_MAX, admit_and_close, is_the_peers};
use crate::base::{ClientAddr, HashKey, ListenerIx};
use crate::config::{ListenerSettings, Way};
use crate::engine::{
    ConnFacts, ConnLink, DoorFault, Engine, HandshakeFault, Live, PassFacts, Serve, TlsEnd,
};
use crate::evidence::{Protocol, TlsVersion};
use crate::identity::PeerCertificate;
use crate::policy::NetworkMask;
use crate::state::Permit;

/// A listener's socket, bound before anything is served, so that a taken port is a start-up error.
#[derive(Debug)]
pub struct Bound {
    socket: Arc<TcpListener>,
    listener: ListenerIx,
}

/// Binds an address. Port 0 takes a free one.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}

impl Bound {
    #[must_use]
    pub const fn new(socket: Arc<TcpListener>, listener: ListenerIx) -> Self {
        Self { socket, listener }
    }

    /// Serves until `shutdown` turns true. Connections that are open then are told to go, and have
    /// `gateway.shutdown_grace` for it.
    pub async fn serve(
        self,
        engine: Arc<Engine>,
        app: Arc<dyn Serve>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let pipes = Arc::default();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    let to = (&app, &pipes, &shutdown);
                    admit(&engine, to, self.listener, tcp, peer);
                }
                // A peer that went away while it waited; the next one is asked for at once.
                Err(error) if is_the_peers(&error) => {}
                Err(_error) => {
                    // Out of file descriptors, most likely: connections wait in the backlog while
                    // others end. Without the pause this loop would burn a core.
                    engine.report_door(&engine.live(), self.listener, DoorFault::Descriptors);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        admit_and_close(self.socket, |tcp, peer| {
            admit(&engine, (&app, &pipes, &shutdown), self.listener, tcp, peer);
        });
    }
}

/// NET-1: judged by address before a byte is read or a task exists.
fn admit(
    engine: &Arc<Engine>,
    (app, pipes, shutdown): (&Arc<dyn Serve>, &Arc<Pipes>, &watch::Receiver<bool>),
    listener: ListenerIx,
    tcp: TcpStream,
    from: SocketAddr,
) {
    let live = engine.live();
    let Some(settings) = live.listener(listener) else {
        return engine.report_door(&live, listener, DoorFault::Gone);
    };
    let peer = ClientAddr::new(from.ip());
    let networks = live.snapshot.networks.lookup(&peer);
    let expected = settings.proxy_from.as_ref().unwrap_or(&settings.networks);
    if !networks.intersects(expected) {
        return engine.report_door(&live, listener, DoorFault::Address);
    }
    if settings.proxy_from.is_none() && engine.shuts_out(&peer) {
        return engine.report_door(&live, listener, DoorFault::Locked);
    }
    let place = match engine.admit_peer(settings, &peer) {
        Ok(place) => place,
        Err(fault) => {
            return engine.report_door(&live, listener, DoorFault::Connections(fault));
        }
    };
    let (engine, app, shutdown) = (Arc::clone(engine), Arc::clone(app), shutdown.clone());
    let told = shutdown.clone();
    let pipes = Arc::clone(pipes);
    tokio::spawn(async move {
        let door = Door { live, listener, from, peer, networks };
        let within = door.settings().map(|settings| settings.bounds.handshake);
        // Boxes for what takes room and is over, or has not begun, while the connection waits.
        let opening = Box::pin(door.open(&engine, tcp));
        let opened = tokio::time::timeout(within.unwrap_or_default(), opening).await;
        match opened {
            Ok(Ok(Opened::Passing(passing, client))) => {
                let Door { live, listener, .. } = door;
                Box::pin(passing.carry(&engine, (live, listener), &pipes)).await;
                drop(client);
            }
            Ok(Ok(Opened::Ended(open))) => {
                let open = *open;
                let gauge = engine.report_open(&door.live, listener);
                // A connection that lasts must not keep the configuration of its first hour.
                drop(door);
                let link = Arc::clone(&open.link);
                let enrolled = engine.enrol(&link);
                tokio::select! {
                    () = app.serve(open.conn, open.link, shutdown) => {}
                    () = engine.cut_off() => {}
                    () = link.cut_off() => {}
                    () = overstayed(&engine, told) => {}
                }
                Box::pin(open.lender.close()).await;
                drop((gauge, open.client, enrolled));
            }
            Ok(Err(Turned { fault, stream })) => {
                if let Some(fault) = fault {
                    engine.report_door(&door.live, listener, fault);
                }
                if let Some(stream) = stream {
                    Box::pin(lent::close(stream)).await;
                }
            }
            Err(_elapsed) => {
                let fault = DoorFault::Handshake(HandshakeFault::TimedOut);
                engine.report_door(&door.live, listener, fault);
            }
        }
        drop(place);
    });
}

/// Returns when the time is over that the connections of a listener have which takes no more.
async fn overstayed(engine: &Engine, mut told: watch::Receiver<bool>) {
    // Nobody left to tell is as good as being told.
    let _ = told.wait_for(|stop| *stop).await;
    tokio::time::sleep(engine.live().snapshot.shutdown_grace).await;
}

/// A connection that may go on.
enum Opened {
    /// TLS ends here.
    Ended(Box<Open>),
    /// It ends elsewhere. The client's place is held as long as it lasts.
    Passing(Box<Passing>, Client),
}

/// A connection that may carry requests.
struct Open {
    conn: Box<Conn>,
    lender: Lender,
    link: Arc<ConnLink>,
    client: Client,
}

/// A connection that may not.
struct Turned {
    /// None: there is nothing wrong with it.
    fault: Option<DoorFault>,
    /// Holds the alert that tells the peer why.
    stream: Option<Buffered>,
}

impl From<DoorFault> for Turned {
    fn from(fault: DoorFault) -> Self {
        Self { fault: Some(fault), stream: None }
    }
}

/// Whose connection it is.
struct Client {
    addr: ClientAddr,
    /// As the door, or the balancer, saw it.
    from: SocketAddr,
    networks: NetworkMask,
    /// Counts the client behind a balancer; a direct one is counted by its peer address.
    _place: Option<Permit>,
}

/// One connection between accept and its first request.
struct Door {
    live: Arc<Live>,
    listener: ListenerIx,
    from: SocketAddr,
    peer: ClientAddr,
    networks: NetworkMask,
}

impl Door {
    fn settings(&self) -> Option<&ListenerSettings> {
        self.live.listener(self.listener)
    }

    async fn open(&self, engine: &Arc<Engine>, mut tcp: TcpStream) -> Result<Opened, Turned> {
        let settings = self.settings().ok_or(DoorFault::Gone)?;
        // Small answers must not wait for more; a socket that refuses the option is merely slower.
        let _ = tcp.set_nodelay(true);
        let (client, prefix) = if settings.proxy_from.is_some() {
            let Some((source, prefix)) = read_proxy_header(&mut tcp).await? else {
                return Err(Turned { fault: None, stream: None });
            };
            (self.told_client(engine, settings, source)?, prefix)
        } else {
            let (addr, networks, from) = (self.peer, self.networks, self.from);
            (Client { addr, from, networks, _place: None }, Vec::new())
        };
        if settings.pass.is_empty() {
            return self.end(engine, settings, (tcp, prefix), client).await;
        }
        let (asked, read) = read_hello(&mut tcp, prefix).await?;
        let way = match &asked {
            Ok(name) => settings.way(name.as_deref()),
            // Whatever ends TLS here has its own words for it.
            Err(_fault) if settings.tls.is_some() => Way::End,
            Err(fault) => return Err(DoorFault::Handshake(*fault).into()),
        };
        match way {
            Way::End => self.end(engine, settings, (tcp, read), client).await,
            Way::Pass(route) => {
                let asked = asked.ok().flatten();
                let passing = self.passing(engine, (tcp, read), (route, asked), &client)?;
                Ok(Opened::Passing(Box::new(passing), client))
            }
            Way::Unknown => turned(tcp, HandshakeFault::UnknownName, Alert::UnrecognizedName).await,
            Way::Nameless => turned(tcp, HandshakeFault::NoName, Alert::MissingExtension).await,
        }
    }

    /// TLS-3: where TLS ends at another gateway.
    fn passing(
        &self,
        engine: &Engine,
        (tcp, read): (TcpStream, Vec<u8>),
        (route, asked): (usize, Option<String>),
        client: &Client,
    ) -> Result<Passing, DoorFault> {
        let (live, began) = (&self.live, engine.clock.now());
        let settings = self.settings().ok_or(DoorFault::Gone)?;
        let route = live.pass(self.listener, route).ok_or(DoorFault::Gone)?;
        let key = engine.pseudonyms(began);
        let network = client.networks.first().and_then(|ix| live.snapshot.names.network(ix));
        let facts = PassFacts {
            listener: settings.name.clone(),
            addr: client.addr,
            source: client.addr.pseudonym(&key),
            source_day: key.day(),
            source_hash: engine.source(&client.addr),
            network: network.cloned(),
            balancer: settings.proxy_from.is_some().then_some(self.peer),
            server_name: asked.map(String::into_boxed_str),
            generation: live.snapshot.generation,
        };
        let local = tcp.local_addr().unwrap_or(settings.address);
        let (route, from) = (Arc::clone(route), client.from);
        Ok(Passing { tcp, client: from, local, read, route, facts, began })
    }

    /// TLS-1: where it ends here.
    async fn end(
        &self,
        engine: &Arc<Engine>,
        settings: &ListenerSettings,
        (tcp, prefix): (TcpStream, Vec<u8>),
        client: Client,
    ) -> Result<Opened, Turned> {
        self.live.may_end_tls(self.listener, engine.clock.now())?;
        let failed = |error: &io::Error, stream| Turned {
            fault: Some(DoorFault::Handshake(HandshakeFault::of(error))),
            stream,
        };
        let stream = Buffered::new(Prefixed::new(prefix, tcp));
        let mut hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let started = match (&mut hello).await {
            Ok(started) => started,
            Err(error) => return Err(failed(&error, hello.take_io())),
        };
        let hello = started.client_hello();
        let end = self.tls_end(engine, hello.server_name())?;
        let fingerprint = fingerprint(&hello);
        let tls = started
            .into_stream(Arc::clone(&end.config))
            .into_fallible()
            .await
            .map_err(|(error, stream)| failed(&error, Some(stream)))?;
        engine.still_covers(&end, tls.get_ref().1.server_name())?;
        let facts = self.facts(engine, settings, &client, (tls.get_ref().1, fingerprint))?;
        let link = ConnLink::new(facts);
        let (tls, lender) = lend(tls);
        let conn = Conn::new(tls, Arc::clone(&link), Arc::clone(engine))
            .map_err(|_never| DoorFault::Gone)?;
        Ok(Opened::Ended(Box::new(Open { conn: Box::new(conn), lender, link, client })))
    }

    /// TLS-3: the permit may be gone, or cover less, since the client came.
    fn tls_end(&self, engine: &Engine, asked: Option<&str>) -> Result<Arc<TlsEnd>, DoorFault> {
        let now = engine.clock.now();
        match engine.live().may_end_tls(self.listener, now) {
            // Who comes to a listener that is gone is told to go.
            Err(DoorFault::Gone) => {
                let end = self.live.may_end_tls(self.listener, now)?;
                engine.still_covers(end, asked)?;
                Ok(Arc::clone(end))
            }
            end => end.cloned(),
        }
    }

    /// NET-3: the client the balancer speaks for, judged like any other.
    fn told_client(
        &self,
        engine: &Engine,
        settings: &ListenerSettings,
        source: Source,
    ) -> Result<Client, DoorFault> {
        let from = match source {
            Source::Proxied { client } => client,
            // The balancer speaks for itself (health checks): judged by its own address.
            Source::Local => self.from,
        };
        let addr = ClientAddr::new(from.ip());
        let networks = self.live.snapshot.networks.lookup(&addr);
        if !networks.intersects(&settings.networks) {
            return Err(DoorFault::Address);
        }
        if engine.shuts_out(&addr) {
            return Err(DoorFault::Locked);
        }
        let place = engine.admit_client(settings, &addr).map_err(DoorFault::Connections)?;
        Ok(Client { addr, from, networks, _place: Some(place) })
    }

    fn facts(
        &self,
        engine: &Engine,
        settings: &ListenerSettings,
        client: &Client,
        (session, fingerprint): (&rustls::ServerConnection, u64),
    ) -> Result<ConnFacts, DoorFault> {
        // rustls verified the chain; a leaf whose names can't be read names nobody.
        let certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| PeerCertificate::parse(leaf))
            .transpose()
            .map_err(|_fault| DoorFault::Handshake(HandshakeFault::ClientCertificate))?;
        let tls = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
            Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
            Some(_) | None => return Err(DoorFault::Handshake(HandshakeFault::Version)),
        };
        let http = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let key = engine.pseudonyms(engine.clock.now());
        Ok(ConnFacts {
            listener: self.listener,
            listener_name: settings.name.clone(),
            source: client.addr.pseudonym(&key),
            source_day: key.day(),
            source_hash: engine.source(&client.addr),
            fingerprint,
            addr: client.addr,
            networks: client.networks,
            generation: self.live.snapshot.generation,
            server_name: session.server_name().map(|name| name.to_ascii_lowercase().into()),
            certificate,
            chain: session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
            authorities: self.live.authorities(self.listener, engine.clock.now()),
            balancer: settings.proxy_from.is_some().then_some(self.peer),
            tls,
            http,
            bounds: settings.bounds.clone(),
        })
    }
}

/// What a client's hello looks like: the program that wrote it, not the person (as JA4 does). Values
/// that are there to be ignored are (RFC 8701).
fn fingerprint(hello: &ClientHello<'_>) -> u64 {
    let mut hasher = HashKey::new(*b"sekisho tls look").hasher();
    let mut add = |values: &mut dyn Iterator<Item = u16>| {
        for value in values.filter(|value| value & 0x0f0f != 0x0a0a) {
            hasher.write(&value.to_be_bytes());
        }
        hasher.write(&[0]);
    };
    add(&mut hello.cipher_suites().iter().map(|suite| u16::from(*suite)));
    add(&mut hello.signature_schemes().iter().map(|scheme| u16::from(*scheme)));
    add(&mut hello.named_groups().unwrap_or_default().iter().map(|group| u16::from(*group)));
    for protocol in hello.alpn().into_iter().flatten() {
        hasher.write(protocol);
        hasher.write(&[0]);
    }
    hasher.finish()
}

/// Tells a client why it is turned away.
async fn turned<T>(tcp: TcpStream, fault: HandshakeFault, alert: Alert) -> Result<T, Turned> {
    let stream = pass::turned_away(tcp, alert).await;
    Err(Turned { fault: Some(DoorFault::Handshake(fault)), stream: Some(stream) })
}

/// The server name in the client's hello, behind what was read already, and all that was read then.
async fn read_hello(
    tcp: &mut TcpStream,
    mut read: Vec<u8>,
) -> Result<(Result<Option<String>, HandshakeFault>, Vec<u8>), DoorFault> {
    let mut reader = HelloReader::new();
    let mut seen = 0;
    loop {
        match reader.feed(read.get(seen..).unwrap_or_default()) {
            Ok(HelloStep::Done { server_name }) => return Ok((Ok(server_name), read)),
            Ok(HelloStep::NeedMore) => seen = read.len(),
            Err(HelloFault::NotTls) => return Ok((Err(HandshakeFault::NotTls), read)),
            Err(HelloFault::TooLong | HelloFault::Malformed) => {
                return Ok((Err(HandshakeFault::Hello), read));
            }
        }
        // Hellos have some hundred bytes, and with keys that withstand quantum computers 2 KiB.
        read.reserve(2_048);
        match tcp.read_buf(&mut read).await {
            Ok(0) | Err(_) => return Err(DoorFault::Handshake(HandshakeFault::Closed)),
            Ok(_) => {}
        }
    }
}

/// NET-3: the header is mandatory. Returns what was read beyond it; nothing if the balancer closed
/// without a byte, as health checks do.
async fn read_proxy_header(tcp: &mut TcpStream) -> Result<Option<(Source, Vec<u8>)>, DoorFault> {
    let mut read = Vec::with_capacity(256);
    loop {
        match proxy_header::parse(&read) {
            Ok(Step::Done { consumed, source }) => {
                return Ok(Some((source, read.split_off(consumed))));
            }
            Ok(Step::NeedMore) => {}
            Err(fault) => return Err(DoorFault::ProxyHeader(fault.as_str())),
        }
        match tcp.read_buf(&mut read).await {
            Ok(0) if read.is_empty() => return Ok(None),
            Ok(0) | Err(_) => return Err(DoorFault::ProxyHeader("torn")),
            Ok(_) => {}
        }
    }
}
