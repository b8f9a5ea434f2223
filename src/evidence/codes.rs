//! The stable words for refusals: callers' programs, alarms and searches depend on them. They are
//! added to, never changed.
use crate::base::{
    ClosedFault, Denial, HeadFault, LockFault, PacingFault, PathFault, RevokedFault, StepUpFault,
    TokenFault, UpstreamFault, WithheldFault,
};

use super::words::{Outcome, words};

words! {
    /// A [`Denial`] without its particulars: what an answer names and a metric counts.
    pub enum DenialCode {
        Head = "HeadNotAccepted",
        Path = "PathNotAccepted",
        WrongHost = "WrongHost",
        NoCredential = "NoCredential",
        Token = "TokenNotAccepted",
        NoIdentity = "NoIdentity",
        Locked = "Locked",
        Closed = "Closed",
        SlowedDown = "SlowedDown",
        StepUp = "StepUpRequired",
        Canary = "Canary",
        NetworkNotListed = "NetworkNotListed",
        AddressRevoked = "AddressRevoked",
        OperationUnknown = "OperationUnknown",
        OperationNotGranted = "OperationNotGranted",
        QueryNotGranted = "QueryNotGranted",
        UpgradeNotAllowed = "UpgradeNotAllowed",
        BodyNotAllowed = "BodyNotAllowed",
        BodyTooLarge = "BodyTooLarge",
        BodyTooSlow = "BodyTooSlow",
        QuotaExceeded = "QuotaExceeded",
        QuotaUnknown = "QuotaUnknown",
        UpstreamQuota = "UpstreamQuotaExceeded",
        IdentityConnections = "TooManyConnections",
        LogUnavailable = "LogUnavailable",
        Withheld = "Withheld",
        Upstream = "UpstreamFailed",
        Revoked = "AccessRevoked",
        Internal = "Internal",
    }
}

impl DenialCode {
    #[must_use]
    pub const fn of(denial: Denial) -> Self {
        match denial {
            Denial::Head(_) => Self::Head,
            Denial::Path(_) => Self::Path,
            Denial::WrongHost => Self::WrongHost,
            Denial::NoCredential => Self::NoCredential,
            Denial::Token(_) => Self::Token,
            Denial::NoIdentity => Self::NoIdentity,
            Denial::Locked(_) => Self::Locked,
            Denial::Closed(_) => Self::Closed,
            Denial::SlowedDown => Self::SlowedDown,
            Denial::StepUp(_) => Self::StepUp,
            Denial::Canary => Self::Canary,
            Denial::NetworkNotListed => Self::NetworkNotListed,
            Denial::AddressRevoked => Self::AddressRevoked,
            Denial::OperationUnknown => Self::OperationUnknown,
            Denial::OperationNotGranted => Self::OperationNotGranted,
            Denial::QueryNotGranted => Self::QueryNotGranted,
            Denial::UpgradeNotAllowed => Self::UpgradeNotAllowed,
            Denial::BodyNotAllowed => Self::BodyNotAllowed,
            Denial::BodyTooLarge => Self::BodyTooLarge,
            Denial::BodyTooSlow => Self::BodyTooSlow,
            Denial::QuotaExceeded => Self::QuotaExceeded,
            Denial::QuotaUnknown => Self::QuotaUnknown,
            Denial::UpstreamQuota(_) => Self::UpstreamQuota,
            Denial::IdentityConnections => Self::IdentityConnections,
            Denial::LogUnavailable => Self::LogUnavailable,
            Denial::Withheld(_) => Self::Withheld,
            Denial::Upstream(_) => Self::Upstream,
            Denial::Revoked(_) => Self::Revoked,
            Denial::Internal => Self::Internal,
        }
    }

    /// Whether policy or protocol refused, or the gateway or the upstream failed.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::LogUnavailable | Self::Upstream | Self::Internal => Outcome::Failed,
            Self::Head
            | Self::Path
            | Self::WrongHost
            | Self::NoCredential
            | Self::Token
            | Self::NoIdentity
            | Self::Locked
            | Self::Closed
            | Self::SlowedDown
            | Self::StepUp
            | Self::Canary
            | Self::NetworkNotListed
            | Self::AddressRevoked
            | Self::OperationUnknown
            | Self::OperationNotGranted
            | Self::QueryNotGranted
            | Self::UpgradeNotAllowed
            | Self::BodyNotAllowed
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::QuotaExceeded
            | Self::QuotaUnknown
            | Self::UpstreamQuota
            | Self::Withheld
            | Self::Revoked
            | Self::IdentityConnections => Outcome::Denied,
        }
    }
}

/// The code of an answer and of `sekisho.denial`, such as `OperationNotGranted`.
#[must_use]
pub const fn code(denial: Denial) -> &'static str {
    DenialCode::of(denial).as_str()
}

/// One list of faults gives their texts, [`detail`] and [`ALL_DENIALS`], so that they can't differ; a
/// fault that is missing here does not compile.
macro_rules! denials {
    (
        plain [$($plain:ident)+]
        $($group:ident = $text:ident($fault:ident) [$($word:ident)+])+
    ) => {
        $(
            const fn $text(fault: $fault) -> &'static str {
                match fault { $($fault::$word => stringify!($word),)+ }
            }
        )+

        /// The particular fault, such as `BareLineEnd`, where the denial has one.
        #[must_use]
        pub const fn detail(denial: Denial) -> Option<&'static str> {
            match denial {
                $(Denial::$group(fault) => Some($text(fault)),)+
                $(Denial::$plain => None,)+
            }
        }

        /// Every denial there is, with every fault.
        pub const ALL_DENIALS: &[Denial] = &[
            $($(Denial::$group($fault::$word),)+)+
            $(Denial::$plain,)+
        ];
    };
}

denials! {
    plain [
        WrongHost NoCredential NoIdentity Canary NetworkNotListed AddressRevoked OperationUnknown
        OperationNotGranted QueryNotGranted UpgradeNotAllowed BodyNotAllowed BodyTooLarge
        BodyTooSlow QuotaExceeded QuotaUnknown SlowedDown IdentityConnections LogUnavailable Internal
    ]
    Head = head(HeadFault) [
        BareLineEnd ControlByte RequestLine Version FieldLine Host Length TransferCoding TooLarge
        TooMany TargetTooLong TooSlow Method MaxWait Streams Engine
    ]
    Path = path(PathFault) [
        DotSegment EmptySegment EncodedSeparator BrokenEscape MixedEncoding BadUtf8 ControlByte
        PathParameter IllegalByte NotAbsolute Query
    ]
    Token = token(TokenFault) [
        Malformed TooLarge Algorithm Header Issuer UnknownKey Signature Audience Expired NotYetValid
        Claim CertificateBinding ProofRequired KeysUnavailable Revoked
    ]
    Revoked = revoked(RevokedFault) [
        Identity Certificate Token Expired Grant Network Lock Unjudged
    ]
    Locked = locked(LockFault) [ Identity Source Waiting ]
    StepUp = step_up(StepUpFault) [ Suspected Demanded ]
    Closed = closed(ClosedFault) [ Operation Upstream Account Record ]
    UpstreamQuota = upstream_quota(PacingFault) [Patience Places Buckets Late Draining]
    Withheld = withheld(WithheldFault) [
        RequestCoding RequestCharset Coding Charset Partial Frames
    ]
    Upstream = upstream(UpstreamFault) [
        Unreachable Untrusted TimedOut Malformed CircuitOpen Closed
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_pascal_case() {
        let mut seen = std::collections::HashSet::new();
        for code in DenialCode::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} twice");
            assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()), "{text}");
        }
    }

    #[test]
    fn every_denial_has_a_pair_of_words_of_its_own() {
        let pairs: std::collections::HashSet<_> =
            ALL_DENIALS.iter().map(|&denial| (code(denial), detail(denial))).collect();
        assert_eq!(pairs.len(), ALL_DENIALS.len());
        let codes: std::collections::HashSet<_> =
            ALL_DENIALS.iter().map(|&denial| DenialCode::of(denial)).collect();
        assert_eq!(codes.len(), DenialCode::ALL.len());
    }

    #[test]
    fn a_failure_of_ours_is_not_called_a_refusal() {
        let failed = [Denial::LogUnavailable, Denial::Internal];
        for &denial in ALL_DENIALS {
            let expect = match denial {
                Denial::Upstream(_) => Outcome::Failed,
                _ if failed.contains(&denial) => Outcome::Failed,
                _ => Outcome::Denied,
            };
            assert_eq!(DenialCode::of(denial).outcome(), expect, "{denial:?}");
        }
        let refused = Denial::Token(TokenFault::Expired);
        assert_eq!(DenialCode::of(refused).outcome(), Outcome::Denied);
        assert_eq!((code(refused), detail(refused)), ("TokenNotAccepted", Some("Expired")));
        assert_eq!(detail(Denial::NoIdentity), None);
    }
}
