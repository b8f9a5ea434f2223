//! One quota decision: test and charge of all windows that apply. Target: 200 ns for two windows.
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use divan::counter::ItemsCount;
use sekisho::base::{Clock, IdentityIx, LimitIx, Moment, Name, OperationIx, UpstreamIx};
use sekisho::policy::{LimitSpec, Measure, Mode, Sharing, Window};
use sekisho::state::Quotas;

const IDENTITIES: u32 = 10_000;
const OPERATION: OperationIx = OperationIx(200);
const UPSTREAM: UpstreamIx = UpstreamIx(1);

fn main() {
    divan::main();
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap_or_else(|_| std::process::abort())
}

/// Every identity is under five limits; two windows, or one exhausted window, apply.
fn quotas(windows: &[Window]) -> Quotas {
    let specs: Vec<_> = (0..5_u16)
        .map(|ix| LimitSpec {
            name: name(&format!("limit-{ix}")),
            operations: if ix == 3 { vec![OPERATION] } else { vec![OperationIx(ix)] },
            upstreams: None,
            measure: Measure::Requests(windows.to_vec()),
            sharing: Sharing::Each,
            mode: Mode::Enforced,
        })
        .collect();
    let limits: Vec<_> = (0..5).map(LimitIx).collect();
    let identities: Vec<_> =
        (0..IDENTITIES).map(|ix| (name(&format!("service-{ix}")), limits.clone())).collect();
    Quotas::build(&specs, &identities).unwrap_or_else(|_| std::process::abort())
}

fn per(count: u32, secs: u64) -> Window {
    Window { count, per: Duration::from_secs(secs), burst: None }
}

/// A walk over identities that defeats the prefetcher, as callers would.
fn walk(step: &mut u32) -> IdentityIx {
    *step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    IdentityIx(*step % IDENTITIES)
}

#[divan::bench(threads = [1, 2])]
fn two_windows_one_identity(bencher: divan::Bencher<'_, '_>) {
    let (quotas, now) = (quotas(&[per(900_000, 1), per(50_000_000, 60)]), Clock::system().now());
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench(|| black_box(&quotas).charge(IdentityIx(7), OPERATION, UPSTREAM, black_box(now)));
}

#[divan::bench(threads = [1, 2], sample_size = 100)]
fn two_windows_ten_thousand_identities(bencher: divan::Bencher<'_, '_>) {
    let quotas = quotas(&[per(900_000, 1), per(50_000_000, 60)]);
    let now = Clock::system().now();
    let starts = AtomicU32::new(0);
    bencher.counter(ItemsCount::new(100_u32)).bench(|| {
        // Another stretch of the walk each time, or a hundred identities would stay in the cache.
        let mut step = starts.fetch_add(7_919, Ordering::Relaxed);
        for _ in 0..100 {
            let _ = black_box(black_box(&quotas).charge(walk(&mut step), OPERATION, UPSTREAM, now));
        }
    });
}

#[divan::bench]
fn refused(bencher: divan::Bencher<'_, '_>) {
    let (quotas, now) = (quotas(&[per(1, 1), per(1, 60)]), Moment::new(0, 1));
    let _ = quotas.charge(IdentityIx(7), OPERATION, UPSTREAM, now);
    bencher.bench(|| black_box(&quotas).charge(IdentityIx(7), OPERATION, UPSTREAM, black_box(now)));
}

#[divan::bench]
fn header_fields(bencher: divan::Bencher<'_, '_>) {
    let (quotas, now) = (quotas(&[per(10, 1), per(300, 60)]), Moment::new(0, 1));
    let standing = quotas
        .charge(IdentityIx(7), OPERATION, UPSTREAM, now)
        .ok()
        .and_then(|charged| charged.tightest);
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        quotas.write_policy(IdentityIx(7), OPERATION, UPSTREAM, &mut out);
        if let Some(standing) = &standing {
            quotas.write_standing(standing, &mut out);
        }
        out.len()
    });
}
