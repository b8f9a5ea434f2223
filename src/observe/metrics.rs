//! The numbers, all from one table. Labels are names from the configuration or words of the program,
//! never anything of a request (LOG-2), so that the number of series is bounded.
mod pacing;
mod state;
mod table;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::base::{Denial, Moment, Name};
use crate::evidence::{DenialCode, Fixed, Outcome, Severity};
pub use pacing::PacingMetrics;
pub use state::StateMetrics;
use table::{
    ANSWER_DRIFT, ANSWERS_UNREAD, BREAKER_OPEN, BUILD_INFO, CERTIFICATE_EXPIRY, CONFIG_GENERATION,
    CONFIG_RELOADS, CONNECTIONS, CONNECTIONS_REFUSED, DENIALS, FRAMEWORK_EVENTS, HANDSHAKES,
    JWKS_FETCHED, JWKS_FETCHES, JWKS_KEYS, LEDGER_BYTES, LEDGER_LOST, LIMITS_EXCEEDED, LOCKS,
    LOCKS_WITHHELD, LOG_LINES, LOG_LINES_LOST, LOG_QUEUE, LOG_REFUSALS, NOTICED, PACING_REFUSED,
    PACING_WAIT, PACING_WAITING, PANICS, PII_RECORDS, QUOTA_ASKS, REQUEST_BYTES, REQUEST_SECONDS,
    REQUESTS, RESPONSE_BYTES, STARTED, STATE_FAULTS, STATE_FORGED, STATE_GATEWAYS, STATE_REFUSED,
    STATE_SOUND, STATE_WAITING, STATE_WRITTEN, UNRESOLVED, UPSTREAM_RETRIES, UPSTREAM_SECONDS,
    UPSTREAM_THROTTLED,
};
pub use table::{BUCKETS, METRICS, MetricDoc, MetricKind, NO_OPERATION};

/// Says that a row of [`METRICS`] is unusable or there twice: a defect of this file, which its tests
/// rule out.
#[derive(Debug)]
pub struct MetricsFault(prometheus::Error);

impl std::fmt::Display for MetricsFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the table of metrics is unusable: {}", self.0)
    }
}

impl std::error::Error for MetricsFault {}

impl From<prometheus::Error> for MetricsFault {
    fn from(error: prometheus::Error) -> Self {
        Self(error)
    }
}

/// All numbers of one process. What the request path touches is resolved ahead: it adds to handles
/// and looks nothing up.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    denials: Vec<IntCounter>,
    limits_exceeded: IntCounterVec,
    noticed: IntCounterVec,
    locks: IntCounterVec,
    pub locks_withheld: IntCounter,
    pii_records: IntCounterVec,
    answers_unread: IntCounterVec,
    pub drift: IntCounter,
    pub state: StateMetrics,
    ledger_bytes: IntGauge,
    ledger_lost: IntGauge,
    upstream_seconds: HistogramVec,
    upstream_retries: IntCounterVec,
    breaker_open: IntGaugeVec,
    unresolved: IntGaugeVec,
    connections: IntGaugeVec,
    connections_refused: IntCounterVec,
    handshakes: IntCounterVec,
    jwks_fetches: IntCounterVec,
    jwks_keys: IntGaugeVec,
    jwks_fetched: GaugeVec,
    certificate_expiry: GaugeVec,
    framework: [IntCounter; Severity::ALL.len()],
    pub pacing: PacingMetrics,
    log: LogMetrics,
    pub request_seconds: Histogram,
    pub request_bytes: IntCounter,
    pub response_bytes: IntCounter,
    pub panics: IntCounter,
    pub config_generation: IntGauge,
    pub config_applied: IntCounter,
    pub config_refused: IntCounter,
}

/// The requests of one operation; kept by whoever compiled the operation.
#[derive(Clone, Debug)]
pub struct OperationMetrics {
    pub allowed: IntCounter,
    pub denied: IntCounter,
    pub failed: IntCounter,
}

impl OperationMetrics {
    pub fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Allowed => self.allowed.inc(),
            Outcome::Denied => self.denied.inc(),
            Outcome::Failed => self.failed.inc(),
        }
    }
}

/// One upstream's numbers.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    /// In seconds.
    pub first_byte: Histogram,
    pub retries: IntCounter,
    name: Name,
    breaker_open: IntGaugeVec,
    unresolved: IntGaugeVec,
}

impl UpstreamMetrics {
    /// 1 while the breaker is open; `endpoint` is a word of the program.
    #[must_use]
    pub fn breaker_open(&self, endpoint: Fixed) -> IntGauge {
        self.breaker_open.with_label_values(&[endpoint.as_str(), self.name.as_str()])
    }

    /// 1 while the name does not resolve; `endpoint` is a word of the program.
    #[must_use]
    pub fn unresolved(&self, endpoint: Fixed) -> IntGauge {
        self.unresolved.with_label_values(&[endpoint.as_str(), self.name.as_str()])
    }
}

/// One listener's numbers.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    pub connections: IntGauge,
    pub handshakes_completed: IntCounter,
    /// Seconds since 1970.
    pub certificate_expiry: Gauge,
    name: Name,
    refused: IntCounterVec,
    handshakes: IntCounterVec,
}

impl ListenerMetrics {
    /// A connection was closed at the door; `reason` is a word of the program.
    pub fn refused(&self, reason: Fixed) {
        self.refused.with_label_values(&[self.name.as_str(), reason.as_str()]).inc();
    }

    /// A handshake failed; `reason` is a word of the program.
    pub fn handshake_failed(&self, reason: Fixed) {
        self.handshakes.with_label_values(&[self.name.as_str(), reason.as_str()]).inc();
    }
}

/// One issuer's numbers.
#[derive(Clone, Debug)]
pub struct IssuerMetrics {
    pub keys: IntGauge,
    /// Seconds since 1970.
    pub fetched_at: Gauge,
    pub fetched: IntCounter,
    name: Name,
    fetches: IntCounterVec,
}

impl IssuerMetrics {
    /// A fetch failed; `reason` is a word of the program.
    pub fn fetch_failed(&self, reason: Fixed) {
        self.fetches.with_label_values(&[self.name.as_str(), reason.as_str()]).inc();
    }
}

/// The log's own numbers.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    pub(super) written: IntCounter,
    pub(super) lost: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) queued: IntGauge,
}

impl Metrics {
    /// # Errors
    /// If a row of the table is unusable; see [`MetricsFault`].
    pub fn new(version: &str, now: Moment) -> Result<Self, MetricsFault> {
        let registry = Registry::new();
        let denials = counters(&registry, &DENIALS)?;
        let framework = counters(&registry, &FRAMEWORK_EVENTS)?;
        let reloads = counters(&registry, &CONFIG_RELOADS)?;
        gauges(&registry, &BUILD_INFO)?.with_label_values(&[version]).set(1);
        gauge(&registry, &STARTED)?.set(i64::try_from(now.unix_secs()).unwrap_or(i64::MAX));
        Ok(Self {
            requests: counters(&registry, &REQUESTS)?,
            denials: DenialCode::ALL
                .iter()
                .map(|code| denials.with_label_values(&[code.as_str()]))
                .collect(),
            limits_exceeded: counters(&registry, &LIMITS_EXCEEDED)?,
            noticed: counters(&registry, &NOTICED)?,
            locks: counters(&registry, &LOCKS)?,
            locks_withheld: counter(&registry, &LOCKS_WITHHELD)?,
            pii_records: counters(&registry, &PII_RECORDS)?,
            answers_unread: counters(&registry, &ANSWERS_UNREAD)?,
            drift: counter(&registry, &ANSWER_DRIFT)?,
            state: StateMetrics::new(&registry)?,
            ledger_bytes: gauge(&registry, &LEDGER_BYTES)?,
            ledger_lost: gauge(&registry, &LEDGER_LOST)?,
            upstream_seconds: histograms(&registry, &UPSTREAM_SECONDS)?,
            upstream_retries: counters(&registry, &UPSTREAM_RETRIES)?,
            breaker_open: gauges(&registry, &BREAKER_OPEN)?,
            unresolved: gauges(&registry, &UNRESOLVED)?,
            connections: gauges(&registry, &CONNECTIONS)?,
            connections_refused: counters(&registry, &CONNECTIONS_REFUSED)?,
            handshakes: counters(&registry, &HANDSHAKES)?,
            jwks_fetches: counters(&registry, &JWKS_FETCHES)?,
            jwks_keys: gauges(&registry, &JWKS_KEYS)?,
            jwks_fetched: times(&registry, &JWKS_FETCHED)?,
            certificate_expiry: times(&registry, &CERTIFICATE_EXPIRY)?,
            framework: [Severity::Info, Severity::Warning, Severity::Error]
                .map(|level| framework.with_label_values(&[level.as_str()])),
            pacing: PacingMetrics::new(&registry)?,
            log: LogMetrics {
                written: counter(&registry, &LOG_LINES)?,
                lost: counter(&registry, &LOG_LINES_LOST)?,
                refused: counter(&registry, &LOG_REFUSALS)?,
                queued: gauge(&registry, &LOG_QUEUE)?,
            },
            request_seconds: histograms(&registry, &REQUEST_SECONDS)?.with_label_values(NO_LABELS),
            request_bytes: counter(&registry, &REQUEST_BYTES)?,
            response_bytes: counter(&registry, &RESPONSE_BYTES)?,
            panics: counter(&registry, &PANICS)?,
            config_generation: gauge(&registry, &CONFIG_GENERATION)?,
            config_applied: reloads.with_label_values(&["applied"]),
            config_refused: reloads.with_label_values(&["refused"]),
            registry,
        })
    }

    /// Handles for one operation; `None` for requests that fit none.
    #[must_use]
    pub fn operation(&self, name: Option<&Name>) -> OperationMetrics {
        let name = name.map_or(NO_OPERATION, Name::as_str);
        let of = |outcome: Outcome| self.requests.with_label_values(&[name, outcome.as_str()]);
        OperationMetrics {
            allowed: of(Outcome::Allowed),
            denied: of(Outcome::Denied),
            failed: of(Outcome::Failed),
        }
    }

    #[must_use]
    pub fn upstream(&self, name: &Name) -> UpstreamMetrics {
        UpstreamMetrics {
            first_byte: self.upstream_seconds.with_label_values(&[name.as_str()]),
            retries: self.upstream_retries.with_label_values(&[name.as_str()]),
            name: name.clone(),
            breaker_open: self.breaker_open.clone(),
            unresolved: self.unresolved.clone(),
        }
    }

    #[must_use]
    pub fn listener(&self, name: &Name) -> ListenerMetrics {
        ListenerMetrics {
            connections: self.connections.with_label_values(&[name.as_str()]),
            handshakes_completed: self.handshakes.with_label_values(&[name.as_str(), "completed"]),
            certificate_expiry: self.certificate_expiry.with_label_values(&[name.as_str()]),
            name: name.clone(),
            refused: self.connections_refused.clone(),
            handshakes: self.handshakes.clone(),
        }
    }

    #[must_use]
    pub fn issuer(&self, name: &Name) -> IssuerMetrics {
        IssuerMetrics {
            keys: self.jwks_keys.with_label_values(&[name.as_str()]),
            fetched_at: self.jwks_fetched.with_label_values(&[name.as_str()]),
            fetched: self.jwks_fetches.with_label_values(&[name.as_str(), "fetched"]),
            name: name.clone(),
            fetches: self.jwks_fetches.clone(),
        }
    }

    /// Counts a request that was not served.
    pub fn denied(&self, denial: Denial) {
        if let Some(counter) = self.denials.get(DenialCode::of(denial).index()) {
            counter.inc();
        }
    }

    /// Counts a request beyond a limit. There are as many series as limits that were ever exceeded.
    pub fn limit_exceeded(&self, limit: &Name, mode: Fixed) {
        self.limits_exceeded.with_label_values(&[limit.as_str(), mode.as_str()]).inc();
    }

    /// Counts what a detector saw.
    pub fn noticed(&self, detector: &'static str, level: &'static str) {
        self.noticed.with_label_values(&[detector, level]).inc();
    }

    /// Counts a step of the ladder.
    pub fn locked(&self, step: &'static str, cause: &'static str) {
        self.locks.with_label_values(&[step, cause]).inc();
    }

    /// Counts the records of an answer that revealed a class of data.
    pub fn exposed(&self, class: Fixed, records: u64) {
        self.pii_records.with_label_values(&[class.as_str()]).inc_by(records);
    }

    /// Counts an answer that could not be read, or not to its end.
    pub fn unread(&self, reason: Fixed) {
        self.answers_unread.with_label_values(&[reason.as_str()]).inc();
    }

    /// How large the exposure ledger is, and what it lost.
    pub fn ledger(&self, bytes: usize, lost: u64) {
        self.ledger_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.ledger_lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
    }

    #[must_use]
    pub fn log(&self) -> LogMetrics {
        self.log.clone()
    }

    pub(super) fn framework(&self, level: Severity) {
        if let Some(counter) = self.framework.get(level.index()) {
            counter.inc();
        }
    }

    /// Everything, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        // It fails for a family without samples only, and those are not gathered.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

const NO_LABELS: &[&str] = &[];

fn enter<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn opts(doc: &MetricDoc) -> Opts {
    Opts::new(doc.name, doc.help)
}

fn counter(registry: &Registry, doc: &MetricDoc) -> Result<IntCounter, prometheus::Error> {
    enter(registry, IntCounter::with_opts(opts(doc))?)
}

fn counters(registry: &Registry, doc: &MetricDoc) -> Result<IntCounterVec, prometheus::Error> {
    enter(registry, IntCounterVec::new(opts(doc), doc.labels)?)
}

fn gauge(registry: &Registry, doc: &MetricDoc) -> Result<IntGauge, prometheus::Error> {
    enter(registry, IntGauge::with_opts(opts(doc))?)
}

fn gauges(registry: &Registry, doc: &MetricDoc) -> Result<IntGaugeVec, prometheus::Error> {
    enter(registry, IntGaugeVec::new(opts(doc), doc.labels)?)
}

fn times(registry: &Registry, doc: &MetricDoc) -> Result<GaugeVec, prometheus::Error> {
    enter(registry, GaugeVec::new(opts(doc), doc.labels)?)
}

fn histograms(registry: &Registry, doc: &MetricDoc) -> Result<HistogramVec, prometheus::Error> {
    let opts = HistogramOpts::new(doc.name, doc.help).buckets(BUCKETS.to_vec());
    enter(registry, HistogramVec::new(opts, doc.labels)?)
}

#[cfg(test)]
mod tests;
