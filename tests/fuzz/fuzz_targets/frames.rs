//! MON-5: an HTTP/2 client's frames are judged alike however they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::listen::frames::{FrameGuard, FrameLimits, FrameStep};

const LIMITS: FrameLimits = FrameLimits { control_max: 5, window_ns: 1_000, frame_max: 100 };

fn judge(bytes: &[u8], size: usize, now_ns: u64) -> (FrameStep, u64) {
    let mut guard = FrameGuard::new(LIMITS);
    let preface = guard.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 0);
    assert_eq!(preface, FrameStep::Ok);
    let mut step = FrameStep::Ok;
    for piece in bytes.chunks(size) {
        step = guard.feed(piece, now_ns);
    }
    (step, guard.headers_seen())
}

fuzz_target!(|input: (u8, u64, &[u8])| {
    let (size, now_ns, bytes) = input;
    let whole = judge(bytes, bytes.len().max(1), now_ns);
    assert_eq!(judge(bytes, usize::from(size) + 1, now_ns), whole);
    assert_eq!(judge(bytes, 1, now_ns), whole);
    // Without the preface as well.
    let _ = FrameGuard::new(LIMITS).feed(bytes, now_ns);
});
