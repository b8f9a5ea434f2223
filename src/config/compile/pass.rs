//! `[[listener.pass]]` (TLS-3, NET-1, NET-3). Where TLS does not end, nothing can be proved, counted or
//! redacted: whoever asks for that there is told where to move it.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::Ctx;
use super::identity::Tally;
use crate::base::ControlId;
use crate::config::raw::value::{ServerText, TextValue, quoted};
use crate::config::raw::{NamelessName, ProxyName, RawListener, RawPass};
use crate::config::read::Entry;
use crate::config::settings::{
    Addresses, Nameless, PassProxy, PassSettings, PassTable, PassTarget, TlsSettings,
};

/// What to do where identity or content matters and TLS does not end.
const ELSEWHERE: &str = "move it to the gateways that the connections are passed to, or end TLS here: \
                         add tls; what this host may not see needs message-level encryption";

impl Ctx<'_> {
    /// The routes of a listener; none may be.
    pub(super) fn pass_table(
        &mut self,
        entry: &Entry<RawListener>,
        tls: Option<&TlsSettings>,
    ) -> PassTable {
        let raw = &entry.raw.pass;
        if raw.is_empty() {
            return PassTable::default();
        }
        self.once(
            entry,
            raw.iter().map(|pass| (pass.name.0.as_str(), &pass.name)),
            ControlId::Log1,
        );
        self.each_name_goes_one_way(entry, tls);
        let routes: Vec<PassSettings> =
            raw.iter().map(|pass| self.pass_route(entry, &pass.value)).collect();
        // What is closed here is refused, rather than shown to whoever a wildcard leads to.
        PassTable::new(routes, tls.into_iter().flat_map(TlsSettings::names).cloned())
    }

    fn pass_route(&mut self, entry: &Entry<RawListener>, raw: &RawPass) -> PassSettings {
        if raw.server_names.is_empty() && raw.nameless.is_none() && !entry.lost("server_names") {
            let found = format!("nothing is passed on by {}", quoted(raw.name.0.as_str()));
            let instead = "name the servers: server_names = [\"apps.example.com\"]";
            self.report.error(&entry.at(&raw.name.span), ControlId::Tls3, found, instead);
        }
        self.pass_targets(entry, raw);
        if raw.proxy.value == ProxyName::None {
            let found = "the targets see this gateway's address in place of the client's";
            let instead = "leave `proxy` out where the targets read PROXY headers: proxy_protocol";
            self.report.warning(&entry.at(&raw.proxy.span), ControlId::Net3, found, instead);
        }
        let all = entry.raw.bounds.connections.value;
        if let Some(own) = raw.connections.as_ref().filter(|own| own.value > all) {
            let found = format!("`connections` is above the listener's bound, {all}");
            let place = entry.at(&own.span);
            self.report.error(&place, ControlId::Mon5, found, format!("write at most {all}"));
        }
        PassSettings {
            name: raw.name.0.clone(),
            server_names: raw.server_names.iter().map(|name| name.0.clone()).collect(),
            nameless: match raw.nameless.as_ref().map(|nameless| nameless.value) {
                Some(NamelessName::Pass) => Nameless::Here,
                None => Nameless::Elsewhere,
            },
            targets: raw
                .targets
                .iter()
                .map(|target| PassTarget {
                    name: target.name.0.clone(),
                    host: target.address.host.clone(),
                    port: target.address.port,
                    addresses: match target.address.host.parse::<IpAddr>() {
                        Ok(ip) => Addresses::Fixed(vec![(ip, target.address.port).into()]),
                        Err(_) => Addresses::Dns,
                    },
                })
                .collect(),
            proxy: match raw.proxy.value {
                ProxyName::V2 => PassProxy::V2,
                ProxyName::None => PassProxy::Silent,
            },
            connect_timeout: raw.connect_timeout.0,
            check: raw.check.0,
            failures: raw.failures,
            idle: raw.idle.0,
            connections: raw.connections.as_ref().map_or(all, |own| own.value.min(all)),
        }
    }

    fn pass_targets(&mut self, entry: &Entry<RawListener>, raw: &RawPass) {
        if raw.targets.is_empty() && !entry.lost("targets") {
            let found = format!("the route {} leads nowhere", quoted(raw.name.0.as_str()));
            let instead =
                "name the gateways: targets = [{ name = \"gw-1\", address = \"10.0.2.10:8443\" }]";
            self.report.error(&entry.at(&raw.targets.span), ControlId::Tls3, found, instead);
        }
        let names = raw.targets.iter().map(|target| (target.name.0.as_str(), &target.name));
        self.once(entry, names, ControlId::Log1);
        let places = raw
            .targets
            .iter()
            .map(|target| (target.address.value.to_text().into_owned(), &target.address));
        self.once(entry, places, ControlId::Tls3);
        for target in raw.targets.iter() {
            if leads_to(&target.address, entry.raw.address.0) {
                let found = "connections would go round in a circle: this is the listener itself";
                let instead = "write the address of the gateway where TLS ends";
                let place = entry.at(&target.address.span);
                self.report.error(&place, ControlId::Tls3, found, instead);
            }
        }
    }

    /// A server name is passed on by one route, and not also served.
    fn each_name_goes_one_way(&mut self, entry: &Entry<RawListener>, tls: Option<&TlsSettings>) {
        let raw = &entry.raw;
        let (mut passed, mut nameless) = (BTreeMap::new(), None);
        let certified: BTreeSet<&String> = tls.into_iter().flat_map(TlsSettings::names).collect();
        for route in raw.pass.iter() {
            for name in route.server_names.iter() {
                let place = entry.at(&name.span);
                if let Some(first) = passed.insert(name.0.as_str(), route.name.0.as_str()) {
                    let found = format!("{} is passed on by {}", quoted(&name.0), quoted(first));
                    let instead = "remove it from one of the two; a route has several targets";
                    self.report.error(&place, ControlId::Tls3, found, instead);
                }
                if certified.contains(&name.0) {
                    let found =
                        format!("a certificate of the listener holds {} as well", quoted(&name.0));
                    let instead = "remove it here and TLS ends on this host, or leave it out of \
                                   the certificate and it is passed on";
                    self.report.error(&place, ControlId::Tls3, found, instead);
                }
            }
            if let Some(word) = &route.nameless
                && let Some(first) = nameless.replace(route.name.0.as_str())
            {
                let found =
                    format!("connections without a name are passed on by {}", quoted(first));
                let place = entry.at(&word.span);
                self.report.error(&place, ControlId::Tls3, found, "keep one of the two");
            }
        }
        for upstream in raw.upstreams.iter() {
            let section = &self.document.upstream;
            let at = section.place(upstream.0.as_str()).and_then(|at| section.entries.get(at));
            let names = at.into_iter().flat_map(|up| up.raw.server_names.iter());
            let Some(name) = names.map(|name| name.0.as_str()).find(|n| passed.contains_key(n))
            else {
                continue;
            };
            let found = format!(
                "{} is served to {}, whose connections are passed on unread",
                quoted(upstream.0.as_str()),
                quoted(name)
            );
            self.report.error(&entry.at(&upstream.span), ControlId::Tls3, found, ELSEWHERE);
        }
    }

    /// Reports what a listener asks for that only the end of TLS can give.
    pub(super) fn nothing_needs_tls(&mut self, entry: &Entry<RawListener>) {
        let raw = &entry.raw;
        if let Some(first) = raw.upstreams.first() {
            let found = format!(
                "requests to {} would have to be read, and TLS does not end here",
                quoted(first.0.as_str())
            );
            self.report.error(&entry.at(&first.span), ControlId::Tls3, found, ELSEWHERE);
        }
        let own = &raw.bounds.connections_per_identity;
        if !own.span.is_empty() {
            let found = "nobody proves an identity where TLS does not end";
            let instead = "write connections_per_address, or move it to the gateways behind";
            self.report.error(&entry.at(&own.span), ControlId::Tls3, found, instead);
        }
    }

    /// Identities of a host where TLS ends nowhere could never enter.
    pub(super) fn identities_can_be_proved(&mut self) {
        let listeners = &self.document.listener;
        let passes = |entry: &Entry<RawListener>| {
            entry.raw.tls.is_none() && !entry.raw.pass.is_empty() && !entry.lost("tls")
        };
        if listeners.entries.is_empty()
            || !listeners.is_whole()
            || !listeners.entries.iter().all(passes)
        {
            return;
        }
        let mut tally = Tally::default();
        for entry in &self.document.identity.entries {
            tally.add(entry.place.clone());
        }
        if let Some(place) = &tally.first {
            let found = "no listener of this host ends TLS, so nobody can prove an identity here"
                .to_owned()
                + &tally.others();
            self.report.error(place, ControlId::Tls3, found, ELSEWHERE);
        }
    }
}

/// Whether a target is the listener at `own` itself.
fn leads_to(target: &ServerText, own: SocketAddr) -> bool {
    let Ok(ip) = target.host.parse::<IpAddr>() else { return false };
    let ip = ip.to_canonical();
    target.port == own.port()
        && (ip == own.ip().to_canonical() || own.ip().is_unspecified() && ip.is_loopback())
}
