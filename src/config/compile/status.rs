//! What authorities say of certificates: lists of revoked ones (ACC-3), and the answers that are shown
//! with our own (TLS-5). Also whether a chain is one.
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::revocation_list::CertificateRevocationList;

use super::material::unreadable;
use super::ocsp::{self, StapleFault, Subject};
use super::{Ctx, days};
use crate::base::ControlId;
use crate::config::lists::{Kept, LISTS_FILE};
use crate::config::raw::At;
use crate::config::raw::value::{PathText, quoted};
use crate::config::read::Entry;
use crate::config::settings::{OnDisk, RevocationList, Staple};
use crate::config::source::Place;

const LIST_BYTES_MAX: u64 = 16 << 20;
const STAPLE_BYTES_MAX: u64 = 64 << 10;
/// How far the clocks of an authority and of this machine may differ.
const SKEW_SECS: u64 = 300;

/// Why a file is no list that can be used.
enum ListFault {
    Form,
    /// No authority of the client certificates made it.
    Stranger,
    Signature,
    Endless,
    /// One that rustls does not judge by: of version 1, a delta, an indirect one.
    Kind,
}

impl Ctx<'_> {
    /// The lists of the authorities. `None`: it was told why.
    pub(super) fn revocation_lists<T>(
        &mut self,
        entry: &Entry<T>,
        paths: &At<Vec<At<PathText>>>,
        authorities: &[CertificateDer<'static>],
        listener: &str,
    ) -> Option<Vec<RevocationList>> {
        let own: Vec<RevocationList>;
        let known = match self.in_force(listener) {
            Some(tls) => &tls.client_crl[..],
            None if paths.is_empty() => &[],
            None => {
                let kept = self.kept_lists().iter().cloned();
                let judge = |(file, der): Kept| judge_list(&file, der, authorities).ok();
                own = kept.filter_map(judge).collect();
                &own
            }
        };
        let lists: Vec<_> = paths
            .iter()
            .map(|path| {
                let place = entry.at(&path.span);
                self.revocation_list(&path.value, &place, authorities, known)
            })
            .collect();
        let lists: Vec<RevocationList> = lists.into_iter().collect::<Option<_>>()?;
        let listed =
            |authority: &&CertificateDer<'_>| lists.iter().any(|list| is_of(&list.der, authority));
        let silent = authorities.iter().filter(|authority| !listed(authority)).count();
        if silent > 0 && !paths.is_empty() {
            let found = format!("{silent} of the authorities of client_ca have no list here");
            let instead = "add their lists: a certificate of which none speaks is refused";
            self.report.error(&entry.at(&paths.span), ControlId::Acc3, found, instead);
            return None;
        }
        Some(lists)
    }

    fn revocation_list(
        &mut self,
        path: &PathText,
        place: &Place,
        authorities: &[CertificateDer<'static>],
        known: &[RevocationList],
    ) -> Option<RevocationList> {
        let (path, mark) = (self.path(path, place), self.report.mark());
        if let Some(list) = self.list_in(&path, place, authorities) {
            return Some(self.latest(list, known, authorities, place));
        }
        let counts = |own: &&RevocationList| {
            own.file == path && authorities.iter().any(|one| is_by(&own.der, one))
        };
        // A start is somebody's who can mend the file.
        let kept = known.iter().find(counts).filter(|_| self.before.is_some())?;
        self.report.soften(mark, "the list before it stays until its own end");
        Some(RevocationList { on_disk: OnDisk::Unusable, ..kept.clone() })
    }

    fn list_in(
        &mut self,
        path: &Path,
        place: &Place,
        authorities: &[CertificateDer<'static>],
    ) -> Option<RevocationList> {
        let bytes = match self.outside.read(path, LIST_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(fault) => {
                self.unreadable(place, ControlId::Acc3, path, fault);
                return None;
            }
        };
        let der = CertificateRevocationListDer::from_pem_slice(&bytes)
            .unwrap_or_else(|_no_pem| CertificateRevocationListDer::from(bytes));
        let shown = quoted(&path.display().to_string());
        let (found, instead) = match judge_list(path, der, authorities) {
            Ok(list) => return Some(list),
            Err(ListFault::Form) => {
                (format!("{shown} is no list of revoked certificates"), "write a CRL, PEM or DER")
            }
            Err(ListFault::Stranger) => (
                format!("{shown} is of no authority in client_ca"),
                "name the list of one that is, or add its authority",
            ),
            Err(ListFault::Signature) => (
                format!("the signature of {shown} does not fit its authority"),
                "fetch it anew from the authority",
            ),
            Err(ListFault::Endless) => (
                format!("{shown} does not say until when it counts"),
                "have the authority write nextUpdate (RFC 5280 §5.1.2.5)",
            ),
            Err(ListFault::Kind) => (
                format!("{shown} is a list of a kind that no handshake can be judged by"),
                "have the authority write whole lists of its own, of version 2: no delta, none for \
                 others (RFC 5280 §5)",
            ),
        };
        self.report.error(place, ControlId::Acc3, found, instead);
        None
    }

    /// A list that is older than the one in force, now or before the start, takes nothing back: a mirror
    /// may lag. One that is out
    /// of date lets nobody in of whom it speaks, as it would have done had nothing been read again; the
    /// one in force counts on if that is not.
    fn latest(
        &mut self,
        list: RevocationList,
        known: &[RevocationList],
        authorities: &[CertificateDer<'static>],
        place: &Place,
    ) -> RevocationList {
        let now = self.now.unix_secs();
        let of_one = |own: &&RevocationList| {
            authorities.iter().any(|one| is_by(&own.der, one) && is_by(&list.der, one))
        };
        // What claims to be of a time to come can't keep others out.
        let past =
            |own: &&RevocationList| own.this_update_unix_secs <= now.saturating_add(SKEW_SECS);
        // An authority may part its list into several; each file is followed by itself.
        let followed = known.iter().any(|own| own.file == list.file && of_one(&own));
        let file = list.file.clone();
        let known = known.iter().filter(of_one).filter(|own| !followed || own.file == file);
        let newest = known.clone().filter(past).max_by_key(|own| own.this_update_unix_secs);
        let newer = newest.filter(|own| own.this_update_unix_secs > list.this_update_unix_secs);
        let in_date = list.next_update_unix_secs > now;
        let kept = match newer {
            None if in_date => return list,
            None => known
                .filter(|own| own.next_update_unix_secs > now)
                .max_by_key(|own| own.this_update_unix_secs),
            Some(newer) => Some(newer),
        };
        let shown = quoted(&list.file.display().to_string());
        let found = if in_date {
            let that_was = if self.before.is_some() { "" } else { "that was " };
            format!("{shown} is older than the list {that_was}in force")
        } else {
            let since = days((now - list.next_update_unix_secs) / 86_400 * 86_400);
            format!("{shown} is out of date since {since}")
        };
        let then = match kept {
            Some(_) => "the list before it stays until its own end",
            None => "nobody of whom it speaks gets in",
        };
        let mut instead = "fetch it anew from the authority".to_owned();
        if self.before.is_none() && kept.is_some() {
            // With another key it is another authority.
            instead += "; if that one began anew under the same key, stop the gateway and remove ";
            instead += LISTS_FILE;
            instead += " from its state directory";
        }
        self.report.warning(place, ControlId::Acc3, format!("{found}: {then}"), instead);
        let Some(kept) = kept else { return list };
        RevocationList { file: list.file, on_disk: OnDisk::Unusable, ..kept.clone() }
    }

    /// What the authority says of a leaf, to be shown with it. Nobody depends on it, so none that is of
    /// no use refuses anything: the one in force stays as long as it counts, unless the authority has
    /// changed its mind.
    pub(super) fn staple(
        &mut self,
        chain: &[CertificateDer<'static>],
        path: &PathText,
        place: &Place,
        listener: &str,
    ) -> (Option<Staple>, OnDisk) {
        let path = self.path(path, place);
        let now = self.now.unix_secs();
        let known = self.in_force(listener).into_iter().flat_map(|tls| &tls.certificates);
        let known = known.filter(|own| own.chain.first() == chain.first());
        let mut known = known.filter_map(|own| own.staple.as_ref());
        let known = known.find(|staple| staple.time().contains(&now));
        let shown = quoted(&path.display().to_string());
        let (found, instead, read, known) = match self.outside.read(&path, STAPLE_BYTES_MAX) {
            Err(fault) => {
                let (found, instead) = unreadable(&path, fault);
                (found, instead, None, known)
            }
            Ok(der) => match judge_staple(&der, chain) {
                Err(fault) => {
                    let (found, instead) = told(fault, &shown);
                    let revoked = matches!(fault, StapleFault::Revoked | StapleFault::Unknown);
                    (found, instead.to_owned(), None, known.filter(|_| !revoked))
                }
                Ok((this_update, next_update)) => {
                    let staple = Staple {
                        der: Arc::from(der),
                        this_update_unix_secs: this_update,
                        next_update_unix_secs: next_update,
                    };
                    // Each handshake looks whether its time is.
                    let time = staple.time();
                    if time.contains(&now) {
                        return (Some(staple), OnDisk::Same);
                    }
                    let (found, instead) = if now < time.start {
                        ("begins to count later", "set this machine's clock")
                    } else {
                        ("is out of date", "fetch it anew, or remove `ocsp`")
                    };
                    (format!("{shown} {found}"), instead.to_owned(), Some(staple), known)
                }
            },
        };
        let then = match known {
            Some(_) => "the one before it is shown until its own end",
            None => "nothing is shown with the certificate",
        };
        self.report.warning(place, ControlId::Tls5, format!("{found}: {then}"), instead);
        match (known, read) {
            (Some(known), _) => (Some(known.clone()), OnDisk::Unusable),
            // Its own dates say how it stands.
            (None, Some(read)) => (Some(read), OnDisk::Same),
            (None, None) => (None, OnDisk::Unusable),
        }
    }

    /// Each certificate of a chain is signed by the next one.
    pub(super) fn in_order(&mut self, chain: &[CertificateDer<'_>], place: &Place) -> Option<()> {
        for (at, pair) in chain.windows(2).enumerate() {
            let [one, next] = pair else { continue };
            if is_signed_by(one, next) {
                continue;
            }
            let above = chain.iter().position(|other| is_signed_by(one, other));
            let found = format!(
                "certificate {} of the file is not signed by certificate {}{}",
                at + 1,
                at + 2,
                above
                    .filter(|above| *above != at)
                    .map_or(String::new(), |above| format!(", but by certificate {}", above + 1))
            );
            let instead = "write the leaf first, then each one's authority behind it";
            self.report.error(place, ControlId::Tls1, found, instead);
            return None;
        }
        Some(())
    }
}

fn told(fault: StapleFault, shown: &str) -> (String, &'static str) {
    match fault {
        StapleFault::Form => {
            (format!("{shown} is no OCSP response that fits"), "write the response in DER")
        }
        StapleFault::NoAnswer => {
            (format!("{shown} holds no answer of the responder"), "ask the responder again")
        }
        StapleFault::Other => (
            format!("{shown} speaks of another certificate"),
            "fetch the response for this certificate",
        ),
        StapleFault::Revoked => {
            (format!("{shown} says that the certificate is revoked"), "replace the certificate")
        }
        StapleFault::Unknown => (
            format!("{shown} says that the authority does not know the certificate"),
            "ask the authority that issued it",
        ),
        StapleFault::Endless => (
            format!("{shown} does not say until when it counts"),
            "fetch a response with nextUpdate",
        ),
    }
}

fn judge_list(
    path: &Path,
    der: CertificateRevocationListDer<'static>,
    authorities: &[CertificateDer<'static>],
) -> Result<RevocationList, ListFault> {
    let list = parse_list(&der).ok_or(ListFault::Form)?;
    let this_update = list.last_update().timestamp();
    let next_update = list.next_update().ok_or(ListFault::Endless)?.timestamp();
    if !authorities.iter().any(|one| is_by(&der, one)) {
        let known = authorities.iter().any(|one| is_of(&der, one));
        return Err(if known { ListFault::Signature } else { ListFault::Stranger });
    }
    if !is_judged_by(&der, authorities) {
        return Err(ListFault::Kind);
    }
    let secs = |time: i64| u64::try_from(time).unwrap_or(0);
    Ok(RevocationList {
        file: path.to_owned(),
        on_disk: OnDisk::Same,
        this_update_unix_secs: secs(this_update),
        next_update_unix_secs: secs(next_update),
        der,
    })
}

fn parse_list<'d>(
    der: &'d CertificateRevocationListDer<'_>,
) -> Option<CertificateRevocationList<'d>> {
    let (rest, list) = x509_parser::parse_x509_crl(der).ok()?;
    rest.is_empty().then_some(list)
}

/// Whether an authority made a list, by its signature.
fn is_by(list: &CertificateRevocationListDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let (Some(parsed), Ok((_, own))) = (parse_list(list), parse_x509_certificate(authority)) else {
        return false;
    };
    parsed.issuer().as_raw() == own.subject().as_raw()
        && verifies(&own, parsed.tbs_cert_list.as_ref(), &parsed.signature_value.data)
}

/// Whether handshakes can be judged by a list: found out by the code that judges them.
fn is_judged_by(
    list: &CertificateRevocationListDer<'static>,
    authorities: &[CertificateDer<'static>],
) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.with_crls([list.clone()]).build().is_ok()
}

fn is_of(list: &CertificateRevocationListDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let (Some(list), Ok((_, authority))) = (parse_list(list), parse_x509_certificate(authority))
    else {
        return false;
    };
    list.issuer().as_raw() == authority.subject().as_raw()
}

/// When it begins to count and when it ends.
fn judge_staple(der: &[u8], chain: &[CertificateDer<'_>]) -> Result<(u64, u64), StapleFault> {
    let leaf = chain.first().and_then(|leaf| parse_x509_certificate(leaf).ok());
    let Some((_, leaf)) = leaf else { return Err(StapleFault::Other) };
    let of = Subject { issuer_name: leaf.issuer().as_raw(), serial: leaf.raw_serial() };
    let good = ocsp::read(der, &of)?;
    // Without its authority in the file, only clients can verify it.
    if let Some((_, issuer)) = chain.get(1).and_then(|issuer| parse_x509_certificate(issuer).ok()) {
        let delegated = good.signers.iter().any(|signer| {
            let Ok((_, own)) = parse_x509_certificate(signer) else { return false };
            let answers = own.extended_key_usage().ok().flatten();
            answers.is_some_and(|usage| usage.value.ocsp_signing)
                && verifies(&issuer, own.tbs_certificate.as_ref(), &own.signature_value.data)
                && verifies(&own, good.signed, good.signature)
        });
        if !delegated && !verifies(&issuer, good.signed, good.signature) {
            return Err(StapleFault::Form);
        }
    }
    Ok((good.this_update, good.next_update))
}

fn is_signed_by(one: &CertificateDer<'_>, by: &CertificateDer<'_>) -> bool {
    let (Ok((_, one)), Ok((_, by))) = (parse_x509_certificate(one), parse_x509_certificate(by))
    else {
        return false;
    };
    one.issuer().as_raw() == by.subject().as_raw()
        && verifies(&by, one.tbs_certificate.as_ref(), &one.signature_value.data)
}

/// Whether an authority's key made a signature, by any algorithm that is spoken here. Handshakes judge
/// for themselves; this finds mistakes before they matter.
fn verifies(by: &X509Certificate<'_>, message: &[u8], signature: &[u8]) -> bool {
    let key = &by.public_key().subject_public_key.data;
    let all = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    all.iter().any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}
