//! What a client certificate says about its holder. The chain was verified by rustls before; this
//! only extracts, and takes no name from the subject: a common name is free text (RFC 6125 §2.3).
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Each name costs one look-up per request, so their number is bounded.
const NAMES_MAX: usize = 32;
const DER_MAX: usize = 64 * 1024;

/// A verified client certificate, reduced to what can identify its holder.
pub struct PeerCertificate {
    sha256: [u8; 32],
    spki_sha256: [u8; 32],
    san_uri: Box<[Box<str>]>,
    san_dns: Box<[Box<str>]>,
    not_after: u64,
}

/// Why a certificate can't identify anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// Longer than 64 KiB.
    TooLarge,
    /// No X.509 certificate in DER, or bytes after it.
    Form,
    /// Its subject alternative names can't be read, or are given twice.
    Names,
    /// More than 32 URIs and DNS names.
    TooManyNames,
}

impl PeerCertificate {
    /// Reads the end-entity certificate of a handshake whose chain has been verified.
    ///
    /// # Errors
    /// If it is no certificate, or its names can't be read in one way only.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateFault> {
        if der.len() > DER_MAX {
            return Err(CertificateFault::TooLarge);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| CertificateFault::Form)?;
        if !rest.is_empty() {
            return Err(CertificateFault::Form);
        }
        let names = certificate.subject_alternative_name().map_err(|_| CertificateFault::Names)?;
        let mut san_uri: Vec<Box<str>> = Vec::new();
        let mut san_dns: Vec<Box<str>> = Vec::new();
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            if let GeneralName::URI(uri) = name {
                san_uri.push(Box::from(*uri));
            } else if let GeneralName::DNSName(dns) = name {
                // DNS names are equal without regard to case (RFC 5280 §7.2); URIs are not.
                san_dns.push(dns.to_ascii_lowercase().into());
            }
            if san_uri.len() + san_dns.len() > NAMES_MAX {
                return Err(CertificateFault::TooManyNames);
            }
        }
        let not_after = certificate.validity().not_after.timestamp();
        Ok(Self {
            sha256: sha256(der),
            spki_sha256: sha256(certificate.public_key().raw),
            san_uri: san_uri.into(),
            san_dns: san_dns.into(),
            not_after: u64::try_from(not_after).unwrap_or(0),
        })
    }

    /// SHA-256 of the whole certificate: `x5t#S256` of RFC 8705 §3.1.
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, as pins are written (RFC 7469 §2.4).
    pub const fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    /// URIs among the subject alternative names, as they are written.
    pub fn san_uri(&self) -> impl Iterator<Item = &str> {
        self.san_uri.iter().map(AsRef::as_ref)
    }

    /// DNS names among the subject alternative names, in lower case.
    pub fn san_dns(&self) -> impl Iterator<Item = &str> {
        self.san_dns.iter().map(AsRef::as_ref)
    }

    /// The last second of validity, since 1970-01-01T00:00:00Z (RFC 5280 §4.1.2.5: inclusive).
    pub const fn not_after(&self) -> u64 {
        self.not_after
    }
}

/// Prints no name: a person's certificate is personal data.
impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("uris", &self.san_uri.len())
            .field("dns_names", &self.san_dns.len())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType};

    fn certificate(sans: Vec<SanType>) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        params.distinguished_name.push(DnType::CommonName, "cn.example.com");
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        (params.self_signed(&key).unwrap().der().to_vec(), key)
    }

    #[test]
    fn acc_1_names_come_from_the_sans_and_never_from_the_common_name() {
        let (der, key) = certificate(vec![
            SanType::URI("spiffe://example.com/label-printer".try_into().unwrap()),
            SanType::DnsName("Printer.Example.com".try_into().unwrap()),
            SanType::Rfc822Name("hanako@example.com".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ]);
        let peer = PeerCertificate::parse(&der).unwrap();
        assert_eq!(peer.san_uri().collect::<Vec<_>>(), ["spiffe://example.com/label-printer"]);
        assert_eq!(peer.san_dns().collect::<Vec<_>>(), ["printer.example.com"]);
        assert_eq!(peer.sha256(), digest(&SHA256, &der).as_ref());
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert_eq!(peer.spki_sha256(), digest(&SHA256, &spki).as_ref());
        assert_eq!(peer.not_after(), 1_927_843_200);
        assert!(!format!("{peer:?}").contains("example"));
    }

    #[test]
    fn a_certificate_without_names_identifies_by_its_key_only() {
        let (der, _) = certificate(Vec::new());
        let peer = PeerCertificate::parse(&der).unwrap();
        assert_eq!(peer.san_uri().count() + peer.san_dns().count(), 0);
    }

    #[test]
    fn broken_doubled_or_endless_names_are_refused() {
        let (mut der, _) = certificate(Vec::new());
        der.push(0);
        assert_eq!(PeerCertificate::parse(&der).unwrap_err(), CertificateFault::Form);
        assert_eq!(PeerCertificate::parse(b"").unwrap_err(), CertificateFault::Form);
        let many = (0..33)
            .map(|n| SanType::DnsName(format!("h{n}.example.com").try_into().unwrap()))
            .collect();
        let refused = PeerCertificate::parse(&certificate(many).0).unwrap_err();
        assert_eq!(refused, CertificateFault::TooManyNames);
        let large = vec![0; DER_MAX + 1];
        assert_eq!(PeerCertificate::parse(&large).unwrap_err(), CertificateFault::TooLarge);

        // A second subjectAltName extension: which of the two counts is anybody's guess.
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        let second = vec![0x30, 0x03, 0x82, 0x01, b'b'];
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], second)];
        let twice = params.self_signed(&key).unwrap();
        assert!(PeerCertificate::parse(twice.der()).is_err());
    }

    proptest! {
        #[test]
        fn mutated_certificates_never_panic(place in 0_usize..400, flip in 1_u8..) {
            let (mut der, _) = certificate(vec![
                SanType::URI("spiffe://example.com/a".try_into().unwrap()),
            ]);
            let place = place % der.len();
            der[place] ^= flip;
            drop(PeerCertificate::parse(&der));
            drop(PeerCertificate::parse(&der[..place]));
        }
    }
}
