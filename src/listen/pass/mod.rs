//! Passes a connection on whose TLS ends at another gateway (TLS-3): connects to a target, tells it
//! whose connection it is, and carries bytes both ways, unread, until one side or the configuration
//! ends it. Every one leaves a record (LOG-1).
mod moved;
mod preface;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use moved::Moved;
pub(super) use relay::Pipes;
use relay::relay;

use super::buffered::Buffered;
use super::lent;
use super::prefixed::Prefixed;
use crate::base::{ListenerIx, Moment};
use crate::config::{PassProxy, PassTarget};
use crate::engine::{
    Answer, Chosen, DoorFault, Engine, Live, PASS_ATTEMPTS_MAX, PassEnd, PassFacts, PassRoute,
    Reached,
};
use crate::evidence::{Fixed, Nanos, PassRecord};

/// How long a connection whose target is gone may take to come to rest, after its grace.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// Why a client is turned away before TLS (RFC 8446 §6.2, RFC 6066 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    InternalError = 80,
    MissingExtension = 109,
    UnrecognizedName = 112,
}

impl Alert {
    /// One record: type, version, length, fatal, why.
    const fn record(self) -> [u8; 7] {
        [21, 3, 3, 0, 2, 2, self as u8]
    }
}

/// A stream whose one word to the peer is an alert, to be closed in order.
pub(super) async fn turned_away(tcp: TcpStream, alert: Alert) -> Buffered {
    let mut stream = Buffered::new(Prefixed::new(Vec::new(), tcp));
    // It is flushed when it is closed; a peer that is gone needs no word.
    let _ = stream.write_all(&alert.record()).await;
    stream
}

/// A connection that is to be passed on.
pub(super) struct Passing {
    pub(super) tcp: TcpStream,
    /// The real client, and where it connected to.
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    /// All that the client said so far.
    pub(super) read: Vec<u8>,
    pub(super) route: Arc<PassRoute>,
    pub(super) facts: PassFacts,
    pub(super) began: Moment,
}

/// How far it came.
struct Course {
    target: Option<usize>,
    attempts: u8,
}

impl Passing {
    /// Carries the connection to its end, and writes its record.
    pub(super) async fn carry(
        self,
        engine: &Engine,
        (live, listener): (Arc<Live>, ListenerIx),
        pipes: &Arc<Pipes>,
    ) {
        let Ok(slot) = engine.log.reserve_lasting() else {
            engine.report_door(&live, listener, DoorFault::Log);
            return lent::close(turned_away(self.tcp, Alert::InternalError).await).await;
        };
        let gauge = engine.report_passing(&live, listener);
        // A connection that lasts must not keep the configuration of its first hour.
        drop(live);
        let mut course = Course { target: None, attempts: 0 };
        let moved = Moved::new();
        let end = tokio::select! {
            // What has come is carried before anybody looks whether something moves.
            biased;
            end = self.pass(engine, pipes, (&mut course, &moved)) => end,
            () = moved.is_cut(engine.cuts()) => PassEnd::Cut,
        };
        let Self { tcp, route, facts, began, .. } = self;
        let now = engine.clock.now();
        slot.write(&PassRecord {
            at: began,
            outcome: end.outcome(),
            ended: Fixed::new(end.as_str()),
            listener: &facts.listener,
            route: &route.settings.name,
            target: course.target.and_then(|place| route.target(place)),
            network: facts.network.as_ref(),
            source: facts.source,
            source_day: facts.source_day,
            up: moved.up.bytes(),
            down: moved.down.bytes(),
            duration: Nanos(now.since(began)),
            attempts: course.attempts,
            generation: facts.generation,
        });
        route.metrics.ended(Fixed::new(end.as_str()));
        drop(gauge);
        if let PassEnd::Full | PassEnd::NoTarget | PassEnd::NotTls = end {
            lent::close(turned_away(tcp, Alert::InternalError).await).await;
        }
    }

    async fn pass(
        &self,
        engine: &Engine,
        pipes: &Arc<Pipes>,
        (course, moved): (&mut Course, &Moved),
    ) -> PassEnd {
        if engine.is_killed(&self.facts) {
            return PassEnd::Revoked;
        }
        let Some(_open) = self.route.enter() else { return PassEnd::Full };
        let Some((target, tcp, chosen)) = self.connect(engine, course).await else {
            return PassEnd::NoTarget;
        };
        let rests = moved.rests(REST_WITHIN);
        let end = tokio::select! {
            end = self.exchange(engine, pipes, (tcp, chosen.place()), moved) => end,
            end = engine.unpassed(&self.facts, (&target.host, target.port), rests) => end,
        };
        let answer = match end {
            PassEnd::NotTls => Answer::NotTls,
            // Every hello has an answer.
            PassEnd::Silent => Answer::Silent,
            PassEnd::Idle if !moved.was_heard() => Answer::Silent,
            _ => return end,
        };
        engine.report_answer(&self.route, chosen.place(), answer);
        end
    }

    /// Gives the target what the client said so far, and carries the rest.
    async fn exchange(
        &self,
        engine: &Engine,
        pipes: &Arc<Pipes>,
        (mut tcp, place): (TcpStream, usize),
        moved: &Moved,
    ) -> PassEnd {
        let settings = &self.route.settings;
        let mut first = match settings.proxy {
            PassProxy::V2 => preface::v2(self.client, self.local),
            PassProxy::Silent => Vec::new(),
        };
        first.extend_from_slice(&self.read);
        match timeout(settings.idle, tcp.write_all(&first)).await {
            Ok(Ok(())) => {}
            Ok(Err(_error)) => return PassEnd::Silent,
            Err(_elapsed) => return PassEnd::Idle,
        }
        drop(first);
        let read = u64::try_from(self.read.len()).unwrap_or(u64::MAX);
        moved.note(&moved.up, read);
        self.route.metrics.up.inc_by(read);
        let heard = || engine.report_answer(&self.route, place, Answer::Tls);
        relay((&self.tcp, &tcp), &self.route, moved, pipes, heard).await
    }

    /// Connects to a target; to the next one if that fails, for nothing was said to it yet.
    async fn connect(
        &self,
        engine: &Engine,
        course: &mut Course,
    ) -> Option<(&PassTarget, TcpStream, Chosen)> {
        let route = &self.route;
        let mut tried = Vec::with_capacity(PASS_ATTEMPTS_MAX);
        while tried.len() < PASS_ATTEMPTS_MAX {
            let mut chosen = match route.choose(&tried, engine.clock.now()) {
                None if tried.is_empty() => {
                    route.ready().await;
                    route.choose(&tried, engine.clock.now())?
                }
                chosen => chosen?,
            };
            tried.push(chosen.place());
            course.attempts = course.attempts.saturating_add(1);
            let connect = TcpStream::connect(chosen.address());
            let reached = match timeout(route.settings.connect_timeout, connect).await {
                Ok(Ok(tcp)) => {
                    engine.report_target(route, &mut chosen, Reached::Yes);
                    course.target = Some(chosen.place());
                    // A socket that refuses the option is merely slower.
                    let _ = tcp.set_nodelay(true);
                    return Some((route.settings.targets.get(chosen.place())?, tcp, chosen));
                }
                Ok(Err(error)) => Reached::of(&error),
                Err(_elapsed) => Reached::TimedOut,
            };
            engine.report_target(route, &mut chosen, reached);
        }
        None
    }
}
