//! Notices that a file of the configuration changed, by asking for their times now and then: there is
//! no watch to lose, and it sees through the symbolic links by which orchestrators swap folders.
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::config::{CommandFault, Machine, Outside, ReadFault, Texts};
use crate::engine::Print;

/// This machine, remembering what was read from it.
#[derive(Debug, Default)]
pub struct Watched {
    seen: Mutex<Vec<Seen>>,
    /// What was read, by where it came from: digests, never contents.
    read: Mutex<BTreeMap<String, Digest>>,
    /// Of that, what the configuration says itself.
    texts: Mutex<Texts>,
}

type Digest = [u8; SHA256_OUTPUT_LEN];

/// Keys what stands for contents; of one process.
pub struct Salt(hmac::Key);

impl Default for Salt {
    fn default() -> Self {
        let mut key = [0; 32];
        // Without randomness the process would not have started; equal contents stay equal.
        let _ = aws_lc_rs::rand::fill(&mut key);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    state: State,
}

type State = Option<(SystemTime, u64)>;

impl Watched {
    /// Starts anew, before a configuration is read again.
    pub fn forget(&self) {
        self.seen.lock().clear();
        self.forget_read();
    }

    /// The same, and goes on watching what it watches.
    fn forget_read(&self) {
        self.read.lock().clear();
        *self.texts.lock() = Texts::default();
    }

    /// Stands for this machine as it would be with these texts.
    pub fn with<'w>(&'w self, texts: &'w Texts) -> Retold<'w> {
        self.forget_read();
        Retold { watched: self, texts }
    }

    /// The texts that were read since it was told to forget.
    #[must_use]
    pub fn texts(&self) -> Texts {
        self.texts.lock().clone()
    }

    /// Stands for all that was read since it was told to forget.
    #[must_use]
    pub fn print(&self, salt: &Salt) -> Print {
        let mut context = hmac::Context::with_key(&salt.0);
        for (from, digest) in self.read.lock().iter() {
            context.update(from.as_bytes());
            context.update(&[0]);
            context.update(digest);
        }
        let tag = context.sign();
        Print(tag.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// `None` stands for what could not be read.
    fn note(&self, from: impl fmt::Display, content: Option<&[u8]>) {
        let mut own = Digest::default();
        if let Some(content) = content {
            own.iter_mut()
                .zip(digest(&SHA256, content).as_ref())
                .for_each(|(to, from)| *to = *from);
        }
        self.read.lock().insert(from.to_string(), own);
    }

    /// Whether anything changed since the last call, or since it was read.
    pub fn changed(&self) -> bool {
        let mut seen = self.seen.lock();
        let mut changed = false;
        for file in seen.iter_mut() {
            let now = state(&file.path);
            changed |= now != file.state;
            file.state = now;
        }
        changed
    }

    fn note_text(&self, path: &Path, text: Option<&[u8]>) {
        self.note(path.display(), text);
        if let Some(text) = text {
            self.texts.lock().note(path, text);
        }
    }

    fn saw(&self, path: &Path) {
        let mut seen = self.seen.lock();
        if !seen.iter().any(|file| file.path == path) {
            // The state before it is read: a change in between is seen as one.
            seen.push(Seen { path: path.to_owned(), state: state(path) });
        }
    }
}

fn state(path: &Path) -> State {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

impl Outside for Watched {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.saw(path);
        let read = Machine.read(path, bytes_max);
        self.note(path.display(), read.as_deref().ok());
        read
    }

    fn read_own(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        Machine.read(path, bytes_max)
    }

    fn text(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.saw(path);
        let text = Machine.read(path, bytes_max);
        self.note_text(path, text.as_deref().ok());
        text
    }

    /// Which texts there are is told by the texts.
    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        self.saw(directory);
        Machine.list(directory)
    }

    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        self.saw(path);
        let secret = Machine.read_secret(path);
        self.note(path.display(), secret.as_ref().ok().map(|secret| secret.as_slice()));
        secret
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        let value = Machine.variable(name);
        self.note(format_args!("${name}"), value.as_ref().map(|value| value.as_slice()));
        value
    }

    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        let output = Machine.output(words);
        let from = format_args!("!{}", words.join("\0")).to_string();
        self.note(from, output.as_ref().ok().map(|output| output.as_slice()));
        output
    }
}

/// This machine with other texts; see [`Watched::with`].
#[derive(Debug)]
pub struct Retold<'w> {
    watched: &'w Watched,
    texts: &'w Texts,
}

impl Outside for Retold<'_> {
    fn text(&self, path: &Path, _bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.watched.saw(path);
        let text = self.texts.of(path);
        self.watched.note_text(path, text);
        text.map(<[u8]>::to_vec).ok_or(ReadFault::Missing)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        self.watched.saw(directory);
        Ok(self.texts.names_in(directory))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.watched.read(path, bytes_max)
    }

    fn read_own(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.watched.read_own(path, bytes_max)
    }

    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        self.watched.read_secret(path)
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.watched.variable(name)
    }

    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        self.watched.output(words)
    }
}
