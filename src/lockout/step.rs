//! The ladder's steps, what can lead onto it, and how well an act is backed.
use crate::base::ControlId;

/// What is done about somebody, from mild to hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// An alarm; requests go on.
    Note,
    /// Requests wait.
    Slow,
    /// A proof is demanded that is stronger or fresher than what the accused showed (RFC 9470).
    StepUp,
    /// Refused, as if the credential were wrong.
    Lock,
    /// As a lock; open connections are cut and remembered tokens forgotten. Never expires.
    Kill,
}

impl Step {
    pub const ALL: &'static [Self] =
        &[Self::Note, Self::Slow, Self::StepUp, Self::Lock, Self::Kill];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Slow => "slow",
            Self::StepUp => "step-up",
            Self::Lock => "lock",
            Self::Kill => "kill",
        }
    }

    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// One step harder, but no harder than a lock.
    pub(super) const fn harder(self) -> Self {
        match self {
            Self::Note => Self::Note,
            Self::Slow => Self::StepUp,
            Self::StepUp | Self::Lock => Self::Lock,
            Self::Kill => Self::Kill,
        }
    }
}

/// Whether the caller proved that it holds a private key: a client certificate, or a token bound to
/// one (RFC 8705).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    Carried,
    Absent,
    /// Absent, and without it nobody is this identity: a guess that could not have been right.
    Missing,
}

/// What the accused showed when it did it, and so what more can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shown {
    /// What anybody can bear who has it: a key is more, and so is a login that came later.
    Bearer,
    /// A key and a token: a login that came later is more.
    KeyAndToken,
    /// A certificate and nothing else. Nothing more can be asked of a service.
    Certificate,
}

impl Shown {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Bearer => 1,
            Self::KeyAndToken => 2,
            Self::Certificate => 3,
        }
    }

    pub(super) const fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Bearer),
            2 => Some(Self::KeyAndToken),
            3 => Some(Self::Certificate),
            _ => None,
        }
    }
}

/// How much the one who is accused must have had to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backing {
    /// Anybody who knows the name can do it.
    Stranger,
    /// A failed login with proof of possession, or from a source the identity has used.
    Familiar,
    /// A request that was authenticated.
    Credential,
}

impl Backing {
    /// The hardest step an act of this kind can lead to.
    pub(super) const fn ceiling(self) -> Step {
        match self {
            Self::Stranger => Step::StepUp,
            Self::Familiar => Step::Lock,
            Self::Credential => Step::Kill,
        }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $word:ident = $text:literal for $control:ident;)+) => {
        /// Why somebody stands on the ladder.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $($(#[$doc])* $word,)+ }

        impl Cause {
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }

            pub const fn control(self) -> ControlId {
                match self { $(Self::$word => ControlId::$control,)+ }
            }
        }
    };
}

causes! {
    /// Ten failed logins with proof of possession, or from sources used before.
    LoginFailures = "login-failures" for Acc2;
    /// Failed logins from strangers.
    Strangers = "strangers" for Mon6;
    /// One source tried many identities.
    Spraying = "spraying" for Mon6;
    /// Refused calls: operations that no role grants, objects that do not exist.
    RefusedCalls = "refused-calls" for Mon1;
    Rate = "rate" for Mon2;
    Volume = "volume" for Mon3;
    SlowExfiltration = "slow-exfiltration" for Mon3;
    Enumeration = "enumeration" for Mon3;
    Canary = "canary" for Mon4;
    Intrusion = "intrusion" for Mon5;
    CredentialSharing = "credential-sharing" for Acc1;
    /// An operator asked for it.
    Emergency = "emergency" for Acc5;
}

impl Cause {
    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}
