//! A world in memory: files, secrets, certificates, and a configuration without a mistake.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use zeroize::Zeroizing;

use crate::base::{Moment, Name, Secret};
use crate::config::{CommandFault, ConfigErrors, Loaded, Outside, ReadFault, load_from};
use crate::permit::{Claims, Fact, FactKind, NamePattern, Signer, machine_fact};
use crate::seal::{HostKey, RANDOM_BYTES, seal};

/// 2026-11-22T00:00:00Z.
pub(super) const TODAY: Moment = Moment::new(20_779 * 86_400_000, 0);

pub(super) const MAIN: &str = "/conf/sekisho.toml";

/// Holds every section; no mistake, no warning.
pub(crate) const GOOD: &str = r#"
[gateway]
environment = "production"
state_dir = "state"

[permit]
file = "permit/host.permit"
issuers = ["permit/issuer.pub"]

[network]
office = ["203.0.113.0/24", "2001:db8:1::/48"]
balancers = ["10.0.1.0/24"]

[[listener]]
name = "apps"
address = "0.0.0.0:8443"
networks = ["office"]
upstreams = ["amazon-fe", "warehouse"]
proxy_protocol = { from = ["balancers"] }
[listener.tls]
certificates = [{ certificate = "tls/a.pem", key = "tls/a.key" }]
client_ca = "tls/ca.pem"
client_auth = "optional"

[[upstream]]
name = "amazon-fe"
kind = "sp-api"
region = "fe"

[[upstream]]
name = "warehouse"
kind = "https"
endpoint = "https://warehouse.internal:8443"
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
environment_claim = "env"
jwks = { url = "https://login.example.com/jwks" }

[role.shipping]
purpose = "print labels"
allow = ["orders/getOrders", "warehouse/*:read"]
query = [{ operations = ["orders/*"], deny = ["BuyerEmail"] }]
limits = [{ operations = ["orders/*"], requests = ["10/s", "300/min"] }]

[identity.label-printer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://example.com/label-printer" }
networks = ["office"]
roles = ["shipping"]
review_by = 2027-01-31

[identity."hanako.yamada"]
kind = "person"
owner = "support@example.com"
token = { issuer = "corp", subject = "hanako" }
networks = ["office"]
roles = ["shipping"]
review_by = 2027-01-31

[token]
header = "authorization"

[log]
access = "stdout"

[[alarm]]
name = "on-call"
kind = "webhook"
url = "https://alerts.internal/hooks/sekisho"
secret = { env = "ALARM_SECRET" }
quiet = { hours = "22:00-07:00", utc_offset = "+09:00" }

[admin]
address = "127.0.0.1:9464"
"#;

/// Everything outside the process.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) exposed: BTreeSet<PathBuf>,
    pub(super) variables: BTreeMap<String, Vec<u8>>,
    pub(super) programs: BTreeMap<Vec<String>, Result<Vec<u8>, CommandFault>>,
    /// When files were written.
    pub(super) written: BTreeMap<PathBuf, u64>,
    /// Secrets that were asked for, whatever came of it.
    pub(super) asked: RefCell<Vec<PathBuf>>,
}

impl World {
    pub(super) fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(Path::new("/conf").join(path), content.as_ref().to_owned());
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, ConfigErrors> {
        load_from(self, Path::new(MAIN), 1, TODAY)
    }
}

/// The world around a main file with this text.
pub(crate) fn world(main: &str) -> World {
    let pki = pki();
    let mut world = World::default();
    let secret = ("ALARM_SECRET".to_owned(), b"0123456789abcdef\n".to_vec());
    world.variables.extend([secret]);
    world
        .with("/etc/machine-id", MACHINE_ID)
        .with("state/host.key", host_key().to_pem().as_bytes())
        .with("permit/issuer.pub", issuer().public().to_string())
        .with("permit/host.permit", issuer().sign(&claims()))
        .with("sekisho.toml", main)
        .with("tls/ca.pem", &pki.ca)
        .with("tls/a.pem", &pki.certificate)
        .with("tls/a.key", sealed(&pki.key))
        .with("tls/plain.key", &pki.key)
        .with("tls/other.key", &pki.other_key)
        .with("tls/expired.pem", &pki.expired)
        .with("tls/ending.pem", &pki.ending)
}

impl Outside for World {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        let bytes = self.files.get(path).ok_or(ReadFault::Missing)?;
        if bytes.len() as u64 > bytes_max { Err(ReadFault::TooLarge) } else { Ok(bytes.clone()) }
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        let names = self.files.keys().filter(|path| path.parent() == Some(directory));
        let names: Vec<String> =
            names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        if names.is_empty() { Err(ReadFault::Missing) } else { Ok(names) }
    }

    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        self.asked.borrow_mut().push(path.to_owned());
        if self.exposed.contains(path) {
            return Err(ReadFault::Exposed { mode: 0o644 });
        }
        self.read(path, 1 << 16).map(Zeroizing::new)
    }

    fn written(&self, path: &Path) -> Option<u64> {
        self.written.get(path).copied()
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.variables.get(name).cloned().map(Zeroizing::new)
    }

    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        let known = self.programs.get(words).cloned();
        known.unwrap_or(Err(CommandFault::NotStarted)).map(Zeroizing::new)
    }
}

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef\n";

pub(super) fn host_key() -> HostKey {
    HostKey::new(Secret::new([3; 32])).unwrap()
}

pub(super) fn issuer() -> Signer {
    Signer::new(Secret::new([4; 32])).unwrap()
}

/// Of a permit for the host of [`world`], good for 60 days.
pub(super) fn claims() -> Claims {
    let name = |text: &str| Name::parse(text).unwrap();
    Claims {
        serial: name("20261122-1"),
        environment: name("production"),
        issued: TODAY.unix_secs(),
        not_before: TODAY.unix_secs(),
        expires: TODAY.unix_secs() + 60 * 86_400,
        listeners: vec![name("apps"), name("admin.api")],
        server_names: ["gateway.example.com", "*.apps.example.com", "*.spapi.example.com"]
            .map(|name| NamePattern::parse(name).unwrap())
            .to_vec(),
        host: BTreeMap::from([
            (FactKind::Machine, machine_fact(MACHINE_ID.as_bytes()).unwrap()),
            (FactKind::SealingKey, Fact::parse(&host_key().public().to_string()).unwrap()),
        ]),
    }
}

pub(super) fn sealed(pem: &str) -> String {
    let random = Zeroizing::new([5; RANDOM_BYTES]);
    seal(pem.as_bytes(), &host_key().public(), &random).unwrap()
}

/// Certificates for `gateway.example.com`, made once.
pub(super) struct Pki {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) other_key: String,
    /// Of the same key, over since 2020.
    pub(super) expired: String,
    /// Of the same key, ending on 2026-12-01.
    pub(super) ending: String,
}

pub(super) fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let until = |year, month, day| {
            let names = [
                "gateway.example.com",
                "*.Apps.example.com",
                "fe.spapi.example.com",
                "eu.spapi.example.com",
            ];
            let names = names.map(str::to_owned).to_vec();
            let mut params = CertificateParams::new(names).unwrap();
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(year, month, day);
            params.signed_by(&key, &ca).unwrap().pem()
        };
        Pki {
            ca: ca.pem(),
            certificate: until(2099, 1, 1),
            expired: until(2020, 1, 1),
            ending: until(2026, 12, 1),
            key: key.serialize_pem(),
            other_key: KeyPair::generate().unwrap().serialize_pem(),
        }
    })
}

/// Line and column of a text's only occurrence, both from 1.
pub(super) fn position(text: &str, of: &str) -> (usize, usize) {
    let at = text.find(of).unwrap_or_else(|| panic!("{of:?} is not there"));
    assert_eq!(text.matches(of).count(), 1, "{of:?} is there several times");
    let before = text.get(..at).unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (line, column)
}

/// `GOOD` with one place changed.
pub(super) fn changed(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} must be there once");
    GOOD.replacen(from, to, 1)
}
