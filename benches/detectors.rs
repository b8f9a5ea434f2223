//! What one observation costs, and, with `cargo bench --bench detectors -- table`, the table from
//! which the detectors' defaults were chosen: sixteen weeks of made-up traffic, of which the last
//! eleven count, and one attack at a time. `SEKISHO_IDENTITIES` (400) and `SEKISHO_SEEDS` ("7 11 21")
//! vary it.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "made-up numbers of a size that is known"
)]
#![allow(dead_code, reason = "the test suite uses what this does not")]
#[path = "../tests/suite/detectors/ladder.rs"]
mod ladder;
#[path = "../tests/suite/detectors/runs.rs"]
mod runs;
#[path = "../tests/suite/detectors/siege.rs"]
mod siege;
#[path = "../tests/suite/detectors/table.rs"]
mod table;
#[path = "../tests/suite/detectors/workload.rs"]
mod workload;

use sekisho::base::HashKey;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Error;

use divan::counter::BytesCount;
use sekisho::base::{IdentityIx, Moment, Name, OperationIx, UpstreamIx};
use sekisho::detect::{CanarySet, Event, Peers, Scan, Watch};
use sekisho::lockout::{
    Asked, Author, Cause, GatewayId, Imposed, LockTable, Places, Standings, Step, Subject, Trust,
    Until,
};

use runs::enforced;
use workload::{Caller, START_MS, at};

fn main() -> Result<(), Error> {
    if std::env::args().any(|argument| argument == "table") {
        let identities = std::env::var("SEKISHO_IDENTITIES").ok().and_then(|n| n.parse().ok());
        let seeds = std::env::var("SEKISHO_SEEDS").unwrap_or_else(|_| "7 11 21".to_owned());
        let seeds: Vec<u64> = seeds.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        table::print(&mut std::io::stdout().lock(), identities.unwrap_or(400), &seeds)
    } else {
        divan::main();
        Ok(())
    }
}

/// 100,000 watches, so that each observation meets memory that is not in the cache.
#[divan::bench(sample_count = 50, sample_size = 20)]
fn observe(bencher: divan::Bencher<'_, '_>) {
    let mut watches = vec![Watch::default(); 100_000];
    let (peers, settings) = (Peers::new(4), enforced());
    let mut caller = Caller::new(0, 7);
    let events: Vec<Event<'static>> = (0..1_000).map(|n| caller.event(0, n * 3_600)).collect();
    for watch in &mut watches {
        watch.observe(IdentityIx(0), &events[0], &peers, &settings);
    }
    let mut step = 0_usize;
    bencher.bench_local(|| {
        step = (step + 7_919) % watches.len();
        let event = &events[step % events.len()];
        watches[step].observe(IdentityIx(0), event, &peers, &settings).signals.is_empty()
    });
}

#[divan::bench]
fn observe_one_identity(bencher: divan::Bencher<'_, '_>) {
    let (mut watch, peers, settings) = (Watch::default(), Peers::new(4), enforced());
    let mut caller = Caller::new(0, 7);
    let events: Vec<Event<'static>> = (0..1_000).map(|n| caller.event(0, n * 3_600)).collect();
    let mut step = 0_usize;
    bencher.bench_local(|| {
        step += 1;
        let event = &events[step % events.len()];
        watch.observe(IdentityIx(0), event, &peers, &settings).signals.is_empty()
    });
}

/// 2 MB of an orders page, three thousand orders, and a hundred canaries that look like its ids.
#[divan::bench]
fn scan_for_canaries(bencher: divan::Bencher<'_, '_>) {
    let ids: Vec<String> = (0..100).map(|n| format!("902-{n:07}-7654321")).collect();
    let ids: Vec<_> = ids.iter().map(|id| (id.as_str(), None)).collect();
    let Ok(set) = CanarySet::build(HashKey::new([1; 16]), &ids) else { std::process::abort() };
    let mut page = Vec::new();
    let mut number = 0;
    while page.len() < 2_000_000 {
        number += 1;
        page.extend_from_slice(
            format!(
                "{{\"AmazonOrderId\":\"503-{number:07}-1234567\",\"PurchaseDate\":\"2026-03-02T10:00:00Z\",\
                 \"OrderStatus\":\"Unshipped\",\"OrderTotal\":{{\"CurrencyCode\":\"JPY\",\"Amount\":\"4980\"}},\
                 \"ShippingAddress\":{{\"Name\":\"A. Example\",\"AddressLine1\":\"1-2-3 Somewhere\",\
                 \"City\":\"Chiyoda-ku\",\"StateOrRegion\":\"Tokyo\",\"PostalCode\":\"100-0001\",\"CountryCode\":\"JP\"}}}},"
            )
            .as_bytes(),
        );
    }
    bencher.counter(BytesCount::new(page.len())).bench(|| {
        let mut scan = Scan::default();
        black_box(&page).chunks(16_384).all(|chunk| scan.feed(&set, chunk).hit.is_none())
    });
}

/// 100,000 identities, a thousand locks.
#[divan::bench]
fn standing(bencher: divan::Bencher<'_, '_>) {
    let now = Moment::new(START_MS, 1_000_000_000);
    let name = |text: &str| Name::parse(text).unwrap_or_else(|_| std::process::abort());
    let identities: BTreeMap<_, _> =
        (0..100_000).map(|n| (name(&format!("service-{n}")), IdentityIx(n))).collect();
    let operations = BTreeMap::from([(name("orders/getOrders"), OperationIx(0))]);
    let upstreams = BTreeMap::from([(name("amazon-fe"), UpstreamIx(0))]);
    let mut table = LockTable::new(now);
    let lock = Imposed {
        step: Step::Lock,
        until: Until::Released,
        cause: Cause::Volume,
        author: Author::Detector,
        shown: None,
    };
    for n in 0..1_000 {
        let subjects =
            [Subject::Identity(name(&format!("service-{}", n * 97))), Subject::Source(n)];
        for subject in subjects {
            if table.impose(&subject, &lock, GatewayId(1), now).is_err() {
                std::process::abort();
            }
        }
    }
    let places = Places { identities: &identities, operations: &operations, upstreams: &upstreams };
    let standings = Standings::compile(&table, places, now);
    let mut step = 0_u32;
    bencher.bench_local(|| {
        step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let asked = Asked {
            identity: Some(IdentityIx(step % 100_000)),
            trust: Trust::Stranger,
            source: u64::from(step),
            operation: Some(OperationIx(0)),
            upstream: Some(UpstreamIx(0)),
            account: Some(u64::from(step)),
            order: None,
        };
        black_box(&standings).standing(&asked, at(0, 0)).step
    });
}
