//! What a request pays for its line in the access log. Goal: 1 µs for room, formatting and queueing.
//! Run with `cargo bench --bench log_record`.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]
use std::fs;
use std::time::Duration;

use divan::{Bencher, black_box};
use sekisho::base::{ClientAddr, Clock, Moment, Name, PseudonymKey, RequestId, RequestIds, Secret};
use sekisho::evidence::{
    AccessRecord, Fixed, Nanos, Proof, Protocol, Record, SafeToken, TlsVersion,
};
use sekisho::observe::{LogSink, LogSpec, LogTarget, Metrics, Rotation};

fn main() {
    divan::main();
}

/// What a served call of orders/getOrderAddress leaves behind.
struct Served {
    now: Moment,
    id: RequestId,
    names: [Name; 6],
    source: sekisho::base::Pseudonym,
}

impl Served {
    fn new() -> Self {
        let now = Moment::new(1_795_342_500_123, 0);
        let key = PseudonymKey::of_day(&Secret::new([7; 32]), now.unix_day());
        let name = |text| Name::parse(text).unwrap();
        Self {
            now,
            id: RequestIds::new([1, 2]).issue(now),
            names: [
                name("orders/getOrderAddress"),
                name("label-printer"),
                name("shipping"),
                name("apps"),
                name("vpc"),
                name("amazon-fe"),
            ],
            source: ClientAddr::new([203, 0, 113, 77].into()).pseudonym(&key),
        }
    }

    fn record(&self) -> AccessRecord<'_> {
        let [operation, identity, role, listener, network, upstream] = &self.names;
        let mut record = AccessRecord::new(self.now, self.id);
        record.operation = Some(operation);
        record.method = Some(Fixed::new("GET"));
        record.status = Some(200);
        record.identity = Some(identity);
        record.proof = Some(Proof::BoundToken);
        record.role = Some(role);
        record.listener = Some(listener);
        record.network = Some(network);
        record.source = Some(self.source);
        record.source_day = Some(20_779);
        record.tls = Some(TlsVersion::V1_3);
        record.protocol = Some(Protocol::Http2);
        record.response_bytes = 1_834;
        record.duration = Nanos(Duration::from_micros(48_211));
        record.upstream = Some(upstream);
        record.upstream_first_byte = Some(Duration::from_micros(47_913));
        record.upstream_status = Some(200);
        record.amazon_request = SafeToken::parse(b"3f2504e0-4f89-41d3-9a0c-0305e82c3301");
        record.attempts = Some(1);
        record.generation = 12;
        record
    }
}

/// Formats the line into a buffer that is there.
#[divan::bench]
fn format(bencher: Bencher<'_, '_>) {
    let served = Served::new();
    let mut line = Vec::with_capacity(2_048);
    bencher.bench_local(|| {
        line.clear();
        black_box(served.record()).write_json(&mut line);
        black_box(&line);
    });
}

/// All that the request path does: room, the line, the queue. The writer's thread writes meanwhile,
/// so each line is written within the time measured, on as many cores as there are.
#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 50)]
fn reserve_and_write(bencher: Bencher<'_, '_>) {
    let dir = std::env::temp_dir().join(format!("sekisho-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let rotation =
        Rotation { bytes: u64::MAX, every: Duration::from_secs(86_400), keep: Duration::MAX };
    let target = LogTarget::File(dir.join("access.log"), rotation);
    let clock = Clock::system();
    let metrics = Metrics::new("bench", clock.now()).unwrap();
    let environment = Name::parse("bench").unwrap();
    // All samples fit, so that what is measured is never a wait for the disk.
    let spec = LogSpec { lines_max: 100_000, ..LogSpec::new(target, environment) };
    let log = LogSink::open(&spec, clock, metrics.log()).unwrap();
    let served = Served::new();
    bencher.bench(|| log.reserve().unwrap().write(&black_box(served.record())));
    log.close(Duration::from_secs(10)).unwrap();
    fs::remove_dir_all(&dir).unwrap();
}
