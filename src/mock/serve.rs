//! One request: read it, remember it, answer it, then spoil the answer as the scenario says.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::answer::{Answer, Asked};
use super::flow::Length;
use super::server::{Connection, Shared};
use super::{Flow, Operation, Personality, Scenario, SeenRequest, amazon, hex, store};

/// How much of a body the handlers see.
const KEPT: usize = 1 << 20;
/// The longest that [`Scenario::Delay`] waits.
const DELAY_MAX: Duration = Duration::from_secs(600);

/// The answer can't be had from an HTTP engine. Over HTTP/1 the raw stream plays it, over HTTP/2 the
/// stream is reset.
#[derive(Clone, Debug)]
pub(super) struct Takeover(pub(super) Box<Script>);

/// What to play: the scenario, on the answer that would have been sent.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) scenario: Scenario,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {} leaves HTTP", self.0.scenario)
    }
}

impl std::error::Error for Takeover {}

/// A body that has been read to its end.
#[derive(Default)]
struct Intake {
    kept: BytesMut,
    bytes: u64,
    sha256: [u8; 32],
    trailers: Option<HeaderMap>,
}

enum IntakeFault {
    TooLarge,
    /// The client broke off.
    Broken,
}

pub(super) async fn request(
    shared: Arc<Shared>,
    connection: Connection,
    mut request: Request<Incoming>,
) -> Result<Response<Flow>, Takeover> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let intake = match read(body, shared.config.bounds.body_bytes).await {
        Ok(intake) => intake,
        Err(IntakeFault::TooLarge) => {
            return Ok(respond(Answer::bare(StatusCode::PAYLOAD_TOO_LARGE)));
        }
        Err(IntakeFault::Broken) => return Ok(respond(Answer::bare(StatusCode::BAD_REQUEST))),
    };
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        version: parts.version,
        headers: parts.headers,
        body: intake.kept.freeze(),
        body_bytes: intake.bytes,
        body_sha256: intake.sha256,
    };
    let scenario = shared.table.lock().take(&asked.path);
    let (operation, answer) = answer(&shared, &asked);
    let seen = SeenRequest {
        operation,
        scenario,
        method: asked.method.clone(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        authority: parts.uri.authority().map(ToString::to_string),
        version: asked.version,
        headers: asked.headers.clone(),
        trailers: intake.trailers,
        body_bytes: asked.body_bytes,
        body_sha256: asked.body_sha256,
        client_certificate: connection.client_certificate,
        connection: connection.number,
    };
    let answer = if scenario == Scenario::Echo { echo(&seen) } else { answer };
    shared.seen.lock().remember(seen);
    if let Scenario::Delay { ms } = scenario {
        tokio::time::sleep(Duration::from_millis(ms).min(DELAY_MAX)).await;
    }
    let mut answer = spoil(scenario, answer, asked.version)?;
    if asked.method == Method::HEAD && asked.version == Version::HTTP_2 {
        answer = headless(answer);
    }
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        shared.spawn(echo_bytes(upgrade));
    }
    Ok(respond(answer))
}

async fn read(mut body: Incoming, max: u64) -> Result<Intake, IntakeFault> {
    let mut intake = Intake::default();
    let mut digest = Context::new(&SHA256);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| IntakeFault::Broken)?.into_data() {
            Ok(data) => {
                intake.bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
                if intake.bytes > max {
                    return Err(IntakeFault::TooLarge);
                }
                digest.update(&data);
                let room = KEPT.saturating_sub(intake.kept.len()).min(data.len());
                intake.kept.extend_from_slice(&data.slice(..room));
            }
            Err(frame) => intake.trailers = frame.into_trailers().ok(),
        }
    }
    for (to, from) in intake.sha256.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    Ok(intake)
}

fn answer(shared: &Shared, asked: &Asked) -> (Operation, Answer) {
    let document = shared.documents.lock().get(&asked.path).cloned();
    if let Some((content_type, body)) = document {
        let mut answer = Answer::bare(StatusCode::OK).with("content-type", &content_type);
        answer.body = Flow::whole(body);
        return (Operation::Document, answer);
    }
    match shared.config.personality {
        Personality::Amazon => amazon::answer(shared, asked, shared.config.clock.now()),
        Personality::Warehouse => store::answer(&shared.stock, asked),
    }
}

/// The request as it was received. Header bytes are shown as ISO-8859-1, so that none is lost.
fn echo(seen: &SeenRequest) -> Answer {
    let list = |headers: &HeaderMap| -> Vec<Value> {
        let text = |value: &HeaderValue| -> String {
            value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
        };
        headers.iter().map(|(name, value)| json!([name.as_str(), text(value)])).collect()
    };
    let body = json!({
        "method": seen.method.as_str(),
        "target": seen.target,
        "authority": seen.authority,
        "version": format!("{:?}", seen.version),
        "headers": list(&seen.headers),
        "trailers": seen.trailers.as_ref().map(list),
        "bodyBytes": seen.body_bytes,
        "bodySha256": hex(&seen.body_sha256),
        "clientCertificate": seen.client_certificate.map(|sha256| hex(&sha256)),
    });
    Answer::json(StatusCode::OK, &body)
}

/// Applies the scenario. What only a raw stream can do is refused with a [`Takeover`].
fn spoil(scenario: Scenario, mut answer: Answer, version: Version) -> Result<Answer, Takeover> {
    let is_h1 = version < Version::HTTP_2;
    match scenario {
        Scenario::Normal | Scenario::Delay { .. } | Scenario::Echo => {}
        Scenario::Error { status } => answer = failure(status).traced_as(&answer),
        Scenario::Throttle => answer = amazon::throttled().traced_as(&answer),
        Scenario::NoContent => answer = Answer::bare(StatusCode::NO_CONTENT),
        Scenario::NotModified => {
            answer = Answer::bare(StatusCode::NOT_MODIFIED).with("etag", "\"mock-etag\"");
        }
        Scenario::BadBanner => {
            answer = answer
                .with("server", "MockBanner/9.9 (internal-host-17)")
                .with("via", "1.1 mock-internal")
                .with("set-cookie", "mock-session=planted-cookie-q7k; Path=/")
                .with("x-powered-by", "Mock");
        }
        Scenario::BigHeaders { bytes } => {
            // Few and large, because peers also bound the count; a megabyte at most.
            for _ in 0..(bytes / 1_000).min(1_000) {
                answer = answer.with("x-mock-fill", &"f".repeat(1_000));
            }
        }
        Scenario::Endless { bytes } => answer.body = Flow::repeat(bytes, Length::Unknown),
        Scenario::SlowBody { bytes, tick_ms } => {
            let step = usize::try_from(bytes).unwrap_or(usize::MAX);
            let tick = Duration::from_millis(u64::from(tick_ms));
            answer.body = Flow::slow(answer.body.into_bytes(), step, tick);
        }
        Scenario::Truncate { after } if !is_h1 => {
            let body = filled(answer.body.into_bytes(), after);
            answer.headers.insert(header::CONTENT_LENGTH, declared(&body, after).into());
            answer.body = Flow::broken(body.slice(..body.len().min(size(after))));
        }
        Scenario::LieLength if !is_h1 => {
            answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
        }
        Scenario::Trailers if !is_h1 => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-mock-trailer", HeaderValue::from_static("planted-trailer-q7k"));
            answer.body = Flow::trailed(answer.body.into_bytes(), trailers);
        }
        Scenario::Truncate { .. }
        | Scenario::LieLength
        | Scenario::Trailers
        | Scenario::CloseEarly
        | Scenario::Informational { .. }
        | Scenario::Garbage => {
            return Err(Takeover(Box::new(Script {
                scenario,
                status: answer.status,
                headers: answer.headers,
                body: answer.body.into_bytes(),
            })));
        }
    }
    Ok(answer)
}

pub(super) fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The body, or as much filling as makes it one byte longer than `after`. 16 MiB at most.
pub(super) fn filled(body: Bytes, after: u32) -> Bytes {
    let wanted = size(after).saturating_add(1).min(16 << 20);
    if body.len() >= wanted { body } else { Bytes::from(vec![b'.'; wanted]) }
}

/// A length that is more than `after` and at least the body's.
pub(super) fn declared(body: &Bytes, after: u32) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX).max(u64::from(after) + 1)
}

fn failure(status: StatusCode) -> Answer {
    let code = match status.as_u16() {
        204 | 304 => return Answer::bare(status),
        400 => "InvalidInput",
        401 | 403 => "Unauthorized",
        404 => "NotFound",
        429 => "QuotaExceeded",
        503 => "ServiceUnavailable",
        500.. => "InternalFailure",
        _ => "Mock",
    };
    Answer::refusal(status, code, "The mock was told to answer this.", "")
}

/// An answer without its body, which hyper leaves out over HTTP/1 only (RFC 9110 §9.3.2).
fn headless(mut answer: Answer) -> Answer {
    let body = std::mem::replace(&mut answer.body, Flow::empty());
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        answer.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    answer
}

fn respond(answer: Answer) -> Response<Flow> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

async fn echo_bytes(upgrade: OnUpgrade) {
    if let Ok(upgraded) = upgrade.await {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        // Ends with the client.
        let _ = tokio::io::copy(&mut read, &mut write).await;
    }
}
