//! Certificates, keys and authorities, from files and secrets (TLS-1, TLS-2, TLS-3, TLS-5, PRIV-4). What a
//! secret holds never gets into the report; only where it was asked for, and what kind of trouble it
//! made.
use std::net::IpAddr;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::kept::CLOSED;
use super::{Ctx, days};
use crate::base::{ControlId, Use};
use crate::config::outside::{CommandFault, ReadFault};
use crate::config::raw::value::{PathText, quoted};
use crate::config::raw::{RawCertified, SecretRef};
use crate::config::read::Entry;
use crate::config::settings::{
    AuthoritiesOf, CertifiedChain, ClientKey, Expired, FileOf, KeyFault, NamedFile, OnDisk,
    SecretAge, SecretOf, TlsKey, Withheld,
};
use crate::config::source::Place;
use crate::seal;

const PEM_BYTES_MAX: u64 = 1 << 20;
/// Certificates in one chain.
const CHAIN_MAX: usize = 10;
/// How long before its end a certificate is warned about.
const RENEW_SECS: u64 = 14 * 86_400;

/// A listener's certificate.
pub(super) enum Certified {
    Opened(CertifiedChain),
    /// Its key stays closed on this host.
    Withheld(Withheld),
    /// So does that of one whose time is over.
    Expired(Expired),
}

/// What of a leaf certificate matters here.
struct Leaf {
    server_names: Vec<String>,
    not_before: i64,
    not_after: u64,
}

impl Ctx<'_> {
    /// A listener's certificate with its key, found to belong together and to be in force. The key is
    /// opened only where this host's permit covers the listener and every name of the certificate.
    pub(super) fn server_certificate<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawCertified,
        listener: &str,
    ) -> Option<Certified> {
        let (place, mark) = (entry.at(&raw.certificate.span), self.report.mark());
        let file = self.path(&raw.certificate.value, &place);
        let finished = !self.outside.is_being_written(&file);
        let kept =
            if finished { None } else { self.kept_certificate(&file, listener, &place, mark) };
        let read = kept.or_else(|| self.certified(entry, raw, listener, &file));
        read.or_else(|| self.kept_certificate(&file, listener, &place, mark))
    }

    fn certified<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawCertified,
        listener: &str,
        file: &Path,
    ) -> Option<Certified> {
        let (chain, leaf) = self.chain(entry, raw)?;
        let certificate_at = entry.at(&raw.certificate.span);
        // A name that the permit does not list yet takes down no certificate that it covers.
        let kept = self.covered_before(listener, file);
        let then = kept.map_or(CLOSED, |_| "the certificate before it stays until its own end");
        if !self.covers(listener, &leaf.server_names, &certificate_at, then) {
            return Some(match kept {
                Some(kept) => {
                    Certified::Opened(CertifiedChain { on_disk: OnDisk::Unusable, ..kept.clone() })
                }
                None => Certified::Withheld(Withheld {
                    file: file.to_owned(),
                    server_names: leaf.server_names,
                }),
            });
        }
        if leaf.not_after <= self.now.unix_secs() {
            return Some(self.expired(leaf, listener, file, &certificate_at));
        }
        let host = self.host.clone();
        let permit = host.standing.as_ref().ok()?;
        let key_at = entry.at(&raw.key.span);
        let material = self.secret(&raw.key.value, &key_at)?;
        self.lies_open(&raw.key.value, &material, &key_at);
        let key = TlsKey::open(&material, host.host_key.as_ref(), permit);
        let key = key.map_err(|fault| self.unopened(&key_at, fault)).ok()?;
        self.fits(&chain, key.reveal_for(Use::Verify), &key_at)?;
        let (staple, staple_on_disk) = match &raw.ocsp {
            Some(path) => self.staple(&chain, &path.value, &entry.at(&path.span), listener),
            None => (None, OnDisk::Same),
        };
        Some(Certified::Opened(CertifiedChain {
            file: file.to_owned(),
            on_disk: OnDisk::Same,
            staple,
            staple_on_disk,
            not_before_unix_secs: u64::try_from(leaf.not_before).unwrap_or(0),
            chain,
            key,
            server_names: leaf.server_names,
            not_after_unix_secs: leaf.not_after,
        }))
    }

    /// An old file takes no certificate down that counts: the one in force stays. Where that is over,
    /// too, clients would turn away from it: its names are refused, and nothing else waits for it.
    fn expired(&mut self, leaf: Leaf, listener: &str, file: &Path, place: &Place) -> Certified {
        let now = self.now.unix_secs();
        let known = self.in_force(listener).into_iter().flat_map(|tls| &tls.certificates);
        let kept = known
            .filter(|own| own.server_names == leaf.server_names && own.not_after_unix_secs > now)
            .max_by_key(|own| own.not_after_unix_secs);
        let found = match kept {
            Some(_) => "the certificate has expired; the one before it stays until its own end",
            None => "the certificate has expired: its key stays closed, its names are refused",
        };
        self.report.warning(place, ControlId::Tls5, found, "renew it; its key is due, too");
        match kept {
            Some(kept) => {
                Certified::Opened(CertifiedChain { on_disk: OnDisk::Unusable, ..kept.clone() })
            }
            None => Certified::Expired(Expired {
                file: file.to_owned(),
                server_names: leaf.server_names,
                not_before_unix_secs: u64::try_from(leaf.not_before).unwrap_or(0),
                not_after_unix_secs: leaf.not_after,
            }),
        }
    }

    /// The same for one that the gateway shows to others, which needs no permit.
    pub(super) fn client_certificate<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawCertified,
        known: Option<&CertifiedChain<ClientKey>>,
    ) -> Option<CertifiedChain<ClientKey>> {
        let mark = self.report.mark();
        let file = self.path(&raw.certificate.value, &entry.at(&raw.certificate.span));
        let finished = !self.outside.is_being_written(&file);
        let kept = if finished { None } else { self.kept_client_certificate(&file, known, mark) };
        let read = kept.or_else(|| self.shown_to_others(entry, raw, &file));
        read.or_else(|| self.kept_client_certificate(&file, known, mark))
    }

    fn shown_to_others<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawCertified,
        file: &Path,
    ) -> Option<CertifiedChain<ClientKey>> {
        let key_at = entry.at(&raw.key.span);
        let read = self.chain(entry, raw);
        let material = self.secret(&raw.key.value, &key_at)?;
        let key = ClientKey::open(&material, self.host.host_key.as_ref());
        let key = key.map_err(|fault| self.unopened(&key_at, fault)).ok()?;
        let (chain, leaf) = read?;
        if leaf.not_after <= self.now.unix_secs() {
            let place = entry.at(&raw.certificate.span);
            let found = "the certificate has expired: whoever is shown it turns away";
            self.report.warning(&place, ControlId::Tls5, found, "renew it; its key is due, too");
        }
        self.fits(&chain, key.reveal_for(Use::Verify), &key_at)?;
        Some(CertifiedChain {
            file: file.to_owned(),
            on_disk: OnDisk::Same,
            staple: None,
            staple_on_disk: OnDisk::Same,
            not_before_unix_secs: u64::try_from(leaf.not_before).unwrap_or(0),
            chain,
            key,
            server_names: leaf.server_names,
            not_after_unix_secs: leaf.not_after,
        })
    }

    fn chain<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawCertified,
    ) -> Option<(Vec<CertificateDer<'static>>, Leaf)> {
        let place = entry.at(&raw.certificate.span);
        let chain = self.certificates(&raw.certificate.value, &place, ControlId::Tls1)?;
        if chain.len() > CHAIN_MAX {
            let found = format!("the file holds {} certificates", chain.len());
            let instead = format!("keep the leaf and its intermediates, at most {CHAIN_MAX}");
            self.report.error(&place, ControlId::Tls1, found, instead);
            return None;
        }
        let leaf = self.leaf(chain.first()?, &place)?;
        self.in_order(&chain, &place)?;
        Some((chain, leaf))
    }

    /// Reports a key that is not served, or not the certificate's.
    fn fits(
        &mut self,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'_>,
        place: &Place,
    ) -> Option<()> {
        let Ok(signing) = any_supported_type(key) else {
            let found = "the private key is of a kind that is not supported, or too weak";
            let instead = "use ECDSA P-256 or P-384, Ed25519, or RSA from 2048 bits";
            self.report.error(place, ControlId::Tls1, found, instead);
            return None;
        };
        match CertifiedKey::new(chain.to_vec(), signing).keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Some(())
            }
            Err(_) => {
                let found = "the private key does not belong to the certificate";
                let instead = "name the key that the certificate was made for";
                self.report.error(place, ControlId::Tls1, found, instead);
                None
            }
        }
    }

    fn unopened(&mut self, place: &Place, fault: KeyFault) {
        let control = match fault {
            KeyFault::NoKey => ControlId::Priv4,
            KeyFault::NoHostKey | KeyFault::Sealed(_) => ControlId::Tls3,
        };
        self.report.error(place, control, fault.to_string(), fault.advice());
    }

    /// Warns of a listener's key that whoever copies the file can use.
    fn lies_open(&mut self, from: &SecretRef, material: &[u8], place: &Place) {
        let SecretRef::File(path) = from else { return };
        if seal::is_sealed(material) {
            return;
        }
        let path = self.path(path, place).display().to_string();
        let found = "the private key is not sealed to this host: a copy of the file is enough";
        let instead = format!("sekisho permit seal --in {path} --out {path}.sealed, and name that");
        self.report.warning(place, ControlId::Tls3, found, instead);
    }

    fn leaf(&mut self, der: &CertificateDer<'_>, place: &Place) -> Option<Leaf> {
        let Some(leaf) = read_leaf(der) else {
            let found = "the first certificate of the file can't be read";
            self.report.error(place, ControlId::Tls1, found, "write an X.509 v3 certificate");
            return None;
        };
        let now = self.now.unix_secs();
        if i64::try_from(now).is_ok_and(|now| now < leaf.not_before) {
            let found = "the certificate is not in force yet";
            let instead = "use one that is, or set this machine's clock";
            self.report.error(place, ControlId::Tls5, found, instead);
            return None;
        }
        if (now.saturating_add(1)..now.saturating_add(RENEW_SECS)).contains(&leaf.not_after) {
            let left = days((leaf.not_after - now) / 86_400 * 86_400);
            let found = format!("the certificate expires in {left}");
            self.report.warning(place, ControlId::Tls5, found, "renew it");
        }
        Some(leaf)
    }

    /// The authorities in a PEM file; at least one, each usable. Where it can't be used or is being
    /// written, those that it held before stay.
    pub(super) fn authorities(
        &mut self,
        path: &PathText,
        place: &Place,
        control: ControlId,
        of: AuthoritiesOf,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let (file, mark) = (self.path(path, place), self.report.mark());
        let finished = !self.outside.is_being_written(&file);
        let kept = if finished { None } else { self.kept_authorities(&file, mark) };
        let read = kept.or_else(|| self.authorities_in(path, place, control));
        let (list, on_disk) = match read {
            Some(list) => (list, OnDisk::Same),
            None => (self.kept_authorities(&file, mark)?, OnDisk::Unusable),
        };
        self.files.push(NamedFile { file, on_disk, of: FileOf::Authorities(of, list.clone()) });
        Some(list)
    }

    fn authorities_in(
        &mut self,
        path: &PathText,
        place: &Place,
        control: ControlId,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let list = self.certificates(path, place, control)?;
        let mut roots = RootCertStore::empty();
        let (_, unusable) = roots.add_parsable_certificates(list.iter().cloned());
        if unusable > 0 {
            let found = format!("{unusable} of the file's certificates can't be an authority");
            self.report.error(place, control, found, "keep authorities only, in X.509 v3");
            return None;
        }
        Some(list)
    }

    fn certificates(
        &mut self,
        path: &PathText,
        place: &Place,
        control: ControlId,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let path = self.path(path, place);
        let pem = match self.outside.read(&path, PEM_BYTES_MAX) {
            Ok(pem) => pem,
            Err(fault) => {
                self.unreadable(place, control, &path, fault);
                return None;
            }
        };
        let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let shown = quoted(&path.display().to_string());
        let (found, instead) = match list {
            Ok(list) if !list.is_empty() => return Some(list),
            Ok(_) => (format!("{shown} holds no certificate"), "name a PEM file with certificates"),
            Err(_) => (format!("{shown} is broken PEM"), "make the file anew"),
        };
        self.report.error(place, control, found, instead);
        None
    }

    /// Notes how old a secret is.
    pub(super) fn ages(&mut self, of: SecretOf, from: &SecretRef, place: &Place) {
        let since_unix_secs = match from {
            SecretRef::File(path) => self.outside.written(&self.path(path, place)),
            SecretRef::Env(_) | SecretRef::Command(_) => None,
        };
        self.secrets.push(SecretAge { of, since_unix_secs });
    }

    /// Follows a reference to a secret, once.
    pub(super) fn secret(&mut self, from: &SecretRef, place: &Place) -> Option<Zeroizing<Vec<u8>>> {
        match from {
            SecretRef::File(path) => {
                let path = self.path(path, place);
                self.outside.read_secret(&path).map_err(|fault| {
                    let control =
                        if let ReadFault::Exposed { .. } | ReadFault::Foreign { .. } = fault {
                            ControlId::Tls5
                        } else {
                            ControlId::Priv4
                        };
                    self.unreadable(place, control, &path, fault);
                })
            }
            SecretRef::Env(name) => self.outside.variable(name).ok_or_else(|| {
                let found = format!("the environment variable {} is not set", quoted(name));
                self.report.error(
                    place,
                    ControlId::Priv4,
                    found,
                    "set it where the gateway starts",
                );
            }),
            SecretRef::Command(words) => self.outside.output(words).map_err(|fault| {
                let program = quoted(words.first().map_or("", String::as_str));
                let (found, instead) = match fault {
                    CommandFault::NotStarted => ("can't be started", "write its full path"),
                    CommandFault::TimedOut => ("took longer than 10 s", "make it answer sooner"),
                    CommandFault::Failed => ("ended with a failure", "run it by hand to see why"),
                    CommandFault::TooLarge => ("printed more than 64 KiB", "print the secret only"),
                };
                let found = format!("{program} {found}");
                self.report.error(place, ControlId::Priv4, found, instead);
            }),
        }
        .ok()
    }

    /// Says why a file can't be used.
    pub(super) fn unreadable(
        &mut self,
        place: &Place,
        control: ControlId,
        path: &Path,
        fault: ReadFault,
    ) {
        let (found, instead) = unreadable(path, fault);
        self.report.error(place, control, found, instead);
    }
}

/// Why a file can't be used, and what to do about it.
pub(super) fn unreadable(path: &Path, fault: ReadFault) -> (String, String) {
    let path = path.display().to_string();
    let (found, instead) = match fault {
        ReadFault::Missing => ("does not exist".to_owned(), "correct the path".to_owned()),
        ReadFault::Forbidden => {
            let instead = "let the gateway's user read it, and nobody else";
            ("may not be read by this user".to_owned(), instead.to_owned())
        }
        ReadFault::NotAFile => ("is no file".to_owned(), "name a file".to_owned()),
        ReadFault::TooLarge => ("is too large".to_owned(), "name the right file".to_owned()),
        ReadFault::Exposed { mode } => (
            format!("can be read or changed by others (mode {mode:04o}; PRIV-4)"),
            format!("run chmod 600 {path}; replace the key if others had access"),
        ),
        ReadFault::Foreign { uid } => (
            format!("belongs to another user (uid {uid}), who can read and change it (PRIV-4)"),
            format!("have the gateway's user own {path}; replace the key if others had access"),
        ),
        ReadFault::Unreadable => ("can't be read".to_owned(), "check file and disk".to_owned()),
    };
    (format!("{} {found}", quoted(&path)), instead)
}

/// Of the bytes in a certificate (RFC 5280 §4.2.1.6).
fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4().or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

fn read_leaf(der: &CertificateDer<'_>) -> Option<Leaf> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    let server_names = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(address) => {
                address_of(address).filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string())
            }
            _ => None,
        })
        .collect();
    let validity = certificate.validity();
    Some(Leaf {
        server_names,
        not_before: validity.not_before.timestamp(),
        not_after: u64::try_from(validity.not_after.timestamp()).unwrap_or(0),
    })
}
