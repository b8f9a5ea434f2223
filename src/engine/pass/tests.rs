//! Which target is chosen, and when one is left alone.
use super::*;

fn teller() -> Teller {
    let (clock, _hand) = Clock::manual(0);
    let metrics = Metrics::new("test", clock.now()).unwrap();
    let windows =
        crate::alarm::Windows { first: Duration::from_secs(10), repeat: Duration::from_secs(10) };
    let spec = crate::observe::LogSpec::new(crate::observe::LogTarget::Stdout);
    Teller {
        log: LogSink::open(&spec, clock.clone(), metrics.log()).unwrap(),
        alarms: Arc::new(Alarms::new(clock, metrics.alarms.clone(), windows)),
    }
}

fn route(targets: u16) -> PassRoute {
    let name = |text: &str| Name::parse(text).unwrap();
    let target = |nth: u16| PassTarget {
        name: name(&format!("gw-{nth}")),
        host: "127.0.0.1".to_owned(),
        port: nth,
        addresses: Where::Fixed(vec![([127, 0, 0, 1], nth).into()]),
    };
    let settings = PassSettings {
        name: name("shops"),
        server_names: vec!["shops.example.net".to_owned()],
        nameless: crate::config::Nameless::Elsewhere,
        targets: (1..=targets).map(target).collect(),
        proxy: crate::config::PassProxy::V2,
        connect_timeout: Duration::from_secs(1),
        check: Duration::from_secs(10),
        failures: 2,
        idle: Duration::from_secs(1),
        connections: 2,
    };
    let metrics = Metrics::new("test", at(0)).unwrap().pass(&name("edge"), &settings.name);
    PassRoute::new(&name("edge"), &settings, Arc::default(), metrics)
}

fn at(secs: u64) -> Moment {
    Moment::new(0, secs * 1_000_000_000)
}

#[test]
fn tls_3_the_least_busy_target_is_taken_and_equals_in_turn() {
    let route = route(3);
    let mut held: Vec<Chosen> = (0..6).map(|_| route.choose(&[], at(0)).unwrap()).collect();
    let mut places: Vec<usize> = held.iter().map(Chosen::place).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 0, 1, 1, 2, 2]);
    held.retain(|chosen| chosen.place() != 1);
    assert_eq!(route.choose(&[], at(0)).unwrap().place(), 1);
    assert!(route.choose(&[1], at(0)).is_some_and(|chosen| chosen.place() != 1));
    assert!(route.choose(&[0, 1, 2], at(0)).is_none());
}

#[test]
fn tls_3_a_target_that_fails_is_left_alone_until_one_attempt_succeeds() {
    let (route, teller) = (route(2), teller());
    let fail = |now| {
        let mut chosen = route.choose(&[1], now).unwrap();
        assert_eq!(chosen.place(), 0);
        route.report(&mut chosen, Reached::Refused, now, &teller);
    };
    fail(at(0));
    assert_eq!(route.metrics.target_up(route.target(0).unwrap()).get(), 1);
    fail(at(0));
    assert_eq!(route.metrics.target_up(route.target(0).unwrap()).get(), 0);
    for _ in 0..4 {
        assert_eq!(route.choose(&[], at(1)).unwrap().place(), 1);
    }
    assert!(route.choose(&[1], at(4)).is_none(), "not even as the last one");
    // Half of the time between two checks later it may be tried again.
    let mut probe = route.choose(&[1], at(5)).unwrap();
    assert_eq!(route.choose(&[], at(5)).unwrap().place(), 1);
    route.report(&mut probe, Reached::Yes, at(5), &teller);
    drop(probe);
    assert_eq!(route.metrics.target_up(route.target(0).unwrap()).get(), 1);
    let both: Vec<usize> = (0..2).map(|_| route.choose(&[], at(5)).unwrap().place()).collect();
    assert_ne!(both[0], both[1]);
}

#[test]
fn mon_5_a_route_has_so_many_places() {
    let route = route(1);
    let held = [route.enter(), route.enter()];
    assert!(held.iter().all(Option::is_some));
    assert!(route.enter().is_none());
    assert_eq!(route.metrics.open.get(), 2);
    drop(held);
    assert!(route.enter().is_some());
    assert_eq!(route.metrics.open.get(), 0);
}

#[test]
fn checks_are_spread() {
    let every = Duration::from_secs(10);
    for salt in 0..1_000_u64 {
        let salt = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let pause = spread(every, salt, 90, 110);
        assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&pause), "{pause:?}");
    }
    let first: std::collections::BTreeSet<_> =
        (0..100_u64).map(|n| spread(every, n << 33, 0, 100)).collect();
    assert_eq!(first.len(), 100);
}
