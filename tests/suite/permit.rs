//! Host permits on a gateway that runs (TLS-3, PRIV-5): nothing is ended without one, it ends by time
//! without cutting anybody off, and a new one is taken up without a restart.
mod pods;
mod process;
mod withdrawn;

use std::path::PathBuf;
use std::time::Duration;

use sekisho::base::{Name, Secret};
use sekisho::mock::Session;
use sekisho::permit::{Claims, Signer};

use crate::support::{ORDERS, Plan, World, bearing, get, until};

const DAY: Duration = Duration::from_secs(86_400);

fn path(world: &World) -> PathBuf {
    world.dir.join("pki/permit/host.permit")
}

/// A permit of the world's issuer for its host, from now on.
fn issued(world: &World, edit: impl FnOnce(&mut Claims)) -> String {
    let now = world.gateway.engine.clock.now();
    let names = ["localhost", "gateway.test"].map(str::to_owned);
    let mut claims = world.pki.host.claims("test", &["apps"], &names, now).unwrap();
    edit(&mut claims);
    world.pki.host.issuer.sign(&claims)
}

async fn install(world: &World, document: impl AsRef<[u8]>) -> bool {
    std::fs::write(path(world), document).unwrap();
    world.reload(|text| text).await
}

async fn open(world: &World) -> Session {
    world.printer().connect(world.address()).await.unwrap()
}

async fn serves(session: &Session) {
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
}

/// No handshake is answered; `why` is told at the door.
async fn closed(world: &World, why: &str) {
    let series = "sekisho_connections_refused_total{listener=\"apps\",reason=\"no_permit\"}";
    let before = world.metric(series);
    assert!(world.printer().connect(world.address()).await.is_err(), "{why}: TLS was ended");
    until("the refusal at the door", || world.metric(series) > before).await;
    let told = world.events("tls-not-permitted");
    let last = told.last().unwrap_or_else(|| panic!("{why}: nothing was told"));
    assert_eq!((&last["sekisho.detail"], &last["sekisho.listener"]), (&why.into(), &"apps".into()));
    assert_eq!(last["sekisho.control"], "TLS-3");
    assert_eq!(world.metric("sekisho_listener_ends_tls{listener=\"apps\"}"), 0.0);
    assert_eq!(world.gateway.engine.readiness(), Err("this host has no permit to end TLS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_no_permit_no_tls_until_one_comes() {
    let none = Plan::default().replace("host.permit", "none.permit");
    let world = World::with(none).await;
    closed(&world, "missing").await;
    assert_eq!(world.events("permit-refused")[0]["sekisho.detail"], "missing");
    assert_eq!(world.metric("sekisho_permit_seconds"), 0.0);
    assert_eq!(world.metric("sekisho_alarms_raised_total{severity=\"critical\"}"), 1.0);
    // It comes, and nothing is restarted.
    std::fs::copy(path(&world), world.dir.join("pki/permit/none.permit")).unwrap();
    assert!(world.reload(|text| text).await);
    serves(&open(&world).await).await;
    assert!(world.metric("sekisho_permit_seconds") > 29.0 * 86_400.0);
    assert_eq!(world.metric("sekisho_listener_ends_tls{listener=\"apps\"}"), 1.0);
    assert_eq!(world.gateway.engine.readiness(), Ok(()));
    let accepted = world.events("permit-accepted");
    assert!(accepted[0]["sekisho.permit"].as_str().unwrap().starts_with("dev-"), "{accepted:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_permit_ends_by_time_and_cuts_nobody_off() {
    let kept = Plan::default().replace("[log]\n", "[log]\nrotate_every = \"30 days\"\n");
    let world = World::with(kept.by_hand()).await;
    let document = issued(&world, |claims| claims.expires = claims.issued + 20 * 86_400);
    assert!(install(&world, &document).await);
    let session = open(&world).await;
    let told = |world: &World| {
        world.gateway.engine.check_conditions();
        world.events("permit-ending").len()
    };
    let mut steps = vec![told(&world)];
    for _ in 0..20 {
        world.advance(DAY);
        steps.push(told(&world));
        serves(&session).await;
    }
    // 14, 7 and 1 days ahead, once each; the day of issue began an hour before.
    let first = |count: usize| steps.iter().position(|told| *told == count);
    assert_eq!([1, 2, 3].map(first), [6, 13, 19].map(Some), "{steps:?}");
    assert_eq!(steps[20], 3, "{steps:?}");
    let ended = world.events("permit-ended");
    assert_eq!(ended.len(), 1, "{ended:?}");
    closed(&world, "expired").await;
    serves(&session).await;
    // Not even by the wall clock.
    let now = world.gateway.engine.clock.now().unix_ms();
    world.hand.as_ref().unwrap().jump_wall_to(now - 10 * 86_400_000);
    closed(&world, "expired").await;
    // What it opened is forgotten when the configuration is read again, as the process then does.
    assert!(world.gateway.engine.permit_is_due());
    assert!(world.reload(|text| text).await);
    closed(&world, "expired").await;
    serves(&session).await;
    world.hand.as_ref().unwrap().jump_wall_to(now);
    let fresh = issued(&world, |_| {});
    assert!(install(&world, fresh).await);
    serves(&open(&world).await).await;
    serves(&session).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_permit_that_is_none_here_replaces_no_valid_one() {
    let world = World::start().await;
    let whole = std::fs::read(path(&world)).unwrap();
    let session = open(&world).await;
    let other = issued(&world, |claims| {
        claims.environment = Name::parse("production").unwrap();
    });
    let mut flipped = whole.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 1;
    for (bad, why) in [
        (&whole[..whole.len() / 2], "torn"),
        (&flipped, "signature"),
        (other.as_bytes(), "other_environment"),
        (&vec![b'x'; 1 << 20], "too_large"),
    ] {
        assert!(install(&world, bad).await);
        serves(&open(&world).await).await;
        let told = world.events("permit-kept");
        assert_eq!(told.last().unwrap()["sekisho.detail"], why);
    }
    assert_eq!(world.events("permit-kept").len(), 4);
    // Whatever else changes is taken, so that a leaver is out all the same; nothing is told twice.
    let token = world.token("analyst");
    let analyst = async || {
        let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
        reply.status.as_u16()
    };
    let allowed = analyst().await;
    assert!(world.reload(|text| text.replace("\"analyst\" }", "\"another\" }")).await);
    assert_eq!((allowed, analyst().await), (200, 401));
    assert_eq!(world.events("permit-kept").len(), 4);
    assert_eq!(world.events("config-refused").len(), 0);
    // Taken away, it is withdrawn.
    std::fs::remove_file(path(&world)).unwrap();
    assert!(world.reload(|text| text).await);
    closed(&world, "missing").await;
    serves(&session).await;
    // From here on a bad one changes nothing either way.
    assert!(install(&world, &flipped).await);
    closed(&world, "signature").await;
    assert!(install(&world, &whole).await);
    serves(&open(&world).await).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_an_issuer_that_is_trusted_no_more_ends_its_permits() {
    let world = World::start().await;
    let session = open(&world).await;
    let (own, other) = ("pki/permit/issuer.pub", Signer::new(Secret::new([9; 32])).unwrap());
    let successor = other.public().to_string();
    // While both are trusted, a permit of either counts.
    let both = format!("{own}\", \"{successor}");
    assert!(world.reload(|text| text.replace(own, &both)).await);
    serves(&open(&world).await).await;
    assert!(world.reload(|text| text.replace(&both, &successor)).await);
    closed(&world, "unknown_issuer").await;
    assert_eq!(world.events("permit-refused")[0]["sekisho.detail"], "unknown_issuer");
    serves(&session).await;
    let now = world.gateway.engine.clock.now();
    let names = ["localhost", "gateway.test"].map(str::to_owned);
    let claims = world.pki.host.claims("test", &["apps"], &names, now).unwrap();
    assert!(install(&world, other.sign(&claims)).await);
    serves(&open(&world).await).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_permit_is_withdrawn_and_renewed_whatever_waits_or_is_broken() {
    let world = World::start().await;
    let token = world.token("analyst");
    let analyst = async || {
        let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
        reply.status.as_u16()
    };
    let edit = |from: &str, to: &str| {
        let path = world.dir.join("sekisho.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let on_request = "\n[reload]\napply = \"on-request\"\n";
    assert!(world.reload(|text| text + on_request).await);
    // Files changed that wait to be asked for: they do, and the permit is renewed.
    edit("subject = \"analyst\"", "subject = \"another\"");
    let renewed = issued(&world, |claims| claims.expires = claims.issued + 60 * 86_400);
    std::fs::write(path(&world), &renewed).unwrap();
    assert!(world.gateway.files_changed().await);
    assert!(!world.gateway.files_changed().await, "it was taken twice");
    assert!(world.metric("sekisho_permit_seconds") > 55.0 * 86_400.0);
    serves(&open(&world).await).await;
    assert_eq!(analyst().await, 200);
    // One that leaves a name out closes it.
    let narrow = issued(&world, |claims| claims.server_names.truncate(1));
    std::fs::write(path(&world), narrow).unwrap();
    assert!(world.gateway.files_changed().await);
    closed(&world, "not_listed").await;
    std::fs::write(path(&world), &renewed).unwrap();
    assert!(world.reload_as_it_is().await);
    assert_eq!(analyst().await, 401);
    // What can't be used withdraws nothing, and keeps nothing from being withdrawn.
    edit("[log]", "[lag]");
    assert!(!world.reload_as_it_is().await);
    serves(&open(&world).await).await;
    // Nor does an issuer's key file beside them.
    let keys = world.dir.join("pki/tokens/signing.jwks");
    let whole = std::fs::read(&keys).unwrap();
    std::fs::write(&keys, &whole[..whole.len() / 2]).unwrap();
    let longer = issued(&world, |claims| claims.expires = claims.issued + 80 * 86_400);
    std::fs::write(path(&world), longer).unwrap();
    assert!(!world.reload_as_it_is().await);
    assert!(world.metric("sekisho_permit_seconds") > 75.0 * 86_400.0);
    std::fs::remove_file(path(&world)).unwrap();
    assert!(!world.reload_as_it_is().await);
    closed(&world, "missing").await;
    std::fs::write(path(&world), &renewed).unwrap();
    std::fs::write(&keys, &whole).unwrap();
    edit("[lag]", "[log]");
    assert!(world.reload_as_it_is().await);
    serves(&open(&world).await).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_permit_whose_time_comes_is_taken_up_by_itself() {
    let world = World::with(Plan::default().by_hand()).await;
    let soon = issued(&world, |claims| claims.not_before += 3_660);
    assert!(install(&world, &soon).await);
    assert_eq!(world.events("permit-kept")[0]["sekisho.detail"], "not_yet");
    serves(&open(&world).await).await;
    world.advance(Duration::from_secs(30));
    assert!(!world.gateway.engine.permit_is_due());
    world.advance(Duration::from_secs(60));
    assert!(world.gateway.engine.permit_is_due());
    assert!(world.gateway.files_changed().await);
    let accepted = world.events("permit-accepted");
    assert_eq!(accepted.len(), 2, "{accepted:?}");
    assert!(!world.gateway.engine.permit_is_due());
    world.finish().await;
}

/// Nobody changed anything, so nothing of it is somebody's to ask for.
#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_permit_whose_time_comes_after_the_start_opens_what_it_covers() {
    let lines = "[reload]\napply = \"on-request\"";
    let world = World::with(Plan::default().fill("more", lines).by_hand()).await;
    let token = world.token("analyst");
    let soon = issued(&world, |claims| claims.not_before += 3_660);
    std::fs::write(path(&world), soon).unwrap();
    let world = world.restart().await;
    closed(&world, "not_yet").await;
    // What waits to be asked for waits on.
    let file = world.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("subject = \"analyst\"", "subject = \"another\"")).unwrap();
    assert!(!world.gateway.files_changed().await);
    world.advance(Duration::from_secs(90));
    assert!(world.gateway.engine.permit_is_due());
    assert!(world.gateway.files_changed().await);
    serves(&open(&world).await).await;
    assert_eq!(world.gateway.engine.readiness(), Ok(()));
    assert!(!world.gateway.engine.permit_is_due());
    let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
    assert_eq!(reply.status, 200);
    world.finish().await;
}

/// Nobody reloads where files wait to be asked for, and of what a program reveals nobody sees a change.
#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_permit_whose_time_comes_while_something_can_t_be_read_waits_on() {
    for apply in ["on-change", "on-request"] {
        let lines = format!("[reload]\napply = \"{apply}\"");
        let world = World::with(Plan::default().fill("more", &lines).by_hand()).await;
        let soon = issued(&world, |claims| claims.not_before += 3_660);
        std::fs::write(path(&world), soon).unwrap();
        let [config, file, aside] = ["sekisho.toml", "secret", "aside"].map(|f| world.dir.join(f));
        let text = std::fs::read_to_string(&config).unwrap();
        let target = format!(
            "[[alarm]]\nname = \"on-call\"\nkind = \"webhook\"\nca = \"pki/ca.pem\"\n\
             url = \"https://localhost:1/hook\"\nsecret = {{ command = [\"/bin/cat\", {file:?}] }}\n"
        );
        std::fs::write(&config, format!("{text}\n{target}")).unwrap();
        std::fs::write(&file, "s3cret-".repeat(8)).unwrap();
        let world = world.restart().await;
        closed(&world, "not_yet").await;
        std::fs::rename(&file, &aside).unwrap();
        let mut refused = 0;
        for pause in [90, 20, 40] {
            world.advance(Duration::from_secs(pause - 1));
            assert!(pause == 90 || !world.gateway.engine.permit_is_due(), "{apply}");
            world.advance(Duration::from_secs(1));
            assert!(world.gateway.engine.permit_is_due(), "{apply}");
            assert!(!world.gateway.files_changed().await, "{apply}");
            closed(&world, "not_yet").await;
            let told = world.events("config-refused").len();
            assert!(told > refused, "{apply}");
            refused = told;
        }
        std::fs::rename(&aside, &file).unwrap();
        world.advance(Duration::from_secs(80));
        assert!(world.gateway.engine.permit_is_due());
        assert!(world.gateway.files_changed().await, "{apply}");
        serves(&open(&world).await).await;
        assert_eq!(world.gateway.engine.readiness(), Ok(()));
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_clock_that_jumps_ahead_and_comes_back_ends_nothing_for_good() {
    for apply in ["on-change", "on-request"] {
        let lines = format!("[reload]\napply = \"{apply}\"");
        let world = World::with(Plan::default().fill("more", &lines).by_hand()).await;
        let hand = world.hand.as_ref().unwrap();
        // Written down by now, the wrong time will not be.
        let record = world.dir.join("state/permit.clock");
        until("the record of the time", || record.exists()).await;
        world.advance(Duration::from_secs(60));
        let now = world.gateway.engine.clock.now().unix_ms();
        hand.jump_wall_to(now + 40 * 86_400_000);
        assert!(world.printer().connect(world.address()).await.is_err(), "{apply}");
        if world.gateway.engine.permit_is_due() {
            assert!(world.gateway.files_changed().await);
        }
        world.advance(Duration::from_secs(3));
        hand.jump_wall_to(now + 3_000);
        world.advance(Duration::from_secs(10));
        if world.gateway.engine.permit_is_due() {
            assert!(world.gateway.files_changed().await);
        }
        serves(&open(&world).await).await;
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_listener_or_name_that_is_not_in_the_permit_is_closed() {
    let world = World::start().await;
    let other = issued(&world, |claims| claims.listeners.clear());
    assert!(install(&world, other).await);
    closed(&world, "not_listed").await;
    let name = issued(&world, |claims| claims.server_names.truncate(1));
    assert!(install(&world, name).await);
    closed(&world, "not_listed").await;
    assert_eq!(world.events("tls-withheld").len(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_clock_that_was_moved_back_over_a_restart_is_noticed() {
    let world = World::with(Plan::default().by_hand()).await;
    let start = world.gateway.engine.clock.now().unix_ms();
    world.advance(Duration::from_secs(2 * 3_600));
    world.hand.as_ref().unwrap().jump_wall_to(start);
    let world = world.restart().await;
    closed(&world, "clock_went_back").await;
    let record = std::fs::metadata(world.dir.join("state/permit.clock")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&record.permissions()) & 0o777, 0o600);
    // A process with the wrong clock forgets nothing.
    let world = world.restart().await;
    closed(&world, "clock_went_back").await;
    world.advance(Duration::from_secs(2 * 3_600));
    assert!(world.gateway.engine.permit_is_due());
    assert!(world.reload(|text| text).await);
    serves(&open(&world).await).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_5_the_environment_of_a_process_that_runs_stays_what_it_is() {
    let world = World::start().await;
    let to = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|name| format!("environment = \"{name}\""));
        move |text: String| text.replace(&from, &to)
    };
    // Even with a permit for the other one.
    let other = issued(&world, |claims| {
        claims.environment = Name::parse("production").unwrap();
    });
    std::fs::write(path(&world), other).unwrap();
    assert!(!world.reload(to("test", "production")).await);
    assert_eq!(world.events("config-refused")[0]["sekisho.reason"], "restart-needed");
    serves(&open(&world).await).await;
    assert_eq!(world.gateway.engine.live().snapshot.environment.as_str(), "test");
    world.finish().await;
}
