//! How old secrets are (TLS-5): nothing of what they hold.
use crate::base::Name;

/// A secret, or a key that others sign with, and since when it is what it is: its file's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretAge {
    pub of: SecretOf,
    /// None where it comes from no file.
    pub since_unix_secs: Option<u64>,
}

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOf {
    /// The host's own key, to which others are sealed.
    Host,
    /// The public key of who issues permits.
    PermitIssuer,
    RedisPassword,
    /// From which the gateways' keys are derived.
    RedisSecret,
    /// Of an alarm's target: what it is signed with, or shown.
    Alarm(Name),
}
