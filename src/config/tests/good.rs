//! What a right configuration becomes.
use std::time::Duration;

use super::support::{GOOD, World, changed, pki, world};
use crate::base::{ClientAddr, IdentityIx, LimitIx, ListenerIx, UpstreamIx};
use crate::config::{
    AccessLog, Addresses, Alpn, ClientAuth, ConfigErrors, JwksSource, Region, Roots, Snapshot,
    Stage, TlsVersion, UpstreamKind,
};
use crate::identity::Basic;
use crate::policy::{Amount, Measure, Method, Mode, Sharing};

fn snapshot(text: &str) -> Snapshot {
    load(&world(text)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn load(world: &World) -> Result<Snapshot, ConfigErrors> {
    world.load().map(|loaded| loaded.snapshot)
}

#[test]
fn a_right_configuration_has_no_warning() {
    let loaded = world(GOOD).load().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn everything_is_compiled() {
    let snapshot = snapshot(GOOD);
    assert_eq!(snapshot.generation, 1);
    assert_eq!(snapshot.environment.as_str(), "production");
    assert_eq!(snapshot.state_dir.to_str().unwrap(), "/conf/state");
    let listener = &snapshot.listeners[0];
    assert_eq!(listener.address, "0.0.0.0:8443".parse().unwrap());
    assert_eq!(listener.upstreams, [UpstreamIx(0), UpstreamIx(1)]);
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.client_auth, ClientAuth::Optional);
    assert_eq!(tls.min_version, TlsVersion::V1_3);
    assert_eq!(tls.alpn, [Alpn::H2, Alpn::Http11]);
    assert_eq!(tls.client_ca.as_ref().unwrap().len(), 1);
    let names = &tls.certificates[0].server_names;
    assert_eq!(names[..2], ["gateway.example.com", "*.apps.example.com"]);
    let (office, balancer) = ("203.0.113.9".parse().unwrap(), "10.0.1.7".parse().unwrap());
    let at = |addr| snapshot.networks.lookup(&ClientAddr::new(addr));
    assert!(listener.networks.intersects(&at(office)));
    assert!(!listener.networks.intersects(&at(balancer)));
    assert!(listener.proxy_from.unwrap().intersects(&at(balancer)));
    let amazon = &snapshot.upstreams[0];
    assert_eq!(amazon.kind, UpstreamKind::SpApi { region: Region::Fe, stage: Stage::Production });
    assert_eq!(amazon.endpoint.host, "sellingpartnerapi-fe.amazon.com");
    assert_eq!(amazon.endpoint.authority, amazon.endpoint.host);
    assert_eq!(amazon.token_endpoint.as_ref().unwrap().host, "api.amazon.com");
    assert_eq!((&amazon.roots, &amazon.endpoint.addresses), (&Roots::System, &Addresses::Dns));
    let warehouse = &snapshot.upstreams[1];
    assert_eq!(warehouse.endpoint.authority, "warehouse.internal:8443");
    assert!(matches!(&warehouse.roots, Roots::Private(roots) if roots.len() == 1));
    assert!(warehouse.token_endpoint.is_none());
    assert_eq!(snapshot.identities[0].review_by_unix_day, Some(20_849));
    assert_eq!(snapshot.names.identity(IdentityIx(0)).unwrap().as_str(), "hanako.yamada");
    assert_eq!(snapshot.log.access, AccessLog::Stdout);
    let JwksSource::Url { endpoint, path, .. } = &snapshot.issuers[0].jwks else { panic!() };
    assert_eq!((endpoint.host.as_str(), path.as_str()), ("login.example.com", "/jwks"));
}

#[test]
fn mon_2_limits_follow_roles_and_identities() {
    let own = "owner = \"support@example.com\"\nlimits = [{ operations = [\"*\"], requests = [\"9/day\"] }]";
    let snapshot = snapshot(&changed("owner = \"support@example.com\"", own));
    let limits = &snapshot.quotas.limits;
    let names: Vec<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(names, ["role/shipping/1", "identity/hanako.yamada/1"]);
    let Measure::Requests(windows) = &limits[0].measure else { panic!("{limits:?}") };
    assert_eq!(windows[1].per, Duration::from_secs(60));
    let orders = snapshot.operation("orders/getOrders").unwrap();
    assert!(limits[0].operations.contains(&orders));
    assert!(!limits[0].operations.contains(&snapshot.operation("lwa/token").unwrap()));
    let (first, under) = &snapshot.quotas.accounts[0];
    assert_eq!(
        (first.as_str(), under.as_slice()),
        ("hanako.yamada", &[LimitIx(1), LimitIx(0)][..])
    );
    assert_eq!(snapshot.quotas.accounts[1].1, [LimitIx(0)]);
}

#[test]
fn mon_3_one_limit_is_one_for_each_thing_it_counts_and_for_each_seller() {
    let more = "[limit.amazon]\nper = \"seller\"\noperations = [\"orders/*\"]\nbytes = [\"2 GB/day\"]\n\
        pii_records = [\"5000/day\"]\nmode = \"shadow\"\n\
        [limit.total]\noperations = [\"*\"]\nconcurrent = 50\n[role.shipping]";
    let shop = "region = \"fe\"\nseller = \"shop-jp\"";
    let text = changed("[role.shipping]", more).replace("region = \"fe\"", shop);
    let snapshot = snapshot(&text);
    let limits = &snapshot.quotas.limits;
    let names: Vec<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "role/shipping/1",
            "limit/amazon/bytes@shop-jp",
            "limit/amazon/pii@shop-jp",
            "limit/amazon/bytes@warehouse",
            "limit/amazon/pii@warehouse",
            "limit/total/concurrent",
        ]
    );
    let day = Duration::from_secs(86_400);
    let volume = Amount { count: 2_000_000_000, per: day };
    assert_eq!(limits[1].measure, Measure::Bytes(vec![volume]));
    assert_eq!(limits[1].upstreams, Some(vec![UpstreamIx(0)]));
    assert_eq!((limits[1].sharing, limits[1].mode), (Sharing::All, Mode::Shadow));
    assert_eq!(limits[2].measure, Measure::PiiRecords(vec![Amount { count: 5_000, per: day }]));
    assert_eq!(limits[5].measure, Measure::Concurrent(50));
    assert_eq!((limits[5].upstreams.as_ref(), limits[5].mode), (None, Mode::Enforced));
    let (_, under) = &snapshot.quotas.accounts[0];
    assert_eq!(under.len(), 6, "everybody is under them");
}

#[test]
fn priv_1_a_server_name_chooses_the_region() {
    let eu = "region = \"fe\"\nserver_names = [\"FE.example.com\"]\n\n[[upstream]]\nname = \"amazon-eu\"\n\
              kind = \"sp-api\"\nregion = \"eu\"\nserver_names = [\"eu.example.com\"]";
    let text = changed("region = \"fe\"", eu)
        .replace("[\"amazon-fe\", \"warehouse\"]", "[\"amazon-fe\", \"amazon-eu\", \"warehouse\"]");
    let snapshot = snapshot(&text);
    let serves = |name, path: &[u8]| {
        let table = snapshot.table(ListenerIx(0), name).unwrap();
        table.match_request(Method::Get, path).ok().map(|route| route.upstream)
    };
    assert_eq!(serves(Some("fe.example.com"), b"/orders/v0/orders"), Some(UpstreamIx(0)));
    assert_eq!(serves(Some("eu.example.com"), b"/orders/v0/orders"), Some(UpstreamIx(1)));
    assert_eq!(serves(Some("other.example.com"), b"/orders/v0/orders"), None);
    assert_eq!(serves(None, b"/orders/v0/orders"), None);
    for name in [None, Some("fe.example.com"), Some("eu.example.com")] {
        assert_eq!(serves(name, b"/stock/A1"), Some(UpstreamIx(2)), "{name:?}");
    }
    assert!(snapshot.table(ListenerIx(9), None).is_none());
}

#[test]
fn an_address_in_an_endpoint_is_connected_to_directly() {
    let snapshot = snapshot(&changed(
        "region = \"fe\"",
        "region = \"fe\"\nendpoint = \"https://127.0.0.1:9443\"\ntoken_endpoint = \"https://[::1]:9444\"",
    ));
    let amazon = &snapshot.upstreams[0];
    assert_eq!(
        amazon.endpoint.addresses,
        Addresses::Fixed(vec!["127.0.0.1:9443".parse().unwrap()])
    );
    let token = amazon.token_endpoint.as_ref().unwrap();
    assert_eq!(token.authority, "[::1]:9444");
    assert_eq!(token.addresses, Addresses::Fixed(vec!["[::1]:9444".parse().unwrap()]));
}

#[test]
fn a_network_can_be_a_file_with_comments() {
    let text = changed("[\"203.0.113.0/24\", \"2001:db8:1::/48\"]", "{ file = \"office.cidr\" }");
    let cidr = "# office\n203.0.113.0/24 # tokyo\n\n  2001:db8:1::/48\r\n198.51.100.7";
    let snapshot = load(&world(&text).with("office.cidr", cidr)).unwrap();
    for (addr, inside) in [("203.0.113.1", true), ("198.51.100.7", true), ("198.51.100.8", false)] {
        let at = snapshot.networks.lookup(&ClientAddr::new(addr.parse().unwrap()));
        assert_eq!(snapshot.listeners[0].networks.intersects(&at), inside, "{addr}");
    }
}

#[test]
fn acc_1_basic_credentials_count_only_where_they_are_named() {
    assert_eq!(snapshot(GOOD).token.basic, Basic::Refused);
    let line = "header = \"authorization\"";
    let with = |text: &str| changed(line, &format!("{text}\nbasic = \"password-is-token\""));
    assert_eq!(snapshot(&with(line)).token.basic, Basic::PasswordIsToken);
    for other in ["header = \"x-token\"", "scheme = \"BASIC\""] {
        let errors = world(&with(other)).load().unwrap_err().errors;
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        assert!(error.source_line.starts_with("basic"), "{error:?}");
        assert!(error.instead.contains("leave basic out"), "{error:?}");
    }
}

#[test]
fn secrets_come_from_files_variables_and_programs() {
    let key = "key = \"tls/a.key\"";
    for (to, setup) in [
        ("key = { file = \"tls/a.key\" }", 0),
        ("key = { env = \"GATEWAY_KEY\" }", 1),
        ("key = { command = [\"/bin/vault\", \"read\"] }", 2),
    ] {
        let mut world = world(&changed(key, to));
        let pem = pki().key.clone().into_bytes();
        match setup {
            1 => drop(world.variables.insert("GATEWAY_KEY".to_owned(), pem)),
            2 => drop(world.programs.insert(vec!["/bin/vault".into(), "read".into()], Ok(pem))),
            _ => {}
        }
        let snapshot = load(&world).unwrap_or_else(|errors| panic!("{errors}"));
        let tls = snapshot.listeners[0].tls.as_ref().unwrap();
        assert_eq!(format!("{:?}", tls.certificates[0].key), "[secret]");
    }
}
