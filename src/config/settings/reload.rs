//! How another configuration comes into force.
use std::time::Duration;

/// `[reload]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    pub apply: Apply,
    /// 10 s to 30 min.
    pub trial: Duration,
    pub on_errors: OnErrors,
}

/// When files that changed are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    OnChange,
    OnRequest,
}

/// What follows when more fails than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnErrors {
    RollBack,
    Alarm,
}
