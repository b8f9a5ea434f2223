//! What is wrong with a configuration, said so that it can be mended: where, which control asks for
//! it, what was found, what to write instead. For the operator: the configuration's own text may be
//! quoted, what a secret file or command yields never is (LOG-2).
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::source::{Place, Sources};
use crate::base::ControlId;

/// Most errors that are kept; what comes after is only counted.
pub const ERRORS_MAX: usize = 1_000;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters to underline, at least 1.
    pub width: usize,
    /// The control that asks for it, such as `NET-1`.
    #[serde(serialize_with = "control_text")]
    pub control: Option<ControlId>,
    /// What is there, as a sentence without a full stop.
    pub found: String,
    /// What to write instead.
    pub instead: String,
    /// The line it is on, for the caret.
    #[serde(skip)]
    pub source_line: String,
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's serialize_with passes a reference to the field"
)]
fn control_text<S: serde::Serializer>(
    control: &Option<ControlId>,
    to: S,
) -> Result<S::Ok, S::Error> {
    control.map(ControlId::as_str).serialize(to)
}

/// Every mistake of one configuration, by file and line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigErrors {
    pub errors: Vec<ConfigError>,
    /// How many more there were than are kept.
    pub omitted: usize,
    #[serde(skip)]
    pub(super) extent: Extent,
}

/// How much of a configuration was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Such as (`identities`, 5): what the files name, usable or not.
    pub(super) named: Vec<(&'static str, usize)>,
    /// A file could not be read, or its syntax is broken, so that nothing behind it was looked at.
    pub(super) torn: bool,
}

/// `2 networks, 1 identity`, of plural words.
#[must_use]
pub fn counted(counts: &[(&str, usize)]) -> String {
    let one = |what: &str| match what.strip_suffix("ies") {
        Some(stem) => format!("1 {stem}y"),
        None => format!("1 {}", what.trim_end_matches('s')),
    };
    let texts = counts.iter().map(|(what, count)| match count {
        1 => one(what),
        many => format!("{many} {what}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

impl std::error::Error for ConfigErrors {}

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(Paint::Plain))
    }
}

/// Whether a terminal's colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colour,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl ConfigErrors {
    /// All of them for people; at the end what was looked at, and how many there are.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let mut out: String =
            self.errors.iter().map(|e| e.render(Severity::Error, paint) + "\n").collect();
        let named: Vec<_> =
            self.extent.named.iter().copied().filter(|(_, count)| *count > 0).collect();
        if !named.is_empty() {
            let _ = write!(out, "{} checked: ", counted(&named));
        }
        out.push_str(&counted(&[("errors", self.errors.len() + self.omitted)]));
        if self.omitted > 0 {
            let _ = write!(out, " (the last {} are not shown)", self.omitted);
        }
        if self.extent.torn {
            out.push_str("; not everything could be read, so more may follow when that is mended");
        }
        out.push('\n');
        out
    }

    /// All of them for programs: `{"errors": [{file, line, column, width, control, found,
    /// instead}], "omitted": n}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl ConfigError {
    /// What errors are sorted by.
    fn place(&self) -> (PathBuf, usize, usize) {
        (self.file.clone(), self.line, self.column)
    }

    /// `file:line:column: error[ID]: found`, the line with a caret, and what to write instead.
    #[must_use]
    pub fn render(&self, severity: Severity, paint: Paint) -> String {
        let (strong, weak, off) = match (paint, severity) {
            (Paint::Plain, _) => ("", "", ""),
            (Paint::Colour, Severity::Error) => ("\x1b[1;31m", "\x1b[34m", "\x1b[0m"),
            (Paint::Colour, Severity::Warning) => ("\x1b[1;33m", "\x1b[34m", "\x1b[0m"),
        };
        let word = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let control = self.control.map_or(String::new(), |id| format!("[{id}]"));
        let Self { line, column, found, instead, .. } = self;
        let file = printable(&self.file.display().to_string());
        let mut out = format!("{file}:{line}:{column}: {strong}{word}{control}{off}: {found}\n");
        let gutter = line.to_string().len();
        if !self.source_line.is_empty() {
            let text = printable(&self.source_line);
            let caret = " ".repeat(column - 1) + &"^".repeat(self.width);
            let _ = writeln!(out, "{weak}{:gutter$} |{off}", "");
            let _ = writeln!(out, "{weak}{line} |{off} {text}");
            let _ = writeln!(out, "{weak}{:gutter$} |{off} {strong}{caret}{off}", "");
        }
        let _ = writeln!(out, "{weak}{:gutter$} ={off} {instead}", "");
        out
    }
}

/// Control characters would move the terminal's cursor; each becomes a space, so columns stay.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Collects mistakes and warnings while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) sources: Sources,
    errors: Vec<ConfigError>,
    omitted: usize,
    warnings: Vec<ConfigError>,
    pub(super) extent: Extent,
}

impl Report {
    pub(super) fn error(
        &mut self,
        place: &Place,
        control: impl Into<Option<ControlId>>,
        found: impl Into<String>,
        instead: impl Into<String>,
    ) {
        if self.errors.len() < ERRORS_MAX {
            let error = self.make(place, control.into(), &found.into(), &instead.into());
            self.errors.push(error);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn warning(
        &mut self,
        place: &Place,
        control: impl Into<Option<ControlId>>,
        found: impl Into<String>,
        instead: impl Into<String>,
    ) {
        if self.warnings.len() < ERRORS_MAX {
            let warning = self.make(place, control.into(), &found.into(), &instead.into());
            self.warnings.push(warning);
        }
    }

    fn make(
        &self,
        place: &Place,
        control: Option<ControlId>,
        found: &str,
        instead: &str,
    ) -> ConfigError {
        let at = self.sources.position(place);
        let (source_line, width) = match secret_starts(&at.line_text) {
            None => (at.line_text, at.width),
            Some(from) => (at.line_text.chars().take(from).collect::<String>() + "…", at.width),
        };
        let width = width.min(source_line.chars().count().saturating_sub(at.column - 1)).max(1);
        ConfigError {
            file: self.sources.path(place.file).to_owned(),
            line: at.line,
            column: at.column,
            width,
            control,
            found: printable(found),
            instead: printable(instead),
            source_line,
        }
    }

    /// How many errors there are; see [`soften`](Self::soften).
    pub(super) const fn mark(&self) -> usize {
        self.errors.len() + self.omitted
    }

    /// What was an error since `mark` refuses nothing after all, because of `instead_of_it`.
    pub(super) fn soften(&mut self, mark: usize, instead_of_it: &str) {
        let softened = self.errors.split_off(mark.min(self.errors.len()));
        self.omitted = mark.saturating_sub(self.errors.len());
        let room = ERRORS_MAX.saturating_sub(self.warnings.len());
        self.warnings.extend(softened.into_iter().take(room).map(|mut error| {
            error.found = format!("{}: {instead_of_it}", error.found);
            error
        }));
    }

    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The warnings, sorted; or, if there are any, the errors.
    pub(super) fn close(mut self) -> Result<Vec<ConfigError>, ConfigErrors> {
        if !self.is_clean() {
            return Err(self.refuse());
        }
        self.warnings.sort_by_cached_key(ConfigError::place);
        Ok(self.warnings)
    }

    /// The errors, sorted.
    pub(super) fn refuse(mut self) -> ConfigErrors {
        self.errors.sort_by_cached_key(ConfigError::place);
        ConfigErrors { errors: self.errors, omitted: self.omitted, extent: self.extent }
    }
}

/// Text that is a credential by its look: Amazon's prefixes (spapi: LWA) and PEM.
const SECRET_MARKS: [&str; 5] = ["-----BEGIN", "amzn1.oa2-cs.", "Atza|", "Atzr|", "Atz.sprdt|"];
const SECRET_KEYS: [&str; 4] = ["secret", "password", "refresh_token", "access_token"];

/// Whether a value would be a leak if it were quoted.
pub(super) fn looks_secret(text: &str) -> bool {
    SECRET_MARKS.iter().any(|mark| text.contains(mark))
}

/// The character from which a line may not be quoted, because a secret was written into it.
fn secret_starts(line: &str) -> Option<usize> {
    let by_mark = SECRET_MARKS.iter().filter_map(|mark| line.find(mark)).min();
    let by_key = SECRET_KEYS
        .iter()
        .filter_map(|key| {
            let at = line.find(key)?;
            let equals = line.get(at..)?.find('=')?;
            Some(at + equals + 1)
        })
        .min();
    let byte = by_mark.into_iter().chain(by_key).min()?;
    Some(line.char_indices().take_while(|(at, _)| *at < byte).count())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn one(text: &str, span: std::ops::Range<usize>) -> ConfigErrors {
        let mut report = Report::default();
        let file = report.sources.add(Path::new("conf/sekisho.toml"), text.to_owned());
        report.error(&Place { file, span }, ControlId::Net1, "no such network", "write `office`");
        report.close().unwrap_err()
    }

    #[test]
    fn the_caret_stands_under_what_is_wrong() {
        let text = "[[listener]]\nnetworks = [\"offise\"]\n";
        assert_eq!(
            one(text, 25..33).render(Paint::Plain),
            "conf/sekisho.toml:2:13: error[NET-1]: no such network\n  \
             |\n2 | networks = [\"offise\"]\n  |             ^^^^^^^^\n  \
             = write `office`\n\n1 error\n"
        );
    }

    #[test]
    fn the_last_line_says_what_was_looked_at_and_whether_more_may_follow() {
        let mut errors = one("a = 1", 0..1);
        errors.extent.named = vec![("networks", 0), ("listeners", 1), ("identities", 1)];
        assert!(
            errors.render(Paint::Plain).ends_with("\n1 listener, 1 identity checked: 1 error\n")
        );
        errors.extent = Extent { named: vec![("identities", 2)], torn: true };
        errors.omitted = 3;
        assert!(errors.render(Paint::Plain).ends_with(
            "\n2 identities checked: 4 errors (the last 3 are not shown); not everything could be \
             read, so more may follow when that is mended\n"
        ));
    }

    #[test]
    fn programs_read_the_same_as_json() {
        let json = one("[[listener]]\nnetworks = [\"offise\"]\n", 25..33).to_json();
        let expected = serde_json::json!({
            "errors": [{
                "file": "conf/sekisho.toml", "line": 2, "column": 13, "width": 8,
                "control": "NET-1", "found": "no such network", "instead": "write `office`",
            }],
            "omitted": 0,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn log_2_a_secret_on_the_line_is_not_quoted() {
        for text in ["client_secret = \"hunter2\"", "x = \"amzn1.oa2-cs.v1.hunter2\""] {
            let shown = one(text, 0..text.len());
            assert!(!shown.render(Paint::Colour).contains("hunter2"), "{text}");
            assert!(!shown.to_json().to_string().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let shown = one("a = \"\u{1b}[2J\"", 4..9).render(Paint::Plain);
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn errors_beyond_the_bound_are_counted() {
        let mut report = Report::default();
        let file = report.sources.add(Path::new("a"), String::new());
        for _ in 0..ERRORS_MAX + 5 {
            report.error(&Place { file, span: 0..0 }, None, "x", "y");
        }
        let errors = report.close().unwrap_err();
        assert_eq!((errors.errors.len(), errors.omitted), (ERRORS_MAX, 5));
    }
}
