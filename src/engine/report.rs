//! What is told to the log and the metrics. Controls: LOG-1, LOG-2, MON-5.
//! What strangers can cause without a credential is written whole up to a rate, and beyond it counted
//! and written now and then; what somebody who is proved caused is written once per request.
use super::Engine;
use super::conn::ConnFacts;
use super::door::DoorFault;
use super::live::{Live, NOT_LISTED, Route};
use super::reload::Ended;
use super::strangers::{Kept, Tallies};
use crate::base::{Denial, LimitIx, ListenerIx, Name, OperationIx, RequestId, UpstreamIx};
use crate::evidence::{AccessRecord, AtDoor, Event, Fixed};
use crate::keys::IssuerStatus;
use crate::observe::{ListenerMetrics, LogSlot};
use crate::upstream::BreakerChange;

/// Counts of what happened at the door since the last lines about it. Both keys are closed sets of a
/// few dozen, so it can't grow and is searched from front to back.
#[derive(Debug, Default)]
pub(super) struct DoorTally(Vec<(Name, DoorFault, u64)>);

impl DoorTally {
    fn add(&mut self, listener: &Name, fault: DoorFault) {
        match self.0.iter_mut().find(|(at, what, _)| *what == fault && at == listener) {
            Some((_, _, count)) => *count = count.saturating_add(1),
            None => self.0.push((listener.clone(), fault, 1)),
        }
    }
}

/// What was last told of each issuer's keys.
#[derive(Debug, Default)]
pub(super) struct IssuerTally(Vec<(Name, Told)>);

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    fetched: u64,
    failed: u64,
    failing: bool,
}

impl IssuerTally {
    fn of(&self, issuer: &Name) -> Told {
        self.0.iter().find(|(name, _)| name == issuer).map(|(_, told)| *told).unwrap_or_default()
    }

    fn note(&mut self, status: IssuerStatus) {
        let told = Told {
            fetched: status.fetched,
            failed: status.failed,
            failing: status.fault.is_some(),
        };
        match self.0.iter_mut().find(|(name, _)| *name == status.name) {
            Some((_, before)) => *before = told,
            None => self.0.push((status.name, told)),
        }
    }
}

/// An open connection in the metrics; dropping it takes it out.
#[derive(Debug)]
pub struct OpenGauge(Option<ListenerMetrics>);

impl Drop for OpenGauge {
    fn drop(&mut self) {
        if let Some(metrics) = &self.0 {
            metrics.connections.dec();
        }
    }
}

impl Engine {
    /// A connection was closed before its first request.
    pub fn report_door(&self, live: &Live, listener: ListenerIx, fault: DoorFault) {
        // Whoever sees the number finds the line.
        if let Some(name) = live.snapshot.names.listener(listener) {
            self.door.lock().add(name, fault);
        }
        count_at_door(live, listener, fault);
    }

    /// A connection was closed between requests.
    pub fn report_connection(&self, conn: &ConnFacts, fault: DoorFault) {
        let live = self.live();
        self.door.lock().add(&conn.listener_name, fault);
        count_at_door(&live, conn.listener, fault);
        if let DoorFault::Frames(_) = fault {
            self.observe_malformed(&live, conn, self.clock.now());
        }
    }

    /// A connection passed the door.
    pub fn report_open(&self, live: &Live, listener: ListenerIx) -> OpenGauge {
        let metrics = live.listener_metrics(listener).cloned();
        live.tally.handshake(live.snapshot.names.listener_place(listener), Ended::Well);
        if let Some(metrics) = &metrics {
            metrics.handshakes_completed.inc();
            metrics.connections.inc();
        }
        OpenGauge(metrics)
    }

    /// A connection is passed on.
    pub fn report_passing(&self, live: &Live, listener: ListenerIx) -> OpenGauge {
        let metrics = live.listener_metrics(listener).cloned();
        if let Some(metrics) = &metrics {
            metrics.connections.inc();
        }
        OpenGauge(metrics)
    }

    /// Writes one line for each kind of thing that happened at the door since the last call, and once
    /// a minute for each kind of refusal that was counted.
    pub fn flush_door(&self) {
        let due = self.strangers.lock().take_due(self.clock.now());
        self.write_gathered(&due);
        self.write_door();
    }

    /// Writes all that was counted, before the log is closed or read.
    pub fn flush_counts(&self) {
        let all = self.strangers.lock().take_all();
        self.write_gathered(&all);
        self.write_door();
    }

    fn write_gathered(&self, tallies: &Tallies) {
        for gathered in tallies.each() {
            self.report_event(&Event::RequestsRefused(gathered));
        }
    }

    fn write_door(&self) {
        let tally = std::mem::take(&mut self.door.lock().0);
        for (listener, fault, count) in tally {
            let listener = &listener;
            let at_door =
                AtDoor { listener, fault: Some(Fixed::new(fault.word())), source: None, count };
            self.report_event(&match fault {
                DoorFault::Address | DoorFault::Locked => Event::AddressRefused(at_door),
                DoorFault::Connections(_)
                | DoorFault::Log
                | DoorFault::Descriptors
                | DoorFault::Gone => Event::ConnectionsExceeded(at_door),
                DoorFault::NotPermitted(_) => Event::TlsNotPermitted(at_door),
                DoorFault::ProxyHeader(_) => Event::ProxyHeaderRefused(at_door),
                DoorFault::Handshake(_) => Event::HandshakeFailed(at_door),
                DoorFault::Frames(_) => Event::ProtocolRefused(at_door),
            });
        }
    }

    /// What happened to issuers' keys since the last call.
    pub fn flush_keys(&self) {
        let now = self.clock.now();
        let mut told = self.issuers.lock();
        for status in self.jwks.status() {
            let metrics = self.metrics.issuer(&status.name);
            metrics.keys.set(i64::try_from(status.keys).unwrap_or(i64::MAX));
            if let Some(age) = status.age_secs {
                let at = now.unix_secs().saturating_sub(age);
                metrics.fetched_at.set(f64::from(u32::try_from(at).unwrap_or(u32::MAX)));
            }
            let before = told.of(&status.name);
            metrics.fetched.inc_by(status.fetched.saturating_sub(before.fetched));
            if let Some(fault) = status.fault {
                for _ in before.failed..status.failed {
                    metrics.fetch_failed(Fixed::new(fault.word()));
                }
            }
            match (before.failing, status.fault) {
                (false, Some(fault)) => self.report_event(&Event::JwksFailed {
                    issuer: &status.name,
                    fault: Fixed::new(fault.word()),
                }),
                (true, None) => self.report_event(&Event::JwksRecovered {
                    issuer: &status.name,
                    keys: u64::try_from(status.keys).unwrap_or(u64::MAX),
                }),
                (false, None) | (true, Some(_)) => {}
            }
            told.note(status);
        }
    }

    /// A head was refused before the request path saw it: its record is written here. `told` is the
    /// status that the caller was or will be given.
    pub fn report_head(&self, conn: &ConnFacts, denial: Denial, told: Option<u16>) -> RequestId {
        let (now, live) = (self.clock.now(), self.live());
        let request = self.ids.issue(now);
        let names = &live.snapshot.names;
        let mut record = AccessRecord::new(now, request);
        record.status = told;
        record.listener = Some(&conn.listener_name);
        record.network = conn.networks.first().and_then(|ix| names.network(ix));
        record.source = Some(conn.source);
        record.source_day = Some(conn.source_day);
        record.tls = Some(conn.tls);
        record.protocol = Some(conn.http);
        record.generation = live.snapshot.generation;
        record.deny(denial);
        self.report_request(&live, &record, None, None, Some(denial));
        self.observe_malformed(&live, conn, now);
        request
    }

    /// Writes a request's one record. `slot` is the place that was kept for it, if it was cleared.
    pub fn report_request(
        &self,
        live: &Live,
        record: &AccessRecord<'_>,
        operation: Option<OperationIx>,
        slot: Option<LogSlot>,
        denial: Option<Denial>,
    ) {
        match slot {
            Some(slot) => slot.write(record),
            None if record.proof.is_some() => self.log.write_refusal(record),
            None => {
                let kept = self.strangers.lock().note(record, self.clock.now());
                match kept {
                    Kept::Whole => self.log.write_refusal(record),
                    Kept::Counted => self.metrics.gathered.inc(),
                }
            }
        }
        let metrics = &self.metrics;
        live.tally.request(denial);
        live.meters.operation(operation).count(record.outcome());
        metrics.request_seconds.observe(record.duration.0.as_secs_f64());
        metrics.request_bytes.inc_by(record.request_bytes);
        metrics.response_bytes.inc_by(record.response_bytes);
        if let Some(denial) = denial {
            metrics.denied(denial);
        }
        if let Some(limit) = record.limit {
            metrics.limit_exceeded(limit, Fixed::new("enforce"));
        }
    }

    /// Limits on trial would have refused a request: each is counted.
    pub fn report_shadowed(&self, live: &Live, limits: &[LimitIx]) {
        for limit in limits.iter().filter_map(|ix| live.quotas.limit_name(*ix)) {
            self.metrics.limit_exceeded(limit, Fixed::new("shadow"));
        }
    }

    /// How an upstream did for one request.
    pub fn report_upstream(
        &self,
        live: &Live,
        upstream: UpstreamIx,
        record: &AccessRecord<'_>,
        denial: Option<Denial>,
    ) {
        let failed = matches!(denial, Some(Denial::Upstream(_)));
        if failed || record.attempts.is_some() {
            let failed = failed || record.upstream_status.is_some_and(|status| status >= 500);
            live.tally.upstream(upstream, Ended::failed_if(failed));
        }
        let Some(metrics) = live.meters.upstream(upstream) else { return };
        if let Some(first_byte) = record.upstream_first_byte {
            metrics.first_byte.observe(first_byte.as_secs_f64());
        }
        if let Some(retries @ 1..) = record.attempts.map(|attempts| attempts.saturating_sub(1)) {
            metrics.retries.inc_by(u64::from(retries));
        }
    }

    /// The breaker of one endpoint changed.
    pub fn report_breaker(&self, live: &Live, route: &Route, change: BreakerChange) {
        let Some(upstream) = live.snapshot.names.upstream(route.upstream) else { return };
        let endpoint = route.endpoint();
        let tell = |open| {
            if let Some(metrics) = live.meters.upstream(route.upstream) {
                metrics.breaker_open(endpoint).set(open);
            }
        };
        match change {
            BreakerChange::Opened => {
                tell(1);
                let settings = live.upstream(route.upstream);
                let failures = settings.map_or(0, |settings| u64::from(settings.breaker.failures));
                self.report_event(&Event::BreakerOpened { upstream, endpoint, failures });
            }
            BreakerChange::HalfOpened => {}
            BreakerChange::Closed => {
                tell(0);
                self.report_event(&Event::BreakerClosed { upstream, endpoint });
            }
        }
    }

    /// TLS-2: an upstream could not prove itself.
    pub fn report_untrusted(&self, upstream: &Name) {
        self.report_event(&Event::UpstreamUntrusted { upstream });
    }

    pub(super) fn report_configuration(&self, live: &Live) {
        let generation = live.snapshot.generation;
        self.report_ages();
        self.metrics.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        for listener in &live.snapshot.listeners {
            let chains = listener.tls.iter().flat_map(|tls| &tls.certificates);
            let earliest = chains.map(|chain| chain.not_after_unix_secs).min();
            if let (Some(metrics), Some(earliest)) = (live.listener_metrics(listener.ix), earliest)
            {
                metrics
                    .certificate_expiry
                    .set(f64::from(u32::try_from(earliest).unwrap_or(u32::MAX)));
            }
        }
    }

    /// The numbers of everything that ages.
    pub(super) fn report_ages(&self) {
        let all = self.view_keys();
        self.metrics.life.age(all.iter().map(|aged| {
            let (kind, owner) = (Fixed::new(aged.kind.as_str()), Fixed::new(aged.owner.as_str()));
            ((kind, aged.name.as_ref(), owner), aged.begins, aged.ends)
        }));
    }

    /// Writes an event down, and has people told of it if they must know.
    pub fn report_event(&self, event: &Event<'_>) {
        self.log.event(event);
        self.alarms.hear(event);
    }
}

/// The metrics of a listener that is configured.
fn count_at_door(live: &Live, listener: ListenerIx, fault: DoorFault) {
    let Some(metrics) = live.listener_metrics(listener) else { return };
    let failed =
        || live.tally.handshake(live.snapshot.names.listener_place(listener), Ended::Failed);
    match fault {
        DoorFault::Handshake(fault) => {
            failed();
            metrics.handshake_failed(Fixed::new(fault.as_str()));
        }
        // The configuration's doing; the end of a permit is not.
        DoorFault::NotPermitted(NOT_LISTED) => {
            failed();
            metrics.refused(Fixed::new(fault.reason()));
        }
        DoorFault::Address
        | DoorFault::Locked
        | DoorFault::Connections(_)
        | DoorFault::NotPermitted(_)
        | DoorFault::ProxyHeader(_)
        | DoorFault::Frames(_)
        | DoorFault::Log
        | DoorFault::Descriptors
        | DoorFault::Gone => metrics.refused(Fixed::new(fault.reason())),
    }
}
