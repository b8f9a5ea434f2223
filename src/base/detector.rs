//! The ways of looking at events: what alarms, settings and records name, and the control of each.
use super::ControlId;

/// One way of looking at events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// Refused calls (MON-1).
    Failures,
    /// Requests against the identity's history (MON-2).
    Rate,
    /// Bytes and personal records against the identity's history (MON-3).
    Volume,
    /// A share of answers with personal data that rose a little and stayed (MON-3).
    Slow,
    /// Distinct objects against the identity's history (MON-3).
    Enumeration,
    /// A planted record was touched (MON-4).
    Canary,
    /// Scanner paths and malformed protocol (MON-5).
    Intrusion,
    /// Failed logins from unknown networks, and of many identities from one source (MON-6).
    Logins,
    /// One credential in several places at once (ACC-1).
    Sharing,
}

impl Detector {
    pub const ALL: &'static [Self] = &[
        Self::Failures,
        Self::Rate,
        Self::Volume,
        Self::Slow,
        Self::Enumeration,
        Self::Canary,
        Self::Intrusion,
        Self::Logins,
        Self::Sharing,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Rate => "rate",
            Self::Volume => "volume",
            Self::Slow => "slow",
            Self::Enumeration => "enumeration",
            Self::Canary => "canary",
            Self::Intrusion => "intrusion",
            Self::Logins => "logins",
            Self::Sharing => "sharing",
        }
    }

    /// The control that it serves, and with it whatever comes of what it saw.
    #[must_use]
    pub const fn control(self) -> ControlId {
        match self {
            Self::Failures => ControlId::Mon1,
            Self::Rate => ControlId::Mon2,
            Self::Volume | Self::Slow | Self::Enumeration => ControlId::Mon3,
            Self::Canary => ControlId::Mon4,
            Self::Intrusion => ControlId::Mon5,
            Self::Logins => ControlId::Mon6,
            Self::Sharing => ControlId::Acc1,
        }
    }
}
