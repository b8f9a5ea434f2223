//! What can go wrong, told to the operator at the terminal.
use std::path::PathBuf;
use std::{fmt, io};

#[derive(Debug)]
pub enum DevCertsError {
    /// A client's name that could not safely be a file name and part of a URI.
    ClientName(String),
    /// A server name that is neither a DNS name nor an address.
    SubjectName(String),
    /// The key or certificate library refused: out of randomness, or a defect.
    Generate,
    /// The file is there, and replacing was not asked for.
    Exists(PathBuf),
    /// No PEM certificate, or no PKCS#8 P-256 key, where one was expected.
    Malformed(PathBuf),
    Io {
        path: PathBuf,
        kind: io::ErrorKind,
    },
}

impl DevCertsError {
    pub(super) fn io(path: &std::path::Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists(path.to_owned()),
            kind => Self::Io { path: path.to_owned(), kind },
        }
    }
}

impl fmt::Display for DevCertsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientName(name) => write!(
                f,
                "client name {name:?}: use 1 to 64 of a-z 0-9 . _ - and start with a letter or digit"
            ),
            Self::SubjectName(name) => write!(f, "{name:?} is no DNS name and no address"),
            Self::Generate => f.write_str("the key or certificate could not be made"),
            Self::Exists(path) => {
                write!(f, "{}: exists; ask for replacement to overwrite it", path.display())
            }
            Self::Malformed(path) => {
                write!(f, "{}: not a PEM certificate or PKCS#8 P-256 key", path.display())
            }
            Self::Io { path, kind } => write!(f, "{}: {kind}", path.display()),
        }
    }
}

impl std::error::Error for DevCertsError {}
