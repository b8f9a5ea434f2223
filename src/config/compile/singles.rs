//! `[token]`, `[log]`, `[admin]`, and that no two of us listen on one address.
use std::net::SocketAddr;

use http::HeaderName;

use super::Ctx;
use crate::base::ControlId;
use crate::config::raw::value::quoted;
use crate::config::raw::{AccessTo, BasicName, RawAdmin, RawLog, RawToken};
use crate::config::settings::{AccessLog, AdminSettings, LogSettings, TokenSettings};
use crate::config::source::Place;
use crate::identity::Basic;

/// Headers that mean something else, and the control that keeps them.
const TAKEN: [(&str, ControlId); 11] = [
    ("host", ControlId::Mon5),
    ("connection", ControlId::Mon5),
    ("content-length", ControlId::Mon5),
    ("transfer-encoding", ControlId::Mon5),
    ("te", ControlId::Mon5),
    ("trailer", ControlId::Mon5),
    ("upgrade", ControlId::Mon5),
    ("cookie", ControlId::Acc1),
    ("x-amz-access-token", ControlId::Priv4),
    ("forwarded", ControlId::Net3),
    ("x-forwarded-for", ControlId::Net3),
];

impl Ctx<'_> {
    pub(super) fn token(&mut self) -> TokenSettings {
        let default = RawToken::default();
        let entry = self.document.token.as_ref();
        let raw = entry.map_or(&default, |entry| &entry.raw);
        let name = raw.header.0.as_str();
        if let (Some(entry), Some((_, control))) =
            (entry, TAKEN.iter().find(|(taken, _)| *taken == name))
        {
            let place = entry.at(&raw.header.span);
            let found = format!("the header {} can't carry the gateway's token", quoted(name));
            self.report.error(
                &place,
                *control,
                found,
                "write \"authorization\", or a name of your own",
            );
        }
        let basic = self.basic(raw);
        let denied = self.denied(raw);
        TokenSettings {
            basic,
            header: HeaderName::from_bytes(name.as_bytes()).unwrap_or(http::header::AUTHORIZATION),
            scheme: Some(raw.scheme.0.clone()).filter(|scheme| !scheme.is_empty()),
            bytes_max: usize::try_from(raw.bytes_max.0).unwrap_or(usize::MAX),
            denied,
        }
    }

    /// Basic credentials come in `Authorization` and are read in one way only.
    fn basic(&mut self, raw: &RawToken) -> Basic {
        let (Some(entry), Some(basic)) = (&self.document.token, &raw.basic) else {
            return Basic::Refused;
        };
        let (header, scheme) = (raw.header.0.as_str(), raw.scheme.0.as_str());
        let conflict = if header != "authorization" {
            Some((
                format!("Basic credentials never come in {}", quoted(header)),
                "header = \"authorization\"",
            ))
        } else if scheme.eq_ignore_ascii_case("basic") {
            Some((
                "what follows \"Basic\" would be read in two ways".to_owned(),
                "scheme = \"Bearer\"",
            ))
        } else {
            None
        };
        if let Some((found, instead)) = conflict {
            let place = entry.at(&basic.span);
            self.report.error(
                &place,
                ControlId::Acc1,
                found,
                format!("write {instead}, or leave basic out"),
            );
        }
        match basic.value {
            BasicName::PasswordIsToken => Basic::PasswordIsToken,
        }
    }

    pub(super) fn log(&mut self) -> LogSettings {
        let default = RawLog::default();
        let entry = self.document.log.as_ref();
        let raw = entry.map_or(&default, |entry| &entry.raw);
        let access = match (&raw.access.value, entry) {
            (AccessTo::Stdout, _) => AccessLog::Stdout,
            (AccessTo::File(path), Some(entry)) => AccessLog::File(self.path(path, &entry.place)),
            (AccessTo::File(path), None) => AccessLog::File(path.0.clone()),
        };
        LogSettings {
            access,
            rotate_bytes: raw.rotate_bytes.0,
            rotate_every: raw.rotate_every.0,
            keep: raw.keep.0,
        }
    }

    pub(super) fn admin(&mut self) -> AdminSettings {
        let default = RawAdmin::default();
        let entry = self.document.admin.as_ref();
        let raw = entry.map_or(&default, |entry| &entry.raw);
        let address = raw.address.0;
        if let Some(entry) = entry
            && !address.ip().is_loopback()
        {
            let place = entry.at(&raw.address.span);
            let found = format!("{address} can be reached from other machines without TLS");
            let instead = format!(
                "write \"127.0.0.1:{}\"; an agent on this machine carries it further (TLS-1)",
                address.port()
            );
            self.report.error(&place, ControlId::Priv3, found, instead);
        }
        AdminSettings { address }
    }

    /// Reports listeners, the admin one included, that would want one and the same socket.
    pub(super) fn addresses(&mut self, admin: SocketAddr) {
        let mut taken: Vec<(SocketAddr, String)> = Vec::new();
        let mut claims: Vec<(SocketAddr, Place, String)> = Vec::new();
        for entry in self.document.listener.entries.iter().filter(|entry| !entry.lost("address")) {
            let place = entry.at(&entry.raw.address.span);
            claims.push((entry.raw.address.0, place, format!("listener {}", quoted(&entry.name))));
        }
        if let Some(entry) = &self.document.admin {
            let place = entry.at(&entry.raw.address.span);
            claims.push((admin, place, "[admin]".to_owned()));
        } else {
            taken.push((admin, "[admin], by default".to_owned()));
        }
        let api = self.document.admin.as_ref();
        if let Some((entry, api)) = api.and_then(|entry| Some((entry, entry.raw.api.as_ref()?))) {
            let place = entry.at(&api.address.span);
            claims.push((api.address.0, place, "[admin.api]".to_owned()));
        }
        for (address, place, who) in claims {
            if let Some((_, other)) = taken.iter().find(|(known, _)| collide(*known, address)) {
                let found = format!("{address} is taken by {other}");
                self.report.error(&place, ControlId::Net1, found, "write another port");
            }
            taken.push((address, who));
        }
    }
}

/// Whether the system would refuse to bind both. An unspecified address takes the port on all
/// addresses, and that of IPv6 on those of IPv4 as well.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let all = |one: SocketAddr, other: SocketAddr| {
        one.ip().is_unspecified() && (one.is_ipv6() || one.is_ipv4() == other.is_ipv4())
    };
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || all(a, b) || all(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_takes_the_port_everywhere() {
        let collide = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
        assert!(collide("0.0.0.0:1", "127.0.0.1:1"));
        assert!(collide("[::]:1", "127.0.0.1:1"));
        assert!(collide("127.0.0.1:1", "127.0.0.1:1"));
        assert!(!collide("0.0.0.0:1", "[::1]:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("0.0.0.0:1", "0.0.0.0:2"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"), "port 0: the system picks");
    }
}
