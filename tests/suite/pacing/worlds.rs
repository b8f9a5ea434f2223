//! The worlds that the figures come from.
#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "small numbers that are written below"
)]
use super::sim::{Client, Dice, Habit, World};

/// A rate that Amazon writes as 0.0167, with a network and a clock that help nobody.
fn slow(name: &'static str, clients: Vec<Client>) -> World {
    World {
        name,
        seed: 1,
        plan: (0.0167, 20),
        real: (1.0 / 60.0, 20),
        header: None,
        others: 0.0,
        skew: -300.0,
        delay: (5, 400),
        hours: 72.0,
        clients,
    }
}

const fn looping(weight: u16, parallel: u32) -> Client {
    Client { weight, patience: 3_600, habit: Habit::Loop { parallel }, leaving: 0 }
}

pub fn two(name: &'static str, weights: [u16; 2], parallel: [u32; 2]) -> World {
    let [a, b] = weights;
    let [many, few] = parallel;
    slow(name, vec![looping(a, many), looping(b, few)])
}

/// A fast operation with a short burst: the network reorders whole bursts.
pub fn fast(rate: f64, burst: u32, name: &'static str) -> World {
    World {
        plan: (rate, burst),
        real: (rate, burst),
        hours: 2.0,
        ..slow(name, vec![looping(1, 60), looping(3, 60), looping(1, 1)])
    }
}

pub fn lower(name: &'static str, plan: (f64, u32), real: (f64, u32), hours: f64) -> World {
    World { plan, real, hours, ..slow(name, vec![looping(1, 4), looping(3, 4)]) }
}

pub fn fifty(seed: u64) -> World {
    let mut dice = Dice(seed);
    let clients = (0..50).map(|at| {
        let habit = match at % 5 {
            0 => Habit::Loop { parallel: 1 + dice.below(4) as u32 },
            1 | 2 => Habit::Random { per_second: 0.01 + dice.unit() * 0.08 },
            3 => Habit::Batch { calls: 10 + dice.below(50) as u32, every: 600 },
            _ => Habit::Loop { parallel: 1 },
        };
        let patience = [30, 60, 120, 300][dice.below(4) as usize];
        let weight = 1 + dice.below(4) as u16;
        Client { weight, patience, habit, leaving: 150 }
    });
    World {
        seed,
        plan: (2.0, 30),
        real: (2.0, 30),
        delay: (5, 800),
        hours: 8.0,
        ..slow("50 callers, 2/s burst 30", clients.collect())
    }
}

pub fn all() -> Vec<World> {
    vec![
        two("0.0167/s burst 20, weights 1:3", [1, 3], [4, 4]),
        two("0.0167/s burst 20, weights 1:1", [1, 1], [4, 4]),
        two("the same, 16 calls against 1", [1, 1], [16, 1]),
        two("weights 1:100, nobody starves", [1, 100], [1, 16]),
        fast(1.0, 1, "1/s burst 1"),
        fast(10.0, 10, "10/s burst 10"),
        World { hours: 0.25, ..fast(80.0, 100, "80/s burst 100") },
        fast(20.0, 5, "20/s burst 5"),
        World {
            header: Some("0.0083"),
            ..lower("half the rate, said so", (0.0167, 20), (1.0 / 120.0, 20), 72.0)
        },
        lower("half the rate, not said", (0.0167, 20), (1.0 / 120.0, 20), 72.0),
        lower("a third of 5/s, not said", (5.0, 10), (1.7, 10), 8.0),
        lower("burst 5 instead of 20", (0.0167, 20), (1.0 / 60.0, 5), 72.0),
        lower("a tenth of 10/s, burst too", (10.0, 10), (1.0, 1), 8.0),
        World { others: 0.6, ..lower("2/s, somebody else takes 0.6/s", (2.0, 30), (2.0, 30), 8.0) },
        fifty(7),
    ]
}
