//! The acts, in order, each with what it expects.
use http::{Method, Version};
use serde_json::Value;

use super::stage::{Seen, Stage};
use crate::cli::dev_certs::{AUDIENCE, ISSUER};
use crate::devcerts::TokenClaims;
use crate::mock::{Alpn, CallFault, Reply, Scenario};

/// The seller's marketplace, Amazon.co.jp.
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528";
const ADDRESS: &str = "/orders/v0/orders/{order}/address";

/// One request, or several alike of which the last one counts.
pub(super) struct Act {
    pub(super) title: &'static str,
    /// The identity whose certificate is shown.
    pub(super) certificate: Option<&'static str>,
    pub(super) bearer: Option<String>,
    /// Who asks, in words.
    pub(super) who: &'static str,
    pub(super) at: Place,
    pub(super) alpn: Alpn,
    pub(super) method: Method,
    /// `{order}` stands for the first order that was listed.
    pub(super) target: &'static str,
    pub(super) form: Option<String>,
    pub(super) times: u32,
    /// What the mock does.
    pub(super) amazon: Scenario,
    /// What it does before, request by request.
    pub(super) first: &'static [Scenario],
    pub(super) expect: Expect,
}

/// One of the gateway's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Apps,
    OfficeOnly,
}

impl Place {
    pub(super) const fn listener(self) -> &'static str {
        match self {
            Self::Apps => "apps",
            Self::OfficeOnly => "office-only",
        }
    }
}

/// What has to come back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// The upstream's answer.
    Served { status: u16, version: Version },
    /// The gateway's answer: status, code and particulars.
    Refused { status: u16, code: &'static str, detail: Option<&'static str> },
    /// The gateway's limit: as a refusal, and the caller is told when to come again.
    Limited,
    /// The upstream's answer, for which the gateway waited until the call's turn came.
    Waited,
    /// No TLS, no answer.
    Closed,
}

/// The whole series.
pub(super) fn acts(stage: &Stage) -> Vec<Act> {
    let mut acts = allowed(stage);
    acts.extend(not_granted(stage));
    acts.extend(not_proved(stage));
    acts.extend(not_understood());
    acts.extend(limits());
    acts.extend(not_trusted());
    acts
}

fn allowed(stage: &Stage) -> Vec<Act> {
    let lwa = &stage.lwa;
    let form = format!(
        "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
        lwa.client_id,
        lwa.client_secret,
        lwa.refresh_token.replace('|', "%7C")
    );
    let printer = "label-printer, by its client certificate";
    vec![
        Act {
            method: Method::POST,
            form: Some(form),
            ..Act::new("Get Amazon's access token", printer, "/auth/o2/token")
                .with_certificate("label-printer")
        },
        Act::new("List orders", printer, ORDERS).with_certificate("label-printer"),
        Act::new("Read the address of one order", printer, ADDRESS)
            .with_certificate("label-printer"),
        Act {
            alpn: Alpn::H1,
            expect: Expect::Served { status: 200, version: Version::HTTP_11 },
            ..analyst(stage, "List orders with a token, over HTTP/1.1", ORDERS)
        },
    ]
}

fn not_granted(stage: &Stage) -> Vec<Act> {
    vec![
        analyst(stage, "Read an address without need to know", ADDRESS).refused(
            403,
            "OperationNotGranted",
            None,
        ),
        analyst(
            stage,
            "Look up a buyer by mail address",
            "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&BuyerEmail=buyer-q7ka@marketplace.example.com",
        )
        .refused(403, "QueryNotGranted", None),
    ]
}

fn not_proved(stage: &Stage) -> Vec<Act> {
    let fresh = claims();
    let elsewhere = TokenClaims { aud: vec!["payroll".to_owned()], ..fresh.clone() };
    let old = TokenClaims { exp_in: -3_600, nbf: Some(-7_200), ..fresh };
    let token = "TokenNotAccepted";
    vec![
        Act::new("Use a token that is for another service", "analyst, by a token", ORDERS)
            .with_token(stage, &elsewhere)
            .refused(401, token, Some("Audience")),
        Act::new("Use a token of yesterday", "analyst, by a token", ORDERS)
            .with_token(stage, &old)
            .refused(401, token, Some("Expired")),
        Act::new("Show no credential", "nobody", ORDERS).refused(401, "NoCredential", None),
        Act::new("Come back after leaving", "former-clerk, by a valid certificate", ORDERS)
            .with_certificate("former-clerk")
            .refused(401, "NoIdentity", None),
    ]
}

fn not_understood() -> Vec<Act> {
    let printer = "label-printer, by its client certificate";
    vec![
        Act::new(
            "Spell a path in another way",
            printer,
            "/orders/v0/../v0/orders?MarketplaceIds=A1VC38T7YXB528",
        )
        .with_certificate("label-printer")
        .refused(400, "PathNotAccepted", Some("DotSegment")),
        Act::new("Ask for what nobody defined", printer, "/orders/v0/customers")
            .with_certificate("label-printer")
            .refused(404, "OperationUnknown", None),
    ]
}

fn limits() -> Vec<Act> {
    vec![
        Act {
            times: 3,
            expect: Expect::Limited,
            ..Act::new(
                "Call a third time where two a minute are allowed",
                "night-import, by its client certificate",
                ORDERS,
            )
            .with_certificate("night-import")
        },
        Act {
            amazon: Scenario::Throttle,
            expect: Expect::Served { status: 429, version: Version::HTTP_2 },
            ..Act::new(
                "Meet Amazon's own limit",
                "label-printer, by its client certificate",
                ORDERS,
            )
            .with_certificate("label-printer")
        },
        Act {
            times: 2,
            first: &[Scenario::Throttle],
            expect: Expect::Waited,
            ..Act::new(
                "Call again right after Amazon refused: the gateway holds the call until its turn",
                "label-printer, by its client certificate",
                ORDERS,
            )
            .with_certificate("label-printer")
        },
    ]
}

fn not_trusted() -> Vec<Act> {
    let printer = "label-printer, by its client certificate";
    vec![
        Act::new("Reach a store whose certificate is not trusted", printer, "/stock/SKU-1")
            .with_certificate("label-printer")
            .refused(502, "UpstreamFailed", Some("Untrusted")),
        Act {
            at: Place::OfficeOnly,
            expect: Expect::Closed,
            ..Act::new("Come from a network that is not listed", printer, ORDERS)
                .with_certificate("label-printer")
        },
    ]
}

fn claims() -> TokenClaims {
    TokenClaims { nbf: Some(0), ..TokenClaims::new(ISSUER, "analyst", AUDIENCE) }
}

fn analyst(stage: &Stage, title: &'static str, target: &'static str) -> Act {
    Act::new(title, "analyst, by a token", target).with_token(stage, &claims())
}

impl Act {
    /// One GET over HTTP/2, which is served.
    fn new(title: &'static str, who: &'static str, target: &'static str) -> Self {
        Self {
            title,
            certificate: None,
            bearer: None,
            who,
            at: Place::Apps,
            alpn: Alpn::Both,
            method: Method::GET,
            target,
            form: None,
            times: 1,
            amazon: Scenario::Normal,
            first: &[],
            expect: Expect::Served { status: 200, version: Version::HTTP_2 },
        }
    }

    fn with_certificate(self, of: &'static str) -> Self {
        Self { certificate: Some(of), ..self }
    }

    fn with_token(self, stage: &Stage, claims: &TokenClaims) -> Self {
        // Without a token the act would not go as expected, which is told.
        Self { bearer: stage.pki.signer.sign(claims, stage.now).ok(), ..self }
    }

    fn refused(self, status: u16, code: &'static str, detail: Option<&'static str>) -> Self {
        Self { expect: Expect::Refused { status, code, detail }, ..self }
    }
}

/// In what an act went another way than expected; `None`: in nothing.
pub(super) fn differs(act: &Act, seen: &Seen) -> Option<String> {
    if seen.leaked > 0 {
        return Some("a request reached the store that can't be trusted".to_owned());
    }
    let Some(line) = seen.line.as_deref() else {
        return Some("nothing about it is in the access log".to_owned());
    };
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    match (act.expect, &seen.reply) {
        (Expect::Closed, Err(CallFault::Io(_) | CallFault::Connect(_))) => None,
        (Expect::Closed, Err(fault)) => Some(format!("expected a closed connection, got {fault}")),
        (Expect::Closed, Ok(reply)) => {
            Some(format!("expected a closed connection, got {}", reply.status))
        }
        (
            Expect::Served { .. } | Expect::Refused { .. } | Expect::Limited | Expect::Waited,
            Err(fault),
        ) => Some(format!("no answer: {fault}")),
        (Expect::Served { status, version }, Ok(reply)) => first(&[
            equal("status", &reply.status.as_u16(), &status),
            equal("version", &reply.version, &version),
            equal("whose error", &code(reply).starts_with("Sekisho."), &false),
            equal("outcome in the log", text(&line, "event.outcome"), "allowed"),
        ]),
        (Expect::Refused { status, code: wanted, detail }, Ok(reply)) => first(&[
            equal("status", &reply.status.as_u16(), &status),
            equal("code", &code(reply), &format!("Sekisho.{wanted}")),
            equal("code in the log", text(&line, "sekisho.denial"), wanted),
            equal("detail in the log", text(&line, "sekisho.detail"), detail.unwrap_or_default()),
        ]),
        (Expect::Waited, Ok(reply)) => first(&[
            equal("status", &reply.status.as_u16(), &200),
            equal("outcome in the log", text(&line, "event.outcome"), "allowed"),
            equal("a wait in the log", &line.get("sekisho.paced_us").is_some(), &true),
        ]),
        (Expect::Limited, Ok(reply)) => first(&[
            equal("status", &reply.status.as_u16(), &429),
            equal("code", code(reply).as_str(), "Sekisho.QuotaExceeded"),
            equal("code in the log", text(&line, "sekisho.denial"), "QuotaExceeded"),
            equal("Retry-After", &reply.header("retry-after").is_some(), &true),
            equal("RateLimit", &reply.header("ratelimit").is_some(), &true),
        ]),
    }
}

fn first(all: &[Option<String>]) -> Option<String> {
    all.iter().flatten().next().cloned()
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    is: &T,
    wanted: &T,
) -> Option<String> {
    (is != wanted).then(|| format!("{what}: expected {wanted:?}, got {is:?}"))
}

fn text<'v>(line: &'v Value, key: &str) -> &'v str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The code of an answer in SP-API's error envelope; nothing where it is none.
pub(super) fn code(reply: &Reply) -> String {
    error(reply, "code")
}

pub(super) fn error(reply: &Reply, key: &str) -> String {
    let body = reply.json();
    let value = body.pointer("/errors/0").and_then(|error| error.get(key));
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}
