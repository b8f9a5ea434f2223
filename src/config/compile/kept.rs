//! What stays in force where its file can't be used any more: a half-written copy takes nothing down,
//! and holds up nothing that is revoked in the same change (TLS-5, ACC-3). Only where a configuration
//! is read again, and only for a file that it read before. Over a restart only lists of revoked
//! certificates stay, in the place of older ones.
use std::path::Path;

use ipnet::IpNet;
use rustls_pki_types::CertificateDer;

use super::Ctx;
use super::material::{Certified, unreadable};
use crate::base::ControlId;
use crate::config::lists::{self, LISTS_FILE, RECORD_BYTES_MAX, RecordFault};
use crate::config::operating::API_LISTENER;
use crate::config::outside::ReadFault;
use crate::config::raw::value::quoted;
use crate::config::settings::{
    CertifiedChain, ClientKey, DeniedToken, Expired, FileOf, IssuerSettings, JwksSource, OnDisk,
    TlsSettings, Withheld,
};
use crate::config::source::Place;

/// What becomes of a certificate that the permit does not cover.
pub(super) const CLOSED: &str = "its key stays closed";

impl<'c> Ctx<'c> {
    /// How a listener, or the operators' API, speaks TLS now.
    pub(super) fn in_force(&self, listener: &str) -> Option<&'c TlsSettings> {
        let before = self.before?;
        if listener == API_LISTENER {
            return before.api.as_ref().map(|api| &api.tls);
        }
        before.listeners.iter().find(|own| own.name.as_str() == listener)?.tls.as_ref()
    }

    /// Lists that were in force when the process before this one ended; none, where a configuration is
    /// read again. Where they can't be known nobody may be let in by others: that is a mistake.
    pub(super) fn kept_lists(&mut self) -> &[lists::Kept] {
        if self.lists.is_none() {
            let kept = if self.before.is_some() { None } else { self.read_kept_lists() };
            self.lists = Some(kept.unwrap_or_default());
        }
        self.lists.as_deref().unwrap_or_default()
    }

    fn read_kept_lists(&mut self) -> Option<Vec<lists::Kept>> {
        let (file, gateway) = (self.state_file(LISTS_FILE)?, self.document.gateway.as_ref()?);
        let found = match self.outside.read_own(&file, RECORD_BYTES_MAX) {
            Err(ReadFault::Missing) => return None,
            Err(fault) => unreadable(&file, fault).0,
            Ok(bytes) => match lists::read(&bytes) {
                Ok(kept) => return Some(kept),
                Err(RecordFault::Newer) => {
                    format!(
                        "{} was written by a newer version",
                        quoted(&file.display().to_string())
                    )
                }
                Err(RecordFault::Damaged) => {
                    format!("{} is damaged or cut short", quoted(&file.display().to_string()))
                }
            },
        };
        let instead = "restore it from a backup, or remove it once the files of client_crl are known to \
                       be the newest of their authorities";
        self.report.error(&gateway.place, ControlId::Acc3, found, instead);
        None
    }

    /// Whether this host's permit covers a listener and every name of a certificate. Where it does not,
    /// that is told, and what `then` becomes of it; that there is none at all was told where it stands.
    pub(super) fn covers(
        &mut self,
        listener: &str,
        names: &[String],
        place: &Place,
        then: &str,
    ) -> bool {
        let Ok(permit) = &self.host.standing else { return false };
        let (found, instead) = if !permit.allows_listener(listener) {
            let found = format!("the permit does not name {}: no TLS ends here", quoted(listener));
            (found, format!("have one issued with --listener {listener}"))
        } else if let Some(name) = names.iter().find(|name| !permit.allows_name(name)) {
            let found = format!("the permit does not allow {}: {then}", quoted(name));
            (found, format!("have one issued with --name {name}"))
        } else if names.is_empty() {
            let found = format!("the certificate holds no name, so no permit allows it: {then}");
            (found, "have one issued with the name that clients connect to".to_owned())
        } else {
            return true;
        };
        self.report.warning(place, ControlId::Tls3, found, instead);
        false
    }

    /// What a listener's certificate file held before, if the permit covers that and it is in date.
    pub(super) fn covered_before(&self, listener: &str, file: &Path) -> Option<&'c CertifiedChain> {
        let permit = self.host.standing.as_ref().ok()?;
        let now = self.now.unix_secs();
        self.in_force(listener)?.certificates.iter().find(|own| {
            own.file == file
                && own.not_after_unix_secs > now
                && permit.covers(listener, &own.server_names)
        })
    }

    /// A listener's certificate as it is in force, after its file was found to be unusable; what was
    /// found since `mark` then refuses nothing. What the permit covers no more is closed all the same.
    pub(super) fn kept_certificate(
        &mut self,
        file: &Path,
        listener: &str,
        place: &Place,
        mark: usize,
    ) -> Option<Certified> {
        let tls = self.in_force(listener)?;
        let closed = "its names stay closed";
        let opened = tls.certificates.iter().find(|own| own.file == file);
        let withheld = tls.withheld.iter().find(|own| own.file == file);
        let expired = tls.expired.iter().find(|own| own.file == file);
        if let Some(own) = opened {
            self.report.soften(mark, "the one before it stays until its own end");
            let over = own.not_after_unix_secs <= self.now.unix_secs();
            let server_names = own.server_names.clone();
            return Some(if !self.covers(listener, &server_names, place, CLOSED) {
                Certified::Withheld(Withheld { file: file.to_owned(), server_names })
            } else if over {
                Certified::Expired(Expired {
                    file: file.to_owned(),
                    server_names,
                    not_before_unix_secs: own.not_before_unix_secs,
                    not_after_unix_secs: own.not_after_unix_secs,
                })
            } else {
                Certified::Opened(CertifiedChain { on_disk: self.stands(file), ..own.clone() })
            });
        }
        let kept = match (withheld, expired) {
            (Some(own), _) => Certified::Withheld(own.clone()),
            (None, Some(own)) => Certified::Expired(own.clone()),
            (None, None) => return None,
        };
        self.report.soften(mark, closed);
        Some(kept)
    }

    /// The same for one that the gateway shows to others.
    pub(super) fn kept_client_certificate(
        &mut self,
        file: &Path,
        known: Option<&CertifiedChain<ClientKey>>,
        mark: usize,
    ) -> Option<CertifiedChain<ClientKey>> {
        let known = known.filter(|known| known.file == file)?;
        self.report.soften(mark, "the one before it stays");
        Some(CertifiedChain { on_disk: self.stands(file), ..known.clone() })
    }

    /// How a file stands of which something stays: that it is being written is nothing to tell of.
    fn stands(&self, file: &Path) -> OnDisk {
        if self.outside.is_being_written(file) { OnDisk::Same } else { OnDisk::Unusable }
    }

    /// The authorities that a file held before; what was found since `mark` then refuses nothing.
    pub(super) fn kept_authorities(
        &mut self,
        file: &Path,
        mark: usize,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let kept = self.held(file, |of| match of {
            FileOf::Authorities(_, list) => Some(list.clone()),
            FileOf::Network(_) | FileOf::Denied => None,
        })?;
        self.report.soften(mark, "the authorities before it stay");
        Some(kept)
    }

    /// The prefixes of the network that a file made before.
    pub(super) fn kept_network(&mut self, file: &Path, mark: usize) -> Option<Vec<IpNet>> {
        let ix = self.held(file, |of| match of {
            FileOf::Network(ix) => Some(*ix),
            FileOf::Authorities(..) | FileOf::Denied => None,
        })?;
        let kept = self.before?.prefixes.get(ix.index())?.iter().collect();
        self.report.soften(mark, "the prefixes before it stay");
        Some(kept)
    }

    /// The tokens that a file denied before.
    pub(super) fn kept_denied(&mut self, file: &Path, mark: usize) -> Option<Vec<DeniedToken>> {
        self.held(file, |of| matches!(of, FileOf::Denied).then_some(()))?;
        let kept = self.before?.token.denied.clone();
        self.report.soften(mark, "the tokens before it stay denied");
        Some(kept)
    }

    /// Whether a file held an issuer's keys before: they stay where keys are kept.
    pub(super) fn keeps_keys(&mut self, file: &Path, mark: usize) -> bool {
        let of_it = |own: &IssuerSettings| match &own.jwks {
            JwksSource::File(known) => known == file,
            JwksSource::Url { .. } => false,
        };
        let kept = self.before.is_some_and(|before| before.issuers.iter().any(of_it));
        if kept {
            self.report.soften(mark, "the keys before it stay");
        }
        kept
    }

    /// What was made of a file before.
    fn held<T>(&self, file: &Path, what: impl Fn(&'c FileOf) -> Option<T>) -> Option<T> {
        let files = self.before?.files.iter();
        files.filter(|own| own.file == file).find_map(|own| what(&own.of))
    }
}
