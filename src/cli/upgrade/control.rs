//! Where an operator on this machine asks for an upgrade: a socket in a directory of the state
//! directory that only the gateway's user may enter. Controls: PRIV-3.
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::around::Begins;
use super::leave::{Order, WITHIN, WITHIN_MAX};

const DIRECTORY: &str = "control";
const SOCKET: &str = "upgrade.sock";
const QUESTION_MAX: u64 = 16 << 10;
const QUESTION_TIME: Duration = Duration::from_secs(5);

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// `None`: the file this process was started from, as it is now.
    pub(super) binary: Option<PathBuf>,
    pub(super) within_ms: Option<u64>,
    /// With whatever is on disk. Left out otherwise: a gateway of before does not know the word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) with_configuration: bool,
}

/// What is answered, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// What the new process says, and how far it is.
    Said(String),
    /// The process that serves now.
    Done {
        pid: u32,
    },
    Failed(String),
}

/// An order, and where to say how it ended.
#[derive(Debug)]
pub(in crate::cli) struct Asked {
    pub(in crate::cli) order: Order,
    pub(in crate::cli) outcome: oneshot::Sender<Result<u32, String>>,
}

/// How long those who asked may take to read the answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Listens for operators.
#[derive(Debug)]
pub(in crate::cli) struct Control {
    task: JoinHandle<()>,
    /// Held by each who has no answer yet.
    asking: mpsc::Sender<()>,
    answered: mpsc::Receiver<()>,
}

impl Control {
    /// Takes no more questions, and returns when those that were asked are answered.
    pub(in crate::cli) async fn close(self) {
        let Self { task, asking, mut answered } = self;
        task.abort();
        drop((asking, task.await));
        let _ = tokio::time::timeout(ANSWER_TIME, answered.recv()).await;
    }
}

/// Where the socket is.
pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(DIRECTORY).join(SOCKET)
}

impl Control {
    /// # Errors
    /// If there can't be a directory and a socket of ours alone.
    pub(in crate::cli) fn open(
        state_dir: &Path,
        own: PathBuf,
        orders: mpsc::Sender<Asked>,
    ) -> io::Result<Self> {
        let path = path(state_dir);
        let directory = state_dir.join(DIRECTORY);
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let meta = std::fs::symlink_metadata(&directory)?;
        let is_ours = meta.is_dir() && meta.uid() == geteuid().as_raw();
        if !is_ours || meta.permissions().mode() & 0o077 != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // The socket of the process before: it answers nobody any more.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        let (asking, answered) = mpsc::channel(1);
        let held = asking.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let who = stream.peer_cred().map(|cred| cred.uid());
                // Root may do what it likes, and so need not do it by hand.
                if who.is_ok_and(|uid| uid == geteuid().as_raw() || uid == 0) {
                    let (own, orders, held) = (own.clone(), orders.clone(), held.clone());
                    tokio::spawn(async move {
                        answer(stream, own, orders).await;
                        drop(held);
                    });
                }
            }
        });
        Ok(Self { task, asking, answered })
    }
}

async fn answer(stream: UnixStream, own: PathBuf, orders: mpsc::Sender<Asked>) {
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    let mut from = BufReader::new(from.take(QUESTION_MAX));
    let asked = tokio::time::timeout(QUESTION_TIME, from.read_line(&mut line)).await;
    let question = asked.ok().and_then(|_read| serde_json::from_str::<Question>(&line).ok());
    let Some(question) = question else { return };
    let (tell, mut told) = mpsc::unbounded_channel();
    let (outcome, mut ended) = oneshot::channel();
    let order = Order {
        binary: question.binary.unwrap_or(own),
        within: question.within_ms.map_or(WITHIN, Duration::from_millis).min(WITHIN_MAX),
        begins: if question.with_configuration { Begins::AsOnDisk } else { Begins::Settled },
        tell: Some(tell),
    };
    if orders.send(Asked { order, outcome }).await.is_err() {
        return;
    }
    loop {
        let (last, answer) = tokio::select! {
            biased;
            Some(said) = told.recv() => (false, Answer::Said(said)),
            ended = &mut ended => (true, match ended {
                Ok(Ok(pid)) => Answer::Done { pid },
                Ok(Err(why)) => Answer::Failed(why),
                Err(_dropped) => Answer::Failed("the gateway stops".to_owned()),
            }),
        };
        let Ok(mut line) = serde_json::to_vec(&answer) else { return };
        line.push(b'\n');
        // An operator who went away stops nothing.
        if to.write_all(&line).await.is_err() || last {
            return;
        }
    }
}
