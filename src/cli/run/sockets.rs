//! The listening sockets of the process, by what they are for. A configuration's sockets are all there
//! before any of them serves; one that can't be had leaves everything as it was.
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::given::Given;
use crate::admin::Admin;
use crate::admin::api::Api;
use crate::base::Name;
use crate::cli::say;
use crate::config::Snapshot;
use crate::engine::{Engine, ServeSockets, Sockets as Follow};
use crate::evidence::Event;
use crate::gateway::Gateway;
use crate::listen;

/// How long a task may take to stop accepting.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What a listening socket is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Listener(Name),
    /// Metrics and health.
    Admin,
    /// Operators.
    Api,
}

impl Purpose {
    /// Its name where sockets are handed over. No listener's name begins with a bracket.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Listener(name) => name.as_str(),
            Self::Admin => "[admin]",
            Self::Api => "[admin.api]",
        }
    }
}

impl Purpose {
    /// The same as a name, for people.
    fn word(&self) -> &str {
        match self {
            Self::Listener(name) => name.as_str(),
            Self::Admin => "admin",
            Self::Api => "admin.api",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(f, "listener {name}:"),
            Self::Admin => f.write_str("[admin] address"),
            Self::Api => f.write_str("[admin.api] address"),
        }
    }
}

/// A socket that a configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) purpose: Purpose,
    /// As it is written; its port may be 0.
    pub(super) address: SocketAddr,
}

fn wanted(snapshot: &Snapshot) -> Vec<Wanted> {
    let listeners = snapshot.listeners.iter().map(|listener| Wanted {
        purpose: Purpose::Listener(listener.name.clone()),
        address: listener.address,
    });
    let admin = Wanted { purpose: Purpose::Admin, address: snapshot.admin.address };
    let api = snapshot.api.as_ref();
    let api = api.map(|api| Wanted { purpose: Purpose::Api, address: api.address });
    listeners.chain([admin]).chain(api).collect()
}

/// A configuration's sockets, bound and not served.
#[derive(Debug, Default)]
pub(super) struct Bound(Vec<(Wanted, Arc<TcpListener>)>);

impl Bound {
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&Purpose, io::Result<SocketAddr>)> {
        self.0.iter().map(|(wanted, socket)| (&wanted.purpose, socket.local_addr()))
    }

    /// Whether one of them is there.
    pub(super) fn holds(&self, address: SocketAddr) -> bool {
        is_at(self.0.iter().map(|(_, socket)| socket), address)
    }

    fn each(&self) -> impl Iterator<Item = (&Wanted, &Arc<TcpListener>)> {
        self.0.iter().map(|(wanted, socket)| (wanted, socket))
    }
}

fn is_at<'s>(mut sockets: impl Iterator<Item = &'s Arc<TcpListener>>, address: SocketAddr) -> bool {
    sockets.any(|socket| socket.local_addr().is_ok_and(|own| own == address))
}

/// What serves them.
#[derive(Clone, Debug)]
pub(super) struct House {
    pub(super) engine: Arc<Engine>,
    pub(super) gateway: Arc<Gateway>,
}

impl House {
    fn serve(
        &self,
        purpose: &Purpose,
        socket: Arc<TcpListener>,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<JoinHandle<()>> {
        let engine = Arc::clone(&self.engine);
        Ok(match purpose {
            Purpose::Listener(name) => {
                let live = engine.live();
                let listener = live.snapshot.listeners.iter().find(|one| one.name == *name);
                let ix = listener.map(|one| one.ix).ok_or(io::ErrorKind::NotFound)?;
                let port = socket.local_addr()?.port();
                engine.report_event(&Event::ListenerBound { listener: name, port });
                let bound = listen::Bound::new(socket, ix);
                tokio::spawn(bound.serve(engine, Arc::<Gateway>::clone(&self.gateway), stopped))
            }
            Purpose::Admin => tokio::spawn(Admin::on(socket)?.serve(engine, stopped)),
            Purpose::Api => tokio::spawn(Api::on(socket).serve(engine, stopped)),
        })
    }
}

/// The sockets in force.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: Vec<Open>,
    /// Those on which nobody accepts, until it is known who does.
    paused: Bound,
}

#[derive(Debug)]
struct Open {
    wanted: Wanted,
    socket: Arc<TcpListener>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Open {
    /// Stops accepting and tells connections to go. What comes back is over when the socket is closed,
    /// unless somebody else has it as well.
    fn close(self) -> JoinHandle<()> {
        let Self { socket, stop, task, .. } = self;
        // Whoever serves there has it to himself then, and can tell.
        drop(socket);
        stop.send_replace(true);
        task
    }
}

impl Sockets {
    /// Gets every socket of a configuration: one that is open already, one that the process was
    /// given, or a new one.
    ///
    /// # Errors
    /// Everything that can't be bound. Nothing has changed then.
    pub(super) fn bind(
        &self,
        snapshot: &Snapshot,
        given: &mut Given,
    ) -> Result<Bound, Vec<(Wanted, io::Error)>> {
        let (bound, failures) = self.gather(snapshot, given);
        if failures.is_empty() { Ok(bound) } else { Err(failures) }
    }

    /// The same, as far as they can be had, and what can't.
    fn gather(&self, snapshot: &Snapshot, given: &mut Given) -> (Bound, Vec<(Wanted, io::Error)>) {
        let (mut bound, mut failures) = (Bound::default(), Vec::new());
        for wanted in wanted(snapshot) {
            match self.find(&wanted, &bound, given) {
                Ok(socket) => bound.0.push((wanted, socket)),
                Err(error) => failures.push((wanted, error)),
            }
        }
        (bound, failures)
    }

    fn find(
        &self,
        wanted: &Wanted,
        bound: &Bound,
        given: &mut Given,
    ) -> io::Result<Arc<TcpListener>> {
        let fits = |(open, _): &(&Wanted, &Arc<TcpListener>)| {
            // Port 0 says nothing of which port it became.
            **open == *wanted || (wanted.address.port() != 0 && open.address == wanted.address)
        };
        let open = self.open.iter().map(|open| (&open.wanted, &open.socket));
        // The process that took this one's place may have ended one for good before it died.
        let listens = |socket: &TcpListener| socket_acceptconn(socket).unwrap_or(false);
        let paused = self.paused.each().filter(|(_, socket)| listens(socket));
        if let Some((_, socket)) = open.chain(paused).find(fits) {
            return Ok(Arc::clone(socket));
        }
        let in_use = |address| {
            bound.holds(address) || is_at(self.open.iter().map(|open| &open.socket), address)
        };
        if let Some(socket) = given.take(wanted, in_use)? {
            return Ok(Arc::new(socket));
        }
        listen::bind(wanted.address).map(Arc::new)
    }

    /// Serves these and no others. The configuration they are from is in force by now. Connections of
    /// sockets that go are told to go as well, and may take their time.
    fn adopt(&mut self, bound: Bound, house: &House) -> io::Result<()> {
        let Self { open: mut before, paused: _ } = std::mem::take(self);
        let mut outcome = Ok(());
        for (wanted, socket) in bound.0 {
            let same = |open: &Open| open.wanted == wanted && Arc::ptr_eq(&open.socket, &socket);
            if let Some(place) = before.iter().position(same) {
                self.open.push(before.swap_remove(place));
                continue;
            }
            // Who listened there under another name stops first.
            let there = |open: &Open| Arc::ptr_eq(&open.socket, &socket);
            if let Some(place) = before.iter().position(there) {
                retire(before.swap_remove(place), house);
            }
            let (stop, stopped) = watch::channel(false);
            match house.serve(&wanted.purpose, Arc::clone(&socket), stopped) {
                Ok(task) => self.open.push(Open { wanted, socket, stop, task }),
                Err(error) => outcome = Err(error),
            }
        }
        for gone in before {
            retire(gone, house);
        }
        outcome
    }
}

/// Keeps the sockets in step with the configuration.
#[derive(Debug)]
pub(super) struct Keeper {
    own: Weak<Self>,
    sockets: Mutex<Sockets>,
    given: Mutex<Given>,
    house: House,
}

impl Keeper {
    pub(super) fn new(house: House, given: Given) -> Arc<Self> {
        let (sockets, given) = (Mutex::default(), Mutex::new(given));
        Arc::new_cyclic(|own| Self { own: Weak::clone(own), sockets, given, house })
    }

    pub(super) fn adopt(&self, bound: Bound) -> io::Result<()> {
        self.sockets.lock().adopt(bound, &self.house)
    }

    /// Stops accepting on all of them and tells their connections to go. Whoever connects where nobody
    /// else accepts waits until this one goes on or lets go of them.
    pub(super) async fn pause(&self) {
        let paused = Bound(self.all());
        self.sockets.lock().paused = paused;
        self.close(|_| true).await;
    }

    /// After [`Self::pause`]: they are somebody else's for good.
    pub(super) fn let_go(&self) {
        self.sockets.lock().paused = Bound::default();
    }

    /// After [`Self::pause`]: serves at those that the configuration in force asks for still, and at
    /// what it asks for besides. Whether all could be had.
    pub(super) fn go_on(&self) -> bool {
        let (live, mut sockets) = (self.house.engine.live(), self.sockets.lock());
        let (bound, failures) = sockets.gather(&live.snapshot, &mut self.given());
        let told =
            |why: &dyn fmt::Display| say::err(format_args!("a listener does not serve: {why}"));
        for (wanted, error) in &failures {
            told(&format_args!("{} {} can't be bound: {error}", wanted.purpose, wanted.address));
        }
        let served = sockets.adopt(bound, &self.house).inspect_err(|error| told(error));
        failures.is_empty() && served.is_ok()
    }

    /// Stops accepting on some of them and tells their connections to go.
    pub(super) async fn close(&self, which: impl Fn(&Purpose) -> bool) {
        let closing = {
            let mut sockets = self.sockets.lock();
            let open = sockets.open.drain(..);
            let (close, keep): (Vec<_>, Vec<_>) = open.partition(|one| which(&one.wanted.purpose));
            sockets.open = keep;
            close
        };
        let closing: Vec<_> = closing.into_iter().map(Open::close).collect();
        for task in closing {
            // Its panic, if it had one, was counted.
            let _ = tokio::time::timeout(STOP_MAX, task).await;
        }
    }

    /// As [`Self::close`], and for good: whoever connects from now on is refused, even where a process that
    /// was relieved a moment ago has the socket still, and would have him wait in vain. A service manager's
    /// stays as it is, for the next process.
    pub(super) async fn end(&self, which: impl Fn(&Purpose) -> bool) {
        let managers: Vec<_> = self.given().managers().map(|(_, address, _)| address).collect();
        let is_own = |socket: &TcpListener| {
            socket.local_addr().is_ok_and(|address| !managers.contains(&address))
        };
        let ending: Vec<OwnedFd> = {
            let sockets = self.sockets.lock();
            let open = sockets.open.iter().filter(|one| which(&one.wanted.purpose));
            let own = open.filter(|one| is_own(&one.socket));
            own.filter_map(|one| one.socket.as_fd().try_clone_to_owned().ok()).collect()
        };
        self.close(which).await;
        for socket in ending {
            // One that nobody has any more is closed by that as well.
            let _ = shutdown(&socket, Shutdown::Both);
        }
    }

    /// Where a socket is bound now.
    pub(super) fn address(&self, purpose: &Purpose) -> Option<SocketAddr> {
        let sockets = self.sockets.lock();
        let open = sockets.open.iter().find(|open| open.wanted.purpose == *purpose)?;
        open.socket.local_addr().ok()
    }

    /// All of them, to be handed over.
    pub(super) fn all(&self) -> Vec<(Wanted, Arc<TcpListener>)> {
        let sockets = self.sockets.lock();
        sockets.open.iter().map(|open| (open.wanted.clone(), Arc::clone(&open.socket))).collect()
    }

    /// Those that a service manager has as well.
    pub(super) fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock()
    }
}

impl Follow for Keeper {
    fn bind(&self, snapshot: &Snapshot) -> Result<ServeSockets, Vec<(Name, io::ErrorKind)>> {
        let bound = self.sockets.lock().bind(snapshot, &mut self.given());
        let bound = bound.map_err(|failures| {
            let kind = |(wanted, error): (Wanted, io::Error)| {
                Some((Name::parse(wanted.purpose.word()).ok()?, error.kind()))
            };
            failures.into_iter().filter_map(kind).collect::<Vec<_>>()
        })?;
        let own = Weak::clone(&self.own);
        Ok(Box::new(move || {
            let Some(own) = own.upgrade() else { return };
            if let Err(error) = own.adopt(bound) {
                // It was bound a moment ago: the system is at its end, and the others serve.
                say::err(format_args!("a listener does not serve: {error}"));
            }
        }))
    }
}

fn retire(open: Open, house: &House) {
    if let Purpose::Listener(listener) = &open.wanted.purpose {
        house.engine.report_event(&Event::ListenerClosed { listener });
    }
    // Nobody waits for its end.
    drop(open.close());
}
