//! Every key of the configuration is compared as the table says, and every key is in the table.
use std::collections::BTreeSet;
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use toml::{Table, Value};

use super::support::{Pki, World, pki, sealed, world};
use crate::base::Secret;
use crate::config::Snapshot;
use crate::config::diff::{Direction, compare};
use crate::permit::Signer;

const TABLE: &str = include_str!("../diff/directions.txt");

/// Sections and lists whose entries have names.
const NAMED: [&str; 10] = [
    "network", "role", "limit", "identity", "operator", "listener", "upstream", "issuer", "alarm",
    "pass",
];

/// Something of every kind.
pub(super) const FULL: &str = r#"
[gateway]
environment = "production"
state_dir = "state"
[permit]
file = "permit/host.permit"
issuers = ["permit/issuer.pub"]
host_key = "state/host.key"
[network]
office = ["203.0.113.0/24"]
other = ["198.51.100.0/24"]
balancers = ["10.0.1.0/24"]
[[listener]]
name = "apps"
address = "0.0.0.0:8443"
networks = ["office"]
upstreams = ["amazon-fe", "warehouse", "depot"]
proxy_protocol = { from = ["balancers"] }
[listener.tls]
certificates = [{ certificate = "tls/a.pem", key = "tls/a.key" }]
client_ca = "tls/clients.pem"
client_auth = "optional"
[[listener.pass]]
name = "beside"
server_names = ["beside.example.net"]
targets = [{ name = "gw-3", address = "10.0.2.11:8443" }]
[[listener]]
name = "edge"
address = "0.0.0.0:9443"
networks = ["office"]
[[listener.pass]]
name = "shops"
server_names = ["shops.example.net"]
targets = [{ name = "gw-1", address = "10.0.2.10:8443" }]
[[upstream]]
name = "amazon-fe"
kind = "sp-api"
region = "fe"
[[upstream]]
name = "warehouse"
kind = "https"
endpoint = "https://warehouse.internal:8443"
ca = "tls/ca.pem"
[[upstream]]
name = "depot"
kind = "https"
endpoint = "https://depot.internal:8443"
ca = "tls/ca.pem"
[[operation]]
name = "warehouse/getStock"
upstream = "warehouse"
method = "GET"
path = "/stock/{sku}"
query = ["page"]
[[issuer]]
name = "corp"
iss = "https://login.example.com/"
audiences = ["sekisho"]
algorithms = ["ES256"]
jwks = { url = "https://login.example.com/jwks" }
[[issuer]]
name = "second"
iss = "https://second.example.com/"
audiences = ["sekisho"]
algorithms = ["ES256"]
jwks = { url = "https://second.example.com/jwks" }
[role.shipping]
purpose = "print labels"
allow = ["orders/getOrders", "warehouse/*"]
query = [{ operations = ["orders/*"], deny = ["BuyerEmail"] }]
limits = [{ operations = ["orders/*"], requests = ["10/s"] }]
[role.support]
purpose = "answer customers"
allow = ["orders/getOrders"]
[role.careful]
purpose = "answer customers who complain"
allow = ["orders/getOrders"]
step_up = "always"
[limit.all]
operations = ["orders/*"]
requests = ["100/s"]
[identity.label-printer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://example.com/label-printer" }
networks = ["office"]
roles = ["shipping"]
review_by = 2027-01-31
[identity.hanako]
kind = "person"
owner = "support@example.com"
token = { issuer = "corp", subject = "hanako" }
networks = ["office"]
roles = ["support"]
review_by = 2027-01-31
[state]
gateway = 3
[state.redis]
address = "redis.internal:6380"
server_name = "redis"
ca = "tls/ca.pem"
user = "sekisho-3"
password = { env = "ALARM_SECRET" }
secret = { file = "secrets/shared" }
[[alarm]]
name = "on-call"
kind = "webhook"
url = "https://alerts.internal/hooks/sekisho"
secret = { env = "ALARM_SECRET" }
quiet = { hours = "22:00-07:00", utc_offset = "+09:00" }
[admin]
address = "127.0.0.1:9464"
[admin.api]
address = "127.0.0.1:9465"
networks = ["office"]
tls = { certificate = "tls/a.pem", key = "tls/a.key", client_ca = "tls/clients.pem" }
two_people = ["kill"]
[operator.sato]
certificate = { san_uri = "spiffe://example.com/operators/sato" }
role = "security-officer"
"#;

/// The first example of RFC 7517.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","use":"sig","kid":"1",
"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

/// What [`FULL`] and the table refer to beside what every world has.
fn files() -> &'static [(&'static str, String)] {
    static FILES: OnceLock<Vec<(&str, String)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let crl = |serials: &[u64]| {
            let revoked = |serial: &u64| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: date_time_ymd(2026, 11, 1),
                reason_code: None,
                invalidity_date: None,
            };
            let list = CertificateRevocationListParams {
                this_update: date_time_ymd(2026, 11, 1),
                next_update: date_time_ymd(2027, 1, 1),
                crl_number: SerialNumber::from(1_u64),
                issuing_distribution_point: None,
                revoked_certs: serials.iter().map(revoked).collect(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            list.signed_by(&ca).unwrap().pem().unwrap()
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["client.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let client = params.signed_by(&key, &ca).unwrap().pem();
        let Pki { ca: servers, .. } = pki();
        let (one, two) = ("CANARY-0001\n", "CANARY-0002\n");
        vec![
            ("tls/clients.pem", ca.pem()),
            ("tls/both.pem", ca.pem() + servers),
            ("tls/one.crl", crl(&[1])),
            ("tls/two.crl", crl(&[1, 2])),
            ("tls/other.crl", crl(&[2])),
            ("tls/client.pem", client),
            ("tls/client.key", sealed(&key.serialize_pem())),
            ("secrets/shared", "9".repeat(32)),
            ("secrets/other", "8".repeat(32)),
            ("lists/long.denied", "token-1 2027-01-31\n".to_owned()),
            ("lists/short.denied", "token-1 2026-11-01\n".to_owned()),
            ("lists/jwks.json", KEYS.to_owned()),
            ("lists/more.json", KEYS.to_owned()),
            ("lists/other.pub", Signer::new(Secret::new([6; 32])).unwrap().public().to_string()),
            ("lists/two.canaries", [one, two].concat()),
            ("lists/three.canaries", [one, two, "CANARY-0003\n"].concat()),
            ("lists/others.canaries", [one, "CANARY-0003\n"].concat()),
            ("lists/many.canaries", [one, "CANARY-0003\nCANARY-0004\n"].concat()),
            ("lists/owned.canaries", [one, "CANARY-0002 hanako\n"].concat()),
        ]
    })
}

pub(super) fn full(text: &str) -> World {
    let mut world = world(text);
    for (path, content) in files() {
        world = world.with(path, content);
    }
    let secret = ("OTHER_SECRET".to_owned(), b"fedcba9876543210\n".to_vec());
    world.variables.extend([secret]);
    world
}

/// `-` takes it away.
fn put(at: &mut Value, path: &[&str], value: Option<Value>) {
    let (first, rest) = path.split_first().unwrap();
    let next = match at {
        Value::Array(list) => {
            let named = |one: &Value| one.get("name").and_then(Value::as_str) == Some(*first);
            let place = first.parse().ok().or_else(|| list.iter().position(named));
            &mut list[place.unwrap_or_else(|| panic!("no {first}"))]
        }
        Value::Table(table) if rest.is_empty() => {
            match value {
                Some(value) => table.insert((*first).to_owned(), value),
                None => table.remove(*first),
            };
            return;
        }
        Value::Table(table) => table.entry(*first).or_insert_with(|| Value::Table(Table::new())),
        other => panic!("{first} in {other}"),
    };
    put(next, rest, value);
}

/// [`FULL`] with what a cell of the table says of `path`.
fn with(path: &str, cell: &str) -> String {
    let mut all = Value::Table(FULL.parse().unwrap());
    let (own, others) = cell.split_once(" ;; ").unwrap_or((cell, ""));
    let others = others.split(" ;; ").filter(|other| !other.is_empty());
    let others = others.map(|other| other.split_once(" = ").unwrap());
    // A name that changes is looked for by the one before.
    for (path, text) in others.chain([(path, own)]) {
        let value = (text != "-").then(|| {
            let table: Table = format!("it = {text}").parse().unwrap();
            table["it"].clone()
        });
        put(&mut all, &path.split('.').collect::<Vec<_>>(), value);
    }
    toml::to_string(&all).unwrap()
}

fn snapshot(text: &str) -> Result<Snapshot, String> {
    full(text).load().map(|loaded| loaded.snapshot).map_err(|errors| errors.to_string())
}

fn effect(old: &Snapshot, new: &Snapshot) -> (&'static str, Vec<String>) {
    let diff = compare(old, new);
    let has = |direction| diff.lines.iter().any(|line| line.direction == direction);
    let word = match (has(Direction::Widens), has(Direction::Narrows)) {
        (true, true) => "both",
        (true, false) => "widens",
        (false, true) => "narrows",
        (false, false) if has(Direction::Neutral) => "neutral",
        (false, false) => "nothing",
    };
    (word, diff.lines.iter().map(super::diff::said).collect())
}

fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('|').map(str::trim).collect())
}

#[test]
fn priv_3_every_key_is_compared_as_the_table_says() {
    let mut wrong = Vec::new();
    for row in rows() {
        let [path, one, another, forth, back, _why] = row[..] else { panic!("{row:?}") };
        if one.is_empty() {
            continue;
        }
        let both = snapshot(&with(path, one))
            .and_then(|one| snapshot(&with(path, another)).map(|another| (one, another)));
        let (one, another) = match both {
            Ok(both) => both,
            Err(errors) => {
                wrong.push(format!("{path}: {errors}"));
                continue;
            }
        };
        for (expected, (told, lines)) in
            [(forth, effect(&one, &another)), (back, effect(&another, &one))]
        {
            if told != expected {
                wrong.push(format!("{path}: {told}, not {expected}: {lines:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them\n{}", wrong.len(), wrong.join("\n"));
}

/// The keys of a schema, with a point between.
fn keys(
    schema: &serde_json::Value,
    at: &serde_json::Value,
    path: &str,
    all: &mut BTreeSet<String>,
) {
    fn resolved<'s>(
        schema: &'s serde_json::Value,
        mut at: &'s serde_json::Value,
    ) -> &'s serde_json::Value {
        while let Some(to) = at["$ref"].as_str() {
            at = &schema["$defs"][to.rsplit('/').next().unwrap()];
        }
        at
    }
    let alternatives = |at: &'_ serde_json::Value| -> Vec<serde_json::Value> {
        let at = resolved(schema, at);
        let others = ["anyOf", "oneOf"].iter().filter_map(|key| at[key].as_array()).flatten();
        std::iter::once(at).chain(others.map(|other| resolved(schema, other))).cloned().collect()
    };
    let mut is_leaf = true;
    let ways = alternatives(at);
    for way in &ways {
        for (key, inner) in way["properties"].as_object().into_iter().flatten() {
            is_leaf = false;
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            keys(schema, inner, &path, all);
        }
        let inner = [&way["additionalProperties"], &way["items"]];
        for inner in inner.into_iter().filter(|inner| inner.is_object()) {
            if alternatives(inner).iter().any(|way| way["properties"].is_object()) {
                is_leaf = false;
                keys(schema, inner, path, all);
            }
        }
    }
    if is_leaf {
        all.insert(path.to_owned());
    }
}

#[test]
fn priv_3_every_key_is_in_the_table() {
    let schema = crate::config::schema();
    let mut all = BTreeSet::new();
    keys(&schema, &schema, "", &mut all);
    assert!(all.len() > 250, "{all:?}");
    let key = |row: &[&str]| {
        if row[1].is_empty() {
            return row[0].to_owned();
        }
        let mut is_name = false;
        let parts = row[0].split('.').filter(|part| {
            let kept = !is_name && part.parse::<usize>().is_err();
            is_name = kept && NAMED.contains(part);
            kept
        });
        parts.collect::<Vec<_>>().join(".")
    };
    let told: BTreeSet<String> = rows().map(|row| key(&row)).collect();
    // What is compared as one has one row.
    let below = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
    };
    let as_one = |outer: &&String| !told.iter().any(|inner| below(inner, outer));
    let missing: Vec<&String> = all
        .iter()
        .filter(|key| !told.contains(*key))
        .filter(|key| !told.iter().filter(as_one).any(|outer| below(key, outer)))
        .collect();
    assert!(missing.is_empty(), "not in directions.txt: {missing:?}");
    let unknown: Vec<&String> = told
        .iter()
        .filter(|told| !all.iter().any(|key| key == *told || below(key, told)))
        .collect();
    assert!(unknown.is_empty(), "no such keys: {unknown:?}");
}
