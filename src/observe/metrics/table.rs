//! The table: every metric there is, with its labels and what it tells.

/// What a metric is, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    /// In seconds; buckets are [`BUCKETS`].
    Histogram,
}

/// One row of [`METRICS`].
#[derive(Clone, Copy, Debug)]
pub struct MetricDoc {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Upper bounds of the histograms' buckets, in seconds.
pub const BUCKETS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $id: MetricDoc = MetricDoc {
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
        "How often a record was found on the server that no gateway of this environment wrote, in reading \
         or in writing; none was believed.";
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
    CONNECTIONS_CUT = Counter "sekisho_connections_cut_total" ["cause"]
        "Open connections cut because what they stood on was taken away: identity, certificate, token, expired, network, lock, unjudged. ACC-3.";
    CONNECTIONS_REFUSED = Counter "sekisho_connections_refused_total" ["listener", "reason"]
        "Connections closed at the door or between requests, by reason.";
    HANDSHAKES = Counter "sekisho_handshakes_total" ["listener", "result"]
        "TLS handshakes: completed, or the reason why not.";
    PASS_CONNECTIONS = Gauge "sekisho_pass_connections" ["listener", "route"]
        "Connections that are being passed on. TLS-3.";
    PASSED = Counter "sekisho_passed_total" ["listener", "result", "route"]
        "Connections that were passed on and have ended, by how: closed, idle, client_reset, target_reset, target_silent, not_tls, no_target, target_gone, route_full, cut, revoked. TLS-3.";
    PASS_BYTES = Counter "sekisho_pass_bytes_total" ["direction", "listener", "route"]
        "Bytes passed on: up (from clients), down (to clients).";
    PASS_TARGET_UP = Gauge "sekisho_pass_target_up" ["listener", "route", "target"]
        "1 while connections are passed on to the target; 0 while it is left alone.";
    PASS_FAILURES = Counter "sekisho_pass_target_failures_total" ["listener", "reason", "route", "target"]
        "Connections to a target that failed, health checks included, by reason: refused, unreachable, timed_out, unresolved, not_tls, silent, local_shortage.";
    LOG_LINES = Counter "sekisho_log_lines_total" []
        "Lines written to the access log.";
    LOG_LINES_LOST = Counter "sekisho_log_lines_lost_total" []
        "Lines that could not be kept; each loss is reported in the log as well. LOG-1.";
    LOG_GATHERED = Counter "sekisho_log_gathered_total" []
        "Refused requests of callers who proved nothing that were counted in the log, not written whole. LOG-1.";
    LOG_REFUSALS = Counter "sekisho_log_full_total" []
        "Requests turned away because the log had no room for their line. LOG-1.";
    LOG_QUEUE = Gauge "sekisho_log_queue_lines" []
        "Lines promised or queued and not yet written.";
    SPACE_FREE = Gauge "sekisho_space_free_bytes" ["of"]
        "Room left for the gateway on the file system of the log or the state. LOG-1.";
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
    AGED_BEGINS = Gauge "sekisho_key_not_before_timestamp_seconds" ["kind", "name", "owner"]
        "Since when the oldest key, certificate, list or key set of this kind and owner counts, in seconds since 1970; its age is time() less that. TLS-5.";
    AGED_ENDS = Gauge "sekisho_key_not_after_timestamp_seconds" ["kind", "name", "owner"]
        "When the first of this kind and owner ends, in seconds since 1970; what is left is that less time(). TLS-5.";
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
    PERMIT_SECONDS = Gauge "sekisho_permit_seconds" []
        "Seconds until the host's permit to end TLS is over; 0 without a valid one. TLS-3.";
    LISTENER_ENDS_TLS = Gauge "sekisho_listener_ends_tls" ["listener"]
        "1 while this host may end TLS on the listener, with all of its certificates. TLS-3.";
    FRAMEWORK_EVENTS = Counter "sekisho_framework_events_total" ["level"]
        "Warnings and errors of the libraries below; their words are never logged. LOG-2.";
    PANICS = Counter "sekisho_panics_total" []
        "Panics caught. Each closed one connection at most.";
    BUILD_INFO = Gauge "sekisho_build_info" ["version"]
        "Always 1; the version is the label.";
    STARTED = Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970.";
}
