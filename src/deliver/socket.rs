//! Datagrams to a socket of this machine: syslog and journald.
use std::io::ErrorKind;
use std::path::Path;

use tokio::net::UnixDatagram;

use crate::alarm::DeliveryFault;

/// Returns when the socket's owner has all of them in its queue.
pub(super) async fn send(path: &Path, datagrams: &[Vec<u8>]) -> Result<(), DeliveryFault> {
    let socket = UnixDatagram::unbound().map_err(|_| DeliveryFault::Internal)?;
    socket.connect(path).map_err(|_| DeliveryFault::Unreachable)?;
    for datagram in datagrams {
        socket.send(datagram).await.map_err(|error| match error.kind() {
            // EMSGSIZE has no kind of its own that is stable; our messages are under 4 KiB.
            ErrorKind::InvalidInput => DeliveryFault::TooLarge,
            _ => DeliveryFault::Unreachable,
        })?;
    }
    Ok(())
}
