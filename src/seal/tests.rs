use proptest::prelude::*;
use zeroize::Zeroizing;

use super::jwe::derive;
use super::*;
use crate::base::{Secret, base64url};

fn host(seed: u8) -> HostKey {
    HostKey::new(Secret::new([seed; 32])).unwrap()
}

fn random(seed: u8) -> Zeroizing<[u8; RANDOM_BYTES]> {
    Zeroizing::new([seed; RANDOM_BYTES])
}

fn bytes(hex: &str) -> [u8; 32] {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// RFC 7748 §6.1.
const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
/// Sealed to Bob with Alice's key as the one that is used once, by pyca/cryptography: X25519,
/// `ConcatKDFHash`, AESGCM.
const BY_ANOTHER: &str = "eyJhbGciOiAiRUNESC1FUyIsICJlbmMiOiAiQTI1NkdDTSIsICJraWQiOiAiZ2lRcWlnVF9JS2N1ekhsMEZWSjNrNXRzM19UV05BeHZzQzA4VVpzZmNNOCIsICJlcGsiOiB7Imt0eSI6ICJPS1AiLCAiY3J2IjogIlgyNTUxOSIsICJ4IjogImhTRHdDWWt3cDFSMGkzM2N0RDczV2cyX09nMG1PQnIwNjZTcGpxcWJUbW8ifX0..AAECAwQFBgcICQoL.FBcKNm94SIeRgdk5FvEUO7ZjEZ6875s2GQ.9jpsm9D49JlDk0Z45yvSUA";

/// RFC 7518, appendix C.
#[test]
fn the_key_derivation_is_that_of_the_standard() {
    let shared = [
        158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110,
        163, 218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
    ];
    let key = derive(&shared, "A128GCM", [b"Alice", b"Bob"], 128);
    assert_eq!(base64url::encode(&key), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn the_agreement_is_that_of_the_standard() {
    let [alice, bob] = [ALICE, BOB].map(|key| HostKey::new(Secret::new(bytes(key))).unwrap());
    let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    assert_eq!(alice.public().bytes(), &bytes(public));
    let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    assert_eq!(*alice.agree(&bob.public()).unwrap(), bytes(shared));
    assert_eq!(*bob.agree(&alice.public()).unwrap(), bytes(shared));
    let zeros = Recipient::parse(&format!("x25519:{}", base64url::encode(&[0; 32]))).unwrap();
    assert!(alice.agree(&zeros).is_err(), "a point of small order");
}

#[test]
fn what_another_program_sealed_opens() {
    let bob = HostKey::new(Secret::new(bytes(BOB))).unwrap();
    assert_eq!(open(BY_ANOTHER.as_bytes(), &bob).unwrap().as_slice(), b"sealed by another program");
    assert!(is_sealed(BY_ANOTHER.as_bytes()));
}

#[test]
fn tls_3_what_is_sealed_opens_on_its_host_only() {
    let (own, other) = (host(1), host(2));
    let sealed = seal(b"the key", &own.public(), &random(7)).unwrap();
    assert_eq!(open(sealed.as_bytes(), &own).unwrap().as_slice(), b"the key");
    assert_eq!(open(sealed.as_bytes(), &other), Err(SealFault::OtherHost));
    // Its name in the header is not what protects it.
    let (header, rest) = sealed.split_once('.').unwrap();
    let header = String::from_utf8(base64url::decode(header.as_bytes()).unwrap()).unwrap();
    let header = header.replace(&own.public().id(), &other.public().id());
    let renamed = format!("{}.{rest}", base64url::encode(header.as_bytes()));
    assert_eq!(open(renamed.as_bytes(), &other), Err(SealFault::Forged));
}

#[test]
fn tls_3_a_sealed_text_that_was_changed_or_cut_does_not_open() {
    let own = host(1);
    let sealed = seal(b"the key", &own.public(), &random(7)).unwrap();
    let text = sealed.trim_end().as_bytes();
    for at in 0..text.len() {
        let mut changed = text.to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(open(&changed, &own).is_err(), "byte {at}");
        assert!(open(&text[..at], &own).is_err(), "cut at {at}");
    }
    assert_eq!(open(&vec![b'e'; 1 << 20], &own), Err(SealFault::TooLarge));
    assert_eq!(
        seal(&vec![0; PLAIN_BYTES_MAX + 1], &own.public(), &random(7)),
        Err(SealFault::TooLarge)
    );
    let largest = seal(&vec![0; PLAIN_BYTES_MAX], &own.public(), &random(7)).unwrap();
    assert_eq!(open(largest.as_bytes(), &own).unwrap().len(), PLAIN_BYTES_MAX);
}

#[test]
fn no_other_algorithm_is_taken() {
    let own = host(1);
    let sealed = seal(b"the key", &own.public(), &random(7)).unwrap();
    let (header, rest) = sealed.split_once('.').unwrap();
    let header = String::from_utf8(base64url::decode(header.as_bytes()).unwrap()).unwrap();
    for (from, to, fault) in [
        ("ECDH-ES", "dir", SealFault::Algorithm),
        ("A256GCM", "A128GCM", SealFault::Algorithm),
        ("X25519", "P-256", SealFault::Algorithm),
        ("\"alg\"", "\"zip\":\"DEF\",\"alg\"", SealFault::Malformed),
    ] {
        let header = base64url::encode(header.replace(from, to).as_bytes());
        assert_eq!(open(format!("{header}.{rest}").as_bytes(), &own), Err(fault), "{to}");
    }
}

proptest! {
    #[test]
    fn everything_survives_the_way_there_and_back(plain: Vec<u8>, seed: u8) {
        let own = host(seed);
        let sealed = seal(&plain, &own.public(), &random(seed)).unwrap();
        let opened = open(sealed.as_bytes(), &own).unwrap();
        prop_assert_eq!(opened.as_slice(), plain.as_slice());
        let key = HostKey::of_pem(own.to_pem().as_bytes()).unwrap();
        prop_assert_eq!(key.public(), own.public());
        prop_assert_eq!(Recipient::parse(&own.public().to_string()), Some(own.public()));
    }

    #[test]
    fn nothing_that_comes_from_elsewhere_opens(bytes: Vec<u8>) {
        prop_assert!(open(&bytes, &host(1)).is_err());
    }
}
