//! Lists of revoked certificates that nobody renewed, or that somebody took back (ACC-3).
use std::os::unix::fs::MetadataExt as _;

use sekisho::config;
use sekisho::devcerts::{DevCa, Leaf};
use sekisho::engine::{AgedKind, AgedState};
use sekisho::mock::Alpn;

use super::{CA, DAY, LISTED, list, printer};
use crate::support::{ORDERS, World, bearing, get, now, until};

async fn enters(world: &World, name: &str) -> bool {
    let caller = world.caller(|config| config.identity = world.pki.client(name).cloned());
    caller.call(world.address(), get(ORDERS)).await.is_ok()
}

async fn analyst(world: &World) -> u16 {
    let call = bearing(get(ORDERS), &world.token("analyst"));
    world.call(&world.nobody(), call).await.status.as_u16()
}

/// Somebody leaves, or comes back.
async fn change(world: &World, from: &str, to: &str) {
    let subject = |name: &str| format!("subject = \"{name}\"");
    assert!(world.reload(|text| text.replace(&subject(from), &subject(to))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_list_out_of_date_lets_nobody_in_and_holds_nothing_up() {
    let world = World::start().await;
    let write = |world: &World, text: &str| {
        std::fs::write(world.dir.join("revoked.crl"), text).unwrap();
    };
    write(&world, &list(&world, &["stock-reader"], 2));
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    let from = now().unix_secs() - 10 * DAY;
    let stale = world.pki.ca.revocation_list(&[], (from, from + DAY)).unwrap();
    // An old one is copied over it: the one in force counts on, and whoever leaves is out.
    write(&world, &stale);
    change(&world, "analyst", "another").await;
    assert_eq!(analyst(&world).await, 401);
    assert!(enters(&world, "label-printer").await);
    assert!(!enters(&world, "stock-reader").await, "it was revoked");
    let warned = |world: &World, then: &str| {
        let loaded = config::load(&world.dir.join("sekisho.toml"), 9, now()).unwrap();
        let says = format!("is out of date since 9 days: {then}");
        assert!(
            loaded.warnings.iter().any(|one| one.found.contains(&says)),
            "{:?}",
            loaded.warnings
        );
    };
    let kept = world.dir.join("state/client_crl.kept");
    until("it is kept", || kept.exists()).await;
    warned(&world, "the list before it stays until its own end");
    // Over a restart, too.
    let world = world.restart().await;
    assert!(enters(&world, "label-printer").await);
    assert!(!enters(&world, "stock-reader").await, "it was revoked");
    world.finish().await;
    // With no other there is a start all the same: tokens are as good as ever, and can be taken away.
    let world = World::start().await;
    let stale = world.pki.ca.revocation_list(&[], (from, from + DAY)).unwrap();
    write(&world, &stale);
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    warned(&world, "nobody of whom it speaks gets in");
    change(&world, "analyst", "another").await;
    let world = world.restart().await;
    assert!(!enters(&world, "label-printer").await);
    change(&world, "another", "analyst").await;
    assert_eq!(analyst(&world).await, 200);
    change(&world, "analyst", "another").await;
    assert_eq!(analyst(&world).await, 401);
    assert!(!enters(&world, "label-printer").await);
    world.gateway.engine.check_conditions();
    let critical = "sekisho_alarms_raised_total{severity=\"critical\"}";
    until("the alarm", || world.metric(critical) >= 1.0).await;
    write(&world, &list(&world, &[], 2));
    assert!(world.reload(|text| text).await);
    let printer = printer(&world, Alpn::H1);
    assert!(printer.call(world.address(), get(ORDERS)).await.is_ok());
    world.finish().await;
}

fn state(world: &World) -> AgedState {
    let all = world.gateway.engine.view_keys();
    let list = all.iter().find(|aged| aged.kind == AgedKind::RevocationList).unwrap();
    list.stands(world.gateway.engine.clock.now()).0
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_an_older_list_lets_nobody_in_again() {
    let world = World::start().await;
    let from = now().unix_secs() - 5 * DAY;
    let printer = world.pki.client("label-printer").unwrap();
    let write = |day: u64, revoked: &[&Leaf]| {
        let times = (from + day * DAY, from + 20 * DAY);
        let list = world.pki.ca.revocation_list(revoked, times).unwrap();
        std::fs::write(world.dir.join("revoked.crl"), list).unwrap();
    };
    write(2, &[printer]);
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    assert!(!enters(&world, "label-printer").await);
    // A mirror that lags. What changes beside it is taken.
    write(1, &[]);
    change(&world, "analyst", "another").await;
    assert_eq!(analyst(&world).await, 401);
    assert!(!enters(&world, "label-printer").await, "it is in again");
    assert_eq!(state(&world), AgedState::Unusable);
    // Of the same date, or later, it is the authority's word.
    write(2, &[]);
    assert!(world.reload(|text| text).await);
    assert!(enters(&world, "label-printer").await);
    write(3, &[printer]);
    assert!(world.reload(|text| text).await);
    assert!(!enters(&world, "label-printer").await);
    assert_eq!(state(&world), AgedState::Good);
    world.finish().await;
}

/// The file is rolled back while no gateway is there to see it.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_an_older_list_lets_nobody_in_again_after_a_restart() {
    let mut world = World::start().await;
    let from = now().unix_secs() - 5 * DAY;
    let write = |world: &World, ca: &DevCa, day: u64, revoked: &[&str]| {
        let revoked: Vec<&Leaf> = revoked.iter().map(|n| world.pki.client(n).unwrap()).collect();
        let list = ca.revocation_list(&revoked, (from + day * DAY, from + 20 * DAY)).unwrap();
        std::fs::write(world.dir.join("revoked.crl"), list).unwrap();
    };
    write(&world, &world.pki.ca, 2, &["label-printer"]);
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    assert!(!enters(&world, "label-printer").await);
    write(&world, &world.pki.ca, 1, &[]);
    let kept = world.dir.join("state/client_crl.kept");
    let number = || std::fs::metadata(&kept).map(|file| file.ino()).ok();
    for _ in 0..2 {
        let mut before = None;
        world = world
            .restart_after(async || {
                before = number();
            })
            .await;
        // Each process writes it anew, and would write over what is put there by hand.
        until("it is kept", || number().is_some_and(|own| before != Some(own))).await;
        assert!(!enters(&world, "label-printer").await, "it is in again");
        assert!(enters(&world, "stock-reader").await);
        assert_eq!(state(&world), AgedState::Unusable);
    }
    let load = |world: &World| {
        let loaded = config::load(&world.dir.join("sekisho.toml"), 9, now());
        loaded.map(|loaded| {
            let mut all = loaded.warnings.into_iter();
            all.find(|one| one.found.contains("is older than the list that was in force"))
        })
    };
    let told = load(&world).unwrap().unwrap();
    assert!(told.found.ends_with("the list before it stays until its own end"), "{told:?}");
    assert!(told.instead.contains("remove client_crl.kept from its state directory"), "{told:?}");
    // Of the same name with another key it is another authority, which begins as it likes.
    let again = DevCa::new("Sekisho throw-away CA", now()).unwrap();
    let own = std::fs::read(world.dir.join("pki/ca.pem")).unwrap();
    std::fs::write(world.dir.join("pki/ca.pem"), again.certificate_pem()).unwrap();
    write(&world, &again, 1, &[]);
    assert!(load(&world).unwrap().is_none());
    std::fs::write(world.dir.join("pki/ca.pem"), own).unwrap();
    write(&world, &world.pki.ca, 1, &[]);
    // Where nobody can know what was in force, nobody starts by what is there; where nothing was, by that.
    let whole = std::fs::read(&kept).unwrap();
    for (bytes, says) in [
        (&whole[..whole.len() - 1], "is damaged or cut short"),
        (&b""[..], "is damaged or cut short"),
        (&b"sekisho-lists-2\n"[..], "was written by a newer version"),
    ] {
        std::fs::write(&kept, bytes).unwrap();
        let errors = load(&world).unwrap_err().to_string();
        assert!(errors.contains(says) && errors.contains("restore it from a backup"), "{errors}");
    }
    std::fs::remove_file(&kept).unwrap();
    assert!(load(&world).unwrap().is_none());
    // What the authority says next counts, and what it says last is kept.
    write(&world, &world.pki.ca, 3, &["stock-reader"]);
    assert!(world.reload(|text| text).await);
    assert!(enters(&world, "label-printer").await && !enters(&world, "stock-reader").await);
    write(&world, &world.pki.ca, 2, &[]);
    let world = world.restart().await;
    assert!(enters(&world, "label-printer").await && !enters(&world, "stock-reader").await);
    world.finish().await;
}
