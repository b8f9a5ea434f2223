//! Keeps the lists of revoked certificates that are in force for the next start (ACC-3).
use std::fs;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::permit::files::{Mode, replace};
use super::say;
use crate::config::{LISTS_FILE, Snapshot};
use crate::engine::Engine;

/// How long until what could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// With each configuration that comes in force, until the gateway stops.
pub(super) async fn follow(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    let mut generations = engine.generations();
    let mut written = None;
    loop {
        generations.borrow_and_update();
        let (live, before) = (engine.live(), written);
        let kept = tokio::task::spawn_blocking(move || keep(&live.snapshot, before)).await;
        let failed = match kept {
            Ok(Ok(now)) => {
                written = Some(now);
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(panicked) => Some(panicked.to_string()),
        };
        if let Some(why) = &failed {
            let path = engine.live().snapshot.state_dir.join(LISTS_FILE);
            say::err(format_args!("{}: {why}", path.display()));
        }
        tokio::select! {
            biased;
            changed = generations.changed() => if changed.is_err() { return },
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(AGAIN), if failed.is_some() => {}
        }
    }
}

/// The end of what is in the file now, which stands for all of it; none, if there is no file.
type End = Option<[u8; 32]>;

fn keep(snapshot: &Snapshot, before: Option<End>) -> io::Result<End> {
    let (record, left_out) = snapshot.lists_record();
    let end = record.as_ref().and_then(|record| record.last_chunk().copied());
    if before == Some(end) {
        return Ok(end);
    }
    let path = snapshot.state_dir.join(LISTS_FILE);
    match &record {
        Some(record) => replace(&path, record, Mode::Owner)?,
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        },
    }
    if left_out > 0 {
        say::err(format_args!("{}: no room for {left_out} lists", path.display()));
    }
    Ok(end)
}
