//! The file that this process was started from, by the name by which it was: where that leads through a
//! symbolic link to one version among several, the next process is of the version it leads to by then.
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// To be asked at the start, before anything is exchanged.
pub(super) fn started_from() -> io::Result<PathBuf> {
    let search = std::env::var_os("PATH");
    let named = std::env::args_os().next().and_then(|name| find(&name, search.as_deref()));
    // The name is whatever the process before wrote there.
    match named.filter(|named| is_same(named, Path::new("/proc/self/exe"))) {
        Some(named) => Ok(named),
        None => std::env::current_exe(),
    }
}

/// As a shell finds it.
fn find(name: &OsStr, search: Option<&OsStr>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    let found = std::env::split_paths(search?).map(|directory| directory.join(name));
    found.filter(|path| path.is_file()).find_map(|path| std::path::absolute(path).ok())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    file(one).is_some_and(|one| file(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_shell_finds_it() {
        let here = std::env::current_dir().unwrap();
        let found = |name: &str, search: &str| find(name.as_ref(), Some(search.as_ref()));
        assert_eq!(found("/opt/current/sekisho", ""), Some("/opt/current/sekisho".into()));
        assert_eq!(found("./sekisho", "/bin"), Some(here.join("sekisho")));
        assert_eq!(found("sh", "/nowhere:/bin:/usr/bin"), Some("/bin/sh".into()));
        assert_eq!(found("no-such-program", "/bin"), None);
        assert_eq!(find("sh".as_ref(), None), None);
        assert!(is_same(&started_from().unwrap(), Path::new("/proc/self/exe")));
    }
}
