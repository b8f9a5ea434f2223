//! One reload at a time, whoever asks: a signal, a changed file, an operator. Controls: PRIV-3, LOG-1.
//!
//! 1. Whoever asks while another reload runs waits for its turn; the last one reads what is there last.
//!    Signals and changed files that wait together share one: it begins after all of them.
//! 2. Reading, compiling, comparing and building are done aside, on a thread that serves nobody. What
//!    is left to do in the moment of the swap is to exchange a pointer.
//! 3. It goes on to its end when whoever asked goes away, and is told and counted whatever comes of it.
//! 4. What was put back is not taken up again by itself, and holds up nothing that others revoke or
//!    renew: see `barred`.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::barred::Barred;
use super::files::{Files, Origin, Print, Read, Reading};
use super::permit::Taken;
use super::retry::Retry;
use super::trial::{Judged, OnTrial, Proven};
use super::{Engine, Live, ReloadFault, build, number, unmoved};
use crate::base::{Moment, Name};
use crate::config::diff::{Diff, compare};
use crate::config::{ConfigError, ConfigErrors, Snapshot, Texts};
use crate::evidence::{Applied, Event, Fixed};
use crate::observe::Metrics;
use crate::trial::{History, Sample};

/// Who or what asks for a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP: somebody on the machine insists.
    Signal,
    /// A file changed.
    File,
    Operator(Name),
}

impl Trigger {
    const fn word(&self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::File => "file",
            Self::Operator(_) => "operator",
        }
    }
}

/// Whether a change may widen what may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Widening {
    Allowed,
    Refused,
}

/// Whether a configuration that was put back because of what failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    No,
    Yes,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    pub trigger: Trigger,
    /// Only if everything reads as it did when somebody looked.
    pub expect: Option<Print>,
    pub widening: Widening,
    pub again: Again,
}

/// What the files would change.
#[derive(Debug)]
pub struct Preview {
    /// The configuration in force.
    pub generation: u64,
    pub print: Print,
    pub texts: Arc<Texts>,
    pub diff: Diff,
    pub warnings: Vec<ConfigError>,
    /// Why it could not be put in force all the same.
    pub blocked: Option<ReloadFault>,
    /// It was put back before, because of this.
    pub put_back: Option<Judged>,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    Applied {
        generation: u64,
        diff: Diff,
        warnings: Vec<ConfigError>,
        took: Duration,
        /// Until when it is on trial.
        until: Moment,
        /// Only what the texts in force refer to: those on disk were put back, because of this.
        held: Option<Judged>,
    },
    /// Nothing was changed.
    Refused { generation: u64, why: Why },
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum Why {
    /// It is not known where the configuration is.
    NoFiles,
    Errors(ConfigErrors),
    Fault(ReloadFault),
    /// This very configuration was in force and was put back.
    PutBack(Judged),
    /// Since somebody looked, something changed.
    Changed,
    /// It widens what may be done, and whoever asks may not do that.
    Widens,
    /// The gateway failed.
    Broken,
}

impl Why {
    /// Its name in the log.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoFiles => "no-files",
            Self::Errors(_) => "errors",
            Self::Fault(fault) => fault.word(),
            Self::PutBack(_) => "put-back-before",
            Self::Changed => "changed-meanwhile",
            Self::Widens => "widens",
            Self::Broken => "broken",
        }
    }

    fn count(&self) -> u64 {
        let many = match self {
            Self::Errors(errors) => errors.errors.len().saturating_add(errors.omitted),
            Self::Fault(ReloadFault::Quotas(errors)) => errors.len(),
            Self::Fault(ReloadFault::Keys(faults)) => faults.len(),
            Self::Fault(ReloadFault::Listeners(names)) => names.len(),
            Self::Fault(ReloadFault::Fixed(keys)) => keys.len(),
            Self::Fault(
                ReloadFault::Tls(_)
                | ReloadFault::Random
                | ReloadFault::Numbers
                | ReloadFault::Parting
                | ReloadFault::Stopping,
            )
            | Self::NoFiles
            | Self::PutBack(_)
            | Self::Changed
            | Self::Widens
            | Self::Broken => 1,
        };
        u64::try_from(many).unwrap_or(u64::MAX)
    }
}

/// What is known from one reload to the next.
#[derive(Default)]
pub(in crate::engine) struct Reloads {
    pub(super) files: Mutex<Option<Arc<dyn Files>>>,
    /// Of what is in force; none, if that is not known.
    pub(super) origin: Mutex<Option<Origin>>,
    pub(super) barred: Mutex<Barred>,
    pub(super) turn: Arc<tokio::sync::Mutex<Turn>>,
    pub(super) retry: Mutex<Retry>,
    /// One looks at a time: it takes as long as a reload.
    looking: tokio::sync::Mutex<()>,
    /// How many asked who may share a reload.
    asked: AtomicU64,
    /// Another process is about to take this one's place.
    pub(super) held: watch::Sender<bool>,
    pub(super) may_swap: Mutex<MaySwap>,
    pub(super) trial: Mutex<Option<OnTrial>>,
    pub(super) history: Mutex<History>,
    /// Where the tally of a configuration stood when it was last looked at.
    pub(super) counted: Mutex<Option<(u64, Moment, Sample)>>,
    /// Configurations that are in force no more, until nobody uses them.
    retired: Mutex<Vec<Arc<Live>>>,
}

/// Whether another configuration may come into force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MaySwap {
    #[default]
    Yes,
    No,
}

/// Whoever holds it may change what is in force.
#[derive(Default)]
pub(super) struct Turn {
    /// The highest number that any configuration ever had.
    pub(super) generation: u64,
    /// How many had asked when the last shared reload began, and what came of it.
    last: Option<(u64, Arc<Outcome>)>,
}

impl Engine {
    /// Where the configuration is read from, from now on, and what the one in force was made from.
    pub fn read_from(&self, files: Arc<dyn Files>, origin: Option<Origin>) {
        *self.reloads.files.lock() = Some(files);
        *self.reloads.origin.lock() = origin;
        self.note_retry(None);
    }

    /// Reads everything again and puts it in force, if it can be and may be.
    pub async fn reload_files(self: &Arc<Self>, order: Order) -> Arc<Outcome> {
        let shared = order.trigger == Trigger::Signal || order.trigger == Trigger::File;
        let ticket = if shared { self.reloads.asked.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        let turn = match &order.trigger {
            // Nobody asks for the process' own sake while it hands over; they are told before that.
            Trigger::Signal | Trigger::File => {
                Some(Arc::clone(&self.reloads.turn).lock_owned().await)
            }
            Trigger::Operator(_) => self.reloads.turn_or_hold().await,
        };
        let generation = self.live().snapshot.generation;
        let Some(mut turn) = turn else {
            let why = Why::Fault(ReloadFault::Parting);
            return Arc::new(Outcome::Refused { generation, why });
        };
        if shared
            && let Some((covers, outcome)) = &turn.last
            && *covers >= ticket
        {
            return Arc::clone(outcome);
        }
        let covers = self.reloads.asked.load(Ordering::SeqCst);
        let engine = Arc::clone(self);
        // The turn goes along, so that it is not over before the work is.
        let done = tokio::task::spawn_blocking(move || {
            let outcome = engine.attempt(&mut turn, &order);
            engine.tell_of(&order, &outcome);
            engine.note_retry(Some(&outcome));
            if matches!(outcome, Outcome::Refused { .. }) {
                let _told = engine.take_permit(&mut turn);
            }
            let outcome = Arc::new(outcome);
            if shared {
                turn.last = Some((covers, Arc::clone(&outcome)));
            }
            outcome
        });
        done.await.unwrap_or_else(|_panicked| {
            self.tell_of_refusal(&Why::Broken);
            let outcome = Outcome::Refused { generation, why: Why::Broken };
            self.note_retry(Some(&outcome));
            Arc::new(outcome)
        })
    }

    /// What reading everything again would change. Changes nothing, and keeps nobody from reloading.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn preview_files(self: &Arc<Self>) -> Result<Preview, Why> {
        let files = self.reloads.files.lock().clone().ok_or(Why::NoFiles)?;
        let _alone = self.reloads.looking.lock().await;
        let engine = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let (live, now) = (engine.live(), engine.steady_now());
            let generation = live.snapshot.generation;
            let (next, before) = (generation.saturating_add(1), &live.snapshot);
            let read = files.read(Reading::ToLook, next, now, before);
            let loaded = read.loaded.map_err(Why::Errors)?;
            let diff = compare(&live.snapshot, &loaded.snapshot);
            Ok(Preview {
                generation,
                print: read.origin.print,
                texts: Arc::clone(&read.origin.texts),
                diff,
                blocked: engine.rehearse(&live, loaded.snapshot, now).err(),
                warnings: loaded.warnings,
                put_back: engine.reloads.barred.lock().why(&read.origin),
            })
        });
        done.await.unwrap_or(Err(Why::Broken))
    }

    /// Does all that can fail, and gives it up again.
    fn rehearse(
        &self,
        before: &Arc<Live>,
        mut snapshot: Snapshot,
        now: Moment,
    ) -> Result<(), ReloadFault> {
        if self.reloads.are_held() {
            return Err(ReloadFault::Parting);
        }
        unmoved(&before.snapshot, &snapshot)?;
        number(&mut self.numbers.lock().clone(), &mut snapshot)?;
        let snapshot = Arc::new(snapshot);
        drop(self.bind(&snapshot)?);
        // Of their own: what is only looked at has no series.
        let Ok(metrics) = Metrics::new("", now) else { return Ok(()) };
        let (time, key) = (&self.permits.time, self.pacing.key());
        build(snapshot, &self.jwks, Some(before), time, &metrics, key).map(drop)
    }

    /// A configuration was found to be unusable before it was somebody's turn: told and counted alike.
    pub fn tell_of_refusal(&self, why: &Why) {
        let generation = self.live().snapshot.generation;
        self.metrics.config_refused.inc();
        let (errors, why) = (why.count(), Fixed::new(why.word()));
        self.report_event(&Event::ConfigRefused { generation, errors, why });
    }

    fn attempt(self: &Arc<Self>, turn: &mut Turn, order: &Order) -> Outcome {
        let (generation, began) = (self.live().snapshot.generation, self.steady_now());
        let refuse = |why| Outcome::Refused { generation, why };
        let Some(files) = self.reloads.files.lock().clone() else { return refuse(Why::NoFiles) };
        let live = self.live();
        let origin = self.made_from();
        let reading = match order.trigger {
            Trigger::File => Reading::AtRest(origin.as_ref().map(|origin| &*origin.texts)),
            Trigger::Signal | Trigger::Operator(_) => Reading::ToApply,
        };
        let read = files.read(reading, self.next(turn), began, &live.snapshot);
        let seen = read.origin.print;
        if read.loaded.is_ok() && order.expect.is_some_and(|expected| expected != seen) {
            return refuse(Why::Changed);
        }
        let barred = match order.again {
            Again::No => self.reloads.barred.lock().why(&read.origin),
            Again::Yes => None,
        };
        match barred {
            None => self.apply(turn, order, read, None, began),
            Some(judged) => match self.renewed(turn, &*files, began, &order.trigger) {
                Some(read) => self.apply(turn, order, read, Some(judged), began),
                None => refuse(Why::PutBack(judged)),
            },
        }
    }

    /// The number that the next configuration gets.
    pub(super) fn next(&self, turn: &Turn) -> u64 {
        turn.generation.max(self.live().snapshot.generation).saturating_add(1)
    }

    /// The texts in force with what they refer to as it is now; none, if that is as it was.
    fn renewed(
        &self,
        turn: &Turn,
        files: &dyn Files,
        now: Moment,
        trigger: &Trigger,
    ) -> Option<Read> {
        let origin = self.made_from()?;
        let again = match trigger {
            Trigger::File => Reading::AgainAtRest(&origin.texts),
            Trigger::Signal | Trigger::Operator(_) => Reading::Again(&origin.texts),
        };
        let read = files.read(again, self.next(turn), now, &self.live().snapshot);
        let same = read.origin.print == origin.print
            || self.reloads.barred.lock().why(&read.origin).is_some();
        (!same).then_some(read)
    }

    /// After a configuration was put back: what it refers to may have changed since it was read.
    pub(super) fn catch_up(self: &Arc<Self>, turn: &mut Turn) {
        let (began, trigger) = (self.steady_now(), Trigger::File);
        let Some(files) = self.reloads.files.lock().clone() else { return };
        let Some(read) = self.renewed(turn, &*files, began, &trigger) else { return };
        let (widening, again) = (Widening::Allowed, Again::No);
        let order = Order { trigger, expect: None, widening, again };
        let outcome = self.apply(turn, &order, read, None, began);
        self.tell_of(&order, &outcome);
    }

    fn apply(
        self: &Arc<Self>,
        turn: &mut Turn,
        order: &Order,
        read: Read,
        held: Option<Judged>,
        began: Moment,
    ) -> Outcome {
        let before = self.live();
        let refuse = |why| Outcome::Refused { generation: before.snapshot.generation, why };
        let Read { loaded, origin } = read;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(errors) => return refuse(Why::Errors(errors)),
        };
        let diff = compare(&before.snapshot, &loaded.snapshot);
        if order.widening == Widening::Refused && diff.widens() {
            return refuse(Why::Widens);
        }
        self.sample(self.clock.now());
        let was = self.made_from();
        let next = self.numbered(loaded.snapshot).map(|next| (next, Some(origin.clone())));
        let live = match next.and_then(|next| self.put(&before, next)) {
            Ok(live) => live,
            Err(fault) => return refuse(Why::Fault(fault)),
        };
        let generation = live.snapshot.generation;
        turn.generation = generation;
        self.reloads.barred.lock().forgive(&origin);
        let same_texts = was.as_ref().is_some_and(|was| was.texts == origin.texts);
        let proven = self.reloads.trial.lock().as_ref().map(|trial| trial.proven.clone());
        let proven = match proven {
            // What both refer to changed for both, and is no part of what is on trial.
            Some(proven) if same_texts => self.with_new_material(turn, proven, &origin),
            Some(proven) => proven,
            None => Proven { snapshot: Arc::clone(&before.snapshot), origin: was },
        };
        let permit = &live.snapshot.permit;
        let proven = if proven.snapshot.permit.standing == permit.standing {
            proven
        } else {
            self.under_as_well(turn, proven, Taken::Alone(permit))
        };
        let until = self.begin_trial(proven, &live, &diff.scope);
        let took = self.clock.now().since(began);
        Outcome::Applied { generation, diff, warnings: loaded.warnings, took, until, held }
    }

    /// The last configuration that stood its trial, with what it refers to as it is now, if that can be
    /// used: so putting it back gives back nothing that was revoked meanwhile.
    fn with_new_material(&self, turn: &mut Turn, proven: Proven, live: &Origin) -> Proven {
        let files = self.reloads.files.lock().clone();
        let (Some(files), Some(origin)) = (files, &proven.origin) else { return proven };
        if origin.texts == live.texts {
            return proven;
        }
        let again = Reading::Again(&origin.texts);
        let (now, before) = (self.steady_now(), self.live());
        let read = files.read(again, self.next(turn), now, &before.snapshot);
        let Read { loaded, origin } = read;
        let snapshot = loaded.ok().and_then(|loaded| self.numbered(loaded.snapshot).ok());
        let Some(snapshot) = snapshot else { return proven };
        turn.generation = snapshot.generation;
        Proven { snapshot, origin: Some(origin) }
    }

    pub(super) fn tell_of(&self, order: &Order, outcome: &Outcome) {
        match outcome {
            Outcome::Applied { generation, diff, .. } => {
                let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
                self.metrics.config_applied.inc();
                self.report_event(&Event::ConfigReloaded(Applied {
                    generation: *generation,
                    trigger: Fixed::new(order.trigger.word()),
                    actor: match &order.trigger {
                        Trigger::Operator(name) => Some(name),
                        Trigger::Signal | Trigger::File => None,
                    },
                    widens: count(diff.counts.widens),
                    narrows: count(diff.counts.narrows),
                    neutral: count(diff.counts.neutral),
                }));
            }
            // Nothing is wrong with the files: it is told as what the operator may not do.
            Outcome::Refused { why: Why::Changed | Why::Widens, .. } => {}
            Outcome::Refused { why, .. } => self.tell_of_refusal(why),
        }
    }
}

impl Reloads {
    /// A configuration is in force no more. It is given up where nobody waits for it: ten thousand
    /// identities take some milliseconds to take apart.
    pub(super) fn retire(&self, live: Arc<Live>) {
        self.retired.lock().push(live);
    }

    /// Gives up what no request uses any more.
    pub(super) fn sweep(&self) {
        let unused: Vec<Arc<Live>> = {
            let mut retired = self.retired.lock();
            let (unused, used) = retired.drain(..).partition(|live| Arc::strong_count(live) == 1);
            *retired = used;
            unused
        };
        if !unused.is_empty() {
            tokio::task::spawn_blocking(move || drop(unused));
        }
    }
}
