//! Waiting for what another task is about to do.
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// Waits until something holds, for ten seconds at most.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, async || holds().then_some(())).await;
}

/// The same for something that has to be asked for, and is of use.
pub async fn until_some<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(found) = found().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// What must be over in so much time. Only time counts in which this process could run: a machine that
/// stands still for a while fails no test, and one that is idle is held to the promise.
pub async fn within<T>(most: Duration, what: &str, act: impl Future<Output = T>) -> T {
    const TICK: Duration = Duration::from_millis(20);
    let (mut act, mut used) = (pin!(act), Duration::ZERO);
    loop {
        if let Ok(done) = timeout(TICK, &mut act).await {
            return done;
        }
        used += TICK;
        assert!(used < most, "not within {most:?}: {what}");
    }
}
