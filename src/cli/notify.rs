//! Tells the service manager how the process stands (`sd_notify(3)`): one datagram per word. Without
//! `NOTIFY_SOCKET` every word is a no-op.
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// `socket` is the value of `NOTIFY_SOCKET`: a path, or `@name` in the abstract namespace.
    #[must_use]
    pub fn open(socket: Option<&str>) -> Self {
        let address = socket.and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        Self(address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address))))
    }

    pub fn ready(&self) {
        self.say("READY=1\nSTATUS=serving");
    }

    /// The moment is what systemd compares with its own clock (Type=notify-reload); `CLOCK_MONOTONIC`
    /// is asked for, not our own count.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    /// Another process is the service from now on. Only the one that was may say so
    /// (`NotifyAccess=main`), and what it says afterwards is not heard.
    pub fn relieved_by(&self, pid: u32) {
        self.say(&format!("MAINPID={pid}\nSTATUS=serving"));
    }

    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, words: &str) {
        if let Some((socket, address)) = &self.0 {
            // A manager that does not listen is its own alarm: it restarts us.
            let _ = socket.send_to_addr(words.as_bytes(), address);
        }
    }
}

/// Half of `WATCHDOG_USEC`, as `sd_watchdog_enabled(3)` advises.
#[must_use]
pub fn watchdog_interval(usec: Option<&str>) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec / 2))
}
