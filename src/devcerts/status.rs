//! What an authority says of the certificates it issued: lists of revoked ones (RFC 5280 §5) and OCSP
//! responses (RFC 6960).
use std::time::Duration;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams,
    SerialNumber, SigningKey, date_time_ymd,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::DevCertsError;
use super::authority::{DevCa, Leaf, generate, sha256};
use crate::base::{Moment, Utc};

/// What an OCSP response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Good,
    /// Since then, in seconds since 1970.
    Revoked(u64),
    Unknown,
}

impl DevCa {
    /// A list in PEM that counts from `from` to `to`, in seconds since 1970.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn revocation_list(
        &self,
        revoked: &[&Leaf],
        (from, to): (u64, u64),
    ) -> Result<String, DevCertsError> {
        let epoch = date_time_ymd(1970, 1, 1);
        let at = |secs| epoch + Duration::from_secs(secs);
        let revoked_certs = revoked
            .iter()
            .map(|leaf| {
                Ok(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial(leaf)?),
                    revocation_time: at(from),
                    reason_code: Some(RevocationReason::KeyCompromise),
                    invalidity_date: None,
                })
            })
            .collect::<Result<Vec<_>, DevCertsError>>()?;
        let list = CertificateRevocationListParams {
            this_update: at(from),
            next_update: at(to),
            crl_number: SerialNumber::from(from),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(generate)
    }

    /// A response in DER about a leaf, signed by the authority itself.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn ocsp_response(
        &self,
        leaf: &Leaf,
        says: Says,
        (from, to): (u64, u64),
    ) -> Result<Vec<u8>, DevCertsError> {
        let own = self.certificate();
        let (_, own) = X509Certificate::from_der(&own).map_err(|_| DevCertsError::Generate)?;
        let sha256_algorithm = tlv(0x30, &[&tlv(0x06, &[SHA256])]);
        let id = tlv(
            0x30,
            &[
                &sha256_algorithm,
                &tlv(0x04, &[&sha256(own.subject().as_raw())]),
                &tlv(0x04, &[&sha256(&own.public_key().subject_public_key.data)]),
                &tlv(0x02, &[&serial(leaf)?]),
            ],
        );
        let status = match says {
            Says::Good => tlv(0x80, &[]),
            Says::Revoked(since) => tlv(0xa1, &[&time(since)]),
            Says::Unknown => tlv(0x82, &[]),
        };
        let single = tlv(0x30, &[&id, &status, &time(from), &tlv(0xa0, &[&time(to)])]);
        let by = tlv(0xa1, &[own.subject().as_raw()]);
        let data = tlv(0x30, &[&by, &time(from), &tlv(0x30, &[&single])]);
        let signature = self.issuer.key().sign(&data).map_err(generate)?;
        let algorithm = tlv(0x30, &[&tlv(0x06, &[ECDSA_SHA256])]);
        let basic = tlv(0x30, &[&data, &algorithm, &tlv(0x03, &[&[0], &signature])]);
        let bytes = tlv(0x30, &[&tlv(0x06, &[BASIC]), &tlv(0x04, &[&basic])]);
        Ok(tlv(0x30, &[&tlv(0x0a, &[&[0]]), &tlv(0xa0, &[&bytes])]))
    }
}

const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

fn serial(leaf: &Leaf) -> Result<Vec<u8>, DevCertsError> {
    let chain = leaf.chain();
    let der = chain.first().ok_or(DevCertsError::Generate)?;
    let (_, leaf) = X509Certificate::from_der(der).map_err(|_| DevCertsError::Generate)?;
    Ok(leaf.raw_serial().to_vec())
}

fn time(unix_secs: u64) -> Vec<u8> {
    let text = Utc::of(Moment::new(unix_secs.saturating_mul(1_000), 0)).rfc3339();
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).take(14).collect();
    tlv(0x18, &[&digits, b"Z"])
}

/// Tag, length, value (X.690 §8.1), the value in parts.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let mut out = vec![tag];
    let length = value.len().to_be_bytes();
    let digits: Vec<u8> = length.iter().copied().skip_while(|digit| *digit == 0).collect();
    match (value.len(), u8::try_from(digits.len())) {
        (0..=0x7f, _) => out.push(digits.first().copied().unwrap_or(0)),
        (_, Ok(count)) => {
            out.push(0x80 | count);
            out.extend_from_slice(&digits);
        }
        (_, Err(_)) => {}
    }
    out.extend_from_slice(&value);
    out
}
