//! What a configuration is read from: this machine, which is watched.
use std::path::Path;
use std::sync::atomic::Ordering;

use zeroize::Zeroizing;

use super::{Of, Seen, Watched};
use crate::config::{CommandFault, Machine, Outside, ReadFault, Texts};

impl Watched {
    /// Remembers what can be read later, with no file changed.
    fn mind<T>(&self, read: Result<T, ReadFault>) -> Result<T, ReadFault> {
        if read.as_ref().is_err_and(|fault| fault.may_pass()) {
            self.fell_short.store(true, Ordering::SeqCst);
        }
        read
    }
}

impl Outside for Watched {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.saw(path, Of::Material);
        let read = self.mind(Machine.read(path, bytes_max));
        self.note(path.display(), read.as_deref().ok());
        read
    }

    fn read_own(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.mind(Machine.read(path, bytes_max))
    }

    fn text(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.saw(path, Of::Text);
        let text = self.mind(Machine.read(path, bytes_max));
        self.note_text(path, text.as_deref().ok());
        text
    }

    /// Which texts there are is told by the texts.
    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        self.saw(directory, Of::Text);
        self.mind(Machine.list(directory))
    }

    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        self.saw(path, Of::Material);
        let secret = self.mind(Machine.read_secret(path));
        self.note(path.display(), secret.as_ref().ok().map(|secret| secret.as_slice()));
        secret
    }

    fn written(&self, path: &Path) -> Option<u64> {
        Machine.written(path)
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        let value = Machine.variable(name);
        self.note(format_args!("${name}"), value.as_ref().map(|value| value.as_slice()));
        value
    }

    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        let output = Machine.output(words);
        if output.as_ref().is_err_and(|fault| fault.may_pass()) {
            self.fell_short.store(true, Ordering::SeqCst);
        }
        let from = format_args!("!{}", words.join("\0")).to_string();
        self.note(from, output.as_ref().ok().map(|output| output.as_slice()));
        output
    }
}

/// This machine with other texts, or without what is still being written; see [`Watched::with`] and
/// [`Watched::anew_at_rest`].
#[derive(Debug)]
pub struct Retold<'w> {
    watched: &'w Watched,
    /// In the place of those that are there.
    texts: Option<&'w Texts>,
    /// What looks found; nothing, where all is read as it is.
    looked: Vec<Seen>,
}

impl<'w> Retold<'w> {
    pub(super) fn of(watched: &'w Watched, texts: Option<&'w Texts>, looked: Vec<Seen>) -> Self {
        Self { watched, texts, looked }
    }
}

impl Outside for Retold<'_> {
    fn text(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        let Some(texts) = self.texts else { return self.watched.text(path, bytes_max) };
        self.is_being_written(path);
        self.watched.saw(path, Of::Text);
        let text = texts.of(path);
        self.watched.note_text(path, text);
        text.map(<[u8]>::to_vec).ok_or(ReadFault::Missing)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        let Some(texts) = self.texts else { return self.watched.list(directory) };
        self.is_being_written(directory);
        self.watched.saw(directory, Of::Text);
        Ok(texts.names_in(directory))
    }

    fn is_being_written(&self, path: &Path) -> bool {
        let known = self.looked.iter().find(|file| file.path == path);
        let written = known.filter(|file| file.is_being_written());
        if let Some(file) = written {
            self.watched.waits_for(file);
        }
        written.is_some()
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.watched.read(path, bytes_max)
    }

    fn read_own(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.watched.read_own(path, bytes_max)
    }

    fn written(&self, path: &Path) -> Option<u64> {
        Machine.written(path)
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
