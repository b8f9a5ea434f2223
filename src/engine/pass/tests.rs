//! Which target is chosen, and when one is left alone.
use std::time::Duration;

use super::*;
use crate::base::Clock;

fn teller() -> Teller {
    let (clock, _hand) = Clock::manual(0);
    let metrics = Metrics::new("test", clock.now()).unwrap();
    let windows =
        crate::alarm::Windows { first: Duration::from_secs(10), repeat: Duration::from_secs(10) };
    let environment = Name::parse("test").unwrap();
    let spec = crate::observe::LogSpec::new(crate::observe::LogTarget::Stdout, environment);
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
    let route = PassRoute::new(&name("edge"), &settings, Arc::default(), metrics);
    route.show();
    route
}

fn is_up(route: &PassRoute, place: usize) -> bool {
    route.metrics.target_up(route.target(place).unwrap()).get() == 1
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
    assert!(is_up(&route, 0));
    fail(at(0));
    assert!(!is_up(&route, 0));
    for _ in 0..4 {
        assert_eq!(route.choose(&[], at(1)).unwrap().place(), 1);
    }
    assert!(route.choose(&[1], at(4)).is_none(), "not even as the last one");
    // Half of the time between two checks later it may be tried again.
    let mut probe = route.choose(&[1], at(5)).unwrap();
    assert_eq!(route.choose(&[], at(5)).unwrap().place(), 1);
    route.report(&mut probe, Reached::Yes, at(5), &teller);
    drop(probe);
    assert!(is_up(&route, 0));
    let both: Vec<usize> = (0..2).map(|_| route.choose(&[], at(5)).unwrap().place()).collect();
    assert_ne!(both[0], both[1]);
}

#[test]
fn tls_3_a_connection_that_set_out_before_a_target_was_left_alone_does_not_bring_it_back() {
    let (route, teller) = (route(1), teller());
    let mut late = route.choose(&[], at(0)).unwrap();
    for _ in 0..2 {
        let mut chosen = route.choose(&[], at(0)).unwrap();
        route.report(&mut chosen, Reached::Refused, at(0), &teller);
    }
    route.report(&mut late, Reached::Yes, at(1), &teller);
    assert!(!is_up(&route, 0));
    let mut probe = route.choose(&[], at(5)).unwrap();
    route.report(&mut probe, Reached::Yes, at(5), &teller);
    assert!(is_up(&route, 0));
}

#[test]
fn tls_3_what_this_host_lacks_is_no_failure_of_a_target() {
    let (route, teller) = (route(1), teller());
    // EAGAIN, ENOMEM, ENFILE, EMFILE, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS on Linux.
    for code in [11, 12, 23, 24, 98, 99, 105] {
        let reached = Reached::of(&std::io::Error::from_raw_os_error(code));
        assert_eq!(reached, Reached::Shortage, "{code}");
        let mut chosen = route.choose(&[], at(0)).expect("it is not left alone");
        route.report(&mut chosen, reached, at(0), &teller);
    }
    assert!(is_up(&route, 0));
    // ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, ETIMEDOUT, and what TokIO says by itself.
    for (code, reached) in [
        (111, Reached::Refused),
        (101, Reached::Unreachable),
        (113, Reached::Unreachable),
        (110, Reached::TimedOut),
    ] {
        assert_eq!(Reached::of(&std::io::Error::from_raw_os_error(code)), reached, "{code}");
    }
    let own = std::io::Error::other("of no system");
    assert_eq!(Reached::of(&own), Reached::Refused);
    for now in [0, 0] {
        let mut chosen = route.choose(&[], at(now)).unwrap();
        route.report(&mut chosen, Reached::of(&own), at(now), &teller);
    }
    assert!(!is_up(&route, 0));
    // Nor is a shortage the success that brings it back.
    let mut probe = route.choose(&[], at(5)).unwrap();
    route.report(&mut probe, Reached::Shortage, at(5), &teller);
    drop(probe);
    assert!(!is_up(&route, 0));
    let mut probe = route.choose(&[], at(5)).unwrap();
    route.report(&mut probe, Reached::Yes, at(5), &teller);
    assert!(is_up(&route, 0));
}

#[test]
fn tls_3_a_target_that_speaks_no_tls_is_taken_last_whatever_checks_find() {
    let (route, teller) = (route(2), teller());
    let connect = |now| {
        let mut chosen = route.choose(&[], now).unwrap();
        route.report(&mut chosen, Reached::Yes, now, &teller);
        chosen
    };
    // Whoever goes to the first one is told nothing, and so comes again; the others stay.
    let mut stay = Vec::new();
    let mut wrong = 0;
    for _ in 0..50 {
        let chosen = connect(at(0));
        if chosen.place() == 0 {
            wrong += 1;
            route.hear(0, Answer::Silent, at(0), &teller);
        } else {
            route.hear(1, Answer::Tls, at(0), &teller);
            stay.push(chosen);
        }
    }
    assert_eq!((wrong, is_up(&route, 0), is_up(&route, 1)), (2, false, true));
    // A check finds it there.
    let mut check = route.pick(0, at(0)).unwrap();
    route.report(&mut check, Reached::Yes, at(0), &teller);
    drop(check);
    assert!(!is_up(&route, 0));
    // After the rest one connection tries it, and others go elsewhere meanwhile.
    let trial = connect(at(10));
    assert_eq!((trial.place(), connect(at(10)).place()), (0, 1));
    route.hear(0, Answer::Tls, at(10), &teller);
    assert!(is_up(&route, 0));
    drop(trial);
    assert_eq!(connect(at(10)).place(), 0);
}

#[test]
fn tls_3_clients_can_not_shut_a_route() {
    let (route, teller) = (route(2), teller());
    for place in [0, 1] {
        for _ in 0..10 {
            route.hear(place, Answer::Silent, at(0), &teller);
        }
    }
    assert!(!is_up(&route, 0) && !is_up(&route, 1));
    let chosen = route.choose(&[], at(1)).expect("the last ones there are");
    route.hear(chosen.place(), Answer::Tls, at(1), &teller);
    assert!(is_up(&route, chosen.place()));
}

#[test]
fn a_route_of_the_past_tells_nothing() {
    let (route, teller) = (route(1), teller());
    route.retire();
    for _ in 0..3 {
        route.hear(0, Answer::NotTls, at(0), &teller);
    }
    assert!(route.targets[0].health.lock().is_down());
    // Asked for, it is made anew.
    assert_eq!(route.metrics.target_up(route.target(0).unwrap()).get(), 0);
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
        let pause = checks::spread(every, salt, 90, 110);
        assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&pause), "{pause:?}");
    }
    let first: std::collections::BTreeSet<_> =
        (0..100_u64).map(|n| checks::spread(every, n << 33, 0, 100)).collect();
    assert_eq!(first.len(), 100);
}
