//! ACC-3: lists of revoked certificates that no handshake could be judged by.
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SigningKey as _};
use x509_parser::parse_x509_certificate;

use super::support::{changed, position, world};
use crate::base::ControlId::Acc3;

const LISTED: &str = "client_ca = \"tls/clients.pem\"\nclient_crl = [\"tls/old.crl\"]";
/// ecdsa-with-SHA256 (RFC 5758 §3.2).
const ALGORITHM: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// A value of less than 64 KiB in DER.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length: &[u8] = match content.len() {
        0..0x80 => &[low],
        0x80..0x100 => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag][..], length, &content].concat()
}

#[test]
fn acc_3_a_list_that_no_handshake_is_judged_by_is_a_mistake_of_its_own() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let (_, own) = parse_x509_certificate(ca.der()).unwrap();
    let time = |text: &[u8]| tlv(0x17, &[text]);
    // Of version 1: it says so by saying nothing.
    let (from, to) = (time(b"261101000000Z"), time(b"270101000000Z"));
    let body = tlv(0x30, &[ALGORITHM, own.subject().as_raw(), &from, &to]);
    let signature = ca.key().sign(&body).unwrap();
    let list = tlv(0x30, &[&body, ALGORITHM, &tlv(0x03, &[&[0], &signature])]);
    let text = changed("client_ca = \"tls/ca.pem\"", LISTED);
    let world = world(&text).with("tls/clients.pem", ca.pem()).with("tls/old.crl", list);
    let errors = world.load().unwrap_err();
    let [error] = errors.errors.as_slice() else { panic!("{errors}") };
    assert_eq!((error.line, error.column), position(&text, "\"tls/old.crl\""));
    assert_eq!(error.control, Some(Acc3));
    assert!(error.found.contains("tls/old.crl") && error.found.contains("a kind"), "{errors}");
    assert!(error.instead.contains("version 2"), "{errors}");
}
