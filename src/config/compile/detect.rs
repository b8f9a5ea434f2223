//! `[detect]` and `[lockout]`: settings of pure rooms, and the list of planted records (MON-4).
use aws_lc_rs::digest::{SHA256, digest};

use super::Ctx;
use crate::base::{ControlId, HashKey, IdentityIx, Name};
use crate::config::outside::ReadFault;
use crate::config::raw::value::{NameText, PathText, quoted};
use crate::config::raw::{DetectMode, RawDetect, RawLockout};
use crate::config::settings::{DetectSettings, Planted};
use crate::config::source::Place;
use crate::detect::{CanaryFault, CanaryMode, CanarySet, Lasting, Settings};
use crate::lockout::Rules;

/// The largest file of planted records.
const CANARY_FILE_BYTES_MAX: u64 = 8 << 20;

impl Ctx<'_> {
    pub(super) fn lockout(&self) -> Rules {
        let default = RawLockout::default();
        Rules::from(self.document.lockout.as_ref().map_or(&default, |entry| &entry.raw))
    }

    pub(super) fn detect(&mut self) -> DetectSettings {
        let (rules, default) = (self.lockout(), RawDetect::default());
        let entry = self.document.detect.as_ref();
        let raw = entry.map_or(&default, |entry| &entry.raw);
        let settings = Settings {
            failures: (&raw.failures).into(),
            volume: (&raw.volume).into(),
            slow: (&raw.slow).into(),
            enumeration: (&raw.enumeration).into(),
            canary: CanaryMode(raw.canary.mode.into()),
            intrusion: (&raw.intrusion).into(),
            logins: (&raw.logins).into(),
            sharing: (&raw.sharing).into(),
            lasting: Lasting { slow: rules.slow_for, step_up: rules.step_up_for },
        };
        let canaries = match (entry, &raw.canary.file) {
            (Some(entry), Some(file)) => {
                let place = entry.at(&file.span);
                if raw.canary.mode == DetectMode::Off {
                    let found = "planted records are listed, and nobody looks for them";
                    let instead = "write mode = \"observe\" or \"enforce\"";
                    self.report.warning(&place, ControlId::Mon4, found, instead);
                }
                self.canaries(&file.value, &place)
            }
            _ => None,
        };
        let (canaries, planted) = canaries.unwrap_or_default();
        DetectSettings { settings, canaries, planted }
    }

    /// Mistakes are told by line, and no id is repeated: whoever reads them in a terminal's log would
    /// know what not to touch.
    fn canaries(&mut self, path: &PathText, place: &Place) -> Option<(CanarySet, Planted)> {
        let path = self.path(path, place);
        let text = self
            .outside
            .read(&path, CANARY_FILE_BYTES_MAX)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| ReadFault::Unreadable));
        let text = match text {
            Ok(text) => text,
            Err(fault) => {
                self.unreadable(place, ControlId::Mon4, &path, fault);
                return None;
            }
        };
        let mut ids: Vec<(&str, Option<IdentityIx>)> = Vec::new();
        let mut lines = Vec::new();
        for (line, content) in (1_usize..).zip(text.lines()) {
            let mut words = content.split('#').next().unwrap_or_default().split_whitespace();
            let Some(id) = words.next() else { continue };
            let planted_for = match words.next() {
                None => None,
                Some(name) => Some(self.planted_for(name, place, line)?),
            };
            if words.next().is_some() {
                self.canary_error(place, line, "it holds more than an id and an identity");
                return None;
            }
            ids.push((id, planted_for));
            lines.push(line);
        }
        // Nobody who does not know the list can know the key.
        let digest = digest(&SHA256, text.as_bytes());
        let mut key = [0; 16];
        key.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        match CanarySet::build(HashKey::new(key), &ids) {
            Ok(set) => {
                if set.is_empty() {
                    let found = "the list of planted records is empty";
                    self.report.warning(place, ControlId::Mon4, found, "add ids, one a line");
                }
                Some((set, self.planted(&ids)))
            }
            Err((at, fault)) => {
                let line = lines.get(at).copied().unwrap_or(0);
                self.canary_error(place, line, why(fault));
                None
            }
        }
    }

    fn planted(&self, ids: &[(&str, Option<IdentityIx>)]) -> Planted {
        let name = |ix: IdentityIx| {
            let entry = self.document.identity.entries.get(ix.index())?;
            Name::parse(&entry.name).ok()
        };
        let of = |(id, owner): &(&str, Option<IdentityIx>)| {
            let mut hash = [0; 32];
            let digest = digest(&SHA256, id.as_bytes());
            hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
            (hash, owner.and_then(name))
        };
        ids.iter().map(of).collect()
    }

    fn planted_for(&mut self, name: &str, place: &Place, line: usize) -> Option<IdentityIx> {
        let at = Name::parse(name).ok().and_then(|name| {
            let name = NameText(name);
            self.resolve(&self.document.identity, "identity", &name, place, ControlId::Mon4)
        });
        let ix = at.and_then(|at| u32::try_from(at).ok());
        if ix.is_none() {
            let found = format!("{} is no identity", quoted(name));
            self.canary_error(place, line, &found);
        }
        ix.map(IdentityIx)
    }

    fn canary_error(&mut self, place: &Place, line: usize, why: &str) {
        let found = format!("line {line} of the list of planted records can't be used: {why}");
        let instead = "write one id a line: 8 to 63 letters, digits, - and _";
        self.report.error(place, ControlId::Mon4, found, instead);
    }
}

const fn why(fault: CanaryFault) -> &'static str {
    match fault {
        CanaryFault::TooShort => "the id is shorter than 8 characters and turns up by chance",
        CanaryFault::TooLong => "the id is longer than 63 characters",
        CanaryFault::Character => "the id holds another character",
        CanaryFault::Twice => "the id stands there twice",
        CanaryFault::TooMany => "there are more than 65,535",
    }
}
