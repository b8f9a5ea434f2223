//! What the front door reports, as closed reasons. Controls: LOG-1, MON-5.
use std::io;

use crate::state::ConnectionFault;

/// Why a connection was closed before or between requests. Holds no byte of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorFault {
    /// NET-1: not on the listener's list.
    Address,
    /// ACC-5: an operator locked its network.
    Locked,
    /// As many connections as allowed are open.
    Connections(ConnectionFault),
    /// NET-3: what was wrong with the PROXY header.
    ProxyHeader(&'static str),
    /// TLS-3: this host may not end TLS here; why.
    NotPermitted(&'static str),
    /// TLS-1.
    Handshake(HandshakeFault),
    /// MON-5: what was wrong with the HTTP/2 frames.
    Frames(&'static str),
    /// The access log has no room for the line that a connection leaves when it is passed on.
    Log,
    /// The process has no file descriptor left.
    Descriptors,
    /// The listener is no longer configured.
    Gone,
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    TimedOut,
    /// The peer closed the connection.
    Closed,
    /// No common version, suite or group.
    Version,
    /// The client's certificate is missing, expired or of an unknown CA.
    ClientCertificate,
    /// Something other than a TLS hello arrived.
    NotTls,
    /// The client refused us: an alert.
    Alert,
    /// Its first message breaks the grammar, or is too long.
    Hello,
    /// It asks for a server that nobody here serves (TLS-3).
    UnknownName,
    /// It asks for none, and somebody has to be asked for here.
    NoName,
    Other,
}

impl HandshakeFault {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Closed => "closed",
            Self::Version => "no_common_version",
            Self::ClientCertificate => "client_certificate",
            Self::NotTls => "not_tls",
            Self::Alert => "alert",
            Self::Hello => "hello",
            Self::UnknownName => "unknown_server_name",
            Self::NoName => "no_server_name",
            Self::Other => "other",
        }
    }

    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            None => Self::Closed,
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Self::ClientCertificate
            }
            Some(rustls::Error::PeerIncompatible(_)) => Self::Version,
            Some(rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. }) => {
                Self::NotTls
            }
            Some(rustls::Error::AlertReceived(_)) => Self::Alert,
            Some(_) => Self::Other,
        }
    }
}

impl DoorFault {
    /// For metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Locked => "network_locked",
            Self::Connections(ConnectionFault::Total) => "connections_total",
            Self::Connections(ConnectionFault::PerSource) => "connections_per_address",
            Self::Connections(ConnectionFault::PerIdentity) => "connections_per_identity",
            Self::ProxyHeader(_) => "proxy_header",
            Self::NotPermitted(_) => "no_permit",
            Self::Handshake(_) => "handshake",
            Self::Frames(_) => "http2_frames",
            Self::Log => "log_unavailable",
            Self::Descriptors => "file_descriptors",
            Self::Gone => "listener_gone",
        }
    }

    /// For records: the reason's own reason where it has one.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotPermitted(detail) | Self::ProxyHeader(detail) | Self::Frames(detail) => detail,
            Self::Handshake(fault) => fault.as_str(),
            Self::Address
            | Self::Locked
            | Self::Connections(_)
            | Self::Log
            | Self::Descriptors
            | Self::Gone => self.reason(),
        }
    }
}
