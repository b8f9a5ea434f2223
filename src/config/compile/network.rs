//! `[network]`: lists and files of prefixes to the table that addresses are looked up in (NET-1).
use std::path::Path;

use ipnet::IpNet;

use super::Ctx;
use crate::base::{ControlId, NetworkIx};
use crate::config::outside::ReadFault;
use crate::config::raw::RawNetwork;
use crate::config::raw::value::{CidrText, PathText, TextValue, quoted};
use crate::config::read::Entry;
use crate::config::settings::{FileOf, NamedFile, OnDisk};
use crate::config::source::Place;
use crate::policy::{NETWORKS_MAX, NetTable, Prefixes};

/// The largest file of a network: a million prefixes fit.
const NETWORK_FILE_BYTES_MAX: u64 = 64 << 20;

impl Ctx<'_> {
    /// The table; and, whatever else there is to say, by `NetworkIx` what it was made of.
    pub(super) fn networks(&mut self) -> Option<NetTable> {
        let entries = &self.document.network.entries;
        if let Some(first_too_many) = entries.get(NETWORKS_MAX) {
            let found = format!("{} networks are defined", entries.len());
            let instead = format!("keep at most {NETWORKS_MAX}; a network may hold many prefixes");
            self.report.error(&first_too_many.place, ControlId::Net1, found, instead);
        }
        let lists = (0..=u8::MAX).map(NetworkIx).zip(entries);
        let lists: Vec<_> = lists.map(|(ix, entry)| self.network(ix, entry)).collect();
        self.prefixes = lists.iter().map(|list| Prefixes::of(list)).collect();
        for (entry, _) in entries.iter().zip(&self.prefixes).filter(|(_, own)| own.holds_a_family())
        {
            let found = format!("the network {} holds every address", quoted(&entry.name));
            let instead = "list the networks that are meant; a listener admits whoever is in it";
            self.report.warning(&entry.place, ControlId::Net1, found, instead);
        }
        self.report.is_clean().then(|| NetTable::build(&lists))
    }

    fn network(&mut self, ix: NetworkIx, entry: &Entry<RawNetwork>) -> Vec<IpNet> {
        let prefixes = match &entry.raw {
            RawNetwork::List(list) => list.iter().map(|cidr| cidr.0).collect(),
            RawNetwork::File(_) if entry.lost("file") => Vec::new(),
            RawNetwork::File(path) => {
                self.network_file(ix, &path.value, &entry.at(&path.span)).unwrap_or_default()
            }
        };
        if prefixes.is_empty() && entry.lost.is_empty() {
            let found = format!("the network {} holds no address", quoted(&entry.name));
            let instead = "add its prefixes, or remove it; nobody is in it";
            self.report.warning(&entry.place, ControlId::Net1, found, instead);
        }
        prefixes
    }

    /// What a file holds; where that can't be used or is being written, what it held before.
    fn network_file(
        &mut self,
        ix: NetworkIx,
        path: &PathText,
        place: &Place,
    ) -> Option<Vec<IpNet>> {
        let (file, mark) = (self.path(path, place), self.report.mark());
        let finished = !self.outside.is_being_written(&file);
        let kept = if finished { None } else { self.kept_network(&file, mark) };
        let (prefixes, on_disk) = match kept.or_else(|| self.prefixes_in(&file, place)) {
            Some(prefixes) => (prefixes, OnDisk::Same),
            None => (self.kept_network(&file, mark)?, OnDisk::Unusable),
        };
        self.files.push(NamedFile { file, on_disk, of: FileOf::Network(ix) });
        Some(prefixes)
    }

    /// One prefix per line; what follows a `#` is a comment. Mistakes are shown in that file.
    fn prefixes_in(&mut self, path: &Path, place: &Place) -> Option<Vec<IpNet>> {
        let text = self
            .outside
            .read(path, NETWORK_FILE_BYTES_MAX)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| ReadFault::Unreadable));
        let text = match text {
            Ok(text) => text,
            Err(fault) => {
                self.unreadable(place, ControlId::Net1, path, fault);
                return None;
            }
        };
        let (mut prefixes, mut bad, mut start) = (Vec::new(), Vec::new(), 0);
        for line in text.split_inclusive('\n') {
            let content = line.split('#').next().unwrap_or_default();
            let word = content.trim();
            if !word.is_empty() {
                let from = start + content.len() - content.trim_start().len();
                match CidrText::parse_text(word) {
                    Ok(cidr) => prefixes.push(cidr.0),
                    Err(misfit) => bad.push((from..from + word.len(), misfit)),
                }
            }
            start += line.len();
        }
        if bad.is_empty() {
            return Some(prefixes);
        }
        let file = self.report.sources.add(path, text);
        for (span, misfit) in bad {
            let control = misfit.control.unwrap_or(ControlId::Net1);
            self.report.error(&Place { file, span }, control, misfit.found, misfit.instead);
        }
        None
    }
}
