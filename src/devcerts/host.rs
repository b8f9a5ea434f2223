//! A host that may end TLS, and the issuer that says so (TLS-3): throw-away, as everything here.
use std::collections::BTreeMap;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::DevCertsError;
use super::authority::{LEEWAY, VALIDITY};
use crate::base::{Moment, Name, Secret};
use crate::permit::{Claims, Fact, FactKind, NamePattern, Signer, machine_fact};
use crate::seal::{self, HostKey, RANDOM_BYTES};

/// See the module. The issuer's key is never written, so nobody can issue another permit.
#[derive(Debug)]
pub struct DevHost {
    pub issuer: Signer,
    pub key: HostKey,
    /// Made up: the folder may move with its container.
    pub machine_id: String,
}

impl DevHost {
    pub(super) fn generate() -> Result<Self, DevCertsError> {
        let id: [u8; 16] = random()?;
        let machine_id = id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let (issuer, key) =
            (Signer::new(Secret::new(random()?)), HostKey::new(Secret::new(random()?)));
        let (Some(issuer), Some(key)) = (issuer, key) else { return Err(DevCertsError::Generate) };
        Ok(Self { issuer, key, machine_id })
    }

    /// What a permit of this host says: good for 30 days, for these listeners and server names.
    /// Addresses among the names are left out.
    ///
    /// # Errors
    /// A text that is no name.
    pub fn claims(
        &self,
        environment: &str,
        listeners: &[&str],
        names: &[String],
        now: Moment,
    ) -> Result<Claims, DevCertsError> {
        let name = |text: &str| {
            Name::parse(text).map_err(|_error| DevCertsError::SubjectName(text.to_owned()))
        };
        let loopback = |name: &&String| name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let shown = names.iter().filter(|name| !loopback(name));
        let pattern = |text: &String| {
            let pattern = NamePattern::parse(&text.to_ascii_lowercase());
            pattern.ok_or_else(|| DevCertsError::SubjectName(text.clone()))
        };
        let facts = [
            (FactKind::Machine, machine_fact(self.machine_id.as_bytes())),
            (FactKind::SealingKey, Fact::parse(&self.key.public().to_string())),
        ];
        let host: BTreeMap<_, _> =
            facts.into_iter().filter_map(|(kind, fact)| Some((kind, fact?))).collect();
        let issued = now.unix_secs().saturating_sub(LEEWAY.as_secs());
        Ok(Claims {
            serial: name(&format!("dev-{}", now.unix_secs()))?,
            environment: name(environment)?,
            issued,
            not_before: issued,
            expires: now.unix_secs().saturating_add(VALIDITY.as_secs()),
            listeners: listeners.iter().map(|listener| name(listener)).collect::<Result<_, _>>()?,
            server_names: shown.map(pattern).collect::<Result<_, _>>()?,
            host,
        })
    }

    /// A private key, sealed to this host.
    ///
    /// # Errors
    /// No random numbers.
    pub fn seal(&self, pem: &str) -> Result<String, DevCertsError> {
        let random: Zeroizing<[u8; RANDOM_BYTES]> = Zeroizing::new(random()?);
        seal::seal(pem.as_bytes(), &self.key.public(), &random)
            .map_err(|_fault| DevCertsError::Generate)
    }
}

fn random<const N: usize>() -> Result<[u8; N], DevCertsError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_none| DevCertsError::Generate)?;
    Ok(bytes)
}
