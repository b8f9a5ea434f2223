//! `[state]`, compiled.
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::{CertifiedChain, ClientKey};
use crate::base::{Secret, Use};

/// Where state is kept beside the file in the state directory.
#[derive(Clone, Debug)]
pub struct StateSettings {
    /// This gateway among those that share a server. At least 1.
    pub gateway: u16,
    /// `None`: this gateway shares with nobody.
    pub redis: Option<RedisSettings>,
}

/// A server that several gateways share. Always TLS, always verified (TLS-1, TLS-2).
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// A DNS name in lower case, or an address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// What the certificate must hold; the host where nothing else is said.
    pub server_name: String,
    /// Never empty.
    pub authorities: Vec<CertificateDer<'static>>,
    pub client_certificate: Option<CertifiedChain<ClientKey>>,
    pub user: String,
    pub password: Secret<String>,
    /// From which the gateways' keys are derived.
    pub secret: Secret<[u8; 32]>,
    pub time_out: Duration,
    /// 50 ms to 1 s.
    pub poll: Duration,
}

impl StateSettings {
    /// The keys that are not the same here and there, which only a restart can put in force.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if self.gateway != other.gateway {
            changed.push("[state] gateway");
        }
        match (&self.redis, &other.redis) {
            (None, None) => {}
            (Some(one), Some(two)) if one.is_like(two) => {}
            _ => changed.push("[state.redis]"),
        }
        changed
    }
}

impl RedisSettings {
    fn is_like(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.server_name, &self.user, self.time_out, self.poll)
            == (
                &other.host,
                other.port,
                &other.server_name,
                &other.user,
                other.time_out,
                other.poll,
            )
            && self.secret.reveal_for(Use::Match) == other.secret.reveal_for(Use::Match)
    }

    /// Whether server and gateway prove themselves to each other by the same. These are renewed while
    /// the gateway runs.
    #[must_use]
    pub fn proves_as(&self, other: &Self) -> bool {
        self.authorities == other.authorities
            && self.leaf() == other.leaf()
            && self.password.reveal_for(Use::Match) == other.password.reveal_for(Use::Match)
    }

    fn leaf(&self) -> Option<&[CertificateDer<'static>]> {
        self.client_certificate.as_ref().map(|own| own.chain.as_slice())
    }
}
