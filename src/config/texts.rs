//! What a configuration says by itself, apart from what it refers to: certificates, lists, secrets.
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use crate::base::base64url;

/// The main file and the policy files, as they were read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Texts(BTreeMap<PathBuf, Vec<u8>>);

impl Texts {
    pub fn note(&mut self, path: &Path, text: &[u8]) {
        self.0.insert(path.to_owned(), text.to_owned());
    }

    #[must_use]
    pub fn of(&self, path: &Path) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// Stands for them, in another process as well: they hold no secrets.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut context = Context::new(&SHA256);
        for (path, text) in &self.0 {
            for part in [path.as_os_str().as_bytes(), text] {
                context.update(&part.len().to_be_bytes());
                context.update(part);
            }
        }
        base64url::encode(context.finish().as_ref())
    }

    /// The names of those that lie in a directory.
    #[must_use]
    pub fn names_in(&self, directory: &Path) -> Vec<String> {
        let here = |parent: &Path| {
            parent == directory || (parent.as_os_str().is_empty() && directory == Path::new("."))
        };
        let inside = self.0.keys().filter(|path| path.parent().is_some_and(here));
        inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_holds_the_texts_that_were_read_from_it() {
        let mut texts = Texts::default();
        for path in ["main.toml", "policy/a.toml", "policy/b.toml", "policy/more/c.toml"] {
            texts.note(Path::new(path), path.as_bytes());
        }
        for (directory, names) in [
            ("policy", &["a.toml", "b.toml"][..]),
            ("policy/more", &["c.toml"]),
            (".", &["main.toml"]),
            ("", &["main.toml"]),
            ("elsewhere", &[]),
        ] {
            assert_eq!(texts.names_in(Path::new(directory)), names, "{directory}");
        }
        assert_eq!(texts.of(Path::new("main.toml")), Some(&b"main.toml"[..]));
        assert_eq!(texts.of(Path::new("a.toml")), None);
        let (same, mut other) = (texts.clone(), texts.clone());
        other.note(Path::new("main.toml"), b"main.tom");
        assert!(texts.digest() == same.digest() && texts.digest() != other.digest());
    }
}
