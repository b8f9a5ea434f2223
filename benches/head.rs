//! What the front door's byte guards cost (MON-5). Goal: below 200 ns for a head of 600 bytes.
//! `cargo bench --bench head`
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sekisho::listen::chunked::{ChunkGuard, ChunkStep};
use sekisho::listen::frames::{FrameGuard, FrameLimits, FrameStep};
use sekisho::listen::head::{HeadGuard, HeadLimits, HeadStep};

const LIMITS: HeadLimits = HeadLimits { bytes_max: 32 << 10, count_max: 100, target_max: 8 << 10 };

fn main() {
    divan::main();
}

/// What an SP-API client sends, with a token of `token` bytes.
fn head(token: usize) -> Vec<u8> {
    format!(
        "GET /orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&CreatedAfter=2026-01-01T00%3A00%3A00Z HTTP/1.1\r\n\
         Host: sellingpartnerapi-fe.example.com\r\n\
         User-Agent: label-printer/2.4 (Language=Rust/1.90; Platform=Linux)\r\n\
         Accept: application/json\r\n\
         Accept-Encoding: identity\r\n\
         x-amz-date: 20260101T000000Z\r\n\
         Content-Type: application/json; charset=utf-8\r\n\
         x-request-source: warehouse-tokyo-3\r\n\
         Authorization: Bearer {}\r\n\
         Connection: keep-alive\r\n\r\n",
        "a".repeat(token)
    )
    .into_bytes()
}

/// Whole heads in one chunk, by token length; 170 makes about 600 bytes.
#[divan::bench(args = [170, 1_200])]
fn head_whole(bencher: Bencher<'_, '_>, token: usize) {
    let head = head(token);
    let mut guard = HeadGuard::new(LIMITS);
    bencher.counter(BytesCount::of_slice(&head)).bench_local(|| {
        guard.reset();
        let step = guard.feed(black_box(&head));
        assert_eq!(step, HeadStep::Done { head_len_in_chunk: head.len() });
    });
}

/// The same in pieces of so many bytes.
#[divan::bench(args = [1, 16, 128])]
fn head_torn(bencher: Bencher<'_, '_>, size: usize) {
    let head = head(170);
    let mut guard = HeadGuard::new(LIMITS);
    bencher.counter(BytesCount::of_slice(&head)).bench_local(|| {
        guard.reset();
        for piece in black_box(&head).chunks(size) {
            assert!(!matches!(guard.feed(piece), HeadStep::Refuse(_)));
        }
    });
}

/// A body of 64 chunks of 4 KiB, read in pieces of 16 KiB.
#[divan::bench]
fn chunked_body(bencher: Bencher<'_, '_>) {
    let part = [&b"1000\r\n"[..], &[b'x'; 4_096], b"\r\n"].concat();
    let body = [part.repeat(64).as_slice(), b"0\r\n\r\n"].concat();
    bencher.counter(BytesCount::of_slice(&body)).bench_local(|| {
        let mut guard = ChunkGuard::new();
        for piece in black_box(&body).chunks(16 << 10) {
            assert!(!matches!(guard.feed(piece), ChunkStep::Refuse(_)));
        }
    });
}

/// A hundred requests of one HEADERS frame each, on an open connection.
#[divan::bench]
fn http2_requests(bencher: Bencher<'_, '_>) {
    let request = [&[0, 0, 64, 1, 5, 0, 0, 0, 1][..], &[0; 64]].concat();
    let requests = request.repeat(100);
    let limits = FrameLimits { control_max: 1_000, window_ns: 10_000_000_000, frame_max: 16_384 };
    let mut guard = FrameGuard::new(limits);
    let start = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    assert_eq!(guard.feed(&start, 0), FrameStep::Ok);
    bencher.counter(BytesCount::of_slice(&requests)).bench_local(|| {
        assert_eq!(guard.feed(black_box(&requests), 0), FrameStep::Ok);
    });
}
