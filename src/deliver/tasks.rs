//! The targets' tasks: one each, as the configuration has them, and begun anew where one ended by
//! itself.
use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::base::Name;
use crate::config::AlarmTarget;

/// How long targets may take to end what they are at.
const ENDING_MAX: Duration = Duration::from_millis(1_500);
/// A task that ended by itself is begun anew no sooner after its begin: it may do so each time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Tasks(HashMap<Name, Running>);

/// A target's task.
struct Running {
    settings: AlarmTarget,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    begun: Instant,
}

impl Running {
    /// It ended, and nobody told it to.
    fn is_lost(&self) -> bool {
        self.task.is_finished() && self.begun.elapsed() >= AGAIN_AFTER
    }
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a task to be begun anew.
    pub(super) fn lack_one(&self) -> bool {
        self.0.values().any(Running::is_lost)
    }

    /// Begins and ends tasks so that there is one for each target. `work` is told when to stop.
    pub(super) fn follow<W: Future<Output = ()> + Send + 'static>(
        &mut self,
        targets: &[AlarmTarget],
        work: impl Fn(&AlarmTarget, watch::Receiver<bool>) -> W,
    ) {
        let mut before = std::mem::take(&mut self.0);
        for target in targets {
            let running = match before.remove(&target.name) {
                Some(running) if running.settings == *target && !running.is_lost() => running,
                known => begin(target, known, &work),
            };
            self.0.insert(target.name.clone(), running);
        }
        for gone in before.into_values() {
            gone.stop.send_replace(true);
        }
    }

    pub(super) async fn end(&mut self) {
        for running in self.0.values() {
            running.stop.send_replace(true);
        }
        let ended = async {
            for (_, running) in self.0.drain() {
                let _ = running.task.await;
            }
        };
        // One that does not end is cut; what it was at is told again after the next start.
        let _ = tokio::time::timeout(ENDING_MAX, ended).await;
    }
}

/// The task of the same target before it ends first, so that nothing is told twice.
fn begin<W: Future<Output = ()> + Send + 'static>(
    target: &AlarmTarget,
    before: Option<Running>,
    work: impl Fn(&AlarmTarget, watch::Receiver<bool>) -> W,
) -> Running {
    let (stop, stopped) = watch::channel(false);
    let ended = before.map(|before| {
        before.stop.send_replace(true);
        before.task
    });
    let work = work(target, stopped);
    let task = tokio::spawn(async move {
        if let Some(ended) = ended {
            // Its panic, if it had one, was counted.
            let _ = ended.await;
        }
        work.await;
    });
    Running { settings: target.clone(), stop, task, begun: Instant::now() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::{Mutex, mpsc};

    use super::*;
    use crate::alarm::{Rules, Severity};
    use crate::config::AlarmWay;

    fn target() -> AlarmTarget {
        AlarmTarget {
            name: Name::parse("desk").unwrap(),
            way: AlarmWay::Syslog("/dev/log".into()),
            rules: Rules { min: Severity::Low, quiet: None },
            heartbeat: Duration::from_secs(3_600),
            timeout: Duration::from_secs(10),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn mon_7_a_task_that_ended_by_itself_is_begun_anew_and_tells_the_next_alarm() {
        let (raise, raised) = mpsc::unbounded_channel::<u32>();
        let (tell, mut told) = mpsc::unbounded_channel();
        let (raised, begun) = (Arc::new(Mutex::new(raised)), Arc::new(AtomicU32::new(0)));
        let work = |_: &AlarmTarget, mut stopped: watch::Receiver<bool>| {
            let (raised, tell) = (Arc::clone(&raised), tell.clone());
            let first = begun.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                assert!(!first, "a defect of the first one");
                tokio::select! {
                    alarm = async { raised.lock().await.recv().await } => tell.send(alarm).unwrap(),
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            }
        };
        let (mut tasks, targets) = (Tasks::default(), [target()]);
        tasks.follow(&targets, work);
        raise.send(7).unwrap();
        let mut looks = 0;
        while !tasks.lack_one() {
            tokio::time::sleep(Duration::from_millis(250)).await;
            looks += 1;
        }
        assert!(looks >= 4, "not at once, should it end each time");
        tasks.follow(&targets, work);
        assert_eq!(told.recv().await, Some(Some(7)));
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        tasks.follow(&[], work);
        assert!(tasks.is_empty());
        tasks.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn mon_7_a_task_that_works_is_left_alone() {
        let begun = AtomicU32::new(0);
        let work = |_: &AlarmTarget, mut stopped: watch::Receiver<bool>| {
            begun.fetch_add(1, Ordering::Relaxed);
            async move { drop(stopped.wait_for(|stop| *stop).await) }
        };
        let (mut tasks, mut targets) = (Tasks::default(), [target()]);
        for _ in 0..3 {
            tasks.follow(&targets, work);
            tokio::time::sleep(AGAIN_AFTER).await;
            assert!(!tasks.lack_one());
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        targets[0].timeout = Duration::from_secs(1);
        tasks.follow(&targets, work);
        assert_eq!(begun.load(Ordering::Relaxed), 2, "other settings, another task");
        tasks.end().await;
    }
}
