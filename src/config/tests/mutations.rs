//! Whatever a file holds: no panic, and every error lies inside its file.
use proptest::prelude::*;

use super::support::{GOOD, World, world};

fn judge(world: &World) {
    let Err(errors) = world.load() else { return };
    assert!(!errors.errors.is_empty());
    for error in &errors.errors {
        let text =
            world.files.get(&error.file).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let lines: Vec<&str> = text.as_deref().unwrap_or_default().split('\n').collect();
        assert!((1..=lines.len()).contains(&error.line), "{error:?}");
        let columns = lines[error.line - 1].chars().count();
        assert!((1..=columns + 1).contains(&error.column), "{error:?}");
        assert!(error.width >= 1 && error.column + error.width <= columns.max(1) + 2, "{error:?}");
        assert!(!error.found.is_empty() && !error.instead.is_empty(), "{error:?}");
        assert!(!error.found.contains("report this defect"), "{error:?}");
        assert!(!error.instead.contains("as the schema says"), "walk let it through: {error:?}");
    }
    let _ = (errors.to_string(), errors.to_json());
}

/// Pieces that TOML and this configuration treat specially.
const PIECES: [&str; 24] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    "\"",
    "'''",
    "\n",
    ",",
    ".",
    "#",
    "true",
    "7",
    "1.5",
    "2027-01-31",
    "[]",
    "{}",
    "\u{0}",
    "é",
    "name = \"x\"\n",
    "[identity.x]\n",
    "[[listener]]\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn edits_of_a_right_file(edits in prop::collection::vec(
        (any::<prop::sample::Index>(), 0_usize..30, prop::sample::select(&PIECES[..])), 1..6)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, cut, piece) in edits {
            let from = at.index(text.len());
            let to = (from + cut).min(text.len());
            text.splice(from..to, piece.chars());
        }
        judge(&world(&text.into_iter().collect::<String>()));
    }

    #[test]
    fn values_exchanged_within_a_right_file(a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let lines: Vec<&str> = GOOD.lines().collect();
        let values: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].contains(" = ")).collect();
        let (a, b) = (values[a.index(values.len())], values[b.index(values.len())]);
        let mut text: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let (key, value) = (lines[a].split_once(" = ").unwrap().0, lines[b].split_once(" = ").unwrap().1);
        text[a] = format!("{key} = {value}");
        judge(&world(&text.join("\n")));
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        judge(&world(&text));
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        judge(&World::default().with("sekisho.toml", bytes));
    }
}
