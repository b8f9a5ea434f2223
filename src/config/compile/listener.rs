//! `[[listener]]` (NET-1, NET-3, TLS-1, MON-5).
use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;

use super::Ctx;
use super::material::Certified;
use crate::base::{ControlId, ListenerIx, UpstreamIx};
use crate::config::raw::value::{NameText, quoted};
use crate::config::raw::{
    AlpnName, At, ClientAuthName, RawBounds, RawListener, RawTls, TlsVersionName,
};
use crate::config::read::Entry;
use crate::config::settings::{
    Alpn, AuthoritiesOf, Bounds, CertifiedChain, ClientAuth, Expired, ListenerSettings, Rate,
    TlsSettings, TlsVersion, Withheld,
};
use crate::policy::{NetworkMask, Prefixes};

/// Who signs client certificates.
enum ClientCa {
    None,
    Loaded(Vec<CertificateDer<'static>>),
    /// It was told why.
    Unusable,
}

/// A listener's certificates, by what becomes of their keys.
#[derive(Default)]
pub(super) struct Parted {
    pub(super) opened: Vec<CertifiedChain>,
    pub(super) withheld: Vec<Withheld>,
    pub(super) expired: Vec<Expired>,
}

impl Parted {
    /// `None` if one has a mistake.
    pub(super) fn of(all: impl IntoIterator<Item = Option<Certified>>) -> Option<Self> {
        let mut parted = Self::default();
        for one in all {
            match one? {
                Certified::Opened(chain) => parted.opened.push(chain),
                Certified::Withheld(withheld) => parted.withheld.push(withheld),
                Certified::Expired(expired) => parted.expired.push(expired),
            }
        }
        Some(parted)
    }
}

/// The most listeners.
const LISTENERS_MAX: usize = 64;

impl Ctx<'_> {
    pub(super) fn listeners(&mut self) -> Option<Vec<ListenerSettings>> {
        let section = &self.document.listener;
        let none = section.entries.is_empty() && section.names.is_empty();
        if let Some(gateway) = self.document.gateway.as_ref().filter(|_| none)
            && self.report.is_clean()
        {
            let found = "there is no listener, so nobody can connect";
            let instead = "add [[listener]] with name, address, networks, upstreams and tls";
            self.report.error(&gateway.place, ControlId::Net1, found, instead);
        }
        if let Some(entry) = section.entries.get(LISTENERS_MAX) {
            let found = format!("{} listeners are defined", section.entries.len());
            let instead = format!("keep at most {LISTENERS_MAX}");
            self.report.error(&entry.place, ControlId::Net1, found, instead);
        }
        (0..)
            .map(ListenerIx)
            .zip(&section.entries)
            .map(|(ix, entry)| self.listener(ix, entry))
            // All of them are judged before the first failure counts.
            .collect::<Vec<_>>()
            .into_iter()
            .collect()
    }

    fn listener(&mut self, ix: ListenerIx, entry: &Entry<RawListener>) -> Option<ListenerSettings> {
        let raw = &entry.raw;
        let networks = self.mask(entry, &raw.networks, ControlId::Net1);
        if raw.networks.is_empty() && !entry.lost("networks") {
            let found = format!("the listener {} admits nobody", quoted(&entry.name));
            let instead = "name the networks that may connect: networks = [\"office\"]";
            self.report.error(&entry.at(&raw.networks.span), ControlId::Net1, found, instead);
        }
        let proxy_from = self.proxy_from(entry);
        let upstreams = self.listener_upstreams(entry);
        let tls = match &raw.tls {
            Some(tls) => self.tls(entry, &tls.value).map(Some),
            None if raw.pass.is_empty() => {
                self.plaintext(entry);
                None
            }
            None => {
                self.nothing_needs_tls(entry);
                Some(None)
            }
        };
        let pass = self.pass_table(entry, tls.as_ref().and_then(Option::as_ref));
        let bounds = self.bounds(entry, &raw.bounds.value);
        Some(ListenerSettings {
            ix,
            name: raw.name.0.clone(),
            address: raw.address.0,
            networks,
            proxy_from,
            tls: tls?,
            pass,
            bounds,
            upstreams,
        })
    }

    /// Plaintext is served nowhere.
    fn plaintext(&mut self, entry: &Entry<RawListener>) {
        if !entry.lost("tls") && !entry.lost("pass") {
            let found = "`tls` is missing";
            let instead = "add tls = { certificates = … }, or [[listener.pass]] where it ends \
                           at another gateway";
            self.report.error(&entry.place, ControlId::Tls1, found, instead);
        }
    }

    fn proxy_from(&mut self, entry: &Entry<RawListener>) -> Option<NetworkMask> {
        let proxy = entry.raw.proxy_protocol.as_ref()?;
        let place = entry.at(&proxy.from.span);
        if proxy.from.is_empty() && !entry.lost("from") {
            let found = "no balancer is named, so nobody can connect";
            let instead = "name the balancers' networks: from = [\"balancers\"]";
            self.report.error(&place, ControlId::Net3, found, instead);
        }
        let (networks, prefixes) = (&self.document.network, &self.prefixes);
        let held = proxy.from.iter().filter_map(|name| {
            let at = networks.place(name.0.as_str())?;
            Some((name, prefixes.get(at)?))
        });
        let held: Vec<(&At<NameText>, &Prefixes)> = held.collect();
        let everybody = held.iter().find(|(_, own)| own.holds_a_family());
        let found = if let Some((name, _)) = everybody {
            let found = format!("{} holds every address", quoted(name.0.as_str()));
            Some((entry.at(&name.span), found))
        } else {
            let all: Vec<_> = held.iter().flat_map(|(_, own)| own.iter()).collect();
            let together = Prefixes::of(&all).holds_a_family();
            together.then(|| (place.clone(), "together they hold every address".to_owned()))
        };
        if let Some((place, found)) = found {
            let instead = "name the balancers only: whoever is in it can claim any address";
            self.report.error(&place, ControlId::Net3, found, instead);
        }
        Some(self.mask(entry, &proxy.from, ControlId::Net3))
    }

    fn listener_upstreams(&mut self, entry: &Entry<RawListener>) -> Vec<UpstreamIx> {
        let list = &entry.raw.upstreams;
        let reads = entry.raw.tls.is_some() || entry.raw.pass.is_empty();
        if list.is_empty() && reads && !entry.lost("upstreams") {
            let found = format!("the listener {} leads nowhere", quoted(&entry.name));
            let instead = "name what is reached through it: upstreams = [\"amazon-fe\"]";
            self.report.error(&entry.at(&list.span), ControlId::Priv1, found, instead);
        }
        self.once(entry, list.iter().map(|name| (name.0.as_str(), name)), ControlId::Priv1);
        let upstreams = &self.document.upstream;
        list.iter()
            .filter_map(|name| {
                let place = entry.at(&name.span);
                self.resolve(upstreams, "upstream", &name.value, &place, ControlId::Priv1)
            })
            .filter_map(|at| u16::try_from(at).ok().map(UpstreamIx))
            .collect()
    }

    /// Reports values that a list holds twice.
    pub(super) fn once<'v, T, E, K: Ord + std::fmt::Debug>(
        &mut self,
        entry: &Entry<E>,
        values: impl Iterator<Item = (K, &'v At<T>)>,
        control: ControlId,
    ) where
        T: 'v,
    {
        let mut seen = BTreeSet::new();
        for (key, value) in values {
            let shown = format!("{key:?}");
            if !seen.insert(key) {
                let found = format!("{shown} stands in the list twice");
                self.report.error(&entry.at(&value.span), control, found, "remove one of them");
            }
        }
    }

    fn tls(&mut self, entry: &Entry<RawListener>, raw: &RawTls) -> Option<TlsSettings> {
        if raw.certificates.is_empty() && !entry.lost("certificates") && !entry.lost("tls") {
            let found = "there is no certificate";
            let instead =
                "write certificates = [{ certificate = \"tls/apps.pem\", key = \"tls/apps.key\" }]";
            self.report.error(&entry.at(&raw.certificates.span), ControlId::Tls1, found, instead);
        }
        let certificates: Vec<_> = raw
            .certificates
            .iter()
            .map(|one| self.server_certificate(entry, &one.value, &entry.name))
            .collect();
        let client_ca = self.client_ca(entry, raw);
        let client_crl = match &client_ca {
            ClientCa::Loaded(list) => {
                self.revocation_lists(entry, &raw.client_crl, list, &entry.name)
            }
            ClientCa::None if !raw.client_crl.is_empty() => {
                let found = "`client_crl` is set, and no client certificate is asked for";
                let instead = "add client_ca and client_auth, or remove client_crl";
                let place = entry.at(&raw.client_crl.span);
                self.report.error(&place, ControlId::Acc3, found, instead);
                None
            }
            ClientCa::None | ClientCa::Unusable => Some(Vec::new()),
        };
        if raw.alpn.is_empty() && !entry.lost("alpn") {
            let found = "no HTTP version is offered";
            let place = entry.at(&raw.alpn.span);
            self.report.error(
                &place,
                ControlId::Tls1,
                found,
                "write alpn = [\"h2\", \"http/1.1\"]",
            );
        }
        let wire = |name: AlpnName| match name {
            AlpnName::H2 => "h2",
            AlpnName::Http11 => "http/1.1",
        };
        self.once(entry, raw.alpn.iter().map(|name| (wire(name.value), name)), ControlId::Tls1);
        let min_version = match raw.min_version.value {
            TlsVersionName::V1_3 => TlsVersion::V1_3,
            TlsVersionName::V1_2 => {
                let found = "TLS 1.2 is spoken here";
                let instead = "write min_version = \"1.3\" as soon as every client can";
                let place = entry.at(&raw.min_version.span);
                self.report.warning(&place, ControlId::Tls1, found, instead);
                TlsVersion::V1_2
            }
        };
        let Parted { opened: certificates, withheld, expired } = Parted::of(certificates)?;
        Some(TlsSettings {
            certificates,
            withheld,
            expired,
            client_ca: match client_ca {
                ClientCa::None => None,
                ClientCa::Loaded(list) => Some(list),
                ClientCa::Unusable => return None,
            },
            client_crl: client_crl?,
            client_auth: match raw.client_auth.value {
                ClientAuthName::None => ClientAuth::None,
                ClientAuthName::Optional => ClientAuth::Optional,
                ClientAuthName::Required => ClientAuth::Required,
            },
            min_version,
            alpn: raw
                .alpn
                .iter()
                .map(|name| match name.value {
                    AlpnName::H2 => Alpn::H2,
                    AlpnName::Http11 => Alpn::Http11,
                })
                .collect(),
        })
    }

    /// Judges `client_ca` and `client_auth` together, and loads the authorities.
    fn client_ca(&mut self, entry: &Entry<RawListener>, raw: &RawTls) -> ClientCa {
        let asks = !matches!(raw.client_auth.value, ClientAuthName::None);
        let Some(path) = &raw.client_ca else {
            if asks && !entry.lost("client_ca") {
                let place = entry.at(&raw.client_auth.span);
                let found = "client certificates are asked for, and no authority is named";
                let instead = "add client_ca = \"tls/clients-ca.pem\"";
                self.report.error(&place, ControlId::Acc1, found, instead);
            }
            return if asks { ClientCa::Unusable } else { ClientCa::None };
        };
        let place = entry.at(&path.span);
        if !asks && !entry.lost("client_auth") {
            let found = "`client_ca` is set, and no client certificate is asked for";
            let instead = "write client_auth = \"optional\" or \"required\"";
            self.report.warning(&place, ControlId::Acc1, found, instead);
        }
        let whose = AuthoritiesOf::Listener(entry.raw.name.0.clone());
        let loaded = self.authorities(&path.value, &place, ControlId::Acc1, whose);
        loaded.map_or(ClientCa::Unusable, ClientCa::Loaded)
    }

    fn bounds(&mut self, entry: &Entry<RawListener>, raw: &RawBounds) -> Bounds {
        for (name, part) in [
            ("connections_per_address", &raw.connections_per_address),
            ("connections_per_identity", &raw.connections_per_identity),
        ] {
            // A default is bounded by `connections` silently; what was written down is not.
            if part.value > raw.connections.value && !part.span.is_empty() {
                let found = format!("`{name}` is above `connections`, {}", raw.connections.value);
                let instead = format!("write at most {}", raw.connections.value);
                self.report.error(&entry.at(&part.span), ControlId::Mon5, found, instead);
            }
        }
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let all = raw.connections.value;
        Bounds {
            handshake: raw.handshake.0,
            first_byte: raw.first_byte.0,
            header: raw.header.0,
            header_bytes: size(raw.header_bytes.0),
            header_count: usize::from(raw.header_count),
            target_bytes: size(raw.target_bytes.0),
            body_bytes: raw.body_bytes.0,
            body_rate: raw.body_rate.0,
            body_rate_grace: raw.body_rate_grace.0,
            idle: raw.idle.0,
            requests_per_connection: raw.requests_per_connection,
            connections: all,
            connections_per_address: raw.connections_per_address.value.min(all),
            connections_per_identity: raw.connections_per_identity.value.min(all),
            h2_streams: u32::from(raw.h2_streams),
            h2_resets: u32::from(raw.h2_resets),
            h2_header_bytes: u32::try_from(raw.h2_header_bytes.0).unwrap_or(u32::MAX),
            h2_control_frames: Rate {
                count: raw.h2_control_frames.count,
                per: raw.h2_control_frames.per,
            },
        }
    }
}
