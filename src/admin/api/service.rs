//! One request of an operator, from its head to its answer.
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::acts::{self, Told};
use super::change::MistakeOut;
use super::pace::Pace;
use super::pending::{PendingActs, PendingId};
use super::problem::{Fault, Problem};
use super::read::Query;
use super::routes::{Does, Found, Route, find};
use super::shape::ActOut;
use crate::base::{Moment, RequestId};
use crate::config::{OperatorSettings, Stranger};
use crate::engine::{Engine, Live, written};
use crate::evidence::{Event, Fixed, Operated};
use crate::identity::PeerCertificate;

const BODY_MAX: usize = 16 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// What all connections share.
pub(super) struct State {
    pub(super) engine: Arc<Engine>,
    pub(super) pending: Mutex<PendingActs>,
    pub(super) pace: Pace,
}

/// The certificate of a connection, as it was verified.
pub(super) struct Shown {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// None: it can't be read in one way.
    pub(super) peer: Option<PeerCertificate>,
}

/// A request of somebody who is known.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) state: Arc<State>,
    pub(super) live: Arc<Live>,
    pub(super) who: OperatorSettings,
    pub(super) request: RequestId,
    pub(super) now: Moment,
}

/// Why there is no answer of the wanted kind.
pub(super) struct Refusal {
    pub(super) fault: Fault,
    /// Where reading the body stopped.
    pub(super) at: Option<(usize, usize)>,
    pub(super) allow: Option<&'static str>,
    /// What is wrong with a configuration.
    pub(super) mistakes: Vec<MistakeOut>,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, at: None, allow: None, mistakes: Vec::new() }
    }
}

/// Answers one request.
pub(super) async fn answer(
    state: &Arc<State>,
    shown: &Shown,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let engine = &state.engine;
    let (now, live) = (engine.clock.now(), engine.live());
    let id = engine.ids.issue(now);
    let mut response = match answer_or_refuse(state, shown, request, live, (id, now)).await {
        Ok(response) => response,
        Err(refusal) => problem(&refusal, id),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert("x-sekisho-request-id", id);
    }
    response
}

async fn answer_or_refuse(
    state: &Arc<State>,
    shown: &Shown,
    request: Request<Incoming>,
    live: Arc<Live>,
    (id, now): (RequestId, Moment),
) -> Result<Response<Full<Bytes>>, Refusal> {
    let who = known(&live, shown, now).cloned().inspect_err(|fault| {
        if let Some(count) = state.pace.tell_of_stranger(now) {
            tell_of_stranger(&state.engine, *fault, count, id);
        }
    })?;
    let call = Call { state: Arc::clone(state), live, who, request: id, now };
    if !state.pace.admits(&call.who.name, now) {
        return Err(Fault::TooFast.into());
    }
    let (head, body) = request.into_parts();
    let (route, place) = match find(&head.method, head.uri.path()) {
        Found::Route(route, place) => (route, place),
        Found::OtherMethod(allow) => {
            return Err(Refusal { allow: Some(allow), ..Fault::MethodUnknown.into() });
        }
        Found::Nothing => return Err(Fault::PathUnknown.into()),
    };
    if call.who.role < route.does.role() {
        call.refused(route.does.as_str(), Fault::Role, None);
        return Err(Fault::Role.into());
    }
    let query = Query::parse(head.uri.query(), route.query)?;
    let body = read_body(route, &head.headers, body).await.inspect_err(|fault| {
        call.refused(route.does.as_str(), *fault, None);
    })?;
    call.dispatch(route, place, &query, &body).await
}

/// Who shows this certificate, by the configuration in force now.
fn known<'l>(live: &'l Live, shown: &Shown, now: Moment) -> Result<&'l OperatorSettings, Fault> {
    if !live.api_still_verifies(&shown.chain, now) {
        return Err(Fault::CertificateGone);
    }
    let peer = shown.peer.as_ref().ok_or(Fault::NotAnOperator)?;
    let who = live.snapshot.operators.holder(peer, now).map_err(|stranger| match stranger {
        Stranger::Unknown => Fault::NotAnOperator,
        Stranger::Barred => Fault::Barred,
    })?;
    // By key here and by name there: no rule of the configuration can see that it is the same.
    if live.snapshot.trust.certificate_holder(peer).is_some() {
        return Err(Fault::AlsoAnIdentity);
    }
    Ok(who)
}

/// Where no body is taken, none is read.
async fn read_body(
    route: &Route,
    headers: &http::HeaderMap,
    mut body: Incoming,
) -> Result<Bytes, Fault> {
    if route.body.is_none() {
        return if body.is_end_stream() { Ok(Bytes::new()) } else { Err(Fault::BodyMalformed) };
    }
    // Nor can a page in somebody's browser send it: that asks for permission first, and gets none.
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Fault::MediaType);
    }
    let read = async {
        let mut text = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Fault::BodyMalformed)?;
            let Some(data) = frame.data_ref() else { continue };
            if text.len() + data.len() > BODY_MAX {
                return Err(Fault::BodyTooLarge);
            }
            text.extend_from_slice(data);
        }
        Ok(text.freeze())
    };
    tokio::time::timeout(BODY_WITHIN, read).await.map_err(|_elapsed| Fault::BodyTooSlow)?
}

impl Call {
    async fn dispatch(
        &self,
        route: &Route,
        place: &str,
        query: &Query<'_>,
        body: &Bytes,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let engine = &self.state.engine;
        match route.does {
            Does::Gateway => json(&self.gateway()),
            Does::Me => json(&self.me()),
            Does::Locks => json(&self.locks(query)?),
            Does::Pending => json(&self.pending()),
            Does::Limits => json(&self.limits(query).await?),
            Does::Pacing => json(&self.pacing()),
            Does::Exposure => json(&self.exposure(query).await?),
            Does::Identities => json(&self.identities(query)?),
            Does::Keys => json(&self.keys()),
            Does::Detectors => json(&self.detectors()),
            Does::Alarms => json(&self.alarms(query)?),
            Does::AlarmTargets => json(&self.alarm_targets()),
            Does::Traffic => json(&self.traffic(query)?),
            Does::Trial => json(&self.trial()),
            Does::DryRun => json(&self.dry_run().await?),
            Does::OpenApi => json(&super::document()),
            Does::Lock => self.act_on(route, body, |body| acts::lock(engine, body)).await,
            Does::Kill => self.act_on(route, body, |body| acts::kill(engine, body)).await,
            Does::Unlock => self.act_on(route, body, |body| acts::unlock(engine, body)).await,
            Does::Reload => {
                let (call, body) = (self.clone(), self.body_of(route, body)?);
                done(&to_its_end(async move { call.reload(&body).await }).await?)
            }
            Does::Confirm => {
                let (call, id) = (self.clone(), self.pending_id(place, route)?);
                done(&to_its_end(async move { Ok(call.confirm(id).await?) }).await?)
            }
            Does::Withdraw => done(&self.withdraw(self.pending_id(place, route)?)?),
        }
    }

    async fn act_on<B: DeserializeOwned>(
        &self,
        route: &Route,
        body: &Bytes,
        asked: impl FnOnce(&B) -> Result<acts::Asked, Fault>,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let body = self.body_of(route, body)?;
        let told = |fault: &Fault| self.refused(route.does.as_str(), *fault, None);
        let asked = asked(&body).inspect_err(told)?;
        let call = self.clone();
        done(&to_its_end(async move { Ok(call.act(asked).await?) }).await?)
    }

    fn body_of<B: DeserializeOwned>(&self, route: &Route, body: &Bytes) -> Result<B, Refusal> {
        serde_json::from_slice(body).map_err(|error| {
            self.refused(route.does.as_str(), Fault::BodyMalformed, None);
            // Its words may hold bytes of the body; where it stopped does not.
            Refusal { at: Some((error.line(), error.column())), ..Fault::BodyMalformed.into() }
        })
    }

    fn pending_id(&self, place: &str, route: &Route) -> Result<PendingId, Fault> {
        let fits = place.len() == 16 && place.bytes().all(|b| b.is_ascii_hexdigit());
        let id = u64::from_str_radix(place, 16).ok().filter(|_| fits).map(PendingId);
        id.ok_or_else(|| {
            self.refused(route.does.as_str(), Fault::PendingUnknown, None);
            Fault::PendingUnknown
        })
    }

    /// Writes an act down and counts it (LOG-1).
    pub(super) fn tell(&self, told: &Told<'_>) {
        let engine = &self.state.engine;
        engine.metrics.admin_act(told.act, told.outcome);
        let event = |subject| Operated {
            operator: Some(&self.who.name),
            role: Some(Fixed::new(self.who.role.as_str())),
            act: told.act,
            outcome: told.outcome,
            reason: told.reason,
            subject,
            case: told.asked.map(|asked| &asked.case),
            asked_by: told.asked_by,
            request: Some(self.request),
            count: None,
        };
        match told.asked.map_or(&[][..], |asked| &asked.subjects) {
            [] => engine.report_event(&Event::OperatorAct(event(None))),
            subjects => {
                for subject in subjects {
                    engine.report_event(&Event::OperatorAct(event(Some(written(subject)))));
                }
            }
        }
    }
}

/// An act is done whole and has its record, even if the connection that it came by ends in the middle.
async fn to_its_end(
    act: impl Future<Output = Result<ActOut, Refusal>> + Send + 'static,
) -> Result<ActOut, Refusal> {
    // Its panic, if it had one, was counted.
    tokio::spawn(act).await.unwrap_or_else(|_panicked| Err(Fault::Internal.into()))
}

fn tell_of_stranger(engine: &Engine, fault: Fault, count: u64, request: RequestId) {
    let (act, outcome) = (Fixed::new("enter"), Fixed::new("refused"));
    engine.metrics.admin_act(act, outcome);
    engine.report_event(&Event::OperatorAct(Operated {
        operator: None,
        role: None,
        act,
        outcome,
        reason: Some(Fixed::new(fault.slug())),
        subject: None,
        case: None,
        asked_by: None,
        request: Some(request),
        count: Some(count),
    }));
}

fn done(act: &ActOut) -> Result<Response<Full<Bytes>>, Refusal> {
    let mut response = json(act)?;
    if act.pending.is_some() {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

fn json(body: &impl Serialize) -> Result<Response<Full<Bytes>>, Refusal> {
    let text = serde_json::to_vec(body).map_err(|_never| Fault::Internal)?;
    Ok(of(text, "application/json"))
}

fn problem(refusal: &Refusal, id: RequestId) -> Response<Full<Bytes>> {
    let mut body = Problem::new(refusal.fault, id, refusal.at);
    body.mistakes.clone_from(&refusal.mistakes);
    let text = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = of(text, "application/problem+json");
    *response.status_mut() = StatusCode::from_u16(body.status).unwrap_or_default();
    let headers = response.headers_mut();
    if let Some(allow) = refusal.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.fault == Fault::TooFast {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn of(text: Vec<u8>, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
