//! Reads the configuration: text to one immutable [`Snapshot`], or every mistake in it at once.
//! Controls: all that configure something; each error names its own.
//!
//! Decides: what a configuration may say. Never sees: requests, sockets, the clock (a moment is
//! passed in).
//! 1. All or nothing: a [`Snapshot`] exists only for a configuration without a mistake, so what is in
//!    force is replaced as a whole or not at all.
//! 2. Strict: an unknown key, name, unit or word is an error that says where it is and what to write.
//! 3. No switch turns TLS, the verification of a certificate or a control off; there is none.
//! 4. Secrets are references. Their contents never get into an error, a warning or a `Debug`.
//! 5. What is read is bounded: files, their size and number, programs' time, errors.
//!
//! On failure: [`ConfigErrors`], with file, line, column and control; nothing is changed.
mod compile;
mod describe;
pub mod diff;
mod error;
mod lists;
mod numbers;
mod operating;
mod outside;
mod raw;
mod read;
mod schema;
mod settings;
mod snapshot;
mod source;
mod suggest;
#[cfg(test)]
pub(crate) mod tests;
mod texts;
mod walk;

use std::path::Path;

use crate::base::Moment;

pub use compile::{Loaded, load_from, reload_from};
pub use error::{ConfigError, ConfigErrors, ERRORS_MAX, Paint, Severity, counted};
pub use lists::LISTS_FILE;
pub use numbers::{ListenerNumbers, NoNumberLeft};
pub use operating::{
    API_LISTENER, ApiSettings, OperatorAct, OperatorRole, OperatorSettings, Operators, Stranger,
};
pub use outside::{COMMAND_TIMEOUT, CommandFault, Machine, Outside, ReadFault, SECRET_BYTES_MAX};
pub use read::{FILE_BYTES_MAX, POLICY_FILES_MAX};
pub use schema::schema;
pub use settings::{
    AccessLog, Addresses, AdminSettings, AlarmSettings, AlarmTarget, AlarmWay, Alpn, Apply,
    AuthoritiesOf, Barred, Bounds, Breaker, CertifiedChain, ClientAuth, ClientKey, DeniedToken,
    DetectSettings, Endpoint, Expired, FileOf, IdentityKind, IdentitySettings, IssuerSettings,
    JwksSource, KeyFault, ListenerSettings, LogSettings, NamedFile, Nameless, Names, OnDisk,
    OnErrors, PacingSettings, PassProxy, PassSettings, PassTable, PassTarget, PermitPaper,
    PermitSettings, Posted, QuotaSettings, Rate, RedisSettings, Region, ReloadSettings,
    RevocationList, Roots, SecretAge, SecretOf, Stage, Staple, StateSettings, TlsKey, TlsSettings,
    TlsVersion, TokenSettings, UpstreamKind, UpstreamPacing, UpstreamProtocol, UpstreamSettings,
    Way, Withheld,
};
pub use snapshot::Snapshot;
pub use texts::Texts;

/// Reads and compiles the configuration at `path` on this machine. See [`load_from`].
pub fn load(path: &Path, generation: u64, now: Moment) -> Result<Loaded, ConfigErrors> {
    load_from(&Machine, path, generation, now)
}
