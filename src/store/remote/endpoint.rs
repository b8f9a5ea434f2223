//! Where Redis is and how it proves itself. There is no way without TLS, and no public authority is
//! trusted: a store is the operator's own, so is the authority of its certificate (TLS-1, TLS-2).
use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::base::Secret;

/// Certificates for the connection.
#[derive(Debug)]
pub struct TlsFiles {
    /// Authorities that may vouch for the server; at least one.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The gateway's own chain and key, where the server asks for it.
    pub client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// A user of the server's access list.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret<String>,
}

/// Why there is no such [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointFault {
    /// The host is no DNS name and no address.
    Host,
    /// No authority, or one that can't be a trust anchor.
    Authority,
    /// The client's key is of no kind that can sign, or does not fit its certificate.
    ClientKey,
}

/// A server and how to reach it.
#[derive(Clone)]
pub struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) name: ServerName<'static>,
    pub(super) tls: Arc<ClientConfig>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}:{})", self.host, self.port)
    }
}

impl Endpoint {
    /// # Errors
    /// See [`EndpointFault`].
    pub fn new(host: &str, port: u16, files: TlsFiles) -> Result<Self, EndpointFault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| EndpointFault::Host)?;
        let mut roots = RootCertStore::empty();
        for authority in files.authorities {
            roots.add(authority).map_err(|_| EndpointFault::Authority)?;
        }
        if roots.is_empty() {
            return Err(EndpointFault::Authority);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| EndpointFault::Authority)?
            .with_root_certificates(roots);
        let tls = match files.client {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|_| EndpointFault::ClientKey)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { host: host.to_owned(), port, name, tls: Arc::new(tls) })
    }

    /// The same server under the name that its certificate holds.
    ///
    /// # Errors
    /// The name is none that a certificate can hold.
    pub fn certified_as(self, name: &str) -> Result<Self, EndpointFault> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| EndpointFault::Host)?;
        Ok(Self { name, ..self })
    }
}
