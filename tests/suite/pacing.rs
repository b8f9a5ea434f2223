//! Pacing toward Amazon in a simulated world. `cargo bench --bench pacing -- --table` prints all of
//! its figures.
mod sim;
mod worlds;

use sim::World;

fn world(name: &str) -> World {
    worlds::all().into_iter().find(|world| world.name == name).unwrap()
}

/// 0.0167/s with a burst of 20, shared by two: 72 hours, delays to 1.6 s, clocks 300 ppm apart.
#[test]
fn mon_2_two_share_a_slow_quota_by_weight_and_amazon_never_refuses() {
    for (name, share) in [
        ("0.0167/s burst 20, weights 1:3", 0.25),
        ("0.0167/s burst 20, weights 1:1", 0.5),
        ("the same, 16 calls against 1", 0.5),
    ] {
        let report = world(name).run();
        assert_eq!(report.throttled_ns, [0_u64; 0], "{name}");
        let got = report.share(0);
        assert!((got - share).abs() <= share * 0.03, "{name}: {got}");
        assert!(report.used() > 0.99, "{name}: {}", report.used());
    }
}

#[test]
fn mon_2_nobody_starves() {
    let report = world("weights 1:100, nobody starves").run();
    assert_eq!(report.throttled_ns, [0_u64; 0]);
    // A hundred and one turns of a minute, and the rounding of both.
    let gap = report.clients[0].gap_max.as_secs();
    assert!(gap <= 103 * 61, "{gap} s between two calls");
    let report = worlds::fifty(7).run();
    for (client, tally) in report.clients.iter().enumerate() {
        assert!(tally.admitted > 0, "{client}: {tally:?}");
        assert!(tally.gap_max.as_secs() < 1_800, "{client}: {tally:?}");
    }
}

#[test]
fn mon_2_a_network_that_delays_and_reorders_causes_no_refusal() {
    for name in ["1/s burst 1", "10/s burst 10", "80/s burst 100", "20/s burst 5"] {
        assert_eq!(world(name).run().throttled_ns, [0_u64; 0], "{name}");
    }
}

#[test]
fn mon_2_a_lower_limit_is_found_after_few_refusals() {
    for (name, first_hour, all, used) in [
        ("half the rate, said so", 0, 0, 0.98),
        ("half the rate, not said", 4, 12, 0.95),
        ("a third of 5/s, not said", 14, 30, 0.95),
        ("burst 5 instead of 20", 6, 8, 0.98),
        ("2/s, somebody else takes 0.6/s", 12, 20, 0.56),
    ] {
        let report = world(name).run();
        let (hour, sum) = (report.throttled_between(0.0, 1.0), report.throttled_ns.len());
        assert!(hour <= first_hour && sum <= all, "{name}: {hour} in the first hour, {sum} in all");
        assert!(report.used() >= used, "{name}: {}", report.used());
        let share = report.share(0);
        assert!((share - 0.25).abs() < 0.01, "{name}: {share}");
    }
}

#[test]
fn mon_2_fifty_callers_with_bursts_and_leaving() {
    for seed in [7, 8, 9] {
        let report = worlds::fifty(seed).run();
        assert_eq!(report.throttled_ns, [0_u64; 0], "seed {seed}");
        assert!(report.used() > 0.97, "seed {seed}: {}", report.used());
        let left: u64 = report.clients.iter().map(|tally| tally.left).sum();
        assert!(left > 100, "seed {seed}: {left}");
        assert!(report.waiting_max <= 512, "seed {seed}: {}", report.waiting_max);
        for tally in &report.clients {
            assert!(tally.wait_max.as_secs() <= 300, "seed {seed}: {tally:?}");
        }
    }
}

/// The same seed gives the same world, call by call.
#[test]
fn mon_2_a_seed_repeats_itself() {
    let (one, two) = (worlds::fifty(3).run(), worlds::fifty(3).run());
    assert_eq!(one.admitted_ns, two.admitted_ns);
    assert_ne!(one.admitted_ns, worlds::fifty(4).run().admitted_ns);
}
