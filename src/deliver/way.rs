//! How one message gets to one target. The whole of it is bounded in time; of what the target says,
//! no more than a status and a wait is looked at.
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{program, socket};
use crate::alarm::{
    DeliveryFault, Message, Origin, SIGNATURE_HEADER, alertmanager, document, journal, syslog,
};
use crate::base::Moment;
use crate::config::{Addresses, AlarmTarget, AlarmWay, Endpoint, Posted, Roots};
use crate::https::{self, Answer, Fault, Site, Wanted};

/// A target, ready to be told.
#[derive(Debug)]
pub struct Way {
    target: AlarmTarget,
    origin: Origin,
    /// For how long an alert fires (Alertmanager).
    hold: Duration,
    line: Line,
}

enum Line {
    Https(Box<Site>, TlsConnector),
    /// Everything that needs nothing prepared.
    Plain,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Https(..) => "Https",
            Self::Plain => "Plain",
        })
    }
}

/// Why a target was not told, and how long it asked to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    pub fault: DeliveryFault,
    pub asked: Option<Duration>,
}

impl From<DeliveryFault> for Failed {
    fn from(fault: DeliveryFault) -> Self {
        Self { fault, asked: None }
    }
}

impl Way {
    /// Reads the machine's trust store where that is meant.
    ///
    /// # Errors
    /// There is nobody to trust.
    pub async fn open(
        target: AlarmTarget,
        origin: Origin,
        hold: Duration,
    ) -> Result<Self, DeliveryFault> {
        let line = match &target.way {
            AlarmWay::Webhook { to, .. } | AlarmWay::Alertmanager { to, .. } => match to {
                Posted::Https { endpoint, roots, .. } => {
                    let (site, roots) = (site(endpoint), trusted(roots));
                    let connector = tokio::task::spawn_blocking(move || https::connector(&roots));
                    let connector = connector.await.map_err(|_panicked| DeliveryFault::Internal)?;
                    Line::Https(Box::new(site), connector.map_err(of_fault)?)
                }
                Posted::Loopback { .. } => Line::Plain,
            },
            AlarmWay::Syslog(_) | AlarmWay::Journald(_) | AlarmWay::Command(_) => Line::Plain,
        };
        Ok(Self { target, origin, hold, line })
    }

    /// Returns when the target has taken the message.
    ///
    /// # Errors
    /// See [`Failed`]; it took longer than the target's time-out allows.
    pub async fn tell(&self, message: Message<'_>, now: Moment) -> Result<(), Failed> {
        let told = timeout(self.target.timeout, self.try_to_tell(message, now)).await;
        told.unwrap_or(Err(DeliveryFault::TimedOut.into()))
    }

    async fn try_to_tell(&self, message: Message<'_>, now: Moment) -> Result<(), Failed> {
        let now_ms = now.unix_ms();
        match &self.target.way {
            AlarmWay::Webhook { to, key } => {
                let body = document(&self.origin, message, now_ms);
                let signature = key.sign(&body, now.unix_secs());
                let signature =
                    HeaderValue::from_str(&signature).map_err(|_never| DeliveryFault::Internal)?;
                let request = Request::builder().header(SIGNATURE_HEADER, signature);
                self.post(to, request, body).await
            }
            AlarmWay::Alertmanager { to, bearer } => {
                let body = alertmanager(&self.origin, message, now_ms, self.hold);
                let mut request = Request::builder();
                if let Some(bearer) = bearer {
                    let mut value = HeaderValue::from_bytes(&bearer.authorization())
                        .map_err(|_never| DeliveryFault::Internal)?;
                    value.set_sensitive(true);
                    request = request.header(AUTHORIZATION, value);
                }
                self.post(to, request, body).await
            }
            AlarmWay::Syslog(path) => {
                Ok(socket::send(path, &syslog(&self.origin, message, now_ms)).await?)
            }
            AlarmWay::Journald(path) => {
                Ok(socket::send(path, &journal(&self.origin, message)).await?)
            }
            AlarmWay::Command(words) => {
                let input = document(&self.origin, message, now_ms);
                Ok(program::run(words, &input, self.target.timeout).await?)
            }
        }
    }

    async fn post(
        &self,
        to: &Posted,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<(), Failed> {
        let (Posted::Https { path, .. } | Posted::Loopback { path, .. }) = to;
        let request = request
            .method(http::Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "sekisho")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_never| DeliveryFault::Internal)?;
        let answer = match (to, &self.line) {
            (Posted::Https { .. }, Line::Https(site, tls)) => {
                https::exchange(site, tls, request, Wanted::Nothing).await
            }
            (Posted::Loopback { address, .. }, _) => {
                https::exchange_on_loopback(*address, request, Wanted::Nothing).await
            }
            (Posted::Https { .. }, Line::Plain) => Err(Fault::Roots),
        };
        let Answer { head, .. } = answer.map_err(of_fault)?;
        match DeliveryFault::of_status(head.status().as_u16()) {
            None => Ok(()),
            Some(fault) => Err(Failed { fault, asked: asked(head.headers()) }),
        }
    }
}

/// `Retry-After` in seconds; a date is not heeded.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn site(endpoint: &Endpoint) -> Site {
    Site {
        server_name: endpoint.server_name.clone(),
        authority: endpoint.authority.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        addresses: match &endpoint.addresses {
            Addresses::Dns => Vec::new(),
            Addresses::Fixed(addresses) => addresses.clone(),
        },
    }
}

fn trusted(roots: &Roots) -> https::Roots {
    match roots {
        Roots::System => https::Roots::System,
        Roots::Private(roots) => https::Roots::Private(roots.clone()),
    }
}

const fn of_fault(fault: Fault) -> DeliveryFault {
    match fault {
        Fault::Roots => DeliveryFault::Roots,
        Fault::Unreachable => DeliveryFault::Unreachable,
        Fault::Untrusted => DeliveryFault::Untrusted,
        Fault::Malformed | Fault::TooLarge => DeliveryFault::Malformed,
    }
}
