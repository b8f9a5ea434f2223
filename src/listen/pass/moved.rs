//! What passed on a connection that is passed on, and whether it is at rest: of bytes that nobody reads
//! that is all there is to tell by, where one has to end and nobody can be told to go.
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A connection on which nothing has moved for so long since the last answer is at rest.
const REST: Duration = Duration::from_secs(1);
/// The same where the client spoke last, and may wait for its answer.
const REST_ASKED: Duration = Duration::from_secs(10);
/// A client that pauses for less than this between its questions is not known by its pauses.
const PAUSE_MIN_MS: u64 = 20;
/// How often it is looked at whether a connection is at rest: often enough to meet its pauses.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(100);

/// What passed, and when last.
pub(super) struct Moved {
    began: Instant,
    /// Milliseconds since then.
    last_ms: AtomicU64,
    /// The client spoke last.
    asked: AtomicBool,
    /// How long the client pauses before it speaks again: the longest time of late.
    pause_ms: AtomicU64,
    /// The target has said something, and it was TLS.
    pub(super) heard: AtomicBool,
    pub(super) up: Way,
    pub(super) down: Way,
}

/// One of the two.
#[derive(Default)]
pub(super) struct Way {
    bytes: AtomicU64,
    pub(super) ended: AtomicBool,
    /// Bytes were taken from one side that the other has not taken yet.
    pub(super) holds: AtomicBool,
}

impl Way {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Moved {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            last_ms: AtomicU64::new(0),
            asked: AtomicBool::new(true),
            pause_ms: AtomicU64::new(0),
            heard: AtomicBool::new(false),
            up: Way::default(),
            down: Way::default(),
        }
    }

    pub(super) fn note(&self, way: &Way, count: u64) {
        way.bytes.fetch_add(count, Ordering::Relaxed);
        let now = self.now_ms();
        let last = self.last_ms.swap(now, Ordering::Relaxed);
        let asks = ptr::eq(way, &raw const self.up);
        let asked = self.asked.swap(asks, Ordering::Relaxed);
        if asks && !asked {
            // Falls by an eighth each time, so that one long pause is not told for ever.
            let pause = self.pause_ms.load(Ordering::Relaxed);
            let fading = pause.saturating_sub(pause / 8);
            self.pause_ms.store(fading.max(now.saturating_sub(last)), Ordering::Relaxed);
        }
    }

    pub(super) fn was_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn last(&self) -> Duration {
        Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Returns when nothing has moved for so long.
    pub(super) async fn idle(&self, bound: Duration) {
        loop {
            let Some(due) = self.began.checked_add(self.last().saturating_add(bound)) else {
                return;
            };
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    /// Returns when it is at rest, or after `bound`. One that is busy is known by its pauses: in the
    /// second half of the time it ends in the midst of one, when no answer is under way and the next
    /// question not either.
    pub(super) async fn rests(&self, bound: Duration) {
        self.pause_ms.store(0, Ordering::Relaxed);
        let began = Instant::now();
        let mut found = None;
        loop {
            let lasted = began.elapsed();
            let midst = self.midst().filter(|_| lasted > bound / 2);
            let rests = self.is_at_rest(midst.unwrap_or(REST)).then(|| self.last());
            // Twice, for a process that had to wait for its turn finds both at once: that it has waited
            // long enough, and what came meanwhile.
            if lasted >= bound || rests.is_some() && rests == found {
                return;
            }
            found = rests;
            let look = match rests {
                Some(_) => LOOK_MIN,
                None => (midst.unwrap_or(LOOK_MAX) / 2).clamp(LOOK_MIN, LOOK_MAX),
            };
            tokio::time::sleep(look.min(bound)).await;
        }
    }

    /// Returns when it has come to rest within the time that it is told it has.
    pub(super) async fn is_cut(&self, mut within: watch::Receiver<Option<Duration>>) {
        loop {
            let told = *within.borrow_and_update();
            let at_rest = async {
                match told {
                    Some(within) => self.rests(within).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = at_rest => return,
                // Who tells lives as long as the gateway.
                _ = within.changed() => {}
            }
        }
    }

    /// The middle of a pause of its client's.
    fn midst(&self) -> Option<Duration> {
        let pause = self.pause_ms.load(Ordering::Relaxed);
        (pause >= PAUSE_MIN_MS).then(|| Duration::from_millis(pause / 2))
    }

    fn is_at_rest(&self, rest: Duration) -> bool {
        let holds = |way: &Way| way.holds.load(Ordering::Relaxed);
        if holds(&self.up) || holds(&self.down) {
            return false;
        }
        let rest = if self.asked.load(Ordering::Relaxed) { REST_ASKED } else { rest.min(REST) };
        self.began.elapsed().saturating_sub(self.last()) >= rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(20);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A client that pauses for so long before each question, which is answered after so long.
    async fn talk(moved: &Moved, pause: Duration, answer: Duration) {
        loop {
            moved.note(&moved.up, 1);
            tokio::time::sleep(answer).await;
            moved.note(&moved.down, 1);
            tokio::time::sleep(pause).await;
        }
    }

    /// How long it takes until a connection is at rest, and for how long nothing had moved then.
    async fn until_rest(moved: &Moved, pause: Duration, answer: Duration) -> (Duration, Duration) {
        let began = Instant::now();
        tokio::select! {
            () = moved.rests(BOUND) => {}
            () = talk(moved, pause, answer) => {}
        }
        (began.elapsed(), moved.began.elapsed().saturating_sub(moved.last()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_pauses_is_at_rest_after_a_second() {
        let moved = Moved::new();
        let (took, quiet) = until_rest(&moved, ms(1_500), ms(900)).await;
        assert!(took < ms(2_100) && quiet >= REST && quiet < ms(1_200), "{took:?} {quiet:?}");
        // It is, when it is looked at.
        let began = Instant::now();
        moved.rests(BOUND).await;
        assert!(began.elapsed() <= 2 * LOOK_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_one_ends_in_the_middle_of_its_pauses() {
        for pause in [30, 200, 800] {
            let (took, quiet) = until_rest(&Moved::new(), ms(pause), ms(70)).await;
            assert!(took > BOUND / 2 && took < BOUND / 2 + ms(1_000), "{took:?}");
            assert!(quiet >= ms(pause / 2) && quiet < ms(pause), "{pause} {quiet:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_an_answer_or_reads_slowly_is_not_at_rest() {
        let moved = Moved::new();
        moved.note(&moved.down, 1);
        moved.down.holds.store(true, Ordering::Relaxed);
        let began = Instant::now();
        moved.rests(BOUND).await;
        assert!(began.elapsed() >= BOUND);
        let (took, _) = until_rest(&Moved::new(), ms(1), ms(9_000)).await;
        assert!(took >= BOUND, "{took:?}");
        let (took, quiet) = until_rest(&Moved::new(), ms(1), ms(30_000)).await;
        assert!(took < BOUND && quiet >= REST_ASKED, "{took:?}");
    }
}
