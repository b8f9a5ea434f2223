//! TLS-5 and ACC-3 as operators see them: what ages, and tokens that count for nothing.
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use sekisho::alarm::Severity;
use sekisho::engine::{Aged, AgedState};
use serde_json::Value;

use super::verbs::{printed, sekisho};
use super::{look, plan, world};
use crate::support::{ORDERS, World, bearing, error_of, get, now, until};

const DAY: u64 = 86_400;

async fn keys(world: &World) -> Vec<Value> {
    look(world, "viewer", "/v1/keys").await["items"].as_array().unwrap().clone()
}

#[track_caller]
fn one<'k>(keys: &'k [Value], kind: &str, owner: &str) -> &'k Value {
    let of = |key: &&Value| key["kind"] == kind && key["owner"] == owner;
    keys.iter().find(of).unwrap_or_else(|| panic!("no {kind} of {owner}: {keys:?}"))
}

fn raised(world: &World, alarm: &str) -> Vec<Value> {
    let mut all = world.events("alarm-raised");
    all.retain(|event| event["sekisho.alarm"] == alarm);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_the_age_of_every_key_is_known_and_told_ahead() {
    let world = World::with(plan("").by_hand()).await;
    let all = keys(&world).await;
    for (kind, owner, name) in [
        ("certificate", "listener", Some("apps")),
        ("key", "listener", Some("apps")),
        ("authority", "listener", Some("apps")),
        ("authority", "upstream", Some("amazon")),
        ("key-set", "issuer", Some("corp")),
        ("certificate", "api", None),
        ("key", "api", None),
        ("secret", "gateway", None),
    ] {
        let key = one(&all, kind, owner);
        assert_eq!(key["name"].as_str(), name, "{key}");
        assert_eq!(key["state"], "good", "{key}");
        assert!(key["age_secs"].as_u64().unwrap() < 2 * 3_600, "{key}");
    }
    let key = one(&all, "key", "listener");
    assert_eq!((&key["max_age_secs"], &key["expires"]), (&(90 * DAY).into(), &Value::Null));
    let series = |name: &str, labels: &str| world.metric(&format!("{name}{{{labels}}}"));
    let ends = "sekisho_key_not_after_timestamp_seconds";
    let now = world.gateway.engine.clock.now().unix_secs() as f64;
    for labels in [
        "kind=\"certificate\",name=\"apps\",owner=\"listener\"",
        "kind=\"certificate\",name=\"-\",owner=\"api\"",
        "kind=\"authority\",name=\"warehouse\",owner=\"upstream\"",
    ] {
        let left = series(ends, labels) - now;
        assert!((29.0..31.0).contains(&(left / DAY as f64)), "{labels}: {left}");
    }
    let begun = series(
        "sekisho_key_not_before_timestamp_seconds",
        "kind=\"key\",name=\"apps\",owner=\"listener\"",
    );
    assert!((now - begun) < 7_200.0, "{begun}");

    // The certificates live for thirty days.
    assert!(raised(&world, "certificate-expiring").is_empty());
    let mut seen = Vec::new();
    for (days, grade) in [(17, "medium"), (6, "high"), (6, "critical")] {
        world.advance(Duration::from_secs(days * DAY));
        until("it is told", || {
            raised(&world, "certificate-expiring").iter().any(|event| {
                event["sekisho.severity"] == grade && event["sekisho.listener"] == "apps"
            })
        })
        .await;
        seen.push(grade);
        assert_eq!(one(&keys(&world).await, "certificate", "listener")["state"], "ends-soon");
    }
    assert_eq!(raised(&world, "certificate-expiring")[0]["sekisho.control"], "TLS-5");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_key_that_is_too_old_is_told_of() {
    let short = "threads = 1\nkey_max_age = \"20 days\"";
    let world = World::with(plan("").replace("threads = 1", short).by_hand()).await;
    world.advance(Duration::from_secs(7 * DAY));
    until("it is told ahead", || !raised(&world, "key-too-old").is_empty()).await;
    assert_eq!(raised(&world, "key-too-old")[0]["sekisho.severity"], "low");
    world.advance(Duration::from_secs(13 * DAY));
    until("it is told", || {
        raised(&world, "key-too-old").iter().any(|event| event["sekisho.severity"] == "high")
    })
    .await;
    assert_eq!(one(&keys(&world).await, "key", "listener")["state"], "too-old");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_the_age_of_every_secret_is_known_and_told() {
    let world = World::with(plan("").by_hand()).await;
    let target = "[[alarm]]\nname = \"on-call\"\nkind = \"webhook\"\n\
                  url = \"https://localhost:1/hook\"\nca = \"pki/ca.pem\"\n\
                  secret = { file = \"alarm.secret\" }\n";
    let secret = world.dir.join("alarm.secret");
    std::fs::write(&secret, "0123456789abcdef").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(world.reload(|text| text + target).await);
    let table = [
        ("issuer-key", "issuer", Some("corp")),
        ("secret", "gateway", None),
        ("secret", "alarm", Some("on-call")),
        ("host-key", "gateway", None),
        ("permit-issuer", "gateway", None),
    ];
    let stand = async |state: &str| {
        let all = keys(&world).await;
        for (kind, owner, name) in table {
            let key = one(&all, kind, owner);
            assert_eq!((key["name"].as_str(), &key["state"]), (name, &state.into()), "{key}");
            assert_eq!(key["max_age_secs"], 365 * DAY, "{key}");
        }
        assert_eq!(one(&all, "authority", "alarm")["name"], "on-call");
    };
    stand("good").await;
    let begun = |labels: &str| {
        world.metric(&format!("sekisho_key_not_before_timestamp_seconds{{{labels}}}"))
    };
    for (kind, owner, name) in table {
        let name = name.unwrap_or("-");
        let labels = format!("kind=\"{kind}\",name=\"{name}\",owner=\"{owner}\"");
        let now = world.gateway.engine.clock.now().unix_secs() as f64;
        assert!((now - begun(&labels)).abs() < 7_200.0, "{labels}");
    }
    // Files are as old as they are; what is fetched is as old as it is known.
    let before = now().unix_secs() - 400 * DAY;
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(before);
    let files =
        ["alarm.secret", "state/pseudonym.key", "pki/permit/host.key", "pki/permit/issuer.pub"];
    for file in files {
        let file = std::fs::File::options().append(true).open(world.dir.join(file)).unwrap();
        file.set_modified(before).unwrap();
    }
    world.advance(Duration::from_secs(25 * DAY));
    assert!(world.reload(|text| text).await);
    let all = keys(&world).await;
    assert_eq!(one(&all, "secret", "alarm")["state"], "too-old");
    assert_eq!(one(&all, "issuer-key", "issuer")["state"], "good");
    // The permit is over by then, and so the API.
    world.advance(Duration::from_secs(345 * DAY));
    world.gateway.engine.check_conditions();
    let engine = &world.gateway.engine;
    for (kind, owner, _) in table {
        let all = engine.view_keys();
        let of = |aged: &&Aged| (aged.kind.as_str(), aged.owner.as_str()) == (kind, owner);
        let (state, severity) = all.iter().find(of).unwrap().stands(engine.clock.now());
        assert_eq!((state, severity), (AgedState::TooOld, Some(Severity::High)), "{kind}");
    }
    // Each of them for itself; that of the listener's and the API's keys is told of as well.
    until("they are told of", || {
        let told = raised(&world, "key-too-old");
        let issuers = told.iter().filter(|event| event["sekisho.issuer"] == "corp").count();
        issuers > 0 && told.len() >= table.len() + 2
    })
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_an_operator_denies_a_token_by_its_id() {
    let world = world().await;
    let token = world.token_with("analyst", |claims| {
        claims.extra.insert("jti".to_owned(), "4f2c7c52-8a0e".into());
    });
    let call = || bearing(get(ORDERS), &token);
    assert_eq!(world.call(&world.nobody(), call()).await.status, 200);
    let words = ["revoke", "--jti", "4f2c7c52-8a0e", "--case", "INC-2041"];
    let said = printed(&sekisho(&world, "operator", &words, "").await, 1);
    assert!(said.contains("standard input"), "{said}");
    let words = ["revoke", "--jti", "-", "--for", "1h", "--case", "INC-2041"];
    let said = printed(&sekisho(&world, "viewer", &words, "4f2c7c52-8a0e\n").await, 1);
    assert!(said.contains("operator"), "{said}");
    assert_eq!(world.call(&world.nobody(), call()).await.status, 200);
    let said = printed(&sekisho(&world, "operator", &words, "4f2c7c52-8a0e\n").await, 0);
    let hash = said.strip_prefix("done: lock on token-hash ").unwrap();
    let hash = hash.strip_suffix(", on every gateway\n").unwrap().to_owned();
    let refused = world.call(&world.nobody(), call()).await;
    assert_eq!(error_of(&refused).0, "Sekisho.TokenNotAccepted");
    let listed = printed(&sekisho(&world, "viewer", &["locks"], "").await, 0);
    assert!(listed.starts_with(&format!("token-hash\t{hash}\tlock\temergency\toperator\t")));
    assert!(!world.events("locked").is_empty());
    let words = ["unlock", "token-hash", &hash, "--reason", "false-alarm", "--case", "INC-2041"];
    printed(&sekisho(&world, "operator", &words, "").await, 0);
    assert_eq!(world.call(&world.nobody(), call()).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_the_verb_lists_what_ages() {
    let world = world().await;
    let listed = printed(&sekisho(&world, "viewer", &["keys"], "").await, 0);
    let row = |start: &str| listed.lines().find(|line| line.starts_with(start)).map(str::to_owned);
    let own = row("certificate\tlistener\tapps\t1\t0\t").expect(&listed);
    assert!(own.ends_with("\tgood"), "{own}");
    assert!(row("key-set\tissuer\tcorp\t1\t0\t").is_some(), "{listed}");
    let listed = printed(&sekisho(&world, "viewer", &["keys", "--json"], "").await, 0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["items"][0]["kind"], "certificate");
    world.finish().await;
}
