//! What the two processes say to each other. They may be of different versions, so words are JSON, one
//! a line, and the first one says how they are meant.
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::engine::Handed;

/// Rises when a word changes its meaning.
pub(super) const PROTOCOL: u32 = 1;
/// Listeners, two for operators, all that a service manager may have, and the standard error fit into the
/// most that the system passes at once (`SCM_MAX_FD`).
const FDS_MAX: usize = 253;
const HELLO_MAX: usize = 64 << 10;
/// How long the other side may read nothing at all while a word is said to it.
const DEAF_MAX: Duration = Duration::from_secs(10);

/// What the process that goes says first. With it come the sockets, in this order, and the standard
/// error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    /// Of the process that goes.
    pub(super) pid: u32,
    pub(super) environment: String,
    pub(super) state_dir: PathBuf,
    /// This gateway's number among those that share a state.
    pub(super) gateway: u16,
    pub(super) sockets: Vec<Passed>,
    /// Stands for the texts that were looked at; none where somebody insists on whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) texts: Option<String>,
    /// It understands [`Word::InForce`].
    #[serde(default)]
    pub(super) hears_in_force: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Passed {
    pub(super) label: String,
    /// As it was configured.
    pub(super) address: SocketAddr,
    /// It is a service manager's: its name there, and where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) managers: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    Prepared,
    /// What an issuer published, before "go".
    Keys(Keys),
    Go,
    Ready,
    Serve,
    Serving,
    /// Why the process that was started can't go on.
    Failed(String),
    /// Keys and states, encoded.
    Locks(Vec<(Vec<u8>, Vec<u8>)>),
    Alarms(Vec<Vec<u8>>),
    /// Another configuration is in force in the process that stays, which is what lies on the disk.
    Reloaded,
    /// The same, to a process that hears which: what stands for its texts, and whether nothing but the
    /// permit is another one.
    InForce {
        texts: String,
        permit_alone: bool,
    },
    /// What was spent and revealed.
    Told(Vec<Vec<u8>>),
    /// The last word of the process that goes.
    Done,
}

/// The keys of an issuer that the process that goes has fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    iss: String,
    /// Stands for where they were fetched.
    from: [u8; 32],
    age_ms: u64,
    text: String,
}

impl From<Handed> for Keys {
    fn from(Handed { iss, from, age, text }: Handed) -> Self {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self { iss, from, age_ms, text }
    }
}

impl From<Keys> for Handed {
    fn from(Keys { iss, from, age_ms, text }: Keys) -> Self {
        Self { iss, from, age: Duration::from_millis(age_ms), text }
    }
}

/// Sends the first word, and the sockets with it.
pub(super) fn greet(socket: &Socket, hello: &Hello, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut line = serde_json::to_vec(hello)?;
    line.push(b'\n');
    if line.len() > HELLO_MAX || fds.len() > FDS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(socket, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?;
    // All of it fits into a socket's buffer.
    if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives it.
pub(super) fn be_greeted(socket: &Socket) -> io::Result<(Hello, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut line = vec![0; HELLO_MAX];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut line)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    line.truncate(received.bytes);
    Ok((serde_json::from_slice(&line)?, fds))
}

/// The socket between the two. Its ways are apart, so that neither side stops reading while it writes:
/// both might wait for each other.
#[derive(Debug)]
pub(in crate::cli) struct Link {
    pub(super) hearing: Hearing,
    pub(super) saying: Saying,
}

/// What comes from the other process.
#[derive(Debug)]
pub(super) struct Hearing {
    from: BufReader<OwnedReadHalf>,
    /// A line that has not ended yet.
    line: Vec<u8>,
}

/// What goes to it.
#[derive(Debug)]
pub(super) struct Saying(OwnedWriteHalf);

impl Link {
    pub(super) fn over(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (from, to) = UnixStream::from_std(socket)?.into_split();
        let hearing = Hearing { from: BufReader::new(from), line: Vec::new() };
        Ok(Self { hearing, saying: Saying(to) })
    }
}

impl Saying {
    /// Says all of a word. Given up half-way, no word can follow it.
    pub(super) async fn say(&mut self, word: &Word) -> io::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            // A long word takes its time as long as somebody reads.
            let written = tokio::time::timeout(DEAF_MAX, self.0.write(rest)).await;
            match written.map_err(|_deaf| io::Error::from(io::ErrorKind::TimedOut))?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}

impl Hearing {
    /// The next word. Can be given up and asked again.
    pub(super) async fn hear(&mut self) -> io::Result<Word> {
        self.from.read_until(b'\n', &mut self.line).await?;
        let line = std::mem::take(&mut self.line);
        if line.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

/// A copy of this process' standard error, to be passed on.
pub(super) fn standard_error() -> io::Result<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn hello() -> Hello {
        Hello {
            protocol: PROTOCOL,
            pid: 7,
            environment: "test".into(),
            state_dir: "/var/lib/sekisho".into(),
            gateway: 1,
            sockets: vec![Passed {
                label: "apps".into(),
                address: ([127, 0, 0, 1], 8443).into(),
                managers: false,
            }],
            texts: None,
            hears_in_force: true,
        }
    }

    #[test]
    fn sockets_arrive_with_the_first_word() {
        let (ours, theirs) = Socket::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        greet(&ours, &hello(), &[listener.as_fd(), io::stderr().as_fd()]).unwrap();
        let (heard, mut fds) = be_greeted(&theirs).unwrap();
        assert_eq!((heard, fds.len()), (hello(), 2));
        let passed = std::net::TcpListener::from(fds.remove(0));
        assert_eq!(passed.local_addr().unwrap(), listener.local_addr().unwrap());
        drop(listener);
        std::net::TcpStream::connect(passed.local_addr().unwrap()).unwrap();
    }

    /// Where a service manager has them, each socket goes twice.
    #[test]
    fn all_sockets_that_there_can_be_arrive() {
        let (ours, theirs) = Socket::pair().unwrap();
        let stderr = io::stderr();
        let passed = |managers| Passed { managers, ..hello().sockets.remove(0) };
        let sockets = [vec![passed(false); 64 + 2], vec![passed(true); 128]].concat();
        let hello = Hello { sockets, ..hello() };
        greet(&ours, &hello, &vec![stderr.as_fd(); 66 + 128 + 1]).unwrap();
        let (heard, fds) = be_greeted(&theirs).unwrap();
        assert_eq!((heard, fds.len()), (hello, 195));
    }

    #[test]
    fn what_is_no_word_is_no_word() {
        for said in [&b""[..], b"\n", b"{}\n", b"{\"protocol\":1", &[0xff; 300]] {
            let (mut ours, theirs) = Socket::pair().unwrap();
            ours.write_all(said).unwrap();
            drop(ours);
            assert!(be_greeted(&theirs).is_err());
        }
        let (ours, mut theirs) = Socket::pair().unwrap();
        let stderr = io::stderr();
        let fds = vec![stderr.as_fd(); FDS_MAX + 1];
        assert!(greet(&ours, &hello(), &fds).is_err());
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0, "nothing was sent");
    }

    #[tokio::test]
    async fn words_come_whole_and_in_order_however_they_are_cut() {
        let (mut ours, theirs) = Socket::pair().unwrap();
        let mut link = Link::over(theirs).unwrap();
        let words =
            [Word::Go, Word::Told(vec![vec![1, 2], vec![]]), Word::Failed("so \n so".into())];
        let mut bytes = Vec::new();
        for word in &words {
            bytes.extend(serde_json::to_vec(word).unwrap());
            bytes.push(b'\n');
        }
        let writer = std::thread::spawn(move || {
            bytes.chunks(7).for_each(|piece| ours.write_all(piece).unwrap());
        });
        let mut heard = Vec::new();
        while heard.len() < words.len() {
            // A question that is given up loses nothing.
            if let Ok(word) =
                tokio::time::timeout(Duration::from_micros(50), link.hearing.hear()).await
            {
                heard.push(word.unwrap());
            }
        }
        assert_eq!(heard, words);
        writer.join().unwrap();
        assert!(link.hearing.hear().await.is_err(), "nobody is there any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_may_be_long_and_whoever_reads_nothing_is_given_up() {
        let (ours, theirs) = Socket::pair().unwrap();
        let (mut ours, mut theirs) = (Link::over(ours).unwrap(), Link::over(theirs).unwrap());
        // Far more than a socket holds, in both directions at once.
        let long = Word::Told(vec![vec![7; 1 << 20]; 2]);
        let (said, answered, heard, answer) = tokio::join!(
            ours.saying.say(&long),
            theirs.saying.say(&long),
            theirs.hearing.hear(),
            ours.hearing.hear(),
        );
        said.unwrap();
        answered.unwrap();
        assert_eq!((heard.unwrap(), answer.unwrap()), (long.clone(), long.clone()));
        let deaf = ours.saying.say(&long).await.unwrap_err();
        assert_eq!(deaf.kind(), io::ErrorKind::TimedOut);
    }
}
