//! Which connections of a listener are passed on, and where to. Controls: TLS-3.
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Addresses;
use crate::base::Name;

/// One `[[listener.pass]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassSettings {
    pub name: Name,
    /// Lower case; `*.` in front stands for one label.
    pub server_names: Vec<String>,
    pub nameless: Nameless,
    /// Never empty.
    pub targets: Vec<PassTarget>,
    pub proxy: PassProxy,
    /// For one TCP connection.
    pub connect_timeout: Duration,
    /// Time between two looks at a target.
    pub check: Duration,
    /// Failures in a row until a target is left alone. At least 1.
    pub failures: u32,
    /// How long both sides may be silent.
    pub idle: Duration,
    /// At a time.
    pub connections: u32,
}

/// Whether connections that name no server go a route's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nameless {
    Elsewhere,
    Here,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassTarget {
    pub name: Name,
    /// An IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub addresses: Addresses,
}

/// How a target learns of the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassProxy {
    /// A PROXY header, version 2.
    V2,
    /// It doesn't.
    Silent,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Passed on by this route.
    Pass(usize),
    /// TLS ends here.
    End,
    /// It names a server that nobody here serves.
    Unknown,
    /// It names none, and nobody here serves those.
    Nameless,
}

/// The routes of a listener, by server name.
#[derive(Clone, Debug, Default)]
pub struct PassTable {
    routes: Vec<PassSettings>,
    exact: HashMap<String, usize>,
    /// By the part behind `*.`.
    wildcard: HashMap<String, usize>,
    nameless: Option<usize>,
    /// Names that certificates of the listener hold as they are.
    ended: HashSet<String>,
}

impl PassTable {
    /// Of two routes with one name, the first; the configuration's checks find those before.
    #[must_use]
    pub fn new(routes: Vec<PassSettings>, certified: impl Iterator<Item = String>) -> Self {
        let mut table = Self {
            ended: certified.filter(|name| !name.starts_with("*.")).collect(),
            ..Self::default()
        };
        for (at, route) in routes.iter().enumerate() {
            for name in &route.server_names {
                match name.strip_prefix("*.") {
                    Some(parent) => table.wildcard.entry(parent.to_owned()).or_insert(at),
                    None => table.exact.entry(name.clone()).or_insert(at),
                };
            }
            if route.nameless == Nameless::Here {
                table.nameless.get_or_insert(at);
            }
        }
        table.routes = routes;
        table
    }

    #[must_use]
    pub fn routes(&self) -> &[PassSettings] {
        &self.routes
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What becomes of a connection for `name` (lower case, without a dot at the end) where TLS ends
    /// for the names that are not passed on, or for none (`ends`). The closer name wins: one that is
    /// written out, here or in a certificate, before a wildcard's.
    #[must_use]
    pub fn way(&self, name: Option<&str>, ends: bool) -> Way {
        let Some(name) = name else {
            return match self.nameless {
                Some(route) => Way::Pass(route),
                None if ends => Way::End,
                None => Way::Nameless,
            };
        };
        if let Some(route) = self.exact.get(name) {
            return Way::Pass(*route);
        }
        if ends && self.ended.contains(name) {
            return Way::End;
        }
        let parent = name.split_once('.').map(|(_label, parent)| parent);
        match parent.and_then(|parent| self.wildcard.get(parent)) {
            Some(route) => Way::Pass(*route),
            None if ends => Way::End,
            None => Way::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(names: &[&str], nameless: Nameless) -> PassSettings {
        PassSettings {
            name: Name::parse("route").unwrap(),
            server_names: names.iter().map(|&name| name.to_owned()).collect(),
            nameless,
            targets: Vec::new(),
            proxy: PassProxy::V2,
            connect_timeout: Duration::from_secs(1),
            check: Duration::from_secs(1),
            failures: 1,
            idle: Duration::from_secs(1),
            connections: 1,
        }
    }

    fn table() -> PassTable {
        let certified = ["apps.example.com", "*.example.com", "*.own.example.com"];
        PassTable::new(
            vec![
                route(&["fe.example.com", "*.spapi.example.com"], Nameless::Elsewhere),
                route(&["*.example.com", "own.example.com"], Nameless::Here),
            ],
            certified.iter().map(|&name| name.to_owned()),
        )
    }

    #[test]
    fn tls_3_the_closer_name_decides_whether_tls_ends_here() {
        let table = table();
        for (name, way) in [
            ("fe.example.com", Way::Pass(0)),
            ("eu.spapi.example.com", Way::Pass(0)),
            ("own.example.com", Way::Pass(1)),
            ("other.example.com", Way::Pass(1)),
            // Written out in a certificate, and covered by a route's wildcard only.
            ("apps.example.com", Way::End),
            ("a.own.example.com", Way::End),
            // A wildcard is one label.
            ("a.eu.spapi.example.com", Way::End),
            ("example.com", Way::End),
            ("com", Way::End),
        ] {
            assert_eq!(table.way(Some(name), true), way, "{name}");
        }
    }

    #[test]
    fn tls_3_where_tls_does_not_end_what_is_not_passed_on_is_nobodys() {
        let table = table();
        assert_eq!(table.way(Some("apps.example.com"), false), Way::Pass(1));
        assert_eq!(table.way(Some("example.com"), false), Way::Unknown);
        assert_eq!(table.way(None, false), Way::Pass(1));
        let named = PassTable::new(vec![route(&["a.b"], Nameless::Elsewhere)], std::iter::empty());
        assert_eq!(named.way(None, false), Way::Nameless);
        assert_eq!(named.way(None, true), Way::End);
        assert_eq!(PassTable::default().way(Some("a.b"), true), Way::End);
    }
}
