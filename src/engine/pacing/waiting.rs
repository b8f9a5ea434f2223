//! Calls that wait for their turn.
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{Admission, Pacing, Unpaced};
use crate::base::{Denial, Moment, PacingFault};
use crate::pacing::{Answer, BucketKey, Ticket, Turn};

/// A place in the queue. Dropped, it is given up.
#[derive(Debug)]
#[must_use = "dropped, the place is given up"]
pub struct Waiting {
    pacing: Arc<Pacing>,
    ticket: Ticket,
    bucket: BucketKey,
    began: Moment,
    expected: Moment,
    told: oneshot::Receiver<Turn>,
    ending: watch::Receiver<Option<Instant>>,
}

impl Waiting {
    pub(super) fn new(
        pacing: &Arc<Pacing>,
        ticket: Ticket,
        bucket: BucketKey,
        expected: Moment,
        told: oneshot::Receiver<Turn>,
    ) -> Self {
        pacing.metrics.waiting.inc();
        let ending = pacing.ending.subscribe();
        let began = pacing.clock.now();
        Self { pacing: Arc::clone(pacing), ticket, bucket, began, expected, told, ending }
    }

    /// Returns when its turn has come or can't come any more.
    ///
    /// # Errors
    /// It came too late, or the gateway stops.
    pub async fn turn(mut self) -> Result<Admission, Unpaced> {
        let told = tokio::select! {
            biased;
            told = &mut self.told => told,
            () = over(&mut self.ending) => return Err(self.refuse(PacingFault::Draining)),
        };
        match told {
            Ok(Turn::Admit(pass)) => {
                Ok(Admission::new(&self.pacing, pass, self.pacing.clock.now()))
            }
            Ok(Turn::Late { wait }) => {
                let standing = self.pacing.standing(self.bucket);
                Err(self.pacing.refuse(PacingFault::Late, wait, standing))
            }
            // The sender lives as long as the place does.
            Err(_closed) => Err(Unpaced { denial: Denial::Internal, wait: None, standing: None }),
        }
    }

    fn refuse(&self, fault: PacingFault) -> Unpaced {
        let wait = self.expected.since(self.pacing.clock.now());
        self.pacing.refuse(fault, wait, self.pacing.standing(self.bucket))
    }
}

/// The gateway stops, and the time in which calls may go on waiting is over.
async fn over(ending: &mut watch::Receiver<Option<Instant>>) {
    let at = match ending.wait_for(Option::is_some).await {
        Ok(at) => *at,
        // The sender lives as long as the place does.
        Err(_closed) => None,
    };
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let now = self.pacing.clock.now();
        self.pacing.metrics.waiting.dec();
        self.pacing.metrics.wait.observe(now.since(self.began).as_secs_f64());
        let mut state = self.pacing.state.lock();
        if state.waiters.remove(&self.ticket).is_some() {
            state.pacer.leave(self.ticket, now);
        } else if let Ok(Turn::Admit(pass)) = self.told.try_recv() {
            // Let through, and gone before it heard of it.
            state.pacer.settle(pass, Answer::Unsent, now);
        }
        let waited_for = state.pacer.size().1 > 0;
        drop(state);
        if waited_for {
            self.pacing.bell.notify_one();
        }
    }
}
