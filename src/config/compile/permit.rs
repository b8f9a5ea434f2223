//! `[permit]`: judged before anything of a listener's is opened (TLS-3, PRIV-5).
use super::{Ctx, days};
use crate::base::{ControlId, Moment, Name};
use crate::config::outside::{Outside, ReadFault};
use crate::config::raw::RawPermit;
use crate::config::raw::value::{IssuerText, quoted};
use crate::config::read::Entry;
use crate::config::settings::{PermitPaper, PermitSettings, SecretAge, SecretOf};
use crate::permit::clock::{RECORD_BYTES_MAX, RECORD_FILE};
use crate::permit::{
    DOCUMENT_BYTES_MAX, Expected, Fact, FactKind, HostFacts, HostPermit, IssuerKey, PermitFault,
    clock, instance_fact, machine_fact, verify,
};
use crate::seal::HostKey;

/// The host's key in the state directory, unless `host_key` says otherwise.
const HOST_KEY_FILE: &str = "host.key";
/// What the code of the record of the latest time is made under.
const CLOCK_PURPOSE: &str = "sekisho permit clock 1";
const MACHINE_ID_BYTES_MAX: u64 = 256;
const INSTANCE_BYTES_MAX: u64 = 64 << 10;
const ISSUER_BYTES_MAX: u64 = 1_024;
/// How long before its end a permit is warned about.
const RENEW_SECS: u64 = 14 * 86_400;

/// What a gateway can show: its machine's id, what the platform told it, and that it has the host's key.
struct Host<'h> {
    machine: Option<Fact>,
    instance: Option<Fact>,
    key: Option<&'h HostKey>,
}

impl HostFacts for Host<'_> {
    fn fact(&self, kind: FactKind) -> Option<Fact> {
        match kind {
            FactKind::Machine => self.machine.clone(),
            FactKind::SealingKey => Fact::parse(&self.key?.public().to_string()),
            FactKind::Instance => self.instance.clone(),
            FactKind::Tpm => None,
        }
    }
}

impl PermitSettings {
    /// Nothing may be ended here.
    pub(super) const fn none() -> Self {
        Self {
            standing: Err(PermitFault::Missing),
            refused: None,
            paper: None,
            issuers: Vec::new(),
            host_key: None,
            latest: None,
        }
    }

    /// Whether this permit counts on although the file holds none, because of `fault`: whoever wants
    /// it withdrawn takes the file away, or its issuer out of `issuers`.
    fn outlasts(&self, fault: PermitFault, issuers: &[IssuerKey], now: Moment) -> bool {
        fault != PermitFault::Missing
            && self.standing.as_ref().is_ok_and(|permit| {
                now.unix_secs() < permit.expires()
                    && issuers.iter().any(|issuer| issuer.id() == permit.issuer())
            })
    }

    /// The same when the permit's own files are looked at again, whatever became of all others.
    #[must_use]
    pub fn again(&self, outside: &dyn Outside, environment: &Name, now: Moment) -> Self {
        let Some(paper) = &self.paper else { return self.clone() };
        let key = self.host_key.as_ref();
        let (standing, latest) = paper.judge(outside, environment, &self.issuers, key, now);
        let latest = latest.max(self.latest);
        match standing {
            Err(fault) if self.outlasts(fault, &self.issuers, now) => {
                Self { refused: Some(fault), latest, ..self.clone() }
            }
            standing => Self { standing, refused: None, latest, ..self.clone() },
        }
    }

    /// The record that this host has seen this time, in seconds since 1970, or the later one that it
    /// had seen already. None without a key, and none in place of a record that was tampered with.
    #[must_use]
    pub fn clock_record(&self, now: u64) -> Option<String> {
        let key = self.host_key.as_ref()?;
        if self.standing == Err(PermitFault::ClockRecord) {
            return None;
        }
        let latest = self.latest.map_or(now, |latest| latest.max(now));
        Some(clock::record(&key.public().to_string(), &key.derive(CLOCK_PURPOSE), latest))
    }
}

impl PermitPaper {
    /// What it is worth on this host, and the latest time that the host has seen.
    fn judge(
        &self,
        outside: &dyn Outside,
        environment: &Name,
        issuers: &[IssuerKey],
        key: Option<&HostKey>,
        now: Moment,
    ) -> (Result<HostPermit, PermitFault>, Option<u64>) {
        let latest = self.latest(outside, key);
        let standing = self.read(outside).and_then(|document| {
            let machine = outside.read(&self.machine_id, MACHINE_ID_BYTES_MAX).ok();
            let instance = self.instance_document.as_ref();
            let instance = instance.and_then(|path| outside.read(path, INSTANCE_BYTES_MAX).ok());
            let host = Host {
                machine: machine.and_then(|id| machine_fact(&id)),
                instance: instance.and_then(|document| instance_fact(&document)),
                key,
            };
            let expected = Expected { environment, issuers, host: &host, latest: latest? };
            verify(&document, &expected, now)
        });
        (standing, latest.ok().flatten())
    }

    fn read(&self, outside: &dyn Outside) -> Result<Vec<u8>, PermitFault> {
        let bytes_max = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
        outside.read(&self.file, bytes_max).map_err(|fault| match fault {
            ReadFault::Missing => PermitFault::Missing,
            ReadFault::TooLarge => PermitFault::TooLarge,
            ReadFault::Forbidden
            | ReadFault::NotAFile
            | ReadFault::Exposed { .. }
            | ReadFault::Foreign { .. }
            | ReadFault::Unreadable => PermitFault::Unreadable,
        })
    }

    /// The latest time this host has seen.
    fn latest(
        &self,
        outside: &dyn Outside,
        key: Option<&HostKey>,
    ) -> Result<Option<u64>, PermitFault> {
        let Some(key) = key else { return Ok(None) };
        match outside.read_own(&self.record, RECORD_BYTES_MAX) {
            Ok(record) => {
                clock::read(&record, &key.public().to_string(), &key.derive(CLOCK_PURPOSE))
            }
            Err(ReadFault::Missing) => Ok(None),
            Err(_) => Err(PermitFault::ClockRecord),
        }
    }
}

impl Ctx<'_> {
    pub(super) fn permit(&mut self, environment: Option<&Name>) -> PermitSettings {
        let document = self.document;
        let Some(entry) = &document.permit else {
            self.no_permit();
            return PermitSettings::none();
        };
        let issuers = self.permit_issuers(entry);
        let host_key = self.host_key(entry);
        let Some(paper) = self.paper(entry) else { return PermitSettings::none() };
        let (standing, latest) = match environment {
            Some(environment) => {
                paper.judge(self.outside, environment, &issuers, host_key.as_ref(), self.now)
            }
            None => (Err(PermitFault::Environment), None),
        };
        let place = entry.at(&entry.raw.file.span);
        let before = self.before.map(|before| &before.permit);
        match (&standing, before) {
            (Err(fault), Some(before)) if before.outlasts(*fault, &issuers, self.now) => {
                let found = format!("{fault}; the permit before it counts until its own end");
                self.report.warning(&place, ControlId::Tls3, found, fault.advice());
                let latest = latest.max(before.latest);
                let (paper, refused) = (Some(paper), Some(*fault));
                return PermitSettings { refused, paper, issuers, latest, ..before.clone() };
            }
            (Err(fault), _) => {
                let found = format!("{fault}; no listener ends TLS here");
                self.report.warning(&place, ControlId::Tls3, found, fault.advice());
            }
            (Ok(permit), _) => {
                let left = permit.expires().saturating_sub(self.now.unix_secs());
                if left <= RENEW_SECS {
                    let found = format!("the permit expires in {}", days(left / 86_400 * 86_400));
                    self.report.warning(&place, ControlId::Tls3, found, "have a new one issued");
                }
            }
        }
        let paper = Some(paper);
        PermitSettings { standing, refused: None, paper, issuers, host_key, latest }
    }

    fn no_permit(&mut self) {
        let document = self.document;
        let api = document.admin.as_ref().is_some_and(|admin| admin.raw.api.is_some());
        let listeners = &document.listener.entries;
        let needs = api || listeners.iter().any(|listener| listener.raw.tls.is_some());
        if let Some(gateway) = document.gateway.as_ref().filter(|_| needs && !document.torn) {
            let found = "there is no [permit], so this host may not end TLS";
            let instead =
                "add [permit] with file and issuers; `sekisho permit --help` shows the way";
            self.report.error(&gateway.place, ControlId::Tls3, found, instead);
        }
    }

    fn host_key(&mut self, entry: &Entry<RawPermit>) -> Option<HostKey> {
        let path = match &entry.raw.host_key {
            Some(path) => self.path(&path.value, &entry.at(&path.span)),
            None => self.state_file(HOST_KEY_FILE)?,
        };
        let pem = self.outside.read_secret(&path).ok()?;
        let since_unix_secs = self.outside.written(&path);
        self.secrets.push(SecretAge { of: SecretOf::Host, since_unix_secs });
        HostKey::of_pem(&pem)
    }

    pub(super) fn state_file(&self, name: &str) -> Option<std::path::PathBuf> {
        let gateway = self.document.gateway.as_ref()?;
        Some(self.path(&gateway.raw.state_dir, &gateway.place).join(name))
    }

    fn paper(&self, entry: &Entry<RawPermit>) -> Option<PermitPaper> {
        let raw = &entry.raw;
        Some(PermitPaper {
            file: self.path(&raw.file.value, &entry.at(&raw.file.span)),
            machine_id: self.path(&raw.machine_id.value, &entry.at(&raw.machine_id.span)),
            instance_document: raw
                .instance_document
                .as_ref()
                .map(|path| self.path(&path.value, &entry.at(&path.span))),
            record: self.state_file(RECORD_FILE)?,
        })
    }

    fn permit_issuers(&mut self, entry: &Entry<RawPermit>) -> Vec<IssuerKey> {
        let list = &entry.raw.issuers;
        if list.is_empty() && !entry.lost("issuers") {
            let found = "no issuer is trusted, so no permit counts";
            let instead = "name the platform team's public key: issuers = [\"ed25519:…\"]";
            self.report.error(&entry.at(&list.span), ControlId::Tls3, found, instead);
        }
        let mut keys = Vec::new();
        for text in list.iter() {
            let place = entry.at(&text.span);
            let path = match &text.value {
                IssuerText::Key(key) => {
                    keys.push(*key);
                    let of = SecretOf::PermitIssuer;
                    self.secrets.push(SecretAge { of, since_unix_secs: None });
                    continue;
                }
                IssuerText::File(path) => self.path(path, &place),
            };
            match self.outside.read(&path, ISSUER_BYTES_MAX) {
                Ok(bytes) => {
                    let key = std::str::from_utf8(&bytes).ok().and_then(IssuerKey::parse);
                    if key.is_none() {
                        let path = quoted(&path.display().to_string());
                        let found = format!("{path} holds no issuer's public key");
                        let instead = "name the .pub file that `sekisho permit keygen` wrote";
                        self.report.error(&place, ControlId::Tls3, found, instead);
                    }
                    keys.extend(key);
                    let since_unix_secs = self.outside.written(&path);
                    self.secrets.push(SecretAge { of: SecretOf::PermitIssuer, since_unix_secs });
                }
                Err(fault) => self.unreadable(&place, ControlId::Tls3, &path, fault),
            }
        }
        keys
    }
}
