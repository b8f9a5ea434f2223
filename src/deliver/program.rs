//! A configured program is given the message on standard input. No shell, no environment but a path,
//! nothing that it prints is looked at, and it does not outlive its time.
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::alarm::DeliveryFault;

/// The gateway's own environment may hold secrets.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Ends what a program started with it, however this is left.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it has ended and was waited for; its number may be somebody else's by now.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Returns when it has ended with 0.
pub(super) async fn run(
    words: &[String],
    input: &[u8],
    within: Duration,
) -> Result<(), DeliveryFault> {
    let (program, arguments) = words.split_first().ok_or(DeliveryFault::NotStarted)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| DeliveryFault::NotStarted)?;
    let mut group = Group(child);
    let ended = async {
        if let Some(mut stdin) = group.0.stdin.take() {
            // One that does not read its input may know enough without it.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        }
        group.0.wait().await
    };
    let status = timeout(within, ended).await.map_err(|_late| DeliveryFault::TimedOut)?;
    let status = status.map_err(|_| DeliveryFault::Internal)?;
    if status.success() { Ok(()) } else { Err(DeliveryFault::Failed) }
}
