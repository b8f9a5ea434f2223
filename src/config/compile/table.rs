//! Which operations each listener serves, by TLS server name (PRIV-1): a method and path must mean one
//! operation of one upstream there.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Ctx;
use super::operation::Served;
use super::upstream::kind;
use crate::base::{ControlId, UpstreamIx};
use crate::config::raw::value::quoted;
use crate::config::raw::{KindName, RawListener, RawUpstream};
use crate::config::read::Entry;
use crate::config::snapshot::Tables;
use crate::config::source::Place;
use crate::policy::{OperationTable, Operations, Route, TableError};

/// Tables that were made already, by their upstreams; `None` for those that can't be.
type Made = BTreeMap<Vec<usize>, Option<Arc<OperationTable>>>;

impl Ctx<'_> {
    /// In the order of the listeners.
    pub(super) fn tables(&mut self, all: &Operations, served: &Served) -> Option<Vec<Tables>> {
        let (mut made, mut told) = (Made::new(), BTreeSet::new());
        let tables: Vec<Option<Tables>> = self
            .document
            .listener
            .entries
            .iter()
            .map(|entry| self.listener_tables(entry, all, served, &mut made, &mut told))
            .collect();
        tables.into_iter().collect()
    }

    fn listener_tables(
        &mut self,
        entry: &Entry<RawListener>,
        all: &Operations,
        served: &Served,
        made: &mut Made,
        told: &mut BTreeSet<(String, String)>,
    ) -> Option<Tables> {
        let section = &self.document.upstream;
        let upstreams: BTreeSet<usize> =
            entry.raw.upstreams.iter().filter_map(|name| section.place(name.0.as_str())).collect();
        let upstream = |at: &usize| section.entries.get(*at);
        let names: BTreeSet<&str> = upstreams
            .iter()
            .filter_map(upstream)
            .flat_map(|up| up.raw.server_names.iter().map(|name| name.0.as_str()))
            .collect();
        let serving = |name: Option<&str>| -> Vec<usize> {
            let fits = |up: &Entry<RawUpstream>| {
                let list = &up.raw.server_names;
                list.is_empty() || list.iter().any(|one| Some(one.0.as_str()) == name)
            };
            upstreams.iter().filter(|at| upstream(at).is_some_and(fits)).copied().collect()
        };
        let groups: Vec<(Option<&str>, Vec<usize>)> = std::iter::once(None)
            .chain(names.into_iter().map(Some))
            .map(|name| (name, serving(name)))
            .collect();
        let mut tables = Some(Tables {
            default: Arc::new(OperationTable::build(all, &[]).ok()?),
            by_server_name: HashMap::new(),
        });
        for (name, group) in groups {
            let known = made.get(&group).cloned();
            let table = known.unwrap_or_else(|| {
                let table = self.table(entry, &group, all, served, told);
                made.insert(group, table.clone());
                table
            });
            match (table, &mut tables, name) {
                (Some(table), Some(tables), None) => tables.default = table,
                (Some(table), Some(tables), Some(name)) => {
                    tables.by_server_name.insert(name.to_owned(), table);
                }
                (None, _, _) => tables = None,
                (Some(_), None, _) => {}
            }
        }
        tables
    }

    fn table(
        &mut self,
        entry: &Entry<RawListener>,
        group: &[usize],
        all: &Operations,
        served: &Served,
        told: &mut BTreeSet<(String, String)>,
    ) -> Option<Arc<OperationTable>> {
        let place = entry.at(&entry.raw.upstreams.span);
        let sp_apis: Vec<&str> = group
            .iter()
            .filter_map(|at| self.document.upstream.entries.get(*at))
            .filter(|up| kind(up) == Some(KindName::SpApi))
            .map(|up| up.name.as_str())
            .collect();
        if let [first, second, ..] = sp_apis.as_slice() {
            // Each of its operations would be a conflict of its own.
            if told.insert(((*first).to_owned(), (*second).to_owned())) {
                let found = format!(
                    "{} and {} serve the same operations to the same server names",
                    quoted(first),
                    quoted(second)
                );
                let instead =
                    "give each its own server_names = [\"fe.spapi.example.com\"], or a listener";
                self.report.error(&place, ControlId::Priv1, found, instead);
            }
            return None;
        }
        let routes: Vec<Route> = group
            .iter()
            .filter_map(|at| Some((UpstreamIx(u16::try_from(*at).ok()?), served.get(*at)?)))
            .flat_map(|(upstream, list)| {
                list.iter().map(move |ix| Route { operation: *ix, upstream })
            })
            .collect();
        match OperationTable::build(all, &routes) {
            Ok(table) => Some(Arc::new(table)),
            Err(errors) => {
                for error in errors {
                    self.table_error(&error, &place, told);
                }
                None
            }
        }
    }

    fn table_error(
        &mut self,
        error: &TableError,
        listener: &Place,
        told: &mut BTreeSet<(String, String)>,
    ) {
        let TableError::Conflict { first, second } = error else { return };
        if !told.insert((first.as_str().to_owned(), second.as_str().to_owned())) {
            return;
        }
        let section = &self.document.operation;
        let own = [second, first].into_iter().find_map(|name| section.place(name.as_str()));
        let entry = own.and_then(|at| section.entries.get(at));
        let place = entry.map_or_else(|| listener.clone(), |entry| entry.at(&entry.raw.path.span));
        let found = format!("one path can mean both {first} and {second}");
        let instead = "make the templates differ in a fixed segment, or separate the listeners";
        self.report.error(&place, ControlId::Priv1, found, instead);
    }
}
