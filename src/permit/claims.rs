//! What a permit says, and the one text for it.
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use serde::Deserialize;
use toml::value::Datetime;

use super::facts::{Fact, FactKind};
use super::verify::PermitFault;
use crate::base::{Moment, Name, Utc};

/// The longest document.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 10;
/// A permit ends so long after it was issued, at the latest: 90 days.
pub const LIFE_MAX_SECS: u64 = 90 * 86_400;
/// Listeners, and server names, that one permit may name.
pub const LISTED_MAX: usize = 256;
const VERSION: i64 = 1;

/// What a permit says. By itself it proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Names this permit in the log; unique among an issuer's.
    pub serial: Name,
    /// PRIV-5: the environment that the host belongs to.
    pub environment: Name,
    /// Seconds since 1970, as the two below.
    pub issued: u64,
    pub not_before: u64,
    /// From this second on the permit is over.
    pub expires: u64,
    /// Names of `[[listener]]` entries; that of the operators' API is `admin.api`.
    pub listeners: Vec<Name>,
    pub server_names: Vec<NamePattern>,
    /// What the host must show, all of it.
    pub host: BTreeMap<FactKind, Fact>,
}

/// A server name in lower case, or `*.` and a parent, which stands for one more label; or an address.
#[derive(Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// None for what is no host name and no address. Nothing stands for every name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self(address.to_string()));
        }
        let host = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            let plain =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(plain)
        };
        (text.len() <= 253 && host.split('.').all(label)).then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for a name, or for all that a certificate's wildcard does.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let by_parent = || {
            let parent = self.0.strip_prefix("*.")?;
            let (label, rest) = name.split_once('.')?;
            let is_name = name.parse::<IpAddr>().is_err();
            Some(is_name && !label.is_empty() && label != "*" && rest == parent)
        };
        self.0 == name || by_parent() == Some(true)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[expect(dead_code, reason = "read before the rest")]
    version: i64,
    serial: String,
    environment: String,
    issued: Datetime,
    not_before: Datetime,
    expires: Datetime,
    listeners: Vec<String>,
    server_names: Vec<String>,
    host: Host,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    machine: String,
    sealing_key: String,
    instance: Option<String>,
    tpm: Option<String>,
}

impl Claims {
    /// TOML, for people and programs alike.
    #[must_use]
    pub fn to_text(&self) -> String {
        let time = |secs: u64| Utc::of(Moment::new(secs.saturating_mul(1_000), 0)).seconds();
        let list = |names: &mut dyn Iterator<Item = &str>| {
            let quoted: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
            quoted.join(", ")
        };
        let mut text = format!(
            "# Host permit of Sekisho: this host may end TLS, for these listeners and names, until it expires.\n\
             version = {VERSION}\nserial = \"{}\"\nenvironment = \"{}\"\nissued = {}\n\
             not_before = {}\nexpires = {}\nlisteners = [{}]\nserver_names = [{}]\n\n[host]\n",
            self.serial,
            self.environment,
            time(self.issued),
            time(self.not_before),
            time(self.expires),
            list(&mut self.listeners.iter().map(Name::as_str)),
            list(&mut self.server_names.iter().map(NamePattern::as_str)),
        );
        for (kind, fact) in &self.host {
            let _ = writeln!(text, "{} = \"{}\"", kind.as_str(), fact.as_str());
        }
        text
    }

    /// Reads what [`Claims::to_text`] writes, in any order and with comments.
    pub(super) fn parse(text: &[u8]) -> Result<Self, PermitFault> {
        let text = std::str::from_utf8(text).map_err(|_bytes| PermitFault::Malformed)?;
        let table: toml::Table = toml::from_str(text).map_err(|_error| PermitFault::Malformed)?;
        // A later form may hold keys that this one does not know: say which of both it is.
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(VERSION) => {}
            Some(_) => return Err(PermitFault::Version),
            None => return Err(PermitFault::Malformed),
        }
        let body = Body::deserialize(table).map_err(|_error| PermitFault::Malformed)?;
        body.claims().ok_or(PermitFault::Malformed)
    }
}

impl Body {
    fn claims(self) -> Option<Claims> {
        if self.listeners.len() > LISTED_MAX || self.server_names.len() > LISTED_MAX {
            return None;
        }
        let name = |text: &String| Name::parse(text).ok();
        let mut host = BTreeMap::from([
            (FactKind::Machine, Fact::parse(&self.host.machine)?),
            (FactKind::SealingKey, Fact::parse(&self.host.sealing_key)?),
        ]);
        for (kind, text) in
            [(FactKind::Instance, &self.host.instance), (FactKind::Tpm, &self.host.tpm)]
        {
            if let Some(text) = text {
                host.insert(kind, Fact::parse(text)?);
            }
        }
        Some(Claims {
            serial: name(&self.serial)?,
            environment: name(&self.environment)?,
            issued: secs(self.issued)?,
            not_before: secs(self.not_before)?,
            expires: secs(self.expires)?,
            listeners: self.listeners.iter().map(name).collect::<Option<_>>()?,
            server_names: self
                .server_names
                .iter()
                .map(|text| NamePattern::parse(text))
                .collect::<Option<_>>()?,
            host,
        })
    }
}

fn secs(time: Datetime) -> Option<u64> {
    Utc::parse_seconds(&time.to_string())
}
