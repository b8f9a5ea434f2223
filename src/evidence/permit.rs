//! What became of the permit under which a host ends TLS (TLS-3).
use std::time::Duration;

use super::action::Action;
use super::record::Fixed;
use super::words::Severity;
use crate::base::Name;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub enum PermitNews<'a> {
    /// In force from now on; how long it will be.
    Accepted { serial: &'a Name, left: Duration },
    /// There is none that counts, and no listener ends TLS.
    Refused { fault: Fixed },
    /// What is in the file is none that counts; the one before it does, until its own end.
    Kept { serial: &'a Name, fault: Fixed },
    /// It ends soon. Written 14, 7 and 1 days ahead.
    Ending { serial: &'a Name, left: Duration },
    /// It is over: no new connection is taken where TLS would end here.
    Ended { serial: &'a Name },
    /// Some or all keys of this listener stay closed: the permit does not cover them.
    Withheld { listener: &'a Name },
}

impl<'a> PermitNews<'a> {
    #[must_use]
    pub const fn serial(&self) -> Option<&'a Name> {
        match self {
            Self::Accepted { serial, .. }
            | Self::Kept { serial, .. }
            | Self::Ending { serial, .. }
            | Self::Ended { serial } => Some(serial),
            Self::Refused { .. } | Self::Withheld { .. } => None,
        }
    }

    #[must_use]
    pub const fn listener(&self) -> Option<&'a Name> {
        match self {
            Self::Withheld { listener } => Some(listener),
            _ => None,
        }
    }

    #[must_use]
    pub const fn fault(&self) -> Option<Fixed> {
        match self {
            Self::Refused { fault } | Self::Kept { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    #[must_use]
    pub const fn left(&self) -> Option<Duration> {
        match self {
            Self::Accepted { left, .. } | Self::Ending { left, .. } => Some(*left),
            _ => None,
        }
    }

    pub(super) const fn kind(&self) -> (Action, Severity) {
        match self {
            Self::Accepted { .. } => (Action::PermitAccepted, Severity::Info),
            Self::Refused { .. } => (Action::PermitRefused, Severity::Error),
            Self::Kept { .. } => (Action::PermitKept, Severity::Error),
            Self::Ending { .. } => (Action::PermitEnding, Severity::Warning),
            Self::Ended { .. } => (Action::PermitEnded, Severity::Error),
            Self::Withheld { .. } => (Action::TlsWithheld, Severity::Warning),
        }
    }
}
