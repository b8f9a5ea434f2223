//! Listening sockets that the process did not bind by itself: a service manager's
//! (`sd_listen_fds(3)`), or those of the process whose place it takes.
use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;
use tokio::net::TcpListener;

use super::sockets::Wanted;
use crate::cli::say::{self, Failure};

/// More than there can be listeners.
const GIVEN_MAX: usize = 128;

/// Those that nobody has asked for yet.
#[derive(Debug, Default)]
pub(in crate::cli) struct Given(Vec<One>);

#[derive(Debug)]
struct One {
    socket: Socket,
    from: From,
}

#[derive(Debug)]
enum From {
    /// The unit's `FileDescriptorName`, where there is one.
    Manager(Option<String>),
    /// What it was for, and the address that was configured for it.
    Before(String, SocketAddr),
}

impl Given {
    /// The service manager's. First of all: until then programs that are started have them too.
    ///
    /// # Errors
    /// If one of them is no listening TCP socket.
    pub(super) fn by_environment() -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        Self::by_manager(
            variable("LISTEN_PID").as_deref(),
            variable("LISTEN_FDS").as_deref(),
            variable("LISTEN_FDNAMES").as_deref(),
        )
    }

    /// The service manager's, if they are meant for this very process: `pid`, `count` and `names` are
    /// the values of `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`.
    fn by_manager(
        pid: Option<&str>,
        count: Option<&str>,
        names: Option<&str>,
    ) -> Result<Self, Failure> {
        // Without this check a child would take its parent's numbers for its own.
        if pid.and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
            return Ok(Self::default());
        }
        if count.and_then(|count| count.parse().ok()).is_none_or(|count: usize| count > GIVEN_MAX) {
            return Err(Failure::new(format_args!(
                "LISTEN_FDS must be a number up to {GIVEN_MAX}"
            )));
        }
        let mut fds = ListenFd::from_env();
        let mut names = names.into_iter().flat_map(|names| names.split(':')).map(str::to_owned);
        let mut given = Vec::new();
        for place in 0..fds.len() {
            let name = names.next();
            let taken = fds.take_tcp_listener(place).map_err(|error| {
                Failure::new(format_args!(
                    "socket {place} of the service manager can't be used: {error}; the unit must \
                     have ListenStream= with TCP addresses only"
                ))
            })?;
            let listens = |socket: &Socket| socket_acceptconn(socket).unwrap_or(false);
            if taken.as_ref().is_some_and(|socket| !listens(socket)) {
                return Err(Failure::new(format_args!(
                    "socket {place} of the service manager does not listen; the unit must have \
                     Accept=no"
                )));
            }
            // Programs that this process starts must not find it.
            if let Some(socket) = &taken {
                fcntl_setfd(socket, FdFlags::CLOEXEC).map_err(Failure::new)?;
            }
            given.extend(taken.map(|socket| One { socket, from: From::Manager(name) }));
        }
        Ok(Self(given))
    }

    /// Adds a socket of the process before.
    pub(in crate::cli) fn add(&mut self, label: String, address: SocketAddr, socket: OwnedFd) {
        self.0.push(One { socket: Socket::from(socket), from: From::Before(label, address) });
    }

    /// A socket that fits.
    pub(super) fn take(&mut self, wanted: &Wanted) -> io::Result<Option<TcpListener>> {
        let label = wanted.purpose.label();
        let is_there = |one: &One| one.socket.local_addr().is_ok_and(|own| own == wanted.address);
        let fits = |one: &One| match &one.from {
            From::Manager(Some(name)) if name == label => true,
            From::Manager(_) => is_there(one),
            From::Before(before, address) => {
                *address == wanted.address && (address.port() != 0 || before == label)
            }
        };
        // A name says more than an address.
        let named = |one: &One| matches!(&one.from, From::Manager(Some(name)) if name == label);
        let place = self.0.iter().position(named).or_else(|| self.0.iter().position(fits));
        let Some(place) = place else { return Ok(None) };
        let socket = self.0.swap_remove(place).socket;
        let there = socket.local_addr()?;
        let is_as_written = there.ip() == wanted.address.ip()
            && (wanted.address.port() == 0 || wanted.address.port() == there.port());
        if !is_as_written {
            // By its name it is meant all the same; who may connect is judged by what is written.
            say::err(format_args!(
                "{} listens on {there}, which is the service manager's socket of its name, and not \
                 on {} as configured",
                wanted.purpose, wanted.address
            ));
        }
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Some)
    }

    /// Says which sockets of the service manager nobody wants: whoever connects there waits in vain.
    pub(super) fn tell_unused(&self) {
        for one in &self.0 {
            let (From::Manager(name), Ok(address)) = (&one.from, one.socket.local_addr()) else {
                continue;
            };
            let name = name.as_deref().unwrap_or("no name");
            say::err(format_args!(
                "the service manager's socket {address} ({name}) is closed: no listener has that \
                 address or name"
            ));
        }
    }
}
