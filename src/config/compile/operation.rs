//! `[[operation]]`, beside the built-in catalogue of the Selling Partner API (PRIV-1).
use std::collections::BTreeSet;

use super::Ctx;
use super::upstream::kind;
use crate::base::{ControlId, OperationIx};
use crate::config::raw::value::quoted;
use crate::config::raw::{KindName, RawOperation};
use crate::config::read::Entry;
use crate::config::source::Place;
use crate::policy::{
    CatalogueOperation, Holds, Method, Operation, OperationError, Operations, QueryNames, Template,
    TemplateError, Upgrades, catalogue,
};

/// For each upstream, the operations it answers.
pub(super) type Served = Vec<Vec<OperationIx>>;

impl Ctx<'_> {
    /// All operations that can be used, and who answers them.
    pub(super) fn operations(&mut self) -> (Option<Operations>, Served) {
        let entries = &self.document.operation.entries;
        let compiled: Vec<Option<Operation>> =
            entries.iter().map(|entry| self.operation(entry)).collect();
        let built_in = catalogue().len();
        let list = |kept: &dyn Fn(usize) -> bool| -> (Vec<Operation>, Vec<usize>) {
            let own = compiled.iter().enumerate().filter(|(at, _)| kept(*at));
            let own = own.filter_map(|(at, one)| one.clone().map(|one| (one, at)));
            let (own, places): (Vec<_>, Vec<_>) = own.unzip();
            (catalogue().iter().map(CatalogueOperation::operation).chain(own).collect(), places)
        };
        let (all, mut places) = list(&|_| true);
        let operations = match Operations::new(all) {
            Ok(operations) => Some(operations),
            Err(errors) => {
                // Judge the rest without the ones that don't fit.
                let bad: BTreeSet<usize> = errors
                    .iter()
                    .filter_map(|error| self.operation_error(error, built_in, &places))
                    .collect();
                let (rest, kept) = list(&|at| !bad.contains(&at));
                places = kept;
                Operations::new(rest).ok()
            }
        };
        let served = self.served(built_in, &places);
        (operations, served)
    }

    /// Whether every operation that was written exists: only then may a pattern be called wrong.
    pub(super) fn operations_are_whole(&self, operations: &Operations) -> bool {
        let section = &self.document.operation;
        !self.document.torn
            && section.is_whole()
            && operations.len() == catalogue().len() + section.entries.len()
    }

    fn served(&self, built_in: usize, places: &[usize]) -> Served {
        let ix = |at: usize| u16::try_from(at).ok().map(OperationIx);
        let document = self.document;
        let of = |name: &str| -> Vec<OperationIx> {
            let own = places.iter().zip(built_in..).filter(|(entry, _)| {
                let entry = document.operation.entries.get(**entry);
                entry.is_some_and(|entry| entry.raw.upstream.0.as_str() == name)
            });
            own.filter_map(|(_, at)| ix(at)).collect()
        };
        document
            .upstream
            .entries
            .iter()
            .map(|upstream| match kind(upstream) {
                Some(KindName::SpApi) => (0..built_in).filter_map(ix).collect(),
                Some(KindName::Https) => of(&upstream.name),
                None => Vec::new(),
            })
            .collect()
    }

    fn operation(&mut self, entry: &Entry<RawOperation>) -> Option<Operation> {
        let raw = &entry.raw;
        let upstream_at = entry.at(&raw.upstream.span);
        let upstreams = &self.document.upstream;
        let upstream = if entry.lost("upstream") {
            None
        } else {
            let wanted = &raw.upstream.value;
            self.resolve(upstreams, "upstream", wanted, &upstream_at, ControlId::Priv1)
        };
        if upstream.and_then(|at| upstreams.entries.get(at)).and_then(kind) == Some(KindName::SpApi)
        {
            let found = "operations of the Selling Partner API are built in";
            let instead = "name an upstream of kind \"https\", or remove the operation";
            self.report.error(&upstream_at, ControlId::Priv1, found, instead);
        }
        self.once(
            entry,
            raw.query.iter().map(|name| (name.value.as_str(), name)),
            ControlId::Priv1,
        );
        for name in &raw.query {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~$:@[]".contains(&b);
            if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
                let found = format!("{} is no query parameter's name", quoted(&name.value));
                let instead = "write letters, digits and - . _ ~ $ : @ [ ]";
                self.report.error(&entry.at(&name.span), ControlId::Priv1, found, instead);
            }
        }
        if !entry.lost.is_empty() {
            return None;
        }
        let encoded: Vec<&str> = raw.encoded.iter().map(|name| name.value.as_str()).collect();
        let template = match Template::parse(&raw.path.0, &encoded) {
            Ok(template) => template,
            Err(why) => {
                let span = match why {
                    TemplateError::EncodedUnknown => raw.encoded.first().map(|name| &name.span),
                    TemplateError::NotAbsolute
                    | TemplateError::EmptySegment
                    | TemplateError::DotSegment
                    | TemplateError::Character
                    | TemplateError::Parameter
                    | TemplateError::ParameterTwice
                    | TemplateError::TooManySegments => None,
                };
                let place = entry.at(span.unwrap_or(&raw.path.span));
                let found = format!("the path template does not fit: {why}");
                let instead = "write path and encoded like \"/stock/{sku}\" and [\"sku\"]";
                self.report.error(&place, ControlId::Priv1, found, instead);
                return None;
            }
        };
        Some(Operation {
            name: raw.name.0.clone(),
            alias: None,
            method: Method::parse(raw.method.0.as_bytes())?,
            template,
            query: QueryNames::Listed(raw.query.iter().map(|name| name.as_str().into()).collect()),
            upgrades: if raw.upgrade.is_some() { Upgrades::WebSocket } else { Upgrades::Refused },
            holds: if raw.personal_data { Holds::PersonalData } else { Holds::Nothing },
        })
    }

    /// Reports it; returns the entry that is at fault.
    fn operation_error(
        &mut self,
        error: &OperationError,
        built_in: usize,
        places: &[usize],
    ) -> Option<usize> {
        let entries = &self.document.operation.entries;
        let entry_of = |ix: &OperationIx| {
            let at = ix.index().checked_sub(built_in).and_then(|own| places.get(own)).copied()?;
            entries.get(at).map(|entry| (at, entry))
        };
        let (ix, found, instead) = match error {
            OperationError::NameTwice { first, second } => {
                let other = match entry_of(first) {
                    Some((_, first)) => self.report.sources.name(&first.place),
                    None => "the Selling Partner API's catalogue".to_owned(),
                };
                (
                    second,
                    "two operations have this name",
                    format!("rename it; the other is in {other}"),
                )
            }
            OperationError::NameHoldsColon(ix) => {
                (ix, "an operation's name holds no colon", "write a / or - for it".to_owned())
            }
            OperationError::MethodHead(ix) => {
                (ix, "HEAD is served by the operation of GET", "write method = \"GET\"".to_owned())
            }
            OperationError::UpgradeNeedsGet(ix) => {
                (ix, "a WebSocket starts with a GET", "write method = \"GET\"".to_owned())
            }
            OperationError::TooMany => {
                let place = entries.last().map(|entry| entry.place.clone())?;
                let found = "there are too many operations";
                let instead = format!("keep at most {}", Operations::MAX - built_in);
                self.report.error(&place, ControlId::Priv1, found, instead);
                return None;
            }
        };
        let (at, entry) = entry_of(ix)?;
        let place: Place = match error {
            OperationError::MethodHead(_) | OperationError::UpgradeNeedsGet(_) => {
                entry.at(&entry.raw.method.span)
            }
            OperationError::NameTwice { .. }
            | OperationError::NameHoldsColon(_)
            | OperationError::TooMany => entry.place.clone(),
        };
        self.report.error(&place, ControlId::Priv1, found, instead);
        Some(at)
    }
}
