//! A listener's TLS, compiled from its settings. Controls: TLS-1, TLS-3, NET-2.
//! A new `ServerConfig` is made for every listener at every reload, so that a session ticket from one
//! never resumes under another's rules.
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::permit::Believed;
use super::revoked::{Revoked, Verdict};
use crate::base::{Moment, Use};
use crate::config::{Alpn, CertifiedChain, ClientAuth, RevocationList, TlsSettings, TlsVersion};

/// Why a listener's TLS could not be made. The configuration's checks find these first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The key is of no kind that is served, or does not fit its certificate.
    Key,
    /// A certificate of `client_ca` is no usable trust anchor.
    ClientCa,
    /// A list of `client_crl` is of a kind that can't be judged by.
    ClientCrl,
    /// The provider lacks a suite for the version.
    Version,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "a listener's key does not fit its certificate or is of no served kind",
            Self::ClientCa => "a certificate of client_ca can't be a trust anchor",
            Self::ClientCrl => "a list of client_crl can't be judged by",
            Self::Version => "the TLS versions asked for can't be served",
        })
    }
}

impl std::error::Error for TlsFault {}

/// The one crypto provider of the process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// How TLS ends on a listener, by one configuration.
#[derive(Debug)]
pub struct TlsEnd {
    pub config: Arc<ServerConfig>,
    pub(super) listener: Box<str>,
    pub(super) generation: u64,
    shows: Arc<BySni>,
}

impl TlsEnd {
    /// `None` where this host may end TLS for none of the certificates (TLS-3).
    ///
    /// # Errors
    /// See [`TlsFault`].
    pub(super) fn build(
        listener: &str,
        settings: &TlsSettings,
        generation: u64,
        time: &Believed,
    ) -> Result<Option<Arc<Self>>, TlsFault> {
        if settings.certificates.is_empty() {
            return Ok(None);
        }
        let shows = Arc::new(BySni::build(settings, time)?);
        let config = server_config(settings, Arc::<BySni>::clone(&shows))?;
        Ok(Some(Arc::new(Self { config, listener: listener.into(), generation, shows })))
    }

    /// All names of the certificate that whoever asks for one of them, or for none, is shown.
    pub(super) fn names_shown_to(&self, asked: Option<&str>) -> &[String] {
        self.shows.to(asked).map(|shown| &*shown.names).unwrap_or_default()
    }
}

fn server_config(
    settings: &TlsSettings,
    shows: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, TlsFault> {
    let provider = provider();
    // rustls has no suite without ECDHE and AEAD, so 1.2 by explicit choice is safe as it stands.
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.min_version {
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|_error| TlsFault::Version)?;
    let builder = match settings.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Optional | ClientAuth::Required => {
            let lists = &settings.client_crl;
            builder.with_client_cert_verifier(client_verifier(settings, lists, &provider)?)
        }
    };
    let mut config = builder.with_cert_resolver(shows);
    config.alpn_protocols = settings.alpn.iter().map(|alpn| Alpn::wire(*alpn).to_vec()).collect();
    // No resumption: a ticket would outlive the revocation of the certificate that earned it, and
    // clients of an API gateway keep their connections.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Judges client certificates as the listener's handshakes do; `None` where none is asked for.
pub(super) fn verifier(settings: &TlsSettings) -> Result<Option<Verifier>, TlsFault> {
    match settings.client_auth {
        ClientAuth::None => Ok(None),
        ClientAuth::Optional | ClientAuth::Required => {
            client_verifier(settings, &settings.client_crl, &provider()).map(Some)
        }
    }
}

/// Judges the client certificates of one listener, over configurations that don't change how.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    pub(super) verifier: Verifier,
    pub(super) revoked: Arc<Revoked>,
    authorities: Vec<CertificateDer<'static>>,
    lists: Vec<RevocationList>,
    /// The generation that made it.
    since: u64,
    /// When the first of its lists is out of date, in seconds since 1970: from then on nobody passes
    /// whom it speaks for.
    pub(super) stale_at: u64,
}

impl Judge {
    /// The one before goes on if it would judge the same.
    ///
    /// # Errors
    /// See [`TlsFault`].
    pub(super) fn build(
        settings: &TlsSettings,
        generation: u64,
        before: Option<&Self>,
    ) -> Result<Option<Self>, TlsFault> {
        let authorities = settings.client_ca.clone().unwrap_or_default();
        let same =
            |judge: &&Self| judge.authorities == authorities && judge.lists == settings.client_crl;
        let Some(verifier) = verifier(settings)? else { return Ok(None) };
        if let Some(judge) = before.filter(same) {
            return Ok(Some(Self { verifier, ..judge.clone() }));
        }
        let lists = settings.client_crl.clone();
        let but_for_lists = client_verifier(settings, &[], &provider())?;
        let revoked = Arc::new(Revoked::new(but_for_lists, &authorities, &lists));
        let stale_at = lists.iter().map(|list| list.next_update_unix_secs).min();
        Ok(Some(Self {
            verifier,
            revoked,
            authorities,
            lists,
            since: generation,
            stale_at: stale_at.unwrap_or(u64::MAX),
        }))
    }

    /// Whether a chain that was shown in an earlier handshake would be accepted in one now.
    pub(super) fn admits(&self, chain: &[CertificateDer<'static>], now: Moment) -> bool {
        match self.revoked.judge(chain, now) {
            Verdict::Stays => true,
            Verdict::Goes => false,
            Verdict::Unclear => still_verifies(Some(&self.verifier), chain, now),
        }
    }

    /// Whether this one has anything against a chain that another one admitted by the same authorities:
    /// a list that came since.
    pub(super) fn objects_for(
        &self,
        other: &Self,
        chain: &[CertificateDer<'static>],
        now: Moment,
    ) -> bool {
        match self.revoked.judge(chain, now) {
            Verdict::Stays => false,
            Verdict::Goes => true,
            Verdict::Unclear => {
                other.authorities.iter().all(|one| self.authorities.contains(one))
                    && !still_verifies(Some(&self.verifier), chain, now)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn lists(&self) -> &[RevocationList] {
        &self.lists
    }

    /// Differs whenever a chain may be judged otherwise.
    pub(super) const fn state(&self, now: Moment) -> u64 {
        let stale = now.unix_secs() >= self.stale_at;
        self.since.saturating_mul(2).saturating_add(stale as u64)
    }
}

/// The same, as a handshake finds it.
pub(super) fn still_verifies(
    verifier: Option<&Verifier>,
    chain: &[CertificateDer<'static>],
    now: Moment,
) -> bool {
    let (Some(verifier), Some((leaf, intermediates))) = (verifier, chain.split_first()) else {
        return false;
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unix_secs()));
    verifier.verify_client_cert(leaf, intermediates, now).is_ok()
}

/// See [`verifier`].
pub(super) type Verifier = Arc<dyn rustls::server::danger::ClientCertVerifier>;

fn client_verifier(
    settings: &TlsSettings,
    lists: &[RevocationList],
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, TlsFault> {
    let mut roots = RootCertStore::empty();
    for anchor in settings.client_ca.iter().flatten() {
        roots.add(anchor.clone()).map_err(|_error| TlsFault::ClientCa)?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    // A certificate of which no list speaks, or only one that is out of date, does not pass.
    let builder = if lists.is_empty() {
        builder
    } else {
        let lists = lists.iter().map(|list| list.der.clone());
        builder.with_crls(lists).enforce_revocation_expiration()
    };
    let builder = match settings.client_auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required | ClientAuth::None => builder,
    };
    builder.build().map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(_) => TlsFault::ClientCrl,
        _ => TlsFault::ClientCa,
    })
}

/// Chooses a certificate by the name in the client's hello; the first one where none fits.
struct BySni {
    time: Believed,
    default: Arc<Shown>,
    exact: HashMap<String, Served>,
    /// By the part behind `*.`.
    wildcard: HashMap<String, Served>,
}

/// `None`: the name's key is closed on this host, and no other certificate stands in for it (TLS-3).
type Served = Option<Arc<Shown>>;

/// A certificate, and the same with what its authority says of it.
struct Shown {
    names: Vec<String>,
    bare: Arc<CertifiedKey>,
    /// And when that counts.
    stapled: Option<(Arc<CertifiedKey>, Range<u64>)>,
}

impl Shown {
    fn build(chain: &CertifiedChain) -> Result<Self, TlsFault> {
        // Lent, not given: what the provider's own loader takes is not wiped by it.
        let key = any_supported_type(chain.key.reveal_for(Use::Verify))
            .map_err(|_error| TlsFault::Key)?;
        let bare = CertifiedKey::new(chain.chain.clone(), key);
        bare.keys_match().map_err(|_error| TlsFault::Key)?;
        let stapled = chain.staple.as_ref().map(|staple| {
            let with = CertifiedKey { ocsp: Some(staple.der.to_vec()), ..bare.clone() };
            (Arc::new(with), staple.time())
        });
        Ok(Self { names: chain.server_names.clone(), bare: Arc::new(bare), stapled })
    }

    fn at(&self, now: Moment) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, time)) if time.contains(&now.unix_secs()) => stapled,
            _ => &self.bare,
        }
    }
}

impl BySni {
    fn build(settings: &TlsSettings, time: &Believed) -> Result<Self, TlsFault> {
        let mut default = None;
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for chain in &settings.certificates {
            let shown = Arc::new(Shown::build(chain)?);
            for name in &chain.server_names {
                let served = Some(Arc::clone(&shown));
                match name.strip_prefix("*.") {
                    Some(parent) => wildcard.entry(parent.to_owned()).or_insert(served),
                    None => exact.entry(name.clone()).or_insert(served),
                };
            }
            default.get_or_insert(shown);
        }
        for name in settings.closed_names() {
            match name.strip_prefix("*.") {
                Some(parent) => wildcard.entry(parent.to_owned()).or_insert(None),
                None => exact.entry(name.clone()).or_insert(None),
            };
        }
        Ok(Self { time: time.clone(), default: default.ok_or(TlsFault::Key)?, exact, wildcard })
    }

    fn to(&self, asked: Option<&str>) -> Option<&Arc<Shown>> {
        let found = asked.and_then(|name| {
            let name = name.to_ascii_lowercase();
            self.exact.get(&name).or_else(|| {
                name.split_once('.').and_then(|(_label, parent)| self.wildcard.get(parent))
            })
        });
        found.map_or(Some(&self.default), Option::as_ref)
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.to(hello.server_name())?;
        Some(Arc::clone(shown.at(self.time.now())))
    }
}

impl fmt::Debug for BySni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BySni({} names)", self.exact.len().saturating_add(self.wildcard.len()))
    }
}
