//! MON-5: a chunked body ends in the same place however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::base::HeadFault;
use sekisho::listen::chunked::{ChunkGuard, ChunkStep};

fn judge(bytes: &[u8], size: usize) -> Result<Option<usize>, HeadFault> {
    let mut guard = ChunkGuard::new();
    let mut before = 0;
    for piece in bytes.chunks(size) {
        match guard.feed(piece) {
            ChunkStep::NeedMore => before += piece.len(),
            ChunkStep::Done { body_len_in_chunk } => return Ok(Some(before + body_len_in_chunk)),
            ChunkStep::Refuse(fault) => return Err(fault),
        }
    }
    Ok(None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = judge(bytes, bytes.len().max(1));
    assert_eq!(judge(bytes, usize::from(size) + 1), whole);
    assert_eq!(judge(bytes, 1), whole);
    if let Ok(Some(end)) = whole {
        assert!(bytes[..end].ends_with(b"\r\n\r\n"));
        assert_eq!(judge(&bytes[..end - 1], end), Ok(None));
    }
});
