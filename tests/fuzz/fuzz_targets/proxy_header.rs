//! NET-3: a PROXY header is read alike however much of the connection has come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::listen::proxy_header::{Step, V2_BYTES_MAX, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Ok(Step::Done { consumed, .. }) = whole {
        assert!(consumed <= bytes.len().min(V2_BYTES_MAX));
        assert_eq!(parse(&bytes[..consumed]), whole);
        for torn in 0..consumed {
            assert_eq!(parse(&bytes[..torn]), Ok(Step::NeedMore));
        }
    }
    if whole == Ok(Step::NeedMore) {
        assert!(bytes.len() < V2_BYTES_MAX);
    }
});
