//! What documents say is what the code does: commands, claims, metrics, recorded answers.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use sekisho::answer;
use sekisho::base::{ControlId, Denial};
use sekisho::evidence::{AccessRecord, EventRecord, Record as _, codes};
use sekisho::observe::{METRICS, MetricKind};
use serde_json::Value;

use super::{CLAIMED, ends, read, root, test_names, tracked};

#[test]
fn the_readme_claims_what_is_tested_and_nothing_else() {
    let names = test_names();
    let mut claimed = BTreeSet::new();
    for row in read("README.md").lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [clause, does, proof] = cells[..] else { continue };
        if does.contains("not covered") {
            continue;
        }
        let ids = clause
            .split([' ', ','])
            .filter_map(|word| ControlId::ALL.iter().find(|id| id.as_str() == word));
        claimed.extend(ids);
        for pattern in proof.split('`').filter_map(|word| word.strip_suffix('*')) {
            assert!(
                names.iter().any(|name| name.starts_with(pattern)),
                "no test is named {pattern}*"
            );
        }
    }
    assert_eq!(claimed, CLAIMED.iter().collect(), "left: README.md; right: CLAIMED");
}

/// Commands that a document tells people to type: lines of code blocks, the prompt left out.
fn commands(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            let line = line.trim().trim_start_matches("$ ");
            found.push(line.split("  #").next().unwrap_or(line).trim_end().to_owned());
        }
    }
    found
}

/// What `sekisho` says of a verb.
fn help(words: &[&str]) -> Option<String> {
    let out =
        Command::new(env!("CARGO_BIN_EXE_sekisho")).args(words).arg("--help").output().unwrap();
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

#[test]
fn the_documents_commands_exist() {
    let readme = read("README.md");
    for kind in ["tests/run", "cargo run"] {
        // `.ci/run` takes these two from the README, by this very form.
        let line = readme.lines().find(|line| line.starts_with(&format!("    {kind}")));
        assert!(line.is_some(), "README.md holds no line `    {kind} …` for .ci/run");
    }
    for name in ["README.md", "README.ja.md", "deploy/README.md", "certs-dev/README.md"] {
        for command in commands(&read(name)) {
            let words: Vec<&str> = command.split_whitespace().collect();
            if let Some(script) = words.first().filter(|word| word.starts_with("tests/")) {
                let mode = root().join(script).metadata().expect(script).permissions().mode();
                assert_eq!(mode & 0o111, 0o111, "{name}: {script} can't be run");
            }
            let at = words.iter().position(|w| *w == "sekisho" || w.ends_with("/sekisho"));
            let verb = at.and_then(|at| words.get(at + 1)).filter(|verb| {
                verb.starts_with(|c: char| c.is_ascii_lowercase())
                    && !verb.contains(['.', '/', '='])
            });
            // `install … sekisho /usr/…` and the like: a file, no call.
            let is_call = at.is_some_and(|at| at == 0 || ["&&", "sudo"].contains(&words[at - 1]));
            if let (Some(verb), true) = (verb, is_call) {
                let told =
                    help(&[verb]).unwrap_or_else(|| panic!("{name}: {command}: no such verb"));
                for flag in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                    let flag = flag.split('=').next().unwrap_or(flag);
                    assert!(told.contains(flag), "{name}: {command}: {verb} has no {flag}");
                }
            }
        }
    }
}

/// Recorded answers and lines are those that the code gives now; if not, tests/transcripts/run is due.
#[test]
fn the_transcripts_are_up_to_date() {
    let text = read("tests/transcripts/curl.md");
    let (mut answers, mut lines) = (0, 0);
    for recorded in text.lines().filter(|line| line.starts_with("{\"")) {
        // What differs from run to run was replaced by a sign that is no JSON number.
        let json: Value = serde_json::from_str(&recorded.replace(":…", ":0")).expect(recorded);
        if let Some(error) = json.get("errors").map(|errors| &errors[0]) {
            let known = codes::ALL_DENIALS.iter().any(|denial| is_answer(*denial, error));
            assert!(known, "no refusal reads like this now: {recorded}");
            answers += 1;
        } else if json.get("event.dataset").is_some() {
            let keys =
                [AccessRecord::KEYS, EventRecord::KEYS, &["event.dataset", "service.environment"]]
                    .concat();
            for key in json.as_object().unwrap().keys() {
                assert!(keys.contains(&key.as_str()), "no line has the key {key} now");
            }
            lines += 1;
        }
    }
    assert!(answers >= 13 && lines >= 15, "{answers} answers, {lines} lines");
}

fn is_answer(denial: Denial, error: &Value) -> bool {
    let row = answer::line(denial);
    let control = denial.control().map_or(String::new(), |control| format!("{control}; "));
    let details = format!("{control}{}; request 01…", row.hint.replace("{wait}", "in … s"));
    let mut rest = error["message"].as_str().unwrap();
    // Between the pieces stand configured names.
    let pieces = row.message.replace("{operation}", "{identity}").replace("{limit}", "{identity}");
    let mut in_order = pieces.split("{identity}").map(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    });
    error["code"] == format!("Sekisho.{}", codes::code(denial))
        && error["details"] == details
        && in_order.all(|found| found)
}

/// The rows of deploy/README.md, as the code has them.
fn metric_rows() -> String {
    let mut rows = String::new();
    for doc in METRICS {
        let kind = match doc.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels = doc.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
        let _ = writeln!(rows, "| `{}` | {kind} | {} | {} |", doc.name, labels.join(" "), doc.help);
    }
    rows
}

#[test]
fn the_metrics_that_are_documented_are_those_that_are_served() {
    let deploy = read("deploy/README.md");
    let told: Vec<&str> = deploy
        .lines()
        .filter(|line| line.starts_with("| `sekisho_") || line.starts_with("| `process_"))
        .collect();
    assert_eq!(
        told,
        metric_rows().lines().collect::<Vec<_>>(),
        "left: deploy/README.md; right: METRICS"
    );
    // Wherever else a metric is named, it is one of them, or the series of a histogram.
    for name in tracked().iter().filter(|name| ends(name, "md") || name.starts_with("deploy/")) {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.starts_with("sekisho_")) {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let known = METRICS.iter().any(|doc| doc.name == word || Some(doc.name) == base);
            assert!(known, "{name}: there is no metric {word}");
        }
    }
}
