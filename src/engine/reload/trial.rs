//! A configuration on trial: `trial` decides by counts; here they are taken, and what was decided is
//! done. Controls: LOG-1, MON-7.
//!
//! What is put back is the last configuration that stood its trial, whole, and only where the change
//! since then narrowed nothing; see `trial` for why. A list that grew under both narrowed neither.
use std::sync::Arc;
use std::time::Duration;

use super::files::Origin;
use super::turn::Turn;
use super::{Engine, Live};
use crate::base::{Moment, Name};
use crate::config::diff::{Scope, compare};
use crate::config::{Apply, OnErrors, Snapshot};
use crate::evidence::{Event, Fixed, JudgedConfig};
use crate::trial::{Blame, Figures, Kind, Sample, Spot, Verdict, judge};

/// How often counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often they are kept.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::engine) struct OnTrial {
    pub(super) generation: u64,
    since: Moment,
    until: Moment,
    pub(super) proven: Proven,
    /// What changed since then.
    scope: Scope,
    before: Sample,
    told: Told,
}

/// The last configuration that stood its trial, or that the process began with.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) origin: Option<Origin>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// What a configuration was found to have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The configuration.
    pub generation: u64,
    pub spot: Spot,
    pub blame: Blame,
    pub at: Moment,
}

/// What follows from what a configuration was found to have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub judged: Judged,
    pub then: Then,
}

/// See [`Ruling`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The one before is in force again.
    PutBack { in_force: u64 },
    /// It stays in force, for this reason.
    Stays(&'static str),
}

/// How the configuration in force stands.
#[derive(Clone, Debug)]
pub struct TrialView {
    pub generation: u64,
    /// Until when it is on trial; none if it stood it.
    pub until: Option<Moment>,
    /// What was put back last, as long as nothing else was applied.
    pub put_back: Option<Judged>,
}

impl Judged {
    /// The place's kind, in a word.
    #[must_use]
    pub const fn place(&self) -> &'static str {
        match self.spot {
            Spot::Upstream(_) => "upstream",
            Spot::Listener(_) => "listener",
            Spot::Access => "access",
            Spot::Gateway => "gateway",
        }
    }

    /// The place's name, where there are several of its kind.
    #[must_use]
    pub const fn name(&self) -> Option<&Name> {
        match &self.spot {
            Spot::Upstream(name) | Spot::Listener(name) => Some(name),
            Spot::Access | Spot::Gateway => None,
        }
    }
}

impl OnTrial {
    /// The places that can count against it, and who can make something fail there.
    fn spots(&self) -> impl Iterator<Item = (Spot, Kind)> {
        let upstreams = self.scope.upstreams.iter();
        let upstreams = upstreams.map(|name| (Spot::Upstream(name.clone()), Kind::Inner));
        let listeners = self.scope.listeners.iter();
        let listeners = listeners.map(|name| (Spot::Listener(name.clone()), Kind::Open));
        let access = self.scope.access.then_some((Spot::Access, Kind::Open));
        upstreams.chain(listeners).chain(access).chain([(Spot::Gateway, Kind::Inner)])
    }
}

impl Engine {
    /// Keeps count, judges and gives up what is over, for ever.
    pub async fn watch_reloads(self: Arc<Self>, tell: impl Fn(&Ruling)) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            if let Some(ruling) = self.judge_trial().await {
                tell(&ruling);
            }
            self.reloads.sweep();
        }
    }

    /// How the configuration in force stands.
    #[must_use]
    pub fn view_trial(&self) -> TrialView {
        let put_back = self.reloads.barred.lock().last();
        let trial = self.reloads.trial.lock();
        TrialView {
            generation: self.live().snapshot.generation,
            until: trial.as_ref().map(|trial| trial.until),
            put_back,
        }
    }

    /// Until when other texts than before are on trial, if they are.
    #[must_use]
    pub fn texts_on_trial(&self) -> Option<Moment> {
        let proven = self.reloads.trial.lock().as_ref().map(|one| (one.proven.clone(), one.until));
        let (proven, until) = proven?;
        let origin = self.made_from();
        let same = match (&proven.origin, &origin) {
            (Some(before), Some(now)) => before.texts == now.texts,
            _ => compare(&proven.snapshot, &self.live().snapshot).is_empty(),
        };
        (!same).then_some(until)
    }

    /// Takes what was counted since the last time to what is remembered.
    pub(super) fn sample(&self, now: Moment) {
        let live = self.live();
        let generation = live.snapshot.generation;
        let mut counted = self.reloads.counted.lock();
        let (since, known) = match &*counted {
            Some((of, at, known)) if *of == generation => (*at, known.clone()),
            _ => (live.since, Sample::default()),
        };
        let over = now.since(since);
        let all = live.tally.all(over);
        let more = all.0.iter().map(|(spot, sum)| {
            let known = known.of(spot);
            let sent = sum.sent.saturating_sub(known.sent);
            let failed = sum.failed.saturating_sub(known.failed);
            (spot.clone(), Figures { sent, failed, over })
        });
        self.reloads.history.lock().push(now, generation, Sample(more.collect()));
        *counted = Some((generation, now, all));
    }

    fn sample_if_due(&self, now: Moment) {
        let due = {
            let counted = self.reloads.counted.lock();
            let generation = self.live().snapshot.generation;
            counted
                .as_ref()
                .is_none_or(|(of, at, _)| *of != generation || now.since(*at) >= SAMPLE_EVERY)
        };
        if due {
            self.sample(now);
        }
    }

    /// A configuration came into force, `scope` apart from the one before: from now on it is compared
    /// with what was. Until when.
    pub(super) fn begin_trial(&self, proven: Proven, live: &Live, scope: &Scope) -> Moment {
        let now = live.since;
        let until = now.plus(live.snapshot.reload.trial);
        let mut trial = self.reloads.trial.lock();
        // One that did not stand its trial is nothing to go back to, or to compare with.
        let (counts, scope) = if let Some(OnTrial { before, .. }) = trial.take() {
            (before, compare(&proven.snapshot, &live.snapshot).scope)
        } else {
            (self.reloads.history.lock().sum(now), scope.clone())
        };
        *trial = Some(OnTrial {
            generation: live.snapshot.generation,
            since: now,
            until,
            scope,
            proven,
            before: counts,
            told: Told::No,
        });
        until
    }

    /// Looks at the configuration on trial, if there is one, and does what follows.
    pub async fn judge_trial(self: &Arc<Self>) -> Option<Ruling> {
        let now = self.clock.now();
        self.sample_if_due(now);
        let trial = self.reloads.trial.lock().clone()?;
        let live = self.live();
        if live.snapshot.generation != trial.generation {
            return None;
        }
        let after = live.tally.all(now.since(trial.since));
        let worse = trial.spots().find_map(|(spot, kind)| {
            match judge(trial.before.of(&spot), after.of(&spot), kind) {
                Verdict::Calm => None,
                Verdict::Worse(blame) => {
                    Some(Judged { generation: trial.generation, spot, blame, at: now })
                }
            }
        });
        match worse {
            Some(judged) if trial.told == Told::No => {
                return self.follow_verdict(trial, judged).await;
            }
            _ if now.mono_ns() >= trial.until.mono_ns() => {
                // Another look may have come first, or another configuration be on trial by now.
                let generation = trial.generation;
                let over = self.reloads.trial.lock().take_if(|one| one.generation == generation);
                if over.is_some_and(|one| one.told == Told::No) {
                    self.report_event(&Event::ConfigProven { generation });
                }
            }
            _ => {}
        }
        None
    }

    async fn follow_verdict(self: &Arc<Self>, trial: OnTrial, judged: Judged) -> Option<Ruling> {
        let live = self.live();
        if trial.scope.narrows {
            return self.suspect(judged, "it-narrows");
        }
        if live.snapshot.reload.on_errors == OnErrors::Alarm {
            return self.suspect(judged, "on_errors");
        }
        // If nothing comes of it, the next look finds the same.
        let mut turn = self.reloads.turn_or_hold().await?;
        let engine = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || engine.put_back(&mut turn, &trial, judged));
        // A panic has been told of already; the configuration stays as it is.
        done.await.ok().flatten()
    }

    fn put_back(
        self: &Arc<Self>,
        turn: &mut Turn,
        trial: &OnTrial,
        judged: Judged,
    ) -> Option<Ruling> {
        let live = self.live();
        // Somebody else had a turn in between.
        if live.snapshot.generation != trial.generation {
            return None;
        }
        let (Proven { snapshot, origin }, was) = (&trial.proven, self.made_from());
        if self.put(&live, (Arc::clone(snapshot), origin.clone())).is_err() {
            return self.suspect(judged, "it-can-not-be-built");
        }
        *self.reloads.trial.lock() = None;
        *self.reloads.counted.lock() = None;
        self.reloads.history.lock().forget(trial.generation);
        self.metrics.config_rolled_back.inc();
        let generation = snapshot.generation;
        self.report_event(&Event::ConfigRolledBack(told(&judged, generation, "rolled-back")));
        if let Some(was) = was {
            self.reloads.barred.lock().add(was, origin.as_ref(), judged.clone());
        }
        if snapshot.reload.apply == Apply::OnChange {
            self.catch_up(turn);
        }
        Some(Ruling { judged, then: Then::PutBack { in_force: generation } })
    }

    /// It looks bad and stays in force: people are told, once. None, if they were, or if another
    /// configuration is on trial by now.
    fn suspect(&self, judged: Judged, why: &'static str) -> Option<Ruling> {
        let mut trial = self.reloads.trial.lock();
        let untold = trial
            .as_mut()
            .filter(|one| one.generation == judged.generation && one.told == Told::No);
        untold?.told = Told::Yes;
        drop(trial);
        self.report_event(&Event::ConfigSuspect(told(&judged, judged.generation, why)));
        Some(Ruling { judged, then: Then::Stays(why) })
    }
}

const fn told<'a>(judged: &'a Judged, in_force: u64, why: &'static str) -> JudgedConfig<'a> {
    let (upstream, listener) = match &judged.spot {
        Spot::Upstream(name) => (Some(name), None),
        Spot::Listener(name) => (None, Some(name)),
        Spot::Access | Spot::Gateway => (None, None),
    };
    JudgedConfig {
        in_force,
        judged: judged.generation,
        place: Fixed::new(judged.place()),
        upstream,
        listener,
        seen: judged.blame.seen,
        expected: judged.blame.expected,
        limit: judged.blame.limit,
        sent: judged.blame.sent,
        why: Fixed::new(why),
    }
}
