//! Lists for people and for programs: an aligned table on a terminal, else lines with tabs.
use crate::cli::say::{self, Colour, Stream};

/// One value in a table.
pub(super) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    #[expect(clippy::needless_pass_by_value, reason = "values and references alike")]
    pub(super) fn of(text: impl ToString) -> Self {
        Self { text: text.to_string(), colour: None }
    }

    /// A hyphen where there is nothing.
    pub(super) fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or_else(|| Self::of("-"), Self::of)
    }

    pub(super) const fn in_colour(mut self, colour: Option<Colour>) -> Self {
        self.colour = colour;
        self
    }
}

/// How hard a step is, in colour.
pub(super) fn step(word: Option<&str>) -> Cell {
    let colour = match word {
        Some("lock" | "kill") => Some(Colour::Red),
        Some(_) => Some(Colour::Yellow),
        None => None,
    };
    Cell::maybe(word).in_colour(colour)
}

/// Where a column's values stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

pub(super) struct Column(pub(super) &'static str, pub(super) Side);

pub(super) const fn left(title: &'static str) -> Column {
    Column(title, Side::Left)
}

pub(super) const fn right(title: &'static str) -> Column {
    Column(title, Side::Right)
}

/// Prints a list; `empty` stands for one without entries, on a terminal.
pub(super) fn print(columns: &[Column], rows: &[Vec<Cell>], empty: &str) {
    if !say::is_terminal(Stream::Out) {
        for row in rows {
            let texts: Vec<&str> = row.iter().map(|cell| cell.text.as_str()).collect();
            say::out(texts.join("\t"));
        }
    } else if rows.is_empty() {
        say::out(empty);
    } else {
        say::out(aligned(columns, rows));
    }
}

/// With a line of titles.
pub(super) fn aligned(columns: &[Column], rows: &[Vec<Cell>]) -> String {
    let width = |place: usize, title: &str| {
        let texts = rows.iter().filter_map(|row| row.get(place));
        texts.map(|cell| cell.text.chars().count()).max().unwrap_or(0).max(title.len())
    };
    let widths: Vec<usize> =
        columns.iter().enumerate().map(|(place, Column(title, _))| width(place, title)).collect();
    // Padded before it is painted: escapes have no width on the screen, but a length.
    let padded = |text: &str, width: usize, side| match side {
        Side::Left => format!("{text:width$}"),
        Side::Right => format!("{text:>width$}"),
    };
    let titles: Vec<String> = columns
        .iter()
        .zip(&widths)
        .map(|(Column(title, side), width)| padded(title, *width, *side))
        .collect();
    let mut lines = vec![say::paint(Stream::Out, Colour::Bold, titles.join("  ").trim_end())];
    for row in rows {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, Column(_, side)), width)| {
            let text = padded(&cell.text, *width, *side);
            cell.colour.map_or(text.clone(), |colour| say::paint(Stream::Out, colour, &text))
        });
        lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
    }
    lines.join("\n")
}

/// 1,234,567 B as `1.2 MB`.
pub(super) fn bytes(number: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(size, _)| number >= *size) {
        Some((size, unit)) => {
            let tenths = number / (size / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{number} B"),
    }
}

/// 90 s as `90 s`, 7,200 s as `2 h`.
pub(super) fn seconds(number: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    match units.iter().find(|(size, _)| number > 0 && number.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{} {unit}", number / size),
        None => format!("{number} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value() {
        let rows = vec![
            vec![Cell::of("label-printer"), Cell::of(7), Cell::of("x")],
            vec![Cell::of("a"), Cell::of(1_234), Cell::maybe(None::<&str>)],
        ];
        let columns = [left("NAME"), right("N"), left("LAST")];
        let expect = "NAME              N  LAST\nlabel-printer     7  x\na              1234  -";
        assert_eq!(aligned(&columns, &rows), expect);
    }

    #[test]
    fn figures_are_short() {
        for (number, text) in [(999, "999 B"), (1_000, "1.0 kB"), (1_234_567, "1.2 MB")] {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [(0, "0 s"), (90, "90 s"), (120, "2 min"), (7_200, "2 h")] {
            assert_eq!(seconds(number), text);
        }
    }
}
