//! Holds the tree to what it says of itself: which room may use which, what pure code may not touch,
//! how long a file may be, which tests prove which control, what never gets into the repository.
mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use sekisho::base::ControlId;

/// Every room: its layer, and the rooms it uses. Arrows only go down, and this is what is true now:
/// a new arrow is added here on purpose, and one that is gone is taken out.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("base", 0, &[]),
    ("alarm", 1, &["base"]),
    ("detect", 1, &["base"]),
    ("evidence", 1, &["base"]),
    ("exposure", 1, &["base"]),
    ("identity", 1, &["base"]),
    ("lockout", 1, &["base"]),
    ("pacing", 1, &["base"]),
    ("permit", 1, &["base"]),
    ("policy", 1, &["base"]),
    ("seal", 1, &["base"]),
    ("trial", 1, &["base"]),
    ("https", 2, &[]),
    (
        "config",
        2,
        &[
            "alarm", "base", "detect", "exposure", "identity", "lockout", "pacing", "permit",
            "policy", "seal",
        ],
    ),
    ("answer", 3, &["base", "evidence", "pacing"]),
    ("keys", 3, &["base", "https", "identity"]),
    ("observe", 3, &["base", "evidence"]),
    ("state", 3, &["base", "policy"]),
    ("store", 3, &["base"]),
    ("upstream", 3, &["base"]),
    // Where the shells meet; no other room of their layer knows another.
    (
        "engine",
        4,
        &[
            "alarm", "base", "config", "detect", "evidence", "exposure", "https", "identity",
            "keys", "lockout", "observe", "pacing", "permit", "policy", "state", "store", "trial",
            "upstream",
        ],
    ),
    // The edges never use each other.
    (
        "admin",
        5,
        &[
            "alarm", "base", "config", "engine", "evidence", "identity", "lockout", "observe",
            "policy", "store",
        ],
    ),
    ("deliver", 5, &["alarm", "base", "config", "engine", "evidence", "https", "observe", "store"]),
    (
        "gateway",
        5,
        &[
            "answer", "base", "config", "detect", "engine", "evidence", "exposure", "identity",
            "observe", "pacing", "policy", "state", "upstream",
        ],
    ),
    (
        "listen",
        5,
        &["answer", "base", "config", "engine", "evidence", "identity", "policy", "state"],
    ),
    ("devcerts", 6, &["base", "permit", "seal"]),
    ("mock", 7, &["base", "devcerts"]),
    (
        "cli",
        8,
        &[
            "admin", "alarm", "answer", "base", "config", "deliver", "devcerts", "engine",
            "evidence", "gateway", "listen", "mock", "observe", "permit", "policy", "seal",
            "store",
        ],
    ),
];

/// Rooms that compute and do nothing else, and what would betray that they do more.
const PURE: &[&str] = &[
    "alarm", "detect", "evidence", "exposure", "identity", "lockout", "pacing", "permit", "policy",
    "seal", "trial",
];
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::env",
    "::now()",
    "pingora",
    "tokio",
    "tracing",
    "hyper",
    "rustls::",
    "rand::fill",
];

/// The controls this version claims: each has a test whose name begins with its id, and a row in the
/// README's table, which claims no other.
const CLAIMED: &[ControlId] = &[
    ControlId::Net1,
    ControlId::Net2,
    ControlId::Net3,
    ControlId::Acc1,
    ControlId::Acc2,
    ControlId::Acc3,
    ControlId::Acc4,
    ControlId::Acc5,
    ControlId::Tls1,
    ControlId::Tls2,
    ControlId::Tls3,
    ControlId::Tls5,
    ControlId::Priv1,
    ControlId::Priv3,
    ControlId::Priv5,
    ControlId::Log1,
    ControlId::Log2,
    ControlId::Mon1,
    ControlId::Mon2,
    ControlId::Mon3,
    ControlId::Mon4,
    ControlId::Mon5,
    ControlId::Mon6,
    ControlId::Mon7,
    ControlId::Mon8,
];

/// The only files that look at a protected value, and why each may.
const REVEALERS: &[(&str, &str)] = &[
    ("src/admin/api/typed.rs", "compares what operators type with configured names, and hashes it"),
    (
        "src/alarm/render/signature.rs",
        "keys the signature of webhooks; gives Alertmanager its token",
    ),
    ("src/base/net.rs", "defines the address's one exit; pseudonyms and counts are made here"),
    ("src/base/raw_key.rs", "writes a key of 32 bytes as PEM"),
    ("src/base/pii.rs", "defines the exits; derives the day's pseudonym key"),
    ("src/engine/acts.rs", "hashes an order's id as soon as it is there"),
    ("src/cli/state.rs", "gives the client key of the state server to rustls"),
    ("src/config/compile/material.rs", "compares a key with its certificate"),
    ("src/config/settings/permit.rs", "defines the exits of the keys of TLS"),
    ("src/config/settings/state.rs", "compares the secrets of two configurations"),
    ("src/devcerts/authority.rs", "throw-away keys for tests"),
    ("src/devcerts/pki.rs", "writes throw-away keys"),
    ("src/engine/peers.rs", "gives the upstream client key to rustls"),
    ("src/engine/tls.rs", "gives the listener's key to rustls"),
    ("src/identity/cache.rs", "keys the hash of remembered tokens"),
    ("src/permit/clock.rs", "keys the code of the record of the latest time"),
    ("src/permit/issuer.rs", "gives the issuer's key to the provider"),
    ("src/policy/network.rs", "compares an address with the lists"),
    ("src/seal/key.rs", "gives the host's key to the provider"),
    ("src/store/remote/link.rs", "gives the state server its password and rustls the client key"),
    ("src/store/seal.rs", "keys the seal of what others keep"),
];

const LINES_MAX: usize = 500;

struct Source {
    /// As in `src/policy/glob.rs`.
    name: String,
    room: String,
    text: String,
    /// Without comments, texts and tests, line by line.
    code: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file that is in git or would be added to it.
fn tracked() -> Vec<String> {
    let out = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut names = match out {
        Ok(out) if out.status.success() => String::from_utf8(out.stdout)
            .unwrap()
            .split_terminator('\0')
            .map(str::to_owned)
            .collect(),
        // A tarball: all there is but what building and trying out leave behind.
        _ => {
            let mut names = Vec::new();
            walk(root(), &mut names);
            names
        }
    };
    names.retain(|name| root().join(name).is_file());
    assert!(names.len() > 100, "{names:?}");
    names
}

/// Whether a file's name ends in this way.
fn ends(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|own| own == extension)
}

fn walk(dir: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let left_behind = ["target", ".git"].contains(&name.as_str())
            || (name.starts_with("certs-dev/") && name != "certs-dev/README.md");
        if path.is_dir() && !left_behind {
            walk(&path, into);
        } else if !left_behind {
            into.push(name);
        }
    }
}

/// The code of `src/`, and which files are tests as a whole.
fn sources() -> Vec<Source> {
    let names: Vec<String> =
        tracked().into_iter().filter(|name| name.starts_with("src/") && ends(name, "rs")).collect();
    let texts: BTreeMap<String, String> =
        names.into_iter().map(|name| (name.clone(), read(&name))).collect();
    let under_test: BTreeSet<PathBuf> =
        texts.iter().flat_map(|(name, text)| test_modules(Path::new(name), text)).collect();
    texts
        .into_iter()
        .map(|(name, text)| {
            let path = Path::new(&name);
            let is_test = path.ancestors().any(|at| under_test.contains(&at.with_extension("")))
                || path.ends_with("tests.rs");
            let code = if is_test { Vec::new() } else { code_of(&text) };
            let room = name["src/".len()..].split(['/', '.']).next().unwrap_or_default().to_owned();
            Source { name, room, text, code }
        })
        .collect()
}

/// The modules that a file declares under `#[cfg(test)]`, as paths without extension.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let dir = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| pair[1].strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name))
        .map(|name| dir.join(name))
        .collect()
}

/// Lines without comments and texts; from an inline test module on, nothing.
fn code_of(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |at: usize| {
        lines[at] == "#[cfg(test)]"
            && lines.get(at + 1).is_some_and(|next| next.starts_with("mod tests {"))
    };
    let end = (0..lines.len()).find(|at| begins(*at)).unwrap_or(lines.len());
    lines[..end]
        .iter()
        .map(|line| {
            let line = if line.trim_start().starts_with("//") { "" } else { line };
            let line = line.replace("'\"'", "' '").replace("\\\"", "");
            let plain: String = line.split('"').step_by(2).collect();
            plain.split(" // ").next().unwrap_or_default().to_owned()
        })
        .collect()
}

/// The rooms that a file's code names.
fn used(source: &Source) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for line in &source.code {
        for (at, _) in line.match_indices("crate::") {
            let after = &line[at + "crate::".len()..];
            let name: String =
                after.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            assert!(
                !after.starts_with('{'),
                "{}: one `use crate::room::…` for each room",
                source.name
            );
            // The macro that `evidence` exports lies at the crate's root by Rust's rules.
            let name = if name == "__record" { "evidence".to_owned() } else { name };
            if name != source.room {
                rooms.insert(name);
            }
        }
    }
    rooms
}

#[test]
fn rooms_use_each_other_downwards_only_and_as_listed() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|s| !["lib", "main"].contains(&s.room.as_str())) {
        found.entry(source.room.clone()).or_default().extend(used(source));
    }
    let listed: BTreeMap<String, BTreeSet<String>> = ROOMS
        .iter()
        .map(|(room, _, uses)| ((*room).to_owned(), uses.iter().map(|&u| u.to_owned()).collect()))
        .collect();
    assert_eq!(found, listed, "left: the code; right: the table in tests/suite/tidy.rs");
    let layer = |name: &str| ROOMS.iter().find(|(room, ..)| *room == name).unwrap().1;
    for (room, own, uses) in ROOMS {
        for other in *uses {
            assert!(layer(other) < *own, "{room} may not use {other}");
        }
    }
}

/// `mod.rs` is a room's only door: nothing climbs over the wall with `super`.
#[test]
fn no_path_leaves_a_room_through_super() {
    for source in sources().iter().filter(|s| !["lib", "main"].contains(&s.room.as_str())) {
        let inside = Path::new(&source.name).components().count() - 2;
        let own = usize::from(source.name.ends_with("/mod.rs"));
        let out = "super::".repeat(inside + 1 - own);
        let too_far = source.code.iter().find(|line| line.contains(&out));
        assert_eq!(too_far, None, "{}", source.name);
    }
}

#[test]
fn pure_rooms_do_no_io_and_read_no_clock() {
    for source in sources().iter().filter(|source| PURE.contains(&source.room.as_str())) {
        for (line, text) in (1..).zip(&source.code) {
            for word in IMPURE {
                assert!(!text.contains(word), "{}:{line} holds {word:?}: {text}", source.name);
            }
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source.text.lines().count(), &source.name))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, name)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "at most {LINES_MAX}; split by decision: {long:#?}");
}

#[test]
fn there_is_no_unsafe_code() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for source in sources() {
        let line = source.text.lines().find(|line| {
            line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe")
                && !line.trim_start().starts_with("//")
        });
        assert_eq!(line, None, "{}", source.name);
    }
}

#[test]
fn log_2_protected_values_are_looked_at_in_listed_files_only() {
    let found: BTreeSet<String> = sources()
        .into_iter()
        .filter(|source| source.code.iter().any(|line| line.contains("reveal_for(")))
        .map(|source| source.name)
        .collect();
    let listed: BTreeSet<String> = REVEALERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, listed, "left: the code; right: REVEALERS, each with its reason");
}

/// Names of all test functions, in the source and in the suite.
fn test_names() -> Vec<String> {
    let mut names = Vec::new();
    for file in tracked() {
        let is_rust = (file.starts_with("src/") || file.starts_with("tests/")) && ends(&file, "rs");
        if !is_rust || file == "tests/suite/tidy.rs" {
            continue;
        }
        let text = read(&file);
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let attribute = line.starts_with("#[") || line.is_empty() || line.starts_with("//");
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            // Inside `proptest!` the attribute stands there as well.
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            if let (true, Some(name)) = (is_test, name) {
                names.push(name.split('(').next().unwrap_or_default().to_owned());
            }
            is_test &= attribute;
        }
    }
    assert!(names.len() > 300, "{} tests were found", names.len());
    names
}

#[test]
fn every_claimed_control_has_tests_and_no_test_bears_an_unknown_one() {
    let names = test_names();
    let prefix = |id: &ControlId| format!("{}_", id.as_str().to_lowercase().replace('-', "_"));
    let untested: Vec<_> = CLAIMED
        .iter()
        .filter(|id| !names.iter().any(|name| name.starts_with(&prefix(id))))
        .collect();
    assert!(untested.is_empty(), "claimed and not tested: {untested:?}");
    for name in &names {
        let mut words = name.split('_');
        let (family, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let families = ["net", "acc", "tls", "priv", "log", "mon", "inc", "ret", "rec", "aud"];
        if families.contains(&family) && number.parse::<u8>().is_ok() {
            let known = ControlId::ALL.iter().any(|id| name.starts_with(&prefix(id)));
            assert!(known, "{name} names no control of the catalogue");
        }
    }
}

#[test]
fn priv_1_the_catalogue_is_whole() {
    let catalogue = sekisho::policy::catalogue();
    assert_eq!(
        catalogue.len(),
        371,
        "370 operations of the Selling Partner API and the token exchange"
    );
    let names: BTreeSet<_> = catalogue.iter().map(|operation| operation.name.as_str()).collect();
    assert_eq!(names.len(), catalogue.len(), "a name means two operations");
}

#[test]
fn no_key_is_committed() {
    for name in tracked() {
        let Ok(text) = std::fs::read_to_string(root().join(&name)) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----");
            let key = lines.get(at + 1).map_or("", |next| next.trim());
            let is_base64 = key.len() >= 40
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
            assert!(!(begins && is_base64), "{name}:{}: a private key", at + 1);
        }
        let is_key_file = ["key", "p12", "pfx"].iter().any(|end| ends(&name, end));
        assert!(!is_key_file, "{name}: a key file");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TO-DO", "FIX-ME", "X-X-X"].map(|mark| mark.replace('-', ""));
    for name in tracked() {
        let Ok(text) = std::fs::read_to_string(root().join(&name)) else { continue };
        for (line, text) in (1..).zip(text.lines()) {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric());
            let mark = words.into_iter().find(|word| marks.iter().any(|mark| mark == word));
            assert_eq!(mark, None, "{name}:{line}: {text}");
        }
    }
}
