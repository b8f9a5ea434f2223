//! On a configuration as the demo writes it.
use std::path::{Path, PathBuf};

use super::words::span;
use super::*;
use crate::base::Moment;
use crate::cli::args::ExplainArgs;
use crate::config::Loaded;
use crate::devcerts::{DevPki, Existing, PkiPlan};

/// 2026-11-22T00:00:00Z.
const TODAY: Moment = Moment::new(20_779 * 86_400_000, 0);

const CONF: &str = r#"
[gateway]
environment = "test"
state_dir = "state"
[permit]
file = "permit/host.permit"
issuers = ["permit/issuer.pub"]
host_key = "permit/host.key"
machine_id = "permit/machine-id"
[network]
office = ["203.0.113.0/24"]
vpc = ["10.0.0.0/8"]
[[listener]]
name = "apps"
address = "127.0.0.1:0"
networks = ["office", "vpc"]
upstreams = ["amazon"]
[listener.tls]
certificates = [{ certificate = "server.pem", key = "server.key" }]
client_ca = "ca.pem"
client_auth = "optional"
[[upstream]]
name = "amazon"
kind = "sp-api"
region = "fe"
stage = "sandbox"
[role.shipping]
purpose = "print labels"
allow = ["orders/getOrders", "orders/getOrderAddress"]
limits = [{ operations = ["orders/*"], requests = ["10/s", "300/min"] }]
[role.reporting]
purpose = "count orders"
allow = ["orders/getOrders"]
query = [{ operations = ["orders/getOrders"], deny = ["BuyerEmail"] }]
[identity.label-printer]
kind = "service"
owner = "x"
certificate = { san_uri = "spiffe://sekisho.test/label-printer" }
networks = ["vpc"]
roles = ["shipping"]
[identity.analyst]
kind = "person"
owner = "x"
certificate = { san_uri = "spiffe://sekisho.test/order-importer" }
networks = ["office"]
roles = ["reporting"]
[identity.clerk]
kind = "person"
owner = "x"
disabled = "left on Friday"
certificate = { san_uri = "spiffe://sekisho.test/stock-reader" }
networks = ["office"]
roles = ["reporting"]
[identity.former]
kind = "person"
owner = "x"
expires = 2026-11-21
certificate = { san_uri = "spiffe://sekisho.test/former" }
networks = ["office"]
roles = ["reporting"]
[identity.leaving]
kind = "person"
owner = "x"
expires = 2026-11-22
certificate = { san_uri = "spiffe://sekisho.test/leaving" }
networks = ["office"]
roles = ["reporting"]
[identity.rehearsal]
kind = "person"
owner = "x"
environment = "staging"
certificate = { san_uri = "spiffe://sekisho.test/rehearsal" }
networks = ["office"]
roles = ["reporting"]
"#;

const LIST: &str = "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528";
const ADDRESS: &str = "/orders/v0/orders/902-1/address";

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sekisho-explain-{name}-{}", std::process::id()));
        let plan = PkiPlan { environment: "test".to_owned(), ..PkiPlan::default() };
        let pki = DevPki::generate(&plan, TODAY).unwrap();
        pki.write(&path, Existing::Replace).unwrap();
        std::fs::write(path.join("sekisho.toml"), CONF).unwrap();
        Self(path)
    }

    fn load(&self) -> Loaded {
        config::load(&self.0.join("sekisho.toml"), 1, TODAY)
            .unwrap_or_else(|errors| panic!("{errors}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn asked(identity: &str, method: &str, path: &str, from: Option<&str>) -> ExplainArgs {
    ExplainArgs {
        config: Path::new("unused").to_owned(),
        identity: identity.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        listener: None,
        server_name: None,
        from: from.map(|text| text.parse().unwrap()),
        json: false,
    }
}

/// The text and the document of one explanation.
fn explained(loaded: &Loaded, words: &ExplainArgs) -> (String, serde_json::Value) {
    let case = Case::of(words, &loaded.snapshot).unwrap();
    let told = case.judge(TODAY);
    (told.text(&case), told.json(&case))
}

#[test]
fn priv_1_decision_role_quota_and_way_out_are_told() {
    let folder = Folder::new("decisions");
    let loaded = folder.load();
    let of = |who: &str, method: &str, path: &str, from: Option<&str>| {
        explained(&loaded, &asked(who, method, path, from))
    };

    let (text, document) = of("label-printer", "GET", ADDRESS, None);
    assert!(text.contains("ALLOWED by role shipping"), "{text}");
    assert!(text.contains("10 in 1 s, 300 in 1 min"), "{text}");
    assert!(text.contains("waits 5 s for its turn, 1 min if it asks"), "{text}");
    assert_eq!(document["amazon_quota"]["weight"], 1);
    assert_eq!(document["decision"], "allowed");
    assert_eq!(document["operation"], "orders/getOrderAddress");
    assert_eq!(document["quotas"][0]["windows"][1]["seconds"], 60);

    let (text, document) = of("analyst", "GET", ADDRESS, None);
    assert!(text.contains("REFUSED 403 Sekisho.OperationNotGranted (PRIV-1)"), "{text}");
    assert!(text.contains("roles that grant it: shipping"), "{text}");
    assert_eq!(document["roles_granting"], serde_json::json!(["shipping"]));

    let (text, document) = of("analyst", "GET", &format!("{LIST}&BuyerEmail=a"), None);
    assert!(text.contains("BuyerEmail is denied"), "{text}");
    assert_eq!(document["refusal"]["code"], "Sekisho.QueryNotGranted");

    let (text, _) = of("analyst", "PUT", LIST, None);
    assert!(text.contains("this path has an operation for GET"), "{text}");
    let (_, document) = of("analyst", "TRACE", LIST, None);
    assert_eq!(document["refusal"]["status"], 405);
    let (_, document) = of("analyst", "GET", "/orders/v0/../v0/orders", None);
    assert_eq!(document["refusal"]["detail"], "DotSegment");
}

#[test]
fn acc_4_a_call_that_takes_a_fresh_login_is_told_so() {
    let folder = Folder::new("logins");
    let person = "[identity.carer]\nkind = \"person\"\nowner = \"x\"\nnetworks = [\"office\"]\n\
                  roles = [\"care\", \"reporting\"]\n\
                  token = { issuer = \"corp\", subject = \"carer\" }\n";
    let more = format!(
        "{CONF}[step_up]\nwithin = \"10 min\"\noperations = [\"orders/getOrderAddress\"]\n\
         [role.care]\npurpose = \"answer customers\"\nstep_up = \"always\"\n\
         allow = [\"orders/getOrders\", \"orders/getOrderAddress\"]\n{person}\
         [[issuer]]\nname = \"corp\"\niss = \"https://issuer.sekisho.test\"\n\
         audiences = [\"sekisho\"]\nalgorithms = [\"ES256\"]\n\
         jwks = {{ file = \"tokens/signing.jwks\" }}\nenvironment = \"test\"\n"
    );
    std::fs::write(folder.0.join("sekisho.toml"), more).unwrap();
    let loaded = folder.load();
    let of = |who: &str, path: &str| explained(&loaded, &asked(who, "GET", path, None));
    let (text, document) = of("carer", ADDRESS);
    assert!(text.contains("ALLOWED by role care"), "{text}");
    let expect = "in the last 10 min, by step_up.operations and role.care.step_up;";
    assert!(text.contains(expect), "{text}");
    assert_eq!(document["fresh_login"]["within_seconds"], 600);
    let (_, document) = of("carer", LIST);
    assert_eq!(document["fresh_login"]["asked_by"], serde_json::json!(["role.care.step_up"]));
    let (_, document) = of("label-printer", ADDRESS);
    assert_eq!(document["fresh_login"]["asked_by"], serde_json::json!(["step_up.operations"]));
    let (text, document) = of("analyst", LIST);
    assert!(document["fresh_login"].is_null() && !text.contains("ACC-4"), "{text}");
}

#[test]
fn net_1_where_a_call_comes_from_is_judged_or_said_to_be_assumed() {
    let folder = Folder::new("networks");
    let loaded = folder.load();
    let of = |from| explained(&loaded, &asked("label-printer", "GET", "/orders/v0/orders", from));
    let (text, document) = of(None);
    assert!(text.contains("from vpc (assumed"), "{text}");
    assert_eq!(document["networks"], serde_json::json!(["vpc"]));
    assert_eq!(document["networks_assumed"], true);
    assert_eq!(document["decision"], "allowed");
    assert_eq!(of(Some("10.1.2.3")).1["decision"], "allowed");
    let (text, document) = of(Some("203.0.113.7"));
    assert!(text.contains("it may come from: vpc"), "{text}");
    assert_eq!(document["refusal"]["code"], "Sekisho.NetworkNotListed");
    let (text, document) = of(Some("198.51.100.1"));
    assert!(text.contains("closed before TLS"), "{text}");
    assert_eq!(document["refusal"]["code"], "AddressRefused");
}

#[test]
fn acc_3_the_operator_is_told_why_an_identity_may_not_enter() {
    let folder = Folder::new("standing");
    let loaded = folder.load();
    for (name, word) in [
        ("clerk", "left on Friday"),
        ("former", "2026-11-21"),
        ("rehearsal", "environment staging"),
    ] {
        let (text, document) = explained(&loaded, &asked(name, "GET", "/orders/v0/orders", None));
        assert!(text.contains(word), "{text}");
        assert_eq!(document["refusal"]["code"], "Sekisho.NoIdentity");
    }
    let (text, _) = explained(&loaded, &asked("leaving", "GET", "/orders/v0/orders", None));
    assert!(text.contains("leaving may enter"), "its last day: {text}");
}

#[test]
fn names_that_do_not_exist_are_answered_with_those_that_do() {
    let folder = Folder::new("names");
    let loaded = folder.load();
    let words = asked("label-printr", "GET", "/", None);
    let Err(failure) = Case::of(&words, &loaded.snapshot) else { panic!("found") };
    assert!(
        failure.to_string().contains("there is analyst, clerk, former, label-printer"),
        "{failure}"
    );
}

#[test]
fn spans_are_told_in_the_largest_unit() {
    let of = |seconds| span(std::time::Duration::from_secs(seconds));
    assert_eq!([of(1), of(90), of(60), of(7_200)], ["1 s", "90 s", "1 min", "2 h"]);
    assert_eq!([of(86_400), of(172_800)], ["1 day", "2 days"]);
}
