//! Made-up traffic with a seed: what identities of a seller do in ordinary months, and what is done
//! to them. Used by the test suite and by `benches/detectors.rs`.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "made-up numbers of a size that is known"
)]
use sekisho::base::{IdentityIx, Moment, NetworkIx, OperationIx, RoleIx};
use sekisho::detect::{Event, Outcome};
use sekisho::lockout::Shown;

pub const HOUR_MS: u64 = 3_600_000;
/// Monday 2026-03-02 00:00 UTC. Summer time begins in the fourth week.
pub const START_MS: u64 = 1_772_409_600_000;
const SUMMER_TIME_HOUR: u64 = 27 * 24;

/// xorshift64*: good enough for traffic, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.word();
        }
        dice
    }

    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end.max(1)
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit().max(1e-12), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Around one.
    pub fn lognormal(&mut self, spread: f64) -> f64 {
        (self.normal() * spread - spread * spread / 2.0).exp()
    }

    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 40.0 {
            return (mean + self.normal() * mean.sqrt()).round().max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// People, Monday to Friday.
    Office,
    /// A service that polls all day; hardly any of its answers has personal data.
    Sync,
    /// A few jobs a day, each the work of minutes.
    Batch,
    /// Two shifts that print labels: every answer has personal data.
    Labels,
}

/// One identity of the simulation.
#[derive(Clone, Debug)]
pub struct Caller {
    pub ix: IdentityIx,
    pub kind: Kind,
    /// Half of the services are on certificates; everybody else bears a token.
    pub shown: Shown,
    dice: Dice,
    /// Requests in a busy hour; for batches, in a job.
    scale: f64,
    share: f64,
    page: f64,
    jobs: Vec<u64>,
    offset: u64,
    /// The hour of a permanent rise, and by how much.
    marketplace: (u64, f64),
    absence: (u64, u64),
    day_factor: f64,
    deploy: Option<u64>,
    fingerprint: u64,
    next_object: u64,
    network: u8,
    /// Some people use a telephone now and then.
    phone: f64,
}

impl Caller {
    pub fn new(ix: u32, seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ (u64::from(ix) << 32));
        let kind = [Kind::Office, Kind::Sync, Kind::Batch, Kind::Labels][ix as usize % 4];
        let (scale, share, page) = match kind {
            Kind::Office => {
                (dice.between(30.0, 150.0), dice.between(0.3, 0.6), dice.between(2.0, 15.0))
            }
            Kind::Sync => (dice.between(60.0, 300.0), 0.005, dice.between(1.0, 5.0)),
            Kind::Batch => {
                (dice.between(200.0, 1_200.0), dice.between(0.5, 1.0), dice.between(5.0, 50.0))
            }
            Kind::Labels => (dice.between(40.0, 200.0), 1.0, 1.0),
        };
        let jobs = (0..2 + dice.below(3)).map(|_| dice.below(24)).collect();
        let marketplace = if dice.chance(0.15) {
            (dice.below(16 * 168), dice.between(1.3, 1.8))
        } else {
            (u64::MAX, 1.0)
        };
        let absence = if kind == Kind::Office && dice.chance(0.3) {
            let begin = dice.below(14 * 168);
            (begin, begin + 168 + dice.below(168))
        } else {
            (u64::MAX, 0)
        };
        let on_certificate = kind != Kind::Office && (ix / 4).is_multiple_of(2);
        Self {
            ix: IdentityIx(ix),
            kind,
            shown: if on_certificate { Shown::Certificate } else { Shown::Bearer },
            scale,
            share,
            page,
            jobs,
            offset: if ix.is_multiple_of(3) { 9 } else { 1 },
            marketplace,
            absence,
            day_factor: 1.0,
            deploy: None,
            fingerprint: u64::from(ix) + 1_000,
            next_object: (u64::from(ix) + 1) << 40,
            phone: if kind == Kind::Office && ix.is_multiple_of(3) { 0.03 } else { 0.0 },
            network: u8::try_from(ix % 200).unwrap_or(0),
            dice,
        }
    }

    pub fn role(&self) -> RoleIx {
        RoleIx(self.kind as u16)
    }

    /// All events of one hour of the simulation, in order of time.
    pub fn hour(&mut self, hour: u64, into: &mut Vec<Event<'static>>) {
        into.clear();
        let summer = u64::from(hour >= SUMMER_TIME_HOUR);
        let local = hour + self.offset + summer;
        let (day, of_day) = (local / 24, local % 24);
        if hour.is_multiple_of(24) {
            self.day_factor = self.dice.lognormal(0.15);
            self.deploy = self.dice.chance(2.0 / 30.0).then(|| self.dice.below(24));
        }
        let weekday = day % 7;
        let mut level = self.day_factor * self.dice.lognormal(0.15);
        if day % 30 >= 28 {
            level *= 2.0;
        }
        if hour >= self.marketplace.0 {
            level *= self.marketplace.1;
        }
        if (self.absence.0..self.absence.1).contains(&hour) {
            level = 0.0;
        }
        // Public holidays.
        if [33, 61, 89].contains(&day) && self.kind != Kind::Sync {
            level *= 0.15;
        }
        match self.kind {
            Kind::Office | Kind::Labels => {
                self.even(hour, self.scale * self.shape(weekday, of_day) * level, into);
            }
            Kind::Sync => {
                self.even(hour, self.scale * self.shape(weekday, of_day) * level.sqrt(), into);
            }
            Kind::Batch => {
                for _ in 0..self.shape(weekday, of_day) as u64 {
                    let begin = self.dice.below(20) * 60_000;
                    self.job(hour, begin, self.scale * level, into);
                }
                // Somebody runs it again.
                if self.dice.chance(0.02 / 24.0) {
                    self.job(hour, 0, self.scale * level, into);
                }
            }
        }
        if self.deploy == Some(hour % 24) && self.kind != Kind::Office {
            self.deployment(hour, into);
        }
        into.sort_by_key(|event| event.at.mono_ns());
    }

    /// What an ordinary hour has, as a part of a busy one; for batches, how many jobs.
    fn shape(&self, weekday: u64, of_day: u64) -> f64 {
        match (self.kind, weekday, of_day) {
            (Kind::Office, 5.., 8..=21) => 0.02,
            (Kind::Office, _, 8 | 18) => 0.4,
            (Kind::Office, _, 12) => 0.5,
            (Kind::Office, _, 9..=17) => 1.0,
            (Kind::Office, _, 19..=21) => 0.03,
            (Kind::Labels, 0..=5, 6..=13) => 1.0,
            (Kind::Labels, 0..=5, 14..=21) => 0.7,
            (Kind::Office | Kind::Labels, ..) => 0.0,
            (Kind::Sync, ..) => 0.8 + 0.4 * (of_day as f64 / 24.0 * std::f64::consts::TAU).sin(),
            (Kind::Batch, ..) => self.jobs.iter().filter(|job| **job == of_day).count() as f64,
        }
    }

    /// The hourly normal in records: what this hour of the week brings on average, or an average
    /// hour with work, if that is more.
    pub fn normal_records(&self, hour: u64) -> f64 {
        let local = |hour| hour + self.offset + u64::from(hour >= SUMMER_TIME_HOUR);
        let shape = |hour| self.shape(local(hour) / 24 % 7, local(hour) % 24);
        let worked: Vec<f64> = (hour..hour + 168).map(shape).filter(|part| *part > 0.1).collect();
        let mean = worked.iter().sum::<f64>() / worked.len().max(1) as f64;
        let rise = if hour >= self.marketplace.0 { self.marketplace.1 } else { 1.0 };
        (self.scale * self.share * self.page * rise * shape(hour).max(mean)).max(1.0)
    }

    fn even(&mut self, hour: u64, mean: f64, into: &mut Vec<Event<'static>>) {
        for _ in 0..self.dice.poisson(mean) {
            let at = self.dice.below(HOUR_MS);
            let event = self.event(hour, at);
            into.push(event);
        }
    }

    fn job(&mut self, hour: u64, begin: u64, mean: f64, into: &mut Vec<Event<'static>>) {
        let length = 300_000 + self.dice.below(600_000);
        for _ in 0..self.dice.poisson(mean) {
            let at = (begin + self.dice.below(length)).min(HOUR_MS - 1);
            let event = self.event(hour, at);
            into.push(event);
        }
    }

    /// A new version: retries, refusals at a few operations, and old and new at once for a while.
    fn deployment(&mut self, hour: u64, into: &mut Vec<Event<'static>>) {
        let minutes = 3 + self.dice.below(5);
        let begin = self.dice.below(50) * 60_000;
        let storm = self.scale.min(300.0) / 60.0 * 8.0 * minutes as f64;
        let refused = self.dice.between(0.1, 0.4);
        let old = self.fingerprint;
        self.fingerprint = self.dice.word();
        for _ in 0..self.dice.poisson(storm) {
            let ms = begin + self.dice.below(minutes * 60_000);
            let mut event = self.event(hour, ms);
            if self.dice.chance(refused) {
                event.outcome = Outcome::NotPermitted;
                event.operation = Some(OperationIx(u16::try_from(self.dice.below(3)).unwrap_or(0)));
                (event.records, event.bytes) = (0, 0);
            }
            if self.dice.chance(0.5) {
                event.fingerprint = old;
            }
            into.push(event);
        }
    }

    /// One ordinary request, `ms` into the hour.
    pub fn event(&mut self, hour: u64, ms: u64) -> Event<'static> {
        let personal = self.dice.chance(self.share);
        let records = if personal { 1 + self.dice.poisson(self.page - 1.0) } else { 0 };
        let fresh = self.dice.chance(0.4);
        self.next_object += u64::from(fresh);
        let object = if fresh { self.next_object } else { self.next_object - self.dice.below(200) };
        let phone = self.phone > 0.0 && self.dice.chance(self.phone);
        let from = u64::from(self.ix.0) << 1 | u64::from(phone);
        Event {
            at: at(hour, ms),
            identity: Some(self.ix),
            role: Some(self.role()),
            network: (!phone).then_some(NetworkIx(self.network)),
            source: hash(from),
            operation: Some(OperationIx(u16::try_from(self.dice.below(8)).unwrap_or(0))),
            outcome: if self.dice.chance(0.005) { Outcome::NotFound } else { Outcome::Allowed },
            bytes: 800 + records * 900 + self.dice.below(1_000),
            records,
            object: Some(hash(object)),
            named: &[],
            fingerprint: if phone { 5 } else { self.fingerprint },
            canary: None,
        }
    }
}

pub fn at(hour: u64, ms: u64) -> Moment {
    let ms = hour * HOUR_MS + ms;
    Moment::new(START_MS + ms, (ms + 60_000) * 1_000_000)
}

pub fn hash(x: u64) -> u64 {
    let x = (x ^ x >> 30 ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
