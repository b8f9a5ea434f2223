//! Lists of revoked certificates, made ready to be asked often (ACC-3).
//!
//! A list may have 16 MiB, and rustls verifies its signature anew for each certificate that it looks up.
//! A handshake can bear that; a look at all open connections can't, nor can the requests that wait for
//! theirs. The signature was verified when the list was read, so here only serial numbers are left.
//! 1. What is decided here is what a handshake would decide now. What can't be decided alike, is left
//!    to the handshake's own verifier.
//! 2. A serial takes 21 bytes, less than in the list itself.
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;

use super::tls::Verifier;
use crate::base::Moment;
use crate::config::RevocationList;

/// Whether somebody who showed a certificate would be let in by it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Goes,
    /// The verifier has to be asked.
    Unclear,
}

/// The lists of one listener's authorities.
#[derive(Debug)]
pub(super) struct Revoked {
    /// Judges all but revocation.
    verifier: Verifier,
    lists: Vec<List>,
}

/// What one authority revoked.
#[derive(Debug)]
struct List {
    /// The authority's name, in DER.
    issuer: Vec<u8>,
    /// Sorted.
    serials: Vec<Serial>,
    /// In seconds since 1970.
    ends: u64,
}

/// A serial number has 20 bytes at most (RFC 5280 §4.1.2.2); their count comes first.
type Serial = [u8; 21];

fn serial(raw: &[u8]) -> Option<Serial> {
    let mut serial = [0; 21];
    let (count, bytes) = serial.split_first_mut()?;
    *count = u8::try_from(raw.len()).ok()?;
    bytes.get_mut(..raw.len())?.copy_from_slice(raw);
    Some(serial)
}

impl Revoked {
    /// Lists that leave anything open are left out: of an authority that shares its name or has several
    /// of them, and those that speak of a part of its certificates only.
    pub(super) fn new(
        verifier: Verifier,
        authorities: &[CertificateDer<'_>],
        lists: &[RevocationList],
    ) -> Self {
        let authorities: Vec<X509Certificate<'_>> = authorities
            .iter()
            .filter_map(|authority| Some(parse_x509_certificate(authority).ok()?.1))
            .collect();
        let lists: Vec<Option<List>> = lists.iter().map(List::of).collect();
        let of_name = |issuer: &[u8]| {
            let named = authorities.iter().filter(|own| own.subject().as_raw() == issuer);
            let listed = lists.iter().flatten().filter(|list| list.issuer == issuer);
            (named.count(), listed.count())
        };
        // One that can't be read may be of anybody.
        let all_read = lists.iter().all(Option::is_some);
        let alone: Vec<bool> = lists
            .iter()
            .map(|list| list.as_ref().is_some_and(|list| of_name(&list.issuer) == (1, 1)))
            .collect();
        let clear = lists.into_iter().zip(alone).filter(|(_, alone)| all_read && *alone);
        Self { verifier, lists: clear.filter_map(|(list, _)| list).collect() }
    }

    pub(super) fn judge(&self, chain: &[CertificateDer<'static>], now: Moment) -> Verdict {
        let Some(leaf) = chain.first() else { return Verdict::Unclear };
        let Ok((_, parsed)) = parse_x509_certificate(leaf) else { return Verdict::Unclear };
        let issuer = parsed.issuer().as_raw();
        let Some(list) = self.lists.iter().find(|list| list.issuer == issuer) else {
            return Verdict::Unclear;
        };
        // By the one authority of this name itself, whose list it is; any other way that leads to an
        // authority is none of which a list speaks, or this list again.
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unix_secs()));
        if self.verifier.verify_client_cert(leaf, &[], time).is_err() {
            return Verdict::Unclear;
        }
        let Some(serial) = serial(parsed.raw_serial()) else { return Verdict::Unclear };
        if now.unix_secs() >= list.ends || list.serials.binary_search(&serial).is_ok() {
            Verdict::Goes
        } else {
            Verdict::Stays
        }
    }
}

impl List {
    fn of(list: &RevocationList) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_crl(&list.der).ok()?;
        let part = |extension: &x509_parser::extensions::X509Extension<'_>| {
            extension.oid == x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT
        };
        if parsed.extensions().iter().any(part) {
            return None;
        }
        let serials = parsed.iter_revoked_certificates().map(|one| serial(one.raw_serial()));
        let mut serials: Vec<Serial> = serials.collect::<Option<_>>()?;
        serials.sort_unstable();
        serials.shrink_to_fit();
        let issuer = parsed.issuer().as_raw().to_vec();
        Some(Self { issuer, serials, ends: list.next_update_unix_secs })
    }
}

#[cfg(test)]
mod tests;
