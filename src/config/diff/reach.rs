//! Where callers come in and where requests go: listeners and upstreams (TLS-1, TLS-2, NET-1, NET-3).
use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;

use super::access::sets;
use super::identities::Networks;
use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot, pass};
use crate::base::{Name, UpstreamIx};
use crate::config::settings::{
    Addresses, Alpn, Bounds, CertifiedChain, ClientAuth, Endpoint, ListenerSettings, Rate, Region,
    Roots, Stage, TlsSettings, TlsVersion, UpstreamKind, UpstreamProtocol, UpstreamSettings,
};

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    for now in &new.listeners {
        match old.listeners.iter().find(|was| was.name == now.name) {
            None => {
                let line = Line::new(Direction::Widens, Part::Listener, "added");
                out.add(line.about(&now.name).is(Said::place(now.address)));
            }
            Some(was) => listener((old, was), (new, now), out),
        }
    }
    for was in &old.listeners {
        if !new.listeners.iter().any(|now| now.name == was.name) {
            let line = Line::new(Direction::Narrows, Part::Listener, "removed");
            out.add(line.about(&was.name).was(Said::place(was.address)));
        }
    }
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

fn listener(
    (old, was): (&Snapshot, &ListenerSettings),
    (new, now): (&Snapshot, &ListenerSettings),
    out: &mut Out,
) {
    // One that is new does not compile until it is compared.
    let ListenerSettings {
        ix: _,
        name: _,
        address: _,
        networks: _,
        proxy_from: _,
        tls: _,
        pass: _,
        bounds: _,
        upstreams: _,
    } = now;
    let line = |direction, what| Line::new(direction, Part::Listener, what).about(&now.name);
    if was.address != now.address {
        let (from, to) = (Said::place(was.address), Said::place(now.address));
        out.add(line(Direction::Neutral, "address").was(from).is(to));
    }
    let networks = Networks::new(old, new);
    let mut masks = |(more, less), (gained, lost): (Vec<&Name>, Vec<&Name>)| {
        if !gained.is_empty() {
            out.add(line(Direction::Widens, more).items(gained.into_iter().map(Said::from)));
        }
        if !lost.is_empty() {
            out.add(line(Direction::Narrows, less).items(lost.into_iter().map(Said::from)));
        }
    };
    masks(("admits", "admits no more"), networks.difference(was.networks, now.networks));
    if let (Some(before), Some(after)) = (was.proxy_from, now.proxy_from) {
        let told = ("believes balancers in", "believes no more balancers in");
        masks(told, networks.difference(before, after));
    }
    match (was.proxy_from, now.proxy_from) {
        (None, Some(_)) => {
            out.add(line(Direction::Widens, "believes the address that a balancer tells"));
        }
        (Some(_), None) => out.add(line(Direction::Narrows, "believes no balancer any more")),
        _ => {}
    }
    let upstreams = |of: &Snapshot, list: &[UpstreamIx]| -> Vec<Said> {
        list.iter().filter_map(|ix| of.names.upstream(*ix)).map(Said::from).collect()
    };
    let (before, after) = (upstreams(old, &was.upstreams), upstreams(new, &now.upstreams));
    sets(&line, ("leads to", "leads no more to"), &before, &after, out);
    match (&was.tls, &now.tls) {
        (Some(was), Some(now)) => tls(was, now, &line, out),
        (None, Some(_)) => out.add(line(Direction::Widens, "ends TLS")),
        (Some(_), None) => out.add(line(Direction::Narrows, "ends TLS no more")),
        (None, None) => {}
    }
    pass::routes(&was.pass, &now.pass, &line, out);
    bounds(&was.bounds, &now.bounds, &line, out);
}

/// How a listener, or the operators' API, speaks TLS.
pub(super) fn tls(
    was: &TlsSettings,
    now: &TlsSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let leaves = |of: &TlsSettings| Said::list(of.certificates.iter().map(chain));
    if leaves(was) != leaves(now) {
        out.add(line(Direction::Neutral, "certificate").was(leaves(was)).is(leaves(now)));
    }
    let closed = |of: &TlsSettings| of.withheld.iter().map(Said::place).collect::<Vec<_>>();
    // What is closed no more is opened.
    sets(line, ("opens keys of", "keeps closed keys of"), &closed(now), &closed(was), out);
    let authorities = |of: &TlsSettings| -> Vec<Said> {
        of.client_ca.iter().flatten().map(|one| certificate(one)).collect()
    };
    let told = ("accepts clients of authorities", "accepts clients no more of authorities");
    sets(line, told, &authorities(was), &authorities(now), out);
    revoked(was, now, line, out);
    let auth = |of: &TlsSettings| match of.client_auth {
        ClientAuth::None => (0_u8, "not asked for"),
        ClientAuth::Optional => (1, "optional"),
        ClientAuth::Required => (2, "required"),
    };
    if was.client_auth != now.client_auth {
        let ((before, from), (after, to)) = (auth(was), auth(now));
        let direction = Direction::less(&before, &after);
        out.add(line(direction, "client certificates are").was(from).is(to));
    }
    let version = |of: &TlsSettings| match of.min_version {
        TlsVersion::V1_2 => (2_u8, "1.2"),
        TlsVersion::V1_3 => (3, "1.3"),
    };
    if was.min_version != now.min_version {
        let ((before, from), (after, to)) = (version(was), version(now));
        let direction = Direction::less(&before, &after);
        out.add(line(direction, "TLS from version").was(from).is(to));
    }
    if was.alpn != now.alpn {
        let said = |of: &TlsSettings| {
            Said::list(of.alpn.iter().map(|one| match one {
                Alpn::H2 => "h2",
                Alpn::Http11 => "http/1.1",
            }))
        };
        out.add(line(Direction::Neutral, "protocols").was(said(was)).is(said(now)));
    }
}

/// Which certificates the lists speak of: one that is on them no more may enter again.
fn revoked(
    was: &TlsSettings,
    now: &TlsSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    if was.client_crl == now.client_crl {
        return;
    }
    let serials = |of: &TlsSettings| -> BTreeSet<Vec<u8>> {
        let lists = of.client_crl.iter().filter_map(|list| {
            let (_, list) = x509_parser::parse_x509_crl(&list.der).ok()?;
            let issuer = list.issuer().as_raw().to_vec();
            let one = |raw: &[u8]| [&issuer[..], raw].concat();
            Some(list.iter_revoked_certificates().map(|c| one(c.raw_serial())).collect::<Vec<_>>())
        });
        lists.flatten().collect()
    };
    let (before, after) = (serials(was), serials(now));
    let count = |of: &TlsSettings, all: &BTreeSet<Vec<u8>>| {
        if of.client_crl.is_empty() {
            Said::from("none")
        } else {
            Said::number(u64::try_from(all.len()).unwrap_or(u64::MAX))
        }
    };
    let unlisted = was.client_crl.len() > now.client_crl.len();
    let direction = if unlisted || !before.is_subset(&after) {
        Direction::Widens
    } else if before != after || was.client_crl.len() < now.client_crl.len() {
        Direction::Narrows
    } else {
        Direction::Neutral
    };
    out.add(
        line(direction, "revoked client certificates")
            .was(count(was, &before))
            .is(count(now, &after)),
    );
}

fn bounds(
    was: &Bounds,
    now: &Bounds,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let mut times = |what, from: Duration, to: Duration| {
        if from != to {
            let direction = Direction::more(&from, &to);
            out.add(line(direction, what).was(Said::time(from)).is(Said::time(to)));
        }
    };
    times("bounds.handshake", was.handshake, now.handshake);
    times("bounds.first_byte", was.first_byte, now.first_byte);
    times("bounds.header", was.header, now.header);
    times("bounds.body_rate_grace", was.body_rate_grace, now.body_rate_grace);
    times("bounds.idle", was.idle, now.idle);
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut numbers = |what, from: u64, to: u64| {
        if from != to {
            let direction = match what {
                // A body has to come at least as fast.
                "bounds.body_rate" => Direction::less(&from, &to),
                _ => Direction::more(&from, &to),
            };
            out.add(line(direction, what).was(Said::number(from)).is(Said::number(to)));
        }
    };
    numbers("bounds.header_bytes", wide(was.header_bytes), wide(now.header_bytes));
    numbers("bounds.header_count", wide(was.header_count), wide(now.header_count));
    numbers("bounds.target_bytes", wide(was.target_bytes), wide(now.target_bytes));
    numbers("bounds.body_bytes", was.body_bytes, now.body_bytes);
    numbers("bounds.body_rate", was.body_rate, now.body_rate);
    let pairs = [
        (
            "bounds.requests_per_connection",
            was.requests_per_connection,
            now.requests_per_connection,
        ),
        ("bounds.connections", was.connections, now.connections),
        (
            "bounds.connections_per_address",
            was.connections_per_address,
            now.connections_per_address,
        ),
        (
            "bounds.connections_per_identity",
            was.connections_per_identity,
            now.connections_per_identity,
        ),
        ("bounds.h2_streams", was.h2_streams, now.h2_streams),
        ("bounds.h2_resets", was.h2_resets, now.h2_resets),
        ("bounds.h2_header_bytes", was.h2_header_bytes, now.h2_header_bytes),
    ];
    for (what, from, to) in pairs {
        numbers(what, from.into(), to.into());
    }
    if was.h2_control_frames != now.h2_control_frames {
        let said = |rate: Rate| Said::number(rate.count).with("/").with(Said::time(rate.per));
        let per_second = |rate: Rate| f64::from(rate.count) / rate.per.as_secs_f64();
        let (from, to) = (was.h2_control_frames, now.h2_control_frames);
        let direction = Direction::more(&per_second(from), &per_second(to));
        out.add(line(direction, "bounds.h2_control_frames").was(said(from)).is(said(to)));
    }
}

fn upstream(was: &UpstreamSettings, now: &UpstreamSettings, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::Upstream, what).about(&now.name);
    // Another server gets what is sent, and the one before gets it no more; that takes nothing away
    // from anybody who calls.
    let mut exchanged = |direction, what, from: Said, to: Said| {
        if from != to {
            out.add(line(direction, what).was(from).is(to));
        }
    };
    exchanged(Direction::Widens, "kind", kind(was.kind), kind(now.kind));
    exchanged(Direction::Neutral, "seller", (&was.seller).into(), (&now.seller).into());
    exchanged(Direction::Widens, "endpoint", endpoint(&was.endpoint), endpoint(&now.endpoint));
    let token = |of: &UpstreamSettings| {
        of.token_endpoint.as_ref().map_or_else(|| Said::from("none"), endpoint)
    };
    exchanged(Direction::Widens, "token endpoint", token(was), token(now));
    let leaf = |of: &UpstreamSettings| {
        of.client_certificate.as_ref().map_or_else(|| Said::from("none"), chain)
    };
    exchanged(Direction::Neutral, "client certificate", leaf(was), leaf(now));
    let times = |of: &UpstreamSettings| {
        Said::list([of.connect_timeout, of.response_timeout, of.idle_timeout].map(Said::time))
    };
    exchanged(Direction::Neutral, "timeouts", times(was), times(now));
    let protocol = |of: &UpstreamSettings| match of.protocol {
        UpstreamProtocol::Auto => Said::from("auto"),
        UpstreamProtocol::Http11 => Said::from("http/1.1"),
        UpstreamProtocol::H2 => Said::from("h2"),
    };
    exchanged(Direction::Neutral, "protocol", protocol(was), protocol(now));
    let retries = |of: &UpstreamSettings| Said::number(of.retries);
    exchanged(Direction::Neutral, "retries", retries(was), retries(now));
    let breaker = |of: &UpstreamSettings| {
        Said::number(of.breaker.failures).with(" failures, ").with(Said::time(of.breaker.open))
    };
    exchanged(Direction::Neutral, "breaker", breaker(was), breaker(now));
    let names = |of: &UpstreamSettings| Said::list(of.server_names.iter().map(Said::place));
    exchanged(Direction::Widens, "server names", names(was), names(now));
    trust(was, now, &line, out);
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

fn endpoint(of: &Endpoint) -> Said {
    let url = Said::place(format_args!("https://{}", of.authority));
    match &of.addresses {
        Addresses::Dns => url,
        Addresses::Fixed(list) => url.with(" at ").with(Said::list(list.iter().map(Said::place))),
    }
}

/// A certificate by the beginning of its SHA-256.
fn certificate(der: &CertificateDer<'_>) -> Said {
    hex(digest(&SHA256, der).as_ref())
}

pub(super) fn certificates(list: &[CertificateDer<'_>]) -> Said {
    Said::list(list.iter().map(|one| certificate(one)))
}

fn chain<K>(of: &CertifiedChain<K>) -> Said {
    let leaf = of.chain.first().map_or_else(|| Said::from("none"), |one| certificate(one));
    let day = u32::try_from(of.not_after_unix_secs / 86_400).unwrap_or(u32::MAX);
    leaf.with(" until ").with(Said::day(day))
}

fn hex(bytes: &[u8]) -> Said {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in bytes.iter().take(8) {
        let _ = write!(text, "{byte:02x}");
    }
    Said::place(text)
}
