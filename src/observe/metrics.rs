//! The numbers, all from one table. Labels are names from the configuration or words of the program,
//! never anything of a request (LOG-2), so that the number of series is bounded.
mod alarms;
mod life;
mod pacing;
mod pass;
mod permit;
mod register;
mod state;
mod table;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

use crate::base::{Denial, Moment, Name};
use crate::evidence::{DenialCode, Fixed, Outcome, Severity};
use register::{NO_LABELS, counter, counters, gauge, gauges, histograms, times};

pub use alarms::{AlarmMetrics, TargetMetrics};
pub use life::LifeMetrics;
pub use pacing::PacingMetrics;
pub use pass::PassMetrics;
pub use permit::PermitMetrics;
pub use state::StateMetrics;
pub use table::{BUCKETS, METRICS, MetricDoc, MetricKind};

/// The label of requests for which no operation was found. No [`Name`] starts with a hyphen.
pub const NO_OPERATION: &str = "-";

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
    admin_acts: IntCounterVec,
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
    passes: pass::Passes,
    jwks_fetches: IntCounterVec,
    jwks_keys: IntGaugeVec,
    jwks_fetched: GaugeVec,
    certificate_expiry: GaugeVec,
    space_free: IntGaugeVec,
    framework: [IntCounter; Severity::ALL.len()],
    pub pacing: PacingMetrics,
    pub life: LifeMetrics,
    log: LogMetrics,
    pub alarms: AlarmMetrics,
    pub permit: PermitMetrics,
    pub request_seconds: Histogram,
    pub request_bytes: IntCounter,
    pub response_bytes: IntCounter,
    /// Refusals that were counted in the log, not written whole.
    pub gathered: IntCounter,
    pub panics: IntCounter,
    pub config_generation: IntGauge,
    pub config_applied: IntCounter,
    pub config_refused: IntCounter,
    pub config_rolled_back: IntCounter,
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
        let denials = counters(&registry, &table::DENIALS)?;
        let framework = counters(&registry, &table::FRAMEWORK_EVENTS)?;
        let reloads = counters(&registry, &table::CONFIG_RELOADS)?;
        gauges(&registry, &table::BUILD_INFO)?.with_label_values(&[version]).set(1);
        gauge(&registry, &table::STARTED)?.set(i64::try_from(now.unix_secs()).unwrap_or(i64::MAX));
        Ok(Self {
            requests: counters(&registry, &table::REQUESTS)?,
            denials: DenialCode::ALL
                .iter()
                .map(|code| denials.with_label_values(&[code.as_str()]))
                .collect(),
            limits_exceeded: counters(&registry, &table::LIMITS_EXCEEDED)?,
            noticed: counters(&registry, &table::NOTICED)?,
            locks: counters(&registry, &table::LOCKS)?,
            locks_withheld: counter(&registry, &table::LOCKS_WITHHELD)?,
            admin_acts: counters(&registry, &table::ADMIN_ACTS)?,
            pii_records: counters(&registry, &table::PII_RECORDS)?,
            answers_unread: counters(&registry, &table::ANSWERS_UNREAD)?,
            drift: counter(&registry, &table::ANSWER_DRIFT)?,
            state: StateMetrics::new(&registry)?,
            ledger_bytes: gauge(&registry, &table::LEDGER_BYTES)?,
            ledger_lost: gauge(&registry, &table::LEDGER_LOST)?,
            upstream_seconds: histograms(&registry, &table::UPSTREAM_SECONDS)?,
            upstream_retries: counters(&registry, &table::UPSTREAM_RETRIES)?,
            breaker_open: gauges(&registry, &table::BREAKER_OPEN)?,
            unresolved: gauges(&registry, &table::UNRESOLVED)?,
            connections: gauges(&registry, &table::CONNECTIONS)?,
            connections_refused: counters(&registry, &table::CONNECTIONS_REFUSED)?,
            handshakes: counters(&registry, &table::HANDSHAKES)?,
            passes: pass::Passes::new(&registry)?,
            jwks_fetches: counters(&registry, &table::JWKS_FETCHES)?,
            jwks_keys: gauges(&registry, &table::JWKS_KEYS)?,
            jwks_fetched: times(&registry, &table::JWKS_FETCHED)?,
            certificate_expiry: times(&registry, &table::CERTIFICATE_EXPIRY)?,
            framework: [Severity::Info, Severity::Warning, Severity::Error]
                .map(|level| framework.with_label_values(&[level.as_str()])),
            pacing: PacingMetrics::new(&registry)?,
            life: LifeMetrics::new(&registry)?,
            log: LogMetrics {
                written: counter(&registry, &table::LOG_LINES)?,
                lost: counter(&registry, &table::LOG_LINES_LOST)?,
                refused: counter(&registry, &table::LOG_REFUSALS)?,
                queued: gauge(&registry, &table::LOG_QUEUE)?,
            },
            space_free: gauges(&registry, &table::SPACE_FREE)?,
            alarms: AlarmMetrics::new(&registry)?,
            permit: PermitMetrics::new(&registry)?,
            request_seconds: histograms(&registry, &table::REQUEST_SECONDS)?
                .with_label_values(NO_LABELS),
            request_bytes: counter(&registry, &table::REQUEST_BYTES)?,
            response_bytes: counter(&registry, &table::RESPONSE_BYTES)?,
            gathered: counter(&registry, &table::LOG_GATHERED)?,
            panics: counter(&registry, &table::PANICS)?,
            config_generation: gauge(&registry, &table::CONFIG_GENERATION)?,
            config_applied: reloads.with_label_values(&["applied"]),
            config_refused: reloads.with_label_values(&["refused"]),
            config_rolled_back: reloads.with_label_values(&["rolled-back"]),
            registry,
        })
    }

    /// Room left on a file system; `of` is a word of the program.
    pub fn space_free(&self, of: Fixed, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.space_free.with_label_values(&[of.as_str()]).set(bytes);
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
        self.locks.with_label_values(&[cause, step]).inc();
    }

    /// Counts an act of an operator.
    pub fn admin_act(&self, act: Fixed, outcome: Fixed) {
        self.admin_acts.with_label_values(&[act.as_str(), outcome.as_str()]).inc();
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

    /// Lines that could not be kept, since the start.
    #[must_use]
    pub fn lines_lost(&self) -> u64 {
        self.log.lost.get()
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

#[cfg(test)]
mod tests;
