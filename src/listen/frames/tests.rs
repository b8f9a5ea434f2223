use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const LIMITS: FrameLimits =
    FrameLimits { control_max: 100, window_ns: 10 * SECOND, frame_max: 16_384 };
const PING: u8 = 0x6;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn open() -> Vec<u8> {
    [&PREFACE[..], &frame(SETTINGS, 0, 0, &[0; 12])].concat()
}

fn opened() -> FrameGuard {
    let mut guard = FrameGuard::new(LIMITS);
    assert_eq!(guard.feed(&open(), 0), FrameStep::Ok);
    guard
}

fn refused(fault: FrameFault) -> FrameStep {
    FrameStep::Refuse(fault)
}

#[test]
fn mon_5_only_http_2_passes() {
    for bad in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"\0"] {
        assert_eq!(FrameGuard::new(LIMITS).feed(bad, 0), refused(FrameFault::Preface));
    }
    let mut guard = FrameGuard::new(LIMITS);
    assert_eq!(guard.feed(PREFACE, 0), FrameStep::Ok);
    assert_eq!(guard.feed(&frame(PING, 0, 0, &[0; 8]), 0), refused(FrameFault::Preface));
    assert_eq!(guard.feed(&frame(SETTINGS, 0, 0, &[]), 0), refused(FrameFault::Preface));
}

#[test]
fn mon_5_control_floods_are_cut() {
    for (kind, flags, payload) in [
        (SETTINGS, 0, 0),
        (SETTINGS, 1, 0),
        (PING, 0, 8),
        (0x2, 0, 5),
        (RST_STREAM, 0, 4),
        (WINDOW_UPDATE, 0, 4),
        (DATA, 0, 0),
        (0x10, 0, 3),
        (0xff, 0, 0),
    ] {
        let mut guard = opened();
        let frame = frame(kind, flags, 1, &vec![0; payload]);
        for _ in 1..100 {
            assert_eq!(guard.feed(&frame, SECOND), FrameStep::Ok, "{kind}");
        }
        assert_eq!(guard.feed(&frame, SECOND), refused(FrameFault::Flood), "{kind}");
    }
}

#[test]
fn mon_5_requests_and_bodies_are_no_control_frames() {
    let mut guard = opened();
    for n in 0..10_000_u32 {
        let stream = 2 * n + 1;
        assert_eq!(guard.feed(&frame(HEADERS, END_HEADERS, stream, b"x"), 0), FrameStep::Ok);
        assert_eq!(guard.feed(&frame(DATA, 0, stream, b"x"), 0), FrameStep::Ok);
        assert_eq!(guard.feed(&frame(DATA, END_STREAM, stream, b""), 0), FrameStep::Ok);
        assert_eq!(guard.headers_seen(), u64::from(n) + 1);
    }
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"x");
    assert_eq!(guard.feed(&trailers, 0), FrameStep::Ok);
    assert_eq!(guard.headers_seen(), 10_000);
}

#[test]
fn mon_5_acknowledging_what_was_sent_is_no_flood() {
    let mut guard = opened();
    let update = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 1, 0]);
    for _ in 0..10_000 {
        guard.sent(2 * SENT_PER_UPDATE);
        assert_eq!(guard.feed(&[&update[..], &update].concat(), 0), FrameStep::Ok);
    }
    guard.sent(u64::MAX);
    for _ in 0..4_096 + 99 {
        assert_eq!(guard.feed(&update, 0), FrameStep::Ok);
    }
    assert_eq!(guard.feed(&update, 0), refused(FrameFault::Flood));
}

#[test]
fn mon_5_the_window_slides() {
    let mut guard = opened();
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut pass = |seconds: u64, count: u32| {
        (0..count).all(|_| guard.feed(&ping, seconds * SECOND) == FrameStep::Ok)
    };
    assert!(pass(9, 99));
    // Half of the hundred of 0..10 s still counts at 15 s.
    assert!(pass(15, 50));
    assert!(pass(25, 70));
    assert!(!pass(25, 10));
}

#[test]
fn mon_5_header_blocks_are_whole_and_short() {
    let start = frame(HEADERS, 0, 1, b"x");
    let more = frame(CONTINUATION, 0, 1, b"");
    let end = frame(CONTINUATION, END_HEADERS, 1, b"");
    let mut guard = opened();
    assert_eq!(guard.feed(&[&start[..], &more.repeat(7), &end].concat(), 0), FrameStep::Ok);
    let mut guard = opened();
    let long = [&start[..], &more.repeat(9)].concat();
    assert_eq!(guard.feed(&long, 0), refused(FrameFault::HeaderBlock));
    for bad in [
        end.clone(),
        [&start[..], &frame(DATA, 0, 1, b"x")].concat(),
        [&start[..], &frame(CONTINUATION, END_HEADERS, 3, b"")].concat(),
        [&start[..], &start].concat(),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"xxxx"),
    ] {
        assert_eq!(opened().feed(&bad, 0), refused(FrameFault::Order));
    }
}

#[test]
fn mon_5_an_oversized_frame_is_refused_by_its_header() {
    let mut guard = opened();
    let full = frame(DATA, 0, 1, &vec![0; 16_384]);
    assert_eq!(guard.feed(&full, 0), FrameStep::Ok);
    assert_eq!(guard.feed(&[0, 0x40, 0x01, DATA, 0, 0, 0, 0, 1], 0), refused(FrameFault::TooLarge));
}

fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    (0..12_u8, prop::sample::select(vec![0, END_STREAM, END_HEADERS, 5]), 0..4_u32, 0..40_usize)
        .prop_map(|(kind, flags, stream, length)| frame(kind, flags, stream, &vec![b'x'; length]))
}

proptest! {
    #[test]
    fn mon_5_frames_are_judged_alike_however_they_are_cut(
        frames in prop::collection::vec(some_frame(), 0..40),
        noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let limits = FrameLimits { control_max: 12, ..LIMITS };
        let mut bytes = open();
        bytes.extend(frames.concat());
        if let Some((at, byte)) = noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut whole = FrameGuard::new(limits);
        let verdict = whole.feed(&bytes, 5);
        let mut at: Vec<_> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let mut cut = FrameGuard::new(limits);
        let mut last = FrameStep::Ok;
        for pair in at.windows(2) {
            last = cut.feed(&bytes[pair[0]..pair[1]], 5);
        }
        prop_assert_eq!(last, verdict);
        prop_assert_eq!(cut.headers_seen(), whole.headers_seen());
    }
}
