//! Months of ordinary traffic and one attack at a time, and the table of what was found.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "made-up numbers of a size that is known"
)]
use std::collections::BTreeMap;

use sekisho::base::{NetworkIx, OperationIx};
use sekisho::detect::{
    CanaryMode, Detector, Event, Level, Mode, Outcome, Peers, Response, Settings, Watch,
};
use sekisho::lockout::{Shown, Step};

use super::ladder::Ladder;
use super::workload::{Caller, Dice, HOUR_MS, Kind, at, hash};

pub const LEARN_HOURS: u64 = 5 * 168;
const ROLES: usize = 4;

/// Every detector enforced.
pub fn enforced() -> Settings {
    let mut all = Settings::default();
    all.failures.mode = Mode::Enforce;
    all.volume.mode = Mode::Enforce;
    all.volume.rate_mode = Mode::Enforce;
    all.slow.mode = Mode::Enforce;
    all.enumeration.mode = Mode::Enforce;
    all.canary = CanaryMode(Mode::Enforce);
    all.intrusion.mode = Mode::Enforce;
    all.logins.mode = Mode::Enforce;
    all.sharing.mode = Mode::Enforce;
    all
}

/// One detector enforced, and every other off.
pub fn alone(detector: Detector) -> Settings {
    let mut all = Settings::default();
    let of = |own| if own == detector { Mode::Enforce } else { Mode::Off };
    all.failures.mode = of(Detector::Failures);
    all.volume.mode = of(Detector::Volume);
    all.volume.rate_mode = of(Detector::Rate);
    all.slow.mode = of(Detector::Slow);
    all.enumeration.mode = of(Detector::Enumeration);
    all.canary = CanaryMode(of(Detector::Canary));
    all.intrusion.mode = of(Detector::Intrusion);
    all.logins.mode = of(Detector::Logins);
    all.sharing.mode = of(Detector::Sharing);
    all
}

/// Signals by detector and level.
pub type Counts = BTreeMap<(Detector, Level), u64>;

#[derive(Debug, Default)]
pub struct Normal {
    pub identity_months: f64,
    pub events: u64,
    pub signals: Counts,
    /// Signals that ask for more than a note, by kind of identity, and where they lead.
    pub acted: Vec<(Kind, u64, Detector, u64, u64, &'static str, Step)>,
}

impl Normal {
    pub fn merge(&mut self, other: Self) {
        self.identity_months += other.identity_months;
        self.events += other.events;
        for (key, count) in other.signals {
            *self.signals.entry(key).or_default() += count;
        }
        self.acted.extend(other.acted);
    }
}

/// Identities with weeks of history, where the attacks begin.
#[derive(Debug)]
pub struct Town {
    pub callers: Vec<(Caller, Watch)>,
    pub peers: Peers,
    pub settings: Settings,
}

/// Runs `weeks` of ordinary traffic of `identities`; those after the first five count.
pub fn normal(identities: u32, weeks: u64, seed: u64, settings: Settings) -> (Normal, Town) {
    let mut normal = Normal::default();
    let mut town = Town { callers: Vec::new(), peers: Peers::new(ROLES), settings };
    let mut events = Vec::new();
    for ix in 0..identities {
        let (mut caller, mut watch) = (Caller::new(ix, seed), Watch::default());
        let mut kept = None;
        for hour in 0..weeks * 168 {
            caller.hour(hour, &mut events);
            if hour == LEARN_HOURS {
                kept = Some((caller.clone(), watch.clone()));
            }
            normal.events += events.len() as u64;
            for event in &events {
                let watched = watch.observe(caller.ix, event, &town.peers, &town.settings);
                if let Some(hour) = watched.hour {
                    town.peers.learn(&hour);
                }
                for signal in watched.signals.iter().filter(|_| hour >= LEARN_HOURS) {
                    *normal.signals.entry((signal.detector, signal.level)).or_default() += 1;
                    if signal.asks > Response::Note {
                        normal.acted.push((
                            caller.kind,
                            hour,
                            signal.detector,
                            signal.why.seen,
                            signal.why.expected,
                            signal.why.setting,
                            Ladder::new(&caller, event.at).follow(signal),
                        ));
                    }
                }
            }
        }
        town.callers.push(kept.unwrap_or((caller, watch)));
    }
    let hours = (weeks * 168).saturating_sub(LEARN_HOURS) as f64;
    normal.identity_months = f64::from(identities) * hours / 730.0;
    (normal, town)
}

/// One way to steal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Pages of personal data at 40 times the identity's usual pace.
    ScrapeFast,
    /// At six times.
    ScrapeModerate,
    /// At twice, for as long as it goes.
    ScrapeSlow,
    /// One answer in 25 with personal data instead of one in 200.
    SlowShare,
    /// Object after object, a third of which do not exist.
    Enumerate,
    /// The credential is used from another network, 30 requests an hour.
    StolenToken,
    /// Operations are tried, one after the other.
    Probe,
    Canary,
}

impl Attack {
    pub const ALL: [Self; 8] = [
        Self::ScrapeFast,
        Self::ScrapeModerate,
        Self::ScrapeSlow,
        Self::SlowShare,
        Self::Enumerate,
        Self::StolenToken,
        Self::Probe,
        Self::Canary,
    ];

    fn fits(self, kind: Kind) -> bool {
        match self {
            Self::SlowShare => kind == Kind::Sync,
            // Who reveals hardly anything is measured by the others.
            Self::ScrapeFast | Self::ScrapeModerate | Self::ScrapeSlow => kind != Kind::Sync,
            _ => true,
        }
    }
}

#[derive(Debug, Default)]
pub struct Found {
    pub tried: u32,
    /// By a note at least.
    pub noted: u32,
    /// By a signal that asks for more.
    pub acted: u32,
    /// Kept out by the ladder within the day, by what the credential is.
    pub stopped: BTreeMap<Shown, u32>,
    /// Minutes until then.
    pub minutes: Vec<f64>,
    /// Records that the attacker had until then,
    pub records: Vec<f64>,
    /// and as a multiple of the hourly normal.
    pub lost: Vec<f64>,
    /// Whose they were, in the order of `lost`.
    pub kinds: Vec<Kind>,
    pub by: BTreeMap<(Kind, Detector), u32>,
}

impl Found {
    pub fn merge(&mut self, other: Self) {
        self.tried += other.tried;
        self.noted += other.noted;
        self.acted += other.acted;
        for (shown, count) in other.stopped {
            *self.stopped.entry(shown).or_default() += count;
        }
        self.minutes.extend(other.minutes);
        self.kinds.extend(other.kinds);
        self.records.extend(other.records);
        self.lost.extend(other.lost);
        for (key, count) in other.by {
            *self.by.entry(key).or_default() += count;
        }
    }
}

/// Not a number if there are none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Attacks each identity that it fits, one day long, beginning in an hour with work; every detector
/// is enforced.
pub fn attack(town: &Town, attack: Attack, seed: u64) -> Found {
    attack_under(&town.settings, town, attack, seed)
}

/// The same, under other settings.
pub fn attack_under(settings: &Settings, town: &Town, attack: Attack, seed: u64) -> Found {
    let mut found = Found::default();
    let mut dice = Dice::new(seed);
    for (caller, watch) in &town.callers {
        if !attack.fits(caller.kind) {
            continue;
        }
        found.tried += 1;
        let (mut caller, mut watch) = (caller.clone(), watch.clone());
        let earliest = LEARN_HOURS + dice.below(72);
        let mut events = Vec::new();
        let (mut started, mut lost, mut noted, mut acted) = (None, 0.0, false, false);
        let mut ladder = Ladder::new(&caller, at(LEARN_HOURS, 0));
        'hours: for hour in LEARN_HOURS.. {
            caller.hour(hour, &mut events);
            if started.is_none() && hour >= earliest && (events.len() >= 20 || hour > earliest + 96)
            {
                started = Some(hour);
            }
            let normal = caller.normal_records(started.unwrap_or(hour));
            let Some(first) = started else {
                for event in &events {
                    watch.observe(caller.ix, event, &town.peers, settings);
                }
                continue;
            };
            if hour >= first + 24 {
                break;
            }
            let own = events.len();
            mix(attack, &mut caller, normal, hour, &mut events, &mut dice);
            let mut order: Vec<usize> = (0..events.len()).collect();
            order.sort_by_key(|ix| events[*ix].at.mono_ns());
            for ix in order {
                let event = &events[ix];
                let watched = watch.observe(caller.ix, event, &town.peers, settings);
                if !acted && (ix >= own || attack == Attack::SlowShare) {
                    lost += event.records as f64;
                }
                noted |= !watched.signals.is_empty();
                for signal in watched.signals.iter() {
                    ladder.follow(signal);
                }
                let out = ladder.keeps_out(event.at);
                // A scraper is stopped by what takes records from it.
                let scraping = matches!(attack, Attack::ScrapeFast | Attack::ScrapeModerate);
                let counts = out || !scraping || settings.volume.mode == Mode::Off;
                let signal = watched.signals.iter().find(|s| s.asks > Response::Note);
                if let Some(signal) = signal.filter(|_| counts && !acted) {
                    acted = true;
                    found.acted += 1;
                    *found.by.entry((caller.kind, signal.detector)).or_default() += 1;
                    let ms = event.at.unix_ms() - at(first, 0).unix_ms();
                    found.minutes.push(ms as f64 / 60_000.0);
                    found.kinds.push(caller.kind);
                    found.records.push(lost);
                    found.lost.push(lost / normal);
                }
                if out {
                    *found.stopped.entry(caller.shown).or_default() += 1;
                    break 'hours;
                }
            }
        }
        found.noted += u32::from(noted);
    }
    found
}

fn mix(
    attack: Attack,
    caller: &mut Caller,
    normal: f64,
    hour: u64,
    events: &mut Vec<Event<'static>>,
    dice: &mut Dice,
) {
    if attack == Attack::SlowShare {
        for event in events.iter_mut().filter(|event| event.records == 0) {
            if dice.chance(0.035) {
                (event.records, event.bytes) = (2, 3_000);
            }
        }
        return;
    }
    let pages = |pace: f64| (normal * pace / 10.0).ceil() as u64;
    let count = match attack {
        Attack::ScrapeFast => pages(40.0),
        Attack::ScrapeModerate => pages(6.0),
        Attack::ScrapeSlow => pages(2.0),
        Attack::Enumerate => 1_500,
        Attack::StolenToken => 30,
        Attack::Probe => 60,
        Attack::Canary | Attack::SlowShare => 1,
    };
    for step in 0..count {
        let mut event = caller.event(hour, HOUR_MS / count * step);
        event.object = Some(hash(dice.word()));
        event.outcome = Outcome::Allowed;
        event.records = 0;
        match attack {
            Attack::ScrapeFast | Attack::ScrapeModerate | Attack::ScrapeSlow => {
                (event.records, event.bytes) = (10, 9_000);
            }
            Attack::Enumerate => {
                if dice.chance(0.33) {
                    event.outcome = Outcome::NotFound;
                }
            }
            Attack::StolenToken => {
                event.network = Some(NetworkIx(250));
                (event.source, event.fingerprint) = (99, 99);
            }
            Attack::Probe => {
                event.outcome = Outcome::NotPermitted;
                event.operation = Some(OperationIx(u16::try_from(100 + step).unwrap_or(0)));
            }
            Attack::Canary => {
                event.canary = Some(sekisho::detect::Canary { number: 3, planted_for: None });
            }
            Attack::SlowShare => {}
        }
        events.push(event);
    }
}
