//! Attacks after weeks of ordinary work, one for each way to a signal.
use std::sync::LazyLock;

use super::super::*;
use super::{HOUR_MS, at, enforced, event};
use crate::base::{HashKey, IdentityIx, NetworkIx, OperationIx, RoleIx};
use crate::detect::volume::HourTotals;

pub(super) struct Run {
    pub(super) name: &'static str,
    pub(super) learned: Watch,
    pub(super) peers: Peers,
    pub(super) settings: Settings,
    pub(super) events: Vec<Event<'static>>,
}

impl Run {
    fn new(
        name: &'static str,
        learned: &Watch,
        events: impl Iterator<Item = Event<'static>>,
    ) -> Self {
        Self {
            name,
            learned: learned.clone(),
            peers: Peers::new(1),
            settings: enforced(),
            events: events.collect(),
        }
    }

    fn under(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    fn among(mut self, octaves: [f32; 3]) -> Self {
        for _ in 0..300 {
            self.peers.learn(&HourTotals { role: RoleIx(0), octaves });
        }
        self
    }

    /// Each signal with the place of its event.
    pub(super) fn signals(&self, settings: &Settings) -> Vec<(usize, Signal)> {
        let (mut watch, mut sources) = (self.learned.clone(), Sources::new(64));
        let mut all = Vec::new();
        for (place, event) in self.events.iter().enumerate() {
            all.extend(sources.observe(event, settings).iter().map(|signal| (place, *signal)));
            let Some(identity) = event.identity else { continue };
            let watched = watch.observe(identity, event, &self.peers, settings);
            all.extend(watched.signals.iter().map(|signal| (place, *signal)));
        }
        all
    }
}

pub(super) fn object(number: u64) -> u64 {
    HashKey::new([1; 16]).hash(&number.to_le_bytes())
}

/// Five weeks of so many requests an hour, evenly spread, each for another object.
fn weeks(per_hour: u64, records: impl Fn(u64) -> u64) -> Watch {
    let (mut watch, peers, settings) = (Watch::default(), Peers::new(1), enforced());
    for n in 0..840 * per_hour {
        let moment = at(n / per_hour, HOUR_MS / per_hour * (n % per_hour));
        let one = Event { records: records(n), object: Some(object(n)), ..event(moment) };
        watch.observe(IdentityIx(0), &one, &peers, &settings);
    }
    watch
}

static STEADY: LazyLock<Watch> = LazyLock::new(|| weeks(60, |_| 2));
static QUIET: LazyLock<Watch> = LazyLock::new(|| weeks(4, |_| 2));
static LITTLE: LazyLock<Watch> = LazyLock::new(|| weeks(10, |_| 2));
/// One answer in two hundred has personal data.
static SPARSE: LazyLock<Watch> = LazyLock::new(|| weeks(30, |n| u64::from(n.is_multiple_of(200))));
/// Once a day, 200 requests within five minutes.
static JOBS: LazyLock<Watch> = LazyLock::new(|| {
    let (mut watch, peers, settings) = (Watch::default(), Peers::new(1), enforced());
    for day in 0..35 {
        for one in job(day * 24, 200) {
            watch.observe(IdentityIx(0), &one, &peers, &settings);
        }
    }
    watch
});

fn job(hour: u64, requests: u64) -> impl Iterator<Item = Event<'static>> {
    (0..requests).map(move |n| event(at(hour, 300_000 / requests * n)))
}

fn evenly(hour: u64, count: u64) -> impl Iterator<Item = Event<'static>> {
    (0..count).map(move |n| event(at(hour, HOUR_MS / count * n)))
}

fn each_second(hour: u64, count: u64) -> impl Iterator<Item = Event<'static>> {
    (0..count).map(move |n| event(at(hour, n * 1_000)))
}

fn failed(count: u64, outcome: Outcome) -> impl Iterator<Item = Event<'static>> {
    each_second(840, count).map(move |one| Event { outcome, ..one })
}

fn from(one: Event<'static>, network: u8, fingerprint: u64) -> Event<'static> {
    Event { network: Some(NetworkIx(network)), fingerprint, ..one }
}

pub(super) fn all() -> Vec<Run> {
    [volume(), failures(), objects(), slow(), sources(), sharing()].into_iter().flatten().collect()
}

fn volume() -> Vec<Run> {
    let young = Watch::default();
    let bare = |one: Event<'static>| Event { bytes: 0, records: 0, ..one };
    let heavy = |one: Event<'static>| Event { bytes: 200_000, records: 0, ..one };
    let no_burst = |all: &mut Settings| all.volume.burst_factor = 1_000.0;
    vec![
        Run::new("the young ask", &young, each_second(1, 2_100).map(bare)),
        Run::new("the young take", &young, each_second(1, 1_400).map(heavy)),
        Run::new("the young reveal", &young, each_second(1, 1_100)),
        Run::new("the young ask among peers", &young, evenly(1, 4_500).map(bare))
            .among([7.0, 1.0, 1.0]),
        Run::new("a burst", &STEADY, each_second(840, 300)),
        Run::new("a burst of little", &LITTLE, each_second(840, 300)),
        Run::new("an even hour of more", &STEADY, evenly(840, 560)),
        Run::new("an even hour of more requests", &STEADY, evenly(840, 560).map(bare)),
        Run::new("an even hour of more bytes", &STEADY, evenly(840, 90).map(heavy)),
        Run::new("an hour in minutes", &STEADY, each_second(840, 600)).under(no_burst),
        Run::new("requests in minutes", &STEADY, each_second(840, 600).map(bare)),
        Run::new("more than ever by much", &STEADY, evenly(840, 560).map(bare)).under(|all| {
            (all.volume.risk_note, all.volume.risk_act) = (1e-30, 1e-30);
            (all.volume.hour_factor, all.volume.factor_max) = (2.0, 3.0);
        }),
        Run::new("by the tail", &STEADY, evenly(840, 560).map(bare))
            .under(|all| all.volume.hour_factor = 1.0),
        Run::new("little of nothing", &QUIET, evenly(840, 200).map(bare)),
        Run::new("a job elsewhere", &JOBS, job(843, 700)),
        Run::new("a job beside another", &JOBS, job(843, 560).chain(job(845, 1_000))),
    ]
}

fn failures() -> Vec<Run> {
    let mut used = Watch::default();
    for hour in 0..200 {
        for n in 0..30 {
            let outcome = Outcome::NotPermitted;
            let one = Event { outcome, ..event(at(hour, n * 10_000)) };
            used.observe(IdentityIx(0), &one, &Peers::new(1), &enforced());
        }
    }
    let wide = (0..40).map(|n| Event {
        outcome: Outcome::NotPermitted,
        operation: Some(OperationIx(n)),
        ..event(at(840, u64::from(n) * 1_000))
    });
    let young = Watch::default();
    vec![
        Run::new("refused", &young, failed(30, Outcome::NotPermitted)),
        Run::new("refused everywhere", &young, wide),
        Run::new("missing", &young, failed(250, Outcome::NotFound)),
        Run::new("refused as ever", &used, failed(500, Outcome::OverQuota)),
        Run::new("missing as ever", &used, failed(500, Outcome::NotFound)),
    ]
}

fn objects() -> Vec<Run> {
    let fresh = |hour, count| {
        let other = move |n: u64| object(hour << 32 | n);
        let each = evenly(hour, count).zip(0..);
        each.map(move |(one, n)| Event { object: Some(other(n)), records: 0, ..one })
    };
    let young = Watch::default();
    let day = || (840..864).flat_map(|hour| fresh(hour, 400));
    vec![
        Run::new("the young enumerate", &young, fresh(1, 2_600)),
        Run::new("the young enumerate all day", &young, (0..13).flat_map(|hour| fresh(hour, 900))),
        Run::new("more objects", &STEADY, day()),
        Run::new("more objects of few", &QUIET, day()),
        Run::new("more objects by the tail", &STEADY, day()).under(|all| {
            (all.enumeration.least_hour, all.enumeration.least_day) = (1.0, 1.0);
            all.enumeration.factor = 1.0;
        }),
        Run::new("more objects than ever by much", &STEADY, day())
            .under(|all| (all.enumeration.risk_act, all.enumeration.factor) = (0.04, 4.0)),
    ]
}

fn slow() -> Vec<Run> {
    let share = |one_in: u64| {
        let each = (840..868).flat_map(|hour| evenly(hour, 30)).zip(0_u64..);
        each.map(move |(one, n)| Event { records: u64::from(n.is_multiple_of(one_in)), ..one })
    };
    vec![
        Run::new("a share that rises", &SPARSE, share(25)),
        Run::new("a share that rises much", &SPARSE, share(5)),
        Run::new("a share beyond its days", &SPARSE, share(25))
            .under(|all| (all.slow.note, all.slow.act) = (1e-3, 1e-3)),
    ]
}

fn sources() -> Vec<Run> {
    let young = Watch::default();
    let nobody = |one: Event<'static>| Event { identity: None, ..one };
    let outside = |one: Event<'static>| Event { network: None, ..one };
    let spray = failed(20, Outcome::NotAuthenticated)
        .zip(10..)
        .map(|(one, ix)| Event { identity: Some(IdentityIx(ix)), ..one });
    let strangers = failed(120, Outcome::NotAuthenticated)
        .zip(0..)
        .map(|(one, source)| Event { source: source << 32, ..one });
    vec![
        Run::new("a scanner", &young, failed(12, Outcome::ScannerPath).map(nobody)),
        Run::new("no protocol", &young, failed(60, Outcome::Malformed).map(nobody)),
        Run::new("a guesser", &young, failed(45, Outcome::NotAuthenticated).map(outside)),
        Run::new("a spray", &young, spray.map(outside)),
        Run::new("strangers", &young, strangers.map(outside)),
    ]
}

fn sharing() -> Vec<Run> {
    let two = |hour, count| {
        let each = evenly(hour, 60).take(count).zip(0..);
        each.map(|(one, n): (Event<'static>, u64)| if n % 2 == 0 { one } else { from(one, 9, 9) })
    };
    let mut travels = QUIET.clone();
    for hour in 840..1_200 {
        for one in two(hour, 6) {
            travels.observe(IdentityIx(0), &one, &Peers::new(1), &enforced());
        }
    }
    let canary = Some(Canary { number: 3, planted_for: None });
    let touched = evenly(840, 1).map(|one| Event { canary, ..one });
    vec![
        Run::new("another place", &QUIET, evenly(840, 1).map(|one| from(one, 7, 7))),
        Run::new("two places", &QUIET, two(840, 60)),
        Run::new("two places that are known", &QUIET, two(840, 2).chain(two(842, 60))),
        Run::new("two places as ever", &travels, two(1_200, 60)),
        Run::new("a canary", &QUIET, touched),
    ]
}
