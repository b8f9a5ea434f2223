//! Where callers come in: listeners, and how they and the operators' API speak TLS (TLS-1, NET-1,
//! NET-3).
use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::access::sets;
use super::identities::Networks;
use super::line::{Direction, Effect, Line, Part, Said};
use super::upstreams::{certificate, chain};
use super::{Out, Snapshot, bounds, pass};
use crate::base::{Name, UpstreamIx};
use crate::config::settings::{
    Alpn, ClientAuth, ListenerSettings, RevocationList, TlsSettings, TlsVersion,
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
}

/// Whoever can reach the one may not reach the other. Every address of a host is more than one of it.
pub(super) fn address(
    was: SocketAddr,
    now: SocketAddr,
    line: impl Fn(Direction) -> Line,
    out: &mut Out,
) {
    let within = |one: SocketAddr, all: SocketAddr| {
        let same_kind = one.port() == all.port() && one.is_ipv4() == all.is_ipv4();
        same_kind && all.ip().is_unspecified()
    };
    if was != now {
        let effect = Effect { widens: !within(now, was), narrows: !within(was, now) };
        out.tell(effect, |direction| line(direction).was(Said::place(was)).is(Said::place(now)));
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
    address(was.address, now.address, |direction| line(direction, "address"), out);
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
            out.add(line(Direction::Narrows, "admits nobody but through a balancer"));
        }
        (Some(_), None) => {
            out.add(line(Direction::Widens, "admits without a balancer"));
            out.add(line(Direction::Narrows, "believes no balancer any more"));
        }
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
    pass::routes(was, now, &line, out);
    bounds::compare(&was.bounds, &now.bounds, &line, out);
}

/// How a listener, or the operators' API, speaks TLS.
pub(super) fn tls(
    was: &TlsSettings,
    now: &TlsSettings,
    line: &impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let TlsSettings {
        certificates: _,
        withheld: _,
        expired: _,
        client_ca: _,
        client_crl: _,
        client_auth: _,
        min_version: _,
        alpn: _,
    } = now;
    // It lets nobody in who was not; which names it ends TLS for is told with the routes.
    let leaves = |of: &TlsSettings| Said::list(of.certificates.iter().map(chain));
    if leaves(was) != leaves(now) {
        out.add(line(Direction::Neutral, "certificate").was(leaves(was)).is(leaves(now)));
    }
    let closed = |of: &TlsSettings| of.closed_names().map(Said::place).collect::<Vec<_>>();
    // What is closed no more is opened.
    sets(line, ("opens keys of", "keeps closed keys of"), &closed(now), &closed(was), out);
    let authorities = |of: &TlsSettings| -> Vec<Said> {
        of.client_ca.iter().flatten().map(|one| certificate(one)).collect()
    };
    let told = ("accepts clients of authorities", "accepts clients no more of authorities");
    sets(line, told, &authorities(was), &authorities(now), out);
    revoked(was, now, line, out);
    let auth = |of: &TlsSettings| match of.client_auth {
        ClientAuth::None => "not asked for",
        ClientAuth::Optional => "optional",
        ClientAuth::Required => "required",
    };
    let effect = match (was.client_auth, now.client_auth) {
        (one, other) if one == other => None,
        (ClientAuth::Optional, ClientAuth::Required) => {
            Some(Effect { widens: false, narrows: true })
        }
        (ClientAuth::Required, ClientAuth::Optional) => {
            Some(Effect { widens: true, narrows: false })
        }
        // Where one is asked for, one that is wrong keeps out, and who has nothing else comes in by it.
        _ => Some(Effect::EXCHANGED),
    };
    if let Some(effect) = effect {
        out.tell(effect, |direction| {
            line(direction, "client certificates are").was(auth(was)).is(auth(now))
        });
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
    let protocols = |of: &TlsSettings| -> Vec<Said> {
        let word = |one: &Alpn| match one {
            Alpn::H2 => "h2".into(),
            Alpn::Http11 => "http/1.1".into(),
        };
        of.alpn.iter().map(word).collect()
    };
    let (before, after) = (protocols(was), protocols(now));
    if was.alpn != now.alpn
        && before.iter().all(|one| after.contains(one))
        && before.len() == after.len()
    {
        let line = line(Direction::Neutral, "prefers protocols");
        out.add(line.was(Said::list(before.clone())).is(Said::list(after.clone())));
    }
    sets(line, ("speaks", "speaks no more"), &before, &after, out);
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
        let lists = of.client_crl.iter().filter_map(|RevocationList { der, .. }| {
            let (_, list) = x509_parser::parse_x509_crl(der).ok()?;
            let issuer = list.issuer().as_raw().to_vec();
            let one = |raw: &[u8]| [&issuer[..], raw].concat();
            Some(list.iter_revoked_certificates().map(|c| one(c.raw_serial())).collect::<Vec<_>>())
        });
        lists.flatten().collect()
    };
    let (before, after) = (serials(was), serials(now));
    let count = |of: &TlsSettings, all: &BTreeSet<Vec<u8>>| {
        if of.client_crl.is_empty() { Said::from("none") } else { Said::count(all.len()) }
    };
    // Where there is a list, who is on none of them stays out; a list in whose authority nobody trusts
    // any more is told with the authorities. How long they count is their authority's to say.
    let (is_new, is_gone) = (was.client_crl.is_empty(), now.client_crl.is_empty());
    let effect = Effect {
        widens: is_gone || !before.is_subset(&after),
        narrows: is_new || !after.is_subset(&before),
    };
    out.tell(effect, |direction| {
        line(direction, "revoked client certificates")
            .was(count(was, &before))
            .is(count(now, &after))
    });
}
