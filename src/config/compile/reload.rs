//! `[reload]`.
use super::Ctx;
use crate::config::raw::{ApplyName, OnErrorsName, RawReload};
use crate::config::settings::{Apply, OnErrors, ReloadSettings};

impl Ctx<'_> {
    pub(super) fn reload(&self) -> ReloadSettings {
        let default = RawReload::default();
        let raw = self.document.reload.as_ref().map_or(&default, |entry| &entry.raw);
        ReloadSettings {
            apply: match raw.apply {
                ApplyName::OnChange => Apply::OnChange,
                ApplyName::OnRequest => Apply::OnRequest,
            },
            trial: raw.trial.0,
            on_errors: match raw.on_errors {
                OnErrorsName::RollBack => OnErrors::RollBack,
                OnErrorsName::Alarm => OnErrors::Alarm,
            },
        }
    }
}
