//! There is no way in but through TLS, by the listener's rules (TLS-1).
use std::os::unix::fs::PermissionsExt;

use rustls::AlertDescription;
use sekisho::mock::{Alpn, CallFault, Caller, TlsVersions};
use tokio::io::AsyncWriteExt;

use crate::support::{ORDERS, Plan, World, bearing, error_of, get};
use crate::wire::{all_closed, as_printer, counted, tcp, until_closed};

const AUTH: &str = "client_auth = \"optional\"\n";
const CERTIFICATES: &str =
    "certificates = [{ certificate = \"pki/server.pem\", key = \"pki/server.key\" }]";

async fn handshakes(world: &World, result: &str, value: u32) {
    let labels = format!("{{listener=\"apps\",result=\"{result}\"}}");
    counted(world, &format!("sekisho_handshakes_total{labels}"), value).await;
}

fn speaking(world: &World, versions: TlsVersions) -> Caller {
    world.caller(|config| {
        as_printer(world, config);
        config.versions = versions;
    })
}

/// The handshake, or the first call after it, ends with the alert that tells why.
async fn turned_away(world: &World, caller: &Caller, why: AlertDescription) {
    let result = caller.call(world.address(), get(ORDERS)).await;
    let Err(CallFault::Tls(rustls::Error::AlertReceived(alert))) = result else {
        panic!("{why:?} expected: {result:?}")
    };
    assert_eq!(alert, why);
    assert_eq!(world.amazon.total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_version_1_2_is_refused_unless_chosen() {
    let world = World::start().await;
    turned_away(&world, &speaking(&world, TlsVersions::Tls12), AlertDescription::ProtocolVersion)
        .await;
    handshakes(&world, "no_common_version", 1).await;
    let lines = world.events("handshake-failed");
    assert_eq!(lines[0]["sekisho.detail"], "no_common_version");
    assert_eq!(lines[0]["sekisho.control"], "TLS-1");
    let reply = world.call(&speaking(&world, TlsVersions::Both), get(ORDERS)).await;
    assert_eq!(world.line_of(&reply)["tls.version"], "1.3");
    world.finish().await;

    let chosen = format!("{AUTH}min_version = \"1.2\"\n");
    let world = World::with(Plan::default().replace(AUTH, &chosen)).await;
    for (versions, expect) in
        [(TlsVersions::Tls12, "1.2"), (TlsVersions::Tls13, "1.3"), (TlsVersions::Both, "1.3")]
    {
        let reply = world.call(&speaking(&world, versions), get(ORDERS)).await;
        assert_eq!(reply.status, 200);
        assert_eq!(world.line_of(&reply)["tls.version"], expect);
    }
    assert!(!world.reload(|text| text.replace("\"1.2\"", "\"1.1\"")).await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_client_certificates_are_asked_for_as_configured() {
    let rogue = |world: &World| {
        world.caller(|config| config.identity = Some(world.pki.rogue.client.clone()))
    };
    let required = Plan::default().replace(AUTH, "client_auth = \"required\"\n");
    let world = World::with(required).await;
    turned_away(&world, &world.nobody(), AlertDescription::CertificateRequired).await;
    turned_away(&world, &rogue(&world), AlertDescription::UnknownCA).await;
    all_closed(&world).await;
    handshakes(&world, "client_certificate", 2).await;
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    world.finish().await;

    let world = World::start().await;
    turned_away(&world, &rogue(&world), AlertDescription::UnknownCA).await;
    handshakes(&world, "client_certificate", 1).await;
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    let analyst = bearing(get(ORDERS), &world.token("analyst"));
    assert_eq!(world.call(&world.nobody(), analyst).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_a_certificate_that_nobody_asked_for_proves_nothing() {
    let plan = Plan::default()
        .replace("client_ca = \"pki/ca.pem\"\nclient_auth = \"optional\"\n", "")
        .replace(
            "certificate = { san_uri = \"spiffe://sekisho.test/label-printer\" }",
            "token = { issuer = \"corp\", subject = \"label-printer\" }",
        );
    let world = World::with(plan).await;
    let reply = world.call(&world.printer(), get(ORDERS)).await;
    assert_eq!((reply.status.as_u16(), error_of(&reply).0.as_str()), (401, "Sekisho.NoCredential"));
    let token = world.token("label-printer");
    assert_eq!(world.call(&world.printer(), bearing(get(ORDERS), &token)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_the_certificate_fits_the_name_asked_for() {
    let both = CERTIFICATES
        .replace("}]", "}, { certificate = \"pki/upstream.pem\", key = \"pki/upstream.key\" }]");
    let world = World::with(Plan::default().replace(CERTIFICATES, &both)).await;
    let named = |name: &str| {
        world.caller(|config| {
            as_printer(&world, config);
            name.clone_into(&mut config.server_name);
        })
    };
    let (server, upstream) = (world.pki.server.chain(), world.pki.upstream.chain());
    for (name, chain) in
        [("localhost", &server), ("gateway.test", &server), ("upstream.test", &upstream)]
    {
        let session = named(name).connect(world.address()).await.unwrap();
        assert_eq!(session.certificate(), chain.first(), "{name}");
        assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200, "{name}");
    }
    // No such name: the default, which the caller does not believe.
    assert!(named("shop-1.shop.test").stream(world.address()).await.is_err());

    // A further one, by a reload; who is connected stays so.
    let open = named("localhost").connect(world.address()).await.unwrap();
    let shop = rcgen::generate_simple_self_signed(["*.shop.test".to_owned()]).unwrap();
    let key = world.dir.join("pki/shop.key");
    std::fs::write(world.dir.join("pki/shop.pem"), shop.cert.pem()).unwrap();
    std::fs::write(&key, shop.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let third =
        both.replace("}]", "}, { certificate = \"pki/shop.pem\", key = \"pki/shop.key\" }]");
    assert!(world.reload(|text| text.replace(&both, &third)).await);
    let of_shop = |name: &str| {
        world.caller(|config| {
            as_printer(&world, config);
            name.clone_into(&mut config.server_name);
            config.trust = vec![shop.cert.der().clone()];
        })
    };
    let session = of_shop("shop-1.shop.test").connect(world.address()).await.unwrap();
    assert_eq!(session.certificate(), Some(shop.cert.der()));
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
    // A wildcard stands for one label.
    assert!(of_shop("a.b.shop.test").stream(world.address()).await.is_err());
    assert!(of_shop("shop.test").stream(world.address()).await.is_err());
    assert_eq!(open.call(get(ORDERS)).await.unwrap().status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_http_versions_are_agreed_in_the_handshake() {
    let world = World::start().await;
    let offering = |alpn| {
        world.caller(|config| {
            as_printer(&world, config);
            config.alpn = alpn;
        })
    };
    for (alpn, version, word) in [
        (Alpn::Both, http::Version::HTTP_2, "h2"),
        (Alpn::H2, http::Version::HTTP_2, "h2"),
        (Alpn::H1, http::Version::HTTP_11, "h1"),
        (Alpn::Absent, http::Version::HTTP_11, "h1"),
    ] {
        let reply = world.call(&offering(alpn), get(ORDERS)).await;
        assert_eq!((reply.status.as_u16(), reply.version), (200, version), "{alpn:?}");
        assert_eq!(world.line_of(&reply)["network.protocol"], word);
    }
    let fewer = format!("{AUTH}alpn = [\"http/1.1\"]\n");
    assert!(world.reload(|text| text.replace(AUTH, &fewer)).await);
    assert!(offering(Alpn::H2).stream(world.address()).await.is_err());
    let reply = world.call(&offering(Alpn::Both), get(ORDERS)).await;
    assert_eq!(reply.version, http::Version::HTTP_11);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_no_session_is_resumed() {
    let chosen = format!("{AUTH}min_version = \"1.2\"\n");
    let world = World::with(Plan::default().replace(AUTH, &chosen)).await;
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        // One caller keeps what the first handshake left it.
        let caller = speaking(&world, versions);
        for _ in 0..2 {
            let session = caller.connect(world.address()).await.unwrap();
            assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
            let kind = caller.stream(world.address()).await.unwrap().get_ref().1.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Full), "{versions:?}");
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_what_is_no_tls_is_closed() {
    let world = World::start().await;
    for bytes in [
        &b"GET /orders/v0/orders HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-client\r\n",
        &[0xff; 600],
        &[0; 40],
        // A TLS record of the wrong kind, and a hello with nothing sensible in it.
        b"\x17\x03\x03\x00\x05hello",
        b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00",
    ] {
        let mut stream = tcp("127.0.0.1", world.address()).await;
        stream.write_all(bytes).await.unwrap();
        let said = until_closed(&mut stream).await;
        // A TLS alert at most.
        assert!(said.is_empty() || (said[0] == 0x15 && said.len() == 7), "{said:?}");
    }
    all_closed(&world).await;
    handshakes(&world, "not_tls", 7).await;
    assert_eq!(world.amazon.total(), 0);
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_no_configuration_has_a_listener_without_tls() {
    let world = World::start().await;
    let path = world.dir.join("sekisho.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let start = good.find("[listener.tls]").unwrap();
    let end = good.find("[listener.bounds]").unwrap();
    let without = format!("{}{}", &good[..start], &good[end..]);
    for bad in [
        without,
        good.replace(CERTIFICATES, "certificates = []"),
        good.replace(CERTIFICATES, "enabled = false"),
    ] {
        assert_ne!(bad, good);
        assert!(!world.reload(|_| bad.clone()).await);
    }
    assert_eq!(world.events("config-refused").len(), 3);
    assert!(world.reload(|_| good).await);
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    world.finish().await;
}
