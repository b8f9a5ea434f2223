//! `sekisho upgrade`: asks the running gateway to have another binary take its place, and waits.
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::control::{Answer, Question, path};
use crate::base::Clock;
use crate::cli::args::UpgradeArgs;
use crate::cli::run::{self, read};
use crate::cli::say::{self, Failure};
use crate::cli::watch::Watched;

pub(in crate::cli) fn main(words: &UpgradeArgs) -> Result<ExitCode, Failure> {
    // What this binary can't serve the next one most likely can't either; and it says where the
    // running one is.
    let loaded = read(&words.config, &Watched::default(), 1, &Clock::system())?;
    let socket = path(&loaded.snapshot.state_dir);
    let binary = words
        .binary
        .as_ref()
        // A link is followed by each process anew.
        .map(|binary| std::fs::metadata(binary).and_then(|_is_there| std::path::absolute(binary)))
        .transpose()
        .map_err(|error| Failure::new(format_args!("--binary can't be found: {error}")))?;
    let within_ms = words.within.map(|secs| Duration::from_secs(secs).as_millis());
    let within_ms = within_ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    let runtime = run::runtime(Some(1)).map_err(Failure::new)?;
    runtime.block_on(async {
        let stream = UnixStream::connect(&socket).await.map_err(|error| {
            Failure::new(format_args!(
                "{}: {error}; is the gateway running, and are you its user?",
                socket.display()
            ))
        })?;
        let gone = |_error| Failure::new("the gateway went away without an answer");
        let (from, mut to) = stream.into_split();
        let with_configuration = words.with_configuration;
        let question = Question { binary, within_ms, with_configuration };
        let mut line = serde_json::to_vec(&question).map_err(Failure::new)?;
        line.push(b'\n');
        to.write_all(&line).await.map_err(gone)?;
        let mut lines = BufReader::new(from).lines();
        while let Some(line) = lines.next_line().await.map_err(gone)? {
            match serde_json::from_str(&line).map_err(Failure::new)? {
                Answer::Said(said) => say::err(said),
                Answer::Done { pid } => {
                    say::out(format_args!("process {pid} serves"));
                    return Ok(ExitCode::SUCCESS);
                }
                Answer::Failed(why) => return Err(Failure::new(why)),
            }
        }
        Err(Failure::new("the gateway went away without an answer"))
    })
}
