//! Who operates the gateway, and where: `[admin.api]` and `[operator.…]`, compiled. Controls: PRIV-3,
//! ACC-1, NET-1.
use std::net::SocketAddr;
use std::time::Duration;

use super::settings::TlsSettings;
use crate::base::{IdentityIx, Moment, Name};
use crate::identity::{PeerCertificate, Trust};
use crate::policy::NetworkMask;

/// How a permit names the API.
pub const API_LISTENER: &str = "admin.api";

/// `[admin.api]`.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    pub address: SocketAddr,
    /// Who may connect. The default and the empty list admit nobody.
    pub networks: NetworkMask,
    /// TLS 1.3, client certificates required.
    pub tls: TlsSettings,
    /// Acts that need a second person.
    pub two_people: Vec<OperatorAct>,
    /// How long such an act waits.
    pub confirm_within: Duration,
}

/// What an operator may do. Each may do what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorRole {
    Viewer,
    Operator,
    SecurityOfficer,
}

impl OperatorRole {
    pub const ALL: &'static [Self] = &[Self::Viewer, Self::Operator, Self::SecurityOfficer];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::SecurityOfficer => "security-officer",
        }
    }
}

/// What changes something, and so needs a role, a reason and a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorAct {
    Lock,
    Kill,
    Unlock,
    UnlockSecurityLock,
    /// Putting a configuration in force that lets nothing more be done.
    Reload,
    /// Putting one in force that does.
    ReloadWidening,
}

impl OperatorAct {
    pub const ALL: &'static [Self] = &[
        Self::Lock,
        Self::Kill,
        Self::Unlock,
        Self::UnlockSecurityLock,
        Self::Reload,
        Self::ReloadWidening,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Kill => "kill",
            Self::Unlock => "unlock",
            Self::UnlockSecurityLock => "unlock-security-lock",
            Self::Reload => "reload",
            Self::ReloadWidening => "reload-widening",
        }
    }

    /// The least role that may do it, and that may confirm it.
    #[must_use]
    pub const fn role(self) -> OperatorRole {
        match self {
            Self::Lock | Self::Unlock | Self::Reload => OperatorRole::Operator,
            Self::Kill | Self::UnlockSecurityLock | Self::ReloadWidening => {
                OperatorRole::SecurityOfficer
            }
        }
    }
}

/// One `[operator.…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSettings {
    pub name: Name,
    pub role: OperatorRole,
}

/// Why nobody is known by a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// It names no operator, or several.
    Unknown,
    /// It names one who is disabled or whose last day has passed.
    Barred,
}

/// All operators, by their certificates. The default knows nobody.
#[derive(Clone, Debug, Default)]
pub struct Operators {
    /// The same registry as for identities, and of its own: nobody is known in both.
    pub(super) trust: Option<Trust>,
    pub(super) list: Vec<OperatorSettings>,
}

impl Operators {
    /// Whose certificate this is. Its chain must have been verified.
    ///
    /// # Errors
    /// See [`Stranger`].
    pub fn holder(
        &self,
        peer: &PeerCertificate,
        now: Moment,
    ) -> Result<&OperatorSettings, Stranger> {
        let trust = self.trust.as_ref().ok_or(Stranger::Unknown)?;
        let ix = trust.certificate_holder(peer).ok_or(Stranger::Unknown)?;
        if !trust.may_enter(ix, now) {
            return Err(Stranger::Barred);
        }
        self.list.get(ix.index()).ok_or(Stranger::Unknown)
    }

    /// The operator of that name, as long as it may enter.
    #[must_use]
    pub fn active(&self, name: &Name, now: Moment) -> Option<&OperatorSettings> {
        let mut all = (0..).map(IdentityIx).zip(&self.list);
        let (ix, operator) = all.find(|(_, operator)| operator.name == *name)?;
        let may_enter = self.trust.as_ref()?.may_enter(ix, now);
        may_enter.then_some(operator)
    }

    #[must_use]
    pub fn list(&self) -> &[OperatorSettings] {
        &self.list
    }
}
