//! Waiting for what another task is about to do.
use std::time::Duration;

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
