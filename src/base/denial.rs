//! Every reason for which the gateway itself refuses or fails a request. A closed list: each has a
//! status, a code and a hint in `gateway/respond.rs`, and the control that asked for it here.
use super::ControlId;

/// Why a request was not served. Carries no byte of the request (LOG-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The request head breaks HTTP or a limit (MON-5).
    Head(HeadFault),
    /// The path is not in the one spelling that is accepted (MON-5).
    Path(PathFault),
    /// Host does not belong to the server name the connection was opened for (RFC 9110 §7.4).
    WrongHost,
    /// Neither a token nor a client certificate came (ACC-1).
    NoCredential,
    /// The token can't be accepted (ACC-1).
    Token(TokenFault),
    /// The credential is genuine but names no identity that may enter: unknown, disabled, expired
    /// or of another environment. One answer for all four (ACC-1, PRIV-5).
    NoIdentity,
    /// Locked out, or made to wait. The caller is told what a wrong credential is: a token that its
    /// signature does not fit, a certificate that it names nobody (ACC-2, ACC-5).
    Locked(LockFault),
    /// An emergency lock keeps everybody from this (ACC-5).
    Closed(ClosedFault),
    /// It is slowed down, and as many of its calls wait for their turn as may (ACC-2).
    SlowedDown,
    /// A stronger proof is asked for than was given (RFC 9470).
    StepUp(StepUpFault),
    /// The request or its answer names a planted record (MON-4). Told as [`Denial::NoIdentity`].
    Canary,
    /// The identity may not come from this network (NET-1).
    NetworkNotListed,
    /// The connection's address is no longer on the listener's list (NET-1).
    AddressRevoked,
    /// No operation of this listener has this method and path (PRIV-1).
    OperationUnknown,
    /// None of the identity's roles grants the operation (PRIV-1).
    OperationNotGranted,
    /// The operation is granted, but not with these query parameters (PRIV-1).
    QueryNotGranted,
    /// The operation does not allow a protocol upgrade (PRIV-1).
    UpgradeNotAllowed,
    /// The method carries no body at this operation (spapi: a GET with a body is answered 400).
    BodyNotAllowed,
    /// The request body is larger than the listener allows (MON-5).
    BodyTooLarge,
    /// The request body came slower than the listener's least rate (MON-5).
    BodyTooSlow,
    /// A quota of the identity is used up.
    QuotaExceeded,
    /// What is left of a quota that several gateways share could not be learned in time.
    QuotaUnknown,
    /// A quota of Amazon's is used up for longer than the call may wait (MON-2).
    UpstreamQuota(PacingFault),
    /// The identity has as many connections open as it may (ACC-1).
    IdentityConnections,
    /// The access log can't take another line; what can't be written down does not pass (LOG-1).
    LogUnavailable,
    /// It is in a form that nobody can look into, where planted records or locked orders are looked for
    /// (MON-4, ACC-5). No failure of the upstream's.
    Withheld(WithheldFault),
    /// The upstream failed (TLS-2 where it could not be verified).
    Upstream(UpstreamFault),
    /// What the request stood on was taken away while it was under way, and its connection with it
    /// (ACC-3).
    Revoked(RevokedFault),
    /// A defect of the gateway: fails closed.
    Internal,
}

/// What is wrong with a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// A line that ends in LF without CR, or a CR alone (RFC 9112 §2.2).
    BareLineEnd,
    /// NUL or another control byte.
    ControlByte,
    /// A request line that is no `method SP target SP version`.
    RequestLine,
    /// An HTTP version other than 1.1 or 2.
    Version,
    /// White space before a colon, a folded line, an empty or illegal field name (RFC 9112 §5).
    FieldLine,
    /// None or several Host, or one that differs from an absolute target (RFC 9112 §3.2).
    Host,
    /// Two lengths: Content-Length twice, not a number, or beside Transfer-Encoding (RFC 9112 §6.3).
    Length,
    /// A Transfer-Encoding other than `chunked` alone.
    TransferCoding,
    /// More header bytes than allowed.
    TooLarge,
    /// More header fields than allowed.
    TooMany,
    /// The request target is longer than allowed.
    TargetTooLong,
    /// The head took longer than allowed.
    TooSlow,
    /// CONNECT, TRACE or a method that no operation can have.
    Method,
    /// `Sekisho-Max-Wait` twice, or no plain number of seconds.
    MaxWait,
    /// HTTP/2: more requests at a time than one connection may have, or after it was asked to end.
    Streams,
    /// Refused by the HTTP engine's own parser.
    Engine,
}

/// What is wrong with a path or query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// `.` or `..`, plain or encoded.
    DotSegment,
    /// `//`, or a slash at the end.
    EmptySegment,
    /// `%2F`, `%5C`, `%3F`, `%23` or a backslash.
    EncodedSeparator,
    /// A percent sign without two hexadecimal digits.
    BrokenEscape,
    /// An escape for a byte that needs none, lower-case hexadecimal, or an escape of an escape.
    MixedEncoding,
    /// Escapes that are no shortest-form UTF-8.
    BadUtf8,
    /// NUL or another control byte, plain or encoded.
    ControlByte,
    /// `;` in a segment.
    PathParameter,
    /// A byte that RFC 3986 does not allow in a path or query.
    IllegalByte,
    /// The target is not `/…`.
    NotAbsolute,
    /// The query can't be split one way only, or holds more than 256 parameters.
    Query,
}

/// What is wrong with a token. For the log and the caller; never says which identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// Several credentials, or a header that is no token.
    Malformed,
    /// Longer than the listener's limit.
    TooLarge,
    /// `none`, or an algorithm the issuer is not allowed.
    Algorithm,
    /// Header members that are not accepted: `crit`, `jku`, `x5u`, `jwk`, duplicates.
    Header,
    /// No configured issuer has this `iss`.
    Issuer,
    /// The issuer has no key with this `kid`.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// `aud` does not name this gateway.
    Audience,
    /// `exp` is past.
    Expired,
    /// `nbf` or `iat` lies ahead.
    NotYetValid,
    /// A required claim is missing or has the wrong form or value.
    Claim,
    /// The token is bound to a client certificate that was not presented (RFC 8705).
    CertificateBinding,
    /// The identity must present a certificate-bound token or a certificate and did not.
    ProofRequired,
    /// The issuer's keys can't be had and none are remembered.
    KeysUnavailable,
    /// Its `jti` was denied (ACC-3).
    Revoked,
}

/// What an open connection stood on, and no longer does. For the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevokedFault {
    /// An identity that was proved on it may no longer enter, or not by that credential.
    Identity,
    /// The client certificate no longer verifies: revoked, its authority gone, or at its end.
    Certificate,
    /// A token that was used on it was denied.
    Token,
    /// The proof by which a socket was opened is at its end: a token's `exp`, most likely.
    Expired,
    /// No role grants any more what the request was let through for.
    Grant,
    /// The listener, or an identity that was proved on it, is no longer reached from its network.
    Network,
    /// The client's network was locked, or an identity that was proved on it killed (ACC-2, ACC-5).
    Lock,
    /// It could not be judged: a defect of the gateway.
    Unjudged,
}

/// Why more is asked of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepUpFault {
    /// Something about the identity was out of the ordinary (ACC-2).
    Suspected,
    /// The operation, or a role that grants it, takes a fresh login (ACC-4).
    Demanded,
}

/// What a lock that stopped a request is on. For the log; the caller is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockFault {
    Identity,
    /// The network the request came from.
    Source,
    /// Too many failed logins of this identity from this source; it is not listened to for a while.
    Waiting,
}

/// What is closed to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedFault {
    Operation,
    Upstream,
    /// The seller account.
    Account,
    /// The one order that was asked for.
    Record,
}

/// Why a call does not wait, or no longer, for its turn at Amazon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacingFault {
    /// Its turn comes after it may wait.
    Patience,
    /// Too many calls wait already: of this caller, or of all.
    Places,
    /// Too many of Amazon's quotas are in use to keep another one.
    Buckets,
    /// It waited, and its turn did not come in time.
    Late,
    /// The gateway stops before its turn comes.
    Draining,
}

/// What can't be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithheldFault {
    /// The request's body, which is compressed.
    RequestCoding,
    /// The request's body, in a charset where ASCII's bytes may stand for something else.
    RequestCharset,
    /// The answer, which is compressed.
    Coding,
    /// The answer, in such a charset.
    Charset,
    /// The answer, which is a part of something whole and may cut an id apart.
    Partial,
    /// A frame of a `WebSocket`, which is compressed.
    Frames,
}

/// How an upstream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFault {
    /// No address of it answers, or its name does not resolve.
    Unreachable,
    /// Its certificate, name, pin or protocol did not verify (TLS-2).
    Untrusted,
    /// It took too long to connect or to answer.
    TimedOut,
    /// It answered with something that is no HTTP, or with another length than it said.
    Malformed,
    /// Its circuit breaker is open after repeated failures.
    CircuitOpen,
    /// It closed the connection before the answer was whole.
    Closed,
}

impl Denial {
    /// What the caller is told: whoever is locked out must not learn that it is a lock (ACC-2).
    #[must_use]
    pub const fn told(self) -> Self {
        match self {
            Self::Locked(_) | Self::Canary => Self::NoIdentity,
            other => other,
        }
    }

    /// The control this refusal serves. `None`: nothing was enforced, something failed.
    #[must_use]
    pub const fn control(self) -> Option<ControlId> {
        Some(match self {
            Self::Head(_)
            | Self::Path(_)
            | Self::WrongHost
            | Self::BodyNotAllowed
            | Self::BodyTooLarge
            | Self::BodyTooSlow => ControlId::Mon5,
            Self::Token(TokenFault::Revoked) => ControlId::Acc3,
            Self::NoCredential | Self::Token(_) | Self::NoIdentity | Self::IdentityConnections => {
                ControlId::Acc1
            }
            Self::Locked(_) | Self::SlowedDown | Self::StepUp(StepUpFault::Suspected) => {
                ControlId::Acc2
            }
            Self::StepUp(StepUpFault::Demanded) => ControlId::Acc4,
            Self::Revoked(_) => ControlId::Acc3,
            Self::Closed(_) => ControlId::Acc5,
            Self::Canary | Self::Withheld(_) => ControlId::Mon4,
            Self::NetworkNotListed | Self::AddressRevoked => ControlId::Net1,
            Self::OperationUnknown
            | Self::OperationNotGranted
            | Self::QueryNotGranted
            | Self::UpgradeNotAllowed => ControlId::Priv1,
            Self::QuotaExceeded | Self::QuotaUnknown | Self::UpstreamQuota(_) => ControlId::Mon2,
            Self::Upstream(UpstreamFault::Untrusted) => ControlId::Tls2,
            Self::LogUnavailable => ControlId::Log1,
            Self::Upstream(_) | Self::Internal => return None,
        })
    }
}
