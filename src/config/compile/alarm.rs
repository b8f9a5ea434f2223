//! `[alarms]` and `[[alarm]]`: who is told, how, and when (MON-7).
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Ctx;
use super::upstream::endpoint;
use crate::alarm::{BearerToken, Quiet, Rules, Severity, SigningKey, TARGETS_MAX, Windows};
use crate::base::ControlId;
use crate::config::raw::value::{AlarmUrl, TextValue};
use crate::config::raw::{AlarmKindName, At, RawAlarm, RawAlarms, SecretRef, SeverityName};
use crate::config::read::Entry;
use crate::config::settings::{
    AlarmSettings, AlarmTarget, AlarmWay, AuthoritiesOf, Posted, Roots, SecretOf,
};
use crate::config::source::Place;

const MON7: ControlId = ControlId::Mon7;
const SYSLOG: &str = "/dev/log";
const JOURNALD: &str = "/run/systemd/journal/socket";
/// Alertmanager's API v2, below whatever prefix it is served under.
const ALERTS: &str = "/api/v2/alerts";

impl Ctx<'_> {
    pub(super) fn alarms(&mut self) -> Option<AlarmSettings> {
        let default = RawAlarms::default();
        let entry = self.document.alarms.as_ref();
        let raw = entry.map_or(&default, |entry| &entry.raw);
        let windows = Windows { first: raw.group_for.0, repeat: raw.repeat_after.0 };
        if let Some(entry) = entry.filter(|_| windows.repeat < windows.first) {
            let found = "what goes on would be told more often than it is gathered";
            let instead = format!("write at least \"{}\"", raw.group_for.to_text());
            self.report.error(&entry.at(&raw.repeat_after.span), MON7, found, instead);
        }
        let section = &self.document.alarm;
        if let Some(entry) = section.entries.get(TARGETS_MAX) {
            let found = format!("{} targets are defined", section.entries.len());
            let instead = format!("keep at most {TARGETS_MAX}; let one of them tell the others");
            self.report.error(&entry.place, MON7, found, instead);
        }
        if section.names.is_empty() && section.entries.is_empty() && !self.document.torn {
            let place = entry.map(|entry| &entry.place);
            let gateway = self.document.gateway.as_ref().map(|entry| &entry.place);
            if let Some(place) = place.or(gateway) {
                let found = "nobody is told of alarms; they stand in the access log only";
                let instead = "add [[alarm]] with a name and a kind: webhook, alertmanager, \
                               syslog, journald or command";
                self.report.warning(place, MON7, found, instead);
            }
        }
        let targets: Vec<_> = section.entries.iter().map(|entry| self.alarm(entry)).collect();
        let targets = targets.into_iter().collect::<Option<_>>()?;
        Some(AlarmSettings { windows, targets })
    }

    fn alarm(&mut self, entry: &Entry<RawAlarm>) -> Option<AlarmTarget> {
        let raw = &entry.raw;
        let quiet = self.quiet(entry);
        let way = if entry.lost("kind") { None } else { self.way(entry) };
        Some(AlarmTarget {
            name: raw.name.0.clone(),
            way: way?,
            rules: Rules { min: severity(raw.min_severity), quiet: quiet? },
            heartbeat: raw.heartbeat.0,
            timeout: raw.timeout.0,
        })
    }

    /// `None` if it can't be used.
    #[expect(clippy::option_option, reason = "refused, absent, or there")]
    fn quiet(&mut self, entry: &Entry<RawAlarm>) -> Option<Option<Quiet>> {
        let Some(raw) = &entry.raw.quiet else {
            return (!entry.lost("quiet")).then_some(None);
        };
        let (hours, below) = (raw.hours.value, severity(raw.below));
        let quiet = Quiet::new(hours.from, hours.to, raw.utc_offset.0, below);
        if quiet.is_none() && !entry.lost("quiet") {
            let found = "the quiet hours end where they begin";
            let instead = "write hours of less than a day, such as \"22:00-07:00\"";
            self.report.error(&entry.at(&raw.hours.span), MON7, found, instead);
        }
        quiet.map(Some)
    }

    fn way(&mut self, entry: &Entry<RawAlarm>) -> Option<AlarmWay> {
        use AlarmKindName::{Alertmanager, Command, Journald, Syslog, Webhook};
        let raw = &entry.raw;
        let kind = raw.kind.value;
        self.strangers(entry);
        match kind {
            Webhook => {
                let posted = self.posted(entry);
                let key = self.needed(entry, "secret", raw.secret.as_ref(), "{ file = \"…\" }");
                let key = key.and_then(|from| self.signing_key(entry, from));
                Some(AlarmWay::Webhook { to: posted?, key: key? })
            }
            Alertmanager => {
                let posted = self.posted(entry);
                let bearer = match &raw.bearer {
                    None => Some(None),
                    Some(from) => self.bearer(entry, from).map(Some),
                };
                let mut to = posted?;
                let path = to.path_mut();
                *path = path.trim_end_matches('/').to_owned() + ALERTS;
                Some(AlarmWay::Alertmanager { to, bearer: bearer? })
            }
            Syslog => Some(AlarmWay::Syslog(self.socket(entry, SYSLOG)?)),
            Journald => Some(AlarmWay::Journald(self.socket(entry, JOURNALD)?)),
            Command => {
                let example = "[\"/usr/local/bin/page\", \"--team\", \"platform\"]";
                let words = self.needed(entry, "command", raw.command.as_ref(), example)?;
                let program = words.value.first().map_or("", String::as_str);
                if !Path::new(program).is_absolute() {
                    let found = "the program's place depends on where the gateway is started";
                    let instead = format!("write its full path, such as {example}");
                    self.report.error(&entry.at(&words.span), MON7, found, instead);
                    return None;
                }
                Some(AlarmWay::Command(words.value.clone()))
            }
        }
    }

    /// Reports keys that mean nothing for this kind: somebody relies on them.
    fn strangers(&mut self, entry: &Entry<RawAlarm>) {
        use AlarmKindName::{Alertmanager, Command, Journald, Syslog, Webhook};
        fn span<T>(key: Option<&At<T>>) -> Option<Range<usize>> {
            key.map(|at| at.span.clone())
        }
        let raw = &entry.raw;
        let keys: [(_, _, &[_]); 6] = [
            ("url", span(raw.url.as_ref()), &[Webhook, Alertmanager]),
            ("ca", span(raw.ca.as_ref()), &[Webhook, Alertmanager]),
            ("secret", span(raw.secret.as_ref()), &[Webhook]),
            ("bearer", span(raw.bearer.as_ref()), &[Alertmanager]),
            ("path", span(raw.path.as_ref()), &[Syslog, Journald]),
            ("command", span(raw.command.as_ref()), &[Command]),
        ];
        for (key, span, kinds) in keys {
            if let Some(span) = span.filter(|_| !kinds.contains(&raw.kind.value)) {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                let found = format!("`{key}` is for {} only", names.join(" and "));
                let instead = format!("remove `{key}`, or write another kind");
                self.report.error(&entry.at(&span), MON7, found, instead);
            }
        }
    }

    /// A key that this kind can't do without.
    fn needed<'r, T>(
        &mut self,
        entry: &Entry<RawAlarm>,
        key: &str,
        value: Option<&'r At<T>>,
        example: &str,
    ) -> Option<&'r At<T>> {
        if value.is_none() && !entry.lost(key) {
            let kind = entry.raw.kind.value.as_str();
            let found = format!("`{key}` is missing: a {kind} can't do without");
            self.report.error(&entry.place, MON7, found, format!("add {key} = {example}"));
        }
        value
    }

    fn posted(&mut self, entry: &Entry<RawAlarm>) -> Option<Posted> {
        let raw = &entry.raw;
        let example = format!("\"{}\"", AlarmUrl::EXAMPLE);
        let roots = match &raw.ca {
            None => Some(Roots::System),
            Some(ca) => {
                let place = entry.at(&ca.span);
                let whose = AuthoritiesOf::Alarm(raw.name.0.clone());
                self.authorities(&ca.value, &place, ControlId::Tls2, whose).map(Roots::Private)
            }
        };
        let url = self.needed(entry, "url", raw.url.as_ref(), &example)?;
        match &url.value {
            AlarmUrl::Https(url) => Some(Posted::Https {
                endpoint: endpoint(url, Vec::new())?,
                path: url.path.clone(),
                roots: roots?,
            }),
            AlarmUrl::Loopback { address, path } => {
                let (found, instead, span) = if raw.kind.value != AlarmKindName::Alertmanager {
                    ("a webhook is told over TLS, on loopback too", "write https://", &url.span)
                } else if let Some(ca) = &raw.ca {
                    ("`ca` goes with https://", "remove `ca`", &ca.span)
                } else if let Some(bearer) = &raw.bearer {
                    ("`bearer` goes with https://", "remove `bearer`", &bearer.span)
                } else {
                    return Some(Posted::Loopback { address: *address, path: path.clone() });
                };
                self.report.error(&entry.at(span), ControlId::Tls1, found, instead);
                None
            }
        }
    }

    fn socket(&mut self, entry: &Entry<RawAlarm>, own: &str) -> Option<PathBuf> {
        match &entry.raw.path {
            None => (!entry.lost("path")).then(|| PathBuf::from(own)),
            Some(path) => Some(self.path(&path.value, &entry.place)),
        }
    }

    fn signing_key(&mut self, entry: &Entry<RawAlarm>, from: &At<SecretRef>) -> Option<SigningKey> {
        let place = entry.at(&from.span);
        let secret = self.one_line(entry, from, &place)?;
        let key = SigningKey::new(secret);
        if key.is_none() {
            let found = format!("the secret has less than {} bytes", SigningKey::BYTES_MIN);
            let instead = "make one: openssl rand -hex 32";
            self.report.error(&place, MON7, found, instead);
        }
        key
    }

    fn bearer(&mut self, entry: &Entry<RawAlarm>, from: &At<SecretRef>) -> Option<BearerToken> {
        let place = entry.at(&from.span);
        let token = BearerToken::new(self.one_line(entry, from, &place)?);
        if token.is_none() {
            let found = "the token is empty, or holds what no header may";
            let instead = "give the token alone, in visible ASCII";
            self.report.error(&place, MON7, found, instead);
        }
        token
    }

    /// A secret without the line end that editors and programs put behind it.
    fn one_line(
        &mut self,
        entry: &Entry<RawAlarm>,
        from: &At<SecretRef>,
        place: &Place,
    ) -> Option<Vec<u8>> {
        let secret = self.secret(&from.value, place)?;
        self.ages(SecretOf::Alarm(entry.raw.name.0.clone()), &from.value, place);
        Some(secret.trim_ascii_end().to_vec())
    }
}

const fn severity(name: SeverityName) -> Severity {
    match name {
        SeverityName::Low => Severity::Low,
        SeverityName::Medium => Severity::Medium,
        SeverityName::High => Severity::High,
        SeverityName::Critical => Severity::Critical,
    }
}
