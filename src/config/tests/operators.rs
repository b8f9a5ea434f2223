//! `[admin.api]` and `[operator.…]`.
use std::time::Duration;

use super::rules::{refused, warned};
use super::support::{changed, pki, world};
use crate::base::ControlId::{Acc1, Acc3, Net1, Priv3, Tls1};
use crate::config::{ClientAuth, OperatorAct, OperatorRole, Stranger, TlsVersion};
use crate::identity::PeerCertificate;

const ADMIN: &str = "[admin]\naddress = \"127.0.0.1:9464\"\n";
const OPERATED: &str = r#"[admin]
address = "127.0.0.1:9464"
[admin.api]
address = "127.0.0.1:9465"
networks = ["office"]
tls = { certificate = "tls/a.pem", key = "tls/a.key", client_ca = "tls/ca.pem" }
two_people = ["kill"]
[operator.sato]
certificate = { san_uri = "spiffe://example.com/operators/sato" }
role = "security-officer"
[operator.mori]
certificate = { san_uri = "spiffe://example.com/operators/mori" }
role = "operator"
expires = 2027-01-31
"#;

/// One change of [`OPERATED`], which must be there once.
fn with(from: &str, to: &str) -> String {
    assert_eq!(OPERATED.matches(from).count(), 1, "{from:?}");
    OPERATED.replacen(from, to, 1)
}

#[test]
fn priv_3_the_api_and_its_operators_are_compiled() {
    let snapshot = world(&changed(ADMIN, OPERATED)).load().unwrap().snapshot;
    let api = snapshot.api.unwrap();
    assert_eq!(api.two_people, [OperatorAct::Kill]);
    assert_eq!(api.confirm_within, Duration::from_secs(900));
    assert_eq!(
        (api.tls.client_auth, api.tls.min_version),
        (ClientAuth::Required, TlsVersion::V1_3)
    );
    let roles: Vec<_> =
        snapshot.operators.list().iter().map(|one| (one.name.as_str(), one.role)).collect();
    let expect = [("mori", OperatorRole::Operator), ("sato", OperatorRole::SecurityOfficer)];
    assert_eq!(roles, expect);

    let none = world(super::support::GOOD).load().unwrap().snapshot;
    assert!(none.api.is_none(), "there is no API by default");
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(pki().certificate.as_bytes());
    let der: rustls_pki_types::CertificateDer<'_> = der.unwrap();
    let peer = PeerCertificate::parse(&der).unwrap();
    assert_eq!(none.operators.holder(&peer, super::support::TODAY), Err(Stranger::Unknown));
}

#[test]
fn priv_3_an_operator_is_one_person_and_no_identity() {
    refused(
        ADMIN,
        &with(
            "{ san_uri = \"spiffe://example.com/operators/sato\" }",
            "{   san_uri = \"spiffe://example.com/operators/mori\" }",
        ),
        "{   san_uri",
        Acc1,
        "operators mori and sato have the same",
        "give each its own",
    );
}

#[test]
fn priv_3_the_credential_of_an_identity_is_no_operators() {
    refused(
        ADMIN,
        &with(
            "{ san_uri = \"spiffe://example.com/operators/mori\" }",
            "{   san_uri = \"spiffe://example.com/label-printer\" }",
        ),
        "{   san_uri",
        Priv3,
        "the identity `label-printer`'s as well",
        "of its own",
    );
}

#[test]
fn priv_3_wildcards_unknown_roles_and_acts_are_refused() {
    refused(
        ADMIN,
        &with(
            "{ san_uri = \"spiffe://example.com/operators/mori\" }",
            "{ san_uri = \"spiffe://example.com/*\" }",
        ),
        "{ san_uri = \"spiffe://example.com/*\" }",
        Acc1,
        "holds *",
        "write it out",
    );
    let text = with("role = \"operator\"", "role = \"admin\"");
    refused(ADMIN, &text, "\"admin\"", Priv3, "`admin`", "viewer");
    refused(ADMIN, &with("[\"kill\"]", "[\"kil\"]"), "\"kil\"", Priv3, "`kil`", "kill");
    let text = with("[\"kill\"]", "[\"kill\", \"kill\" ]");
    refused(ADMIN, &text, "\"kill\" ]", Priv3, "twice", "remove");
}

#[test]
fn net_1_tls_1_the_api_needs_networks_and_a_client_authority() {
    refused(
        ADMIN,
        &with("[\"office\"]", "[]"),
        "[]\ntls = { certificate = \"tls/a.pem\"",
        Net1,
        "admits nobody",
        "office",
    );
    refused(
        ADMIN,
        &with("9465", "9464"),
        "\"127.0.0.1:9464\"\nnetworks",
        Net1,
        "taken by",
        "another port",
    );
    let text = with(", client_ca = \"tls/ca.pem\"", "");
    refused(
        ADMIN,
        &text,
        "{ certificate = \"tls/a.pem\", key = \"tls/a.key\" }\ntwo",
        Tls1,
        "client_ca",
        "",
    );
}

#[test]
fn acc_3_an_operator_whose_last_day_has_passed_is_warned_about() {
    warned(ADMIN, &with("2027-01-31", "2026-11-21"), "2026-11-21", Acc3, "last day has passed");
}

#[test]
fn priv_3_no_policy_file_makes_operators() {
    let main = changed(ADMIN, OPERATED)
        .replace("state_dir = \"state\"", "state_dir = \"state\"\npolicy = [\"policy/*.toml\"]");
    let extra = "[operator.eve]\ncertificate = { san_uri = \"spiffe://example.com/eve\" }\n\
                 role = \"security-officer\"\n";
    let errors = world(&main).with("policy/team.toml", extra).load().unwrap_err();
    assert!(errors.errors[0].found.contains("`[operator]` stands in a policy file"), "{errors}");
}
