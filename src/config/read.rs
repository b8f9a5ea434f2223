//! Files to sections: reads the main file and the policy files it names, checks each entry's shape,
//! and gathers the entries by section, each with the place it came from. An entry with a mistake in it
//! does not hide the next one, nor its own other mistakes.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::describe;
use super::error::{Extent, Report};
use super::outside::{Outside, ReadFault};
use super::raw::value::{TextValue, quoted};
use super::raw::{
    RawAdmin, RawAlarm, RawAlarms, RawDetect, RawGateway, RawIdentity, RawIssuer, RawLimit,
    RawListener, RawLockout, RawLog, RawNetwork, RawOperation, RawOperator, RawPermit, RawReload,
    RawRole, RawState, RawStepUp, RawToken, RawUpstream,
};
use super::source::{FileIx, Place};
use super::walk::{Absent, Level, Seat, Verdict, Walk};

/// The largest configuration file.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// The most policy files.
pub const POLICY_FILES_MAX: usize = 256;

/// One entry of a section.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) name: String,
    /// Its name, or its header.
    pub(super) place: Place,
    /// Keys below which something was wrong and was cut out.
    pub(super) lost: BTreeSet<String>,
    pub(super) raw: T,
}

impl<T> Entry<T> {
    /// A place in this entry; a default's empty range means the entry itself.
    pub(super) fn at(&self, span: &Range<usize>) -> Place {
        if span.is_empty() {
            return self.place.clone();
        }
        Place { file: self.place.file, span: span.clone() }
    }

    /// Whether something below `key` was wrong: then nothing may be said about its absence.
    pub(super) fn lost(&self, key: &str) -> bool {
        self.lost.contains(key)
    }
}

/// The entries of one section, over all files.
#[derive(Debug)]
pub(super) struct Section<T> {
    pub(super) entries: Vec<Entry<T>>,
    /// Every name that was given, also to entries that can't be used: references to them are right.
    pub(super) names: BTreeMap<String, Place>,
    places: HashMap<String, usize>,
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), names: BTreeMap::new(), places: HashMap::new() }
    }
}

impl<T> Section<T> {
    fn push(&mut self, entry: Entry<T>) {
        self.places.insert(entry.name.clone(), self.entries.len());
        self.entries.push(entry);
    }

    /// The place among `entries` of a usable entry.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Whether every entry that was written can be used.
    pub(super) fn is_whole(&self) -> bool {
        self.names.len() == self.entries.len()
    }
}

/// The whole configuration as written.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) gateway: Option<Entry<RawGateway>>,
    pub(super) permit: Option<Entry<RawPermit>>,
    pub(super) state: Option<Entry<RawState>>,
    pub(super) token: Option<Entry<RawToken>>,
    pub(super) detect: Option<Entry<RawDetect>>,
    pub(super) lockout: Option<Entry<RawLockout>>,
    pub(super) reload: Option<Entry<RawReload>>,
    pub(super) step_up: Option<Entry<RawStepUp>>,
    pub(super) log: Option<Entry<RawLog>>,
    pub(super) admin: Option<Entry<RawAdmin>>,
    pub(super) alarms: Option<Entry<RawAlarms>>,
    pub(super) alarm: Section<RawAlarm>,
    pub(super) network: Section<RawNetwork>,
    pub(super) listener: Section<RawListener>,
    pub(super) upstream: Section<RawUpstream>,
    pub(super) operation: Section<RawOperation>,
    pub(super) issuer: Section<RawIssuer>,
    pub(super) role: Section<RawRole>,
    pub(super) limit: Section<RawLimit>,
    pub(super) identity: Section<RawIdentity>,
    pub(super) operator: Section<RawOperator>,
    /// A file could not be read, or its syntax is broken: names may be missing for that reason.
    pub(super) torn: bool,
}

impl Document {
    /// What the files name, and whether something may stand where nothing could be read.
    pub(super) fn extent(&self) -> Extent {
        let named = vec![
            ("networks", self.network.names.len()),
            ("listeners", self.listener.names.len()),
            ("upstreams", self.upstream.names.len()),
            ("operations", self.operation.names.len()),
            ("issuers", self.issuer.names.len()),
            ("roles", self.role.names.len()),
            ("identities", self.identity.names.len()),
        ];
        Extent { named, torn: self.torn }
    }
}

/// Reads the main file and its policy files. Mistakes go into `report`.
pub(super) fn read(
    outside: &dyn Outside,
    main: &Path,
    schema: &Value,
    report: &mut Report,
) -> Document {
    let mut document = Document::default();
    let mut reader = Reader { outside, schema, report, document: &mut document };
    let nowhere = Place { file: FileIx(0), span: 0..0 };
    reader.file(main, Part::Main, &nowhere);
    let missing = document.gateway.is_none() && !document.torn;
    if missing && report.is_clean() {
        let found = "`[gateway]` is missing";
        report.error(&nowhere, None, found, "begin with [gateway], environment and state_dir");
    }
    let mut reader = Reader { outside, schema, report, document: &mut document };
    for (path, place) in reader.policy_files() {
        reader.file(&path, Part::Policy, &place);
    }
    document
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Main,
    Policy,
}

struct Reader<'r> {
    outside: &'r dyn Outside,
    schema: &'r Value,
    report: &'r mut Report,
    document: &'r mut Document,
}

/// The file whose entries are being read.
#[derive(Clone, Copy)]
struct Current {
    file: FileIx,
    absent: Absent,
}

impl<'r> Reader<'r> {
    /// The files that `gateway.policy` names, each once.
    fn policy_files(&mut self) -> Vec<(PathBuf, Place)> {
        let Some(gateway) = &self.document.gateway else { return Vec::new() };
        let base = self.report.sources.path(gateway.place.file).to_owned();
        let base = base.parent().unwrap_or(Path::new(""));
        let mut files: Vec<(PathBuf, Place)> = Vec::new();
        for glob in &gateway.raw.policy {
            let place = gateway.at(&glob.span);
            let directory = base.join(&glob.directory);
            let shown = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
            let mut names = match self.outside.list(shown) {
                Ok(names) => names,
                Err(fault) => {
                    self.document.torn = true;
                    tell_unreadable(self.report, &place, shown, fault);
                    continue;
                }
            };
            names.retain(|name| glob.matches(name));
            names.sort_unstable();
            if names.is_empty() {
                let found = format!("no file is named like {}", quoted(&glob.to_text()));
                self.report.warning(&place, None, found, "remove the pattern, or add the files");
            }
            for name in names {
                let path = directory.join(name);
                if !files.iter().any(|(known, _)| *known == path) {
                    files.push((path, place.clone()));
                }
            }
        }
        if let Some((_, place)) = files.get(POLICY_FILES_MAX) {
            let found = format!("{} policy files are named", files.len());
            let instead = format!("use at most {POLICY_FILES_MAX}");
            self.report.error(place, None, found, instead);
            files.truncate(POLICY_FILES_MAX);
        }
        files
    }

    fn file(&mut self, path: &Path, part: Part, named_at: &Place) {
        let bytes = match self.outside.text(path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(fault) => {
                self.document.torn = true;
                if part == Part::Main {
                    self.report.sources.add(path, String::new());
                }
                tell_unreadable(self.report, named_at, path, fault);
                return;
            }
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                self.document.torn = true;
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let file = self.report.sources.add(path, text);
                let place = Place { file, span: at..at + 1 };
                self.report.error(&place, None, "this byte is no UTF-8", "save the file as UTF-8");
                return;
            }
        };
        let (tree, errors) = DeTable::parse_recoverable(&text);
        let file = self.report.sources.add(path, text.clone());
        let mut absent = Absent::Report;
        for error in errors {
            let twice = error.message() == "duplicate key";
            if !twice {
                absent = Absent::Excuse;
                self.document.torn = true;
            }
            let place = Place { file, span: error.span().unwrap_or(text.len()..text.len()) };
            let instead = if twice { "keep one of the two" } else { "write TOML 1.1: key = value" };
            let found = if twice { "this key is given twice" } else { error.message() };
            self.report.error(&place, None, found, instead);
        }
        self.sections(tree.into_inner(), part, Current { file, absent });
    }

    fn sections(&mut self, root: DeTable<'_>, part: Part, now: Current) {
        for (key, value) in root {
            let (name, span) = (key.get_ref().to_string(), key.span());
            let place = Place { file: now.file, span: span.clone() };
            // Nor may whoever owns a policy file make operators of whom they like (PRIV-3), or say who
            // vouches for the host (TLS-3).
            if ["gateway", "operator", "permit", "reload"].contains(&name.as_str())
                && part == Part::Policy
            {
                let found = format!("`[{name}]` stands in a policy file");
                self.report.error(&place, None, found, "move it to the main file");
                continue;
            }
            let known = self.schema.get("properties").and_then(Value::as_object);
            let Some(schema) = known.and_then(|known| known.get(&name)) else {
                let keys: Vec<&str> =
                    known.into_iter().flatten().map(|(k, _)| k.as_str()).collect();
                let (key, control, level) = (String::new(), None, Level::Entry);
                let seat = Seat { key, control, span: span.clone(), level };
                self.walk(now).unknown_key(&name, span, keys, &seat);
                continue;
            };
            let control = describe::control(schema);
            let seat = Seat { key: name.clone(), control, span, level: Level::Entry };
            let mut document = std::mem::take(self.document);
            match name.as_str() {
                "gateway" => self.single(&mut document.gateway, value, schema, &seat, now),
                "permit" => self.single(&mut document.permit, value, schema, &seat, now),
                "state" => self.single(&mut document.state, value, schema, &seat, now),
                "token" => self.single(&mut document.token, value, schema, &seat, now),
                "detect" => self.single(&mut document.detect, value, schema, &seat, now),
                "lockout" => self.single(&mut document.lockout, value, schema, &seat, now),
                "reload" => self.single(&mut document.reload, value, schema, &seat, now),
                "step_up" => self.single(&mut document.step_up, value, schema, &seat, now),
                "log" => self.single(&mut document.log, value, schema, &seat, now),
                "alarms" => self.single(&mut document.alarms, value, schema, &seat, now),
                "alarm" => self.listed(&mut document.alarm, value, schema, &seat, now),
                "admin" => self.single(&mut document.admin, value, schema, &seat, now),
                "network" => self.keyed(&mut document.network, value, schema, &seat, now),
                "role" => self.keyed(&mut document.role, value, schema, &seat, now),
                "limit" => self.keyed(&mut document.limit, value, schema, &seat, now),
                "identity" => self.keyed(&mut document.identity, value, schema, &seat, now),
                "operator" => self.keyed(&mut document.operator, value, schema, &seat, now),
                "listener" => self.listed(&mut document.listener, value, schema, &seat, now),
                "upstream" => self.listed(&mut document.upstream, value, schema, &seat, now),
                "operation" => self.listed(&mut document.operation, value, schema, &seat, now),
                "issuer" => self.listed(&mut document.issuer, value, schema, &seat, now),
                _ => {}
            }
            *self.document = document;
        }
    }

    fn walk(&mut self, now: Current) -> Walk<'_, 'r> {
        Walk {
            schema: self.schema,
            file: now.file,
            absent: now.absent,
            report: self.report,
            lost: BTreeSet::new(),
        }
    }

    /// `[section]`: at most one in all files.
    fn single<T: DeserializeOwned>(
        &mut self,
        slot: &mut Option<Entry<T>>,
        value: Spanned<DeValue<'_>>,
        schema: &'r Value,
        seat: &Seat,
        now: Current,
    ) {
        let place = Place { file: now.file, span: seat.span.clone() };
        if let Some(first) = slot {
            let found = format!("`[{}]` stands in two files", seat.key);
            let first = self.report.sources.name(&first.place);
            self.report.error(&place, seat.control, found, format!("keep this one or {first}"));
            return;
        }
        *slot = self.entry(seat.key.clone(), place, value, schema, seat, now);
    }

    /// `[section.name]`, or `name = …` in `[section]`.
    fn keyed<T: DeserializeOwned>(
        &mut self,
        section: &mut Section<T>,
        value: Spanned<DeValue<'_>>,
        schema: &'r Value,
        seat: &Seat,
        now: Current,
    ) {
        let DeValue::Table(table) = value.get_ref() else {
            self.refuse(value, schema, seat, now);
            return;
        };
        let names = schema.get("propertyNames").unwrap_or(&Value::Null);
        let of = schema.get("additionalProperties").unwrap_or(&Value::Null);
        for (key, value) in table.clone() {
            let (name, span) = (key.get_ref().to_string(), key.span());
            let seat = Seat { key: name.clone(), span: span.clone(), ..seat.clone() };
            let mut as_text = Spanned::new(span.clone(), DeValue::String(name.clone().into()));
            let name_fits = self.walk(now).value(&mut as_text, names, &seat);
            let place = Place { file: now.file, span };
            let fresh = self.is_new(section, &name, &place, &seat);
            let entry = self.entry(name, place, value, of, &seat, now);
            if let Some(entry) = entry.filter(|_| fresh && name_fits == Verdict::Keep) {
                section.push(entry);
            }
        }
    }

    /// `[[section]]`, with a `name` in each.
    fn listed<T: DeserializeOwned>(
        &mut self,
        section: &mut Section<T>,
        value: Spanned<DeValue<'_>>,
        schema: &'r Value,
        seat: &Seat,
        now: Current,
    ) {
        let DeValue::Array(items) = value.get_ref() else {
            self.refuse(value, schema, seat, now);
            return;
        };
        let of = schema.get("items").unwrap_or(&Value::Null);
        for item in items.clone() {
            let name = item.get_ref().get("name").filter(|name| name.get_ref().is_str());
            let text = name.and_then(|name| name.get_ref().as_str()).map(str::to_owned);
            let span = name.map_or(item.span(), Spanned::span);
            let place = Place { file: now.file, span };
            let fresh = text.as_ref().is_none_or(|name| self.is_new(section, name, &place, seat));
            let entry = self.entry(text.unwrap_or_default(), place, item, of, seat, now);
            if let Some(entry) = entry.filter(|_| fresh) {
                section.push(entry);
            }
        }
    }

    /// Reports the wrong type of a whole section.
    fn refuse(
        &mut self,
        mut value: Spanned<DeValue<'_>>,
        schema: &'r Value,
        seat: &Seat,
        now: Current,
    ) {
        let mut walk = self.walk(now);
        walk.value(&mut value, schema, seat);
        // Names may stand in what was refused.
        self.document.torn = true;
    }

    fn is_new<T>(
        &mut self,
        section: &mut Section<T>,
        name: &str,
        place: &Place,
        seat: &Seat,
    ) -> bool {
        let Some(first) = section.names.get(name) else {
            section.names.insert(name.to_owned(), place.clone());
            return true;
        };
        let found = format!("the name {} is given twice", quoted(name));
        let first = self.report.sources.name(first);
        let instead = format!("rename one of the two; the first is at {first}");
        self.report.error(place, seat.control, found, instead);
        false
    }

    fn entry<T: DeserializeOwned>(
        &mut self,
        name: String,
        place: Place,
        mut value: Spanned<DeValue<'_>>,
        schema: &'r Value,
        seat: &Seat,
        now: Current,
    ) -> Option<Entry<T>> {
        let mut walk = self.walk(now);
        let verdict = walk.value(&mut value, schema, seat);
        let lost = walk.lost;
        if verdict == Verdict::Cut {
            return None;
        }
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(raw) => Some(Entry { name, place, lost, raw }),
            Err(error) => {
                // The walk has let something through that the struct refuses. Refusing is right.
                let span = error.span().unwrap_or(place.span);
                let place = Place { file: now.file, span };
                let instead = "write it as the schema says: sekisho.schema.json";
                self.report.error(&place, seat.control, error.message(), instead);
                None
            }
        }
    }
}

fn tell_unreadable(report: &mut Report, place: &Place, path: &Path, fault: ReadFault) {
    let path = quoted(&path.display().to_string());
    let (found, instead) = match fault {
        ReadFault::Missing => ("does not exist", "correct the path"),
        ReadFault::Forbidden => ("may not be read by this user", "give its user the permission"),
        ReadFault::NotAFile => ("is no file", "name a file"),
        ReadFault::TooLarge => ("is larger than 4 MiB", "split it into policy files"),
        ReadFault::Exposed { .. } | ReadFault::Foreign { .. } | ReadFault::Unreadable => {
            ("can't be read", "check the disk")
        }
    };
    report.error(place, None, format!("{path} {found}"), instead);
}
