//! What another configuration would change, for people and for programs: `sekisho diff`, `sekisho check
//! --against`, `sekisho reload`.
//!
//! Exit codes of those that only look: 0 nothing widens; 3 something does, so that a pipeline can ask for
//! a security review; 1 a configuration can't be used.
use std::path::Path;
use std::process::ExitCode;

use super::args::DiffArgs;
use super::check;
use super::say::{self, Colour, Failure, Stream};
use crate::admin::api::{ChangeLine, ChangeOut};
use crate::base::Clock;
use crate::config::diff::compare;
use crate::config::{self, Snapshot};

/// Something widens.
const WIDENS: u8 = 3;

pub(super) fn main(words: &DiffArgs) -> Result<ExitCode, Failure> {
    let (old, new) = (read(&words.old)?, read(&words.new)?);
    let change = ChangeOut::from(&compare(&old, &new));
    if words.json {
        say::out(serde_json::to_string_pretty(&change).map_err(Failure::new)?);
    } else {
        print(&change);
    }
    Ok(code(&change))
}

/// One of two configurations.
pub(super) fn read(path: &Path) -> Result<Snapshot, Failure> {
    let loaded = config::load(path, 1, Clock::system().now());
    Ok(loaded.map_err(|errors| check::refusal(path, &errors))?.snapshot)
}

pub(super) fn code(change: &ChangeOut) -> ExitCode {
    if change.widens > 0 { ExitCode::from(WIDENS) } else { ExitCode::SUCCESS }
}

/// What widens first. On a terminal in columns, else they are apart by tabs.
pub(super) fn print(change: &ChangeOut) {
    let people = say::is_terminal(Stream::Out);
    if change.lines.is_empty() {
        if people {
            say::out("nothing changes");
        }
        return;
    }
    for line in &change.lines {
        let (who, what) = (who(line), what(line));
        if people {
            let colour = match line.direction.as_str() {
                "widens" => Colour::Red,
                "narrows" => Colour::Green,
                _ => Colour::Dim,
            };
            let direction = say::paint(Stream::Out, colour, &format!("{:8}", line.direction));
            let about = format!("{:10} {:7}", line.part, line.control);
            let who = if who.is_empty() { who } else { who + ": " };
            say::out(format_args!("{direction} {about} {who}{what}"));
        } else {
            let (direction, part, control) = (&line.direction, &line.part, &line.control);
            say::out(format_args!("{direction}\t{part}\t{control}\t{who}\t{what}"));
        }
    }
    if people {
        let left_out = match change.omitted {
            0 => String::new(),
            more => format!("; {more} lines are left out"),
        };
        say::out(say::paint(
            Stream::Out,
            Colour::Bold,
            &format!(
                "{} widen, {} narrow, {} do neither{left_out}",
                change.widens, change.narrows, change.neutral
            ),
        ));
    }
}

fn who(line: &ChangeLine) -> String {
    if let Some(role) = &line.of_role {
        return format!("all {} of role {role}", line.count);
    }
    let names: Vec<&str> = line.names.iter().map(crate::admin::api::Word::as_str).collect();
    some(&names, line.count)
}

fn what(line: &ChangeLine) -> String {
    let mut text = line.what.as_str().to_owned();
    if !line.items.is_empty() {
        let items: Vec<&str> = line.items.iter().map(crate::admin::api::Word::as_str).collect();
        text = format!("{text} {}", some(&items, line.item_count));
    }
    match (&line.from, &line.to) {
        (Some(from), Some(to)) => format!("{text}: {from} → {to}"),
        (Some(from), None) => format!("{text}: was {from}"),
        (None, Some(to)) => format!("{text}: {to}"),
        (None, None) => text,
    }
}

fn some(texts: &[&str], all: u64) -> String {
    let more = all.saturating_sub(u64::try_from(texts.len()).unwrap_or(u64::MAX));
    let shown = texts.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
