//! One mistake, one error: at the right place, with its control.
use super::support::{changed, position, world};
use crate::base::ControlId;
use crate::base::ControlId::{Acc1, Net1, Net3, Priv1};
use crate::base::ControlId::{Priv4, Tls1, Tls2, Tls5};

/// Changes `from` to `to` and expects one error, at the only place where `at` then stands.
#[track_caller]
pub(super) fn refused(
    from: &str,
    to: &str,
    at: &str,
    control: ControlId,
    found: &str,
    instead: &str,
) {
    let text = changed(from, to);
    let errors = world(&text).load().expect_err("it must be refused");
    let [error] = errors.errors.as_slice() else { panic!("one error expected:\n{errors}") };
    assert_eq!((error.line, error.column), position(&text, at), "{errors}");
    assert_eq!(error.control, Some(control), "{errors}");
    assert!(error.found.contains(found), "{errors}");
    assert!(error.instead.contains(instead), "{errors}");
}

/// The same for a warning; the configuration is right.
#[track_caller]
pub(super) fn warned(from: &str, to: &str, at: &str, control: ControlId, found: &str) {
    let text = changed(from, to);
    let loaded = world(&text).load().unwrap_or_else(|errors| panic!("{errors}"));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!((warning.line, warning.column), position(&text, at), "{warning:?}");
    assert_eq!(warning.control, Some(control), "{warning:?}");
    assert!(warning.found.contains(found), "{warning:?}");
}

const ADMITTED: &str = "networks = [\"office\"]\nupstreams";

#[test]
fn net_1_networks() {
    refused(ADMITTED, "networks = []\nupstreams", "[]", Net1, "admits nobody", "office");
    refused(
        ADMITTED,
        "networks = [\"offcie\"]\nupstreams",
        "\"offcie\"",
        Net1,
        "no network `offcie`",
        "write \"office\"",
    );
    refused(
        "[\"10.0.1.0/24\"]",
        "[\"10.0.1.7/24\"]",
        "\"10.0.1.7/24\"",
        Net1,
        "beyond its prefix",
        "10.0.1.0/24",
    );
    warned("\"2001:db8:1::/48\"", "\"0.0.0.0/0\"", "office = [", Net1, "every address");
    let balancers = "balancers = [\"10.0.1.0/24\"]";
    warned(balancers, &format!("{balancers}\nempty = []"), "empty =", Net1, "no address");
}

#[test]
fn net_3_proxy_protocol() {
    let from = "from = [\"balancers\"]";
    refused(from, "from = []", "[]", Net3, "no balancer", "from = ");
    refused(from, "from = [\"lb\"]", "\"lb\"", Net3, "no network `lb`", "office");
    refused("{ from = [\"balancers\"] }", "{}", "{}", Net3, "`from` is missing", "add `from");
    refused("{ from = [\"balancers\"] }", "true", "true", Net3, "`proxy_protocol` is true", "from");
    let balancers = "[\"10.0.1.0/24\"]";
    let halves = "[\"0.0.0.0/1\", \"128.0.0.0/1\"]";
    let file = "{ file = \"lists/balancers\" }";
    for (is, list) in [
        ("[\"::/0\"]", ""),
        (halves, ""),
        ("[\"2000::/3\"]", ""),
        (file, "0.0.0.0/0\n"),
        (file, "0.0.0.0/1\n# and\n128.0.0.0/1\n"),
    ] {
        let text = changed(balancers, is);
        let errors = world(&text).with("lists/balancers", list).load().unwrap_err();
        let [error] = errors.errors.as_slice() else { panic!("{is}: {errors}") };
        assert_eq!((error.line, error.column), position(&text, "\"balancers\""), "{is}");
        assert_eq!(error.control, Some(Net3), "{errors}");
        assert!(error.found.contains("every address"), "{errors}");
    }
    let two = "[\"0.0.0.0/1\"]\nothers = [\"128.0.0.0/1\"]";
    let text = changed(balancers, two).replace(from, "from = [\"balancers\", \"others\"]");
    let errors = world(&text).load().unwrap_err();
    let [error] = errors.errors.as_slice() else { panic!("{errors}") };
    assert_eq!((error.line, error.column), position(&text, "[\"balancers\", "), "{errors}");
    assert!(error.found.contains("together"), "{errors}");
    let half = changed(balancers, "[\"0.0.0.0/1\"]");
    assert!(world(&half).load().is_ok(), "half of them is a mistake that nobody can see");
}

#[test]
fn tls_1_listeners() {
    let auth = "client_auth = \"optional\"";
    refused("client_ca = \"tls/ca.pem\"", "", "\"optional\"", Acc1, "no authority", "client_ca");
    refused(auth, "client_auth = \"optional\"\nalpn = []", "[]", Tls1, "no HTTP version", "h2");
    refused(
        auth,
        "client_auth = \"optional\"\nalpn = [\"h2\", 'h2']",
        "'h2'",
        Tls1,
        "twice",
        "remove",
    );
    refused(
        auth,
        "client_auth = \"optional\"\nmin_version = \"1.1\"",
        "\"1.1\"",
        Tls1,
        "can't be `1.1`",
        "\"1.2\"",
    );
    refused(
        auth,
        "client_auth = \"optional\"\ncipher_suites = []",
        "cipher_suites",
        Tls1,
        "no key `cipher_suites`",
        "remove it",
    );
    warned(auth, "client_auth = \"optional\"\nmin_version = \"1.2\"", "\"1.2\"", Tls1, "TLS 1.2");
    let one = "[{ certificate = \"tls/a.pem\", key = \"tls/a.key\" }]";
    refused(one, "[]", "[]", Tls1, "no certificate", "certificates = ");
    refused(
        "0.0.0.0:8443",
        "0.0.0.0:9464",
        "\"127.0.0.1:9464\"",
        Net1,
        "taken by listener `apps`",
        "another port",
    );
}

#[test]
fn tls_1_and_tls_5_keys_and_certificates() {
    let (certificate, key) = ("certificate = \"tls/a.pem\"", "key = \"tls/a.key\"");
    refused(key, "key = \"tls/other.key\"", "\"tls/other.key\"", Tls1, "does not belong", "key");
    refused(key, "key = \"tls/a.pem\"", "\"tls/a.pem\" }", Priv4, "no private key", "PEM");
    refused(key, "key = \"tls/none.key\"", "\"tls/none.key\"", Priv4, "does not exist", "path");
    refused(
        certificate,
        "certificate = \"tls/a.key\"",
        "\"tls/a.key\",",
        Tls1,
        "holds no certificate",
        "PEM",
    );
    warned(
        certificate,
        "certificate = \"tls/expired.pem\"",
        "\"tls/expired.pem\"",
        Tls5,
        "has expired: its key stays closed",
    );
    warned(
        certificate,
        "certificate = \"tls/ending.pem\"",
        "\"tls/ending.pem\"",
        Tls5,
        "expires in 9 days",
    );
    refused(
        "client_ca = \"tls/ca.pem\"",
        "client_ca = \"tls/a.key\"",
        "\"tls/a.key\"\nclient",
        Acc1,
        "holds no certificate",
        "PEM",
    );
}

#[test]
fn tls_1_upstreams() {
    let endpoint = "\"https://warehouse.internal:8443\"";
    refused(
        endpoint,
        "\"http://warehouse.internal:8443\"",
        "\"http://",
        Tls1,
        "never spoken",
        "https://warehouse.internal:8443",
    );
    refused(
        endpoint,
        "\"https://warehouse.internal:8443/v1\"",
        "\"https://warehouse",
        Priv1,
        "no path",
        "https://warehouse.internal:8443",
    );
    refused(
        "kind = \"https\"\nendpoint = \"https://warehouse.internal:8443\"",
        "kind = \"https\"",
        "\"warehouse\"\nkind",
        Tls1,
        "`endpoint` is missing",
        "add endpoint",
    );
    refused(
        "kind = \"https\"",
        "kind = \"https\"\nregion = \"eu\"",
        "\"eu\"",
        Tls1,
        "sp-api",
        "remove",
    );
    refused("region = \"fe\"", "", "\"amazon-fe\"\nkind", Tls2, "`region` is missing", "\"na\"");
    refused("region = \"fe\"", "region = \"jp\"", "\"jp\"", Tls1, "can't be `jp`", "\"fe\"");
    refused(
        "region = \"fe\"",
        "region = \"fe\"\naddresses = [\"0.0.0.0:443\"]",
        "\"0.0.0.0:443\"",
        Tls1,
        "no host's address",
        "one host",
    );
    let names = |name: &str| format!("region = \"fe\"\nserver_names = [\"{name}\"]");
    warned(
        "region = \"fe\"",
        &names("no.example.com"),
        "\"no.example.com\"",
        Tls1,
        "no certificate",
    );
    for covered in ["fe.spapi.example.com", "x.apps.example.com"] {
        let loaded = world(&changed("region = \"fe\"", &names(covered))).load().unwrap();
        assert_eq!(loaded.warnings, [], "{covered}");
    }
    warned(
        "\"amazon-fe\", \"warehouse\"]",
        "\"amazon-fe\"]",
        "\"warehouse\"\nkind",
        Priv1,
        "no listener",
    );
}

#[test]
fn tls_2_verification_has_no_switch() {
    for switch in ["verify", "insecure_skip_verify", "tls_verify", "danger_accept_invalid_certs"] {
        let to = format!("kind = \"https\"\n{switch} = false");
        refused("kind = \"https\"", &to, &format!("{switch} ="), Tls2, switch, "always verified");
    }
    refused(
        "ca = \"tls/ca.pem\"\n\n[[operation",
        "ca = false\n\n[[operation",
        "false",
        Tls2,
        "`ca` is true or false",
        "tls/apps.pem",
    );
    refused(
        "kind = \"https\"",
        "kind = \"https\"\npins = [\"sha1/x\"]",
        "\"sha1/x\"",
        Tls2,
        "certificate's SHA-256",
        "sha256/",
    );
}
