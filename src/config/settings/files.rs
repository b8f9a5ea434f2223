//! Files of which something else is made than a listener's certificate: who is trusted, which tokens
//! count for nothing, which addresses are a network's. What one held stays where it breaks.
use std::path::PathBuf;

use rustls_pki_types::CertificateDer;

use super::OnDisk;
use crate::base::{Name, NetworkIx};

/// A file that the configuration names, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    pub file: PathBuf,
    pub on_disk: OnDisk,
    pub of: FileOf,
}

/// What is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOf {
    /// Those in force, and whose they are.
    Authorities(AuthoritiesOf, Vec<CertificateDer<'static>>),
    /// What it holds is in the snapshot's prefixes.
    Network(NetworkIx),
    /// `[token] denied`.
    Denied,
}

/// Who trusts authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthoritiesOf {
    Listener(Name),
    Upstream(Name),
    Issuer(Name),
    /// The API of operators.
    Api,
    Redis,
    Alarm(Name),
}
