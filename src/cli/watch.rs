//! Notices that a file of the configuration changed, by asking for their times now and then: there is
//! no watch to lose, and it sees through the symbolic links by which orchestrators swap folders.
//!
//! What is just being written is not read yet: `sort > denied.txt` empties the file first, and an empty
//! list is a valid one. A file has come to rest when a look finds nothing new, and is read then with all
//! that changed along with it. It waits for no more than one look for others that go on changing: one
//! that is rewritten for ever must not keep anybody in whom another one takes out (ACC-3). Of those what
//! is in force stays meanwhile, for ten seconds at most.
mod outside;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use aws_lc_rs::hmac;
use parking_lot::Mutex;

use crate::config::Texts;
use crate::engine::Print;
pub use outside::Retold;

/// This machine, remembering what was read from it.
#[derive(Debug, Default)]
pub struct Watched {
    seen: Mutex<Vec<Seen>>,
    /// What was read, by where it came from: digests, never contents.
    read: Mutex<BTreeMap<String, Digest>>,
    /// Of that, what the configuration says itself.
    texts: Mutex<Texts>,
    /// Something could not be read that can be later, with no file changed; since all was read last.
    fell_short: AtomicBool,
}

/// So many looks in a row may find a file changed before it is read as it is.
const RESTLESS_MAX: u32 = 40;
/// For so many looks one that changed is at rest before it waits for no other.
const RESTS: u32 = 2;

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
    news: News,
    of: Of,
    /// It was told of although it goes on changing, and is to be read as it is.
    overdue: bool,
}

/// What a file is to the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// It, or a folder of such files.
    Text,
    /// What it refers to.
    Material,
}

impl Seen {
    fn now(path: &Path, of: Of) -> Self {
        let (path, state) = (path.to_owned(), state(path));
        Self { path, state, news: News::None, of, overdue: false }
    }

    /// Whether it is not to be read yet.
    const fn is_being_written(&self) -> bool {
        !self.overdue && matches!(self.news, News::Changing(_))
    }
}

/// What looks found since it was read last, or was told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum News {
    #[default]
    None,
    /// So many in a row found it changed.
    Changing(u32),
    /// It had changed, and so many in a row found it at rest.
    Rests(u32),
}

impl News {
    const fn after(self, has_changed: bool) -> Self {
        match (self, has_changed) {
            (Self::Changing(looks), true) => Self::Changing(looks.saturating_add(1)),
            (Self::None | Self::Rests(_), true) => Self::Changing(1),
            (Self::None, false) => Self::None,
            (Self::Changing(_), false) => Self::Rests(1),
            (Self::Rests(looks), false) => Self::Rests(looks.saturating_add(1)),
        }
    }

    const fn waits_no_longer(self) -> bool {
        match self {
            Self::None => false,
            Self::Changing(looks) => looks >= RESTLESS_MAX,
            Self::Rests(looks) => looks >= RESTS,
        }
    }
}

/// Device, number, size, and the times of its content and of its inode: a `chmod` is seen, too, and so
/// is another file of the same age.
type State = Option<[i128; 5]>;

impl Watched {
    /// Has a configuration read again, and watches what is read for it. If nothing comes of it, what the
    /// one in force was made from is watched on: its permit, its lists, its certificates.
    pub fn anew<T, E>(&self, read: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        self.begin_anew(|_before| read(self))
    }

    /// The same because files changed. Of those that are still being written what is in force stays, and
    /// they are told of when they rest. Where a text is among them that goes for all texts: `in_force`.
    pub fn anew_at_rest<T, E>(
        &self,
        in_force: Option<&Texts>,
        read: impl FnOnce(&Retold<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.begin_anew(|before| {
            let mut texts = before.iter().filter(|file| file.of == Of::Text);
            let unfinished = texts.any(Seen::is_being_written);
            read(&Retold::of(self, in_force.filter(|_| unfinished), before.to_vec()))
        })
    }

    fn begin_anew<T, E>(&self, read: impl FnOnce(&[Seen]) -> Result<T, E>) -> Result<T, E> {
        let before = std::mem::take(&mut *self.seen.lock());
        self.forget_read();
        self.fell_short.store(false, Ordering::SeqCst);
        let read = read(&before);
        if read.is_err() {
            let mut seen = self.seen.lock();
            for file in before {
                if !seen.iter().any(|own| own.path == file.path) {
                    seen.push(file);
                }
            }
        }
        read
    }

    /// Goes on watching what it watches.
    fn forget_read(&self) {
        self.read.lock().clear();
        *self.texts.lock() = Texts::default();
    }

    /// Stands for this machine as it would be with these texts.
    pub fn with<'w>(&'w self, texts: &'w Texts) -> Retold<'w> {
        self.forget_read();
        Retold::of(self, Some(texts), Vec::new())
    }

    /// The same, of what is at rest.
    pub fn with_at_rest<'w>(&'w self, texts: &'w Texts) -> Retold<'w> {
        self.forget_read();
        let seen = self.seen.lock().clone();
        Retold::of(self, Some(texts), seen)
    }

    /// Whether something could not be read that can be later, with no file changed.
    pub fn fell_short(&self) -> bool {
        self.fell_short.load(Ordering::SeqCst)
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

    /// Whether anything changed and has come to rest since: to be asked now and then.
    pub fn settled(&self) -> bool {
        let mut seen = self.seen.lock();
        for file in seen.iter_mut() {
            let now = state(&file.path);
            let has_changed = now != file.state;
            file.news = file.news.after(has_changed);
            file.overdue &= has_changed;
            file.state = now;
        }
        let is_new = |file: &Seen| file.news != News::None;
        let changes = |file: &Seen| matches!(file.news, News::Changing(_));
        let settled = seen.iter().any(|file| file.news.waits_no_longer())
            || (seen.iter().any(is_new) && !seen.iter().any(changes));
        if settled {
            // Those that go on changing are told of when they rest.
            for file in seen.iter_mut().filter(|file| !changes(file) || file.news.waits_no_longer())
            {
                file.overdue = changes(file);
                file.news = News::None;
            }
        }
        settled
    }

    /// Whether anything changed that was not told of yet, come to rest or not.
    pub fn has_news(&self) -> bool {
        let seen = self.seen.lock();
        seen.iter().any(|file| file.news != News::None || file.state != state(&file.path))
    }

    fn note_text(&self, path: &Path, text: Option<&[u8]>) {
        self.note(path.display(), text);
        if let Some(text) = text {
            self.texts.lock().note(path, text);
        }
    }

    fn saw(&self, path: &Path, of: Of) {
        let mut seen = self.seen.lock();
        if !seen.iter().any(|file| file.path == path) {
            // The state before it is read: a change in between is seen as one.
            seen.push(Seen::now(path, of));
        }
    }

    /// Is not done with a file that it saw before.
    fn waits_for(&self, file: &Seen) {
        let mut seen = self.seen.lock();
        if !seen.iter().any(|own| own.path == file.path) {
            seen.push(file.clone());
        }
        drop(seen);
        self.note(file.path.display(), None);
    }
}

fn state(path: &Path) -> State {
    let meta = std::fs::metadata(path).ok()?;
    let time = |secs: i64, nanos: i64| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
    Some([
        meta.dev().into(),
        meta.ino().into(),
        meta.size().into(),
        time(meta.mtime(), meta.mtime_nsec()),
        time(meta.ctime(), meta.ctime_nsec()),
    ])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Outside as _, ReadFault};

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("sekisho-watch-{}-{name}", std::process::id());
            let folder = Self(std::env::temp_dir().join(name));
            std::fs::create_dir_all(&folder.0).unwrap();
            folder
        }

        fn file(&self, text: &str) -> PathBuf {
            let file = self.0.join("denied.txt");
            std::fs::write(&file, text).unwrap();
            file
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn reading(file: &Path) -> Watched {
        let watched = Watched::default();
        watched.read(file, 1_000).unwrap();
        watched
    }

    #[test]
    fn acc_3_what_is_just_being_written_is_not_read() {
        let folder = Folder::new("half");
        let file = folder.file("one\ntwo\n");
        let watched = reading(&file);
        assert!(!watched.settled(), "nothing changed");
        // As a shell does it: emptied first, written by and by.
        for half in ["", "o", "one\n", "one\nt", "one\ntwo\nthree\n"] {
            folder.file(half);
            assert!(!watched.settled(), "{half:?}");
        }
        assert!(watched.settled());
        assert!(!watched.settled(), "told once");
        // One that never rests.
        let looks = (1..99_usize).find(|length| {
            folder.file(&"x".repeat(*length));
            watched.settled()
        });
        assert_eq!(looks, Some(40));
    }

    #[test]
    fn acc_3_a_file_that_never_rests_holds_no_other_up() {
        let folder = Folder::new("restless");
        let (denied, other) = (folder.file("one\n"), folder.0.join("other"));
        let mut length = 0;
        let mut write = || {
            length += 1;
            std::fs::write(&other, "x".repeat(length)).unwrap();
        };
        write();
        let watched = reading(&denied);
        watched.read(&other, 1_000).unwrap();
        let mut looks = |count: usize| -> Vec<bool> {
            (0..count)
                .map(|_| {
                    write();
                    watched.settled()
                })
                .collect()
        };
        assert_eq!(looks(5), [false; 5]);
        folder.file("one\ntwo\n");
        assert_eq!(looks(4), [false, false, true, false]);
        // What changes along with it is waited for.
        folder.file("one\n");
        assert_eq!(looks(2), [false, false]);
        assert!(watched.settled(), "both are at rest");
        assert!(!watched.settled() && !watched.has_news(), "told once");
    }

    #[test]
    fn acc_3_what_is_being_written_is_not_read_because_another_file_has_rested() {
        let folder = Folder::new("unfinished");
        let (denied, main) = (folder.file("one\ntwo\n"), folder.0.join("sekisho.toml"));
        std::fs::write(&main, "as it was").unwrap();
        let watched = Watched::default();
        watched.text(&main, 1_000).unwrap();
        watched.read(&denied, 1_000).unwrap();
        let in_force = watched.texts();
        // What is held back, and what the configuration says.
        let changed = || {
            watched.anew_at_rest(Some(&in_force), |outside| {
                let text = String::from_utf8(outside.text(&main, 1_000)?).unwrap();
                let held = outside.is_being_written(&denied);
                outside.read(&denied, 1_000).map(|_| (held, text))
            })
        };
        let edited = |held| Ok::<_, ReadFault>((held, "edited".to_owned()));
        // The list is emptied and written by and by, while the text rests.
        std::fs::write(&main, "edited").unwrap();
        folder.file("");
        assert!(!watched.settled());
        folder.file("o");
        assert!(!watched.settled());
        folder.file("one\n");
        assert!(watched.settled());
        // Its end may come before the next look.
        folder.file("one\ntwo\nthree\n");
        assert_eq!(changed(), edited(true));
        assert!(watched.has_news() && !watched.settled() && watched.settled());
        assert_eq!(changed(), edited(false));
        assert!(!watched.settled() && !watched.has_news(), "told once");
        // The other way round, what is in force says what else counts.
        std::fs::write(&main, "ed").unwrap();
        folder.file("one\n");
        for half in ["edi", "edit"] {
            assert!(!watched.settled());
            std::fs::write(&main, half).unwrap();
        }
        assert!(watched.settled());
        assert_eq!(changed(), Ok((false, "as it was".to_owned())));
        std::fs::write(&main, "edited").unwrap();
        assert!(!watched.settled() && watched.settled());
        assert_eq!(changed(), edited(false));
        // One that never rests is read as it is, by and by, and by whoever asks for it.
        let looks = (1..99_usize).find(|length| {
            folder.file(&"x".repeat(*length));
            watched.settled()
        });
        folder.file("y");
        assert!(!watched.settled(), "a reload before it took its time");
        assert_eq!((looks, changed()), (Some(40), edited(false)));
        folder.file("yy");
        assert!(!watched.settled());
        watched.anew(|watched| watched.read(&denied, 1_000)).unwrap();
        assert!(!watched.settled() && !watched.has_news());
    }

    #[test]
    fn acc_3_what_could_not_be_read_for_want_of_something_is_remembered() {
        let folder = Folder::new("short");
        let (file, round) = (folder.file("one\n"), folder.0.join("round"));
        std::os::unix::fs::symlink(&round, &round).unwrap();
        let watched = reading(&file);
        watched.read(&folder.0.join("missing"), 1_000).unwrap_err();
        assert!(!watched.fell_short(), "its coming is a change");
        let words = ["/bin/false".to_owned()];
        watched.output(&words).unwrap_err();
        assert!(watched.fell_short());
        watched.anew(|watched| watched.read(&file, 1_000)).unwrap();
        assert!(!watched.fell_short());
        let read = watched.anew(|watched| watched.read(&round, 1_000));
        assert_eq!((read, watched.fell_short()), (Err(ReadFault::Unreadable), true));
        // Another look at it, in part, proves nothing.
        watched.with(&Texts::default()).read(&file, 1_000).unwrap();
        assert!(watched.fell_short());
    }

    #[test]
    fn tls_3_what_is_in_force_is_watched_on_when_another_can_not_be_read() {
        let folder = Folder::new("torn");
        let (main, permit) = (folder.0.join("sekisho.toml"), folder.file("a permit"));
        std::fs::write(&main, "whole").unwrap();
        let watched = Watched::default();
        let read = |watched: &Watched, all: bool| {
            let files = [Some(&main), all.then_some(&permit)];
            files.into_iter().flatten().try_for_each(|file| watched.read(file, 1_000).map(drop))
        };
        watched.anew(|watched| read(watched, true)).unwrap();
        let seen = || (!watched.settled()) && watched.settled();
        std::fs::remove_file(&main).unwrap();
        assert!(seen());
        // Twice: neither does one mistake after the other lose it.
        for _ in 0..2 {
            watched.anew(|watched| read(watched, true)).unwrap_err();
        }
        std::fs::remove_file(&permit).unwrap();
        assert!(seen(), "the permit that was taken away");
        // What is no part of one that was read whole is watched no more.
        std::fs::write(&main, "without a permit").unwrap();
        watched.anew(|watched| read(watched, false)).unwrap();
        folder.file("a permit");
        assert!(!seen());
    }

    #[test]
    fn tls_5_a_key_that_is_laid_open_is_noticed_and_so_is_a_file_as_old_and_as_long() {
        let folder = Folder::new("modes");
        let file = folder.file("secret");
        let watched = reading(&file);
        let seen = || (!watched.settled()) && watched.settled();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(seen());
        let times = std::fs::FileTimes::new()
            .set_modified(std::fs::metadata(&file).unwrap().modified().unwrap());
        let other = folder.0.join("other");
        std::fs::write(&other, "public").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_times(times).unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert!(seen());
        std::fs::remove_file(&file).unwrap();
        assert!(seen());
        assert!(!seen());
    }
}
