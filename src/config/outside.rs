//! The world a configuration refers to: files, secrets, programs. Behind a trait, so that tests and
//! fuzzing can read a whole configuration from memory.
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

/// How long a secret's program may run.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// The most a secret may hold.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where a configuration's references are followed.
pub trait Outside {
    /// A file's bytes, at most `bytes_max`.
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault>;
    /// The same, of a file that the gateway itself writes: that it changes is no change of the
    /// configuration.
    fn read_own(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.read(path, bytes_max)
    }
    /// The same, of a text of the configuration itself.
    fn text(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        self.read(path, bytes_max)
    }
    /// Whether a file is just being written: what it held before stays meanwhile, where that is known.
    fn is_being_written(&self, _path: &Path) -> bool {
        false
    }
    /// The names in a directory of texts, at most 10,000.
    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault>;
    /// A file of this process' user, or root's, that nobody but its owner may read, write or execute.
    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault>;
    /// When a file was written, in seconds since 1970; none where that is not known.
    fn written(&self, _path: &Path) -> Option<u64> {
        None
    }
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>>;
    /// What a program prints.
    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault>;
}

/// Why a file can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    Missing,
    /// The gateway's user may not open it.
    Forbidden,
    /// It is a directory, a device, a socket.
    NotAFile,
    TooLarge,
    /// A secret whose permission bits let others in.
    Exposed {
        mode: u32,
    },
    /// A secret that belongs to somebody who is neither this process' user nor root.
    Foreign {
        uid: u32,
    },
    /// The medium failed.
    Unreadable,
}

impl ReadFault {
    /// Whether it may be over without any change of the file: the machine fell short, not the file.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::Unreadable)
    }
}

/// Why a program yields no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandFault {
    NotStarted,
    /// It ran longer than [`COMMAND_TIMEOUT`] and was killed.
    TimedOut,
    /// It ended with a failure.
    Failed,
    TooLarge,
}

impl CommandFault {
    /// Whether the same program may yield one later.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::NotStarted | Self::TimedOut | Self::Failed)
    }
}

impl From<std::io::Error> for ReadFault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Self::Missing,
            std::io::ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Unreadable,
        }
    }
}

/// This machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Outside for Machine {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        let file = open_file(path)?;
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if fits(bytes.len(), bytes_max) { Ok(bytes) } else { Err(ReadFault::TooLarge) }
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        let entries = std::fs::read_dir(directory)?;
        let mut names = Vec::new();
        for entry in entries.take(10_000) {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        let file = open_file(path)?;
        // Asked of the open file, so that it can't be exchanged in between.
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        if let Some((mode, uid)) = rights(&file)? {
            closed_to_others(mode, path, credentials.as_deref())?;
            owned_here(uid, own_uid())?;
        }
        read_bounded(file)
    }

    fn written(&self, path: &Path) -> Option<u64> {
        let modified = std::fs::metadata(path).and_then(|file| file.modified()).ok()?;
        modified.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        std::env::var_os(name).map(|value| Zeroizing::new(value.into_encoded_bytes()))
    }

    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        run(words, COMMAND_TIMEOUT)
    }
}

/// Opens what is a plain file, perhaps behind links. A pipe would block until somebody writes to it,
/// so the kind is asked first.
fn open_file(path: &Path) -> Result<std::fs::File, ReadFault> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReadFault::NotAFile);
    }
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(ReadFault::NotAFile) }
}

/// Refuses a mode that lets others in than the owner. In the directory of a service's credentials systemd
/// (from 254 on) lets in the service's user by an entry of the access list, and shows the list's mask
/// where the group's bits are: 0440.
fn closed_to_others(mode: u32, path: &Path, credentials: Option<&Path>) -> Result<(), ReadFault> {
    let credential = credentials.is_some_and(|own| own.is_absolute() && path.parent() == Some(own));
    let others = if credential { 0o037 } else { 0o077 };
    if mode & others == 0 { Ok(()) } else { Err(ReadFault::Exposed { mode }) }
}

/// Refuses an owner who is neither this process' user nor root: they may read and change it, whatever
/// its mode, and root may read what it likes.
const fn owned_here(uid: u32, own: u32) -> Result<(), ReadFault> {
    if uid == own || uid == 0 { Ok(()) } else { Err(ReadFault::Foreign { uid }) }
}

#[cfg(unix)]
fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn own_uid() -> u32 {
    0
}

/// Mode and owner.
#[cfg(unix)]
fn rights(file: &std::fs::File) -> Result<Option<(u32, u32)>, ReadFault> {
    use std::os::unix::fs::MetadataExt as _;
    let file = file.metadata()?;
    Ok(Some((file.mode() & 0o7777, file.uid())))
}

#[cfg(not(unix))]
fn rights(_: &std::fs::File) -> Result<Option<(u32, u32)>, ReadFault> {
    Ok(None)
}

fn fits(bytes: usize, bytes_max: u64) -> bool {
    u64::try_from(bytes).is_ok_and(|bytes| bytes <= bytes_max)
}

/// At most [`SECRET_BYTES_MAX`]. The buffer never grows, so no copy of the secret is left behind by a
/// move.
fn read_bounded(from: impl Read) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
    let room = usize::try_from(SECRET_BYTES_MAX + 1).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    from.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if fits(bytes.len(), SECRET_BYTES_MAX) { Ok(bytes) } else { Err(ReadFault::TooLarge) }
}

/// Runs a program without a shell, without standard input, its standard error dropped (it may hold
/// the secret), in a process group of its own that is killed when time is up.
fn run(words: &[String], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
    let (program, arguments) = words.split_first().ok_or(CommandFault::NotStarted)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|_| CommandFault::NotStarted)?;
    let output = child.stdout.take().ok_or(CommandFault::NotStarted)?;
    let (done, reader) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more once time is up; the secret is then wiped with the message.
        let _ = done.send(read_bounded(output));
    });
    let read = match reader.recv_timeout(timeout) {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(ReadFault::TooLarge)) => Err(CommandFault::TooLarge),
        Ok(Err(_)) => Err(CommandFault::Failed),
        Err(_) => Err(CommandFault::TimedOut),
    };
    if read.is_err() {
        kill_group(&child);
    }
    let ended = end_within(&mut child, timeout);
    let bytes = read?;
    match ended {
        Some(status) if status.success() => Ok(bytes),
        Some(_) => Err(CommandFault::Failed),
        None => Err(CommandFault::TimedOut),
    }
}

/// Waits for a program that has closed its output; one that goes on regardless is killed.
fn end_within(
    child: &mut std::process::Child,
    timeout: Duration,
) -> Option<std::process::ExitStatus> {
    const STEP: Duration = Duration::from_millis(10);
    let steps = timeout.as_millis() / STEP.as_millis();
    for _ in 0..steps {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(STEP),
            Err(_) => return None,
        }
    }
    kill_group(child);
    let _ = child.wait();
    None
}

#[cfg(unix)]
fn kill_group(child: &std::process::Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself meanwhile.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
fn kill_group(_: &std::process::Child) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn priv_4_a_program_yields_what_it_prints() {
        let long = Duration::from_secs(20);
        assert_eq!(run(&sh("printf abc"), long).unwrap().as_slice(), b"abc");
        assert_eq!(run(&sh("printf abc; exit 3"), long).unwrap_err(), CommandFault::Failed);
        let too_much = sh("head -c 70000 /dev/zero");
        assert_eq!(run(&too_much, long).unwrap_err(), CommandFault::TooLarge);
        let absent = ["/does/not/exist".to_owned()];
        assert_eq!(run(&absent, long).unwrap_err(), CommandFault::NotStarted);
        assert_eq!(run(&[], long).unwrap_err(), CommandFault::NotStarted);
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let hung = sh("sleep 600 & sleep 600");
        assert_eq!(run(&hung, Duration::from_millis(50)).unwrap_err(), CommandFault::TimedOut);
        // Closes its output, goes on: the second wait ends it.
        let silent = sh("exec >&-; sleep 600");
        assert_eq!(run(&silent, Duration::from_millis(50)).unwrap_err(), CommandFault::TimedOut);
    }

    #[test]
    fn tls_5_a_credential_of_systemd_is_its_service_s_alone() {
        let is_exposed = |mode, path: &Path, own| closed_to_others(mode, path, own).is_err();
        let (of_ours, elsewhere) = (Path::new("/run/credentials/s.service"), Path::new("/run/c"));
        let key = of_ours.join("host.key");
        assert!(!is_exposed(0o440, &key, Some(of_ours)));
        assert!(!is_exposed(0o400, &key, None));
        for mode in [0o460, 0o444, 0o450, 0o640 | 0o020] {
            assert!(is_exposed(mode, &key, Some(of_ours)), "{mode:o}");
        }
        for own in [None, Some(elsewhere), Some(Path::new("/run/credentials")), Some(&*key)] {
            assert!(is_exposed(0o440, &key, own), "{own:?}");
        }
        let relative = Path::new("credentials");
        assert!(is_exposed(0o440, &relative.join("host.key"), Some(relative)));
        assert!(is_exposed(0o440, &of_ours.join("../other/host.key"), Some(of_ours)));
    }

    #[test]
    fn priv_4_a_secret_is_the_process_user_s_or_root_s() {
        for (owner, own, good) in
            [(0, 0, true), (1_000, 1_000, true), (0, 1_000, true), (1_000, 0, false), (1, 2, false)]
        {
            let expect = if good { Ok(()) } else { Err(ReadFault::Foreign { uid: owner }) };
            assert_eq!(owned_here(owner, own), expect, "{owner}'s, read by {own}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn tls_5_a_secret_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = std::env::temp_dir().join(format!("sekisho-secret-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("key");
        std::fs::write(&file, "k").unwrap();
        for (mode, expect) in
            [(0o600, None), (0o400, None), (0o640, Some(0o640)), (0o604, Some(0o604))]
        {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = Machine.read_secret(&file);
            match expect {
                None => assert_eq!(read.unwrap().as_slice(), b"k"),
                Some(mode) => assert_eq!(read.unwrap_err(), ReadFault::Exposed { mode }),
            }
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        // Only root can give a file away.
        if own_uid() == 0 {
            std::os::unix::fs::chown(&file, Some(1_000), None).unwrap();
            let read = Machine.read_secret(&file);
            assert_eq!(read.unwrap_err(), ReadFault::Foreign { uid: 1_000 });
        }
        assert_eq!(Machine.read_secret(&directory).unwrap_err(), ReadFault::NotAFile);
        assert_eq!(Machine.read(&directory.join("no"), 9).unwrap_err(), ReadFault::Missing);
        assert_eq!(Machine.read(&file, 0).unwrap_err(), ReadFault::TooLarge);
        assert_eq!(Machine.list(&directory).unwrap(), ["key"]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
