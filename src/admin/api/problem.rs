//! What an operator is told when something is not done: one row for each fault (RFC 9457). Nothing of
//! the request is echoed.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::MistakeOut;
use super::shape::Word;
use crate::base::{ControlId, RequestId};

macro_rules! faults {
    ($($(#[$doc:meta])* $word:ident = $status:literal $slug:literal $control:ident $title:literal, $detail:literal;)+) => {
        /// Why something was not done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $word,)+ }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];

            /// HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$word => $status,)+ }
            }

            /// The end of the problem's type, and the reason in the log.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$word => $slug,)+ }
            }

            #[must_use]
            pub const fn control(self) -> ControlId {
                match self { $(Self::$word => ControlId::$control,)+ }
            }

            const fn words(self) -> (&'static str, &'static str) {
                match self { $(Self::$word => ($title, $detail),)+ }
            }
        }
    };
}

faults! {
    /// The certificate names nobody, or several.
    NotAnOperator = 403 "not-an-operator" Priv3 "The certificate names no operator",
        "an entry [operator.NAME] with this certificate's SAN or key makes its holder one";
    /// Disabled, or past the last day.
    Barred = 403 "barred" Acc3 "The operator may not act at present",
        "the entry is disabled or its last day has passed; the platform team can tell";
    /// One credential is to do one kind of work.
    AlsoAnIdentity = 403 "also-an-identity" Priv3 "The certificate belongs to an identity of the data path",
        "operate with a certificate of your own that opens no data";
    /// It was accepted at the handshake and would not be now.
    CertificateGone = 403 "certificate-not-accepted" Tls1 "The certificate is not accepted any more",
        "connect again with one that is in force";
    /// The role is too low.
    Role = 403 "role-too-low" Priv3 "The operator's role does not allow this",
        "ask somebody with the role that /v1/openapi.json names for it";
    /// The one who asked can't confirm.
    SamePerson = 403 "same-person" Priv3 "An act is confirmed by another person",
        "somebody else with a sufficient role confirms it";
    /// It has become an act of another kind since it was asked for.
    Changed = 409 "changed-meanwhile" Priv3 "What was asked for is not the same act any more",
        "look at the locks, or at the dry run, and ask anew";
    /// What is wrong is listed.
    Configuration = 422 "configuration-refused" Log1 "The configuration can't be used",
        "sekisho check and sekisho reload --dry-run say what to write instead; nothing was changed";
    RestartNeeded = 409 "restart-needed" Log1 "Part of the change needs a restart",
        "sekisho reload --dry-run names it; nothing was changed";
    NotBuilt = 422 "can-not-be-built" Log1 "The configuration reads well and can't be built",
        "sekisho reload --dry-run says why; nothing was changed";
    NotBound = 409 "address-not-to-be-had" Log1 "An address of the configuration can't be had",
        "sekisho reload --dry-run names it; nothing was changed";
    Leaving = 503 "upgrade-under-way" Log1 "Another process is about to take this one's place",
        "ask again when that is over; nothing was changed";
    PutBack = 409 "put-back-before" Log1 "This configuration was in force and was put back, because more failed",
        "put it right, or insist: sekisho reload --again";
    NoFiles = 409 "no-files" Log1 "It is not known where the configuration is",
        "this gateway was started without files that could be read again";
    PathUnknown = 404 "no-such-path" Priv3 "There is nothing at this path",
        "/v1/openapi.json lists all there is";
    MethodUnknown = 405 "method-not-allowed" Priv3 "This path has another method",
        "the Allow field names it";
    TooFast = 429 "too-many-requests" Mon5 "Too many requests of one operator",
        "wait a second; 20 a second are served";
    MediaType = 415 "not-json" Mon5 "The body has to be JSON",
        "send content-type: application/json";
    BodyTooLarge = 413 "body-too-large" Mon5 "The body is too large",
        "16 KiB are read";
    BodyTooSlow = 408 "body-too-slow" Mon5 "The body did not arrive in time",
        "send it within 10 seconds";
    BodyMalformed = 400 "body-malformed" Mon5 "The body is not what this path takes",
        "/v1/openapi.json has its schema; unknown keys are refused";
    QueryMalformed = 400 "query-malformed" Mon5 "The query is not what this path takes",
        "/v1/openapi.json lists the parameters; each at most once";
    Case = 400 "case-malformed" Log2 "The case is no ticket's number",
        "write letters and digits, such as INC-2041; no names, ids or addresses";
    Lasts = 400 "lasts-out-of-range" Acc5 "A lock lasts 1 second to 400 days",
        "write lasts_secs within that, or leave it out to lock until it is released";
    TargetUnknown = 404 "no-such-target" Acc5 "The configuration has nothing of this name",
        "sekisho identities and the configuration list the names";
    TargetMalformed = 400 "target-malformed" Acc5 "The target can't be read",
        "write an IP address, a network such as 203.0.113.0/24, an order id of 1 to 128 characters, or a hash as it is listed";
    /// It would lock next to everybody.
    TargetTooWide = 400 "network-too-wide" Acc5 "The network holds too many addresses to be locked",
        "write /8 to /32, of IPv6 /16 to /128; what stops everything is sekisho kill everything";
    /// Nobody waits or proves more before TLS.
    NetworkStep = 400 "network-only-locked" Acc5 "A network is locked or killed, and nothing milder",
        "leave the step out; slow and step-up are for identities and single sources";
    /// That is the kill switch.
    KillOnly = 400 "killed-not-locked" Acc5 "Everything is stopped by a kill switch, not by a lock",
        "a security officer has sekisho kill everything; a lock names what it is on";
    NotLocked = 409 "not-locked" Acc2 "No lock holds",
        "sekisho locks lists those that do";
    LocksFull = 503 "locks-full" Acc2 "There is no room for another lock",
        "release locks that are not needed any more";
    PendingUnknown = 404 "no-such-pending-act" Priv3 "No such act waits",
        "it was confirmed or withdrawn, its time has passed, or the gateway was restarted";
    PendingFull = 503 "too-many-pending" Priv3 "Too many acts wait for a second person",
        "confirm or withdraw some";
    LogFull = 503 "log-unavailable" Log1 "The log can't be written, so nothing is released",
        "locks and kill switches work all the same; free the log's volume first";
    StoreUnavailable = 503 "store-unavailable" Mon3 "What is older can't be had from the store",
        "ask for fewer days, and look at the state directory's volume";
    Internal = 500 "internal" Log1 "The gateway failed",
        "report this, with the request's id";
}

/// RFC 9457, with the control that is served and the request's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:sekisho:problem:` and what it is.
    #[serde(rename = "type")]
    pub kind: Word,
    pub title: Word,
    pub status: u16,
    /// What to do about it.
    pub detail: Word,
    /// The control of the policy that it serves.
    pub control: Word,
    /// `urn:sekisho:request:` and the request's id, as in the log.
    pub instance: Word,
    /// Where reading the body stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What is wrong with the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<MistakeOut>,
}

impl Problem {
    pub(super) fn new(fault: Fault, request: RequestId, at: Option<(usize, usize)>) -> Self {
        let (title, detail) = fault.words();
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            kind: Word::joined(&["urn:sekisho:problem:", fault.slug()]),
            title: title.into(),
            status: fault.status(),
            detail: detail.into(),
            control: fault.control().as_str().into(),
            instance: Word::request(request),
            line: at.map(|(line, _)| number(line)),
            column: at.map(|(_, column)| number(column)),
            mistakes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_type_of_its_own_and_a_status_of_an_error() {
        let slugs: std::collections::BTreeSet<_> = Fault::ALL.iter().map(|f| f.slug()).collect();
        assert_eq!(slugs.len(), Fault::ALL.len());
        assert!(Fault::ALL.iter().all(|fault| (400..600).contains(&fault.status())));
    }
}
