//! Path templates such as `/stock/{sku}`: what an operation's paths look like.
use std::fmt;

use super::path::{SEGMENT_BYTES, Spelling};

/// A parsed path template.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    segments: Box<[Segment]>,
}

/// What stands between two slashes of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly these bytes.
    Fixed(Box<str>),
    /// Any one non-empty segment in this spelling.
    Parameter(Spelling),
}

/// Why a text is no [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateError {
    NotAbsolute,
    EmptySegment,
    DotSegment,
    /// A character that a fixed segment can't have, an escape among them.
    Character,
    /// `{…}` that is not a whole segment, or whose name is no identifier.
    Parameter,
    ParameterTwice,
    /// A parameter said to be encoded does not occur.
    EncodedUnknown,
    /// More than [`Template::SEGMENTS_MAX`] segments.
    TooManySegments,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "it does not start with a slash",
            Self::EmptySegment => "it has an empty segment, or a slash at the end",
            Self::DotSegment => "it has a segment . or ..",
            Self::Character => {
                "a fixed segment may hold letters, digits and - . _ ~ ! $ & ' ( ) * + , = : @ only"
            }
            Self::Parameter => {
                "a parameter is a whole segment: {name} of letters, digits, _ and -, a letter first"
            }
            Self::ParameterTwice => "a parameter's name occurs twice",
            Self::EncodedUnknown => "`encoded` names a parameter that the path does not have",
            Self::TooManySegments => "it has more than 24 segments",
        })
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    pub const SEGMENTS_MAX: usize = 24;

    /// `encoded` lists the parameters whose segments may hold any valid escape; see
    /// [`Spelling::Encoded`].
    pub fn parse(text: &str, encoded: &[&str]) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix('/').ok_or(TemplateError::NotAbsolute)?;
        let mut names = Vec::new();
        let mut segments = Vec::new();
        for segment in rest.split('/').filter(|_| !rest.is_empty()) {
            segments.push(match parameter(segment)? {
                Some(name) if names.contains(&name) => return Err(TemplateError::ParameterTwice),
                Some(name) => {
                    names.push(name);
                    let free = encoded.contains(&name);
                    Segment::Parameter(if free { Spelling::Encoded } else { Spelling::Strict })
                }
                None => Segment::Fixed(fixed(segment)?.into()),
            });
        }
        if !encoded.iter().all(|name| names.contains(name)) {
            return Err(TemplateError::EncodedUnknown);
        }
        if segments.len() > Self::SEGMENTS_MAX {
            return Err(TemplateError::TooManySegments);
        }
        Ok(Self { text: text.into(), segments: segments.into() })
    }

    /// As it was written: safe to log in place of a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segments of a matching path that stand for parameters, as they were sent.
    pub fn parameters<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = &'p [u8]> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        self.segments
            .iter()
            .zip(path.split(|byte| *byte == b'/'))
            .filter(|(segment, _)| matches!(segment, Segment::Parameter(_)))
            .map(|(_, sent)| sent)
    }

    /// Whether some path fits both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let meet = |pair: (&Segment, &Segment)| match pair {
            (Segment::Fixed(a), Segment::Fixed(b)) => a == b,
            // Every fixed segment is a strict one, so a parameter can hold it.
            (Segment::Parameter(_), _) | (_, Segment::Parameter(_)) => true,
        };
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(meet)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parameter(segment: &str) -> Result<Option<&str>, TemplateError> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let name = segment
        .strip_prefix('{')
        .and_then(|name| name.strip_suffix('}'))
        .ok_or(TemplateError::Parameter)?;
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(inner) {
        Ok(Some(name))
    } else {
        Err(TemplateError::Parameter)
    }
}

fn fixed(segment: &str) -> Result<&str, TemplateError> {
    match segment {
        "" => Err(TemplateError::EmptySegment),
        "." | ".." => Err(TemplateError::DotSegment),
        _ if segment.bytes().all(|byte| SEGMENT_BYTES.contains(byte)) => Ok(segment),
        _ => Err(TemplateError::Character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_path_with_whole_segments_as_parameters() {
        for (text, expected) in [
            ("/", Ok(0)),
            ("/a/{b}/c", Ok(3)),
            ("/v1/things:batch", Ok(2)),
            ("a", Err(TemplateError::NotAbsolute)),
            ("/a//b", Err(TemplateError::EmptySegment)),
            ("/a/", Err(TemplateError::EmptySegment)),
            ("/a/../b", Err(TemplateError::DotSegment)),
            ("/a%20b", Err(TemplateError::Character)),
            ("/a;b", Err(TemplateError::Character)),
            ("/a b", Err(TemplateError::Character)),
            ("/a{b}", Err(TemplateError::Parameter)),
            ("/{b", Err(TemplateError::Parameter)),
            ("/{}", Err(TemplateError::Parameter)),
            ("/{1a}", Err(TemplateError::Parameter)),
            ("/{a}/{a}", Err(TemplateError::ParameterTwice)),
        ] {
            let parsed = Template::parse(text, &[]).map(|template| template.segments().len());
            assert_eq!(parsed, expected, "{text}");
        }
        let long = "/a".repeat(25);
        assert_eq!(Template::parse(&long, &[]), Err(TemplateError::TooManySegments));
        assert_eq!(Template::parse("/{a}", &["b"]), Err(TemplateError::EncodedUnknown));
    }

    #[test]
    fn templates_overlap_where_one_path_fits_both() {
        let parse = |text| Template::parse(text, &[]).unwrap();
        for (a, b, expected) in [
            ("/a/{x}", "/a/b", true),
            ("/a/{x}/c", "/a/b/{y}", true),
            ("/a/{x}", "/a/{y}", true),
            ("/a/{x}", "/b/{y}", false),
            ("/a/{x}", "/a", false),
            ("/a/{x}/c", "/a/b/d", false),
        ] {
            assert_eq!(parse(a).overlaps(&parse(b)), expected, "{a} {b}");
            assert_eq!(parse(b).overlaps(&parse(a)), expected, "{b} {a}");
        }
    }
}
