//! What another configuration would change: who gains or loses what. Controls: PRIV-1, PRIV-3, NET-1,
//! ACC-3, LOG-1.
//!
//! Decides: for each difference, whether it widens what may be done, narrows it, or neither. Never
//! sees: files, sockets, the clock, keys' contents.
//! 1. Two [`Snapshot`]s are compared, not two texts: what is written in another way and means the same
//!    is no change.
//! 2. Where it can't be proved that nothing is widened, it is said to be: of a figure that works both
//!    ways, of a place that is another, of a secret that nobody sees. What is exchanged for something
//!    else is told twice: what is lost narrows, what comes instead widens. Two exchanges only widen,
//!    because they take nothing away from anybody who calls, so that one that keeps everybody out can
//!    be put back: of the server behind an upstream, and of the header that tokens come in.
//! 3. What people wrote for people (purposes, reasons, owners, subjects of tokens) is not repeated
//!    (LOG-2); names, numbers, prefixes and hosts of the configuration are.
//! 4. The answer is bounded: identities that change alike share a line, and beyond [`LINES_MAX`] lines
//!    those that narrow or do neither are left out first, and counted.
//!
//! How each key of the configuration is compared, and why so, is a table that the tests run:
//! `directions.txt`, beside this. A setting that is new does not compile until it is compared, and a
//! key that is new fails a test until it has its row.
//!
//! Fast, because identities with the same roles are the same question: 10,000 of them take about as
//! long as their distinct lists of roles.
mod access;
mod bounds;
mod detectors;
mod identities;
mod limits;
mod line;
mod pass;
mod people;
mod reach;
mod step_up;
mod upstreams;
mod watch;

use super::Snapshot;
use crate::base::Name;

use line::Effect;
pub use line::{Direction, ITEMS_MAX, Line, NAMES_MAX, Part, Said};

/// The most lines of one answer.
pub const LINES_MAX: usize = 1_000;

/// How many lines there are of each kind, those left out included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub widens: usize,
    pub narrows: usize,
    pub neutral: usize,
}

/// What would change, what widens first.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    pub lines: Vec<Line>,
    pub counts: Counts,
    /// Lines beyond the bound.
    pub omitted: usize,
    pub scope: Scope,
}

/// What a change touches, for whoever judges what it led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Upstreams whose own settings changed.
    pub upstreams: Vec<Name>,
    /// Listeners whose own settings changed.
    pub listeners: Vec<Name>,
    /// Whether it has to do with who may do what.
    pub access: bool,
    /// Whether it takes anything away, wherever.
    pub narrows: bool,
}

impl Diff {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.counts.widens == 0 && self.counts.narrows == 0 && self.counts.neutral == 0
    }

    /// Whether somebody who reviews it for security has to look: more may be done than before.
    #[must_use]
    pub const fn widens(&self) -> bool {
        self.counts.widens > 0
    }
}

/// What putting `new` in the place of `old` would change.
#[must_use]
pub fn compare(old: &Snapshot, new: &Snapshot) -> Diff {
    everything(new);
    let mut out = Out::default();
    identities::compare(old, new, &mut out);
    access::compare(old, new, &mut out);
    limits::compare(old, new, &mut out);
    step_up::compare(old, new, &mut out);
    reach::compare(old, new, &mut out);
    upstreams::compare(old, new, &mut out);
    people::compare(old, new, &mut out);
    detectors::compare(&old.detect, &new.detect, &mut out);
    watch::compare(old, new, &mut out);
    out.close()
}

/// Every part of a configuration has its room here: a part that is new does not compile until somebody
/// has said where it is compared.
const fn everything(of: &Snapshot) {
    let Snapshot {
        // Numbers and tables that are made of the rest.
        generation: _,
        names: _,
        tables: _,
        networks: _,
        files: _,
        // identities
        identities: _,
        trust: _,
        policy: _,
        // access; operations are the policy's
        prefixes: _,
        issuers: _,
        token: _,
        served: _,
        // limits
        quotas: _,
        // step_up
        step_up: _,
        acr: _,
        // reach, bounds, pass
        listeners: _,
        // upstreams
        upstreams: _,
        // people
        operators: _,
        api: _,
        alarms: _,
        // detectors
        detect: _,
        // watch
        lockout: _,
        log: _,
        environment: _,
        state_dir: _,
        state: _,
        threads: _,
        shutdown_grace: _,
        key_max_age: _,
        secret_max_age: _,
        secrets: _,
        permit: _,
        admin: _,
        reload: _,
        pacing: _,
    } = of;
}

/// Lines as they are found.
#[derive(Debug, Default)]
struct Out(Vec<Line>);

impl Out {
    fn add(&mut self, line: Line) {
        self.0.push(line);
    }

    /// A line for each thing that a change does.
    fn tell(&mut self, effect: Effect, line: impl Fn(Direction) -> Line) {
        effect.directions().for_each(|direction| self.add(line(direction)));
    }

    fn close(self) -> Diff {
        let mut lines = self.0;
        lines.sort_by(Line::order);
        let mut diff = Diff::default();
        for line in &lines {
            let count = match line.direction {
                Direction::Widens => &mut diff.counts.widens,
                Direction::Narrows => &mut diff.counts.narrows,
                Direction::Neutral => &mut diff.counts.neutral,
            };
            *count += 1;
            diff.scope.note(line);
        }
        diff.omitted = lines.len().saturating_sub(LINES_MAX);
        lines.truncate(LINES_MAX);
        diff.lines = lines;
        diff
    }
}

impl Scope {
    fn note(&mut self, line: &Line) {
        let list = match line.part {
            Part::Upstream => &mut self.upstreams,
            Part::Listener => &mut self.listeners,
            part => {
                self.access |= part.is_access();
                self.narrows |= line.direction == Direction::Narrows;
                return;
            }
        };
        self.narrows |= line.direction == Direction::Narrows;
        for name in &line.names {
            if !list.contains(name) {
                list.push(name.clone());
            }
        }
    }
}
