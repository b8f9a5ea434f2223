//! `[token] denied`: which tokens count for nothing (ACC-3). Their ids are hashed here and kept nowhere.
use std::path::Path;

use super::Ctx;
use crate::base::ControlId;
use crate::config::outside::ReadFault;
use crate::config::raw::value::PathText;
use crate::config::raw::{RawDenied, RawToken, day};
use crate::config::settings::{DeniedToken, FileOf, NamedFile, OnDisk};
use crate::config::source::Place;
use crate::identity::token_digest;

/// The most tokens that are denied by the configuration.
const DENIED_MAX: usize = 65_536;
const FILE_BYTES_MAX: u64 = 32 << 20;
const ID_BYTES_MAX: usize = 256;

impl Ctx<'_> {
    pub(super) fn denied(&mut self, raw: &RawToken) -> Vec<DeniedToken> {
        let Some(entry) = &self.document.token else { return Vec::new() };
        match &raw.denied {
            RawDenied::List(list) => {
                let mut all = Vec::new();
                for id in list {
                    if (1..=ID_BYTES_MAX).contains(&id.value.len()) {
                        all.push(forever(&id.value));
                    } else {
                        self.report.error(
                            &entry.at(&id.span),
                            ControlId::Acc3,
                            "this can't be the id of a token",
                            "write the token's `jti`, 1 to 256 bytes",
                        );
                    }
                }
                self.few_enough(&all, &entry.place);
                all
            }
            RawDenied::File(_) if entry.lost("file") => Vec::new(),
            RawDenied::File(path) => {
                // Without any it was told why, and the configuration is refused.
                self.denied_file(&path.value, &entry.at(&path.span)).unwrap_or_default()
            }
        }
    }

    fn few_enough(&mut self, all: &[DeniedToken], place: &Place) -> bool {
        let few = all.len() <= DENIED_MAX;
        if !few {
            let found = format!("{} tokens are denied", all.len());
            let instead = format!("keep at most {DENIED_MAX}; leave out what has expired");
            self.report.error(place, ControlId::Acc3, found, instead);
        }
        few
    }

    /// What a file denies; where that can't be used or is being written, what it denied before: a list
    /// that is cut short lets nobody in.
    fn denied_file(&mut self, path: &PathText, place: &Place) -> Option<Vec<DeniedToken>> {
        let (file, mark) = (self.path(path, place), self.report.mark());
        let finished = !self.outside.is_being_written(&file);
        let kept = if finished { None } else { self.kept_denied(&file, mark) };
        let (all, on_disk) = match kept.or_else(|| self.denied_in(&file, place)) {
            Some(all) => (all, OnDisk::Same),
            None => (self.kept_denied(&file, mark)?, OnDisk::Unusable),
        };
        self.files.push(NamedFile { file, on_disk, of: FileOf::Denied });
        Some(all)
    }

    fn denied_in(&mut self, path: &Path, place: &Place) -> Option<Vec<DeniedToken>> {
        let text = self
            .outside
            .read(path, FILE_BYTES_MAX)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| ReadFault::Unreadable));
        let text = match text {
            Ok(text) => text,
            Err(fault) => {
                self.unreadable(place, ControlId::Acc3, path, fault);
                return None;
            }
        };
        let (mut all, mut bad) = (Vec::new(), 0_usize);
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            match (words.next(), words.next().map(day), words.next()) {
                (None, _, _) => {}
                (Some(id), None, None) if id.len() <= ID_BYTES_MAX => all.push(forever(id)),
                (Some(id), Some(Some(last)), None) if id.len() <= ID_BYTES_MAX => {
                    // One whose day is over says nothing; taking the line away is the operator's.
                    let until = u64::from(last).saturating_add(1) * 86_400;
                    all.push(DeniedToken { until_unix_secs: until, ..forever(id) });
                }
                _ => bad += 1,
            }
        }
        if bad > 0 {
            // Not which: the line may hold what must not be printed.
            let found = format!("{bad} lines are no `jti`, or no `jti` and a day");
            let instead = "write one a line: 4f2c7c52-8a0e-4b53-9b0b-0f5b3f1f6a11 2027-01-31";
            self.report.error(place, ControlId::Acc3, found, instead);
        }
        (self.few_enough(&all, place) && bad == 0).then_some(all)
    }
}

fn forever(id: &str) -> DeniedToken {
    DeniedToken { digest: token_digest(id), until_unix_secs: u64::MAX }
}
