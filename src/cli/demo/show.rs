//! What the audience reads: at most 120 columns.
use std::fmt::Write as _;

use super::series::{self, Act, Expect, Place};
use super::stage::{Notes, Search, Seen, Stage};
use crate::cli::say::{self, Colour, Stream};

const COLUMNS: usize = 118;
/// Where the text of a row begins.
const INDENT: &str = "           ";

fn paint(colour: Colour, text: &str) -> String {
    say::paint(Stream::Out, colour, text)
}

/// What is there.
pub(super) fn opening(stage: &Stage) -> String {
    format!(
        "{}\n  gateway   {}\n  metrics   {}\n  mock      {} plays Amazon\n  files     {}\n",
        paint(
            Colour::Bold,
            "Sekisho before a mock SP-API, both on this machine and real TLS throughout"
        ),
        url(stage),
        metrics(stage),
        stage.amazon.url(),
        stage.folder().display(),
    )
}

fn url(stage: &Stage) -> String {
    let port = stage.address(Place::Apps).map_or(0, |address| address.port());
    format!("https://localhost:{port}")
}

fn metrics(stage: &Stage) -> String {
    format!("http://{}/metrics", stage.gateway.admin)
}

/// One act: who, what, the answer, the line.
pub(super) fn act(number: u32, act: &Act, seen: &Seen, differs: Option<&str>) -> String {
    let mark = match differs {
        None => paint(Colour::Green, "✓"),
        Some(_) => paint(Colour::Red, "✗"),
    };
    let mut out = format!("{number:2} {mark} {}\n", paint(Colour::Bold, act.title));
    let times = if act.times > 1 { format!(" ({} times)", act.times) } else { String::new() };
    let at = match act.at {
        Place::Apps => String::new(),
        Place::OfficeOnly => ", at the listener for the office".to_owned(),
    };
    row(&mut out, "who", &format!("{}{at}", act.who));
    row(&mut out, "asks", &format!("{} {}{times}", act.method, seen.target));
    answer(&mut out, act, seen);
    match &seen.line {
        Some(line) => log(&mut out, line),
        None => row(&mut out, "log", "nothing"),
    }
    if let Some(why) = differs {
        let _ = writeln!(out, "     {}", paint(Colour::Red, &format!("not as expected: {why}")));
    }
    out
}

fn answer(out: &mut String, act: &Act, seen: &Seen) {
    let reply = match &seen.reply {
        Ok(reply) => reply,
        Err(fault) => return row(out, "gets", &format!("no answer: {fault}")),
    };
    let colour = if reply.status.is_success() { Colour::Green } else { Colour::Yellow };
    let status = paint(colour, &reply.status.to_string());
    let code = series::code(reply);
    if code.is_empty() {
        let personal = match seen.personal {
            0 => String::new(),
            many => format!(", {many} personal strings in it"),
        };
        let text =
            format!("{status} over {:?}: {} bytes{personal}", reply.version, reply.body_bytes);
        return row(out, "gets", &text);
    }
    let whose = match act.expect {
        Expect::Served { .. } => " (Amazon's words)",
        Expect::Refused { .. } | Expect::Limited | Expect::Waited | Expect::Closed => "",
    };
    row(out, "gets", &format!("{status} {code}{whose}"));
    row(out, "", &series::error(reply, "message"));
    row(out, "", &series::error(reply, "details"));
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        if let (Expect::Limited, Some(value)) = (act.expect, reply.header(name)) {
            row(out, "", &format!("{name}: {value}"));
        }
    }
}

/// A label and a text, in as many lines as it takes.
fn row(out: &mut String, label: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    let mut label = label;
    for line in wrapped(text, " ") {
        let line = line.trim_end();
        let _ = writeln!(out, "     {} {line}", paint(Colour::Dim, &format!("{label:5}")));
        label = "";
    }
}

/// The line as it is in the file, broken behind commas; what tells the outcome is not dimmed.
fn log(out: &mut String, line: &str) {
    let mut label = "log";
    for part in wrapped(line, ",") {
        let painted: Vec<String> = part
            .split_inclusive(',')
            .map(|pair| {
                let tells = [
                    "event.outcome",
                    "event.action",
                    "denial",
                    "detail",
                    "control",
                    "user.name",
                    "sekisho.role",
                ]
                .iter()
                .any(|key| pair.contains(key));
                if tells { pair.to_owned() } else { paint(Colour::Dim, pair) }
            })
            .collect();
        let _ = writeln!(
            out,
            "     {} {}",
            paint(Colour::Dim, &format!("{label:5}")),
            painted.concat()
        );
        label = "";
    }
}

/// Breaks a text behind `at` so that each part fits. Parts that are longer stay whole.
fn wrapped(text: &str, at: &str) -> Vec<String> {
    let room = COLUMNS - INDENT.len();
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(at) {
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && line.chars().count() + part.trim_end().chars().count() > room {
            lines.push(part.to_owned());
        } else {
            line.push_str(part);
        }
    }
    lines
}

/// What the log was searched for, and how the series went.
pub(super) fn closing(search: &Search, missed: &[String]) -> String {
    let mut out = match search.found.as_slice() {
        [] => format!(
            "{} Answers held {} of the {} planted personal strings; the {} lines of the log hold none of \
             them,\n  and none of {} tokens.\n",
            paint(Colour::Green, "✓"),
            search.answered,
            search.searched,
            search.lines,
            search.tokens,
        ),
        found => format!("{} the log holds: {}\n", paint(Colour::Red, "✗"), found.join(", ")),
    };
    if missed.is_empty() {
        out.push_str(&paint(Colour::Green, "Everything went as expected."));
    } else {
        out.push_str(&paint(Colour::Red, "Not as expected:"));
        for what in missed {
            let _ = write!(out, "\n  {what}");
        }
    }
    out
}

/// Lines that work as they are.
pub(super) fn invitation(stage: &Stage, notes: &Notes) -> String {
    let program = std::env::current_exe().ok();
    let program = program.map_or_else(|| "sekisho".to_owned(), |path| path.display().to_string());
    let (url, order) = (url(stage), &notes.order);
    let access = "-H 'x-amz-access-token: mock'";
    let comment = |text: &str| paint(Colour::Dim, text);
    [
        format!(
            "\n{} In another terminal (Ctrl-C here ends everything and removes the folder):\n",
            paint(Colour::Bold, "Now you.")
        ),
        format!("cd {}", stage.folder().display()),
        comment("# a label printer needs the address, and gets it"),
        format!(
            "curl -i --cacert certs/ca.pem --cert certs/clients/label-printer.pem \\\n  \
             --key certs/clients/label-printer.key {access} \\\n  {url}/orders/v0/orders/{order}/address"
        ),
        comment("# an analyst does not"),
        format!("sekisho() {{ \"{program}\" \"$@\"; }}"),
        format!(
            "curl -i --cacert certs/ca.pem -H \"Authorization: Bearer $(sekisho dev-certs --dir certs \
             --token analyst)\" \\\n  {access} {url}/orders/v0/orders/{order}/address"
        ),
        comment("# why? and what would help?"),
        format!("sekisho explain sekisho.toml --identity analyst --path /orders/v0/orders/{order}/address"),
        comment("# what was written down; how it is counted; whether the configuration is right"),
        "tail -n 2 access.log".to_owned(),
        format!("curl -s {} | grep 'requests_total.* [1-9]'", metrics(stage)),
        "sekisho check sekisho.toml".to_owned(),
    ]
    .join("\n")
}
