//! The shell by itself: nothing that was let through or that waits is ever left behind.
use super::*;
use crate::base::ManualClock;
use crate::observe::Metrics;
use crate::pacing::{Caller, Patience, Plan, Rate, Tempo, Told, Weight};

const BUCKET: BucketKey = BucketKey { seller: 1, application: 2, operation: 3 };
/// Real time, for what happens in other tasks.
const SOON: Duration = Duration::from_secs(10);

struct Shell {
    pacing: Arc<Pacing>,
    hand: Arc<ManualClock>,
    metrics: Metrics,
}

impl Shell {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(1_700_000_000_000);
        let metrics = Metrics::new("test", clock.now()).unwrap();
        let key = HashKey::new([7; 16]);
        let pacing = Pacing::start(key, clock, Limits::default(), metrics.pacing.clone());
        Self { pacing, hand, metrics }
    }

    /// One call a second, two at once.
    fn offer(&self, who: &str, patience: u64) -> Offer {
        let plan = Plan::new(Rate::per_second(1.0).unwrap(), 2).unwrap();
        let ask = Ask {
            bucket: BUCKET,
            plan,
            caller: Caller(who.bytes().map(u64::from).sum()),
            weight: Weight::ONE,
            patience: Patience::new(Duration::from_secs(patience)),
        };
        self.pacing.offer(&ask)
    }

    fn go(&self, who: &str) -> Admission {
        match self.offer(who, 0) {
            Offer::Go(admission) => admission,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&self, who: &str, patience: u64) -> Waiting {
        match self.offer(who, patience) {
            Offer::Wait(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, who: &str, patience: u64) -> Unpaced {
        match self.offer(who, patience) {
            Offer::Refuse(unpaced) => unpaced,
            other => panic!("{other:?}"),
        }
    }

    fn spare(&self) -> u32 {
        self.pacing.standing(BUCKET).unwrap().spare
    }

    fn waiting(&self) -> usize {
        let state = self.pacing.state.lock();
        assert_eq!(state.waiters.len(), state.pacer.size().1);
        state.waiters.len()
    }

    fn advance(&self, secs: u64) {
        self.hand.advance(Duration::from_secs(secs));
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("within ten seconds")
}

fn served() -> Answer {
    Answer::Served { limit: None }
}

#[tokio::test]
async fn mon_2_an_admission_is_settled_however_it_ends() {
    let shell = Shell::new();
    drop(shell.go("a"));
    assert_eq!(shell.spare(), 2, "it never left");
    let mut admission = shell.go("a");
    admission.depart();
    drop(admission);
    assert_eq!(shell.spare(), 1, "it left and may have been counted");
    shell.go("a").settle(served());
    assert_eq!(shell.spare(), 0);
    let unpaced = shell.refused("a", 0);
    assert_eq!(unpaced.denial, Denial::UpstreamQuota(PacingFault::Patience));
    assert!((1..=4).contains(&unpaced.wait_secs().unwrap()), "{unpaced:?}");
    assert_eq!(unpaced.standing.map(|standing| standing.burst), Some(2));
    shell.advance(10);
    assert_eq!(shell.spare(), 2);
    // A panic is no way out either.
    let admission = shell.go("a");
    let caught = tokio::spawn(async move {
        let _held = admission;
        panic!("on purpose");
    });
    assert!(soon(caught).await.unwrap_err().is_panic());
    assert_eq!(shell.spare(), 2);
}

#[tokio::test]
async fn mon_2_whoever_waits_goes_when_its_turn_comes_and_the_clock_decides() {
    let shell = Shell::new();
    shell.go("a").settle(served());
    shell.go("a").settle(served());
    let turn = tokio::spawn(shell.wait("b", 30).turn());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!turn.is_finished(), "the clock stands still");
    shell.advance(2);
    let admission = soon(turn).await.unwrap().unwrap();
    assert_eq!(shell.waiting(), 0);
    admission.settle(served());
    let text = shell.metrics.render();
    assert!(text.contains("sekisho_pacing_waiting 0\n"), "{text}");
    assert!(text.contains("sekisho_pacing_wait_seconds_count 1\n"), "{text}");
    assert!(text.contains("sekisho_pacing_wait_seconds_sum 2\n"), "{text}");
}

#[tokio::test]
async fn mon_2_a_place_that_is_given_up_is_free_at_once() {
    let shell = Shell::new();
    shell.go("a").settle(served());
    shell.go("a").settle(served());
    let first = shell.wait("b", 30);
    let second = tokio::spawn(shell.wait("c", 30).turn());
    assert_eq!(shell.waiting(), 2);
    drop(first);
    assert_eq!(shell.waiting(), 1);
    shell.advance(2);
    // What would have been the first one's turn is the second's.
    let admission = soon(second).await.unwrap().unwrap();
    drop(admission);
    // Let through, and gone before it heard of it: the place comes back.
    shell.advance(10);
    assert_eq!(shell.spare(), 2);
    let (one, two) = (shell.go("a"), shell.go("a"));
    let unheard = shell.wait("b", 30);
    drop((one, two));
    shell.pacing.release();
    assert_eq!((shell.waiting(), shell.spare()), (0, 1));
    drop(unheard);
    assert_eq!(shell.spare(), 2);
}

#[tokio::test]
async fn mon_2_a_turn_that_comes_too_late_is_told_so() {
    let shell = Shell::new();
    let (one, two) = (shell.go("a"), shell.go("a"));
    one.settle(served());
    two.settle(served());
    let turn = tokio::spawn(shell.wait("b", 5).turn());
    assert_eq!(shell.waiting(), 1);
    // Amazon refuses another call and asks for a rest.
    shell.advance(2);
    let refused = soon(turn).await.unwrap().unwrap();
    let turn = tokio::spawn(shell.wait("c", 5).turn());
    refused.settle(Answer::Throttled { retry_after: Some(Duration::from_secs(60)) });
    shell.advance(6);
    let unpaced = soon(turn).await.unwrap().unwrap_err();
    assert_eq!(unpaced.denial, Denial::UpstreamQuota(PacingFault::Late));
    assert!(unpaced.wait_secs().unwrap() >= 50, "{unpaced:?}");
    assert!(unpaced.standing.unwrap().throttled);
    assert!(shell.metrics.render().contains("sekisho_pacing_refused_total{reason=\"late\"} 1\n"));
}

#[tokio::test]
async fn mon_2_a_gateway_that_stops_lets_nobody_wait_beyond_half_its_grace() {
    let shell = Shell::new();
    shell.go("a").settle(served());
    shell.go("a").settle(served());
    let patient = tokio::spawn(shell.wait("b", 300).turn());
    shell.pacing.end_within(Duration::from_millis(20));
    let unpaced = soon(patient).await.unwrap().unwrap_err();
    assert_eq!(unpaced.denial, Denial::UpstreamQuota(PacingFault::Draining));
    assert!(unpaced.wait_secs().is_some());
    // Who comes now waits no longer either, and a call that need not wait goes.
    let late = soon(shell.wait("b", 300).turn()).await.unwrap_err();
    assert_eq!(late.denial, Denial::UpstreamQuota(PacingFault::Draining));
    shell.advance(10);
    drop(shell.go("b"));
    assert_eq!(shell.waiting(), 0);
}

/// Thousands of calls, half of them given up at some point: in the end the bucket is full again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mon_2_no_pass_and_no_place_leaks() {
    let shell = Arc::new(Shell::new());
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..400_u64 {
        let calling = Arc::clone(&shell);
        calls.spawn(async move {
            let who = ["a", "b", "c"][usize::try_from(n % 3).unwrap()];
            let mut admission = match calling.offer(who, 60) {
                Offer::Go(admission) => admission,
                Offer::Refuse(_) => return,
                Offer::Wait(waiting) => {
                    let patience = Duration::from_micros(n * 97 % 20_000);
                    match tokio::time::timeout(patience, waiting.turn()).await {
                        Ok(Ok(admission)) => admission,
                        Ok(Err(_)) | Err(_) => return,
                    }
                }
            };
            match n % 4 {
                0 => {}
                1 => admission.depart(),
                2 => admission.settle(served()),
                _ => admission.settle(Answer::Throttled { retry_after: None }),
            }
        });
        if n % 20 == 0 {
            shell.advance(1);
        }
        tokio::task::yield_now().await;
    }
    while let Some(done) = soon(calls.join_next()).await {
        done.unwrap();
    }
    assert_eq!(shell.waiting(), 0);
    // Past the longest way back from any number of refusals; then what it gave back fills up.
    for _ in 0..2 {
        shell.advance(7 * 86_400);
        shell.spare();
    }
    let standing = shell.pacing.standing(BUCKET).unwrap();
    assert_eq!((standing.spare, standing.burst, standing.waiting), (2, 2, 0));
}

#[tokio::test]
async fn the_timer_ends_with_what_it_is_for() {
    let shell = Shell::new();
    let bell = Arc::clone(&shell.pacing.bell);
    drop(shell);
    soon(async {
        while Arc::strong_count(&bell) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn mon_2_a_call_that_never_left_is_owed_to_nobody() {
    let shell = Shell::new();
    let tempo = Tempo { interval_ns: 1_000_000_000, burst: 2 };
    let owed = dealt::Owed { bucket: BUCKET, tempo };
    let go = || {
        let mut admission = shell.go("a");
        shell.pacing.owe(owed);
        admission.owed = Some(owed);
        admission
    };
    let due = || {
        let mut debts = shell.pacing.debts.lock();
        let now = shell.pacing.clock.now();
        let telling = debts.tell(BUCKET, now)?;
        debts.told(telling, Told::Yes);
        Some(telling.debt)
    };
    for _ in 0..30 {
        drop(go());
    }
    assert_eq!(due(), None);
    // Amazon answered one, may have counted another, and refused a third: then it has none.
    go().settle(served());
    assert_eq!(due(), Some(1));
    let mut lost = go();
    lost.depart();
    drop(lost);
    assert_eq!(due(), Some(1));
    shell.advance(60);
    go().settle(Answer::Throttled { retry_after: None });
    assert_eq!(due(), Some(3));
    // One that is connected late counts twice, as a unit does.
    shell.advance(60);
    let mut late = go();
    shell.advance(2);
    late.depart();
    drop(late);
    assert_eq!(due(), Some(2));
}
