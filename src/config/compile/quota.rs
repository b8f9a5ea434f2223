//! `limits` of roles and identities, and `[limit.…]` (MON-2, MON-3): what is counted together, how
//! much of it there may be, for whom.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::Ctx;
use crate::base::{ControlId, LimitIx, Name, OperationIx, UpstreamIx};
use crate::config::raw::value::{RateText, quoted};
use crate::config::raw::{At, ModeName, Per, RawLimit};
use crate::config::read::Entry;
use crate::config::settings::QuotaSettings;
use crate::config::source::Place;
use crate::exposure;
use crate::policy::{
    Amount, Holds, LimitSpec, Measure, Mode, Operation, OperationSet, Operations, PatternError,
    Sharing, Window,
};

/// The most limits of one configuration.
const LIMITS_MAX: usize = 65_536;

/// Patterns that were resolved already.
type Resolved = HashMap<String, Result<OperationSet, PatternError>>;

/// Where a limit stands: that decides whose use it may add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Role,
    Identity,
    Gateway,
}

/// Upstreams by the seller account they lead to.
type Sellers = BTreeMap<Name, Vec<UpstreamIx>>;

/// What is known while limits are compiled.
struct Making<'a> {
    operations: &'a Operations,
    /// Whether all operations could be compiled.
    whole: bool,
    sellers: Sellers,
    known: Resolved,
    limits: Vec<LimitSpec>,
}

impl Ctx<'_> {
    pub(super) fn quotas(&mut self, operations: &Operations) -> QuotaSettings {
        let document = self.document;
        let mut making = Making {
            operations,
            whole: self.operations_are_whole(operations),
            sellers: self.sellers(),
            known: Resolved::new(),
            limits: Vec::new(),
        };
        let mut of_role: HashMap<&str, Vec<LimitIx>> = HashMap::new();
        for entry in &document.role.entries {
            let mut own = Vec::new();
            for (nth, limit) in (1..).zip(&entry.raw.limits) {
                let (name, at) = (format!("role/{}/{nth}", entry.name), entry.at(&limit.span));
                own.extend(self.limit(entry, limit, &at, &name, Home::Role, &mut making));
            }
            of_role.insert(&entry.name, own);
        }
        let mut of_all = Vec::new();
        for entry in &document.limit.entries {
            let (name, at) = (format!("limit/{}", entry.name), entry.place.clone());
            of_all.extend(self.limit(entry, &entry.raw, &at, &name, Home::Gateway, &mut making));
        }
        let mut accounts = Vec::new();
        for entry in &document.identity.entries {
            let held: BTreeSet<&str> = entry.raw.roles.iter().map(|role| role.0.as_str()).collect();
            let mut under = Vec::new();
            for (nth, limit) in (1..).zip(&entry.raw.limits) {
                let (name, at) = (format!("identity/{}/{nth}", entry.name), entry.at(&limit.span));
                under.extend(self.limit(entry, limit, &at, &name, Home::Identity, &mut making));
            }
            under.extend(held.iter().filter_map(|role| of_role.get(role)).flatten());
            under.extend(&of_all);
            accounts.extend(Name::parse(&entry.name).ok().map(|name| (name, under)));
        }
        QuotaSettings { limits: making.limits, accounts }
    }

    fn sellers(&self) -> Sellers {
        let mut sellers = Sellers::new();
        for (ix, entry) in (0..).map(UpstreamIx).zip(&self.document.upstream.entries) {
            let own = Name::parse(&entry.name).ok();
            let seller = entry.raw.seller.as_ref().map(|seller| seller.0.clone()).or(own);
            if let Some(seller) = seller {
                sellers.entry(seller).or_default().push(ix);
            }
        }
        sellers
    }

    /// One limit as written is one for each thing it counts, and for each seller.
    fn limit<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawLimit,
        at: &Place,
        name: &str,
        home: Home,
        making: &mut Making<'_>,
    ) -> Vec<LimitIx> {
        let operations = self.limited(entry, raw, making);
        let measures = self.measures(entry, raw, at);
        if let Some(operations) = &operations {
            self.records_are_counted(entry, raw, at, operations, making.operations);
        }
        let reach = self.reach(entry, raw, home, &making.sellers);
        let (Some(operations), Some((sharing, reach))) = (operations, reach) else {
            return Vec::new();
        };
        let mode = match raw.mode {
            ModeName::Enforce => Mode::Enforced,
            ModeName::Shadow => Mode::Shadow,
        };
        let mut places = Vec::new();
        for (seller, upstreams) in reach {
            for (suffix, measure) in &measures {
                let seller = seller.as_ref().map(|seller| format!("@{seller}")).unwrap_or_default();
                let full = format!("{name}{suffix}{seller}");
                let Ok(name) = Name::parse(&full) else {
                    let found = format!("the limit's name {} is too long", quoted(&full));
                    let instead = "give the role, identity, limit or seller a shorter name";
                    self.report.error(at, ControlId::Mon2, found, instead);
                    return places;
                };
                let Some(ix) = u16::try_from(making.limits.len()).ok().map(LimitIx) else {
                    let found = format!("there are more than {LIMITS_MAX} limits");
                    let instead = "move limits from identities to their roles";
                    self.report.error(at, ControlId::Mon2, found, instead);
                    return places;
                };
                making.limits.push(LimitSpec {
                    name,
                    operations: operations.clone(),
                    upstreams: upstreams.clone(),
                    measure: measure.clone(),
                    sharing,
                    mode,
                });
                places.push(ix);
            }
        }
        places
    }

    fn limited<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawLimit,
        making: &mut Making<'_>,
    ) -> Option<Vec<OperationIx>> {
        let all = making.operations;
        let mut set = OperationSet::empty(all.len());
        let mut fits = true;
        for pattern in &raw.operations {
            let text = &pattern.0;
            let select = || all.select(text);
            match making.known.entry(text.clone()).or_insert_with(select).clone() {
                Ok(selected) => set.insert_all(&selected),
                Err(error) => {
                    fits = false;
                    self.pattern_error(&entry.at(&pattern.span), &error, making.whole);
                }
            }
        }
        fits.then(|| all.iter().map(|(ix, _)| ix).filter(|ix| set.contains(*ix)).collect())
    }

    /// A limit on records that none of its operations' answers are searched for would never refuse.
    fn records_are_counted<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawLimit,
        at: &Place,
        limited: &[OperationIx],
        operations: &Operations,
    ) {
        let counted = |ix: &OperationIx| operations.get(*ix).is_some_and(is_counted);
        if limited.is_empty() || limited.iter().any(counted) {
            return;
        }
        if let Some(first) = raw.pii_records.first() {
            let at = if first.span.is_empty() { at.clone() } else { entry.at(&first.span) };
            let found = "in the answers of these operations no records are counted";
            let instead = "limit `bytes`, or write personal_data = true at the [[operation]]s of a \
                           store whose answers hold personal data";
            self.report.error(&at, ControlId::Mon3, found, instead);
        }
    }

    /// What a limit counts, each with the word that tells its name from the others'.
    fn measures<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawLimit,
        at: &Place,
    ) -> Vec<(&'static str, Measure)> {
        let mut measures = Vec::new();
        let window = |rate: &At<RateText>| Window { count: rate.count, per: rate.per, burst: None };
        if !raw.requests.is_empty() {
            self.periods(entry, raw.requests.iter().map(|rate| (rate.per, &rate.span)));
            measures.push(("", Measure::Requests(raw.requests.iter().map(window).collect())));
        }
        if !raw.bytes.is_empty() {
            self.periods(entry, raw.bytes.iter().map(|rate| (rate.per, &rate.span)));
            let amounts = raw.bytes.iter().map(|rate| Amount { count: rate.bytes, per: rate.per });
            measures.push(("/bytes", Measure::Bytes(amounts.collect())));
        }
        if !raw.pii_records.is_empty() {
            self.periods(entry, raw.pii_records.iter().map(|rate| (rate.per, &rate.span)));
            let amount = |rate: &At<RateText>| Amount { count: rate.count.into(), per: rate.per };
            let amounts = raw.pii_records.iter().map(amount).collect();
            measures.push(("/pii", Measure::PiiRecords(amounts)));
        }
        if let Some(most) = raw.concurrent {
            measures.push(("/concurrent", Measure::Concurrent(most)));
        }
        // An entry that was misread is told of elsewhere.
        let misread = ["requests", "bytes", "pii_records", "concurrent", "limits"];
        if measures.is_empty() && !misread.iter().any(|key| entry.lost(key)) {
            let instead = "add requests, bytes, pii_records or concurrent";
            self.report.error(at, ControlId::Mon2, "the limit counts nothing", instead);
        }
        measures
    }

    fn periods<'s, T>(
        &mut self,
        entry: &Entry<T>,
        rates: impl Iterator<Item = (Duration, &'s std::ops::Range<usize>)>,
    ) {
        let mut periods = BTreeSet::new();
        for (per, span) in rates {
            if !periods.insert(per) {
                let found = "two rates of one limit have the same period";
                let instead = "keep the lower one";
                self.report.error(&entry.at(span), ControlId::Mon2, found, instead);
            }
        }
    }

    /// Whose use is added up, and through which upstreams: once for all, or once for each seller.
    fn reach<T>(
        &mut self,
        entry: &Entry<T>,
        raw: &RawLimit,
        home: Home,
        sellers: &Sellers,
    ) -> Option<(Sharing, Reach)> {
        let everywhere = || vec![(None, None)];
        let (per, instead) = match (home, raw.per.as_ref().map(|per| per.value)) {
            (Home::Role | Home::Identity, None | Some(Per::Identity)) => {
                return Some((Sharing::Each, everywhere()));
            }
            (Home::Role, Some(Per::Role)) | (Home::Gateway, None | Some(Per::Gateway)) => {
                return Some((Sharing::All, everywhere()));
            }
            (Home::Gateway, Some(Per::Seller)) => {
                let each = sellers.iter().map(|(name, of)| (Some(name.clone()), Some(of.clone())));
                return Some((Sharing::All, each.collect()));
            }
            (Home::Role, Some(per)) => {
                (per, "write per = \"identity\" or \"role\", or move the limit to [limit.…]")
            }
            (Home::Identity, Some(per)) => {
                (per, "leave `per` out, or move the limit to its role or to [limit.…]")
            }
            (Home::Gateway, Some(per)) => (per, "write per = \"seller\" or \"gateway\""),
        };
        let place = raw.per.as_ref().map_or_else(|| entry.place.clone(), |at| entry.at(&at.span));
        let found = match per {
            Per::Identity => "the use of one identity can't be added up here",
            Per::Role => "the use of one role can't be added up here",
            Per::Seller => "the use of one seller account can't be added up here",
            Per::Gateway => "the use of everybody can't be added up here",
        };
        self.report.error(&place, ControlId::Mon2, found, instead);
        None
    }
}

/// Whether records are counted in its answers: by Amazon's contract, or as many as there may be.
fn is_counted(operation: &Operation) -> bool {
    let name = operation.alias.as_ref().unwrap_or(&operation.name);
    let contract = exposure::contract(name.as_str());
    operation.holds == Holds::PersonalData
        || contract.is_some_and(|contract| {
            contract.classes().any(|(class, whose)| class.is_personal() && whose.is_customer())
        })
}

/// For each seller, or for all at once: its name, and its upstreams.
type Reach = Vec<(Option<Name>, Option<Vec<UpstreamIx>>)>;
