//! The side of the process that takes the other one's place.
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::{geteuid, getppid};
use rustix::stdio::{dup2_stderr, dup2_stdin};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bridge::{self, Configurations};
use super::words::{Hello, Link, PROTOCOL, Word, be_greeted};
use crate::cli::run::Given;
use crate::cli::say::Failure;
use crate::config::{Snapshot, Texts};
use crate::engine::{Engine, Handed};
use crate::store::{Cursor, Exchange};

/// Set for a process that is to take another one's place; its standard input is the way to it.
pub(super) const TAKE_PLACE: &str = "SEKISHO_TAKE_PLACE";
/// How long the process that goes may take for its next word. It has its own patience with us.
const PATIENCE: Duration = Duration::from_secs(600);

/// A process that is about to take another one's place.
#[derive(Debug)]
pub(in crate::cli) struct Entering {
    hello: Hello,
    link: Link,
    stderr: OwnedFd,
    /// Issuers' keys that the other process has.
    keys: Vec<Handed>,
    /// How far the locks go that both processes know.
    known: Cursor,
}

impl Entering {
    /// The process before, if there is one, and the sockets it hands over.
    ///
    /// # Errors
    /// If what is there is no gateway that waits for us.
    pub(in crate::cli) fn find() -> Result<Option<(Self, Given)>, Failure> {
        if std::env::var_os(TAKE_PLACE).is_none() {
            return Ok(None);
        }
        Self::greeted().map(Some).map_err(|error| {
            Failure::new(format_args!(
                "{TAKE_PLACE} is set, and standard input is no gateway that is to be relieved: {error}"
            ))
        })
    }

    fn greeted() -> io::Result<(Self, Given)> {
        let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Programs that this process starts must not find it there.
        dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let before = socket_peercred(&socket)?;
        if before.uid != geteuid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (hello, mut fds) = be_greeted(&socket)?;
        let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
        let is_parent = parent.is_some_and(|pid| u32::try_from(pid) == Ok(hello.pid));
        if hello.protocol != PROTOCOL || !is_parent || fds.len() != hello.sockets.len() + 1 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let stderr = fds.pop().ok_or(io::ErrorKind::InvalidData)?;
        let mut given = Given::default();
        for (passed, fd) in hello.sockets.iter().zip(fds) {
            let label = passed.label.clone();
            if passed.managers {
                given.add_managers(label, fd);
            } else {
                given.add(label, passed.address, fd);
            }
        }
        let link = Link::over(socket)?;
        Ok((Self { hello, link, stderr, keys: Vec::new(), known: Cursor::START }, given))
    }

    /// Tells the other process why nothing comes of it.
    pub(in crate::cli) async fn give_up(mut self, failure: &Failure) {
        // It learns it by our end, too.
        let _ = self.link.saying.say(&Word::Failed(failure.to_string())).await;
    }

    /// Everything but the state is there: returns when that has been let go of.
    ///
    /// # Errors
    /// If the configuration is another gateway's, or nobody hands anything over any more.
    pub(in crate::cli) async fn prepared(
        &mut self,
        snapshot: &Snapshot,
        texts: &Texts,
    ) -> Result<(), Failure> {
        let is_other = |what: &str| {
            Failure::new(format_args!(
                "{what} changed: stop the gateway and start it again for that"
            ))
        };
        if snapshot.environment.as_str() != self.hello.environment {
            return Err(is_other("gateway.environment"));
        }
        if snapshot.state_dir != self.hello.state_dir {
            return Err(is_other("gateway.state_dir"));
        }
        if snapshot.state.gateway != self.hello.gateway {
            return Err(is_other("[state] gateway"));
        }
        if self.hello.texts.as_ref().is_some_and(|seen| *seen != texts.digest()) {
            return Err(Failure::new(
                "the configuration changed since the gateway looked at it: try again, or insist: \
                 `sekisho upgrade --with-configuration`",
            ));
        }
        self.say(&Word::Prepared).await?;
        loop {
            match self.hear().await? {
                Word::Keys(keys) => self.keys.push(keys.into()),
                Word::Go => return Ok(()),
                _ => return Err(gone()),
            }
        }
    }

    /// Issuers' keys that the other process has, once that has let go of the state.
    pub(in crate::cli) fn keys(&self) -> &[Handed] {
        &self.keys
    }

    /// Everything is there: returns when it is time to serve.
    ///
    /// # Errors
    /// If nobody hands anything over any more.
    pub(in crate::cli) async fn ready(&mut self, store: &Exchange) -> Result<(), Failure> {
        // Before anybody is served: whatever is locked from now on is news to the other one.
        self.known = bridge::known_by_both(store).await;
        self.say(&Word::Ready).await?;
        self.expect(&Word::Serve).await
    }

    /// This process serves, whatever has become of the other one, and tells it of its configurations. The
    /// task listens to that until it is gone.
    pub(in crate::cli) async fn serving(
        mut self,
        engine: &Arc<Engine>,
        changes: watch::Receiver<u64>,
        store: &Arc<Exchange>,
    ) -> JoinHandle<()> {
        // From here on what is said does not go by way of a process that ends. Copying a descriptor
        // over another one needs nothing that could be lacking.
        let _copied = dup2_stderr(&self.stderr);
        // One that died just now hears nothing; one that goes on by itself ends this one.
        let _heard = self.say(&Word::Serving).await;
        let in_words = self.hello.hears_in_force;
        let configurations = Configurations::new(engine, changes, in_words);
        tokio::spawn(bridge::listen(self.link, configurations, Arc::clone(store), self.known))
    }

    async fn say(&mut self, word: &Word) -> Result<(), Failure> {
        self.link.saying.say(word).await.map_err(|_error| gone())
    }

    async fn expect(&mut self, wanted: &Word) -> Result<(), Failure> {
        if self.hear().await? == *wanted { Ok(()) } else { Err(gone()) }
    }

    async fn hear(&mut self) -> Result<Word, Failure> {
        match tokio::time::timeout(PATIENCE, self.link.hearing.hear()).await {
            Ok(Ok(word)) => Ok(word),
            Ok(Err(_)) | Err(_) => Err(gone()),
        }
    }
}

fn gone() -> Failure {
    Failure::new("the process that was to be relieved is gone, or goes on by itself")
}
