//! What an alarm can be about: closed vocabularies, each word with a code that is never used again
//! for another.
use crate::base::{ControlId, Detector};

/// Declares an enum whose variants have a code for the store and a word for people and programs.
macro_rules! coded {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$each:meta])* $variant:ident = $code:literal $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[$each])* $variant, )+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            pub(super) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            pub(super) fn of_code(code: u8) -> Option<Self> {
                Self::ALL.iter().find(|each| each.code() == code).copied()
            }
        }
    };
}

coded! {
    /// How loud an alarm is, from the least to the most.
    Severity {
        Low = 1 "low",
        Medium = 2 "medium",
        High = 3 "high",
        Critical = 4 "critical",
    }
}

coded! {
    /// What a name in an alarm is the name of.
    Aspect {
        Identity = 1 "identity",
        Role = 2 "role",
        Operation = 3 "operation",
        Upstream = 4 "upstream",
        Endpoint = 5 "endpoint",
        Listener = 6 "listener",
        Issuer = 7 "issuer",
        Limit = 8 "limit",
        Target = 9 "target",
        Account = 10 "account",
        /// A particular fault or mode; says how, not who.
        Detail = 11 "detail",
        /// By which connections are passed on.
        Route = 14 "route",
    }
}

coded! {
    /// What happened.
    Kind {
        /// Many refused calls.
        Failures = 1 "refused-calls",
        Rate = 2 "request-rate",
        Volume = 3 "retrieval-volume",
        Slow = 4 "slow-exfiltration",
        Enumeration = 5 "enumeration",
        Canary = 6 "canary",
        Intrusion = 7 "intrusion",
        Logins = 8 "login-failures",
        Sharing = 9 "credential-sharing",
        /// An identity, source or other subject was locked, by rule or by hand.
        Locked = 20 "locked",
        Unlocked = 21 "unlocked",
        /// More would have been locked by rule than may be.
        LockCap = 22 "lock-cap",
        /// An emergency lock on many at once, by hand.
        Killed = 23 "kill-switch",
        LogUnavailable = 40 "log-unavailable",
        LinesLost = 41 "lines-lost",
        UpstreamUntrusted = 42 "upstream-untrusted",
        UpstreamFailing = 43 "upstream-failing",
        UpstreamUnresolved = 44 "upstream-unresolved",
        IssuerKeys = 45 "issuer-keys",
        ConfigRefused = 46 "config-refused",
        StoreFaulty = 47 "store-faulty",
        CertificateExpiring = 48 "certificate-expiring",
        Panicked = 49 "panicked",
        ConfigRolledBack = 55 "config-rolled-back",
        ConfigSuspect = 56 "config-suspect",
        /// Alarms that somebody was not told.
        AlarmsLost = 50 "alarms-lost",
        /// A private key is as old as it may become, or soon.
        KeyTooOld = 52 "key-too-old",
        /// A key's, certificate's or list's file can't be used; what it held before stays.
        FileUnusable = 61 "file-unusable",
        /// A gateway that connections are passed on to can't be reached.
        PassFailing = 57 "pass-failing",
        /// No TLS ends here, or not all that should.
        PermitMissing = 58 "permit-missing",
        PermitExpiring = 59 "permit-expiring",
        /// Records in the shared store that no gateway wrote.
        StoreForged = 70 "store-forged",
        /// What was revealed to whom could not be kept.
        LedgerLost = 71 "ledger-lost",
        /// The log's or the state's file system is nearly full.
        SpaceLow = 72 "space-low",
        /// Somebody tries out whether alarms arrive.
        Test = 60 "test",
    }
}

impl Severity {
    /// The one of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|each| each.as_str() == word).copied()
    }
}

impl Kind {
    /// What an alarm about a detector's signal is.
    #[must_use]
    pub const fn of(detector: Detector) -> Self {
        match detector {
            Detector::Failures => Self::Failures,
            Detector::Rate => Self::Rate,
            Detector::Volume => Self::Volume,
            Detector::Slow => Self::Slow,
            Detector::Enumeration => Self::Enumeration,
            Detector::Canary => Self::Canary,
            Detector::Intrusion => Self::Intrusion,
            Detector::Logins => Self::Logins,
            Detector::Sharing => Self::Sharing,
        }
    }

    /// The control that an alarm of this kind serves.
    #[must_use]
    pub const fn control(self) -> ControlId {
        let detector = match self {
            Self::Failures => Detector::Failures,
            Self::Rate => Detector::Rate,
            Self::Volume => Detector::Volume,
            Self::Slow => Detector::Slow,
            Self::Enumeration => Detector::Enumeration,
            Self::Canary => Detector::Canary,
            Self::Intrusion => Detector::Intrusion,
            Self::Logins => Detector::Logins,
            Self::Sharing => Detector::Sharing,
            Self::IssuerKeys => return ControlId::Acc1,
            Self::Locked
            | Self::Unlocked
            | Self::LockCap
            | Self::StoreFaulty
            | Self::StoreForged => {
                return ControlId::Acc2;
            }
            Self::LedgerLost => return ControlId::Mon3,
            Self::Killed => return ControlId::Acc5,
            Self::UpstreamUntrusted => return ControlId::Tls2,
            Self::PermitMissing | Self::PermitExpiring => return ControlId::Tls3,
            Self::PassFailing => return ControlId::Tls3,
            Self::CertificateExpiring | Self::KeyTooOld | Self::FileUnusable => {
                return ControlId::Tls5;
            }
            Self::Panicked => return ControlId::Log2,
            Self::LogUnavailable
            | Self::LinesLost
            | Self::SpaceLow
            | Self::UpstreamFailing
            | Self::UpstreamUnresolved
            | Self::ConfigRefused
            | Self::ConfigRolledBack
            | Self::ConfigSuspect => return ControlId::Log1,
            Self::AlarmsLost | Self::Test => return ControlId::Mon7,
        };
        detector.control()
    }

    /// One sentence for whoever is woken.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Failures => "Calls are refused again and again",
            Self::Rate => "More requests than the identity's own history explains",
            Self::Volume => "More data is retrieved than the identity's own history explains",
            Self::Slow => "The share of answers with personal data rose and stays up",
            Self::Enumeration => "More distinct objects are asked for than ever before",
            Self::Canary => "A planted record was touched",
            Self::Intrusion => "Somebody probes the gateway",
            Self::Logins => "Logins fail from unknown networks",
            Self::Sharing => "One credential is used in several places at once",
            Self::Locked => "A lock is in force",
            Self::Unlocked => "A lock was released",
            Self::LockCap => "More identities would be locked by rule than may be",
            Self::Killed => "An emergency lock is in force",
            Self::LogUnavailable => "The access log can't be written, and requests are refused",
            Self::LinesLost => "Lines of the access log were lost",
            Self::SpaceLow => "Little room is left on the file system of the log or the state",
            Self::UpstreamUntrusted => "An upstream could not prove who it is",
            Self::UpstreamFailing => "An upstream fails, and its circuit breaker is open",
            Self::UpstreamUnresolved => "An upstream's name does not resolve",
            Self::IssuerKeys => "An issuer's keys can't be had; those known stay in use",
            Self::ConfigRefused => "A new configuration was refused; the one before stays in force",
            Self::ConfigRolledBack => {
                "More failed under a new configuration; the one before is in force again"
            }
            Self::ConfigSuspect => "More fails under a new configuration, which stays in force",
            Self::StoreFaulty => "The state store can't be had; known locks hold, quotas shrink",
            Self::StoreForged => {
                "Somebody who is no gateway writes to the store that gateways share"
            }
            Self::LedgerLost => "Part of what was revealed to whom could not be kept",
            Self::CertificateExpiring => {
                "A certificate, or what an authority says of certificates, ends soon"
            }
            Self::KeyTooOld => "A private key or a secret is as old as it may become, or soon",
            Self::FileUnusable => {
                "A certificate's, list's or response's file can't be used; what it held before stays"
            }
            Self::PassFailing => "A gateway that connections are passed on to can't be reached",
            Self::PermitMissing => "This host has no permit to end TLS, and takes no connection",
            Self::PermitExpiring => "The permit under which this host ends TLS runs out",
            Self::Panicked => "Part of the gateway panicked",
            Self::AlarmsLost => "Alarms were lost before somebody was told",
            Self::Test => "This is a test, sent by hand",
        }
    }

    /// What to do about it first.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Failures | Self::Rate | Self::Volume | Self::Slow | Self::Enumeration => {
                "Ask the identity's owner whether this is theirs; if not, lock it. If it is, raise \
                 the setting that is named."
            }
            Self::Canary => "Nobody has an innocent reason for this: lock the identity, then ask.",
            Self::Intrusion | Self::Logins => {
                "Look where it comes from in the access log, by the source's pseudonym of that day."
            }
            Self::Sharing => {
                "Give each person and service a credential of its own; replace this one."
            }
            Self::Locked | Self::Unlocked | Self::Killed => "Confirm that this was meant.",
            Self::LockCap => {
                "Look at the alarms before this one: either an attack, or a bad limit."
            }
            Self::LogUnavailable | Self::LinesLost => "Free the volume of the access log.",
            Self::SpaceLow => {
                "Make room, or ship old log files elsewhere: without room nobody is served."
            }
            Self::UpstreamUntrusted => {
                "Find out who answers at its address before anything is changed: this may be an \
                 interception."
            }
            Self::UpstreamFailing
            | Self::UpstreamUnresolved
            | Self::IssuerKeys
            | Self::PassFailing => "Look at the other side's state, then at the network between.",
            Self::ConfigRefused => "Run `sekisho check`; it says what to write instead.",
            Self::ConfigRolledBack => {
                "Look at what changed there; put right, the file is taken up by itself."
            }
            Self::ConfigSuspect => {
                "Run `sekisho reload --dry-run` on the files before it; whatever narrows is not put \
                 back by itself."
            }
            Self::StoreFaulty => "Look at the state directory's volume, or at the Redis server.",
            Self::StoreForged => {
                "Find out who has access to the Redis server; change its passwords, then \
                 `state.redis.secret`."
            }
            Self::LedgerLost => {
                "Look at the state directory's volume: what is not written down has no room in memory."
            }
            Self::CertificateExpiring => "Renew it; the gateway takes up the new file by itself.",
            Self::KeyTooOld => {
                "Make a new key and have a certificate issued for it, or a new secret; the gateway \
                 takes them up by itself. `sekisho keys` lists them all."
            }
            Self::FileUnusable => {
                "Run `sekisho check`; it says what is wrong with the file. Mended, it is taken up by \
                 itself."
            }
            Self::PermitMissing => {
                "Run `sekisho permit verify`; it says why, and what the platform team has to issue."
            }
            Self::PermitExpiring => {
                "Have the platform team issue the next one; the gateway takes up the file by itself."
            }
            Self::Panicked => "Report the place that the log's event names as a defect.",
            Self::AlarmsLost => "Read the access log's alarm-raised events of that time.",
            Self::Test => "Nothing.",
        }
    }
}
