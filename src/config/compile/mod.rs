//! Sections to a snapshot: judges what the sections say of each other, follows their references to
//! files and secrets, and builds the runtime's types. Each rule stands where its value is compiled,
//! so none is checked twice or forgotten. Every mistake goes into the report; what can still be
//! judged after one, is.
mod alarm;
mod denied;
mod detect;
mod identity;
mod issuer;
mod kept;
mod listener;
mod material;
mod network;
mod ocsp;
mod operation;
mod operator;
mod pacing;
mod pass;
mod permit;
mod quota;
mod reload;
mod role;
mod singles;
mod state;
mod status;
mod step_up;
mod table;
mod upstream;

use std::path::Path;
use std::sync::Arc;

use super::Snapshot;
use super::error::{ConfigError, ConfigErrors, Report};
use super::lists::Kept;
use super::outside::Outside;
use super::raw::At;
use super::raw::value::{NameText, TextValue, quoted};
use super::read::{self, Document, Entry, Section};
use super::schema::SCHEMA;
use super::settings::{NamedFile, Names, PermitSettings, SecretAge};
use super::source::Place;
use super::suggest::nearest;
use crate::base::{ControlId, Moment, Name};
use crate::policy::{NetworkMask, Prefixes};

/// A configuration that was read, and what an operator should know of it all the same.
#[derive(Debug)]
pub struct Loaded {
    pub snapshot: Snapshot,
    /// By file and line.
    pub warnings: Vec<ConfigError>,
}

/// Reads a main file, all it refers to, and compiles them. `now` is what dates are compared with.
/// Nothing is changed anywhere.
///
/// # Errors
/// Every mistake at once, up to [`super::ERRORS_MAX`].
pub fn load_from(
    outside: &dyn Outside,
    main: &Path,
    generation: u64,
    now: Moment,
) -> Result<Loaded, ConfigErrors> {
    load(outside, main, generation, now, None)
}

/// Reads it again. What `before`, the one in force, holds and the files don't any more stays where
/// only time or a careless copy spoilt a file: a permit, a certificate, an authority, a list.
///
/// # Errors
/// As [`load_from`].
pub fn reload_from(
    outside: &dyn Outside,
    main: &Path,
    generation: u64,
    now: Moment,
    before: &Snapshot,
) -> Result<Loaded, ConfigErrors> {
    load(outside, main, generation, now, Some(before))
}

fn load(
    outside: &dyn Outside,
    main: &Path,
    generation: u64,
    now: Moment,
    before: Option<&Snapshot>,
) -> Result<Loaded, ConfigErrors> {
    let mut report = Report::default();
    let document = read::read(outside, main, &SCHEMA, &mut report);
    report.extent = document.extent();
    let host = PermitSettings::none();
    let mut ctx = Ctx {
        outside,
        report: &mut report,
        document: &document,
        now,
        before,
        host,
        prefixes: Vec::new(),
        secrets: Vec::new(),
        lists: None,
        files: Vec::new(),
    };
    let snapshot = ctx.snapshot(generation);
    let Some(snapshot) = snapshot else {
        if report.is_clean() {
            // A part that was not made, without a word why, is a defect here; refuse it aloud.
            let place = Place { file: super::source::FileIx(0), span: 0..0 };
            report.error(&place, None, "the configuration can't be compiled", "report this defect");
        }
        return Err(report.refuse());
    };
    report.close().map(|warnings| Loaded { snapshot, warnings })
}

/// What every rule works with.
struct Ctx<'c> {
    outside: &'c dyn Outside,
    report: &'c mut Report,
    document: &'c Document,
    now: Moment,
    /// What is in force, where it is read again.
    before: Option<&'c Snapshot>,
    /// Whether this host may end TLS. No key of a listener is opened without it.
    host: PermitSettings,
    /// What each network holds, by its place.
    prefixes: Vec<Prefixes>,
    /// What was read so far, and is as old as its file.
    secrets: Vec<SecretAge>,
    /// Lists of revoked certificates that were in force before this process, once they are asked for.
    lists: Option<Vec<Kept>>,
    /// Files that other parts are made of.
    files: Vec<NamedFile>,
}

impl Ctx<'_> {
    fn snapshot(&mut self, generation: u64) -> Option<Snapshot> {
        let document = self.document;
        let environment = document.gateway.as_ref().map(|entry| entry.raw.environment.0.clone());
        self.host = self.permit(environment.as_ref());
        let networks = self.networks();
        let upstreams = self.upstreams(environment.as_ref());
        let listeners = self.listeners();
        self.names_are_certified(listeners.as_deref(), upstreams.as_deref());
        let (token, log, admin) = (self.token(), self.log(), self.admin());
        let state = self.state();
        let alarms = self.alarms();
        self.addresses(admin.address);
        let api = self.api();
        let (operations, routes) = self.operations();
        let tables = operations.as_ref().map(|all| self.tables(all, &routes));
        let issuers = self.issuers(environment.as_ref());
        // Without an environment there is nothing to compare with; any name does until then.
        let own = environment.clone().or_else(|| Name::parse("unknown").ok())?;
        let trust = self.trust(&own, generation, token.bytes_max);
        let operators = self.operators(&own, generation);
        let quotas = operations.as_ref().map(|all| self.quotas(all));
        let pacing = operations.as_ref().map(|all| self.pacing(all));
        let step_up = operations.as_ref().map(|all| self.step_up(all));
        let policy = operations.and_then(|all| self.policy(all));
        let identities = self.identity_settings(&own);
        let detect = self.detect();
        let gateway = document.gateway.as_ref()?;
        let names = self.names(policy.as_ref()?);
        Some(Snapshot {
            generation,
            environment: environment?,
            state_dir: self.path(&gateway.raw.state_dir, &gateway.place),
            permit: self.host.clone(),
            state: state?,
            threads: gateway.raw.threads,
            shutdown_grace: gateway.raw.shutdown_grace.0,
            key_max_age: gateway.raw.key_max_age.0,
            secret_max_age: gateway.raw.secret_max_age.0,
            secrets: std::mem::take(&mut self.secrets),
            files: std::mem::take(&mut self.files),
            networks: Arc::new(networks?),
            prefixes: std::mem::take(&mut self.prefixes),
            listeners: listeners?,
            upstreams: upstreams?,
            trust: trust?,
            issuers: issuers?,
            policy: policy?,
            identities,
            quotas: quotas?,
            detect,
            lockout: self.lockout(),
            acr: self.strong_login().classes,
            step_up: step_up?,
            pacing: pacing?,
            reload: self.reload(),
            token,
            log,
            alarms: alarms?,
            admin,
            api: api.ok()?,
            operators: operators?,
            names,
            served: routes,
            tables: tables??,
        })
    }

    fn names(&self, policy: &crate::policy::Policy) -> Names {
        fn of<T>(section: &Section<T>) -> Vec<Name> {
            section.entries.iter().filter_map(|entry| Name::parse(&entry.name).ok()).collect()
        }
        Names {
            identities: of(&self.document.identity),
            roles: of(&self.document.role),
            operations: policy.operations().iter().map(|(_, op)| op.name.clone()).collect(),
            networks: of(&self.document.network),
            listeners: of(&self.document.listener),
            listener_places: None,
            upstreams: of(&self.document.upstream),
        }
    }

    /// The place of what a reference names. An entry that was refused as a whole is no error here.
    fn resolve<T>(
        &mut self,
        section: &Section<T>,
        what: &str,
        wanted: &NameText,
        place: &Place,
        control: ControlId,
    ) -> Option<usize> {
        let name = wanted.0.as_str();
        let known = section.place(name);
        if known.is_none() && !section.names.contains_key(name) && !self.document.torn {
            let instead = match nearest(name, section.names.keys().map(String::as_str)) {
                Some(meant) => format!("write \"{meant}\""),
                None if section.names.is_empty() => format!("define it; there is no {what} yet"),
                None => format!("define it, or write one of {}", list(section.names.keys())),
            };
            self.report.error(
                place,
                control,
                format!("there is no {what} {}", quoted(name)),
                instead,
            );
        }
        known
    }

    /// A list of networks as a set.
    fn mask<T>(
        &mut self,
        entry: &Entry<T>,
        networks: &[At<NameText>],
        control: ControlId,
    ) -> NetworkMask {
        let mut mask = NetworkMask::default();
        for name in networks {
            let place = entry.at(&name.span);
            let found =
                self.resolve(&self.document.network, "network", &name.value, &place, control);
            if let Some(ix) = found.and_then(|at| u8::try_from(at).ok()) {
                mask = mask.with(crate::base::NetworkIx(ix));
            }
        }
        mask
    }

    /// A path as the file at `place` means it.
    fn path(&self, path: &super::raw::value::PathText, place: &Place) -> std::path::PathBuf {
        path.from(self.report.sources.path(place.file))
    }
}

/// At most eight names, for an error's text.
fn list<'n>(names: impl Iterator<Item = &'n String>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&String> = names.collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect();
    shown.join(", ") + more
}

/// A duration for an error's text.
fn days(seconds: u64) -> String {
    super::raw::value::DurationText(std::time::Duration::from_secs(seconds)).to_text().into_owned()
}
