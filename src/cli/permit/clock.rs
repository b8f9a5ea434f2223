//! Writes down the latest time this host has seen: at the start, once an hour, and at the end (TLS-3).
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::files::{self, Mode};
use crate::cli::say;
use crate::engine::Engine;
use crate::permit::clock::RECORD_FILE;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(3_600);

/// Keeps it up to date until the gateway stops.
pub(in crate::cli) async fn follow(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    loop {
        keep(&engine).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// A record that can't be written is told of, and an older one stays.
pub(in crate::cli) async fn keep(engine: &Arc<Engine>) {
    let engine = Arc::clone(engine);
    // The disk may take longer than callers can wait for a worker of theirs. Its panic would be counted.
    let _written = tokio::task::spawn_blocking(move || write(&engine)).await;
}

fn write(engine: &Engine) {
    let live = engine.live();
    let now = engine.steady_now().unix_secs();
    let Some(record) = live.snapshot.permit.clock_record(now) else { return };
    let path = live.snapshot.state_dir.join(RECORD_FILE);
    if let Err(error) = files::replace(&path, record.as_bytes(), Mode::Owner) {
        say::err(format_args!("{}: {error}", path.display()));
    }
}
