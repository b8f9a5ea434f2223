//! TLS-3: a permit, a sealed key and the record of the latest time are read within bounds, and nothing
//! that nobody signed counts; what is read as a permit is written as the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sekisho::base::{Moment, Name, Secret};
use sekisho::permit::{
    Expected, Fact, FactKind, HostFacts, PermitFault, Signer, clock, read_unverified, verify,
};
use sekisho::seal::{self, HostKey};

struct Nobody;

impl HostFacts for Nobody {
    fn fact(&self, _: FactKind) -> Option<Fact> {
        None
    }
}

fuzz_target!(|bytes: &[u8]| {
    let signer = Signer::new(Secret::new([1; 32])).unwrap();
    let (environment, issuers) = (Name::parse("test").unwrap(), [signer.public()]);
    let expected =
        Expected { environment: &environment, issuers: &issuers, host: &Nobody, latest: None };
    let now = Moment::new(1_795_342_500_000, 0);
    assert!(verify(bytes, &expected, now).is_err());
    if let Ok((claims, _)) = read_unverified(bytes) {
        let again = signer.sign(&claims);
        assert_eq!(read_unverified(again.as_bytes()), Ok((claims, signer.public().id())));
        let fault = verify(again.as_bytes(), &expected, now).unwrap_err();
        assert!(fault != PermitFault::Signature && fault != PermitFault::Torn);
    }
    let key = HostKey::new(Secret::new([2; 32])).unwrap();
    assert!(seal::open(bytes, &key).is_err());
    assert!(!matches!(clock::read(bytes, "host", &Secret::new([3; 32])), Ok(Some(_))));
});
