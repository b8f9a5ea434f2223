//! Where a change is said to widen nothing, whatever passes after it passed before.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::directions::full;
use crate::base::{ClientAddr, IdentityIx, OperationIx};
use crate::config::Snapshot;
use crate::config::diff::compare;
use crate::policy::{Body, Facts, Measure, Method, Mode, Upgrade, decide};

/// One of these for each place of [`text`].
const CHOICES: [&[&str]; 17] = [
    // Networks.
    &["\"203.0.113.0/24\"", "\"203.0.113.0/25\"", "\"203.0.113.0/24\", \"192.0.2.0/24\""],
    &["\"198.51.100.0/24\"", "\"203.0.113.128/25\""],
    // The listener's networks, its bound, what it leads to, who may show a certificate.
    &["\"office\"", "\"office\", \"other\"", "\"other\""],
    &["10", "100"],
    &["\"amazon-fe\", \"warehouse\", \"depot\"", "\"amazon-fe\", \"depot\"", "\"amazon-fe\""],
    &["warehouse", "depot"],
    // What roles allow and ask.
    &[
        "\"orders/getOrders\"",
        "\"orders/*\", \"warehouse/*\"",
        "\"orders/v0/getOrder\", \"feeds/*\"",
    ],
    &["", "query = [{ operations = [\"orders/*\"], deny = [\"page\"] }]"],
    &["\"orders/*\"", "\"orders/getOrders\", \"warehouse/*\""],
    &["when-suspected", "always"],
    &["[\"feeds/getFeed\"]", "[\"feeds/getFeed\", \"orders/getOrders\"]"],
    // What an identity has.
    &["\"shipping\"", "\"support\"", "\"shipping\", \"support\""],
    &["\"office\"", "\"office\", \"other\"", "\"other\""],
    &["", "connections = 5", "connections = 50", "connections = 500"],
    &["", "disabled = \"left\""],
    // Limits.
    &["[\"5/s\"]", "[\"10/s\"]", "[\"5/s\", \"60/min\"]", "[\"10/s\", \"30/min\"]"],
    &["", "limits = [{ operations = [\"orders/*\"], requests = [\"2/s\"] }]"],
];

fn text(of: &[usize]) -> String {
    let of: Vec<&str> = of.iter().zip(CHOICES).map(|(at, all)| all[*at % all.len()]).collect();
    let mut text = format!(
        "[network]\noffice = [{}]\nother = [{}]\nbalancers = [\"10.0.1.0/24\"]\n",
        of[0], of[1]
    );
    let _ = write!(
        text,
        r#"
[gateway]
environment = "production"
state_dir = "state"
[permit]
file = "permit/host.permit"
issuers = ["permit/issuer.pub"]
[[listener]]
name = "apps"
address = "0.0.0.0:8443"
networks = [{}]
bounds = {{ connections_per_identity = {} }}
upstreams = [{}]
[listener.tls]
certificates = [{{ certificate = "tls/a.pem", key = "tls/a.key" }}]
client_ca = "tls/clients.pem"
client_auth = "optional"
[[upstream]]
name = "amazon-fe"
kind = "sp-api"
region = "fe"
[[upstream]]
name = "warehouse"
kind = "https"
endpoint = "https://warehouse.internal:8443"
[[upstream]]
name = "depot"
kind = "https"
endpoint = "https://depot.internal:8443"
[[operation]]
name = "warehouse/getStock"
upstream = "{}"
method = "GET"
path = "/stock/{{sku}}"
query = ["page"]
[[issuer]]
name = "corp"
iss = "https://login.example.com/"
audiences = ["sekisho"]
algorithms = ["ES256"]
jwks = {{ url = "https://login.example.com/jwks" }}
[role.shipping]
purpose = "print labels"
allow = [{}]
{}
limits = [{{ operations = ["orders/*"], requests = {} }}]
[role.support]
purpose = "answer customers"
allow = [{}]
step_up = "{}"
[step_up]
operations = {}
[identity.hanako]
kind = "person"
owner = "support@example.com"
token = {{ issuer = "corp", subject = "hanako" }}
networks = [{}]
roles = [{}]
{}
{}
{}
"#,
        of[2],
        of[3],
        of[4],
        of[5],
        of[6],
        of[7],
        of[15],
        of[8],
        of[9],
        of[10],
        of[12],
        of[11],
        of[13],
        of[14],
        of[16],
    );
    text
}

/// A call that passed: from where, what, and by whom it is answered.
type Call = (&'static str, &'static str, String);

/// What passes, and which of it takes a fresh login.
fn calls(of: &Snapshot) -> BTreeMap<Call, bool> {
    let mut passed = BTreeMap::new();
    let who = IdentityIx(0);
    let listener = &of.listeners[0];
    let table = of.table(listener.ix, None).unwrap();
    if !of.trust.may_enter(who, super::support::TODAY) {
        return passed;
    }
    for from in ["203.0.113.1", "203.0.113.200", "198.51.100.1", "192.0.2.1", "8.8.8.8"] {
        let at = of.networks.lookup(&ClientAddr::new(from.parse::<IpAddr>().unwrap()));
        if !listener.networks.intersects(&at) {
            continue;
        }
        for target in [
            "/orders/v0/orders",
            "/orders/v0/orders?page=1",
            "/orders/v0/orders/123-1234567-1234567",
            "/feeds/2021-06-30/feeds/1",
            "/stock/A1",
            "/stock/A1?page=1",
        ] {
            let (path, query) = target
                .split_once('?')
                .map_or((target, None), |(path, query)| (path, Some(query.as_bytes())));
            let path = path.as_bytes();
            let facts = Facts {
                method: Method::Get,
                path,
                query,
                upgrade: Upgrade::None,
                body: Body::None,
            };
            let Ok(permit) = decide(&facts, who, at, table, &of.policy) else { continue };
            let upstream = of.names.upstream(permit.upstream()).unwrap();
            let due = of.step_up.is_due(&of.policy, who, permit.operation());
            passed.insert((from, target, upstream.to_string()), due);
        }
    }
    passed
}

/// How many requests for an operation pass in each period.
fn most(of: &Snapshot, operation: OperationIx) -> BTreeMap<Duration, u32> {
    let mut most = BTreeMap::new();
    let (_, under) = &of.quotas.accounts[0];
    for limit in under.iter().map(|ix| &of.quotas.limits[ix.index()]) {
        let Measure::Requests(windows) = &limit.measure else { continue };
        if limit.mode == Mode::Enforced && limit.operations.contains(&operation) {
            for window in windows {
                let least = most.entry(window.per).or_insert(window.count);
                *least = window.count.min(*least);
            }
        }
    }
    most
}

fn connections(of: &Snapshot) -> u32 {
    let bound = of.listeners[0].bounds.connections_per_identity;
    of.identities[0].connections.unwrap_or(bound)
}

/// What the one lets through and the other does not.
fn more(old: &Snapshot, new: &Snapshot) -> Option<String> {
    let before = calls(old);
    for (call, due) in calls(new) {
        match before.get(&call) {
            None => return Some(format!("{call:?} passes")),
            Some(true) if !due => return Some(format!("{call:?} takes no fresh login any more")),
            Some(_) => {}
        }
    }
    for name in ["orders/getOrders", "orders/v0/getOrder"] {
        let (was, now) = (old.operation(name).unwrap(), new.operation(name).unwrap());
        let now = most(new, now);
        for (per, was) in most(old, was) {
            if now.get(&per).is_none_or(|now| *now > was) {
                return Some(format!("{name} is limited less: {now:?}"));
            }
        }
    }
    (connections(new) > connections(old)).then(|| "more connections".to_owned())
}

#[test]
fn priv_3_what_is_said_to_widen_nothing_widens_nothing() {
    let mut runner = TestRunner::deterministic();
    let places = prop::collection::vec(0..12_usize, CHOICES.len());
    let changes = prop::collection::vec((0..CHOICES.len(), 0..12_usize), 1..4);
    let pairs = (places, changes).prop_map(|(old, changes)| {
        let mut new = old.clone();
        for (place, to) in changes {
            new[place] = to;
        }
        (old, new)
    });
    let (mut narrower, mut told) = (0, 0);
    for _ in 0..300 {
        let (old, new) = pairs.new_tree(&mut runner).unwrap().current();
        let [old, new] = [&old, &new].map(|of| {
            let text = text(of);
            let loaded = full(&text).load();
            (loaded.unwrap_or_else(|errors| panic!("{errors}\n{text}")).snapshot, text)
        });
        let diff = compare(&old.0, &new.0);
        let more = more(&old.0, &new.0);
        told += usize::from(more.is_some());
        if diff.widens() {
            continue;
        }
        narrower += usize::from(!diff.is_empty());
        let lines: Vec<String> = diff.lines.iter().map(super::diff::said).collect();
        assert_eq!(more, None, "{lines:#?}\n{}\n---\n{}", old.1, new.1);
    }
    // It says something only if both kinds are met.
    assert!(narrower > 30 && told > 30, "{narrower} {told}");
}
