//! TLS-3: a hello is read alike however it is split, and its name is one that can be looked up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::listen::hello::{HELLO_BYTES_MAX, HelloReader, HelloStep};

fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, size) = input;
    let whole = HelloReader::new().feed(bytes);
    let (mut torn, mut step, mut fed) = (HelloReader::new(), Ok(HelloStep::NeedMore), 0);
    for piece in bytes.chunks(usize::from(size.max(1))) {
        step = torn.feed(piece);
        fed += piece.len();
        if step != Ok(HelloStep::NeedMore) {
            break;
        }
    }
    assert_eq!(step, whole);
    if whole == Ok(HelloStep::NeedMore) {
        assert!(fed < HELLO_BYTES_MAX);
    }
    if let Ok(HelloStep::Done { server_name: Some(name) }) = whole {
        assert!(name.len() <= 253 && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
});
