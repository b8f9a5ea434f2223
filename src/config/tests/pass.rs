//! Listeners where TLS does not end: what may stand there, and what people write by mistake.
use std::path::Path;

use super::support::{GOOD, changed, position, world};
use crate::base::ControlId;
use crate::base::ControlId::{Log1, Mon5, Net3, Tls1, Tls3};
use crate::config::{Addresses, ConfigErrors, Nameless, PassProxy, Way};

const EDGE: &str = r#"
[[listener]]
name = "edge"
address = "0.0.0.0:9443"
networks = ["office"]
[[listener.pass]]
name = "shops"
server_names = ["shops.example.net", "*.spapi.example.net"]
targets = [{ name = "gw-1", address = "10.0.2.10:8443" }, { name = "gw-2", address = "gw2.internal:8443" }]
"#;

/// A route for the listener of [`GOOD`], which ends TLS.
const BESIDE: &str = r#"client_auth = "optional"
[[listener.pass]]
name = "beside"
server_names = ["beside.example.net"]
targets = [{ name = "gw-3", address = "10.0.2.11:8443" }]
"#;

fn text() -> String {
    changed("client_auth = \"optional\"", BESIDE) + EDGE
}

fn replaced(from: &str, to: &str) -> String {
    let text = text();
    assert_eq!(text.matches(from).count(), 1, "{from:?} must be there once");
    text.replacen(from, to, 1)
}

#[track_caller]
fn one_error(text: &str) -> ConfigErrors {
    let errors = world(text).load().expect_err("it must be refused");
    assert_eq!(errors.errors.len(), 1, "{errors}");
    errors
}

#[track_caller]
fn refused(from: &str, to: &str, at: &str, control: ControlId, found: &str, instead: &str) {
    let text = replaced(from, to);
    let errors = one_error(&text);
    let error = &errors.errors[0];
    assert_eq!((error.line, error.column), position(&text, at), "{errors}");
    assert_eq!(error.control, Some(control), "{errors}");
    assert!(error.found.contains(found), "{errors}");
    assert!(error.instead.contains(instead), "{errors}");
}

#[test]
fn tls_3_a_listener_passes_on_what_it_holds_no_key_for() {
    let loaded = world(&text()).load().unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [apps, edge] = loaded.snapshot.listeners.as_slice() else { panic!("two listeners") };
    assert!(edge.tls.is_none() && edge.upstreams.is_empty());
    let [route] = edge.pass.routes() else { panic!("one route") };
    assert_eq!((route.name.as_str(), route.nameless), ("shops", Nameless::Elsewhere));
    assert_eq!(route.proxy, PassProxy::V2);
    assert_eq!((route.connections, route.failures), (10_000, 3));
    let secs = [route.connect_timeout, route.check, route.idle].map(|time| time.as_secs());
    assert_eq!(secs, [3, 5, 300]);
    let fixed = vec!["10.0.2.10:8443".parse().unwrap()];
    assert_eq!(route.targets[0].addresses, Addresses::Fixed(fixed));
    assert_eq!(route.targets[1].addresses, Addresses::Dns);
    assert_eq!(edge.way(Some("shops.example.net")), Way::Pass(0));
    assert_eq!(edge.way(Some("fe.spapi.example.net")), Way::Pass(0));
    assert_eq!(edge.way(Some("gateway.example.com")), Way::Unknown);
    assert_eq!(apps.way(Some("beside.example.net")), Way::Pass(0));
    assert_eq!(apps.way(Some("gateway.example.com")), Way::End);
    assert_eq!(apps.way(None), Way::End);
}

#[test]
fn tls_1_a_listener_ends_tls_or_passes_it_on() {
    let (before, _) = EDGE.split_once("[[listener.pass]]").unwrap();
    let text = GOOD.to_owned() + before;
    let errors = world(&text).load().unwrap_err();
    let [nowhere, plain] = errors.errors.as_slice() else { panic!("two errors:\n{errors}") };
    assert!(nowhere.found.contains("leads nowhere"), "{errors}");
    assert_eq!(plain.control, Some(Tls1));
    assert!(plain.instead.contains("[[listener.pass]]"), "{errors}");
}

#[test]
fn tls_3_what_only_the_end_of_tls_can_give_is_told_where_to_go() {
    let place = "address = \"0.0.0.0:9443\"";
    let with = |line: &str| format!("{place}\n{line}");
    let upstreams = with("upstreams = ['warehouse']");
    refused(place, &upstreams, "'warehouse'", Tls3, "have to be read", "message-level encryption");
    let bounds = with("bounds = { connections_per_identity = 77 }");
    refused(place, &bounds, "77", Tls3, "nobody proves an identity", "connections_per_address");

    // An upstream that is served to a name of which nothing is read.
    let text = replaced(
        "ca = \"tls/ca.pem\"\n\n[[operation]]",
        "ca = \"tls/ca.pem\"\nserver_names = ['beside.example.net']\n\n[[operation]]",
    );
    let errors = one_error(&text);
    assert_eq!(errors.errors[0].control, Some(Tls3), "{errors}");
    assert!(errors.errors[0].found.contains("`warehouse` is served to `beside.example.net`"));

    // Identities of a host where TLS ends nowhere.
    let (before, rest) = GOOD.split_once("[[listener]]").unwrap();
    let (_listener, after) = rest.split_once("[[upstream]]").unwrap();
    let text = format!("{before}[[upstream]]{after}{EDGE}");
    let errors = one_error(&text);
    assert_eq!(errors.errors[0].control, Some(Tls3), "{errors}");
    assert!(errors.errors[0].found.contains("(and one more identity)"), "{errors}");
    assert!(errors.errors[0].instead.contains("move it to the gateways"), "{errors}");
}

#[test]
fn tls_3_a_host_that_only_passes_on_needs_no_more_than_this() {
    let text = format!(
        "[gateway]\nenvironment = \"production\"\nstate_dir = \"state\"\n\
         [network]\noffice = [\"203.0.113.0/24\"]\n{EDGE}"
    );
    let mut world = world(&text);
    world.files.retain(|path, _| path.ends_with("sekisho.toml"));
    let loaded = world.load().unwrap_or_else(|errors| panic!("{errors}"));
    // That nobody is told of alarms is said of every gateway.
    let [alarms] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(alarms.control, Some(ControlId::Mon7));
}

#[test]
fn tls_3_each_name_goes_one_way() {
    let names = "server_names = [\"beside.example.net\"]";
    for name in ["'gateway.example.com'", "'*.apps.example.com'"] {
        let own = format!("server_names = [{name}]");
        refused(names, &own, name, Tls3, "a certificate of the listener", "TLS ends on this host");
    }
    // One of a certificate's wildcard is fine: the closer name wins.
    let closer = replaced(names, "server_names = ['one.apps.example.com']");
    assert!(world(&closer).load().is_ok());
    refused(names, "server_names = []", "\"beside\"", Tls3, "nothing is passed on", "server_names");

    let second = |lines: &str| {
        text()
            + "[[listener.pass]]\nname = 'more'\ntargets = [{ name = 'x', address = 'x:1' }]\n"
            + lines
    };
    let errors = one_error(&second("server_names = ['shops.example.net']"));
    assert!(errors.errors[0].found.contains("is passed on by `shops`"), "{errors}");
    let twice = second("nameless = \"pass\"").replacen(
        "name = \"shops\"\n",
        "name = \"shops\"\nnameless = \"pass\"\n",
        1,
    );
    let errors = one_error(&twice);
    assert!(errors.errors[0].found.contains("without a name"), "{errors}");
    let errors = one_error(&second("server_names = ['x.y']").replace("'more'", "'shops'"));
    assert_eq!(errors.errors[0].control, Some(Log1), "{errors}");
}

#[test]
fn tls_3_targets() {
    let first = "{ name = \"gw-1\", address = \"10.0.2.10:8443\" }, ";
    let all = "[{ name = \"gw-1\", address = \"10.0.2.10:8443\" }, \
               { name = \"gw-2\", address = \"gw2.internal:8443\" }]";
    refused(all, "[]", "[]", Tls3, "`shops` leads nowhere", "targets = [{");
    let own = "{ name = \"gw-1\", address = '127.0.0.1:9443' }, ";
    refused(first, own, "'127.0.0.1:9443'", Tls3, "in a circle", "where TLS ends");
    let twice = "{ name = 'gw-2', address = \"10.0.2.10:8443\" }, ";
    refused(first, twice, "\"gw-2\"", Log1, "twice", "remove");
    let same = "{ name = \"gw-1\", address = 'gw2.internal:8443' }, ";
    refused(first, same, "\"gw2.internal:8443\"", Tls3, "twice", "remove");
    let bare = "{ name = \"gw-1\", address = '10.0.2.10' }, ";
    refused(first, bare, "'10.0.2.10'", Tls1, "not a host and its port", "such as");
}

#[test]
fn net_3_the_clients_address_is_told_unless_somebody_says_otherwise() {
    let name = "name = \"shops\"";
    let text = replaced(name, "name = \"shops\"\nproxy = 'none'");
    let loaded = world(&text).load().unwrap();
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!((warning.line, warning.column), position(&text, "'none'"), "{warning:?}");
    assert_eq!(warning.control, Some(Net3));
    let v1 = "name = \"shops\"\nproxy = 'v1'";
    refused(name, v1, "'v1'", Net3, "can't be `v1`", "\"v2\"");
    let many = "name = \"shops\"\nconnections = 10001";
    refused(name, many, "10001", Mon5, "above the listener's bound", "10000");
}

#[test]
fn tls_3_what_is_closed_here_is_not_passed_on_by_a_wildcard() {
    let wide = world(&replaced("\"beside.example.net\"", "\"*.example.com\""));
    let twice = world(&replaced("\"beside.example.net\"", "\"gateway.example.com\""));
    for closed in [false, true] {
        let [mut wide, mut twice] = [wide.clone(), twice.clone()];
        if closed {
            for world in [&mut wide, &mut twice] {
                world.files.remove(Path::new("/conf/permit/host.permit"));
            }
        }
        let loaded = wide.load().unwrap_or_else(|errors| panic!("{errors}"));
        let apps = &loaded.snapshot.listeners[0];
        assert_eq!(apps.tls.as_ref().unwrap().certificates.is_empty(), closed);
        assert_eq!(apps.way(Some("gateway.example.com")), Way::End, "closed: {closed}");
        assert_eq!(apps.way(Some("other.example.com")), Way::Pass(0));
        let errors = twice.load().expect_err("it must be refused");
        assert!(errors.errors[0].found.contains("holds `gateway.example.com` as well"), "{errors}");
    }
}
