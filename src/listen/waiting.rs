//! Connections that wait at a socket for somebody to accept them when nobody will any more.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

/// So many connections wait at a socket at most.
pub(super) const WAITING_MAX: u32 = 1_024;

/// Closes a socket once whoever has connected by then is admitted: closing it at once would reset them in
/// the middle of what they send (LOG-1). Where somebody else has the socket as well, it stays open, and is
/// his: another process's after an upgrade, or for a moment that of a reload.
pub(super) fn admit_and_close(
    socket: Arc<TcpListener>,
    mut admit: impl FnMut(TcpStream, SocketAddr),
) {
    let socket = Arc::into_inner(socket).map(TcpListener::into_std);
    let Some(Ok(socket)) = socket else { return };
    for _ in 0..WAITING_MAX {
        match socket.accept() {
            Ok((tcp, peer)) => {
                let tcp = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
                if let Ok(tcp) = tcp {
                    admit(tcp, peer);
                }
            }
            Err(error) if is_the_peers(&error) => {}
            // It does not block: nobody waits any more.
            Err(_) => return,
        }
    }
}

/// accept(2) reports what befell a connection in the queue as its own error.
pub(super) fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
