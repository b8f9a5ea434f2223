//! Every configuration in `conf/` is served as it is: only addresses, ports and folders of this machine
//! are put in, and the files that an operator brings are made. One granted and one refused request
//! each, and an address alone opens nothing (NET-2).
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::Method;
use sekisho::base::{Clock, Use};
use sekisho::cli::run::Running;
use sekisho::cli::watch::Watched;
use sekisho::config;
use sekisho::devcerts::{DevPki, Existing, Leaf, LeafPlan, PkiPlan, TokenClaims};
use sekisho::mock::{
    Call, Caller, CallerConfig, ClientAuth, Flow, MockConfig, MockHandle, MockSpApi, PLANTED,
    Personality, Reply,
};
use serde_json::Value;

use crate::support::{
    AUDIENCE, ISSUER, ORDERS, bearing, error_of, get, holds, log_text, now, scratch,
};

/// A copy of `conf/`, certificates for it, and a mock of Amazon.
struct Example {
    dir: PathBuf,
    pki: DevPki,
    amazon: MockHandle,
}

impl Example {
    async fn new() -> Self {
        let dir = scratch();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conf"), &dir.join("conf"));
        let pki = DevPki::generate(&PkiPlan::default(), now()).unwrap();
        let amazon = MockConfig::new(Personality::Amazon, pki.upstream.clone());
        Self { dir, pki, amazon: MockSpApi::start(amazon).await.unwrap() }
    }

    /// Replaces texts, each of which must be there.
    fn edit(&self, file: &str, changes: &[(&str, &str)]) {
        let path = self.dir.join("conf").join(file);
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{file} holds no {from:?} any more");
            text = text.replace(from, to);
        }
        std::fs::write(&path, text).unwrap();
    }

    fn put(&self, file: &str, content: &str) {
        let path = self.dir.join("conf").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let is_key = Path::new(file).extension().is_some_and(|end| end == "key" || end == "sealed");
        if is_key || file.contains("secrets/") {
            let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, owner).unwrap();
        }
    }

    /// A certificate and its key, under a name without extension.
    fn put_leaf(&self, stem: &str, leaf: &Leaf) {
        self.put(&format!("{stem}.pem"), leaf.certificate_pem());
        self.put(&format!("{stem}.key"), leaf.key_pem().reveal_for(Use::Forward));
        let sealed = self.pki.host.seal(leaf.key_pem().reveal_for(Use::Forward)).unwrap();
        self.put(&format!("{stem}.key.sealed"), &sealed);
    }

    /// A permit for production in a folder of `conf/`, and what the host shows, in `state`.
    fn permit(&self, folder: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let host = &self.pki.host;
        let claims = host.claims("production", &["apps", "admin.api"], &names, now()).unwrap();
        self.put(&format!("{folder}/host.permit"), &host.issuer.sign(&claims));
        self.put(&format!("{folder}/platform.pub"), &host.issuer.public().to_string());
        self.put("../machine-id", &host.machine_id);
        self.put("../state/host.key", &host.key.to_pem());
    }

    fn server(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.pki.ca.issue(&LeafPlan::server(&names, now())).unwrap()
    }

    fn client(&self, uri: Option<&str>, dns: Option<&str>) -> Leaf {
        let own = |name: Option<&str>| name.map(str::to_owned).into_iter().collect();
        let plan =
            LeafPlan { uris: own(uri), names: own(dns), ..LeafPlan::client("client", now()) };
        self.pki.ca.issue(&plan).unwrap()
    }

    /// The mock in place of Amazon's hosts.
    fn endpoints(&self, ca: &str) -> String {
        let url = format!("https://localhost:{}", self.amazon.address().port());
        format!("endpoint = \"{url}\"\ntoken_endpoint = \"{url}\"\nca = \"{ca}\"\n")
    }

    /// Where the gateway keeps and writes.
    fn folders(&self) -> [(&'static str, String); 3] {
        let at = |name: &str| format!("\"{}/{name}\"", self.dir.display());
        [
            ("\"/var/lib/sekisho\"", at("state")),
            ("\"/var/log/sekisho/access.log\"", at("access.log")),
            (
                "file = \"permit/host.permit\"",
                format!("file = \"permit/host.permit\"\nmachine_id = {}", at("machine-id")),
            ),
        ]
    }

    async fn serve(&self, file: &str) -> Served<'_> {
        let path = self.dir.join("conf").join(file);
        let clock = Clock::system();
        let loaded = config::load_from(&Watched::default(), &path, 1, clock.now())
            .unwrap_or_else(|errors| panic!("{errors}"));
        Served { example: self, gateway: Running::start(loaded, clock).await.unwrap() }
    }

    fn caller(&self, edit: impl FnOnce(&mut CallerConfig)) -> Caller {
        let mut config = CallerConfig::trusting(self.pki.ca.certificate());
        edit(&mut config);
        Caller::new(config).unwrap()
    }

    fn as_client(&self, leaf: &Leaf) -> Caller {
        self.caller(|config| config.identity = Some(leaf.clone()))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

struct Served<'e> {
    example: &'e Example,
    gateway: Running,
}

impl Served<'_> {
    fn address(&self) -> SocketAddr {
        self.gateway.address("apps").unwrap()
    }

    async fn call(&self, caller: &Caller, call: Call) -> Reply {
        caller.call(self.address(), call).await.unwrap()
    }

    async fn granted(&self, caller: &Caller, call: Call) -> Reply {
        let reply = self.call(caller, call).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    }

    async fn refused(&self, caller: &Caller, call: Call, status: u16, code: &str) {
        let reply = self.call(caller, call).await;
        let told = (reply.status.as_u16(), error_of(&reply).0);
        assert_eq!(told, (status, format!("Sekisho.{code}")), "{}", reply.text());
    }

    /// What an operator with this certificate may do, by the gateway's own word.
    async fn role(&self, leaf: &Leaf, server_name: Option<&str>) -> String {
        let caller = self.example.caller(|config| {
            config.identity = Some(leaf.clone());
            if let Some(name) = server_name {
                name.clone_into(&mut config.server_name);
            }
        });
        let me = caller.call(self.gateway.api.unwrap(), Call::get("/v1/me")).await.unwrap();
        me.json()["role"].as_str().unwrap().to_owned()
    }

    /// Stops it; what it wrote names as many requests as there were, and nobody.
    async fn stopped(self, requests: usize) {
        self.gateway.stop().await;
        let log = log_text(&self.example.dir);
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        let count = lines.filter(|line| line["event.dataset"] == "sekisho.access").count();
        assert_eq!(count, requests, "{log}");
        for planted in PLANTED {
            assert!(!holds(log.as_bytes(), planted), "{planted:?} is in the log");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_2_the_developer_s_configuration_serves() {
    let example = Example::new().await;
    example.pki.write(&example.dir.join("certs-dev"), Existing::Replace).unwrap();
    let mock = format!("https://127.0.0.1:{}", example.amazon.address().port());
    example.edit(
        "developer.toml",
        &[
            ("\"127.0.0.1:8443\"", "\"127.0.0.1:0\""),
            (
                "[admin.api]\naddress = \"127.0.0.1:9465\"",
                "[admin]\naddress = \"127.0.0.1:0\"\n[admin.api]\naddress = \"127.0.0.1:0\"",
            ),
            ("https://127.0.0.1:9443", &mock),
        ],
    );
    // Left out there: the defaults are a fixed port and standard output.
    let path = example.dir.join("conf/developer.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("\n[log]\naccess = { file = \"../access.log\" }\n");
    std::fs::write(&path, text).unwrap();
    let served = example.serve("developer.toml").await;

    let nobody = example.caller(|_| {});
    let claims = TokenClaims::new(ISSUER, "order-importer", AUDIENCE);
    let claims = TokenClaims { nbf: Some(0), ..claims };
    let token = example.pki.signer.sign(&claims, now()).unwrap();
    served.granted(&nobody, bearing(get(ORDERS), &token)).await;
    let printer = example.as_client(example.pki.client("label-printer").unwrap());
    let orders: Value = served.granted(&nobody, bearing(get(ORDERS), &token)).await.json();
    let order = orders["payload"]["Orders"][0]["AmazonOrderId"].as_str().unwrap().to_owned();
    served.granted(&printer, get(&format!("/orders/v0/orders/{order}/address"))).await;

    served.refused(&printer, get(ORDERS), 403, "OperationNotGranted").await;
    served.refused(&nobody, get(ORDERS), 401, "NoCredential").await;
    assert_eq!(
        served.role(example.pki.operator("officer").unwrap(), None).await,
        "security-officer"
    );
    served.stopped(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_2_the_shop_s_configuration_serves() {
    let example = Example::new().await;
    let warehouse = example.server(&["warehouse.internal"]);
    let warehouse = MockSpApi::start(MockConfig {
        client_auth: ClientAuth::Required(vec![example.pki.ca.certificate()]),
        ..MockConfig::new(Personality::Warehouse, warehouse)
    });
    let warehouse = warehouse.await.unwrap();
    let ca = example.pki.ca.certificate_pem();
    example.put("tls/clients-ca.pem", &ca);
    example.put("tls/warehouse-ca.pem", &ca);
    example.put_leaf("tls/gateway", &example.pki.server);
    example.permit("permit", &["localhost", "gateway.test"]);
    example.put_leaf("tls/to-warehouse", &example.client(None, Some("gateway.test")));
    let addresses = format!("addresses = [\"{}\"]", warehouse.address());
    let amazon = format!("region = \"fe\"\n{}", example.endpoints("tls/warehouse-ca.pem"));
    let [state, log, permit] = example.folders();
    example.edit(
        "shop.toml",
        &[
            ("\"0.0.0.0:8443\"", "\"127.0.0.1:0\""),
            ("\"127.0.0.1:9464\"", "\"127.0.0.1:0\""),
            ("region = \"fe\"\n", &amazon),
            ("addresses = [\"10.0.0.5:8443\", \"10.0.0.6:8443\"]", &addresses),
            (state.0, &state.1),
            (log.0, &log.1),
            (permit.0, &permit.1),
        ],
    );
    let served = example.serve("shop.toml").await;

    let import = example.client(Some("spiffe://shop.example.com/order-import"), None);
    let import = example.as_client(&import);
    served.granted(&import, get(ORDERS)).await;
    let by_mail = format!("{ORDERS}&BuyerEmail=x%40example.com");
    served.refused(&import, get(&by_mail), 403, "QueryNotGranted").await;
    served.refused(&import, Call::get("/stock/A-1"), 403, "OperationNotGranted").await;

    let printer = example.client(None, Some("label-printer.shop.example.com"));
    let printer = example.as_client(&printer);
    let stock = Flow::whole("{\"quantity\": 3}");
    let book = Call { body: stock, ..Call::new(Method::PUT, "/stock/A-1") };
    let booked = served.call(&printer, book.header("content-type", "application/json")).await;
    assert!(booked.status.is_success(), "{} {}", booked.status, booked.text());
    served.granted(&printer, Call::get("/stock/A-1")).await;
    served.refused(&printer, get(ORDERS), 403, "OperationNotGranted").await;

    // A listed address and no certificate: there is not even a connection.
    let before = example.amazon.total();
    let nobody = example.caller(|_| {}).call(served.address(), get(ORDERS)).await;
    assert!(nobody.is_err(), "{nobody:?}");
    assert_eq!(example.amazon.total(), before);
    served.stopped(6).await;
}

/// The platform's configuration, ready to be served behind 127.0.0.1 as the balancer.
fn platform(example: &Example, crm: &MockHandle) {
    let ca = example.pki.ca.certificate_pem();
    example.put("platform/tls/clients-ca.pem", &ca);
    example.put("platform/tls/internal-ca.pem", &ca);
    example.put_leaf("platform/tls/gateway", &example.server(&["gateway.example.com"]));
    let regions = ["fe.spapi.example.com", "eu.spapi.example.com"];
    example.put_leaf("platform/tls/spapi", &example.server(&regions));
    example.permit("platform/permit", &["gateway.example.com", "*.spapi.example.com"]);
    example.put("platform/keys/corp.jwks", &example.pki.signer.jwks());
    example.put("platform/secrets/alarm-webhook", "0123456789abcdef0123456789abcdef\n");
    let amazon = example.endpoints("tls/internal-ca.pem");
    let (fe, eu) = (format!("region = \"fe\"\n{amazon}"), format!("region = \"eu\"\n{amazon}"));
    let crm = format!("kind = \"https\"\naddresses = [\"{}\"]\n", crm.address());
    let [state, log, permit] = example.folders();
    example.edit(
        "platform/sekisho.toml",
        &[
            ("\"0.0.0.0:8443\"", "\"127.0.0.1:0\""),
            ("balancers = [\"10.0.1.0/24\"]", "balancers = [\"127.0.0.1\"]"),
            ("region = \"fe\"\n", &fe),
            ("region = \"eu\"\n", &eu),
            ("kind = \"https\"\n", &crm),
            ("[admin.api]\naddress = \"0.0.0.0:9465\"\nnetworks = [\"office\"]", "[admin]\naddress = \"127.0.0.1:0\"\n[admin.api]\naddress = \"127.0.0.1:0\"\nnetworks = [\"balancers\"]"),
            ("https://alerts.internal/", "https://127.0.0.1:1/"),
            ("http://127.0.0.1:9093", "http://127.0.0.1:1"),
            (state.0, &state.1),
            (log.0, &log.1),
            (permit.0, &permit.1),
        ],
    );
    // The contract's last day; the rest of the year's dates only warn.
    example
        .edit("platform/policy/support.toml", &[("expires = 2027-12-31", "expires = 2199-12-31")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn net_2_the_platform_s_configuration_serves() {
    let example = Example::new().await;
    let crm = MockConfig::new(Personality::Warehouse, example.server(&["crm.internal"]));
    let crm = MockSpApi::start(crm).await.unwrap();
    crm.serve("/tickets/42", "application/json", "{}");
    platform(&example, &crm);
    let served = example.serve("platform/sekisho.toml").await;

    let through = |client: &str, name: &str, identity: Option<&Leaf>| {
        example.caller(|config| {
            config.preamble = format!("PROXY TCP4 {client} 10.0.1.1 50000 8443\r\n").into_bytes();
            config.server_name = name.to_owned();
            config.identity = identity.cloned();
        })
    };
    let token = |subject: &str, edit: fn(&mut TokenClaims)| {
        let mut claims = TokenClaims::new("https://login.example.com/", subject, AUDIENCE);
        claims.nbf = Some(0);
        claims.env = Some("production".to_owned());
        claims.extra.insert("tenant".to_owned(), Value::from("example"));
        edit(&mut claims);
        claims
    };
    let sign = |claims: TokenClaims| example.pki.signer.sign(&claims, now()).unwrap();

    let sync = example.client(Some("spiffe://example.com/fulfilment/order-sync"), None);
    for region in ["fe.spapi.example.com", "eu.spapi.example.com"] {
        let sync = through("10.20.1.2", region, Some(&sync));
        served.granted(&sync, get(ORDERS)).await;
        served.refused(&sync, get("/orders/v0/orders/1/address"), 403, "OperationNotGranted").await;
    }
    let elsewhere = through("203.0.113.7", "fe.spapi.example.com", Some(&sync));
    served.refused(&elsewhere, get(ORDERS), 403, "NetworkNotListed").await;

    // Its token counts with its certificate only.
    let printer = example.client(Some("spiffe://example.com/fulfilment/label-printer"), None);
    let mut bound = token("label-printer", |_| {});
    bound.cnf = Some(printer.sha256());
    let bound = sign(bound);
    let list: Value = {
        let sync = through("10.20.1.2", "fe.spapi.example.com", Some(&sync));
        served.granted(&sync, get(ORDERS)).await.json()
    };
    let order = list["payload"]["Orders"][0]["AmazonOrderId"].as_str().unwrap().to_owned();
    let address = format!("/orders/v0/orders/{order}/address");
    let with = through("10.21.0.9", "fe.spapi.example.com", Some(&printer));
    served.granted(&with, bearing(get(&address), &bound)).await;
    let without = through("10.21.0.9", "fe.spapi.example.com", None);
    served.refused(&without, bearing(get(&address), &bound), 401, "TokenNotAccepted").await;

    // People, with tokens alone, from the office.
    let desk = through("203.0.113.7", "gateway.example.com", None);
    let hanako = sign(token("8c1f0a52", |_| {}));
    served.granted(&desk, bearing(Call::get("/tickets/42"), &hanako)).await;
    let taro = sign(token("b7729e10", |_| {}));
    let note = Call::post("/tickets/42/notes", Flow::whole("{}"));
    served.refused(&desk, bearing(note, &taro), 403, "OperationNotGranted").await;
    let test = sign(token("8c1f0a52", |claims| claims.env = Some("test".to_owned())));
    let reply = served.call(&desk, bearing(Call::get("/tickets/42"), &test)).await;
    assert_eq!(reply.status, 401, "PRIV-5: {}", reply.text());
    served.refused(&desk, Call::get("/tickets/42"), 401, "NoCredential").await;

    // Neither in the VPC nor in the office: no TLS at all.
    let stranger = through("192.0.2.1", "gateway.example.com", None);
    assert!(stranger.connect(served.address()).await.is_err());
    let mori = example.client(Some("spiffe://example.com/operators/mori"), None);
    assert_eq!(served.role(&mori, Some("gateway.example.com")).await, "security-officer");
    served.stopped(12).await;
}
