//! The whole set: who gets which certificate, and where its files lie.
use std::path::{Path, PathBuf};

use super::write::{Readable, directory, file};
use super::{DevCa, DevCertsError, DevHost, Existing, Leaf, LeafPlan, TokenSigner};
use crate::base::{Moment, Use};

/// What to make.
#[derive(Clone, Debug)]
pub struct PkiPlan {
    /// Names of client identities: 1 to 64 of `a-z 0-9 . _ -`, first a letter or digit. Each gets
    /// `spiffe://sekisho.test/<name>`.
    pub clients: Vec<String>,
    /// Names of operators of the gateway, in the same form. Each gets
    /// `spiffe://sekisho.test/operators/<name>`.
    pub operators: Vec<String>,
    /// More DNS names or addresses for the gateway's certificate, after `localhost`, `127.0.0.1`, `::1`.
    pub server_names: Vec<String>,
    /// The same for the mock upstream's.
    pub upstream_names: Vec<String>,
    /// What the host's permit is for, besides the names of the gateway's certificate.
    pub environment: String,
    pub listeners: Vec<String>,
}

impl Default for PkiPlan {
    fn default() -> Self {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            clients: own(&["label-printer", "order-importer", "stock-reader"]),
            operators: own(&["viewer", "operator", "officer", "second-officer"]),
            server_names: own(&["gateway.test"]),
            upstream_names: own(&["upstream.test"]),
            environment: "development".to_owned(),
            listeners: own(&["apps", "admin.api"]),
        }
    }
}

/// An authority that nobody trusts, with a server and a client of its own that claim the same names
/// as the real ones: for showing that names alone convince nobody.
#[derive(Debug)]
pub struct Rogue {
    pub ca: DevCa,
    pub server: Leaf,
    /// Claims the first client's SAN URI.
    pub client: Leaf,
}

/// Throw-away keys and certificates for one machine.
#[derive(Debug)]
pub struct DevPki {
    pub ca: DevCa,
    pub server: Leaf,
    pub upstream: Leaf,
    pub clients: Vec<(String, Leaf)>,
    pub operators: Vec<(String, Leaf)>,
    pub rogue: Rogue,
    /// The issuer's key.
    pub signer: TokenSigner,
    /// The key of another environment's issuer (PRIV-5).
    pub other_signer: TokenSigner,
    /// The machine that may end TLS.
    pub host: DevHost,
    /// Its permit, as planned.
    pub permit: String,
}

impl DevPki {
    /// Makes the set in memory.
    pub fn generate(plan: &PkiPlan, now: Moment) -> Result<Self, DevCertsError> {
        let ca = DevCa::new("Sekisho throw-away CA", now)?;
        let rogue = DevCa::new("Sekisho rogue CA", now)?;
        let mut clients = Vec::with_capacity(plan.clients.len());
        for name in &plan.clients {
            if !is_client_name(name) {
                return Err(DevCertsError::ClientName(name.clone()));
            }
            clients.push((name.clone(), ca.issue(&LeafPlan::client(name, now))?));
        }
        let mut operators = Vec::with_capacity(plan.operators.len());
        for name in &plan.operators {
            if !is_client_name(name) {
                return Err(DevCertsError::ClientName(name.clone()));
            }
            operators.push((name.clone(), ca.issue(&LeafPlan::operator(name, now))?));
        }
        let server_names = with_loopback(&plan.server_names);
        let host = DevHost::generate()?;
        let listeners: Vec<&str> = plan.listeners.iter().map(String::as_str).collect();
        let permit = host.claims(&plan.environment, &listeners, &server_names, now)?;
        let server = LeafPlan::server(&server_names, now);
        let upstream = LeafPlan::server(&with_loopback(&plan.upstream_names), now);
        let impostor = plan.clients.first().map_or("nobody", String::as_str);
        Ok(Self {
            server: ca.issue(&server)?,
            upstream: ca.issue(&upstream)?,
            clients,
            operators,
            rogue: Rogue {
                server: rogue.issue(&server)?,
                client: rogue.issue(&LeafPlan::client(impostor, now))?,
                ca: rogue,
            },
            ca,
            signer: TokenSigner::generate()?,
            other_signer: TokenSigner::generate()?,
            permit: host.issuer.sign(&permit),
            host,
        })
    }

    /// The certificate of a client named in the plan.
    #[must_use]
    pub fn client(&self, name: &str) -> Option<&Leaf> {
        self.clients.iter().find(|(own, _)| own == name).map(|(_, leaf)| leaf)
    }

    /// The certificate of an operator named in the plan.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<&Leaf> {
        self.operators.iter().find(|(own, _)| own == name).map(|(_, leaf)| leaf)
    }

    /// Writes every file of the [`Layout`] and returns the paths, in the order written.
    pub fn write(&self, dir: &Path, existing: Existing) -> Result<Vec<PathBuf>, DevCertsError> {
        let at = Layout::new(dir);
        let mut written = Vec::new();
        let mut put = |path: PathBuf, text: &str, readable| {
            directory(path.parent().unwrap_or(dir))?;
            file(&path, text, readable, existing)?;
            written.push(path);
            Ok::<(), DevCertsError>(())
        };
        let leaves = [
            (at.server(), &self.server),
            (at.upstream(), &self.upstream),
            (at.rogue_server(), &self.rogue.server),
            (at.rogue_client(), &self.rogue.client),
        ];
        let clients = self.clients.iter().map(|(name, leaf)| (at.client(name), leaf));
        let operators = self.operators.iter().map(|(name, leaf)| (at.operator(name), leaf));
        put(at.ca(), &self.ca.certificate_pem(), Readable::Everyone)?;
        put(at.rogue_ca(), &self.rogue.ca.certificate_pem(), Readable::Everyone)?;
        for ((certificate, key), leaf) in leaves.into_iter().chain(clients).chain(operators) {
            put(certificate, leaf.certificate_pem(), Readable::Everyone)?;
            put(key, leaf.key_pem().reveal_for(Use::Forward), Readable::Owner)?;
        }
        let signers = [(at.signing(), &self.signer), (at.other_signing(), &self.other_signer)];
        for ((jwks, key), signer) in signers {
            put(jwks, &signer.jwks(), Readable::Everyone)?;
            put(key, signer.key_pem().reveal_for(Use::Forward), Readable::Owner)?;
        }
        let issuer = format!("{}\n", self.host.issuer.public());
        put(at.permit(), &self.permit, Readable::Everyone)?;
        put(at.permit_issuer(), &issuer, Readable::Everyone)?;
        put(at.machine_id(), &format!("{}\n", self.host.machine_id), Readable::Everyone)?;
        put(at.host_key(), &self.host.key.to_pem(), Readable::Owner)?;
        let sealed = self.host.seal(self.server.key_pem().reveal_for(Use::Forward))?;
        put(at.sealed_server_key(), &sealed, Readable::Owner)?;
        Ok(written)
    }
}

/// Where the files lie. Pairs are (public part, private key).
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    #[must_use]
    pub fn server(&self) -> (PathBuf, PathBuf) {
        self.pair("server", "pem")
    }

    #[must_use]
    pub fn upstream(&self) -> (PathBuf, PathBuf) {
        self.pair("upstream", "pem")
    }

    /// `name` as in [`PkiPlan::clients`].
    #[must_use]
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        self.pair(&format!("clients/{name}"), "pem")
    }

    /// `name` as in [`PkiPlan::operators`].
    #[must_use]
    pub fn operator(&self, name: &str) -> (PathBuf, PathBuf) {
        self.pair(&format!("operators/{name}"), "pem")
    }

    #[must_use]
    pub fn rogue_ca(&self) -> PathBuf {
        self.dir.join("rogue/ca.pem")
    }

    #[must_use]
    pub fn rogue_server(&self) -> (PathBuf, PathBuf) {
        self.pair("rogue/server", "pem")
    }

    #[must_use]
    pub fn rogue_client(&self) -> (PathBuf, PathBuf) {
        self.pair("rogue/client", "pem")
    }

    #[must_use]
    pub fn signing(&self) -> (PathBuf, PathBuf) {
        self.pair("tokens/signing", "jwks")
    }

    #[must_use]
    pub fn other_signing(&self) -> (PathBuf, PathBuf) {
        self.pair("tokens/other-environment", "jwks")
    }

    #[must_use]
    pub fn permit(&self) -> PathBuf {
        self.dir.join("permit/host.permit")
    }

    #[must_use]
    pub fn permit_issuer(&self) -> PathBuf {
        self.dir.join("permit/issuer.pub")
    }

    #[must_use]
    pub fn machine_id(&self) -> PathBuf {
        self.dir.join("permit/machine-id")
    }

    #[must_use]
    pub fn host_key(&self) -> PathBuf {
        self.dir.join("permit/host.key")
    }

    /// The gateway's key, which only this host can open.
    #[must_use]
    pub fn sealed_server_key(&self) -> PathBuf {
        self.dir.join("permit/server.key.sealed")
    }

    // Built by appending, because a client's name may itself hold a dot.
    fn pair(&self, stem: &str, public: &str) -> (PathBuf, PathBuf) {
        (self.dir.join(format!("{stem}.{public}")), self.dir.join(format!("{stem}.key")))
    }
}

fn with_loopback(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    all.extend(
        names
            .iter()
            .filter(|name| !["localhost", "127.0.0.1", "::1"].contains(&name.as_str()))
            .cloned(),
    );
    all
}

fn is_client_name(name: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    name.len() <= 64
        && name.bytes().all(allowed)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}
