//! MON-5: a request head is judged alike however it is cut, and what passes has one reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::listen::head::{BodyFraming, HeadGuard, HeadLimits, HeadStep};

const LIMITS: HeadLimits = HeadLimits { bytes_max: 1_000, count_max: 10, target_max: 200 };

fn judge<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (HeadStep, BodyFraming) {
    let mut guard = HeadGuard::new(LIMITS);
    let mut before = 0;
    for piece in pieces {
        match guard.feed(piece) {
            HeadStep::NeedMore => before += piece.len(),
            HeadStep::Done { head_len_in_chunk } => {
                let head_len_in_chunk = before + head_len_in_chunk;
                return (HeadStep::Done { head_len_in_chunk }, guard.body());
            }
            HeadStep::Refuse(fault) => return (HeadStep::Refuse(fault), BodyFraming::None),
        }
    }
    (HeadStep::NeedMore, BodyFraming::None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = judge([bytes].into_iter());
    assert_eq!(judge(bytes.chunks(usize::from(size) + 1)), whole);
    assert_eq!(judge(bytes.chunks(1)), whole);
    let (HeadStep::Done { head_len_in_chunk }, framing) = whole else { return };
    let head = &bytes[..head_len_in_chunk];
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let head = head.strip_suffix(b"\r\n\r\n").expect("a head ends in an empty line");
    let lines: Vec<_> = head.split(|b| *b == b'\n').collect();
    assert!(lines.iter().rev().skip(1).all(|line| line.ends_with(b"\r") && line.len() > 1));
    assert_eq!(head.iter().filter(|b| **b == b'\r').count(), lines.len() - 1);
    let named = |name: &[u8]| {
        lines
            .iter()
            .skip(1)
            .filter(|line| {
                line.iter()
                    .position(|b| *b == b':')
                    .is_some_and(|end| line[..end].eq_ignore_ascii_case(name))
            })
            .count()
    };
    assert_eq!(named(b"host"), 1);
    match framing {
        BodyFraming::None => assert_eq!(named(b"content-length") + named(b"transfer-encoding"), 0),
        BodyFraming::Length(_) => {
            assert_eq!((named(b"content-length"), named(b"transfer-encoding")), (1, 0));
        }
        BodyFraming::Chunked => {
            assert_eq!((named(b"content-length"), named(b"transfer-encoding")), (0, 1));
        }
    }
});
