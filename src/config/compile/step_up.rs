//! `[step_up]` and the roles that ask for it always (ACC-4).
use super::Ctx;
use crate::base::{ControlId, RoleIx};
use crate::config::raw::value::quoted;
use crate::config::raw::{RawStepUp, StepUpName};
use crate::identity::StrongLogin;
use crate::policy::{OperationSet, Operations, StepUp};

impl Ctx<'_> {
    /// Which logins are strong ones.
    pub(super) fn strong_login(&self) -> StrongLogin {
        let default = RawStepUp::default();
        let raw = self.document.step_up.as_ref().map_or(&default, |entry| &entry.raw);
        let texts = |words: &[crate::config::raw::value::LoginWord]| {
            words.iter().map(|word| word.0.clone()).collect()
        };
        StrongLogin { methods: texts(&raw.amr), classes: texts(&raw.acr) }
    }

    pub(super) fn step_up(&mut self, operations: &Operations) -> StepUp {
        let document = self.document;
        let default = RawStepUp::default();
        let raw = document.step_up.as_ref().map_or(&default, |entry| &entry.raw);
        let whole = self.operations_are_whole(operations);
        let mut always = OperationSet::empty(operations.len());
        if let Some(entry) = &document.step_up {
            for pattern in &entry.raw.operations {
                match operations.select(&pattern.0) {
                    Ok(selected) => always.insert_all(&selected),
                    Err(error) => self.pattern_error(&entry.at(&pattern.span), &error, whole),
                }
            }
        }
        let roles: Vec<RoleIx> = (0..)
            .map(RoleIx)
            .zip(&document.role.entries)
            .filter(|(_, entry)| entry.raw.step_up.value == StepUpName::Always)
            .map(|(ix, _)| ix)
            .collect();
        self.somebody_can_log_in(raw, &always, &roles);
        StepUp::new(raw.within.0, always, roles)
    }

    /// A demand that no login meets would shut out everybody, and who has no token can't log in.
    fn somebody_can_log_in(&mut self, raw: &RawStepUp, always: &OperationSet, roles: &[RoleIx]) {
        let document = self.document;
        if raw.amr.is_empty()
            && raw.acr.is_empty()
            && (!always.is_empty() || !roles.is_empty())
            && let Some(entry) = &document.step_up
        {
            let found = "`amr` and `acr` are empty: no login would ever do";
            let instead = "write amr = [\"mfa\"], or the classes of your issuer in `acr`";
            self.report.error(&entry.place, ControlId::Acc4, found, instead);
        }
        let demanding = |role: &crate::config::raw::value::NameText| {
            let at = document.role.place(role.0.as_str());
            at.and_then(|at| u16::try_from(at).ok()).is_some_and(|at| roles.contains(&RoleIx(at)))
        };
        for entry in &document.identity.entries {
            if entry.raw.token.is_some() || entry.lost("token") {
                continue;
            }
            if let Some(role) = entry.raw.roles.iter().find(|role| demanding(&role.value)) {
                let found = format!(
                    "the role {} takes a fresh login, and {} has no token to show one",
                    quoted(role.0.as_str()),
                    quoted(&entry.name),
                );
                let instead = "give it a role without `step_up`, or a token";
                self.report.error(&entry.at(&role.span), ControlId::Acc4, found, instead);
            }
        }
    }
}
