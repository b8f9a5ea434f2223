//! A place in the source code, for the line of a panic.
use std::panic::Location;

use super::record::{Loggable, sealed::Sealed, write_plain};

/// Where in the source code a panic began. Only the compiler makes a [`Location`], so it can't hold a
/// byte of a request; but it is the builder's path, so no more than the end of it is kept: from the
/// directory before `src`, or else the file's name alone.
#[derive(Clone, Copy)]
pub struct CodePlace {
    file: [u8; Self::FILE_MAX],
    length: usize,
    pub(super) line: u32,
}

impl CodePlace {
    const FILE_MAX: usize = 120;

    #[must_use]
    pub fn of(location: &Location<'_>) -> Self {
        Self::cut(location.file(), location.line())
    }

    fn cut(path: &str, line: u32) -> Self {
        let kept = match path.rsplit_once("/src/") {
            Some((before, _)) => {
                let from = before.rfind('/').map_or(0, |slash| slash + 1);
                path.get(from..).unwrap_or_default()
            }
            None if path.starts_with("src/") => path,
            None => path.rsplit_once('/').map_or(path, |(_, name)| name),
        };
        let mut file = [b'_'; Self::FILE_MAX];
        let mut length = 0;
        for (to, from) in file.iter_mut().zip(kept.bytes()) {
            if from.is_ascii_alphanumeric() || b"/._-".contains(&from) {
                *to = from;
            }
            length += 1;
        }
        Self { file, length, line }
    }

    fn file(&self) -> &[u8] {
        self.file.get(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Debug for CodePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", String::from_utf8_lossy(self.file()), self.line)
    }
}

impl Sealed for CodePlace {}
impl Loggable for CodePlace {
    fn write_value(&self, out: &mut Vec<u8>) {
        write_plain(self.file(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_2_a_place_in_the_code_does_not_name_the_builder() {
        for (path, expect) in [
            ("src/gateway/request.rs", "src/gateway/request.rs"),
            (
                "/home/hanako/.cargo/registry/src/index.crates.io-1949/h2-0.4.1/src/proto/x.rs",
                "h2-0.4.1/src/proto/x.rs",
            ),
            ("/home/hanako/gateway/src/main.rs", "gateway/src/main.rs"),
            ("/rustc/0a1b/library/core/src/option.rs", "core/src/option.rs"),
            ("/home/hanako/build.rs", "build.rs"),
            ("a b\"c\\d\n.rs", "a_b_c_d_.rs"),
            ("", ""),
        ] {
            assert_eq!(CodePlace::cut(path, 1).file(), expect.as_bytes(), "{path}");
        }
        assert_eq!(CodePlace::cut(&"x".repeat(500), 1).file().len(), CodePlace::FILE_MAX);
    }
}
