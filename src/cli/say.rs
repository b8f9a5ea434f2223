//! The only place that writes to a terminal.
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use crate::config::Paint;

/// Why a verb failed, in words for the operator.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Writes to standard output. A reader who went away (`sekisho catalog | head`) is no failure.
pub(super) fn out(text: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

pub(super) fn err(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(super) fn failure(failure: &Failure) {
    err(format_args!("{} {failure}", paint(Stream::Err, Colour::Red, "sekisho:")));
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Out,
    Err,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
    Red,
    Green,
    Yellow,
    Bold,
    Dim,
}

pub(super) fn is_terminal(stream: Stream) -> bool {
    match stream {
        Stream::Out => io::stdout().is_terminal(),
        Stream::Err => io::stderr().is_terminal(),
    }
}

/// Whether people read this stream in colour: a terminal, and nobody set `NO_COLOR`.
pub(super) fn in_colour(stream: Stream) -> bool {
    is_terminal(stream) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

pub(super) fn paint(stream: Stream, colour: Colour, text: &str) -> String {
    if !in_colour(stream) {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Red => "1;31",
        Colour::Green => "1;32",
        Colour::Yellow => "1;33",
        Colour::Bold => "1",
        Colour::Dim => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// The configuration room's words for the same question.
pub(super) fn palette(stream: Stream) -> Paint {
    if in_colour(stream) { Paint::Colour } else { Paint::Plain }
}
