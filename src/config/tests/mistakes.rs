//! Forty mistakes are forty errors, in one go, each where it is.
use super::support::world;
use crate::config::Paint;

/// `«` stands before each mistake; the text after `//` in a line is what must be said of it, in order.
const MARKED: &str = include_str!("forty.toml");

#[test]
fn forty_mistakes_are_forty_errors() {
    let mut text = String::new();
    let mut expected = Vec::new();
    for (line, marked) in (1..).zip(MARKED.lines()) {
        if marked.starts_with('#') {
            text.push_str("#\n");
            continue;
        }
        let (code, says) = marked.split_once(" #! ").unwrap_or((marked, ""));
        let mut says = says.split(" | ");
        for (nth, (column, _)) in code.chars().enumerate().filter(|(_, c)| *c == '«').enumerate() {
            expected.push((line, column + 1 - nth, says.next().expect("a mark without a word")));
        }
        assert_eq!(says.next().filter(|word| !word.is_empty()), None, "a word without a mark");
        text.push_str(&code.replace('«', ""));
        text.push('\n');
    }
    assert_eq!(expected.len(), 40);
    let errors = world(&text).load().unwrap_err();
    let shown = errors.render(Paint::Plain);
    let got: Vec<(usize, usize)> = errors.errors.iter().map(|e| (e.line, e.column)).collect();
    let places: Vec<(usize, usize)> = expected.iter().map(|(l, c, _)| (*l, *c)).collect();
    assert_eq!(got, places, "{shown}");
    for (error, (_, _, word)) in errors.errors.iter().zip(&expected) {
        let all = format!(
            "{} {} {}",
            error.control.map_or("", |control| control.as_str()),
            error.found,
            error.instead
        );
        assert!(word.split(" + ").all(|part| all.contains(part)), "{word:?} not in {all:?}");
    }
    let last = shown.trim_end().rsplit('\n').next().unwrap_or_default();
    assert!(last.contains(" identities checked: 40 errors"), "{last}");
}
