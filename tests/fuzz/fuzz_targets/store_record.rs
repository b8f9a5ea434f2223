//! ACC-2, MON-5: a record from the shared store has one reading or none, and the order in which
//! gateways merge is the order of its bytes, which is what Redis compares.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::store::{BlobKey, CounterKey, LOCK_VALUE_MAX, LeaseKey, LockKey, Register, VALUE_MAX};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (one, two) = input;
    let read = |bytes| Register::decode(bytes, LOCK_VALUE_MAX);
    if let Ok(register) = read(one) {
        assert!(register.value.len() <= LOCK_VALUE_MAX);
        assert_eq!(register.encode(), one);
        assert_eq!(Register::decode(one, VALUE_MAX), Ok(register.clone()));
        assert!(read(&one[..one.len() - 1]).is_err());
        if let Ok(other) = read(two) {
            assert_eq!(register.cmp(&other), one.cmp(two));
            let merged = register.clone().merge(other.clone());
            assert_eq!(merged, other.merge(register.clone()));
            assert!(merged >= register);
        }
    }
    assert!(LockKey::decode(one).map_or(true, |key| key.encode() == one));
    assert!(BlobKey::decode(one).map_or(true, |key| key.encode() == one));
    assert!(CounterKey::decode(one).map_or(true, |key| key.encode() == one));
    assert!(LeaseKey::decode(one).map_or(true, |key| key.encode() == one));
});
