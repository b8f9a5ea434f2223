//! A file that is of no use holds up nobody's leaving, and what it held before goes on (TLS-5, ACC-3).
use std::os::unix::fs::PermissionsExt;

use sekisho::alarm::{Aspect, Kind};
use sekisho::base::Name;
use sekisho::config;
use sekisho::devcerts::{Leaf, LeafPlan, Says};
use sekisho::engine::{AgedKind, AgedState as State};

use super::DAY;
use super::staple::{CERTIFIED, STAPLED, TRY_LATER, around_now, install, stapled};
use crate::support::{ORDERS, Plan, World, bearing, get, now, until};

/// Somebody whose subject changes with each change, so that one token after the other is out.
struct Leavers(u32);

impl Leavers {
    /// The leaver's token, and a change that takes them off.
    fn next(&mut self, world: &World) -> (String, impl Fn(String) -> String + use<>) {
        let name = |number: u32| match number {
            0 => "analyst".to_owned(),
            number => format!("analyst-{number}"),
        };
        let (was, is) = (name(self.0), name(self.0 + 1));
        self.0 += 1;
        let token = world.token(&was);
        let subject = |name: &str| format!("subject = \"{name}\"");
        (token, move |text| text.replace(&subject(&was), &subject(&is)))
    }
}

async fn status(world: &World, token: &str) -> u16 {
    world.call(&world.nobody(), bearing(get(ORDERS), token)).await.status.as_u16()
}

fn state(world: &World, kind: AgedKind) -> Option<State> {
    let all = world.gateway.engine.view_keys();
    let aged = all.iter().find(|aged| aged.kind == kind)?;
    Some(aged.stands(world.gateway.engine.clock.now()).0)
}

async fn alarmed(world: &World, kind: AgedKind) {
    world.gateway.engine.check_conditions();
    until("the alarm", || {
        world.events("alarm-raised").iter().any(|event| {
            (&event["sekisho.alarm"], &event["sekisho.listener"])
                == (&"file-unusable".into(), &"apps".into())
        })
    })
    .await;
    assert_eq!(state(world, kind), Some(State::Unusable));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_staple_of_no_use_holds_nothing_up_and_no_start() {
    let world = World::start().await;
    let from = now().unix_secs();
    let revoked = Says::Revoked(from - DAY);
    let revoked = world.pki.ca.ocsp_response(&world.pki.server, revoked, around_now()).unwrap();
    let mut leavers = Leavers(0);
    for (bytes, says) in [
        (&TRY_LATER[..], "holds no answer of the responder"),
        (&revoked, "says that the certificate is revoked"),
        (b"<html>502 Bad Gateway</html>", "is no OCSP response"),
    ] {
        std::fs::write(world.dir.join("server.ocsp"), bytes).unwrap();
        let (token, farewell) = leavers.next(&world);
        assert_eq!(status(&world, &token).await, 200);
        assert!(
            world.reload(|text| farewell(text).replacen(CERTIFIED, STAPLED, 1)).await,
            "{says}"
        );
        assert_eq!(status(&world, &token).await, 401, "{says}: a leaver is still in");
        assert_eq!(stapled(&world).await, b"", "{says}");
        alarmed(&world, AgedKind::Staple).await;
    }
    std::fs::remove_file(world.dir.join("server.ocsp")).unwrap();
    // Nor is a start refused.
    let world = world.restart().await;
    assert_eq!(stapled(&world).await, b"");
    assert_eq!(state(&world, AgedKind::Staple), Some(State::Unusable));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_certificate_of_no_use_holds_nothing_up() {
    let world = World::start().await;
    let (at, ca) = (now().unix_secs(), &world.pki.ca);
    let shown = world.pki.server.chain().remove(0);
    let plan = |from: u64| LeafPlan {
        not_before: from,
        not_after: at + 30 * DAY,
        ..LeafPlan::server(&["localhost".to_owned()], now())
    };
    let good = ca.issue(&plan(at - 60)).unwrap();
    let later = ca.issue(&plan(at + DAY)).unwrap();
    let (own, above) = (good.certificate_pem().to_owned(), ca.certificate_pem());
    let half = own[..own.len() / 2].to_owned();
    let cases: [(String, &Leaf, u32, &str); 6] = [
        (own.clone(), &later, 0o600, "the private key does not belong to the certificate"),
        (half, &good, 0o600, "broken PEM"),
        (String::new(), &good, 0o600, "holds no certificate"),
        (above + &own, &good, 0o600, "is not signed by certificate 2"),
        (later.certificate_pem().to_owned(), &later, 0o600, "is not in force yet"),
        (own.clone(), &good, 0o644, "can be read or changed by others"),
    ];
    let mut leavers = Leavers(0);
    for (certificate, leaf, mode, says) in &cases {
        install(&world, certificate, leaf);
        let key = world.dir.join("pki/server.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(*mode)).unwrap();
        let (token, farewell) = leavers.next(&world);
        assert_eq!(status(&world, &token).await, 200, "{says}");
        assert!(world.reload(farewell).await, "{says}");
        assert_eq!(status(&world, &token).await, 401, "{says}: a leaver is still in");
        let fresh = world.printer().connect(world.address()).await.unwrap();
        assert_eq!(fresh.certificate(), Some(&shown), "{says}");
        alarmed(&world, AgedKind::Certificate).await;
        // With nothing that could stay it is a mistake.
        let errors = config::load(&world.dir.join("sekisho.toml"), 9, now()).unwrap_err();
        assert!(errors.to_string().contains(says), "{says}: {errors}");
    }
    // Neither is there a certificate of which the file was never read.
    let other = |text: String| text.replace("pki/server.pem", "pki/another.pem");
    std::fs::write(world.dir.join("pki/another.pem"), "nothing").unwrap();
    assert!(!world.reload(other).await);
    let back = |text: String| text.replace("pki/another.pem", "pki/server.pem");
    install(&world, &own, &good);
    assert!(world.reload(back).await);
    let fresh = world.printer().connect(world.address()).await.unwrap();
    assert_eq!(fresh.certificate(), good.chain().first());
    assert_eq!(state(&world, AgedKind::Certificate), Some(State::Good));
    // What stays is still the host's permit's to open.
    install(&world, "nothing", &good);
    std::fs::remove_file(world.dir.join("pki/permit/host.permit")).unwrap();
    assert!(world.reload(|text| text).await);
    assert!(world.printer().connect(world.address()).await.is_err());
    world.finish().await;
}

/// Of a certificate that is renewed before its permit: what was covered goes on until that comes.
#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_name_that_the_permit_lacks_takes_no_certificate_down() {
    let world = World::start().await;
    let shown = world.pki.server.chain().remove(0);
    let names = ["localhost", "gateway.test", "more.test"].map(str::to_owned);
    let more = world.pki.ca.issue(&LeafPlan::server(&names, now())).unwrap();
    let permit = |names: &[String]| {
        let claims = world.pki.host.claims("test", &["apps"], names, now()).unwrap();
        let document = world.pki.host.issuer.sign(&claims);
        std::fs::write(world.dir.join("pki/permit/host.permit"), document).unwrap();
    };
    let fresh = async || world.printer().connect(world.address()).await;
    install(&world, more.certificate_pem(), &more);
    let mut leavers = Leavers(0);
    for _ in 0..2 {
        let (token, farewell) = leavers.next(&world);
        assert_eq!(status(&world, &token).await, 200);
        assert!(world.reload(farewell).await);
        assert_eq!(status(&world, &token).await, 401, "a leaver is still in");
        assert_eq!(fresh().await.unwrap().certificate(), Some(&shown));
        alarmed(&world, AgedKind::Certificate).await;
    }
    permit(&names);
    assert!(world.reload_as_it_is().await);
    assert_eq!(fresh().await.unwrap().certificate(), more.chain().first());
    assert_eq!(state(&world, AgedKind::Certificate), Some(State::Good));
    // One that covers nothing of what was there closes it, and so it stays.
    permit(&names[..2]);
    for _ in 0..2 {
        assert!(world.reload_as_it_is().await);
        assert!(fresh().await.is_err());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_client_s_certificate_of_no_use_holds_nothing_up() {
    let world = World::start().await;
    let copy = |from: &str, to: &str| {
        std::fs::copy(world.dir.join(from), world.dir.join(to)).unwrap();
    };
    copy("pki/server.pem", "own.pem");
    copy("pki/server.key", "own.key");
    let (mark, own) = (
        "\nendpoint = \"https://localhost",
        "\nclient_certificate = { certificate = \"own.pem\", key = \"own.key\" }\nendpoint = \
         \"https://localhost",
    );
    assert!(world.reload(|text| text.replacen(mark, own, 1)).await);
    copy("pki/upstream.key", "own.key");
    let (token, farewell) = Leavers(0).next(&world);
    assert_eq!(status(&world, &token).await, 200);
    assert!(world.reload(farewell).await);
    assert_eq!(status(&world, &token).await, 401, "a leaver is still in");
    let all = world.gateway.engine.view_keys();
    let unusable = all
        .iter()
        .filter(|aged| aged.stands(world.gateway.engine.clock.now()).0 == State::Unusable);
    assert_eq!(unusable.count(), 1);
    world.finish().await;
}

/// Who is trusted, who is denied, where a network is: none of it is empty because its file is, and
/// nothing else waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_list_of_no_use_holds_nobody_s_leaving_up_and_opens_nothing() {
    let plan = Plan::default()
        .fill("token", "denied = { file = \"denied.jti\" }")
        .file("denied.jti", "stolen\n")
        .replace("office = [\"127.0.0.2\", \"127.0.0.3\"]", "office = { file = \"office.net\" }")
        .file("office.net", "127.0.0.2\n127.0.0.3\n");
    let world = World::with(plan).await;
    let stolen = world.token_with("limited-caller", |claims| {
        claims.extra.insert("jti".to_owned(), "stolen".into());
    });
    let clerk = world.token("office-clerk");
    let from = |source: &str, token: &str| {
        let source = Some(source.parse().unwrap());
        let caller = world.caller(|config| config.source = source);
        let call = bearing(get(ORDERS), token);
        let world = &world;
        async move { world.call(&caller, call).await.status.as_u16() }
    };
    let as_before = async || {
        assert_eq!(from("127.0.0.3", &stolen).await, 401, "a denied token counts");
        assert_eq!(from("127.0.0.2", &clerk).await, 200, "no network, no key, or no upstream");
        assert_eq!(from("127.0.0.4", &clerk).await, 403);
        assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    };
    as_before().await;
    let cases: [(&str, AgedKind, &[&[u8]]); 4] = [
        ("denied.jti", AgedKind::DeniedTokens, &[b"stolen 2027-1-", b"\xff\xfe"]),
        ("office.net", AgedKind::Network, &[b"127.0.0.2\n127.0.", b"\xff"]),
        ("pki/tokens/signing.jwks", AgedKind::KeySet, &[b"", b"{\"keys\": ["]),
        ("pki/ca.pem", AgedKind::Authority, &[b"", b"-----BEGIN CERTIFICATE-----\nMIIB"]),
    ];
    let mut leavers = Leavers(0);
    for (file, kind, contents) in cases {
        let path = world.dir.join(file);
        let whole = std::fs::read(&path).unwrap();
        for content in contents.iter().map(|content| Some(*content)).chain([None]) {
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let (token, farewell) = leavers.next(&world);
            assert_eq!(status(&world, &token).await, 200, "{file}");
            assert!(world.reload(farewell).await, "{file}");
            assert_eq!(status(&world, &token).await, 401, "{file}: a leaver is still in");
            as_before().await;
            assert_eq!(state(&world, kind), Some(State::Unusable), "{file}");
            world.gateway.engine.check_conditions();
            until("the alarm", || {
                let recent = world.gateway.engine.alarms.recent();
                recent.iter().map(|recent| &recent.alarm).any(|alarm| {
                    let detail = alarm.name(Aspect::Detail).map(Name::as_str);
                    alarm.kind == Kind::FileUnusable && detail == Some(kind.as_str())
                })
            })
            .await;
            // With nothing that could stay it is a mistake.
            assert!(config::load(&world.dir.join("sekisho.toml"), 9, now()).is_err(), "{file}");
        }
        std::fs::write(&path, whole).unwrap();
        assert!(world.reload_as_it_is().await);
        as_before().await;
        assert_ne!(state(&world, kind), Some(State::Unusable), "{file}");
    }
    // Of a file that was never read there is nothing that could stay.
    for (from, to) in [
        ("denied.jti", "other.jti"),
        ("office.net", "other.net"),
        ("pki/tokens/signing.jwks", "pki/tokens/other.jwks"),
        ("client_ca = \"pki/ca.pem\"", "client_ca = \"pki/other.pem\""),
    ] {
        let path = world.dir.join("sekisho.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        assert!(!world.reload(|text| text.replace(from, to)).await, "{from}");
        std::fs::write(&path, text).unwrap();
    }
    world.finish().await;
}
