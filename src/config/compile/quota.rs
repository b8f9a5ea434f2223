//! `limits` of roles and identities (MON-2): which operations are counted together, how often, for
//! whom.
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::Ctx;
use crate::base::{ControlId, LimitIx, Name, OperationIx};
use crate::config::raw::value::quoted;
use crate::config::raw::{At, RawLimit};
use crate::config::read::Entry;
use crate::config::settings::{LimitSettings, QuotaSettings, Rate};
use crate::policy::{OperationSet, Operations, PatternError};

/// The most limits of one configuration.
const LIMITS_MAX: usize = 65_536;

/// Patterns that were resolved already.
type Resolved = HashMap<String, Result<OperationSet, PatternError>>;

impl Ctx<'_> {
    pub(super) fn quotas(&mut self, operations: &Operations) -> QuotaSettings {
        let document = self.document;
        let whole = self.operations_are_whole(operations);
        let (mut limits, mut known) = (Vec::new(), Resolved::new());
        let mut of_role: HashMap<&str, Vec<LimitIx>> = HashMap::new();
        for entry in &document.role.entries {
            let mut own = Vec::new();
            for (nth, limit) in (1..).zip(&entry.raw.limits) {
                let name = format!("role/{}/{nth}", entry.name);
                let made = self.limit(entry, limit, &name, operations, &mut known, whole);
                own.extend(self.enter(entry, limit, made, &mut limits));
            }
            of_role.insert(&entry.name, own);
        }
        let mut accounts = Vec::new();
        for entry in &document.identity.entries {
            let held: BTreeSet<&str> = entry.raw.roles.iter().map(|role| role.0.as_str()).collect();
            let mut under: Vec<LimitIx> =
                held.iter().filter_map(|role| of_role.get(role)).flatten().copied().collect();
            for (nth, limit) in (1..).zip(&entry.raw.limits) {
                let name = format!("identity/{}/{nth}", entry.name);
                let made = self.limit(entry, limit, &name, operations, &mut known, whole);
                under.extend(self.enter(entry, limit, made, &mut limits));
            }
            accounts.extend(Name::parse(&entry.name).ok().map(|name| (name, under)));
        }
        QuotaSettings { limits, accounts }
    }

    fn enter<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &At<RawLimit>,
        made: Option<LimitSettings>,
        limits: &mut Vec<LimitSettings>,
    ) -> Option<LimitIx> {
        let made = made?;
        if limits.len() == LIMITS_MAX {
            let found = format!("there are more than {LIMITS_MAX} limits");
            let instead = "move limits from identities to their roles";
            self.report.error(&entry.at(&raw.span), ControlId::Mon2, found, instead);
            return None;
        }
        let ix = u16::try_from(limits.len()).ok().map(LimitIx);
        limits.push(made);
        ix
    }

    fn limit<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &At<RawLimit>,
        name: &str,
        operations: &Operations,
        known: &mut Resolved,
        whole: bool,
    ) -> Option<LimitSettings> {
        let mut set = OperationSet::empty(operations.len());
        let mut fits = true;
        for pattern in &raw.operations {
            let text = &pattern.0;
            let found =
                known.entry(text.clone()).or_insert_with(|| operations.select(text)).clone();
            match found {
                Ok(selected) => set.insert_all(&selected),
                Err(error) => {
                    fits = false;
                    self.pattern_error(&entry.at(&pattern.span), &error, whole);
                }
            }
        }
        let mut periods: BTreeSet<Duration> = BTreeSet::new();
        for rate in &raw.requests {
            if !periods.insert(rate.per) {
                let found = "two rates of one limit have the same period";
                let instead = "keep the lower one";
                self.report.error(&entry.at(&rate.span), ControlId::Mon2, found, instead);
            }
        }
        let Ok(name) = Name::parse(name) else {
            let found = format!("the limit's name {} is too long", quoted(name));
            let instead = "give the role or identity a shorter name";
            self.report.error(&entry.at(&raw.span), ControlId::Mon2, found, instead);
            return None;
        };
        let operations: Vec<OperationIx> =
            operations.iter().map(|(ix, _)| ix).filter(|ix| set.contains(*ix)).collect();
        let windows = raw.requests.iter().map(|rate| Rate { count: rate.count, per: rate.per });
        fits.then(|| LimitSettings { name, operations, windows: windows.collect() })
    }
}
