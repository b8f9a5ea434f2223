//! The numbers, all from one table. Labels are names from the configuration or words of the program,
//! never anything of a request (LOG-2), so that the number of series is bounded.
mod alarms;
mod pacing;
mod pass;
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
pub use pacing::PacingMetrics;
pub use pass::PassMetrics;
pub use state::StateMetrics;
pub use table::{BUCKETS, METRICS, MetricDoc, MetricKind};

/// The label of requests for which no operation was found. No [`Name`] starts with a hyphen.
pub const NO_OPERATION: &str = "-";

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(const $id: MetricDoc = MetricDoc {
            name: $name,
            kind: MetricKind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// Every metric there is; registrations are made from these rows and no others.
        pub const METRICS: &[MetricDoc] = &[$($id),+];
    };
}

metrics! {
    REQUESTS = Counter "sekisho_requests_total" ["operation", "outcome"]
        "Requests by operation and outcome: allowed, denied, failed.";
    DENIALS = Counter "sekisho_denials_total" ["code"]
        "Requests not served, by the code of the answer.";
    LIMITS_EXCEEDED = Counter "sekisho_limits_exceeded_total" ["limit", "mode"]
        "Requests beyond a limit: refused (enforce), or let pass by a limit on trial (shadow).";
    NOTICED = Counter "sekisho_noticed_total" ["detector", "level"]
        "What detectors saw out of the ordinary: worth a note, or worth an act. MON-8.";
    LOCKS = Counter "sekisho_locks_total" ["cause", "step"]
        "Steps of the ladder that the gateway took by itself. ACC-2.";
    LOCKS_WITHHELD = Counter "sekisho_locks_withheld_total" []
        "Locks that were due and not imposed: too many identities are locked already, or no room. ACC-2.";
    PACING_WAIT = Histogram "sekisho_pacing_wait_seconds" []
        "How long calls that had to wait for a quota of Amazon's did so, sent or not. MON-2.";
    PACING_WAITING = Gauge "sekisho_pacing_waiting" []
        "Calls that wait for a quota of Amazon's.";
    PACING_REFUSED = Counter "sekisho_pacing_refused_total" ["reason"]
        "Calls not sent because of a quota of Amazon's: their turn came too late (patience, late), no place to wait (places), no room for another quota (buckets), the gateway stopped (draining).";
    UPSTREAM_THROTTLED = Counter "sekisho_upstream_throttled_total" ["status", "upstream"]
        "Amazon's own 429 and 503, to which its pace was adapted.";
    ADMIN_ACTS = Counter "sekisho_admin_acts_total" ["act", "outcome"]
        "Acts of operators: done, unkept, pending, confirmed, withdrawn, refused, failed. PRIV-3.";
    REQUEST_SECONDS = Histogram "sekisho_request_duration_seconds" []
        "From a request's first hook to its last byte.";
    REQUEST_BYTES = Counter "sekisho_request_body_bytes_total" []
        "Bytes of request bodies read from callers.";
    RESPONSE_BYTES = Counter "sekisho_response_body_bytes_total" []
        "Bytes of answer bodies sent to callers.";
    PII_RECORDS = Counter "sekisho_pii_records_total" ["class"]
        "Records in answers of Amazon's that revealed this class of data. MON-3.";
    ANSWERS_UNREAD = Counter "sekisho_answers_unread_total" ["reason"]
        "Answers that hold personal data by their contract and could not be counted, or not to their end.";
    ANSWER_DRIFT = Counter "sekisho_answer_drift_total" []
        "Values in answers that the contract of their operation does not know.";
    LEDGER_BYTES = Gauge "sekisho_exposure_ledger_bytes" []
        "Memory that the exposure ledger takes, about.";
    LEDGER_LOST = Gauge "sekisho_exposure_ledger_lost_cells" []
        "Hours and days that left the ledger before their time, for want of room.";
    STATE_SOUND = Gauge "sekisho_state_sound" []
        "1 while the state can be had: its file, and the server through which gateways share. ACC-2.";
    STATE_FAULTS = Counter "sekisho_state_faults_total" ["reason"]
        "Times that the state could not be had, by reason.";
    STATE_GATEWAYS = Gauge "sekisho_state_gateways" []
        "Gateways that share the state, this one included, as last heard.";
    STATE_FORGED = Counter "sekisho_state_forged_records_total" []
        "Records on the server that no gateway of this environment wrote; none was believed.";
    STATE_WRITTEN = Gauge "sekisho_state_written_timestamp_seconds" []
        "When all that is to be remembered was last written down, in seconds since 1970.";
    STATE_WAITING = Gauge "sekisho_state_waiting_pieces" []
        "Changed pieces of memory that could not be written down yet.";
    STATE_REFUSED = Counter "sekisho_state_refused_pieces_total" []
        "Pieces of memory that could not be read at the start, or that the store did not take.";
    QUOTA_ASKS = Counter "sekisho_quota_asks_total" ["result"]
        "Times that units of a shared quota were asked for: given, dry, failed.";
    UPSTREAM_SECONDS = Histogram "sekisho_upstream_duration_seconds" ["upstream"]
        "From the first byte sent upstream to the first byte of its answer.";
    UPSTREAM_RETRIES = Counter "sekisho_upstream_retries_total" ["upstream"]
        "Connections to the upstream that were tried again.";
    BREAKER_OPEN = Gauge "sekisho_upstream_breaker_open" ["endpoint", "upstream"]
        "1 while the circuit breaker of the upstream's endpoint (main, token) is open.";
    UNRESOLVED = Gauge "sekisho_upstream_unresolved" ["endpoint", "upstream"]
        "1 while the name of the upstream's endpoint does not resolve; addresses known before stay in use.";
    CONNECTIONS = Gauge "sekisho_connections" ["listener"]
        "Connections that passed the door and are open.";
    CONNECTIONS_REFUSED = Counter "sekisho_connections_refused_total" ["listener", "reason"]
        "Connections closed at the door or between requests, by reason.";
    HANDSHAKES = Counter "sekisho_handshakes_total" ["listener", "result"]
        "TLS handshakes: completed, or the reason why not.";
    LOG_LINES = Counter "sekisho_log_lines_total" []
        "Lines written to the access log.";
    LOG_LINES_LOST = Counter "sekisho_log_lines_lost_total" []
        "Lines that could not be kept; each loss is reported in the log as well. LOG-1.";
    LOG_REFUSALS = Counter "sekisho_log_full_total" []
        "Requests turned away because the log had no room for their line. LOG-1.";
    LOG_QUEUE = Gauge "sekisho_log_queue_lines" []
        "Lines promised or queued and not yet written.";
    CONFIG_GENERATION = Gauge "sekisho_config_generation" []
        "Generation of the configuration in force.";
    CONFIG_RELOADS = Counter "sekisho_config_reloads_total" ["result"]
        "Attempts to load a configuration: applied, refused, rolled-back.";
    JWKS_FETCHES = Counter "sekisho_jwks_fetches_total" ["issuer", "result"]
        "Fetches of an issuer's keys: fetched, or the reason why not.";
    JWKS_KEYS = Gauge "sekisho_jwks_keys" ["issuer"]
        "Usable keys remembered of the issuer.";
    JWKS_FETCHED = Gauge "sekisho_jwks_fetched_timestamp_seconds" ["issuer"]
        "When the issuer's keys were last fetched, in seconds since 1970.";
    CERTIFICATE_EXPIRY = Gauge "sekisho_certificate_not_after_timestamp_seconds" ["listener"]
        "When the listener's first certificate to expire does so, in seconds since 1970. TLS-5.";
    ALARMS_RAISED = Counter "sekisho_alarms_raised_total" ["severity"]
        "What people were to be told of, each occurrence. MON-7.";
    ALARM_MESSAGES = Counter "sekisho_alarm_messages_total" ["result", "target"]
        "Attempts to tell a target: delivered, or the reason why not; signs of life included. MON-7.";
    ALARMS_LOST = Counter "sekisho_alarms_lost_total" ["target"]
        "Alarms that a target was never told; `-`: lost before they were anybody's. MON-7.";
    ALARMS_WAITING = Gauge "sekisho_alarms_waiting" ["target"]
        "Alarms in the queue that the target was not told yet.";
    ALARM_OLDEST = Gauge "sekisho_alarms_oldest_seconds" ["target"]
        "Age of the oldest alarm that the target was not told yet.";
    FRAMEWORK_EVENTS = Counter "sekisho_framework_events_total" ["level"]
        "Warnings and errors of the libraries below; their words are never logged. LOG-2.";
    PANICS = Counter "sekisho_panics_total" []
        "Panics caught. Each closed one connection at most.";
    BUILD_INFO = Gauge "sekisho_build_info" ["version"]
        "Always 1; the version is the label.";
    STARTED = Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970.";
}

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
    framework: [IntCounter; Severity::ALL.len()],
    pub pacing: PacingMetrics,
    log: LogMetrics,
    pub alarms: AlarmMetrics,
    pub request_seconds: Histogram,
    pub request_bytes: IntCounter,
    pub response_bytes: IntCounter,
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
            log: LogMetrics {
                written: counter(&registry, &table::LOG_LINES)?,
                lost: counter(&registry, &table::LOG_LINES_LOST)?,
                refused: counter(&registry, &table::LOG_REFUSALS)?,
                queued: gauge(&registry, &table::LOG_QUEUE)?,
            },
            alarms: AlarmMetrics::new(&registry)?,
            request_seconds: histograms(&registry, &table::REQUEST_SECONDS)?
                .with_label_values(NO_LABELS),
            request_bytes: counter(&registry, &table::REQUEST_BYTES)?,
            response_bytes: counter(&registry, &table::RESPONSE_BYTES)?,
            panics: counter(&registry, &table::PANICS)?,
            config_generation: gauge(&registry, &table::CONFIG_GENERATION)?,
            config_applied: reloads.with_label_values(&["applied"]),
            config_refused: reloads.with_label_values(&["refused"]),
            config_rolled_back: reloads.with_label_values(&["rolled-back"]),
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
