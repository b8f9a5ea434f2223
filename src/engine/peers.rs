//! What Pingora needs to reach an upstream, made once per configuration and copied per request.
//! Controls: TLS-1, TLS-2.
//! 1. Every peer has TLS, a name to verify, and its own roots; there is no other constructor.
//! 2. The pool key covers everything that a connection's trust depends on, because Pingora's own does
//!    not: it leaves out the roots and knows client certificates by serial number only.
//! 3. A connection over which answers could be mistaken for one another is one identity's ([`Sharing`]).
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use pingora::protocols::ALPN;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer as _;

use super::live::Speaks;
use crate::base::{Name, Use};
use crate::config::{Endpoint, Roots, UpstreamProtocol, UpstreamSettings};

/// Requests at a time on one HTTP/2 connection. Pingora's default is one.
const H2_STREAMS: usize = 32;
/// What an upstream may send ahead of a caller who reads slowly, in bytes.
const H2_STREAM_WINDOW: u32 = 512 << 10;
/// The windows of all streams together. Were it less, as Pingora's default is, a few callers who do
/// not read their answers would hold up everybody's on the same connection.
const H2_CONNECTION_WINDOW: u32 = 32 * H2_STREAM_WINDOW;

/// Certificates that an upstream's may chain to, in Pingora's form.
pub(super) type Anchors = Arc<CaType>;

/// The machine's trust store, as one configuration found it.
#[derive(Clone, Debug)]
pub(super) struct MachineRoots {
    pub(super) anchors: Anchors,
    /// How many of its files could not be read.
    errors: usize,
}

impl MachineRoots {
    /// Reads it. Where less of it can be read than before, what was read before stays: it is just
    /// being replaced, or broke. Certificates that can't be used are left out: they vouch for nobody.
    pub(super) fn read(before: Option<&Self>) -> Self {
        let found = rustls_native_certs::load_native_certs();
        Self::found(&found.certs, found.errors.len(), before)
    }

    fn found(
        certificates: &[CertificateDer<'static>],
        errors: usize,
        before: Option<&Self>,
    ) -> Self {
        let worse = |before: &&Self| certificates.is_empty() || errors > before.errors;
        match before.filter(|before| !before.anchors.is_empty()).filter(worse) {
            Some(before) => before.clone(),
            None => Self { anchors: anchors(certificates), errors },
        }
    }
}

pub(super) fn anchors(certificates: &[CertificateDer<'static>]) -> Anchors {
    let usable = |certificate: &&CertificateDer<'static>| {
        let mut store = RootCertStore::empty();
        store.add((*certificate).clone()).is_ok()
            && x509_parser::certificate::X509Certificate::from_der(certificate).is_ok()
    };
    certificates
        .iter()
        .filter(usable)
        .map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509))
        .collect()
}

/// A peer without an address: [`at`] gives it one.
pub(super) fn template(
    settings: &UpstreamSettings,
    endpoint: &Endpoint,
    anchors: &Anchors,
) -> HttpPeer {
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let mut peer = HttpPeer::new(nowhere, true, endpoint.host.clone());
    peer.group_key = pool_key(settings, endpoint, anchors);
    peer.client_cert_key = settings.client_certificate.as_ref().map(|client| {
        let chain = client.chain.iter().map(|certificate| certificate.to_vec()).collect();
        let key = client.key.reveal_for(Use::Verify).secret_der().to_vec();
        Arc::new(CertKey::new(chain, key))
    });
    let options = &mut peer.options;
    options.ca = Some(Arc::clone(anchors));
    options.connection_timeout = Some(settings.connect_timeout);
    options.total_connection_timeout =
        Some(settings.connect_timeout.saturating_mul(2).min(Duration::from_secs(120)));
    options.read_timeout = Some(settings.response_timeout);
    options.write_timeout = Some(settings.response_timeout);
    options.idle_timeout = Some(settings.idle_timeout);
    // The request path opens WebSockets by itself; nothing else may switch protocols.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    options.max_h2_streams = H2_STREAMS;
    options.h2_stream_window_size = Some(H2_STREAM_WINDOW);
    options.h2_connection_window_size = Some(H2_CONNECTION_WINDOW);
    options.alpn = match settings.protocol {
        UpstreamProtocol::Auto => ALPN::H2H1,
        UpstreamProtocol::Http11 => ALPN::H1,
        UpstreamProtocol::H2 => ALPN::H2,
    };
    peer
}

/// Who may use a pooled connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sharing<'a> {
    All,
    One(&'a Name),
}

/// The peer at one of its addresses.
pub(super) fn at(
    template: &HttpPeer,
    address: SocketAddr,
    speaks: Speaks,
    sharing: Sharing<'_>,
) -> Box<HttpPeer> {
    let mut peer = Box::new(template.clone());
    peer._address = address.into();
    match sharing {
        Sharing::All => {}
        Sharing::One(name) => {
            let mut key = DefaultHasher::new();
            (template.group_key, name.as_str()).hash(&mut key);
            peer.group_key = key.finish();
        }
    }
    match speaks {
        Speaks::Configured => {}
        // HTTP/1 connections have a pool of their own, and trust does not depend on the version.
        Speaks::Http11 => peer.options.alpn = ALPN::H1,
    }
    peer
}

fn pool_key(settings: &UpstreamSettings, endpoint: &Endpoint, anchors: &Anchors) -> u64 {
    let mut digest = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        // Lengths first, so that no two lists of parts read alike.
        digest.update(&bytes.len().to_be_bytes());
        digest.update(bytes);
    };
    part(settings.name.as_str().as_bytes());
    part(endpoint.authority.as_bytes());
    part(match settings.roots {
        Roots::System => b"system",
        Roots::Private(_) => b"private",
    });
    part(match settings.protocol {
        UpstreamProtocol::Auto => b"auto",
        UpstreamProtocol::Http11 => b"h1",
        UpstreamProtocol::H2 => b"h2",
    });
    for anchor in anchors.iter() {
        part(anchor.borrow_raw_cert());
    }
    for pin in &settings.pins {
        part(pin);
    }
    for certificate in settings.client_certificate.iter().flat_map(|client| &client.chain) {
        part(certificate);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_2_a_trust_store_that_can_not_be_read_leaves_the_one_before() {
        let root = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.self_signed(&key).unwrap().der().clone()
        };
        let (one, other) = (root("one.test"), root("other.test"));
        let count = |roots: &MachineRoots| roots.anchors.len();
        let none = MachineRoots::found(&[], 0, None);
        assert_eq!(count(&none), 0);
        let both = MachineRoots::found(&[one.clone(), other.clone()], 1, Some(&none));
        assert_eq!(count(&both), 2);
        // Empty for a moment, or only half of it there to be read.
        assert_eq!(count(&MachineRoots::found(&[], 0, Some(&both))), 2);
        assert_eq!(count(&MachineRoots::found(std::slice::from_ref(&one), 2, Some(&both))), 2);
        // Whoever is trusted no more is so, whatever could never be read.
        assert_eq!(count(&MachineRoots::found(&[one], 1, Some(&both))), 1);
    }
}
