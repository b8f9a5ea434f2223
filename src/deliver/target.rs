//! One target's task: reads its place in the queue, tells, notes, tries again.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::queue::Queue;
use super::way::{Failed, Way};
use crate::alarm::{
    Alarm, DeliveryFault, Heartbeat, Message, Origin, TargetProgress, UNACCEPTABLE_MAX, wait,
};
use crate::base::Moment;
use crate::config::{AlarmTarget, AlarmWay};
use crate::engine::{Engine, TargetStatus};
use crate::evidence::{Event, Fixed};
use crate::observe::TargetMetrics;

/// How often the clock is looked at while there is nothing to tell.
const LOOK: Duration = Duration::from_millis(250);
/// Alarms in one message, where the form can hold several.
const TOGETHER_MAX: usize = 16;
/// How often a target that stays down is written down.
const REMIND: Duration = Duration::from_secs(3_600);

/// See the module.
pub(super) struct Teller {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    target: AlarmTarget,
    way: Option<Way>,
    metrics: TargetMetrics,
    /// Failures in a row, and until when to wait.
    failures: u32,
    retry_at: Option<Moment>,
    fault: Option<DeliveryFault>,
    /// When the fault was last written down.
    reported_at: Option<Moment>,
    /// How often the alarm in front was called unacceptable by itself.
    unacceptable: u32,
    beat_at: Option<Moment>,
    told: u64,
    told_since_beat: u64,
    reached_ms: Option<u64>,
    oldest_ms: Option<u64>,
}

/// What a look came to.
enum Turn {
    /// There may be more to do.
    Again,
    Idle,
}

impl Teller {
    pub(super) fn new(engine: Arc<Engine>, queue: Arc<Queue>, target: AlarmTarget) -> Self {
        let metrics = engine.metrics.alarms.target(&target.name);
        Self {
            engine,
            queue,
            target,
            way: None,
            metrics,
            failures: 0,
            retry_at: None,
            fault: None,
            reported_at: None,
            unacceptable: 0,
            beat_at: None,
            told: 0,
            told_since_beat: 0,
            reached_ms: None,
            oldest_ms: None,
        }
    }

    pub(super) async fn work(mut self, mut stopped: watch::Receiver<bool>) {
        let mut head = self.queue.head();
        loop {
            if *stopped.borrow() {
                return;
            }
            let end = *head.borrow_and_update();
            if let Turn::Again = self.turn(end).await {
                continue;
            }
            tokio::select! {
                () = super::told_to_stop(&mut stopped) => return,
                changed = head.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn turn(&mut self, head: u64) -> Turn {
        let now = self.engine.clock.now();
        let mut place = self.queue.place(&self.target.name).await;
        let caught_up = place.caught_up(head);
        if caught_up != place {
            self.lose(&mut place, caught_up).await;
        }
        // Whoever never had a sign of life is not read for yet.
        if self.oldest_ms.is_none()
            && place.done < head
            && let Ok(page) = self.queue.page(place.done).await
        {
            self.oldest_ms = page.iter().find_map(|(_, alarm)| Some(alarm.as_ref()?.first_ms));
        }
        self.show(place, head, now);
        if self.retry_at.is_some_and(|at| at.since(now) > Duration::ZERO) {
            return Turn::Idle;
        }
        if self.is_beat_due(now) {
            return self.beat(place, head, now).await;
        }
        let after = place.read_after(&self.target.rules, now.unix_ms());
        if after >= head {
            self.oldest_ms = place.ahead.and(self.oldest_ms);
            return Turn::Idle;
        }
        let Ok(mut page) = self.queue.page(after).await else { return Turn::Idle };
        page.truncate(self.together());
        let first = page.iter().find_map(|(_, alarm)| alarm.as_ref());
        self.oldest_ms = first.map(|alarm| alarm.first_ms).or(self.oldest_ms);
        if page.is_empty() {
            return Turn::Idle;
        }
        let selection = place.select(&page, &self.target.rules, now.unix_ms());
        if selection.send.is_empty() {
            let mut place = place;
            self.lose(&mut place, selection.after).await;
            return Turn::Again;
        }
        let sent = self.tell(Message::Alarms(&selection.send), now).await;
        match sent {
            Ok(()) => {
                let count = u64::try_from(selection.send.len()).unwrap_or(0);
                self.told = self.told.saturating_add(count);
                self.told_since_beat = self.told_since_beat.saturating_add(count);
                self.unacceptable = 0;
                let target = &self.target.name;
                self.engine.report_event(&Event::AlarmDelivered { target, count });
                self.lose(&mut place, selection.after).await;
                Turn::Again
            }
            Err(failed) => self.refused(&failed, place, selection.after, &page).await,
        }
    }

    /// Alarms in the next message: one by one where the form, or the last failure, wants that.
    const fn together(&self) -> usize {
        match self.target.way {
            AlarmWay::Syslog(_) | AlarmWay::Journald(_) => 1,
            AlarmWay::Webhook { .. } | AlarmWay::Alertmanager { .. } | AlarmWay::Command(_) => {
                if self.unacceptable > 0 {
                    1
                } else {
                    TOGETHER_MAX
                }
            }
        }
    }

    /// A message that the target finds unacceptable is sent in parts, and a part that stays so is
    /// given up: the next alarms must get through.
    async fn refused(
        &mut self,
        failed: &Failed,
        mut place: TargetProgress,
        after: TargetProgress,
        page: &[(u64, Option<Alarm>)],
    ) -> Turn {
        if !failed.fault.is_of_message() {
            return Turn::Idle;
        }
        self.unacceptable = self.unacceptable.saturating_add(1);
        if page.len() == 1 && self.unacceptable > UNACCEPTABLE_MAX {
            self.unacceptable = 1;
            self.lose(&mut place, TargetProgress { lost: after.lost.saturating_add(1), ..after })
                .await;
            return Turn::Again;
        }
        Turn::Idle
    }

    /// Moves on, and tells of what was lost on the way.
    async fn lose(&self, place: &mut TargetProgress, to: TargetProgress) {
        let count = to.lost.saturating_sub(place.lost);
        if count > 0 {
            self.metrics.lost.inc_by(count);
            let target = Some(&self.target.name);
            self.engine.report_event(&Event::AlarmsLost { target, count });
        }
        self.queue.settle(&self.target.name, to).await;
        *place = to;
    }

    fn is_beat_due(&self, now: Moment) -> bool {
        self.beat_at.is_none_or(|at| now.since(at) >= self.target.heartbeat)
            && self.target.rules.may_beat(now.unix_ms())
    }

    async fn beat(&mut self, place: TargetProgress, head: u64, now: Moment) -> Turn {
        let heartbeat = Heartbeat {
            at_ms: now.unix_ms(),
            within: self.target.rules.beat_within(self.target.heartbeat),
            told: self.told_since_beat,
            waiting: head.saturating_sub(place.done),
            lost: place.lost,
        };
        let failures = self.failures;
        match self.tell(Message::Heartbeat(&heartbeat), now).await {
            Ok(()) => self.told_since_beat = 0,
            // It is there, and takes no signs of life: what waits for it is told all the same.
            Err(failed) if failed.fault.is_of_message() => {
                (self.failures, self.retry_at) = (failures, None);
            }
            Err(_) => return Turn::Idle,
        }
        self.beat_at = Some(now);
        Turn::Again
    }

    async fn tell(&mut self, message: Message<'_>, now: Moment) -> Result<(), Failed> {
        let told = match self.way().await {
            Ok(way) => way.tell(message, now).await,
            Err(fault) => Err(Failed { fault, asked: None }),
        };
        match &told {
            Ok(()) => {
                self.metrics.delivered();
                (self.failures, self.retry_at) = (0, None);
                (self.fault, self.reported_at) = (None, None);
                self.reached_ms = Some(now.unix_ms());
            }
            Err(failed) => self.note_failure(failed),
        }
        told
    }

    /// Opened at the first use, so that a trust store that was repaired is read again.
    async fn way(&mut self) -> Result<&Way, DeliveryFault> {
        if self.way.is_none() {
            let snapshot = &self.engine.live().snapshot;
            let origin = Origin {
                environment: snapshot.environment.clone(),
                target: self.target.name.clone(),
                queue: self.queue.id(),
                version: env!("CARGO_PKG_VERSION"),
            };
            let windows = snapshot.alarms.windows;
            let hold = windows.repeat.saturating_add(windows.first);
            self.way = Some(Way::open(self.target.clone(), origin, hold).await?);
        }
        self.way.as_ref().ok_or(DeliveryFault::Internal)
    }

    fn note_failure(&mut self, failed: &Failed) {
        // By now: the attempt itself took its time.
        let now = self.engine.clock.now();
        self.metrics.failed(Fixed::new(failed.fault.word()));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.plus(wait(self.failures, jitter(), failed.asked)));
        let is_news = self.fault != Some(failed.fault)
            || self.reported_at.is_none_or(|at| now.since(at) >= REMIND);
        self.fault = Some(failed.fault);
        if is_news {
            self.reported_at = Some(now);
            self.engine.report_event(&Event::AlarmFailed {
                target: &self.target.name,
                fault: Fixed::new(failed.fault.word()),
                failures: u64::from(self.failures),
            });
        }
    }

    fn show(&self, place: TargetProgress, head: u64, now: Moment) {
        let waiting = head.saturating_sub(place.done);
        let oldest_ms = self.oldest_ms.filter(|_| waiting > 0);
        let age = oldest_ms.map_or(0, |at| now.unix_ms().saturating_sub(at) / 1_000);
        self.metrics.waiting(waiting, age);
        self.engine.alarms.show(TargetStatus {
            name: self.target.name.clone(),
            kind: self.target.way.as_str(),
            waiting,
            oldest_ms,
            told: self.told,
            lost: place.lost,
            fault: self.fault,
            reached_ms: self.reached_ms,
        });
    }
}

/// Any number; not a secret, so a generator that fails gives zero.
fn jitter() -> u16 {
    let mut bytes = [0; 2];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}
