//! Who is told of alarms (MON-7).
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Endpoint, Roots};
use crate::alarm::{BearerToken, Rules, SigningKey, Windows};
use crate::base::Name;

/// `[alarms]` and all `[[alarm]]`.
#[derive(Clone, Debug)]
pub struct AlarmSettings {
    pub windows: Windows,
    /// None: alarms stand in the access log only.
    pub targets: Vec<AlarmTarget>,
}

/// One `[[alarm]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmTarget {
    pub name: Name,
    pub way: AlarmWay,
    pub rules: Rules,
    /// Time between two signs of life.
    pub heartbeat: Duration,
    /// For one delivery as a whole.
    pub timeout: Duration,
}

/// How a target is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmWay {
    Webhook {
        to: Posted,
        key: SigningKey,
    },
    Alertmanager {
        to: Posted,
        bearer: Option<BearerToken>,
    },
    /// The socket's path.
    Syslog(PathBuf),
    Journald(PathBuf),
    /// A program by its full path, and its arguments.
    Command(Vec<String>),
}

impl AlarmWay {
    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Syslog(_) => "syslog",
            Self::Journald(_) => "journald",
            Self::Command(_) => "command",
        }
    }
}

/// Where a message is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    Https {
        endpoint: Endpoint,
        path: String,
        roots: Roots,
    },
    /// This machine itself, without TLS (TLS-1).
    Loopback {
        address: SocketAddr,
        path: String,
    },
}

impl Posted {
    pub(in crate::config) const fn path_mut(&mut self) -> &mut String {
        match self {
            Self::Https { path, .. } | Self::Loopback { path, .. } => path,
        }
    }
}
