//! Listening sockets that the process did not bind by itself: a service manager's
//! (`sd_listen_fds(3)`), or those of the process whose place it takes.
//!
//! A service manager has its sockets open as well, whoever serves there: their addresses can't be bound
//! anew. So they are kept for as long as there is a process, for listeners that come or return. Those of
//! the process before are closed once everybody has his own: whoever connects there would wait in vain.
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

/// A service manager's, and of the others those that nobody has asked for yet.
#[derive(Debug, Default)]
pub(in crate::cli) struct Given(Vec<One>);

#[derive(Debug)]
struct One {
    socket: Socket,
    from: From,
}

#[derive(Debug)]
enum From {
    /// The unit's `FileDescriptorName`; empty where there is none.
    Manager(String),
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
            let name = names.next().unwrap_or_default();
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

    /// Adds a socket that the process before had from the service manager.
    pub(in crate::cli) fn add_managers(&mut self, name: String, socket: OwnedFd) {
        self.0.push(One { socket: Socket::from(socket), from: From::Manager(name) });
    }

    /// The service manager's, with their names.
    pub(in crate::cli) fn managers(&self) -> impl Iterator<Item = (&str, SocketAddr, &Socket)> {
        self.0.iter().filter_map(|one| match &one.from {
            From::Manager(name) => {
                Some((name.as_str(), one.socket.local_addr().ok()?, &one.socket))
            }
            From::Before(..) => None,
        })
    }

    /// A socket that fits. Whoever serves at one of the service manager's has it to himself.
    pub(super) fn take(
        &mut self,
        wanted: &Wanted,
        in_use: impl Fn(SocketAddr) -> bool,
    ) -> io::Result<Option<TcpListener>> {
        let label = wanted.purpose.label();
        let handed_over = |one: &One| match &one.from {
            From::Manager(_) => false,
            From::Before(before, address) => {
                *address == wanted.address && (address.port() != 0 || before == label)
            }
        };
        let managers = |one: &One, fits: &dyn Fn(&str, SocketAddr) -> bool| match &one.from {
            From::Manager(name) => {
                one.socket.local_addr().is_ok_and(|own| fits(name, own) && !in_use(own))
            }
            From::Before(..) => false,
        };
        let place = |fits: &dyn Fn(&One) -> bool| self.0.iter().position(fits);
        let place = place(&handed_over)
            // A name says more than an address.
            .or_else(|| place(&|one| managers(one, &|name, _| name == label)))
            .or_else(|| place(&|one| managers(one, &|_, own| own == wanted.address)));
        let Some(place) = place else { return Ok(None) };
        let socket = match self.0.get(place) {
            Some(One { socket, from: From::Manager(_) }) => socket.try_clone()?,
            Some(_) | None => self.0.swap_remove(place).socket,
        };
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

    /// Closes those of the process before that nobody asked for.
    pub(super) fn forget_before(&mut self) {
        self.0.retain(|one| matches!(one.from, From::Manager(_)));
    }

    /// Says which sockets of the service manager nobody wants: whoever connects there waits in vain.
    pub(super) fn tell_unused(&self, in_use: impl Fn(SocketAddr) -> bool) {
        for (name, address, _) in self.managers().filter(|(_, address, _)| !in_use(*address)) {
            let name = if name.is_empty() { "no name" } else { name };
            say::err(format_args!(
                "nobody serves at the service manager's socket {address} ({name}): no listener has \
                 that address or name"
            ));
        }
    }
}
