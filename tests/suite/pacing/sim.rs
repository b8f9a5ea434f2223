//! A seeded world for the pacer: callers, a network that delays and reorders, and an Amazon with a
//! bucket and a clock of its own. Time is a number; nothing sleeps.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a simulation counts in both kinds of numbers, and panics to fail"
)]
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use sekisho::base::Moment;
use sekisho::pacing::{
    Answer, Ask, BucketKey, Caller, Limits, Pacer, Pass, Patience, Plan, Rate, Ticket, Turn,
    Verdict, Weight,
};

pub const SECOND: u64 = 1_000_000_000;
pub const KEY: BucketKey = BucketKey { seller: 1, application: 2, operation: 3 };

/// How a caller behaves.
#[derive(Clone, Copy)]
pub enum Habit {
    /// So many calls at a time; each asks again when it was answered, or after the wait it was told.
    Loop { parallel: u32 },
    /// Asks at random, so often a second, and never again after a refusal.
    Random { per_second: f64 },
    /// So many calls at once, every so many seconds, as a batch job does.
    Batch { calls: u32, every: u64 },
}

#[derive(Clone, Copy)]
pub struct Client {
    pub weight: u16,
    pub patience: u64,
    pub habit: Habit,
    /// Of a thousand waiting calls so many hang up before their turn.
    pub leaving: u32,
}

pub struct World {
    pub name: &'static str,
    pub seed: u64,
    /// What the pacer is told.
    pub plan: (f64, u32),
    /// What Amazon does.
    pub real: (f64, u32),
    /// `x-amzn-RateLimit-Limit`, where Amazon sends it.
    pub header: Option<&'static str>,
    /// Calls a second that somebody else makes with the same credentials.
    pub others: f64,
    /// How much faster than ours Amazon's clock runs, in millionths.
    pub skew: f64,
    /// Bounds of each way's delay in milliseconds; one call in fifty takes up to four times as long.
    pub delay: (u64, u64),
    pub hours: f64,
    pub clients: Vec<Client>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub asked: u64,
    pub admitted: u64,
    pub refused: u64,
    pub late: u64,
    pub left: u64,
    pub wait_max: Duration,
    /// The longest time from one admission to the next.
    pub gap_max: Duration,
    last_ns: u64,
}

#[derive(Default)]
pub struct Report {
    pub clients: Vec<Tally>,
    pub served: u64,
    /// When Amazon answered 429.
    pub throttled_ns: Vec<u64>,
    /// What Amazon would have let through at most.
    pub possible: f64,
    pub waiting_max: usize,
    pub end_ns: u64,
    /// When each call was let through.
    pub admitted_ns: Vec<u64>,
}

impl Report {
    /// The client's part of everything that was let through.
    pub fn share(&self, client: usize) -> f64 {
        let all: u64 = self.clients.iter().map(|tally| tally.admitted).sum();
        self.clients[client].admitted as f64 / all as f64
    }

    pub fn throttled_between(&self, from_hour: f64, to_hour: f64) -> usize {
        let hours = |ns: &&u64| **ns as f64 / (3_600.0 * SECOND as f64);
        let within = |ns: &&u64| hours(ns) >= from_hour && hours(ns) < to_hour;
        self.throttled_ns.iter().filter(within).count()
    }

    pub fn used(&self) -> f64 {
        self.served as f64 / self.possible
    }
}

/// Splitmix64: the same everywhere, for ever.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Nanoseconds to the next of events that come so often a second.
    fn gap(&mut self, per_second: f64) -> u64 {
        (-(1.0 - self.unit()).ln() / per_second * SECOND as f64) as u64
    }
}

struct Amazon {
    rate: f64,
    burst: f64,
    level: f64,
    at: f64,
    pace: f64,
}

impl Amazon {
    fn count(&mut self, now_ns: u64) -> bool {
        let at = now_ns as f64 / SECOND as f64 * self.pace;
        self.level = ((at - self.at) * self.rate + self.level).min(self.burst);
        self.at = at;
        let served = self.level >= 1.0;
        if served {
            self.level -= 1.0;
        }
        served
    }
}

enum Event {
    Ask { client: usize },
    Batch { client: usize },
    Leave { number: u64 },
    Arrive { client: usize, pass: Pass },
    Answer { client: usize, pass: Pass, served: bool },
    Outsider,
}

struct Run<'a> {
    world: &'a World,
    dice: Dice,
    pacer: Pacer,
    plan: Plan,
    learned: Option<Rate>,
    amazon: Amazon,
    /// Due times with the number of the event, which breaks ties.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    next: u64,
    waiting: HashMap<Ticket, (usize, u64, u64)>,
    tickets: HashMap<u64, Ticket>,
    report: Report,
}

impl World {
    pub fn run(&self) -> Report {
        let plan = Plan::new(Rate::per_second(self.plan.0).unwrap(), self.plan.1).unwrap();
        let burst = f64::from(self.real.1);
        let amazon =
            Amazon { rate: self.real.0, burst, level: burst, at: 0.0, pace: 1.0 + self.skew / 1e6 };
        let mut run = Run {
            world: self,
            dice: Dice(self.seed),
            pacer: Pacer::new(Limits::default()),
            plan,
            learned: self.header.map(|text| Rate::parse(text.as_bytes()).unwrap()),
            amazon,
            due: BinaryHeap::new(),
            events: HashMap::new(),
            next: 0,
            waiting: HashMap::new(),
            tickets: HashMap::new(),
            report: Report {
                clients: vec![Tally::default(); self.clients.len()],
                possible: burst + self.real.0 * self.hours * 3_600.0,
                end_ns: (self.hours * 3_600.0 * SECOND as f64) as u64,
                ..Report::default()
            },
        };
        run.start();
        run.go();
        run.report
    }
}

fn at(ns: u64) -> Moment {
    // The wall clock jumps back and forth: nobody may look at it.
    Moment::new(ns / 1_000_000 * 7 % 1_000_003, ns)
}

impl Run<'_> {
    fn start(&mut self) {
        for client in 0..self.world.clients.len() {
            match self.world.clients[client].habit {
                Habit::Loop { parallel } => {
                    for _ in 0..parallel {
                        let soon = self.dice.below(SECOND);
                        self.plan(soon, Event::Ask { client });
                    }
                }
                Habit::Random { per_second } => {
                    let soon = self.dice.gap(per_second);
                    self.plan(soon, Event::Ask { client });
                }
                Habit::Batch { every, .. } => {
                    let soon = self.dice.below(every * SECOND);
                    self.plan(soon, Event::Batch { client });
                }
            }
        }
        if self.world.others > 0.0 {
            self.plan(SECOND, Event::Outsider);
        }
    }

    fn plan(&mut self, at_ns: u64, event: Event) {
        self.events.insert(self.next, event);
        self.due.push(Reverse((at_ns, self.next)));
        self.next += 1;
    }

    fn go(&mut self) {
        let mut now_ns = 0;
        loop {
            let event_ns = self.due.peek().map_or(u64::MAX, |Reverse((ns, _))| *ns);
            let wake_ns = self.pacer.next_wake(at(now_ns));
            let wake_ns = wake_ns.map_or(u64::MAX, |wait| now_ns + wait.as_nanos() as u64);
            now_ns = event_ns.min(wake_ns);
            if now_ns >= self.report.end_ns {
                return;
            }
            if wake_ns <= event_ns {
                self.release(now_ns);
            } else if let Some(Reverse((_, number))) = self.due.pop() {
                let event = self.events.remove(&number).unwrap();
                self.happen(event, now_ns);
            }
            self.report.waiting_max = self.report.waiting_max.max(self.pacer.size().1);
        }
    }

    fn happen(&mut self, event: Event, now_ns: u64) {
        match event {
            Event::Ask { client } => {
                self.ask(client, now_ns);
                if let Habit::Random { per_second } = self.world.clients[client].habit {
                    let gap = self.dice.gap(per_second);
                    self.plan(now_ns + gap, Event::Ask { client });
                }
            }
            Event::Batch { client } => {
                if let Habit::Batch { calls, every } = self.world.clients[client].habit {
                    (0..calls).for_each(|_| self.ask(client, now_ns));
                    self.plan(now_ns + every * SECOND, Event::Batch { client });
                }
            }
            Event::Leave { number } => {
                let Some(ticket) = self.tickets.remove(&number) else { return };
                if let Some((client, ..)) = self.waiting.remove(&ticket) {
                    self.pacer.leave(ticket, at(now_ns));
                    self.report.clients[client].left += 1;
                    self.again(client, now_ns + SECOND);
                }
            }
            Event::Arrive { client, pass } => {
                let served = self.amazon.count(now_ns);
                if served {
                    self.report.served += 1;
                } else {
                    self.report.throttled_ns.push(now_ns);
                }
                let back = self.delay();
                self.plan(now_ns + back, Event::Answer { client, pass, served });
            }
            Event::Answer { client, pass, served } => {
                let answer = if served {
                    Answer::Served { limit: self.learned }
                } else {
                    Answer::Throttled { retry_after: None }
                };
                self.pacer.settle(pass, answer, at(now_ns));
                self.again(client, now_ns + SECOND / 1_000);
            }
            Event::Outsider => {
                self.amazon.count(now_ns);
                let gap = self.dice.gap(self.world.others);
                self.plan(now_ns + gap, Event::Outsider);
            }
        }
    }

    fn ask(&mut self, client: usize, now_ns: u64) {
        let Client { weight, patience, leaving, .. } = self.world.clients[client];
        let ask = Ask {
            bucket: KEY,
            plan: self.plan,
            caller: Caller(client as u64),
            weight: Weight::new(weight).unwrap(),
            patience: Patience::new(Duration::from_secs(patience)),
        };
        self.report.clients[client].asked += 1;
        match self.pacer.offer(&ask, at(now_ns)) {
            Verdict::Admit(pass) => self.send(client, pass, now_ns, now_ns),
            Verdict::Wait { ticket, until, .. } => {
                let number = self.next;
                self.waiting.insert(ticket, (client, now_ns, number));
                if self.dice.below(1_000) < u64::from(leaving) {
                    self.tickets.insert(number, ticket);
                    let leaves = now_ns + self.dice.below(until.mono_ns() - now_ns);
                    self.plan(leaves, Event::Leave { number });
                }
            }
            Verdict::Refuse(refused) => {
                self.report.clients[client].refused += 1;
                self.again(client, now_ns + refused.wait.as_nanos() as u64);
            }
        }
    }

    fn again(&mut self, client: usize, at_ns: u64) {
        if let Habit::Loop { .. } = self.world.clients[client].habit {
            self.plan(at_ns, Event::Ask { client });
        }
    }

    fn release(&mut self, now_ns: u64) {
        let mut released = Vec::new();
        self.pacer.release(at(now_ns), &mut released);
        for one in released {
            let (client, since_ns, number) = self.waiting.remove(&one.ticket).unwrap();
            self.tickets.remove(&number);
            match one.turn {
                Turn::Admit(pass) => self.send(client, pass, since_ns, now_ns),
                Turn::Late { wait } => {
                    self.report.clients[client].late += 1;
                    self.again(client, now_ns + wait.as_nanos() as u64);
                }
            }
        }
    }

    fn send(&mut self, client: usize, pass: Pass, since_ns: u64, now_ns: u64) {
        self.report.admitted_ns.push(now_ns);
        let tally = &mut self.report.clients[client];
        tally.admitted += 1;
        tally.wait_max = tally.wait_max.max(Duration::from_nanos(now_ns - since_ns));
        tally.gap_max = tally.gap_max.max(Duration::from_nanos(now_ns - tally.last_ns));
        tally.last_ns = now_ns;
        let there = self.delay();
        self.plan(now_ns + there, Event::Arrive { client, pass });
    }

    fn delay(&mut self) -> u64 {
        let (least, most) = self.world.delay;
        let slow = if self.dice.below(50) == 0 { 4 } else { 1 };
        (least + self.dice.below((most - least) * slow)) * 1_000_000 + self.dice.below(1_000_000)
    }
}
