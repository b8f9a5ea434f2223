//! `[[upstream]]` (TLS-1, TLS-2, PRIV-5). Amazon's hosts are built in.
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::Ctx;
use crate::base::{ControlId, Name, UpstreamIx};
use crate::config::raw::value::{HttpsUrl, TextValue, quoted};
use crate::config::raw::{At, KindName, ProtocolName, RawUpstream, RegionName, StageName};
use crate::config::read::Entry;
use crate::config::settings::{
    Addresses, AuthoritiesOf, Breaker, Endpoint, ListenerSettings, Region, Roots, Stage,
    UpstreamKind, UpstreamProtocol, UpstreamSettings,
};

const UPSTREAMS_MAX: usize = 1_024;
/// Login with Amazon's token server, for all regions.
const TOKEN_HOST: &str = "https://api.amazon.com";

/// Amazon's host (SP-API documentation, "SP-API endpoints").
const fn amazon(region: RegionName, stage: StageName) -> &'static str {
    match (region, stage) {
        (RegionName::Na, StageName::Production) => "https://sellingpartnerapi-na.amazon.com",
        (RegionName::Eu, StageName::Production) => "https://sellingpartnerapi-eu.amazon.com",
        (RegionName::Fe, StageName::Production) => "https://sellingpartnerapi-fe.amazon.com",
        (RegionName::Na, StageName::Sandbox) => "https://sandbox.sellingpartnerapi-na.amazon.com",
        (RegionName::Eu, StageName::Sandbox) => "https://sandbox.sellingpartnerapi-eu.amazon.com",
        (RegionName::Fe, StageName::Sandbox) => "https://sandbox.sellingpartnerapi-fe.amazon.com",
    }
}

/// Where an upstream leads to.
enum Reached {
    Amazon(StageName),
    Other,
}

/// What one of Amazon's hosts answers with.
fn amazon_stage(host: &str) -> Option<StageName> {
    let (host, stage) = match host.strip_prefix("sandbox.") {
        Some(host) => (host, StageName::Sandbox),
        None => (host, StageName::Production),
    };
    let region = host.strip_prefix("sellingpartnerapi-")?.strip_suffix(".amazon.com")?;
    ["na", "eu", "fe"].contains(&region).then_some(stage)
}

/// What an upstream is; `None` if what stands there can't be used.
pub(super) fn kind(entry: &Entry<RawUpstream>) -> Option<KindName> {
    if entry.lost("kind") { None } else { Some(entry.raw.kind.value) }
}

/// Where an upstream is, before its addresses are added.
struct Where {
    kind: UpstreamKind,
    endpoint: HttpsUrl,
    token: Option<HttpsUrl>,
}

impl Ctx<'_> {
    pub(super) fn upstreams(
        &mut self,
        environment: Option<&Name>,
    ) -> Option<Vec<UpstreamSettings>> {
        let entries = &self.document.upstream.entries;
        if let Some(entry) = entries.get(UPSTREAMS_MAX) {
            let found = format!("{} upstreams are defined", entries.len());
            let instead = format!("keep at most {UPSTREAMS_MAX}");
            self.report.error(&entry.place, ControlId::Tls1, found, instead);
        }
        let listeners = &self.document.listener;
        let used: BTreeSet<&str> = listeners
            .entries
            .iter()
            .flat_map(|listener| listener.raw.upstreams.iter().map(|name| name.0.as_str()))
            .collect();
        let settings: Vec<_> = (0..)
            .map(UpstreamIx)
            .zip(entries)
            .map(|(ix, entry)| {
                if !used.contains(entry.name.as_str()) && listeners.is_whole() {
                    let found = format!("no listener leads to {}", quoted(&entry.name));
                    let instead = "add it to a listener's upstreams, or remove it";
                    self.report.warning(&entry.place, ControlId::Priv1, found, instead);
                }
                self.upstream(ix, entry, environment)
            })
            .collect();
        settings.into_iter().collect()
    }

    fn upstream(
        &mut self,
        ix: UpstreamIx,
        entry: &Entry<RawUpstream>,
        environment: Option<&Name>,
    ) -> Option<UpstreamSettings> {
        let raw = &entry.raw;
        let place = match kind(entry) {
            Some(KindName::SpApi) => self.sp_api(entry, environment),
            Some(KindName::Https) => self.store(entry),
            None => None,
        };
        let server_names = self.server_names(entry);
        let addresses = self.upstream_addresses(entry);
        let roots = match &raw.ca {
            None => Some(Roots::System),
            Some(path) => {
                let at = entry.at(&path.span);
                let whose = AuthoritiesOf::Upstream(raw.name.0.clone());
                self.authorities(&path.value, &at, ControlId::Tls2, whose).map(Roots::Private)
            }
        };
        let client_certificate = match &raw.client_certificate {
            None => Some(None),
            Some(certified) => {
                let mut before = self.before.into_iter().flat_map(|before| &before.upstreams);
                let before = before.find(|own| own.name == raw.name.0);
                let known = before.and_then(|own| own.client_certificate.as_ref());
                self.client_certificate(entry, &certified.value, known).map(Some)
            }
        };
        let at = place?;
        let breaker = Breaker { failures: raw.breaker.failures, open: raw.breaker.open.0 };
        Some(UpstreamSettings {
            ix,
            name: raw.name.0.clone(),
            seller: raw.seller.as_ref().map_or(&raw.name.0, |seller| &seller.0).clone(),
            kind: at.kind,
            endpoint: endpoint(&at.endpoint, addresses)?,
            token_endpoint: match at.token {
                None => None,
                Some(url) => Some(endpoint(&url, Vec::new())?),
            },
            server_names,
            roots: roots?,
            pins: raw.pins.iter().map(|pin| pin.0).collect(),
            client_certificate: client_certificate?,
            connect_timeout: raw.connect_timeout.0,
            response_timeout: raw.response_timeout.0,
            idle_timeout: raw.idle_timeout.0,
            protocol: match raw.protocol {
                ProtocolName::Auto => UpstreamProtocol::Auto,
                ProtocolName::Http11 => UpstreamProtocol::Http11,
                ProtocolName::H2 => UpstreamProtocol::H2,
            },
            retries: raw.retries,
            breaker,
        })
    }

    fn sp_api(&mut self, entry: &Entry<RawUpstream>, environment: Option<&Name>) -> Option<Where> {
        let raw = &entry.raw;
        self.bare(entry, raw.endpoint.as_ref());
        self.bare(entry, raw.token_endpoint.as_ref());
        let Some(region) = &raw.region else {
            if !entry.lost("region") {
                let found = "`region` is missing";
                let instead = "add region = \"na\", \"eu\" or \"fe\"";
                self.report.error(&entry.place, ControlId::Tls2, found, instead);
            }
            return None;
        };
        let stage = raw.stage.as_ref().map_or(StageName::Production, |stage| stage.value);
        if let Some(environment) = environment {
            self.stage_fits(entry, stage, environment);
        }
        let built_in = |text| HttpsUrl::parse_text(text).ok();
        let endpoint = match &raw.endpoint {
            Some(url) => url.value.clone(),
            None => built_in(amazon(region.value, stage))?,
        };
        let token = match &raw.token_endpoint {
            Some(url) => url.value.clone(),
            None => built_in(TOKEN_HOST)?,
        };
        let kind = UpstreamKind::SpApi {
            region: match region.value {
                RegionName::Na => Region::Na,
                RegionName::Eu => Region::Eu,
                RegionName::Fe => Region::Fe,
            },
            stage: match stage {
                StageName::Production => Stage::Production,
                StageName::Sandbox => Stage::Sandbox,
            },
        };
        Some(Where { kind, endpoint, token: Some(token) })
    }

    /// Warns where a test gateway reaches real orders, or a production one the sandbox or a stand-in.
    /// An endpoint that is written down says where it is, whatever `stage` does.
    fn stage_fits(&mut self, entry: &Entry<RawUpstream>, stage: StageName, environment: &Name) {
        let name = environment.as_str();
        let test = ["test", "dev", "development", "staging", "sandbox", "ci"].contains(&name);
        let place = match &entry.raw.endpoint {
            Some(url) => amazon_stage(&url.host).map_or(Reached::Other, Reached::Amazon),
            None => Reached::Amazon(stage),
        };
        let (found, instead) = match place {
            Reached::Amazon(StageName::Production) if test => {
                ("real orders are reached from", "write stage = \"sandbox\", and no endpoint")
            }
            Reached::Amazon(StageName::Sandbox) if name == "production" => (
                "Amazon's sandbox is reached from",
                "write stage = \"production\", and no endpoint",
            ),
            Reached::Other if name == "production" => {
                ("something else than Amazon is reached from", "remove `endpoint`")
            }
            Reached::Amazon(_) | Reached::Other => return,
        };
        let endpoint = entry.raw.endpoint.as_ref().map(|url| url.span.clone());
        let stage = entry.raw.stage.as_ref().map(|stage| stage.span.clone());
        let span = endpoint.or(stage).unwrap_or(0..0);
        let found = format!("{found} the environment {}", quoted(name));
        self.report.warning(&entry.at(&span), ControlId::Priv5, found, instead);
    }

    fn store(&mut self, entry: &Entry<RawUpstream>) -> Option<Where> {
        let raw = &entry.raw;
        let amazon_only = [
            ("region", raw.region.as_ref().map(|at| at.span.clone())),
            ("stage", raw.stage.as_ref().map(|at| at.span.clone())),
            ("token_endpoint", raw.token_endpoint.as_ref().map(|at| at.span.clone())),
        ];
        for (key, span) in amazon_only {
            if let Some(span) = span {
                let found = format!("`{key}` is for kind = \"sp-api\" only");
                let instead = format!("remove `{key}`, or write kind = \"sp-api\"");
                self.report.error(&entry.at(&span), ControlId::Tls1, found, instead);
            }
        }
        let operations = &self.document.operation;
        let served = |operation: &Entry<_>| {
            let operation: &crate::config::raw::RawOperation = &operation.raw;
            operation.upstream.0.as_str() == entry.name
        };
        if operations.is_whole() && !operations.entries.iter().any(served) {
            let found =
                format!("{} has no operation, so no request can reach it", quoted(&entry.name));
            let instead = "add [[operation]] entries with this upstream";
            self.report.warning(&entry.place, ControlId::Priv1, found, instead);
        }
        self.bare(entry, raw.endpoint.as_ref());
        let Some(url) = &raw.endpoint else {
            if !entry.lost("endpoint") {
                let found = "`endpoint` is missing";
                let instead = format!("add endpoint = \"{}\"", HttpsUrl::EXAMPLE);
                self.report.error(&entry.place, ControlId::Tls1, found, instead);
            }
            return None;
        };
        Some(Where { kind: UpstreamKind::Https, endpoint: url.value.clone(), token: None })
    }

    /// Reports an endpoint with a path: paths come from operations, byte for byte.
    fn bare(&mut self, entry: &Entry<RawUpstream>, url: Option<&At<HttpsUrl>>) {
        if let Some(url) = url.filter(|url| url.path != "/") {
            let found = format!("an endpoint has no path, and this one has {}", quoted(&url.path));
            let instead = format!("write \"https://{}\"", url.authority());
            self.report.error(&entry.at(&url.span), ControlId::Priv1, found, instead);
        }
    }

    fn server_names(&mut self, entry: &Entry<RawUpstream>) -> Vec<String> {
        let list = &entry.raw.server_names;
        self.once(entry, list.iter().map(|name| (name.0.as_str(), name)), ControlId::Priv1);
        for name in list.iter().filter(|name| name.0.starts_with('*')) {
            let found = format!("{} is no single name", quoted(&name.0));
            let instead = "write each server name out";
            self.report.error(&entry.at(&name.span), ControlId::Priv1, found, instead);
        }
        list.iter().map(|name| name.0.clone()).collect()
    }

    /// Warns of server names that a listener leads to and can't prove: clients would turn away.
    pub(super) fn names_are_certified(
        &mut self,
        listeners: Option<&[ListenerSettings]>,
        upstreams: Option<&[UpstreamSettings]>,
    ) {
        for listener in listeners.unwrap_or_default() {
            let Some(tls) = &listener.tls else { continue };
            let proved: Vec<&String> = tls.names().collect();
            for ix in &listener.upstreams {
                let Some(upstream) = upstreams.and_then(|all| all.get(ix.index())) else {
                    continue;
                };
                let Some(entry) = self.document.upstream.entries.get(ix.index()) else { continue };
                let names = entry.raw.server_names.iter().zip(&upstream.server_names);
                for (at, name) in names.filter(|(_, name)| !proved.iter().any(|p| covers(p, name)))
                {
                    let found = format!(
                        "no certificate of the listener {} holds {}",
                        listener.name,
                        quoted(name)
                    );
                    let instead = "add a certificate with this name, or correct it";
                    self.report.warning(&entry.at(&at.span), ControlId::Tls1, found, instead);
                }
            }
        }
    }

    fn upstream_addresses(&mut self, entry: &Entry<RawUpstream>) -> Vec<SocketAddr> {
        let list = &entry.raw.addresses;
        self.once(entry, list.iter().map(|address| (address.0, address)), ControlId::Tls1);
        for address in list.iter() {
            let what = match address.0 {
                one if one.port() == 0 => "has no port",
                one if one.ip().is_unspecified() || one.ip().is_multicast() => {
                    "is no host's address"
                }
                _ => continue,
            };
            let found = format!("{} {what}", address.0);
            let instead = "write the address and port of one host";
            self.report.error(&entry.at(&address.span), ControlId::Tls1, found, instead);
        }
        list.iter().map(|address| address.0).collect()
    }
}

/// Whether a certificate's name is that of a host; `*` stands for the first label (RFC 9525 §6.3).
fn covers(certified: &str, host: &str) -> bool {
    match (certified.strip_prefix("*."), host.split_once('.')) {
        (Some(parent), Some((_, rest))) => parent == rest,
        (Some(_), None) | (None, _) => certified == host,
    }
}

/// An endpoint at these addresses; without any, at what its host says.
pub(super) fn endpoint(url: &HttpsUrl, addresses: Vec<SocketAddr>) -> Option<Endpoint> {
    let addresses = match url.host.parse::<IpAddr>() {
        _ if !addresses.is_empty() => Addresses::Fixed(addresses),
        Ok(ip) => Addresses::Fixed(vec![SocketAddr::new(ip, url.port)]),
        Err(_) => Addresses::Dns,
    };
    Some(Endpoint {
        server_name: url.server_name()?,
        authority: url.authority(),
        host: url.host.clone(),
        port: url.port,
        addresses,
    })
}
