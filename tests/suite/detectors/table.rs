//! The table from which the detectors' defaults are chosen, as it stands in deploy/README.md.
use std::io::{Error, Write};

use sekisho::detect::{Detector, Level};
use sekisho::lockout::Shown;

use super::runs::{Attack, Found, Normal, alone, attack, attack_under, enforced, normal, quantile};
use super::siege::{Siege, scanner, spray, strangers};

/// Sixteen weeks, of which the last eleven count.
const WEEKS: u64 = 16;

const ROWS: [(Attack, Option<Detector>); 12] = [
    (Attack::ScrapeFast, None),
    (Attack::ScrapeFast, Some(Detector::Volume)),
    (Attack::ScrapeFast, Some(Detector::Rate)),
    (Attack::ScrapeModerate, None),
    (Attack::ScrapeSlow, None),
    (Attack::SlowShare, Some(Detector::Slow)),
    (Attack::Enumerate, None),
    (Attack::Enumerate, Some(Detector::Enumeration)),
    (Attack::StolenToken, None),
    (Attack::StolenToken, Some(Detector::Sharing)),
    (Attack::Probe, Some(Detector::Failures)),
    (Attack::Canary, Some(Detector::Canary)),
];

/// `identities` for each of the seeds.
pub fn print(out: &mut impl Write, identities: u32, seeds: &[u64]) -> Result<(), Error> {
    let mut all = Normal::default();
    let mut found: Vec<Found> = ROWS.iter().map(|_| Found::default()).collect();
    for seed in seeds {
        let (ordinary, town) = normal(identities, WEEKS, *seed, enforced());
        all.merge(ordinary);
        for ((kind, only), sum) in ROWS.iter().zip(&mut found) {
            sum.merge(match only {
                None => attack(&town, *kind, 11),
                Some(detector) => attack_under(&alone(*detector), &town, *kind, 11),
            });
        }
    }
    let months = all.identity_months;
    writeln!(
        out,
        "{identities} identities, seeds {seeds:?}: {months:.0} identity-months after five weeks of \
         learning, {} requests in all\n",
        all.events
    )?;
    writeln!(
        out,
        "| detector | notes per identity-month | false verdicts per 1,000 |\n|---|---|---|"
    )?;
    for detector in Detector::ALL {
        let count = |level| all.signals.get(&(*detector, level)).copied().unwrap_or(0) as f64;
        let (notes, acts) = (count(Level::Note), count(Level::Act));
        let (notes, acts) = (notes / months, acts / months * 1_000.0);
        writeln!(out, "| `{}` | {notes:.3} | {acts:.1} |", detector.as_str())?;
    }
    for acted in &all.acted {
        writeln!(out, "false verdict: {acted:?}")?;
    }
    writeln!(
        out,
        "\n| attack | seen by | found | minutes | records lost | in hourly normals | within 2 | \
         kept out: tokens, certificates |\n|---|---|---|---|---|---|---|---|"
    )?;
    for ((kind, only), found) in ROWS.iter().zip(&found) {
        row(out, *kind, only.map_or("all", Detector::as_str), found)?;
    }
    for (what, siege) in [("spray", spray()), ("strangers", strangers()), ("scanner", scanner())] {
        let Siege { attempts, source_locked_after, identities_locked, stepped_up } = siege;
        writeln!(
            out,
            "{what}: {attempts} attempts, source locked after {source_locked_after:?}, {identities_locked} \
             identities locked, more demanded of strangers {stepped_up} times"
        )?;
    }
    Ok(())
}

fn row(out: &mut impl Write, kind: Attack, by: &str, found: &Found) -> Result<(), Error> {
    let three = |values: &[f64], digits: usize| {
        let [half, most, all] = [0.5, 0.95, 1.0].map(|share| quantile(values, share));
        format!("{half:.digits$} / {most:.digits$} / {all:.digits$}")
    };
    writeln!(
        out,
        "| {kind:?} | {by} | {} of {} | {} | {} | {} | {} | {} {} |",
        found.acted,
        found.tried,
        three(&found.minutes, 1),
        three(&found.records, 0),
        three(&found.lost, 2),
        found.lost.iter().filter(|lost| **lost <= 2.0).count(),
        found.stopped.get(&Shown::Bearer).unwrap_or(&0),
        found.stopped.get(&Shown::Certificate).unwrap_or(&0),
    )?;
    for ((caller, detector), count) in &found.by {
        writeln!(out, "<!-- first by {} for {caller:?}: {count} -->", detector.as_str())?;
    }
    Ok(())
}
