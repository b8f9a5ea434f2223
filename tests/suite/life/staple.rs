//! What clients are shown of our own certificates: swapped while connections go on, refused when they
//! are wrong, with the authority's word stapled (TLS-5).
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sekisho::base::ControlId::Tls5;
use sekisho::base::Use;
use sekisho::config::{self, ConfigError};
use sekisho::devcerts::{Leaf, LeafPlan, Says};
use sekisho::mock::Session;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::DAY;
use crate::support::{ORDERS, Plan, World, bearing, get, now, until};

/// Verifies as usual, and keeps what was stapled.
#[derive(Debug)]
struct Watcher {
    inner: Arc<WebPkiServerVerifier>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl ServerCertVerifier for Watcher {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap() = stapled.to_vec();
        self.inner.verify_server_cert(leaf, above, name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What a client is shown beside the certificate.
pub(super) async fn stapled(world: &World) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(world.pki.ca.certificate()).unwrap();
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let seen = Arc::default();
    let watcher = Watcher { inner: inner.build().unwrap(), seen: Arc::clone(&seen) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(watcher))
        .with_no_client_auth();
    let tcp = TcpStream::connect(world.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let shown = seen.lock().unwrap();
    shown.clone()
}

/// An OCSP response of a responder that has no time (RFC 6960 §2.3).
pub(super) const TRY_LATER: [u8; 5] = [0x30, 3, 0x0a, 1, 3];
pub(super) const CERTIFIED: &str = "key = \"pki/server.key\" }";
pub(super) const STAPLED: &str = "key = \"pki/server.key\", ocsp = \"server.ocsp\" }";

pub(super) fn around_now() -> (u64, u64) {
    (now().unix_secs() - 3_600, now().unix_secs() + DAY)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_clients_are_shown_what_the_authority_says() {
    let world = World::start().await;
    assert_eq!(stapled(&world).await, b"");
    let answer = |says, times| world.pki.ca.ocsp_response(&world.pki.server, says, times).unwrap();
    let write = |bytes: &[u8]| std::fs::write(world.dir.join("server.ocsp"), bytes).unwrap();
    let good = answer(Says::Good, around_now());
    write(&good);
    assert!(world.reload(|text| text.replacen(CERTIFIED, STAPLED, 1)).await);
    assert_eq!(stapled(&world).await, good);

    let (path, from) = (world.dir.join("sekisho.toml"), now().unix_secs());
    let other = world.pki.ca.ocsp_response(&world.pki.upstream, Says::Good, around_now()).unwrap();
    // The one before stays; not where the authority says otherwise now.
    for (bytes, says, shown) in [
        (other, "speaks of another certificate", &good[..]),
        (b"nonsense".to_vec(), "is no OCSP response", &good),
        (TRY_LATER.to_vec(), "holds no answer of the responder", &good),
        (answer(Says::Unknown, around_now()), "does not know the certificate", b""),
        (good.clone(), "", &good),
        (answer(Says::Revoked(from - DAY), around_now()), "the certificate is revoked", b""),
    ] {
        write(&bytes);
        let warnings = config::load(&path, 9, now()).unwrap().warnings;
        let told = |one: &ConfigError| one.found.contains(says) && one.control == Some(Tls5);
        assert_eq!(warnings.iter().any(told), !says.is_empty(), "{says}: {warnings:?}");
        assert!(world.reload(|text| text).await, "{says}");
        assert_eq!(stapled(&world).await, shown, "{says}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_staple_is_shown_in_its_time_only() {
    let world = World::with(Plan::default().by_hand()).await;
    let good = world.pki.ca.ocsp_response(&world.pki.server, Says::Good, around_now()).unwrap();
    std::fs::write(world.dir.join("server.ocsp"), &good).unwrap();
    assert!(world.reload(|text| text.replacen(CERTIFIED, STAPLED, 1)).await);
    world.advance(Duration::from_secs(DAY - 60));
    assert_eq!(stapled(&world).await, good);
    // Nobody has renewed it, and nothing is read again.
    world.advance(Duration::from_secs(120));
    assert_eq!(stapled(&world).await, b"");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_staple_out_of_its_time_holds_nothing_up() {
    let world = World::start().await;
    let from = now().unix_secs();
    let answer = |times| world.pki.ca.ocsp_response(&world.pki.server, Says::Good, times).unwrap();
    let token = world.token("analyst");
    let mut on_list = "subject = \"analyst\"".to_owned();
    for (times, says) in [
        ((from - 2 * DAY, from - DAY), "is out of date"),
        ((from + DAY, from + 2 * DAY), "begins to count later"),
    ] {
        std::fs::write(world.dir.join("server.ocsp"), answer(times)).unwrap();
        // Somebody leaves, and is out.
        let (before, after) = (on_list.clone(), on_list.replace("analyst", "analyst-no-more"));
        on_list.clone_from(&after);
        let change = |text: String| text.replacen(CERTIFIED, STAPLED, 1).replace(&before, &after);
        assert!(world.reload(change).await, "{says}");
        let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
        assert_eq!(reply.status, 401, "{says}");
        assert_eq!(stapled(&world).await, b"", "{says}");
        let loaded = config::load(&world.dir.join("sekisho.toml"), 9, now()).unwrap();
        assert!(
            loaded.warnings.iter().any(|one| one.found.contains(says)),
            "{:?}",
            loaded.warnings
        );
        world.gateway.engine.check_conditions();
        // Whoever looks at the same time may have found it first, and raises it then.
        let critical = "sekisho_alarms_raised_total{severity=\"critical\"}";
        until(says, || world.metric(critical) >= 1.0).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_staple_must_be_signed_by_the_authority_that_is_shown() {
    let world = World::start().await;
    let chain = world.pki.server.certificate_pem().to_owned() + &world.pki.ca.certificate_pem();
    std::fs::write(world.dir.join("pki/server.pem"), chain).unwrap();
    let mut bytes =
        world.pki.ca.ocsp_response(&world.pki.server, Says::Good, around_now()).unwrap();
    std::fs::write(world.dir.join("server.ocsp"), &bytes).unwrap();
    assert!(world.reload(|text| text.replacen(CERTIFIED, STAPLED, 1)).await);
    assert_eq!(stapled(&world).await, bytes);
    // Somewhere in the signature, which stands at the end.
    let last = bytes.len() - 4;
    let good = bytes.clone();
    bytes[last] ^= 1;
    std::fs::write(world.dir.join("server.ocsp"), &bytes).unwrap();
    assert!(world.reload(|text| text).await);
    assert_eq!(stapled(&world).await, good);
    world.finish().await;
}

pub(super) fn install(world: &World, certificate: &str, leaf: &Leaf) {
    std::fs::write(world.dir.join("pki/server.pem"), certificate).unwrap();
    let key = world.dir.join("pki/server.key");
    std::fs::write(&key, leaf.key_pem().reveal_for(Use::Forward)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_wrong_certificate_is_not_swapped_in_and_the_reason_is_told() {
    let world = World::with(Plan::default()).await;
    let (at, ca) = (now().unix_secs(), &world.pki.ca);
    let shown = world.pki.server.chain().remove(0);
    let printer = world.printer();
    let open = printer.connect(world.address()).await.unwrap();
    let plan = |from: u64, to: u64| LeafPlan {
        not_before: from,
        not_after: to,
        ..LeafPlan::server(&["localhost".to_owned()], now())
    };
    let good = ca.issue(&plan(at - 60, at + 30 * DAY)).unwrap();
    let later = ca.issue(&plan(at + DAY, at + 30 * DAY)).unwrap();
    let over = ca.issue(&plan(at - 30 * DAY, at - DAY)).unwrap();
    let (own, above) = (good.certificate_pem().to_owned(), ca.certificate_pem());
    let stranger = world.pki.rogue.ca.certificate_pem();
    let path = world.dir.join("sekisho.toml");
    let cases: [(String, &Leaf, u32, &str); 5] = [
        (own.clone(), &over, 0o600, "the private key does not belong to the certificate"),
        (
            above.clone() + &own,
            &good,
            0o600,
            "certificate 1 of the file is not signed by certificate 2",
        ),
        (
            own.clone() + &stranger + &above,
            &good,
            0o600,
            "certificate 1 of the file is not signed by certificate 2, but by certificate 3",
        ),
        (later.certificate_pem().to_owned(), &later, 0o600, "the certificate is not in force yet"),
        (own.clone(), &good, 0o644, "can be read or changed by others"),
    ];
    for (certificate, leaf, mode, says) in &cases {
        install(&world, certificate, leaf);
        let key = world.dir.join("pki/server.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(*mode)).unwrap();
        let errors = config::load(&path, 9, now()).unwrap_err().to_string();
        assert!(errors.contains(says), "{says}: {errors}");
        assert!(world.reload(|text| text).await, "{says}");
        let fresh = printer.connect(world.address()).await.unwrap();
        assert_eq!(fresh.certificate(), Some(&shown), "{says}");
    }
    install(&world, &(own + &above), &good);
    assert!(world.reload(|text| text).await);
    let fresh = printer.connect(world.address()).await.unwrap();
    assert_eq!(fresh.certificate(), good.chain().first());
    // Whoever was connected has noticed nothing of all this.
    assert_eq!(open.call(get(ORDERS)).await.unwrap().status, 200);
    assert_eq!(open.certificate(), Some(&shown));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_an_expired_certificate_takes_nothing_down_and_holds_nothing_up() {
    let world = World::with(Plan::default().by_hand()).await;
    let (at, ca) = (now().unix_secs(), &world.pki.ca);
    let plan = |name: &str, to: u64| LeafPlan {
        not_before: at - 30 * DAY,
        not_after: to,
        ..LeafPlan::server(&[name.to_owned()], now())
    };
    let write = |leaf: &Leaf| {
        std::fs::write(world.dir.join("own.pem"), leaf.certificate_pem()).unwrap();
        let key = world.dir.join("own.key");
        std::fs::write(&key, leaf.key_pem().reveal_for(Use::Forward)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let caller = |name: &str| {
        world.caller(|config| {
            config.server_name = name.to_owned();
            config.identity = world.pki.client("label-printer").cloned();
        })
    };
    let good = ca.issue(&plan("own.shop.test", at + 2 * DAY)).unwrap();
    write(&good);
    let two = "key = \"pki/server.key\" }, { certificate = \"own.pem\", key = \"own.key\" }";
    assert!(world.reload(|text| text.replacen(CERTIFIED, two, 1)).await);
    let shown = |session: &Session| session.certificate().cloned();
    let own = caller("own.shop.test").connect(world.address()).await.unwrap();
    assert_eq!(shown(&own), good.chain().first().cloned());
    // An older one is copied over it: the one in force goes on, and the rest is taken.
    write(&ca.issue(&plan("own.shop.test", at - DAY)).unwrap());
    let out = |text: String| text.replace("\"analyst\" }", "\"another\" }");
    assert!(world.reload(out).await);
    let token = world.token("analyst");
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
    assert_eq!(reply.status, 401, "a leaver is still in");
    let own = caller("own.shop.test").connect(world.address()).await.unwrap();
    assert_eq!(shown(&own), good.chain().first().cloned());
    // Both are over: its own name is refused, and no other.
    world.advance(Duration::from_secs(3 * DAY));
    assert!(world.reload(|text| text).await);
    assert!(caller("own.shop.test").connect(world.address()).await.is_err());
    let other = caller("localhost").connect(world.address()).await.unwrap();
    assert_eq!(shown(&other), world.pki.server.chain().first().cloned());
    world.gateway.engine.check_conditions();
    let critical = "sekisho_alarms_raised_total{severity=\"critical\"}";
    until("the alarm", || world.metric(critical) >= 1.0).await;
    // Nothing was found wrong with the permit.
    assert_eq!(world.events("tls-withheld").len(), 0);
    // And a start is no different.
    let world = world.restart().await;
    let caller = world.printer();
    assert!(caller.connect(world.address()).await.is_ok());
    world.finish().await;
}
