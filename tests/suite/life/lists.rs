//! Lists of revoked certificates that nobody renewed, or that somebody took back (ACC-3).
use sekisho::config;
use sekisho::devcerts::Leaf;
use sekisho::engine::{AgedKind, AgedState};
use sekisho::mock::Alpn;

use super::{CA, DAY, LISTED, list, printer};
use crate::support::{ORDERS, World, bearing, get, now};

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
    let loaded = config::load(&world.dir.join("sekisho.toml"), 9, now()).unwrap();
    let says = "is out of date since 9 days: nobody of whom it speaks gets in";
    assert!(loaded.warnings.iter().any(|one| one.found.contains(says)), "{:?}", loaded.warnings);
    // With no other there is a start all the same: tokens are as good as ever, and can be taken away.
    let world = world.restart().await;
    assert!(!enters(&world, "label-printer").await);
    change(&world, "another", "analyst").await;
    assert_eq!(analyst(&world).await, 200);
    change(&world, "analyst", "another").await;
    assert_eq!(analyst(&world).await, 401);
    assert!(!enters(&world, "label-printer").await);
    world.gateway.engine.check_conditions();
    assert!(world.metric("sekisho_alarms_raised_total{severity=\"critical\"}") >= 1.0);
    write(&world, &list(&world, &[], 2));
    assert!(world.reload(|text| text).await);
    let printer = printer(&world, Alpn::H1);
    assert!(printer.call(world.address(), get(ORDERS)).await.is_ok());
    world.finish().await;
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
    let state = || {
        let all = world.gateway.engine.view_keys();
        let list = all.iter().find(|aged| aged.kind == AgedKind::RevocationList).unwrap();
        list.stands(world.gateway.engine.clock.now()).0
    };
    write(2, &[printer]);
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    assert!(!enters(&world, "label-printer").await);
    // A mirror that lags. What changes beside it is taken.
    write(1, &[]);
    change(&world, "analyst", "another").await;
    assert_eq!(analyst(&world).await, 401);
    assert!(!enters(&world, "label-printer").await, "it is in again");
    assert_eq!(state(), AgedState::Unusable);
    // Of the same date, or later, it is the authority's word.
    write(2, &[]);
    assert!(world.reload(|text| text).await);
    assert!(enters(&world, "label-printer").await);
    write(3, &[printer]);
    assert!(world.reload(|text| text).await);
    assert!(!enters(&world, "label-printer").await);
    assert_eq!(state(), AgedState::Good);
    world.finish().await;
}
