//! The texts that were read, so that a byte range can be shown as file, line and column.
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Place of a file in one load's [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileIx(pub(super) u16);

/// A byte range in one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: FileIx,
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
    /// Where each line starts.
    lines: Vec<usize>,
    /// PEM blocks somebody pasted in: never shown (LOG-2).
    pem: Vec<Range<usize>>,
}

/// Every file of one load, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

/// A place as an operator sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// Characters to underline on that line; at least 1.
    pub(super) width: usize,
    pub(super) line_text: String,
}

impl Sources {
    pub(super) fn add(&mut self, path: &Path, text: String) -> FileIx {
        let mut lines = vec![0];
        lines.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1));
        let ix = FileIx(u16::try_from(self.0.len()).unwrap_or(u16::MAX));
        let pem = pem_blocks(&text);
        self.0.push(Source { path: path.to_owned(), text, lines, pem });
        ix
    }

    pub(super) fn path(&self, file: FileIx) -> &Path {
        self.0.get(usize::from(file.0)).map_or(Path::new(""), |source| &source.path)
    }

    /// `file:line`, to name another place inside a message.
    pub(super) fn name(&self, place: &Place) -> String {
        format!("{}:{}", self.path(place.file).display(), self.position(place).line)
    }

    /// A range beyond the text counts as its end.
    pub(super) fn position(&self, place: &Place) -> Position {
        let nowhere = Position { line: 1, column: 1, width: 1, line_text: String::new() };
        let Some(source) = self.0.get(usize::from(place.file.0)) else { return nowhere };
        let start = floor(&source.text, place.span.start);
        let line = source.lines.partition_point(|&at| at <= start).max(1);
        let line_start = source.lines.get(line - 1).copied().unwrap_or(0);
        let line_end = source.lines.get(line).map_or(source.text.len(), |next| next - 1);
        let end = floor(&source.text, place.span.end).clamp(start, line_end.max(start));
        let chars = |range: Range<usize>| source.text.get(range).map_or(0, |t| t.chars().count());
        let hidden = source.pem.iter().any(|pem| pem.start < line_end && line_start < pem.end);
        let line_text =
            if hidden { "" } else { source.text.get(line_start..line_end).unwrap_or("") };
        Position {
            line,
            column: chars(line_start..start) + 1,
            width: chars(start..end).max(1),
            line_text: line_text.trim_end_matches('\r').to_owned(),
        }
    }
}

/// From each `-----BEGIN` to the end of its `-----END`, or of the text.
fn pem_blocks(text: &str) -> Vec<Range<usize>> {
    let ends: Vec<usize> = text.match_indices("-----END").map(|(at, _)| at).collect();
    text.match_indices("-----BEGIN")
        .map(|(begin, _)| {
            let end = ends.iter().find(|&&end| end > begin).copied();
            begin..end.unwrap_or(text.len())
        })
        .collect()
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("a.toml"), "é = 1\r\nab = 'xyz'".to_owned());
        let at = |span| sources.position(&Place { file, span });
        assert_eq!((at(0..2).line, at(0..2).column, at(0..2).width), (1, 1, 1));
        assert_eq!((at(5..6).line, at(5..6).column), (1, 5));
        assert_eq!((at(13..18).line, at(13..18).column, at(13..18).width), (2, 6, 5));
        assert_eq!(at(0..2).line_text, "é = 1");
        assert_eq!((at(900..999).line, at(900..999).column), (2, 11));
        let file = sources.add(Path::new("b.toml"), "a = '-----BEGIN X\nMIIB\nb = 2".to_owned());
        assert_eq!(sources.position(&Place { file, span: 20..21 }).line_text, "", "LOG-2");
    }

    #[test]
    fn a_place_inside_a_character_is_that_character() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("a.toml"), "é = 1".to_owned());
        let at = |span| sources.position(&Place { file, span });
        assert_eq!(at(1..1).column, 1, "inside a character is that character");
    }
}
