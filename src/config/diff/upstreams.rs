//! Where requests go: upstreams, and who may vouch for them (TLS-2).
use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;

use super::access::sets;
use super::line::{Direction, Effect, Line, Part, Said};
use super::{Out, Snapshot};
use crate::config::settings::{
    Addresses, Breaker, CertifiedChain, Endpoint, Region, Roots, Stage, UpstreamKind,
    UpstreamProtocol, UpstreamSettings,
};

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    for now in &new.upstreams {
        match old.upstreams.iter().find(|was| was.name == now.name) {
            None => {
                let line = Line::new(Direction::Widens, Part::Upstream, "added");
                out.add(line.about(&now.name).is(endpoint(&now.endpoint)));
            }
            Some(was) => upstream(was, now, out),
        }
    }
    for was in &old.upstreams {
        if !new.upstreams.iter().any(|now| now.name == was.name) {
            let line = Line::new(Direction::Narrows, Part::Upstream, "removed");
            out.add(line.about(&was.name).was(endpoint(&was.endpoint)));
        }
    }
}

fn upstream(was: &UpstreamSettings, now: &UpstreamSettings, out: &mut Out) {
    // One that is new does not compile until it is compared.
    let UpstreamSettings {
        ix: _,
        name: _,
        seller: _,
        kind: _,
        endpoint: _,
        token_endpoint: _,
        server_names: _,
        roots: _,
        pins: _,
        client_certificate: _,
        connect_timeout: _,
        response_timeout: _,
        idle_timeout: _,
        protocol: _,
        retries: _,
        breaker: _,
    } = now;
    let line = |direction, what| Line::new(direction, Part::Upstream, what).about(&now.name);
    let one = |said: Said| vec![said];
    sets(&line, ("is", "is no more"), &one(kind(was.kind)), &one(kind(now.kind)), out);
    // Locks of an account and limits that its upstreams share are kept under its name (ACC-5, MON-2).
    let seller = |of: &UpstreamSettings| one((&of.seller).into());
    sets(
        &line,
        ("leads to the seller", "leads no more to the seller"),
        &seller(was),
        &seller(now),
        out,
    );
    let places = (Some(&was.endpoint), Some(&now.endpoint));
    place(places, ["endpoint", "endpoint is at", "endpoint is no more at"], &line, out);
    let places = (was.token_endpoint.as_ref(), now.token_endpoint.as_ref());
    let told = ["token endpoint", "token endpoint is at", "token endpoint is no more at"];
    place(places, told, &line, out);
    server_names(was, now, &line, out);
    client_certificate(was, now, &line, out);
    // How often and how long it is tried: never more than one caller asked for.
    let mut neutral = |what, from: Said, to: Said| {
        if from != to {
            out.add(line(Direction::Neutral, what).was(from).is(to));
        }
    };
    let times = |of: &UpstreamSettings| {
        Said::list([of.connect_timeout, of.response_timeout, of.idle_timeout].map(Said::time))
    };
    neutral("timeouts", times(was), times(now));
    let protocol = |of: &UpstreamSettings| match of.protocol {
        UpstreamProtocol::Auto => Said::from("auto"),
        UpstreamProtocol::Http11 => Said::from("http/1.1"),
        UpstreamProtocol::H2 => Said::from("h2"),
    };
    neutral("protocol", protocol(was), protocol(now));
    let retries = |of: &UpstreamSettings| Said::number(of.retries);
    neutral("retries", retries(was), retries(now));
    let breaker = |of: &UpstreamSettings| {
        let Breaker { failures, open } = of.breaker;
        Said::number(failures).with(" failures, ").with(Said::time(open))
    };
    neutral("breaker", breaker(was), breaker(now));
    trust(was, now, &line, out);
}

/// Where it is: in `told` for another server, for another address, for an address that is gone.
fn place(
    (was, now): (Option<&Endpoint>, Option<&Endpoint>),
    told: [&'static str; 3],
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let [place, at, no_more_at] = told;
    let (was, now) = match (was, now) {
        (None, None) => return,
        (None, Some(now)) => return out.add(line(Direction::Widens, place).is(endpoint(now))),
        (Some(was), None) => return out.add(line(Direction::Narrows, place).was(endpoint(was))),
        (Some(was), Some(now)) => (was, now),
    };
    let Endpoint { server_name: _, authority: _, host: _, port: _, addresses: _ } = now;
    let server =
        |of: &Endpoint| (of.server_name.clone(), of.authority.clone(), of.host.clone(), of.port);
    if server(was) == server(now) {
        // It has to prove the same name wherever it is.
        let addresses = |of: &Endpoint| match &of.addresses {
            Addresses::Dns => vec![Said::from("whatever its name resolves to")],
            Addresses::Fixed(list) => list.iter().map(Said::place).collect(),
        };
        return sets(line, (at, no_more_at), &addresses(was), &addresses(now), out);
    }
    // Another server gets what is sent, and the one before gets it no more; that takes nothing away
    // from anybody who calls.
    out.add(line(Direction::Widens, place).was(endpoint(was)).is(endpoint(now)));
}

/// None are all.
fn server_names(
    was: &UpstreamSettings,
    now: &UpstreamSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let names =
        |of: &UpstreamSettings| -> Vec<Said> { of.server_names.iter().map(Said::place).collect() };
    match (was.server_names.is_empty(), now.server_names.is_empty()) {
        (true, false) => {
            out.add(line(Direction::Narrows, "serves only connections for").items(names(now)));
        }
        (false, true) => {
            let line = line(Direction::Widens, "serves all connections, not only those for");
            out.add(line.items(names(was)));
        }
        _ => {
            let told = ("serves connections for", "serves no more connections for");
            sets(line, told, &names(was), &names(now), out);
        }
    }
}

/// Another name may do more there, or less; a renewed certificate has the same.
fn client_certificate(
    was: &UpstreamSettings,
    now: &UpstreamSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let said = |of: &UpstreamSettings| of.client_certificate.as_ref().map(chain);
    let leaf = |of: &UpstreamSettings| {
        let own = of.client_certificate.as_ref()?;
        Some(holder(own.chain.first()?)).flatten()
    };
    let what = "client certificate";
    let (from, to) = match (said(was), said(now)) {
        (None, None) => return,
        (None, Some(to)) => return out.add(line(Direction::Widens, what).is(to)),
        (Some(from), None) => return out.add(line(Direction::Narrows, what).was(from)),
        (Some(from), Some(to)) if from == to => return,
        (Some(from), Some(to)) => (from, to),
    };
    if leaf(was).is_some() && leaf(was) == leaf(now) {
        return out.add(line(Direction::Neutral, what).was(from).is(to));
    }
    out.tell(Effect::EXCHANGED, |direction| line(direction, what).was(from.clone()).is(to.clone()));
}

/// Whom a certificate names, and who says so.
fn holder(der: &CertificateDer<'_>) -> Option<[Vec<u8>; 3]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = parsed.extensions().iter();
    let names = names.filter(|one| one.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
    let names = names.flat_map(|one| one.value.iter().copied()).collect();
    Some([parsed.subject().as_raw().to_vec(), parsed.issuer().as_raw().to_vec(), names])
}

/// Who may vouch for it.
fn trust(
    was: &UpstreamSettings,
    now: &UpstreamSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let told = ("trusts authorities", "trusts no more authorities");
    let list = |roots: &Roots| -> Vec<Said> {
        match roots {
            Roots::System => vec!["the machine's".into()],
            Roots::Private(list) => list.iter().map(|one| certificate(one)).collect(),
        }
    };
    sets(line, told, &list(&was.roots), &list(&now.roots), out);
    let pins =
        |of: &UpstreamSettings| -> Vec<Said> { of.pins.iter().map(|pin| hex(pin)).collect() };
    match (was.pins.is_empty(), now.pins.is_empty()) {
        (true, false) => out.add(line(Direction::Narrows, "pinned to").items(pins(now))),
        (false, true) => out.add(line(Direction::Widens, "pinned no more to").items(pins(was))),
        _ => {
            let told = ("pinned also to", "pinned no more to");
            sets(line, told, &pins(was), &pins(now), out);
        }
    }
}

fn kind(of: UpstreamKind) -> Said {
    match of {
        UpstreamKind::Https => "internal store".into(),
        UpstreamKind::SpApi { region, stage } => {
            let region = match region {
                Region::Na => "SP-API na",
                Region::Eu => "SP-API eu",
                Region::Fe => "SP-API fe",
            };
            Said::from(region).with(match stage {
                Stage::Production => ", production",
                Stage::Sandbox => ", sandbox",
            })
        }
    }
}

pub(super) fn endpoint(of: &Endpoint) -> Said {
    let url = Said::place(format_args!("https://{}", of.authority));
    match &of.addresses {
        Addresses::Dns => url,
        Addresses::Fixed(list) => url.with(" at ").with(Said::list(list.iter().map(Said::place))),
    }
}

/// A certificate by the beginning of its SHA-256.
pub(super) fn certificate(der: &CertificateDer<'_>) -> Said {
    hex(digest(&SHA256, der).as_ref())
}

pub(super) fn certificates(list: &[CertificateDer<'_>]) -> Said {
    Said::list(list.iter().map(|one| certificate(one)))
}

pub(super) fn chain<K>(of: &CertifiedChain<K>) -> Said {
    let leaf = of.chain.first().map_or_else(|| Said::from("none"), |one| certificate(one));
    let day = u32::try_from(of.not_after_unix_secs / 86_400).unwrap_or(u32::MAX);
    leaf.with(" until ").with(Said::day(day))
}

fn hex(bytes: &[u8]) -> Said {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in bytes.iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    Said::place(text)
}
