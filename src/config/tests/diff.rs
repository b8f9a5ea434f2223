//! What another configuration would change is told exactly, and in bounds.
use std::fmt::Write as _;

use super::scale::large;
use super::support::{GOOD, world};
use crate::base::Clock;
use crate::config::Snapshot;
use crate::config::diff::{Diff, Direction, ITEMS_MAX, LINES_MAX, Line, NAMES_MAX, compare};

fn snapshot(text: &str) -> Snapshot {
    world(text).load().unwrap_or_else(|errors| panic!("{errors}")).snapshot
}

fn diff(old: &str, new: &str) -> Diff {
    compare(&snapshot(old), &snapshot(new))
}

/// A line as people read it.
pub(super) fn said(line: &Line) -> String {
    let names: Vec<&str> = line.names.iter().map(crate::base::Name::as_str).collect();
    let items: Vec<&str> = line.items.iter().map(crate::config::diff::Said::as_str).collect();
    let mut text = format!(
        "{} {} [{}] {}",
        line.direction.as_str(),
        line.part.as_str(),
        names.join(" "),
        line.what
    );
    if !items.is_empty() {
        let _ = write!(text, ": {}", items.join(" "));
    }
    match (&line.from, &line.to) {
        (Some(from), Some(to)) => text + &format!(" {from} -> {to}"),
        (Some(from), None) => text + &format!(" was {from}"),
        (None, Some(to)) => text + &format!(" is {to}"),
        (None, None) => text,
    }
}

/// What one replacement in the good configuration changes.
#[track_caller]
fn expect(from: &str, to: &str, lines: &[&str]) {
    assert!(GOOD.contains(from), "{from:?} is not there");
    let diff = diff(GOOD, &GOOD.replace(from, to));
    let told: Vec<String> = diff.lines.iter().map(said).collect();
    assert_eq!(told, lines, "{from} -> {to}");
}

#[test]
fn log_1_what_is_written_otherwise_and_means_the_same_is_no_change() {
    for (from, to) in [
        ("[gateway]", "# a word\n[gateway]"),
        ("[\"203.0.113.0/24\", ", "[\"203.0.113.128/25\", \"203.0.113.0/25\", "),
        ("\"300/min\"", "\"300/60s\""),
        (
            "allow = [\"orders/getOrders\", \"warehouse/*:read\"]",
            "allow = [\"warehouse/getStock\", \"orders/getOrders\"]",
        ),
        ("purpose = \"print labels\"", "purpose = \"print many labels\""),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let diff = diff(GOOD, &GOOD.replace(from, to));
        assert!(diff.is_empty(), "{from}: {:?}", diff.lines.iter().map(said).collect::<Vec<_>>());
    }
}

#[test]
fn tls_3_whoever_signs_permits_is_told_of() {
    let own = "issuers = [\"permit/issuer.pub\"]";
    let more = "issuers = [\"permit/issuer.pub\", \"ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]";
    expect(own, more, &["widens gateway [] trusts permits of: 66687aadf862bd77"]);
    let (old, new) = (GOOD.replace(own, more), GOOD.to_owned());
    let told: Vec<String> = diff(&old, &new).lines.iter().map(said).collect();
    assert_eq!(told, ["narrows gateway [] trusts permits no more of: 66687aadf862bd77"]);
}

#[test]
fn priv_1_grants_are_told_by_operation() {
    expect(
        "allow = [\"orders/getOrders\", ",
        "allow = [\"orders/getOrders\", \"orders/getOrderAddress\", ",
        &["widens grant [hanako.yamada label-printer] gains: orders/getOrderAddress"],
    );
    expect(
        "allow = [\"orders/getOrders\", \"warehouse/*:read\"]",
        "allow = [\"orders/getOrders\"]",
        &["narrows grant [hanako.yamada label-printer] loses: warehouse/getStock"],
    );
    let rule = "query = [{ operations = [\"orders/*\"], deny = [\"BuyerEmail\"] }]\n";
    expect(
        rule,
        "",
        &["widens grant [hanako.yamada label-printer] more queries pass for: orders/getOrders"],
    );
    expect(
        "deny = [\"BuyerEmail\"]",
        "deny = [\"BuyerEmail\", \"LastUpdatedAfter\"]",
        &["narrows grant [hanako.yamada label-printer] fewer queries pass for: orders/getOrders"],
    );
    let values = |list: &str| format!("parameter = \"MarketplaceIds\", values = [{list}]");
    let bound = GOOD.replace("deny = [\"BuyerEmail\"]", &values("\"A1\", \"B*\""));
    let told = |to: &str| -> Vec<String> {
        let other = GOOD.replace("deny = [\"BuyerEmail\"]", to);
        diff(&bound, &other).lines.iter().map(|line| line.what.to_owned()).collect()
    };
    assert_eq!(told(&values("\"A1\"")), ["fewer queries pass for"]);
    assert_eq!(told(&values("\"A1\", \"B7\"")), ["fewer queries pass for"]);
    assert_eq!(told(&values("\"*\"")), ["more queries pass for"]);
    assert_eq!(told(&values("\"C\"")), ["more queries pass for", "fewer queries pass for"]);
    let optional = format!("{}, presence = \"optional\"", values("\"A1\", \"B*\""));
    assert_eq!(told(&optional), ["more queries pass for"]);
}

#[test]
fn acc_3_who_comes_and_goes_is_told() {
    let printer = "[identity.label-printer]";
    expect(
        "review_by = 2027-01-31\n\n[identity.\"hanako.yamada\"]",
        "review_by = 2027-01-31\ndisabled = \"left the company\"\n\n[identity.\"hanako.yamada\"]",
        &["narrows identity [label-printer] disabled"],
    );
    expect(
        printer,
        "[identity.label-printer-2]",
        &[
            "widens identity [label-printer-2] added, with roles: shipping",
            "narrows identity [label-printer] removed, with roles: shipping",
        ],
    );
    expect(
        "spiffe://example.com/label-printer",
        "spiffe://example.com/other",
        &[
            "widens credential [label-printer] gains a credential: certificate, URI",
            "narrows credential [label-printer] loses a credential: certificate, URI",
        ],
    );
    // Its text may be somebody's name.
    expect(
        "subject = \"hanako\"",
        "subject = \"yamada\"",
        &[
            "widens credential [hanako.yamada] gains a credential: token",
            "narrows credential [hanako.yamada] loses a credential: token",
        ],
    );
    let expiring = GOOD.replace("[token]", "[token]\n# none");
    let dated = expiring.replacen(
        "review_by = 2027-01-31",
        "review_by = 2027-01-31\nexpires = 2027-02-01",
        1,
    );
    let told: Vec<String> = diff(&expiring, &dated).lines.iter().map(said).collect();
    assert_eq!(told, ["narrows identity [label-printer] last day never -> 2027-02-01"]);
    let told: Vec<String> = diff(&dated, &expiring).lines.iter().map(said).collect();
    assert_eq!(told, ["widens identity [label-printer] last day 2027-02-01 -> never"]);
}

#[test]
fn net_1_networks_are_told_by_prefix() {
    expect(
        "[\"203.0.113.0/24\", \"2001:db8:1::/48\"]",
        "[\"203.0.113.0/25\", \"2001:db8:1::/48\", \"198.51.100.7\"]",
        &[
            "widens network [office] gains prefixes: 198.51.100.7/32",
            "narrows network [office] loses prefixes: 203.0.113.128/25",
        ],
    );
}

#[test]
fn tls_1_listeners_and_upstreams_are_told_by_setting() {
    expect(
        "client_auth = \"optional\"",
        "client_auth = \"required\"",
        &["narrows listener [apps] client certificates are optional -> required"],
    );
    expect(
        "upstreams = [\"amazon-fe\", \"warehouse\"]",
        "upstreams = [\"amazon-fe\"]",
        &["narrows listener [apps] leads no more to: warehouse"],
    );
    expect(
        "endpoint = \"https://warehouse.internal:8443\"",
        "endpoint = \"https://warehouse.internal:9443\"",
        &[
            "widens upstream [warehouse] endpoint https://warehouse.internal:8443 -> https://warehouse.internal:9443",
        ],
    );
    expect(
        "proxy_protocol = { from = [\"balancers\"] }\n",
        "bounds = { body_bytes = \"1 MiB\" }\n",
        &[
            "widens listener [apps] admits without a balancer",
            "narrows listener [apps] believes no balancer any more",
            "narrows listener [apps] bounds.body_bytes 104857600 -> 1048576",
        ],
    );
}

#[test]
fn mon_2_limits_are_told_by_figure() {
    expect(
        "\"300/min\"",
        "\"600/min\"",
        &["widens limit [role/shipping/1] raised 10/s, 300/min requests -> 10/s, 600/min requests"],
    );
    expect(
        "limits = [{ operations = [\"orders/*\"], requests = [\"10/s\", \"300/min\"] }]\n",
        "",
        &["widens limit [role/shipping/1] removed was 10/s, 300/min requests"],
    );
}

#[test]
fn mon_8_what_watches_less_widens() {
    expect(
        "[token]\n",
        "[detect.canary]\nmode = \"observe\"\n[lockout]\nfailures = 5\n[token]\n",
        &[
            "widens detector [canary] mode enforce -> observe",
            "narrows lockout [] failures 10 -> 5",
        ],
    );
    expect(
        "[[alarm]]\nname = \"on-call\"",
        "[[alarm]]\nname = \"nobody\"",
        &[
            "widens alarm [nobody] alarms go to is https://alerts.internal",
            "widens alarm [on-call] told no more was webhook",
            "narrows alarm [on-call] alarms go no more to was https://alerts.internal",
            "narrows alarm [nobody] told as well is webhook",
        ],
    );
}

#[test]
fn acc_1_issuers_are_told_by_what_they_accept() {
    expect(
        "audiences = [\"sekisho\"]",
        "audiences = [\"elsewhere\"]",
        &[
            "widens issuer [corp] accepts audiences: elsewhere",
            "narrows issuer [corp] accepts no more audiences: sekisho",
        ],
    );
    expect(
        "algorithms = [\"ES256\"]",
        "algorithms = [\"ES256\", \"RS256\"]",
        &["widens issuer [corp] accepts algorithms: RS256"],
    );
    expect(
        "header = \"authorization\"",
        "header = \"x-token\"",
        &["widens token [] comes in authorization: Bearer -> x-token: Bearer"],
    );
}

#[test]
fn acc_4_what_takes_a_fresh_login_is_told() {
    let asking = "[step_up]\noperations = [\"orders/getOrders\"]\nwithin = \"5 min\"\n[token]\n";
    let asks = GOOD.replace("[token]\n", asking);
    let told =
        |old: &str, new: &str| -> Vec<String> { diff(old, new).lines.iter().map(said).collect() };
    let more = told(GOOD, &asks);
    assert!(
        more.contains(&"narrows step-up [] a fresh login for: orders/getOrders".to_owned()),
        "{more:?}"
    );
    let less = told(&asks, GOOD);
    assert!(
        less.contains(
            &"widens step-up [] no fresh login any more for: orders/getOrders".to_owned()
        ),
        "{less:?}"
    );
    let longer = told(&asks, &asks.replace("5 min", "10 min"));
    assert_eq!(longer, ["widens step-up [] a login is fresh for 5 min -> 10 min"]);
    let looser = told(&asks, &asks.replace("within", "amr = [\"mfa\", \"pwd\"]\nwithin"));
    assert!(looser[0].starts_with("widens step-up [] logins count by amr: pwd"), "{looser:?}");
}

/// One out and two in is one that is looked for no more; a last day in the past is a denial that is over.
#[test]
fn mon_4_lists_are_compared_one_by_one() {
    let of = |list: &str, denied: &str| {
        let text = GOOD.replace(
            "[token]\n",
            "[detect.canary]\nfile = \"canaries\"\n[token]\ndenied = { file = \"denied\" }\n",
        );
        world(&text).with("canaries", list).with("denied", denied).load().unwrap().snapshot
    };
    let told = |old: &Snapshot, new: &Snapshot| -> Vec<String> {
        compare(old, new).lines.iter().map(said).collect()
    };
    let before = of("CANARY-0001\nCANARY-0002\n", "a 2027-01-31\nb 2027-01-31\nc 2027-01-31\n");
    let after =
        of("CANARY-0003\nCANARY-0002\nCANARY-0004\n", "a 2026-01-31\nb 2027-02-28\nd 2027-01-31\n");
    assert_eq!(
        told(&before, &after),
        [
            "widens token [] tokens that are denied less long is 1",
            "widens token [] tokens that are denied no more is 1",
            "widens detector [canary] planted records that are looked for no more is 1",
            "narrows token [] tokens that are denied is 1",
            "narrows token [] tokens that are denied longer is 1",
            "narrows detector [canary] planted records that are looked for is 2",
        ]
    );
}

/// Its own figure stands in the place of the listeners', whatever they are.
#[test]
fn acc_1_connections_of_an_identity_are_compared_with_the_listeners() {
    let own = |figure: u32| {
        GOOD.replacen(
            "review_by = 2027-01-31",
            &format!("connections = {figure}\nreview_by = 2027-01-31"),
            1,
        )
    };
    let told =
        |old: &str, new: &str| -> Vec<String> { diff(old, new).lines.iter().map(said).collect() };
    let line = |direction: &str, change: &str| {
        format!("{direction} identity [label-printer] connections at a time {change}")
    };
    assert_eq!(told(GOOD, &own(1_000_000)), [line("widens", "the listener's -> 1000000")]);
    assert_eq!(told(&own(1_000_000), GOOD), [line("narrows", "1000000 -> the listener's")]);
    assert_eq!(told(GOOD, &own(10)), [line("narrows", "the listener's -> 10")]);
    assert_eq!(told(GOOD, &own(1_000)), [line("neutral", "the listener's -> 1000")]);
}

/// Of certificate and token, which are both needed where both are registered.
#[test]
fn acc_1_one_credential_less_may_ask_for_less() {
    let token = "token = { issuer = \"corp\", subject = \"hanako\" }";
    let both = GOOD.replace(
        token,
        &format!("certificate = {{ san_uri = \"spiffe://example.com/hanako\" }}\n{token}"),
    );
    let told =
        |old: &str, new: &str| -> Vec<String> { diff(old, new).lines.iter().map(said).collect() };
    assert_eq!(
        told(&both, GOOD),
        [
            "widens credential [hanako.yamada] certificate or token is enough",
            "narrows credential [hanako.yamada] loses a credential: certificate, URI",
        ]
    );
    assert_eq!(
        told(GOOD, &both),
        [
            "widens credential [hanako.yamada] gains a credential: certificate, URI",
            "narrows credential [hanako.yamada] certificate and token are needed",
        ]
    );
}

/// The server behind an upstream may be put back, and what is taken away from somebody never is.
#[test]
fn tls_2_what_moves_an_upstream_can_be_put_back() {
    let narrows = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        diff(GOOD, &GOOD.replace(from, to)).scope.narrows
    };
    let endpoint = "endpoint = \"https://warehouse.internal:8443\"";
    assert!(!narrows(endpoint, "endpoint = \"https://other.internal:8443\""));
    assert!(narrows(endpoint, &format!("{endpoint}\naddresses = [\"10.0.0.5:8443\"]")));
    assert!(narrows(endpoint, &format!("{endpoint}\nserver_names = [\"gateway.example.com\"]")));
    assert!(narrows(endpoint, &format!("{endpoint}\nseller = \"acme\"")));
}

#[test]
fn log_1_what_a_change_touches_is_known() {
    let scope = diff(GOOD, &GOOD.replace("internal:8443", "internal:9443")).scope;
    assert_eq!((scope.upstreams.len(), scope.access, scope.narrows), (1, false, false));
    let scope = diff(GOOD, &GOOD.replace(", \"warehouse/*:read\"]", "]")).scope;
    assert_eq!((scope.upstreams.len(), scope.access, scope.narrows), (0, true, true));
}

/// All identities of a role change alike: one line, not ten thousand.
#[test]
fn priv_1_many_identities_that_change_alike_are_one_line() {
    let old = large(2_000, 1);
    let new = old
        .replace("allow = [\"orders/*:read\", \"feeds/getFeed\"]", "allow = [\"orders/*:read\"]");
    let diff = diff(&old, &new);
    let [line] = &diff.lines[..] else { panic!("{:?}", diff.lines) };
    assert_eq!((line.count, line.names.len()), (2_000, NAMES_MAX));
    assert_eq!(line.of_role.as_ref().map(crate::base::Name::as_str), Some("r0"));
    assert_eq!(said(line).split(": ").nth(1), Some("feeds/getFeed"));
}

/// 10,000 identities with 1,000 roles, every one of which changes: bounded, and what widens is there.
#[test]
fn priv_1_the_answer_is_bounded_and_what_widens_comes_first() {
    let old = large(10_000, 1_000);
    let mut new = old.replace("\"feeds/getFeed\"]", "\"*:read\", \"feeds/createFeed\"]");
    new = new.replace("review_by = 2027-01-31\n", "");
    for n in 0..1_200 {
        // Each narrows in a way of its own.
        new = new.replacen(
            &format!("san_uri = \"spiffe://example.com/i{n}\" }}\nnetworks"),
            &format!(
                "san_uri = \"spiffe://example.com/i{n}\" }}\nconnections = {}\nnetworks",
                n + 1
            ),
            1,
        );
    }
    let (old, new) = (snapshot(&old), snapshot(&new));
    let clock = Clock::system();
    let began = clock.now();
    let diff = compare(&old, &new);
    let took = clock.now().since(began);
    assert_eq!(diff.lines.len(), LINES_MAX);
    assert_eq!(
        diff.lines.len() + diff.omitted,
        diff.counts.widens + diff.counts.narrows + diff.counts.neutral
    );
    let widens = diff.lines.iter().filter(|line| line.direction == Direction::Widens);
    assert_eq!(widens.clone().count(), diff.counts.widens.min(LINES_MAX));
    assert!(diff.lines.is_sorted_by_key(|line| line.direction));
    let grant = widens.clone().find(|line| line.what == "gains").unwrap();
    assert!(grant.items.len() == ITEMS_MAX && grant.item_count > 100, "{}", said(grant));
    assert!(grant.count >= 10_000, "{}", said(grant));
    // Not a measurement: a slip to the square of 10,000 takes minutes.
    assert!(took.as_secs() < 30, "{took:?}");
    // Nothing against itself.
    assert!(compare(&old, &old).is_empty());
}
