//! Whether an identity may enter at all, and why not. The trust that a request meets keeps only the
//! fact, so that nothing can tell the reasons apart (ACC-1); the operator is owed the reason, and it
//! stands in the configuration's text.
use std::path::Path;

use parking_lot::Mutex;
use toml::{Table, Value};
use zeroize::Zeroizing;

use crate::base::{Moment, Name};
use crate::config::{CommandFault, Machine, Outside, ReadFault};
use crate::evidence::Utc;

/// Whether an identity may enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    MayEnter,
    /// With the reason, for the operator.
    Barred(String),
}

/// This machine, keeping the configuration's texts.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Vec<Table>>);

impl Texts {
    /// What the texts say of an identity of a configuration that was read.
    pub(super) fn standing(&self, name: &Name, own: &Name, now: Moment) -> Standing {
        let tables = self.0.lock();
        let entry = tables
            .iter()
            .find_map(|table| table.get("identity")?.as_table()?.get(name.as_str())?.as_table());
        entry.map_or(Standing::MayEnter, |entry| standing(entry, own, now))
    }

    fn keep(&self, path: &Path, bytes: &[u8]) {
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        let text = std::str::from_utf8(bytes).ok().filter(|_| is_toml);
        self.0.lock().extend(text.and_then(|text| text.parse::<Table>().ok()));
    }
}

fn standing(entry: &Table, own: &Name, now: Moment) -> Standing {
    if let Some(reason) = entry.get("disabled") {
        return Standing::Barred(format!("disabled ({})", reason.as_str().unwrap_or_default()));
    }
    // Both are written year first, so their order is that of time. The last day counts to its end.
    let today = Utc::of(now).rfc3339();
    let expires = entry.get("expires").and_then(Value::as_datetime).map(ToString::to_string);
    if let Some(day) = expires.filter(|day| today.get(..10).is_some_and(|now| day.as_bytes() < now))
    {
        return Standing::Barred(format!("expired (expires = {day})"));
    }
    match entry.get("environment").and_then(Value::as_str) {
        Some(other) if other != own.as_str() => {
            Standing::Barred(format!("of environment {other}, and this gateway serves {own}"))
        }
        Some(_) | None => Standing::MayEnter,
    }
}

impl Outside for Texts {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFault> {
        let bytes = Machine.read(path, bytes_max)?;
        self.keep(path, &bytes);
        Ok(bytes)
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, ReadFault> {
        Machine.list(directory)
    }

    fn read_secret(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
        Machine.read_secret(path)
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        Machine.variable(name)
    }

    fn output(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
        Machine.output(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entry: &str) -> Standing {
        // 2026-11-22T00:00:00Z.
        let now = Moment::new(20_779 * 86_400_000, 0);
        standing(&entry.parse().unwrap(), &Name::parse("production").unwrap(), now)
    }

    #[test]
    fn acc_3_each_reason_not_to_enter_is_told() {
        assert_eq!(of("kind = \"person\""), Standing::MayEnter);
        assert_eq!(of("expires = 2026-11-22"), Standing::MayEnter, "its last day");
        assert_eq!(of("environment = \"production\""), Standing::MayEnter);
        for (entry, word) in [
            ("disabled = \"left\"", "left"),
            ("expires = 2026-11-21", "2026-11-21"),
            ("environment = \"test\"", "environment test"),
        ] {
            let Standing::Barred(why) = of(entry) else { panic!("{entry}") };
            assert!(why.contains(word), "{why}");
        }
    }
}
